"""Which of several processes this is, as ``torchrun`` says in the environment; needs no torch."""

from __future__ import annotations

import os

from lrsched_cli.errors import SpecError


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
