"""What is written is run before it is handed out: on the ticks of its plan, the one after its last among them.

NumPy goes on where Python raises: a formula that divides by zero at one tick is fine in a plan if nothing comes of it
(``min(t ** -0.5, t / 4000)``), and stops a training loop.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lrsched_cli.errors import SpecError
from lrsched_cli.export.arithmetic import floating
from lrsched_cli.export.plan import Difference, Plan
from lrsched_cli.schedules.ticks import Array

#: What plain Python raises where NumPy goes on.
RAISED = (ArithmeticError, ValueError)
#: A function of one step is tried on so many of a long run.
TRIED = 20_000
#: More places than this at which a formula has no value are not told one by one.
MOST_GUARDS = 3
MOST_TICKS = 12
#: Rates that differ by less than this part of the peak are said as one.
ALIKE = 1e-10


def compiled(lines: Sequence[str], name: str, **modules: Any) -> Callable[[Any], Any]:
    """The function that lines of code define. They hold arithmetic and nothing else."""
    names: dict[str, Any] = {"math": math, "bisect": bisect, "functools": functools, **modules}
    exec(compile("\n".join(lines), "<export>", "exec"), names)
    function: Callable[[Any], Any] = names[name]
    return function


def guarded(plan: Plan, helpers: Sequence[str], lines: Sequence[str], name: str, per_tick: int, at: int) -> list[str]:
    """A function in plain Python, which says the plan's rate itself where its formula has no value.

    Parameters
    ----------
    helpers: the functions that it calls.
    lines: its own; ``at`` is the number of the one in front of which a rate is said.
    per_tick: steps that make a tick.

    Raises ``SpecError`` where the formula has no value at ticks of different rates.
    """
    function = compiled([*helpers, *lines], name)

    def fails(tick: int) -> bool:
        try:
            return not np.isfinite(_real(function(tick * per_tick)))
        except RAISED:
            return True

    ticks = _ticks(plan)
    missing = [fails(tick) for tick in ticks]
    out = list(lines)
    if any(missing):
        guards = _guards(plan, _groups(ticks, missing, fails))
        told = "# Where the formula divides by zero, or overflows."
        out[at:at] = [f"    {line}" for guard in (told, *guards) for line in guard.split("\n")]
        function = compiled([*helpers, *out], name)
    values = np.array([function(tick * per_tick) for tick in ticks if tick < plan.total])
    _check(plan, np.asarray(ticks)[: len(values)], values)
    return out


def _real(value: Any) -> float:
    """A value as a number; what is none, such as the root of a negative one, is not a rate."""
    return math.nan if isinstance(value, complex) else float(value)


def _ticks(plan: Plan) -> list[int]:
    """The ticks to try, in order, and the one after the run, which the last ``scheduler.step()`` asks for."""
    last = plan.schedule.last_tick
    ticks = plan.ticks
    if len(ticks) > TRIED:
        ends = [*range(16), *range(plan.total - 16, plan.total)]
        ticks = np.unique(np.concatenate([ticks[:: math.ceil(len(ticks) / TRIED)], ends]))
    after = [plan.total] if last is None or last >= plan.total else []
    return [*ticks.tolist(), *after]


def _groups(ticks: Sequence[int], missing: Sequence[bool], fails: Callable[[int], bool]) -> list[tuple[int, int]]:
    """The first and the last tick of each stretch without a value; the ends are looked for between the ticks tried."""
    groups = []
    start = None
    for i, gone in enumerate([*missing, False]):
        if gone and start is None:
            start = i
        elif not gone and start is not None:
            first = _edge(ticks[start], ticks[start - 1] if start else None, fails)
            last = _edge(ticks[i - 1], ticks[i] if i < len(ticks) else None, fails)
            groups.append((first, last))
            start = None
    return groups


def _edge(gone: int, good: int | None, fails: Callable[[int], bool]) -> int:
    """The last tick without a value on the way to one that has a value."""
    while good is not None and abs(good - gone) > 1:
        middle = (gone + good) // 2
        gone, good = (middle, good) if fails(middle) else (gone, middle)
    return gone


def _guards(plan: Plan, groups: Sequence[tuple[int, int]]) -> list[str]:
    """The lines that say the rates of some stretches of ticks."""
    single = [first for first, last in groups if first == last]
    if len(single) == len(groups) > MOST_GUARDS and len(groups) <= MOST_TICKS:
        rates = plan.schedule(np.array(single))
        if np.ptp(rates) <= ALIKE * plan.peak:
            listed = ", ".join(map(str, single))
            return [f"if {plan.interval} in ({listed}):\n    return {floating(float(rates[0]))}"]
    if len(groups) > MOST_GUARDS:
        raise _without_value(plan, groups[0][0])
    return [_guard(plan, *group) for group in groups]


def _guard(plan: Plan, first: int, last: int) -> str:
    clock = plan.interval
    rates = plan.schedule(np.unique(np.linspace(first, last, 64).astype(np.int64)))
    if np.ptp(rates) > ALIKE * plan.peak:
        raise _without_value(plan, first)
    if last >= plan.total - 1 and first:
        condition = f"{clock} >= {first}"
    elif first == 0:
        condition = f"{clock} == 0" if last == 0 else f"{clock} <= {last}"
    else:
        condition = f"{clock} == {first}" if first == last else f"{first} <= {clock} <= {last}"
    return f"if {condition}:\n    return {floating(float(rates[0]))}"


def _without_value(plan: Plan, tick: int) -> SpecError:
    told = f"has a formula that plain Python cannot evaluate at tick {tick}, where NumPy divides by zero or overflows"
    return SpecError(f"{plan.trace.name} {told}: --to numpy can")


def quiet(plan: Plan, helpers: Sequence[str], lines: Sequence[str], name: str) -> list[str]:
    """A function in NumPy, which is told to be silent where a value that is not used cannot be computed."""
    function = compiled([*helpers, *lines], name, np=np)
    after = _ticks(plan)[-1:]
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            values = function(np.append(plan.ticks, after))
        out = list(lines)
    except FloatingPointError:
        with np.errstate(all="ignore"):
            values = function(np.append(plan.ticks, after))
        out = ['@np.errstate(all="ignore")  # in values that are not used', *lines]
    _check(plan, plan.ticks, values[: len(plan.ticks)])
    return out


def _check(plan: Plan, ticks: npt.NDArray[np.int64], values: Any) -> None:
    """Refuse code that is not the plan: rounding makes more of what has jumps than anyone foresaw."""
    found = plan.against(ticks, np.asarray(values, dtype=np.float64))
    if not found.exact:
        raise SpecError(f"{plan.trace.name} cannot be written as a formula: what is computed is {found}")


def single_precision(plan: Plan, lines: Sequence[str], name: str, module: str) -> Difference:
    """How far a function of JAX or Keras is from the plan where it is computed in single precision."""
    function = compiled(lines, name, **{module: _Single()})
    with np.errstate(all="ignore"):
        values = np.broadcast_to(function(plan.ticks.astype(np.float32)), plan.ticks.shape)
    return plan.against(plan.ticks, values.astype(np.float64))


class _Single:
    """NumPy in the place of an array library that computes in single precision."""

    pi = math.pi

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            out = np.asarray(getattr(np, name)(*arguments, **options))
            return out.astype(np.float32) if out.dtype == np.float64 else out

        return call

    def cast(self, x: Any, dtype: str) -> Array:
        return np.asarray(x, dtype=dtype)
