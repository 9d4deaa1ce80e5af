"""The timm schedulers that decay in steps: every so many ticks, at milestones, or where a metric stalls."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from lrsched_cli.dialects.foreign import Failure
from lrsched_cli.dialects.parameters import any_ticks, per_group
from lrsched_cli.dialects.timm_base import (
    LOCAL,
    OVERFLOW,
    SOURCE,
    WARM,
    Noisy,
    Overlaid,
    first_tick,
    late,
    preceded,
    whole,
)
from lrsched_cli.run import MAX_TICKS
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.forms import (
    Form,
    Geometric,
    Level,
    Stairs,
    Table,
    Transition,
)
from lrsched_cli.schedules.metric import MetricDriven, reductions
from lrsched_cli.schedules.parameters import REQUIRED, param
from lrsched_cli.schedules.ticks import Array, Times, power_of, written


@dataclass(frozen=True)
class Floored(Form):
    """A constant factor at each whole part of ``(t - shift) / every``, which Python's ``//`` rounds exactly."""

    start: float
    factor: float
    every: float
    shift: float

    def _number(self, t: Array) -> Array:
        return np.floor_divide(t - self.shift, self.every)

    def __call__(self, t: Times) -> Any:
        return power_of(self.factor, self._number(written(t))) * self.start

    def next_knot(self, t: Array) -> Array:
        number = self._number(t)
        if self.every > 0:
            following = np.ceil((number + 1) * self.every + self.shift)
        else:
            following = np.floor(number * self.every + self.shift) + 1
        # The product and the sum are rounded otherwise than //, which may put the step a tick earlier or later.
        before = following - 1
        following = np.where((before > t) & (self._number(before) != number), before, following)
        following = np.where(self._number(following) == number, following + 1, following)
        return np.asarray(np.fmax(following, t + 1))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Stepped(Overlaid):
    """A class that multiplies the rate at some ticks; the warm-up comes before them unless said otherwise."""

    decay_rate: float = param("number", 1.0, "Factor of the rate at a step; 1 does nothing.")
    warmup_prefix: bool = param("bool", True, "Whether the schedule's clock starts after the warm-up.")

    def notes(self, total: int) -> tuple[str, ...]:
        told = super().notes(total)
        return (*told, "decay_rate is 1, as by default: nothing decays") if self.decay_rate == 1 else told


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StepLRScheduler(Stepped):
    """A step every so many ticks, which need not be a whole number."""

    kind = "timm.StepLRScheduler"
    formula = f"{WARM}lr * decay_rate ** (T // decay_t), {LOCAL}"
    source = f"{SOURCE}, step_lr.py"
    example: ClassVar[Mapping[str, Any]] = {"decay_t": 30, "decay_rate": 0.1}

    decay_t: float = param("ticks", REQUIRED, "Ticks between two steps.")

    def body(self) -> Form:
        every, rate = self.decay_t, self.decay_rate
        if rate == 1 or every == 0:
            return Level(self.lr)
        if every == 1 and rate > 0 and whole(self.shift):
            return late(Geometric(self.lr, rate), self.shift)
        if every > 0 and whole(every, self.shift):
            return late(Stairs(Geometric(self.lr, rate, every), every), self.shift)
        return Floored(self.lr, rate, every, self.shift)

    @property
    def failure(self) -> Failure | None:
        return self._failure

    @cached_property
    def _failure(self) -> Failure | None:
        first, every, rate = self.first_asked, self.decay_t, float(self.decay_rate)
        if every == 0:
            return Failure(first, "decay_t is 0: integer division or modulo by zero")

        def raises(t: int) -> bool:
            try:
                return math.isnan(rate ** ((max(t, first) - self.shift) // every))
            except (OverflowError, ZeroDivisionError):
                return True

        steps = 709.78 / abs(math.log(abs(rate))) if abs(rate) not in (0, 1) else math.inf if rate else 0
        tick = first_tick(raises, steps * abs(every) + self.shift)
        reason = OVERFLOW if rate else "0.0 cannot be raised to a negative power"
        return Failure(max(int(tick), first), f"decay_rate: {reason}") if tick <= MAX_TICKS else None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MultiStepLRScheduler(Stepped):
    """A step at each milestone, one tick before it."""

    kind = "timm.MultiStepLRScheduler"
    formula = f"{WARM}lr * decay_rate ** (milestones of decay_t up to T + 1), {LOCAL}"
    source = f"{SOURCE}, multistep_lr.py"
    example: ClassVar[Mapping[str, Any]] = {"decay_t": (30, 60, 80), "decay_rate": 0.1}

    decay_t: tuple[float, ...] = any_ticks(REQUIRED, "Milestones; each acts one tick earlier, at T + 1.")

    @cached_property
    def _table(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The ticks from which a new rate holds, and the rates, one more; inf for one that timm cannot compute."""
        found: dict[float, float] = {-math.inf: self._rate(-math.inf)}
        for milestone in sorted(set(self.decay_t)):
            found[self._counted_from(milestone)] = self._rate(milestone)
        ticks = sorted(tick for tick in found if tick <= MAX_TICKS)
        kept = [ticks[0], *(b for a, b in zip(ticks, ticks[1:], strict=False) if found[a] != found[b])]
        return tuple(kept[1:]), tuple(found[tick] for tick in kept)

    def _counted_from(self, milestone: float) -> float:
        """The first tick at which a milestone counts."""
        near = milestone - 1 + self.shift
        if whole(near, self.shift):
            return max(near, 0)
        return first_tick(lambda t: t - self.shift + 1 >= milestone, near)

    def _rate(self, clock: float) -> float:
        # timm does not sort the milestones, and the search goes wrong in its own way among unsorted ones.
        try:
            return self.lr * (self.decay_rate ** bisect.bisect_right(self.decay_t, clock))
        except OverflowError:
            return math.inf

    def body(self) -> Form:
        ticks, rates = self._table
        return Table(ticks, rates) if ticks else Level(rates[0])

    @property
    def failure(self) -> Failure | None:
        ticks, rates = self._table
        if math.inf not in rates:
            return None
        at = rates.index(math.inf)
        return Failure(max(int(ticks[at - 1]) if at else 0, self.first_asked), f"decay_rate: {OVERFLOW}")

    @property
    def marks(self) -> tuple[Mark, ...]:
        return (*super().marks, *((int(tick), "step") for tick in self._table[0][:12]))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PlateauLRScheduler(Noisy, MetricDriven):
    """The rate is cut where a metric stops improving, after the warm-up; by default the metric should rise."""

    kind = "timm.PlateauLRScheduler"
    formula = f"{WARM}lr * decay_rate after more than patience_t bad epochs in a row, no lower than lr_min"
    source = f"{SOURCE}, plateau_lr.py, deprecated; torch.optim.lr_scheduler.ReduceLROnPlateau"

    noise_seed: int | None = param("integer", None, "Seed of the noise.")
    noise_type: str = param("text", "normal", "Distribution of the noise.")
    decay_rate: float = param("number", 0.1, "Factor of the rate at a cut.", lt=1)
    patience_t: float = param("ticks", 10, "Bad epochs that are waited for before a cut.")
    threshold: float = param("number", 1e-4, "How much better counts as better, as a part of the best.")
    cooldown_t: float = param("ticks", 0, "Epochs after a cut in which none is bad.")
    warmup_t: float = param("ticks", 0, "Epochs of the warm-up, whose metrics do not count.")
    warmup_lr_init: float = param("number", 0.0, "Rate that the warm-up starts from.")
    lr_min: float = per_group("number", 0.0, "The floor.")
    mode: str = param("choice", "max", "Whether the metric should fall or rise.", choices=("min", "max"))
    metrics: Any = param("metrics", None, "The metric of every tick: numbers, or FILE:COLUMN.", length="epoch")

    @property
    def _warm(self) -> int:
        """The last epoch whose rate the warm-up sets."""
        return max(math.floor(self.warmup_t), 0)

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        warm, top = self._warm, self.lr
        if self.warmup_t:
            top = self.warmup_lr_init + warm * ((self.lr - self.warmup_lr_init) / self.warmup_t)
        ticks, rates = reductions(
            () if self.metrics is None else self.metrics[warm:],
            top,
            mode=self.mode,
            factor=self.decay_rate,
            patience=math.floor(min(self.patience_t, MAX_TICKS)),
            threshold=self.threshold,
            threshold_mode="rel",
            cooldown=math.ceil(min(self.cooldown_t, MAX_TICKS)),
            min_lr=self.lr_min,
            eps=1e-8,
        )
        return ticks + warm, rates

    def form(self) -> Form:
        ticks, rates = self._table
        cut = Table(tuple(ticks.tolist()), tuple(rates.tolist()))
        if not self._warm:
            return cut
        return preceded(self._warm, Transition(self.warmup_lr_init, self.lr, self.warmup_t), cut)

    @property
    def run_length(self) -> float | None:
        return None if self.metrics is None else len(self.metrics)

    def notes(self, total: int) -> tuple[str, ...]:
        told = super().notes(total)
        return told if self.metrics is not None else (*told, "without metrics nothing is ever cut")
