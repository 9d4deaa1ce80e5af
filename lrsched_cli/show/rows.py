"""Which ticks a table shows, and the columns it shows of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lrsched_cli.errors import SpecError, must
from lrsched_cli.run import Duration
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.trace import Trace

Ticks = npt.NDArray[np.int64]

#: Rows that are made at a time.
CHUNK = 1 << 14
#: A person reads a table of this many rows; of a longer one, a terminal shows so many.
READABLE, SHOWN = 40, 24
#: The kind of a log of a run, which has rates at some ticks only.
LOG = "log"


@dataclass(frozen=True)
class Selection:
    """Which ticks a user asked for; nothing said means all of them."""

    every: str | None = None
    at: str | None = None
    first: str | None = None
    last: str | None = None
    changes: bool = False

    @property
    def said(self) -> bool:
        return self.changes or any(v is not None for v in (self.every, self.at, self.first, self.last))


def chosen(traces: Sequence[Trace], selection: Selection, when: str | None = None) -> Iterator[Ticks]:
    """The selected ticks in order, a chunk at a time; ``when`` says which of the rates the changes are of."""
    total = max(len(trace) for trace in traces)
    trace = max(traces, key=len)
    low = 0 if selection.first is None else _tick("--from", selection.first, trace)
    high = total - 1 if selection.last is None else _tick("--to", selection.last, trace)
    if high < low:
        raise SpecError(f"must be >= --from {low}, got {high}", parameter="--to")
    step = 1
    if selection.every is not None:
        step = _number("--every", selection.every, trace)
        if step < 1:
            raise must("--every", ">= 1", step)
    if selection.at is not None:
        if selection.every is not None or selection.changes:
            raise SpecError("names the ticks itself: leave out --every and --changes", parameter="--at")
        ticks = [_tick("--at", text, trace) for text in selection.at.split(",")]
        return iter([np.array([t for t in ticks if low <= t <= high], dtype=np.int64)])
    if selection.changes:
        return _changes(traces, low, high + 1, step, ahead=when == "after")
    if all(trace.kind == LOG for trace in traces):
        return iter(
            [ticks[(ticks >= low) & (ticks <= high) & ((ticks - low) % step == 0)] for ticks in [_logged(traces)]]
        )
    return _steps(low, high + 1, step)


def _logged(traces: Sequence[Trace]) -> Ticks:
    """The ticks of which logs among some traces have a rate."""
    schedules = [part for trace in traces for part in (trace.schedule, *trace.schedule.groups.values())]
    return np.unique(np.concatenate([part.at for part in schedules if hasattr(part, "at")]))


def _tick(name: str, text: str, trace: Trace) -> int:
    tick = _number(name, text, trace)
    if not 0 <= tick < len(trace):
        raise must(name, f"a tick from 0 to {len(trace) - 1}", tick)
    return tick


def _number(name: str, text: str, trace: Trace) -> int:
    """A tick as an option gives it: a number or a duration such as 5ep."""
    try:
        number = float(text.replace("_", ""))
    except ValueError:
        try:
            return trace.clock.ticks(Duration.parse(text))
        except SpecError as error:
            error.parameter = name
            raise
    if number != number or number in (np.inf, -np.inf) or number != int(number):
        raise must(name, "a whole number of ticks or a duration like 5ep", text)
    return int(number)


def _steps(low: int, high: int, step: int) -> Iterator[Ticks]:
    for start in range(low, high, CHUNK * step):
        yield np.arange(start, min(start + CHUNK * step, high), step, dtype=np.int64)


def _changes(traces: Sequence[Trace], low: int, high: int, step: int, *, ahead: bool) -> Iterator[Ticks]:
    """The first tick, and those whose rate differs from the one before in any trace.

    ``ahead`` is for the rate after a tick's step, which changes a tick earlier.
    """
    first = np.array([low], dtype=np.int64)
    if not ahead:
        yield from itertools.chain([first], _moves(traces, low, high, low, step))
        return
    last = min([high + 1, *(1 + t.schedule.last_tick for t in traces if t.schedule.last_tick is not None)])
    yield from itertools.chain([first], (ticks - 1 for ticks in _moves(traces, low + 1, last, low + 1, step)))


def _moves(traces: Sequence[Trace], low: int, high: int, origin: int, step: int) -> Iterator[Ticks]:
    """The ticks in ``low < t < high`` at which the rate of a trace changes; constant stretches are skipped."""
    schedules = [schedule for trace in traces for schedule in (trace.schedule, *trace.schedule.groups.values())]
    start = low + 1
    while start < high:
        here = np.array([float(start - 1)])
        knot = min(float(schedule.next_knot(here)[0]) for schedule in schedules)
        end = int(min(knot, high))
        if end - start > CHUNK and all(_is_flat(schedule, start - 1, end) for schedule in schedules):
            start = end
            continue
        end = min(max(end, start) + 1 if end - start > CHUNK else start + CHUNK, start + CHUNK, high)
        moved = np.zeros(end - start, dtype=bool)
        for schedule in schedules:
            moved |= np.diff(schedule.values(start - 1, end)) != 0
        ticks = np.flatnonzero(moved) + start
        ticks = ticks[(ticks - origin) % step == 0]
        if ticks.size:
            yield ticks
        start = end


def _is_flat(schedule: Schedule, start: int, end: int) -> bool:
    """Whether a stretch without a known knot is constant, by many looks: expressions do not tell them all."""
    looks = start + ((end - 1 - start) * np.linspace(0, 1, 257) ** 1.07).astype(np.int64)
    return bool(np.ptp(schedule(looks)) == 0)


def readable(traces: Sequence[Trace]) -> Ticks:
    """Ticks that tell the story of traces too long to read: spread out, with the ends, peaks and turns."""
    total = max(len(trace) for trace in traces)
    spread = np.linspace(0, total - 1, SHOWN).round().astype(np.int64)
    if any(trace.kind == LOG for trace in traces):  # of which nothing is known between two rates
        logged = _logged(traces)
        spread = np.unique(logged[np.linspace(0, len(logged) - 1, SHOWN).round().astype(np.int64)])
    turns = [tick for trace in traces for tick, _ in trace.schedule.marks if 0 < tick < total]
    return np.unique(np.concatenate((spread, np.array(turns[:8], dtype=np.int64))))


@dataclass(frozen=True)
class Column:
    """A column of a table: its header and its values at any ticks, NaN where there is none."""

    header: str
    at: Callable[[Ticks], Any]
    whole: bool = False


def _inside(trace: Trace, rates: Callable[[Ticks], Any]) -> Callable[[Ticks], Any]:
    """A trace's values, NaN past its end."""

    def at(ticks: Ticks) -> Any:
        if not ticks.size or ticks.max() < len(trace):
            return rates(ticks)
        out = np.full(ticks.shape, np.nan)
        inside = ticks < len(trace)
        out[inside] = rates(ticks[inside])
        return out

    return at


