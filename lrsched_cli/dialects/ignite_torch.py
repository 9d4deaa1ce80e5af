"""What ignite's LRScheduler does with a scheduler of torch: it never calls ``step()``.

Before each update it sets the rate to the scheduler's ``get_lr()`` and then moves the scheduler's clock on by one. So
the first event asks for the clock at 0 once more, after the constructor did, and what counts steps never moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrsched_cli.dialects.foreign import Failure
from lrsched_cli.dialects.ignite_base import Course, Entry, Group, Values
from lrsched_cli.dialects.torch import KINDS as TORCH_KINDS
from lrsched_cli.dialects.torch_base import Chainable, TorchSchedule
from lrsched_cli.dialects.torch_compose import Composed
from lrsched_cli.dialects.torch_cycle import CosineAnnealingWarmRestarts, Cycling, OneCycleLR, ReduceLROnPlateau
from lrsched_cli.dialects.torch_ramp import SWALR, CosineAnnealingLR, PolynomialLR
from lrsched_cli.errors import SpecError, must, nearest, shown
from lrsched_cli.run import Scope
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.falls import Wave
from lrsched_cli.schedules.forms import Form, Level, Of, Phases, Transition, then
from lrsched_cli.schedules.parameters import params_of
from lrsched_cli.schedules.ticks import Array, Times


@dataclass(frozen=True)
class Part(Form):
    """The part of its rate that a scheduler of torch leaves, times a number."""

    schedule: Chainable
    scale: float

    def __call__(self, t: Times) -> Any:
        return self.schedule.part(t) * self.scale

    def next_knot(self, t: Array) -> Array:
        return self.schedule.next_knot(t)


@dataclass(frozen=True)
class Momentum(Form):
    """The momentum that a scheduler of torch sets."""

    schedule: Cycling

    def __call__(self, t: Times) -> Any:
        return self.schedule.momentum_curve(t)

    def next_knot(self, t: Array) -> Array:
        return self.schedule.next_knot(t)


def constructed(schedule: TorchSchedule, group: Group) -> TorchSchedule:
    """The schedule as its constructor leaves it, and the group's rate to the last digit: ignite compares it."""
    before = group.lr
    bound = schedule.constructed(group)
    exact = group.lr
    if isinstance(schedule, SWALR):
        exact = before
    elif isinstance(schedule, OneCycleLR) and schedule.anneal_strategy == "cos":
        exact = schedule.max_lr + (schedule.max_lr / schedule.div_factor - schedule.max_lr) / 2 * 2
    if math.isclose(group.lr, exact, rel_tol=1e-12):
        group.lr = exact
    return bound


def driven(schedule: TorchSchedule, group: Group, clock: int) -> Course:
    """A scheduler of torch on the optimizer, bound to its group, whose first event asks for the rate at ``clock``."""
    moves_first = isinstance(schedule, CosineAnnealingWarmRestarts)  # ignite gives it a get_lr() of its own
    clock = max(clock, 1) if moves_first else clock
    failure = _failure(schedule, clock)

    def begin(entry: Entry) -> Values:
        now = schedule.under(group)
        at = clock + 1 if moves_first and entry.asked else clock
        cycles = isinstance(now, Cycling) and now.cycle_momentum
        return _rates(now, entry.rate, at), then(-at, Momentum(now)) if cycles else None  # type: ignore[arg-type]

    def ask(asked: Group) -> float:
        if failure is not None and failure.tick == 0:
            return math.nan
        now = schedule.under(asked)
        if isinstance(now, Cycling):
            asked.momentum = now.momentum_at(np.array([float(clock)]), asked.momentum)
        return _first(now, asked.lr, clock)

    return Course(begin, ask, failure)


def _first(schedule: TorchSchedule, rate: float, clock: int) -> float:
    """What ``get_lr()`` gives at a clock, given the optimizer's rate."""
    if isinstance(schedule, SWALR):
        return rate if schedule.anneal_epochs else schedule.swa_lr
    if isinstance(schedule, CosineAnnealingLR) and clock > 0:
        return float(_wave(schedule)(np.array([float(clock)]))[0])
    with np.errstate(all="ignore"):
        return float(np.ravel(schedule.step_to(np.array([float(clock)]))(np.array([rate])))[0])


def _failure(schedule: TorchSchedule, clock: int) -> Failure | None:
    """The event at which torch raises."""
    if isinstance(schedule, CosineAnnealingLR) and schedule.T_max == 0:
        return Failure(0, "T_max is 0")
    if isinstance(schedule, PolynomialLR) and schedule.total_iters == clock == 0:
        return Failure(0, "total_iters is 0")
    found = schedule.failure
    return found and Failure(max(found.tick - clock, 0), found.reason)


def _wave(schedule: CosineAnnealingLR) -> Form:
    """The cosine by the formula that torch has for a clock that was set: the rate before does not count."""
    return Transition(schedule.lr, schedule.eta_min, abs(schedule.T_max) or 1, Wave())


def _rates(schedule: TorchSchedule, rate: float, clock: int) -> Form:
    """The rates of the events, given the rate before the first one."""
    first = _first(schedule, rate, clock)
    if isinstance(schedule, SWALR):
        return Level(first)
    if isinstance(schedule, CosineAnnealingLR):
        wave = then(-clock, _wave(schedule))
        return wave if clock else Phases((1.0,), (Level(first), wave))
    if not isinstance(schedule, Chainable):
        return then(-clock, Of(schedule))
    # Every later rate is made from the first one, by the ratios of the parts.
    with np.errstate(all="ignore"):
        part = float(np.ravel(np.broadcast_to(schedule.part(np.array([float(clock)])), 1))[0])
    # Where none is left, none comes back: torch raises instead.
    return then(-clock, Part(schedule, first / part)) if part else Level(first)


def torch_member(entry: Mapping[str, Any], place: str, optimizer: str, scope: Scope) -> TorchSchedule:
    """A scheduler of torch from its mapping, on the optimizer of the kind it stands in."""
    params = {name: value for name, value in entry.items() if name != "kind" and value is not None}
    kind = TORCH_KINDS.get(entry["kind"])
    if kind is None:
        near = nearest(str(entry["kind"]), TORCH_KINDS)
        raise SpecError(f"must be a kind of torch, got {shown(entry['kind'])}{near}", parameter=place)
    if "lr" in params:
        raise SpecError("has no lr of its own: it shares the optimizer", parameter=place)
    if params.get("optimizer", optimizer) != optimizer:
        raise SpecError(f"must have the optimizer of the whole, {optimizer}", parameter=place)
    params.pop("optimizer", None)
    if "optimizer" in params_of(kind):
        params["optimizer"] = optimizer
    try:
        made = kind.from_params(params, scope)
    except SpecError as error:
        raise inside(place, error) from None
    check_torch(made, place)
    return made  # type: ignore[return-value]


def check_torch(member: Schedule, place: str) -> None:
    """Refuse what has no ``get_lr()``."""
    if isinstance(member, (Composed, ReduceLROnPlateau)):
        told = f"must have a get_lr() of its own, and {member.kind} has none (ignite raises NotImplementedError)"
        raise SpecError(told, parameter=place)
    if not isinstance(member, TorchSchedule):
        raise must(place, "a kind of torch", member)


def inside(place: str, error: SpecError) -> SpecError:
    """An error of a scheduler inside another, with its place."""
    if error.parameter is None:
        return SpecError(f"{place}: {error.message}")
    error.parameter = f"{place}.{error.parameter}"
    return error
