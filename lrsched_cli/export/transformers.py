"""A plan for transformers: arguments of the Trainer where one of its schedulers says it, else a scheduler for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lrsched_cli.export import torch
from lrsched_cli.export.arithmetic import floating
from lrsched_cli.export.plan import Plan
from lrsched_cli.export.shapes import Shape, falling, level, shapes
from lrsched_cli.export.writing import Export, call, header, module, native_or_none, value
from lrsched_cli.kinds import kind_named
from lrsched_cli.schedules import metric
from lrsched_cli.schedules.falls import LINE, Power, Root, Wave
from lrsched_cli.schedules.forms import Cycles, Law, Wrapped
from lrsched_cli.schedules.parameters import default_of

DECAYS = {LINE: "linear", Wave(): "cosine", Root(): "1-sqrt"}
IMPORTS = [
    "from torch.optim import Optimizer",
    "from torch.optim.lr_scheduler import LRScheduler",
    "from transformers import get_scheduler",
]
#: Parameters that the Trainer has arguments of its own for.
OWN = ("kind", "lr", "num_warmup_steps", "num_training_steps", "metrics", "optimizer")


def export(plan: Plan, nearest: bool = False) -> Export:
    """TrainingArguments where a scheduler of transformers is exact, else one for ``Trainer(optimizers=...)``."""
    found, fit, notes = native_or_none(plan, _in_trainer, "transformers", nearest, one_rate=True)
    if found is not None:
        head = header(plan, "Arguments for the Trainer of transformers", fit)
        made = call("TrainingArguments", _arguments(plan, found), line_each=True)
        block = [f"training_args = {made}"]
        return Export(module(head, ["from transformers import TrainingArguments"], block), notes=notes)
    other = _longer_or_shorter(plan)
    if other is not None:
        # A schedule that is longer or shorter than the run, while the Trainer makes one for just its steps.
        fit, notes, blocks, imports = plan.fit, (), [_function(plan, other)], IMPORTS
    else:
        blocks, imports, _ = torch.scheduler(plan, by_step=True, caller="The Trainer")
    usage = "# trainer = Trainer(..., optimizers=(optimizer, make_scheduler(optimizer)))"
    head = [*header(plan, "A scheduler for the Trainer of transformers", fit), usage]
    return Export(module(head, imports, *blocks), notes=notes)


def _longer_or_shorter(plan: Plan) -> Mapping[str, Any] | None:
    """A scheduler for other steps than those of the run, or for several parameter groups."""
    first, *others = plan.by_group.values()
    for spec in candidates(first):
        # The part of the rate that such a floor is comes from the optimizer's default, for all groups.
        floors = others and spec.keys() & {"min_lr", "lr_end"}
        if not floors and plan.is_said_by(spec):
            return spec
    return None


def _function(plan: Plan, spec: Mapping[str, Any]) -> list[str]:
    lengths = {name: spec[name] for name in ("num_warmup_steps", "num_training_steps") if spec.get(name) is not None}
    arguments = [value(spec["kind"].partition(".")[2]), "optimizer", *(f"{k}={value(v)}" for k, v in lengths.items())]
    more = _specific(spec)
    if more:
        arguments.append(f"scheduler_specific_kwargs={value(more)}")
    made = call("get_scheduler", arguments)
    head = torch.head(plan, torch.optimizer_of(plan, spec["lr"]), "step", "The Trainer")
    return [*head, f"    return {made}"]


def _specific(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that only one scheduler has, as far as they are not as by default."""
    kind = kind_named(spec["kind"])
    names = (name for name in spec if name not in OWN and spec[name] != default_of(kind, name))
    return {name: spec[name] for name in names}


def _arguments(plan: Plan, spec: Mapping[str, Any]) -> list[str]:
    arguments = [
        f"learning_rate={floating(spec['lr'])}",
        f'lr_scheduler_type="{spec["kind"].partition(".")[2]}"',
    ]
    more = _specific(spec)
    if more:
        arguments.append(f"lr_scheduler_kwargs={value(more)}")
    if spec.get("num_warmup_steps"):
        arguments.append(f"warmup_steps={int(spec['num_warmup_steps'])}")
    if not plan.schedule.reacts:
        arguments.append(f"max_steps={plan.total}")
    elif plan.interval == "epoch":
        arguments += ['eval_strategy="epoch"', f"num_train_epochs={plan.total}"]
    else:
        arguments += ['eval_strategy="steps"', "eval_steps=1", f"max_steps={plan.total}"]
    return arguments


