"""The forms that only the schedules of keras have.

Whatever the precision of the rest, keras floors in single precision, where a number just below a whole one is that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lrsched_cli.dialects.optax_base import Staircase, next_count
from lrsched_cli.run import MAX_TICKS
from lrsched_cli.schedules.base import next_of
from lrsched_cli.schedules.falls import Fall
from lrsched_cli.schedules.forms import Form
from lrsched_cli.schedules.ticks import Array, Ticks, Times, pow_, written


def floored(x: Array) -> Array:
    """The floor, in single precision."""
    with np.errstate(all="ignore"):
        return np.floor(x.astype(np.float32)).astype(np.float64)


@dataclass(frozen=True)
class Inverse(Form):
    """One over the time: ``start / (1 + rate * (t / every))``."""

    start: float
    rate: float
    every: float = 1.0

    def __call__(self, t: Times) -> Any:
        return self.start / (1 + self.rate * (written(t) / self.every))

    def next_knot(self, t: Array) -> Array:
        # A negative rate runs into infinity and comes back from below.
        return super().next_knot(t) if self.rate >= 0 else next_of([-self.every / self.rate], t)


@dataclass(frozen=True)
class Stairs(Staircase):
    """A form of the number of the stair, floored as keras does it."""

    def number(self, t: Array) -> Array:
        return floored(t / self.every)


@dataclass(frozen=True)
class Stretched(Form):
    """A power of the time that is left until the next multiple of ``ticks``, counted from tick 0 again and again.

    ``every`` is what the multiples are counted by, where it is not ``ticks`` itself.
    """

    start: float
    end: float
    ticks: float
    every: float
    power: float

    def _number(self, t: Array) -> Array:
        """The multiple at ``t``: a tick on one still belongs to it."""
        return np.where(t == 0, 1.0, np.ceil(t / self.every))

    def __call__(self, t: Times) -> Any:
        ticks: Array = written(t)
        left = 1 - ticks / (self.ticks * self._number(ticks))
        return pow_(left, self.power) * (self.start - self.end) + self.end

    def next_knot(self, t: Array) -> Array:
        return next_count(self._number, t, np.floor(self._number(t) * self.every) + 2)


@dataclass(frozen=True)
class Restarts(Form):
    """Cycles that grow.

    Attributes
    ----------
    top: the rate at the start of the first cycle.
    first: ticks of the first cycle.
    growth: each cycle is so many times longer than the one before it; below 1 there is an end of all cycles.
    top_mult: factor of the rate above the foot, each cycle.
    foot: the foot, as a part of ``top``.
    fall: how a cycle goes.
    whole: whether the argument of the logarithm that numbers the cycles is cut down to a whole number.
    """

    top: float
    first: float
    growth: float
    top_mult: float
    foot: float
    fall: Fall
    whole: bool = False

    def _number(self, t: Array) -> Array:
        """The number of the cycle."""
        part = t / self.first
        if self.growth == 1:
            return floored(part)
        grown = 1.0 - part * (1.0 - self.growth)
        with np.errstate(all="ignore"):
            return floored(np.log(np.trunc(grown) if self.whole else grown) / np.log(float(self.growth)))

    def _start(self, number: Any) -> Any:
        """Where a cycle starts, counted in first cycles."""
        return number if self.growth == 1 else (1.0 - np.power(float(self.growth), number)) / (1.0 - self.growth)

    def __call__(self, t: Times) -> Any:
        ticks: Array = written(t)
        number: Any = self._number(ticks[[0, -1]] if isinstance(t, Ticks) else ticks)
        if isinstance(t, Ticks):  # a row mostly stays in one cycle
            number = number[0] if number[0] == number[1] else self._number(ticks)
        done = (ticks / self.first - self._start(number)) / np.power(float(self.growth), number)
        height = np.power(float(self.top_mult), number) * (1 - self.foot)
        return (self.fall(done) * height + self.foot) * self.top

    def next_knot(self, t: Array) -> Array:
        with np.errstate(all="ignore"):
            # Beyond the last tick that there is, counts are no longer exact.
            limit = np.minimum(np.ceil(self._start(self._number(t) + 1) * self.first) + 2, 2.0 * MAX_TICKS)
        return next_count(self._number, t, np.where(np.isnan(limit), t + 1, limit))
