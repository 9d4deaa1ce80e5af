"""The d2l dialect: the schedulers of the section on scheduling in the book "Dive into Deep Learning".

A scheduler's rates are those of its calls with 0, 1, 2, ..., as the chapter plots them. The chapter's training loop
asks for a rate after each epoch, so that training with it lags by one: the first epoch has the optimizer's own rate.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lrsched_cli.dialects.foreign import Failure, Foreign, kinds_of
from lrsched_cli.dialects.parameters import any_ticks, is_whole
from lrsched_cli.errors import must
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.falls import Wave
from lrsched_cli.schedules.forms import Bounded, Form, Geometric, Law, Level, Phases, Table, Transition, phases, then
from lrsched_cli.schedules.parameters import REQUIRED, param

SOURCE = "d2l.ai, chapter_optimization/lr-scheduler"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Scheduler(Foreign):
    """A scheduler of the chapter, alone or in its training loop."""

    loop: bool = param("bool", False, "Train with the chapter's loop, which lags by one epoch.")

    @abstractmethod
    def called(self) -> Form:
        """The rates of the calls with 0, 1, 2, ..."""

    @property
    def raising(self) -> Failure | None:
        """The call that raises, if one does."""
        return None

    @property
    def own_lr(self) -> float:
        """The optimizer's own rate."""
        return self.lr

    @property
    def _lag(self) -> int:
        return 1 if self.loop else 0

    @property
    def failure(self) -> Failure | None:
        found = self.raising
        return found and Failure(found.tick + self._lag, found.reason)

    def form(self) -> Form:
        return phases((0, Level(self.own_lr)), (self._lag, self.called()))

    def notes(self, total: int) -> tuple[str, ...]:
        if not self.loop:
            return ()
        told = f"epoch 0 uses the optimizer's rate {self.own_lr:g}, and each other one the rate of the epoch before it"
        return (f"the loop of d2l lags: {told}",)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SquareRootScheduler(Scheduler):
    """The inverse square root of time."""

    kind = "d2l.SquareRootScheduler"
    formula = "lr / sqrt(t + 1)"
    source = f"{SOURCE}, SquareRootScheduler"

    lr: float = param("number", 0.1, "Rate of the first call.", ge=0)
    optimizer_lr: float | None = param("number", None, "The optimizer's own rate, for the loop; lr by default.", ge=0)

    @property
    def own_lr(self) -> float:
        return self.lr if self.optimizer_lr is None else self.optimizer_lr

    def called(self) -> Form:
        return Law(self.lr, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FactorScheduler(Scheduler):
    """A factor at every call, the first one too, down to a floor."""

    kind = "d2l.FactorScheduler"
    formula = "base_lr * factor ** (t + 1), at least stop_factor_lr"
    source = f"{SOURCE}, FactorScheduler"
    example: ClassVar[Mapping[str, Any]] = {"factor": 0.95}

    factor: float = param("number", 1, "Factor of each call.")
    stop_factor_lr: float = param("number", 1e-7, "The floor.")
    base_lr: float = param("number", 0.1, "Rate before the first call.")

    def check(self) -> None:
        super().check()
        if self.factor < 0 and self.stop_factor_lr < 0:
            raise must("factor", ">= 0 where stop_factor_lr is negative: d2l makes negative rates of it", self.factor)

    def called(self) -> Form:
        # Each rate is made from the one before it, after the floor was applied to that.
        floor, first = self.stop_factor_lr, self.base_lr * self.factor
        if self.factor < 0:
            return phases((0, Level(max(floor, first))), (1, Level(floor)))
        if (self.factor > 1) == (floor >= 0):
            return Geometric(max(floor, first), self.factor)
        if self.factor > 1:
            return Bounded(Geometric(first, self.factor), low=floor)
        if first <= floor or self.factor == 1:
            return Level(max(first, floor))
        falling = Geometric(first, self.factor)
        if floor == 0:
            return falling
        return phases((0, falling), (math.ceil(math.log(floor / first) / math.log(self.factor)), Level(floor)))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MultiFactorScheduler(Scheduler):
    """A factor at each of some calls, whichever order they are given in."""

    kind = "d2l.MultiFactorScheduler"
    formula = "base_lr * factor ** (number of different steps <= t)"
    source = f"{SOURCE}, MultiFactorScheduler of the TensorFlow tab"
    example: ClassVar[Mapping[str, Any]] = {"step": (50, 75), "factor": 0.5, "base_lr": 0.1}

    step: tuple[float, ...] = any_ticks(REQUIRED, "Calls at which the rate drops.")
    factor: float = param("number", REQUIRED, "Factor at each drop.")
    base_lr: float = param("number", REQUIRED, "Rate at the start.")

    @property
    def _reached(self) -> list[float]:
        return sorted({float(step) for step in self.step if step >= 0 and is_whole(step)})

    def called(self) -> Form:
        rates = [self.base_lr]
        for _ in self._reached:
            rates.append(rates[-1] * self.factor)
        return Table(tuple(self._reached), tuple(rates))

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple((int(step) + self._lag, "drop") for step in self._reached[:12] if step > 0)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineScheduler(Scheduler):
    """A linear warm-up, then half a cosine wave down to an end, which is held; max_update counts the warm-up."""

    kind = "d2l.CosineScheduler"
    formula = (
        "warmup_begin_lr to base_lr until warmup_steps, "
        "then final_lr + (base_lr - final_lr) * (1 + cos(pi * x)) / 2 until max_update"
    )
    source = f"{SOURCE}, CosineScheduler"
    example: ClassVar[Mapping[str, Any]] = {"max_update": 100, "base_lr": 0.1, "warmup_steps": 10}

    max_update: float = param("ticks", REQUIRED, "Call of the end, the warm-up among those before it.", length="epoch")
    base_lr: float = param("number", 0.01, "Rate after the warm-up.")
    final_lr: float = param("number", 0, "Rate at the end.")
    warmup_steps: float = param("ticks", 0, "Calls of the warm-up.")
    warmup_begin_lr: float = param("number", 0, "Rate at the start of the warm-up.")

    @property
    def _first(self) -> int:
        """The first call after the warm-up."""
        return max(math.ceil(self.warmup_steps), 0)

    @property
    def raising(self) -> Failure | None:
        if self._first > self.max_update:
            return Failure(self._first, "the warm-up outlasts max_update, and there is no base_lr to hold")
        if self.max_update == self.warmup_steps:
            return Failure(self._first, "the warm-up lasts until max_update: float division by zero")
        return None

    def called(self) -> Form:
        warm = self.warmup_steps
        rise = Transition(self.warmup_begin_lr, self.base_lr, warm or 1)
        if self.raising:
            return rise
        wave = then(warm, Transition(self.base_lr, self.final_lr, self.max_update - warm, Wave()))
        held = wave(np.array([float(self._last)]))
        return Phases((self._first, self._last), (rise, wave, Level(float(held[0]))))

    @property
    def _last(self) -> int:
        """The last call that computes a rate, which is before the end where that is no whole number."""
        return math.floor(self.max_update)

    @property
    def length(self) -> int | None:
        return None if self.raising else self._last + self._lag

    @property
    def marks(self) -> tuple[Mark, ...]:
        return ((self._first + self._lag, "cosine"), (self._last + self._lag, "hold"))


#: The kinds by their names in the book.
KINDS = kinds_of(globals())
