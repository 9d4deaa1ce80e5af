"""What the recorded traces of Megatron-LM do not show: samples, long runs, styles that fail late, refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli import simulate
from lrsched_cli.dialects.megatron import OptimizerParamScheduler
from tests.support import agree, consistent, knots_are_honest, message_of, simulated

SHAPES = {
    "linear": lambda x: 1 - x,
    "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
    "exponential": lambda x: 2 * 0.5**x - 1,
    "minus_sqrt": lambda x: 1 - math.sqrt(x),
}


def rate(s: float, style: str, warmup: float, decay: float, low: float, anneal: float, shape: str) -> float:
    """The rate after ``s`` steps of a schedule that warms up from 0.02 to 0.1."""
    if warmup > 0 and s <= warmup:
        return 0.02 + 0.08 * s / warmup
    if style == "constant":
        return 0.1
    if s > decay:
        return low
    if style == "inverse-square-root":
        return max(low, 0.1 * math.sqrt(max(warmup, 1)) / math.sqrt(max(s, 1)))
    if style == "WSD":
        left = 1.0 if s <= decay - anneal else SHAPES[shape]((s - decay + anneal) / anneal)
    else:
        left = SHAPES[style]((s - warmup) / (decay - warmup))
    return low + left * (0.1 - low)


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(["linear", "cosine", "constant", "inverse-square-root", "WSD"]),
    st.sampled_from(list(SHAPES)),
    st.sampled_from([1, 3, 16]),
    st.integers(1, 700),
    st.floats(0, 0.99),
    st.floats(0.01, 1.2),
    st.sampled_from([0.0, 0.01, 0.1]),
    st.integers(1, 120),
)
def test_random_schedules_are_the_formula(
    style: str, shape: str, increment: int, decay: int, warm: float, anneal: float, low: float, run: int
) -> None:
    warmup, cool = int(decay * warm), max(int(decay * anneal), 1)
    spec = {
        "kind": f"megatron.{style}",
        "init_lr": 0.02,
        "min_lr": low,
        "lr_warmup_steps": warmup,
        "lr_decay_steps": decay,
        "wsd_decay_steps": cool,
        "lr_wsd_decay_style": shape,
        "increment": increment,
    }
    trace = simulated(spec, run)
    agree(trace.lr, [rate(t * increment, style, warmup, decay, low, cool, shape) for t in range(run)])
    consistent(trace.schedule, run)
    knots_are_honest(trace.schedule, run)


def test_a_style_and_the_class_are_the_same() -> None:
    params = {"lr_warmup_steps": 4, "lr_decay_steps": 30, "min_lr": 0.01}
    for style in ("linear", "cosine", "constant", "inverse-square-root"):
        named = simulated({"kind": f"megatron.{style}", **params}, 40)
        class_ = simulated({"kind": "megatron.OptimizerParamScheduler", "lr_decay_style": style, **params}, 40)
        agree(named.lr, class_.lr)


def test_samples() -> None:
    spec = {"kind": "megatron.linear", "increment": 256, "lr_warmup_steps": 2560, "lr_decay_steps": 25600}
    trace = simulate({"lr": 0.1, **spec})
    assert len(trace.lr) == 100
    agree(trace.lr[[0, 5, 10, 55]], [0, 0.05, 0.1, 0.05])
    # Durations are updates, whatever an update adds.
    durations = {**spec, "lr_warmup_steps": "10%", "lr_decay_steps": "100st"}
    agree(simulated(durations, 100).lr, trace.lr)
    agree(simulated({**spec, "lr_decay_steps": None}, 100).lr, trace.lr)


def test_a_schedule_made_in_python_waits_for_its_run() -> None:
    schedule = OptimizerParamScheduler(lr=0.1, lr_warmup_steps="10%", increment=8)
    agree(simulate(schedule, {"steps": 50}).lr[[0, 5, 27, 28]], [0, 0.1, 0.1 * 23 / 45, 0.1 * 22 / 45])


def test_max_lr_is_the_base_rate_unless_given() -> None:
    assert simulated({"kind": "megatron.constant", "lr_decay_steps": 9}, 9).lr[5] == 0.1
    assert simulated({"kind": "megatron.constant", "lr_decay_steps": 9, "max_lr": 0.4}, 9).lr[5] == 0.4


def test_the_cliff_of_the_inverse_square_root() -> None:
    spec = {"kind": "megatron.inverse-square-root", "lr_warmup_steps": 4, "lr_decay_steps": 16, "min_lr": 0.01}
    trace = simulated(spec, 20)
    agree(trace.lr[15:18], [0.2 / math.sqrt(15), 0.05, 0.01])
    assert trace.schedule.notes(20) == ("the rate drops to min_lr 0.01 at tick 17, past lr_decay_steps",)
    assert trace.schedule.notes(17) == ()
    agree(simulated({**spec, "lr_warmup_steps": 0}, 3).lr, [0.1, 0.1, 0.1 / math.sqrt(2)])


def test_a_billion_steps_cost_nothing() -> None:
    spec = {"kind": "megatron.WSD", "lr_decay_steps": 10**9, "wsd_decay_steps": 10**8, "lr_warmup_steps": 2000}
    schedule = simulated(spec, 10**9).schedule
    agree([schedule(950_000_000)], [0.1 * (2 * 0.5**0.5 - 1)])
    assert schedule.marks == ((2000, "WSD"), (900_000_000, "decay"))


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"min_lr": -0.1}, "min_lr must be >= 0, got -0.1 (megatron raises AssertionError)"),
        ({"min_lr": 0.2}, "min_lr must be <= max_lr 0.1, got 0.2 (megatron raises AssertionError)"),
        ({"init_lr": 0.2}, "init_lr must be <= max_lr 0.1, got 0.2 (megatron raises AssertionError)"),
        ({"lr_decay_steps": 0}, "lr_decay_steps must be > 0, got 0 (megatron raises AssertionError)"),
        (
            {"lr_warmup_steps": 20},
            "lr_warmup_steps must be < lr_decay_steps 20, got 20 (megatron raises AssertionError)",
        ),
        (
            {"lr_decay_style": "WSD"},
            "wsd_decay_steps must be given for the style WSD, got None (megatron raises AssertionError)",
        ),
        ({"increment": 0}, "increment must be >= 1, got 0 (megatron refuses it)"),
    ],
)
def test_refusals(params: dict[str, Any], told: str) -> None:
    kind = "megatron.OptimizerParamScheduler"
    assert message_of(simulated, {"kind": kind, "lr_decay_steps": 20, **params}) == f"{kind}: {told}"


def test_another_style_than_the_kind_is_named_by() -> None:
    spec = {"kind": "megatron.linear", "lr_decay_steps": 20, "lr_decay_style": "cosine"}
    told = "megatron.linear: lr_decay_style must be linear in the kind megatron.linear, got 'cosine'"
    assert message_of(simulated, spec) == told


@pytest.mark.parametrize(
    ("params", "tick", "told"),
    [
        ({"lr_decay_style": "foo"}, 0, "the decay style foo is not supported"),
        ({"lr_decay_style": "foo", "lr_warmup_steps": 5}, 6, "the decay style foo is not supported"),
        (
            {"lr_decay_style": "WSD", "wsd_decay_steps": 8, "lr_wsd_decay_style": "foo"},
            13,
            "lr_wsd_decay_style foo is unknown to it",
        ),
        (
            {"lr_decay_style": "WSD", "wsd_decay_steps": 18, "lr_warmup_steps": 5, "lr_wsd_decay_style": "foo"},
            6,
            "lr_wsd_decay_style foo is unknown to it",
        ),
    ],
)
def test_what_raises_late(params: dict[str, Any], tick: int, told: str) -> None:
    spec = {"kind": "megatron.OptimizerParamScheduler", "lr_decay_steps": 20, **params}
    assert message_of(simulated, spec, 30) == f"{spec['kind']} raises in megatron at tick {tick}: {told}"
    if tick:
        assert len(simulated(spec, tick).lr) == tick


def test_what_is_ignored_is_said() -> None:
    spec = {"kind": "megatron.constant", "lr_decay_steps": 20, "min_lr": 0.01, "wsd_decay_steps": 5}
    assert simulated(spec, 30).schedule.notes(30) == (
        "megatron ignores min_lr 0.01 in the style constant",
        "megatron ignores wsd_decay_steps 5 in the style constant",
    )
