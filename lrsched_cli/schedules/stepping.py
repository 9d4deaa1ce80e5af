"""A schedule whose ``step()`` is called by somebody else than was meant: too often, too rarely, or not always.

A pace says how many times the scheduler has been stepped before each update; whatever the schedule, the rate of the
update is the one at that tick.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from lrsched_cli.schedules.base import Mark, Schedule
from lrsched_cli.schedules.compose import Wrapper
from lrsched_cli.schedules.ticks import Array, Times, written
from lrsched_cli.schedules.value import Value


@dataclass(frozen=True, eq=False, repr=False)
class Pace(Value):
    """How many times the scheduler has been stepped before each update; never fewer before a later one."""

    @abstractmethod
    def ticks(self, t: Times) -> Times:
        """The scheduler's tick at each update."""

    @abstractmethod
    def first(self, tick: Array) -> Array:
        """The first update at which the scheduler is at a tick or past it; inf where that never comes."""

    def next_turn(self, t: Array) -> Array:
        """The first later update at which the pace itself changes or jumps."""
        return np.full(t.shape, np.inf)


@dataclass(frozen=True, eq=False, repr=False)
class Every(Pace):
    """So many ticks an update, the first update after ``before`` of them; ``most`` is where the stepping stops."""

    stride: int
    before: int = 0
    most: float = math.inf

    def ticks(self, t: Times) -> Times:
        ticks = t * self.stride + self.before
        return ticks if self.most == math.inf else np.minimum(written(ticks), self.most)

    def first(self, tick: Array) -> Array:
        update = np.maximum(np.ceil((tick - self.before) / self.stride), 0)
        return np.where(tick <= self.most, update, np.inf)

    def next_turn(self, t: Array) -> Array:
        if self.most == math.inf:
            return super().next_turn(t)
        end = self.first(np.array([self.most]))[0]
        return np.where(t < end, end, np.inf)


@dataclass(frozen=True, eq=False, repr=False)
class InEpochs(Pace):
    """A tick a batch, where an epoch's last update accumulates fewer batches than the others.

    Attributes
    ----------
    batches: batches an epoch.
    accumulated: batches an update.
    """

    batches: int
    accumulated: int

    @property
    def updates(self) -> int:
        """Updates an epoch."""
        return -(-self.batches // self.accumulated)

    def ticks(self, t: Times) -> Times:
        t = written(t)
        epoch = np.floor(t / self.updates)
        within = np.minimum((t - epoch * self.updates + 1) * self.accumulated, self.batches)
        return np.asarray(epoch * self.batches + within - 1)

    def first(self, tick: Array) -> Array:
        never = np.isinf(tick)
        done = np.where(never, 1.0, tick + 1)  # batches that are over, this update's own among them
        epoch = np.maximum(np.ceil(done / self.batches) - 1, 0)
        update = epoch * self.updates + np.ceil((done - epoch * self.batches) / self.accumulated) - 1
        return np.where(never, np.inf, update)

    def next_turn(self, t: Array) -> Array:
        return np.asarray((np.floor(t / self.updates) + 1) * self.updates)


@dataclass(frozen=True, eq=False, repr=False)
class OnceIn(Pace):
    """A tick after every so many updates."""

    updates: int

    def ticks(self, t: Times) -> Times:
        return np.asarray(np.floor(written(t) / self.updates))

    def first(self, tick: Array) -> Array:
        return np.asarray(tick * self.updates)

    def next_turn(self, t: Array) -> Array:
        return np.asarray((np.floor(t / self.updates) + 1) * self.updates)


@dataclass(frozen=True, eq=False, repr=False)
class Skipping(Pace):
    """A tick an update but for a share of them, evenly spread: after n updates there were ``floor(n * share)`` less."""

    share: Fraction

    def ticks(self, t: Times) -> Times:
        update: Array = written(t)
        return np.asarray(update - self._skipped(update))

    def _skipped(self, t: Array) -> Array:
        return np.floor(t * self.share.numerator / self.share.denominator)

    def first(self, tick: Array) -> Array:
        never = np.isinf(tick)
        tick = np.where(never, 0.0, tick)
        # n updates make n - floor(n * share) = ceil(n * (1 - share)) ticks: the first n with more than tick - 1.
        kept = self.share.denominator - self.share.numerator
        update = np.maximum(np.floor((tick - 1) * self.share.denominator / kept) + 1, 0)
        return np.where(never, np.inf, update)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Stepped(Wrapper):
    """A schedule on the updates of a run whose scheduler keeps another pace.

    Where the schedule ends by raising, so does this one: at the first update whose tick lies past ``last_tick``.

    Attributes
    ----------
    pace: the scheduler's tick at each update.
    until: the last update, where the schedule cannot be computed further though it names no last tick.
    """

    kind = "stepped"

    pace: Pace
    until: int | None = None

    def curve(self, t: Times) -> Any:
        return self.body.curve(self.pace.ticks(t))

    def next_knot(self, t: Array) -> Array:
        at = np.asarray(self.pace.ticks(t), dtype=np.float64)
        return np.minimum(self.pace.first(self.body.next_knot(at)), self.pace.next_turn(t))

    def require(self, tick: int) -> None:
        at = self.tick_of(tick)
        self.body.require(at)
        if self.until is not None and tick > self.until:
            self.body(at)  # which says why

    def tick_of(self, update: int) -> int:
        """The scheduler's tick at an update."""
        return int(np.asarray(self.pace.ticks(np.array([float(update)])))[0])

    def _update_of(self, tick: float) -> float:
        return float(self.pace.first(np.array([float(tick)]))[0])

    @cached_property
    def _last(self) -> int | None:
        if self.body.last_tick is None:
            return self.until
        past = self._update_of(self.body.last_tick + 1)
        return self.until if past == math.inf else int(past) - 1

    @property
    def last_tick(self) -> int | None:
        return self._last

    @property
    def length(self) -> int | None:
        if self.body.length is None:
            return None
        update = self._update_of(self.body.length)
        return None if update == math.inf else int(update)

    @property
    def marks(self) -> tuple[Mark, ...]:
        at = ((self._update_of(tick), label) for tick, label in self.body.marks)
        return tuple(dict.fromkeys((int(update), label) for update, label in at if update != math.inf))

    @property
    def momentum(self) -> Schedule | None:
        follow = self.body.momentum
        return None if follow is None else Stepped(body=follow, pace=self.pace)

    @property
    def groups(self) -> Mapping[str, Schedule]:
        return {name: replace(self, body=group, lr=group.lr) for name, group in self.body.groups.items()}

    @property
    def averages_from(self) -> int | None:
        start = self.body.averages_from
        return None if start is None else int(self._update_of(start))

    def notes(self, total: int) -> tuple[str, ...]:
        return self.body.notes(self.tick_of(total - 1) + 1)
