"""What the recorded traces of Composer do not show: its units, ratios, the Trainer's lag, epochs as ticks, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli import simulate
from lrsched_cli.dialects.composer import KINDS, StepScheduler
from tests.support import agree, consistent, knots_are_honest, message_of, simulated

LATE = "composer's Trainer uses these rates a batch late: trainer: true shows its own"


def spec(kind: str, **params: Any) -> dict[str, Any]:
    return {"kind": f"composer.{kind}", **params}


def rates(kind: str, total: int = 20, **params: Any) -> np.ndarray:
    return simulated(spec(kind, **params), total).lr


# What each one gives, over a time of T, an end of E and a warm-up of W batches.

PLAIN = {
    "LinearScheduler": lambda x: 1.2 - 0.9 * x,
    "CosineAnnealingScheduler": lambda x: 0.3 + 0.7 * (1 + math.cos(math.pi * x)) / 2,
    "PolynomialScheduler": lambda x: 0.3 + 0.7 * (1 - x) ** 1.7,
}
OWN = {"LinearScheduler": {"alpha_i": 1.2}, "PolynomialScheduler": {"power": 1.7}}


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(list(PLAIN)), st.integers(1, 60), st.integers(0, 40), st.integers(1, 90), st.integers(1, 7),
    st.sampled_from(["ba", "sp", "tok"]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_decays_are_the_formula(
    kind: str, end: int, warm: int, run: int, pace: int, unit: str, trainer: bool, warms: bool
) -> None:
    pace = 1 if unit == "ba" else pace
    params = {
        "samples_per_batch": pace,
        "tokens_per_batch": pace,
        "trainer": trainer,
        "alpha_f": 0.3,
        "t_max": f"{end}{unit}",
        "max_duration": f"1{unit}",
        **OWN.get(kind, {}),
    }
    if warms:
        params["t_warmup"] = f"{warm}{unit}"
        kind_ = kind.replace("Scheduler", "WithWarmupScheduler")
    expected = []
    for t in range(run):
        clock = max(t - trainer, 0) * pace
        if warms and clock < warm:
            expected.append(0.1 * PLAIN[kind](0) * clock / warm)
            continue
        start = warm if warms else 0
        x = min(1.0, (clock - start) / (end - start)) if end > start else 0.0
        expected.append(0.1 * PLAIN[kind](x))
    trace = simulated(spec(kind_ if warms else kind, **params), run)
    agree(trace.lr, expected)
    consistent(trace.schedule, run)
    knots_are_honest(trace.schedule, run)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.floats(0.3, 4), st.integers(1, 120), st.booleans())
def test_restarts_are_the_formula(first: int, mult: float, run: int, trainer: bool) -> None:
    expected: list[float] = []
    start, length = 0, first
    while len(expected) < run and length:
        wave = [0.05 + 0.05 * (1 + math.cos(math.pi * i / length)) / 2 for i in range(min(length, run))]
        expected += wave
        start, length = start + length, int(mult * length)
    given_up = len(expected) < run
    if trainer:
        expected = [expected[0], *expected]
    total = min(run, len(expected))
    params = {"t_0": f"{first}ba", "t_mult": mult, "alpha_f": 0.5, "trainer": trainer}
    own = spec("CosineAnnealingWarmRestartsScheduler", **params)
    trace = simulated(own, total)
    agree(trace.lr, expected[:total])
    consistent(trace.schedule, total)
    knots_are_honest(trace.schedule, total)
    if given_up:
        told = f"{own['kind']} raises in composer at tick {start + trainer}: the cycles have shrunk to nothing"
        assert message_of(simulated, own, start + trainer + 1) == told


def test_steps_and_milestones() -> None:
    agree(rates("StepScheduler", 7, step_size="2ba", gamma=0.5), [0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.0125])
    agree(rates("StepScheduler", 5, step_size="-2ba", gamma=0.5), [0.1, 0.1, 0.2, 0.2, 0.4])
    mixed = ["3ba", "0.5dur", "1ep", "24sp", "90tok"]  # batches 3, 4, 5, 6 and 8
    units = {"dataloader_len": 5, "samples_per_batch": 4, "tokens_per_batch": 12}
    trace = simulated(spec("MultiStepScheduler", milestones=mixed, gamma=0.5, **units), 9)
    agree(trace.lr, 0.1 * 0.5 ** np.array([0, 0, 0, 1, 2, 3, 4, 4, 5.0]))
    knots_are_honest(trace.schedule, 9)
    # The warm-up covers the milestone, which counts all the same.
    agree(
        rates("MultiStepWithWarmupScheduler", 6, t_warmup="4ba", milestones=["2ba", "5ba"], gamma=0.5),
        [0, 0.025, 0.05, 0.075, 0.05, 0.025],
    )


def test_a_constant_factor_ends_and_with_a_warm_up_it_does_not() -> None:
    agree(rates("ConstantScheduler", 5, alpha=0.5, t_max="3ba"), [0.05, 0.05, 0.05, 0.1, 0.1])
    own = spec("ConstantWithWarmupScheduler", t_warmup="2ba", alpha=0.5, t_max="3ba", max_duration="3ba")
    trace = simulated(own, 5)
    agree(trace.lr, [0, 0.025, 0.05, 0.05, 0.05])
    told = "the factor 0.5 stays past t_max, where composer's docs promise 1.0"
    assert trace.schedule.notes(5) == (LATE, told)
    assert trace.schedule.notes(3) == (LATE,)
    assert trace.schedule.marks == ((2, "after warm-up"),)


def test_an_exponential_decay() -> None:
    agree(rates("ExponentialScheduler", 4, gamma=0.25, decay_period="2ba"), [0.1, 0.05, 0.025, 0.0125])
    agree(rates("ExponentialScheduler", 3, gamma=0, decay_period="2ba"), [0.1, 0, 0])
    agree(rates("ExponentialScheduler", 4, gamma=-0.5, decay_period="1ba"), [0.1, -0.05, 0.025, -0.0125])


def test_the_power_of_nothing() -> None:
    agree(rates("PolynomialScheduler", 4, power=0, t_max="2ba"), [0.1] * 4)
    told = "composer.PolynomialScheduler raises in composer at tick 2: 0.0 cannot be raised to a negative power"
    own = spec("PolynomialScheduler", power=-1, t_max="2ba")
    assert message_of(simulated, own, 4) == told
    agree(simulated(own, 2).lr, [0.1, 0.2])
    assert message_of(simulated, {**own, "trainer": True}, 4) == told.replace("tick 2", "tick 3")


def test_the_ratio_scales_what_is_no_part_of_the_run() -> None:
    half = rates("StepScheduler", 12, step_size="10ba", ssr=0.5)
    agree(half, [0.1] * 5 + [0.01] * 5 + [0.001] * 2)
    cut = rates("StepScheduler", 5, step_size="3ba", ssr=0.9)  # 2.7 batches, cut to 2
    agree(cut, [0.1, 0.1, 0.01, 0.01, 0.001])
    agree(rates("StepScheduler", 12, step_size="0.5dur", ssr=0.5), [0.1] * 6 + [0.01] * 6)
    agree(rates("StepScheduler", 12, step_size="50%", ssr=0.5), [0.1] * 6 + [0.01] * 6)
    assert rates("StepScheduler", 12, step_size="500st", ssr=0.01)[[4, 5]].tolist() == pytest.approx([0.1, 0.01])


def test_a_scaled_warm_up_ends_unscaled() -> None:
    own = spec("LinearWithWarmupScheduler", t_warmup="4ba", alpha_f=1, ssr=0.5, t_max="40ba", scale_warmup=True)
    trace = simulated(own, 8)
    agree(trace.lr, [0, 0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    told = "scale_warmup scales the slope of the warm-up, and composer ends it unscaled"
    assert trace.schedule.notes(8) == (LATE, told)
    agree(simulated({**own, "ssr": 2.0}, 8).lr, [0, 0.0125, 0.025, 0.0375, 0.1, 0.1, 0.1, 0.1])


def test_no_warm_up_is_said() -> None:
    trace = simulated(spec("LinearWithWarmupScheduler", t_warmup="0.01dur"), 20)
    agree(trace.lr, np.linspace(0.1, 0, 21)[:20])
    assert trace.schedule.notes(20) == (LATE, "t_warmup 0.01dur comes to nothing, and composer warns")
    assert trace.schedule.marks == ()


def test_the_trainer_is_a_batch_late_and_needs_no_note() -> None:
    trace = simulated(spec("LinearScheduler", trainer=True), 10)
    agree(trace.lr, [0.1, 0.1, 0.09, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03, 0.02])
    assert trace.schedule.notes(10) == ()


# The run that times are parts of.


def test_the_run_says_what_is_not_given() -> None:
    own = spec("StepScheduler", step_size="1ep", gamma=0.5)
    trace = simulate({"lr": 0.1, **own}, {"epochs": 3, "steps_per_epoch": 4})
    agree(trace.lr, [0.1] * 4 + [0.05] * 4 + [0.025] * 4)
    tokens = simulate({"lr": 0.1, **own, "step_size": "1e3tok"}, {"steps": 6, "tokens_per_step": 300})
    agree(tokens.lr, [0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
    halves = simulate({"lr": 0.1, **own, "step_size": "0.5dur"}, {"steps": 5})
    agree(halves.lr, [0.1, 0.1, 0.05, 0.05, 0.025])


def test_ticks_may_be_epochs() -> None:
    own = spec("MultiStepScheduler", milestones=["30ep", "0.75dur", "80%"], gamma=0.5)
    trace = simulate({"lr": 0.1, **own}, {"epochs": 90})
    agree(trace.lr[[29, 30, 67, 68, 71, 72]], [0.1, 0.05, 0.05, 0.025, 0.025, 0.0125])
    assert trace.schedule.notes(90) == ()
    batches = spec("StepScheduler", step_size="25ba", dataloader_len=10, gamma=0.5)
    agree(simulate({"lr": 0.1, **batches}, {"epochs": 6}).lr, [0.1, 0.1, 0.1, 0.05, 0.05, 0.025])
    warm = spec("CosineAnnealingWithWarmupScheduler", t_warmup="5ep")
    agree(simulate({"lr": 0.1, **warm}, {"epochs": 10}).lr[[0, 1, 5]], [0, 0.02, 0.1])


@pytest.mark.parametrize(
    ("params", "length"),
    [
        ({"max_duration": "35ba"}, (35, "step")),
        ({"max_duration": "3ep"}, (3, "epoch")),
        ({"max_duration": 3}, (3, "epoch")),
        ({"max_duration": "3ep", "dataloader_len": 7}, (21, "step")),
        ({"max_duration": "1e3tok", "tokens_per_batch": 300}, (4, "step")),
        ({"max_duration": "20sp", "samples_per_batch": 5}, (4, "step")),
        ({}, (100, "epoch")),
    ],
)
def test_its_own_length(params: dict[str, Any], length: tuple[int, str]) -> None:
    trace = simulate(spec("LinearScheduler", lr=0.1, **params))
    assert (len(trace.lr), trace.clock.interval) == length
    agree(trace.lr[[0]], [0.1])


def test_a_schedule_made_in_python_waits_for_its_run() -> None:
    schedule = StepScheduler(lr=0.1, step_size="25%", gamma=0.5)
    assert schedule.unresolved
    agree(simulate(schedule, {"steps": 8}).lr, [0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125])


def test_a_billion_steps_cost_nothing() -> None:
    warm = spec("CosineAnnealingWithWarmupScheduler", t_warmup="1e9tok", tokens_per_batch=10**6)
    schedule = simulated({**warm, "max_duration": "1e15tok"}, 10**9).schedule
    agree(schedule([0, 500, 1000, 500_000_500]), [0, 0.05, 0.1, 0.05])
    restarts = spec("CosineAnnealingWarmRestartsScheduler", t_0="50ba", t_mult=1.01)  # 50.5 is cut to 50
    schedule = simulated(restarts, 10**9).schedule
    agree(schedule([0, 999_999_950, 999_999_975]), [0.1, 0.1, 0.05])


# What Composer refuses.

NO_LENGTH = (
    "needs dataloader_len, or the run's steps_per_epoch, to turn 3ep into batches (composer raises RuntimeError)"
)


@pytest.mark.parametrize(
    ("kind", "params", "told"),
    [
        ("StepScheduler", {"step_size": 10}, "step_size must be a time such as 10ba, 3ep or 0.5dur, got 10"),
        ("StepScheduler", {"step_size": "10"}, "step_size must be a time such as 10ba, 3ep or 0.5dur, got '10'"),
        ("StepScheduler", {"step_size": "5sec"}, "step_size must be a time such as 10ba, 3ep or 0.5dur, got '5sec'"),
        ("StepScheduler", {"step_size": "1.5ba"}, "step_size must be a time such as 10ba, 3ep or 0.5dur, got '1.5ba'"),
        ("StepScheduler", {"step_size": "nanba"}, "step_size must be a time such as 10ba, 3ep or 0.5dur, got 'nanba'"),
        (
            "MultiStepScheduler",
            {"milestones": "10ba"},
            "milestones must be a list of times such as 10ba, 3ep or 0.5dur, got '10ba'",
        ),
        (
            "LinearScheduler",
            {"max_duration": "0.5dur"},
            "max_duration must be a time > 0 such as 1000ba or 90ep, or a number of epochs, got '0.5dur'",
        ),
        (
            "LinearScheduler",
            {"max_duration": 0},
            "max_duration must be a time > 0 such as 1000ba or 90ep, or a number of epochs, got '0ep'",
        ),
        ("LinearScheduler", {"dataloader_len": 0}, "dataloader_len must be >= 1, got 0"),
    ],
)
def test_what_is_no_time(kind: str, params: dict[str, Any], told: str) -> None:
    assert message_of(simulated, spec(kind, **params)) == f"composer.{kind}: {told} (composer refuses it)"


@pytest.mark.parametrize(
    ("kind", "params", "told"),
    [
        ("StepScheduler", {"step_size": "3ep"}, f"step_size {NO_LENGTH}"),
        (
            "StepScheduler",
            {"step_size": "0.5dur", "max_duration": 3},
            f"step_size {NO_LENGTH}",
        ),
        (
            "StepScheduler",
            {"step_size": "3sp"},
            "step_size needs samples_per_batch to turn 3sp into batches, which composer counts itself",
        ),
        (
            "StepScheduler",
            {"step_size": "0.5dur", "max_duration": "9tok"},
            "step_size needs tokens_per_batch to turn 9tok into batches, which composer counts itself",
        ),
        (
            "StepScheduler",
            {"step_size": "0.01dur"},
            "step_size must be longer than 0 batches, got '0.01dur' (composer raises ZeroDivisionError)",
        ),
        (
            "CosineAnnealingWarmRestartsScheduler",
            {"t_0": "0ba"},
            "t_0 must be > 0, got '0ba' (composer raises ValueError)",
        ),
        (
            "CosineAnnealingWarmRestartsScheduler",
            {"t_0": "-5ba"},
            "t_0 must be > 0: with a negative one composer never returns, got '-5ba'",
        ),
        (
            "CosineAnnealingWarmRestartsScheduler",
            {"t_0": "5ba", "t_mult": -1},
            "t_mult must be >= 0: with a negative one composer may never return, got -1",
        ),
        (
            "LinearWithWarmupScheduler",
            {"t_warmup": "5sp", "samples_per_batch": 1},
            "t_warmup must be in the unit of t_max 1dur, got '5sp' (composer raises ValueError)",
        ),
        (
            "LinearWithWarmupScheduler",
            {"t_warmup": "5ba", "t_max": "19ba"},
            "t_max must be >= max_duration 20ba, got '19ba' (composer raises ValueError)",
        ),
        (
            "LinearWithWarmupScheduler",
            {"t_warmup": "5ba", "t_max": "19ba", "max_duration": "2ep", "dataloader_len": 10},
            "t_max must be >= max_duration 2ep, got '19ba' (composer raises ValueError)",
        ),
        (
            "LinearWithWarmupScheduler",
            {"t_warmup": "1ba", "scale_warmup": True, "ssr": 0.5, "t_max": "40ba"},
            "t_warmup must be longer than 0 batches, got '1ba' (composer raises ZeroDivisionError)",
        ),
    ],
)
def test_refusals(kind: str, params: dict[str, Any], told: str) -> None:
    assert message_of(simulated, spec(kind, **params), 20) == f"composer.{kind}: {told}"


def test_ends_that_cannot_be_compared_with_the_run_are_not() -> None:
    own = spec("LinearWithWarmupScheduler", t_warmup="2ba", t_max="12ba", max_duration="2ep")
    agree(simulated(own, 14).lr[[2, 7, 12, 13]], [0.1, 0.05, 0, 0])


def test_ticks_of_epochs_know_no_batches() -> None:
    own = {"lr": 0.1, **spec("StepScheduler", step_size="10ba")}
    told = "needs dataloader_len, or the run's steps, to turn 10ba into epochs: composer counts batches"
    assert message_of(simulate, own, {"epochs": 9}) == f"composer.StepScheduler: step_size {told}"
    late = {"lr": 0.1, **spec("LinearScheduler", trainer=True)}
    told = "trainer must be off where ticks are epochs: composer's Trainer is a batch late, got True"
    assert message_of(simulate, late, {"epochs": 9}) == f"composer.LinearScheduler: {told}"


@pytest.mark.parametrize(
    ("kind", "params", "told"),
    [
        ("ExponentialScheduler", {"gamma": -0.5, "decay_period": "2ba"}, "1: a root of a negative gamma is a complex"),
        ("ExponentialScheduler", {"gamma": 0, "decay_period": "-2ba"}, "1: 0.0 cannot be raised to a negative power"),
        ("StepScheduler", {"gamma": 0, "step_size": "-3ba"}, "3: 0.0 cannot be raised to a negative power"),
    ],
)
def test_what_raises_late(kind: str, params: dict[str, Any], told: str) -> None:
    assert f"composer.{kind} raises in composer at tick {told}" in message_of(simulated, spec(kind, **params))


def test_every_scheduler_is_here() -> None:
    plain = {"Step", "MultiStep", "Constant", "Linear", "Exponential", "CosineAnnealing", "Polynomial"}
    warm = {f"{name}WithWarmup" for name in plain - {"Step", "Exponential"}}
    assert set(KINDS) == {f"{name}Scheduler" for name in plain | warm | {"CosineAnnealingWarmRestarts"}}
