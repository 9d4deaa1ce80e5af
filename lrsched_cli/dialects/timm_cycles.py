"""The timm schedulers that fall in cycles: cosine, tanh and poly.

Where cycles grow, timm finds the cycle of a tick from a quotient of logarithms, rounded down. The quotient may fall
short of a whole number, so that a restart comes a tick late: ``log(243, 3)`` is a little less than 5.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from lrsched_cli.dialects.foreign import Failure
from lrsched_cli.dialects.timm_base import (
    LOCAL,
    OVERFLOW,
    SOURCE,
    WARM,
    Overlaid,
    first_tick,
    late,
    overflowing,
    value_at,
    whole,
)
from lrsched_cli.run import MAX_TICKS
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.falls import Fall, Power, Tangent, Wave
from lrsched_cli.schedules.forms import Cycles, Form, Level, Phases, Transition
from lrsched_cli.schedules.parameters import REQUIRED, param
from lrsched_cli.schedules.ticks import Array, Times, pow_, power_of, written

#: So many cycles at most are written down one by one.
MOST_LISTED = 64
CYCLE = "lr_min + (lr * cycle_decay ** i - lr_min) * "
CLOCK = f"in cycle i of length L; lr_min from cycle cycle_limit on; {LOCAL}"


@dataclass(frozen=True)
class Rule:
    """How timm numbers cycles, and where they begin, as it rounds.

    Attributes
    ----------
    t_initial: ticks of the first cycle.
    mul: each cycle is so many times longer than the one before it.
    shift: the tick at which the clock starts.
    """

    t_initial: float
    mul: float
    shift: float

    def number(self, t: float) -> float:
        """The number of the cycle that a tick is in; inf where timm cannot tell."""
        clock = t - self.shift if self.shift else t
        if self.mul == 1:
            return clock // self.t_initial
        try:
            return math.floor(math.log(1 - clock / self.t_initial * (1 - self.mul), self.mul))
        except (ValueError, OverflowError, ZeroDivisionError):
            return math.inf

    def length(self, number: float) -> float:
        """The length of a cycle."""
        return self.t_initial if self.mul == 1 else self._growth(number) * self.t_initial

    def start(self, number: float) -> float:
        """The clock value at which a cycle begins, maybe between two ticks."""
        if self.mul == 1:
            return self.t_initial * number
        return (1 - self._growth(number)) / (1 - self.mul) * self.t_initial

    def _growth(self, number: float) -> float:
        try:
            return float(self.mul) ** int(number)
        except (OverflowError, ValueError):  # the number may be infinite, or none
            return math.inf

    def begin(self, number: float) -> float:
        """The first tick that is counted to a cycle or to a later one; inf where no tick is."""
        if self.mul <= 0 or number > self.number(MAX_TICKS):
            return math.inf
        return first_tick(lambda t: self.number(t) >= number, self.start(number) + self.shift)

    def numbers(self, clock: Array) -> Array:
        """The numbers of the cycles at clock values."""
        if self.mul == 1:
            return np.floor_divide(clock, self.t_initial)
        x = 1 - clock / self.t_initial * (1 - self.mul)
        quotient = np.log(x) / math.log(self.mul)
        number = np.floor(quotient)
        # NumPy's logarithm may differ in the last bit: what lies near a whole number is asked of Python's.
        for at in np.flatnonzero(np.abs(quotient - np.rint(quotient)) < 1e-11 * (1 + np.abs(quotient))):
            number[at] = math.floor(math.log(x[at], self.mul))
        return number


@dataclass(frozen=True)
class Restarts(Form):
    """The cycles of any number and of any lengths, one tick at a time as timm computes them."""

    rule: Rule
    fall: Fall
    top: float
    foot: float
    top_mult: float = 1.0
    k: float = 1.0

    def __call__(self, t: Times) -> Any:
        rule = self.rule
        clock: Array = written(t) - rule.shift
        number = rule.numbers(clock)
        if rule.mul == 1:
            length, start = np.full(number.shape, float(rule.t_initial)), rule.t_initial * number
        else:
            known, which = np.unique(number, return_inverse=True)
            length = np.array([rule.length(i) for i in known.tolist()])[which]
            start = np.array([rule.start(i) for i in known.tolist()])[which]
        top = power_of(self.top_mult, number) * self.top
        return self.fall(self._warped(clock - start, length)) * (top - self.foot) + self.foot

    def _warped(self, local: Array, length: Array) -> Array:
        """The part of a cycle that is over, as k-decay bends it."""
        if self.k == 1:
            return local / length
        x = pow_(local, self.k) / pow_(length, self.k)
        # At a cycle's end a root makes much of the last bit, in which NumPy's power may differ.
        for at in np.flatnonzero((np.abs(1 - x) < 1e-9) & (local > 0)):
            x[at] = float(local[at]) ** self.k / float(length[at]) ** self.k
        return x

    def next_knot(self, t: Array) -> Array:
        if self.k <= 0:
            return t + 1
        return np.array([self.rule.begin(self.rule.number(tick) + 1) for tick in t.tolist()])


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Cycled(Overlaid):
    """A class that falls from a top to a foot in cycles, and stays at the foot."""

    example: ClassVar[Mapping[str, Any]] = {"t_initial": 90}

    t_initial: float = param("ticks", REQUIRED, "Ticks of the first cycle.", gt=0, length="epoch")
    lr_min: float = param("number", 0.0, "Rate at the end of every cycle.", ge=0)
    cycle_mul: float = param("number", 1.0, "Factor of the length, each cycle.")
    cycle_decay: float = param("number", 1.0, "Factor of the rate that a cycle starts from, each cycle.")
    cycle_limit: float = param("number", 1, "Cycles; lr_min after them.")

    @abstractmethod
    def fall(self, k: float) -> Fall:
        """How a cycle goes, its clock bent by k-decay."""

    @property
    def k(self) -> float:
        """The exponent of the clock of a cycle."""
        return 1.0

    @property
    def smooth(self) -> bool:
        """Whether the end of a cycle makes nothing of the last bit of its clock."""
        return True

    @property
    def rule(self) -> Rule:
        return Rule(self.t_initial, self.cycle_mul, self.shift)

    @cached_property
    def _cycles(self) -> float:
        """How many cycles there are, or may begin within any run."""
        return max(min(math.ceil(self.cycle_limit), self.rule.number(MAX_TICKS) + 1), 0)

    def body(self) -> Form:
        rule, count = self.rule, self._cycles
        if self.cycle_mul <= 0 or not count:
            return Level(self.lr_min)
        equal = self.cycle_mul == 1 and whole(self.shift, self.t_initial)
        if self.k > 0 and equal and count > 1:
            every = Cycles(self.fall(self.k), self.t_initial, self.lr, self.lr_min, top_mult=self.cycle_decay)
            return _until([rule.begin(count)], [late(every, self.shift)], self.lr_min)
        # A tick at the very end of a cycle, where a restart is late, must not lose its last bit to a root.
        if self.k > 0 and count <= MOST_LISTED and (self.smooth or equal):
            numbers = range(int(count))
            return _until([rule.begin(i + 1) for i in numbers], [self._cycle(i) for i in numbers], self.lr_min)
        restarts = Restarts(rule, self.fall(1.0), self.lr, self.lr_min, self.cycle_decay, self.k)
        return _until([rule.begin(count)], [restarts], self.lr_min)

    def _cycle(self, number: int) -> Form:
        """One cycle, on the clock of the run."""
        top = power_of(self.cycle_decay, float(number)) * self.lr
        fall = Transition(top, self.lr_min, self.rule.length(number), self.fall(self.k))
        return late(fall, self.shift, self.rule.start(number))

    @property
    def failure(self) -> Failure | None:
        return min(self._failures, default=None)

    @cached_property
    def _failures(self) -> list[Failure]:
        rule, first, mul = self.rule, self.first_asked, self.cycle_mul
        if mul <= 0:
            return [Failure(first, "math domain error")]
        found: list[tuple[float, str]] = []
        if mul != 1:
            end = self.t_initial / (1 - mul) + self.shift if mul < 1 else math.inf
            reason = "math domain error" if mul < 1 else "cannot convert float infinity to integer"
            found.append((first_tick(lambda t: rule.number(t) == math.inf, end), reason))
        decayed = overflowing(self.cycle_decay)
        if decayed < self.decays_until:
            found.append((rule.begin(decayed), f"cycle_decay: {OVERFLOW}"))
        exact = all(isinstance(part, int) for part in (self.k, self.t_initial, *[mul] * (mul != 1)))
        if self.k != 1 and not exact:  # Python's whole numbers have no largest one
            bent = first_tick(lambda i: i >= self._cycles or self._overbent(i), 0) if mul > 1 else 0
            if bent < self._cycles and self._overbent(int(bent)):
                found.append((rule.begin(bent), f"k_decay: {OVERFLOW}"))
        return [Failure(max(int(tick), first), reason) for tick, reason in found if tick <= MAX_TICKS]

    @property
    def decays_until(self) -> float:
        """The cycle from which on the rate that a cycle starts from is not computed."""
        return math.inf

    def _overbent(self, number: int) -> bool:
        """Whether the length of a cycle is too long for k-decay."""
        try:
            return math.isinf(float(self.rule.length(number)) ** self.k)
        except OverflowError:
            return True

    @property
    def run_length(self) -> float | None:
        cycles, ticks, mul = max(1, self.cycle_limit), self.t_initial, float(self.cycle_mul)
        try:
            ticks = ticks * cycles if mul == 1 else math.floor(-ticks * (mul**cycles - 1) / (1 - mul))
        except (OverflowError, ValueError, ZeroDivisionError):
            return None
        return ticks + self.shift

    @property
    def marks(self) -> tuple[Mark, ...]:
        begins = [self.rule.begin(i) for i in range(1, int(min(self._cycles, 12)))]
        return (*super().marks, *((int(begin), f"cycle {i}") for i, begin in enumerate(begins, 2) if begin < math.inf))


def _until(ends: list[float], falls: list[Form], foot: float) -> Form:
    """Forms one after the other, each until its end, and a foot after the last one."""
    ticks = tuple(end for end in ends if end <= MAX_TICKS)
    return Phases(ticks, (*falls, Level(foot))[: len(ticks) + 1]) if ticks else falls[0]


def k_decay() -> Any:
    return param("number", 1.0, "Exponent of the clock within a cycle.")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineLRScheduler(Cycled):
    """Half a cosine wave in every cycle; without warmup_prefix it runs during the warm-up."""

    kind = "timm.CosineLRScheduler"
    formula = f"{WARM}{CYCLE}(1 + cos(pi * (T / L) ** k_decay)) / 2 {CLOCK}"
    source = f"{SOURCE}, cosine_lr.py; Loshchilov and Hutter 2016, arXiv 1608.03983"

    k_decay: float = k_decay()

    @property
    def k(self) -> float:
        return self.k_decay

    def fall(self, k: float) -> Fall:
        return Wave(k=k)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PolyLRScheduler(Cycled):
    """A power of the part of the cycle that is left; without warmup_prefix it runs during the warm-up."""

    kind = "timm.PolyLRScheduler"
    formula = f"{WARM}{CYCLE}(1 - (T / L) ** k_decay) ** power {CLOCK}"
    source = f"{SOURCE}, poly_lr.py"

    power: float = param("number", 0.5, "Exponent.")
    k_decay: float = k_decay()

    @property
    def k(self) -> float:
        return self.k_decay

    @property
    def smooth(self) -> bool:
        return self.power >= 1

    def fall(self, k: float) -> Fall:
        return Power(self.power, k)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TanhLRScheduler(Cycled):
    """A hyperbolic tangent in every cycle; without warmup_prefix the warm-up leads to where it has got to by then."""

    kind = "timm.TanhLRScheduler"
    formula = f"{WARM}{CYCLE}(1 - tanh(lb * (1 - T / L) + ub * T / L)) / 2 {CLOCK}"
    source = f"{SOURCE}, tanh_lr.py; Hsueh et al. 2018, arXiv 1806.01593"

    cycle_limit: float = param("number", 1, "Cycles; lr_min after them.", ge=0)
    warmup_t: float = param("ticks", 0, "Ticks of the warm-up.", ge=0)
    warmup_lr_init: float = param("number", 0.0, "Rate that the warm-up starts from.", ge=0)
    lb: float = param("number", -7.0, "Argument of the tangent at the start of a cycle.")
    ub: float = param("number", 3.0, "Argument of the tangent at its end.")

    def check(self) -> None:
        super().check()
        if not self.lb < self.ub:
            self.refuse("lb", f"< ub {self.ub:g}", self.lb, "AssertionError")

    def fall(self, k: float) -> Fall:
        return Tangent(self.lb, self.ub)

    @property
    def decays_until(self) -> float:
        return self._cycles

    @property
    def warms_to(self) -> float:
        if self.warmup_prefix:
            return self.lr
        number = self.rule.number(self.warmup_t)
        if number >= self._cycles:
            return self.lr_min
        return value_at(self._cycle(int(number)), self.warmup_t)

    @property
    def failure(self) -> Failure | None:
        if self.warmup_t > 0 and not self.warmup_prefix and self.rule.number(self.warmup_t) == math.inf:
            return Failure(0, "math domain error")
        return super().failure
