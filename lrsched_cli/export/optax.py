"""A plan for optax: its own schedules, joined, where they say it, else a function of the count in JAX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lrsched_cli.export.arithmetic import number
from lrsched_cli.export.code import JAX
from lrsched_cli.export.outline import Segment
from lrsched_cli.export.plan import Plan
from lrsched_cli.export.shapes import falling, level, shapes
from lrsched_cli.export.writing import Export, call, computed_in_single, formula, header, keywords, module
from lrsched_cli.kinds import kind_named
from lrsched_cli.schedules.falls import LINE, Power, Wave
from lrsched_cli.schedules.forms import Geometric, Stairs, Table


def export(plan: Plan) -> Export:
    """An assignment ``schedule = optax...``, or a function ``schedule(step)``."""
    blocks: list[list[str]] = []
    imports: list[str] = []
    taken: set[str] = set()
    for name, own in plan.by_group.items():
        assigned = f"schedule_{name}" if name else "schedule"
        found = own.nearest(candidates(own), momentum=False) if plan.interval == "step" else None
        if found is not None and found[1].exact:
            made = _construction(found[0])
            blocks.append([f"{assigned} = {made}"])
            imports.append("import optax")
        else:
            functions, standard = formula(own, JAX, name=assigned, taken=taken)
            blocks += functions
            imports += standard
    fit = computed_in_single(plan, JAX, "JAX", " (unless jax_enable_x64 is set)")
    return Export(module(header(plan, "A schedule for optax", fit), imports, *blocks))


def _construction(spec: Mapping[str, Any]) -> str:
    cls = f"optax.{spec['kind'].partition('.')[2]}"
    if spec["kind"] != "optax.join_schedules":
        return call(cls, keywords(kind_named(spec["kind"]), spec))
    members = map(_construction, spec["schedules"])
    return call(cls, [f"[{', '.join(members)}]", f"boundaries={list(spec['boundaries'])}"])


def _spec(name: str, **params: Any) -> dict[str, Any]:
    return {"kind": f"optax.{name}", **params}


def candidates(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """Specs of the kinds of optax that may be the plan."""
    own = plan.own("optax")
    if own is not None:
        yield own
    for shape in shapes(plan):
        found = falling(shape.rest[0])
        if shape.warmup and found is not None and found[0] == Wave():
            yield _spec(
                "warmup_cosine_decay_schedule", init_value=shape.start, peak_value=found[1], warmup_steps=shape.warmup,
                decay_steps=shape.warmup + int(found[3]), end_value=found[2],
            )  # fmt: skip
        steady = level(shape.rest[0])
        if shape.warmup and steady is not None and len(shape.rest) == 1:
            yield _spec(
                "warmup_constant_schedule", init_value=shape.start, peak_value=steady, warmup_steps=shape.warmup
            )
    members = [_member(part) for part in plan.outline]
    if not members or any(member is None for member in members):
        return
    starts = [int(part.start) for part in plan.outline[1:]]
    # The end of a decay is held by itself.
    for kept in dict.fromkeys((max(len(members) - 1, 1), len(members))):
        if kept == 1:
            yield members[0]  # type: ignore[misc]
        else:
            yield _spec("join_schedules", schedules=members[:kept], boundaries=starts[: kept - 1])


def _member(part: Segment) -> dict[str, Any] | None:
    """The optax schedule of one segment, or None where it has none."""
    steady = level(part)
    if steady is not None:
        return _spec("constant_schedule", value=steady)
    found = falling(part)
    if found is not None:
        return _of_fall(*found)
    if isinstance(part.form, Table) and part.own_clock and part.form.ticks and all(part.form.values):
        pairs = zip(part.form.ticks, part.form.values[1:], part.form.values, strict=False)
        scales = {int(tick): float(number(after / before)) for tick, after, before in pairs if tick == int(tick)}
        return _spec("piecewise_constant_schedule", init_value=part.form.values[0], boundaries_and_scales=scales)
    form = part.form
    stairs = isinstance(form, Stairs)
    inner = form.form if isinstance(form, Stairs) else form
    if not isinstance(inner, Geometric) or not part.own_clock or inner.every != int(inner.every):
        return None
    if stairs and form.every != inner.every:  # type: ignore[attr-defined]
        return None
    return _spec(
        "exponential_decay", init_value=inner.start, transition_steps=int(inner.every), decay_rate=inner.factor,
        staircase=stairs,
    )  # fmt: skip


def _of_fall(fall: Any, start: float, end: float, ticks: float) -> dict[str, Any] | None:
    if ticks != int(ticks):
        return None
    if fall == LINE:
        return _spec("linear_schedule", init_value=start, end_value=end, transition_steps=int(ticks))
    if isinstance(fall, Power) and fall.k == 1:
        return _spec(
            "polynomial_schedule", init_value=start, end_value=end, power=fall.power, transition_steps=int(ticks)
        )
    if fall == Wave() and start > 0:
        return _spec("cosine_decay_schedule", init_value=start, decay_steps=int(ticks), alpha=end / start)
    return None
