"""torch's own schedulers that may say a plan, as specs of the torch kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lrsched_cli.export.arithmetic import renamed, tidy, variable_of, without_parentheses
from lrsched_cli.export.code import Writer
from lrsched_cli.export.layout import one_line
from lrsched_cli.export.lower import UnknownFormError, times
from lrsched_cli.export.outline import Segment
from lrsched_cli.export.plan import Plan
from lrsched_cli.export.shapes import drops, falling, level
from lrsched_cli.export.trial import RAISED, compiled
from lrsched_cli.schedules import cycle, metric
from lrsched_cli.schedules.expression import compile_expression
from lrsched_cli.schedules.falls import Line, Power, Wave
from lrsched_cli.schedules.forms import Cycles, Geometric, Level, Scaled, Stairs, then

#: A function that is longer than this is no lambda any more.
SHORT = 60
ONE_CYCLE = ("max_lr", "total_steps", "pct_start", "anneal_strategy", "div_factor", "final_div_factor", "three_phase")
CYCLIC = ("base_lr", "max_lr", "step_size_up", "step_size_down", "mode", "gamma")
PLATEAU = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps")


def candidates(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """Specs of torch kinds that may be the plan, the likeliest first."""
    own = plan.own("torch")
    if own is not None:
        yield own
    core = plan.schedule
    if isinstance(core, (cycle.OneCycle, cycle.Cyclic)):
        yield _cycling(core)
    if isinstance(core, metric.Plateau):
        yield spec(
            "ReduceLROnPlateau", core.lr, metrics=core.metrics, **{name: getattr(core, name) for name in PLATEAU}
        )
    parts = plan.outline
    for base in dict.fromkeys((plan.base, plan.peak)) if parts and plan.peak else ():
        if len(parts) == 1 and isinstance(parts[0].form, Scaled):
            yield from _chained(parts[0].form, base, plan.total)
        yield from _of_parts(parts, base, plan.total)


def _of_parts(parts: Any, base: float, total: int) -> Iterator[Mapping[str, Any]]:
    members = [_member(part, base, total) for part in parts]
    # A segment that only holds the end of the one before it needs no scheduler of its own.
    for kept in (parts[:-1], parts):
        mine = [member for member in members[: len(kept)] if member is not None]
        if not kept or len(mine) < len(kept):
            continue
        if len(kept) == 1:
            yield {**mine[0], "lr": base}
        else:
            yield spec("SequentialLR", base, schedulers=mine, milestones=[int(p.start) for p in kept[1:]])


def _chained(form: Scaled, base: float, total: int) -> Iterator[Mapping[str, Any]]:
    """A product of factors that torch's schedulers multiply the rate by."""
    factors = [part for part in form.forms if not isinstance(part, Level)]
    parts = [Segment(0, total, 0, times(factor, base)) for factor in factors]
    members = [_ramp(part, base, total) or _drop(part, base) for part in parts]
    if len(members) > 1 and all(member is not None for member in members):
        yield spec("ChainedScheduler", base, schedulers=members)


def spec(name: str, lr: float | None = None, **params: Any) -> dict[str, Any]:
    """The spec of a kind of torch."""
    return {"kind": f"torch.{name}", **({} if lr is None else {"lr": lr}), **params}


def _cycling(core: cycle.OneCycle | cycle.Cyclic) -> dict[str, Any]:
    name, names = ("OneCycleLR", ONE_CYCLE) if isinstance(core, cycle.OneCycle) else ("CyclicLR", CYCLIC)
    cycled = ("base_momentum", "max_momentum") if core.cycle_momentum else ()
    params = {name: getattr(core, name) for name in (*names, "cycle_momentum", *cycled)}
    if "pct_start" in params:
        params["pct_start"] = float(params["pct_start"])
    if params.get("step_size_down") == params.get("step_size_up"):
        params.pop("step_size_down", None)
    return spec(name, core.lr, **params)


