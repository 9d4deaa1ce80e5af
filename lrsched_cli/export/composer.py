"""A plan for Composer: one of its schedulers where its Trainer makes the plan of it, else torch's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from lrsched_cli.dialects.composer_time import Time
from lrsched_cli.export import torch
from lrsched_cli.export.arithmetic import number
from lrsched_cli.export.plan import Plan
from lrsched_cli.export.shapes import Shape, drops, falling, level, shapes
from lrsched_cli.export.writing import Export, call, comment, header, keywords, module, native_or_none, value
from lrsched_cli.kinds import kind_named
from lrsched_cli.schedules.falls import LINE, Power, Wave
from lrsched_cli.schedules.forms import Cycles, Geometric, Stairs

#: Parameters that the scheduler has from the Trainer.
OF_TRAINER = ("max_duration", "trainer", "ssr", "dataloader_len", "samples_per_batch", "tokens_per_batch")


def export(plan: Plan, nearest: bool = False) -> Export:
    """A scheduler for ``Trainer(schedulers=...)``."""
    found, fit, notes = native_or_none(plan, candidates, "Composer", nearest)
    if found is not None:
        cls = found["kind"].partition(".")[2]
        made = call(cls, keywords(kind_named(found["kind"]), found, leave=OF_TRAINER))
        head = [*header(plan, "A scheduler for Composer's Trainer", fit), *comment(_usage(plan, found))]
        block = [f"scheduler = {made}"]
        return Export(module(head, [f"from composer.optim import {cls}"], block), notes=notes)
    blocks, imports, _ = torch.scheduler(plan, caller="The Trainer")
    every_batch = plan.interval == "step"
    usage = [
        "# Composer's own schedulers use each rate one batch late, torch's on time:",
        f"# Trainer(..., schedulers=make_scheduler(optimizer), step_schedulers_every_batch={every_batch})",
    ]
    head = [*header(plan, "A scheduler for Composer's Trainer", fit), *usage]
    return Export(module(head, imports, *blocks), notes=notes)


def _usage(plan: Plan, spec: Mapping[str, Any]) -> str:
    """How the Trainer is called; it is the one that scales the times of its schedulers."""
    ratio = spec.get("ssr", 1.0)
    scaled = f", scale_schedule_ratio={number(ratio)}" if ratio != 1 else ""
    told = f"max_duration={value(_before_scaling(spec))}{scaled}, schedulers=scheduler"
    return f"Trainer(..., {told}), and an optimizer {torch.optimizer_of(plan, spec['lr'])}."


def _before_scaling(spec: Mapping[str, Any]) -> Any:
    """What the Trainer is told as the length of the run, which it scales too."""
    duration, ratio = spec["max_duration"], spec.get("ssr", 1.0)
    time = Time.parse(str(duration))
    if ratio == 1 or time is None:
        return duration
    return f"{math.ceil(time.value / ratio)}{time.unit}"


def candidates(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """Specs of the kinds of Composer that may be the plan, as its Trainer uses them."""
    if plan.interval == "epoch":
        return
    own = plan.own("composer")
    if own is not None:
        said = {"max_duration": f"{plan.total}ba", **own, "trainer": True}
        before, after = (Time.parse(str(text)) for text in (_before_scaling(said), said["max_duration"]))
        if before is None or after is None or int(before.value * own.get("ssr", 1.0)) == after.value:
            yield said
    for shape in shapes(plan):
        for spec in _of_shape(shape, plan):
            yield {**spec, "max_duration": f"{plan.total}ba", "trainer": True}


def _spec(name: str, lr: float, **params: Any) -> dict[str, Any]:
    return {"kind": f"composer.{name}Scheduler", "lr": lr, **params}


def _of_shape(shape: Shape, plan: Plan) -> Iterator[Mapping[str, Any]]:
    part, form = shape.rest[0], shape.body
    warm = {"t_warmup": f"{shape.warmup}ba"} if shape.warmup else {}
    suffix = "WithWarmup" if shape.warmup else ""
    steady, found, table = level(part), falling(part), drops(part)
    if steady is not None:
        yield _spec(f"Constant{suffix}", steady, alpha=1.0, **warm)
    if found is not None and found[1] and found[3] == int(found[3]):
        fall, start, end, ticks = found
        until = {"t_max": f"{shape.warmup + int(ticks)}ba", "alpha_f": end / start, **warm}
        if fall == LINE:
            yield _spec(f"Linear{suffix}", start, alpha_i=1.0, **until)
        if fall == Wave():
            yield _spec(f"CosineAnnealing{suffix}", start, **until)
        if isinstance(fall, Power) and fall.k == 1:
            yield _spec(f"Polynomial{suffix}", start, power=fall.power, **until)
    if table is not None:
        milestones = [f"{tick + shape.warmup}ba" for tick in table[2]]
        yield _spec(f"MultiStep{suffix}", table[0], milestones=milestones, gamma=table[1], **warm)
    if shape.warmup or not part.own_clock:
        return
    inner = form.form if isinstance(form, Stairs) else form
    if isinstance(inner, Geometric) and inner.every == int(inner.every):
        if inner is form:
            yield _spec("Exponential", inner.start, gamma=inner.factor, decay_period=f"{int(inner.every)}ba")
        elif form.every == inner.every:  # type: ignore[attr-defined]
            yield _spec("Step", inner.start, step_size=f"{int(inner.every)}ba", gamma=inner.factor)
    if isinstance(form, Cycles) and form.fall == Wave() and form.top and form.top_mult == form.foot_mult == 1:
        yield _spec(
            "CosineAnnealingWarmRestarts", form.top, t_0=f"{int(form.first)}ba", t_mult=form.growth,
            alpha_f=form.foot / form.top,
        )  # fmt: skip
