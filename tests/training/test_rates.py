"""Which rate each update gets: against the plan's own trace and against torch's schedulers, stepped for real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsched_cli.spec import simulate
from lrsched_cli.training.rates import Course
from tests.support import torch_trace


def course(
    spec: Mapping[str, Any], *, epochs: int = 6, per_epoch: int = 4, interval: str = "epoch", updates: int = 0
) -> Course:
    """A course over whole epochs, or over so many updates."""
    updates = updates or epochs * per_epoch
    run: dict[str, Any] = {"interval": interval, "steps_per_epoch": per_epoch}
    run |= {"steps": updates} if interval == "step" else {"epochs": -(-updates // per_epoch)}
    trace = simulate({"lr": 0.1, **spec}, run)
    return Course(trace.schedule, interval, updates, per_epoch)


def used(found: Course, metrics: Sequence[float] = ()) -> np.ndarray:
    """The rates of the whole run, each epoch being told the metrics of those before it."""
    return np.concatenate([found.lr(epoch, metrics[:epoch]) for epoch in range(found.epochs)])


SPECS = [
    {"kind": "cosine", "eta_min": 0.001},
    {"kind": "step", "step_size": 2, "warmup": 2},
    {"kind": "torch.ExponentialLR", "gamma": 0.9},
    {"kind": "torch.MultiplicativeLR", "lr_lambda": "lambda t: 0.95"},
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["kind"])
def test_by_epoch_a_rate_lasts_an_epoch(spec: Mapping[str, Any]) -> None:
    found = course(spec)
    trace = simulate({"lr": 0.1, **spec}, {"epochs": 6})
    np.testing.assert_array_equal(used(found), np.repeat(trace.lr, 4))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["kind"])
def test_by_step_each_update_has_its_own(spec: Mapping[str, Any]) -> None:
    found = course(spec, interval="step")
    trace = simulate({"lr": 0.1, **spec}, {"steps": 24})
    np.testing.assert_array_equal(used(found), trace.lr)


@pytest.mark.parametrize(
    ("updates", "per_epoch", "epochs", "spans"),
    [
        (12, 4, 3, [(0, 4), (4, 8), (8, 12)]),
        (13, 5, 3, [(0, 5), (5, 10), (10, 13)]),
        (3, 5, 1, [(0, 3)]),
        (3, 1, 3, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_the_last_epoch_may_be_a_part_of_one(
    updates: int, per_epoch: int, epochs: int, spans: list[tuple[int, int]]
) -> None:
    found = course({"kind": "cosine"}, per_epoch=per_epoch, interval="step", updates=updates)
    assert found.epochs == epochs
    assert [found.span(epoch) for epoch in range(epochs)] == spans
    assert [len(found.lr(epoch)) for epoch in range(epochs)] == [last - first for first, last in spans]


@given(
    updates=st.integers(1, 60),
    per_epoch=st.integers(1, 9),
    interval=st.sampled_from(["epoch", "step"]),
    asked=st.lists(st.integers(0, 59), min_size=1, max_size=8),
)
def test_epochs_may_be_asked_for_in_any_order(updates: int, per_epoch: int, interval: str, asked: list[int]) -> None:
    found = course({"kind": "cosine"}, per_epoch=per_epoch, interval=interval, updates=updates)
    whole = used(course({"kind": "cosine"}, per_epoch=per_epoch, interval=interval, updates=updates))
    assert len(whole) == (updates if interval == "step" else found.updates)
    for number in asked:
        epoch = number % found.epochs
        np.testing.assert_array_equal(found.lr(epoch), whole[slice(*found.span(epoch))])


def test_a_long_run_has_the_rates_of_its_schedule_bit_for_bit() -> None:
    """However the epochs cut it: near the end of a cosine a piece that begins elsewhere is rounded otherwise."""
    found = course({"kind": "cosine"}, per_epoch=999, interval="step", updates=200_000)
    np.testing.assert_array_equal(used(found), found.schedule.values(0, 200_000))


# What training feeds back.


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_schedule_that_reacts_is_torchs_own(mode: str) -> None:
    metrics = np.random.default_rng(0).normal(size=40).cumsum().tolist()
    found = course({"kind": "plateau", "patience": 1, "factor": 0.5, "mode": mode}, epochs=40)
    lr_scheduler = pytest.importorskip("torch").optim.lr_scheduler
    theirs = torch_trace(lambda o: lr_scheduler.ReduceLROnPlateau(o, mode, 0.5, 1), 40, metrics=metrics)
    ours = used(found, metrics)
    np.testing.assert_allclose(ours, np.repeat(theirs["lr"], 4), rtol=1e-14)
    assert len(set(ours)) > 4


def test_metrics_of_the_plan_itself_are_not_used() -> None:
    """They are what it was drawn with; training has its own."""
    spec = {"kind": "plateau", "patience": 0, "factor": 0.5, "metrics": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    np.testing.assert_array_equal(used(course(spec), [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]), np.full(24, 0.1))
    assert used(course(spec), [1.0] * 6).tolist() == [0.1] * 8 + [0.05] * 4 + [0.025] * 4 + [0.0125] * 4 + [0.00625] * 4


def test_the_first_epoch_has_nothing_to_react_to() -> None:
    assert course({"kind": "plateau", "patience": 0}).lr(0).tolist() == [0.1] * 4


# Momentum.


@pytest.mark.parametrize("adam", [False, True])
def test_a_cycled_momentum_is_torchs_own(adam: bool) -> None:
    lr_scheduler = pytest.importorskip("torch").optim.lr_scheduler
    found = course({"kind": "torch.OneCycleLR", "max_lr": 0.1, "total_steps": 24}, interval="step")
    theirs = torch_trace(lambda o: lr_scheduler.OneCycleLR(o, 0.1, 24), 24, adam=adam)
    momenta = [found.momentum(epoch) for epoch in range(6)]
    np.testing.assert_allclose(np.concatenate(momenta), theirs["momentum"], rtol=1e-12)
    np.testing.assert_allclose(used(found), theirs["lr"], rtol=1e-12, atol=1e-13)


def test_a_momentum_by_epoch_lasts_an_epoch() -> None:
    found = course({"kind": "cyclic", "step_size_up": 3, "cycle_momentum": True})
    trace = simulate({"kind": "cyclic", "step_size_up": 3, "cycle_momentum": True, "lr": 0.1}, {"epochs": 6})
    np.testing.assert_array_equal(np.concatenate([found.momentum(e) for e in range(6)]), np.repeat(trace.momentum, 4))


def test_a_momentum_that_is_left_alone() -> None:
    assert course({"kind": "onecycle"}).momentum(0) is None


# Averaging.


@pytest.mark.parametrize(
    ("start", "interval", "expected"),
    [
        (2, "epoch", [False, False, True, True, True, True]),
        ("50%", "epoch", [False, False, False, True, True, True]),
        # By step: whether the last update of the epoch is one whose weights are averaged.
        (8, "step", [False, False, True, True, True, True]),
        (11, "step", [False, False, True, True, True, True]),
        (12, "step", [False, False, False, True, True, True]),
        (99, "step", [False] * 6),
    ],
)
def test_the_epochs_that_are_averaged(start: Any, interval: str, expected: list[bool]) -> None:
    found = course({"kind": "constant", "swa": start}, interval=interval)
    assert [found.averages(epoch) for epoch in range(6)] == expected


def test_what_has_no_average() -> None:
    assert not any(course({"kind": "constant"}).averages(epoch) for epoch in range(6))
