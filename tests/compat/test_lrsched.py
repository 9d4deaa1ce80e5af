"""The lrsched dialect against the functions of the package lrsched on PyPI, called at every step."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrsched_cli import SpecError, simulate
from lrsched_cli.dialects.lrsched import KINDS
from lrsched_cli.trace import Trace
from tests.support import agree

real = pytest.importorskip("lrsched.schedules", reason="the package lrsched is not installed")
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

RATES = st.one_of(st.integers(-50, 200).map(lambda n: n / 100), st.sampled_from([0, 0.1, 1]))
# A third is what the library refuses somewhere.
WHOLE = st.integers(1, 12) | st.integers(1, 90)
STEPS = st.one_of(*[WHOLE] * 11, st.integers(-1, 90), st.sampled_from([2.0, 2.5, 0]))
FACTORS = st.one_of(
    st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(-1.5, 1.5), st.sampled_from([0, 1, 1e4, 1e160])
)
PARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    "milestones": st.lists(STEPS, max_size=5),
    "power": st.one_of(st.floats(-3, 3), st.sampled_from([0, 1, 2, 0.5, -400])),
    "gamma": FACTORS,
    "drop": FACTORS,
    "decay_rate": FACTORS,
    "pct_start": st.one_of(st.floats(0.01, 0.99), st.sampled_from([0.25, 0.5, 0, 1.5])),
    "initial_div": st.one_of(*[st.floats(0.1, 30)] * 5, st.sampled_from([0, -1])),
    "final_div": st.one_of(*[st.floats(0.1, 1e4)] * 5, st.sampled_from([0, -1])),
    "t_mult": st.sampled_from([1, 1, 2, 3, 5, 0, 1.5]),
    "total_steps": st.one_of(*[st.integers(20, 90)] * 3, STEPS),
    "decay_shape": st.sampled_from(["linear", "1-sqrt", "linear", "1-sqrt", "cosine"]),
}
LEAVES = [name for name in KINDS if name not in ("with_warmup", "sequential")]


def parameter(name: str) -> st.SearchStrategy[Any]:
    return PARAMETERS.get(name, STEPS if name.endswith(("steps", "size", "period")) else RATES)


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, Any]:
    import inspect

    name = draw(st.sampled_from(LEAVES))
    names = inspect.signature(function(name)).parameters
    return {"kind": f"lrsched.{name}", **{n: draw(parameter(n)) for n in names}}


def composed(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    phases = st.lists(st.tuples(STEPS, inner).map(list), max_size=3)
    return st.one_of(
        st.fixed_dictionaries(
            {"kind": st.just("lrsched.with_warmup"), "schedule": inner, "warmup_steps": STEPS, "start_lr": RATES}
        ),
        st.fixed_dictionaries({"kind": st.just("lrsched.sequential"), "phases": phases}),
    )


def function(name: str) -> Any:
    import lrsched

    return getattr(lrsched, name)


def made(spec: dict[str, Any]) -> Any:
    """The library's own schedule."""
    params = {name: value for name, value in spec.items() if name != "kind"}
    name = spec["kind"].partition(".")[2]
    if name == "with_warmup":
        return function(name)(made(params.pop("schedule")), **params)
    if name == "sequential":
        return function(name)([(duration, made(entry)) for duration, entry in params["phases"]])
    return function(name)(**params)


def ours(spec: dict[str, Any], total: int) -> tuple[Trace | None, str]:
    """The trace, or what is said where there is none."""
    try:
        return simulate({"lr": 0.1, **spec}, {"steps": total}), ""
    except SpecError as error:
        return None, str(error)


@MANY
@given(spec=leaves(), total=st.integers(1, 130))
def test_every_function(spec: dict[str, Any], total: int) -> None:
    compare(spec, total)


@MANY
@given(spec=st.one_of(composed(leaves()), composed(composed(leaves()))), total=st.integers(1, 130))
def test_functions_of_functions(spec: dict[str, Any], total: int) -> None:
    compare(spec, total)


def compare(spec: dict[str, Any], total: int) -> None:
    rates: list[float] = []
    raised: Exception | None = None
    try:
        schedule = made(spec)
        for step in range(total):
            rates.append(schedule(step))
    except (ValueError, ArithmeticError) as error:
        raised = error
    trace, refused = ours(spec, total)
    if trace is not None:
        assert raised is None, f"the library raises {raised!r}"
        agree(trace.lr, rates)
        return
    assert raised is not None, refused
    assert "\n" not in refused
    assert "lrsched" in refused
    if rates:  # then it says when
        assert f"tick {len(rates)}:" in refused
