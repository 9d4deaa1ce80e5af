"""The forms that other libraries' schedules are said in: few functions of a clock, and ways to put them together.

A canonical kind is a form with names, defaults and bounds for a person. Another library's kind has names, defaults and
bounds of its own, so it is translated into plain forms, which take any numbers: a floor above the rate, a rate of 0, a
length that is no whole number.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial, reduce
from typing import Any

import numpy as np

from lrsched_cli.run import MAX_TICKS
from lrsched_cli.schedules.base import Schedule, next_of
from lrsched_cli.schedules.expression import CompiledExpression
from lrsched_cli.schedules.falls import LINE, Fall
from lrsched_cli.schedules.ticks import (
    Array,
    Times,
    filled,
    per_cycle,
    periodic,
    piecewise,
    pow_,
    power_of,
    steps,
    written,
)
from lrsched_cli.schedules.value import Value


class Form(Value, ABC):
    """A rate, or a factor of one, as a function of a clock: of any ticks, or of a row of them."""

    @abstractmethod
    def __call__(self, t: Times) -> Any:
        """The values at ``t``, of the same length, or one number for all of them."""

    def next_knot(self, t: Array) -> Array:
        """For each tick the first later whole one at which it bends, turns or jumps; inf where there is none."""
        return np.full(t.shape, np.inf)


@dataclass(eq=False, repr=False)
class Level(Form):
    """The same value throughout."""

    value: float

    def __call__(self, t: Times) -> Any:
        return self.value


@dataclass(eq=False, repr=False)
class Transition(Form):
    """From one value to another over so many ticks, and on by the same formula."""

    start: float
    end: float
    ticks: float
    fall: Fall = LINE

    def __call__(self, t: Times) -> Any:
        return self.fall(t / self.ticks) * (self.start - self.end) + self.end

    def next_knot(self, t: Array) -> Array:
        # The quotient may fall short of the turn that the tick stands on.
        turn = self.fall.next_turn(t / self.ticks + 1e-12) * self.ticks
        return np.maximum(np.ceil(turn * (1 - 1e-9)), t + 1)


@dataclass(eq=False, repr=False)
class Geometric(Form):
    """A constant factor every so many ticks."""

    start: float
    factor: float
    every: float = 1.0

    def __call__(self, t: Times) -> Any:
        return power_of(self.factor, t / self.every) * self.start


@dataclass(eq=False, repr=False)
class Law(Form):
    """A power of the clock: ``start * ((t + shift) / scale) ** power``."""

    start: float
    scale: float
    shift: float
    power: float = -0.5

    def __call__(self, t: Times) -> Any:
        return pow_((t + self.shift) / self.scale, self.power) * self.start


@dataclass(eq=False, repr=False)
class Table(Form):
    """Values that hold from one tick to the next: ``values[i]`` from ``ticks[i - 1]`` on."""

    ticks: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, t: Times) -> Any:
        return steps(t, np.asarray(self.ticks, dtype=np.float64), np.asarray(self.values, dtype=np.float64))

    def next_knot(self, t: Array) -> Array:
        return next_of(self.ticks, t)


@dataclass(eq=False, repr=False)
class Written(Form):
    """An expression that a user wrote, of the tick."""

    expression: CompiledExpression
    scale: float = 1.0

    def __call__(self, t: Times) -> Any:
        return self.expression(written(t)) * self.scale

    def next_knot(self, t: Array) -> Array:
        return self.expression.next_knot(t)


@dataclass(eq=False, repr=False)
class Of(Form):
    """A schedule as a form."""

    schedule: Schedule

    def __call__(self, t: Times) -> Any:
        return self.schedule.curve(t)

    def next_knot(self, t: Array) -> Array:
        return self.schedule.next_knot(t)


@dataclass(eq=False, repr=False)
class Phases(Form):
    """One form after another, all on the same clock: ``forms[i]`` rules from ``starts[i - 1]`` on."""

    starts: tuple[float, ...]
    forms: tuple[Form, ...]

    def __call__(self, t: Times) -> Any:
        return piecewise(t, self.starts, self.forms)

    def next_knot(self, t: Array) -> Array:
        knot = next_of(self.starts, t)
        bounds = (-math.inf, *self.starts, math.inf)
        for form, start, end in zip(self.forms, bounds, bounds[1:], strict=False):
            # A form is not asked about ticks far from its own, on which it need not make sense.
            inside = form.next_knot(np.maximum(t, start if math.isfinite(start) else t))
            knot = np.minimum(knot, np.where((inside > t) & (inside < end) & (t < end), inside, np.inf))
        return knot


@dataclass(eq=False, repr=False)
class Late(Form):
    """A form on a clock that starts later; ``held``: at its first value until then, else going backwards."""

    form: Form
    by: float
    held: bool = False

    def __call__(self, t: Times) -> Any:
        if not self.held:
            # A row that begins between two ticks would be rounded otherwise than its ticks one by one.
            return self.form((t if self.by == math.floor(self.by) else written(t)) - self.by)
        return piecewise(t, [self.by], [lambda _: self.form(np.zeros(1)), lambda x: self.form(x - self.by)])

    def next_knot(self, t: Array) -> Array:
        if not self.held:
            # Whole on the inner clock, a knot may come up to a tick late where the clocks are not in step.
            return np.maximum(np.floor(self.form.next_knot(t - self.by) + self.by), t + 1)
        knot = np.maximum(np.floor(self.form.next_knot(np.maximum(t - self.by, 0.0)) + self.by), t + 1)
        return np.where(t < self.by, math.ceil(self.by), knot)


@dataclass(eq=False, repr=False)
class Stairs(Form):
    """A form that is read every so many ticks only, and held in between."""

    form: Form
    every: float

    def __call__(self, t: Times) -> Any:
        return per_cycle(self._stair, t, self.every)

    def _stair(self, number: Any) -> Any:
        if isinstance(number, float):
            return float(filled(self.form(np.full(1, number * self.every)), 1)[0])
        return self.form(number * self.every)

    def next_knot(self, t: Array) -> Array:
        return np.maximum(np.ceil((np.floor(t / self.every) + 1) * self.every), t + 1)


@dataclass(eq=False, repr=False)
class Wrapped(Form):
    """So many falls of equal length over so many ticks, each from the top, numbered by ``cycles * (t / ticks)``."""

    fall: Fall
    top: float
    ticks: float
    cycles: float

    def __call__(self, t: Times) -> Any:
        # The product is rounded before it is wrapped, which may put off a restart by a tick.
        return self.fall(np.mod(written(t) / self.ticks * self.cycles, 1.0)) * self.top

    def next_knot(self, t: Array) -> Array:
        if not self.cycles:
            return super().next_knot(t)
        period = abs(self.ticks / self.cycles)
        end = np.ceil((np.floor(t / period + 1e-9) + 1) * period - 1e-9)
        late = np.ceil(np.floor(t / period + 1e-9) * period - 1e-9) + 1
        return np.where(late > t, late, np.maximum(end, t + 1))


@dataclass(eq=False, repr=False)
class Scaled(Form):
    """The product of several forms."""

    forms: tuple[Form, ...]

    def __call__(self, t: Times) -> Any:
        return reduce(lambda a, b: a * b, (written(form(t)) for form in self.forms))

    def next_knot(self, t: Array) -> Array:
        return np.asarray(reduce(np.minimum, [form.next_knot(t) for form in self.forms]))


@dataclass(eq=False, repr=False)
class Raised(Form):
    """A form with a value added to it."""

    form: Form
    by: float

    def __call__(self, t: Times) -> Any:
        return self.form(t) + self.by

    def next_knot(self, t: Array) -> Array:
        return self.form.next_knot(t)


@dataclass(eq=False, repr=False)
class Repeated(Form):
    """A form that starts again every so many ticks; ``there_and_back``: it runs back before it starts again."""

    form: Form
    every: float
    there_and_back: bool = False

    def __call__(self, t: Times) -> Any:
        if not self.there_and_back:
            return periodic(self.form, t, self.every)
        back = 2 * self.every
        return periodic(lambda x: piecewise(x, [self.every], [self.form, lambda u: self.form(back - u)]), t, back)

    def next_knot(self, t: Array) -> Array:
        if self.there_and_back:
            return t + 1
        start = np.floor(t / self.every) * self.every
        inner = np.ceil(start + self.form.next_knot(t - start))
        end = np.maximum(np.ceil(start + self.every), t + 1)
        return np.where((inner > t) & (inner < end), inner, end)


@dataclass(eq=False, repr=False)
class Bounded(Form):
    """A form kept between two values."""

    form: Form
    low: float = -math.inf
    high: float = math.inf

    def __call__(self, t: Times) -> Any:
        return np.clip(written(self.form(t)), self.low, self.high)

    def next_knot(self, t: Array) -> Array:
        return self.form.next_knot(t)


@dataclass(eq=False, repr=False)
class Cycles(Form):
    """A fall from a top to a foot, again and again.

    Attributes
    ----------
    fall: how a cycle goes, from 1 (its top) to 0 (its foot) or otherwise between them.
    first: ticks of the first cycle.
    top, foot: the two rates of the first cycle.
    growth: each cycle is so many times longer than the one before it.
    whole: whether the lengths are cut down to whole ticks, each before the next is made from it.
    top_mult, foot_mult: factors of the two rates, each cycle.
    count: cycles that are known, where they are not for ever; past them the last one goes on.
    number: the number of the cycle that a library counts a tick to, where its logarithm is rounded down by one.
    """

    fall: Fall
    first: float
    top: float
    foot: float = 0.0
    growth: float = 1.0
    whole: bool = False
    top_mult: float = 1.0
    foot_mult: float = 1.0
    count: float = math.inf
    number: Callable[[float], int] | None = field(default=None, compare=False)

    def __call__(self, t: Times) -> Any:
        if not self.uniform:
            last = t.last if hasattr(t, "last") else float(written(t).max(initial=0.0))
            self._know(last)
            return piecewise(t, self._begins[1:], [partial(self._cycle, i) for i in range(len(self._begins))])
        part = periodic(lambda x: self.fall(x / self.first), t, self.first)
        if self.top_mult == self.foot_mult == 1:
            return part * (self.top - self.foot) + self.foot
        swing = per_cycle(lambda i: self.top_of(i) - self.foot_of(i), t, self.first)
        return part * swing + per_cycle(self.foot_of, t, self.first)

    @property
    def uniform(self) -> bool:
        """Whether all cycles are of one length: those cut down to whole ticks may never get longer."""
        return self.growth == 1 or (self.whole and math.floor(self.first * self.growth) == self.first)

    def _cycle(self, i: int, t: Times) -> Any:
        foot = self.foot_of(float(i))
        return self.fall((t - self._starts[i]) / self._lengths[i]) * (self.top_of(float(i)) - foot) + foot

    def top_of(self, number: Any) -> Any:
        """The top of a cycle."""
        return self.top if self.top_mult == 1 else power_of(self.top_mult, number) * self.top

    def foot_of(self, number: Any) -> Any:
        """The foot of a cycle."""
        return self.foot if self.foot_mult == 1 or self.foot == 0 else power_of(self.foot_mult, number) * self.foot

    def start_of(self, number: int) -> float:
        """The clock value at which a cycle begins."""
        if self.uniform:
            return number * self.first
        while len(self._starts) <= number and self._more():
            pass
        return self._starts[number] if number < len(self._starts) else math.inf

    # Cycles that grow are few: where they begin is written down, as far as it was asked for.

    @cached_property
    def _starts(self) -> list[float]:
        return [0.0]

    @cached_property
    def _lengths(self) -> list[float]:
        return [self.first]

    @cached_property
    def _begins(self) -> list[float]:
        """The first whole ticks of the cycles."""
        return [0.0]

    def _know(self, tick: float) -> None:
        while self._begins[-1] <= tick and len(self._starts) < self.count and self._more():
            pass

    def _more(self) -> bool:
        """Write down one more cycle, if there is one."""
        i = len(self._starts)
        length = self._lengths[-1] * self.growth if self.whole else self.first * float(np.power(self.growth, i))
        length = math.floor(length) if self.whole else length
        start = self._starts[-1] + self._lengths[-1]
        if length < 1e-9 or start > MAX_TICKS:
            return False
        begin = math.ceil(start - 1e-14 * start)
        if self.number is not None and self.number(float(begin)) < i:
            begin += 1
        self._starts.append(start)
        self._lengths.append(length)
        self._begins.append(float(begin))
        return True

    def next_knot(self, t: Array) -> Array:
        if self.uniform:
            start = np.floor(t / self.first) * self.first
            length, end = np.full(t.shape, self.first), np.ceil(start + self.first)
        else:
            self._know(float(t.max(initial=0.0)))
            which = np.array([bisect_right(self._begins, tick) - 1 for tick in t.tolist()], dtype=np.intp)
            ends = np.append(self._begins[1:], math.inf)
            start, length, end = np.take(self._starts, which), np.take(self._lengths, which), ends[which]
        turn = self.fall.next_turn(np.maximum((t - start) / length, 0.0) + 1e-12)
        inner = np.ceil(start + turn * length - 1e-9)
        end = np.maximum(end, t + 1)
        return np.asarray(np.where((inner > t) & (inner < end), inner, end))


def then(start: float, form: Form) -> Form:
    """A form whose clock begins at ``start``."""
    return Late(form, start) if start and not isinstance(form, Level) else form


def settles(form: Form, by: float = 0.0) -> float | None:
    """The tick from which a form stays on a level for good, given when its clock starts; None if it never does."""
    if isinstance(form, Late) and not form.held:
        return settles(form.form, by + form.by)
    if not isinstance(form, Phases):
        return None
    start = form.starts[-1] + by
    return start if isinstance(form.forms[-1], Level) else settles(form.forms[-1], by)


def phases(*parts: tuple[float, Form]) -> Form:
    """Forms one after the other, each on a clock of its own from its start.

    Parts are pairs of a start and a form, the first start being 0. A part rules from its start on, but not before the
    one in front of it does, as in a chain of ``if t < start`` in code; one that no tick is left for is dropped.
    """
    kept: list[tuple[float, Form]] = []
    for start, form in parts:
        rules_from = max(start, kept[-1][0]) if kept else start
        if kept and kept[-1][0] == rules_from:
            kept.pop()
        kept.append((rules_from, then(start, form)))
    if len(kept) == 1:
        return kept[0][1]
    return Phases(tuple(start for start, _ in kept[1:]), tuple(form for _, form in kept))


def warmed(ticks: float, start: float, full: float, body: Form, fall: Fall = LINE) -> Form:
    """A rise from ``start`` to ``full`` in front of a body, whose clock begins after it."""
    return phases((0, Transition(start, full, ticks or 1, fall)), (ticks, body))


def joined(ticks: Sequence[float], values: Sequence[float], fall: Fall = LINE) -> Form:
    """Values at ticks, the first one at 0, joined by transitions; the last one is held."""
    parts: list[tuple[float, Form]] = []
    for start, end, low, high in zip(ticks, ticks[1:], values, values[1:], strict=False):
        if end > start:
            parts.append((start, Transition(low, high, end - start, fall)))
    return phases(*parts, (ticks[-1], Level(values[-1])))
