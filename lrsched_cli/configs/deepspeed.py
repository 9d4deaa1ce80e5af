"""DeepSpeed's ``ds_config.json``: its scheduler, the rate of its optimizer, and the batch sizes of the launch.

Read in DeepSpeed 0.19.6 (runtime/config.py, runtime/engine.py) and, for what ``auto`` means, transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsched_cli.configs.source import (
    Draft,
    Keys,
    Plan,
    Reading,
    ask,
    laid_over,
    refuse_interval,
    said_length,
    said_steps,
    whole_number,
)
from lrsched_cli.errors import SpecError, nearest, shown
from lrsched_cli.kinds import dialect, find_kind
from lrsched_cli.run import Run
from lrsched_cli.schedules.parameters import params_of

AUTO = "auto"
BATCH, MICRO, ACCUMULATION = "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"
#: Parameters that the Trainer fills where they are auto, and out of what.
FILLED = {
    "warmup_max_lr": "learning_rate",
    "warmup_num_steps": "warmup_steps",
    "total_num_steps": "number of training steps",
}
#: Kinds that the optimizer's rate has a say in; the others have rates of their own.
OWN_RATES = ("WarmupDecayLR", "OneCycle", "LRRangeTest")
#: Optimizers with Adam's betas, whose first is the momentum that OneCycle cycles.
WITH_BETAS = ("adam", "lamb", "lion")
STEPS_ARE_TICKS = "DeepSpeed steps its scheduler at every optimizer step"


def read(keys: Keys) -> Reading:
    """What a DeepSpeed configuration says."""
    scheduler = keys.inner("scheduler")
    name = scheduler.text("type")
    if name is None:
        told = "has no scheduler: DeepSpeed then leaves the rate to the code that made the optimizer, or to its Trainer"
        raise SpecError(told, file=keys.file)
    kind = _kind(scheduler, name)
    if "params" not in scheduler:
        raise scheduler.wrong("type", f"is {name}, but scheduler has no params: DeepSpeed fails without")

    def plan(options: Run, given: Mapping[str, Any]) -> Plan:
        notes: list[str] = []
        draft = Draft(kind, keys.file, scheduler.line("type"))
        params = _filled(scheduler.inner("params"), options, given, notes)
        draft.put_all(params, "DeepSpeed")
        _put_rate(draft, keys, options, given)
        _put_optimizer(draft, keys)
        return Plan(draft.spec, _run(keys, options, {**draft.spec, **given}), tuple(notes))

    return Reading("deepspeed", {"kind": kind}, plan)


def _kind(scheduler: Keys, name: str) -> str:
    """DeepSpeed's own scheduler of that name, or else torch's, as its engine looks for them."""
    for library in ("deepspeed", "torch"):
        if find_kind(f"{library}.{name}") is not None:
            return f"{library}.{name}"
    known = [full.partition(".")[2] for library in ("deepspeed", "torch") for full in dialect(library)]
    raise scheduler.wrong("type", f"is no scheduler of DeepSpeed or torch: {shown(name)}{nearest(name, known)}")


def _filled(params: Keys, options: Run, given: Mapping[str, Any], notes: list[str]) -> Keys:
    """The scheduler's parameters without those that are auto, which a Trainer fills: here the command line does."""
    values = {}
    for name in params:
        if params.get(name) != AUTO:
            values[name] = params.get(name)
        elif name in given:
            continue
        elif name == "warmup_min_lr":
            values[name] = 0
            notes.append(f"{params.named(name)} is auto: the Trainer of transformers makes it 0")
        elif name == "warmup_max_lr" and options.lr is not None:
            values[name] = options.lr
        elif name == "total_num_steps" and (steps := said_steps(options)) is not None:
            values[name] = steps
        else:
            raise _auto(params, name)
    return params.only(values)


def _auto(params: Keys, name: str) -> SpecError:
    source = f" from its {FILLED[name]}" if name in FILLED else ""
    option = {"total_num_steps": "--steps", "warmup_max_lr": "--lr"}.get(name, f"--{name.replace('_', '-')}")
    return params.wrong(name, f"is auto, which the Trainer of transformers fills{source}: add {option}")


def _put_rate(draft: Draft, keys: Keys, options: Run, given: Mapping[str, Any]) -> None:
    """The base rate: the optimizer's, asked for where it is not in the file and the scheduler needs it."""
    params = keys.inner("optimizer").inner("params")
    rate = params.get("lr")
    if rate is not None and rate != AUTO:
        draft.put("lr", params.number("lr"), params.line("lr"))
        return
    if options.lr is not None:
        draft.put("lr", options.lr)
        return
    name = draft.spec["kind"].partition(".")[2]
    has_own = name in OWN_RATES or any(said.get("warmup_max_lr") is not None for said in (draft.spec, given))
    if rate == AUTO and not has_own:
        told = "is auto, which the Trainer of transformers fills from its learning_rate: add --lr"
        raise params.wrong("lr", told)
    if not has_own:
        raise ask(keys, "the rate of the optimizer (optimizer.params.lr)", "--lr")


def _put_optimizer(draft: Draft, keys: Keys) -> None:
    kind = find_kind(draft.spec["kind"])
    name = keys.inner("optimizer").text("type")
    if kind is None or name is None or "optimizer" not in params_of(kind):
        return
    name = name.lower()
    known = params_of(kind)["optimizer"].choices
    if name not in known and any(word in name for word in WITH_BETAS):
        name = "adam"
    if not known or name in known:
        draft.put("optimizer", name)


def _run(keys: Keys, options: Run, spec: Mapping[str, Any]) -> Run:
    """The run: what the launch says, and the length that the command line or the scheduler itself gives."""
    refuse_interval(options, "step", STEPS_ARE_TICKS)
    launch = _launch(keys, options)
    steps = said_length(keys, options, launch)
    if steps is None:
        steps = whole_number(spec.get("total_num_steps"))
    if steps is None and spec.get("metrics") is None:
        raise ask(keys, "how many steps training has", "--steps")
    return laid_over(options, launch, steps=steps)


def _launch(keys: Keys, options: Run) -> Run:
    """Batch sizes and processes, as DeepSpeed completes each from the others; contradictions are refused."""
    batch, micro, accumulation = (
        None if keys.get(name) == AUTO else keys.whole(name) for name in (BATCH, MICRO, ACCUMULATION)
    )
    world = options.world_size
    product, terms = (micro or 1) * (accumulation or 1), [name for name in (MICRO, ACCUMULATION) if name in keys]
    if batch is not None and (micro or accumulation):
        made = " * ".join(f"{name} {keys.get(name)}" for name in terms if keys.get(name) != AUTO)
        if batch % product:
            raise keys.wrong(BATCH, f"must be {made} * the number of processes, got {batch}")
        if world is not None and (batch % (product * world) or (micro and accumulation and batch != product * world)):
            raise keys.wrong(BATCH, f"must be {made} * {world} processes, got {batch}")
    if batch is not None and micro and accumulation:
        world = batch // product
    elif batch is not None and world is not None:
        micro = micro or batch // (world * (accumulation or 1))
        accumulation = accumulation or batch // (world * micro)
    return Run(
        batch_size=micro,
        grad_accumulation=accumulation,
        world_size=world,
        drop_last=keys.flag("dataloader_drop_last"),
        interval="step",
    )
