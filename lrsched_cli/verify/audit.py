"""Planned against actual: what a run's log says of its schedule, and what went wrong if it is not the plan's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from lrsched_cli.errors import SpecError
from lrsched_cli.logs.log import Log, Series
from lrsched_cli.logs.names import base_name
from lrsched_cli.run import Run
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.trace import Trace
from lrsched_cli.verify.causes import Cause, Setting
from lrsched_cli.verify.diagnosis import Diagnosis, diagnosed
from lrsched_cli.verify.evidence import Evidence, Planned, evidence_of
from lrsched_cli.verify.explain import Search
from lrsched_cli.verify.pairing import paired

#: What an audit may come to; only the first leaves the exit code at 0.
VERDICTS = ("match", "scaled", "shifted", "constant-after", "jump", "different", "missing", "unclear")


@dataclass(frozen=True)
class GroupAudit:
    """The audit of one parameter group.

    Attributes
    ----------
    name: the group's name in the plan, or in a plan without groups what the log calls it.
    column: what the log calls it; None where it was never logged.
    verdict: one of ``VERDICTS``.
    factor: ticks that the scheduler made for each that was planned, where it is ``scaled``.
    shift: how many ticks ahead of the plan the rates are, where it is ``shifted``: that of tick ``t`` is the plan's of
        tick ``t + shift``.
    first_difference: the first tick of the plan at which the log differs from it; None where it does not.
    max_relative_difference: the largest difference as a part of the plan's peak; None where nothing was logged.
    cause: what happened and what to do, in sentences.
    evidence: both sides of it; None where nothing was logged.
    """

    name: str
    column: str | None
    verdict: str
    cause: Cause
    factor: float | None = None
    shift: int | None = None
    first_difference: int | None = None
    max_relative_difference: float | None = None
    evidence: Evidence | None = field(default=None, compare=False)

    def document(self) -> dict[str, Any]:
        """What a program reads."""
        names = ("name", "verdict", "factor", "shift", "first_difference", "max_relative_difference")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Audit:
    """The audit of a log; ``main`` is the group that the verdict is of."""

    trace: Trace
    log: Log
    verdict: str
    main: GroupAudit
    groups: tuple[GroupAudit, ...]
    unit: Fraction
    notes: tuple[str, ...]

    @property
    def first_difference(self) -> int | None:
        """The first tick of the plan at which any group differs from it."""
        return min((g.first_difference for g in self.groups if g.first_difference is not None), default=None)

    @property
    def max_relative_difference(self) -> float | None:
        """The largest difference of any group, as a part of the peak of its plan."""
        return max(
            (g.max_relative_difference for g in self.groups if g.max_relative_difference is not None), default=None
        )

    def document(self) -> dict[str, Any]:
        """What a program reads."""
        scaled = self.verdict in ("scaled", "shifted")
        return {
            "verdict": self.verdict,
            "factor": self.main.factor if scaled else None,
            "shift": self.main.shift if scaled else None,
            "first_difference": self.first_difference,
            "max_relative_difference": self.max_relative_difference,
            "groups": [group.document() for group in self.groups],
        }


def audit(trace: Trace, log: Log, run: Run | None = None, variants: Mapping[str, Schedule] | None = None) -> Audit:
    """Compare a plan with what a run logged.

    Parameters
    ----------
    trace: the plan.
    log: the log.
    run: the plan's run, whose launch geometry names the usual causes.
    variants: other schedules that the run may have had by mistake, each with what it is: ``without its warm-up``.

    Raises ``SpecError`` where ticks of the plan and counts of the log have no common measure.
    """
    recounted = _from_one(log, len(trace)) if log.assumed and log.unit == trace.interval else None
    if recounted is not None:
        as_counted = audit(trace, recounted, run, variants)
        if as_counted.verdict == "match":
            return as_counted
    run = run or Run()
    unit, per_epoch = _unit(trace, log, run)
    setting = Setting(trace.interval, run.world_size or 1, run.grad_accumulation or 1, per_epoch, log.form)
    pairs, notes = paired(log, trace)
    groups: list[GroupAudit] = []
    beyond = 0
    for name, schedule, series in pairs:
        if series is None or not len(series):
            groups.append(_missing(name, series, log, setting))
            continue
        if schedule.reacts and series.measured:
            schedule = schedule.fed(series.measured[schedule.metric_mode or "min"])
        planned = Planned(schedule, len(trace), unit)
        evidence, past = evidence_of(series, planned)
        beyond = max(beyond, past)
        found = diagnosed(evidence, setting, variants or {} if not trace.schedule.groups else {})
        groups.append(_audited(name, series, evidence, found))
    verdict, main = _overall(groups)
    if not trace.schedule.groups and verdict == "different":
        main = _with_groups(main, groups)
    return Audit(trace, log, verdict, main, tuple(groups), unit, (*notes, *_notes(trace, log, setting, beyond)))


def _from_one(log: Log, total: int) -> Log | None:
    """The log counted from 1, where its counts look so: they end with the plan's length, or begin with 1.

    One from 1 to the last count from 0 is rather a log from 0 that lacks its first row.
    """
    ends = [(int(one.at.min()), int(one.at.max())) for one in log.series if len(one)]
    if not all(low >= 1 and (high == total or (low == 1 and high != total - 1)) for low, high in ends):
        return None
    series = tuple(replace(one, at=one.at - 1) for one in log.series)
    said = f"{log.says.replace(' 0 ', ' 1 ', 1)}, counted from 1 (--count-from 0 if not)"
    return replace(log, series=series, says=said, assumed=False)


def _with_groups(main: GroupAudit, groups: Sequence[GroupAudit]) -> GroupAudit:
    """The group that speaks for all, with the advice to plan groups where each has the plan's rates times a number."""
    times = {}
    for group in groups:
        found = (1.0, 0.0) if group.verdict == "match" else group.evidence and Search(group.evidence).ratio()
        if not found or found[1]:
            return main
        times[re.split(r"[/.]", base_name(group.name))[-1]] = found[0]
    if len(times) < 2:
        return main
    said = ",".join(f"{name}={factor:.4g}" for name, factor in times.items())
    return replace(main, cause=replace(main.cause, advice=f"plan the groups: --groups {said}"))


