"""What a log says of a run: for each parameter group the rates that were recorded, and of which updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lrsched_cli.errors import SpecError
from lrsched_cli.schedules.ticks import Array

Whole = npt.NDArray[np.int64]

#: Counts beyond this are no counts of updates: every whole number below it is an exact double.
MOST = float(1 << 53)


@dataclass(frozen=True, eq=False)
class Series:
    """The recorded rates of one parameter group.

    Attributes
    ----------
    name: what the log calls it, a column or a tag.
    at: int64 array, the updates (or epochs) of the rates, counted from 0, in the order in which they were written;
        they go back where a run was resumed or several were written into one file.
    rates: float64 array of the same length, all of them finite.
    measured: what a schedule that reacts to training reacted to, an epoch each, by whether it is better where it is
        lower (``min``) or higher (``max``); empty where the log does not tell.
    """

    name: str
    at: Whole
    rates: Array
    measured: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True)
class Log:
    """A log as it was read.

    Attributes
    ----------
    name: the file or folder, as the user wrote it.
    form: the name of its format, such as ``transformers``.
    unit: what its counts count, ``"step"`` or ``"epoch"``.
    series: one for every column of rates; one that was never filled is empty.
    says: how its own counts became updates counted from 0, in a few words.
    steps_per_epoch: updates an epoch where the log tells, else None.
    total: updates that the program itself had planned, where the log tells, else None.
    assumed: whether nothing said what its first count is, which was taken to be 0.
    notes: what a reader should know, a sentence each, such as what could not be read.
    """

    name: str
    form: str
    unit: str
    series: tuple[Series, ...]
    says: str
    steps_per_epoch: int | None = None
    total: int | None = None
    assumed: bool = False
    notes: tuple[str, ...] = field(default=())


def series_of(name: str, counts: Array, rates: Array, first: int, unread: Unread) -> Series:
    """A series out of counts and rates as they were written; what is no count or no rate is left out and told.

    ``first`` is what the log calls update 0.
    """
    with np.errstate(invalid="ignore"):
        at = counts.astype(np.int64)
        whole = at == counts
    finite = np.isfinite(rates)
    if not whole.all() or not finite.all() or (len(at) and float(np.abs(counts).max()) >= MOST):
        whole &= np.abs(counts) < MOST
        unread.add("rows whose count is no whole number", int((~whole).sum()))
        unread.add("rates that are NaN or infinite", int((~finite & whole).sum()))
        at, rates = at[whole & finite], rates[whole & finite]
    at -= first
    if len(at) and at.min() < 0:
        early = at < 0
        unread.add(f"rows before {first}, the count of the first update", int(early.sum()))
        at, rates = at[~early], rates[~early]
    return Series(name, at, rates)


class Unread:
    """What could not be read, counted by its kind."""

    def __init__(self) -> None:
        self.found: dict[str, int] = {}

    def add(self, what: str, count: int = 1) -> None:
        if count:
            self.found[what] = self.found.get(what, 0) + count

    @property
    def notes(self) -> list[str]:
        """A sentence for each kind."""
        return [
            f"not read: {what} ({count:,})" if count > 1 else f"not read: {what}" for what, count in self.found.items()
        ]


def steps_an_epoch(epochs: Array, steps: Array, over: bool) -> int | None:
    """Updates an epoch, from the epoch that a log gives beside its counts of updates; None where they do not tell.

    ``over`` says that both tell how many are over (transformers); else the epoch is the one that an update is in,
    counted from 0 (Lightning).
    """
    with np.errstate(all="ignore"):
        good = np.isfinite(epochs) & np.isfinite(steps) & (steps >= 0) & (epochs >= 0)
    epochs, steps = epochs[good], steps[good]
    if not len(steps) or epochs.max() <= 0:
        return None
    if over:
        at = int(epochs.argmax())
        size = round(float(steps[at] / epochs[at]))
        # Programs write the fraction with a few digits: what they wrote must come back within these.
        return size if size > 0 and np.abs(steps / size - epochs).max() < 0.01 else None
    least, most = (steps + 1) / (epochs + 1), steps[epochs > 0] / epochs[epochs > 0]
    low, high = float(np.ceil(least.max() - 1e-9)), float(np.floor(most.min() + 1e-9))
    return int(low) if low == high and low > 0 else None


def chosen(series: Sequence[Series], log: str, unread: Unread) -> tuple[Series, ...]:
    """The series of a log; a ``SpecError`` where not one has a rate."""
    if not any(len(one) for one in series):
        names = ", ".join(one.name for one in series[:4])
        told = "; ".join(unread.notes) or "every cell is empty"
        raise SpecError(f"has no rate in {names}: {told}" if names else "has no learning rates", file=log)
    return tuple(series)
