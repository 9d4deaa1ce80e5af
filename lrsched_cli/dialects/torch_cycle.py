"""The classes of torch.optim.lr_scheduler that go up and down, or follow a metric."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from lrsched_cli.dialects.foreign import Failure
from lrsched_cli.dialects.parameters import optimizer_param, per_group
from lrsched_cli.dialects.plateau import ReduceOnPlateau
from lrsched_cli.dialects.torch_base import TORCH, Group, TorchSchedule
from lrsched_cli.errors import SpecError, must
from lrsched_cli.schedules.base import Mark, Schedule, next_of, next_periodic
from lrsched_cli.schedules.cycle import Follow
from lrsched_cli.schedules.expression import CompiledExpression, compile_expression
from lrsched_cli.schedules.parameters import MOMENTUM, REQUIRED, param
from lrsched_cli.schedules.ticks import (
    Array,
    Times,
    anneal,
    cos_pi,
    cycle,
    cycle_start,
    filled,
    per_cycle,
    periodic,
    piecewise,
    power_of,
    written,
)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineAnnealingWarmRestarts(TorchSchedule):
    """Cosine annealing that starts again from the top, cycle after cycle."""

    kind = "torch.CosineAnnealingWarmRestarts"
    example: ClassVar[Mapping[str, Any]] = {"T_0": 34}
    formula = "eta_min + (lr - eta_min) * (1 + cos(pi * t_i / T_i)) / 2, T_i = T_0 * T_mult ** i"
    source = f"{TORCH}.CosineAnnealingWarmRestarts; Loshchilov and Hutter 2017, arXiv 1608.03983"
    sets: ClassVar[bool] = True

    T_0: int = param("ticks", REQUIRED, "Ticks of the first cycle.")
    T_mult: int = param("number", 1, "Each cycle is this many times longer than the one before.")
    eta_min: float = param("number", 0.0, "The floor.")

    def check(self) -> None:
        super().check()
        if not isinstance(self.T_0, int) or self.T_0 <= 0:
            raise must("T_0", "a whole number > 0", self.T_0)
        if not isinstance(self.T_mult, int) or self.T_mult < 1:
            raise must("T_mult", "a whole number >= 1", self.T_mult)

    def curve(self, t: Times) -> Any:
        if self.T_mult == 1:
            wave = periodic(lambda x: cos_pi(x / self.T_0), t, self.T_0)
        else:
            _, x, length = cycle(t, self.T_0, self.T_mult)
            wave = cos_pi(x / length)
        half = (self.lr - self.eta_min) / 2
        return wave * half + (half + self.eta_min)

    def next_knot(self, t: Array) -> Array:
        number, _, _ = cycle(t, self.T_0, self.T_mult)
        return np.asarray(cycle_start(number + 1, self.T_0, self.T_mult))

    @property
    def marks(self) -> tuple[Mark, ...]:
        if self.T_mult == 1:
            return ()
        return tuple((int(cycle_start(i, self.T_0, self.T_mult)), f"cycle {i + 1}") for i in range(1, 12))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Cycling(TorchSchedule):
    """A class that sets the rate and, inversely, the momentum, whatever the optimizer's own are."""

    sets: ClassVar[bool] = True

    cycle_momentum: bool = param("bool", True, "Cycle the momentum too, inversely.")
    base_momentum: float = per_group("number", 0.8, "Momentum at the upper rate.")
    max_momentum: float = per_group("number", 0.9, "Momentum at the lower rate.")
    optimizer: str = optimizer_param()

    def check(self) -> None:
        super().check()
        if self.cycle_momentum and self.optimizer not in MOMENTUM:
            raise SpecError(
                f"must have momentum or betas where cycle_momentum is on, got {self.optimizer}", parameter="optimizer"
            )

    def constructed(self, group: Group) -> Self:
        if self.cycle_momentum:
            group.swing = (self.base_momentum, self.max_momentum)
        bound = self._constructed(group)
        group.momentum = bound.momentum_at(np.zeros(1), group.momentum)
        return bound

    @abstractmethod
    def _constructed(self, group: Group) -> Self:
        """The schedule as :meth:`constructed` gives it, after what its constructor does to the rates of the group."""

    @abstractmethod
    def momentum_curve(self, t: Times) -> Any:
        """The momentum at each clock."""

    def momentum_at(self, clock: Array, current: float | None) -> float | None:
        """The momentum after the step to a clock, given the one before it."""
        return float(filled(self.momentum_curve(clock), 1)[0]) if self.cycle_momentum else current

    @property
    def momentum(self) -> Schedule | None:
        return Follow(of=self, rule=self.momentum_curve) if self.cycle_momentum else None

    def notes(self, total: int) -> tuple[str, ...]:
        notes = [f"{self.kind} sets the rate itself and ignores the optimizer's lr"]
        if self.cycle_momentum:
            name = MOMENTUM[self.optimizer]
            notes.append(f"cycle_momentum is on: {name} cycles between {self.base_momentum} and {self.max_momentum}")
        return tuple(notes)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CyclicLR(Cycling):
    """A triangle wave between two rates, of constant or changing height."""

    kind = "torch.CyclicLR"
    example: ClassVar[Mapping[str, Any]] = {"base_lr": 0.001, "max_lr": 0.1, "step_size_up": 20}
    formula = "base_lr + (max_lr - base_lr) * triangle(t) * scale, scale 1, 2 ** -cycle or gamma ** t by mode"
    source = f"{TORCH}.CyclicLR; Smith 2017, arXiv 1506.01186"

    base_lr: float = per_group("number", REQUIRED, "Lower rate.")
    max_lr: float = per_group("number", REQUIRED, "Upper rate.")
    step_size_up: float = param("ticks", 2000, "Ticks of the rising half.")
    step_size_down: float | None = param("ticks", None, "Ticks of the falling half; as many as rise by default.")
    mode: str = param(
        "choice", "triangular", "How the height scales.", choices=("triangular", "triangular2", "exp_range")
    )
    gamma: float = param("number", 1.0, "Factor of the height, each tick, in mode exp_range.")
    scale_fn: str | None = param("expression", None, "Factor of the height instead, such as lambda x: 1 / x.")
    scale_mode: str = param(
        "choice", "cycle", "What scale_fn is given: the cycle, from 1, or the tick.", choices=("cycle", "iterations")
    )

    def check(self) -> None:
        super().check()
        if not self._total or not self.step_size_up:
            raise must("step_size_up", "other than 0, and than -step_size_down", self.step_size_up)
        if self._function is not None:
            self._scale(np.zeros(1))

    @cached_property
    def _function(self) -> CompiledExpression | None:
        return None if self.scale_fn is None else compile_expression(self.scale_fn, ["x"], parameter="scale_fn")

    @property
    def _total(self) -> float:
        down = self.step_size_up if self.step_size_down is None else self.step_size_down
        return float(self.step_size_up) + float(down)

    @property
    def _ratio(self) -> float:
        return self.step_size_up / self._total

    def _triangle(self, clock: Times) -> Any:
        x, ratio = written(clock) / self._total, self._ratio
        return np.where(x <= ratio, x / ratio, (x - 1) / (ratio - 1))

    def _scale(self, t: Times) -> Any:
        function = self._function
        if function is not None and self.scale_mode == "iterations":
            return function(written(t))
        if function is not None:
            return per_cycle(
                lambda i: filled(function(np.atleast_1d(written(i)) + 1), np.size(written(i))), t, self._total
            )
        if self.mode == "triangular2":
            return per_cycle(lambda i: power_of(0.5, i), t, self._total)
        return power_of(self.gamma, t) if self.mode == "exp_range" and self.gamma != 1 else 1.0

    def _height(self, t: Times) -> Any:
        if self._total < 0:
            t = written(t)
        return periodic(self._triangle, t, self._total) * self._scale(t)

    def curve(self, t: Times) -> Any:
        return self._height(t) * (self.max_lr - self.base_lr) + self.base_lr

    def momentum_curve(self, t: Times) -> Any:
        return self._height(t) * (self.base_momentum - self.max_momentum) + self.max_momentum

    def _constructed(self, group: Group) -> Self:
        # The first step of the constructor still starts at the rate that an earlier scheduler took for its base.
        group.lr = self.base_lr
        group.lr = float(replace(self, base_lr=group.base()).curve(np.zeros(1))[0])
        return self

    def next_knot(self, t: Array) -> Array:
        if self._total < 0:
            return t + 1
        period, up = self._total, float(self.step_size_up)
        knots = next_periodic([0.0, up] if 0 < up < period else [0.0], period, t)
        if self.scale_fn is not None and self.scale_mode == "iterations":
            return np.minimum(knots, t + 1)
        if self.scale_fn is None and self.mode == "exp_range" and self.gamma != 1:
            return np.minimum(knots, self._next_turn(t, period))
        return knots

    def _next_turn(self, t: Array, period: float) -> Array:
        """Where a height that grows or falls by the tick outweighs the slope of the triangle."""
        if self.gamma <= 0 or not 0 <= self._ratio <= 1:
            return t + 1
        turn = -1 / math.log(self.gamma) + (period if self.gamma > 1 else 0)
        return next_periodic([turn if 0 <= turn < period else 0.0], period, t)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OneCycleLR(Cycling):
    """The one-cycle policy: up to the peak, then down far below the start."""

    kind = "torch.OneCycleLR"
    example: ClassVar[Mapping[str, Any]] = {"max_lr": 0.1, "total_steps": 100}
    formula = (
        "max_lr / div_factor to max_lr until t = pct_start * total_steps - 1, "
        "then to max_lr / div_factor / final_div_factor at t = total_steps - 1"
    )
    source = f"{TORCH}.OneCycleLR; Smith and Topin 2018, arXiv 1708.07120"

    max_lr: float = per_group("number", REQUIRED, "Peak.")
    total_steps: int | None = param("ticks", None, "Ticks of the whole cycle.", length="step")
    epochs: int | None = param("number", None, "Epochs of the whole cycle, where total_steps is not given.")
    steps_per_epoch: int | None = param("number", None, "Ticks of each of these epochs.")
    pct_start: float = param("number", 0.3, "Part of the cycle that rises.", ge=0, le=1)
    anneal_strategy: str = param("choice", "cos", "Shape of the phases.", choices=("cos", "linear"))
    base_momentum: float = per_group("number", 0.85, "Momentum at the peak.")
    max_momentum: float = per_group("number", 0.95, "Momentum at the start and the end.")
    div_factor: float = param("number", 25.0, "The start is max_lr over this.")
    final_div_factor: float = param("number", 1e4, "The end is the start over this.")
    three_phase: bool = param("bool", False, "Fall back to the start as fast as it rose, then to the end.")

    #: The levels of the group, where a later OneCycleLR or CyclicLR has put its own in their place.
    levels: tuple[float, float, float] | None = dataclasses.field(default=None, repr=False)
    swing: tuple[float, float] | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def own_length(cls, given: Mapping[str, Any]) -> tuple[int, str] | None:
        """The ticks and interval of its own length, where the parameters say it in plain numbers."""
        epochs, per_epoch = given.get("epochs"), given.get("steps_per_epoch")
        if given.get("total_steps") is None and type(epochs) is int and type(per_epoch) is int:
            return (epochs * per_epoch, "step") if epochs > 0 and per_epoch > 0 else None
        return super().own_length(given)

    def check(self) -> None:
        super().check()
        if self.total_steps is None and (self.epochs is None or self.steps_per_epoch is None):
            raise SpecError(f"{self.kind} needs total_steps, or epochs and steps_per_epoch")
        names = ("epochs", "steps_per_epoch") if self.total_steps is None else ("total_steps",)
        for name in names:
            value = getattr(self, name)
            if not isinstance(value, int) or value <= 0:
                raise must(name, "a whole number > 0", value)
        if not isinstance(self.pct_start, float):
            raise must("pct_start", "a float such as 0.3 or 1.0 (torch refuses whole numbers)", self.pct_start)
        for name in ("div_factor", "final_div_factor"):
            if getattr(self, name) == 0:
                raise must(name, "other than 0", 0)
        if self._ends[0] == 0:
            raise SpecError(
                f"must not be 1 / {self._total}: torch divides by zero where the rise ends at tick 0",
                parameter="pct_start",
            )

    @property
    def failure(self) -> Failure | None:
        if self._ends[-2] == self._total - 1:
            return Failure(self._total, "the phase before the last ends with the cycle, and torch divides by zero")
        return Failure(self._total + 1, f"it has been stepped more than its total_steps, {self._total}")

    @property
    def length(self) -> int:
        return self._total - 1

    @property
    def _total(self) -> int:
        if self.total_steps is not None:
            return self.total_steps
        assert self.epochs is not None
        assert self.steps_per_epoch is not None
        return self.epochs * self.steps_per_epoch

    @property
    def _ends(self) -> tuple[float, ...]:
        """Where the phases end; the peak may fall between two ticks."""
        rise = self.pct_start * self._total - 1
        inner = (rise, 2 * self.pct_start * self._total - 2) if self.three_phase else (rise,)
        return (*inner, float(self._total - 1))

    @property
    def _starts(self) -> Array:
        # A phase still rules at the tick on which it ends.
        return np.maximum.accumulate(np.floor(self._ends[:-1]) + 1)

    def _phases(self, t: Times, levels: Sequence[float]) -> Any:
        def phase(i: int) -> Callable[[Times], Any]:
            start, end = (self._ends[i - 1] if i else 0.0), self._ends[i]
            low, high = levels[i], levels[i + 1]

            return lambda x: anneal((x - start) / (end - start), low, high, self.anneal_strategy)

        return piecewise(t, self._starts.tolist(), [phase(i) for i in range(len(self._ends))])

    @property
    def _levels(self) -> tuple[float, float, float]:
        """The rate at the start, at the peak and at the end."""
        start = self.max_lr / self.div_factor
        return self.levels or (start, self.max_lr, start / self.final_div_factor)

    def curve(self, t: Times) -> Any:
        start, peak, end = self._levels
        return self._phases(t, [start, peak, start, end] if self.three_phase else [start, peak, end])

    def momentum_curve(self, t: Times) -> Any:
        low, high = self.swing or (self.base_momentum, self.max_momentum)
        return self._phases(t, [high, low, high, high] if self.three_phase else [high, low, high])

    def _constructed(self, group: Group) -> Self:
        group.levels = self._levels
        group.initial_lr = self._levels[0]
        group.lr = float(self.curve(np.zeros(1))[0])
        return self

    def under(self, group: Group) -> Self:
        return replace(self, levels=group.levels, swing=group.swing if self.cycle_momentum else None)

    def next_knot(self, t: Array) -> Array:
        return next_of(sorted([*self._starts, self._total - 1]), t)

    @property
    def marks(self) -> tuple[Mark, ...]:
        names = ("fall", "final") if self.three_phase else ("fall",)
        return tuple((int(start), name) for start, name in zip(self._starts, names, strict=True) if start > 0)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ReduceLROnPlateau(ReduceOnPlateau):
    """The rate is cut where a metric stops improving."""

    kind = "torch.ReduceLROnPlateau"
    source = f"{TORCH}.ReduceLROnPlateau"
