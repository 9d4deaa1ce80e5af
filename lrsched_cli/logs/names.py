"""Which columns or tags of a log are learning rates, which one counts, and what groups they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lrsched_cli.errors import SpecError, nearest, shown

#: Columns that count updates or epochs, the best first; compared without regard to case.
COUNTS = (
    "trainer/global_step", "train/global_step", "global_step", "num_updates", "update", "updates", "step", "steps",
    "global step", "iteration", "iterations", "iter", "train_step", "train/step", "trainer/step", "_step", "t", "tick",
    "batch", "epoch", "epochs", "trainer/epoch", "train/epoch",
)  # fmt: skip
#: What a rate is called; what may stand before and after it is in the pattern.
_WORD = r"(?:lr|learning[ _-]?rates?)"
_BEFORE, _AFTER = r"(?:(?:current|train|actual|scheduled|last)[ _-])?", r"(?:[ _-]?(?:group|pg)?[ _-]?\d+)?"
_PART = re.compile(rf"{_BEFORE}{_WORD}{_AFTER}|(?:group|pg)[ _-]?\d+[ _-]{_WORD}")
#: Lightning's ``lr-Adam``, ``lr-Adam-1``; a scheduler's own name may be anything.
_LIGHTNING = re.compile(r"lr-[^/]+")
_GROUP = re.compile(r"(?:.*[/._ -])?(?:pg|group|param_group|lr|learning_rate)[ ._-]?(\d+)$")
#: What is no rate although it is called like one: Lightning logs them so, wandb's charts carry the band around a curve.
_NOT = re.compile(r"(?:.*(?:momentum|weight_decay|betas?)$)|(?:.*__(?:min|max)$)|(?:.*d\*lr.*)")
MOST_LISTED = 8


def base_name(column: str) -> str:
    """A column without the name of the run, which an export of wandb's charts puts before it."""
    return column.rpartition(" - ")[2]


def is_rate(column: str) -> bool:
    """Whether a column's name says that it is a learning rate."""
    name = base_name(column).strip().lower()
    if _NOT.fullmatch(name):
        return False
    parts = re.split(r"[/.]", name)
    return any(_PART.fullmatch(part) or _LIGHTNING.fullmatch(part) for part in parts)


def group_number(column: str) -> int | None:
    """The number of the parameter group that a column's name ends with, as ``lr-Adam/pg2`` does; None without one."""
    found = _GROUP.fullmatch(base_name(column).strip().lower())
    return int(found[1]) if found else None


def counting(columns: Iterable[str]) -> str | None:
    """The column that counts best; None where no name says so."""
    known = {base_name(column).strip().lower(): column for column in reversed(list(columns))}
    return next((known[name] for name in COUNTS if name in known), None)


def unit_of(column: str | None) -> str:
    """What a column counts."""
    return "epoch" if column is not None and "epoch" in base_name(column).lower() else "step"


def named(wanted: Sequence[str], columns: Sequence[str], option: str) -> list[str]:
    """The columns that a user asks for; an unknown one is a ``SpecError`` with the nearest."""
    found = []
    for name in wanted:
        same = [c for c in columns if c == name] or [c for c in columns if base_name(c) == name]
        same = same or [c for c in columns if c.replace("/", ".") == name.replace("/", ".")]
        if not same:
            raise SpecError(f"{option}: has no column {shown(name)}{nearest(name, columns) or listed(columns)}")
        found += same[:1]
    return found


def listed(columns: Sequence[str]) -> str:
    """`` (it has a, b and 3 more)``."""
    more = f" and {len(columns) - MOST_LISTED} more" if len(columns) > MOST_LISTED else ""
    return f" (it has {', '.join(columns[:MOST_LISTED])}{more})"
