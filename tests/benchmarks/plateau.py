"""A million metrics: ReduceLROnPlateau stepped in torch, and Plateau given the array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lrsched_cli.run import Clock, Scope
from lrsched_cli.schedules.metric import Plateau
from tests.benchmarks.report import Row, Table, best

TOTAL = 1_000_000
FLOOR = 50.0
#: torch is stepped this far and scaled.
STEPPED = 100_000


def shapes() -> dict[str, Any]:
    draw = np.random.default_rng(0).standard_normal(TOTAL)
    tick = np.arange(TOTAL)
    return {
        "noisy decay": 2 * np.exp(-tick / 2e5) + 0.05 * np.abs(draw) + 0.1,
        "monotone decay": 1 / (1 + tick / 1000),
        "random walk": 1000 + np.cumsum(draw),
        "noisy flat": 1 + 0.01 * draw,
    }


#: Parameters beside torch's defaults. The short patience cuts every third tick, 300,000 times, and is only told.
SETTINGS: dict[str, dict[str, Any]] = {
    "": {},
    ", long patience": {"patience": 1000, "factor": 0.97, "cooldown": 500, "eps": 0.0},
    ", short patience": {"patience": 2, "factor": 0.9999, "eps": 0.0},
    ", abs threshold": {"threshold": 0.001, "threshold_mode": "abs", "factor": 0.5},
}


def followed(metrics: Any, setting: dict[str, Any]) -> list[float]:
    """The rates that torch gives."""
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **setting)
    rates = []
    for metric in metrics[:STEPPED]:
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step(metric)
    return rates


def tables(quick: bool) -> Iterator[Table]:
    import torch
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    scope = Scope.of(Clock("step", TOTAL))
    table = Table(f"{TOTAL:,} metrics: torch : ours", note="ns a metric, torch : ours; max |ours - torch| / peak")
    for shape, metrics in shapes().items():
        for label, setting in SETTINGS.items():
            stepped = metrics[:STEPPED]
            optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)

            def torch_steps() -> None:
                scheduler = ReduceLROnPlateau(optimizer, **setting)  # noqa: B023
                for metric in stepped:  # noqa: B023
                    scheduler.step(metric)

            def ours() -> Any:
                return Plateau.from_params({"metrics": metrics, **setting}, scope).values(0, TOTAL)  # noqa: B023

            theirs, time = best([torch_steps, ours], 2 if quick else 5)
            theirs /= STEPPED
            off = np.abs(ours()[:STEPPED] - followed(metrics, setting)).max() / 0.1
            note = f"{1e9 * theirs:,.0f} : {1e9 * time / TOTAL:.1f}; {off:.0e}"
            floor = None if label == ", short patience" else FLOOR
            table.rows.append(Row(f"{shape}{label}", theirs * TOTAL / time, at_least=floor, note=note))
    yield table
