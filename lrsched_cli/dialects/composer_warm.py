"""The schedulers of Composer's with a warm-up, and the parts that they share with those without."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lrsched_cli.dialects.composer_time import MANY, Span, Time, Timed, time, times
from lrsched_cli.dialects.foreign import Failure
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.falls import LINE, Fall, Power, Wave
from lrsched_cli.schedules.forms import Form, Level, Table, Transition, phases, then
from lrsched_cli.schedules.parameters import REQUIRED, param

SOURCE = "composer.optim.scheduler"
WARM = "lr * t / t_warmup, then "
X = "x = (t - t_warmup) / (t_max - t_warmup), at most 1"


def ramp(start: float, end: float, ticks: float, fall: Fall = LINE) -> Form:
    """From one value to another, which is held; backwards in time it goes on for ever."""
    way = Transition(start, end, ticks, fall)
    return phases((0, way), (ticks, Level(end))) if ticks > 0 else way


def power_ramp(start: float, end: float, ticks: float, power: float) -> Form:
    """The same by a power of what is left, of which the power 0 is 1 at the end too."""
    return ramp(start, end, ticks, Power(power)) if power else Level(start)


def table(schedule: Timed, milestones: tuple[Time, ...], gamma: float) -> Form:
    """A factor at each milestone, on the clock of the ticks."""
    ticks = sorted(schedule.span_of("milestones", milestone).tick for milestone in milestones)
    values = [schedule.lr]
    for _ in ticks:
        values.append(values[-1] * gamma)
    return Table(tuple(map(float, ticks)), tuple(values))


def milestones() -> Any:
    return times(REQUIRED, "When the rate changes, in any order.")


def alpha_f() -> Any:
    return param("number", 0.0, "The end, as a part of the rate.")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Warmed(Timed):
    """A scheduler with a linear warm-up from 0 in front of it."""

    example: ClassVar[Mapping[str, Any]] = {"t_warmup": "10ep"}

    t_warmup: Any = time(REQUIRED, "Length of the warm-up.")
    scale_warmup: bool = param("bool", False, "Scale the warm-up too, by ssr.")

    @property
    def top(self) -> float:
        """What the warm-up rises to."""
        return self.lr

    @property
    def warm(self) -> Span:
        """When the warm-up is over, whether it is scaled or not."""
        return self.span("t_warmup", scaled=False)

    def rise(self) -> Form:
        """The warm-up, on the clock of its unit."""
        if self.warm.value <= 0:
            return Level(0.0)
        scaled = self.length_of("t_warmup") if self.scale_warmup else self.warm
        return ramp(0.0, self.top, float(scaled.value))

    @property
    def marks(self) -> tuple[Mark, ...]:
        end = self.warm.tick + self.trainer
        return ((end, "after warm-up"),) if self.warm.value > 0 else ()

    def notes(self, total: int) -> tuple[str, ...]:
        notes = list(super().notes(total))
        if not self.warm.value:
            notes.append(f"t_warmup {self.t_warmup} comes to nothing, and composer warns")
        elif self.scale_warmup and self.ssr != 1:
            notes.append("scale_warmup scales the slope of the warm-up, and composer ends it unscaled")
        return tuple(notes)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MultiStepWithWarmupScheduler(Warmed):
    """A linear warm-up from 0 over a factor at each milestone, both on the same clock."""

    kind = "composer.MultiStepWithWarmupScheduler"
    formula = f"{WARM}lr * gamma ** (number of milestones reached by t)"
    source = f"{SOURCE}.MultiStepWithWarmupScheduler"
    example: ClassVar[Mapping[str, Any]] = {"t_warmup": "10ep", "milestones": ["0.5dur", "0.75dur"]}

    milestones: Any = milestones()
    gamma: float = param("number", 0.1, "Factor of the rate at each milestone.")

    def rates(self) -> Form:
        warm, after = self.warm, table(self, self.milestones, self.gamma)
        return phases((0, warm.paced(self.rise())), (warm.tick, then(-warm.tick, after)))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Decaying(Warmed):
    """A scheduler with a warm-up, and an end that is counted from the start of the run."""

    t_max: Any = time("1dur", "When it ends, the warm-up included; not before the run does.")

    def rates(self) -> Form:
        warm, whole = self.warm, self.span("t_max")
        if warm.unit != whole.unit:
            self.refuse("t_warmup", f"in the unit of t_max {self.t_max}", str(self.t_warmup))
        self._refuse_short(whole)
        rest = float(whole.value - warm.value)
        body = self.body(rest) if rest > 0 else Level(self.top)
        return whole.paced(phases((0, self.rise()), (float(warm.value), body)))

    def _refuse_short(self, whole: Span) -> None:
        """Refuse an end before the run is over, where the two can be compared."""
        run, length = self.max_duration, self.max_duration.value
        if run.unit == "ep" and whole.unit == "ba":
            epoch = self.dataloader_len or (MANY if self.clock.interval == "epoch" else 0)
            length *= epoch
        elif run.unit != whole.unit:
            return
        if whole.value < length:
            self.refuse("t_max", f">= max_duration {run}", str(self.t_max))

    @abstractmethod
    def body(self, ticks: float) -> Form:
        """What follows the warm-up, over so many ticks of its clock."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ConstantWithWarmupScheduler(Decaying):
    """A linear warm-up from 0, then the same rate, past t_max too."""

    kind = "composer.ConstantWithWarmupScheduler"
    formula = "lr * alpha * t / t_warmup, then lr * alpha"
    source = f"{SOURCE}.ConstantWithWarmupScheduler"

    alpha: float = param("number", 1.0, "Factor of the rate.")

    @property
    def top(self) -> float:
        return self.lr * self.alpha

    def body(self, ticks: float) -> Form:
        return Level(self.top)

    def notes(self, total: int) -> tuple[str, ...]:
        if self.alpha == 1 or total <= self.span("t_max").tick:
            return super().notes(total)
        return (*super().notes(total), f"the factor {self.alpha:g} stays past t_max, where composer's docs promise 1.0")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LinearWithWarmupScheduler(Decaying):
    """A linear warm-up from 0, then a straight line."""

    kind = "composer.LinearWithWarmupScheduler"
    formula = f"lr * alpha_i * t / t_warmup, then lr * (alpha_i + (alpha_f - alpha_i) * x), {X}"
    source = f"{SOURCE}.LinearWithWarmupScheduler"

    alpha_i: float = param("number", 1.0, "Factor of the rate at the end of the warm-up.")
    alpha_f: float = param("number", 0.0, "Factor of the rate at the end.")

    @property
    def top(self) -> float:
        return self.lr * self.alpha_i

    def body(self, ticks: float) -> Form:
        return ramp(self.top, self.lr * self.alpha_f, ticks)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineAnnealingWithWarmupScheduler(Decaying):
    """A linear warm-up from 0, then half a cosine wave."""

    kind = "composer.CosineAnnealingWithWarmupScheduler"
    formula = f"{WARM}lr * (alpha_f + (1 - alpha_f) * (1 + cos(pi * x)) / 2), {X}"
    source = f"{SOURCE}.CosineAnnealingWithWarmupScheduler"

    alpha_f: float = alpha_f()

    def body(self, ticks: float) -> Form:
        return ramp(self.lr, self.lr * self.alpha_f, ticks, Wave())


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PolynomialWithWarmupScheduler(Decaying):
    """A linear warm-up from 0, then a power of the part of the time that is left."""

    kind = "composer.PolynomialWithWarmupScheduler"
    formula = f"{WARM}lr * (alpha_f + (1 - alpha_f) * (1 - x) ** power), {X}"
    source = f"{SOURCE}.PolynomialWithWarmupScheduler"

    power: float = param("number", 2.0, "Exponent.")
    alpha_f: float = alpha_f()

    def body(self, ticks: float) -> Form:
        return power_ramp(self.lr, self.lr * self.alpha_f, ticks, self.power)

    def breaks(self) -> Failure | None:
        whole = self.span("t_max")
        return zero_to(self.power, whole) if whole.value > self.warm.value else None


def zero_to(power: float, span: Span) -> Failure | None:
    """Where a power of nothing left is taken, if that raises."""
    return Failure(span.tick, "0.0 cannot be raised to a negative power") if power < 0 < span.value else None
