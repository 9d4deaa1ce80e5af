"""Hugging Face training arguments, and LLaMA-Factory's files, which are some."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from tests.configs.support import entry, refusal, traced
from tests.support import agree


def arguments(**changes: Any) -> str:
    """Training arguments of 100 steps with some of them replaced, or (None) left out."""
    base = {"learning_rate": 0.01, "max_steps": 100, "lr_scheduler_type": "linear", **changes}
    return "args.json\n" + json.dumps({key: value for key, value in base.items() if value is not None}, indent=1)


def linear(warmup: int, total: int, lr: float) -> list[float]:
    """transformers' linear, by hand."""
    fall = max(1, total - warmup)
    return [lr * t / warmup if t < warmup else lr * max(0, total - t) / fall for t in range(total)]


def test_epochs_become_steps_through_the_launch() -> None:
    """10,000 samples on 4 processes, 16 each and 2 batches an update: 79 updates an epoch, 198 in 2.5 epochs."""
    found = entry("training_args.json", {"dataset_size": 10_000, "world_size": 4})
    updates = math.ceil(math.ceil(math.ceil(10_000 / 4) / 16) / 2)
    total = math.ceil(2.5 * updates)
    assert (updates, total) == (79, 198)
    assert (found.run.steps, found.run.batch_size, found.run.grad_accumulation) == (total, 16, 2)
    assert found.spec["num_training_steps"] == total
    warmup = math.ceil(total * 0.06)
    assert found.spec["num_warmup_steps"] == warmup
    trace = found.trace()
    assert (trace.clock.interval, trace.clock.steps_per_epoch) == ("step", updates)
    agree(trace.lr, linear(warmup, total, 3e-5))
    assert found.notes == (
        "warmup_ratio 0.06: ceil(198 * 0.06) = 12 steps of warm-up (transformers 5 has it as warmup_steps 0.06)",
    )


def test_max_steps_come_before_epochs() -> None:
    found = entry("recipe.yaml")
    rates = found.trace().lr
    waves = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (t - 20) / 180)) for t in range(20, 200)]
    agree(rates, [2e-5 * t / 20 for t in range(20)] + [2e-5 * wave for wave in waves])


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, 100),
        ({"steps": 60}, 60),
        ({"epochs": 3, "steps_per_epoch": 7}, 21),
        ({"steps": 20, "epochs": 4}, 20),
        ({"tokens": 5000, "tokens_per_step": 100}, 50),
    ],
)
def test_the_command_lines_length_replaces_the_files(options: dict[str, int], steps: int) -> None:
    found = entry(arguments(), options)
    assert found.spec["num_training_steps"] == steps
    assert found.trace().clock.total == steps


def test_a_kinds_own_option_is_the_length_where_the_run_has_none() -> None:
    found = entry(arguments(max_steps=None), None, num_training_steps=40)
    assert found.trace().clock.total == 40
    longer = entry(arguments(), {"steps": 100}, num_training_steps=50).trace()
    assert len(longer) == 100
    agree(longer.lr, [*linear(0, 50, 0.01), *[0.0] * 50])


@pytest.mark.parametrize(
    ("changes", "warmup", "notes"),
    [
        ({"warmup_steps": 7}, 7, ()),
        ({"warmup_steps": 7.9}, 7, ()),
        ({"warmup_steps": 0.071}, 8, ("warmup_steps 0.071: ceil(100 * 0.071) = 8 steps of warm-up",)),
        (
            {"warmup_ratio": 0.071},
            8,
            (
                (
                    "warmup_ratio 0.071: ceil(100 * 0.071) = 8 steps of warm-up (transformers 5 has it "
                    "as warmup_steps 0.071)"
                ),
            ),
        ),
        ({"warmup_steps": 7, "warmup_ratio": 0.2}, 7, ("transformers ignores warmup_ratio 0.2 beside warmup_steps 7",)),
        ({"warmup_steps": 0, "warmup_ratio": 0.0}, 0, ()),
        ({}, 0, ()),
    ],
)
def test_warm_up_is_steps_or_a_ratio(changes: dict[str, Any], warmup: int, notes: tuple[str, ...]) -> None:
    found = entry(arguments(**changes))
    assert (found.spec["num_warmup_steps"], found.notes) == (warmup, notes)
    agree(found.trace().lr, linear(warmup, 100, 0.01))


