"""The composer dialect: the schedulers of MosaicML's ``composer.optim.scheduler``, under their own names.

Read in Composer 0.33, optim/scheduler.py: multipliers of the optimizer's rate, which the Trainer applies a batch late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from lrsched_cli.dialects.composer_time import Span, Timed, time
from lrsched_cli.dialects.composer_warm import (
    SOURCE,
    ConstantWithWarmupScheduler,
    CosineAnnealingWithWarmupScheduler,
    LinearWithWarmupScheduler,
    MultiStepWithWarmupScheduler,
    PolynomialWithWarmupScheduler,
    alpha_f,
    milestones,
    power_ramp,
    ramp,
    table,
    zero_to,
)
from lrsched_cli.dialects.foreign import Failure, kinds_of
from lrsched_cli.errors import must
from lrsched_cli.run import MAX_TICKS
from lrsched_cli.schedules.falls import Wave
from lrsched_cli.schedules.forms import Cycles, Form, Geometric, Level, Stairs, phases
from lrsched_cli.schedules.parameters import REQUIRED, param


def t_max() -> Any:
    return time("1dur", "When it ends.")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StepScheduler(Timed):
    """A factor every so much time."""

    kind = "composer.StepScheduler"
    formula = "lr * gamma ** int(t / step_size)"
    source = f"{SOURCE}.StepScheduler"
    example: ClassVar[Mapping[str, Any]] = {"step_size": "30ep"}

    step_size: Any = time(REQUIRED, "Time between two changes.")
    gamma: float = param("number", 0.1, "Factor of the rate at each.")

    def rates(self) -> Form:
        size = self.length_of("step_size")
        # Backwards in time the exponents are negative.
        return size.paced(Stairs(Geometric(self.lr, self.gamma, float(size.value)), float(abs(size.value))))

    def breaks(self) -> Failure | None:
        size = self.length_of("step_size")
        if self.gamma or size.value > 0:
            return None
        return Failure(Span(-size.value, size.unit, size.pace).tick, "0.0 cannot be raised to a negative power")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MultiStepScheduler(Timed):
    """A factor at each milestone."""

    kind = "composer.MultiStepScheduler"
    formula = "lr * gamma ** (number of milestones reached by t)"
    source = f"{SOURCE}.MultiStepScheduler"
    example: ClassVar[Mapping[str, Any]] = {"milestones": ["0.5dur", "0.75dur"]}

    milestones: Any = milestones()
    gamma: float = param("number", 0.1, "Factor of the rate at each milestone.")

    def rates(self) -> Form:
        return table(self, self.milestones, self.gamma)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ConstantScheduler(Timed):
    """A factor of the rate for a time, then the rate itself."""

    kind = "composer.ConstantScheduler"
    formula = "lr * alpha while t < t_max, then lr"
    source = f"{SOURCE}.ConstantScheduler"

    alpha: float = param("number", 1.0, "Factor of the rate.")
    t_max: Any = t_max()

    def rates(self) -> Form:
        return phases((0, Level(self.lr * self.alpha)), (self.span("t_max").tick, Level(self.lr)))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LinearScheduler(Timed):
    """A straight line, to 0 unless said otherwise."""

    kind = "composer.LinearScheduler"
    formula = "lr * (alpha_i + (alpha_f - alpha_i) * min(1, t / t_max))"
    source = f"{SOURCE}.LinearScheduler"

    alpha_i: float = param("number", 1.0, "Factor of the rate at the start.")
    alpha_f: float = param("number", 0.0, "Factor of the rate at the end.")
    t_max: Any = t_max()

    def rates(self) -> Form:
        end = self.length_of("t_max")
        return end.paced(ramp(self.lr * self.alpha_i, self.lr * self.alpha_f, float(end.value)))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExponentialScheduler(Timed):
    """A factor spread over a period, again and again."""

    kind = "composer.ExponentialScheduler"
    formula = "lr * gamma ** (t / decay_period)"
    source = f"{SOURCE}.ExponentialScheduler"
    example: ClassVar[Mapping[str, Any]] = {"gamma": 0.95}

    gamma: float = param("number", REQUIRED, "Factor of the rate, each period.")
    decay_period: Any = time("1ep", "Time in which the rate changes by it.")

    def rates(self) -> Form:
        period = self.length_of("decay_period")
        if not self.gamma:
            return phases((0, Level(self.lr)), (1, Level(0.0)))
        rates = period.paced(Geometric(self.lr, self.gamma, float(period.value)))
        return Stairs(rates, 1.0) if self.gamma < 0 else rates

    def breaks(self) -> Failure | None:
        period = self.length_of("decay_period")
        if self.gamma == 0 and period.value < 0:
            return Failure(1, "0.0 cannot be raised to a negative power")
        if self.gamma < 0 and period.pace % period.value:
            return Failure(1, "a root of a negative gamma is a complex number")
        return None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineAnnealingScheduler(Timed):
    """Half a cosine wave; its end is held."""

    kind = "composer.CosineAnnealingScheduler"
    formula = "lr * (alpha_f + (1 - alpha_f) * (1 + cos(pi * min(1, t / t_max))) / 2)"
    source = f"{SOURCE}.CosineAnnealingScheduler"

    t_max: Any = t_max()
    alpha_f: float = alpha_f()

    def rates(self) -> Form:
        end = self.length_of("t_max")
        if end.value < 0:
            return Level(self.lr)
        return end.paced(ramp(self.lr, self.lr * self.alpha_f, float(end.value), Wave()))


@lru_cache(maxsize=64)
def _lifetime(first: int, mult: float) -> float:
    """The sum of lengths that shrink, each cut to a whole one, until one is 0."""
    total, length = 0, first
    while length and total <= MAX_TICKS:
        total += length
        length = int(mult * length)
    return total


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineAnnealingWarmRestartsScheduler(Timed):
    """Half a cosine wave that starts again from the top, each time longer; lengths are cut to whole ones."""

    kind = "composer.CosineAnnealingWarmRestartsScheduler"
    formula = "lr * (alpha_f + (1 - alpha_f) * (1 + cos(pi * t_i / T_i)) / 2), T_0 = t_0, T_i+1 = int(t_mult * T_i)"
    source = f"{SOURCE}.CosineAnnealingWarmRestartsScheduler; Loshchilov and Hutter 2017, arXiv 1608.03983"
    example: ClassVar[Mapping[str, Any]] = {"t_0": "34ep"}

    t_0: Any = time(REQUIRED, "Length of the first cycle.")
    t_mult: float = param("number", 1.0, "Each cycle is this many times longer than the one before.")
    alpha_f: float = alpha_f()

    def check(self) -> None:
        super().check()
        if self.t_mult < 0:
            raise must("t_mult", ">= 0: with a negative one composer may never return", self.t_mult)

    @property
    def _first(self) -> Span:
        first = self.span("t_0")
        if first.value < 0:
            raise must("t_0", "> 0: with a negative one composer never returns", str(self.t_0))
        if not first.value:
            self.refuse("t_0", "> 0", str(self.t_0))
        return first

    def rates(self) -> Form:
        first = self._first
        # Cut to whole ones, lengths that would hardly grow never do.
        grows = int(self.t_mult * first.value) != first.value
        growth = self.t_mult if grows else 1.0
        foot = self.lr * self.alpha_f
        return first.paced(Cycles(Wave(), float(first.value), self.lr, foot, growth, whole=True))

    def breaks(self) -> Failure | None:
        first = self._first
        if int(self.t_mult * first.value) >= first.value:
            return None
        life = int(_lifetime(first.value, self.t_mult))
        return Failure(Span(life, first.unit, first.pace).tick, "the cycles have shrunk to nothing")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PolynomialScheduler(Timed):
    """A power of the part of the time that is left."""

    kind = "composer.PolynomialScheduler"
    formula = "lr * (alpha_f + (1 - alpha_f) * (1 - min(1, t / t_max)) ** power)"
    source = f"{SOURCE}.PolynomialScheduler"
    example: ClassVar[Mapping[str, Any]] = {"power": 2}

    power: float = param("number", REQUIRED, "Exponent.")
    t_max: Any = t_max()
    alpha_f: float = alpha_f()

    def rates(self) -> Form:
        end = self.length_of("t_max")
        return end.paced(power_ramp(self.lr, self.lr * self.alpha_f, float(end.value), self.power))

    def breaks(self) -> Failure | None:
        return zero_to(self.power, self.span("t_max"))


_WARM = (
    MultiStepWithWarmupScheduler,
    ConstantWithWarmupScheduler,
    LinearWithWarmupScheduler,
    CosineAnnealingWithWarmupScheduler,
    PolynomialWithWarmupScheduler,
)

#: The kinds by their names in the library.
KINDS = {**kinds_of(globals()), **{kind.__name__: kind for kind in _WARM}}
