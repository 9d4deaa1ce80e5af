"""What may have gone wrong in a run: explanations of its rates, each held against every point of the log.

The plan is read backwards at a few recorded rates to find the shifts and the paces that are possible at all; what is
possible is then tried on more points, and at last on all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from lrsched_cli.logs.log import Whole
from lrsched_cli.schedules.ticks import Array
from lrsched_cli.verify.evidence import Evidence
from lrsched_cli.verify.inverse import Backwards, Region, regions

#: Rates at which the plan is read backwards, and points that a candidate is first held against.
PROBES, FIRST = 48, 32
#: Candidates of a region that are tried.
CANDIDATES = 400
#: How many times faster or slower than a pace that fits another is looked for, and by which steps.
WIDEST, STEP = 64.0, 1.03
#: Paces that are tried in any case, as ticks an update.
PACES = (
    *(Fraction(n) for n in range(2, 17)), *(Fraction(1, n) for n in range(2, 17)),
    *(Fraction(n, d) for n, d in ((3, 2), (2, 3), (4, 3), (3, 4), (5, 2), (2, 5), (5, 4), (4, 5))),
    *(Fraction(n) for n in (24, 32, 48, 64, 128)),
)  # fmt: skip


@dataclass(frozen=True)
class Pace:
    """The scheduler made ``pace`` ticks for each count of the log, ``phase`` more at the first one.

    ``smooth`` says that it was between two ticks too: its horizon was another one.
    """

    pace: Fraction
    phase: Fraction = Fraction(0)
    smooth: bool = False


@dataclass(frozen=True)
class Piece:
    """From a place of the log on, the rate is the planned one of ``shift`` ticks later."""

    place: int
    shift: int


class Search:
    """The explanations of one group's rates."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.planned = evidence.planned

    @cached_property
    def _backwards(self) -> Backwards:
        return Backwards(self.planned)

    @cached_property
    def _probes(self) -> Whole:
        """Places with rates as different as possible, in order."""
        e = self.evidence
        _, first = np.unique(e.rates[e.sample], return_index=True)
        places = e.sample[np.sort(first)]
        if len(places) > PROBES:
            places = places[np.linspace(0, len(places) - 1, PROBES).astype(np.int64)]
        return np.asarray(places)

    @cached_property
    def _first(self) -> Whole:
        """Places that a candidate is tried on before all others."""
        spread = self.evidence.sample[np.linspace(0, len(self.evidence.sample) - 1, FIRST // 2).astype(np.int64)]
        picked = self._probes[np.linspace(0, len(self._probes) - 1, FIRST // 2).astype(np.int64)]
        return np.unique(np.concatenate([spread, picked]))

    # The same number of ticks late or early throughout.

    def shift(self) -> int | None:
        """The smallest shift other than 0 with which the plan is the log; None where there is none."""
        e, probes = self.evidence, self._probes
        row, low, high = self._backwards.find(e.rates[probes], e.tolerance[probes])
        at = self.planned.ticks(e.at[probes])[row]
        tried = {*range(-4, 5), -self.planned.total, self.planned.total} - {0}
        # Before it began, a schedule has its first rate: that may be any number of ticks late.
        low = np.where(low <= 0, -float(self.planned.total), low)
        for region in regions(row, low - at, high - at, 0.0):
            tried |= {*_whole(region, 0), int(np.ceil(region.low)), int(np.floor(region.high))}
        candidates = sorted(tried - {0}, key=lambda n: (abs(n), n < 0))
        for shift in self._surviving([Pace(self.planned.unit, Fraction(n)) for n in candidates]):
            if self._fits(shift):
                return int(shift.phase)
        return None

    def shifts(self, found: int) -> tuple[int, int]:
        """The lowest and the highest shift around one that fits, all of which fit as well."""
        sign, total = (1 if found > 0 else -1), self.planned.total

        def fits(size: float) -> bool:
            return self._fits(Pace(self.planned.unit, Fraction(sign * int(size))))

        low, high = abs(found), abs(found)
        while low > 1 and fits(low - 1) and abs(found) - low < CANDIDATES:
            low -= 1
        step = 1
        while high < total and fits(min(high + step, total)):
            high, step = min(high + step, total), 2 * step
        while step > 1:
            step //= 2
            if high + step <= total and fits(high + step):
                high += step
        return (low, high) if sign > 0 else (-high, -low)

    # Faster or slower throughout.

    def pace(self, likely: Iterable[Fraction]) -> Pace | None:
        """The simplest pace other than the plan's own with which it is the log; ``likely`` ones come first."""
        e, unit, probes = self.evidence, self.planned.unit, self._probes
        paces = [factor * unit for factor in (*likely, *PACES)]
        found = self._first_fit(paces, len(paces))
        if found is not None:
            return found
        probes = probes[e.at[probes] > 0]
        for between in (False, True):
            row, low, high = self._backwards.find(e.rates[probes], e.tolerance[probes], between=between)
            at = e.at[probes][row].astype(np.float64)
            for region in regions(row, np.maximum(low, 0) / (at + 1), (high + 1) / at, float(unit)):
                found = self._first_fit(_simple(region), CANDIDATES) or self._stretched(region)
                if found is not None:
                    return found
        return None

    def paces(self, found: Pace) -> tuple[float, float]:
        """The lowest and the highest pace around one that fits, all of which fit as well; equal where it is pinned.

        The neighbours of a whole number are whole ones, and those of a part of 1 are parts of 1.
        """
        pace, exact = found.pace, float(found.pace)
        n = max(pace.numerator, pace.denominator)
        whole = not found.smooth and min(pace.numerator, pace.denominator) == 1
        near = [Fraction(n - 1), Fraction(n + 1)] if whole else [pace * 97 / 100, pace * 103 / 100]
        if whole and pace < 1:
            near = [1 / number for number in near if number]
        if not any(self._near(found, number) for number in near):
            return exact, exact
        return self._edge(found, 1 / STEP), self._edge(found, STEP)

    def _near(self, found: Pace, pace: Fraction) -> bool:
        return pace not in (0, self.planned.unit) and self._fits(Pace(pace, found.phase, found.smooth))

    def _edge(self, found: Pace, step: float) -> float:
        """How far a pace may go in one direction before the log rules it out."""
        inside = exact = float(found.pace)
        unit, bound = float(self.planned.unit), WIDEST if step > 1 else 1 / WIDEST

        def fits(pace: float) -> bool:
            return (pace > unit) == (exact > unit) and self._near(found, Fraction(pace).limit_denominator(10**6))

        while (outside := inside * step) and fits(outside):
            inside = outside
            if max(inside / exact, exact / inside) >= WIDEST:
                return exact * bound * (2 if step > 1 else 0.5)
        for _ in range(12):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if fits(middle) else (inside, middle)
        return inside

    def _first_fit(self, paces: Sequence[Fraction], most: int) -> Pace | None:
        distinct = list(dict.fromkeys(pace for pace in paces if pace > 0 and pace != self.planned.unit))[:most]
        candidates = [candidate for pace in distinct for candidate in _phases(pace, self.planned.cumulative)]
        return next((c for c in self._surviving(candidates) if self._fits(c)), None)

    def _stretched(self, region: Region) -> Pace | None:
        """The pace of a plan with another horizon, which may be any number: looked for ever more closely."""
        e, places = self.evidence, self._first
        if self.planned.cumulative or not 0 < region.low <= region.high:
            return None
        low, high = region.low * 0.999, region.high * 1.001
        for _ in range(12):
            tried: Array = np.linspace(low, high, 65, dtype=np.float64)
            off = np.abs(self.planned.rates(tried[:, None] * e.at[places]) - e.rates[places]) / e.tolerance[places]
            best = int(off.max(axis=1).argmin())
            low, high = tried[max(best - 1, 0)], tried[min(best + 1, 64)]
        found = Pace(Fraction(float(tried[best])).limit_denominator(10**9), smooth=True)
        return found if self._fits(found) else None

    # How a candidate is tried.

    def predicted(self, candidate: Pace, places: Whole | slice = slice(None)) -> Array:
        """The rates that a pace gives at some places of the log."""
        return self.planned.rates(self._ticks(candidate, places))

    def _surviving(self, candidates: Sequence[Pace]) -> list[Pace]:
        """The candidates that agree with the first points, all of them looked at in one go."""
        e, places = self.evidence, self._first
        kept: list[Pace] = []
        for start in range(0, len(candidates), 512):
            part = candidates[start : start + 512]
            off = np.abs(self.planned.rates(np.stack([self._ticks(c, places) for c in part])) - e.rates[places])
            kept += [part[i] for i in np.flatnonzero((off <= e.tolerance[places]).all(axis=1)).tolist()]
        return kept

    def _ticks(self, candidate: Pace, places: Whole | slice) -> Array:
        at = self.evidence.at[places]
        if candidate.smooth:
            return np.asarray(at * float(candidate.pace) + float(candidate.phase))
        return self.planned.ticks(at, candidate.pace, candidate.phase).astype(np.float64)

    def _fits(self, candidate: Pace) -> bool:
        e = self.evidence
        if not e.agrees(self.predicted(candidate, e.sample), e.sample):
            return False
        return len(e.sample) == len(e) or e.agrees(self.predicted(candidate))

    # The plan's shape with other numbers.

    def ratio(self) -> tuple[float, float] | None:
        """``(factor, plus)`` where every rate is ``factor`` times the planned one and ``plus``; None where not."""
        e = self.evidence
        plan, rates = e.plan[e.sample], e.rates[e.sample]
        if np.ptp(plan) <= 0 or e.levels(e.rates) < 2:
            return None
        factor, plus = np.polyfit(plan, rates, 1) if len(plan) > 1 else (0.0, 0.0)
        near = 4 * float(e.tolerance.max())
        only = float(rates @ plan / (plan @ plan))
        # A round number first: a log that keeps few digits tells the factor to as few.
        plain = (float(f"{only:.1e}"), 1 / float(f"{1 / only:.1e}")) if only > 0 else ()
        for times, more in (*((number, 0.0) for number in plain), (only, 0.0), (float(factor), float(plus))):
            slack = near * (more != 0)
            if times <= 0 or (np.abs(rates - (times * plan + more)) > e.tolerance[e.sample] + slack).any():
                continue
            if (np.abs(e.rates - (times * e.plan + more)) <= e.tolerance + slack).all():
                return times, more
        return None

    # Only from some point on.

    def held(self) -> int | None:
        """The place from which on the rate stays what it is to the end of the log; None where it moves at its end."""
        e = self.evidence
        if abs(e.rates[-2] - e.rates[-1]) > e.tolerance[-1]:
            return None
        moved = np.flatnonzero(np.abs(e.rates - e.rates[-1]) > e.tolerance)
        place = int(moved[-1]) + 1 if len(moved) else 0
        return place if place < len(e) - 1 else None

    def pieces(self, most: int = 12) -> list[Piece] | None:
        """The log as stretches of the plan, each with a shift of its own; None where it is not that, or too many."""
        e, at = self.evidence, self.planned.ticks(self.evidence.at)
        if e.first_off is None or self.planned.unit != 1:
            return None
        found, place = [Piece(0, 0)] if e.first_off else [], e.first_off
        while place < len(e):
            if len(found) == most:
                return None
            best, reach = None, 0
            for shift in self._tails(place, at):
                run = self._run(place, at, shift)
                if run > reach:
                    best, reach = shift, run
            if best is None or (reach < 3 and place + reach < len(e)):
                return None
            found.append(Piece(place, best))
            place += reach
        return found

    def _tails(self, place: int, at: Whole) -> list[int]:
        """Shifts that the rates from a place on may have, the likeliest first."""
        e = self.evidence
        ahead = np.unique(np.minimum(place + np.array([0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89]), len(e) - 1))
        row, low, high = self._backwards.find(e.rates[ahead], e.tolerance[ahead])
        here = int(at[place])
        tried = dict.fromkeys((-here, 1 - here, 0, *(int(at[place - 1]) - here for _ in range(place > 0))))
        for region in regions(row, low - at[ahead][row], high - at[ahead][row], float(-here)):
            tried.update(dict.fromkeys(_whole(region, -here)[:50]))
        # A rate that the plan has nowhere else tells the shift alone.
        tried.update(dict.fromkeys((low[row == 0] - at[ahead[0]]).astype(int).tolist()[:50]))
        return list(tried)

    def _run(self, place: int, at: Whole, shift: int) -> int:
        """How many rates from a place on agree with the plan shifted."""
        e, reach, width = self.evidence, 0, 64
        while place + reach < len(e):
            part = slice(place + reach, place + reach + width)
            wrong = np.flatnonzero(~(np.abs(self.planned.rates(at[part] + shift) - e.rates[part]) <= e.tolerance[part]))
            if len(wrong):
                return reach + int(wrong[0])
            reach += min(width, len(e) - place - reach)
            width = min(8 * width, 1 << 20)
        return reach


def _whole(region: Region, nearest: int) -> list[int]:
    """The whole numbers in a region, those nearest to a number first."""
    low, high = int(np.ceil(region.low)), int(np.floor(region.high))
    if high - low > CANDIDATES:
        low, high = max(low, nearest - CANDIDATES // 2), min(high, nearest + CANDIDATES // 2)
    return sorted(range(low, high + 1), key=lambda n: (abs(n - nearest), n))


def _simple(region: Region) -> list[Fraction]:
    """The simple numbers in a region: whole ones, parts of 1, then fractions with ever larger denominators."""
    low, high = region.low, region.high
    found = [Fraction(n) for n in range(max(int(np.ceil(low)), 1), min(int(high), int(low) + CANDIDATES) + 1)]
    if 0 < low < 1:
        parts = range(max(int(np.ceil(1 / high)), 1), int(1 / low) + 1)
        middle = (parts.start + parts.stop) // 2
        found += [Fraction(1, n) for n in sorted(parts, key=lambda n: abs(n - middle))[:CANDIDATES]]
    for over in range(2, 9):
        found += [Fraction(n, over) for n in range(int(np.ceil(low * over)), min(int(high * over), 64) + 1) if n]
    return found


def _phases(pace: Fraction, cumulative: bool) -> list[Pace]:
    """The ways in which a scheduler comes to a pace, the likeliest first.

    Of ``n`` ticks an update, some may be made before the first one, as by a loop that steps on every micro-batch and
    whose first update comes at the end of ``n`` of them; of one in ``n`` updates, the first may come early.
    """
    if pace.denominator == 1:
        n = int(pace)
        starts = [Fraction(k) for k in (0, n - 1, n, 1, -1)]
    elif pace.numerator == 1:
        starts = [Fraction(k, pace.denominator) for k in (0, pace.denominator - 1, 1, -1)]
    else:
        starts = [Fraction(0)]
    out = [Pace(pace, phase) for phase in dict.fromkeys(starts)]
    return out if cumulative or pace.denominator == 1 else [*out, Pace(pace, smooth=True)]
