"""A plan for Keras: one of its schedules where it says it, else a LearningRateSchedule with the formula."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lrsched_cli.errors import SpecError
from lrsched_cli.export.arithmetic import floating
from lrsched_cli.export.code import KERAS
from lrsched_cli.export.plan import Plan
from lrsched_cli.export.shapes import Shape, falling, shapes
from lrsched_cli.export.writing import Export, call, computed_in_single, formula, header, keywords, module
from lrsched_cli.kinds import kind_named
from lrsched_cli.schedules.falls import LINE, Power, Wave
from lrsched_cli.schedules.forms import Cycles, Geometric, Law, Stairs, Table


def export(plan: Plan) -> Export:
    """An assignment ``schedule = ...``, or a class that the optimizer takes an instance of."""
    if plan.schedule.groups:
        raise SpecError(
            f"{plan.trace.name} has parameter groups, and an optimizer of Keras has one rate for all weights"
        )
    fit = computed_in_single(plan, KERAS, "Keras")
    head = header(plan, "A schedule for Keras", fit)
    if not np.ptp(plan.rates):  # an optimizer takes a number too
        return Export(module(head, [], [f"schedule = {floating(plan.peak)}"]))
    found = plan.nearest(candidates(plan), momentum=False) if plan.interval == "step" else None
    if found is not None and found[1].exact:
        cls = found[0]["kind"].partition(".")[2]
        made = call(cls, keywords(kind_named(found[0]["kind"]), found[0]))
        imports = [f"from keras.optimizers.schedules import {cls}"]
        return Export(module(head, imports, [f"schedule = {made}"]))
    functions, standard = formula(plan, KERAS)
    schedule = [
        '@keras.saving.register_keras_serializable(package="lrsched")',
        "class Schedule(keras.optimizers.schedules.LearningRateSchedule):",
        '    """The plan, for `keras.optimizers.SGD(learning_rate=Schedule())` and the like."""',
        "",
        "    def __call__(self, step):",
        "        return learning_rate(step)",
        "",
        "    def get_config(self):",
        "        return {}",
    ]
    return Export(module(head, ["import keras", *standard], *functions, schedule))


def _spec(name: str, **params: Any) -> dict[str, Any]:
    return {"kind": f"keras.{name}", **params}


def candidates(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """Specs of the kinds of Keras that may be the plan."""
    own = plan.own("keras")
    if own is not None:
        yield own
    for shape in shapes(plan):
        yield from _of_shape(shape)


def _of_shape(shape: Shape) -> Iterator[Mapping[str, Any]]:
    part, form = shape.rest[0], shape.body
    found = falling(part)
    if found is not None and found[0] == Wave() and found[1] > 0 and found[3] == int(found[3]):
        warm = {"warmup_target": found[1], "warmup_steps": shape.warmup} if shape.warmup else {}
        start = shape.start if shape.warmup else found[1]
        yield _spec(
            "CosineDecay", initial_learning_rate=start, decay_steps=int(found[3]), alpha=found[2] / found[1], **warm
        )
    if shape.warmup:
        return
    if found is not None and found[3] == int(found[3]):
        fall, start, end, ticks = found
        if fall == LINE or (isinstance(fall, Power) and fall.k == 1):
            yield _spec(
                "PolynomialDecay", initial_learning_rate=start, decay_steps=int(ticks), end_learning_rate=end,
                power=getattr(fall, "power", 1.0),
            )  # fmt: skip
    yield from _of_form(part, form)


def _of_form(part: Any, form: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(form, Table) and part.own_clock and all(tick == int(tick) for tick in form.ticks):
        # Keras changes after the boundary.
        boundaries = [int(tick) - 1 for tick in form.ticks]
        yield _spec("PiecewiseConstantDecay", boundaries=boundaries, values=list(form.values))
    inner = form.form if isinstance(form, Stairs) else form
    if isinstance(inner, Geometric) and part.own_clock and (inner is form or form.every == inner.every):
        yield _spec(
            "ExponentialDecay", initial_learning_rate=inner.start, decay_steps=inner.every, decay_rate=inner.factor,
            staircase=inner is not form,
        )  # fmt: skip
    if isinstance(form, Law) and form.power == -1 and form.scale == form.shift and part.own_clock:
        yield _spec("InverseTimeDecay", initial_learning_rate=form.start, decay_steps=form.scale, decay_rate=1.0)
    if isinstance(form, Cycles) and form.fall == Wave() and part.own_clock and form.top > 0:
        fixed = form.foot_mult == 1 and (form.foot == 0 or form.top_mult == 1)
        if fixed and form.first == int(form.first):
            yield _spec(
                "CosineDecayRestarts", initial_learning_rate=form.top, first_decay_steps=int(form.first),
                t_mul=form.growth, m_mul=form.top_mult, alpha=form.foot / form.top,
            )  # fmt: skip
