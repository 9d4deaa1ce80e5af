"""Where a rise ends in a leap, in schedules of which only the curve is known: formulas and a team's own code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lrsched_cli.verify.rules_parts import Part
from lrsched_cli.verify.rules_plan import Plan

#: A leap is so many times larger than the rise's own steps, and at least this part of the peak.
TIMES, VISIBLE = 4, 0.05
#: Steps of the rise that are looked at, and how many there must be.
STEPS, LEAST = 8, 2
#: A change of less than this part of the rate is a rounding.
ROUNDED = 1e-12
#: More leaps than this, and they are what the formula is for.
MANY = 4


class Leap(NamedTuple):
    """A rise by ``step`` a tick that ends at ``before``, and is at ``after`` at the next tick, ``tick``."""

    tick: int
    step: float
    before: float
    after: float


def leap_of(plan: Plan, part: Part) -> Leap | None:
    """The first leap up at the end of a rise, where nothing but the curve tells of one; None where there is none.

    A rise has a few steps that hardly grow. A leap after a fall is a restart, one from a level is a stair, and one
    that goes on in steps as large, or comes from ever larger steps, is the rise itself.
    """
    low, last = part.start, plan.end - 1  # it may leap where it hands over
    found = [tick for tick in _upward(plan) if low + LEAST < tick <= part.stop]
    if not found:
        return None
    # The rates from STEPS + 1 ticks before each leap to the tick after it, the outermost repeated at the ends.
    at = np.asarray(found)[:, None] + np.arange(-STEPS - 1, 2)
    rates = plan.schedule(np.clip(at, low, last))
    leaps = [leap for tick, row in zip(found, np.atleast_2d(rates), strict=True) if (leap := _judged(tick, row))]
    return leaps[0] if 0 < len(leaps) <= MANY else None


def _upward(plan: Plan) -> list[int]:
    """The ticks at which the rate is far above that of the tick before."""
    if plan.schedule.cumulative:  # of which a long picture shows not every tick
        ticks: npt.NDArray[np.int64] = np.arange(plan.end)
        rates = plan.schedule.values(0, plan.end)
    else:
        ticks, rates = plan.curve
    steep = np.diff(rates) > VISIBLE * plan.peak
    low, high, below, above = ticks[:-1][steep], ticks[1:][steep], rates[:-1][steep], rates[1:][steep]
    while (high - low > 1).any():  # into the half that rises more
        middle = (low + high) // 2
        between = plan.schedule(middle)
        first = between - below > above - between
        low, below = np.where(first, low, middle), np.where(first, below, between)
        high, above = np.where(first, middle, high), np.where(first, between, above)
    return [int(tick) for tick in high[above - below > VISIBLE * plan.peak]]


def _judged(tick: int, rates: npt.NDArray[np.float64]) -> Leap | None:
    steps = np.diff(rates)
    *rise, jump, following = (float(step) for step in steps)
    rising = 0
    for step, rate in zip(reversed(rise), rates[-3::-1], strict=False):
        if not step > ROUNDED * abs(float(rate)):
            break
        rising += 1
    if rising < LEAST:
        return None
    last, before = rise[-1], rise[-2]
    if jump <= TIMES * max(*rise[-rising:], abs(following)) or jump * before <= TIMES * last * last:
        return None
    return Leap(tick, last, float(rates[-3]), float(rates[-2]))
