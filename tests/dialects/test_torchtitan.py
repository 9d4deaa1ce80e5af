"""What the recorded traces of torchtitan do not show: long runs, cuts, the end, refusals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli import simulate
from tests.support import agree, consistent, knots_are_honest, message_of, simulated

KIND = "torchtitan.LRSchedulersContainer"


def factor(t: int, total: int, warmup: int, ratio: float | None, shape: str, floor: float) -> float:
    """The factor of update ``t``, as CATALOGUE's formula has it."""
    warmup = min(warmup, total)
    decay = total - warmup if ratio is None else min(round(total * ratio), total - warmup)
    if t < warmup:
        return (t + 1) / warmup
    if t < total + 1 - decay:
        return 1.0
    x = (t - total + decay) / decay
    left = {"linear": 1 - x, "sqrt": 1 - math.sqrt(x), "cosine": (1 + math.cos(math.pi * x)) / 2}[shape]
    return floor + (1 - floor) * left


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 90),
    st.integers(0, 120),
    st.none() | st.floats(0.02, 1.5),
    st.sampled_from(["linear", "sqrt", "cosine"]),
    st.floats(0, 1),
    st.integers(1, 100),
)
def test_random_schedules_are_the_formula(
    total: int, warmup: int, ratio: float | None, shape: str, floor: float, run: int
) -> None:
    spec = {"training_steps": total, "warmup_steps": warmup, "decay_type": shape, "min_lr_factor": floor}
    trace = simulated({"kind": KIND, **spec, "decay_ratio": ratio}, min(run, total + 1))
    agree(trace.lr, [0.1 * factor(t, total, warmup, ratio, shape, floor) for t in range(min(run, total + 1))])
    consistent(trace.schedule, min(run, total))
    knots_are_honest(trace.schedule, min(run, total + 1))


def test_the_run_says_the_training_steps() -> None:
    trace = simulated({"kind": KIND, "warmup_steps": 5, "decay_ratio": 0.5}, 30)
    agree(trace.lr, simulated({"kind": KIND, "warmup_steps": 5, "decay_ratio": 0.5, "training_steps": 30}, 30).lr)
    agree(trace.lr[[0, 4, 15, 16, 29]], [0.02, 0.1, 0.1, 0.1 * 14 / 15, 0.1 / 15])


def test_its_own_length_is_the_training_not_the_schedule() -> None:
    assert len(simulate({"kind": KIND, "training_steps": 40, "total_steps": 90}).lr) == 40
    assert len(simulate({"kind": KIND, "total_steps": 90}).lr) == 90


def test_a_billion_steps_cost_nothing() -> None:
    schedule = simulated({"kind": KIND, "warmup_steps": 2000, "decay_ratio": 0.1}, 10**9).schedule
    agree(schedule([10**8, 950_000_000, 10**9 - 1]), [0.1, 0.05, 1e-9])


def test_durations() -> None:
    trace = simulated({"kind": KIND, "warmup_steps": "10%"}, 50)
    agree(trace.lr[:6], [0.02, 0.04, 0.06, 0.08, 0.1, 0.1])


def test_past_the_end_a_line_falls_below_its_floor_and_a_cosine_climbs() -> None:
    line = simulated({"kind": KIND, "warmup_steps": 0, "training_steps": 10}, 14)
    agree(line.lr[10:], [0.0, -0.01, -0.02, -0.03])
    assert line.schedule.notes(14) == ("past its 10 steps the rate goes on below its floor",)
    wave = simulated({"kind": KIND, "warmup_steps": 0, "training_steps": 10, "decay_type": "cosine"}, 21)
    assert wave.schedule.notes(21) == ("past its 10 steps the rate climbs again",)
    agree([wave.lr[20]], [0.1])
    knots_are_honest(wave.schedule, 21)


def test_what_is_cut_is_said() -> None:
    warm = simulated({"kind": KIND}, 100)
    assert warm.schedule.notes(100) == ("warmup_steps 200 is cut to the 100 steps of the schedule",)
    agree(warm.lr[[0, 99]], [0.001, 0.1])
    both = simulated({"kind": KIND, "warmup_steps": 60, "decay_ratio": 0.5}, 100)
    assert both.schedule.notes(100) == ("decay_ratio 0.5 is cut to the 40 steps after the warm-up",)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"warmup_steps": 50}, "at tick 51: there is nothing left to decay after its 50 steps"),
        ({"warmup_steps": 5, "decay_type": "exp"}, "at tick 6: unknown decay_type exp"),
        ({"warmup_steps": 5, "decay_type": "exp", "decay_ratio": 0.1}, "at tick 46: unknown decay_type exp"),
        (
            {"warmup_steps": 5, "decay_type": "sqrt", "decay_ratio": -0.1},
            "at tick 56: a square root of a negative number",
        ),
    ],
)
def test_what_raises_late(params: dict[str, object], told: str) -> None:
    spec = {"kind": KIND, "training_steps": 50, **params}
    assert message_of(simulated, spec, 60) == f"{KIND} raises in torchtitan {told}"
    tick = int(told.split()[2].rstrip(":"))
    assert len(simulated(spec, tick).lr) == tick


def test_phases_are_marked() -> None:
    schedule = simulated({"kind": KIND, "warmup_steps": 10, "decay_ratio": 0.2}, 100).schedule
    assert schedule.marks == ((10, "stable"), (81, "decay"))
    assert schedule.length == 100
