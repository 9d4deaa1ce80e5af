"""The ``args.yaml`` that timm's train.py writes beside its checkpoints, or one that it is started from.

Read in timm 1.0.31: scheduler/scheduler_factory.py (what becomes of the arguments) and train.py (their defaults).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lrsched_cli.configs.source import Draft, Keys, Plan, Reading, ask, defaults_note, laid_over, refuse_interval
from lrsched_cli.errors import SpecError, nearest, shown
from lrsched_cli.run import MAX_TICKS, Run
from lrsched_cli.spec import overlaid

KIND = "timm.create_scheduler_v2"
#: Arguments of train.py that are parameters of the factory, and what train.py has where nobody says them. None is the
#: factory's own default.
PARAMETERS: dict[str, tuple[str, Any]] = {
    "decay_epochs": ("decay_epochs", None),
    "decay_milestones": ("decay_milestones", None),
    "cooldown_epochs": ("cooldown_epochs", 0),
    "patience_epochs": ("patience_epochs", 10),
    "decay_rate": ("decay_rate", 0.1),
    "min_lr": ("min_lr", 0),
    "warmup_lr": ("warmup_lr", 1e-5),
    "warmup_epochs": ("warmup_epochs", 5),
    "warmup_prefix": ("warmup_prefix", False),
    "lr_noise": ("noise", None),
    "lr_cycle_mul": ("cycle_mul", 1.0),
    "lr_cycle_decay": ("cycle_decay", 0.5),
    "lr_cycle_limit": ("cycle_limit", 1),
    "lr_k_decay": ("k_decay", 1.0),
    "lr_decay_fn": ("decay_fn", None),
    "lr_stable_timescale": ("stable_timescale", None),
}
#: The schedulers: those that may repeat their cycle, and those of two phases. Cooldown comes after these alone.
CYCLED = ("cosine", "tanh", "poly")
PHASED = ("wsd", "rsqrt")
SCHEDULERS = (*CYCLED, *PHASED, "step", "multistep", "constant", "plateau", "none")
#: The defaults that matter to a schedule, and so are told where they are used.
TOLD = ("warmup_epochs", "warmup_lr")
EPOCHS, BATCH_SIZE, LR_BASE, LR_BASE_SIZE, OPTIMIZER = 300, 128, 0.1, 256, "sgd"


def read(keys: Keys) -> Reading:
    """What the arguments of a timm training say."""
    sched = keys.text("sched") or "cosine"
    if sched not in SCHEDULERS:
        raise keys.wrong("sched", f"is no scheduler of timm: {shown(sched)}{nearest(sched, SCHEDULERS)}")

    def plan(options: Run, given: Mapping[str, Any]) -> Plan:
        notes: list[str] = []
        defaults: dict[str, Any] = {}
        draft = Draft(KIND, keys.file, keys.line("sched"))
        draft.put("sched", sched, keys.line("sched"))
        for key, (name, default) in PARAMETERS.items():
            if key not in keys and key in TOLD and name not in given:
                defaults[key] = default
            draft.put(name, keys.get(key) if key in keys else default, keys.line(key))
        epochs = options.epochs or keys.whole("epochs")
        if epochs is None:
            epochs = defaults["epochs"] = EPOCHS
        draft.put("num_epochs", epochs, keys.line("epochs"))
        draft.put("plateau_mode", "min" if "loss" in (keys.text("eval_metric") or "top1") else "max")
        draft.put("lr", _rate(keys, options, notes), keys.line("lr") or keys.line("lr_base"))
        run = _run(draft, keys, options, given, notes)
        if defaults:
            notes.append(defaults_note("timm's train.py", defaults))
        return Plan(draft.spec, run, tuple(notes))

    return Reading("timm", {"kind": KIND, "sched": sched}, plan)


def _rate(keys: Keys, options: Run, notes: list[str]) -> float:
    """``lr``, or the one that train.py makes of ``lr_base`` and the batches of all processes."""
    rate = keys.number("lr")
    if rate or options.lr is not None:
        return options.lr or rate or 0.0
    world = options.world_size or keys.whole("world_size")
    if world is None:
        raise ask(keys, "how many processes lr_base is scaled with, as lr is not given", "--world-size, or --lr")
    base, size = keys.number("lr_base", LR_BASE), keys.whole("lr_base_size") or LR_BASE_SIZE
    batch = options.batch_size or keys.whole("batch_size") or BATCH_SIZE
    whole = batch * world * (options.grad_accumulation or keys.whole("grad_accum_steps") or 1)
    scale = keys.text("lr_base_scale")
    if not scale:
        optimizer = (keys.text("opt") or OPTIMIZER).lower()
        scale = "sqrt" if any(word in optimizer for word in ("ada", "lamb")) else "linear"
    ratio = whole / size
    if scale == "sqrt":
        ratio = ratio**0.5
    notes.append(f"lr {base * ratio:g}: lr_base {base:g} for {whole} samples an update, {scale} in {size}, as train.py")
    return base * ratio


def _run(draft: Draft, keys: Keys, options: Run, given: Mapping[str, Any], notes: list[str]) -> Run:
    """The epochs that the factory returns: with cycles, warm-up and cooldown; in updates where these are its ticks."""
    on_updates = keys.flag("sched_on_updates") or False
    draft.put("step_on_epochs", not on_updates, keys.line("sched_on_updates"))
    if not on_updates:
        refuse_interval(options, "epoch", "timm steps its scheduler at every epoch without sched_on_updates")
        if options.steps is not None or options.tokens is not None:
            raise SpecError("is no length here: timm counts epochs, so say --epochs", parameter="--steps")
        epochs = whole_length(keys, overlaid(draft.spec, given), 1)
        launch = Run(interval="epoch")
        if options.dataset_size is not None and options.steps_per_epoch is None:
            launch = Run(interval="epoch", steps_per_epoch=_updates(keys, options, notes))
            options = Run(**{name: value for name, value in options.said.items() if name != "dataset_size"})
        return laid_over(options, launch, epochs=epochs)
    refuse_interval(options, "step", "timm steps its scheduler at every update with sched_on_updates")
    updates = options.steps_per_epoch or _updates(keys, options, notes)
    draft.put("updates_per_epoch", updates)
    epochs = whole_length(keys, overlaid(draft.spec, given), updates)
    launch = Run(steps_per_epoch=updates, interval="step")
    options = Run(**{name: value for name, value in options.said.items() if name != "dataset_size"})
    if options.steps is not None:
        return laid_over(options, launch, steps=options.steps)
    return laid_over(options, launch, epochs=epochs)


def _updates(keys: Keys, options: Run, notes: list[str]) -> int:
    """Updates an epoch: a padded share of the samples for each process, of which whole batches are taken."""
    if options.dataset_size is None:
        wanted = "how many updates an epoch has, as sched_on_updates needs"
        raise ask(keys, wanted, "--steps-per-epoch, or --dataset-size and --world-size")
    world = options.world_size or keys.whole("world_size")
    if world is None:
        raise ask(keys, "how many processes share the data", "--world-size")
    batch = options.batch_size or keys.whole("batch_size") or BATCH_SIZE
    accumulation = options.grad_accumulation or keys.whole("grad_accum_steps") or 1
    share = -(-options.dataset_size // world)
    batches = share // batch
    updates = -(-batches // accumulation)
    if updates < 1:
        raise SpecError(f"{options.dataset_size} leaves no full batch of {batch}", parameter="--dataset-size")
    notes.append(
        f"{updates} updates an epoch, as timm counts them: ceil({options.dataset_size} / {world}) = {share} samples, "
        f"floor({share} / {batch}) = {batches} batches, ceil({batches} / {accumulation}) updates"
    )
    return updates


def whole_length(keys: Keys, spec: Mapping[str, Any], updates: int) -> int:
    """How many epochs are trained: what ``create_scheduler_v2`` returns beside the scheduler."""
    values = Keys(spec, keys.file)
    epochs, warmup = values.number("num_epochs", EPOCHS), values.number("warmup_epochs", 0)
    prefix = values.flag("warmup_prefix")
    cooldown = values.number("cooldown_epochs", 0)
    if spec["sched"] not in CYCLED:
        whole = epochs + warmup if prefix else epochs
        return _checked(keys, whole + cooldown if spec["sched"] in PHASED else whole)
    ticks, multiple = epochs * updates, values.number("cycle_mul", 1)
    cycles = max(1, values.whole("cycle_limit", 0) or 1)
    if multiple != 1:
        if multiple <= 0 or cycles * abs(math.log(multiple)) > 60:
            raise keys.wrong("lr_cycle_limit", f"{cycles} makes the run longer than can be counted")
        ticks = math.floor(-ticks * (multiple**cycles - 1) / (1 - multiple))
    else:
        ticks *= cycles
    ticks += (warmup * updates if prefix else 0) + cooldown * updates
    return _checked(keys, ticks // updates)


def _checked(keys: Keys, epochs: float) -> int:
    if not 1 <= epochs <= MAX_TICKS:
        raise keys.wrong("epochs", f"makes {epochs:g} epochs of training: it must be from 1 to {MAX_TICKS:.0e}")
    return int(epochs)
