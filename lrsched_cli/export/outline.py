"""What a plan does from start to end: one formula after another, each on its own ticks and its own clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lrsched_cli.export.lower import form_of
from lrsched_cli.schedules.forms import (
    Bounded,
    Cycles,
    Form,
    Late,
    Of,
    Phases,
    Raised,
    Repeated,
    Scaled,
    Transition,
    then,
)


@dataclass(frozen=True)
class Segment:
    """A formula that rules for a while.

    Attributes
    ----------
    start, stop: the ticks ``start <= t < stop`` that it rules; ``stop`` may be infinite.
    origin: the tick at which its clock stands at 0.
    form: the formula, which is no sequence itself.
    """

    start: float
    stop: float
    origin: float
    form: Form

    @property
    def own_clock(self) -> bool:
        """Whether its clock starts with it."""
        return self.start == self.origin

    @property
    def ticks(self) -> float:
        """How long it rules."""
        return self.stop - self.start


def outline(form: Form, total: float = math.inf) -> list[Segment]:
    """The segments of a form, in order, those of the first ``total`` ticks."""
    return [segment for segment in _segments(form, 0.0, total, 0.0) if segment.start < total]


def _segments(form: Form, start: float, stop: float, origin: float) -> Iterator[Segment]:
    while True:
        if isinstance(form, Of):
            form = form_of(form.schedule)
        elif isinstance(form, Late) and not form.held:
            origin += form.by
            form = form.form
        else:
            break
    if not isinstance(form, Phases):
        yield Segment(start, stop, origin, _within(form, start - origin, stop - origin))
        return
    bounds = (-math.inf, *(math.ceil(s + origin) for s in form.starts), math.inf)
    for part, low, high in zip(form.forms, bounds, bounds[1:], strict=False):
        low, high = max(low, start), min(high, stop)
        if low < high:
            yield from _segments(part, low, high, origin)


def _within(form: Form, low: float, high: float) -> Form:
    """A form without the phases inside it, and without the cycles, that have no tick from ``low`` up to ``high``."""
    if isinstance(form, Of):
        return _within(form_of(form.schedule), low, high)
    if isinstance(form, Scaled):
        return Scaled(tuple(_within(part, low, high) for part in form.forms))
    if isinstance(form, (Raised, Bounded)):
        return replace(form, form=_within(form.form, low, high))
    if isinstance(form, Cycles) and low >= 0 and high <= form.first:
        return Transition(form.top, form.foot, form.first, form.fall)
    if isinstance(form, Repeated) and low >= 0 and high <= form.every:
        return _within(form.form, low, high)
    if isinstance(form, Late) and not form.held:
        return replace(form, form=_within(form.form, low - form.by, high - form.by))
    if not isinstance(form, Phases):
        return form
    bounds = (-math.inf, *map(math.ceil, form.starts), math.inf)
    kept = [i for i in range(len(form.forms)) if bounds[i] < high and bounds[i + 1] > low]
    if len(kept) < 2:
        return _within(form.forms[kept[0]], low, high) if kept else form
    return Phases(tuple(bounds[i] for i in kept[1:]), tuple(_within(form.forms[i], low, high) for i in kept))


def flattened(form: Form, total: float = math.inf) -> Form:
    """The same form with sequences inside sequences taken apart, without what no tick below ``total`` shows."""
    parts = outline(form, total)
    forms = [then(part.origin, part.form) for part in parts]
    return forms[0] if len(forms) == 1 else Phases(tuple(part.start for part in parts[1:]), tuple(forms))
