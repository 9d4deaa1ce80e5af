"""What changed between a recording and the schedule of today."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lrsched_cli.schedules.ticks import Array
from lrsched_cli.trace import Trace
from lrsched_cli.verify.lrsnap import Section
from lrsched_cli.verify.recording import GOLDEN, LOOKED_AT, Recording, Whole, columns_of, is_looked_at, recorded
from lrsched_cli.verify.resolved import digest_of

#: Values that are nearer, as a part of the largest, are the same: NumPy's last bits differ between processors.
SAME = 1e-9
#: And the part that shows a change of the plan, which is too small to matter.
ROUNDING = 1e-12
#: Changes that are nearer, as a part of the larger one, are as large.
TIE = 1e-6
#: What adding up so many numbers may be off, as a part of the largest.
ADDING = 1e-15
#: What tells the parameter lr from the rate.
BASE = "base "
#: A file that says it knows more ticks one by one was not written by us: it is read at the ends of its rows.
MOST_TICKS = 20 * LOOKED_AT


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes
    ----------
    severity: ``error`` for other rates or another run, ``warning`` where that cannot be excluded, ``note`` for a plan
        that reads differently while its rates are the same.
    told: what changed, in a sentence without a subject.
    tick: the first tick at which it shows, if it does at one.
    """

    severity: str
    told: str
    tick: int | None = None


def change(section: Section, trace: Trace, now: Recording | None = None) -> Change | None:
    """What a trace differs in from what was recorded of it; None where it is the same."""
    old = section.recording
    now = recorded(trace, old.key) if now is None else now
    rewritten = section.digest != digest_of(now.plan)
    parts = [f"its run was {_run(old)} and is {_run(now)}"] if _run(old) != _run(now) else []
    if rewritten:
        parts += _rewritten(old.plan, now.plan)
    if old.columns != now.columns:
        parts.append(f"it had {', '.join(old.columns)} and has {', '.join(now.columns)}")
        return Change("error", "; ".join(parts))
    if old.interval == now.interval:
        found = _values(old, trace)
        if found is not None and not found.small:
            parts = [part for part in parts if not f"{BASE}{found.told}".startswith(f"{part} ")]  # it is the same
            return Change("error", "; ".join([found.told, *parts]), found.tick)
        if _run(old) == _run(now):
            return _of_the_plan(old, found, parts) if rewritten else None
    return Change("error", "; ".join(parts))


def _of_the_plan(old: Recording, found: _Difference | None, parts: Sequence[str]) -> Change | None:
    """What there is to say of a plan that was rewritten, and gives the recorded rates."""
    if found is not None:
        told = f"{found.told}, too little to count"
        return Change("note", "; ".join([told, *parts]), found.tick)
    if old.complete:
        return None  # another way to write the same rates
    told = f"its {len(old.rows)} recorded ticks agree, but the run is too long to compare every tick"
    return Change("warning", "; ".join([*(parts or ["its plan changed"]), told]))


def _run(recording: Recording) -> str:
    return f"{recording.total} {recording.interval}{'s' * (recording.total != 1)}"


_PAIR = re.compile(r"(\w+)=(.*?)(?= \w+=|$)")


def _rewritten(old: Sequence[str], now: Sequence[str]) -> list[str]:
    """The parameters that changed; none where the schedules are made of other ones."""
    heads = [[line.partition("=")[0].rpartition(" ")[0] for line in lines] for lines in (old, now)]
    if heads[0] != heads[1]:
        return []
    told = []
    for line, other in zip(old, now, strict=True):
        before, after = dict(_PAIR.findall(line)), dict(_PAIR.findall(other))
        told += [f"{BASE if name == 'lr' else ''}{name} was {before[name]} and is {after[name]}" for name in before
                 if name in after and before[name] != after[name]]  # fmt: skip
    return told if len(told) <= 4 else [*told[:4], f"{len(told) - 4} more"]


@dataclass(frozen=True)
class _Difference:
    tick: int
    told: str
    small: bool


def _values(old: Recording, trace: Trace) -> _Difference | None:
    """The first tick at which the values differ, how, and by how much at most."""
    curves = columns_of(trace)
    total = min(old.total, len(trace))
    ticks, then = _expanded(old, total)
    if not len(ticks):
        return None
    last = trace.schedule.last_tick
    ticks, then = (ticks, then) if last is None else (ticks[ticks <= last], then[:, ticks <= last])
    whole = is_looked_at(trace.schedule, len(trace))
    table = np.stack([curve.values(0, total) for curve in curves.values()]) if whole and last is None else None
    now = np.stack([curve(ticks) for curve in curves.values()])
    with np.errstate(invalid="ignore"):
        gaps = np.abs(now - then)
    gaps[(now == then) | (np.isnan(now) & np.isnan(then))] = 0.0
    gaps[np.isnan(gaps)] = np.inf
    peaks = np.array([_peak(a, b) for a, b in zip(then, now, strict=True)])[:, None]
    for limit in (SAME, ROUNDING):
        wrong = gaps > limit * peaks
        if wrong.any():
            return _told(old, ticks, then, now, wrong, small=limit != SAME)
        if limit == SAME and table is not None and total == old.total:
            found = _sums(old, table, peaks)
            if found is not None:
                return found
    return None


