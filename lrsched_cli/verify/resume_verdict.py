"""In a word, what a resume does to the rate: it goes on smoothly, or in one of the ways that nobody wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lrsched_cli.curve import extremes, reduce
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.verify.namesakes import alone

if TYPE_CHECKING:
    from lrsched_cli.verify.resume import Resumed

#: Every verdict, and what it means; of several that hold the first is given.
VERDICTS = {
    "raises": "the scheduler raises before training is over",
    "starts-anew": "the rates are those of a new run, from its warm-up or its peak on",
    "jumps": "the rate changes by more than its curve does",
    "climbs-again": "the rate rises where neither the old plan nor the new one does",
    "dead": "the rate is 0, or next to it, for the rest",
    "smooth": "the rate goes on as its curve does",
}
#: Columns in which a curve is looked through, and ticks at which two curves are compared.
COLUMNS, LOOKS = 512, 257
#: A rise of so much of the peak is a climb, and a rate of so little of it is none.
CLIMB, DEAD = 1e-3, 1e-4
#: A curve ends at 0 in this part of the remaining ticks anyway.
TAIL = 0.02


class Climb(NamedTuple):
    """The largest rise of a curve above what it has been before."""

    low_tick: int
    low: float
    high_tick: int
    high: float

    @property
    def size(self) -> float:
        return self.high - self.low


class Verdict(NamedTuple):
    """One of ``VERDICTS``; the climb that is none of the plan's, and the tick from which the rate is dead, if any."""

    name: str
    climb: Climb | None = None
    dead: int | None = None


def judged(outcome: Resumed) -> Verdict:
    """The verdict on a resume."""
    climb, dead = _unplanned_climb(outcome), _dead(outcome)
    if outcome.stops is not None:
        return Verdict("raises", climb, dead)
    if outcome.checkpoint.total <= len(outcome.planned) and _follows(outcome, outcome.planned.schedule, 0):
        return Verdict("smooth")
    if (outcome.jump or climb) and _follows(outcome, outcome.wished.schedule, outcome.checkpoint.at):
        return Verdict("starts-anew", climb, dead)
    name = "jumps" if outcome.jump else "climbs-again" if climb else "smooth" if dead is None else "dead"
    return Verdict(name, climb, dead)


def peak_of(outcome: Resumed) -> float:
    """The highest rate of the old plan."""
    return max(extremes(alone(outcome.planned.schedule), 0, len(outcome.planned)).peak, 1e-300)


def _follows(outcome: Resumed, plan: Schedule, shift: int) -> bool:
    """Whether the resumed rates, but the first, are those of a plan that began ``shift`` ticks later."""
    at, last = outcome.checkpoint.at, len(outcome.resumed) - 1
    if last <= at:
        return shift == 0
    ticks = np.unique(np.linspace(at + 1, last, LOOKS).round().astype(np.int64))
    apart = np.abs(outcome.resumed.schedule(ticks) - alone(plan)(ticks - shift))
    return bool((apart <= 1e-9 * peak_of(outcome)).all())


def climb_of(schedule: Schedule, start: int, stop: int) -> Climb | None:
    """The largest rise of a schedule over a range of ticks; None where it never rises."""
    if stop - start < 2:
        return None
    ticks, rates = reduce(schedule, start, stop, COLUMNS)
    rises = rates - np.minimum.accumulate(rates)
    high = int(np.argmax(rises))
    low = int(np.argmin(rates[: high + 1]))
    found = Climb(int(ticks[low]), float(rates[low]), int(ticks[high]), float(rates[high]))
    return found if found.size > 0 else None


def _unplanned_climb(outcome: Resumed) -> Climb | None:
    """A rise after the resume which neither plan has, looked for up to the old end and after it."""
    resumed, wished, old = outcome.resumed, alone(outcome.wished.schedule), len(outcome.planned)
    planned = alone(outcome.planned.schedule)
    own = climb_of(planned, extremes(planned, 0, old).peak_tick, old)  # restarts and cycles climb as planned
    at, end = outcome.checkpoint.at, len(resumed)
    for start, stop in ((at, min(old, end)), (max(at, old - 1), end)):
        found = climb_of(resumed.schedule, start, stop)
        if found is None:
            continue
        meant = climb_of(planned, start, min(stop, old)), climb_of(wished, start, min(stop, len(outcome.wished)))
        usual = max(climb.size if climb else 0.0 for climb in (own, *meant))
        if found.size > usual + CLIMB * peak_of(outcome):
            return climb_of(resumed.schedule, start, end)
    return None


def _dead(outcome: Resumed) -> int | None:
    """The tick from which the rate is as good as 0 for the rest, where the new plan's is not."""
    at, end = outcome.checkpoint.at, len(outcome.resumed)
    least = DEAD * peak_of(outcome)
    first = _last_alive(outcome.resumed.schedule, at, end, least) + 1
    meant = _last_alive(alone(outcome.wished.schedule), at, min(end, len(outcome.wished)), least) + 1
    return first if min(meant, end) - first > TAIL * (end - at) else None


def _last_alive(schedule: Schedule, start: int, stop: int, least: float) -> int:
    """The last tick of a range at which a rate is above ``least``; the one before the range where there is none."""
    ticks, rates = reduce(schedule, start, stop, COLUMNS)
    alive = np.flatnonzero(~(np.abs(rates) <= least))
    if not len(alive):
        return start - 1
    low = int(ticks[alive[-1]])
    high = int(ticks[alive[-1] + 1]) if alive[-1] + 1 < len(ticks) else low + 1
    while high - low > 1:  # between two ticks that were looked at a curve only falls
        middle = (low + high) // 2
        low, high = (middle, high) if abs(float(schedule(middle))) > least else (low, middle)
    return low
