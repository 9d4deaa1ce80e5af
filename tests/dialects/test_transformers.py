"""The transformers dialect where its recorded traces do not look: edges, refusals, notes and long runs."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lrsched_cli import simulate
from lrsched_cli.dialects.transformers import KINDS
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.parameters import params_of
from tests.support import agree, consistent, knots_are_honest, message_of, simulated

LIBRARY = "transformers"


def rates(name: str, total: int, **params: Any) -> list[float]:
    return simulated({"kind": f"{LIBRARY}.{name}", **params}, total).lr.tolist()  # type: ignore[no-any-return]


def made(name: str, total: int = 100, **params: Any) -> Schedule:
    return simulated({"kind": f"{LIBRARY}.{name}", **params}, total).schedule


def message(name: str, total: int = 100, **params: Any) -> str:
    told = message_of(rates, name, total, **params)
    assert LIBRARY in told
    return told.removeprefix(f"{LIBRARY}.{name}").removeprefix(":").strip()


def steps(warmup: float, training: float) -> dict[str, float]:
    return {"num_warmup_steps": warmup, "num_training_steps": training}


# Each value by hand, from the formula in the library.


def test_a_warm_up_of_less_than_a_step_is_divided_by_one() -> None:
    assert rates("constant_with_warmup", 3, num_warmup_steps=0.5) == [0, 0.1, 0.1]
    agree(rates("constant_with_warmup", 4, num_warmup_steps=2.5), [0, 0.04, 0.08, 0.1])


def test_a_run_shorter_than_its_warm_up_drops_to_its_end() -> None:
    agree(rates("linear", 6, **steps(4, 2)), [0, 0.025, 0.05, 0.075, 0, 0])
    agree(rates("polynomial", 6, **steps(4, 2), lr_end=0.01), [0, 0.025, 0.05, 0.075, 0.01, 0.01])
    # The cosine divides by 1 at least: half a wave a step.
    agree(rates("cosine", 7, **steps(4, 2)), [0, 0.025, 0.05, 0.075, 0.1, 0, 0.1])
    agree(rates("cosine_with_restarts", 7, **steps(4, 2)), [0, 0.025, 0.05, 0.075, 0.1, 0, 0])


def test_a_negative_warm_up_puts_the_clock_forward() -> None:
    agree(rates("linear", 5, **steps(-4, 4)), [0.05, 0.0375, 0.025, 0.0125, 0])


def test_power_0_keeps_the_rate_up_to_the_end_itself() -> None:
    assert rates("polynomial", 5, **steps(1, 3), power=0, lr_end=0.02) == pytest.approx([0, 0.1, 0.1, 0.1, 0.02])
    assert rates("polynomial", 5, **steps(1, 2.5), power=0, lr_end=0.02) == pytest.approx([0, 0.1, 0.1, 0.02, 0.02])


def test_two_negative_signs_make_a_timescale() -> None:
    agree(
        rates("inverse_sqrt", 4, num_warmup_steps=1, timescale=-4),
        [0, 0.1, 0.1 / math.sqrt(0.75), 0.1 / math.sqrt(0.5)],
    )
    agree(rates("inverse_sqrt", 3, num_warmup_steps=0), [0.1, 0.1 / math.sqrt(1.0001), 0.1 / math.sqrt(1.0002)])


def test_a_floor_below_zero_is_cut_off() -> None:
    agree(rates("cosine_with_min_lr", 5, **steps(0, 4), min_lr_rate=-1.0), [0.1, 0.1 * math.sqrt(0.5), 0, 0, 0])
    agree(rates("warmup_stable_decay", 7, num_warmup_steps=2, num_decay_steps=2, num_stable_steps=1, min_lr_ratio=-1,
                decay_type="linear"), [0, 0, 0.1, 0.1, 0, -0.1, -0.1])  # fmt: skip


def test_a_stable_phase_may_be_longer_than_the_run_says() -> None:
    agree(rates("warmup_stable_decay", 8, num_warmup_steps=1, num_decay_steps=2, num_stable_steps=3,
                num_training_steps=4, decay_type="linear"), [0, 0.1, 0.1, 0.1, 0.1, 0.05, 0, 0])  # fmt: skip


# What a metric does.

GREEDY = {"patience": 0, "factor": 0.5, "min_lr": 0.05, "threshold": 0.0}


def test_a_reset_forgets_the_mean_of_the_metrics_too() -> None:
    # The means over two are 4, 4 and 6.5, and a cut to the floor starts everything over: they are then 5 and 5.5, which
    # is worse. With the 9 still in it the first would be 7, and the next one better.
    smooth = {"smooth": True, "window_size": 2, "reset_start": 1}
    told = rates("greedy", 6, **GREEDY, **smooth, metrics=[4, 4, 9, 5, 6, 9])
    agree(told, [0.1, 0.2, 0.1, 0.1, 0.2, 0.1])


def test_means_over_one_metric_are_rounded_as_a_running_sum() -> None:
    losses = [0.3, 0.1, 0.1]
    # (0.3 + 0.1 - 0.3) + 0.1 - 0.1 is a little above 0.1 each time, and the same.
    assert rates("greedy", 4, **GREEDY, smooth=True, window_size=1, metrics=losses) == [0.1, 0.2, 0.4, 0.2]


def test_windows_need_not_be_whole_and_are_not_looked_at_without_smooth() -> None:
    losses = [4, 1, 3, 1, 3, 2, 1, 0]
    by_two = rates("greedy", 8, **GREEDY, smooth=True, window_size=2, metrics=losses)
    assert rates("greedy", 8, **GREEDY, smooth=True, window_size=2.5, metrics=losses) == by_two
    plain = rates("greedy", 8, **GREEDY, metrics=losses)
    assert rates("greedy", 8, **GREEDY, window_size=0, metrics=losses) == plain != by_two


def test_the_threshold_of_a_maximum_is_rounded_once() -> None:
    threshold = next(t for t in np.linspace(0.01, 0.3, 1000).tolist() if 1 + t != 2 - (1 - t))
    metrics = [1.0, max(1 + threshold, 2 - (1 - threshold))]
    better = metrics[1] > 1 + threshold
    told = rates("greedy", 3, **{**GREEDY, "threshold": threshold}, mode="max", threshold_mode="rel", metrics=metrics)
    assert told == [0.1, 0.2, 0.4 if better else 0.1]


def test_a_rate_that_no_raise_can_divide() -> None:
    params = {**GREEDY, "factor": 0.0, "patience": 1, "min_lr": 0.02}
    assert rates("greedy", 5, **params, metrics=[3, 3, 3, 2, 3]) == [0.1, 0.1, 0.1, 0.02, 0.02]
    told = "raises in transformers at tick 2: a raise divides by factor, which is 0"
    assert message("greedy", 5, **params, metrics=[3, 2, 3, 2, 3]) == told
    assert rates("greedy", 2, **params, metrics=[3, 2, 3, 2, 3]) == [0.1, 0.1]


# What the library refuses, or fails at.


EITHER = "must be given, or min_lr_rate: exactly one of min_lr and min_lr_rate, got"
VALUE_ERROR = "(transformers raises ValueError)"


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("linear", {"num_warmup_steps": 3}, "needs num_training_steps"),
        ("inverse_sqrt", {}, "needs num_warmup_steps"),
        ("constant", {"num_cycles": 1}, "has no parameter num_cycles"),
        ("polynomial", {**steps(1, 9), "lr_end": 0.1},
         "lr_end must be < lr 0.1, got 0.1 (transformers raises ValueError)"),
        ("polynomial", steps(5, 5),
         "raises in transformers at tick 5: it divides by num_training_steps - num_warmup_steps, which is 0"),
        ("polynomial", {**steps(5, 9), "power": -1},
         "raises in transformers at tick 9: 0.0 cannot be raised to a negative power"),
        ("polynomial", {**steps(2, 9), "lr": 0, "lr_end": -0.1},
         "raises in transformers at tick 2: it divides by lr, which is 0"),
        ("inverse_sqrt", {"num_warmup_steps": 3, "timescale": 0},
         "raises in transformers at tick 3: timescale 0 leaves it nothing to take the root of"),
        ("inverse_sqrt", {"num_warmup_steps": 3, "timescale": -4},
         "raises in transformers at tick 7: timescale -4 leaves it nothing to take the root of"),
        ("cosine_with_min_lr", {**steps(1, 9), "min_lr": 0, "min_lr_rate": 0}, f"min_lr {EITHER} 0 {VALUE_ERROR}"),
        ("cosine_with_min_lr", steps(1, 9), f"min_lr {EITHER} None {VALUE_ERROR}"),
        ("cosine_with_min_lr", {**steps(1, 9), "min_lr": 0.1, "lr": 0},
         "lr must be > 0 where min_lr is given, got 0 (transformers raises ZeroDivisionError)"),
        ("warmup_stable_decay", {"num_warmup_steps": 1, "num_decay_steps": 1},
         "num_training_steps must be given where num_stable_steps is not, got None (transformers raises ValueError)"),
        ("warmup_stable_decay", {**steps(1, 9), "num_decay_steps": 1, "decay_type": "exp"},
         "decay_type must be linear, cosine or 1-sqrt, got 'exp' (transformers refuses it)"),
        ("greedy", {"factor": 1.0}, "factor must be < 1, got 1.0"),
        ("greedy", {"smooth": True, "window_size": 0},
         "raises in transformers at tick 1: it takes the mean of window_size 0 metrics"),
        ("reduce_lr_on_plateau", {"min_lr": [0.1, 0.2]},
         "min_lr must have the same length as optimizer.param_groups, which is 1, got 2 values"),
    ],
)  # fmt: skip
def test_refused(name: str, params: dict[str, Any], told: str) -> None:
    assert message(name, **params) == told


def test_a_run_may_end_before_the_library_raises() -> None:
    agree(rates("polynomial", 3, **steps(3, 3)), [0, 0.1 / 3, 0.2 / 3])
    agree(rates("inverse_sqrt", 3, num_warmup_steps=3, timescale=0), [0, 0.1 / 3, 0.2 / 3])
    # Nothing happens at an end that no step stands on.
    assert math.isfinite(rates("polynomial", 9, **steps(1, 4.5), power=-1)[-1])
    assert math.isfinite(rates("polynomial", 9, **steps(4.5, 4.5))[-1])


# What it says.


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("constant", {"num_warmup_steps": 5}, "transformers ignores num_warmup_steps 5 here: use constant_with_warmup"),
        ("cosine", steps(1, 50), "past num_training_steps 50 the rate climbs again"),
        ("cosine_with_min_lr", {**steps(1, 50), "min_lr": 0}, "past num_training_steps 50 the rate climbs again"),
        ("warmup_stable_decay", {**steps(1, 9), "num_decay_steps": 1, "num_stable_steps": 1},
         "transformers uses num_stable_steps 1 and ignores num_training_steps"),
        ("greedy", {"lr": 5e-5}, "min_lr 0.001 is not below lr 5e-05: the rate is never cut below lr"),
    ],
)  # fmt: skip
def test_notes(name: str, params: dict[str, Any], told: str) -> None:
    assert told in made(name, **params).notes(100)


def test_nothing_is_said_of_what_does_not_happen() -> None:
    assert made("cosine", **steps(1, 50)).notes(51) == ()
    assert made("cosine", **steps(1, 50), num_cycles=0).notes(100) == ()
    assert made("constant", num_warmup_steps=0).notes(100) == ()
    assert made("greedy", lr=0.1).notes(100) == ()


# Long runs.

LONG = {
    "linear": steps(1000, 2e9),
    "cosine": steps(1000, 1000),
    "cosine_with_restarts": {**steps(1000, 2e9), "num_cycles": 7777},
    "polynomial": {**steps(1000, 2e9), "power": 0.3},
    "inverse_sqrt": {"num_warmup_steps": 1000},
    "cosine_warmup_with_min_lr": {**steps(1e9, 2e9), "min_lr_rate": 0.1},
    "warmup_stable_decay": {**steps(1000, 2e9), "num_decay_steps": 1.5e9, "decay_type": "1-sqrt"},
}


@pytest.mark.parametrize("name", LONG)
def test_a_billion_ticks_cost_what_a_thousand_do(name: str) -> None:
    started = time.perf_counter()
    schedule = made(name, 1_500_000_000, **LONG[name])
    row = schedule.values(10**9, 10**9 + 3000)
    np.testing.assert_allclose(row, schedule(np.arange(10**9, 10**9 + 3000)), rtol=0, atol=1e-11)
    assert time.perf_counter() - started < 2


def test_late_values_by_hand() -> None:
    t = 10**9
    agree([made("linear", t + 1, **steps(0, 4 * t))(t)], [0.075])
    agree([made("inverse_sqrt", t + 1, num_warmup_steps=1000)(t)], [0.1 / math.sqrt(t / 1000)])
    agree([made("cosine", t + 1, **steps(0, 2 * t), num_cycles=0.5)(t)], [0.05])


# Every kind says the same in every way it is asked.

STEPS = {
    "num_warmup_steps": st.integers(-5, 40) | st.sampled_from([0.5, 2.5]),
    "num_training_steps": st.integers(150, 300),
}
CYCLES = {"num_cycles": st.sampled_from([0, 0.5, 1, 2, 2.5, 3])}
FLOOR = {"min_lr_rate": st.sampled_from([0.1, 0.5, 1.0])}
SHAPES = st.sampled_from(["linear", "cosine", "1-sqrt"])
PARAMETERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "constant_with_warmup": {"num_warmup_steps": STEPS["num_warmup_steps"]},
    "linear": STEPS,
    "cosine": {**STEPS, **CYCLES},
    "cosine_with_restarts": {**STEPS, **CYCLES},
    "polynomial": {**STEPS, "power": st.sampled_from([1.0, 2, 0.5, 0])},
    "inverse_sqrt": {"num_warmup_steps": STEPS["num_warmup_steps"], "timescale": st.integers(1, 50)},
    "cosine_with_min_lr": {**STEPS, **CYCLES, **FLOOR},
    "cosine_warmup_with_min_lr": {**STEPS, **CYCLES, **FLOOR, "warmup_lr_rate": st.sampled_from([0, 0.5])},
    "warmup_stable_decay": {
        **STEPS,
        **CYCLES,
        "num_decay_steps": st.integers(0, 60),
        "warmup_type": SHAPES,
        "decay_type": SHAPES,
        "min_lr_ratio": st.sampled_from([0.1, 1.0]),
    },
    "greedy": {
        "metrics": st.lists(st.integers(0, 9), min_size=150, max_size=150),
        "patience": st.integers(0, 3),
        "smooth": st.booleans(),
        "window_size": st.integers(1, 5),
        "reset_start": st.integers(1, 5),
    },
}


@pytest.mark.parametrize("name", PARAMETERS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_consistent_and_honest(name: str, data: st.DataObject) -> None:
    schedule = made(name, 150, **data.draw(st.fixed_dictionaries(PARAMETERS[name])))
    assume(schedule.values(0, 150).min() >= 0)
    consistent(schedule, 150)
    knots_are_honest(schedule, 150)


def test_every_kind_has_its_example() -> None:
    for kind in KINDS.values():
        assert set(kind.example) <= set(params_of(kind))
        assert np.isfinite(simulated({"kind": kind.kind, **kind.example}).lr).all()


def test_its_own_length_is_the_run() -> None:
    assert len(simulate({"kind": "transformers.linear", **steps(5, 30)}).lr) == 30
    assert len(simulate({"kind": "transformers.greedy", "metrics": [1, 2, 3]}).lr) == 3
