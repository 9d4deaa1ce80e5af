"""The folder of a training that ``lrsched train`` left: every run has the rates that its optimizer used."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from lrsched_cli.errors import SpecError, nearest, shown
from lrsched_cli.logs.log import Log, Series
from lrsched_cli.logs.table import Choice
from lrsched_cli.results import Results, RunResult

FORM = "lrsched"


def read(folder: Path, name: str, choice: Choice) -> Log:
    """The log of a training: a series for each schedule and base rate, and for each seed whose rates are others."""
    if choice.x is not None:
        raise SpecError("a training counts its updates itself: leave it out", parameter="--x")
    results = Results.read(folder)
    known = results.schedules
    for wanted in choice.y:
        if wanted not in known:
            raise SpecError(f"--y: has no schedule {shown(wanted)}{nearest(wanted, known)}", file=name)
    names = list(choice.y) or known
    if choice.plan is not None and not choice.y and len(known) > 1:
        if choice.plan[0] not in known:
            told = f"holds {', '.join(known)}, and no schedule is called {choice.plan[0]}: say which with --y"
            raise SpecError(told, file=name)
        names = [choice.plan[0]]
    runs = [run for run in results.runs if len(run.lr_used) and run.schedule in names]
    if choice.plan is not None:
        same = [run for run in runs if math.isclose(run.lr, choice.plan[1])]
        runs = same or runs
    if not runs:
        raise SpecError("holds no run that made an update", file=name)
    return Log(
        name, FORM, "step", tuple(_series(runs, results)), "update t is update t",
        steps_per_epoch=results.steps_per_epoch,
    )  # fmt: skip


def _series(runs: list[RunResult], results: Results) -> list[Series]:
    """The distinct rates of some runs; seeds that have the same are one series."""
    several = len(results.lrs) > 1
    found: list[Series] = []
    for (schedule, lr), seeds in _by_rate(runs).items():
        kept: list[Series] = []
        for run in sorted(seeds, key=lambda one: -len(one.lr_used)):
            rates = np.asarray(run.lr_used, dtype=np.float64)
            if any(np.array_equal(rates, one.rates[: len(rates)]) for one in kept):
                continue
            label = f"{schedule} at {lr:g}" if several else schedule
            label += f" (seed {run.seed})" if kept else ""
            measured = {"min": list(run.val_loss)[1:], "max": list(run.val_accuracy)[1:]}
            kept.append(Series(label, np.arange(len(rates), dtype=np.int64), rates, measured))
        found += kept
    return found


def _by_rate(runs: list[RunResult]) -> dict[tuple[str, float], list[RunResult]]:
    found: dict[tuple[str, float], list[RunResult]] = {}
    for run in runs:
        found.setdefault((run.schedule, run.lr), []).append(run)
    return found
