"""From an entry as it is written (a mapping) to a schedule, and from a schedule and a run to its trace."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lrsched_cli.errors import SpecError, must, nearest, shown
from lrsched_cli.kinds import find_kind, kind_named
from lrsched_cli.run import Clock, Group, Run, Scope, is_number
from lrsched_cli.schedules.averaging import Averaged
from lrsched_cli.schedules.base import AFTER, Schedule
from lrsched_cli.schedules.compose import (
    Clamp,
    Grouped,
    InSequence,
    Product,
    Repeat,
)
from lrsched_cli.schedules.operators import CLAMP, REPEAT, SWA, WARMUP, read_operator
from lrsched_cli.schedules.parameters import OPTIMIZERS, Param, params_of
from lrsched_cli.schedules.warmup import Warmup
from lrsched_cli.trace import Trace

#: What an entry may hold beside its kind's own parameters.
ENTRY_KEYS = (
    "kind", "sequence", "product", "lr", "run", "optimizer", "warmup", "after", "repeat", "clamp", "swa", "groups",
    "ignore",
)  # fmt: skip
OPERATORS = ("repeat", "warmup", "clamp", "swa", "groups")
DURATION = Param("duration", "", ge=0)
AFTER_CHOICE = Param("choice", "", choices=tuple(AFTER))


@dataclass(frozen=True)
class Place:
    """Where an entry was written, for messages and relative paths, and whether it may run ``python:`` code."""

    name: str | None = None
    file: str | None = None
    folder: Path = Path()
    allow_code: bool = False


def simulate(
    spec: Mapping[str, Any] | Schedule, run: Mapping[str, Any] | Run | None = None, *, allow_code: bool = False
) -> Trace:
    """The trace of a schedule on a run.

    Parameters
    ----------
    spec: an entry in the YAML's own form, such as ``{"kind": "cosine", "lr": 0.1, "warmup": "5ep"}``, or a schedule.
    run: ``{"epochs": 90}`` or the like, in the YAML's own form; None for the schedule's own length or 100 epochs.
    allow_code: whether a kind such as ``python:pkg.module:factory``, which is run, is allowed.

    Returns a :class:`~lrsched_cli.trace.Trace`. Raises ``SpecError`` (a ``ValueError``) on bad input.
    """
    outer = Run.of(run)
    if isinstance(spec, Schedule):
        clock = outer.clock(spec.own_length(vars(spec)))
        schedule = spec.resolve(Scope.of(clock, outer.lr))
        schedule.require(clock.total - 1)
        return Trace(spec.core.kind, schedule, clock)
    if not isinstance(spec, Mapping):
        raise must("spec", "a mapping such as {'kind': 'cosine'} or a schedule", spec)
    name = spec.get("kind") or next((form for form in FORMS if form in spec), "spec")
    return trace_of(spec, outer, Place(allow_code=allow_code), str(name))


def trace_of(spec: Mapping[str, Any], run: Run, place: Place, name: str, *, whole: bool = True) -> Trace:
    """The trace of an entry on a run that its own ``run`` is laid over.

    ``whole`` says that every rate of the run must be defined and finite. Without it the trace may be of a schedule that
    raises inside the run: its ``schedule.last_tick`` says where.
    """
    try:
        if isinstance(spec, Mapping) and spec.get("run") is not None:
            run = run_of(spec["run"], place).over(run)
        spec = _with_metrics(spec, place)
        clock = run.clock(_own_length(spec))
        stretch = max(run.world_size or 1, run.grad_accumulation or 1) if run.stepper is not None else 1
        schedule = build(spec, replace(Scope.of(clock, run.lr), stretch=stretch), place)
        if whole:
            schedule.require(clock.total - 1)
            _refuse_infinite(schedule, clock)
    except SpecError as error:
        raise error.locate(entry=place.name or name, file=place.file, line=_line(spec, error)) from None
    except (OverflowError, ValueError) as error:  # an infinity or the like where a length must be a whole number
        told = SpecError(f"has a number that is too large to compute with, or none at all ({error})")
        raise told.locate(entry=place.name or name, file=place.file, line=getattr(spec, "line", None)) from None
    return Trace(name, schedule, clock)


def clock_of(spec: Mapping[str, Any], run: Run, place: Place, name: str) -> Clock:
    """The clock that the trace of an entry has, where its durations cannot be turned to ticks yet."""
    try:
        return run.clock(_own_length(_with_metrics(spec, place)))
    except SpecError as error:
        raise error.locate(entry=place.name or name, file=place.file, line=_line(spec, error)) from None


def _refuse_infinite(schedule: Schedule, clock: Clock) -> None:
    """Refuse a rate that is no number where it is looked at: at the ends, the middle and the first knots of the run.

    Of rates that somebody's own code gave, which may be anything anywhere, all are looked at.
    """
    if _is_recorded(schedule):
        ticks, rates = np.arange(clock.total), schedule.values(0, clock.total)
    else:
        knots = np.empty(0)
        if not schedule.cumulative:
            knots = schedule.next_knot(np.linspace(0, clock.total - 1, 9).round())
        looks = np.concatenate(([0, clock.total // 2, clock.total - 1], knots[knots < clock.total]))
        # np.unique would load masked arrays for it.
        ticks = np.array(sorted(set(looks.astype(np.int64).tolist())))
        rates = schedule(ticks)
    wrong = np.flatnonzero(~np.isfinite(rates))
    if wrong.size:
        raise SpecError(f"the rate is {rates[wrong[0]]} at tick {ticks[wrong[0]]}: it must be finite")


def _is_recorded(schedule: Schedule) -> bool:
    return schedule.core.kind.startswith("python:") or any(map(_is_recorded, schedule.inner))


def overlaid(spec: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A copy of an entry with values replaced; what was written in a file keeps its lines."""
    out: Any = copy.copy(spec) if isinstance(spec, dict) else dict(spec)
    out.update(values)
    if hasattr(out, "lines"):
        out.lines = {key: line for key, line in out.lines.items() if key not in values}
    return out  # type: ignore[no-any-return]


