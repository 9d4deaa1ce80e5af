"""The shapes that libraries have names for, found in the outline of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lrsched_cli.export.arithmetic import tidy
from lrsched_cli.export.outline import Segment
from lrsched_cli.export.plan import Plan
from lrsched_cli.schedules.falls import Fall, Line
from lrsched_cli.schedules.forms import Form, Level, Table, Transition


@dataclass(frozen=True)
class Shape:
    """A warm-up in a straight line, if there is one, and what follows it.

    Attributes
    ----------
    warmup: ticks of the warm-up, 0 without one; ``start`` the rate that it starts from.
    rest: the segments after it.
    """

    warmup: int
    start: float
    rest: tuple[Segment, ...]

    @property
    def body(self) -> Form:
        """The formula that follows the warm-up."""
        return self.rest[0].form


def shapes(plan: Plan) -> Iterator[Shape]:
    """The ways to read a plan: with its first rise as a warm-up, and without."""
    parts = tuple(plan.outline)
    if not parts:
        return
    first = parts[0]
    line = falling(first)
    if len(parts) > 1 and line is not None and isinstance(line[0], Line) and line[2] > line[1]:
        yield Shape(int(first.stop), line[1], parts[1:])
    yield Shape(0, 0.0, parts)


def falling(segment: Segment) -> tuple[Fall, float, float, float] | None:
    """The shape of a segment that goes from one rate to another: its fall, from, to and over how many ticks."""
    form = segment.form
    if not isinstance(form, Transition) or not segment.own_clock:
        return None
    return form.fall, form.start, form.end, form.ticks


def level(segment: Segment) -> float | None:
    """The rate of a segment that stays at one."""
    return segment.form.value if isinstance(segment.form, Level) else None


def drops(segment: Segment) -> tuple[float, float, list[int]] | None:
    """First rate, factor and ticks of a table that falls by one factor, maybe several times at one tick."""
    form = segment.form
    if not isinstance(form, Table) or not segment.own_clock or len(form.values) < 2 or 0 in form.values:
        return None
    ratios = [after / before for before, after in zip(form.values, form.values[1:], strict=False)]
    factor = tidy(ratios[0])
    ticks = [int(tick) for tick in form.ticks]
    return (form.values[0], factor, ticks) if all(abs(r / factor - 1) < 1e-12 for r in ratios) else None
