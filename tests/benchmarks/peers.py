"""A million steps against those who step: torch's scheduler, and the PyPI package called lrsched."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from lrsched_cli import simulate
from lrsched_cli.schedules.ticks import Array
from tests.benchmarks.cases import CANONICAL, TORCH, Case, Spec
from tests.benchmarks.report import Row, Table, best

TOTAL = 1_000_000
#: A peer is stepped this far and its time scaled.
STEPPED = 10_000
TORCH_FLOOR, PYPI_FLOOR = 500.0, 50.0


def compared_with_torch(case: Case, total: int, rounds: int) -> tuple[float, float, list[float]]:
    """Seconds of one ``scheduler.step()`` in torch and of our whole trace, run in turn, and torch's first rates."""
    import torch
    from torch.optim import lr_scheduler

    def fresh() -> Any:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.9)
        scheduler = case.torch(lr_scheduler, optimizer, total)
        optimizer.step()
        return scheduler

    def steps(scheduler: Any) -> None:
        for _ in range(STEPPED):
            scheduler.step()

    ours = partial(_rates, case.spec(total), total)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        times = [best([partial(steps, fresh()), ours, ours, ours], 1) for _ in range(rounds)]
        scheduler = fresh()
        rates = scheduler.get_last_lr()
        for _ in range(2000):
            scheduler.step()
            rates += scheduler.get_last_lr()
    return min(t[0] for t in times) / STEPPED, min(min(t[1:]) for t in times), rates


def _rates(spec: Spec, total: int) -> Array:
    return simulate(spec, {"steps": total}).lr


def against_torch(title: str, cases: Sequence[Case], quick: bool, *, same: bool) -> Table:
    """``same`` says that the kinds are torch's own, so that the rates must agree too."""
    table = Table(title, note="ns a step, torch : ours" + ("; max |ours - torch| / peak" if same else ""))
    for case in cases:
        theirs, ours, rates = compared_with_torch(case, TOTAL, 2 if quick else 5)
        note = f"{1e9 * theirs:,.0f} : {1e9 * ours / TOTAL:.1f}"
        if same:
            off = np.abs(_rates(case.spec(TOTAL), TOTAL)[: len(rates)] - rates).max() / max(rates)
            note += f"; {off:.0e}"
        table.rows.append(Row(case.label, theirs * TOTAL / ours, at_least=TORCH_FLOOR, note=note))
    return table


def pypi_package(folder: str) -> Any:
    """The PyPI package lrsched, installed into a folder where it is not there; None without a network."""
    try:
        return importlib.import_module("lrsched")
    except ImportError:
        command = ["-m", "pip", "install", "--quiet", "--target", folder, "--no-deps", "lrsched==0.5.0"]
        done = subprocess.run([sys.executable, *command], capture_output=True, check=False, timeout=120)
        if done.returncode:
            return None
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
        return importlib.import_module("lrsched")


def against_pypi(quick: bool) -> Table:
    table = Table(f"{TOTAL:,} steps: the PyPI package lrsched 0.5.0 : ours", note="ns a step, theirs : ours")
    with tempfile.TemporaryDirectory() as folder:
        package = pypi_package(folder)
        if package is None:
            table.title += " (skipped: it cannot be installed here)"
            return table
        for case in CANONICAL:
            if case.pypi is None:
                continue
            schedule = case.pypi(package, TOTAL)
            # Every hundredth step of the whole run: its schedules are functions of the step, dearer in some phases.
            strided = range(0, TOTAL, TOTAL // STEPPED)
            spec, run = case.spec(TOTAL), {"steps": TOTAL}
            theirs, ours = best(
                [lambda: [schedule(t) for t in strided], lambda: simulate(spec, run).lr],  # noqa: B023
                3 if quick else 7,
            )
            theirs /= STEPPED
            note = f"{1e9 * theirs:,.0f} : {1e9 * ours / TOTAL:.1f}"
            table.rows.append(Row(case.label, theirs * TOTAL / ours, at_least=PYPI_FLOOR, note=note))
    return table


def tables(quick: bool) -> Iterator[Table]:
    yield against_torch(f"{TOTAL:,} steps: torch's scheduler.step() : ours", CANONICAL, quick, same=False)
    yield against_torch("The same, torch's own kinds", TORCH, quick, same=True)
    yield against_pypi(quick)
