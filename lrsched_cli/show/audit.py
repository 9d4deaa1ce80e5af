"""An audit as text: the verdict with its cause, and both sides where they part."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lrsched_cli.logs.recorded import Logged, OnLogClock, recorded
from lrsched_cli.run import Clock
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.compose import Grouped
from lrsched_cli.show.axes import Stroke
from lrsched_cli.show.summary import printable
from lrsched_cli.trace import Trace
from lrsched_cli.verify.audit import Audit, GroupAudit

#: Logged ticks that are shown before the first difference, and from there on.
BEFORE, FROM = 3, 6
GAP = "  "
#: Curves up to which each has a colour of its own.
MOST_STROKES = 7


def document_text(audit: Audit) -> str:
    """The audit as a line of JSON."""
    return json.dumps(audit.document(), allow_nan=False) + "\n"


def headline(audit: Audit) -> str:
    """The verdict in a few words: ``scaled, factor 4``."""
    main = audit.main
    if audit.verdict == "scaled":
        return f"scaled, factor {main.factor:.6g}"
    if audit.verdict == "shifted":
        return f"shifted by {main.shift:+,}"
    if audit.verdict in ("constant-after", "jump") and main.first_difference is not None:
        return f"{audit.verdict}, first difference at {_tick(audit)} {main.first_difference:,}"
    return audit.verdict


def _tick(audit: Audit) -> str:
    return "epoch" if audit.trace.interval == "epoch" else "update"


def sentences(audit: Audit) -> list[str]:
    """What happened, and what to do; for several groups that differ, of the one that speaks for them."""
    main = audit.main
    named = len(audit.groups) > 1 and any(group.verdict != main.verdict for group in audit.groups)
    said = f"{main.name}: {main.cause.what}" if named and main.verdict != "missing" else main.cause.what
    return [printable(line) for line in (said, main.cause.advice) if line]


def size(audit: Audit) -> str:
    """How large the difference is, and over what."""
    largest = audit.max_relative_difference
    if largest is None:
        return ""
    points = sum(len(group.evidence) for group in audit.groups if group.evidence is not None)
    first = audit.first_difference
    where = "" if first is None else f", the first difference at {_tick(audit)} {first:,}"
    return f"{points:,} rates, off by {_percent(largest)} of the peak at most{where}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%" if share >= 1e-6 else "nothing" if share == 0 else f"{share:.1g}"


def rows(audit: Audit) -> list[tuple[str, ...]]:
    """Both sides around the first difference, a header first; only that where there is nothing to show."""
    counts = () if audit.unit == 1 else ("update" if audit.log.unit == "step" else "epoch",)
    header: tuple[str, ...] = (*counts, "tick" if counts else _tick(audit), "planned", "actual", "off by")
    group = audit.main
    evidence, off = group.evidence, None if group.evidence is None else group.evidence.first_off
    if evidence is None or off is None:
        return [header]
    places = range(max(off - BEFORE, 0), min(off + FROM, len(evidence)))
    ticks = evidence.planned.ticks(evidence.at)
    peak = evidence.planned.peak or 1.0
    found: list[tuple[str, ...]] = [header]
    for place in places:
        plan, rate = float(evidence.plan[place]), float(evidence.rates[place])
        apart = f"{100 * (rate - plan) / peak:+.3g}%" if evidence.off[place] else ""
        own = (f"{int(evidence.at[place]):,}",) * len(counts)
        found.append((*own, f"{int(ticks[place]):,}", f"{plan:.6g}", f"{rate:.6g}", apart))
    return found


def group_rows(audit: Audit) -> list[tuple[str, ...]]:
    """A row for each parameter group, a header first; only that where there is one group."""
    header = ("group", "verdict", "factor", "shift", "first", "off by")
    if len(audit.groups) < 2:
        return [header]
    return [header, *(_group_row(group) for group in audit.groups)]


def _group_row(group: GroupAudit) -> tuple[str, ...]:
    largest = group.max_relative_difference
    return (
        printable(group.name), group.verdict,
        "" if group.factor is None else f"{group.factor:.6g}", "" if group.shift is None else f"{group.shift:+,}",
        "" if group.first_difference is None else f"{group.first_difference:,}",
        "" if largest is None else _percent(largest),
    )  # fmt: skip


def plain_table(found: Sequence[tuple[str, ...]], left: int = 0) -> str:
    """Aligned columns; the first ``left`` of them begin at the left."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*found, strict=True)]
    lines = []
    for row in found:
        cells = [
            cell + " " * (width - cell_len(cell)) if place < left else " " * (width - cell_len(cell)) + cell
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(GAP.join(cells).rstrip())
    return "\n".join(lines) + "\n"


def rich_table(found: Sequence[tuple[str, ...]], left: int = 0) -> Any:
    """The same as a Rich table; what differs is bold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for place, title in enumerate(found[0]):
        table.add_column(Text(title), justify="left" if place < left else "right", no_wrap=True)
    for row in found[1:]:
        table.add_row(*map(Text, row), style="bold" if row[-1] else "dim")
    return table


def curves(audit: Audit) -> list[Trace]:
    """Both sides as traces on one clock, for a picture: the plan, and the rates of the groups that were logged."""
    trace, unit = audit.trace, audit.unit
    pace = int(unit) if unit >= 1 else 1
    plan = Trace(f"{trace.name}, planned", trace.schedule, trace.clock)
    if unit < 1:
        plan = Trace(plan.name, _on_log_clock(trace.schedule, unit), _longer(trace.clock, unit.denominator))
    named = {group.column: group.name for group in audit.groups}
    made: dict[str, Logged] = {
        named[one.name]: recorded(one, pace=pace) for one in audit.log.series if len(one) and one.name in named
    }
    if not made:
        return [plan]
    first = next(iter(made.values()))
    alone = len(made) == 1 and not trace.schedule.groups
    schedule: Schedule = first if alone else Grouped(body=first, members=made)
    last = max(int(one.at[-1]) for one in made.values())
    clock = replace(plan.clock, total=max(min(last + 1, plan.clock.total), 1))
    return [plan, Trace(f"{audit.log.name}, actual", schedule, clock)]


def strokes(traces: Sequence[Trace]) -> list[Stroke]:
    """How the curves are drawn: a log finely dashed over the plan, from its first rate on.

    Empty for the usual way: where no curve is a log's, or one has what a stroke cannot say, groups or a momentum.
    """
    schedules = [trace.schedule for trace in traces]
    if not any(isinstance(schedule, Logged) for schedule in schedules) or len(schedules) > MOST_STROKES:
        return []
    if any(schedule.groups or schedule.momentum is not None for schedule in schedules):
        return []
    return [
        Stroke(place, (0, (2, 2)), 1.2, min(int(trace.schedule.at[0]), len(trace) - 1))
        if isinstance(trace.schedule, Logged)
        else Stroke(place)
        for place, trace in enumerate(traces)
    ]


def _longer(clock: Clock, per_epoch: int) -> Clock:
    return Clock("step", clock.total * per_epoch, per_epoch, clock.tokens_per_step)


def _on_log_clock(schedule: Schedule, unit: Any) -> Schedule:
    per_tick = unit.denominator
    if schedule.groups:
        members = {name: OnLogClock(body=one, per_tick=per_tick) for name, one in schedule.groups.items()}
        return Grouped(body=next(iter(members.values())), members=members)
    return OnLogClock(body=schedule, per_tick=per_tick)
