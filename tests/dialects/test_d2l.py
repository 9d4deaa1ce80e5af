"""The d2l dialect beyond the recorded traces: the chapter's own loop, and schedulers that keep what they computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import agree, consistent, knots_are_honest, message_of, simulated

FACTOR = {"kind": "d2l.FactorScheduler", "factor": 0.5, "base_lr": 0.8}
STEPS = {"kind": "d2l.MultiFactorScheduler", "step": [2, 4], "factor": 0.5, "base_lr": 0.8}
COSINE = {"kind": "d2l.CosineScheduler", "max_update": 6, "warmup_steps": 2, "base_lr": 0.4, "final_lr": 0.2}


def rates(spec: dict[str, Any], total: int) -> np.ndarray:
    return simulated(spec, total).lr


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"kind": "d2l.SquareRootScheduler", "lr": 0.6}, [0.6, 0.6 / 2**0.5, 0.6 / 3**0.5, 0.3]),
        (FACTOR, [0.4, 0.2, 0.1, 0.05]),  # the first call has decayed already
        (STEPS, [0.8, 0.8, 0.4, 0.4, 0.2]),
        (COSINE, [0, 0.2, 0.4, 0.3 + 0.1 / 2**0.5, 0.3, 0.3 - 0.1 / 2**0.5, 0.2, 0.2]),
    ],
)
def test_a_scheduler_and_the_loop_that_lags(spec: dict[str, Any], expected: list[float]) -> None:
    agree(rates(spec, len(expected)), expected)
    own = spec.get("lr", 0.1)
    trace = simulated({**spec, "loop": True}, len(expected) + 1)
    agree(trace.lr, [own, *expected])
    told = f"epoch 0 uses the optimizer's rate {own}, and each other one the rate of the epoch before it"
    assert trace.schedule.notes(9) == (f"the loop of d2l lags: {told}",)
    assert simulated(spec).schedule.notes(9) == ()


def test_the_optimizer_may_have_another_rate_than_the_square_root() -> None:
    spec = {"kind": "d2l.SquareRootScheduler", "lr": 0.6, "optimizer_lr": 0.3}
    agree(rates({**spec, "loop": True}, 3), [0.3, 0.6, 0.6 / 2**0.5])
    agree(rates(spec, 2), [0.6, 0.6 / 2**0.5])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"stop_factor_lr": 0.15}, [0.4, 0.2, 0.15, 0.15]),
        ({"stop_factor_lr": 0.5}, [0.5, 0.5, 0.5]),
        ({"stop_factor_lr": 0}, [0.4, 0.2, 0.1]),
        ({"factor": 1}, [0.8, 0.8]),
        ({}, [0.4, 0.2]),
        ({"factor": 2, "base_lr": 0.1, "stop_factor_lr": 0.5}, [0.5, 1.0, 2.0]),  # grows from the floor
        ({"factor": -0.5, "stop_factor_lr": 0.1}, [0.1, 0.1, 0.1]),
        ({"factor": -0.5, "base_lr": -0.8, "stop_factor_lr": 0.1}, [0.4, 0.1, 0.1]),
        ({"factor": 0, "stop_factor_lr": 0.1}, [0.1, 0.1]),
        ({"base_lr": -0.8, "stop_factor_lr": -0.1}, [-0.1, -0.05, -0.025]),
        ({"base_lr": -0.1, "stop_factor_lr": -0.5, "factor": 2}, [-0.2, -0.4, -0.5, -0.5]),
    ],
)
def test_each_rate_of_a_factor_is_made_from_the_floored_one_before_it(
    params: dict[str, Any], expected: list[float]
) -> None:
    agree(rates({**FACTOR, **params}, len(expected)), expected)


def test_a_factor_reaches_its_floor() -> None:
    schedule = simulated({**FACTOR, "stop_factor_lr": 0.15}).schedule
    assert schedule.length == 2
    assert schedule(10**9) == 0.15
    assert simulated({**FACTOR, "stop_factor_lr": 0.15, "loop": True}).schedule.length == 3


def test_steps_in_any_order_count_once_and_only_where_a_call_meets_them() -> None:
    agree(rates({**STEPS, "step": [4, 2, 4, 2.5, -1, 3.0]}, 5), [0.8, 0.8, 0.4, 0.2, 0.1])
    agree(rates({**STEPS, "step": [0]}, 2), [0.4, 0.4])
    agree(rates({**STEPS, "step": []}, 2), [0.8, 0.8])
    assert simulated({**STEPS, "loop": True}).schedule.marks == ((3, "drop"), (5, "drop"))


def test_a_cosine_holds_the_last_rate_that_it_computed() -> None:
    odd = {**COSINE, "max_update": 5.5}
    last = 0.3 + 0.1 * np.cos(np.pi * 3 / 3.5)
    agree(rates(odd, 9)[5:], [last] * 4)
    assert rates(odd, 9)[5] > 0.2
    assert simulated(COSINE).schedule.length == 6
    assert simulated(COSINE).schedule.marks == ((2, "cosine"), (6, "hold"))
    agree(rates({**COSINE, "warmup_steps": 1.5}, 3)[1:], [0.4 / 1.5, 0.3 + 0.1 * np.cos(np.pi * 0.5 / 4.5)])
    agree(rates({**COSINE, "warmup_steps": -2}, 1), [0.3 + 0.1 * np.cos(np.pi * 2 / 8)])


def test_a_warm_up_that_outlasts_the_whole_raises_where_it_ends() -> None:
    assert message_of(rates, {**COSINE, "warmup_steps": 8}, 9) == (
        "d2l.CosineScheduler raises in d2l at tick 8: the warm-up outlasts max_update, and there is no base_lr to hold"
    )
    assert message_of(rates, {**COSINE, "warmup_steps": 6, "loop": True}, 9) == (
        "d2l.CosineScheduler raises in d2l at tick 7: the warm-up lasts until max_update: float division by zero"
    )
    agree(rates({**COSINE, "warmup_steps": 8}, 8), np.arange(8) * 0.05)
    assert simulated({**COSINE, "warmup_steps": 8}, 8).schedule.length is None


def test_what_is_refused() -> None:
    assert message_of(rates, {**FACTOR, "factor": -1, "stop_factor_lr": -1}, 3) == (
        "d2l.FactorScheduler: factor must be >= 0 where stop_factor_lr is negative: "
        "d2l makes negative rates of it, got -1"
    )
    assert message_of(rates, {**STEPS, "step": 3}, 3) == (
        "d2l.MultiFactorScheduler: step must be a list of ticks or durations, got 3 (d2l refuses it)"
    )
    assert message_of(rates, {"kind": "d2l.CosineScheduler"}, 3) == "d2l.CosineScheduler needs max_update"


@settings(deadline=None, max_examples=60)
@given(
    factor=st.integers(0, 110).map(lambda n: n / 100), floor=st.sampled_from([0, 1e-7, 0.05, 0.5]),
    steps=st.lists(st.integers(0, 60), max_size=4),
    end=st.integers(1, 90).map(lambda n: n / 2), warm=st.integers(0, 40), loop=st.booleans(), total=st.integers(1, 100),
)  # fmt: skip
def test_one_rule_however_it_is_asked(
    factor: float, floor: float, steps: list[int], end: float, warm: int, loop: bool, total: int
) -> None:
    specs: list[dict[str, Any]] = [{**FACTOR, "factor": factor, "stop_factor_lr": floor}, {**STEPS, "step": steps}]
    if warm < int(end):
        specs.append({**COSINE, "max_update": end, "warmup_steps": warm})
    for spec in (*specs, {"kind": "d2l.SquareRootScheduler"}):
        schedule = simulated({**spec, "loop": loop}, total).schedule
        consistent(schedule, total)
        knots_are_honest(schedule, total)
