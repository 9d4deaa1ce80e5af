"""The cycles of ignite's schedulers: whole ticks, rates that change from cycle to cycle, and a rise between two."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from lrsched_cli.dialects.foreign import Failure
from lrsched_cli.run import MAX_TICKS
from lrsched_cli.schedules.falls import Fall
from lrsched_cli.schedules.forms import Form, Level, Phases, Transition, then
from lrsched_cli.schedules.ticks import Array, Times, filled, per_cycle, periodic, piecewise, power_of, written


@dataclass(frozen=True)
class Valley(Fall):
    """A straight line down to 0 in the middle, and one up again."""

    def __call__(self, x: Times) -> Any:
        return np.abs(written(x) * 2 - 1)

    def next_turn(self, x: Array) -> Array:
        return np.where(x < 0.5, 0.5, np.where(x < 1, 1.0, np.inf))


class Round(NamedTuple):
    """One cycle, and the warm-up after it, as the scheduler's counter goes through them.

    Attributes
    ----------
    begin: the tick at which it begins.
    size, rise: what the scheduler holds as ``cycle_size`` and ``warmup_duration``; any numbers.
    start, end: its two rates.
    next_start: the start of the next one, which its warm-up rises to.
    """

    begin: float
    size: float
    rise: float
    start: float
    end: float
    next_start: float

    @property
    def total(self) -> float:
        return self.rise + self.size

    @property
    def ends(self) -> bool:
        """Whether the counter, which counts whole ticks, ever stands at its end."""
        return self.total > 0 and self.total == math.floor(self.total)

    def form(self, fall: Fall) -> Form:
        """The rates from its begin on."""
        cycle = Transition(self.start, self.end, self.size, fall)
        if self.rise == 0:
            return cycle
        warm = then(self.size, Transition(self.end, self.next_start, self.rise))
        if self.rise > 0 or self.size != math.floor(self.size):
            return Phases((self.size if self.rise > 0 else math.ceil(self.size),), (cycle, warm))
        # Behind a cycle without an end of its own, the start is the next one's already at its last tick.
        last = float(filled(fall(np.ones(1)), 1)[0]) * (self.next_start - self.end) + self.end
        return Phases((self.size, self.size + 1), (cycle, Level(last), warm))


@dataclass(frozen=True)
class Steady(Form):
    """Cycles of the same whole length, with the rise behind each, for ever."""

    fall: Fall
    first: Round
    start_mult: float
    end_mult: float

    def __call__(self, t: Times) -> Any:
        size, rise, total = self.first.size, self.first.rise, self.first.total

        def from_start(x: Times) -> Any:
            return piecewise(
                x, [size], [lambda u: self.fall(u / size), lambda u: (u - size) * (self.start_mult / rise)]
            )

        def from_end(x: Times) -> Any:
            return piecewise(x, [size], [lambda u: 1 - self.fall(u / size), lambda u: 1 - (u - size) / rise])

        starts = self._rates(self.first.start, self.start_mult, t)
        ends = self._rates(self.first.end, self.end_mult, t)
        return periodic(from_start, t, total) * starts + periodic(from_end, t, total) * ends

    def _rates(self, first: float, factor: float, t: Times) -> Any:
        """A rate of the cycle that each tick is in."""
        if factor == 1 or first == 0:
            return first
        return per_cycle(lambda number: power_of(factor, number) * first, t, self.first.total)

    def next_knot(self, t: Array) -> Array:
        size, total = self.first.size, self.first.total
        start = np.floor(t / total) * total
        turn = np.ceil(start + self.fall.next_turn((t - start) / size + 1e-12) * size - 1e-9)
        # The warm-up may begin with a jump, and the last tick of a cycle belongs to neither.
        turn = np.where(turn <= t, np.inf, turn)
        warm = np.where(start + size > t, start + size, np.inf)
        return np.asarray(np.minimum(np.minimum(turn, warm), start + total))


@dataclass(frozen=True)
class Rounds(Form):
    """Cycle after cycle, the length of each made from the one before it and cut down to whole ticks."""

    fall: Fall
    first: Round
    growth: float
    start_mult: float
    end_mult: float

    def __call__(self, t: Times) -> Any:
        self._know(t.last if hasattr(t, "last") else float(written(t).max(initial=0.0)))
        return piecewise(t, self._begins[1:], self._forms)

    def next_knot(self, t: Array) -> Array:
        self._know(float(t.max(initial=0.0)))
        ends = np.array([*self._begins[1:], math.inf])
        which = np.maximum(np.searchsorted(self._begins, t, side="right") - 1, 0)
        knots = ends[which]
        for i in np.unique(which):
            mine = which == i
            knots[mine] = np.minimum(knots[mine], self._forms[i].next_knot(t[mine]))
        return knots

    @cached_property
    def _begins(self) -> list[float]:
        return []

    @cached_property
    def _forms(self) -> list[Form]:
        return []

    @cached_property
    def _coming(self) -> Iterator[tuple[float, Form]]:
        return self._all()

    def _know(self, tick: float) -> None:
        """Write down the cycles up to a tick, and the one after it."""
        while not self._begins or self._begins[-1] <= tick:
            begin, form = next(self._coming, (math.inf, None))
            if form is None:
                return
            self._begins.append(begin)
            self._forms.append(form)

    def rounds(self) -> Iterator[Round]:
        """The cycles in turn, as far as ticks go, until one has no ticks; where lengths repeat, one of them only."""
        now = self.first
        while now.begin <= MAX_TICKS:
            yield now
            if not now.ends or now.size <= 0 or self.repeats(now):
                return
            size, rise = int(now.size * self.growth), int(now.rise * self.growth)
            start, end = now.next_start, now.end * self.end_mult
            now = self._round(now.begin + now.total, size, rise, start, end)

    def _round(self, begin: float, size: float, rise: float, start: float, end: float) -> Round:
        # The start changes where the counter stands at cycle_size, and it does not get there in every cycle.
        now = Round(begin, size, rise, start, end, start)
        reached = size == math.floor(size) and size > 0 and (size <= now.total or not now.ends)
        return now._replace(next_start=start * self.start_mult) if reached else now

    def repeats(self, now: Round) -> bool:
        """Whether all cycles from this one on are equally long."""
        return now.ends and now.size == int(now.size * self.growth) and now.rise == int(now.rise * self.growth)

    def _all(self) -> Iterator[tuple[float, Form]]:
        for now in self.rounds():
            form = now.form(self.fall) if now.size else Level(math.nan)
            if self.repeats(now):
                mult = self.start_mult if now.next_start != now.start else 1.0
                form = Steady(self.fall, now, mult, self.end_mult)
            yield now.begin, then(now.begin, form)

    @cached_property
    def failure(self) -> Failure | None:
        """Where the library divides by zero."""
        # Cycles that do not shrink are all alike in this, once they were cut down to whole ticks.
        for now in islice(self.rounds(), 2 if self.growth >= 1 else None):
            if now.size == 0 or (now.size < 0 and now.rise == 0):
                return Failure(int(now.begin), "a cycle of no ticks: division by zero")
            if now.rise == 0 and not now.ends:
                tick = now.begin + math.floor(now.size) + 1
                return Failure(int(tick), "the cycle ends between two ticks: division by zero")
        return None


def rounds(
    fall: Fall, size: float, rise: float, start: float, end: float, growth: float, start_mult: float, end_mult: float
) -> Rounds:
    """Cycles from tick 0 on."""
    made = Rounds(fall, Round(0.0, size, rise, start, end, start), growth, start_mult, end_mult)
    return Rounds(fall, made._round(0.0, size, rise, start, end), growth, start_mult, end_mult)
