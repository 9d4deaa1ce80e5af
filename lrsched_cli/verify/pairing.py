"""Which column of a log is which parameter group of a plan."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from lrsched_cli.logs.log import Log, Series
from lrsched_cli.logs.names import base_name, group_number
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.trace import Trace

#: Points that tell which group a lone column is of.
LOOKS = 64


def paired(log: Log, trace: Trace) -> tuple[list[tuple[str, Schedule, Series | None]], list[str]]:
    """Each group of the plan with the column of its rates, None where there is none; and what else to say.

    In a plan without groups every column is held against its one schedule.
    """
    groups = trace.schedule.groups
    if not groups:
        filled = [one for one in log.series if len(one)]
        notes = [f"the column {one.name} is empty" for one in log.series if not len(one)]
        if len(filled) > 1:
            notes.append("the plan has no groups: each column is held against its one schedule")
        return [(one.name, trace.schedule, one) for one in filled], notes
    found = _by_name(log.series, groups)
    rest = [one for one in log.series if all(one is not other for other in found.values())]
    free = [name for name in groups if name not in found]
    numbers = [group_number(one.name) for one in rest]
    if rest and all(number is not None for number in numbers):
        # Lightning counts groups from 1, others from 0.
        first = 0 if 0 in numbers else 1
        places = [number - first for number in numbers if number is not None]
        if len(set(places)) == len(places) and all(0 <= place < len(groups) for place in places):
            names = list(groups)
            found |= {names[place]: one for place, one in zip(places, rest, strict=True) if names[place] in free}
    elif len(rest) == 1 and free:
        found[max(free, key=lambda name: _agreement(rest[0], groups[name]))] = rest[0]
    else:
        found |= dict(zip(free, rest, strict=False))
    spare = [one.name for one in log.series if all(one is not other for other in found.values())]
    notes = [f"the plan has no group for {', '.join(spare)}"] if spare else []
    return [(name, schedule, found.get(name)) for name, schedule in groups.items()], notes


def _by_name(series: Sequence[Series], groups: Mapping[str, Schedule]) -> dict[str, Series]:
    found: dict[str, Series] = {}
    for one in series:
        ends = re.split(r"[/.]", base_name(one.name))[-1].lower()
        for name in groups:
            if ends == name.lower() and name not in found:
                found[name] = one
    return found


def _agreement(series: Series, schedule: Schedule) -> float:
    """The part of some points of a series that a schedule agrees with."""
    if not len(series):
        return 0.0
    looked = np.unique(np.linspace(0, len(series) - 1, LOOKS).astype(np.int64))
    at, last = series.at[looked], schedule.last_tick
    rates = schedule(at if last is None else np.minimum(at, last))
    return float(np.isclose(rates, series.rates[looked], rtol=1e-4, atol=0).mean())