def _unit(trace: Trace, log: Log, run: Run) -> tuple[Fraction, int | None]:
    """Ticks of the plan that one count of the log is, and the updates an epoch where they are known."""
    per_epoch = trace.clock.steps_per_epoch or run.counted_steps_per_epoch or log.steps_per_epoch
    if trace.interval == log.unit:
        return Fraction(1), per_epoch
    if per_epoch is None:
        told = f"the plan ticks by {trace.interval} and the log counts {log.unit}s"
        raise SpecError(f"{told}: say --steps-per-epoch", file=log.name)
    return (Fraction(1, per_epoch) if log.unit == "step" else Fraction(per_epoch)), per_epoch


def _missing(name: str, series: Series | None, log: Log, setting: Setting) -> GroupAudit:
    why = f"group {name} was never logged"
    if series is not None:
        why += f": the column {series.name} is empty"
    elif setting.form == "transformers":
        why += ": the Trainer logs the rate of the first group only"
    columns = ", ".join(one.name for one in log.series)
    advice = f"the log has {columns}: log every group, or name its column with --y"
    return GroupAudit(name, None if series is None else series.name, "missing", Cause(why, advice))


def _audited(name: str, series: Series, evidence: Evidence, found: Diagnosis) -> GroupAudit:
    off = evidence.first_off
    tick = None if off is None else int(evidence.planned.ticks(evidence.at[off : off + 1])[0])
    return GroupAudit(
        name, series.name, found.verdict, found.cause, found.factor, found.shift, tick,
        evidence.largest if len(evidence) else None, evidence if len(evidence) else None,
    )  # fmt: skip


def _overall(groups: Sequence[GroupAudit]) -> tuple[str, GroupAudit]:
    """What the verdicts of some groups come to, and the group that speaks for them."""
    by_verdict = {group.verdict: group for group in reversed(groups)}
    wrong = [verdict for verdict in by_verdict if verdict not in ("match", "missing", "unclear")]
    if len(wrong) == 1:
        return wrong[0], by_verdict[wrong[0]]
    if wrong:
        worst = max((g for g in groups if g.verdict in wrong), key=lambda g: g.max_relative_difference or 0.0)
        return "different", worst
    for verdict in ("missing", "match", "unclear"):
        if verdict in by_verdict:
            return verdict, by_verdict[verdict]
    raise AssertionError("a log has a series")  # pragma: no cover


def _notes(trace: Trace, log: Log, setting: Setting, beyond: int) -> list[str]:
    """What a reader should know of how both sides were read."""
    notes = list(log.notes)
    if trace.schedule.reacts and not any(series.measured for series in log.series):
        notes.append(
            "the plan reacts to a metric: with another than its own it plans other rates (metrics: FILE:COLUMN)"
        )
    if log.total is not None and trace.interval == "step" and log.total != len(trace):
        notes.append(f"the trainer planned {log.total:,} updates, and the plan has {len(trace):,}")
    if beyond:
        notes.append(
            f"the log goes on past the plan's end, tick {len(trace):,}: {beyond:,} of its rates are not judged"
        )
    if setting.per_epoch is not None and trace.clock.steps_per_epoch is None and trace.interval != log.unit:
        notes.append(f"{setting.per_epoch:,} updates an epoch, as the log counts")
    if log.says.lower().startswith(("step t", "_step t")) and log.form == "wandb":
        notes.append("wandb's own step counts calls of wandb.log, which are updates only if it is called for each")
    longest = max(log.series, key=len)
    back = int((longest.at[1:] < longest.at[:-1]).sum())
    if back:
        times = "once" if back == 1 else f"{back:,} times"
        notes.append(f"the log's count goes back {times}: a run that was resumed, or several in one log")
    return notes
