"""Hugging Face ``TrainingArguments``, as JSON or YAML: what ``Trainer`` makes of them for ``get_scheduler``.

Read in transformers 5.23 (training_args.py, trainer.py); ``warmup_ratio`` is of the versions before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lrsched_cli.configs.source import (
    Draft,
    Keys,
    Plan,
    Reading,
    ask,
    defaults_note,
    laid_over,
    refuse_interval,
    said_steps,
    updates_per_epoch,
    whole_number,
)
from lrsched_cli.errors import SpecError, nearest, shown
from lrsched_cli.kinds import dialect, find_kind
from lrsched_cli.run import MAX_TICKS, Run
from lrsched_cli.schedules.parameters import required_of

LEARNING_RATE, EPOCHS, BATCH_SIZE, SCHEDULER = 5e-5, 3.0, 8, "linear"
#: Types that a metric drives, a tick an evaluation.
METRIC_DRIVEN = ("reduce_lr_on_plateau", "greedy")
#: Types whose function is called without lr_scheduler_kwargs.
WITHOUT_KWARGS = ("constant", "constant_with_warmup")
STEPS_ARE_TICKS = "the Trainer steps its scheduler at every optimizer step"
#: What is read of the arguments.
READ = (
    "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "warmup_ratio", "max_steps",
    "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "dataloader_drop_last",
)  # fmt: skip
METRICS_NOTE = "a tick is an evaluation here: the Trainer steps this scheduler with the metric of each"


def read(keys: Keys) -> Reading:
    """What training arguments say."""
    _refuse_others(keys)
    kind = f"transformers.{scheduler_type(keys, 'lr_scheduler_type')}"
    line = keys.line("lr_scheduler_type")

    def plan(options: Run, given: Mapping[str, Any]) -> Plan:
        draft = Draft(kind, keys.file, line)
        draft.put("lr", keys.number("learning_rate", LEARNING_RATE), keys.line("learning_rate"))
        defaults: dict[str, Any] = {}
        if "lr_scheduler_type" not in keys:
            defaults["lr_scheduler_type"] = SCHEDULER
        if "learning_rate" not in keys and options.lr is None:
            defaults["learning_rate"] = LEARNING_RATE
        if kind.partition(".")[2] in METRIC_DRIVEN:
            draft.put_all(arguments_of(keys), "transformers")
            notes: list[str] = [METRICS_NOTE]
            run = evaluations(keys, options, given)
        else:
            total, run, more = training_steps(keys, options, given)
            defaults |= more
            warmup, notes = warmup_steps(keys, total)
            notes += complete(draft, keys, total, warmup)
        notes += [*deepspeed_notes(keys, "deepspeed"), *keys.misspelt(READ)]
        if defaults:
            notes.append(defaults_note("transformers", defaults))
        return Plan(draft.spec, run, tuple(notes))

    spec = {"kind": kind, "lr": keys.number("learning_rate", LEARNING_RATE)}
    return Reading("transformers", spec, plan)


def complete(draft: Draft, keys: Keys, total: int, warmup: int) -> list[str]:
    """Give an entry the arguments that ``get_scheduler`` gives its function; what it leaves out is noted."""
    line = keys.line("warmup_steps") or keys.line("warmup_ratio")
    draft.put("num_warmup_steps", warmup, line)
    draft.put("num_training_steps", total, keys.line("max_steps"))
    kwargs = arguments_of(keys)
    name = draft.spec["kind"].partition(".")[2]
    if name in WITHOUT_KWARGS:
        ignored = list(kwargs)
        return [f"transformers ignores lr_scheduler_kwargs {', '.join(ignored)} for {name}"] if ignored else []
    draft.put_all(kwargs, "transformers")
    found = find_kind(draft.spec["kind"])
    missing = [] if found is None else [name for name in required_of(found) if name not in draft.spec]
    if missing:
        raise keys.wrong("lr_scheduler_kwargs", f"must have {', '.join(missing)}, which {name} needs")
    return []


def scheduler_type(keys: Keys, key: str, others: tuple[str, ...] = ()) -> str:
    """The name of a scheduler, checked; ``SchedulerType.COSINE``, as arguments print themselves, is one too."""
    name = keys.text(key)
    if name is None:
        return SCHEDULER
    known = {full.partition(".")[2] for full in dialect("transformers")} | set(others)
    if name.startswith("SchedulerType."):
        name = name.partition(".")[2].lower().replace("reduce_on_plateau", "reduce_lr_on_plateau")
    if name not in known:
        raise keys.wrong(key, f"is no scheduler that is known here: {shown(name)}{nearest(name, known)}")
    return name


def arguments_of(keys: Keys) -> Keys:
    """``lr_scheduler_kwargs``: a mapping, or one in JSON, as a command line has it."""
    value = keys.get("lr_scheduler_kwargs")
    if isinstance(value, str) and value.startswith("{"):
        from lrsched_cli.document import load_text

        try:
            loaded = load_text(value, keys.file)
        except SpecError:
            raise keys.must("lr_scheduler_kwargs", "a mapping, or one in JSON") from None
        return Keys(loaded, keys.file, "lr_scheduler_kwargs")
    return keys.inner("lr_scheduler_kwargs")


def evaluations(keys: Keys, options: Run, given: Mapping[str, Any]) -> Run:
    """The run of a scheduler that a metric drives, whose ticks are evaluations."""
    if given.get("metrics") is None and said_steps(options) is None:
        raise ask(keys, "how the metric went that drives its scheduler", "--metrics FILE:COLUMN")
    return options.over(Run(interval="step"))


def geometry(keys: Keys) -> Run:
    """The launch as far as the arguments say it, in optimizer steps."""
    batch = keys.whole("per_device_train_batch_size") or keys.whole("per_gpu_train_batch_size") or BATCH_SIZE
    return Run(
        batch_size=batch * (keys.whole("_n_gpu", 0) or 1),
        grad_accumulation=keys.whole("gradient_accumulation_steps"),
        drop_last=keys.flag("dataloader_drop_last"),
        interval="step",
    )


def training_steps(keys: Keys, options: Run, given: Mapping[str, Any]) -> tuple[int, Run, dict[str, Any]]:
    """``num_training_steps`` as the Trainer counts them, the run, and the defaults that it took for that."""
    refuse_interval(options, "step", STEPS_ARE_TICKS)
    launch = geometry(keys)
    said = said_steps(options)
    if said is None and options.epochs is None:
        said = whole_number(given.get("num_training_steps"))
    if said is not None:
        return said, laid_over(options, launch, steps=said), {}
    most = keys.whole("max_steps", -1)
    if most is not None and most > 0 and options.epochs is None:
        return most, laid_over(options, launch, steps=most), {}
    defaults: dict[str, Any] = {}
    epochs = options.epochs or keys.number("num_train_epochs", EPOCHS)
    if options.epochs is None and "num_train_epochs" not in keys:
        defaults["num_train_epochs"] = EPOCHS
    if epochs <= 0:
        raise keys.must("num_train_epochs", "> 0")
    total = counted_steps(keys, options, launch, epochs)
    if options.steps_per_epoch is None and not keys.any_of(["per_device_train_batch_size", "per_gpu_train_batch_size"]):
        defaults["per_device_train_batch_size"] = BATCH_SIZE
    return total, laid_over(options, launch, steps=total), defaults


def counted_steps(keys: Keys, options: Run, launch: Run, epochs: float) -> int:
    """The steps of so many epochs, which need not be whole."""
    split = keys.inner("accelerator_config").flag("split_batches") if "accelerator_config" in keys else None
    if split and options.steps_per_epoch is None:
        raise ask(keys, "how many steps an epoch has, with split_batches", "--steps-per-epoch, or --steps")
    updates = updates_per_epoch(keys, options, launch)
    if updates is None:
        raise ask(keys, "how many steps training has", "--steps, or --steps-per-epoch, or --dataset-size")
    steps = epochs * updates
    if steps > MAX_TICKS:
        raise keys.must("num_train_epochs", f"such that they make at most {MAX_TICKS:.0e} steps")
    return math.ceil(steps)


def warmup_steps(keys: Keys, total: int) -> tuple[int, list[str]]:
    """``num_warmup_steps`` out of steps or a ratio, and what is to be said of it."""
    steps, ratio = keys.number("warmup_steps", 0), keys.number("warmup_ratio", 0)
    if steps < 0:
        raise keys.must("warmup_steps", ">= 0")
    if not 0 <= ratio <= 1:
        raise keys.must("warmup_ratio", "from 0 to 1")
    if steps > 0:
        count = int(steps) if steps >= 1 else math.ceil(total * steps)
        notes = [f"warmup_steps {steps}: ceil({total} * {steps}) = {count} steps of warm-up"] if steps < 1 else []
        if ratio:
            notes.append(f"transformers ignores warmup_ratio {ratio} beside warmup_steps {steps}")
        return count, notes
    if not ratio:
        return 0, []
    count = math.ceil(total * ratio)
    told = f"warmup_ratio {ratio}: ceil({total} * {ratio}) = {count} steps of warm-up"
    return count, [f"{told} (transformers 5 has it as warmup_steps {ratio})"]


def deepspeed_notes(keys: Keys, key: str) -> list[str]:
    """What a DeepSpeed configuration beside it means: a scheduler in that replaces the Trainer's."""
    value = keys.get(key)
    if isinstance(value, Mapping):
        scheduler = value.get("scheduler")
        if scheduler is not None:
            told = "has a scheduler of its own, which takes the place of the Trainer's: plot that as a file by itself"
            raise keys.wrong(key, told)
        return []
    if not isinstance(value, str):
        return []
    return [f"if {value} has a scheduler of its own, that takes the place of this one: lrsched plot {value}"]


def _refuse_others(keys: Keys) -> None:
    """Refuse what has some of the same keys and is no arguments."""
    if "log_history" in keys:
        raise SpecError("is a trainer_state.json: what a run did, and not the arguments that it had", file=keys.file)
