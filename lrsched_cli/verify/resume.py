"""What the rate does when a run is resumed from a checkpoint, perhaps to train longer than was planned.

A checkpoint holds the optimizer's state (each group's ``lr`` and ``initial_lr``) and the scheduler's. What a script
that was changed to a new total makes of them differs by library:

* A class of torch keeps all its parameters in its state: ``load_state_dict`` brings the old ``T_max``, ``total_steps``
  or ``milestones`` back, and the new ones are forgotten without a word.
* A ``LambdaLR``, and so every scheduler of transformers but the plateau's, keeps its function in the code: the new
  function goes on at the old tick. The first update after the resume still has the rate that the optimizer's state
  brought.
* A scheduler made anew (``rebuild``) begins at tick 0. Its constructor sets the rate where the class has a formula for
  it, and leaves or multiplies the optimizer's current one where the class works with factors.
* ``last_epoch=N`` makes the scheduler begin at tick ``N + 1``; most of torch's classes leave the current rate alone.

Read in torch 2.13 and transformers 5.23 (pytorch/pytorch#168044, huggingface/transformers#34053).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lrsched_cli.book import Entry
from lrsched_cli.dialects.torch_base import Group, TorchSchedule
from lrsched_cli.dialects.torch_phases import Node
from lrsched_cli.errors import SpecError, must
from lrsched_cli.run import Clock, is_number
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.compose import InSequence
from lrsched_cli.schedules.cycle import Follow
from lrsched_cli.schedules.parameters import params_of
from lrsched_cli.schedules.stepping import Every, Stepped
from lrsched_cli.trace import Trace
from lrsched_cli.verify.extended import Change, extended
from lrsched_cli.verify.namesakes import alone, namesake
from lrsched_cli.verify.resume_verdict import Verdict, judged
from lrsched_cli.verify.resumed import Followed, advanced, constructed, constructed_at, refuse_last_epoch

MODES = ("state-dict", "rebuild", "last-epoch")
#: When the optimizer's state is loaded: before the scheduler is made, after it, or never.
LOADED = ("before", "after", "never")
USUAL = {"state-dict": "after", "rebuild": "before", "last-epoch": "before"}
#: A change of the rate that is so many times what the curve does there by itself, or the other way, is a jump.
JUMP = 2.5


@dataclass(frozen=True)
class Checkpoint:
    """What is resumed, and how.

    Attributes
    ----------
    at: updates (or epochs) that are over: the next one has this number.
    total: the ticks of the resumed run, those before the checkpoint included.
    mode: one of ``MODES``: the scheduler's state is loaded, or it is made anew, or made with ``last_epoch``.
    loaded: one of ``LOADED``: when the optimizer's state is; None for what is usual with the mode.
    last_epoch: what the constructor is given in mode ``last-epoch``; None for ``at``, the scheduler's own count.
    """

    at: int
    total: int
    mode: str = "state-dict"
    loaded: str | None = None
    last_epoch: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise must("--mode", "state-dict, rebuild or last-epoch", self.mode)
        if self.loaded is not None and self.loaded not in LOADED:
            raise must("--optimizer-state", "before, after or never", self.loaded)
        if self.mode == "last-epoch" and self.loaded == "after":
            told = "before: torch raises KeyError where no group has an initial_lr yet"
            raise must("--optimizer-state", told, "after")
        if self.last_epoch is not None and self.mode != "last-epoch":
            raise SpecError("is for --mode last-epoch", parameter="--last-epoch")
        if self.last_epoch is not None and self.last_epoch < 0:
            raise must("--last-epoch", ">= 0", self.last_epoch)

    @property
    def order(self) -> str:
        """When the optimizer's state is loaded."""
        return self.loaded or USUAL[self.mode]

    @property
    def given(self) -> int:
        """The ``last_epoch`` of the constructor."""
        return self.at if self.last_epoch is None else self.last_epoch


@dataclass(frozen=True)
class Jump:
    """Where the rate changes by more than its curve does: from the rate of the tick before to that of the tick."""

    tick: int
    before: float
    after: float

    @property
    def size(self) -> float:
        return self.after - self.before

    @property
    def share(self) -> float | None:
        """The size as a part of the rate before; None where that is 0."""
        return self.size / self.before if self.before else None


