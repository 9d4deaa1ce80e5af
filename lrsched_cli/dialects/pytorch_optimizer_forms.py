"""What only pytorch_optimizer has: a warm-up in every restart, and Chebyshev's rates in their fractal order."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from lrsched_cli.run import MAX_TICKS
from lrsched_cli.schedules.falls import Wave
from lrsched_cli.schedules.forms import Form
from lrsched_cli.schedules.ticks import Array, Times, per_cycle, periodic, piecewise, power_of, written


class Cycle(NamedTuple):
    """A cycle of :class:`Restarts`, or all that are left.

    Attributes
    ----------
    number: 0, 1, 2, ...
    begin: its first tick.
    start: the tick at which its clock is 0; any number.
    ticks: how long it is.
    repeated: whether those that follow are as long, for ever.
    """

    number: int
    begin: float
    start: float
    ticks: float
    repeated: bool


@dataclass(frozen=True)
class Restarts(Form):
    """A line up and half a cosine wave down, again and again, the wave longer each time and the line not.

    Cycles are written down as far as they are asked for, until one is as long as the one before it: so are all that
    follow.

    Attributes
    ----------
    first: ticks of the first cycle, its line included.
    warmup: ticks of the line; below 0 each cycle begins on its wave.
    growth: each wave is so many times as long as the one before it, cut down to whole ticks, 1 at least.
    top, foot: the highest and the lowest rate.
    gamma: factor of the top, each cycle.
    """

    first: float
    warmup: float
    growth: float
    top: float
    foot: float
    gamma: float

    def _following(self, ticks: float) -> float:
        return max(1, int((ticks - self.warmup) * self.growth)) + self.warmup

    def _cycles(self) -> Iterator[Cycle]:
        # The constructor's own step comes before tick 0, and may end a cycle. Each tick ends one at most: a cycle that
        # is over before it begins (they may be shorter than a tick) has its tick all the same.
        number, begin, start, ticks = 0, -1.0, 0.0, self.first
        while begin <= MAX_TICKS:
            following = self._following(ticks)
            repeated = number > 0 and following == ticks
            yield Cycle(number, begin, start, ticks, repeated)
            if repeated:
                return
            number, start, ticks = number + 1, start + ticks, following
            begin = max(begin + 1, float(math.ceil(start)))

    @cached_property
    def _source(self) -> Iterator[Cycle]:
        return self._cycles()

    @cached_property
    def _known(self) -> list[Cycle]:
        return [next(self._source)]

    @cached_property
    def _begins(self) -> list[float]:
        """Where the cycles begin that are known."""
        return [self._known[0].begin]

    def _more(self) -> bool:
        cycle = next(self._source, None)
        if cycle is None:
            return False
        self._known.append(cycle)
        self._begins.append(cycle.begin)
        return True

    def _know(self, tick: float) -> None:
        while self._begins[-1] <= tick and self._more():
            pass

    def begin_of(self, number: int) -> float:
        """The first tick of a cycle; inf where no run gets there."""
        while len(self._known) <= number and self._more():
            pass
        last = self._known[min(number, len(self._known) - 1)]
        if last.number == number:
            return last.begin
        if not last.repeated:
            return math.inf
        later = number - last.number
        return last.begin + later if last.ticks < 1 else float(math.ceil(last.start + later * last.ticks))

    def __call__(self, t: Times) -> Any:
        self._know(t.last if hasattr(t, "last") else float(written(t).max(initial=0.0)))
        return piecewise(t, self._begins[1:], [partial(self._ruled, cycle) for cycle in self._known])

    def _ruled(self, cycle: Cycle, t: Times) -> Any:
        """The rates at ticks of a cycle."""
        clock = t - cycle.start
        if not cycle.repeated:
            return self._swing(self._top(float(cycle.number)), self._part(cycle.ticks, clock))
        if cycle.ticks >= 1:
            part = periodic(partial(self._part, cycle.ticks), clock, cycle.ticks)
            return self._swing(per_cycle(lambda i: self._top(i + cycle.number), clock, cycle.ticks), part)
        # One cycle a tick, none of which is long enough: the clock runs away.
        since = written(t) - cycle.begin
        part = self._part(cycle.ticks, since * (1 - cycle.ticks) + (cycle.begin - cycle.start))
        return self._swing(self._top(since + cycle.number), part)

    def _swing(self, top: Any, part: Any) -> Any:
        return part * (top - self.foot) + self.foot

    def _top(self, number: Any) -> Any:
        return self.top if self.gamma == 1 else power_of(self.gamma, number) * self.top

    def _part(self, ticks: float, clock: Times) -> Any:
        """The part of the way from the foot to the top."""

        def down(x: Times) -> Any:
            return Wave()((x - self.warmup) / (ticks - self.warmup))

        if self.warmup <= 0:
            return down(clock)
        return piecewise(clock, [self.warmup], [lambda x: x / self.warmup, down])

    def next_knot(self, t: Array) -> Array:
        self._know(float(t.max(initial=0.0)))
        return np.array([self._knot_after(tick) for tick in t.tolist()])

    def _knot_after(self, tick: float) -> float:
        which = bisect_right(self._begins, tick) - 1
        cycle = self._known[which]
        start, end = cycle.start, math.inf
        if not cycle.repeated:
            end = self._begins[which + 1] if which + 1 < len(self._begins) else math.inf
        elif cycle.ticks < 1:
            return tick + 1
        else:
            start += math.floor((tick - start) / cycle.ticks) * cycle.ticks
            end = math.ceil(start + cycle.ticks)
        top = math.ceil(start + self.warmup)
        return max(min(top, end) if top > tick else end, tick + 1)


@dataclass(frozen=True)
class Chebyshev(Form):
    """The inverse of Chebyshev's nodes on 0.05 to 1, in an order that keeps long and short steps apart.

    Attributes
    ----------
    scale: the rate that they are factors of.
    nodes: how many there are, a power of two.
    """

    scale: float
    nodes: int

    @cached_property
    def steps(self) -> int:
        """How many of them are taken: the order is made for two fewer, and rounded up to a power of two."""
        return 1 << max(self.nodes - 3, 0).bit_length()

    def __call__(self, t: Times) -> Any:
        # The first one serves ticks 0, 1 and 2.
        place = np.clip(np.floor(written(t)) - 2, 0, self.steps - 1).astype(np.int64)
        node = np.zeros_like(place)
        levels = self.steps.bit_length() - 1
        for level in range(1, levels + 1):  # each doubling puts between two of its nodes the one that mirrors the first
            node = np.where((place >> (levels - level)) & 1, (1 << level) - 1 - node, node)
        center, radius = (1.0 + 0.05) / 2, (1.0 - 0.05) / 2
        return self.scale / (center - radius * np.cos((node + 0.5) * np.pi / self.nodes))

    def next_knot(self, t: Array) -> Array:
        return np.maximum(t + 1, 3.0)
