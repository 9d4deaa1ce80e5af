"""What timm's schedulers share: the loop that steps them, the warm-up, noise, and where a whole tick begins a phase.

timm hands every scheduler the number of the coming epoch or update, so a rate is a function of that number alone. Its
loop never asks for number 0: that one has the rate which the constructor leaves in the optimizer.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrsched_cli.dialects.foreign import Foreign
from lrsched_cli.errors import SpecError, must
from lrsched_cli.run import MAX_TICKS, Clock, Duration, Scope
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.forms import Form, Level, Phases, Transition, then
from lrsched_cli.schedules.parameters import FromRun, default_of, param, params_of
from lrsched_cli.schedules.ticks import Array, Times, filled, written

SOURCE = "timm.scheduler"
WARM = "warmup_lr_init + (lr - warmup_lr_init) * t / warmup_t, then "
LOCAL = "T = t - warmup_t with warmup_prefix, else t"
OVERFLOW = "(34, 'Numerical result out of range')"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Timed(Foreign):
    """A kind that may know how long timm trains with it."""

    @property
    def run_length(self) -> float | None:
        """Ticks of the whole run as timm counts them, where the schedule has an end."""
        return None

    @property
    def interval(self) -> str:
        """What a tick is: epoch or step."""
        return "epoch"

    @classmethod
    def own_length(cls, given: Mapping[str, Any]) -> tuple[int, str] | None:
        known = {name: given[name] for name in params_of(cls) if given.get(name) is not None}
        if any(_waits(value) for name, value in known.items() if params_of(cls)[name].type in ("ticks", "durations")):
            return None
        try:
            schedule = cls.from_params(known, Scope.of(Clock("epoch", 1)))
        except SpecError:  # said where the schedule is built
            return None
        length = schedule.run_length
        if length is None or not whole(length) or not 1 <= length <= MAX_TICKS:
            return None
        return int(length), schedule.interval


def _waits(value: Any) -> bool:
    """Whether a parameter holds a duration that only the run makes ticks of."""
    return any(
        isinstance(v, (str, Duration, FromRun)) for v in (value if isinstance(value, (list, tuple)) else [value])
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Noisy(Timed):
    """The parameters of every class: noise, and where the base rate is read."""

    noise_range_t: Any = param("any", None, "Ticks with noise; only timm itself can draw it.")
    noise_pct: float = param("number", 0.67, "Largest noise.")
    noise_std: float = param("number", 1.0, "Standard deviation of the noise.")
    noise_seed: int | None = param("integer", 42, "Seed of the noise.")
    initialize: bool = param("bool", True, "Whether the base rate is the optimizer's own; a new one has no other.")

    def check(self) -> None:
        super().check()
        if self.noise_range_t is not None:
            raise noise_refused("noise_range_t")
        if not self.initialize:
            self.refuse("initialize", "true: a new optimizer has no initial_lr", False, "KeyError")
        for name in ("warmup_t", "t_initial", "stable_timescale"):
            if math.isinf(getattr(self, name, None) or 0):
                raise must(name, "finite", getattr(self, name)).adding(" (timm divides by it)")

    def notes(self, total: int) -> tuple[str, ...]:
        told = changed(self, "noise_pct", "noise_std", "noise_seed")
        return (*super().notes(total), *ignored(told, "without noise_range_t"))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Timm(Noisy):
    """A class whose rate is a function of the tick, with a linear warm-up in front of it or over its beginning."""

    warmup_t: float = param("ticks", 0, "Ticks of the warm-up.")
    warmup_lr_init: float = param("number", 0.0, "Rate that the warm-up starts from.")
    t_in_epochs: bool = param("bool", True, "Whether a tick is an epoch (step) or an update (step_update).")

    @abstractmethod
    def body(self) -> Form:
        """The schedule after the warm-up, on the clock of the run."""

    @property
    def warms_to(self) -> float:
        """The rate that the warm-up leads to."""
        return self.lr

    @property
    def interval(self) -> str:
        return "epoch" if self.t_in_epochs else "step"

    @property
    def first_asked(self) -> int:
        """The first tick whose rate timm computes from the schedule's formula."""
        return max(1, math.ceil(self.warmup_t))

    def form(self) -> Form:
        ticks, start = self.warmup_t, self.warmup_lr_init
        form = self.body()
        if ticks > 0:
            form = preceded(ticks, Transition(start, self.warms_to, ticks), form)
        first = start if ticks else self.lr
        return form if math.isclose(value_at(form, 0), first, abs_tol=1e-300) else preceded(1, Level(first), form)

    def curve(self, t: Times) -> Any:
        rates = super().curve(t)
        wrong = np.flatnonzero(~np.isfinite(written(rates)))
        if wrong.size:  # a division by 0, an overflow, or by rounding a root of what is below 0
            rate, tick = np.ravel(rates)[wrong[0]], written(t)[wrong[0]]
            raise SpecError(f"{self.kind} makes the rate {rate:g} at tick {tick:g}: it must be finite")
        return rates

    def next_knot(self, t: Array) -> Array:
        with np.errstate(all="ignore"):  # periods may be as short as a double can say
            return super().next_knot(t)

    @property
    def marks(self) -> tuple[Mark, ...]:
        label = self.kind.partition(".")[2].removesuffix("LRScheduler").lower()
        return ((math.ceil(self.warmup_t), label),) if self.warmup_t > 0 else ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Overlaid(Timm):
    """A class whose clock may run during the warm-up."""

    warmup_prefix: bool = param("bool", False, "Whether the schedule's clock starts after the warm-up.")

    @property
    def shift(self) -> float:
        """The tick at which the schedule's own clock starts."""
        return self.warmup_t if self.warmup_prefix else 0

    def notes(self, total: int) -> tuple[str, ...]:
        told = super().notes(total)
        if self.warmup_prefix or not 0 < self.warmup_t < total:
            return told
        at = math.ceil(self.warmup_t)
        rate = self(at)
        if math.isclose(rate, self.lr, rel_tol=1e-9):
            return told
        return (*told, f"without warmup_prefix the schedule runs during the warm-up: at tick {at} it is at {rate:.4g}")