def _rates(schedule: Schedule) -> Callable[[Ticks], Any]:
    def at(ticks: Ticks) -> Any:
        in_a_row = ticks.size > 64 and bool((np.diff(ticks) == 1).all())
        return schedule.values(int(ticks[0]), int(ticks[-1]) + 1) if in_a_row else schedule(ticks)

    return at


def _after(trace: Trace, schedule: Schedule) -> Callable[[Ticks], Any]:
    return lambda ticks: Trace(trace.name, schedule, trace.clock).lr_after_at(ticks)


def epoch_column(traces: Sequence[Trace]) -> Column | None:
    """The epoch of each tick, where all traces count it alike; None where it is unknown."""
    clocks = {(trace.clock.interval, trace.clock.steps_per_epoch) for trace in traces}
    if len(clocks) > 1 or traces[0].epoch_at(np.zeros(1, dtype=np.int64)) is None:
        return None
    return Column("epoch", traces[0].epoch_at, whole=True)


def rate_columns(traces: Sequence[Trace], when: str | None, *, wide: bool) -> list[Column]:
    """The rates of every trace: used, or after the scheduler's step; both for one trace read by a person.

    ``wide`` is for machines: a column for the trace beside those of its groups, and momentum.
    """
    columns = []
    both = when is None and len(traces) == 1 and not wide and traces[0].kind != LOG
    for trace in traces:
        groups = trace.schedule.groups
        shown = {trace.name: trace.schedule} if wide or not groups else {}
        shown |= {f"{trace.name}.{group}": schedule for group, schedule in groups.items()}
        for name, schedule in shown.items():
            # With one trace its name is known, and the columns say what many tutorials leave unsaid.
            short = name.removeprefix(f"{trace.name}.") if groups else "lr"
            after = Column(f"{short} after" if both else name, _inside(trace, _after(trace, schedule)))
            used = Column(f"{short} used" if both else name, _inside(trace, _rates(schedule)))
            columns += [used, after] if both else [after if when == "after" else used]
        momentum = trace.schedule.momentum
        if momentum is not None:
            columns.append(Column(f"{trace.name}.momentum", _inside(trace, _rates(momentum))))
    return columns
