"""``train``: 8 schedules from 4 seeds as ensembles, against the loop that a user writes, one run after the other.

Both sides train on the same data in the same order and judge it alike after each epoch. The loop is plain PyTorch on
one thread, which is its fastest here; the ensembles are what ``lrsched train`` runs, on every core.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrsched_cli.book import Entry
from lrsched_cli.experiment import Experiment
from lrsched_cli.run import Run
from lrsched_cli.training import devices, trainer
from lrsched_cli.training.feed import order
from lrsched_cli.training.jobs import Job, grouped, plan
from lrsched_cli.training.processes import cores, train_here
from lrsched_cli.training.worker import dtype_of, means_of
from tests.benchmarks.report import Row, Table

KINDS = ("constant", "step", "multistep", "exponential", "cosine", "onecycle", "cosine-restarts", "linear")
OPTIMIZERS: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
#: Where MNIST's files are looked for; without them its job is left out.
MNIST = Path(os.environ.get("LRSCHED_DATA", Path(__file__).parents[3] / "shared" / "mnist"))
DEVICE = os.environ.get("LRSCHED_BENCH_DEVICE", "cpu")


@dataclass(frozen=True)
class Bench:
    """A job to measure: how many times faster an ensemble must be, and should be."""

    name: str
    experiment: Experiment
    run: Run
    floor: float
    aim: float


BENCHES = [
    Bench(
        "breast-cancer, 30-64-1, sgd with momentum, batch 32, 50 epochs",
        Experiment(data="breast-cancer", model="mlp:64", optimizer="sgd", momentum=0.9, seeds=4),
        Run(epochs=50, interval="step", batch_size=32, lr=0.05), 20, 30,
    ),
    Bench(
        "digits, 64-64-10, adam, batch 64, 20 epochs",
        Experiment(data="digits", model="mlp:64", optimizer="adam", seeds=4),
        Run(epochs=20, interval="step", batch_size=64, lr=0.003), 12, 18,
    ),
    Bench(
        "10,000 images of mnist, 784-128-10, adam, batch 64, 5 epochs, judged on 10,000",
        Experiment(data="mnist", model="mlp:128", optimizer="adam", seeds=4, limit=10_000, data_dir=str(MNIST)),
        Run(epochs=5, interval="step", batch_size=64, lr=0.001), 5, 7,
    ),
]  # fmt: skip


def job_of(bench: Bench, kinds: Sequence[str] = KINDS, **changed: Any) -> Job:
    return plan([Entry(kind, {"kind": kind}, bench.run) for kind in kinds], replace(bench.experiment, **changed))


def plain(job: Job, number: int) -> list[float]:
    """One run as a user writes it; its training loss and validation loss of each epoch, one after the other."""
    run, dtype, experiment = job.runs[number], dtype_of(job), job.experiment
    device = torch.device(DEVICE)
    split = job.data.split(run.seed)
    x, x_val = (torch.as_tensor(part.x).to(device, dtype) for part in (split.train, split.val))
    y, y_val = (torch.as_tensor(part.y).to(device) for part in (split.train, split.val))
    torch.manual_seed(run.seed)
    model = job.model.make(job.data.shape, job.data.classes).to(device, dtype)
    binary = job.model.outputs_for(job.data.classes) == 1
    criterion: Any = torch.nn.BCEWithLogitsLoss() if binary else torch.nn.CrossEntropyLoss()
    y, y_val = (y.to(dtype), y_val.to(dtype)) if binary else (y, y_val)
    options = {"momentum": experiment.momentum} if experiment.optimizer == "sgd" else {}
    optimizer = OPTIMIZERS[str(experiment.optimizer)](model.parameters(), lr=run.lr, **options)
    rates = job.traces[run.schedule, run.lr].lr.tolist()
    size, update, curve = job.batching.size, 0, []
    for epoch in range(run.course.epochs):
        model.train()
        total = 0.0
        for batch in torch.from_numpy(order(run.seed, epoch, len(x))).to(device).split(size):
            optimizer.param_groups[0]["lr"] = rates[update]
            optimizer.zero_grad()
            said = model(x[batch])
            loss = criterion(said.squeeze(-1) if binary else said, y[batch])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
            update += 1
        model.eval()
        with torch.no_grad():
            said = model(x_val)
            said = said.squeeze(-1) if binary else said
            judged = criterion(said, y_val).item()
            (((said > 0) if binary else said.argmax(1)) == y_val).double().mean().item()
        curve += [total / len(x), judged]
    return curve


def ensemble(job: Job, workers: int) -> list[list[float]]:
    """All runs as ``train`` does them; their curves in the same form."""
    device = devices.device_of(DEVICE)
    means, _ = means_of(job, device)
    job = grouped(job, workers, one=device.type != "cpu")
    results = trainer.finish(job, train_here(job, means, workers, threading.Event()), lambda _: None, DEVICE)
    return [np.stack([r.train_loss[1:], r.val_loss[1:]], 1).ravel().tolist() for r in results.runs]


def measured(job: Job, workers: int, rounds: int, alone: int | None = None) -> tuple[float, float, float]:
    """The best seconds of the plain loop and of the ensemble, and how far their curves are apart, relatively.

    ``alone`` runs are trained by the plain loop, and its time is scaled to all of them.
    """
    count = alone or len(job.runs)
    times: list[list[float]] = [[], []]
    theirs: list[list[float]] = []
    ours: list[list[float]] = []
    for _ in range(rounds):
        torch.set_flush_denormal(False)
        begun = time.perf_counter()
        theirs = [plain(job, number) for number in range(count)]
        times[0].append((time.perf_counter() - begun) * len(job.runs) / count)
        begun = time.perf_counter()
        ours = ensemble(job, workers)
        times[1].append(time.perf_counter() - begun)
    apart = max(float(np.max(np.abs(np.subtract(a, b)) / np.abs(a))) for a, b in zip(theirs, ours, strict=False))
    return min(times[0]), min(times[1]), apart


def tables(quick: bool) -> Iterator[Table]:
    torch.set_num_threads(1)
    benches = [bench for bench in BENCHES if bench.experiment.data != "mnist" or MNIST.is_dir()]
    rounds = 1 if quick else 2
    workers = cores() if DEVICE == "cpu" else 1
    plain(job_of(benches[0]), 0)  # torch imports a good deal at the first step of an optimizer
    yield speed(benches, workers, rounds, quick)
    yield agreement(benches, workers)
    yield single(benches, rounds)
    yield growth(benches, rounds)


def speed(benches: Sequence[Bench], workers: int, rounds: int, quick: bool) -> Table:
    table = Table(f"32 runs on {DEVICE}, {workers} processes: the plain loop : the ensemble", note="aim, seconds")
    for bench in benches:
        theirs, ours, _ = measured(job_of(bench), workers, rounds, 8 if quick else None)
        table.rows.append(
            Row(bench.name, theirs / ours, at_least=bench.floor, note=f"{bench.aim:g}x, {theirs:.1f} : {ours:.2f}")
        )
    return table


def agreement(benches: Sequence[Bench], workers: int) -> Table:
    """How far the curves of 8 of the runs are from the plain loop's, as a part of what is allowed."""
    table = Table("largest relative difference of a loss from the plain loop's : what is allowed", note="difference")
    for bench in benches:
        for dtype, allowed in (("float64", 1e-12), ("float32", 1e-3)):
            _, _, apart = measured(job_of(bench, dtype=dtype), workers, 1, 8)
            table.rows.append(Row(f"{bench.name}, {dtype}", apart / allowed, at_most=1.0, note=f"{apart:.1e}"))
    return table


def single(benches: Sequence[Bench], rounds: int) -> Table:
    table = Table("a single run, in this process : the plain loop", note="seconds")
    for bench in benches:
        theirs, ours, _ = measured(job_of(bench, ("cosine",), seeds=(0,)), 1, rounds + 1)
        table.rows.append(Row(bench.name, ours / theirs, at_most=1.15, note=f"{ours:.2f} : {theirs:.2f}"))
    return table


def growth(benches: Sequence[Bench], rounds: int) -> Table:
    """What a run costs where there are more of them, in one process."""
    table = Table("the cost of a run among so many, in one process : alone", note="ms a run")
    bench = benches[min(1, len(benches) - 1)]
    alone = 0.0
    for seeds in (1, 4, 16, 64):
        job = job_of(bench, ("cosine",), seeds=tuple(range(seeds)))
        begun = [0.0] * (rounds + 1)
        for i in range(rounds + 1):
            start = time.perf_counter()
            ensemble(job, 1)
            begun[i] = time.perf_counter() - start
        cost = min(begun) / seeds
        alone = alone or cost
        table.rows.append(Row(f"{seeds} of {bench.name}", cost / alone, note=f"{cost * 1e3:.1f}"))
    return table
