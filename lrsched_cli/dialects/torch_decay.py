"""The classes of torch.optim.lr_scheduler whose steps multiply the rate: decays, ramps and averages."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from lrsched_cli.dialects.torch_base import (
    TORCH,
    Chainable,
    Failure,
    Group,
    Recursion,
    Step,
    TorchSchedule,
    any_ticks,
    is_whole,
    per_group,
)
from lrsched_cli.errors import must
from lrsched_cli.schedules.base import Mark, next_of
from lrsched_cli.schedules.decay import next_multiple
from lrsched_cli.schedules.expression import CompiledExpression, compile_expression
from lrsched_cli.schedules.parameters import REQUIRED, param
from lrsched_cli.schedules.ticks import (
    Array,
    Times,
    cos_pi,
    filled,
    minimum,
    per_cycle,
    periodic,
    piecewise,
    pow_,
    power_of,
    steps,
    written,
)


def _compiled(text: str) -> CompiledExpression:
    return compile_expression(text, ["t"], parameter="lr_lambda")


@dataclass(frozen=True, kw_only=True)
class LambdaLR(TorchSchedule):
    """The rate times a function of the tick."""

    kind = "torch.LambdaLR"
    formula = "lr * lr_lambda(t)"
    source = f"{TORCH}.LambdaLR"
    sets: ClassVar[bool] = True

    lr_lambda: str = per_group("expression", REQUIRED, "Factor of the rate, such as lambda t: 0.95 ** t.")

    def check(self) -> None:
        super().check()
        self._function(np.zeros(1))

    @cached_property
    def _function(self) -> CompiledExpression:
        return _compiled(self.lr_lambda)

    def curve(self, t: Times) -> Any:
        return self._function(written(t)) * self.lr

    def next_knot(self, t: Array) -> Array:
        return self._function.next_knot(t)


@dataclass(frozen=True, kw_only=True)
class MultiplicativeLR(Chainable):
    """The rate before, times a function of the tick."""

    kind = "torch.MultiplicativeLR"
    formula = "lr * lr_lambda(1) * lr_lambda(2) * ... * lr_lambda(t)"
    source = f"{TORCH}.MultiplicativeLR"
    cumulative = True
    starts_late: ClassVar[bool] = True

    lr_lambda: str = per_group("expression", REQUIRED, "Factor of each tick, such as lambda t: 0.95.")

    def check(self) -> None:
        super().check()
        assert self._function

    @cached_property
    def _function(self) -> CompiledExpression:
        return _compiled(self.lr_lambda)

    @cached_property
    def _products(self) -> Recursion:
        return Recursion(self.kind, 1.0, lambda clock: [self.step_to(clock)])

    @property
    def regular_until(self) -> float:
        return -math.inf

    def part(self, t: Times) -> Any:
        return self._products(t)

    def step_to(self, clock: Array) -> Step:
        return Step(self._function(clock))

    def entry(self) -> Step:
        # Unlike the others it goes on from the current rate, and applies lr_lambda(0), which its constructor does not.
        return self.step_to(np.zeros(1))

    def next_knot(self, t: Array) -> Array:
        return t + 1


@dataclass(frozen=True, kw_only=True)
class StepLR(Chainable):
    """A factor every so many ticks."""

    kind = "torch.StepLR"
    formula = "lr * gamma ** floor(t / step_size)"
    source = f"{TORCH}.StepLR"

    step_size: float = param("ticks", REQUIRED, "Ticks between two drops.")
    gamma: float = param("number", 0.1, "Factor at each drop.")

    @property
    def failure(self) -> Failure | None:
        return Failure(1, "step_size is 0") if self.step_size == 0 else None

    @property
    def _period(self) -> float:
        """It drops at multiples of step_size that are whole ticks, so 2.5 drops every 5."""
        return abs(Fraction(self.step_size).numerator) or 1 if math.isfinite(self.step_size) else math.inf

    def part(self, t: Times) -> Any:
        if self._period == math.inf:
            return 1.0
        return per_cycle(lambda drops: power_of(self.gamma, drops), t, self._period)

    def step_to(self, clock: Array) -> Step:
        return Step(np.where((clock != 0) & (np.mod(clock, self._period) == 0), self.gamma, 1.0))

    def entry(self) -> Step:
        return Step(0.0, 0.0, self.lr if self.step_size else math.nan)

    def next_knot(self, t: Array) -> Array:
        return super().next_knot(t) if self._period == math.inf else next_multiple(self._period, t)


@dataclass(frozen=True, kw_only=True)
class MultiStepLR(Chainable):
    """A factor at each milestone; milestones may repeat and come in any order."""

    kind = "torch.MultiStepLR"
    formula = "lr * gamma ** (number of milestones in 0..t)"
    source = f"{TORCH}.MultiStepLR"

    milestones: tuple[float, ...] = any_ticks(REQUIRED, "Ticks at which the rate drops.")
    gamma: float = param("number", 0.1, "Factor at each drop.")

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        # A milestone that is negative or between two ticks is never reached.
        reached = np.array(sorted(m for m in self.milestones if m >= 0 and is_whole(m)), dtype=np.float64)
        return reached, np.power(float(self.gamma), np.arange(len(reached) + 1.0))

    def part(self, t: Times) -> Any:
        return steps(t, *self._table)

    def step_to(self, clock: Array) -> Step:
        at = self._table[0]
        count = np.searchsorted(at, clock, side="right") - np.searchsorted(at, clock, side="left")
        return Step(np.power(float(self.gamma), count))

    def entry(self) -> Step:
        return Step(0.0, 0.0, self.lr * self.gamma ** sum(m <= 0 for m in self.milestones))

    def next_knot(self, t: Array) -> Array:
        return next_of(self._table[0].tolist(), t)

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple((int(m), "drop") for m in dict.fromkeys(self._table[0].tolist()) if m > 0)[:12]


@dataclass(frozen=True, kw_only=True)
class ConstantLR(Chainable):
    """A factor that is taken back after so many ticks."""

    kind = "torch.ConstantLR"
    formula = "lr * factor before total_iters, then lr"
    source = f"{TORCH}.ConstantLR"

    factor: float = param("number", 1 / 3, "Factor of the rate.", ge=0, le=1)
    total_iters: float = param("ticks", 5, "Ticks until the factor is taken back.")

    @property
    def _taken_back(self) -> bool:
        """Whether a tick comes at which the factor is taken back: a whole one after the first."""
        return self.total_iters >= 1 and is_whole(self.total_iters)

    @property
    def failure(self) -> Failure | None:
        if self.factor == 0 and self._taken_back:
            return Failure(int(self.total_iters), "factor 0 cannot be taken back")
        return None

    def part(self, t: Times) -> Any:
        if not self._taken_back:
            return self.factor
        return piecewise(t, [self.total_iters], [lambda _: self.factor, lambda _: 1.0])

    def step_to(self, clock: Array) -> Step:
        back = np.divide(1.0, self.factor)
        return Step(np.where(clock == 0, self.factor, np.where(clock == self.total_iters, back, 1.0)))

    def entry(self) -> Step:
        return Step(0.0, 0.0, self.lr * (self.factor if self.total_iters > 0 else 1.0))

    def next_knot(self, t: Array) -> Array:
        return next_of([self.total_iters] if self._taken_back else [], t)

    @property
    def length(self) -> int | None:
        return int(self.total_iters) if self._taken_back else None

    @property
    def marks(self) -> tuple[Mark, ...]:
        return ((int(self.total_iters), "full rate"),) if self._taken_back else ()


def _last_change(total_iters: float) -> float:
    """The last clock at which a ramp over ``total_iters`` still moves; 0 where it never does."""
    return float(np.floor(max(total_iters, 0)))


@dataclass(frozen=True, kw_only=True)
class LinearLR(Chainable):
    """A straight line between two factors of the rate."""

    kind = "torch.LinearLR"
    formula = "lr * (start_factor + (end_factor - start_factor) * min(t, total_iters) / total_iters)"
    source = f"{TORCH}.LinearLR"

    start_factor: float = param("number", 1 / 3, "Factor at tick 0.", gt=0, le=1)
    end_factor: float = param("number", 1.0, "Factor at the end.", ge=0, le=1)
    total_iters: float = param("ticks", 5, "Ticks from the start to the end.")

    @property
    def length(self) -> int | None:
        return int(self._end) if 0 < self._end < math.inf else None

    @property
    def _end(self) -> float:
        return _last_change(self.total_iters)

    def part(self, t: Times) -> Any:
        if not self._end:
            return self.start_factor
        rise = (self.end_factor - self.start_factor) / self.total_iters
        return minimum(t, self._end) * rise + self.start_factor

    def step_to(self, clock: Array) -> Step:
        rise = self.end_factor - self.start_factor
        ratio = 1 + rise / (self.total_iters * self.start_factor + (clock - 1) * rise)
        return Step(np.where(clock == 0, self.start_factor, np.where(clock > self.total_iters, 1.0, ratio)))

    def entry(self) -> Step:
        n = np.float64(self.total_iters)
        rise = self.end_factor - self.start_factor
        return Step(0.0, 0.0, self.lr * (self.start_factor + rise * np.minimum(n, 0) / n))

    def next_knot(self, t: Array) -> Array:
        return next_of([self._end] if self._end else [], t)

    @property
    def marks(self) -> tuple[Mark, ...]:
        return () if self.length is None else ((self.length, "hold"),)

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self._end else (f"total_iters is {self.total_iters}: the rate stays at start_factor for ever",)


@dataclass(frozen=True, kw_only=True)
class ExponentialLR(Chainable):
    """A constant factor every tick."""

    kind = "torch.ExponentialLR"
    formula = "lr * gamma ** t"
    source = f"{TORCH}.ExponentialLR"
    starts_late: ClassVar[bool] = True

    gamma: float = param("number", REQUIRED, "Factor of each tick.")

    def part(self, t: Times) -> Any:
        return power_of(self.gamma, t)

    def step_to(self, clock: Array) -> Step:
        return Step(np.full(clock.shape, self.gamma))

    def next_knot(self, t: Array) -> Array:
        return super().next_knot(t) if self.gamma > 0 else t + 1


@dataclass(frozen=True, kw_only=True)
class PolynomialLR(Chainable):
    """A power of the part of the ticks that remains."""

    kind = "torch.PolynomialLR"
    formula = "lr * (1 - min(t, total_iters) / total_iters) ** power"
    source = f"{TORCH}.PolynomialLR"
    starts_late: ClassVar[bool] = True

    total_iters: float = param("ticks", 5, "Ticks from the start to 0.")
    power: float = param("number", 1.0, "Exponent.")

    @property
    def failure(self) -> Failure | None:
        if self.power < 0 and self._end and is_whole(self.total_iters):
            return Failure(int(self.total_iters), "0 cannot be raised to a negative power")
        return None

    @property
    def length(self) -> int | None:
        return int(self._end) if 0 < self._end < math.inf else None

    @property
    def _end(self) -> float:
        return _last_change(self.total_iters)

    def part(self, t: Times) -> Any:
        return pow_(1 - minimum(t, self._end) / self.total_iters, self.power) if self._end else 1.0

    def step_to(self, clock: Array) -> Step:
        n = np.float64(self.total_iters)
        ratio = np.power((1 - clock / n) / (1 - (clock - 1) / n), self.power)
        return Step(np.where(clock > n, 1.0, ratio))

    def entry(self) -> Step:
        n = np.float64(self.total_iters)
        return Step(0.0, 0.0, self.lr * np.power(1 - np.minimum(n, 0) / n, float(self.power)))

    def next_knot(self, t: Array) -> Array:
        return next_of([self._end] if self._end else [], t)

    @property
    def marks(self) -> tuple[Mark, ...]:
        return () if self.length is None else ((self.length, "hold"),)


@dataclass(frozen=True, kw_only=True)
class CosineAnnealingLR(Chainable):
    """A cosine wave from the rate down to a floor at T_max, and up again past it."""

    kind = "torch.CosineAnnealingLR"
    formula = "eta_min + (lr - eta_min) * (1 + cos(pi * t / T_max)) / 2"
    source = f"{TORCH}.CosineAnnealingLR; Loshchilov and Hutter 2017, arXiv 1608.03983"
    starts_late: ClassVar[bool] = True

    T_max: float = param("ticks", REQUIRED, "Ticks from the rate to the floor.")
    eta_min: float = param("number", 0.0, "The floor.")

    @property
    def failure(self) -> Failure | None:
        return Failure(1, "T_max is 0") if self.T_max == 0 else None

    @property
    def center(self) -> float:
        return self.eta_min

    @property
    def _half(self) -> float:
        return abs(self.T_max)

    @property
    def _exact(self) -> bool:
        """Whether the steps follow the wave for ever.

        They do where ticks meet its floor exactly or stay clear of it. Other fractions may divide by a rounded 0.
        """
        return is_whole(self.T_max) or (is_whole(2 * self.T_max) and self._half < 1000) or math.isinf(self.T_max)

    @property
    def regular_until(self) -> float:
        if not self._exact:
            return -math.inf
        return self._half if is_whole(self.T_max) else math.inf

    def part(self, t: Times) -> Any:
        if math.isinf(self.T_max) or self.T_max == 0:
            return 1.0
        # The clock is reduced to one wave so that no digit is lost far out.
        return periodic(lambda x: cos_pi(x / self._half) * 0.5 + 0.5, t, 2 * self._half)

    def curve(self, t: Times) -> Any:
        return super().curve(t) if self._exact else self._stepped(t)

    @cached_property
    def _stepped(self) -> Recursion:
        return Recursion(self.kind, self.lr, lambda clock: [self.step_to(clock)])

    def step_to(self, clock: Array) -> Step:
        wave = 1 + np.cos(np.pi * clock / self.T_max)
        # At the floor a ratio has nothing to multiply: torch adds the first rise instead.
        adds = np.mod(clock - 1 - self.T_max, 2 * self.T_max) == 0
        scale = wave / (1 + np.cos(np.pi * (clock - 1) / self.T_max))
        rise = (self.lr - self.eta_min) * (1 - np.cos(np.pi / np.float64(self.T_max))) / 2
        center = np.where(adds, 0.0, self.eta_min)
        return Step(np.where(adds, 1.0, scale), center, np.where(adds, rise, self.eta_min))

    def entry(self) -> Step:
        return Step(0.0, 0.0, self.lr if self.T_max else math.nan)

    def next_knot(self, t: Array) -> Array:
        return next_multiple(self._half, t) if self._exact and self._half >= 1 else t + 1

    @property
    def length(self) -> int | None:
        return int(self.T_max) if is_whole(self.T_max) and self.T_max > 0 else None

    @property
    def notes(self) -> tuple[str, ...]:
        return ("past T_max the rate climbs back, and reaches lr at 2 * T_max",) if self.length else ()


@dataclass(frozen=True, kw_only=True)
class SWALR(Chainable):
    """The anneal of stochastic weight averaging: from the current rate to a constant one."""

    kind = "torch.SWALR"
    formula = "swa_lr + (lr - swa_lr) * (1 + cos(pi * x)) / 2, x = min(1, t / anneal_epochs)"
    source = "torch.optim.swa_utils.SWALR; Izmailov et al. 2018, arXiv 1803.05407"
    counts_steps: ClassVar[bool] = True

    swa_lr: float = per_group("number", REQUIRED, "The constant rate of the average.")
    anneal_epochs: int = param("ticks", 10, "Ticks of the anneal.")
    anneal_strategy: str = param("choice", "cos", "Shape of the anneal.", choices=("cos", "linear"))

    def check(self) -> None:
        super().check()
        if not isinstance(self.anneal_epochs, int) or self.anneal_epochs < 0:
            raise must("anneal_epochs", "a whole number >= 0", self.anneal_epochs)

    @property
    def center(self) -> float:
        return self.swa_lr

    def part(self, t: Times) -> Any:
        if not self.anneal_epochs:
            return 0.0
        x = minimum(t / self.anneal_epochs, 1.0)
        return 1 - x if self.anneal_strategy == "linear" else cos_pi(x) * 0.5 + 0.5

    def step_to(self, clock: Array) -> Step:
        after, before = (filled(self.part(np.maximum(c, 0.0)), len(c)) for c in (clock, clock - 1))
        return Step(np.where(before == 0, 0.0, after / before), self.swa_lr, self.swa_lr)

    def entry(self) -> Step:
        return self.step_to(np.zeros(1))

    def constructed(self, group: Group) -> Self:
        group.swa_lr = self.swa_lr
        return super().constructed(group)

    def under(self, group: Group) -> Self:
        return replace(self, swa_lr=group.swa_lr)

    def next_knot(self, t: Array) -> Array:
        return next_of([self.anneal_epochs], t)

    @property
    def length(self) -> int | None:
        return self.anneal_epochs

    @property
    def marks(self) -> tuple[Mark, ...]:
        return ((self.anneal_epochs, "average"),)