def _with_metrics(spec: Any, place: Place) -> Any:
    """An entry whose metrics, where they name a file, are read: they say how long its run is."""
    kind = find_kind(spec["kind"]) if isinstance(spec, Mapping) and isinstance(spec.get("kind"), str) else None
    if kind is None or not isinstance(spec.get("metrics"), str) or "metrics" not in params_of(kind):
        return spec
    from lrsched_cli.metrics import parse_metrics  # only where a file is named

    return overlaid(spec, {"metrics": parse_metrics(spec["metrics"], place.folder)})


def run_of(value: Any, place: Place) -> Run:
    """A run as a file writes it; an error says the line."""
    try:
        return Run.of(value)
    except SpecError as error:
        raise error.locate(file=place.file, line=_line(value, error)) from None


def _line(spec: Any, error: SpecError) -> int | None:
    lines = getattr(spec, "lines", {}) if isinstance(spec, Mapping) else {}
    return lines.get(error.parameter, getattr(spec, "line", None))


def _own_length(spec: Any) -> tuple[int, str] | None:
    if not isinstance(spec, Mapping) or not isinstance(spec.get("kind"), str):
        return None
    return kind_named(spec["kind"]).own_length(spec)


def build(spec: Mapping[str, Any], scope: Scope, place: Place = Place()) -> Schedule:
    """The schedule of an entry or of a part of one, every duration turned to ticks; raises ``SpecError``."""
    if not isinstance(spec, Mapping):
        raise SpecError(f"must be a mapping such as {{kind: cosine}}, got {shown(spec)}")
    try:
        return _build(spec, scope, place)
    except SpecError as error:
        raise error.locate(file=place.file, line=_line(spec, error)) from None


def _build(spec: Mapping[str, Any], scope: Scope, place: Place) -> Schedule:
    form, params = _form(spec)
    operators = {key: spec[key] for key in OPERATORS if key in spec and key not in params and spec[key] is not None}
    if "groups" in operators:
        return _grouped(spec, operators["groups"], scope, place)
    if spec.get("lr") is not None and "lr" not in params:
        scope = replace(scope, lr=_positive("lr", spec["lr"]))
    elif "lr" in spec and is_number(spec["lr"]) and spec["lr"] > 0:
        scope = replace(scope, lr=spec["lr"])
    warm = read_operator("warmup", operators.get("warmup"), scope, WARMUP, short="for")
    ticks = warm.get("for", 0)
    inner = scope
    if warm and warm["clock"] == "prefix":
        inner = replace(scope, rest=scope.rest - ticks)
    inner = replace(inner, warmup=ticks)
    again = read_operator("repeat", operators.get("repeat"), scope, REPEAT, short="period")
    if again:
        inner = replace(inner, rest=again["period"], span=again["period"])
    return _operated(FORMS[form](spec, inner, place), again, warm, operators, scope)


