"""Every canonical kind, by being listed: finite rates, one rule however it is asked, honest knots, bounds, formula."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lrsched_cli.errors import SpecError
from lrsched_cli.schedules import ALIASES, CANONICAL
from lrsched_cli.schedules.base import AFTER, Schedule
from lrsched_cli.schedules.parameters import REQUIRED, Param, default_of, params_of
from tests.support import LR, consistent, knots_are_honest, made, message_of, refuses_ticks_outside

KINDS = pytest.mark.parametrize("name", CANONICAL)
QUICK = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

#: Parameters away from their defaults, where a rule has a branch, a rounding or a short cycle of its own.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("linear", {"start_factor": 0, "end_factor": 1, "total_iters": 7}),
    ("linear", {"total_iters": 3, "after": "mirror"}),
    ("linear", {"total_iters": 3, "after": "restart"}),
    ("linear", {"end_factor": 0.5, "total_iters": 60, "after": "extrapolate"}),
    ("polynomial", {"power": 2, "total_iters": 41, "after": "mirror"}),
    ("polynomial", {"power": 0.5, "eta_min": 0.01}),
    ("polynomial", {"power": 3.7, "total_iters": 9, "after": "end"}),
    ("exponential", {"gamma": 1.01}),
    ("exponential", {"gamma": 0.5, "every": 7, "staircase": True}),
    ("exponential", {"gamma": 0.5, "every": 7}),
    ("step", {"step_size": 1, "gamma": 0.99}),
    ("step", {"step_size": 7, "gamma": 0.5}),
    ("multistep", {"milestones": [1, 2, 50, 99]}),
    ("multistep", {"milestones": []}),
    ("cosine", {"T_max": 7, "eta_min": 0.02, "after": "mirror"}),
    ("cosine", {"T_max": 1, "after": "mirror"}),
    ("cosine", {"T_max": 13, "after": "restart"}),
    ("cosine", {"T_max": 13, "after": "extrapolate"}),
    ("cosine", {"T_max": 13, "eta_min": 0.1}),
    ("cosine-restarts", {"T_0": 1}),
    ("cosine-restarts", {"T_0": 7, "decay": 0.5, "eta_min": 0.001}),
    ("cosine-restarts", {"T_0": 3, "T_mult": 2}),
    ("cosine-restarts", {"T_0": 3, "T_mult": 1.5, "decay": 0.9, "eta_min": 0.001}),
    ("cosine-restarts", {"T_0": 30, "after": "hold"}),
    ("cosine-restarts", {"T_0": 30, "after": "mirror"}),
    ("cyclic", {"step_size_up": 1}),
    ("cyclic", {"step_size_up": 1, "step_size_down": 4, "mode": "triangular2"}),
    ("cyclic", {"step_size_up": 7, "step_size_down": 2, "mode": "exp_range", "gamma": 0.97}),
    ("cyclic", {"step_size_up": 20, "after": "hold"}),
    ("cyclic", {"step_size_up": 20, "after": "mirror", "mode": "triangular2"}),
    ("cyclic", {"step_size_up": 9, "after": "extrapolate"}),
    ("onecycle", {"pct_start": 0.37, "anneal_strategy": "linear"}),
    ("onecycle", {"three_phase": True, "total_steps": 80}),
    ("onecycle", {"three_phase": True, "pct_start": 0.41, "anneal_strategy": "linear"}),
    ("onecycle", {"pct_start": 0}),
    ("onecycle", {"pct_start": 0.5, "total_steps": 8, "after": "mirror"}),
    ("onecycle", {"pct_start": 1}),
    ("onecycle", {"total_steps": 10, "pct_start": 0.1}),
    ("wsd", {"warmup": 0, "decay": 100}),
    ("wsd", {"warmup": 13, "decay": 31, "decay_shape": "1-sqrt", "eta_min": 0.01}),
    ("wsd", {"decay_shape": "cosine", "total_steps": 60, "decay": 60, "warmup": 0}),
    ("wsd", {"decay_shape": "exp", "warmup": 50, "decay": 50}),
    ("inverse-sqrt", {"timescale": 16, "shift": 16}),
    ("inverse-sqrt", {"timescale": 16, "shift": 0.5}),
    ("inverse-time", {"rate": 0.5, "every": 10, "power": 2}),
    ("inverse-time", {"rate": 0.5, "power": 0.3}),
    ("tanh", {"lb": -3, "ub": 5, "eta_min": 0.01, "total_iters": 33}),
    ("rex", {"eta_min": 0.01, "total_iters": 33}),
    ("piecewise", {"points": [[0, 0.0], [3, 0.2], [4, 0.0], [90, 0.1]]}),
    ("piecewise", {"points": [[5, 0.3], [50, 0.1]], "interpolate": "constant"}),
    ("piecewise", {"points": [[5, 0.3], [50, 0.1]], "interpolate": "cosine"}),
    ("piecewise", {"points": [[5, 0.3]]}),
    ("range-test", {"strategy": "linear"}),
    ("range-test", {"rate": 0.5, "every": 9}),
    ("range-test", {"rate": 0.5, "every": 9, "staircase": True}),
    ("range-test", {"every": 9, "staircase": True, "total_iters": 50}),
    ("swa", {"swa_start": 30, "anneal_epochs": 9, "anneal_strategy": "linear"}),
    ("swa", {"swa_start": 75, "swa_lr": 0.2}),
    ("factor", {"factor": 0.5}),
    ("factor", {"factor": 2, "stop_factor_lr": 5}),
    ("expression", {"expr": "lr * 0.5 ** (t // 7)"}),
    ("expression", {"expr": "lr if t % 10 < 3 else lr / 2"}),
    ("expression", {"expr": "max(0.01, lr * abs(sin(t / 5)))"}),
    ("plateau", {"patience": 0, "factor": 0.5, "metrics": [1, 1, 1, 0.5, 0.5, 0.6]}),
    ("plateau", {"mode": "max", "patience": 1, "cooldown": 3, "min_lr": 0.001}),
    ("greedy", {"patience": 1, "factor": 0.5, "cooldown": 3, "warmup": 2, "reset_start": 3}),
    ("greedy", {"smooth": True, "window_size": 5, "patience": 0, "metrics": [3, 2, 1, 2, 3, 4, 3, 2]}),
]
BOTH = pytest.mark.parametrize(
    ("name", "params"), [(name, {}) for name in CANONICAL] + CASES, ids=lambda value: str(value)[:60]
)


@KINDS
@pytest.mark.parametrize("total", [1, 2, 3, 5, 7, 100])
def test_defaults_fit_every_run(name: str, total: int) -> None:
    """With its defaults a kind gives a rate on the shortest runs too, and starts or peaks at the base rate or below."""
    rates = consistent(made(name, total), total)
    assert 0 < made(name, 100).values(0, 100).max() <= 1.0
    assert rates.max() <= 1.0


@BOTH
def test_one_rule_however_it_is_asked(name: str, params: dict[str, Any]) -> None:
    schedule = made(name, **params)
    consistent(schedule, 100)
    # Long enough for whole chunks in a row, and for cycles that lie in one chunk and across two.
    long = made(name, 40_000, **params)
    atol = 1e-14 * long(np.arange(200)).max() if name != "exponential" else 1e-14 * long.values(0, 40_000).max()
    for start in (0, 15_990, 31_999):
        ticks = np.arange(start, start + 40)
        np.testing.assert_allclose(long.values(0, 40_000)[ticks], long(ticks), rtol=1e-12, atol=atol)


@BOTH
def test_knots_are_honest(name: str, params: dict[str, Any]) -> None:
    knots_are_honest(made(name, **params), 130)


@KINDS
def test_ticks_outside_are_refused(name: str) -> None:
    refuses_ticks_outside(made(name))


@KINDS
def test_a_kind_is_documented(name: str) -> None:
    kind = CANONICAL[name]
    assert kind.kind == name == name.lower()
    assert (kind.__doc__ or "").strip().endswith(".")
    assert kind.__doc__ != Schedule.__doc__
    assert kind.formula
    assert kind.source
    for parameter, described in params_of(kind).items():
        assert described.help.endswith((".", "...", ".01")), parameter
        assert described.condition, parameter
        assert str(default_of(kind, parameter)) or default_of(kind, parameter) is REQUIRED


def test_aliases_are_those_of_the_contract() -> None:
    expected = {
        "exponential-decay": "exponential", "step-decay": "step", "multi-factor": "multistep",
        "sgdr": "cosine-restarts", "one-cycle": "onecycle", "trapezoid": "wsd", "noam": "inverse-sqrt",
        "square-root": "inverse-sqrt", "points": "piecewise",
    }  # fmt: skip
    assert expected == ALIASES
    assert not ALIASES.keys() & CANONICAL.keys()


# Bounds.


def bounded() -> list[tuple[str, str]]:
    return [
        (name, p) for name, kind in CANONICAL.items() for p, described in params_of(kind).items() if described.bounds
    ]


def outside(param: Param) -> list[tuple[float, str]]:
    """Values just outside the bounds."""
    step = 1 if param.type in ("integer", "duration", "durations") else 1e-9
    found = []
    if param.ge is not None:
        found.append(param.ge - step)
    if param.gt is not None:
        found += [param.gt, param.gt - 1]
    if param.le is not None:
        found.append(param.le + step)
    if param.lt is not None:
        found += [param.lt, param.lt + 1]
    return found


@pytest.mark.parametrize(("name", "parameter"), bounded())
def test_a_value_outside_its_bounds_is_refused(name: str, parameter: str) -> None:
    """The message names the parameter, the bounds and the value; just inside, there is none of it."""
    described = params_of(CANONICAL[name])[parameter]
    for value in outside(described):
        given: Any = value
        if described.type == "points":
            given = [[0, value]]
        elif described.type == "durations":
            given = [value]
        message = message_of(made, name, **{parameter: given})
        number = re.escape(repr(int(value)) if described.type in ("integer", "duration", "durations") else repr(value))
        assert re.fullmatch(rf"{parameter} must be {re.escape(described.bounds)}, got {number}(\.0)?", message)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("step", {"gamma": 0}, "gamma must be > 0, got 0"),
        ("step", {"gamma": -0.1}, "gamma must be > 0, got -0.1"),
        ("step", {"step_size": 0}, "step_size must be >= 1, got 0"),
        ("step", {"lr": 0}, "lr must be > 0, got 0"),
        ("step", {"lr": -1}, "lr must be > 0, got -1"),
        ("linear", {"start_factor": -1}, "start_factor must be >= 0, got -1"),
        ("cosine", {"eta_min": -1.0}, "eta_min must be >= 0, got -1.0"),
        ("cosine", {"eta_min": 0.2}, "eta_min must be <= lr 0.1, got 0.2"),
        ("cosine", {"T_max": 0}, "T_max must be >= 1, got 0"),
        ("cosine", {"T_max": -5}, "T_max must be >= 1, got -5"),
        ("polynomial", {"power": 0}, "power must be > 0, got 0"),
        ("cosine-restarts", {"T_mult": 0.5}, "T_mult must be >= 1, got 0.5"),
        ("cosine-restarts", {"eta_min": 1}, "eta_min must be <= lr 0.1, got 1"),
        ("multistep", {"milestones": [30, 20]}, "milestones must increase, got 20 after 30"),
        ("multistep", {"milestones": [30, 30]}, "milestones must increase, got 30 after 30"),
        ("multistep", {"milestones": [0]}, "milestones must be >= 1, got 0"),
        ("multistep", {"milestones": 30}, "milestones must be a list of ticks or durations, got 30"),
        ("cyclic", {"base_lr": 0.2}, "base_lr must be <= max_lr 0.1, got 0.2"),
        ("cyclic", {"mode": "saw"}, "mode must be triangular, triangular2 or exp_range, got 'saw'"),
        ("onecycle", {"pct_start": 1.1}, "pct_start must be >= 0 and <= 1, got 1.1"),
        ("onecycle", {"three_phase": True, "pct_start": 0.6},
         "pct_start must be <= 0.5 where three_phase rises and falls for as long, got 0.6"),
        ("onecycle", {"three_phase": 1}, "three_phase must be true or false, got 1"),
        ("onecycle", {"div_factor": 0.5}, "div_factor must be >= 1, got 0.5"),
        ("wsd", {"warmup": 60, "decay": 60},
         "decay must be <= 40, the 100 ticks of the schedule less 60 of warm-up, got 60"),
        ("tanh", {"lb": 3}, "lb must be < ub 3.0, got 3"),
        ("piecewise", {"points": [[0, 1], [0, 2]]}, "points must increase, got 0 after 0"),
        ("piecewise", {"points": []}, "points must hold at least one [tick, value] pair"),
        ("piecewise", {"points": [[0, -1]]}, "points must be >= 0, got -1"),
        ("piecewise", {"points": [[0]]}, "points must be a list of [tick, value] pairs, got [0]"),
        ("plateau", {"factor": 1}, "factor must be > 0 and < 1, got 1"),
        ("plateau", {"metrics": []}, "metrics must be a list of numbers or FILE:COLUMN, got []"),
        ("plateau", {"metrics": [1, "a"]}, "metrics must be a list of numbers or FILE:COLUMN, got 'a'"),
        ("expression", {"expr": "t - 1"}, "expr must be >= 0, got -1 at t = 0"),
        ("expression", {"expr": "1 / t"}, "expr must be finite, got inf at t = 0"),
        ("expression", {"expr": "__import__('os')"},
         "expr must be arithmetic on t, pi, lr, total, got \"__import__('os')\""),
        ("expression", {"expr": "1 +"}, "expr is not an expression: '1 +'"),
        ("expression", {"expr": "lr * gama"}, "expr has the unknown name gama; it knows t, pi, lr, total"),
        ("cosine", {"after": "forever"},
         "after must be hold, mirror, end, restart, extrapolate or error, got 'forever'"),
        ("cosine", {"t_max": 5}, "cosine has no parameter t_max (did you mean T_max?)"),
        ("cosine", {"T_max": "5 weeks"},
         "T_max must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got '5 weeks'"),
        ("cosine", {"T_max": 2.5},
         "T_max must be a whole number of ticks or a duration like 5ep, 500st or 10%, got 2.5"),
        ("cosine", {"T_max": "3"}, "T_max must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got '3'"),
    ],
)  # fmt: skip
def test_what_a_refusal_says(name: str, params: dict[str, Any], message: str) -> None:
    assert message_of(made, name, **params) == message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "3", True, None, [1]])
def test_what_is_no_number_is_refused_by_every_number(value: Any) -> None:
    for name, kind in CANONICAL.items():
        for parameter, described in params_of(kind).items():
            if described.type == "number" and not (value is None and (described.optional or parameter == "lr")):
                expected = f"{parameter} must be a finite number, got {value!r}"
                assert message_of(made, name, **{parameter: value}) == expected


# Formulas.

PLAIN = {
    "constant", "linear", "polynomial", "exponential", "step", "cosine", "inverse-sqrt", "inverse-time", "tanh", "rex",
    "range-test", "swa", "factor",
}  # fmt: skip


def formula_at(schedule: Schedule, t: int) -> float:
    """The formula as the documentation prints it, worked out by Python."""
    text, _, where = schedule.formula.split(", or ")[0].partition(", x = ")
    names = {p: getattr(schedule, p) for p in params_of(type(schedule))}
    names |= {"t": t, "cos": math.cos, "tanh": math.tanh, "floor": math.floor, "max": max, "pi": math.pi}
    if where:
        names["x"] = eval(where, {}, names)
    return float(eval(text, {}, names))


def test_the_formula_is_the_code() -> None:
    """Every kind whose formula is plain arithmetic; the list of those must not shrink."""
    checked = set()
    for name, params in [(name, {}) for name in CANONICAL] + CASES:
        schedule = made(name, **params)
        if name not in PLAIN or params.get("staircase") or (params.get("rate") and name == "range-test"):
            continue
        if getattr(schedule, "anneal_strategy", "cos") != "cos" or getattr(schedule, "strategy", "exp") != "exp":
            continue
        first = getattr(schedule, "swa_start", 0)
        ticks = range(first, min(schedule.length or 100, 100))
        expected = [formula_at(schedule, t) for t in ticks]
        np.testing.assert_allclose(schedule(np.array(ticks)), expected, rtol=1e-12, atol=1e-15)
        checked.add(name)
    assert checked == PLAIN


# Whatever the parameters are.


def strategy_of(param: Param) -> st.SearchStrategy[Any] | None:
    low = param.ge if param.ge is not None else (param.gt + 1e-3 if param.gt is not None else -6.0)
    high = min(x for x in (param.le, None if param.lt is None else param.lt - 1e-3, max(low + 1, 1.0)) if x is not None)
    numbers = st.floats(low, high, allow_subnormal=False)
    duration = st.integers(int(max(low, 0)), 150)
    return {
        "number": numbers,
        "integer": st.integers(int(low), 40),
        "duration": duration,
        "ticks": st.floats(0.5, 150),
        "bool": st.booleans(),
        "choice": st.sampled_from([c for c in param.choices if c != "error"] or [""]),
        "durations": st.lists(st.integers(1, 120), unique=True, max_size=5).map(sorted),
        "points": st.lists(st.integers(0, 120), unique=True, min_size=1, max_size=5).flatmap(
            lambda ticks: st.lists(st.floats(0, 2), min_size=len(ticks), max_size=len(ticks)).map(
                lambda rates: [list(pair) for pair in zip(sorted(ticks), rates, strict=True)]
            )
        ),
        "metrics": st.lists(st.floats(-3, 3), min_size=1, max_size=60),
    }.get(param.type)


@st.composite
def parameters(draw: st.DrawFn, name: str) -> dict[str, Any]:
    drawn = {p: strategy_of(described) for p, described in params_of(CANONICAL[name]).items()}
    known = {p: found for p, found in drawn.items() if found is not None}
    chosen = draw(st.sets(st.sampled_from(sorted(known))))
    return {p: draw(known[p]) for p in sorted(chosen)}


@KINDS
@given(data=st.data(), total=st.integers(1, 130))
@QUICK
def test_parameters_within_their_bounds_give_rates(name: str, data: st.DataObject, total: int) -> None:
    """Finite, not negative, one rule, honest knots: for whatever a kind accepts. (Only what it refuses is left out.)"""
    params = data.draw(parameters(name))
    try:
        schedule = made(name, total, **params)
    except SpecError:
        assume(False)
    assume(params.get("after") != "extrapolate")  # beyond its end a formula may well go below 0
    consistent(schedule, total)
    knots_are_honest(schedule, min(total, 60))


@KINDS
def test_a_run_of_a_trillion_ticks(name: str) -> None:
    """Far out the rates are finite and those of the formula's own clock, and nothing takes memory for the rest."""
    total = 10**12
    schedule = made(name, total)
    far = schedule(np.array([0, 1, 10**6, total // 2, total - 2, total - 1]))
    assert np.isfinite(far).all()
    assert (far >= 0).all()
    knot = float(schedule.next_knot(np.full(1, total / 2))[0])
    for end in {total, int(min(knot + 25, total))}:  # at the end, and across a place where a rule changes
        row = schedule.values(end - 50, end)
        np.testing.assert_allclose(row, schedule(np.arange(end - 50, end)), rtol=0, atol=1e-12 * LR)


@pytest.mark.parametrize(
    ("name", "params", "period"),
    [
        ("cosine", {"T_max": 7, "after": "mirror"}, 14),
        ("linear", {"total_iters": 7, "after": "restart"}, 7),
        ("polynomial", {"total_iters": 7, "power": 2, "after": "mirror"}, 14),
        ("cosine-restarts", {"T_0": 7}, 7),
        ("cyclic", {"step_size_up": 4, "step_size_down": 3}, 7),
        ("expression", {"expr": "lr * (t % 7)"}, 7),
    ],
)
def test_a_cycle_far_out_is_the_first_cycle(name: str, params: dict[str, Any], period: int) -> None:
    schedule = made(name, 10**12, **params)
    far = 10**12 - 10**12 % period - period
    np.testing.assert_allclose(schedule.values(far, far + period), schedule.values(0, period), rtol=0, atol=1e-15)


@KINDS
def test_past_its_end_by_the_words(name: str) -> None:
    """What ``after`` promises, of every kind that has it: the rates past the end against those before it."""
    if "after" not in params_of(CANONICAL[name]):
        return
    for after in AFTER:
        schedule = made(name, 40, after=after)
        if schedule.length is None:
            continue
        n = schedule.length
        body = made(name, 40, after="extrapolate")(np.arange(n + 1))
        past = np.arange(n, 2 * n)
        if after == "error":
            told = f"{name} is not defined past tick {n}, and the run goes on to {n + 1}"
            assert message_of(schedule, n + 1) == told
            assert schedule(n) == body[n]
            continue
        rates = schedule(past)
        if after == "hold":
            np.testing.assert_allclose(rates, body[n], atol=1e-15)
        elif after == "mirror":
            np.testing.assert_allclose(rates, body[n:0:-1], atol=1e-15)
        elif after == "restart" and name != "cosine-restarts":
            np.testing.assert_allclose(rates, body[:n], atol=1e-15)
        elif after == "end":
            assert set(rates[1:].tolist()) == {schedule.end_rate}