@dataclass(frozen=True)
class Resumed:
    """What comes of a resume.

    Attributes
    ----------
    checkpoint: what was asked.
    planned: the trace of the old run, as it was planned.
    ran: the scheduler that ran it, which goes on past its end in its own way.
    wished: the trace of the same entry on the new run, had it been trained from the start.
    resumed: what the resumed run uses; it ends early where the scheduler raises.
    scheduler: what runs it, a class of torch or a LambdaLR.
    changes: the parameters that the new script has for the new total.
    spec: the entry with them.
    """

    checkpoint: Checkpoint
    planned: Trace
    ran: Schedule
    wished: Trace
    resumed: Trace
    scheduler: str
    changes: tuple[Change, ...]
    spec: Mapping[str, Any]

    @cached_property
    def jump(self) -> Jump | None:
        """The first jump at the resume, or None where the rate goes on smoothly."""
        at, old, new = self.checkpoint.at, self.ran, self.resumed.schedule
        last = len(self.resumed) - 1
        peak = max(float(np.abs(new(np.unique(np.linspace(0, last, 257).astype(np.int64)))).max()), 1e-300)
        moves = _moves(old, at - 2, at + 2) + _moves(new, at + 1, min(at + 4, last))
        least, most = JUMP * min(moves, default=0.0), JUMP * max(moves, default=0.0)
        noise = 1e-6 * peak
        for tick in range(at, min(at + 2, last) + 1):
            before, after = float(new(tick - 1)), float(new(tick))
            as_planned = _defined(old, tick) and abs(after - float(old(tick))) <= noise  # a drop may be planned there
            if not as_planned and not min(least, 0.0) - noise <= after - before <= max(most, 0.0) + noise:
                return Jump(tick, before, after)
        return None

    @cached_property
    def verdict(self) -> Verdict:
        """What it comes to, in a word."""
        return judged(self)

    @property
    def stops(self) -> str | None:
        """Why training stops before the new total, or right after its last update, if the scheduler raises."""
        tail, ticks = self.resumed.schedule.inner[-1], len(self.resumed)
        failure = getattr(tail.body if isinstance(tail, Stepped) else tail, "failure", None)
        if ticks < self.checkpoint.total:
            reason = "it is not defined further" if failure is None else failure.reason
            return f"{self.scheduler} raises at tick {ticks}: {reason}"
        if failure is None or self.resumed.schedule.last_tick != ticks - 1:
            return None
        # The step after the last update is to a tick that training does not need, but that step() refuses.
        ahead = ", as its clock is one ahead" if self.checkpoint.mode == "last-epoch" else ""
        said = f' ("Tried to step {ticks + 1} times")' if self.scheduler == "torch.OneCycleLR" else ""
        return f"{self.scheduler} raises at the last scheduler.step(){ahead}: {failure.reason}{said}"


def _defined(schedule: Schedule, tick: int) -> bool:
    return tick >= 0 and (schedule.last_tick is None or tick <= schedule.last_tick)


def _moves(schedule: Schedule, low: int, high: int) -> list[float]:
    """The changes between neighbouring ticks of a range, as far as they are defined; planned drops are left out."""
    ticks = [tick for tick in range(max(low, 0), high + 1) if _defined(schedule, tick)]
    rates = [float(schedule(tick)) for tick in ticks]
    moves = sorted((b - a for a, b in zip(rates, rates[1:], strict=False)), key=abs)
    return moves[:-1] if len(moves) > 1 else moves


def resume(entry: Entry, checkpoint: Checkpoint, planned: Trace | None = None) -> Resumed:
    """What an entry's rate does when its run is resumed; raises ``SpecError`` for what cannot be."""
    planned = planned or entry.trace()
    clock, at, total = planned.clock, checkpoint.at, checkpoint.total
    if not 1 <= at <= clock.total:
        raise must("--at", f"from 1 to {clock.total}, the ticks of the run", at)
    if total <= at:
        raise must("--new-total", f"> --at {at}", total)
    longer, changes = extended(entry, clock, total)
    wished = longer.trace() if total != clock.total else planned
    old, new = (namesake(trace.schedule, trace.clock.total) for trace in (planned, wished))
    if type(old) is not type(new):  # torch accepts one of them only
        old = new = None
    parts: tuple[Schedule, ...]
    if old is None or new is None:
        before = alone(planned.schedule)
        parts = _of_lambda(before, alone(wished.schedule), checkpoint)
    else:
        before = old
        parts = _of_class(old, new, checkpoint)
    starts = (at,) if len(parts) == 1 else (at, at + 1)
    schedule = InSequence(parts=(before, *parts), starts=starts)
    trace = _ended(f"{planned.name} (resumed)", schedule, replace(wished.clock, total=total))
    name = "LambdaLR" if old is None else old.kind
    known = [name for name, _, _ in changes]
    changes += [change for change in _differences(planned, wished) if change[0] not in known]
    return Resumed(checkpoint, planned, before, wished, trace, name, tuple(changes), longer.spec)


