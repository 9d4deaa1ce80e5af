"""Ratios against floors: how they are timed, judged and printed."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """A measured ratio and the floor that it must meet; without a floor it is only told."""

    what: str
    ratio: float
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        low, high = self.at_least, self.at_most
        return not ((high is None or self.ratio <= high) and (low is None or self.ratio >= low))

    @property
    def cells(self) -> tuple[str, ...]:
        floor = f"<= {self.at_most:g}x" if self.at_most is not None else ""
        floor = f">= {self.at_least:g}x" if self.at_least is not None else floor
        verdict = ("MISSED" if self.missed else "ok") if floor else ""
        ratio = f"{self.ratio:,.0f}x" if self.ratio >= 100 else f"{self.ratio:.2f}x"
        return self.what, ratio, floor, verdict, self.note


@dataclass
class Table:
    """The rows of one question."""

    title: str
    rows: list[Row] = field(default_factory=list)
    note: str = "note"

    @property
    def missed(self) -> int:
        return sum(row.missed for row in self.rows)

    def __str__(self) -> str:
        lines = [("what", "ratio", "floor", "", self.note), *(row.cells for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(5)]
        aligned = [
            "  ".join(
                cell.rjust(w) if i in (1, 2) else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, *aligned])


def chosen(parser: argparse.ArgumentParser, names: Sequence[str], known: Iterable[str], noun: str) -> list[str]:
    """The names that were asked for, or all that are known; an unknown one ends the program."""
    known = list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"unknown {noun} {unknown[0]}: choose from {', '.join(known)}")
    return list(names) or known


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    kept = function()
    spent = time.perf_counter() - start
    del kept  # freeing a result is not part of making it
    return spent


def best(functions: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """The shortest time of each function, all of them run in turn, round after round."""
    gc.collect()
    return [min(times) for times in zip(*([seconds(f) for f in functions] for _ in range(rounds)), strict=True)]


def compared(
    slow: Callable[[], Any], fast: Callable[[], Any], rounds: int, *, at_most: float, batches: int = 3
) -> tuple[float, float]:
    """The shortest times of two functions run in turn; measured again, twice at most, where the ratio is too high."""
    times = best([slow, fast], rounds)
    for _ in range(batches - 1):
        if times[0] <= at_most * times[1]:
            break
        times = [min(pair) for pair in zip(times, best([slow, fast], rounds), strict=True)]
    return times[0], times[1]
