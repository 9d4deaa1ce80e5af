"""The entry and the run that a longer training has: what was as long as the old run is as long as the new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lrsched_cli.book import Entry
from lrsched_cli.errors import SpecError
from lrsched_cli.kinds import find_kind
from lrsched_cli.run import Clock, Duration, is_number
from lrsched_cli.schedules.parameters import params_of
from lrsched_cli.spec import overlaid, run_of

#: A parameter that changes with the run: its name, what it was and what it becomes.
Change = tuple[str, Any, Any]
#: The types of parameters that count ticks.
TICKS = ("duration", "ticks", "number", "integer")


def extended(entry: Entry, clock: Clock, total: int) -> tuple[Entry, list[Change]]:
    """An entry on a run of so many ticks, and its parameters that say the length of the run and so become longer."""
    changes: list[Change] = []
    spec, run = entry.spec, entry.run
    if isinstance(spec, Mapping):
        if spec.get("run") is not None:
            run = run_of(spec["run"], entry.place).over(run)
            spec = overlaid(spec, {"run": None})
        if total != clock.total:
            spec = _longer(spec, clock, {clock.total: total}, changes, "")
    return replace(entry, spec=spec, run=run.lasting(clock, total)), changes


def _longer(
    spec: Mapping[str, Any], clock: Clock, lengths: Mapping[int, int], changes: list[Change], path: str
) -> Mapping[str, Any]:
    """A spec with every number of ticks in ``lengths`` replaced, those of what comes after a warm-up too."""
    kind = find_kind(spec["kind"]) if isinstance(spec.get("kind"), str) else None
    params = params_of(kind) if kind is not None else {}
    known = dict(lengths)
    for start in _starts(spec, params, clock):
        known |= {old - start: new - start for old, new in lengths.items() if old > start}
    found: dict[str, Any] = {}
    for name, value in spec.items():
        ticks = _ticks(value, clock)
        counts = name in ("for", "until") or (name in params and params[name].type in TICKS)
        if counts and ticks in known:
            found[name] = known[ticks]
        elif name in ("epochs", "steps_per_epoch") or not isinstance(value, (list, tuple)):
            continue
        elif name == "schedulers" or name in ("sequence", "product"):
            found[name] = [
                _part(spec, i, part, clock, lengths, changes, f"{path}{name}[{i}].") for i, part in enumerate(value)
            ]
    per_epoch = spec.get("steps_per_epoch")
    if "pct_start" in params and spec.get("total_steps") is None and type(per_epoch) is type(spec.get("epochs")) is int:
        new = lengths.get(spec["epochs"] * per_epoch)
        if new is not None and new % per_epoch == 0:
            found["epochs"] = new // per_epoch
    changes += [(path + name, spec[name], new) for name, new in found.items() if not isinstance(new, list)]
    return overlaid(spec, found) if found else spec


def _part(
    spec: Mapping[str, Any], index: int, part: Any, clock: Clock, lengths: Mapping[int, int], changes: list[Change],
    path: str,
) -> Any:  # fmt: skip
    """A member of a sequence or a product; the last of a sequence takes what is left after the ones before it."""
    if not isinstance(part, Mapping):
        return part
    starts = _part_starts(spec, clock)
    start = starts[index] if starts is not None and index < len(starts) else 0
    if start is None:
        return part
    own = {old - start: new - start for old, new in lengths.items() if old > start and new > start}
    return _longer(part, clock, own if start else lengths, changes, path)


def _part_starts(spec: Mapping[str, Any], clock: Clock) -> list[int | None] | None:
    """Where the parts of a sequence begin, as far as that is said in ticks; None where they all begin at 0."""
    milestones = spec.get("milestones")
    if isinstance(milestones, (list, tuple)) and "schedulers" in spec:
        return [0, *(_ticks(milestone, clock) for milestone in milestones)]
    if "sequence" not in spec:
        return None
    starts: list[int | None] = [0]
    for part in spec["sequence"][:-1]:
        before = starts[-1]
        until, length = (
            _ticks(part.get(name), clock) if isinstance(part, Mapping) else None for name in ("until", "for")
        )
        starts.append(until if until is not None else None if length is None or before is None else before + length)
    return starts


def _starts(spec: Mapping[str, Any], params: Mapping[str, Any], clock: Clock) -> list[int]:
    """Ticks of a warm-up in front of a kind, which the kind's own length leaves out."""
    warm = None if "warmup" in params else spec.get("warmup")
    if isinstance(warm, Mapping):
        warm = warm.get("for") if warm.get("clock", "prefix") == "prefix" else None
    ticks = _ticks(warm, clock)
    return [ticks] if ticks else []


def _ticks(value: Any, clock: Clock) -> int | None:
    """A whole number of ticks, as it is written or as a duration; none for a share, which grows by itself."""
    if is_number(value):
        return int(value) if value == int(value) else None
    if not isinstance(value, str):
        return None
    try:
        duration = Duration.parse(value)
        return None if duration.unit == "%" else clock.ticks(duration)
    except SpecError:
        return None
