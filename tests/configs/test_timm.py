"""timm's args.yaml."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.configs.support import entry, refusal, traced
from tests.support import agree


def arguments(**options: Any) -> str:
    """Arguments of a short training with some of them replaced, or (None) left out."""
    base = {"sched": "cosine", "epochs": 12, "opt": "sgd", "lr": 0.1, "warmup_epochs": 0, "warmup_lr": 0.001, **options}
    return "args.yaml\n" + "".join(f"{key}: {value}\n" for key, value in base.items() if value is not None)


def test_the_dump_of_a_training() -> None:
    """5 epochs of warm-up in front, 40 of cosine, 5 of cooldown; a rate scaled by the square root of the batch."""
    found = entry("args.yaml", {"world_size": 4})
    lr = 0.1 * (128 * 4 * 2 / 256) ** 0.5
    assert lr == 0.2
    assert found.spec["lr"] == lr
    assert found.notes == ("lr 0.2: lr_base 0.1 for 1024 samples an update, sqrt in 256, as train.py",)
    assert found.run.said == {"epochs": 50, "interval": "epoch", "world_size": 4}
    warm = [1e-6 + t * (lr - 1e-6) / 5 for t in range(5)]
    fall = [1e-5 + (lr - 1e-5) * 0.5 * (1 + math.cos(math.pi * t / 40)) for t in range(40)]
    agree(found.trace().lr, [*warm, *fall, *[1e-5] * 5])


def test_the_rate_may_be_given_or_scaled() -> None:
    assert refusal("args.yaml") == (
        "args.yaml: does not say how many processes lr_base is scaled with, as lr is not given: add --world-size, "
        "or --lr"
    )
    assert entry("args.yaml", {"lr": 0.3}).trace().lr.max() == pytest.approx(0.3)
    linear = arguments(lr=None, lr_base=0.1, batch_size=64, world_size=2)
    assert entry(linear).spec["lr"] == 0.1 * 128 / 256
    assert entry(linear, {"batch_size": 128, "grad_accumulation": 2, "world_size": 1}).spec["lr"] == 0.1
    forced = arguments(lr=None, lr_base=0.1, opt="lamb", lr_base_scale="linear")
    assert entry(forced, {"world_size": 4}).spec["lr"] == 0.2


def test_what_the_factory_returns_is_how_long_it_trains() -> None:
    for options, epochs in (
        ({}, 12),
        ({"cooldown_epochs": 3}, 15),
        ({"cooldown_epochs": 3, "sched": "step"}, 12),
        ({"cooldown_epochs": 3, "sched": "wsd"}, 15),
        ({"warmup_epochs": 2}, 12),
        ({"warmup_epochs": 2, "warmup_prefix": "true"}, 14),
        ({"warmup_epochs": 2, "warmup_prefix": "true", "sched": "multistep"}, 14),
        ({"lr_cycle_limit": 3}, 36),
        ({"lr_cycle_limit": 3, "lr_cycle_mul": 2.0}, 84),
        ({"lr_cycle_limit": 3, "lr_cycle_mul": 1.5, "cooldown_epochs": 1}, 58),
    ):
        assert entry(arguments(**options)).run.epochs == epochs, options
    assert entry(arguments(), {"epochs": 30}).run.epochs == 30
    assert entry(arguments(cooldown_epochs=3), {"epochs": 30}).run.epochs == 33
    assert entry(arguments(), None, cooldown_epochs=4).run.epochs == 16


def test_schedulers_are_the_factorys() -> None:
    rates = traced(arguments(sched="step", decay_epochs=4, decay_rate=0.5)).lr
    agree(rates, [0.1] * 4 + [0.05] * 4 + [0.025] * 4)
    agree(traced(arguments(sched="none")).lr, [0.1] * 12)
    found = entry(arguments(sched="plateau", eval_metric="loss"), None, metrics=[1.0] * 12)
    assert found.spec["plateau_mode"] == "min"
    assert entry(arguments(eval_metric="top5")).spec["plateau_mode"] == "max"


def test_updates_are_counted_as_timm_counts_them() -> None:
    """ceil(103 / 2) = 52 samples a process, floor(52 / 8) = 6 batches, ceil(6 / 4) = 2 updates."""
    text = arguments(sched_on_updates="true", batch_size=8, grad_accum_steps=4, epochs=5)
    found = entry(text, {"dataset_size": 103, "world_size": 2})
    assert (found.run.steps_per_epoch, found.run.epochs, found.spec["updates_per_epoch"]) == (2, 5, 2)
    assert found.notes == (
        (
            "2 updates an epoch, as timm counts them: ceil(103 / 2) = 52 samples, floor(52 / 8) = 6 batches, "
            "ceil(6 / 4) updates"
        ),
    )
    rates = [0.1 * 0.5 * (1 + math.cos(math.pi * t / 10)) for t in range(10)]
    agree(found.trace().lr, rates)
    agree(traced(text, {"steps_per_epoch": 2}).lr, rates)
    agree(traced(text, {"steps_per_epoch": 2, "steps": 3}).lr, rates[:3])
    assert refusal(text) == (
        "args.yaml: does not say how many updates an epoch has, as sched_on_updates needs: add --steps-per-epoch, or "
        "--dataset-size and --world-size"
    )
    assert refusal(text, {"dataset_size": 9}) == (
        "args.yaml: does not say how many processes share the data: add --world-size"
    )
    assert refusal(text, {"dataset_size": 9, "world_size": 2}) == (
        "args.yaml: --dataset-size 9 leaves no full batch of 8"
    )


def test_defaults_of_train_are_told() -> None:
    found = entry("c.yaml\nsched: cosine\nopt: sgd\nlr: 0.1\n")
    assert found.notes == (
        ("not in the file, so as timm's train.py has it: warmup_lr 1e-05, warmup_epochs 5, epochs 300"),
    )
    assert found.run.epochs == 300


@pytest.mark.parametrize(
    ("options", "run", "message"),
    [
        ({"sched": "cosin"}, None, "args.yaml:1: sched is no scheduler of timm: 'cosin' (did you mean cosine?)"),
        ({"epochs": 1.5}, None, "args.yaml:2: epochs must be a whole number >= 1, got 1.5"),
        ({"lr": "'fast'"}, None, "args.yaml:4: lr must be a number, got 'fast'"),
        ({"sched_on_updates": 1}, None, "args.yaml:7: sched_on_updates must be true or false, got 1"),
        (
            {"lr_cycle_limit": 500, "lr_cycle_mul": 3.0},
            None,
            "args.yaml:7: lr_cycle_limit 500 makes the run longer than can be counted",
        ),
        (
            {},
            {"interval": "step"},
            ("args.yaml: --interval is step, but timm steps its scheduler at every epoch without sched_on_updates"),
        ),
        ({}, {"steps": 3}, "args.yaml: --steps is no length here: timm counts epochs, so say --epochs"),
        ({"warmup_epochs": "x", "warmup_prefix": "true"}, None, "args.yaml:5: warmup_epochs must be a number, got 'x'"),
    ],
)
def test_what_is_refused(options: dict[str, Any], run: dict[str, Any] | None, message: str) -> None:
    assert refusal(arguments(**options), run) == message


def test_noise_is_refused_with_a_reason() -> None:
    assert "noise" in refusal(arguments(lr_noise="[0.4, 0.9]"))
