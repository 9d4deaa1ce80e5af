"""Carries out the rules: entries in, findings out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lrsched_cli.book import Entry
from lrsched_cli.document.located import line_of
from lrsched_cli.errors import SpecError, must, nearest
from lrsched_cli.run import Run
from lrsched_cli.spec import run_of, trace_of
from lrsched_cli.trace import Trace
from lrsched_cli.verify.findings import SEVERITIES, Finding, Judged, Silenced
from lrsched_cli.verify.launch import advice_on
from lrsched_cli.verify.rules import Rule, rules
from lrsched_cli.verify.rules_plan import WRONG_RATE, Fault, Plan

#: What a launch that calls ``step()`` otherwise can do to a plan; the other rules are about what is written.
LAUNCHED = (
    "warmup-too-long", "horizon-exceeded", "never-fires", "peak-never-reached", "rebounds", "not-annealed",
    "ends-mid-cycle", "goes-dead", "not-positive", "zero-rate", "momentum-out-of-range",
)  # fmt: skip

#: What is wrong with a plan that is longer than its run.
TOO_LONG = ("warmup-too-long", "never-fires", "not-annealed")
#: What is not found by looking at one entry's plan.
BESIDE = ("snapshot", "unused-ignore")
#: How a schedule made of parts refuses one that raises before its turn is over.
UNDEFINED = "is not defined past tick"


class Silence(NamedTuple):
    """That an entry says to ignore a rule: the reason, if it gives one, and the line where it was written."""

    reason: str
    line: int | None


def check(
    entries: Sequence[Entry], select: Collection[str] | None = None, ignore: Collection[str] = ()
) -> list[Finding]:
    """What is wrong with some entries: for each in turn, the worst first.

    Parameters
    ----------
    select: the codes to look for; None for all of them.
    ignore: codes to leave out, beside those that an entry's own ``ignore`` names.

    Raises ``SpecError`` for an unknown code, and for an entry that cannot be read or simulated at all.
    """
    return judged(entries, select, ignore).found


def judged(
    entries: Sequence[Entry],
    select: Collection[str] | None = None,
    ignore: Collection[str] = (),
    traces: Sequence[Trace | None] | None = None,
) -> Judged:
    """The same, with what the entries' own ``ignore`` silences beside it; ``traces`` are from ``simulated``."""
    chosen, left_out = codes(rules() if select is None else select, "select"), codes(ignore, "ignore")
    whole = Judged([], [])
    for entry, trace in zip(entries, traces or [None] * len(entries), strict=True):
        try:
            with np.errstate(all="ignore"):
                found, silenced = judge(entry, chosen, left_out, trace)
            whole.found.extend(found)
            whole.silenced.extend(silenced)
        except (ArithmeticError, ValueError) as error:
            if isinstance(error, SpecError):
                raise
            told = SpecError(f"has a number that is too large to compute with, or none at all ({error})")
            raise told.locate(entry=entry.name, file=entry.place.file, line=getattr(entry.spec, "line", None)) from None
    return whole


def codes(names: Collection[str], where: str) -> set[str]:
    """Codes as a set; an unknown one is a ``SpecError`` with the nearest."""
    known = rules()
    for name in names:
        if name not in known:
            near = nearest(str(name), known) or "; lrsched check --explain all lists every one"
            raise SpecError(f"names no rule: {name}{near}", parameter=where)
    return set(names)


def simulated(entry: Entry) -> Trace | None:
    """The trace of an entry as far as it goes; None where ``judge`` says why there is none."""
    try:
        with np.errstate(all="ignore"):
            return _simulated(complete(entry))
    except (ArithmeticError, ValueError):
        return None


def _simulated(whole: Entry) -> Trace:
    return trace_of(whole.spec, whole.run, whole.place, whole.name, whole=False)


def judge(entry: Entry, chosen: Collection[str], ignored: Collection[str] = (), trace: Trace | None = None) -> Judged:
    """The findings of one entry by some of the rules, the worst first; what a launch makes of it is judged too."""
    whole = complete(entry)
    # What is ignored is looked for all the same: what follows from it is not told either.
    silences = silences_of(whole)
    wanted = [rule for code, rule in rules().items() if code in chosen]
    try:
        trace = trace or _simulated(whole)
    except SpecError as error:
        code = _fault_of(error)
        if code is None:
            raise
        found = [_refused(whole, rules()[code], error)] if code in chosen else []
    else:
        found = _told(Plan(whole, trace), wanted)
        launched = _launched(whole, trace)
        if launched is not None:
            rules_of_it = [rule for rule in wanted if rule.code in LAUNCHED]
            really = _told(Plan(whole, launched, advice_on(whole, trace)), rules_of_it)
            # A plan may be too long on purpose, because its launch is too fast.
            true = {finding.code for finding in really}
            found = [finding for finding in found if finding.code not in TOO_LONG or finding.code in true] + really
        if "unused-ignore" in chosen:
            found += _unused(whole, silences, set(chosen) - {finding.code for finding in found})
    found = sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
    return silenced_by(silences, [finding for finding in found if finding.code not in ignored])


def silenced_by(silences: Mapping[str, Silence], found: Sequence[Finding]) -> Judged:
    """Some findings of an entry, those that it says to ignore by themselves."""
    told = [finding for finding in found if finding.code not in silences]
    return Judged(told, [Silenced(f, silences[f.code].reason) for f in found if f.code in silences])


