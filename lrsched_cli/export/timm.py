"""A plan for timm: one of its schedulers where it says it, else one of its kind with the formula."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from lrsched_cli.export import torch
from lrsched_cli.export.plan import Plan
from lrsched_cli.export.shapes import Shape, drops, falling, level, shapes
from lrsched_cli.export.torch_specs import python_function
from lrsched_cli.export.writing import Export, call, formula, header, keywords, module, native_or_none
from lrsched_cli.kinds import kind_named
from lrsched_cli.schedules import metric
from lrsched_cli.schedules.falls import LINE, Power, Root, Tangent, Wave
from lrsched_cli.schedules.forms import Cycles, Geometric, Stairs

IMPORT = "from torch.optim import Optimizer"


def export(plan: Plan, nearest: bool = False) -> Export:
    """The plan as a function that makes the scheduler."""
    found, fit, notes = native_or_none(plan, candidates, "timm", nearest)
    head = header(plan, "A scheduler for timm", fit)
    if found is not None:
        cls = found["kind"].partition(".")[2]
        made = call(cls, ["optimizer", *_arguments(plan, found)])
        function = [*_head(plan, cls, found["lr"]), f"    return {made}"]
        return Export(module(head, [f"from timm.scheduler import {cls}", IMPORT], function), notes=notes)
    head = header(plan, "A scheduler for timm", fit.replace(plan.fit, plan.fit_of_rates))
    blocks: list[list[str]] = []
    imports = ["from timm.scheduler.scheduler import Scheduler", IMPORT]
    taken: set[str] = set()
    names = []
    for name, own in plan.by_group.items():
        names.append(f"learning_rate_{name}" if name else "learning_rate")
        functions, standard = formula(own, name=names[-1], counts=plan.interval, taken=taken)
        blocks += functions
        imports += standard
    return Export(module(head, imports, *blocks, _class(plan, names), _made(plan)), notes=notes)


def _arguments(plan: Plan, spec: Mapping[str, Any]) -> Iterator[str]:
    for argument in keywords(kind_named(spec["kind"]), spec, leave=("metrics", "t_in_epochs")):
        name, _, text = argument.partition("=")
        is_function = name == "decay_fn" and str(spec[name]).lstrip().startswith("lambda")
        yield f"decay_fn={python_function(spec[name], 'f')}" if is_function else f"{name}={text}"
    if plan.interval == "step" and not plan.schedule.reacts:
        yield "t_in_epochs=False"


def _class(plan: Plan, names: list[str]) -> list[str]:
    rates = f"[{', '.join(f'{name}(t)' for name in names)}]"
    if len(names) == 1:
        rates += " * len(self.base_values)"
    return [
        "class PlannedScheduler(Scheduler):",
        '    """The plan as a scheduler of timm; groups with an lr_scale are scaled as by its own."""',
        "",
        "    def __init__(self, optimizer: Optimizer) -> None:",
        f'        super().__init__(optimizer, param_group_field="lr", t_in_epochs={plan.interval == "epoch"})',
        "        self.update_groups(self._get_lr(0))",
        "",
        "    def _get_lr(self, t: int) -> list[float]:",
        f"        return {rates}",
    ]


def _head(plan: Plan, cls: str, lr: float) -> list[str]:
    told = textwrap.wrap(f'"""For an optimizer {torch.optimizer_of(plan, lr)}.', 96, break_on_hyphens=False)
    return [
        f"def make_scheduler(optimizer: Optimizer) -> {cls}:",
        *(f"    {line}" for line in told),
        "",
        f"    {_usage(plan)}",
        '    """',
    ]


def _usage(plan: Plan) -> str:
    if plan.schedule.reacts:
        return f"Call scheduler.step({plan.interval} + 1, metric) after every {plan.interval}, counted from 0."
    if plan.interval == "epoch":
        return "Call scheduler.step(epoch + 1) after every epoch, counted from 0."
    return "Call scheduler.step_update(num_updates) after every update, counted from 1."


def _made(plan: Plan) -> list[str]:
    return [*_head(plan, "PlannedScheduler", plan.base), "    return PlannedScheduler(optimizer)"]


def _spec(name: str, lr: float, **params: Any) -> dict[str, Any]:
    return {"kind": f"timm.{name}LRScheduler", "lr": lr, **params}


