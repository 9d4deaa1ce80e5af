"""Rows of numbers, however a program wrote them: which columns are read, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lrsched_cli.errors import SpecError
from lrsched_cli.logs import names
from lrsched_cli.logs.log import Log, Series, Unread, chosen, series_of, steps_an_epoch
from lrsched_cli.schedules.ticks import Array

#: Of a count and some columns beside it: for each column the counts and the values of the rows that have both.
Pairs = list[tuple[Array, Array]]


@dataclass(frozen=True)
class Table:
    """A file of rows.

    Attributes
    ----------
    columns: their names, in order.
    read: a function of the counting column (None to count the rows that have a value) and the columns to read beside
        it, which gives the counts and the values of each.
    unread: what could not be read so far.
    """

    columns: list[str]
    read: Callable[[str | None, Sequence[str]], Pairs]
    unread: Unread = field(default_factory=Unread)


@dataclass(frozen=True)
class Choice:
    """What a user says of a log's columns; what is left out is found by their names.

    Attributes
    ----------
    form: the name of the format, for a file whose content does not tell.
    x: the column that counts updates or epochs.
    y: the columns of rates.
    first: what the log calls the first update.
    plan: the name and the base rate of the plan that it is meant for, where a log holds several runs.
    """

    form: str | None = None
    x: str | None = None
    y: tuple[str, ...] = ()
    first: int | None = None
    plan: tuple[str, float] | None = None


@dataclass(frozen=True)
class Convention:
    """How a program counts: what it calls the first update, and words for it (empty where that is all)."""

    form: str
    first: int
    says: str


def log_of(table: Table, name: str, convention: Convention, choice: Choice, x: str | None = None) -> Log:
    """The log in a table; ``x`` is the column that its program counts in, if it has one of its own."""
    rates = list(choice.y) and names.named(choice.y, table.columns, "--y")
    rates = rates or [column for column in table.columns if names.is_rate(column)]
    if not rates:
        told = names.listed(table.columns) if table.columns else ""
        raise SpecError(f"has no column of learning rates that is known by its name: say which with --y{told}")
    counting = names.named([choice.x], table.columns, "--x")[0] if choice.x else x
    counting = counting or names.counting(column for column in table.columns if column not in rates)
    first = convention.first if choice.first is None else choice.first
    unit = names.unit_of(counting)
    notes = []
    if counting is None:
        notes.append("no column counts updates: the rows that have a rate are counted (--x names a column)")
    beside = _epochs(table.columns, counting) if unit == "step" and counting is not None else None
    pairs = table.read(counting, [*rates, *([beside] if beside else [])])
    per_epoch = None
    if beside:
        steps, epochs = pairs.pop()
        per_epoch = steps_an_epoch(epochs, steps, over=convention.first == 1)
    unread = table.unread
    series: list[Series] = [
        series_of(column, counts, values, first if counting is not None else 0, unread)
        for column, (counts, values) in zip(rates, pairs, strict=True)
    ]
    # A count of 0 says what the first one is, although its rate may be NaN.
    from_zero = any((counts < 1).any() for counts, _ in pairs)
    assumed = counting is not None and not from_zero and not convention.says and choice.first is None
    says = convention.says
    if not says or choice.first is not None:
        says = f"{counting or 'row'} {first if counting else 0} is the first {'update' if unit == 'step' else unit}"
    return Log(
        name, convention.form, unit, chosen(series, name, unread), says,
        steps_per_epoch=per_epoch, assumed=assumed,
        notes=(*notes, *unread.notes),
    )  # fmt: skip


def _epochs(columns: Sequence[str], counting: str) -> str | None:
    """A column of epochs beside the counts of updates."""
    return next((c for c in columns if c != counting and names.base_name(c).strip().lower() in EPOCHS), None)


EPOCHS = ("epoch", "epochs", "train/epoch", "trainer/epoch")


def floats(cells: Sequence[object], unread: Unread, what: str) -> Array:
    """Cells as numbers; NaN where one is none, which is told."""
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return np.array([_float(cell, unread, what) for cell in cells], dtype=np.float64)


def _float(cell: object, unread: Unread, what: str) -> float:
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        unread.add(f"cells of {what} that are no numbers")
        return np.nan
