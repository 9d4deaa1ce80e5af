"""Whole programs, timed as a shell would: wall and CPU seconds, and peak memory, of one child each."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENTRY = "import sys; from lrsched_cli.cli.app import main; main()"


@dataclass(frozen=True)
class Cost:
    """What a child cost: seconds, and bytes of memory at its peak."""

    wall: float
    cpu: float
    memory: int


@dataclass(frozen=True)
class Costs:
    """The costs of the same child run several times."""

    every: tuple[Cost, ...]

    def least(self, quantity: str) -> float:
        return min(float(getattr(cost, quantity)) for cost in self.every)

    def median(self, quantity: str) -> float:
        return statistics.median(float(getattr(cost, quantity)) for cost in self.every)


def lrsched(*arguments: str) -> list[str]:
    """The command line of the program's console entry, in this interpreter."""
    return [sys.executable, "-c", ENTRY, *arguments]


def script(text: str, *arguments: str) -> list[str]:
    """The command line of a Python program that is imported from a file, as an installed one is."""
    path = _folder() / f"program_{abs(hash(text))}.py"
    path.write_text(text)
    return [sys.executable, "-c", f"import {path.stem}; {path.stem}.main()", *arguments]


def written(name: str, text: str) -> str:
    """A file in the folder that children run in, by its name there."""
    (_folder() / name).write_text(text)
    return name


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def _folder() -> Path:
    return Path(_scratch().name)


def run(command: Sequence[str]) -> Cost:
    """Run a child in an empty folder, its output thrown away; an error of the child is an error here."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{_folder()}", "NO_COLOR": "1"}
    start = time.perf_counter()
    child = subprocess.Popen(
        command, cwd=_folder(), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"exit code {child.returncode}: {' '.join(command[2:])}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)


def in_turn(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, Costs]:
    """The costs of several commands, run in turn; one round before it writes the caches that later ones find."""
    for command in commands.values():
        run(command)
    found: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            found[name].append(run(command))
    return {name: Costs(tuple(costs)) for name, costs in found.items()}
