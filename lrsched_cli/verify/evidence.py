"""A plan and the recorded rates of a run side by side: on one clock, and with the rounding that the log shows."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lrsched_cli.curve import extremes
from lrsched_cli.logs.log import Series, Whole
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.ticks import CHUNK, Array, Ticks, written

#: Rates this close, as a part of the plan's peak, are the same: a scheduler's recursion differs from its formula by
#: less, a log in single precision by 6e-8 of each rate, which is seen.
CLOSE = 1e-9
#: Distinct rates from which on few digits are the log's rounding, and not rates that happen to be round numbers.
TELLING = 12
#: Significant digits that a log may have kept; of rates too few to tell, the fewest that are reckoned with.
FEWEST, USUAL, MOST = 3, 5, 9
#: Rates that are looked at for their digits, and points that explanations are first tried on.
LOOKED, TRIED = 400, 480
#: Ticks from which on it is worth a look whether they are equally spaced.
ROW = 4096
#: Ticks of a cumulative schedule that are computed at most.
TABLE = 4_000_000


class Planned:
    """A schedule by the log's own counts.

    Attributes
    ----------
    total: ticks in the plan.
    unit: ticks of the plan that one count of the log is: 1, or a part of an epoch.
    peak: the plan's highest rate.
    """

    def __init__(self, schedule: Schedule, total: int, unit: Fraction = Fraction(1)) -> None:
        self.schedule, self.total, self.unit = schedule, total, unit
        self.peak = extremes(schedule, 0, total).peak
        self.cumulative = _is_cumulative(schedule)

    @cached_property
    def _table(self) -> Array:
        stop = max(self.total, min(2 * self.total, TABLE))
        last = self.schedule.last_tick
        return self.schedule.values(0, stop if last is None else min(stop, last + 1))

    def rates(self, ticks: npt.NDArray[Any]) -> Array:
        """The rates at any ticks, whole or not; held at tick 0 before it, and at the last one that is defined."""
        last = self.schedule.last_tick
        ticks = np.maximum(ticks, 0) if last is None else np.clip(ticks, 0, last)
        if ticks.ndim == 1 and len(ticks) > ROW and not self.cumulative:
            step = ticks[1] - ticks[0]
            if ticks[-1] - ticks[0] == step * (len(ticks) - 1) and step > 0 and (np.diff(ticks) == step).all():
                return self._row(float(ticks[0]), float(step), len(ticks))
        if self.cumulative:
            return self._table[np.minimum(ticks.astype(np.int64), len(self._table) - 1)]
        with np.errstate(all="ignore"):
            flat = ticks.astype(np.float64).ravel()
            return np.asarray(np.broadcast_to(self.schedule.curve(flat), flat.shape).reshape(ticks.shape))

    def _row(self, start: float, step: float, count: int) -> Array:
        """The rates of equally spaced ticks, which cost much less than any others."""
        out = np.empty(count)
        with np.errstate(all="ignore"):
            for low in range(0, count, CHUNK):
                size = min(CHUNK, count - low)
                out[low : low + size] = written(self.schedule.curve(Ticks(start + low * step, step, size)))
        return out

    def at(self, counts: Whole) -> Array:
        """The planned rate of every count of the log."""
        return self.rates(self.ticks(counts))

    def ticks(self, counts: Whole, pace: Fraction | None = None, phase: Fraction = Fraction(0)) -> Whole:
        """``floor(pace * counts + phase)``, exactly; the plan's own pace if none is given."""
        a = self.unit if pace is None else pace
        over = a.denominator * phase.denominator
        times, plus = a.numerator * phase.denominator, phase.numerator * a.denominator
        if times == over == 1:
            return np.asarray(counts + plus)
        if len(counts) and (float(np.abs(counts).max()) + 1) * times + abs(plus) > 2.0**62:
            return np.asarray(np.floor(counts * float(a) + float(phase)), dtype=np.int64)
        return np.asarray((counts * times + plus) // over)


def _is_cumulative(schedule: Schedule) -> bool:
    return schedule.cumulative or any(map(_is_cumulative, schedule.inner))


@dataclass(frozen=True, eq=False)
class Evidence:
    """The recorded rates of a group beside what was planned for them.

    Attributes
    ----------
    planned: the plan.
    at: the log's counts, from 0, in the order of the file; all of them inside the plan.
    rates: what was recorded.
    plan: what was planned for each.
    tolerance: how far a rate may be from the truth for the log's rounding, one each.
    sample: places of the points that explanations are first tried on.
    """

    planned: Planned
    at: Whole
    rates: Array
    plan: Array
    tolerance: Array
    sample: Whole

    def __len__(self) -> int:
        return len(self.at)

    @cached_property
    def apart(self) -> Array:
        """How far each rate is from the planned one."""
        return np.abs(self.rates - self.plan)

    @cached_property
    def off(self) -> npt.NDArray[np.bool_]:
        """Where the log differs from the plan."""
        return np.asarray(~(self.apart <= self.tolerance))

    @cached_property
    def first_off(self) -> int | None:
        """The first place at which it does."""
        where = np.flatnonzero(self.off)
        return int(where[0]) if len(where) else None

    @property
    def largest(self) -> float:
        """The largest difference as a part of the plan's peak."""
        if not len(self):
            return 0.0
        size = float(self.apart.max())
        return size / self.planned.peak if self.planned.peak > 0 else (0.0 if size == 0 else float("inf"))

    def agrees(self, rates: Array, places: Whole | slice = slice(None)) -> bool:
        """Whether some rates are those of the log, at all places or at some."""
        return bool((np.abs(self.rates[places] - rates) <= self.tolerance[places]).all())

    def levels(self, rates: Array, places: Whole | slice | None = None) -> int:
        """How many different rates there are among those of some places, as far as the log tells; 12 at most."""
        looked = self.sample if places is None else places
        values, near = rates[looked], self.tolerance[looked]
        order = np.argsort(values)
        count, last = 0, -np.inf
        for value, apart in zip(values[order].tolist(), near[order].tolist(), strict=True):
            if value - apart > last:
                count, last = count + 1, value + apart
                if count == TELLING:
                    break
        return count


def evidence_of(series: Series, planned: Planned) -> tuple[Evidence, int]:
    """The evidence in a series, and how many of its rates lie past the end of the plan and are left out."""
    at, rates = series.at, series.rates
    if len(at) and planned.ticks(at.max(keepdims=True))[0] >= planned.total:
        inside = planned.ticks(at) < planned.total
        at, rates = at[inside], rates[inside]
    tolerance = _tolerance(rates, planned.peak)
    evidence = Evidence(planned, at, rates, planned.at(at), tolerance, _sample(rates))
    return evidence, len(series) - len(at)


def _sample(rates: Array) -> Whole:
    """Places spread over a series, with its first ones and both sides of its changes among them."""
    n = len(rates)
    if n <= TRIED:
        return np.arange(n)
    changes = np.flatnonzero(np.diff(rates))
    if len(changes) > TRIED // 4:
        changes = changes[:: -(-len(changes) // (TRIED // 4))]
    spread = np.linspace(0, n - 1, TRIED // 2).astype(np.int64)
    return np.unique(np.concatenate([spread, np.arange(16), changes, changes + 1]))


def _tolerance(rates: Array, peak: float) -> Array:
    """How far each rate may be from what the optimizer used, by the digits that the log kept."""
    close = CLOSE * max(peak, float(np.abs(rates).max(initial=0.0)))
    out = np.full(len(rates), close)
    if not len(rates):
        return out
    looked = np.unique(rates[:: max(len(rates) // LOOKED, 1)])[:LOOKED].tolist()
    if all(float(np.float32(value)) == value for value in looked):
        out += np.abs(rates) * 2.0**-24
    digits = _digits(looked, "e", MOST - 1)
    if digits is not None:
        kept = max(digits + 1, FEWEST if len(looked) >= TELLING else USUAL)
        with np.errstate(divide="ignore"):
            power = np.floor(np.log10(np.abs(rates)))
        out += np.where(np.isfinite(power), 0.5 * 10.0 ** (np.where(np.isfinite(power), power, 0) + 1 - kept), 0.0)
    places = _digits(looked, "f", MOST + 2) if len(looked) >= TELLING else None
    if places is not None and 10.0**-places <= 0.02 * peak:
        out = np.maximum(out, 0.5 * 10.0**-places + close)
    return out


def _digits(values: list[float], style: str, most: int) -> int | None:
    """The digits after the point with which all values are written exactly in a style; None if they need more."""
    for digits in range(most, -2, -1):
        if digits < 0 or not all(float(f"{value:.{digits}{style}}") == value for value in values):
            return digits + 1 if digits < most else None
    return None  # pragma: no cover - the loop always returns
