"""What was meant, and what a launch does to it: the same schedule, its ``step()`` called by somebody else.

Who calls it, and the tick of the scheduler that update ``t`` = 0, 1, 2, ... then uses:

``optimizer-step``
    The loop, after every optimizer step: tick ``t``, as plans in steps are meant.
``micro-batch``
    The loop, after every batch, whether or not it ends an accumulation: the update that ends one uses tick
    ``grad_accumulation * (t + 1) - 1``, as the batches before its last have stepped the scheduler too. The shorter
    last accumulation of an epoch counts the batches that it has (huggingface/accelerate#963).
``accelerate``
    ``AcceleratedScheduler`` with ``split_batches=False``, its default. Its ``step()`` does nothing while gradients
    are only accumulated, and on an update it steps the scheduler once for each process, since a scheduler that was
    made for the batches of one process would be too slow otherwise: tick ``world_size * t``
    (huggingface/accelerate#2926). A scheduler with a ``total_steps`` (``OneCycleLR``) is not stepped past it, where it
    would raise: it stays at tick ``total_steps``, one past its end. A metric is passed on as often.
``epoch``
    The loop, at the end of every epoch: tick ``t // steps_per_epoch``.
``amp-skip:RATE``
    As ``optimizer-step``, but not where a GradScaler skips the update because gradients overflow, as Accelerate, and
    with it transformers, have it: after ``t`` updates of which ``floor(RATE * t)`` were skipped, evenly spread, tick
    ``t - floor(RATE * t)``. A plain loop steps the scheduler all the same, and then every update has the rate meant.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from lrsched_cli.errors import SpecError
from lrsched_cli.run import MAX_TICKS, Clock, Run, read_stepper
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.compose import Grouped
from lrsched_cli.schedules.stepping import Every, InEpochs, OnceIn, Pace, Skipping, Stepped
from lrsched_cli.trace import Trace

#: Updates at which a launch is looked at for rates that cannot be computed.
LOOKS = 257


def stepped(trace: Trace, run: Run) -> Trace | None:
    """What the launch makes of a trace, as ``NAME (accelerate)`` or the like; None where that is what was meant.

    Where the scheduler raises before the run is over, the trace ends at its last update: it is shorter than the one
    meant, and its schedule has a ``last_tick``. A plan in epochs of which batches are counted becomes one in steps.

    Raises ``SpecError`` where the run does not say enough of the geometry, naming what to add.
    """
    if run.stepper is None:
        return None
    name, share = read_stepper(run.stepper)
    try:
        return _stepped(trace, run, name, share)
    except SpecError as error:
        raise error.locate(entry=trace.name) from None


def overlaid(trace: Trace, run: Run) -> list[Trace]:
    """The trace that was meant and, where the launch does something else, the one that it gives; on one clock."""
    launched = stepped(trace, run)
    if launched is None:
        return [trace]
    if launched.interval == trace.interval:
        return [trace, launched]
    per_epoch = launched.clock.steps_per_epoch
    assert per_epoch is not None
    meant = _paced(trace.schedule, OnceIn(per_epoch))
    return [Trace(trace.name, meant, _in_steps(trace.clock, per_epoch)), launched]


def note(trace: Trace, run: Run) -> str | None:
    """What a reader should know of the stepper: why it changes nothing, or where the scheduler raises; else None."""
    if run.stepper is None:
        return None
    launched = stepped(trace, run)
    if launched is not None:
        return _on_end(launched, run)
    name, _ = read_stepper(run.stepper)
    if trace.schedule.reacts and name != "accelerate":
        return f"a metric drives {trace.kind}: stepper {run.stepper} says nothing about it, and it is shown as meant"
    if name == "optimizer-step" and trace.interval == "epoch":
        return "stepper optimizer-step needs steps_per_epoch to show a plan in epochs: it is shown as meant"
    if name in ("accelerate", "micro-batch"):
        geometry = "world_size" if name == "accelerate" else "grad_accumulation"
        return f"stepper {name} with a {geometry} of 1 is as meant"
    if name == "amp-skip" and trace.interval == "epoch":
        return "skipped updates do not change a scheduler that is stepped by epoch"
    return None


def _on_end(launched: Trace, run: Run) -> str | None:
    """What ends a launch, if its scheduler raises before the run is over."""
    if launched.schedule.last_tick != len(launched) - 1:
        return None
    try:
        launched.schedule.require(len(launched))
    except SpecError as error:
        return f"with stepper {run.stepper} the scheduler fails after {len(launched):,} {launched.interval}s: {error}"
    return None


def _stepped(trace: Trace, run: Run, name: str, share: Fraction) -> Trace | None:
    if trace.schedule.reacts:
        return _with_metrics(trace, run) if name == "accelerate" else None
    pace, clock = _pace(trace, run, name, share)
    return None if pace is None else _ended(f"{trace.name} ({run.stepper})", _paced(trace.schedule, pace), clock)


def _pace(trace: Trace, run: Run, name: str, share: Fraction) -> tuple[Pace | None, Clock]:
    """The pace of the scheduler, None where it is the one meant, and the clock of its updates."""
    clock, per_epoch = trace.clock, trace.clock.steps_per_epoch
    by_epoch = clock.interval == "epoch"
    pace: Pace | None = None
    if name == "accelerate":
        # A plan in epochs too: the call at the end of an epoch is made while gradients are in sync.
        world = _needed(run.world_size, name, "world_size")
        pace = Every(world, most=_most(trace.schedule)) if world > 1 else None
    elif name == "amp-skip":
        pace = None if by_epoch else Skipping(share)
    elif name == "epoch":
        pace = None if by_epoch else OnceIn(_needed(per_epoch, name, "steps_per_epoch"))
    elif name == "micro-batch" and not by_epoch:
        accumulated = _needed(run.grad_accumulation, name, "grad_accumulation")
        pace = _by_batch(run, accumulated) if accumulated > 1 else None
    elif name == "micro-batch":
        per_epoch = _needed(per_epoch, name, "steps_per_epoch")
        pace, clock = _by_batch(run, run.grad_accumulation or 1), _in_steps(clock, per_epoch)
    elif by_epoch and per_epoch is not None:
        pace, clock = Every(1), _in_steps(clock, per_epoch)
    return pace, clock


def _most(schedule: Schedule) -> float:
    """The tick past which Accelerate does not step a scheduler: its ``total_steps``, if it has one."""
    alone = schedule.body if isinstance(schedule, Grouped) else schedule
    return math.inf if alone.kind != "torch.OneCycleLR" or alone.length is None else alone.length + 1


def _by_batch(run: Run, accumulated: int) -> Pace:
    batches = run.batches_per_epoch
    if batches is None or batches % accumulated == 0:
        return Every(accumulated, before=accumulated - 1)
    return InEpochs(batches, accumulated)


def _needed(value: int | None, name: str, field: str) -> int:
    if value is None:
        raise SpecError(f"{name} needs {field} (--{field.replace('_', '-')})", parameter="stepper")
    return value


def _in_steps(clock: Clock, per_epoch: int) -> Clock:
    return replace(clock, interval="step", total=clock.total * per_epoch)


def _paced(schedule: Schedule, pace: Pace) -> Stepped:
    lr: dict[str, Any] = {"lr": schedule.lr} if schedule.lr > 0 else {}
    return Stepped(body=schedule, pace=pace, **lr)


def _ended(name: str, schedule: Stepped, clock: Clock) -> Trace:
    """A trace that ends where its schedule does."""
    last = schedule.last_tick
    total = clock.total if last is None else min(last + 1, clock.total)
    if total > 0 and schedule.tick_of(total - 1) > MAX_TICKS:
        raise SpecError(f"takes the scheduler past tick {MAX_TICKS:.0e}", parameter="stepper")
    known = _computed(schedule, total)
    if known == 0:
        schedule(0)
    if known < total:
        schedule, total = replace(schedule, until=known - 1), known
    return Trace(name, schedule, replace(clock, total=total))


def _computed(schedule: Stepped, total: int) -> int:
    """How many of the first updates have a rate that can be computed, as many looks show: an expression may not."""
    looks = sorted({*np.linspace(0, total - 1, LOOKS).round().astype(np.int64).tolist()}) if total > 0 else [0]
    if _has_rates(schedule, looks):
        return total
    bad = next(look for look in looks if not _has_rates(schedule, [look]))
    good = max((look for look in looks if look < bad), default=-1)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if _has_rates(schedule, [middle]) else (good, middle)
    return int(bad)


def _has_rates(schedule: Stepped, updates: list[int]) -> bool:
    try:
        return bool(np.isfinite(schedule(np.array(updates))).all())
    except SpecError:
        return False


def _with_metrics(trace: Trace, run: Run) -> Trace | None:
    """A metric-driven schedule that hears each metric once for every process."""
    world = _needed(run.world_size, "accelerate", "world_size")
    metrics = getattr(trace.schedule, "metrics", None)
    if world == 1 or metrics is None:
        return None
    heard = np.repeat(np.asarray(metrics, dtype=np.float64), world).tolist()
    return Trace(f"{trace.name} ({run.stepper})", _paced(trace.schedule.fed(heard), Every(world)), trace.clock)
