"""A schedule on a run: the trace of every rate that the optimizer will use."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from lrsched_cli.run import Clock
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.ticks import Array


class Trace:
    """What a schedule gives on a run; each array is computed when it is first asked for.

    Attributes
    ----------
    name: the entry's name, or the kind's.
    schedule: the schedule, with every duration in ticks.
    clock: the run's clock (``interval``, ``total`` ticks, ``steps_per_epoch`` or None).
    tick: int64 array of shape ``(total,)``: 0, 1, 2, ...
    epoch: int64 array, the epoch of each tick counted from 0, or None where the steps per epoch are unknown.
    lr: float64 array, the learning rate used for update (or epoch) ``t``.
    lr_after: float64 array, what ``scheduler.get_last_lr()`` returns after that update's ``scheduler.step()``;
        NaN at the last tick where the library would raise there.
    momentum: float64 array of SGD's momentum or Adam's beta1 where it is cycled, else None.
    groups: the rates of each named parameter group, as a mapping of arrays; empty without groups.
    """

    def __init__(self, name: str, schedule: Schedule, clock: Clock) -> None:
        self.name = name
        self.schedule = schedule
        self.clock = clock

    def __len__(self) -> int:
        return self.clock.total

    def __repr__(self) -> str:
        return f"Trace({self.name}, {self.clock.total} {self.clock.interval}s)"

    @property
    def kind(self) -> str:
        return self.schedule.core.kind

    @property
    def interval(self) -> str:
        return self.clock.interval

    @cached_property
    def tick(self) -> npt.NDArray[np.int64]:
        return np.arange(self.clock.total, dtype=np.int64)

    @cached_property
    def epoch(self) -> npt.NDArray[np.int64] | None:
        return self.epoch_at(self.tick)

    @cached_property
    def lr(self) -> Array:
        return self.schedule.values(0, self.clock.total)

    @cached_property
    def lr_after(self) -> Array:
        return np.append(self.lr[1:], self.lr_after_at(np.array([self.clock.total - 1])))

    @cached_property
    def momentum(self) -> Array | None:
        follow = self.schedule.momentum
        return None if follow is None else follow.values(0, self.clock.total)

    @cached_property
    def groups(self) -> dict[str, Array]:
        return {name: group.values(0, self.clock.total) for name, group in self.schedule.groups.items()}

    def epoch_at(self, ticks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
        """The epoch of any ticks, or None where the steps per epoch are unknown."""
        if self.clock.interval == "epoch":
            return ticks
        return None if self.clock.steps_per_epoch is None else ticks // self.clock.steps_per_epoch

    def lr_after_at(self, ticks: npt.NDArray[np.int64]) -> Array:
        """``lr_after`` at any ticks, without the rest of the trace."""
        following = ticks + 1
        last = self.schedule.last_tick
        if last is None:
            return np.asarray(self.schedule(following))
        return np.where(following <= last, self.schedule(np.minimum(following, last)), np.nan)
