"""Which rate each update of a run gets: a schedule's ticks laid out over the updates of the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.ticks import Array


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
    _rates: Array | None = field(init=False, repr=False)
    _momenta: Array | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # All at once, as `table` does it: pieces that begin elsewhere may be rounded otherwise. And now: in training,
        # denormal numbers count as 0.
        ticks = self.updates if self.interval == "step" else self.epochs
        rates = None if self.schedule.reacts else self.schedule.values(0, ticks)
        follow = self.schedule.momentum
        object.__setattr__(self, "_rates", rates)
        object.__setattr__(self, "_momenta", None if follow is None else follow.values(0, ticks))

    @property
    def epochs(self) -> int:
        """Epochs of the run; the last may be a part of one."""
        return -(-self.updates // self.per_epoch)

    def span(self, epoch: int) -> tuple[int, int]:
        """The first update of an epoch, and the one after its last."""
        return epoch * self.per_epoch, min((epoch + 1) * self.per_epoch, self.updates)

    def lr(self, epoch: int, metrics: Sequence[float] = ()) -> Array:
        """The rate of every update of an epoch, given the metric after each epoch before it."""
        if self._rates is not None:
            return self._over(self._rates, epoch)
        first, last = self.span(epoch)
        schedule = self.schedule.fed(metrics)
        return schedule.values(first, last) if self.interval == "step" else np.full(last - first, schedule(epoch))

    def momentum(self, epoch: int) -> Array | None:
        """The cycled momentum (SGD) or beta1 (Adam) of every update of an epoch, or None where it is left alone."""
        return None if self._momenta is None else self._over(self._momenta, epoch)

    def _over(self, ticks: Array, epoch: int) -> Array:
        """The values of an epoch's updates, from those of every tick."""
        first, last = self.span(epoch)
        return ticks[first:last] if self.interval == "step" else np.broadcast_to(ticks[epoch], last - first)

    def averages(self, epoch: int) -> bool:
        """Whether the weights at the end of this epoch go into the average."""
        start = self.schedule.averages_from
        if start is None:
            return False
        return (epoch if self.interval == "epoch" else self.span(epoch)[1] - 1) >= start
