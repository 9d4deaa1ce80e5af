"""DeepSpeed's ds_config.json."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from tests.configs.support import entry, refusal, traced
from tests.support import agree

SCHEDULER = {"type": "WarmupDecayLR", "params": {"total_num_steps": 40, "warmup_num_steps": 4}}


def config(**changes: Any) -> str:
    """A small ds_config with some of it replaced, or (None) left out."""
    base = {
        "train_micro_batch_size_per_gpu": 4,
        "optimizer": {"type": "AdamW", "params": {"lr": 0.01}},
        "scheduler": SCHEDULER,
        **changes,
    }
    return "ds.json\n" + json.dumps({key: value for key, value in base.items() if value is not None}, indent=1)


def test_a_whole_config_gives_rates_and_geometry() -> None:
    """WarmupDecayLR, linear: the first rate twice, up in 50 steps, down in 450."""
    found = entry("ds_config.json")
    assert (found.name, found.run.said) == (
        "ds_config",
        {"steps": 500, "interval": "step", "batch_size": 8, "grad_accumulation": 4, "world_size": 8},
    )
    assert found.spec["lr"] == 3e-4
    trace = found.trace()
    low, high = 1e-6, 3e-4

    def gamma(k: int) -> float:
        return k / 50 if k < 50 else max(0.0, (500 - k) / 450)

    agree(trace.lr, [low, *(low + (high - low) * gamma(k) for k in range(499))])


def test_the_launch_turns_a_dataset_into_steps() -> None:
    """8 samples on each of 8 processes, 4 batches an update: 256 samples an update."""
    found = entry("ds_config.json", {"epochs": 2, "dataset_size": 1000})
    assert found.run.steps == 2 * math.ceil(math.ceil(math.ceil(1000 / 8) / 8) / 4)
    assert found.trace().clock.steps_per_epoch == 4
    assert any("125 samples a process" in note for note in found.run.notes)


def test_the_base_rate_is_the_optimizers() -> None:
    cosine = {
        "type": "WarmupCosineLR",
        "params": {"total_num_steps": 30, "warmup_num_steps": 5, "warmup_type": "linear"},
    }
    rates = traced(config(scheduler=cosine)).lr
    assert len(rates) == 30
    expected = [0.0]
    for k in range(29):
        x = min(1.0, (k - 5 + 1) / 25)
        expected.append(0.01 * (k / 5 if k < 5 else 1e-4 + (1 - 1e-4) * 0.5 * (1 + math.cos(math.pi * x))))
    agree(rates, expected)
    agree(traced(config(scheduler=cosine), {"lr": 0.02}).lr, 2 * np.array(expected))


def test_a_scheduler_of_torch_is_one_too() -> None:
    step = {"type": "StepLR", "params": {"step_size": 3, "gamma": 0.5}}
    agree(traced(config(scheduler=step), {"steps": 7}).lr, [0.01] * 3 + [0.005] * 3 + [0.0025])


def test_onecycle_knows_what_momentum_is() -> None:
    cycle = {"type": "OneCycle", "params": {"cycle_min_lr": 0.1, "cycle_max_lr": 0.2, "cycle_first_step_size": 5}}
    for name, means in (("AdamW", "adamw"), ("OneBitAdam", "adam"), ("Lamb", "adam"), ("SGD", "sgd")):
        found = entry(config(scheduler=cycle, optimizer={"type": name, "params": {"lr": 1}}), {"steps": 10})
        assert found.spec["optimizer"] == means
    assert "optimizer" not in entry(config(scheduler=cycle, optimizer=None), {"steps": 10}).spec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"scheduler": None},
            (
                "ds.json: has no scheduler: DeepSpeed then leaves the rate to the code that made the "
                "optimizer, or to its Trainer"
            ),
        ),
        (
            {"scheduler": {"type": "WarmupDecayLr", "params": {}}},
            (
                "ds.json:10: scheduler.type is no scheduler of DeepSpeed "
                "or torch: 'WarmupDecayLr' (did you mean WarmupDecayLR?)"
            ),
        ),
        (
            {"scheduler": {"type": "WarmupLR"}},
            ("ds.json:10: scheduler.type is WarmupLR, but scheduler has no params: DeepSpeed fails without"),
        ),
        ({"scheduler": {"type": 3}}, "ds.json:10: scheduler.type must be text, got 3"),
        ({"scheduler": "WarmupLR"}, "ds.json:9: scheduler must be a mapping, got 'WarmupLR'"),
        (
            {"scheduler": {"type": "WarmupLR", "params": {"warmup_steps": 3}}},
            (
                "ds.json:12: scheduler.params.warmup_steps "
                "is no argument of WarmupLR (did you mean warmup_num_steps?), and DeepSpeed refuses it"
            ),
        ),
        (
            {"scheduler": {"type": "WarmupLR", "params": {"lr": 3}}},
            "ds.json:12: scheduler.params.lr is no argument of WarmupLR, and DeepSpeed refuses it",
        ),
        (
            {"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 3}}, "optimizer": None},
            "ds.json: does not say the rate of the optimizer (optimizer.params.lr): add --lr",
        ),
        (
            {"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 3}}},
            "ds.json: does not say how many steps training has: add --steps",
        ),
        (
            {"optimizer": {"type": "Adam", "params": {"lr": "3e-4"}}},
            "ds.json:6: optimizer.params.lr must be a number, got '3e-4'",
        ),
        (
            {"train_micro_batch_size_per_gpu": 0},
            "ds.json:2: train_micro_batch_size_per_gpu must be a whole number >= 1, got 0",
        ),
        (
            {"train_batch_size": 30, "gradient_accumulation_steps": 2},
            (
                "ds.json:16: train_batch_size must be "
                "train_micro_batch_size_per_gpu 4 * gradient_accumulation_steps 2 * the number of processes, got 30"
            ),
        ),
        (
            {"train_batch_size": 6},
            ("ds.json:16: train_batch_size must be train_micro_batch_size_per_gpu 4 * the number of processes, got 6"),
        ),
    ],
)
def test_what_deepspeed_refuses_or_does_not_say(changes: dict[str, Any], message: str) -> None:
    assert refusal(config(**changes)) == message


def test_a_negative_length_is_refused_by_the_library_with_its_line() -> None:
    bad = {"type": "WarmupLR", "params": {"warmup_num_steps": -5}}
    text = refusal(config(scheduler=bad), {"steps": 10})
    assert text == ("ds.json:12: ds: warmup_num_steps must be a whole number > 0, got -5 (deepspeed raises ValueError)")


def test_batch_sizes_must_agree_with_the_processes_that_the_command_line_says() -> None:
    whole = {"train_batch_size": 64, "gradient_accumulation_steps": 2}
    assert entry(config(**whole)).run.world_size == 8
    assert refusal(config(**whole), {"world_size": 4}) == (
        "ds.json:16: train_batch_size must be train_micro_batch_size_per_gpu 4 * gradient_accumulation_steps 2 * 4 "
        "processes, got 64"
    )
    # Of two of the three, the third follows from the processes; without them it is unknown, and nothing is made up.
    assert entry(config(train_batch_size=64), {"world_size": 4}).run.grad_accumulation == 4
    assert entry(config(train_batch_size=64)).run.grad_accumulation is None
    alone = config(train_batch_size=64, train_micro_batch_size_per_gpu=None, zero_optimization={"stage": 1})
    run = entry(alone, {"world_size": 4}).run
    assert (run.batch_size, run.grad_accumulation) == (16, 1)
    assert refusal(config(train_batch_size=64), {"world_size": 5}).endswith("* 5 processes, got 64")


def test_auto_is_asked_for_by_the_option_that_says_it() -> None:
    def told(key: str, source: str, option: str, **options: Any) -> None:
        text = refusal("ds_auto.json", options.pop("run", None), **options)
        assert text.endswith(f"{key} is auto, which the Trainer of transformers fills from its {source}: add {option}")

    told("scheduler.params.total_num_steps", "number of training steps", "--steps")
    told("scheduler.params.warmup_max_lr", "learning_rate", "--lr", run={"steps": 50})
    told("scheduler.params.warmup_num_steps", "warmup_steps", "--warmup-num-steps", run={"steps": 50, "lr": 0.01})
    found = entry("ds_auto.json", {"steps": 50, "lr": 0.01}, warmup_num_steps=10)
    assert found.notes == ("scheduler.params.warmup_min_lr is auto: the Trainer of transformers makes it 0",)
    expected = [0.0, *(0.01 * (k / 10 if k < 10 else (50 - k) / 40) for k in range(49))]
    agree(found.trace().lr, expected)


def test_an_auto_without_a_source_names_its_option() -> None:
    odd = {"type": "WarmupLR", "params": {"warmup_num_steps": 3, "warmup_type": "auto"}}
    assert refusal(config(scheduler=odd)) == (
        "ds.json:13: scheduler.params.warmup_type is auto, which the Trainer of transformers fills: add --warmup-type"
    )
    rate = config(optimizer={"type": "AdamW", "params": {"lr": "auto"}}, scheduler={"type": "WarmupLR", "params": {}})
    assert refusal(rate, {"steps": 5}).endswith(
        "optimizer.params.lr is auto, which the Trainer of transformers fills from its learning_rate: add --lr"
    )


def test_ticks_are_steps() -> None:
    assert refusal("ds_config.json", {"interval": "epoch"}) == (
        "ds_config.json: --interval is epoch, but DeepSpeed steps its scheduler at every optimizer step"
    )