def _unused(entry: Entry, silences: Mapping[str, Silence], clean: Collection[str]) -> Iterator[Finding]:
    """What an entry says to ignore of the rules that find nothing in it."""
    for code, silence in silences.items():
        elsewhere = silence.line is None and entry.place.file is not None  # in the file's defaults
        if code not in clean or code in BESIDE or elsewhere:
            continue
        message = f"ignore names {code}, which finds nothing here"
        advice = "Leave it out, so that it does not hide a fault one day."
        file = entry.place.file
        yield Finding("unused-ignore", "note", entry.name, message, advice, file=file, line=silence.line)


def _fault_of(error: SpecError) -> str | None:
    """The rule that says why a plan cannot even be put together; None where it is no fault of its rates."""
    if UNDEFINED in error.message:
        return "horizon-exceeded"
    return "not-positive" if WRONG_RATE.search(error.message) else None


def _refused(entry: Entry, rule: Rule, error: SpecError) -> Finding:
    """The finding of such a plan."""
    told = f"{error.parameter} {error.message}" if error.parameter else error.message
    advice = "Make each part as long as its turn." if UNDEFINED in error.message else "Change it, or clamp the rate."
    file = error.file or entry.place.file
    return Finding(rule.code, rule.severity, entry.name, told, advice, file=file, line=error.line)


def _told(plan: Plan, wanted: Sequence[Rule]) -> list[Finding]:
    """What some rules find in a plan, without what follows from other findings."""
    found = [(rule, fault) for rule in wanted for fault in _faults(rule, plan)]
    told = {rule.code for rule, fault in found if (fault.severity or rule.severity) != "note"}
    covered = {code for rule, _ in found if rule.code in told for code in rule.covers}
    return [_finding(plan, rule, fault) for rule, fault in found if fault.alone or rule.code not in covered]


def _launched(entry: Entry, trace: Trace) -> Trace | None:
    """What the launch makes of a trace, on the run that was meant, where a stepper says that it differs."""
    if entry.run.stepper is None:
        return None
    from lrsched_cli.stepper import overlaid

    try:
        meant, *others = overlaid(trace, entry.run)
    except SpecError as error:
        raise error.locate(entry=entry.name, file=entry.place.file) from None
    return Trace(others[0].name, others[0].schedule, meant.clock) if others else None


def complete(entry: Entry) -> Entry:
    """An entry that waits for nothing, with its own run laid over the file's."""
    whole = entry.overlaid({}, Run()) if entry.plan is not None else entry
    if isinstance(whole.spec, Mapping) and whole.spec.get("run") is not None:
        return replace(whole, run=run_of(whole.spec["run"], whole.place).over(whole.run))
    return whole


def _faults(rule: Rule, plan: Plan) -> Iterator[Fault]:
    if not rule.shape or plan.sound:
        yield from rule.find(plan)


def _finding(plan: Plan, rule: Rule, fault: Fault) -> Finding:
    advice = plan.advice or fault.advice
    return Finding(
        code=rule.code,
        severity=fault.severity or rule.severity,
        schedule=plan.name,
        message=fault.message,
        advice=f"{advice[:1].upper()}{advice[1:]}.",
        tick=fault.tick,
        epoch=plan.epoch(fault.tick),
        file=plan.entry.place.file,
        line=plan.line(fault.key),
    )


def silences_of(entry: Entry) -> dict[str, Silence]:
    """What an entry, or a part of it, says to ignore: a list of codes, or a mapping to the reasons."""
    found: dict[str, Silence] = {}
    for holder in _holders(entry.spec):
        said = holder["ignore"]
        line = line_of(holder, "ignore")
        try:
            reasons = _read_ignore(said)
        except SpecError as error:
            line = line or getattr(holder, "line", None)
            raise error.locate(entry=entry.name, file=entry.place.file, line=line) from None
        for at, (code, reason) in enumerate(reasons.items()):
            own = line and line_of(said, code if isinstance(said, Mapping) else at)
            found.setdefault(code, Silence(reason, own or line))
    return found


def _read_ignore(said: Any) -> dict[str, str]:
    """The reason of each code, empty where none is given."""
    if isinstance(said, str):
        said = [said]
    if not isinstance(said, (list, tuple, Mapping)) or not all(isinstance(code, str) for code in said):
        raise must("ignore", "a list of codes, or a mapping of codes to reasons", said)
    codes(said, "ignore")
    if not isinstance(said, Mapping):
        return dict.fromkeys(said, "")
    for code, reason in said.items():
        if not isinstance(reason, str) or not reason.strip():
            raise must(f"ignore.{code}", "the reason, as text", reason)
    return {code: " ".join(reason.split()) for code, reason in said.items()}


def _holders(spec: Any) -> Iterator[Mapping[str, Any]]:
    """The mappings of an entry that say what to ignore, its parts' among them."""
    if isinstance(spec, Mapping):
        if spec.get("ignore") is not None:
            yield spec
        for key, value in spec.items():
            if key in ("sequence", "product", "schedulers"):
                yield from _holders(value)
    elif isinstance(spec, (list, tuple)):
        for part in spec:
            yield from _holders(part)
