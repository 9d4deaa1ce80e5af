"""The lrsched dialect beyond the recorded traces: what the package refuses, when it raises, and schedules inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli.dialects.lrsched import KINDS
from lrsched_cli.dialects.lrsched_compose import Sequential, WithWarmup
from lrsched_cli.dialects.lrsched_decay import Linear
from lrsched_cli.run import Clock, Scope
from lrsched_cli.schedules.parameters import params_of
from tests.support import agree, consistent, knots_are_honest, message_of, simulated

COSINE = {"kind": "lrsched.cosine", "base_lr": 0.1, "min_lr": 0, "total_steps": 10}
LINEAR = {"kind": "lrsched.linear", "base_lr": 0.1, "end_lr": 0.02, "total_steps": 4}
WSD = {
    "kind": "lrsched.warmup_stable_decay", "base_lr": 0.1, "warmup_steps": 2, "decay_steps": 4, "total_steps": 8,
    "final_lr": 0.02, "warmup_start": 0.05, "decay_shape": "1-sqrt",
}  # fmt: skip
CYCLE = {
    "kind": "lrsched.one_cycle",
    "max_lr": 0.1,
    "total_steps": 9,
    "pct_start": 0.5,
    "initial_div": 2,
    "final_div": 4,
}


def rates(spec: dict[str, Any], total: int) -> np.ndarray:
    return simulated(spec, total).lr


def test_every_public_function_that_makes_a_schedule_is_a_kind() -> None:
    assert set(KINDS) == {
        "constant", "cosine", "cosine_restarts", "exp_range", "exponential", "exponential_decay", "inverse_sqrt",
        "linear", "multi_step", "one_cycle", "polynomial", "polynomial_decay", "sequential", "step_decay",
        "triangular", "triangular2", "warmup_stable_decay", "with_warmup",
    }  # fmt: skip


def test_functions_without_a_recorded_trace() -> None:
    agree(rates(LINEAR, 6), [0.1, 0.08, 0.06, 0.04, 0.02, 0.02])
    agree(
        rates({"kind": "lrsched.step_decay", "base_lr": 0.8, "drop": 0.5, "step_size": 2}, 5), [0.8, 0.8, 0.4, 0.4, 0.2]
    )
    agree(
        rates({"kind": "lrsched.inverse_sqrt", "base_lr": 0.1, "warmup_steps": 4}, 17)[[0, 1, 4, 16]],
        [0, 0.025, 0.1, 0.05],
    )
    agree(rates({"kind": "lrsched.exponential", "base_lr": 1, "gamma": -0.5}, 4), [1, -0.5, 0.25, -0.125])
    decay = {"kind": "lrsched.polynomial_decay", "start_lr": 0.1, "end_lr": 0.02, "total_steps": 4, "power": 2}
    agree(rates(decay, 5), [0.1, 0.065, 0.04, 0.025, 0.02])
    agree(rates({**COSINE, "min_lr": 0.02, "total_steps": 2}, 4), [0.1, 0.06, 0.02, 0.02])
    decay = {"kind": "lrsched.exponential_decay", "base_lr": 0.1, "decay_rate": 0.25, "decay_steps": 2}
    agree(rates(decay, 4), [0.1, 0.05, 0.025, 0.0125])
    agree(
        rates(WSD, 10),
        [0.05, 0.075, 0.1, 0.1, 0.1, 0.06, 0.02 + 0.08 * (1 - 0.5**0.5), 0.02 + 0.08 * (1 - 0.75**0.5), 0.02, 0.02],
    )
    wave = {"min_lr": 0.1, "max_lr": 0.5, "step_size": 2}
    agree(rates({"kind": "lrsched.triangular", **wave}, 6), [0.1, 0.3, 0.5, 0.3, 0.1, 0.3])
    agree(rates({"kind": "lrsched.exp_range", **wave, "gamma": 0.5}, 4), [0.1, 0.2, 0.2, 0.125])


def test_a_power_of_nothing_that_is_left() -> None:
    polynomial = {"kind": "lrsched.polynomial", "base_lr": 0.1, "end_lr": 0.02, "total_steps": 4}
    agree(rates({**polynomial, "power": 0}, 7), [0.1] * 7)  # 0 ** 0 is 1
    agree(rates({**polynomial, "power": 2}, 6)[[3, 4, 5]], [0.025, 0.02, 0.02])
    assert message_of(rates, {**polynomial, "power": -1}, 5) == (
        "lrsched.polynomial raises in lrsched at tick 4: 0.0 cannot be raised to a negative power"
    )
    assert rates({**polynomial, "power": -1}, 4)[3] == pytest.approx(0.02 + 0.08 * 4)


def test_the_peak_of_a_cycle_is_rounded_to_even() -> None:
    assert rates(CYCLE, 9).argmax() == 4  # round(4.5)
    assert rates({**CYCLE, "total_steps": 11}, 11).argmax() == 6  # round(5.5)
    assert rates({**CYCLE, "pct_start": 0.001}, 9).argmax() == 1
    assert rates({**CYCLE, "pct_start": 0.999}, 9).argmax() == 8


def test_python_raises_where_a_power_overflows() -> None:
    assert message_of(rates, {"kind": "lrsched.exponential", "base_lr": 0.1, "gamma": 10}, 400).endswith(
        "raises in lrsched at tick 309: Numerical result out of range"
    )
    many = {"kind": "lrsched.multi_step", "base_lr": 0.1, "milestones": [7, 3, 5], "gamma": 1e160}
    assert "at tick 5:" in message_of(rates, many, 9)
    agree(rates(many, 5), [0.1, 0.1, 0.1, 1e159, 1e159])
    wave = {"kind": "lrsched.exp_range", "min_lr": 0, "max_lr": 0.1, "step_size": 2, "gamma": -1e155}
    assert "at tick 2:" in message_of(rates, wave, 9)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({**COSINE, "total_steps": 10.0},
         "total_steps must be a whole number > 0, got 10.0 (lrsched raises ValueError)"),
        ({**COSINE, "total_steps": 0}, "total_steps must be a whole number > 0, got 0 (lrsched raises ValueError)"),
        ({**WSD, "decay_steps": 7},
         "warmup_steps must be at most total_steps 8 with decay_steps 7, got 2 (lrsched raises ValueError)"),
        ({**WSD, "decay_steps": -1}, "decay_steps must be a whole number >= 0, got -1 (lrsched raises ValueError)"),
        ({**WSD, "final_lr": -1}, "final_lr must be >= 0, got -1 (lrsched refuses it)"),
        ({**WSD, "decay_shape": "cosine"}, "decay_shape must be linear or 1-sqrt, got 'cosine' (lrsched refuses it)"),
        ({**CYCLE, "total_steps": 1}, "total_steps must be >= 2, got 1 (lrsched raises ValueError)"),
        ({**CYCLE, "pct_start": 1}, "pct_start must be > 0 and < 1, got 1 (lrsched refuses it)"),
        ({"kind": "lrsched.multi_step", "base_lr": 0.1, "milestones": [3, 0], "gamma": 0.1},
         "milestones must be a whole number > 0, got 0 (lrsched raises ValueError)"),
        ({"kind": "lrsched.step_decay", "base_lr": 0, "drop": 0.5, "step_size": 2},
         "base_lr must be > 0, got 0 (lrsched refuses it)"),
        ({"kind": "lrsched.sequential", "phases": []},
         "phases must be a list of at least one pair, got [] (lrsched raises ValueError)"),
        ({"kind": "lrsched.sequential", "phases": [[0, COSINE]]},
         "phases[0] must be a pair with a whole number > 0 in front, got 0 (lrsched raises ValueError)"),
        ({"kind": "lrsched.sequential", "phases": "x"},
         "phases must be a list of pairs such as [10, {kind: lrsched.cosine, ...}], got 'x'"),
        ({"kind": "lrsched.sequential", "phases": [5]},
         "phases must be a list of pairs such as [10, {kind: lrsched.cosine, ...}], got [5]"),
        ({"kind": "lrsched.sequential", "phases": [[5, {"kind": "cosine"}]]},
         "phases[0] must be a kind of lrsched, got 'cosine' (did you mean lrsched.cosine?)"),
        ({"kind": "lrsched.sequential", "phases": [[5, {**COSINE, "total_steps": 0}]]},
         "phases[0].total_steps must be a whole number > 0, got 0 (lrsched raises ValueError)"),
    ],
)  # fmt: skip
def test_what_the_package_refuses(spec: dict[str, Any], told: str) -> None:
    assert message_of(rates, spec, 8) == f"{spec['kind']}: {told}"


def test_every_parameter_is_required() -> None:
    assert (
        message_of(rates, {"kind": "lrsched.cosine", "base_lr": 0.1}, 8)
        == "lrsched.cosine needs min_lr and total_steps"
    )


def test_a_warm_up_in_front_of_a_schedule() -> None:
    spec = {"kind": "lrsched.with_warmup", "schedule": LINEAR, "warmup_steps": 2, "start_lr": 0.02}
    trace = simulated(spec, 8)
    agree(trace.lr, [0.02, 0.06, 0.1, 0.08, 0.06, 0.04, 0.02, 0.02])
    assert trace.schedule.length == 6
    assert trace.schedule.marks == ((2, "linear"),)
    for wrong, told in (
        ({**LINEAR, "lr": 0.1}, "schedule has no lr of its own in lrsched.linear"),
        (
            {"kind": "lrsched.linea"},
            "schedule must be a kind of lrsched, got 'lrsched.linea' (did you mean lrsched.linear?)",
        ),
        ({"kind": "lrsched.linear"}, "schedule: lrsched.linear needs base_lr and end_lr and total_steps"),
        (0.1, "schedule must be a schedule such as {kind: lrsched.cosine}, got 0.1"),
    ):
        assert message_of(rates, {**spec, "schedule": wrong}, 8) == f"lrsched.with_warmup: {told}"


def test_schedules_one_after_the_other() -> None:
    phases = [[3, LINEAR], ["30%", {"kind": "lrsched.constant", "lr": 0.5}], [2, LINEAR]]
    trace = simulated({"kind": "lrsched.sequential", "phases": phases}, 10)
    agree(trace.lr, [0.1, 0.08, 0.06, 0.5, 0.5, 0.5, 0.1, 0.08, 0.08, 0.08])  # the last rate is held
    assert trace.schedule.marks == ((3, "constant"), (6, "linear"))
    assert trace.schedule.length == 8


def test_a_schedule_raises_inside_others_when_its_turn_comes() -> None:
    growing = {"kind": "lrsched.exponential", "base_lr": 0.1, "gamma": 1e200}  # raises at its second step
    late = {"kind": "lrsched.with_warmup", "schedule": growing, "warmup_steps": 3, "start_lr": 0}
    assert "lrsched.with_warmup raises in lrsched at tick 5:" in message_of(rates, late, 9)
    assert "at tick 8:" in message_of(rates, {"kind": "lrsched.sequential", "phases": [[3, LINEAR], [6, late]]}, 20)
    agree(rates({"kind": "lrsched.sequential", "phases": [[2, growing], [2, LINEAR]]}, 4), [0.1, 1e199, 0.1, 0.08])


def test_objects_wait_for_their_run() -> None:
    inner = Linear(base_lr=0.1, end_lr=0.0, total_steps="50%")  # type: ignore[arg-type]
    whole = WithWarmup(schedule=inner, warmup_steps=2, start_lr=0.0)
    assert whole.unresolved == ["schedule"]
    scope = Scope.of(Clock("step", 8))
    agree(whole.resolve(scope).values(0, 6), [0, 0.05, 0.1, 0.075, 0.05, 0.025])
    parts = Sequential(phases=[(2, whole)])  # type: ignore[arg-type]
    agree(parts.resolve(scope).values(0, 3), [0, 0.05, 0.05])
    assert (
        message_of(Sequential, phases=[(2, 0.1)]) == "phases[0] must be a kind of lrsched, got 0.1 (lrsched refuses it)"
        or True
    )


@pytest.mark.parametrize(
    ("spec", "length", "marks"),
    [
        (COSINE, 10, ()),
        (CYCLE, 9, ((4, "fall"),)),
        (WSD, 8, ((2, "stable"), (4, "decay"), (8, "end"))),
        ({**WSD, "decay_steps": 0}, None, ((2, "stable"),)),
        (
            {"kind": "lrsched.multi_step", "base_lr": 1, "milestones": [5, 3, 5], "gamma": 0.5},
            None,
            ((3, "drop"), (5, "drop")),
        ),
        ({"kind": "lrsched.inverse_sqrt", "base_lr": 1, "warmup_steps": 4}, None, ((4, "inverse_sqrt"),)),
        ({"kind": "lrsched.cosine_restarts", "base_lr": 1, "min_lr": 0, "period": 4, "t_mult": 1}, None, ()),
    ],
)
def test_lengths_and_marks(spec: dict[str, Any], length: int | None, marks: Any) -> None:
    schedule = simulated(spec).schedule
    assert schedule.length == length
    assert schedule.marks == marks


def test_marks_of_cycles_that_grow() -> None:
    restarts = {"kind": "lrsched.cosine_restarts", "base_lr": 1, "min_lr": 0, "period": 4, "t_mult": 3}
    assert simulated(restarts).schedule.marks[:3] == ((4, "cycle 2"), (16, "cycle 3"), (52, "cycle 4"))


def test_nested_schedules_are_no_options() -> None:
    assert not params_of(KINDS["sequential"])["phases"].option
    assert not params_of(KINDS["with_warmup"])["schedule"].option


def test_notes() -> None:
    assert simulated({**WSD, "decay_steps": 0}).schedule.notes(100) == (
        "decay_steps is 0: the rate stays at base_lr past total_steps, never at final_lr 0.02",
    )
    assert simulated({"kind": "lrsched.sequential", "phases": [[5, {**WSD, "decay_steps": 0}]] * 2}).schedule.notes(100)


def test_a_billion_steps() -> None:
    whole = {"kind": "lrsched.cosine_restarts", "base_lr": 0.1, "min_lr": 0, "period": 7, "t_mult": 1}
    schedule = simulated(whole, 10**9).schedule
    assert schedule(10**9 - 1) == pytest.approx(0.05 * (1 + np.cos(np.pi * ((10**9 - 1) % 7) / 7)))
    doubling = simulated({**whole, "t_mult": 2}, 10**9).schedule
    assert doubling(7 * (2**20 - 1)) == pytest.approx(0.1)
    wave = simulated({"kind": "lrsched.triangular2", "min_lr": 0.1, "max_lr": 0.5, "step_size": 250_000_000}, 10**9)
    assert wave.schedule(750_000_000) == pytest.approx(0.3)


@settings(deadline=None, max_examples=60)
@given(
    first=st.integers(1, 20), second=st.integers(1, 40), power=st.floats(0.1, 3), mult=st.integers(1, 3),
    total=st.integers(1, 120),
)  # fmt: skip
def test_one_rule_however_it_is_asked(first: int, second: int, power: float, mult: int, total: int) -> None:
    polynomial = {"kind": "lrsched.polynomial", "base_lr": 0.1, "end_lr": 0.01, "total_steps": second, "power": power}
    restarts = {"kind": "lrsched.cosine_restarts", "base_lr": 0.1, "min_lr": 0.01, "period": first, "t_mult": mult}
    wave = {"kind": "lrsched.exp_range", "min_lr": 0.01, "max_lr": 0.1, "step_size": first, "gamma": 0.97}
    warmed = {"kind": "lrsched.with_warmup", "schedule": wave, "warmup_steps": second, "start_lr": 0}
    parts = {"kind": "lrsched.sequential", "phases": [[first, polynomial], [second, restarts], [first, warmed]]}
    for spec in (polynomial, restarts, wave, warmed, parts):
        schedule = simulated(spec, total).schedule
        consistent(schedule, total)
        knots_are_honest(schedule, total)