def _told(
    old: Recording, ticks: Whole, then: Array, now: Array, wrong: npt.NDArray[np.bool_], *, small: bool
) -> _Difference:
    at = int(np.flatnonzero(wrong.any(axis=0))[0])
    column = int(np.flatnonzero(wrong[:, at])[0])
    tick = int(ticks[at])
    before, after = _apart(float(then[column, at]), float(now[column, at]))
    told = f"{old.columns[column]} was {before} and is {after} at tick {tick}"
    if at and ticks[at - 1] < tick - 1 and not small:
        told += f" (the first of those recorded; tick {ticks[at - 1]} agrees)"
    size, largest = _largest(then, now, wrong)
    told += f", largest relative change {size} {'there' if largest == at else f'at tick {ticks[largest]}'}"
    if len(ticks) < min(old.total, int(ticks[-1]) + 1):
        told += " of those recorded" if largest != at else ", of those recorded"
    return _Difference(tick, told, small)


def _largest(then: Array, now: Array, wrong: npt.NDArray[np.bool_]) -> tuple[str, int]:
    """The largest change as a part of the old value, and where in the ticks it is: first, but for rounding."""
    with np.errstate(all="ignore"):
        parts = np.where(wrong, np.abs(now - then) / np.abs(then), 0.0)
    parts[np.isnan(parts)] = np.inf
    at = int(np.flatnonzero((parts >= parts.max() * (1 - TIE)).any(axis=0))[0])
    column = int(parts[:, at].argmax())
    before, after = float(then[column, at]), float(now[column, at])
    if not np.isfinite(parts[column, at]):
        return f"from {before:.6g} to {after:.6g}", at
    percent = 100 * (after - before) / abs(before)
    plain = 1e-7 <= abs(percent) < 1e7
    written = np.format_float_positional(percent, 3, fractional=False, trim="-", sign=True) if plain else None
    return f"{written or f'{percent:+.3g}'}%", at


def _sums(old: Recording, table: Array, peaks: Array) -> _Difference | None:
    """The first block whose sums differ: a tick between those that are recorded changed."""
    for first, last, sums in old.blocks:
        part = table[:, first : last + 1]
        count = part.shape[1]
        weights = np.modf(np.arange(count) * GOLDEN)[0]
        for i, column in enumerate(part):
            now = (float(column.sum()), float((column * weights).sum()))
            limit = (SAME + count * ADDING) * float(peaks[i, 0])
            for before, after in zip(sums[2 * i : 2 * i + 2], now, strict=True):
                if not abs(after - before) <= limit and before != after:
                    told = f"{old.columns[i]} changed between ticks {first} and {last}, at none that is recorded"
                    size = _share(abs(after - before) / float(peaks[i, 0])) if peaks[i, 0] else "inf"
                    return _Difference(first, f"{told}: in sum by {size} of the peak", False)
    return None


def _expanded(old: Recording, total: int) -> tuple[Whole, Array]:
    """The recorded ticks below ``total``, and their values: a row for each column."""
    rows = [(row.first, min(row.last, total - 1), row.values) for row in old.rows if row.first < total]
    if not rows:
        return np.empty(0, dtype=np.int64), np.empty((len(old.columns), 0))
    if sum(last - first + 1 for first, last, _ in rows) > MOST_TICKS:
        rows = [(tick, tick, values) for first, last, values in rows for tick in sorted({first, last})]
    values = np.array([row[2] for row in rows]).T
    counts = np.array([last - first + 1 for first, last, _ in rows])
    ticks = np.concatenate([np.arange(first, last + 1) for first, last, _ in rows])
    return ticks, np.repeat(values, counts, axis=1)


def _peak(*rates: Array) -> float:
    return max(float(np.abs(part[np.isfinite(part)]).max(initial=0.0)) for part in rates)


def _apart(before: float, after: float) -> tuple[str, str]:
    """Two values with as many digits as it takes to tell them apart."""
    for digits in (6, 9, 12):
        if f"{before:.{digits}g}" != f"{after:.{digits}g}":
            return f"{before:.{digits}g}", f"{after:.{digits}g}"
    return repr(before), repr(after)


def _share(part: float) -> str:
    return f"{part:.3g}"
