"""What is exported: a plan with its rates, and how far a schedule of another library is from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lrsched_cli.errors import SpecError
from lrsched_cli.export.lower import UnknownFormError, form_of
from lrsched_cli.export.outline import Segment, flattened, outline
from lrsched_cli.run import Scope
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.forms import Form
from lrsched_cli.schedules.parameters import params_of
from lrsched_cli.schedules.ticks import Array, filled
from lrsched_cli.spec import build
from lrsched_cli.trace import Trace

#: A run of so many ticks is compared at each of them; a longer one at so many and around every bend that is found.
EVERY_TICK = 200_000
FOLLOWING = "has rates that follow from each other, or from how others are rounded: no formula of the step gives them"
#: Rates that differ by less than this part of the peak are the same.
SAME = 1e-9
#: What rounding leaves of two equal rates, as a part of the base rate: a run of such remains is a run of zeros.
ROUNDING = 1e-15


@dataclass(frozen=True)
class Difference:
    """How far a schedule is from a plan: the largest distance as a part of the plan's peak, and the tick of it."""

    part: float
    tick: int

    @property
    def exact(self) -> bool:
        return self.part <= SAME

    @property
    def roughly(self) -> str:
        """The same where it was computed much as the library does, but not quite."""
        if self.part <= 1e-6:
            return "to about 1e-6 of the peak"
        return f"off by about {100 * self.part:.1g}% of the peak"

    def __str__(self) -> str:
        percent = 100 * self.part
        said = f"{percent:.0f}" if 10 <= percent < 1e6 else f"{percent:.2g}"
        return f"off by up to {said}% of the peak, at tick {self.tick}"