def _differences(old: Trace, new: Trace) -> list[Change]:
    """The parameters that have grown with the run although nobody wrote them."""
    one, other = old.schedule.core, new.schedule.core
    if type(one) is not type(other):
        return []
    pairs = ((name, getattr(one, name), getattr(other, name)) for name in params_of(type(one)))
    return [(name, a, b) for name, a, b in pairs if is_number(a) and is_number(b) and a != b]


def _ended(name: str, schedule: Schedule, clock: Clock) -> Trace:
    last = schedule.last_tick
    return Trace(name, schedule, clock if last is None else replace(clock, total=min(last + 1, clock.total)))


def _level(rate: float) -> Schedule:
    """The same rate throughout, 0 and below included."""
    return Follow(of=_NOWHERE, rule=lambda _: rate)


def _shifted(schedule: Schedule, by: int) -> Schedule:
    """A schedule whose clock is ahead."""
    return Stepped(body=schedule, pace=Every(1, before=by))


def _rate(schedule: Schedule, tick: int) -> float:
    schedule.require(tick)
    return float(schedule(tick))


def _of_lambda(old: Schedule, new: Schedule, checkpoint: Checkpoint) -> tuple[Schedule, ...]:
    """A function of the tick: the new one, from whatever tick the scheduler is at."""
    at, order = checkpoint.at, checkpoint.order
    if old.reacts or new.reacts:
        raise SpecError(f"{old.core.kind} inside another schedule: how it resumes is not known")
    if checkpoint.mode == "state-dict":
        # The first rate is the optimizer's own, or what the constructor left in it: that of tick 0.
        first = _rate(old, at) if order == "after" else _rate(new, 0)
        return _level(first), _shifted(new, at + 1)
    if checkpoint.mode == "last-epoch":
        return (_shifted(new, checkpoint.given + 1),)
    return (_level(_rate(old, at)), _shifted(new, 1)) if order == "after" else (new,)


def _of_class(old: Schedule, new: Schedule, checkpoint: Checkpoint) -> tuple[Schedule, ...]:
    """A class of torch."""
    at, order, mode = checkpoint.at, checkpoint.order, checkpoint.mode
    refused = mode == "last-epoch"
    if refused:
        refuse_last_epoch(new, order == "never", checkpoint.given)
    if not isinstance(old, TorchSchedule) or not isinstance(new, TorchSchedule):
        return _of_plateau(old, new, checkpoint)
    if mode == "state-dict" and order == "after":
        return (_shifted(old, at),)
    if mode == "rebuild" and order == "never":
        return (new,)
    group = _trained(old, at)

    def begin(begun: Group) -> Node:
        """The scheduler, with the group as it is left to the first update."""
        vars(begun).update(vars(group) if order != "never" else vars(Group(new.lr, new.lr if refused else None)))
        if mode == "last-epoch":
            return constructed_at(new, begun, checkpoint.given)
        node = constructed(new, begun)
        if mode == "state-dict":
            begun.levels, begun.swing = group.levels, group.swing
            return advanced(old, at)[0]
        if order == "after":
            vars(begun).update(vars(group))
        return node

    return (Followed(name=new.kind, begin=begin),)


def _trained(old: TorchSchedule, at: int) -> Group:
    """The optimizer's group after so many updates."""
    _, group = advanced(old, at)
    group.lr = _rate(old, at)
    return group


def _of_plateau(old: Any, new: Any, checkpoint: Checkpoint) -> tuple[Schedule, ...]:
    """A scheduler that hears a metric and only ever changes the optimizer's current rate."""
    if checkpoint.mode == "state-dict":
        follow = _shifted(old, checkpoint.at)
        rate = _rate(old, checkpoint.at)
        if checkpoint.order != "never" or rate == new.lr:
            return (follow,)
        raise SpecError(f"{old.kind} on a new optimizer: its cuts are not known", parameter="--optimizer-state")
    rate = _rate(old, checkpoint.at) if checkpoint.order != "never" else new.lr
    rest = list(new.metrics)[checkpoint.at :]
    return (replace(new, lr=rate).fed(rest),)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _Nowhere(Schedule):
    """A curve without knots."""

    def curve(self, t: Any) -> Any:
        return 0.0


_NOWHERE = _Nowhere()
