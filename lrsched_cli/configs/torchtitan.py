"""torchtitan's job TOML: ``[lr_scheduler]``, the rate in ``[optimizer]`` and the steps in ``[training]``.

Read in torchtitan 0.2.2 (config, components/lr_scheduler.py). Before there was an ``[lr_scheduler]``, ``warmup_steps``
lay in ``[training]`` and warm-up took a step more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsched_cli.configs.source import (
    Draft,
    Keys,
    Plan,
    Reading,
    defaults_note,
    laid_over,
    refuse_interval,
    said_length,
    whole_number,
)
from lrsched_cli.run import Run

KIND = "torchtitan.LRSchedulersContainer"
STEPS, LEARNING_RATE, WARMUP_STEPS = 10_000, 8e-4, 200
STEPS_ARE_TICKS = "torchtitan steps its scheduler at every optimizer step"


def read(keys: Keys) -> Reading:
    """What a torchtitan job says."""
    scheduler, training = keys.inner("lr_scheduler"), keys.inner("training")
    old = "lr_scheduler" not in keys and "warmup_steps" in training

    def plan(options: Run, given: Mapping[str, Any]) -> Plan:
        refuse_interval(options, "step", STEPS_ARE_TICKS)
        notes: list[str] = []
        defaults: dict[str, Any] = {}
        launch = _launch(training)
        said = said_length(keys, options, launch) or whole_number(given.get("training_steps"))
        steps = said or training.whole("steps")
        if steps is None:
            steps = defaults["training.steps"] = STEPS
        draft = _old(training, keys, steps, notes) if old else _current(scheduler, training, steps, notes)
        _put_rate(draft, keys, options, defaults)
        if "warmup_steps" not in (training if old else scheduler) and "warmup_steps" not in given:
            defaults["lr_scheduler.warmup_steps"] = WARMUP_STEPS
        if defaults:
            notes.append(defaults_note("torchtitan", defaults))
        return Plan(draft.spec, laid_over(options, launch, steps=steps), tuple(notes))

    return Reading("torchtitan", {"kind": "linear" if old else KIND}, plan)


def _current(scheduler: Keys, training: Keys, steps: int, notes: list[str]) -> Draft:
    line = next((line for name in scheduler if (line := scheduler.line(name)) is not None), None)
    draft = Draft(KIND, scheduler.file, line)
    draft.put("training_steps", steps, training.line("steps"))
    if "lr_min" in scheduler:
        if "min_lr_factor" in scheduler:
            raise scheduler.wrong("lr_min", "stands beside min_lr_factor, its newer name: leave one out")
        notes.append("lr_min is read as min_lr_factor, its name since torchtitan 0.2, with the formula of 0.2.2")
        draft.put("min_lr_factor", scheduler.number("lr_min"), scheduler.line("lr_min"))
    rest = {name: value for name, value in scheduler.values.items() if name != "lr_min" and value is not None}
    draft.put_all(scheduler.only(rest), "torchtitan")
    return draft


def _old(training: Keys, keys: Keys, steps: int, notes: list[str]) -> Draft:
    """Linear up in ``warmup_steps + 1`` and linear down to 0, as a LambdaLR of 2024 did it."""
    warmup = training.whole("warmup_steps", 0) or 0
    draft = Draft("linear", keys.file, training.line("warmup_steps"))
    draft.put("total_iters", max(1, steps - warmup), training.line("steps"))
    if warmup:
        operator = {"for": warmup, "start_factor": 1 / (warmup + 1)}
        draft.put("warmup", operator, training.line("warmup_steps"))
    notes.append("warmup_steps lies in [training]: read as torchtitan of 2024, with (t + 1) / (warmup_steps + 1)")
    return draft


def _put_rate(draft: Draft, keys: Keys, options: Run, defaults: dict[str, Any]) -> None:
    optimizer = keys.inner("optimizer")
    rate = optimizer.number("lr")
    if rate is None:
        rate = LEARNING_RATE
        if options.lr is None:
            defaults["optimizer.lr"] = rate
    draft.put("lr", rate, optimizer.line("lr"))


def _launch(training: Keys) -> Run:
    """The launch in optimizer steps; tokens a step where the whole batch is said."""
    whole, length = training.number("global_batch_size"), training.whole("seq_len")
    tokens = int(whole) * length if whole is not None and whole >= 1 and length else None
    batch = training.whole("local_batch_size") or training.whole("batch_size")
    return Run(batch_size=batch, tokens_per_step=tokens, interval="step")
