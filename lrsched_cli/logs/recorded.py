"""A log as a schedule and as an entry, so that whatever shows a plan shows what a run did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lrsched_cli.book import Entry
from lrsched_cli.errors import SpecError
from lrsched_cli.logs.log import Log, Series, Whole
from lrsched_cli.run import Clock, Run
from lrsched_cli.schedules.base import Mark, Schedule
from lrsched_cli.schedules.compose import Grouped, Wrapper
from lrsched_cli.schedules.ticks import Array, Times, written
from lrsched_cli.trace import Trace

#: Up to this many ticks all of them are looked at for a picture, so that no outlier is missed.
EVERY = 4_000_000


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Logged(Schedule):
    """Rates that a run logged: a line through them, or with ``gaps`` nothing (NaN) between them.

    Attributes
    ----------
    at: the ticks that have a rate, in increasing order.
    rates: their rates.
    """

    kind = "log"

    at: Whole
    rates: Array
    gaps: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "cumulative", bool(self.at[-1] < EVERY))
        super().__post_init__()

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @cached_property
    def _places(self) -> Array:
        return self.at.astype(np.float64)

    def curve(self, t: Times) -> Any:
        ticks = np.asarray(written(t))
        if not self.gaps:
            return np.interp(ticks, self._places, self.rates)
        place = np.minimum(np.searchsorted(self._places, ticks), len(self.at) - 1)
        return np.where(self._places[place] == ticks, self.rates[place], np.nan)

    def next_knot(self, t: Array) -> Array:
        return np.asarray(np.append(self._places, np.inf)[np.searchsorted(self._places, t, side="right")])


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OnLogClock(Wrapper):
    """A schedule that ticks by epoch, on the clock of a log that counts updates."""

    kind = "epochs"

    per_tick: int

    def curve(self, t: Times) -> Any:
        return self.body.curve(np.floor(written(t) / self.per_tick))

    def next_knot(self, t: Array) -> Array:
        # Every epoch begins with a step of its own.
        return np.asarray((np.floor(t / self.per_tick) + 1) * self.per_tick)

    @property
    def length(self) -> int | None:
        return None if self.body.length is None else self.body.length * self.per_tick

    @property
    def last_tick(self) -> int | None:
        return None if self.body.last_tick is None else (self.body.last_tick + 1) * self.per_tick - 1

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple((tick * self.per_tick, label) for tick, label in self.body.marks)

    @property
    def momentum(self) -> None:
        return None


def recorded(series: Series, *, pace: int = 1, gaps: bool = False) -> Logged:
    """A series as a schedule, ``pace`` ticks for each of its counts; of a tick written twice, the last rate."""
    # Of equal counts the one that was written last comes first, and is kept.
    order = np.argsort(series.at[::-1], kind="stable")
    at, rates = series.at[::-1][order], series.rates[::-1][order]
    keep = np.append(True, np.diff(at) > 0)
    return Logged(at=at[keep] * pace, rates=rates[keep], gaps=gaps)


def trace_of(log: Log, name: str, *, pace: int = 1, gaps: bool = False) -> Trace:
    """A log as a trace: to its last count, with a group for every column where it has several."""
    filled = [series for series in log.series if len(series)]
    made = {series.name: recorded(series, pace=pace, gaps=gaps) for series in filled}
    first = next(iter(made.values()))
    schedule = first if len(made) == 1 else Grouped(body=first, members=made)
    total = max(int(one.at[-1]) for one in made.values()) + 1
    return Trace(name, schedule, Clock(log.unit if pace == 1 else "step", total, log.steps_per_epoch))


@dataclass(frozen=True)
class LogEntry(Entry):
    """A log as a target. Its run may say how many steps an epoch has; it has no parameters.

    Attributes
    ----------
    log: the log.
    gaps: whether there is nothing between the rates that were logged, as in a table.
    """

    log: Log | None = None
    gaps: bool = False

    @property
    def pointwise(self) -> LogEntry:
        return replace(self, gaps=True)

    def overlaid(self, values: Mapping[str, Any], run: Run) -> LogEntry:
        del values  # a log is what it is
        return replace(self, run=run.over(self.run))

    def altered(self, keys: list[str], value: Any, assignment: str) -> Entry:
        raise SpecError("is a log, of which nothing can be set", entry=self.name)

    def trace(self) -> Trace:
        assert self.log is not None
        trace = trace_of(self.log, self.name, gaps=self.gaps)
        per_epoch = self.run.counted_steps_per_epoch
        if per_epoch is not None:
            trace.clock = replace(trace.clock, steps_per_epoch=per_epoch)
        return trace


def entry_of(word: str, y: Sequence[str] = ()) -> LogEntry:
    """The entry of a log that a word of the command line names, with its columns if it names some."""
    from lrsched_cli.logs.detect import read_log
    from lrsched_cli.logs.table import Choice

    log = read_log(Path(word), word, Choice(y=tuple(y)))
    return LogEntry(word, {}, notes=tuple(log.notes), log=log)
