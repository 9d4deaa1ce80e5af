"""What each library makes of the same words: its first rate, its peak, its end and what comes after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrsched_cli.errors import SpecError
from lrsched_cli.readings.table import READINGS
from lrsched_cli.readings.words import Reading, Words
from lrsched_cli.run import Run
from lrsched_cli.schedules.ticks import Array
from lrsched_cli.spec import Place, trace_of
from lrsched_cli.trace import Trace

#: Rates nearer than this part of the peak are the same.
SAME = 1e-9


@dataclass(frozen=True)
class Row:
    """What one library makes of the words.

    Attributes
    ----------
    reading: the library's name for it.
    trace: its rates, or None where the library refuses the words; ``refused`` says why.
    rates: float64 array, the rates of the ticks ``0 <= t <= horizon``, fewer where the library raises.
    """

    reading: Reading
    words: Words
    trace: Trace | None
    rates: Array
    refused: str = ""

    @property
    def first(self) -> float:
        """The rate of update 0."""
        return float(self.rates[0])

    @property
    def peak(self) -> tuple[float, int]:
        """The highest rate up to the end, and the first tick that has it."""
        inside = self.rates[: self.words.total + 1]
        highest = float(inside.max())
        return highest, int(np.flatnonzero(inside >= highest * (1 - SAME))[0])

    @property
    def end(self) -> tuple[float, int]:
        """The floor, or the lowest rate where it is not reached, and the first tick from the peak on that has it."""
        after = self.rates[self.peak[1] :]
        slack = SAME * self.peak[0]
        found = np.flatnonzero(after <= max(float(after.min()), self.words.floor) + slack)
        return float(after[found[0]]), self.peak[1] + int(found[0])

    @property
    def then(self) -> str:
        """What the rate does after its end: it holds, rises, falls on, turns negative, or the library raises."""
        rate, at = self.end
        after, slack = self.rates[at:], SAME * self.peak[0]
        if len(self.rates) <= horizon(self.words):
            return "raises"
        if after.min() < -slack:
            return "turns negative"
        if after.max() > rate + slack:
            return "rises"
        return "falls on" if at == len(self.rates) - 1 else "holds"

    def at(self, tick: int) -> float | None:
        """The rate at a tick, where there is one."""
        return float(self.rates[tick]) if tick < len(self.rates) else None


def horizon(words: Words) -> int:
    """The last tick that is looked at: past every end that the words may have."""
    return words.total + words.warmup + max(words.total // 10, 2)


def compared(family: str, words: Words, libraries: Sequence[str] = ()) -> list[Row]:
    """A row for every reading of a canonical kind, or for those of some libraries."""
    readings = [r for r in READINGS[family] if not libraries or r.library in libraries]
    return [_row(reading, words) for reading in readings]


def _row(reading: Reading, words: Words) -> Row:
    run = Run(steps=horizon(words) + 1)
    spec: Any = reading.entry(words)
    try:
        trace = trace_of(spec, run, Place(), reading.name)
    except SpecError:
        # Maybe only what comes after the end is refused.
        try:
            trace = trace_of(spec, Run(steps=words.total), Place(), reading.name)
        except SpecError as error:
            return Row(reading, words, None, np.empty(0), refused=error.message)
        last = trace.schedule.last_tick
        until = words.total if last is None else min(last + 1, horizon(words) + 1)
        return Row(reading, words, trace, _clean(trace.schedule.values(0, until)))
    return Row(reading, words, trace, _clean(trace.lr))


def _clean(rates: Array) -> Array:
    """Rates with what rounding leaves of a 0 as 0."""
    return np.where(np.abs(rates) < 1e-14 * np.abs(rates).max(initial=0.0), 0.0, rates)


def alike_rows(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows in groups of the same rates at every tick, in the order of their first."""
    groups: list[list[Row]] = []
    for row in rows:
        if row.trace is None:
            continue
        for group in groups:
            if len(group[0].rates) == len(row.rates) and np.allclose(group[0].rates, row.rates, atol=SAME):
                group.append(row)
                break
        else:
            groups.append([row])
    return groups


def telling_ticks(words: Words) -> list[int]:
    """The ticks at which readings differ most: around the end of the warm-up and around the end."""
    w, n = words.warmup, words.total
    after = n + max(n // 5, 2)
    ticks = [0, 1, w - 1, w, w + 1, w + 2, (w + n) // 2, n - 1, n, after]
    return sorted({tick for tick in ticks if 0 <= tick <= horizon(words)})