def test_defaults_are_told() -> None:
    found = entry("a.json\n" + json.dumps({"num_train_epochs": 2}), {"steps_per_epoch": 5})
    assert found.notes == ("not in the file, so as transformers has it: lr_scheduler_type linear, learning_rate 5e-05",)
    agree(found.trace().lr, linear(0, 10, 5e-5))
    bare = entry("a.json\n" + json.dumps({"lr_scheduler_type": "cosine"}), {"dataset_size": 16, "world_size": 1})
    assert bare.run.steps == 6
    assert bare.notes == (
        (
            "not in the file, so as transformers has it: learning_rate 5e-05, num_train_epochs 3.0, "
            "per_device_train_batch_size 8"
        ),
    )
    assert not entry(arguments(learning_rate=None), {"lr": 0.1}).notes


def test_names_are_read_as_arguments_print_themselves() -> None:
    for written, kind in (
        ("SchedulerType.COSINE", "cosine"),
        ("SchedulerType.REDUCE_ON_PLATEAU", "reduce_lr_on_plateau"),
        ("constant_with_warmup", "constant_with_warmup"),
    ):
        assert entry(arguments(lr_scheduler_type=written), {"steps": 5}).spec["kind"] == f"transformers.{kind}"


def test_arguments_of_the_scheduler_are_its_parameters() -> None:
    kwargs = {"num_cycles": 2, "min_lr": 0.001}
    rates = traced(arguments(lr_scheduler_type="cosine_with_min_lr", lr_scheduler_kwargs=kwargs)).lr
    agree(rates, [0.001 + 0.009 * 0.5 * (1 + math.cos(2 * math.pi * 2 * t / 100)) for t in range(100)])
    as_text = traced(arguments(lr_scheduler_type="cosine_with_min_lr", lr_scheduler_kwargs=json.dumps(kwargs))).lr
    np.testing.assert_array_equal(as_text, rates)


def test_what_the_library_ignores_is_told() -> None:
    """``get_scheduler`` calls two of its functions without lr_scheduler_kwargs."""
    found = entry(arguments(lr_scheduler_type="constant", lr_scheduler_kwargs={"num_cycles": 2}, warmup_steps=5))
    assert found.notes == ("transformers ignores lr_scheduler_kwargs num_cycles for constant",)
    assert found.trace().schedule.notes(100) == (
        "transformers ignores num_warmup_steps 5 here: use constant_with_warmup",
    )


def test_a_metric_driven_type_ticks_with_its_metric() -> None:
    plateau = arguments(lr_scheduler_type="reduce_lr_on_plateau", lr_scheduler_kwargs={"patience": 0, "factor": 0.5})
    found = entry(plateau, None, metrics=[1.0, 1.0, 1.0])
    assert "a tick is an evaluation here" in found.notes[0]
    agree(found.trace().lr, [0.01, 0.01, 0.005])
    agree(traced(plateau, {"steps": 2}).lr, [0.01, 0.01])
    assert refusal(plateau) == (
        "args.json: does not say how the metric went that drives its scheduler: add --metrics FILE:COLUMN"
    )


