"""A training on this machine: in this process, or its ensembles divided over several, one a core."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Event
from typing import Any

from lrsched_cli.errors import SpecError, TrainingError
from lrsched_cli.training.jobs import Job
from lrsched_cli.training.worker import Means, Message, Worker, as_failure


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def can_fork() -> bool:
    """Whether a process may be copied as it is: only then is another one faster than doing its share here."""
    return sys.platform == "linux"


def train_here(job: Job, means: Means, workers: int, stop: Event) -> Iterator[Message]:
    """Train a job whose ensembles are put together, and yield what happens as it does.

    Setting ``stop`` ends it after the epochs in progress. A worker that dies is a ``TrainingError``.
    """
    shares = [share for share in (shared(job, i, workers) for i in range(workers)) if share]
    if len(shares) < 2 or not can_fork() or means.device.type != "cpu":
        try:
            yield from Worker(job, job.groups, means, stop.is_set).run()
        except (SpecError, TrainingError):
            raise
        except Exception as error:
            raise as_failure(error, job.model.factory is not None) from error
        return
    context = multiprocessing.get_context("fork")
    flag = context.Event()
    readers: dict[Connection, Any] = {}
    for share in shares:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(job, share, means, theirs, flag, [*readers, ours]), daemon=True)
        process.start()
        theirs.close()
        readers[ours] = process
    try:
        yield from _listen(readers, flag, stop, means.folder)
    finally:
        for reader, process in readers.items():
            reader.close()
            process.join(1.0)
            if process.is_alive():
                process.kill()


def shared(job: Job, rank: int, world: int) -> list[tuple[int, ...]]:
    """The ensembles of one of several workers, divided by the work that each is."""
    loads = [0] * world
    mine = []
    order = sorted(job.groups, key=lambda group: -len(group) * job.runs[group[0]].course.updates)
    for group in order:
        least = loads.index(min(loads))
        loads[least] += len(group) * job.runs[group[0]].course.updates
        if least == rank:
            mine.append(group)
    return mine


def _listen(readers: dict[Connection, Any], flag: Any, stop: Event, folder: Path | None) -> Iterator[Message]:
    open_ones = set(readers)
    while open_ones:
        if stop.is_set():
            flag.set()
        for reader in wait(list(open_ones), timeout=0.2):
            assert isinstance(reader, Connection)
            try:
                message = reader.recv()
            except (EOFError, OSError):
                raise TrainingError(died(readers[reader], folder)) from None
            if message is None:
                open_ones.discard(reader)
            elif isinstance(message, BaseException):
                raise message
            else:
                yield message


def died(process: Any, folder: Path | None) -> str:
    """What to say of a worker that is no more."""
    process.join(1.0)
    code = process.exitcode
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"died with code {code}"
    onward = (
        f"; lrsched train --resume {folder} goes on from the last epoch that was saved" if folder is not None else ""
    )
    return f"a worker process {how}{onward}"


def _serve(
    job: Job, share: Sequence[tuple[int, ...]], means: Means, to: Connection, flag: Any, others: Sequence[Connection]
) -> None:
    """A worker process: what it finds goes into a pipe; None is its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it says when to stop
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in others:  # or it would keep its own reader's end open, and never notice that nobody reads
        other.close()
    try:
        try:
            for message in Worker(job, share, means, flag.is_set).run():
                to.send(message)
            to.send(None)
        except BrokenPipeError:
            os._exit(1)
        except Exception as error:
            to.send(as_failure(error, job.model.factory is not None))
    except (BrokenPipeError, OSError):
        pass
    finally:
        to.close()
        os._exit(0)