def _operated(
    schedule: Schedule,
    again: Mapping[str, Any],
    warm: Mapping[str, Any],
    operators: Mapping[str, Any],
    scope: Scope,
) -> Schedule:
    """A schedule with its operators around it, in their order: repeat and warm-up as read, then clamp and swa."""
    if again:
        schedule = Repeat(body=schedule, lr=schedule.lr, **again)
    if warm:
        start = warm["start_lr"] if warm["start_lr"] is not None else warm["start_factor"] * schedule.lr
        schedule = Warmup(
            body=schedule, lr=schedule.lr, ticks=warm["for"], start=start,
            shape=warm["shape"], clock=warm["clock"], first=warm["first"],
        )  # fmt: skip
    if "clamp" in operators:
        bounds = read_operator("clamp", operators["clamp"], scope, CLAMP)
        if bounds["min_lr"] > bounds["max_lr"]:
            told = f"{bounds['min_lr']} > {bounds['max_lr']}"
            raise SpecError(f"must have min_lr <= max_lr, got {told}", parameter="clamp")
        schedule = Clamp(body=schedule, lr=schedule.lr, **bounds)
    if "swa" in operators:
        schedule = Averaged(body=schedule, lr=schedule.lr, **_averaging(operators["swa"], scope))
    return schedule


def _averaging(value: Any, scope: Scope) -> dict[str, Any]:
    """The parameters of ``swa``."""
    found = read_operator("swa", value, scope, SWA, short="start")
    if found["swa_lr"] is None and isinstance(value, Mapping):
        for name in ("anneal_epochs", "anneal_strategy"):
            if value.get(name) is not None:
                raise SpecError(f"needs swa_lr, the rate that it anneals to; got {name} alone", parameter="swa")
    return found


def _form(spec: Mapping[str, Any]) -> tuple[str, Mapping[str, Param]]:
    """Which of ``kind``, ``sequence`` and ``product`` an entry is, and the parameters of its own."""
    forms = [form for form in FORMS if form in spec]
    if len(forms) != 1:
        told = f"got {' and '.join(forms)}" if forms else f"got the keys {', '.join(map(str, spec)) or '(none)'}"
        near = "" if forms else next((near for key in spec if (near := nearest(str(key), FORMS))), "")
        raise SpecError(f"must have one of kind, sequence and product, {told}{near}")
    params: Mapping[str, Param] = {}
    if forms[0] == "kind":
        if not isinstance(spec["kind"], str):
            raise must("kind", "the name of a kind", spec["kind"])
        params = params_of(kind_named(spec["kind"]))
    known = [*params, *(key for key in ENTRY_KEYS if key not in FORMS), forms[0]]
    if "after" not in params and forms[0] != "sequence":
        known.remove("after")
    optimizer = spec.get("optimizer")
    if optimizer is not None and "optimizer" not in params:
        Param("choice", "", choices=OPTIMIZERS).read("optimizer", optimizer, None)
    for key in spec:
        if key not in known:
            error = SpecError(f"{spec.get('kind', forms[0])} has no parameter {key}{nearest(str(key), known)}")
            raise error.locate(line=getattr(spec, "lines", {}).get(key))
    return forms[0], params


def _kind(spec: Mapping[str, Any], scope: Scope, place: Place) -> Schedule:
    spec = _with_metrics(spec, place)
    kind = _permitted(spec["kind"], place)
    params = params_of(kind)
    given = {name: value for name, value in spec.items() if name in params and value is not None}
    return kind.from_params(given, scope)


def _permitted(name: str, place: Place) -> type[Schedule]:
    """A kind that may be built there: to build one of ``python:`` runs it."""
    if not name.startswith("python:"):
        return kind_named(name)
    if not place.allow_code:
        raise SpecError(f"is {shown(name)}, which is run: --allow-code permits that", parameter="kind")
    from lrsched_cli.external import kind_of

    return kind_of(name, place.folder)


