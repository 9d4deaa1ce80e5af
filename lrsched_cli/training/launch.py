"""Which of several processes this is, as ``torchrun`` says in the environment; needs no torch."""

from __future__ import annotations

import os
import re

from lrsched_cli.errors import SpecError


def _whole(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def rank_and_world() -> tuple[int, int]:
    """Which of how many processes this is: 0 of 1 unless ``torchrun`` (or the like) says otherwise."""
    if "MASTER_ADDR" not in os.environ or not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return 0, 1
    rank, world, port = _whole("RANK"), _whole("WORLD_SIZE"), _whole("MASTER_PORT")
    if world == 1 and rank == 0:
        return 0, 1
    if rank is None or not world or rank >= world or not port or port > 65535:
        names = ("RANK", "WORLD_SIZE", "MASTER_PORT")
        told = ", ".join(f"{name} is {os.environ.get(name, 'not set')[:20]}" for name in names)
        raise SpecError(f"{told}: start it with torchrun")
    return rank, world


def local_rank() -> int:
    """Which of this machine's processes this is."""
    return (_whole("LOCAL_RANK") or 0) if rank_and_world()[1] > 1 else 0