@dataclass(frozen=True)
class Plan:
    """A schedule on a run, with what an exporter asks of it.

    Attributes
    ----------
    trace: the schedule and its clock.
    spec: the entry as it was written, and ``place`` where, for the header.
    """

    trace: Trace
    spec: Mapping[str, Any]
    place: str

    @property
    def schedule(self) -> Schedule:
        return self.trace.schedule

    @property
    def total(self) -> int:
        return self.trace.clock.total

    @property
    def interval(self) -> str:
        return self.trace.clock.interval

    @cached_property
    def ticks(self) -> npt.NDArray[np.int64]:
        """The ticks at which rates are compared: all of a run that is not too long."""
        if self.total <= EVERY_TICK:
            return np.arange(self.total)
        spread = np.linspace(0, self.total - 1, EVERY_TICK // 2).round()
        bends = self.schedule.next_knot(spread)
        bends = bends[np.isfinite(bends)]
        around = np.concatenate([spread, *(bends + shift for shift in (-2, -1, 0, 1))])
        return np.unique(np.clip(around, 0, self.total - 1).astype(np.int64))

    @property
    def compared(self) -> str:
        """How many ticks were compared, in words."""
        return "every tick" if len(self.ticks) == self.total else f"{len(self.ticks)} of {self.total} ticks"

    @cached_property
    def rates(self) -> Array:
        """The plan's rates at :attr:`ticks`."""
        if len(self.ticks) == self.total:
            return self.schedule.values(0, self.total)
        return np.asarray(self.schedule(self.ticks))

    @cached_property
    def peak(self) -> float:
        return float(np.abs(self.rates).max())

    @property
    def _lr(self) -> float:
        lr = self.schedule.lr
        return float(lr) if isinstance(lr, (int, float)) else 0.0

    @cached_property
    def base(self) -> float:
        """The rate that the optimizer is made with: the plan's own base rate, or its peak where they are far apart."""
        lr = self._lr
        if not self.peak:
            return lr or 1.0
        known = "lr" in self.spec or 0.5 <= lr / self.peak <= 2 or np.isclose(self.rates, lr, rtol=SAME, atol=0).any()
        return lr if lr and known else self.peak

    @property
    def fit(self) -> str:
        """The line of a header that says that nothing changed."""
        given = " and its metrics" if self.schedule.reacts else ""
        return f"Exact: the rates are the plan's at {self.compared} of this run{given}, to 1e-9 of the peak."

    @property
    def fit_of_rates(self) -> str:
        """The same of what has rates and no momentum."""
        cycled = self.schedule.momentum is not None
        return self.fit + (" The momentum that the plan cycles is not in here." if cycled else "")

    @cached_property
    def form(self) -> Form:
        """The rates as a formula; raises ``UnknownFormError`` where no formula gives just these."""
        whole = form_of(self.schedule)
        form = flattened(whole, self.total)
        with np.errstate(all="ignore"):
            values = filled(form(self.ticks.astype(np.float64)), len(self.ticks))
        if not self.against(self.ticks, values).exact:
            raise UnknownFormError(FOLLOWING)
        # The last step of a loop asks for the rate after the run.
        after = self.total
        last = self.schedule.last_tick
        if last is None or last >= after:
            with np.errstate(all="ignore"):
                value = filled(form(np.array([float(after)])), 1)
            if not self.against(np.array([after]), value).exact:
                return flattened(whole, after + 1)
        return form

    @cached_property
    def outline(self) -> Sequence[Segment]:
        """The formulas one after the other; empty where there are none."""
        try:
            return outline(self.form, self.total)
        except UnknownFormError:
            return ()

    def against(self, ticks: npt.NDArray[np.int64], values: Array) -> Difference:
        """How far rates at some ticks are from the plan."""
        gaps = np.abs(values - (self.rates if ticks is self.ticks else self.schedule(ticks)))
        gaps[~np.isfinite(gaps)] = np.inf
        gaps[gaps <= ROUNDING * max(self.base, self._lr)] = 0.0
        # The first of those that are as large, but for rounding.
        at = int(np.flatnonzero(gaps >= gaps.max() * (1 - 1e-9))[0])
        return Difference(float(gaps[at] / self.peak) if self.peak else float(gaps[at]), int(ticks[at]))

    def own(self, library: str) -> Mapping[str, Any] | None:
        """The entry itself, where it is a kind of that library and nothing around it; durations are in its ticks."""
        schedule = self.schedule
        if schedule.core is not schedule or not schedule.kind.startswith(f"{library}."):
            return None
        return {"kind": schedule.kind, "lr": schedule.lr, **_in_ticks(self.spec, schedule)}

    def built(self, spec: Mapping[str, Any]) -> Schedule:
        """The schedule of another kind on the same clock; raises ``SpecError``."""
        return build(spec, Scope.of(self.trace.clock, self.base))

    def difference(self, spec: Mapping[str, Any]) -> Difference | None:
        """How far the kind of another library is from the plan, on the same clock; None where it is refused."""
        try:
            schedule = self.built(spec)
            last = schedule.last_tick
            # Even the last step of a loop asks for the rate after it.
            if last is not None and last < self.total and last != self.schedule.last_tick:
                return None
            return self.against(self.ticks, np.asarray(schedule(self.ticks)))
        except (SpecError, ValueError, ZeroDivisionError, OverflowError):
            return None

    @cached_property
    def by_group(self) -> dict[str, Plan]:
        """The plan of each parameter group, by its name as an identifier; one without a name where there are none."""
        if not self.schedule.groups:
            return {"": self}
        out: dict[str, Plan] = {}
        for name, member in self.schedule.groups.items():
            identifier = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
            unique, serial = identifier, 2
            while unique in out:
                unique, serial = f"{identifier}{serial}", serial + 1
            out[unique] = Plan(Trace(f"{self.trace.name}.{name}", member, self.trace.clock), self.spec, self.place)
        return out

    def is_said_by(self, spec: Mapping[str, Any]) -> bool:
        """Whether another kind gives the rates of all groups, each at the base rate of its own, and the momentum."""
        first, *others = self.by_group.values()
        if others and spec["lr"] != first.base:
            return False
        for own in (first, *others):
            found = own.difference(spec if own is first else {**spec, "lr": own.base})
            if found is None or not found.exact:
                return False
        return first.cycles_like(spec)

    def cycles_like(self, spec: Mapping[str, Any]) -> bool:
        """Whether another kind leaves the momentum alone where the plan does, and cycles it as the plan does."""
        mine, theirs = self.schedule.momentum, self.built(spec).momentum
        if mine is None or theirs is None:
            return mine is theirs
        return bool(np.allclose(mine(self.ticks), theirs(self.ticks), rtol=0, atol=1e-9))

    def nearest(
        self, candidates: Iterable[Mapping[str, Any]], *, momentum: bool = True
    ) -> tuple[Mapping[str, Any], Difference] | None:
        """The first candidate that is exact, else the one that is least off; None where none is a schedule at all.

        ``momentum``: only those that do with it what the plan does.
        """
        best: tuple[Mapping[str, Any], Difference] | None = None
        for spec in candidates:
            found = self.difference(spec)
            if found is None or (momentum and not self.cycles_like(spec)):
                continue
            if best is None or found.part < best[1].part:
                best = spec, found
            if best is not None and best[1].exact:
                break
        return best


def _in_ticks(spec: Mapping[str, Any], schedule: Schedule) -> dict[str, Any]:
    """The parameters of a kind that an entry gives, with the ticks that its durations come to."""
    out: dict[str, Any] = {}
    for name, param in params_of(type(schedule)).items():
        given = spec.get(name)
        if given is None or name == "lr":
            continue
        value = getattr(schedule, name)
        if param.type == "schedules" and all(isinstance(member, Schedule) for member in value):
            out[name] = [
                {"kind": member.kind, **_in_ticks(entry, member)} for entry, member in zip(given, value, strict=True)
            ]
        elif param.type in ("ticks", "duration") and isinstance(value, (int, float)):
            out[name] = value
        elif param.type == "durations" and isinstance(value, tuple):
            out[name] = [v if isinstance(v, (int, float)) else g for g, v in zip(given, value, strict=True)]
        elif isinstance(given, Mapping):  # JSON has no numbers for keys
            out[name] = {int(k) if str(k).lstrip("-").isdigit() else k: v for k, v in given.items()}
        else:
            out[name] = given
    return out