def test_a_deepspeed_config_beside_it_may_have_the_last_word() -> None:
    found = entry(arguments(deepspeed="ds.json"))
    assert found.notes == (
        "if ds.json has a scheduler of its own, that takes the place of this one: lrsched plot ds.json",
    )
    assert not entry(arguments(deepspeed={"zero_optimization": {"stage": 2}})).notes
    text = refusal(arguments(deepspeed={"scheduler": {"type": "WarmupLR"}}))
    assert text == (
        "args.json:5: deepspeed has a scheduler of its own, which takes the place of the Trainer's: plot that as a "
        "file "
        "by itself"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"lr_scheduler_type": "cosin"},
            "args.json:4: lr_scheduler_type is no scheduler that is known here: 'cosin' (did you mean cosine?)",
        ),
        ({"lr_scheduler_type": 3}, "args.json:4: lr_scheduler_type must be text, got 3"),
        ({"learning_rate": "2e-5"}, "args.json:2: learning_rate must be a number, got '2e-5'"),
        ({"learning_rate": [1]}, "args.json:2: learning_rate must be a number, got [1]"),
        ({"warmup_steps": -1}, "args.json:5: warmup_steps must be >= 0, got -1"),
        ({"warmup_ratio": 1.5}, "args.json:5: warmup_ratio must be from 0 to 1, got 1.5"),
        (
            {"lr_scheduler_kwargs": {"num_cycles": 2}},
            ("args.json:6: lr_scheduler_kwargs.num_cycles is no argument of linear, and transformers refuses it"),
        ),
        (
            {"lr_scheduler_kwargs": {"warmup": 2}},
            "args.json:6: lr_scheduler_kwargs.warmup is no argument of linear, and transformers refuses it",
        ),
        (
            {"lr_scheduler_kwargs": {"num_training_steps": 2}},
            (
                "args.json:6: lr_scheduler_kwargs.num_training_steps is given "
                "by transformers itself, which refuses it twice"
            ),
        ),
        (
            {"lr_scheduler_kwargs": "{num_cycles"},
            ("args.json:5: lr_scheduler_kwargs must be a mapping, or one in JSON, got '{num_cycles'"),
        ),
        ({"lr_scheduler_kwargs": 2}, "args.json:5: lr_scheduler_kwargs must be a mapping, got 2"),
        ({"max_steps": 2.5}, "args.json:3: max_steps must be a whole number >= -1, got 2.5"),
        ({"max_steps": -1, "num_train_epochs": 0}, "args.json:5: num_train_epochs must be > 0, got 0"),
        (
            {"max_steps": None},
            (
                "args.json: does not say how many steps training has: add --steps, or --steps-per-epoch, "
                "or --dataset-size"
            ),
        ),
        ({"log_history": []}, "args.json: is a trainer_state.json: what a run did, and not the arguments that it had"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    assert refusal(arguments(**changes)) == message


def test_what_the_command_line_must_add_is_named() -> None:
    free = arguments(max_steps=None, num_train_epochs=2, per_device_train_batch_size=4)
    assert refusal(free, {"dataset_size": 64}) == (
        "args.json: does not say how many processes share the data: add --world-size"
    )
    assert entry(free, {"dataset_size": 64, "world_size": 2}).run.steps == 16
    assert refusal(free, {"interval": "epoch", "steps": 3}) == (
        "args.json: --interval is epoch, but the Trainer steps its scheduler at every optimizer step"
    )
    assert refusal(arguments(max_steps=None, num_train_epochs=1e300), {"steps_per_epoch": 9}) == (
        "args.json:4: num_train_epochs must be such that they make at most 1e+15 steps, got 1e+300"
    )
    split = arguments(max_steps=None, accelerator_config={"split_batches": True})
    assert "with split_batches: add --steps-per-epoch" in refusal(split, {"dataset_size": 64, "world_size": 2})
    assert refusal(arguments(), {"steps": 100, "epochs": 3, "steps_per_epoch": 5}).endswith(
        "steps 100 contradicts epochs 3 of 5 steps each, which make 15"
    )


def test_several_devices_of_one_process_share_its_batch() -> None:
    both = arguments(max_steps=None, num_train_epochs=1, per_device_train_batch_size=4, _n_gpu=2)
    assert entry(both, {"dataset_size": 80, "world_size": 1}).run.steps == 10


# LLaMA-Factory.


def test_llamafactory_is_training_arguments() -> None:
    found = entry("llamafactory.yaml", {"dataset_size": 1000, "world_size": 1})
    total = math.ceil(3.0 * 125)
    assert (found.run.steps, found.spec["num_warmup_steps"]) == (total, 38)
    falls = [0.5 * (1 + math.cos(math.pi * (t - 38) / (total - 38))) for t in range(38, total)]
    agree(found.trace().lr, [1e-4 * t / 38 for t in range(38)] + [1e-4 * fall for fall in falls])


def test_llamafactorys_ppo_counts_otherwise() -> None:
    text = "p.yaml\nstage: ppo\nmodel_name_or_path: x\nfinetuning_type: lora\nlearning_rate: 1.0e-5\n"
    told = "p.yaml: does not say how many steps training has, as stage ppo counts them: add --steps"
    assert refusal(text, {"dataset_size": 100, "world_size": 1}) == told
    assert entry(text, {"steps": 10}).trace().clock.total == 10
    assert entry(text + "max_steps: 12\n").trace().clock.total == 12
