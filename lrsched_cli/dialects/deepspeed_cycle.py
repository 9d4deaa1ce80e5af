"""DeepSpeed's OneCycle: one triangle, by stairs where these are counted, and a decay after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from lrsched_cli.dialects.foreign import Failure, Foreign
from lrsched_cli.dialects.parameters import per_group
from lrsched_cli.run import MAX_TICKS
from lrsched_cli.schedules.base import Mark, Schedule
from lrsched_cli.schedules.cycle import Follow
from lrsched_cli.schedules.forms import Form, Level, Transition, phases, then
from lrsched_cli.schedules.parameters import MOMENTUM, OPTIMIZERS, REQUIRED, param
from lrsched_cli.schedules.ticks import Array, Times, filled, periodic, piecewise, written


@dataclass(frozen=True)
class Triangles(Form):
    """From one value to another and back, again and again; each side a line, or so many stairs."""

    low: float
    high: float
    up: float
    down: float
    up_stairs: float = 0
    down_stairs: float = 0

    def __call__(self, t: Times) -> Any:
        # The rise still rules at the peak.
        sides = partial(piecewise, starts=[np.nextafter(self.up, np.inf)], pieces=[self._rise, self._fall])
        return periodic(sides, t, self.up + self.down) * (self.high - self.low) + self.low

    def _rise(self, x: Times) -> Any:
        return _stepped(x, self.up, self.up_stairs)

    def _fall(self, x: Times) -> Any:
        return _stepped(self.up + self.down - x, self.down, self.down_stairs)

    def next_knot(self, t: Array) -> Array:
        start = np.floor(t / (self.up + self.down)) * (self.up + self.down)
        rising = t < start + self.up
        end = start + self.up + np.where(rising, 0.0, self.down)
        stair = np.where(rising, _stair(self.up, self.up_stairs), _stair(self.down, self.down_stairs))
        # Stairs begin at the feet: those of the fall are counted back from its end.
        foot = np.where(rising, start, end)
        number = np.floor((t - foot) / stair)
        # A stair may begin a tick sooner or later, as its quotient is rounded.
        edges = np.ceil(foot + np.add.outer([0, 1], number) * stair)
        near = np.concatenate([edges - 1, edges, edges + 1, np.ceil(end)[None]])
        return np.asarray(np.where(near > t, near, np.inf).min(axis=0))


def _stair(ticks: float, stairs: float) -> float:
    """The ticks of a stair; of a line that has none, all of them."""
    return (ticks / stairs if stairs > 0 else ticks) or 1.0


def _stepped(x: Times, ticks: float, stairs: float) -> Any:
    """The part of a side that is climbed at ``x``."""
    return np.floor(written(x) * stairs / ticks) / stairs if stairs > 0 else x / ticks


@dataclass(frozen=True)
class Inverse(Form):
    """One over time: ``start / (1 + t * slope)``."""

    start: float
    slope: float

    def __call__(self, t: Times) -> Any:
        return self.start / (t * self.slope + 1)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OneCycle(Foreign):
    """Up to the peak and down again, then a decay below the start; the momentum goes the other way."""

    kind = "deepspeed.OneCycle"
    formula = (
        "cycle_min_lr to cycle_max_lr in cycle_first_step_size steps and back in cycle_second_step_size, "
        "then cycle_min_lr / (1 + decay_lr_rate * d / decay_step_size) after d more"
    )
    source = "deepspeed.runtime.lr_schedules.OneCycle; Smith 2018, arXiv 1803.09820"
    example: ClassVar[Mapping[str, Any]] = {
        "cycle_min_lr": 0.01,
        "cycle_max_lr": 0.1,
        "cycle_first_step_size": 30,
        "decay_lr_rate": 0.5,
        "decay_step_size": 10,
    }

    cycle_min_lr: float = per_group("number", REQUIRED, "Rate at the start and the end of the cycle.")
    cycle_max_lr: float = per_group("number", REQUIRED, "Peak.")
    decay_lr_rate: float = param("number", 0.0, "How fast the rate decays after the cycle.")
    cycle_first_step_size: float = param("ticks", 2000, "Steps of the rise.")
    cycle_second_step_size: float | None = param("ticks", None, "Steps of the fall; as many as rise by default.")
    cycle_first_stair_count: float = param("number", 0, "Stairs of the rise; with 0 it is a line.")
    cycle_second_stair_count: float | None = param(
        "number", None, "Stairs of the fall; as many as the rise has by default."
    )
    decay_step_size: float = param("ticks", 0, "Steps that the decay is counted in; with 0 nothing decays.")
    cycle_momentum: bool = param("bool", True, "Cycle the momentum too, inversely.")
    cycle_min_mom: float = per_group("number", 0.8, "Momentum at the peak, and at update 0.")
    cycle_max_mom: float = per_group("number", 0.9, "Momentum at the start and the end of the cycle.")
    decay_mom_rate: float = param("number", 0.0, "How fast the momentum grows after the cycle.")
    optimizer: str = param("choice", "adam", "Optimizer: only one with betas has a momentum here.", choices=OPTIMIZERS)

    def check(self) -> None:
        super().check()
        if not self.cycle_first_step_size > 0:
            self.refuse("cycle_first_step_size", "> 0", self.cycle_first_step_size)
        if self._second < 0:
            self.refuse("cycle_second_step_size", ">= 0", self.cycle_second_step_size)

    @property
    def _second(self) -> float:
        return self.cycle_first_step_size if self.cycle_second_step_size is None else self.cycle_second_step_size

    @property
    def _cycle(self) -> float:
        return self.cycle_first_step_size + self._second

    @property
    def _cycles_momentum(self) -> bool:
        return self.cycle_momentum and MOMENTUM.get(self.optimizer) == "beta1"

    def _swing(self, low: float, high: float) -> Form:
        up, down = self.cycle_first_stair_count, self.cycle_second_stair_count
        return Triangles(low, high, self.cycle_first_step_size, self._second, up, up if down is None else down)

    @property
    def _slope(self) -> float:
        """How fast the rate decays, each update."""
        return self.decay_lr_rate / self.decay_step_size if self.decay_step_size else 0.0

    @property
    def _pole(self) -> float | None:
        """Where the decay of the rate divides by zero, if it does."""
        return self._cycle - 1 / self._slope if self._slope * MAX_TICKS < -1 else None

    @property
    def failure(self) -> Failure | None:
        if self._pole is None:
            return None
        tick = round(self._pole)
        past = tick - self._cycle
        if past < 1 or 1 + self.decay_lr_rate * (past / self.decay_step_size):
            return None
        return Failure(tick, "decay_lr_rate makes it divide by zero")

    def form(self) -> Form:
        low, swing = self.cycle_min_lr, self._swing(self.cycle_min_lr, self.cycle_max_lr)
        if not self._slope:
            return self._then(swing, Level(low))
        decay = self._then(swing, Inverse(low, self._slope))
        if self._pole is None:
            return decay
        # Past its pole the rate comes back from below: a phase of its own, on the same clock.
        beyond = then(self._cycle - self._pole, Inverse(low, self._slope))
        return phases((0, decay), (self._pole, beyond))

    def _then(self, cycle: Form, after: Form) -> Form:
        """A cycle and what follows it; a cycle of no whole length goes on for one more update."""
        more = 0.0 if self._cycle == int(self._cycle) else 1.0
        return phases((0, cycle), (self._cycle + more, then(-more, after)))

    @cached_property
    def _momentum(self) -> Form:
        feet, peak = self.cycle_max_mom, self.cycle_min_mom
        after: Form = Level(feet)
        if self.decay_step_size and self.decay_mom_rate:
            after = Transition(feet, feet + feet * self.decay_mom_rate, self.decay_step_size)
        # Update 0 has the momentum of the peak, although its rate is that of the feet.
        return self._then(phases((0, Level(peak)), (1, then(-1, self._swing(feet, peak)))), after)

    @property
    def momentum(self) -> Schedule | None:
        return Follow(of=self, rule=self._momentum) if self._cycles_momentum else None

    @property
    def marks(self) -> tuple[Mark, ...]:
        return ((int(self.cycle_first_step_size), "fall"), (int(self._cycle), "decay"))

    def notes(self, total: int) -> tuple[str, ...]:
        notes = [f"{self.kind} sets the rate itself and ignores the optimizer's lr"]
        if self.decay_lr_rate and not self.decay_step_size:
            notes.append("deepspeed ignores decay_lr_rate while decay_step_size is 0")
        if not self.cycle_momentum:
            return tuple(notes)
        if not self._cycles_momentum:
            return (*notes, f"deepspeed disables cycle_momentum: {self.optimizer} has no betas")
        ends = f"between {self.cycle_min_mom} and {self.cycle_max_mom}"
        notes.append(f"cycle_momentum is on: beta1 cycles {ends}, and deepspeed sets beta2 to 0.99")
        last = float(filled(self._momentum(np.array([total - 1.0])), 1)[0]) if total > self._cycle else 0.0
        if last >= 1:
            notes.append(f"after the cycle beta1 grows, to {last:.4g} at the end of the run")
        return tuple(notes)
