"""A schedule with everything known about it written out, so that two plans that mean the same read the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from lrsched_cli.external.recorded import Recorded
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.parameters import Metrics

#: Digits of a number: those that tell two plans apart, and not two processors.
DIGITS = 12
#: A list that is longer is told by its length and a digest.
LONGEST = 24
#: What of a schedule says nothing that the rest does not.
LEFT_OUT: dict[type[Schedule], tuple[str, ...]] = {Recorded: ("rates", "momenta", "end", "remarks", "stepping", "part")}


def plan_lines(schedule: Schedule) -> list[str]:
    """A line for a schedule and, indented below it, one for each that it is made of.

    Every duration is in ticks and every default is filled in, so neither the order of keys nor the spelling of a
    value shows.
    """
    return list(_lines(schedule, ""))


def digest_of(lines: Sequence[str]) -> str:
    """What stands for a plan: 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _lines(schedule: Schedule, label: str) -> Iterator[str]:
    own: list[str] = []
    inner: list[tuple[str, Schedule]] = []
    for name, value in _fields(schedule):
        if isinstance(value, Schedule):
            inner.append(("", value))
        elif isinstance(value, Mapping) and value and all(isinstance(v, Schedule) for v in value.values()):
            inner += [(f"{shown(str(key))} ", member) for key, member in value.items()]
        elif isinstance(value, (tuple, list)) and value and all(isinstance(v, Schedule) for v in value):
            inner += [("", member) for member in value]
        else:
            own.append(f"{name}={shown(value)}")
    yield label + " ".join([schedule.kind, *own])
    for name, member in inner:
        for line in _lines(member, name):
            yield f"  {line}"


def _fields(schedule: Schedule) -> Iterator[tuple[str, Any]]:
    if schedule.kind == "groups":  # its body is the first of them
        yield "members", schedule.groups
        return
    left_out = LEFT_OUT.get(type(schedule), ())
    for field in dataclasses.fields(schedule):
        if field.name not in left_out:
            yield field.name, getattr(schedule, field.name)


def shown(value: Any) -> str:
    """A value on one line, the same for numbers that are equal but for their last bits."""
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=not (isinstance(value, str) and value.isprintable()))
    if isinstance(value, Real):
        return f"{float(value):.{DIGITS}g}"
    if isinstance(value, (Metrics, np.ndarray)):
        return _digest(np.asarray(value).ravel().tolist())
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return _digest(value) if len(value) > LONGEST else f"[{', '.join(map(shown, value))}]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return type(value).__name__ + shown(fields)
    return type(value).__name__


def _digest(values: Sequence[Any]) -> str:
    return f"<{len(values)} values {digest_of([shown(value) for value in values])}>"
