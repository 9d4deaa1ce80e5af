"""What the rules see of an entry: its plan on its run, with everything that several of them ask for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lrsched_cli.book import Entry
from lrsched_cli.curve import Curve, extremes, reduce
from lrsched_cli.document.located import Located, LocatedList, line_of
from lrsched_cli.errors import SpecError
from lrsched_cli.run import Clock
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.trace import Trace
from lrsched_cli.verify.rules_parts import Anatomy, Part

#: Columns of the picture that rules look at: every tick of a run of four times as many.
COLUMNS = 512
#: Rates closer than this part of the peak are one rate; rates below this part of it are 0, and not a late tick's.
SAME, NOTHING = 1e-9, 1e-300
#: How a formula refuses a rate that it makes itself, and the tick at which it does.
WRONG_RATE = re.compile(r"must be (?:finite|>= 0), got \S+ at \w+ = (\d+)")


class Fault(NamedTuple):
    """What a rule found, before it is known where that was written.

    Attributes
    ----------
    message: what is wrong, with the numbers.
    advice: what to do about it.
    tick: where it shows; None where it is of the whole plan.
    key: the parameter at fault, if one is.
    severity: where it is not the rule's own.
    alone: whether it is told even where another finding covers its rule.
    """

    message: str
    advice: str
    tick: int | None = None
    key: str | None = None
    severity: str | None = None
    alone: bool = False


class Plan:
    """An entry on its run, as far as it can be simulated.

    Attributes
    ----------
    entry: what was written.
    name: the entry's, or that of what a launch makes of it.
    schedule: what is judged: the rates of the first parameter group.
    groups: the schedules of all groups by name; empty without any.
    clock: the run's clock.
    total, end: the ticks of the run, and those of them at which the rate is defined.
    advice: what to do about a launch that calls ``step()`` otherwise than planned; None for the plan itself.
    """

    def __init__(self, entry: Entry, trace: Trace, advice: str | None = None) -> None:
        self.entry = entry
        self.advice = advice
        self.name = trace.name
        self.schedule: Schedule = trace.schedule
        self.groups: Mapping[str, Schedule] = trace.schedule.groups
        self.clock: Clock = trace.clock
        self.trace = trace
        self.total = trace.clock.total
        last = self.schedule.last_tick
        self.end = self.total if last is None else max(min(self.total, last + 1), 0)

    @property
    def spec(self) -> Mapping[str, Any]:
        return self.entry.spec

    @cached_property
    def _drawn(self) -> tuple[Curve, str | None]:
        empty = Curve(np.empty(0, dtype=np.int64), np.empty(0))
        if not self.end:
            return empty, None
        try:
            with np.errstate(all="ignore"):
                return reduce(self.schedule, 0, self.end, COLUMNS), None
        except SpecError as error:
            return empty, error.message

    @property
    def curve(self) -> Curve:
        """The ticks at which the rate is looked at: every one of a short run, and beside every knot of a long one."""
        return self._drawn[0]

    @property
    def broken(self) -> str | None:
        """Why the rates cannot be computed, where the library itself makes numbers of them that are none."""
        return self._drawn[1]

    @cached_property
    def sound(self) -> bool:
        """Whether all rates are numbers, so that shapes can be made out."""
        return bool(len(self.curve.rates) and np.isfinite(self.curve.rates).all())

    @cached_property
    def peak(self) -> float:
        return extremes(self.schedule, 0, self.end).peak

    @cached_property
    def peak_tick(self) -> int:
        return extremes(self.schedule, 0, self.end).peak_tick

    @cached_property
    def low(self) -> float:
        return extremes(self.schedule, 0, self.end).low

    @cached_property
    def anatomy(self) -> Anatomy:
        return Anatomy(self.schedule)

    @property
    def parts(self) -> list[Part]:
        return self.anatomy.parts

    @cached_property
    def ours(self) -> bool:
        """Whether all of it is of our own kinds, whose users write YAML, and none of a library's or a team's code."""
        return not any("." in part.kind or ":" in part.kind for part in self.parts)

    def ends(self) -> list[tuple[Part, int]]:
        """The parts that the run outlasts or ends in, and the ticks of the run at which each is over."""
        found = []
        for part in self.parts:
            over = min(math.inf if part.over is None else part.over, part.stop)
            if over < math.inf and part.start < self.end:
                found.append((part, int(over)))
        return found

    def at(self, tick: int) -> float:
        """The rate at a tick, which may lie beyond the run; NaN where it is not defined."""
        try:
            return self.schedule(int(tick))
        except SpecError:
            return math.nan

    def highest(self, start: int, stop: int) -> tuple[float, int]:
        """The highest rate of a range of ticks, and where."""
        found = extremes(self.schedule, start, stop)
        return found.peak, found.peak_tick

    def lowest(self, start: int, stop: int) -> tuple[float, int]:
        """The lowest rate of a range of ticks, and where."""
        found = extremes(self.schedule, start, stop)
        return found.low, found.low_tick

    def epoch(self, tick: int | None) -> int | None:
        """The epoch of a tick, where the steps per epoch are known."""
        if tick is None or self.clock.interval == "epoch":
            return tick
        return None if self.clock.steps_per_epoch is None else tick // self.clock.steps_per_epoch

    @property
    def unit(self) -> str:
        return self.clock.interval

    def ticks(self, count: float) -> str:
        """``1 epoch``, ``1,000 steps``."""
        return f"{count:,.0f} {self.unit}" + ("" if count == 1 else "s")

    def said(self, name: str) -> bool:
        """Whether the entry says a parameter, or a part of it does, instead of leaving it to its default."""
        return _holder(self.spec, name) is not None

    def written(self, name: str) -> Any:
        """What the entry says a parameter is, of a warm-up what it says of its length; None where it says nothing."""
        holder = _holder(self.spec, name)
        value = None if holder is None else holder[name]
        value = value.get("for") if isinstance(value, Mapping) else value
        return getattr(value, "value", value)

    def line(self, key: str | None) -> int | None:
        """The line where a key was written, or the entry itself."""
        holder = None if key is None else _holder(self.spec, key)
        found = None if holder is None else line_of(holder, key)
        return found or getattr(self.spec, "line", None)


def _holder(spec: Any, key: str) -> Mapping[str, Any] | None:
    """The outermost mapping of an entry that has a key, the entry itself first."""
    if isinstance(spec, Mapping):
        if spec.get(key) is not None:
            return spec
        values: Any = spec.values()
    elif isinstance(spec, (list, tuple)):
        values = spec
    else:
        return None
    nested = (Mapping, list, tuple, Located, LocatedList)
    found = (_holder(value, key) for value in values if isinstance(value, nested))
    return next((holder for holder in found if holder is not None), None)


def number(value: float) -> str:
    """A rate or a factor to four digits: ``0.1``, ``2.467e-05``."""
    return f"{value:.4g}"


def percent(share: float) -> str:
    """A share: ``79.6%``, ``0.03%``; 100% only where it is."""
    value = 100 * share
    if 0 < value < 0.01:
        return "less than 0.01%"
    if 99.9 <= value < 100:
        return f"{min(value, 99.99):.2f}%"
    return f"{value:.{0 if value > 100 else 1 if value >= 1 else 2}f}".removesuffix(".0") + "%"


def first_tick(ticks: npt.NDArray[np.int64], wrong: npt.NDArray[np.bool_], is_wrong: Callable[[int], bool]) -> int:
    """The first tick of which something holds, given where it was looked for and found at least once.

    Between two looks nothing is known: the first one may lie there.
    """
    first = int(np.flatnonzero(wrong)[0])
    low, high = (int(ticks[first - 1]) if first else -1), int(ticks[first])
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_wrong(middle) else (middle, high)
    return high
