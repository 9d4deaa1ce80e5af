"""A training from its plan to its results: the folder it keeps, the runs as they come, the check of every rate."""

from __future__ import annotations

import hashlib
import json
import operator
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from lrsched_cli.errors import SpecError
from lrsched_cli.files import write_whole
from lrsched_cli.metrics import decode, read_file
from lrsched_cli.results import CSV_NAME, FIGURE_NAME, JSON_NAME, PLAN_NAME, Results, RunResult, plain
from lrsched_cli.run import Run
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.ticks import Array
from lrsched_cli.training.jobs import Job, digest
from lrsched_cli.training.worker import Finished, Message

JOB_NAME = "state/job.json"
#: What a training leaves in its folder.
LEFT = (PLAN_NAME, JSON_NAME, CSV_NAME, FIGURE_NAME, "state")
#: How far a rate that was used may be from the plan's, as a part of it.
TOLERANCE = 1e-12


def plan_document(job: Job) -> dict[str, Any]:
    """A job as a file of schedules that ``train`` reads: everything that is needed to run it again."""
    shared = Run.shared([entry.run for entry in job.entries])
    shared |= {"batch_size": job.batching.size} if "batch_size" not in shared and not _accumulates(job) else {}
    schedules = {}
    for entry in job.entries:
        own = {key: value for key, value in entry.run.said.items() if shared.get(key) != value}
        schedules[entry.name] = {**plain(entry.spec), **({"run": own} if own else {})}
        if not own:
            schedules[entry.name].pop("run", None)
    return {"run": shared, **job.experiment.said, "schedules": schedules}


def _accumulates(job: Job) -> bool:
    return any((entry.run.grad_accumulation or 1) > 1 for entry in job.entries)


def new_folder(folder: Path | None) -> Path:
    """The folder of a training that begins: the named one, which must hold no other, or one named after the time."""
    if folder is None:
        base = Path("lrsched-runs") / time.strftime("%Y-%m-%d-%H%M%S")
        folder, serial = base, 2
        while folder.exists():
            folder, serial = base.with_name(f"{base.name}-{serial}"), serial + 1
    held = next((name for name in LEFT if (folder / name).exists()), None)
    if held in (PLAN_NAME, JSON_NAME):
        told = f"{folder} holds a training already ({held})"
        raise SpecError(f"{told}: --resume {folder} goes on with it, -o names another folder")
    try:
        if held is None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "state").mkdir()  # whoever makes it has the folder
    except FileExistsError:
        held = "state" if folder.is_dir() else None
        if held is None:
            raise SpecError(f"cannot write {folder}: Not a directory") from None
    except OSError as error:
        raise SpecError(f"cannot write {folder}: {error.strerror or error}") from None
    if held is not None:
        raise SpecError(f"{folder} holds {held}, which would be replaced: -o names another folder")
    return folder


def keep(job: Job, folder: Path, device: str) -> None:
    """Write down what a training is before it begins, so that it can be gone on with."""
    document = json.dumps(plan_document(job), indent=1, ensure_ascii=False)
    # It is read as YAML, which knows JSON's escapes, but not in pairs for what lies beyond 16 bits.
    escaped = re.sub(r"[^\n\x20-\x7e\U00010000-\U0010ffff]", lambda found: f"\\u{ord(found[0]):04x}", document)
    write_whole(folder / PLAN_NAME, f"{escaped}\n".encode())
    kept = {"digest": digest(job), "device": device, "groups": [list(group) for group in job.groups]}
    kept["division"] = digest_of(job.groups)
    write_whole(folder / JOB_NAME, json.dumps(kept).encode())


def digest_of(groups: Sequence[Sequence[int]]) -> str:
    """How runs are divided, in short: a file in which that was changed is damaged."""
    return hashlib.sha256(json.dumps([list(group) for group in groups]).encode()).hexdigest()


def kept_job(job: Job, folder: Path) -> tuple[Job, str]:
    """The job of a folder with its ensembles as they were, and its device; refuse one that is not the same any more."""
    name = str(folder / JOB_NAME)
    try:
        kept = json.loads(decode(read_file(folder / JOB_NAME, name, 1 << 28), name))
        groups = tuple(tuple(operator.index(number) for number in group) for group in kept["groups"])
        said, device = kept["digest"], str(kept["device"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{name} is damaged: the training cannot be gone on with") from None
    if said != digest(job):
        raise SpecError(f"{folder} was begun with other data or another plan: it cannot be gone on with")
    whole = sorted(number for group in groups for number in group) == list(range(len(job.runs)))
    if not whole or not all(groups) or digest_of(groups) != kept.get("division"):
        raise SpecError(f"{name} is damaged: the training cannot be gone on with")
    return replace(job, groups=groups), device


def finish(job: Job, messages: Iterator[Message], told: Callable[[Message], None], device: str) -> Results:
    """Follow a training to its end and put its results together; ``told`` hears of everything on the way."""
    results: dict[int, RunResult] = {}
    begun, before = time.perf_counter(), 0.0
    for message in messages:
        told(message)
        if isinstance(message, Finished):
            results |= message.results
            before = max(before, message.seconds_before)
    seconds = time.perf_counter() - begun + before
    runs = [results[number] for number in sorted(results)]
    return Results(
        device=device,
        train_seconds=round(seconds, 3),
        runs=runs,
        spec=plan_document(job),
        versions=versions(),
        data={
            "name": job.data.name,
            "digest": job.data.digest,
            "train_size": job.data.train_size,
            "val_size": job.data.val_size,
            "classes": job.data.classes,
            "steps_per_epoch": job.per_epoch,
        },
        notes=list(job.notes),
    )


def rate_fault(job: Job, runs: Sequence[RunResult]) -> str | None:
    """What is wrong with the rates that were used, held against what ``table`` prints; None if nothing is.

    A schedule that reacts is given the run's own metrics.
    """
    known: dict[tuple[str, float], Array] = {}
    for run in runs:
        key = run.schedule, run.lr
        schedule = job.traces[key].schedule
        if schedule.reacts:
            monitor = next(planned.monitor for planned in job.runs if (planned.schedule, planned.lr) == key)
            rates = _every_rate(job, key, schedule.fed(list(getattr(run, monitor)[1:])))
        else:
            if key not in known:
                known[key] = _every_rate(job, key, schedule)
            rates = known[key]
        used = np.asarray(run.lr_used)
        # Where it reacts, its rates were worked out epoch by epoch, which may be rounded otherwise near 0.
        allowed = TOLERANCE * (rates.max(initial=0.0) if schedule.reacts else rates[: len(used)])
        wrong = np.flatnonzero(~(np.abs(used - rates[: len(used)]) <= allowed))
        if wrong.size:
            at = int(wrong[0])
            told = f"{run.schedule} (seed {run.seed}) used the rate {float(used[at])!r} for update {at}"
            return f"internal error, please report it: {told}, and the plan says {float(rates[at])!r}"
    return None


def _every_rate(job: Job, key: tuple[str, float], schedule: Schedule) -> Array:
    """The plan's rate of every update, worked out at once rather than epoch by epoch."""
    trace = job.traces[key]
    rates = schedule.values(0, trace.clock.total)
    return np.repeat(rates, job.per_epoch) if trace.interval == "epoch" else rates


def versions() -> dict[str, str]:
    """The versions of what the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in ("lrsched-cli", "torch", "numpy", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
