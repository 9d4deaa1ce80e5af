"""The operators of an entry: their parameters are declared and read by the same machine as those of kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsched_cli.errors import SpecError, must, nearest
from lrsched_cli.run import Scope
from lrsched_cli.schedules.parameters import FromRun, Param, percent
from lrsched_cli.schedules.warmup import CLOCKS, WARMUP_SHAPES

# Each is a mapping of names to what they take and their defaults.

WARMUP: dict[str, tuple[Param, Any]] = {
    "for": (Param("duration", "Ticks of the warm-up.", ge=0), None),
    "start_lr": (Param("number", "Rate at tick 0.", ge=0, optional=True), None),
    "start_factor": (Param("number", "The same as a factor of the base rate.", ge=0), 0.0),
    "shape": (Param("choice", "Shape of the rise.", choices=tuple(WARMUP_SHAPES)), "linear"),
    "clock": (Param("choice", "Whether the schedule's clock waits for it.", choices=CLOCKS), "prefix"),
    "first": (Param("integer", "0: tick 0 is at the start; 1: one step further.", ge=0, le=1), 0),
}
REPEAT: dict[str, tuple[Param, Any]] = {
    "period": (Param("duration", "Ticks of the first cycle.", ge=1), None),
    "period_mult": (Param("number", "Each cycle is so many times longer.", ge=1), 1.0),
    "lr_mult": (Param("number", "Factor of the base rate, each cycle.", gt=0), 1.0),
    "end_mult": (Param("number", "Factor of the end rate, each cycle.", gt=0), 1.0),
    "cycles": (Param("integer", "How many cycles there are.", ge=1, optional=True), None),
}
CLAMP: dict[str, tuple[Param, Any]] = {
    "min_lr": (Param("number", "Lowest rate.", ge=0), 0.0),
    "max_lr": (Param("number", "Highest rate.", gt=0), float("inf")),
}

SWA: dict[str, tuple[Param, Any]] = {
    "start": (Param("duration", "First tick whose weights are averaged.", ge=1), None),
    "swa_lr": (Param("number", "Rate to anneal to; left out, the schedule goes on.", gt=0, optional=True), None),
    "anneal_epochs": (Param("duration", "Ticks of the anneal.", ge=1), percent(10)),
    "anneal_strategy": (Param("choice", "Shape of the anneal.", choices=("cos", "linear")), "cos"),
}


def read_operator(
    operator: str, value: Any, scope: Scope, known: Mapping[str, tuple[Param, Any]], short: str | None = None
) -> dict[str, Any]:
    """An operator's own parameters, from what an entry holds for it; empty if that is None.

    ``short`` is the parameter that a bare value stands for: ``warmup: 5ep`` is ``warmup: {for: 5ep}``. Raises
    ``SpecError`` naming the operator and the parameter.
    """
    if value is None:
        return {}
    given_short = False
    if not isinstance(value, Mapping):
        if short is None or isinstance(value, (list, bool)):
            raise must(operator, f"a mapping of {', '.join(known)}", value)
        given_short, value = True, {short: value}
    for key in value:
        if key not in known:
            raise SpecError(f"{operator} has no parameter {key}{nearest(str(key), known)}", parameter=None).locate(
                line=getattr(value, "lines", {}).get(key)
            )
    if short is not None and value.get(short) is None:
        raise SpecError(f"needs {short}", parameter=operator)
    if value.get("start_lr") is not None and value.get("start_factor") is not None:
        raise SpecError("has both start_lr and start_factor: give one of them", parameter=operator)
    found = {}
    for name, (param, default) in known.items():
        given = value.get(name)
        if given is None:
            found[name] = default.value(scope) if isinstance(default, FromRun) else default
            continue
        try:
            found[name] = param.read(name, given, scope)
            param.check(name, found[name])
        except SpecError as error:
            error.parameter = operator if given_short else f"{operator}.{name}"
            raise error.locate(line=getattr(value, "lines", {}).get(name)) from None
    return found
