"""torchtitan's TOML."""

from __future__ import annotations

import math

import pytest

from tests.configs.support import entry, refusal, traced
from tests.support import agree

JOB = "job.toml\n[optimizer]\nlr = 0.01\n[lr_scheduler]\nwarmup_steps = 5\n[training]\nsteps = 20\n"


def test_a_job_gives_rates_and_tokens() -> None:
    """Up in 10, full, and from step 51 down over 50 with a cosine: the last step is one before the floor."""
    found = entry("torchtitan.toml")
    assert found.run.said == {"steps": 100, "interval": "step", "batch_size": 8, "tokens_per_step": 64 * 2048}
    assert not found.notes

    def factor(t: int) -> float:
        if t < 10:
            return (t + 1) / 10
        if t < 51:
            return 1.0
        return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (t + 1 - 51) / 50))

    agree(found.trace().lr, [8e-4 * factor(t) for t in range(100)])


def test_the_length_is_that_of_the_training() -> None:
    assert entry(JOB, {"steps": 30}).spec["training_steps"] == 30
    assert entry(JOB, None, training_steps=8).run.steps == 8
    assert entry("torchtitan.toml", {"tokens": 64 * 2048 * 40}).spec["training_steps"] == 40
    assert entry(JOB, {"epochs": 2, "steps_per_epoch": 6}).spec["training_steps"] == 12
    assert refusal(JOB, {"epochs": 2}) == (
        "job.toml: does not say how many steps an epoch has: add --steps-per-epoch, or --dataset-size"
    )
    decoupled = entry(JOB.replace("warmup_steps = 5", "warmup_steps = 5\ntotal_steps = 40"))
    assert (decoupled.spec["total_steps"], decoupled.run.steps) == (40, 20)


def test_lr_min_is_the_older_name() -> None:
    old = entry(JOB.replace("warmup_steps = 5", "lr_min = 0.1"))
    assert (old.spec["min_lr_factor"], old.spec["kind"]) == (0.1, "torchtitan.LRSchedulersContainer")
    assert old.notes == (
        "lr_min is read as min_lr_factor, its name since torchtitan 0.2, with the formula of 0.2.2",
        "not in the file, so as torchtitan has it: lr_scheduler.warmup_steps 200",
    )
    both = JOB.replace("warmup_steps = 5", "lr_min = 0.1\nmin_lr_factor = 0.2")
    assert refusal(both) == "job.toml:4: lr_scheduler.lr_min stands beside min_lr_factor, its newer name: leave one out"


def test_a_job_of_2024_warms_up_in_one_step_more() -> None:
    found = entry("torchtitan_2024.toml")
    assert found.notes == (
        "warmup_steps lies in [training]: read as torchtitan of 2024, with (t + 1) / (warmup_steps + 1)",
    )
    rates = [3e-4 * (t + 1) / 21 if t < 20 else 3e-4 * (1 - (t - 20) / 80) for t in range(100)]
    agree(found.trace().lr, rates)
    short = "old.toml\n[optimizer]\nlr = 1.0\n[training]\nsteps = 3\nwarmup_steps = 5\n"
    agree(traced(short).lr, [1 / 6, 2 / 6, 3 / 6])


def test_defaults_are_told() -> None:
    found = entry("j.toml\n[training]\nsteps = 4000\n[optimizer]\nname = 'AdamW'\n")
    told = "not in the file, so as torchtitan has it: optimizer.lr 0.0008, lr_scheduler.warmup_steps 200"
    assert found.notes == (told,)
    assert found.trace().lr.max() == pytest.approx(8e-4)
    bare = entry("j.toml\n[lr_scheduler]\nwarmup_steps = 3\n", {"lr": 0.1})
    assert bare.notes == ("not in the file, so as torchtitan has it: training.steps 10000",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "warmup_steps = 5",
            "warmup = 5",
            (
                "job.toml:4: lr_scheduler.warmup is no argument of LRSchedulersContainer "
                "(did you mean warmup_steps?), and torchtitan refuses it"
            ),
        ),
        ("lr = 0.01", "lr = '0.01'", "job.toml:2: optimizer.lr must be a number, got '0.01'"),
        ("steps = 20", "steps = 0", "job.toml:6: training.steps must be a whole number >= 1, got 0"),
        ("[optimizer]\nlr = 0.01", "optimizer = 3", "job.toml:1: optimizer must be a mapping, got 3"),
        ("steps = 20", "steps = 20\nsteps = 30", "job.toml:7: not valid TOML: Cannot overwrite a value"),
    ],
)
def test_what_is_refused(old: str, new: str, message: str) -> None:
    assert refusal(JOB.replace(old, new)) == message


def test_an_unknown_decay_fails_where_it_starts() -> None:
    bad = refusal(JOB.replace("warmup_steps = 5", 'warmup_steps = 5\ndecay_type = "exp"'))
    assert bad.startswith("job.toml:")
    assert "torchtitan" in bad
    assert "exp" in bad


def test_ticks_are_steps() -> None:
    assert refusal(JOB, {"interval": "epoch"}) == (
        "job.toml: --interval is epoch, but torchtitan steps its scheduler at every optimizer step"
    )
