"""What the recorded traces of DeepSpeed do not show: other shapes, stairs, long runs, momentum, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import agree, consistent, knots_are_honest, message_of, simulated

SIZES = st.integers(1, 40)


def gamma(t: int, warmup: int, shape: str) -> float | None:
    """How far the warm-up of update ``t`` is; None after it."""
    warmup, k = max(warmup, 2), t - 1
    if k >= warmup:
        return None
    return 0.0 if k < 0 else k / warmup if shape == "linear" else math.log(k + 1) / math.log(warmup)


@settings(deadline=None, max_examples=40)
@given(SIZES, st.sampled_from(["log", "linear"]), st.integers(1, 90), st.integers(1, 100))
def test_warm_ups_are_the_formula(warmup: int, shape: str, whole: int, run: int) -> None:
    rest = max(2, warmup)
    spec = {"warmup_num_steps": warmup, "warmup_type": shape}
    plain = simulated({"kind": "deepspeed.WarmupLR", "warmup_min_lr": 0.01, **spec}, run)
    line = simulated({"kind": "deepspeed.WarmupDecayLR", "warmup_max_lr": 0.2, "total_num_steps": whole, **spec}, run)
    wave = simulated(
        {
            "kind": "deepspeed.WarmupCosineLR",
            "total_num_steps": whole,
            "warmup_min_ratio": 0.2,
            "cos_min_ratio": 0.1,
            **spec,
        },
        run,
    )
    rates = []
    for t in range(run):
        g, k = gamma(t, warmup, shape), t - 1
        fall = max(0.0, (whole - k) / max(1.0, whole - rest))
        x = min(1.0, (k - rest + 1) / max(1, whole - rest))
        cosine = 0.1 + 0.9 * (1 + math.cos(math.pi * x)) / 2 if g is None else 0.2 + 0.8 * g
        rates.append(
            (0.01 + 0.09 * (1.0 if g is None else g), 0.2 * (fall if g is None else g), 0.1 * cosine * (t > 0))
        )
    for trace, expected in zip((plain, line, wave), np.array(rates).T, strict=True):
        agree(trace.lr, expected)
        consistent(trace.schedule, run)
        knots_are_honest(trace.schedule, run)


def test_one_step_of_warm_up_counts_as_two() -> None:
    agree(simulated({"kind": "deepspeed.WarmupLR", "warmup_num_steps": 1}, 5).lr, [0, 0, 0.1, 0.1, 0.1])
    line = {"kind": "deepspeed.WarmupLR", "warmup_num_steps": 1, "warmup_type": "linear"}
    agree(simulated(line, 5).lr, [0, 0, 0.05, 0.1, 0.1])


def test_a_short_total_is_a_warm_up_and_its_floor() -> None:
    spec = {"kind": "deepspeed.WarmupDecayLR", "total_num_steps": 3, "warmup_num_steps": 4, "warmup_min_lr": 0.0001}
    trace = simulated(spec, 8)
    agree(trace.lr[[0, 1, 4, 5, 7]], [0.0001, 0.0001, 0.001, 0.0001, 0.0001])
    assert "total_num_steps 3 is less than warmup_num_steps 4" in trace.schedule.notes(8)


def test_less_than_a_step_of_decay_is_divided_by_one() -> None:
    spec = {"kind": "deepspeed.WarmupDecayLR", "total_num_steps": 4.5, "warmup_num_steps": 4}
    agree(simulated(spec, 7).lr[4:], [0.001, 0.0005, 0.0])


def test_a_cosine_below_zero_stops_at_zero() -> None:
    spec = {"kind": "deepspeed.WarmupCosineLR", "total_num_steps": 6, "warmup_num_steps": 2, "cos_min_ratio": -1}
    agree(simulated(spec, 8).lr, [0, 0, 0.1, 0.1 * math.cos(math.pi / 4), 0, 0, 0, 0])


def test_the_first_update_of_the_cosine_is_at_zero_and_said() -> None:
    spec = {"kind": "deepspeed.WarmupCosineLR", "total_num_steps": 60, "warmup_num_steps": 10, "warmup_min_ratio": 0.1}
    trace = simulated(spec, 60)
    agree(trace.lr[:2], [0.0, 0.01])
    assert trace.schedule.notes(60) == ("update 0 has a rate of 0, although warmup_min_ratio is 0.1",)


def test_an_unknown_shape_is_the_logarithm_and_said() -> None:
    trace = simulated({"kind": "deepspeed.WarmupLR", "warmup_num_steps": 9, "warmup_type": "cosine"}, 12)
    agree(trace.lr, simulated({"kind": "deepspeed.WarmupLR", "warmup_num_steps": 9}, 12).lr)
    assert trace.schedule.notes(12) == ("deepspeed does not know warmup_type cosine, and uses log",)


@settings(deadline=None, max_examples=30)
@given(SIZES, st.floats(-0.02, 3), st.booleans(), st.integers(1, 100))
def test_a_range_test_is_the_formula(size: int, rate: float, stairs: bool, run: int) -> None:
    spec = {
        "kind": "deepspeed.LRRangeTest",
        "lr_range_test_min_lr": 0.01,
        "lr_range_test_step_size": size,
        "lr_range_test_step_rate": rate,
        "lr_range_test_staircase": stairs,
    }
    trace = simulated(spec, run)
    agree(trace.lr, [0.01 * (1 + rate * (t // size if stairs else t / size)) for t in range(run)])
    knots_are_honest(trace.schedule, run)
    assert trace.schedule.notes(run) == ("deepspeed.LRRangeTest sets the rate itself and ignores the optimizer's lr",)


CYCLE = {"kind": "deepspeed.OneCycle", "cycle_min_lr": 0.01, "cycle_max_lr": 0.1}


def height(t: int, up: int, down: int, stairs: tuple[int, int]) -> float:
    """How far up the cycle update ``t`` is."""
    x = t % (up + down)
    part, ticks, count = (x, up, stairs[0]) if x <= up else (up + down - x, down, stairs[1])
    return math.floor(part * count / ticks) / count if count else part / ticks


@settings(deadline=None, max_examples=60)
@given(
    SIZES, st.integers(0, 40), st.integers(0, 30), st.integers(0, 30), st.integers(0, 5), st.floats(0, 2),
    st.integers(1, 120),
)  # fmt: skip
def test_one_cycle_is_the_formula(
    up: int, down: int, first: int, second: int, size: int, decay: float, run: int
) -> None:
    spec = {
        **CYCLE,
        "cycle_first_step_size": up,
        "cycle_second_step_size": down,
        "cycle_first_stair_count": first,
        "cycle_second_stair_count": second,
        "decay_step_size": size,
        "decay_lr_rate": decay,
        "decay_mom_rate": decay,
    }
    trace = simulated(spec, run)
    lr, momentum = [], []
    for t in range(run):
        past = t - up - down
        grown = 1 + decay * past / size if size else 1.0
        part = height(t, up, down, (first, second))
        lr.append(0.01 + 0.09 * part if past <= 0 else 0.01 / grown)
        momentum.append(0.8 if t == 0 else 0.9 - 0.1 * part if past <= 0 else 0.9 * grown)
    agree(trace.lr, lr)
    agree(trace.momentum, momentum)
    consistent(trace.schedule, run)
    knots_are_honest(trace.schedule, run)


def test_a_cycle_of_no_whole_length_goes_on_for_one_more_update() -> None:
    trace = simulated({**CYCLE, "cycle_first_step_size": 2.5, "cycle_second_step_size": 2}, 8)
    agree(trace.lr, [0.01, 0.046, 0.082, 0.01 + 0.09 * 0.75, 0.01 + 0.09 * 0.25, 0.01 + 0.09 * 0.2, 0.01, 0.01])


def test_a_billion_steps_cost_nothing() -> None:
    spec = {**CYCLE, "cycle_first_step_size": 10**8, "cycle_first_stair_count": 10**6, "decay_step_size": 10**8}
    schedule = simulated({**spec, "decay_lr_rate": 1}, 10**9).schedule
    agree([schedule(50_000_000), schedule(50_000_099)], [0.055, 0.055])
    agree([schedule(10**9 - 1)], [0.01 / (9 - 1e-8)])
    assert schedule.marks == ((10**8, "fall"), (2 * 10**8, "decay"))


def test_only_an_optimizer_with_betas_has_a_momentum() -> None:
    spec = {**CYCLE, "cycle_first_step_size": 4, "decay_step_size": 2, "decay_mom_rate": 0.1, "decay_lr_rate": 0}
    ignores = "deepspeed.OneCycle sets the rate itself and ignores the optimizer's lr"
    cycled = "cycle_momentum is on: beta1 cycles between 0.8 and 0.9, and deepspeed sets beta2 to 0.99"
    adam = simulated({**spec, "optimizer": "adamw"}, 12)
    agree(adam.momentum[[0, 1, 4, 8, 10]], [0.8, 0.875, 0.8, 0.9, 0.99])
    assert adam.schedule.notes(12) == (
        ignores, cycled, "after the cycle beta1 grows, to 1.035 at the end of the run",
    )  # fmt: skip
    sgd = simulated({**spec, "optimizer": "sgd"}, 12)
    assert sgd.momentum is None
    assert sgd.schedule.notes(12) == (ignores, "deepspeed disables cycle_momentum: sgd has no betas")
    off = simulated({**spec, "cycle_momentum": False}, 12)
    assert off.momentum is None
    assert off.schedule.notes(12) == (ignores,)


def test_a_decay_that_has_no_size_is_said() -> None:
    trace = simulated({**CYCLE, "cycle_first_step_size": 3, "decay_lr_rate": 0.5, "cycle_momentum": False}, 12)
    agree(trace.lr[6:], [0.01] * 6)
    assert trace.schedule.notes(12)[1] == "deepspeed ignores decay_lr_rate while decay_step_size is 0"


def test_a_negative_decay_divides_by_zero_or_turns_round() -> None:
    spec = {**CYCLE, "cycle_first_step_size": 3, "decay_step_size": 4, "decay_lr_rate": -1, "cycle_momentum": False}
    told = "deepspeed.OneCycle raises in deepspeed at tick 10: decay_lr_rate makes it divide by zero"
    assert message_of(simulated, spec, 11) == told
    agree(simulated(spec, 10).lr[6:], [0.01, 0.01 / 0.75, 0.02, 0.04])
    round_ = simulated({**spec, "decay_step_size": 1.5}, 12)
    agree(round_.lr[6:10], [0.01, 0.03, -0.03, -0.01])
    knots_are_honest(round_.schedule, 12)


@pytest.mark.parametrize(
    ("kind", "params", "told"),
    [
        ("WarmupLR", {"warmup_num_steps": 0}, "warmup_num_steps must be a whole number > 0, got 0"),
        ("WarmupLR", {"warmup_num_steps": 10.0}, "warmup_num_steps must be a whole number > 0, got 10.0"),
        ("LRRangeTest", {"lr_range_test_step_size": -3}, "lr_range_test_step_size must be a whole number > 0, got -3"),
        ("OneCycle", {"cycle_first_step_size": 0}, "cycle_first_step_size must be > 0, got 0"),
        ("OneCycle", {"cycle_second_step_size": -1}, "cycle_second_step_size must be >= 0, got -1"),
    ],
)
def test_refusals(kind: str, params: dict[str, Any], told: str) -> None:
    own = CYCLE if kind == "OneCycle" else {}
    spec = {**own, "kind": f"deepspeed.{kind}", **params}
    assert message_of(simulated, spec) == f"deepspeed.{kind}: {told} (deepspeed raises ValueError)"


def test_a_value_a_group() -> None:
    agree(
        simulated({"kind": "deepspeed.WarmupLR", "warmup_num_steps": 2, "warmup_max_lr": [0.3]}, 5).lr[3:], [0.3, 0.3]
    )
    spec = {"kind": "deepspeed.WarmupLR", "warmup_max_lr": [0.1, 0.2]}
    told = "must have the same length as optimizer.param_groups, which is 1, got 2 values (deepspeed refuses it)"
    assert message_of(simulated, spec) == f"deepspeed.WarmupLR: warmup_max_lr {told}"


def test_required_ones_stay_required() -> None:
    told = "deepspeed.WarmupDecayLR: deepspeed.WarmupDecayLR needs total_num_steps"
    assert message_of(simulated, {"kind": "deepspeed.WarmupDecayLR"}) in (told, told.split(": ")[1])
