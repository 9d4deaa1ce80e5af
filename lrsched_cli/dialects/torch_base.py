"""What the torch kinds share: the parameter group they act on, and the step by which one rate follows from another.

A torch scheduler holds no curve: each ``step()`` changes the optimizer's current rate. Alone that makes no
difference, and every kind has a closed form. Where several act on one optimizer (``SequentialLR``,
``ChainedScheduler``) it does, so a kind also says what one step, its constructor and the start of a segment do to a
rate that others have changed.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from lrsched_cli.dialects.foreign import Failing
from lrsched_cli.errors import SpecError, must
from lrsched_cli.schedules.parameters import param, params_of
from lrsched_cli.schedules.ticks import CHUNK, Array, Ticks, Times, written

TORCH = "torch.optim.lr_scheduler"

#: A rate that needs every rate before it is computed this far.
LONGEST_RECURSION = 10_000_000


class Step(NamedTuple):
    """What one ``step()`` makes of a rate: ``scale * (rate - center) + to``; each a number or an array over ticks."""

    scale: Any
    center: Any = 0.0
    to: Any = 0.0

    def __call__(self, rate: Any) -> Any:
        return self.scale * (rate - self.center) + self.to


@dataclass
class Group:
    """The optimizer's parameter group, as the constructors of schedulers read it and write to it."""

    lr: float
    initial_lr: float | None = None
    momentum: float | None = None
    swa_lr: float = 0.0
    #: OneCycleLR's initial, maximal and minimal rate.
    levels: tuple[float, float, float] | None = None
    #: The lowest and highest momentum of the last CyclicLR or OneCycleLR that cycles it.
    swing: tuple[float, float] | None = None

    def base(self) -> float:
        """The rate that a new scheduler takes for its base."""
        if self.initial_lr is None:
            self.initial_lr = self.lr
        return self.initial_lr


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TorchSchedule(Failing):
    """One class of torch, alone on an optimizer whose learning rate is ``lr``."""

    #: Whether its step sets the rate, whatever the rate was.
    sets: ClassVar[bool] = False
    #: Whether its constructor leaves the rate alone.
    starts_late: ClassVar[bool] = False
    #: Whether its clock counts its own steps only, and is not turned back at the start of a segment.
    counts_steps: ClassVar[bool] = False

    lr: float = param("number", 0.1, "The optimizer's learning rate.")

    def check(self) -> None:
        for name in params_of(type(self)):
            value = getattr(self, name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, float) and math.isnan(item):
                    raise must(name, "a number", item)

    # What it does to a rate that others change too. Clocks are those of the scheduler itself (``last_epoch``).

    def constructed(self, group: Group) -> Self:
        """The schedule with its base rate bound, after what its constructor does to the group."""
        bound = replace(self, lr=group.base())
        if not self.starts_late:
            group.lr = float(bound.step_to(np.zeros(1))(np.full(1, group.lr))[0])
        return bound

    def under(self, group: Group) -> Self:
        """The schedule with the levels that it reads from the group at every step."""
        return self

    def step_to(self, clock: Array) -> Step:
        """What the ``step()`` does that brings its clock to ``clock``."""
        return Step(0.0, 0.0, self.curve(clock))

    def entry(self) -> Step:
        """What the start of a segment does, ``_update_lr(0)``."""
        return Step(0.0, 0.0, self.curve(np.zeros(1)))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Chainable(TorchSchedule):
    """A class whose steps multiply the rate, or its distance from a center, by a factor."""

    @property
    def center(self) -> float:
        return 0.0

    @property
    def regular_until(self) -> float:
        """The last clock up to which the steps are the ratios of :meth:`part`."""
        return math.inf

    @abstractmethod
    def part(self, t: Times) -> Any:
        """The part of ``lr - center`` at each clock."""

    def curve(self, t: Times) -> Any:
        if self.center == 0:
            return self.part(t) * self.lr
        return self.part(t) * (self.lr - self.center) + self.center

    def entry(self) -> Step:
        return Step(0.0, 0.0, self.lr)


class Recursion:
    """The rates of ticks 0, 1, ..., each from the one before it by the same steps; computed as far as asked for."""

    def __init__(self, kind: str, first: float, steps: Callable[[Array], Sequence[Step]]) -> None:
        self.kind = kind
        self.steps = steps
        self.rates: Array = np.array([first], dtype=np.float64)

    def __call__(self, t: Times) -> Array:
        last = int(t.last if isinstance(t, Ticks) else t.max(initial=0.0))
        if last > LONGEST_RECURSION:
            raise SpecError(
                f"{self.kind} needs every rate before it and is computed up to tick {LONGEST_RECURSION:.0e}, got {last}"
            )
        if last >= len(self.rates):
            try:
                self._grow(min(max(last + 1, 2 * len(self.rates)), LONGEST_RECURSION + 1))
            except SpecError:  # further on than was asked for, perhaps
                self._grow(last + 1)
        if isinstance(t, Ticks) and t.step == 1:
            rates = self.rates[int(t.start) : last + 1]
        else:
            rates = self.rates[written(t).astype(np.intp)]
        if not np.isfinite(rates).all():
            raise SpecError(f"{self.kind} divides by zero, or overflows, by tick {last}")
        return rates

    def _grow(self, total: int) -> None:
        pieces = [self.rates]
        for low in range(len(self.rates), total, CHUNK):
            clock = np.arange(low, min(low + CHUNK, total), dtype=np.float64)
            with np.errstate(all="ignore"):
                pieces.append(self._followed(float(pieces[-1][-1]), clock))
        self.rates = np.concatenate(pieces)

    def _followed(self, rate: float, clock: Array) -> Array:
        """The rates at clocks in a row, given the rate before them."""
        steps = [Step(*(np.broadcast_to(part, clock.shape) for part in step)) for step in self.steps(clock)]
        if not any(step.center.any() or step.to.any() for step in steps):
            scale = np.prod([step.scale for step in steps], axis=0)
            return np.asarray(np.multiply.accumulate(np.concatenate(([rate], scale)))[1:])
        rates = []
        for tick in zip(*(zip(*(part.tolist() for part in step), strict=True) for step in steps), strict=True):
            for scale, center, to in tick:
                rate = scale * (rate - center) + to
            rates.append(rate)
        return np.array(rates)
