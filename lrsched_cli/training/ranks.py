"""A training spread over the processes that ``torchrun`` started, on one machine or several."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from threading import Event
from typing import Any

import torch

from lrsched_cli.errors import SpecError, TrainingError
from lrsched_cli.training.jobs import Job
from lrsched_cli.training.processes import shared
from lrsched_cli.training.worker import Means, Message, Worker, as_failure

#: Seconds between two meetings of the ranks, at least.
MEET_EVERY = 0.2


def _whole(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else None


def rank_and_world() -> tuple[int, int]:
    """Which of how many processes this is: 0 of 1 unless ``torchrun`` (or the like) says otherwise."""
    rank, world = _whole("RANK"), _whole("WORLD_SIZE")
    if rank is None or world is None or world < 2 or "MASTER_ADDR" not in os.environ:
        return 0, 1
    if rank >= world:
        raise SpecError(f"RANK is {rank} of a WORLD_SIZE of {world}: start it with torchrun")
    return rank, world


def local_rank() -> int:
    """Which of this machine's processes this is."""
    return (_whole("LOCAL_RANK") or 0) if rank_and_world()[1] > 1 else 0


def train_ranks(job: Job, means: Means, stop: Event) -> Iterator[Message]:
    """Train this rank's share; rank 0 yields what happens on all of them, the others nothing.

    A rank that dies ends the training on all the others with a ``TrainingError``.
    """
    import torch.distributed as dist

    rank, world = rank_and_world()
    backend = "cpu:gloo,cuda:nccl" if means.device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=timedelta(days=1))
        yield from _meetings(job, means, stop, rank, world)
    except (RuntimeError, ConnectionError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        onward = f": lrsched train --resume {means.folder} goes on from the last epoch that was saved"
        raise TrainingError(f"another process of the {world} died{onward if means.folder else ''}") from None
    finally:
        if dist.is_initialized():
            with contextlib.suppress(RuntimeError):  # what is left of a group that lost a member
                dist.destroy_process_group()


def _meetings(job: Job, means: Means, stop: Event, rank: int, world: int) -> Iterator[Message]:
    """Train for a while, tell each other, and so on until all are done."""
    import torch.distributed as dist

    told_to_stop = False
    work = Worker(job, shared(job, rank, world), means, lambda: told_to_stop).run()
    done = False
    while True:
        mine: list[Any] = []
        until = time.monotonic() + MEET_EVERY
        while not done and time.monotonic() < until:
            try:
                mine.append(next(work))
            except StopIteration:
                done = True
            except Exception as error:
                mine.append(as_failure(error))
                done = True
        everyone: list[Any] = [None] * world
        dist.all_gather_object(everyone, (mine, done, stop.is_set()))
        told_to_stop = told_to_stop or any(stopping for _, _, stopping in everyone)
        for messages, _, _ in everyone:
            for message in messages:
                if isinstance(message, BaseException):
                    raise message
                if rank == 0:
                    yield message
        if all(finished for _, finished, _ in everyone):
            return
