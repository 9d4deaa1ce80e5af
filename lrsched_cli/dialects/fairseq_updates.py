"""The fairseq schedulers that look at the number of updates only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from lrsched_cli.dialects.fairseq_base import SOURCE, Scheduler, warm_mark
from lrsched_cli.dialects.foreign import Failure, kinds_of
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.falls import Triangle, Wave
from lrsched_cli.schedules.forms import Bounded, Cycles, Form, Geometric, Law, Level, Stairs, Transition, phases, warmed
from lrsched_cli.schedules.parameters import REQUIRED, param
from lrsched_cli.schedules.ticks import Array, Times, cos_pi, power_of, written

NEGATIVE_POWER = "0.0 cannot be raised to a negative power"


def warmup_updates(default: int, help: str = "Updates of the linear warm-up.") -> Any:
    return param("duration", default, help)


def warmup_init_lr(otherwise: str) -> Any:
    return param("number", -1, f"Rate at the start of the warm-up; below 0: {otherwise}.")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InverseSqrt(Scheduler):
    """A linear warm-up, then the inverse square root of the update."""

    kind = "fairseq.inverse_sqrt"
    formula = "warmup_init_lr to lr until warmup_updates, then lr * sqrt(warmup_updates / t)"
    source = f"{SOURCE}/inverse_square_root_schedule.py"

    warmup_updates: int = warmup_updates(4000)
    warmup_init_lr: float = warmup_init_lr("0")

    def check(self) -> None:
        super().check()
        if self.warmup_updates <= 0:
            self.refuse("warmup_updates", "> 0", self.warmup_updates, "ZeroDivisionError")

    def form(self) -> Form:
        warm = self.warmup_updates
        return warmed(warm, max(self.warmup_init_lr, 0.0), self.lr, Law(self.lr, warm, warm))

    @property
    def marks(self) -> tuple[Mark, ...]:
        return warm_mark(self.warmup_updates, "inverse_sqrt")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Cosine(Scheduler):
    """A linear warm-up, then cosine annealing that starts again, by default from a tenth of the top each time."""

    kind = "fairseq.cosine"
    formula = (
        "warmup_init_lr to lr until warmup_updates, "
        "then lr_shrink ** i * (min_lr + (lr - min_lr) * (1 + cos(pi * t_i / T_i)) / 2), T_i = period * t_mult ** i"
    )
    source = f"{SOURCE}/cosine_lr_scheduler.py; Loshchilov and Hutter 2017, arXiv 1608.03983"
    example: ClassVar[Mapping[str, Any]] = {"warmup_updates": 10, "max_update": 100}

    warmup_updates: int = warmup_updates(0)
    warmup_init_lr: float = warmup_init_lr("min_lr")
    min_lr: float = param("number", 0.0, "The floor of the first cycle.")
    t_mult: float = param("number", 1.0, "Each cycle is this many times longer than the one before.")
    lr_period_updates: float = param(
        "ticks", -1, "Updates of the first cycle; unless above 0, those from the warm-up to max_update."
    )
    lr_shrink: float = param("number", 0.1, "Factor of the top and of the floor, each cycle.")
    max_update: int = param("duration", 0, "Updates of the run, where lr_period_updates is not given.", length="step")

    def check(self) -> None:
        super().check()
        if not self.lr > self.min_lr:
            self.refuse("min_lr", f"< lr {self.lr:g}", self.min_lr, "AssertionError")
        if self.lr_period_updates <= 0 and self.max_update <= 0:
            self.refuse("max_update", "> 0 where lr_period_updates is not", self.max_update, "AssertionError")

    @property
    def _period(self) -> float:
        return self.lr_period_updates if self.lr_period_updates > 0 else self.max_update - self.warmup_updates

    @property
    def _warm(self) -> int:
        return self.warmup_updates

    @property
    def failure(self) -> Failure | None:
        first = max(self._warm, 0)
        if self._period == 0:
            return Failure(first, "a period of 0 updates: division by zero")
        if self.t_mult <= 0:
            return Failure(first, "math domain error: t_mult is not above 0")
        if self._period < 0 and self.lr_shrink == 0:
            return Failure(first + 1, NEGATIVE_POWER)
        if self.t_mult == 1:
            return None
        # Cycles that shrink add up to so much, and no cycle comes after.
        end = self._period / (1 - self.t_mult)
        if end <= 0:
            return None
        last = math.ceil(end) - 1
        while self._argument(last) > 0:
            last += 1
        return Failure(max(last + self._warm, first), "math domain error: its cycles end here")

    def _argument(self, clock: float) -> float:
        """What fairseq takes the logarithm of for the number of the cycle."""
        return 1 - clock / self._period * (1 - self.t_mult)

    def _number(self, clock: float) -> float:
        """The number that fairseq gives the cycle; past the last one there is none."""
        if self._argument(clock) <= 0:
            return math.inf
        return math.floor(math.log(self._argument(clock), self.t_mult))

    def form(self) -> Form:
        start = self.min_lr if self.warmup_init_lr < 0 else self.warmup_init_lr
        return warmed(self._warm, start, self.lr, self._body())

    def _body(self) -> Form:
        if self._period <= 0:
            return Backward(self._period, self.t_mult, self.lr, self.min_lr, self.lr_shrink)
        growth, shrink = self.t_mult, self.lr_shrink
        number: Any = None if growth == 1 else self._number
        return Cycles(
            Wave(), self._period, self.lr, self.min_lr,
            growth=growth, top_mult=shrink, foot_mult=shrink, number=number,
        )  # fmt: skip

    @property
    def marks(self) -> tuple[Mark, ...]:
        return warm_mark(self._warm, "cosine")

    def notes(self, total: int) -> tuple[str, ...]:
        notes = []
        if self.lr_period_updates > 0 and self.max_update > 0:
            notes.append(f"fairseq uses lr_period_updates {self.lr_period_updates:g} and ignores max_update")
        if 0 < self._period < total - max(self._warm, 0) and self.failure is None:
            first = math.ceil(self._warm + self._period)
            notes.append(f"at update {first} the cosine starts again, at {self.lr_shrink:g} times its top")
        return (*super().notes(total), *notes)


@dataclass(frozen=True)
class Backward(Form):
    """The cycles of a period below 0, which the warm-up leaves where it outlasts max_update: each before the last."""

    period: float
    growth: float
    top: float
    foot: float
    shrink: float

    def __call__(self, t: Times) -> Any:
        x = np.asarray(written(t)) / self.period
        if self.growth == 1:
            number = np.floor(x)
            part = x - number
        else:
            number = np.floor(np.log(1 - x * (1 - self.growth)) / math.log(self.growth))
            length = power_of(self.growth, number)
            part = (x - (1 - length) / (1 - self.growth)) / length
        return power_of(self.shrink, number) * ((cos_pi(part) * 0.5 + 0.5) * (self.top - self.foot) + self.foot)

    def next_knot(self, t: Array) -> Array:
        return t + 1


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TriStage(Scheduler):
    """A linear warm-up, a constant rate, and a decay by a constant factor each update, to an end."""

    kind = "fairseq.tri_stage"
    formula = "lr * init_lr_scale to lr, lr, then lr * final_lr_scale ** (s / decay_steps), then held"
    source = f"{SOURCE}/tri_stage_lr_scheduler.py; Park et al. 2019, arXiv 1904.08779"
    example: ClassVar[Mapping[str, Any]] = {"warmup_steps": 10, "hold_steps": 40, "decay_steps": 50}

    warmup_steps: int = param("duration", 0, "Updates of the warm-up.")
    hold_steps: int = param("duration", 0, "Updates at the full rate.")
    decay_steps: int = param("duration", 0, "Updates of the decay.")
    phase_ratio: tuple[float, ...] | None = param("numbers", None, "The three as parts of max_update, 1 together.")
    init_lr_scale: float = param("number", 0.01, "Start of the warm-up, as a part of lr.")
    final_lr_scale: float = param("number", 0.01, "End of the decay, as a part of lr.")
    max_update: float = param("ticks", 0, "Updates of the run, for phase_ratio.", length="step")

    @classmethod
    def own_length(cls, given: Mapping[str, Any]) -> tuple[int, str] | None:
        """The ticks and interval of its own length, where the parameters say it in plain numbers."""
        if given.get("phase_ratio") is not None:
            return super().own_length(given)
        steps = [given.get(name) or 0 for name in ("warmup_steps", "hold_steps", "decay_steps")]
        whole = all(type(step) is int and step >= 0 for step in steps)
        return (sum(steps), "step") if whole and sum(steps) > 0 else None

    def check(self) -> None:
        super().check()
        if self.phase_ratio is not None:
            self._check_ratio(self.phase_ratio)
        if sum(self._steps) <= 0:
            told = "> 0 together with hold_steps and decay_steps, or phase_ratio given"
            self.refuse("warmup_steps", told, self._steps[0], "AssertionError")
        if self.final_lr_scale <= 0:
            self.refuse("final_lr_scale", "> 0", self.final_lr_scale)
        if self._steps[2] == 0:
            self.refuse("decay_steps", "other than 0", 0, "ZeroDivisionError")

    def _check_ratio(self, ratio: tuple[float, ...]) -> None:
        if len(ratio) != 3:
            self.refuse("phase_ratio", "three numbers", list(ratio), "IndexError")
        if self.max_update <= 0:
            self.refuse("max_update", "> 0 where phase_ratio is given", self.max_update, "AssertionError")
        warm, hold, decay = ratio
        if warm + hold + decay != 1:  # in this order, and not one digit off
            self.refuse("phase_ratio", "three numbers that add up to exactly 1.0", list(ratio), "AssertionError")

    @property
    def _steps(self) -> tuple[int, int, int]:
        """Updates of the three stages."""
        if self.phase_ratio is None:
            return self.warmup_steps, self.hold_steps, self.decay_steps
        warm, hold, decay = (int(self.max_update * part) for part in self.phase_ratio)
        return warm, hold, decay

    def form(self) -> Form:
        warm, hold, decay = self._steps
        return phases(
            (0, Transition(self.init_lr_scale * self.lr, self.lr, warm or 1)),
            (warm, Level(self.lr)),
            (warm + hold, Geometric(self.lr, self.final_lr_scale, decay)),
            (warm + hold + decay, Level(self.lr * self.final_lr_scale)),
        )

    @property
    def marks(self) -> tuple[Mark, ...]:
        warm, hold, decay = self._steps
        return ((warm, "hold"), (warm + hold, "decay"), (warm + hold + decay, "end"))

    def notes(self, total: int) -> tuple[str, ...]:
        ignored = [name for name in ("warmup_steps", "hold_steps", "decay_steps") if getattr(self, name)]
        if self.phase_ratio is None or not ignored:
            return super().notes(total)
        return (*super().notes(total), f"fairseq uses phase_ratio and ignores {', '.join(ignored)}")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Triangular(Scheduler):
    """A triangle wave from the rate up to another one, which shrinks each cycle."""

    kind = "fairseq.triangular"
    formula = "lr + (max_lr * lr_shrink ** i - lr) * triangle(t), i = floor(t / (2 * floor(lr_period_updates / 2)))"
    source = f"{SOURCE}/triangular_lr_scheduler.py; Smith 2017, arXiv 1506.01186"
    example: ClassVar[Mapping[str, Any]] = {"max_lr": 0.5, "lr_period_updates": 40, "lr_shrink": 0.5}

    max_lr: float = param("number", REQUIRED, "Rate at the top of the first cycle.")
    lr_period_updates: float = param("ticks", 5000, "Updates of a cycle.")
    lr_shrink: float = param("number", 0.1, "Factor of the top, each cycle.")
    shrink_min: bool = param("bool", False, "Shrink the foot too.")

    def check(self) -> None:
        super().check()
        if not self.max_lr > self.lr:
            self.refuse("max_lr", f"> lr {self.lr:g}", self.max_lr, "AssertionError")
        if self._half == 0:
            self.refuse("lr_period_updates", "at least 2", self.lr_period_updates, "ZeroDivisionError")

    @property
    def _half(self) -> float:
        """Updates of the rise, and of the fall: whole ones."""
        return self.lr_period_updates // 2

    @property
    def failure(self) -> Failure | None:
        return Failure(1, NEGATIVE_POWER) if self._half < 0 and self.lr_shrink == 0 else None

    def form(self) -> Form:
        foot_mult = self.lr_shrink if self.shrink_min else 1.0
        if self._half < 0:
            return Mirrored(self._half, self.max_lr, self.lr, self.lr_shrink, foot_mult)
        return Cycles(Triangle(), 2 * self._half, self.max_lr, self.lr, top_mult=self.lr_shrink, foot_mult=foot_mult)

    def notes(self, total: int) -> tuple[str, ...]:
        if 2 * self._half == self.lr_period_updates:
            return super().notes(total)
        told = f"fairseq makes cycles of {2 * self._half:g} updates of lr_period_updates {self.lr_period_updates:g}"
        return (*super().notes(total), told)


@dataclass(frozen=True)
class Mirrored(Form):
    """The triangle wave of a period below 0: its cycles are counted down."""

    half: float
    top: float
    foot: float
    top_mult: float
    foot_mult: float

    def __call__(self, t: Times) -> Any:
        clock = np.asarray(written(t)) / self.half
        number = np.floor(clock / 2)
        top, foot = power_of(self.top_mult, number) * self.top, power_of(self.foot_mult, number) * self.foot
        return foot + (top - foot) * np.maximum(0.0, 1 - np.abs(clock - 2 * (number + 1) + 1))

    def next_knot(self, t: Array) -> Array:
        return t + 1


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Step(Scheduler):
    """A linear warm-up, then a factor every so many updates, down to a floor."""

    kind = "fairseq.step"
    formula = "warmup_init_lr to lr until warmup_updates, then lr * lr_decay ** floor(t / lr_deacy_period), >= min_lr"
    source = f"{SOURCE}/step_lr_scheduler.py"
    single: ClassVar[bool] = False

    warmup_updates: int = warmup_updates(0)
    warmup_init_lr: float = warmup_init_lr("min_lr")
    min_lr: float = param("number", 0.0, "The floor.")
    lr_deacy_period: int = param("duration", 25000, "Updates between two drops, spelt as fairseq does.")
    lr_decay: float = param("number", 0.5, "Factor at each drop.")

    def check(self) -> None:
        super().check()
        if self.lr_deacy_period <= 0:
            self.refuse("lr_deacy_period", "> 0", self.lr_deacy_period, "AssertionError")
        if self.lr_decay > 1:
            self.refuse("lr_decay", "<= 1", self.lr_decay, "AssertionError")
        if self.min_lr < 0:
            self.refuse("min_lr", ">= 0", self.min_lr, "AssertionError")
        if not self.lr > self.min_lr:
            self.refuse("min_lr", f"< lr {self.lr:g}", self.min_lr, "AssertionError")

    @cached_property
    def _stairs(self) -> Form:
        stairs = Stairs(Geometric(self.lr, self.lr_decay, self.lr_deacy_period), self.lr_deacy_period)
        # A factor below 0 goes below every floor, and a floor of 0 below every other.
        return stairs if self.min_lr == 0 <= self.lr_decay else Bounded(stairs, low=self.min_lr)

    def form(self) -> Form:
        start = self.min_lr if self.warmup_init_lr < 0 else self.warmup_init_lr
        return warmed(self.warmup_updates, start, self.lr, self._stairs)

    @property
    def marks(self) -> tuple[Mark, ...]:
        return warm_mark(self.warmup_updates, "step")


#: The kinds by their names in the library.
KINDS = kinds_of(globals())
