"""Whole traces: the time of an array of every rate against that of an array of one number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from lrsched_cli import simulate
from lrsched_cli.schedules.ticks import Array
from tests.benchmarks.cases import CANONICAL, TORCH, Case, Spec
from tests.benchmarks.report import Row, Table, compared

TOTAL = 10_000_000
FLOOR = 4.0


def disagreement(case: Case, total: int) -> float:
    """How far the fast trace is from calling the schedule on scattered ticks, relative to the peak."""
    trace = simulate(case.spec(total), {"steps": total})
    rates = trace.lr
    ticks = np.random.default_rng(0).integers(0, total, 20_000)
    ticks = np.concatenate([np.arange(min(total, 2000)), ticks, np.arange(max(total - 2000, 0), total)])
    return float(np.abs(rates[ticks] - trace.schedule(ticks)).max() / rates.max())


def _rates(spec: Spec, total: int) -> Array:
    return simulate(spec, {"steps": total}).lr


def _table(title: str, cases: Sequence[Case], total: int, quick: bool) -> Table:
    table = Table(title, note="ns a step; max |fast - direct| / peak")
    for case in cases:
        rounds = 3 if quick else 7
        make = partial(_rates, case.spec(total), total)
        ours, full = compared(make, partial(np.full, total, 0.1), rounds, at_most=FLOOR)
        note = f"{1e9 * ours / total:5.1f}; {disagreement(case, total):.0e}"
        table.rows.append(Row(case.label, ours / full, FLOOR, note=note))
    return table


def tables(quick: bool) -> Iterator[Table]:
    yield _table(f"Whole traces of {TOTAL:,} steps : np.full", CANONICAL, TOTAL, quick)
    yield _table("The same, torch's own kinds : np.full", TORCH, TOTAL, quick)
