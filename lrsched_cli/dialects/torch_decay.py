"""The classes of torch.optim.lr_scheduler that multiply the rate by a factor: at every tick, at some, or until one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from lrsched_cli.dialects.foreign import Failure
from lrsched_cli.dialects.parameters import any_ticks, is_whole, per_group
from lrsched_cli.dialects.torch_base import TORCH, Chainable, Recursion, Step, TorchSchedule
from lrsched_cli.schedules.base import Mark, next_of
from lrsched_cli.schedules.decay import next_multiple
from lrsched_cli.schedules.expression import CompiledExpression, compile_expression
from lrsched_cli.schedules.parameters import REQUIRED, param
from lrsched_cli.schedules.ticks import (
    Array,
    Times,
    per_cycle,
    piecewise,
    power_of,
    steps,
    written,
)


def _compiled(text: str) -> CompiledExpression:
    return compile_expression(text, ["t"], parameter="lr_lambda")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LambdaLR(TorchSchedule):
    """The rate times a function of the tick."""

    kind = "torch.LambdaLR"
    example: ClassVar[Mapping[str, Any]] = {"lr_lambda": "lambda t: 0.95 ** t"}
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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MultiplicativeLR(Chainable):
    """The rate before, times a function of the tick."""

    kind = "torch.MultiplicativeLR"
    example: ClassVar[Mapping[str, Any]] = {"lr_lambda": "lambda t: 0.95"}
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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StepLR(Chainable):
    """A factor every so many ticks."""

    kind = "torch.StepLR"
    example: ClassVar[Mapping[str, Any]] = {"step_size": 30}
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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MultiStepLR(Chainable):
    """A factor at each milestone; milestones may repeat and come in any order."""

    kind = "torch.MultiStepLR"
    example: ClassVar[Mapping[str, Any]] = {"milestones": (50, 75)}
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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExponentialLR(Chainable):
    """A constant factor every tick."""

    kind = "torch.ExponentialLR"
    example: ClassVar[Mapping[str, Any]] = {"gamma": 0.95}
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