def _sequence(spec: Mapping[str, Any], scope: Scope, place: Place) -> Schedule:
    entries = spec["sequence"]
    if not isinstance(entries, (list, tuple)) or not entries:
        raise must("sequence", "a list of schedules", entries)
    parts: list[Schedule] = []
    starts: list[int] = []
    continued: list[int] = []
    at: int = 0
    end: int | None = None
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise must("sequence", "a list of schedules such as {kind: constant, for: 80%}", entry)
        if parts:
            if end is None:
                raise SpecError(
                    f"part {index} needs for or until: only the last part may take the rest", parameter="sequence"
                )
            at = end
            starts.append(at)
        part, end = _part(entry, at, scope, place, parts[-1] if parts else None, starts)
        parts.append(part)
        if entry.get("lr") == "current":
            continued.append(index)
    after = AFTER_CHOICE.read("after", spec["after"] if spec.get("after") is not None else "hold", scope)
    if end is None and after != "hold":
        raise SpecError(f"{after} has nothing to act on: the last part has no end", parameter="after")
    return InSequence(
        parts=tuple(parts), starts=tuple(starts), stop=end, continued=tuple(continued), lr=scope.lr, after=after
    )


def _part(
    entry: Mapping[str, Any], at: int, scope: Scope, place: Place, before: Schedule | None, starts: Sequence[int]
) -> tuple[Schedule, int | None]:
    """One part of a sequence that begins at tick ``at``, and the tick at which it ends, if that is said."""
    spec: Any = overlaid(entry, {})  # which keeps the lines, as a comprehension would not
    spec.pop("for", None)
    spec.pop("until", None)
    try:
        end = None
        if entry.get("until") is not None:
            end = DURATION.read("until", entry["until"], scope)
        if entry.get("for") is not None:
            if end is not None:
                raise SpecError("stands beside until: give one of them", parameter="for")
            end = at + Param("duration", "").read("for", entry["for"], scope)
        if end is not None and end <= at:
            if entry.get("until") is None:
                raise must("for", ">= 1", end - at)
            raise must("until", f"> {at}, where the part begins", end)
        span = max(scope.rest - at, 1) if end is None else end - at
        inner = replace(scope, rest=span, span=scope.span if end is None else span)
        if spec.get("lr") == "current":
            if before is None:
                raise SpecError("is current, but no part comes before it", parameter="lr")
            spec["lr"] = before(at - (starts[-2] if len(starts) > 1 else 0) - 1)
        return build(spec, inner, replace(place, file=None)), end
    except SpecError as error:
        raise error.locate(file=place.file, line=_line(entry, error)) from None


def _product(spec: Mapping[str, Any], scope: Scope, place: Place) -> Schedule:
    entries = spec["product"]
    if not isinstance(entries, (list, tuple)) or not entries:
        raise must("product", "a list of schedules", entries)
    return Product(members=tuple(build(entry, scope, place) for entry in entries), lr=scope.lr)


FORMS: dict[str, Callable[[Mapping[str, Any], Scope, Place], Schedule]] = {
    "kind": _kind,
    "sequence": _sequence,
    "product": _product,
}


def _grouped(spec: Mapping[str, Any], groups: Any, scope: Scope, place: Place) -> Schedule:
    if not isinstance(groups, Mapping) or not groups:
        raise must("groups", "a mapping such as {backbone: 0.1, head: 1.0}", groups)
    base = _positive("lr", spec["lr"]) if spec.get("lr") is not None else scope.lr
    rates: dict[str, float] = {}
    for name, scale in groups.items():
        if str(name) in rates:
            raise SpecError(f"names {name} twice", parameter="groups")
        rates[str(name)] = base * _positive(f"groups.{name}", scale)
    members: dict[str, Schedule] = {}
    known: dict[str, Any] = {}
    for name, rate in rates.items():
        own = overlaid(spec, {"lr": rate, "groups": None})
        try:
            members[name] = build(own, replace(scope, group=Group(name, rates, known)), place)
        except SpecError as error:
            raise error.adding(f" (in group {name})") from None
    first = next(iter(members.values()))
    return Grouped(body=first, members=members, lr=first.lr)


def _positive(name: str, value: Any) -> float:
    if not is_number(value) or value <= 0:
        raise must(name, "a finite number > 0", value)
    return float(value)
