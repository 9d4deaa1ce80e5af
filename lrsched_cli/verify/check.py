"""Carries out the rules: entries in, findings out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lrsched_cli.book import Entry
from lrsched_cli.errors import SpecError, must, nearest
from lrsched_cli.run import Run
from lrsched_cli.spec import run_of, trace_of
from lrsched_cli.trace import Trace
from lrsched_cli.verify.findings import SEVERITIES, Finding
from lrsched_cli.verify.rules import Rule, rules
from lrsched_cli.verify.rules_plan import WRONG_RATE, Fault, Plan

#: What a launch that calls ``step()`` otherwise can do to a plan; the other rules are about what is written.
LAUNCHED = (
    "warmup-too-long", "horizon-exceeded", "never-fires", "peak-never-reached", "rebounds", "not-annealed",
    "ends-mid-cycle", "goes-dead", "not-positive", "zero-rate", "momentum-out-of-range",
)  # fmt: skip

#: How a schedule made of parts refuses one that raises before its turn is over.
UNDEFINED = "is not defined past tick"


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
    chosen, left_out = codes(rules() if select is None else select, "select"), codes(ignore, "ignore")
    found: list[Finding] = []
    for entry in entries:
        try:
            with np.errstate(all="ignore"):
                found += judge(entry, chosen, left_out)
        except (ArithmeticError, ValueError) as error:
            if isinstance(error, SpecError):
                raise
            told = SpecError(f"has a number that is too large to compute with, or none at all ({error})")
            raise told.locate(entry=entry.name, file=entry.place.file, line=getattr(entry.spec, "line", None)) from None
    return found


def codes(names: Collection[str], where: str) -> set[str]:
    """Codes as a set; an unknown one is a ``SpecError`` with the nearest."""
    known = rules()
    for name in names:
        if name not in known:
            near = nearest(str(name), known) or "; lrsched check --explain all lists every one"
            raise SpecError(f"names no rule: {name}{near}", parameter=where)
    return set(names)


def judge(entry: Entry, chosen: Collection[str], ignored: Collection[str] = ()) -> list[Finding]:
    """The findings of one entry by some of the rules, the worst first; what a launch makes of it is judged too."""
    whole = complete(entry)
    # What is ignored is looked for all the same: what follows from it is not told either.
    ignored = codes_ignored(whole) | set(ignored)
    wanted = [rule for code, rule in rules().items() if code in chosen]
    try:
        trace = trace_of(whole.spec, whole.run, whole.place, whole.name, whole=False)
    except SpecError as error:
        code = _fault_of(error)
        if code is None:
            raise
        return [_refused(whole, rules()[code], error)] if code in chosen and code not in ignored else []
    found = _told(Plan(whole, trace), wanted)
    launched = _launched(whole, trace)
    if launched is not None:
        found += _told(Plan(whole, launched), [rule for rule in wanted if rule.code in LAUNCHED])
    kept = [finding for finding in found if finding.code not in ignored]
    return sorted(kept, key=lambda finding: SEVERITIES.index(finding.severity))


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
    advice = fault.advice
    if plan.name != plan.entry.name:
        advice = f"step the scheduler once an update, or plan for stepper {plan.entry.run.stepper}"
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


def codes_ignored(entry: Entry) -> set[str]:
    """The codes that an entry, or a part of it, says to ignore: a list of them, or a mapping to the reasons."""
    found: set[str] = set()
    for holder in _holders(entry.spec):
        said = holder["ignore"]
        line = getattr(holder, "lines", {}).get("ignore", getattr(holder, "line", None))
        try:
            found |= _read_ignore(said)
        except SpecError as error:
            raise error.locate(entry=entry.name, file=entry.place.file, line=line) from None
    return found


def _read_ignore(said: Any) -> set[str]:
    if isinstance(said, str):
        said = [said]
    if not isinstance(said, (list, tuple, Mapping)) or not all(isinstance(code, str) for code in said):
        raise must("ignore", "a list of codes, or a mapping of codes to reasons", said)
    if isinstance(said, Mapping):
        for code, reason in said.items():
            if not isinstance(reason, str) or not reason.strip():
                raise must(f"ignore.{code}", "the reason, as text", reason)
    return codes(said, "ignore")


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
