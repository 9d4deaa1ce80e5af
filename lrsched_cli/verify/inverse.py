"""At which ticks a plan has a rate, and which shift or pace brings most rates of a log to such ticks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lrsched_cli.curve import EVERY, reduce
from lrsched_cli.logs.log import Whole
from lrsched_cli.schedules.ticks import Array
from lrsched_cli.verify.evidence import Planned

#: Columns in which a plan is sampled to be read backwards, and by how much of its peak the line between its points
#: may be off.
COLUMNS, OFF = 2000, 3e-6
#: Places of a rate in a plan that are kept: of a plan that has it everywhere, none tells anything.
MOST_PLACES = 400
#: Regions that are looked into.
REGIONS = 6


class Places(NamedTuple):
    """For some rates, where in a plan they are: the row of each, and the first and last tick of each stretch."""

    row: Whole
    low: Array
    high: Array


class Backwards:
    """A plan read backwards."""

    def __init__(self, planned: Planned) -> None:
        ticks, rates = reduce(planned.schedule, 0, planned.total, COLUMNS)
        self.ticks, self.rates = ticks.astype(np.float64), rates
        self.exact = planned.total <= EVERY * COLUMNS or len(ticks) == planned.total
        self.slack = 0.0 if self.exact else OFF * planned.peak

    def find(self, rates: Array, tolerance: Array, *, between: bool = False) -> Places:
        """Where the plan has each of some rates; with ``between`` from one tick to the next too."""
        rows, lows, highs = [], [], []
        for row, (rate, near) in enumerate(zip(rates.tolist(), tolerance.tolist(), strict=True)):
            low, high = self._one(rate, near + self.slack, between)
            if 0 < len(low) <= MOST_PLACES:
                rows.append(np.full(len(low), row))
                lows.append(low)
                highs.append(high)
        none = np.empty(0)
        if not rows:
            return Places(np.empty(0, dtype=np.int64), none, none)
        return Places(np.concatenate(rows), np.concatenate(lows), np.concatenate(highs))

    def _one(self, rate: float, near: float, between: bool) -> tuple[Array, Array]:
        if self.exact and not between:
            hit = np.flatnonzero(np.abs(self.rates - rate) <= near)
            if not len(hit):
                return self.ticks[:0], self.ticks[:0]
            cut = np.flatnonzero(np.diff(hit) > 1)
            return self.ticks[hit[np.append(0, cut + 1)]], self.ticks[hit[np.append(cut, len(hit) - 1)]]
        a, b = self.rates[:-1], self.rates[1:]
        hit = np.flatnonzero((np.minimum(a, b) - near <= rate) & (rate <= np.maximum(a, b) + near))
        start, gap, change = self.ticks[hit], np.diff(self.ticks)[hit], (b - a)[hit]
        steep = np.abs(change) > 4 * near
        with np.errstate(all="ignore"):
            first, last = (rate - near - a[hit]) / change, (rate + near - a[hit]) / change
        low = np.where(steep, np.clip(np.minimum(first, last), 0, 1), 0.0)
        high = np.where(steep, np.clip(np.maximum(first, last), 0, 1), 1.0)
        return np.floor(start + low * gap) - 1, np.ceil(start + high * gap) + 1


class Region(NamedTuple):
    """A range of a number that agrees with so many of the rates."""

    votes: int
    low: float
    high: float


def regions(row: Whole, low: Array, high: Array, nearest: float) -> list[Region]:
    """Where most intervals overlap, counting one a row; of equals those nearest to a number first."""
    keep = high >= low
    row, low, high = row[keep], low[keep], high[keep]
    if not len(row):
        return []
    # The overlap of all rows at once, counted in order of the intervals' ends; a row's own stretches are apart.
    edges = np.concatenate([low, high])
    step = np.concatenate([np.ones(len(low)), -np.ones(len(high))])
    order = np.lexsort((-step, edges))
    edges, votes = edges[order], np.cumsum(step[order])
    least = max(0.6 * votes.max(), 1.0)
    at = np.flatnonzero((step[order] > 0) & (votes >= least))
    at = at[(at + 1 < len(edges))]
    # Only where the next edge closes an interval is the overlap as large as it gets there.
    at = at[step[order][at + 1] < 0]
    found = [Region(int(votes[i]), float(edges[i]), float(edges[i + 1])) for i in at.tolist()]

    def distance(region: Region) -> float:
        return max(region.low - nearest, nearest - region.high, 0.0)

    found.sort(key=lambda region: (-region.votes, distance(region)))
    return found[:REGIONS]
