"""A training spread over the processes that ``torchrun`` started, on one machine or several."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import torch

from lrsched_cli.errors import LostProcessError, SpecError, TrainingError
from lrsched_cli.training.jobs import Job
from lrsched_cli.training.launch import local_rank, rank_and_world
from lrsched_cli.training.processes import shared
from lrsched_cli.training.worker import Means, Message, Worker, as_failure

__all__ = ["joined", "local_rank", "rank_and_world", "told_by_first", "train_ranks"]

#: Seconds between two meetings of the ranks, at least.
MEET_EVERY = 0.2
#: How long the first meeting may take.
MEET_WITHIN = timedelta(minutes=3)


@contextmanager
def joined() -> Iterator[None]:
    """All processes in one group while this lasts; what is sent about fails on all where one of them dies."""
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    # Only what Python holds is sent about, which takes no GPU; NCCL is there for a user's own network.
    both = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        try:
            store, rank, world = next(iter(rendezvous("env://", timeout=MEET_WITHIN)))
            store.set_timeout(timedelta(days=1))
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if both else "gloo",
                store=store,
                rank=rank,
                world_size=world,
                timeout=timedelta(days=1),
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise TrainingError(f"cannot meet the other processes: {' '.join(str(error).split())[:200]}") from None
        yield
    finally:
        if dist.is_initialized():
            with contextlib.suppress(RuntimeError):  # what is left of a group that lost a member
                dist.destroy_process_group()


def first_refusal(refused: SpecError | None) -> SpecError | None:
    """The refusal of the first process that has one, on all of them."""
    import torch.distributed as dist

    everyone: list[Any] = [None] * dist.get_world_size()
    with lost_without():
        dist.all_gather_object(everyone, refused)
    return next((error for error in everyone if error is not None), None)


@contextmanager
def lost_without(onward: str = "") -> Iterator[None]:
    """What the transport raises where a process has gone becomes a ``LostProcessError``."""
    import torch.distributed as dist

    try:
        yield
    except (RuntimeError, ConnectionError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise LostProcessError(f"another process of the {dist.get_world_size()} died{onward}") from None


def told_by_first(world: int, make: Callable[[], Path | None]) -> Path | None:
    """What the first process makes, on all of them; an error there is one on all of them."""
    if world < 2:
        return make()
    import torch.distributed as dist

    told: list[Any] = [None]
    if dist.get_rank() == 0:
        try:
            told = [make()]
        except SpecError as error:
            told = [error]
    with lost_without():
        dist.broadcast_object_list(told)
    if isinstance(told[0], SpecError):
        raise told[0]
    return told[0]  # type: ignore[no-any-return]


def train_ranks(job: Job, means: Means, stop: Event) -> Iterator[Message]:
    """Train this rank's share; rank 0 yields what happens on all of them, the others nothing."""
    rank, world = rank_and_world()
    onward = f": lrsched train --resume {means.folder} goes on from the last epoch that was saved"
    with lost_without(onward if means.folder else ""):
        yield from _meetings(job, means, stop, rank, world)


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
                mine.append(as_failure(error, job.model.factory is not None))
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
