"""The rates of a trace a block at a time, so that a run of any length needs little memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lrsched_cli.integrations.plan import Member
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.ticks import Array, Ticks, filled

#: Past the run's end rates are computed so many at a time, the way a trace computes the one that follows its last.
PAST = 64


class Stream:
    """The rates of a schedule from tick 0 on, a block at a time: those of a trace to the last bit.

    A trace is computed in blocks, and the last bits of a rate depend on where its block begins; so the blocks here
    are the trace's own.
    """

    def __init__(self, schedule: Schedule, total: int, factor: float = 1.0) -> None:
        self.schedule = schedule
        self.total = total
        self.factor = factor
        self._start_over()

    def _start_over(self) -> None:
        self._spans = self.schedule._spans(0, self.total)
        self._low = self._high = 0
        self._values: Array | None = None

    def block(self, tick: int) -> tuple[int, Array]:
        """A block that holds a tick: its first tick, and its rates. Raises ``SpecError`` outside the schedule."""
        self.schedule.require(tick)
        if tick >= self.total:
            last = self.schedule.last_tick
            end = tick + PAST if last is None else min(tick + PAST, last + 1)
            return tick, self.schedule(np.arange(tick, end)) * self.factor
        if tick < self._low:
            self._start_over()
        while tick >= self._high:
            self._low, self._high = next(self._spans)
            self._values = None
        if self._values is None:
            with np.errstate(all="ignore"):
                row = self.schedule.curve(Ticks(self._low, 1, self._high - self._low))
            self._values = filled(row, self._high - self._low) * self.factor
        return self._low, self._values


class Block(NamedTuple):
    """The rates of the ticks ``first <= t < end``: ``rows[i][t - first]``."""

    first: int
    end: int
    rows: list[list[float]]


def block_of(streams: Sequence[Stream], tick: int) -> Block:
    """A block that holds a tick, with a row for each stream; a stream that comes again costs nothing."""
    found = {id(stream): stream.block(tick) for stream in streams}
    first = max(low for low, _ in found.values())
    end = min(low + len(values) for low, values in found.values())
    rows = {key: values[first - low : end - low].tolist() for key, (low, values) in found.items()}
    return Block(first, end, [rows[id(stream)] for stream in streams])


def streams_of(members: Sequence[Member], total: int) -> list[Stream]:
    """A stream for each member, the same for members that are the same."""
    known: dict[tuple[int, float], Stream] = {}
    for member in members:
        key = id(member.schedule), member.factor
        if key not in known:
            known[key] = Stream(member.schedule, total, member.factor)
    return [known[id(member.schedule), member.factor] for member in members]