def noise_refused(name: str) -> SpecError:
    """The error that says why noise cannot be simulated."""
    return SpecError("asks for noise, which is drawn as training goes on: only timm itself can draw it", parameter=name)


def changed(schedule: Foreign, *names: str) -> list[str]:
    """Those of the parameters that have not their default."""
    return [name for name in names if getattr(schedule, name) != default_of(type(schedule), name)]


def ignored(names: list[str], where: str) -> tuple[str, ...]:
    """The note that timm ignores parameters; none without any."""
    return (f"timm ignores {' and '.join(names)} {where}",) if names else ()


def whole(*values: float) -> bool:
    """Whether values are whole numbers, with which arithmetic is exact."""
    return all(math.isfinite(value) and value == math.floor(value) for value in values)


def value_at(form: Form, t: float) -> float:
    """The value of a form at one tick."""
    return float(filled(form(np.array([float(t)])), 1)[0])


def preceded(start: float, before: Form, form: Form) -> Form:
    """A form, and another one in its place before a tick; both on the same clock."""
    if not isinstance(form, Phases):
        return Phases((start,), (before, form))
    starts = tuple(tick for tick in form.starts if tick > start)
    return Phases((start, *starts), (before, *form.forms[len(form.forms) - len(starts) - 1 :]))


def late(form: Form, *starts: float) -> Form:
    """A form on a clock from which starts are taken away one by one, first to last, as timm rounds them."""
    for start in reversed(starts):
        form = then(start, form)
    return form


def first_tick(holds: Callable[[int], bool], near: float) -> float:
    """The first whole number from 0 on at which a condition holds that then goes on holding; inf where it never does.

    Parameters
    ----------
    near: a guess, from which the search starts.
    """
    at = int(near) if 0 < near < MAX_TICKS else MAX_TICKS if near >= MAX_TICKS else 0
    step = 1
    if holds(at):
        low, high = at - 1, at
        while low >= 0 and holds(low):
            low, high, step = low - step, low, 2 * step
        low = max(low, -1)
    else:
        low, high = at, at + 1
        while not holds(high):
            if high > 2 * MAX_TICKS:
                return math.inf
            low, high, step = high, high + step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def overflowing(base: float) -> float:
    """The first whole exponent for which Python cannot raise a base; inf where it always can."""
    if abs(base) <= 1:
        return math.inf

    def overflows(exponent: int) -> bool:
        try:
            float(base) ** exponent
        except OverflowError:
            return True
        return False

    return first_tick(overflows, 709.78 / math.log(abs(base)))
