"""Where to train: the device that was asked for, or one line about what there is instead."""

from __future__ import annotations

import re

import torch

from lrsched_cli.errors import SpecError, shown


def available() -> list[str]:
    """What torch can train on here."""
    found = ["cpu"]
    found += [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def device_of(text: str, rank: int = 0) -> torch.device:
    """The device of a name such as ``cuda:1``; ``cuda`` alone is the rank's own. ``SpecError`` if there is none."""
    there = available()
    if text == "auto":
        text = next((name.partition(":")[0] for name in there[1:]), "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", text):
        raise SpecError(f"must be cpu, cuda, cuda:N, mps or auto, got {shown(text)}", parameter="--device")
    if text == "cuda":
        text = f"cuda:{rank}"
    if text not in there:
        why = "this torch is built without CUDA" if text.startswith("cuda") and not torch.version.cuda else ""
        said = f"{text} is not available here: there is {', '.join(there)}"
        raise SpecError(f"{said} ({why})" if why else said, parameter="--device")
    return torch.device(text)


def named(device: torch.device) -> str:
    """A device as results name it: ``cuda:0 (NVIDIA H100)``."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
