"""A plan for DeepSpeed: the scheduler section of its config where one of its schedulers says it, else torch's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lrsched_cli.export import torch
from lrsched_cli.export.plan import Plan
from lrsched_cli.export.shapes import Shape, falling, level, shapes
from lrsched_cli.export.writing import Export, header, module, native_or_none, needed_steps
from lrsched_cli.schedules.falls import LINE, Triangle, Wave
from lrsched_cli.schedules.forms import Cycles, Raised, Transition


def export(plan: Plan, nearest: bool = False) -> Export:
    """JSON for ``ds_config.json``, or Python for ``deepspeed.initialize(lr_scheduler=...)``."""
    if plan.interval == "epoch":
        needed_steps(plan)
    found, fit, notes = native_or_none(plan, candidates, "DeepSpeed", nearest, one_rate=True)
    if found is not None:
        params = {name: value for name, value in found.items() if name not in ("kind", "lr", "optimizer")}
        section = {"type": found["kind"].partition(".")[2], "params": params}
        document = {"optimizer": {"params": {"lr": found["lr"]}}, "scheduler": section}
        text = json.dumps(document, indent=2)
        told = " ".join(line.lstrip("# ") for line in header(plan, "A ds_config.json", fit))
        return Export(f"{text}\n", ".json", (" ".join(told.split()), *notes))
    blocks, imports, _ = torch.scheduler(plan, by_step=True, caller="DeepSpeed")
    usage = [
        "# With `scheduler` left out of ds_config.json:",
        "# deepspeed.initialize(model=model, optimizer=optimizer, lr_scheduler=make_scheduler, ...)",
    ]
    head = [*header(plan, "A scheduler for DeepSpeed", fit), *usage]
    return Export(module(head, imports, *blocks), notes=notes)


def _spec(name: str, lr: float, **params: Any) -> dict[str, Any]:
    return {"kind": f"deepspeed.{name}", "lr": lr, **params}


def candidates(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """Specs of the kinds of DeepSpeed that may be the plan, or come near: its warm-ups lag by a step."""
    own = plan.own("deepspeed")
    if own is not None:
        yield own
    if plan.interval == "epoch":
        return
    for shape in shapes(plan):
        yield from _of_shape(shape)
    for part in plan.outline:
        form = part.form
        inner, low = (form.form, form.by) if isinstance(form, Raised) else (form, None)
        if isinstance(inner, Cycles) and isinstance(inner.fall, Triangle) and part.own_clock:
            up = round(inner.fall.rise * inner.first)
            foot = inner.foot if low is None else low
            yield _spec(
                "OneCycle", inner.top, cycle_min_lr=foot, cycle_max_lr=foot + inner.top - inner.foot,
                cycle_first_step_size=up, cycle_second_step_size=round(inner.first) - up, cycle_momentum=False,
            )  # fmt: skip
        if isinstance(form, Transition) and form.fall == LINE and form.start > 0 and form.end > form.start:
            yield _spec(
                "LRRangeTest", form.start, lr_range_test_min_lr=form.start, lr_range_test_step_size=int(form.ticks),
                lr_range_test_step_rate=form.end / form.start - 1,
            )  # fmt: skip


def _of_shape(shape: Shape) -> Iterator[Mapping[str, Any]]:
    steady, found = level(shape.rest[0]), falling(shape.rest[0])
    warm = {"warmup_min_lr": shape.start, "warmup_num_steps": max(shape.warmup, 1), "warmup_type": "linear"}
    if steady is not None:
        yield _spec("WarmupLR", steady, warmup_max_lr=steady, **warm)
    if found is None or not found[1]:
        return
    fall, start, end, ticks = found
    total = shape.warmup + int(ticks)
    if fall == LINE:
        # Its decay ends where its warm-up began.
        yield _spec(
            "WarmupDecayLR", start, total_num_steps=total, warmup_max_lr=start, **{**warm, "warmup_min_lr": end}
        )
    if fall == Wave():
        ratio = shape.start / start
        yield _spec(
            "WarmupCosineLR", start, total_num_steps=total, warmup_min_ratio=ratio, cos_min_ratio=end / start,
            warmup_num_steps=max(shape.warmup, 1), warmup_type="linear",
        )  # fmt: skip
