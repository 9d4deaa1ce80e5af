"""A plan's rates as a table, for libraries whose training loop is compiled."""

from __future__ import annotations

import numpy as np

from lrsched_cli.errors import SpecError, must, nearest
from lrsched_cli.integrations.plan import Plan
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.ticks import Array

#: The longest table that is handed to a compiled training loop: 16 MB of float32.
LONGEST_TABLE = 4_000_000


def rate_table(plan: Plan, library: str, group: str | None = None, ticks: int | None = None) -> tuple[Array, int]:
    """The rates of a plan for a library that asks for the rate of an update by its number, and the updates of a tick.

    Parameters
    ----------
    plan, library: what is asked for, and by whom (for messages).
    group: whose rates, where the plan has several parameter groups.
    ticks: length of the table; None for the run's ticks and the one after, or as far as the schedule is defined.

    Returns a float64 array and how many updates a tick lasts: 1, or those of an epoch. Raises ``SpecError`` where a
    metric drives the plan, where it is too long, or where its epochs are of unknown length.
    """
    schedule = plan.schedule
    if schedule.reacts:
        raise SpecError(f"reacts to a metric, and {library}'s schedules see only the update's number", entry=plan.name)
    updates = 1
    if plan.interval == "epoch":
        if plan.trace.clock.steps_per_epoch is None:
            told = f"{library} counts updates, and {plan.name} ticks by epoch"
            raise SpecError(f"{told}: say steps in its run, or steps_per_epoch too")
        updates = plan.trace.clock.steps_per_epoch
    schedule = _of_group(plan, library, group)
    last = schedule.last_tick
    if ticks is None:
        ticks = plan.total + 1 if last is None else min(plan.total, last) + 1
    if not isinstance(ticks, int) or isinstance(ticks, bool) or ticks < 1:
        raise must("ticks", "a whole number >= 1", ticks)
    if ticks > LONGEST_TABLE + 1:
        told = f"is too long for {library}: a table of its rates holds {LONGEST_TABLE} ticks at most, got {ticks}"
        raise SpecError(told, entry=plan.name)
    schedule.require(ticks - 1)
    inside = schedule.values(0, plan.total)[:ticks]
    return np.concatenate([inside, schedule(np.arange(plan.total, ticks))]), updates


def _of_group(plan: Plan, library: str, group: str | None) -> Schedule:
    """The schedule of a parameter group; of the only one, if none is named."""
    groups = plan.schedule.groups
    if group is None:
        if groups:
            names = ", ".join(groups)
            told = f"has {names}, and a schedule of {library} is one: say which, as in group={next(iter(groups))!r}"
            raise SpecError(told, parameter="groups", entry=plan.name)
        return plan.schedule
    if group not in groups:
        raise SpecError(f"has no parameter group {group}{nearest(str(group), groups)}", entry=plan.name)
    return groups[group]
