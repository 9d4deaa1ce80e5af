"""What stepping a user's scheduler gave, as a schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from lrsched_cli.errors import SpecError, UserCodeError
from lrsched_cli.schedules.base import Mark, Schedule, next_of
from lrsched_cli.schedules.parameters import Metrics
from lrsched_cli.schedules.ticks import Array, Ticks, Times, written

#: Two rates are on one line with the next where it is off by no more than this part of the largest.
STRAIGHT = 1e-12
#: The most ticks that are stepped: this takes minutes.
LONGEST = 10_000_000


class Break(NamedTuple):
    """Where the user's code raised while it was stepped: the tick whose rate is not known, why, and its traceback."""

    tick: int
    reason: str
    traceback: str


class Stepping(Protocol):
    """What gave the rates, and can be asked for more of them."""

    @property
    def last(self) -> int:
        """The last tick that was asked for first."""

    def run(self, last: int | None = None) -> Mapping[str, Recorded]:
        """The schedule of each group up to a tick."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Recorded(Schedule):
    """The rates of the first ticks, one by one; the code is run again where somebody asks for later ones.

    Attributes
    ----------
    word: what gave them, such as ``python:pkg.module:factory``.
    rates: one for each tick from 0 on.
    momenta: the momentum or beta1 at each tick, where it changes; else None.
    end: where and why the code raised; None where it was stepped as far as the run asked for.
    settings: what else it was given, by name: the optimizer, its arguments.
    remarks: what a reader of the rates should know.
    stepping: what runs the code again; None where there is no more to come.
    part: the group that this is, and whether it is the group's momentum.
    """

    cumulative = True

    word: str
    rates: Metrics
    momenta: Metrics | None = None
    end: Break | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    remarks: tuple[str, ...] = field(default=(), compare=False)
    stepping: Stepping | None = field(default=None, compare=False)
    part: tuple[str, bool] = ("", False)

    @property
    def kind(self) -> str:  # type: ignore[override]  # each is a kind of its own
        return self.word

    def curve(self, t: Times) -> Any:
        last = t.last if isinstance(t, Ticks) else t.max(initial=0.0)
        rates = self._known(int(last)).rates.values
        if isinstance(t, Ticks) and t.step == 1 and t.start == int(t.start) and t.start >= 0 and t.last < len(rates):
            return rates[int(t.start) : int(t.last) + 1]
        # A clock that is stretched falls between two ticks, and a look ahead beyond the last.
        return rates[np.clip(np.floor(written(t)), 0, len(rates) - 1).astype(np.intp)]

    def _known(self, tick: int) -> Recorded:
        """What is known up to a tick: this, or what running the code once more gives."""
        if tick < len(self.rates) or self.end is not None or self.stepping is None:
            return self
        further: Recorded | None = vars(self).get("_further")
        if further is None or (tick >= len(further.rates) and further.end is None):
            # Twice as far as asked for, so that asking tick by tick does not run it as often.
            group, is_momentum = self.part
            further = self.stepping.run(min(max(tick, 2 * self.stepping.last), LONGEST))[group]
            if is_momentum:
                held = Metrics(np.full(len(further.rates), self.rates[-1]))
                further = replace(further, rates=further.momenta or held)
            object.__setattr__(self, "_further", further)
        return further

    @cached_property
    def _knots(self) -> Array:
        """The ticks at which the rate leaves the line through the two before."""
        rates = self.rates.values
        with np.errstate(all="ignore"):
            off = ~(np.abs(np.diff(rates, 2)) <= STRAIGHT * np.abs(rates).max(initial=0.0))
        bent = np.flatnonzero(off) + 2
        if len(rates) > 1 and rates[1] != rates[0]:
            bent = np.concatenate([[1], bent])
        return np.unique(np.concatenate([bent, bent - 1])).astype(np.float64)

    def next_knot(self, t: Array) -> Array:
        end = len(self.rates) - 1
        beyond = t + 1 if self.end is None and self.stepping is not None else np.full(t.shape, np.inf)
        return np.where(t < end, np.minimum(next_of(self._knots, t), end), beyond)

    @property
    def failure(self) -> Break | None:
        """Where the code raises, if it is known to."""
        return self.end

    @property
    def last_tick(self) -> int | None:
        return len(self.rates) - 1 if self.end is not None or self.stepping is None else None

    @property
    def momentum(self) -> Schedule | None:
        if self.momenta is None:
            return None
        return Recorded(
            lr=self.lr,
            word=self.word,
            rates=self.momenta,
            end=self.end,
            stepping=self.stepping,
            part=(self.part[0], True),
        )

    def require(self, tick: int) -> None:
        if tick > LONGEST:
            raise SpecError(f"{self.word} is stepped tick by tick, up to {LONGEST:.0e} of them, got {tick}")
        known = self._known(tick)
        if known.end is not None and tick >= known.end.tick:
            raise UserCodeError(f"{self.word} raises at tick {known.end.tick}: {known.end.reason}", known.end.traceback)
        super().require(tick)

    @property
    def marks(self) -> tuple[Mark, ...]:
        return ()

    def notes(self, total: int) -> tuple[str, ...]:
        return self.remarks


def values_of(rates: Sequence[float]) -> Metrics:
    """Rates as a schedule holds them."""
    return Metrics(np.asarray(rates, dtype=np.float64))
