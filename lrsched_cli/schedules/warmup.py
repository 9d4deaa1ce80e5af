"""The warm-up that goes in front of, over or into any schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from lrsched_cli.schedules.base import Mark, Schedule, next_of
from lrsched_cli.schedules.compose import Wrapper
from lrsched_cli.schedules.ticks import Array, Times, cos_pi, exp, log, piecewise, sqrt, written

#: How far a warm-up has come, as a function of the part of it that is over and of its length in ticks.
WARMUP_SHAPES: dict[str, Callable[[Any, float], Any]] = {
    "linear": lambda x, _: x,
    "cosine": lambda x, _: (1 - cos_pi(x)) / 2,
    "1-sqrt": lambda x, _: 1 - sqrt(np.maximum(written(1 - x), 0)),
    # 1 - exp(-x), as pytorch_warmup's exponential one, scaled so that it arrives.
    "exp": lambda x, _: (1 - exp(-x)) / (1 - math.exp(-1)),
    # The logarithm of the tick counted from 1, as in DeepSpeed's WarmupLR.
    "log": lambda x, ticks: log(x * ticks + 1) / math.log(ticks + 1),
}
CLOCKS = ("prefix", "overlay", "product")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Warmup(Wrapper):
    """A rise to a schedule's rate over its first ticks.

    Attributes
    ----------
    ticks: how many ticks it takes.
    start: the rate that it starts from.
    shape: one of ``WARMUP_SHAPES``.
    clock: ``prefix`` (the body's clock starts after it, and it rises to the body's first rate), ``overlay`` (the
        body's clock has been running, and it rises to the base rate) or ``product`` (it scales the running body).
    first: 0 where tick 0 is at the start and tick ``ticks`` at the full rate; 1 where each is one step further.
    """

    kind = "warmup"

    ticks: int
    start: float = 0.0
    shape: str = "linear"
    clock: str = "prefix"
    first: int = 0

    @property
    def _delay(self) -> int:
        return self.ticks if self.clock == "prefix" else 0

    def _done(self, t: Times) -> Any:
        if self.shape == "log":
            # Counted from the tick that is at the start, the last one before the full rate is its length away.
            length = self.ticks - self.first
            return WARMUP_SHAPES["log"](t / length, length) if length else np.ones(1)
        # Written out first where a square root would make much of the last digit that a row of quotients loses.
        done = written(t + self.first) if self.shape == "1-sqrt" else t + self.first
        return WARMUP_SHAPES[self.shape](done / self.ticks, self.ticks)

    @cached_property
    def _full(self) -> float:
        return self.body(0) if self.clock == "prefix" else self.lr

    def curve(self, t: Times) -> Any:
        if self.ticks == 0:
            return self.body.curve(t)

        def rise(x: Times) -> Any:
            if self.clock == "product":
                start = self.start / self.lr
                return (self._done(x) * (1 - start) + start) * written(self.body.curve(x))
            return self._done(x) * (self._full - self.start) + self.start

        return piecewise(t, [self.ticks], [rise, lambda x: self.body.curve(x - self._delay)])

    def next_knot(self, t: Array) -> Array:
        later = self.body.next_knot(np.maximum(t - self._delay, -1.0)) + self._delay
        if self.clock == "overlay":
            later = np.where(t < self.ticks, np.maximum(later, self.ticks), later)
        return np.minimum(next_of([self.ticks], t), np.where(later > t, later, np.inf))

    @property
    def length(self) -> int | None:
        return None if self.body.length is None else self.body.length + self._delay

    @property
    def last_tick(self) -> int | None:
        return None if self.body.last_tick is None else self.body.last_tick + self._delay

    @property
    def marks(self) -> tuple[Mark, ...]:
        after = tuple((tick + self._delay, label) for tick, label in self.body.marks)
        return ((self.ticks, self.body.core.kind), *after)

    def notes(self, total: int) -> tuple[str, ...]:
        inner = self.body.notes(max(total - self._delay, 1))
        if self.ticks < total:
            return inner
        return (f"the warm-up takes {self.ticks} ticks, and the run has {total}", *inner)

    @property
    def averages_from(self) -> int | None:
        return None if self.body.averages_from is None else self.body.averages_from + self._delay

    def fed(self, metrics: Sequence[float]) -> Self:
        return replace(self, body=self.body.fed(metrics[self._delay :])) if self.reacts else self

    @property
    def momentum(self) -> Schedule | None:
        follow = self.body.momentum
        return follow and Delayed(body=follow, ticks=self._delay)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Delayed(Wrapper):
    """A schedule that starts later, at its first value until then."""

    kind = "delayed"

    ticks: int

    def curve(self, t: Times) -> Any:
        return piecewise(t, [self.ticks], [lambda _: self.body(0), lambda x: self.body.curve(x - self.ticks)])

    def next_knot(self, t: Array) -> Array:
        return np.maximum(self.body.next_knot(t - self.ticks) + self.ticks, self.ticks)