def candidates(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """Specs of the kinds of timm that may be the plan."""
    schedule, own = plan.schedule, plan.own("timm")
    if own is not None and not schedule.kind.endswith("_v2"):
        yield own
    if isinstance(schedule, metric.Plateau):
        yield _spec(
            "Plateau", schedule.lr, decay_rate=schedule.factor, patience_t=schedule.patience, mode=schedule.mode,
            threshold=schedule.threshold, cooldown_t=schedule.cooldown, lr_min=schedule.min_lr,
            metrics=schedule.metrics,
        )  # fmt: skip
    for shape in shapes(plan):
        yield from _of_shape(shape, plan)


def _of_shape(shape: Shape, plan: Plan) -> Iterator[Mapping[str, Any]]:
    part, form = shape.rest[0], shape.body
    warm: dict[str, Any] = {"warmup_t": shape.warmup, "warmup_lr_init": shape.start} if shape.warmup else {}
    prefix = {**warm, "warmup_prefix": True} if warm else {}
    found, steady, table = falling(part), level(part), drops(part)
    if steady is not None:
        yield _spec("Step", steady, decay_t=max(plan.total, 1), decay_rate=1.0, **warm)
        if len(shape.rest) > 1 and (decay := falling(shape.rest[1])) is not None:
            yield from _trapezoid(shape, steady, decay, warm)
    if found is not None and found[3] == int(found[3]):
        yield from _of_fall(found, prefix)
        yield from _trapezoid(shape, found[1], found, warm, stable=0)
    if table is not None:
        # A milestone of timm fires one tick early, and so does each after a warm-up that is a prefix.
        yield _spec("MultiStep", table[0], decay_t=[t + 1 for t in table[2]], decay_rate=table[1], **warm)
    inner = form.form if isinstance(form, Stairs) else None
    if isinstance(inner, Geometric) and part.own_clock and isinstance(form, Stairs) and form.every == inner.every:
        yield _spec("Step", inner.start, decay_t=int(form.every), decay_rate=inner.factor, **warm)
    if isinstance(form, Geometric) and part.own_clock and form.every == 1:
        yield _spec("Step", form.start, decay_t=1, decay_rate=form.factor, **warm)
    if isinstance(form, Cycles) and part.own_clock and form.foot_mult == 1 and form.fall == Wave():
        yield _spec(
            "Cosine", form.top, t_initial=int(form.first), lr_min=form.foot, cycle_mul=form.growth,
            cycle_decay=form.top_mult, cycle_limit=_cycles(form, plan.total - shape.warmup), **prefix,
        )  # fmt: skip


def _cycles(form: Cycles, ticks: int) -> int:
    """How many cycles begin within so many ticks."""
    number = 1
    while number < ticks and form.start_of(number) < ticks:
        number += 1 if form.growth != 1 else max(1, int(-(-ticks // form.first)) - number)
    return number


def _of_fall(found: tuple[Any, float, float, float], prefix: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    fall, start, end, ticks = found
    whole = {"t_initial": int(ticks), "lr_min": end, **prefix}
    if isinstance(fall, Wave) and fall.waves == 0.5 and fall.exponent == 1:
        yield _spec("Cosine", start, **whole, k_decay=fall.k)
    if fall == LINE or isinstance(fall, Power):
        yield _spec("Poly", start, **whole, power=getattr(fall, "power", 1.0), k_decay=getattr(fall, "k", 1.0))
    if isinstance(fall, Tangent):
        yield _spec("Tanh", start, **whole, lb=fall.lb, ub=fall.ub)


def _trapezoid(
    shape: Shape, lr: float, decay: tuple[Any, float, float, float], warm: Mapping[str, Any], stable: int | None = None
) -> Iterator[Mapping[str, Any]]:
    """Warm-up, stable and decay."""
    fall, _, end, ticks = decay
    names = {LINE: "linear", Wave(): "cosine", Root(): "1-sqrt"}
    if fall not in names or ticks != int(ticks):
        return
    length = int(ticks) + (int(shape.rest[1].start) - shape.warmup if stable is None else stable)
    yield _spec("WSD", lr, t_initial=length, decay_t=int(ticks), lr_min=end, decay_fn=names[fall], **warm)
