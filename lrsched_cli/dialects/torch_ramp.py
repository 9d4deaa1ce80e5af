"""The classes of torch.optim.lr_scheduler that take the rate from one level to another: ramps, waves and averages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from lrsched_cli.dialects.foreign import Failure
from lrsched_cli.dialects.parameters import is_whole, per_group
from lrsched_cli.dialects.torch_base import TORCH, Chainable, Group, Recursion, Step
from lrsched_cli.errors import must
from lrsched_cli.schedules.base import Mark, next_of
from lrsched_cli.schedules.decay import next_multiple
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
    written,
)

#: From this T_max on, rounding at the floor of a cosine shows in the wave after it.
ROUNDED_T_MAX = 2000


def _last_change(total_iters: float) -> float:
    """The last clock at which a ramp over ``total_iters`` still moves; 0 where it never does."""
    return float(np.floor(max(total_iters, 0)))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Ramp(Chainable):
    """A scheduler that changes the rate until ``total_iters``."""

    total_iters: float

    @property
    def length(self) -> int | None:
        return int(self._end) if 0 < self._end < math.inf else None

    @property
    def _end(self) -> float:
        return _last_change(self.total_iters)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LinearLR(Ramp):
    """A straight line between two factors of the rate."""

    kind = "torch.LinearLR"
    formula = "lr * (start_factor + (end_factor - start_factor) * min(t, total_iters) / total_iters)"
    source = f"{TORCH}.LinearLR"

    start_factor: float = param("number", 1 / 3, "Factor at tick 0.", gt=0, le=1)
    end_factor: float = param("number", 1.0, "Factor at the end.", ge=0, le=1)
    total_iters: float = param("ticks", 5, "Ticks from the start to the end.")

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

    def notes(self, total: int) -> tuple[str, ...]:
        return () if self._end else (f"total_iters is {self.total_iters}: the rate stays at start_factor for ever",)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PolynomialLR(Ramp):
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

    def part(self, t: Times) -> Any:
        if not self._end:
            return 1.0

        def falling(x: Times) -> Any:
            return pow_(1 - x / self.total_iters, self.power)

        # The end for itself: in a row of ticks it could be rounded to less than 0, which has no power.
        return piecewise(t, [self._end], [falling, lambda _: float(falling(np.array([float(self._end)]))[0])])

    def step_to(self, clock: Array) -> Step:
        n = np.float64(self.total_iters)
        # Nothing is left at the end: written out, a row of ticks may round it to less.
        rest = np.where(clock == n, 0.0, 1 - clock / n)
        ratio = np.power(rest / (1 - (clock - 1) / n), self.power)
        return Step(np.where(clock > n, 1.0, ratio))

    def entry(self) -> Step:
        n = np.float64(self.total_iters)
        return Step(0.0, 0.0, self.lr * np.power(1 - np.minimum(n, 0) / n, float(self.power)))

    def next_knot(self, t: Array) -> Array:
        return next_of([self._end] if self._end else [], t)

    @property
    def marks(self) -> tuple[Mark, ...]:
        return () if self.length is None else ((self.length, "hold"),)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineAnnealingLR(Chainable):
    """A cosine wave from the rate down to a floor at T_max, and up again past it."""

    kind = "torch.CosineAnnealingLR"
    example: ClassVar[Mapping[str, Any]] = {"T_max": 100}
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
        if not self._exact:
            return self._stepped(t)
        if self.eta_min == 0 or not ROUNDED_T_MAX <= self._half < math.inf:
            return super().curve(t)
        scale = per_cycle(self._rises, t + self._half, 2 * self._half)
        return self.part(t) * scale * (self.lr - self.eta_min) + self.eta_min

    def _rises(self, waves: Any) -> Array:
        """The heights of waves, counted from floor to floor, that are left when the first steps of each are rounded.

        Beside a floor above 0 the first rise has few digits left, and torch multiplies what remains of it.
        """
        numbers, index = np.unique(written(waves), return_inverse=True)
        return np.array([self._rise(int(number)) for number in numbers])[index]

    def _rise(self, wave: int) -> float:
        if wave < 1 or self.lr == self.eta_min:
            return 1.0
        floor = (2 * wave - 1) * int(self._half)
        before = 1 + math.cos(math.pi * (floor + 1) / self.T_max)
        rate = self.eta_min + (self.lr - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        for clock in range(floor + 2, floor + 256):
            now = 1 + math.cos(math.pi * clock / self.T_max)
            rate = now / before * (rate - self.eta_min) + self.eta_min
            before = now
        return (rate - self.eta_min) / ((self.lr - self.eta_min) * before / 2)

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

    def notes(self, total: int) -> tuple[str, ...]:
        if self.length is None or total - 1 <= self.length:
            return ()
        return (f"past T_max {self.length} the rate climbs back, and reaches lr at {2 * self.length}",)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SWALR(Chainable):
    """The anneal of stochastic weight averaging: from the current rate to a constant one."""

    kind = "torch.SWALR"
    example: ClassVar[Mapping[str, Any]] = {"swa_lr": 0.05}
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
