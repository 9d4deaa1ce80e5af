"""What a snapshot records of a trace: enough ticks, each with its exact values, to see any change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.ticks import Array
from lrsched_cli.trace import Trace
from lrsched_cli.verify.resolved import plan_lines

Whole = npt.NDArray[np.int64]

#: Up to so many ticks, and of a schedule that is computed tick by tick anyway, every tick is looked at.
LOOKED_AT = 1_000_000
#: Stretches of equal rates up to which each is a row, and so every tick is known; more where somebody's own code gave
#: the rates, of which no formula says what lies between.
ROWS, ROWS_OF_CODE = 160, 2000
#: Of a longer curve, the knots that are recorded from its start, and at even distances.
KNOTS, SPREAD = 24, 16
#: How many of its first ticks, and by what factor the distance grows from there and from each of the first knots.
FIRST, GROWTH = 9, 4
#: Blocks whose sums stand for the ticks between those that are recorded.
BLOCKS = 16
#: A weight for each tick of a second sum, so that changes which cancel out in one do not in the other.
GOLDEN = 0.6180339887498949


class Row(NamedTuple):
    """The ticks ``first`` to ``last``, both included, that all have these values: one of each column."""

    first: int
    last: int
    values: tuple[float, ...]


class Block(NamedTuple):
    """The sums over the ticks ``first`` to ``last``: for each column the plain one and a weighted one."""

    first: int
    last: int
    sums: tuple[float, ...]


@dataclass(frozen=True)
class Recording:
    """What is recorded of one entry.

    Attributes
    ----------
    key: which entry it is: ``FILE:NAME``, or the word that named it.
    interval, total: its run.
    plan: the resolved plan, as lines.
    columns: what each value is: ``lr``, or the name of each group as ``lr.NAME``; then ``momentum`` where it cycles.
    rows: the ticks that are recorded, in order.
    blocks: sums over all ticks; empty where the rows have every tick, or the run is too long.
    """

    key: str
    interval: str
    total: int
    plan: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    blocks: tuple[Block, ...]

    @property
    def complete(self) -> bool:
        """Whether a change at any tick shows."""
        return bool(self.blocks) or sum(row.last - row.first + 1 for row in self.rows) == self.total


def recorded(trace: Trace, key: str) -> Recording:
    """Record a trace.

    Every tick is there where the rates make few stretches of equal ones. Else the ticks beside knots, the first ones,
    some at growing distances from knots and some at even distances; and, up to ``LOOKED_AT`` ticks, sums over all.
    """
    schedules = columns_of(trace)
    total = len(trace)
    plan, columns = tuple(plan_lines(trace.schedule)), tuple(schedules)
    head = (key, trace.interval, total, plan, columns)
    curves = list(schedules.values())
    if not is_looked_at(trace.schedule, total):
        return Recording(*head, _rows_at(curves, _landmarks(curves, total)), ())
    table = np.stack([curve.values(0, total) for curve in curves])
    starts = _stretches(table)
    if len(starts) <= (ROWS_OF_CODE if _is_of_code(trace.schedule) else ROWS):
        ends = np.append(starts[1:], total) - 1
        pairs = zip(starts.tolist(), ends.tolist(), strict=True)
        return Recording(*head, tuple(Row(a, b, tuple(table[:, a].tolist())) for a, b in pairs), ())
    ticks = _landmarks(curves, total)
    rows = tuple(Row(t, t, tuple(table[:, t].tolist())) for t in ticks.tolist())
    return Recording(*head, rows, blocks_of(table, total))


def columns_of(trace: Trace) -> dict[str, Schedule]:
    """The schedules whose values are recorded, by the name of their column."""
    schedule = trace.schedule
    rates: dict[str, Schedule] = {f"lr.{name}": member for name, member in schedule.groups.items()}
    momentum = schedule.momentum
    return {**(rates or {"lr": schedule}), **({} if momentum is None else {"momentum": momentum})}


def is_looked_at(schedule: Schedule, total: int) -> bool:
    """Whether every tick is evaluated."""
    return total <= LOOKED_AT or _is_cumulative(schedule)


def blocks_of(table: Array, total: int) -> tuple[Block, ...]:
    """The sums of some columns, each of all ticks, over blocks of them."""
    edges = [total * i // BLOCKS for i in range(BLOCKS + 1)]
    blocks = []
    for low, high in zip(edges, edges[1:], strict=False):
        weights = np.modf(np.arange(high - low) * GOLDEN)[0]
        part = table[:, low:high]
        sums = [value for column in part for value in (float(column.sum()), float((column * weights).sum()))]
        blocks.append(Block(low, high - 1, tuple(sums)))
    return tuple(blocks)


def _is_cumulative(schedule: Schedule) -> bool:
    return schedule.cumulative or any(map(_is_cumulative, schedule.inner))


def _is_of_code(schedule: Schedule) -> bool:
    return schedule.core.kind.startswith("python:") or any(map(_is_of_code, schedule.inner))


def _stretches(table: Array) -> Whole:
    """The first tick of each stretch of equal values; NaN is equal to itself."""
    left, right = table[:, :-1], table[:, 1:]
    same = ((left == right) | (np.isnan(left) & np.isnan(right))).all(axis=0)
    return np.concatenate([[0], np.flatnonzero(~same) + 1])


def _rows_at(curves: Sequence[Schedule], ticks: Whole) -> tuple[Row, ...]:
    values = np.stack([curve(ticks) for curve in curves])
    return tuple(Row(t, t, tuple(values[:, i].tolist())) for i, t in enumerate(ticks.tolist()))


def _landmarks(curves: Sequence[Schedule], total: int) -> Whole:
    """The ticks of a long run that are recorded."""
    spread = np.linspace(0, total - 1, SPREAD + 1)
    found = [np.arange(FIRST), np.array([total - 2, total - 1]), spread]
    for curve in curves:
        knots = _knots(curve, total)
        found += [knots - 1, knots, knots + 1, curve.next_knot(np.floor(spread)), curve.next_knot(np.floor(spread)) - 1]
        places = np.array([0, *knots.tolist(), total])
        for low, high in zip(places, places[1:], strict=False):
            if len(places) > 2 * GROWTH:  # many knots say enough; between few the curve is followed
                break
            reach = float(FIRST)
            while reach < (high - low) / 2:
                found += [np.array([low + reach, high - reach])]
                reach *= GROWTH
    ticks = np.concatenate([np.asarray(part, dtype=np.float64) for part in found])
    ticks = ticks[np.isfinite(ticks)]
    return np.unique(ticks[(ticks >= 0) & (ticks < total)].astype(np.int64))


def _knots(curve: Schedule, total: int) -> Array:
    """The first knots of a curve."""
    found: list[float] = []
    at = 0.0
    while len(found) < KNOTS:
        at = float(curve.next_knot(np.array([at]))[0])
        if not at < total:
            break
        found.append(at)
    return np.array(found)
