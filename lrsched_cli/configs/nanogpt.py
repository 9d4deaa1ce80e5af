"""nanoGPT's Python variables: the ``get_lr`` of its train.py, of whose defaults a file of config/ replaces some.

train.py uses ``get_lr(iter_num)`` for update ``iter_num``. Its warm-up was ``it / warmup_iters`` until 2025 and is
``(it + 1) / (warmup_iters + 1)`` since; its loop makes an update at ``max_iters`` too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsched_cli.configs.source import (
    GET_LR,
    OLDER,
    UNKNOWN,
    Draft,
    Keys,
    Plan,
    Reading,
    defaults_note,
    laid_over,
    refuse_interval,
    said_length,
)
from lrsched_cli.errors import SpecError
from lrsched_cli.run import Run

#: What train.py has where a file says nothing.
DEFAULTS: dict[str, Any] = {
    "learning_rate": 6e-4,
    "max_iters": 600_000,
    "decay_lr": True,
    "warmup_iters": 2000,
    "lr_decay_iters": 600_000,
    "min_lr": 6e-5,
}


def read(keys: Keys) -> Reading:
    """What a nanoGPT configuration says."""
    warmup = keys.values.get(GET_LR)
    if warmup == UNKNOWN:
        raise SpecError("has a get_lr that is not nanoGPT's: write it as kind expression", file=keys.file)
    kind = "cosine" if keys.values.get("decay_lr", True) is not False else "constant"

    def plan(options: Run, given: Mapping[str, Any]) -> Plan:
        refuse_interval(options, "step", "nanoGPT sets the rate of every iteration")
        values, defaults = _values(keys, options)
        notes: list[str] = []
        if values["decay_lr"]:
            draft = _decaying(keys, values, warmup == OLDER, notes)
            if warmup is None and values["warmup_iters"]:
                notes.append(
                    "warm-up is (it + 1) / (warmup_iters + 1), as train.py has it now; before 2025 it was "
                    "it / warmup_iters"
                )
        else:
            draft = Draft("constant", keys.file, keys.line("decay_lr"))
        draft.put("lr", values["learning_rate"], keys.line("learning_rate"))
        launch = _launch(keys)
        steps = said_length(keys, options, launch)
        if steps is None:
            steps = values["max_iters"] + 1
            notes.append(f"{steps} updates: the loop of train.py makes one at max_iters {values['max_iters']} too")
        _refuse_division_by_zero(keys, values, steps)
        if defaults:
            notes.append(defaults_note("train.py", defaults))
        return Plan(draft.spec, laid_over(options, launch, steps=steps), tuple(notes))

    return Reading("nanogpt", {"kind": kind}, plan)


def _values(keys: Keys, options: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``get_lr`` needs, and which of it are train.py's own."""
    values: dict[str, Any] = {
        "learning_rate": keys.number("learning_rate"),
        "max_iters": keys.whole("max_iters", 0),
        "decay_lr": keys.flag("decay_lr"),
        "warmup_iters": keys.number("warmup_iters"),
        "lr_decay_iters": keys.number("lr_decay_iters"),
        "min_lr": keys.number("min_lr"),
    }
    missing = {name: DEFAULTS[name] for name, value in values.items() if value is None}
    values |= missing
    for name in ("warmup_iters", "min_lr"):
        if values[name] < 0:
            raise keys.must(name, ">= 0")
    used = {name: value for name, value in missing.items() if name != "decay_lr"}
    if not values["decay_lr"]:
        used = {name: value for name, value in used.items() if name in ("learning_rate", "max_iters")}
    if options.lr is not None:
        used.pop("learning_rate", None)
    if options.said.keys() & {"steps", "tokens", "epochs"}:
        used.pop("max_iters", None)
    return values, used


def _decaying(keys: Keys, values: Mapping[str, Any], older: bool, notes: list[str]) -> Draft:
    """Warm-up and cosine as our own kind, or as an expression where these are stricter than ``get_lr``."""
    lr, floor = values["learning_rate"], values["min_lr"]
    warmup, end = values["warmup_iters"], values["lr_decay_iters"]
    whole = warmup == int(warmup) and end == int(end)
    if not (whole and floor <= lr and end > warmup):
        if floor > lr:
            notes.append(f"min_lr {floor:g} is above learning_rate {lr:g}: the rate rises to it")
        return _expression(keys, values, older)
    draft = Draft("cosine", keys.file, keys.line("learning_rate"))
    draft.put("eta_min", floor, keys.line("min_lr"))
    draft.put("T_max", int(end - warmup), keys.line("lr_decay_iters"))
    if warmup:
        start = 0.0 if older else 1 / (int(warmup) + 1)
        draft.put("warmup", {"for": int(warmup), "start_factor": start}, keys.line("warmup_iters"))
    return draft


def _expression(keys: Keys, values: Mapping[str, Any], older: bool) -> Draft:
    floor, warmup, end = (repr(values[name]) for name in ("min_lr", "warmup_iters", "lr_decay_iters"))
    rise = f"lr * t / {warmup}" if older else f"lr * (t + 1) / ({warmup} + 1)"
    wave = f"{floor} + 0.5 * (1 + cos(pi * (t - {warmup}) / ({end} - {warmup}))) * (lr - {floor})"
    if values["lr_decay_iters"] <= values["warmup_iters"]:
        wave = floor
    draft = Draft("expression", keys.file, keys.line("lr_decay_iters"))
    draft.put("expr", f"{rise} if t < {warmup} else {floor} if t > {end} else {wave}")
    return draft


def _refuse_division_by_zero(keys: Keys, values: Mapping[str, Any], steps: int) -> None:
    warmup, end = values["warmup_iters"], values["lr_decay_iters"]
    if values["decay_lr"] and warmup == end and warmup == int(warmup) and steps > warmup:
        told = f"is warmup_iters {warmup} too, and get_lr divides by their difference at iteration {warmup}"
        raise keys.wrong("lr_decay_iters", told)


def _launch(keys: Keys) -> Run:
    """Batches and tokens; the accumulation is that of all processes together, so that tokens need no more."""
    sizes: dict[str, int] = {}
    for name in ("batch_size", "block_size", "gradient_accumulation_steps"):
        value = keys.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            sizes[name] = value
    tokens = None
    if len(sizes) == 3:
        tokens = sizes["batch_size"] * sizes["block_size"] * sizes["gradient_accumulation_steps"]
    return Run(batch_size=sizes.get("batch_size"), tokens_per_step=tokens, interval="step")
