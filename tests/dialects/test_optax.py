"""The optax dialect where the recorded traces do not reach: edges, refusals, notes, members, long runs."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lrsched_cli import SpecError, simulate
from lrsched_cli.dialects.optax import KINDS, JoinSchedules, WarmupCosineDecaySchedule
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.parameters import params_of
from tests.support import agree, consistent, knots_are_honest, message_of

LR = 0.1
COSINE = {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 2, "decay_steps": 6}


def rates(kind: str, total: int, /, **params: Any) -> np.ndarray:
    return simulate({"kind": f"optax.{kind}", **params}, {"steps": total}).lr


def schedule(kind: str, total: int = 100, /, **params: Any) -> Schedule:
    return simulate({"kind": f"optax.{kind}", **params}, {"steps": total}).schedule


def notes(kind: str, /, **params: Any) -> tuple[str, ...]:
    return schedule(kind, **params).notes(100)


def refusal(kind: str, /, **params: Any) -> str:
    told = message_of(schedule, kind, **params)
    assert told.startswith((f"optax.{kind}: ", f"optax.{kind} "))
    return told.removeprefix(f"optax.{kind}: ")


# Curves, by hand.


def test_a_ramp_that_has_no_steps_stays_at_its_start() -> None:
    agree(rates("linear_schedule", 3, init_value=0.2, end_value=0.1, transition_steps=0), [0.2] * 3)
    agree(rates("polynomial_schedule", 2, init_value=0.2, end_value=0.1, power=2, transition_steps=-5), [0.2] * 2)
    agree(rates("warmup_constant_schedule", 3, init_value=0.0, peak_value=0.1, warmup_steps=0), [0.0] * 3)
    told = ("transition_steps is 0: optax holds init_value for ever",)
    assert notes("linear_schedule", init_value=0.2, end_value=0.1, transition_steps=0) == told
    told = ("warmup_steps is 0: optax holds init_value for ever",)
    assert notes("warmup_constant_schedule", init_value=0, peak_value=0.1, warmup_steps=0) == told


def test_a_ramp_begins_late_but_not_early() -> None:
    ramp = {"init_value": 0.1, "end_value": 0.3, "transition_steps": 4}
    agree(rates("linear_schedule", 8, **ramp, transition_begin=2), [0.1, 0.1, 0.1, 0.15, 0.2, 0.25, 0.3, 0.3])
    agree(rates("linear_schedule", 6, **ramp, transition_begin=-2), [0.1, 0.15, 0.2, 0.25, 0.3, 0.3])
    assert notes("linear_schedule", **ramp, transition_begin=-2) == ("transition_begin is -2: optax takes it for 0",)


def test_a_power_of_zero_changes_nothing_and_never_ends() -> None:
    agree(rates("polynomial_schedule", 6, init_value=0.2, end_value=0.1, power=0, transition_steps=3), [0.2] * 6)


def test_steps_need_not_be_whole() -> None:
    ramp = rates("linear_schedule", 5, init_value=0.0, end_value=0.1, transition_steps=2.5, transition_begin=0.5)
    agree(ramp, [0, 0.02, 0.06, 0.1, 0.1])
    agree(rates("cosine_decay_schedule", 3, init_value=0.1, decay_steps=0.5, alpha=0.2), [0.1, 0.02, 0.02])


def test_a_piecewise_constant_rate_changes_at_its_boundaries() -> None:
    table = {"7": 0.5, 3: 2, "50%": 0.1}
    agree(
        rates("piecewise_constant_schedule", 10, init_value=1, boundaries_and_scales=table),
        [1, 1, 1, 2, 2, 0.2, 0.2, 0.1, 0.1, 0.1],
    )
    early = {-2: 0.5, 2.5: 0.0}
    agree(rates("piecewise_constant_schedule", 4, init_value=1, boundaries_and_scales=early), [0.5, 0.5, 0.5, 0.0])
    agree(rates("piecewise_constant_schedule", 2, init_value=0.3), [0.3, 0.3])


def test_the_command_line_says_boundaries_as_text() -> None:
    assert (
        schedule("piecewise_constant_schedule", init_value=1.0, boundaries_and_scales="10:0.5, 2e1:1e-1")
        == schedule("piecewise_constant_schedule", init_value=1.0, boundaries_and_scales={10: 0.5, 20: 0.1})
    )  # fmt: skip


def test_a_part_shorter_than_a_tick_is_as_steep_as_one_of_a_tick() -> None:
    table = {2.5: 1, 3.0: 3, 5: 1}
    interpolated = {"interpolate_type": "linear", "init_value": 0.1, "boundaries_and_scales": table}
    agree(rates("piecewise_interpolate_schedule", 6, **interpolated), [0.1, 0.1, 0.1, 0.3, 0.3, 0.3])
    table = {1.5: 1, 2.3: 3}  # at 2 it is half way to 2.5, where it never gets
    agree(
        rates("piecewise_interpolate_schedule", 4, **{**interpolated, "boundaries_and_scales": table}),
        [0.1, 0.1, 0.2, 0.3],
    )


def test_interpolation_may_have_begun_before_the_run() -> None:
    table = {-4: 1, 4: 3}
    interpolated = {"interpolate_type": "linear", "init_value": 0.1, "boundaries_and_scales": table}
    agree(rates("piecewise_interpolate_schedule", 6, **interpolated), [0.2, 0.225, 0.25, 0.275, 0.3, 0.3])


def test_an_exponential_decay_ends_at_a_floor_or_a_ceiling() -> None:
    halves = {"init_value": 0.8, "transition_steps": 2, "decay_rate": 0.5, "staircase": True}
    agree(rates("exponential_decay", 7, **halves, end_value=0.25), [0.8, 0.8, 0.4, 0.4, 0.25, 0.25, 0.25])
    agree(rates("exponential_decay", 5, **{**halves, "decay_rate": 2}, end_value=2), [0.8, 0.8, 1.6, 1.6, 2])
    # A rate of 1 has a ceiling too, and the start is cut as well.
    agree(rates("exponential_decay", 2, **{**halves, "decay_rate": 1}, end_value=0.3), [0.3, 0.3])
    # Without a decay there is no end either.
    agree(rates("exponential_decay", 2, **{**halves, "decay_rate": 0}, end_value=0.3), [0.8, 0.8])
    assert notes("exponential_decay", **{**halves, "decay_rate": 0}) == ("decay_rate is 0: optax does not decay",)
    told = ("transition_steps is -1: optax does not decay",)
    assert notes("exponential_decay", **{**halves, "transition_steps": -1}) == told
    told = ("transition_begin is -1: optax takes it for 0",)
    assert notes("exponential_decay", **halves, transition_begin=-1) == told


def test_a_negative_factor_works_in_steps_that_are_not_whole_too() -> None:
    flips = {"init_value": 0.8, "transition_steps": 0.88, "decay_rate": -0.5, "staircase": True}
    expected = [0.8 * (-0.5) ** math.floor(t / 0.88) for t in range(40)]
    agree(rates("exponential_decay", 40, **flips), expected)
    assert refusal("exponential_decay", **{**flips, "staircase": False}).startswith("the rate is nan at tick ")


def test_the_points_of_one_cycle_are_cut_down_to_ticks() -> None:
    linear = rates("linear_onecycle_schedule", 8, transition_steps=7, peak_value=1.0, div_factor=4, final_div_factor=5)
    # int(2.1) = 2, int(5.95) = 5, 7
    agree(linear, [0.25, 0.625, 1, 0.75, 0.5, 0.25, 0.15, 0.05])
    half = 0.5
    agree(
        rates("cosine_onecycle_schedule", 5, transition_steps=4.9, peak_value=1.0, pct_start=0.5, div_factor=4),
        [0.25, 0.625, 1, 0.25 / 1e4 + (1 - 0.25 / 1e4) * half, 0.25 / 1e4],
    )


def test_of_two_points_at_one_tick_the_later_stays() -> None:
    # Ticks 0, 0 and 1: up to the peak is lost, and down from it is not.
    short = {"transition_steps": 1, "peak_value": 1.0, "div_factor": 4, "final_div_factor": 5}
    agree(rates("linear_onecycle_schedule", 2, **short), [1 / 16, 1 / 80])
    told = ("its phases end at 0, 0, 1: of two at one tick optax drops one",)
    assert notes("linear_onecycle_schedule", **short) == told


def test_a_warm_up_of_no_steps_is_left_out() -> None:
    agree(rates("warmup_cosine_decay_schedule", 3, **{**COSINE, "warmup_steps": 0, "decay_steps": 2}), [0.1, 0.05, 0])
    # One of fewer than none makes the decay begin before the run.
    params = {**COSINE, "warmup_steps": -2, "decay_steps": 2}
    agree(rates("warmup_cosine_decay_schedule", 3, **params), [0.05, 0.05 * (1 + math.cos(0.75 * math.pi)), 0])


def test_a_peak_of_zero_ends_at_zero() -> None:
    params = {**COSINE, "init_value": 0.2, "peak_value": 0, "end_value": 0.1}
    agree(rates("warmup_cosine_decay_schedule", 7, **params), [0.2, 0.1, 0, 0, 0, 0, 0])
    told = ("peak_value is 0: optax ends there, and not at end_value 0.1",)
    assert notes("warmup_cosine_decay_schedule", **params) == told


@pytest.mark.parametrize("exponent", [0.3, 0.5])
def test_a_small_exponent_keeps_its_digits_near_the_end(exponent: float) -> None:
    total = 200_000
    ours = rates("cosine_decay_schedule", total + 5, init_value=1.0, decay_steps=total, exponent=exponent)
    ticks = np.arange(total)
    agree(ours[:total], (0.5 * (1 + np.cos(np.pi * ticks / total))) ** exponent)
    assert (ours[total:] == 0).all()


# Schedules made of schedules.


def test_a_schedule_joins_on_a_clock_of_its_own() -> None:
    members = [
        {"kind": "optax.linear_schedule", "init_value": 0.0, "end_value": 0.1, "transition_steps": "20%"},
        {"kind": "optax.constant_schedule", "args": [0.1]},
        {"kind": "optax.exponential_decay", "args": [0.1, 1, 0.5]},
    ]
    joined = simulate({"kind": "optax.join_schedules", "schedules": members, "boundaries": ["20%", 5]}, {"steps": 10})
    agree(joined.lr, [0, 0.05, 0.1, 0.1, 0.1, 0.1, 0.05, 0.025, 0.0125, 0.00625])
    assert joined.schedule.marks == ((2, "constant_schedule"), (5, "exponential_decay"))


def constants(*values: float) -> list[dict[str, Any]]:
    return [{"kind": "optax.constant_schedule", "args": [value]} for value in values]


@pytest.mark.parametrize(
    ("boundaries", "expected"),
    [
        ([4, 2], [1, 1, 3, 3, 3, 3]),  # the later in the list wins
        ([2, 2], [1, 1, 3, 3, 3, 3]),
        ([0, 3], [2, 2, 2, 3, 3, 3]),
        ([-1, 2.5], [2, 2, 2, 3, 3, 3]),
        ([3], [1, 1, 1, 2, 2, 2]),
        ([1, 2, 3, 4], [1, 2, 3, 3, 3, 3]),
        ([], [1, 1, 1, 1, 1, 1]),
    ],
)
def test_boundaries_in_any_order_and_number(boundaries: list[float], expected: list[float]) -> None:
    agree(rates("join_schedules", 6, schedules=constants(1, 2, 3), boundaries=boundaries), expected)


def test_schedules_that_are_left_out_are_told() -> None:
    told = ("optax uses the first 2 of 3 schedules with 1 boundaries",)
    assert notes("join_schedules", schedules=constants(1, 2, 3), boundaries=[4]) == told
    told = ("optax uses the first 1 of 1 schedules with 2 boundaries",)
    assert notes("join_schedules", schedules=constants(1), boundaries=[4, 5]) == told
    inner = {"kind": "optax.linear_schedule", "args": [0.1, 0, 0]}
    told = ("transition_steps is 0: optax holds init_value for ever",)
    assert notes("join_schedules", schedules=[inner, inner], boundaries=[4]) == told


def test_a_join_may_be_joined() -> None:
    inner = {"kind": "optax.join_schedules", "schedules": constants(2, 3), "boundaries": [2]}
    agree(rates("join_schedules", 6, schedules=[*constants(1), inner], boundaries=[3]), [1, 1, 1, 2, 2, 3])


def test_sgdr_is_cycle_after_cycle() -> None:
    cycles = [COSINE, {**COSINE, "peak_value": 0.05, "warmup_steps": 1, "decay_steps": 3}]
    expected = [0, 0.05, 0.1, *(0.05 * (1 + math.cos(math.pi * t / 4)) for t in (1, 2, 3)), 0, 0.05, 0.025, 0, 0]
    agree(rates("sgdr_schedule", 11, cosine_kwargs=cycles), expected)
    trace = simulate({"kind": "optax.sgdr_schedule", "cosine_kwargs": cycles})
    assert len(trace.lr) == 9
    assert trace.interval == "step"


def test_members_may_be_built_in_python_before_their_run() -> None:
    warm = KINDS["linear_schedule"](init_value=0.0, end_value=0.1, transition_steps="20%")
    joined = JoinSchedules(schedules=(warm, KINDS["constant_schedule"](value=0.1)), boundaries=(2,))
    assert joined.unresolved == ["schedules"]
    agree(simulate(joined, {"steps": 10}).lr, [0, 0.05, *[0.1] * 8])
    assert message_of(joined, 3).startswith("schedules is the ")
    cycle = WarmupCosineDecaySchedule(**COSINE)
    sgdr = KINDS["sgdr_schedule"](cosine_kwargs=[cycle, cycle])
    agree(simulate(sgdr, {"steps": 12}).lr[6:], rates("warmup_cosine_decay_schedule", 6, **COSINE))


def test_boundaries_may_wait_for_the_run() -> None:
    halves = KINDS["piecewise_constant_schedule"](init_value=1.0, boundaries_and_scales={"20%": 0.5, 7: 0.5})
    assert halves.unresolved == ["boundaries_and_scales"]
    agree(simulate(halves, {"steps": 10}).lr, [1, 1, *[0.5] * 5, *[0.25] * 3])


def test_members_are_said_in_a_file_only() -> None:
    assert not params_of(KINDS["join_schedules"])["schedules"].option
    assert not params_of(KINDS["sgdr_schedule"])["cosine_kwargs"].option


def test_phases_are_marked() -> None:
    assert schedule("warmup_cosine_decay_schedule", **COSINE).marks == ((2, "decay"),)
    assert schedule("warmup_cosine_decay_schedule", **{**COSINE, "warmup_steps": 0}).marks == ()
    warmed = {"init_value": 0, "peak_value": 0.1, "warmup_steps": 4}
    assert schedule("warmup_constant_schedule", **warmed).marks == ((4, "constant"),)
    assert schedule("linear_onecycle_schedule", transition_steps=10, peak_value=1).marks == ((3, "fall"), (8, "final"))
    told = ("transition_steps is 0: optax does not decay",)
    assert notes("warmup_exponential_decay_schedule", **warmed, transition_steps=0, decay_rate=0.5) == told


def test_a_warm_up_may_last_for_ever() -> None:
    endless = schedule("warmup_constant_schedule", init_value=0.2, peak_value=0.1, warmup_steps=math.inf)
    agree(endless(np.arange(3)), [0.2] * 3)
    assert endless.marks == ()
    agree(rates("join_schedules", 3, schedules=constants(1, 2), boundaries=[math.inf]), [1] * 3)


def test_a_schedule_survives_a_pickle() -> None:
    joined = schedule("join_schedules", schedules=constants(1, 2), boundaries=[4])
    again = pickle.loads(pickle.dumps(joined))
    assert again == joined
    assert again(5) == 2


# Lengths, and what is said of the rate of the optimizer.


@pytest.mark.parametrize(
    ("kind", "params", "length"),
    [
        ("linear_schedule", {"init_value": 0, "end_value": 1, "transition_steps": 15, "transition_begin": 5}, 20),
        ("linear_schedule", {"init_value": 0, "end_value": 1, "transition_steps": 15}, 15),
        ("linear_schedule", {"init_value": 0, "end_value": 1, "transition_steps": 0}, 100),
        ("cosine_decay_schedule", {"init_value": 0, "decay_steps": 30}, 30),
        ("cosine_onecycle_schedule", {"peak_value": 1, "transition_steps": 30}, 30),
        ("warmup_cosine_decay_schedule", COSINE, 6),
        ("sgdr_schedule", {"cosine_kwargs": [COSINE, {**COSINE, "decay_steps": "50%"}]}, 100),
        ("exponential_decay", {"init_value": 1, "transition_steps": 10, "decay_rate": 0.5}, 100),
    ],
)
def test_a_run_is_as_long_as_the_schedule_where_nothing_is_said(kind: str, params: dict[str, Any], length: int) -> None:
    assert len(simulate({"kind": f"optax.{kind}", **params}).lr) == length


def test_an_lr_that_is_given_and_not_used_is_told() -> None:
    params = {"init_value": 0.0, "peak_value": 0.3, "warmup_steps": 10, "decay_steps": 100}
    assert notes("warmup_cosine_decay_schedule", lr=0.5, **params) == ("lr 0.5 is not used: peak_value is 0.3",)
    assert notes("warmup_cosine_decay_schedule", lr=0.3, **params) == ()
    assert notes("warmup_cosine_decay_schedule", lr=0.1, **params) == ()  # the default, which nobody gave
    rising = {"init_value": 0.01, "end_value": 0.2, "transition_steps": 5}
    assert notes("linear_schedule", lr=0.5, **rising) == ("lr 0.5 is not used: end_value is 0.2",)
    told = ("lr 0.5 is not used: value is 3",)
    assert notes("join_schedules", lr=0.5, schedules=constants(1, 3, 2), boundaries=[1, 2]) == told
    assert notes("sgdr_schedule", lr=0.5, cosine_kwargs=[COSINE]) == ("lr 0.5 is not used: peak_value is 0.1",)


def test_more_updates_than_an_optimizer_counts_are_told() -> None:
    told = "optax counts updates in int32: past 2147483647 an optimizer does not follow these rates"
    decay = {"init_value": 0.1, "decay_steps": 3 * 10**9}
    assert notes("cosine_decay_schedule", **decay) == (told,)
    short = schedule("cosine_decay_schedule", init_value=0.1, decay_steps=10)
    assert short.notes(2**31) == ()
    assert short.notes(2**31 + 1) == (told,)


# Refusals.


@pytest.mark.parametrize(
    ("kind", "params", "told"),
    [
        ("constant_schedule", {}, "optax.constant_schedule needs value"),
        ("constant_schedule", {"value": "x"}, "value must be a finite number, got 'x' (optax refuses it)"),
        (
            "cosine_decay_schedule",
            {"init_value": 0.1, "decay_steps": -1},
            "decay_steps must be > 0, got -1 (optax raises ValueError)",
        ),
        (
            "cosine_decay_schedule",
            {"init_value": 0.1, "decay_steps": 10, "exponent": -1},
            "the rate is inf at tick 10: it must be finite",
        ),
        (
            "linear_schedule",
            {"init_value": 0.1, "end_value": 0, "transition_steps": math.nan},
            "transition_steps must be a number, got nan (optax refuses it)",
        ),
        (
            "piecewise_constant_schedule",
            {"init_value": 0.1, "boundaries_and_scales": {10: -0.5}},
            "boundaries_and_scales must be >= 0 at tick 10, got -0.5 (optax raises ValueError)",
        ),
        (
            "piecewise_constant_schedule",
            {"init_value": 0.1, "boundaries_and_scales": {10: 0.5, "10": 0.1}},
            "boundaries_and_scales must name each tick once, got 10 twice (optax refuses it)",
        ),
        (
            "piecewise_constant_schedule",
            {"init_value": 0.1, "boundaries_and_scales": {10: "x"}},
            "boundaries_and_scales[10] must be a finite number, got 'x' (optax refuses it)",
        ),
        (
            "piecewise_constant_schedule",
            {"init_value": 0.1, "boundaries_and_scales": [10, 0.5]},
            (
                "boundaries_and_scales must be a mapping of ticks to scales such as {10: 0.5}, got [10, 0.5] "
                "(optax refuses it)"
            ),
        ),
        (
            "piecewise_constant_schedule",
            {"init_value": 0.1, "boundaries_and_scales": "10:0.5,20"},
            (
                "boundaries_and_scales must be a mapping of ticks to scales such as {10: 0.5}, "
                "got [(10, 0.5), (20,)] (optax refuses it)"
            ),
        ),
        (
            "piecewise_constant_schedule",
            {"init_value": 0.1, "boundaries_and_scales": {"nan": 0.5}},
            (
                "boundaries_and_scales must be a mapping of ticks to scales such as {10: 0.5}, got {'nan': 0.5} "
                "(optax refuses it)"
            ),
        ),
        (
            "piecewise_interpolate_schedule",
            {"interpolate_type": "cubic", "init_value": 0.1},
            "interpolate_type must be linear or cosine, got 'cubic' (optax refuses it)",
        ),
        (
            "linear_onecycle_schedule",
            {"transition_steps": 0, "peak_value": 0.1},
            "transition_steps must be > 0, got 0 (optax raises ValueError)",
        ),
        (
            "linear_onecycle_schedule",
            {"transition_steps": 9, "peak_value": 0.1, "div_factor": 0},
            "div_factor must be other than 0, got 0 (optax raises ZeroDivisionError)",
        ),
        (
            "cosine_onecycle_schedule",
            {"transition_steps": 9, "peak_value": 0.1, "final_div_factor": -2},
            "final_div_factor must be > 0, got -2 (optax raises ValueError)",
        ),
        (
            "cosine_onecycle_schedule",
            {"transition_steps": 9, "peak_value": 0.1, "div_factor": 1e-200, "final_div_factor": 1e-200},
            "optax.cosine_onecycle_schedule raises ZeroDivisionError in optax: float division by zero",
        ),
        (
            "warmup_cosine_decay_schedule",
            {**COSINE, "decay_steps": 2},
            "decay_steps must be > warmup_steps 2, got 2 (optax raises ValueError)",
        ),
        (
            "sgdr_schedule",
            {"cosine_kwargs": []},
            "cosine_kwargs must be a list of at least one, got [] (optax raises IndexError)",
        ),
        (
            "sgdr_schedule",
            {"cosine_kwargs": COSINE},
            f"cosine_kwargs must be a list of mappings, got {str(COSINE)[:57]}",
        ),
        (
            "sgdr_schedule",
            {"cosine_kwargs": [COSINE, {**COSINE, "decay_steps": 1}]},
            "cosine_kwargs[1].decay_steps must be > warmup_steps 2, got 1 (optax raises ValueError)",
        ),
        (
            "sgdr_schedule",
            {"cosine_kwargs": [{"peak_value": 1}]},
            "cosine_kwargs[0]: optax.warmup_cosine_decay_schedule needs init_value and warmup_steps and decay_steps",
        ),
        (
            "sgdr_schedule",
            {"cosine_kwargs": [{**COSINE, "lr": 1}]},
            "cosine_kwargs[0].lr must be left out: optax has no learning rate beside a schedule",
        ),
        ("sgdr_schedule", {"cosine_kwargs": [3]}, "cosine_kwargs[0] must be a mapping, or an optax schedule, got 3"),
        (
            "join_schedules",
            {"schedules": [], "boundaries": []},
            "schedules must be a list of at least one, got [] (optax raises IndexError)",
        ),
        (
            "join_schedules",
            {"schedules": constants(1, 2), "boundaries": 5},
            "boundaries must be a list of ticks or durations, got 5 (optax refuses it)",
        ),
        (
            "join_schedules",
            {"schedules": [{"kind": "optax.linear_schedul"}], "boundaries": []},
            (
                "schedules[0].kind must be an optax kind such as optax.linear_schedule, got 'optax.linear_schedul' "
                "(did you mean optax.linear_schedule?)"
            ),
        ),
        (
            "join_schedules",
            {"schedules": [{"args": [1]}], "boundaries": []},
            "schedules[0].kind must be an optax kind such as optax.linear_schedule, got None",
        ),
        (
            "join_schedules",
            {"schedules": [{"kind": "optax.constant_schedule", "args": [1, 2]}], "boundaries": []},
            "schedules[0].args must be at most 1, value, got 2 (optax refuses it)",
        ),
        (
            "join_schedules",
            {"schedules": [{"kind": "optax.constant_schedule", "args": 1}], "boundaries": []},
            "schedules[0].args must be a list of arguments, got 1 (optax refuses it)",
        ),
        (
            "join_schedules",
            {"schedules": [{"kind": "optax.constant_schedule", "args": [1], "value": 1}], "boundaries": []},
            "schedules[0].args must leave out value, which is given by its name too (optax refuses it)",
        ),
        (
            "join_schedules",
            {"schedules": [{"kind": "optax.constant_schedule", "value": 1, "lr": 1}], "boundaries": []},
            "schedules[0].lr must be left out: optax has no learning rate beside a schedule",
        ),
    ],
)
def test_what_optax_refuses(kind: str, params: dict[str, Any], told: str) -> None:
    if kind == "sgdr_schedule" and params["cosine_kwargs"] is COSINE:
        told += "... (optax refuses it)"
    assert refusal(kind, **params) == told


def test_sgdr_is_made_of_its_own_cycles_only() -> None:
    constant = KINDS["constant_schedule"](value=1)
    told = message_of(KINDS["sgdr_schedule"], cosine_kwargs=[constant])
    assert told.startswith("cosine_kwargs[0] must be the arguments of warmup_cosine_decay_schedule, got ")


# Every kind, over random parameters.

values = st.floats(0, 1).map(lambda each: round(each, 4))
ticks = st.integers(0, 60) | st.floats(0, 60).map(lambda each: round(each, 2))
lengths = st.integers(1, 60) | st.floats(0.5, 60).map(lambda each: round(each, 2))
tables = st.dictionaries(ticks, st.floats(0, 3), max_size=5)


def some(**params: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(params)


DRAWN: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "constant_schedule": some(value=values),
    "polynomial_schedule": some(
        init_value=values, end_value=values, power=st.floats(0.3, 3), transition_steps=ticks, transition_begin=ticks
    ),
    "linear_schedule": some(init_value=values, end_value=values, transition_steps=ticks, transition_begin=ticks),
    "piecewise_constant_schedule": some(init_value=values, boundaries_and_scales=tables),
    "piecewise_interpolate_schedule": some(
        interpolate_type=st.sampled_from(["linear", "cosine"]), init_value=values, boundaries_and_scales=tables
    ),
    "exponential_decay": some(
        init_value=values, transition_steps=lengths, decay_rate=st.floats(0.1, 1.1),
        transition_begin=st.integers(0, 60), staircase=st.booleans(), end_value=values | st.none(),
    ),
    "cosine_decay_schedule": some(
        init_value=values, decay_steps=lengths, alpha=values, exponent=st.sampled_from([1, 2, 0.5, 1.3])
    ),
    "linear_onecycle_schedule": some(transition_steps=lengths, peak_value=values, pct_start=values, pct_final=values),
    "cosine_onecycle_schedule": some(transition_steps=lengths, peak_value=values, pct_start=values),
    "warmup_constant_schedule": some(init_value=values, peak_value=values, warmup_steps=ticks),
    "warmup_cosine_decay_schedule": some(
        init_value=values, peak_value=values, warmup_steps=ticks, decay_steps=st.integers(61, 90), end_value=values
    ),
    "warmup_exponential_decay_schedule": some(
        init_value=values, peak_value=values, warmup_steps=st.integers(0, 60), transition_steps=lengths,
        decay_rate=st.floats(0.1, 1.1), staircase=st.booleans(),
    ),
    "sgdr_schedule": some(
        cosine_kwargs=st.lists(
            some(
                init_value=values, peak_value=values,
                warmup_steps=st.integers(0, 9), decay_steps=st.integers(10, 40),
            ),
            min_size=1, max_size=4,
        )
    ),
    "join_schedules": some(
        schedules=st.lists(
            st.builds(
                lambda a, b, n: {"kind": "optax.linear_schedule", "args": [a, b, n]}, values, values, st.integers(0, 50)
            ),
            min_size=1, max_size=4,
        ),
        boundaries=st.lists(ticks, max_size=4),
    ),
}  # fmt: skip


def test_every_kind_is_drawn() -> None:
    assert DRAWN.keys() == KINDS.keys()


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(DRAWN)).flatmap(lambda kind: st.tuples(st.just(kind), DRAWN[kind])))
def test_one_rule_however_it_is_asked(drawn: tuple[str, dict[str, Any]]) -> None:
    kind, params = drawn
    try:
        made = schedule(kind, 100, **params)
    except SpecError:
        assume(False)
    consistent(made, 100)
    knots_are_honest(made, 100)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_billion_steps_cost_what_a_thousand_do(kind: str) -> None:
    example = dict(KINDS[kind].example)
    made = simulate({"kind": f"optax.{kind}", **example}, {"steps": 10**9}).schedule
    far = made.values(10**9 - 5, 10**9)
    np.testing.assert_allclose(far, made(np.arange(10**9 - 5, 10**9)), rtol=1e-12)


def test_a_decay_over_a_billion_steps() -> None:
    total = 10**9
    made = schedule(
        "warmup_cosine_decay_schedule", total, init_value=0.0, peak_value=0.1, warmup_steps=10**6, decay_steps=total
    )
    ticks = np.array([0, 1, 10**6, 5 * 10**8, total - 1])
    expected = [0, 1e-7, 0.1, *(0.05 * (1 + math.cos(math.pi * (t - 1e6) / (total - 1e6))) for t in ticks[3:].tolist())]
    agree(made(ticks), expected)
