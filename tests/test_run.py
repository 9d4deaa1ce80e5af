"""Lengths: durations, the launch geometry against torch's own samplers and loaders, and options over a file."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrsched_cli as lrs
from lrsched_cli.run import MAX_TICKS, Clock, Duration, Run
from tests.support import message_of


def ticks(
    text: str, total: int = 100, interval: str = "step", per_epoch: int | None = 10, tokens: int | None = None
) -> int:
    return Clock(interval, total, per_epoch, tokens).ticks(Duration.parse(text))


# Durations.


@pytest.mark.parametrize(
    ("text", "total", "expected"),
    [
        ("0.1%", 12345, 12), ("0.07%", 10_000, 7), ("4.35%", 10_000, 435), ("1.1%", 1000, 11), ("33.3%", 1000, 333),
        ("2.5%", 100, 3), ("0.5%", 100, 1), ("1.5%", 100, 2), ("0.4%", 100, 1), ("1e-9%", 100, 1), ("0%", 100, 0),
        ("100%", 7, 7), ("50%", 7, 4), ("29%", 100, 29), ("57%", 100, 57), ("1e1%", 100, 10), ("+5%", 100, 5),
        (".5%", 1000, 5), ("5.%", 100, 5), ("1_0%", 100, 10), ("10 %", 100, 10), (" 10% ", 100, 10),
        ("0.1%", 10**15, 10**12), ("33.333333333333%", 3 * 10**14, 99_999_999_999_999), ("-10%", 100, -10),
    ],
)  # fmt: skip
def test_a_share_is_exact_decimal_arithmetic(text: str, total: int, expected: int) -> None:
    """The nearest tick, halves up, at least one of what is positive: never what a binary fraction makes of 0.07."""
    assert ticks(text, total) == expected


@pytest.mark.parametrize(
    ("text", "interval", "expected"),
    [
        ("5ep", "step", 50), ("5ep", "epoch", 5), ("1.5ep", "step", 15), ("0.05ep", "step", 1), ("1.5ep", "epoch", 2),
        ("500st", "step", 500), ("500st", "epoch", 50), ("4st", "epoch", 1), ("15st", "epoch", 2), ("14st", "epoch", 1),
        ("2e9tok", "step", 3815), ("2e9tok", "epoch", 381), ("1tok", "step", 1), ("0ep", "step", 0),
    ],
)  # fmt: skip
def test_every_unit_in_either_interval(text: str, interval: str, expected: int) -> None:
    assert ticks(text, 100, interval, 10, 524_288) == expected


@given(number=st.decimals(0, 100, places=4, allow_nan=False), total=st.integers(1, 10**15))
def test_a_share_is_the_nearest_tick(number: Any, total: int) -> None:
    found = ticks(f"{number}%", total)
    exact = Fraction(number) * total / 100
    assert abs(found - exact) <= Fraction(1, 2) or (found == 1 and 0 < exact < 1)
    assert found - exact != Fraction(-1, 2), "halves go up"


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("5 weeks", {}, "must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got '5 weeks'"),
        ("5", {}, "must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got '5'"),
        ("ep", {}, "must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got 'ep'"),
        ("1/3%", {}, "must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got '1/3%'"),
        ("nan%", {}, "must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got 'nan%'"),
        ("5ep", {"per_epoch": None}, "needs steps_per_epoch to turn 5ep into steps"),
        ("5st", {"per_epoch": None, "interval": "epoch"}, "needs steps_per_epoch to turn 5st into epochs"),
        ("2e9tok", {}, "needs tokens_per_step to turn 2000000000tok into steps"),
        ("1e99%", {}, "must be at most 1e+15, got '1e99'"),
        ("9" * 50 + "ep", {}, f"must be at most 1e+15, got '{'9' * 50}'"),
        ("1e30ep", {}, f"must be at most 1e+15 ticks, got 1{'0' * 30}ep"),
    ],
)
def test_what_a_refused_duration_says(text: str, given: dict[str, Any], message: str) -> None:
    assert message_of(ticks, text, **given) == message


def test_the_unit_of_a_default_depends_on_the_run() -> None:
    """30% of 90 epochs of 5 steps: epochs where ticks are epochs, steps where they are steps."""
    spec = {"kind": "step", "lr": 0.1}
    assert lrs.simulate(spec, {"epochs": 90}).schedule.step_size == 27
    assert lrs.simulate(spec, {"epochs": 90, "steps_per_epoch": 5}).schedule.step_size == 135


# The launch geometry.


def real_updates(size: int, batch: int, world: int, accumulation: int, drop: bool) -> int:
    """Optimizer steps in an epoch of a real loop over a real DataLoader with a DistributedSampler."""
    data = pytest.importorskip("torch.utils.data")
    sampler = data.DistributedSampler(range(size), num_replicas=world, rank=world - 1, shuffle=False, drop_last=drop)
    loader = data.DataLoader(range(size), batch_size=batch, sampler=sampler, drop_last=drop)
    updates = 0
    for i in range(len(loader)):
        # As accelerate and transformers do: on every full accumulation, and at the end of the epoch.
        updates += (i + 1) % accumulation == 0 or i + 1 == len(loader)
    return updates


@given(
    size=st.integers(1, 400), batch=st.integers(1, 17), world=st.integers(1, 9), accumulation=st.integers(1, 5),
    drop=st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=300)
def test_steps_per_epoch_are_those_of_a_real_loop(
    size: int, batch: int, world: int, accumulation: int, drop: bool
) -> None:
    real = real_updates(size, batch, world, accumulation, drop)
    said = {
        "dataset_size": size, "batch_size": batch, "world_size": world, "grad_accumulation": accumulation,
        "drop_last": drop,
    }  # fmt: skip
    if real == 0:
        told = f"dataset_size {size} with drop_last leaves no full batch of {batch} on {world} processes"
        assert message_of(lambda: Run(**said).clock()) == told
        return
    assert Run(**said).counted_steps_per_epoch == real
    assert Run(**said, epochs=3).clock() == Clock("step", 3 * real, real)


def test_a_real_loader_gives_as_many_batches_as_it_says() -> None:
    """What the test above takes from torch is really iterated, once."""
    data = pytest.importorskip("torch.utils.data")
    sampler = data.DistributedSampler(range(103), num_replicas=4, rank=1, drop_last=True)
    assert sum(1 for _ in data.DataLoader(range(103), batch_size=4, sampler=sampler, drop_last=True)) == 6
    assert Run(dataset_size=103, world_size=4, batch_size=4, drop_last=True).counted_steps_per_epoch == 6


def test_the_arithmetic_and_the_remainder_are_told() -> None:
    """The example of the contract: ImageNet on eight processes, four batches an update."""
    run = Run(dataset_size=1281167, batch_size=256, world_size=8, grad_accumulation=4, drop_last=True, epochs=90)
    assert run.counted_steps_per_epoch == 157
    counted, dropped, partial = run.notes
    assert counted == (
        "157 steps per epoch: floor(1281167 / 8) = 160145 samples a process, floor(160145 / 256) = 625 batches, "
        "ceil(625 / 4) = 157 updates"
    )
    assert dropped == "an epoch's last batch has 145 of 256 samples, and is dropped, on each process"
    assert partial.startswith("an epoch's last update accumulates 1 of 4 batches; ")
    assert partial.endswith("156 updates")
    assert Run(dataset_size=10, batch_size=4).notes == [
        "3 steps per epoch: ceil(10 / 4) = 3 batches", "an epoch's last batch has 2 of 4 samples"
    ]  # fmt: skip
    assert Run(dataset_size=12, batch_size=4).notes == ["3 steps per epoch: ceil(12 / 4) = 3 batches"]
    assert Run(epochs=3).notes == []


# Lengths, and what a tick is.


@pytest.mark.parametrize(
    ("said", "clock"),
    [
        ({}, Clock("epoch", 100)),
        ({"epochs": 30}, Clock("epoch", 30)),
        ({"steps": 30}, Clock("step", 30)),
        ({"steps_per_epoch": 5}, Clock("step", 500, 5)),
        ({"epochs": 30, "steps_per_epoch": 5}, Clock("step", 150, 5)),
        ({"epochs": 30, "steps_per_epoch": 5, "interval": "epoch"}, Clock("epoch", 30, 5)),
        ({"steps": 31, "steps_per_epoch": 5, "interval": "epoch"}, Clock("epoch", 7, 5)),
        ({"steps": 31, "steps_per_epoch": 5}, Clock("step", 31, 5)),
        ({"epochs": 3, "steps": 30}, Clock("step", 30, 10)),
        ({"epochs": 3, "steps": 30, "interval": "epoch"}, Clock("epoch", 3, 10)),
        ({"epochs": 6, "steps": 30, "steps_per_epoch": 5}, Clock("step", 30, 5)),
        ({"epochs": 3, "interval": "epoch"}, Clock("epoch", 3)),
        ({"steps": 3, "interval": "step", "tokens_per_step": 7}, Clock("step", 3, None, 7)),
        ({"steps": MAX_TICKS}, Clock("step", MAX_TICKS)),
        ({"epochs": 3.0}, Clock("epoch", 3)),
    ],
)
def test_the_clock_of_a_run(said: dict[str, Any], clock: Clock) -> None:
    assert Run.of(said).clock() == clock


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"epochs": 10, "steps": 7}, "steps 7 is not a whole number of steps in each of 10 epochs"),
        ({"epochs": 6, "steps": 31, "steps_per_epoch": 5},
         "steps 31 contradicts epochs 6 of 5 steps each, which make 30"),
        ({"dataset_size": 100, "batch_size": 10, "steps_per_epoch": 11},
         "steps_per_epoch 11 contradicts dataset_size 100, which gives 10 steps per epoch"),
        ({"epochs": 3, "interval": "step"}, "interval step needs steps, or steps_per_epoch beside epochs"),
        ({"steps": 3, "interval": "epoch"}, "interval epoch needs epochs, or steps_per_epoch beside steps"),
        ({"interval": "step"}, "interval step needs steps, or steps_per_epoch beside epochs"),
        ({"interval": "week"}, "interval must be step or epoch, got 'week'"),
        ({"epochs": 0}, "epochs must be a whole number >= 1, got 0"),
        ({"epochs": -3}, "epochs must be a whole number >= 1, got -3"),
        ({"epochs": 2.5}, "epochs must be a whole number >= 1, got 2.5"),
        ({"epochs": "3"}, "epochs must be a whole number >= 1, got '3'"),
        ({"epochs": True}, "epochs must be a whole number >= 1, got True"),
        ({"epochs": float("nan")}, "epochs must be a whole number >= 1, got nan"),
        ({"steps": 10**16}, "steps must be <= 1e+15, got 10000000000000000"),
        ({"epochs": 10**9, "steps_per_epoch": 10**9}, "steps must be <= 1e+15, got 1000000000000000000"),
        ({"lr": 0}, "lr must be a finite number > 0, got 0"),
        ({"lr": float("inf")}, "lr must be a finite number > 0, got inf"),
        ({"drop_last": 1}, "drop_last must be true or false, got 1"),
        ({"epoch": 3}, "run has no key 'epoch' (did you mean epochs?)"),
        ([3], "run must be a mapping such as {epochs: 90}, got [3]"),
    ],
)  # fmt: skip
def test_what_a_refused_run_says(said: Any, message: str) -> None:
    assert message_of(lambda: Run.of(said).clock()) == message


def test_a_schedules_own_length_fills_what_nobody_says() -> None:
    """Its total_steps or its metrics, and only where the run gives no length."""
    own = lrs.simulate({"kind": "onecycle", "lr": 0.1, "total_steps": 40})
    assert (own.interval, len(own)) == ("step", 40)
    assert len(lrs.simulate({"kind": "onecycle", "lr": 0.1, "total_steps": 40}, {"epochs": 7})) == 7
    losses = lrs.simulate({"kind": "plateau", "metrics": [3, 2, 1]})
    assert (losses.interval, len(losses)) == ("epoch", 3)
    assert len(lrs.simulate({"kind": "onecycle", "total_steps": "40%"})) == 100
    assert len(lrs.simulate({"kind": "cosine", "T_max": 40})) == 100


# One run over another.


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ({"epochs": 5}, {"epochs": 9, "lr": 0.5}, {"epochs": 5, "lr": 0.5}),
        ({"epochs": 5}, {"steps": 9}, {"epochs": 5}),
        ({"steps": 5}, {"epochs": 9, "steps_per_epoch": 2}, {"steps": 5, "steps_per_epoch": 2}),
        ({"steps_per_epoch": 5}, {"dataset_size": 100, "batch_size": 10, "epochs": 2},
         {"steps_per_epoch": 5, "batch_size": 10, "epochs": 2}),
        ({"dataset_size": 100}, {"steps_per_epoch": 5, "epochs": 2}, {"dataset_size": 100, "epochs": 2}),
        ({"batch_size": 5}, {"dataset_size": 100, "batch_size": 10}, {"dataset_size": 100, "batch_size": 5}),
        ({"batch_size": 5}, {"steps_per_epoch": 10}, {"steps_per_epoch": 10, "batch_size": 5}),
        ({"drop_last": False}, {"drop_last": True}, {"drop_last": False}),
        ({"interval": "epoch"}, {"interval": "step", "epochs": 3}, {"interval": "epoch", "epochs": 3}),
        ({}, {"epochs": 3}, {"epochs": 3}),
    ],
)  # fmt: skip
def test_an_option_over_a_file_never_contradicts_it(
    inner: dict[str, Any], outer: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert Run(**inner).over(Run(**outer)).said == expected
