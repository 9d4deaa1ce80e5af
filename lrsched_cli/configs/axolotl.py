"""axolotl's YAML: the Trainer of transformers with schedulers of axolotl's own, and its own count of steps.

Read in axolotl of 2025: core/builders/base.py, core/trainers/mixins/scheduler.py, utils/schedulers.py and
utils/trainer.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lrsched_cli.configs import transformers
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
from lrsched_cli.run import MAX_TICKS, Run, is_number

ONE_CYCLE, REX = "one_cycle", "rex"
SCHEDULER, EPOCHS, MICRO_BATCH = "cosine", 1.0, 1
#: Features that change the rates of a run in ways that are not read.
UNREAD = ("relora", "relora_steps", "jagged_restart_steps")
#: Features that give some parameters rates of their own.
SEVERAL = ("lr_groups", "embedding_lr", "embedding_lr_scale", "loraplus_lr_ratio")
#: Options that only lr_scheduler cosine has (rex has the first).
OF_COSINE = ("cosine_min_lr_ratio", "cosine_constant_lr_ratio", "lr_quadratic_warmup")


def read(keys: Keys) -> Reading:
    """What an axolotl file says."""
    for key in UNREAD:
        if keys.get(key):
            raise keys.wrong(key, "restarts the schedule while it trains, which is not read")
    name = transformers.scheduler_type(keys, "lr_scheduler", (ONE_CYCLE, REX)) if "lr_scheduler" in keys else SCHEDULER
    rate = _rate(keys)

    def plan(options: Run, given: Mapping[str, Any]) -> Plan:
        notes: list[str] = []
        defaults: dict[str, Any] = {} if "lr_scheduler" in keys else {"lr_scheduler": SCHEDULER}
        refuse_interval(options, "step", transformers.STEPS_ARE_TICKS)
        if name in transformers.METRIC_DRIVEN:
            draft = Draft(f"transformers.{name}", keys.file, keys.line("lr_scheduler"))
            draft.put_all(transformers.arguments_of(keys), "transformers")
            run = transformers.evaluations(keys, options, given)
            notes.append(transformers.METRICS_NOTE)
        else:
            total, run = _training_steps(keys, options, given, defaults)
            draft = _draft(keys, name, rate, total, _warmup_steps(keys, total, notes), notes)
        draft.put("lr", rate, keys.line("learning_rate"))
        notes += [f"{key} gives some parameters other rates than these" for key in keys.any_of(SEVERAL)]
        notes += transformers.deepspeed_notes(keys, "deepspeed")
        if defaults:
            notes.append(defaults_note("axolotl", defaults))
        return Plan(draft.spec, run, tuple(notes))

    return Reading("axolotl", {"kind": _provisional(keys, name), "lr": rate}, plan)


def _provisional(keys: Keys, name: str) -> str:
    """The kind that it will most likely be, whose parameters are options."""
    if name == ONE_CYCLE:
        return "torch.OneCycleLR"
    if name == REX or (name == SCHEDULER and keys.any_of(("lr_quadratic_warmup", "cosine_constant_lr_ratio"))):
        return "expression"
    with_floor = name == SCHEDULER and keys.number("cosine_min_lr_ratio", 0)
    return "transformers.cosine_with_min_lr" if with_floor else f"transformers.{name}"


def _rate(keys: Keys) -> float:
    """``learning_rate``, which axolotl requires, and turns into a number where it is text."""
    value = keys.get("learning_rate")
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    if not is_number(value):
        raise keys.must("learning_rate", "a number, and axolotl requires one")
    return value  # type: ignore[no-any-return]


def _draft(keys: Keys, name: str, rate: float, total: int, warmup: int, notes: list[str]) -> Draft:
    """The entry of a scheduler, as ``SchedulerMixin.create_scheduler`` chooses between them."""
    line = keys.line("lr_scheduler")
    floor, constant = _ratio(keys, "cosine_min_lr_ratio"), _ratio(keys, "cosine_constant_lr_ratio")
    quadratic = keys.flag("lr_quadratic_warmup")
    if name == ONE_CYCLE:
        draft = Draft("torch.OneCycleLR", keys.file, line)
        draft.put("max_lr", rate, keys.line("learning_rate"))
        draft.put("total_steps", total, keys.line("max_steps"))
        draft.put("optimizer", "adamw")
        draft.put_all(transformers.arguments_of(keys), "torch")
        if "pct_start" not in draft.spec:
            draft.put("pct_start", warmup / total, keys.line("warmup_steps"))
        _ignored(keys, OF_COSINE, name, notes)
        return draft
    if name == REX:
        _ignored(keys, (*OF_COSINE[1:], "lr_scheduler_kwargs"), name, notes)
        return _rex(keys, rate, floor or 0.0, total, warmup, notes)
    if name != SCHEDULER:
        _ignored(keys, OF_COSINE, name, notes)
    elif quadratic:
        _ignored(keys, (*OF_COSINE[:2], "lr_scheduler_kwargs"), "lr_quadratic_warmup", notes)
        return _expression(
            keys, f"lr * (t / {max(warmup, 1)}) ** 2 if t < {warmup} else lr * {_wave('t', total, warmup)}"
        )
    elif floor and constant:
        _ignored(keys, ("lr_scheduler_kwargs",), "cosine_constant_lr_ratio", notes)
        stop = int(total * constant)
        wave = _wave(f"min(t, {stop})", stop, warmup)
        body = f"lr * ({1 - floor!r} * {wave} + {floor!r})"
        return _expression(keys, f"lr * t / {max(warmup, 1)} if t < {warmup} else {body}")
    elif floor:
        _ignored(keys, ("lr_scheduler_kwargs",), "cosine_min_lr_ratio", notes)
        draft = Draft("transformers.cosine_with_min_lr", keys.file, line)
        draft.put("min_lr_rate", floor, keys.line("cosine_min_lr_ratio"))
        draft.put("num_warmup_steps", warmup, keys.line("warmup_steps") or keys.line("warmup_ratio"))
        draft.put("num_training_steps", total, keys.line("max_steps"))
        return draft
    elif constant:
        notes.append("axolotl ignores cosine_constant_lr_ratio without cosine_min_lr_ratio")
    draft = Draft(f"transformers.{name}", keys.file, line)
    notes += transformers.complete(draft, keys, total, warmup)
    return draft


def _ratio(keys: Keys, key: str) -> float | None:
    value = keys.number(key)
    if value is not None and not 0 <= value <= 1:
        raise keys.must(key, "from 0 to 1")
    return value


def _ignored(keys: Keys, names: tuple[str, ...], chosen: str, notes: list[str]) -> None:
    said = [name for name in names if keys.get(name)]
    notes += [f"axolotl ignores {name} with {chosen}" for name in said]


def _wave(t: str, total: int, warmup: int) -> str:
    return f"max(0, 0.5 * (1 + cos(pi * ({t} - {warmup}) / {max(1, total - warmup)})))"


def _expression(keys: Keys, expr: str) -> Draft:
    draft = Draft("expression", keys.file, keys.line("lr_scheduler"))
    draft.put("expr", expr)
    return draft


def _rex(keys: Keys, rate: float, floor: float, total: int, warmup: int, notes: list[str]) -> Draft:
    """RexLR. At update 0 it counts from a warm-up that has not begun, modulo the rest: some rate of its fall."""
    if warmup > total:
        raise keys.wrong("warmup_steps", f"is {warmup}, and RexLR refuses more than the {total} steps of training")
    rest = total - warmup
    fall = f"({rest} - (t - {warmup})) / {rest or 1}"
    body = f"lr * ({floor!r} + {1 - floor!r} * ({fall}) / (0.1 + 0.9 * ({fall})))"
    expr = f"lr * {floor!r} if t >= {total} else {body}"
    if warmup:
        expr = f"lr * t / {warmup} if t <= {warmup} else {expr}"
        part = (warmup % rest) / rest or 1.0 if rest else 0.0
        first = floor + (1 - floor) * part / (0.1 + 0.9 * part) if rest and warmup != 1 else floor
        expr = f"lr * {first!r} if t == 0 else {expr}"
        notes.append(f"axolotl's RexLR uses {rate * first:g} for update 0, before a warm-up that starts near 0")
    return _expression(keys, expr)


def _warmup_steps(keys: Keys, total: int, notes: list[str]) -> int:
    """Steps of warm-up: as given, or of a ratio rounded down, or 3% and 100 at most; never 1."""
    steps, ratio = keys.number("warmup_steps", 0), keys.number("warmup_ratio", 0)
    if steps < 0 or steps != int(steps):
        raise keys.must("warmup_steps", "a whole number >= 0")
    if steps and ratio:
        raise keys.wrong("warmup_ratio", "stands beside warmup_steps, and axolotl refuses both")
    if not 0 <= ratio <= 1:
        raise keys.must("warmup_ratio", "from 0 to 1")
    if steps:
        count = int(steps)
    elif ratio:
        count = int(ratio * total)
        notes.append(f"warmup_ratio {ratio}: {count} steps of warm-up, rounded down as axolotl does")
    else:
        count = min(int(0.03 * total), 100)
        because = "warmup_steps 0 counts as none given" if "warmup_steps" in keys else "no warm-up is given"
        notes.append(f"{because}, so axolotl warms up for {count} steps: 3% and 100 at most")
    if count == 1:
        notes.append("axolotl makes 2 steps of a warm-up of 1")
        return 2
    return count


def _launch(keys: Keys) -> Run:
    return Run(
        batch_size=keys.whole("micro_batch_size"),
        grad_accumulation=keys.whole("gradient_accumulation_steps"),
        interval="step",
    )


def _training_steps(keys: Keys, options: Run, given: Mapping[str, Any], defaults: dict[str, Any]) -> tuple[int, Run]:
    """``max_steps`` as axolotl hands them to the Trainer: its own count of the steps where the file has none."""
    launch = _launch(keys)
    said = said_steps(options)
    if said is None and options.epochs is None:
        said = whole_number(given.get("num_training_steps")) or whole_number(given.get("total_steps"))
    if said is not None:
        return said, laid_over(options, launch, steps=said)
    most = keys.whole("max_steps", -1)
    if most is not None and most > 0 and options.epochs is None:
        return most, laid_over(options, launch, steps=most)
    epochs = options.epochs or keys.number("num_epochs", EPOCHS)
    if options.epochs is None and "num_epochs" not in keys:
        defaults["num_epochs"] = EPOCHS
    if epochs <= 0:
        raise keys.must("num_epochs", "> 0")
    whole = options.over(launch)
    if options.steps_per_epoch is None and whole.dataset_size is not None:
        total = _counted(keys, whole, epochs)
    else:
        updates = updates_per_epoch(keys, options, launch)
        if updates is None:
            raise ask(keys, "how many steps training has", "--steps, or --steps-per-epoch, or --dataset-size")
        total = _ceil(keys, epochs * updates)
    return total, laid_over(options, launch, steps=total)


def _counted(keys: Keys, whole: Run, epochs: float) -> int:
    """Steps from the number of samples: of all epochs together, rounded up once."""
    for key in ("sample_packing", "sequence_parallel_degree", "context_parallel_size"):
        value = keys.get(key)
        if value is True or (is_number(value) and value > 1):
            wanted = f"how many steps training has, as {key} makes them depend on more than its size"
            raise ask(keys, wanted, "--steps: axolotl prints total_num_steps")
    if whole.world_size is None:
        raise ask(keys, "how many processes share the data", "--world-size")
    assert whole.dataset_size is not None
    batch = (whole.batch_size or MICRO_BATCH) * (whole.grad_accumulation or 1) * whole.world_size
    return _ceil(keys, whole.dataset_size * epochs / batch)


def _ceil(keys: Keys, steps: float) -> int:
    if steps > MAX_TICKS:
        raise keys.must("num_epochs", f"such that they make at most {MAX_TICKS:.0e} steps")
    return math.ceil(steps)
