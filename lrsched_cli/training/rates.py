"""Which rate each update of a run gets: a schedule's ticks laid out over the updates of the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.ticks import Array

#: Ticks whose rates are worked out at a time.
AHEAD = 1 << 16


@dataclass(frozen=True, eq=False)
class Course:
    """A schedule over the updates of a training run.

    Attributes
    ----------
    schedule: the schedule, with every duration in ticks.
    interval: what its ticks are, ``"epoch"`` or ``"step"``.
    updates: updates of the whole run.
    per_epoch: updates of an epoch.
    """

    schedule: Schedule
    interval: str
    updates: int
    per_epoch: int
    _known: dict[str, tuple[int, Array]] = field(default_factory=dict, repr=False)

    @property
    def epochs(self) -> int:
        """Epochs of the run; the last may be a part of one."""
        return -(-self.updates // self.per_epoch)

    def span(self, epoch: int) -> tuple[int, int]:
        """The first update of an epoch, and the one after its last."""
        return epoch * self.per_epoch, min((epoch + 1) * self.per_epoch, self.updates)

    def lr(self, epoch: int, metrics: Sequence[float] = ()) -> Array:
        """The rate of every update of an epoch, given the metric after each epoch before it."""
        if self.schedule.reacts:
            return self._over(self.schedule.fed(metrics), epoch, "")
        return self._over(self.schedule, epoch, "lr")

    def momentum(self, epoch: int) -> Array | None:
        """The cycled momentum (SGD) or beta1 (Adam) of every update of an epoch, or None where it is left alone."""
        follow = self.schedule.momentum
        return None if follow is None else self._over(follow, epoch, "momentum")

    def _over(self, schedule: Schedule, epoch: int, name: str) -> Array:
        first, last = self.span(epoch)
        if self.interval == "step":
            return self._ticks(schedule, first, last, name)
        return np.broadcast_to(self._ticks(schedule, epoch, epoch + 1, name), last - first)

    def _ticks(self, schedule: Schedule, first: int, last: int, name: str) -> Array:
        """The values of some ticks; under a name many are worked out at once and kept for the next call."""
        if not name:
            return schedule.values(first, last)
        start, values = self._known.get(name, (0, np.empty(0)))
        if not start <= first <= last <= start + len(values):
            ticks = self.updates if self.interval == "step" else self.epochs
            start, values = first, schedule.values(first, min(max(last, first + AHEAD), ticks))
            self._known[name] = start, values
        return values[first - start : last - start]

    def averages(self, epoch: int) -> bool:
        """Whether the weights at the end of this epoch go into the average."""
        start = self.schedule.averages_from
        if start is None:
            return False
        return (epoch if self.interval == "epoch" else self.span(epoch)[1] - 1) >= start
