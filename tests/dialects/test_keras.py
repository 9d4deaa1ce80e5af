"""The keras dialect where the recorded traces do not reach: edges, refusals, notes, whole numbers, long runs."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli import simulate
from lrsched_cli.dialects.keras import KINDS, PiecewiseConstantDecay
from lrsched_cli.schedules.base import Schedule
from tests.support import agree, consistent, knots_are_honest, message_of

PI = math.pi
DECAY = {"initial_learning_rate": 0.1, "decay_steps": 10}


def rates(kind: str, total: int, /, **params: Any) -> np.ndarray:
    return simulate({"kind": f"keras.{kind}", **params}, {"steps": total}).lr


def schedule(kind: str, total: int = 100, /, **params: Any) -> Schedule:
    return simulate({"kind": f"keras.{kind}", **params}, {"steps": total}).schedule


def notes(kind: str, /, **params: Any) -> tuple[str, ...]:
    return schedule(kind, **params).notes(100)


def refusal(kind: str, /, **params: Any) -> str:
    told = message_of(schedule, kind, **params)
    assert told.startswith((f"keras.{kind}: ", f"keras.{kind} "))
    return told.removeprefix(f"keras.{kind}: ")


# Curves, by hand.


def test_staircases() -> None:
    stairs = {"initial_learning_rate": 0.8, "decay_steps": 2, "decay_rate": 0.5, "staircase": True}
    agree(rates("ExponentialDecay", 5, **stairs), [0.8, 0.8, 0.4, 0.4, 0.2])
    agree(rates("InverseTimeDecay", 5, **stairs), [0.8, 0.8, 0.8 / 1.5, 0.8 / 1.5, 0.4])
    agree(rates("ExponentialDecay", 6, **{**stairs, "decay_steps": 1.5}), [0.8, 0.8, 0.4, 0.2, 0.2, 0.1])
    agree(rates("ExponentialDecay", 5, **{**stairs, "decay_rate": -0.5}), [0.8, 0.8, -0.4, -0.4, 0.2])


def test_a_stair_far_out_begins_early() -> None:
    """Floors are taken in single precision, where 400 less a hundred-thousandth is 400."""
    decay = {"initial_learning_rate": 1.0, "decay_steps": 100_000, "decay_rate": 0.99, "staircase": True}
    stairs = schedule("ExponentialDecay", 10, **decay)
    edge = 400 * 100_000
    agree(stairs(np.array([edge - 2, edge - 1, edge])), [0.99**399, 0.99**400, 0.99**400])
    assert stairs.next_knot(np.array([edge - 90_000.0])) == edge - 1


def test_a_polynomial_holds_its_end_or_cycles() -> None:
    line = {"initial_learning_rate": 0.4, "decay_steps": 2, "end_learning_rate": 0.0}
    agree(rates("PolynomialDecay", 4, **line), [0.4, 0.2, 0, 0])
    # With cycle the whole time is stretched to the next multiple, which its own end still belongs to.
    agree(rates("PolynomialDecay", 7, **line, cycle=True), [0.4, 0.2, 0, 0.1, 0, 0.4 / 6, 0])
    agree(rates("PolynomialDecay", 4, **line, power=0.0), [0.4] * 4)
    agree(rates("PolynomialDecay", 3, **line, power=2.0), [0.4, 0.1, 0])


def test_a_warm_up_needs_a_target() -> None:
    warmed = {"initial_learning_rate": 0.1, "decay_steps": 2, "warmup_steps": 2, "alpha": 0.5}
    agree(rates("CosineDecay", 4, **warmed), [0.1, 0.075, 0.05, 0.05])
    agree(rates("CosineDecay", 6, **warmed, warmup_target=0.3), [0.1, 0.2, 0.3, 0.225, 0.15, 0.15])
    agree(rates("CosineDecay", 4, **{**warmed, "warmup_steps": 0}, warmup_target=0.3), [0.3, 0.225, 0.15, 0.15])
    agree(rates("CosineDecay", 3, **{**warmed, "warmup_steps": -1}, warmup_target=0.3), [0.225, 0.15, 0.15])
    told = ("warmup_steps 2 is not used: keras warms up only to a warmup_target",)
    assert notes("CosineDecay", **warmed) == told
    assert schedule("CosineDecay", **warmed).marks == ()
    assert schedule("CosineDecay", **warmed, warmup_target=0.3).marks == ((2, "decay"),)


def test_cycles_of_equal_length() -> None:
    cycles = {"initial_learning_rate": 0.4, "first_decay_steps": 2, "t_mul": 1.0, "m_mul": 0.5, "alpha": 0.1}
    # The foot is a part of the start in every cycle, and what is above it shrinks.
    agree(rates("CosineDecayRestarts", 6, **cycles), [0.4, 0.22, 0.22, 0.13, 0.13, 0.085])


def test_cycles_that_shrink_have_an_end() -> None:
    cycles = {"initial_learning_rate": 0.4, "first_decay_steps": 20, "t_mul": 0.5}
    ours = rates("CosineDecayRestarts", 31, **cycles)
    agree(ours[[0, 10, 20, 25, 30]], [0.4, 0.2, 0.4, 0.2, 0.4])
    told = message_of(rates, "CosineDecayRestarts", 60, **cycles)
    assert told == "keras.CosineDecayRestarts: the rate is nan at tick 45: it must be finite"


def test_restarts_are_on_time_where_a_logarithm_is_rounded_down() -> None:
    """log(243) / log(3) is 4.999...: rounded to single precision before it is floored, it is 5."""
    tripled = rates("CosineDecayRestarts", 1211, initial_learning_rate=0.1, first_decay_steps=10, t_mul=3.0)
    assert tripled[1210] == pytest.approx(0.1, rel=1e-12)
    assert tripled[1209] < 1e-6


def test_a_restart_far_out_comes_early() -> None:
    """The number of the cycle is rounded to single precision, which is 20 already some ticks before."""
    cycles = {"initial_learning_rate": 0.1, "first_decay_steps": 10}
    restarts = schedule("CosineDecayRestarts", 10, **cycles)
    edge = 10 * (2**20 - 1)
    knot = int(restarts.next_knot(np.array([edge - 1000.0]))[0])
    assert edge - 20 < knot < edge
    assert restarts(knot - 1) < 1e-6
    assert restarts(knot) > 0.0999


def test_a_piecewise_rate_changes_after_its_boundary() -> None:
    table = {"boundaries": [1, "50%"], "values": [0.4, 0.2, 0.1]}
    agree(rates("PiecewiseConstantDecay", 6, **table), [0.4, 0.4, 0.2, 0.2, 0.1, 0.1])
    # A boundary is cut down to a whole number.
    agree(
        rates("PiecewiseConstantDecay", 6, boundaries=[1.9, 3.1], values=[0.4, 0.2, 0.1]),
        [0.4, 0.4, 0.2, 0.2, 0.1, 0.1],
    )
    agree(rates("PiecewiseConstantDecay", 3, boundaries=[-1.5], values=[0.4, 0.2]), [0.2, 0.2, 0.2])
    agree(rates("PiecewiseConstantDecay", 4, boundaries=[1, 2], values=[0.4, 0.3, 0.2]), [0.4, 0.4, 0.3, 0.2])
    agree(rates("PiecewiseConstantDecay", 3, boundaries=[1, 1], values=[0.4, 9.0, 0.2]), [0.4, 0.4, 0.2])


def test_boundaries_out_of_order_add_up_rates() -> None:
    table = {"boundaries": [4, 2], "values": [0.4, 0.2, 0.1]}
    agree(rates("PiecewiseConstantDecay", 7, **table), [0.4, 0.4, 0.4, 0.5, 0.5, 0.1, 0.1])
    told = ("boundaries are out of order: keras adds up the rates whose ranges overlap",)
    assert notes("PiecewiseConstantDecay", **table) == told


def test_the_parameter_values_leaves_the_method_of_that_name() -> None:
    table = schedule("PiecewiseConstantDecay", boundaries=[1], values=[0.4, 0.2])
    assert isinstance(table, PiecewiseConstantDecay)
    for same in (table, copy.deepcopy(table), pickle.loads(pickle.dumps(table)), replace(table)):
        assert same == table
        assert tuple(same.values) == (0.4, 0.2)
        agree(same.values(1, 4), [0.4, 0.2, 0.2])
        assert "values=(0.4, 0.2)" in repr(same)
    assert PiecewiseConstantDecay.values is Schedule.values
    assert tuple(replace(table, values=(1.0, 2.0)).values) == (1.0, 2.0)


# Whole numbers: the type of the first rate is the type of the arithmetic.


def test_a_warm_up_from_a_whole_zero_never_leaves_it() -> None:
    warmed = {"decay_steps": 4, "warmup_target": 0.1, "warmup_steps": 2}
    agree(rates("CosineDecay", 7, initial_learning_rate=0, **warmed), [0.0] * 7)
    agree(rates("CosineDecay", 3, initial_learning_rate=0.0, **warmed), [0, 0.05, 0.1])
    told = "keras computes in whole numbers here and cuts the others down to such: write 0.0 for 0"
    assert notes("CosineDecay", initial_learning_rate=0, **warmed) == (told,)


def test_whole_numbers_cut_down_factors_and_pi() -> None:
    agree(rates("ExponentialDecay", 3, initial_learning_rate=1, decay_steps=6, decay_rate=0.5), [1, 0, 0])
    agree(rates("InverseTimeDecay", 3, initial_learning_rate=1, decay_steps=6, decay_rate=0.5), [1, 1, 1])
    agree(rates("PolynomialDecay", 3, initial_learning_rate=1, decay_steps=2.9), [1, 0.5, 0])
    agree(rates("PolynomialDecay", 3, initial_learning_rate=1, decay_steps=2, power=0.5), [1, 1, 1])
    cosine = [(1 + math.cos(3 * part)) / 2 for part in (0, 0.5, 1, 1)]
    agree(rates("CosineDecay", 4, initial_learning_rate=1, decay_steps=2), cosine)
    params = {"initial_learning_rate": 1, "first_decay_steps": 2, "t_mul": 1.5, "m_mul": 2.5, "alpha": 0.9}
    first = np.array(cosine[:2])
    agree(rates("CosineDecayRestarts", 6, **params), [*first, *2 * first, *4 * first])
    agree(rates("PiecewiseConstantDecay", 3, boundaries=[1], values=[2, 1]), [2, 2, 1])


# Lengths and notes.


@pytest.mark.parametrize(
    ("kind", "params", "length"),
    [
        ("PolynomialDecay", DECAY, 10),
        ("CosineDecay", DECAY, 10),
        ("CosineDecay", {**DECAY, "warmup_steps": 4}, 10),
        ("CosineDecay", {**DECAY, "warmup_steps": 4, "warmup_target": 0.2}, 14),
        ("CosineDecay", {**DECAY, "warmup_target": 0.2}, 10),
        ("ExponentialDecay", {**DECAY, "decay_rate": 0.5}, 100),
        ("ReduceLROnPlateau", {"metrics": [1.0] * 7}, 7),
    ],
)
def test_a_run_is_as_long_as_the_schedule_where_nothing_is_said(kind: str, params: dict[str, Any], length: int) -> None:
    assert len(simulate({"kind": f"keras.{kind}", **params}).lr) == length


def test_an_lr_that_is_given_and_not_used_is_told() -> None:
    assert notes("CosineDecay", **DECAY) == ()
    assert notes("CosineDecay", lr=0.5, **DECAY) == ("lr 0.5 is not used: initial_learning_rate is 0.1",)
    warmed = {**DECAY, "warmup_target": 0.5, "warmup_steps": 4}
    assert notes("CosineDecay", lr=0.3, **warmed) == ("lr 0.3 is not used: warmup_target is 0.5",)
    assert notes("CosineDecay", lr=0.5, **warmed) == ()
    told = ("lr 0.5 is not used: values[1] is 0.4",)
    assert notes("PiecewiseConstantDecay", lr=0.5, boundaries=[3], values=[0.2, 0.4]) == told
    assert notes("PolynomialDecay", lr=1e-4, **DECAY) == ()


# The callback.


def plateau(metrics: list[float], lr: float = 0.1, **params: Any) -> np.ndarray:
    return simulate({"kind": "keras.ReduceLROnPlateau", "lr": lr, "factor": 0.5, "metrics": metrics, **params}).lr


def test_the_last_bad_epoch_of_patience_cuts() -> None:
    agree(plateau([1, 1, 1, 1, 1, 1], patience=2), [0.1, 0.1, 0.1, 0.05, 0.05, 0.025])
    for patience in (1, 0, -3):
        agree(plateau([1, 1, 1, 0.5], patience=patience), [0.1, 0.1, 0.05, 0.025])


def test_a_gain_is_absolute_whatever_its_sign() -> None:
    falling = [1, 0.95, 0.9, 0.85, 0.8]
    agree(plateau(falling, patience=1), [0.1] * 5)
    # 0.95 and 0.9 are not better by more than a tenth, 0.85 is.
    for gain in (0.1, -0.1):
        agree(plateau(falling, patience=1, min_delta=gain), [0.1, 0.1, 0.05, 0.025, 0.025])


def test_the_last_epoch_of_a_cooldown_counts_again() -> None:
    flat = [1.0] * 7
    for cooldown in (0, 1):
        agree(plateau(flat, patience=1, cooldown=cooldown), 0.1 * 0.5 ** np.array([0, 0, 1, 2, 3, 4, 5]))
    agree(plateau(flat, patience=1, cooldown=3), 0.1 * 0.5 ** np.array([0, 0, 1, 1, 1, 2, 2]))


def test_a_first_metric_that_is_no_number_stays_the_best() -> None:
    agree(plateau([math.nan, 1, 0.5, 0.1], patience=2), [0.1, 0.1, 0.1, 0.05])
    agree(plateau([1, math.nan, 0.5, 0.1], patience=2), [0.1] * 4)


def test_the_floor_is_compared_in_single_precision() -> None:
    agree(plateau([1.0] * 5, patience=1, min_lr=0.04), [0.1, 0.1, 0.05, 0.04, 0.04])
    agree(plateau([1.0] * 4, lr=1 + 3e-8, patience=1, min_lr=1), [1 + 3e-8] * 4)
    agree(plateau([1.0] * 4, lr=0.1 + 1e-7, patience=1, min_lr=0.1), [0.1 + 1e-7] * 2 + [0.1] * 2)
    agree(plateau([1.0] * 4, patience=1, factor=0), [0.1, 0.1, 0, 0])


@pytest.mark.parametrize(
    ("monitor", "mode", "better"),
    [
        ("val_loss", "auto", "min"),
        ("loss", "max", "max"),
        ("val_accuracy", "auto", "max"),
        ("auc_2", "auto", "max"),
        ("val_mae", "auto", "min"),
        ("val_score", "min", "min"),
        ("val_loss", "wrong", "min"),
    ],
)
def test_the_metric_says_which_way_is_better(monitor: str, mode: str, better: str) -> None:
    made = schedule("ReduceLROnPlateau", monitor=monitor, mode=mode, factor=0.5, patience=1, metrics=[1, 2, 3])
    assert made.metric_mode == better
    agree(made.values(0, 3), [0.1, 0.1, 0.05] if better == "min" else [0.1] * 3)
    assert ("keras knows no mode wrong and takes it for auto" in made.notes(3)) == (mode == "wrong")


def test_what_the_callback_has_to_say() -> None:
    assert notes("ReduceLROnPlateau") == ("without metrics nothing is ever cut: the rate is constant",)
    metrics = [1.0] * 100
    told = ("min_lr 0.2 is not below lr 0.1: nothing is ever cut",)
    assert notes("ReduceLROnPlateau", min_lr=0.2, metrics=metrics) == told
    assert notes("ReduceLROnPlateau", metrics=metrics) == ()
    told = ("there are 2 metrics for 100 ticks: the last rate is held from there on",)
    assert notes("ReduceLROnPlateau", metrics=[1.0, 1.0]) == told


def test_the_callback_follows_training() -> None:
    waiting = schedule("ReduceLROnPlateau", factor=0.5, patience=1)
    assert waiting.reacts
    assert waiting.fed([])(5) == 0.1
    assert waiting.fed([1.0, 1.0])(2) == 0.05


# Refusals.


@pytest.mark.parametrize(
    ("kind", "params", "told"),
    [
        ("CosineDecay", {"decay_steps": 5}, "keras.CosineDecay needs initial_learning_rate"),
        ("CosineDecay", {**DECAY, "decay_steps": 0}, "decay_steps must be > 0, got 0 (keras raises ValueError)"),
        ("CosineDecay", {**DECAY, "alpha": "x"}, "alpha must be a finite number, got 'x' (keras refuses it)"),
        (
            "PolynomialDecay",
            {**DECAY, "decay_steps": math.nan},
            "decay_steps must be a number, got nan (keras refuses it)",
        ),
        ("PolynomialDecay", {**DECAY, "power": -1}, "the rate is inf at tick 10: it must be finite"),
        (
            "ExponentialDecay",
            {"initial_learning_rate": 1, "decay_steps": 0.5, "decay_rate": 1},
            "decay_steps must be >= 1 where initial_learning_rate is a whole number, got 0.5 (keras divides by 0)",
        ),
        (
            "CosineDecayRestarts",
            {"initial_learning_rate": 0.1, "first_decay_steps": -2},
            "first_decay_steps must be > 0, got -2 (keras raises ValueError)",
        ),
        (
            "PiecewiseConstantDecay",
            {"boundaries": [1, 2], "values": [0.1]},
            "boundaries must be one fewer than the 1 values, got [1, 2] (keras raises ValueError)",
        ),
        (
            "PiecewiseConstantDecay",
            {"boundaries": [], "values": [0.1]},
            "boundaries must be a list of at least one, got [] (keras raises IndexError)",
        ),
        (
            "PiecewiseConstantDecay",
            {"boundaries": [math.inf], "values": [0.1, 0.2]},
            "boundaries must be finite, got inf (keras casts it to a whole number)",
        ),
        (
            "PiecewiseConstantDecay",
            {"boundaries": [3], "values": [1, 0.2]},
            (
                "values must be all whole numbers, or begin with a float such as 1.0, got [1, 0.2] "
                "(keras raises RuntimeError)"
            ),
        ),
        ("ReduceLROnPlateau", {"factor": 1}, "factor must be < 1, got 1 (keras raises ValueError)"),
        (
            "ReduceLROnPlateau",
            {"monitor": "val_score"},
            (
                "mode must be min or max where monitor is val_score, which keras may not know, got 'auto' "
                "(keras raises ValueError)"
            ),
        ),
    ],
)
def test_what_keras_refuses(kind: str, params: dict[str, Any], told: str) -> None:
    assert refusal(kind, **params) == told


# Every kind, over random parameters.

values = st.floats(0, 1).map(lambda each: round(each, 4))
lengths = st.integers(1, 60) | st.floats(0.5, 60).map(lambda each: round(each, 2))
ticks = st.integers(0, 60) | st.floats(0, 60).map(lambda each: round(each, 2))
decays = {"initial_learning_rate": values, "decay_steps": lengths}


def some(**params: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(params)


DRAWN: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "ExponentialDecay": some(**decays, decay_rate=st.floats(0.1, 1.1), staircase=st.booleans()),
    "InverseTimeDecay": some(**decays, decay_rate=st.floats(0, 3), staircase=st.booleans()),
    "PolynomialDecay": some(**decays, end_learning_rate=values, power=st.sampled_from([1, 2, 0.5])),
    "CosineDecay": some(**decays, alpha=values, warmup_target=values | st.none(), warmup_steps=ticks),
    "CosineDecayRestarts": some(
        initial_learning_rate=values,
        first_decay_steps=lengths,
        t_mul=st.sampled_from([1.0, 2, 1.5, 1.1, 3]),
        m_mul=st.floats(0.1, 1.2),
        alpha=values,
    ),
    "PiecewiseConstantDecay": st.lists(ticks, min_size=1, max_size=5).flatmap(
        lambda boundaries: some(
            boundaries=st.just(boundaries),
            values=st.lists(values, min_size=len(boundaries) + 1, max_size=len(boundaries) + 1),
        )
    ),
    "ReduceLROnPlateau": some(
        metrics=st.lists(values, min_size=1, max_size=100),
        patience=st.integers(0, 5),
        cooldown=st.integers(0, 5),
        min_delta=st.sampled_from([0, 1e-4, 0.1]),
    ),
}


def test_every_kind_is_drawn() -> None:
    assert DRAWN.keys() == KINDS.keys()


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(DRAWN)).flatmap(lambda kind: st.tuples(st.just(kind), DRAWN[kind])))
def test_one_rule_however_it_is_asked(drawn: tuple[str, dict[str, Any]]) -> None:
    kind, params = drawn
    made = schedule(kind, 100, **params)
    consistent(made, 100)
    knots_are_honest(made, 100)


@settings(deadline=None, max_examples=100)
@given(
    some(**{**decays, "decay_steps": st.integers(1, 60)}, end_learning_rate=values, power=st.sampled_from([1, 2, 0.5]))
)
def test_a_polynomial_that_cycles(params: dict[str, Any]) -> None:
    made = schedule("PolynomialDecay", 100, **params, cycle=True)
    consistent(made, 100)
    knots_are_honest(made, 100)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"ReduceLROnPlateau"}))
def test_a_billion_steps_cost_what_a_thousand_do(kind: str) -> None:
    example = dict(KINDS[kind].example)
    made = simulate({"kind": f"keras.{kind}", **example}, {"steps": 10**9}).schedule
    far = made.values(10**9 - 5, 10**9)
    np.testing.assert_allclose(far, made(np.arange(10**9 - 5, 10**9)), rtol=1e-12)


def test_a_decay_over_a_billion_steps() -> None:
    total = 10**9
    decay = schedule("CosineDecay", total, initial_learning_rate=0.1, decay_steps=total)
    ticks = np.array([0, 1, 123_456_789, 5 * 10**8, total - 1])
    agree(decay(ticks), 0.05 * (1 + np.cos(PI * ticks / total)))