def _in_trainer(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """Those that the Trainer makes: for just the steps of the run, and with a warm-up of whole ones."""
    for spec in candidates(plan):
        warmup = spec.get("num_warmup_steps") or 0
        if spec.get("num_training_steps", plan.total) == plan.total and warmup == int(warmup) and warmup >= 0:
            yield spec


def candidates(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """Specs of the kinds of transformers that may be the plan."""
    if plan.interval == "epoch" and not plan.schedule.reacts:
        return
    own = plan.own("transformers")
    if own is not None:
        yield own
    schedule = plan.schedule
    if isinstance(schedule, (metric.Plateau, metric.Greedy)):
        name = "greedy" if isinstance(schedule, metric.Greedy) else "reduce_lr_on_plateau"
        names = ["mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps"]
        if name == "greedy":
            names += ["warmup", "max_lr", "smooth", "window_size", "reset_start"]
        yield _spec(name, schedule.lr, metrics=schedule.metrics, **{n: getattr(schedule, n) for n in names})
    for shape in shapes(plan):
        yield from _of_shape(shape, plan)


def _spec(name: str, lr: float, **params: Any) -> dict[str, Any]:
    return {"kind": f"transformers.{name}", "lr": lr, **params}


def _of_shape(shape: Shape, plan: Plan) -> Iterator[Mapping[str, Any]]:
    steady = level(shape.rest[0])
    if steady is not None:
        if not shape.warmup:
            yield _spec("constant", steady)
        yield _spec("constant_with_warmup", steady, num_warmup_steps=shape.warmup)
        if len(shape.rest) > 1 and (found := falling(shape.rest[1])) is not None and found[0] in DECAYS:
            decay_type, _, end, ticks = found
            stable = int(shape.rest[1].start) - shape.warmup
            yield _spec(
                "warmup_stable_decay", steady, num_warmup_steps=shape.warmup, num_decay_steps=int(ticks),
                num_stable_steps=stable, decay_type=DECAYS[decay_type], min_lr_ratio=end / steady if steady else 0,
            )  # fmt: skip
    if (found := falling(shape.rest[0])) is not None:
        yield from _of_fall(shape, *found)
    form = shape.body
    warm = {"num_warmup_steps": shape.warmup}
    if isinstance(form, Wrapped):
        end = shape.warmup + int(form.ticks)
        yield _spec("cosine_with_restarts", form.top, **warm, num_training_steps=end, num_cycles=form.cycles)
    if isinstance(form, Cycles) and form.growth == form.top_mult == 1 and form.fall == Wave() and not form.foot:
        cycles = (plan.total - shape.warmup) / form.first
        count = int(cycles) if cycles == int(cycles) else cycles
        yield _spec("cosine_with_restarts", form.top, **warm, num_training_steps=plan.total, num_cycles=count)
    if isinstance(form, Law) and form.power == -0.5 and form.shift > 0:
        lr = form.start * (form.shift / form.scale) ** -0.5
        yield _spec("inverse_sqrt", lr, **warm, timescale=form.shift)


def _of_fall(shape: Shape, fall: Any, start: float, end: float, ticks: float) -> Iterator[Mapping[str, Any]]:
    lengths = {"num_warmup_steps": shape.warmup, "num_training_steps": shape.warmup + int(ticks)}
    if fall == LINE and end == 0:
        yield _spec("linear", start, **lengths)
    if fall == LINE or (isinstance(fall, Power) and fall.k == 1):
        yield _spec("polynomial", start, **lengths, lr_end=end, power=getattr(fall, "power", 1.0))
    if isinstance(fall, Wave) and fall.k == fall.exponent == 1:
        cycles = {} if fall.waves == 0.5 else {"num_cycles": fall.waves}
        if end == 0:
            yield _spec("cosine", start, **lengths, **cycles)
        yield _spec("cosine_with_min_lr", start, **lengths, min_lr=end, **cycles)
        # One that is held at its end is the decay of a schedule with no stable part.
        if start:
            yield _spec(
                "warmup_stable_decay", start, num_warmup_steps=shape.warmup, num_decay_steps=int(ticks),
                num_stable_steps=0, min_lr_ratio=end / start,
            )  # fmt: skip
    if fall in DECAYS and start:
        yield _spec(
            "warmup_stable_decay", start, num_warmup_steps=shape.warmup, num_decay_steps=int(ticks),
            num_stable_steps=0, decay_type=DECAYS[fall], min_lr_ratio=end / start,
        )  # fmt: skip