def _member(part: Segment, base: float, total: int) -> dict[str, Any] | None:
    """The torch scheduler of one segment on an optimizer with a rate, or None where it has none."""
    return _ramp(part, base, total) or _drop(part, base) or _waves(part, base) or _lambda(part, base, total)


def _ramp(part: Segment, base: float, total: int) -> dict[str, Any] | None:
    rate = level(part)
    if rate is not None and 0 <= rate <= base and (part.stop < total or rate == base):
        # Undone at its own end, which must not come.
        return spec("ConstantLR", factor=tidy(rate / base), total_iters=int(min(part.stop, total) - part.start))
    found = falling(part)
    if found is None:
        return None
    fall, start, end, ticks = found
    whole = ticks == int(ticks)
    if isinstance(fall, Line) and 0 < start <= base and 0 <= end <= base and whole:
        return spec("LinearLR", start_factor=tidy(start / base), end_factor=tidy(end / base), total_iters=int(ticks))
    if fall == Wave() and start == base and whole:
        return spec("CosineAnnealingLR", T_max=int(ticks), eta_min=end)
    if isinstance(fall, (Line, Power)) and start == base and end == 0 and whole and getattr(fall, "k", 1) == 1:
        return spec("PolynomialLR", total_iters=int(ticks), power=getattr(fall, "power", 1.0))
    return None


def _drop(part: Segment, base: float) -> dict[str, Any] | None:
    form = part.form
    if not part.own_clock:
        return None
    if isinstance(form, Geometric) and form.start == base:
        return spec("ExponentialLR", gamma=form.factor ** (1 / form.every) if form.every != 1 else form.factor)
    if isinstance(form, Stairs) and isinstance(form.form, Geometric):
        every = int(form.every)
        if form.form.start == base and form.form.every == every == form.every:
            return spec("StepLR", step_size=every, gamma=form.form.factor)
    found = drops(part)
    if found is not None and found[0] == base:
        return spec("MultiStepLR", milestones=found[2], gamma=found[1])
    return None


def _waves(part: Segment, base: float) -> dict[str, Any] | None:
    form = part.form
    if not isinstance(form, Cycles) or not part.own_clock or form.fall != Wave() or form.top != base:
        return None
    whole = form.first == int(form.first) and form.growth == int(form.growth)
    if form.top_mult != 1 or form.foot_mult != 1 or not whole:
        return None
    return spec("CosineAnnealingWarmRestarts", T_0=int(form.first), T_mult=int(form.growth), eta_min=form.foot)


def _lambda(part: Segment, base: float, total: int) -> dict[str, Any] | None:
    """A formula of one line, as the factor of a LambdaLR."""
    writer = Writer(None, total)
    try:
        lines = writer.body(then(part.origin - part.start, times(part.form, 1 / base)), "t")
    except UnknownFormError:
        return None
    if len(lines) == 2 and lines[0].startswith("x = "):
        lines = [without_parentheses(re.sub(r"\bx\b", f"({lines[0][4:]})", lines[1].removeprefix("return ")))]
    if len(lines) != 1 or "bisect" in lines[0] or writer.helpers:
        return None
    factor = one_line(lines[0].removeprefix("return "))
    text = f"lambda t: {factor}"
    lasts = int(min(part.stop, total) - part.start)
    return spec("LambdaLR", lr_lambda=text) if len(factor) <= SHORT and runs(text, 0, lasts) else None


def python_function(text: str, variable: str) -> str:
    """A function that a user wrote, as plain Python has it; ``variable`` is what it is of where it does not say."""
    function = compile_expression(str(text), [variable])
    name = variable_of(function)
    return f"lambda {name}: {one_line(renamed(function, name, Writer(None, 1)))}"


def runs(function: str, first: int, last: int) -> bool:
    """Whether plain Python can compute a function at all ticks, as far as some of them show."""
    of = compiled([f"function = {function}"], "function")
    ticks = {*range(first, min(first + 16, last + 1)), *np.linspace(first, max(first, last), 200).astype(int).tolist()}
    try:
        return not any(isinstance(of(tick), complex) for tick in ticks)
    except RAISED:
        return False
