"""The optax kinds against the real library, in double precision, over random parameters."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli import SpecError, simulate
from lrsched_cli.dialects.optax import KINDS
from lrsched_cli.schedules.parameters import REQUIRED, default_of, params_of
from tests.support import agree

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

TOTAL = 70
RUN = {"steps": TOTAL}
EXAMPLES = settings(max_examples=int(os.environ.get("COMPAT_EXAMPLES", "20")), deadline=None)


def decimals(low: float, high: float, digits: int) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda number: round(number, digits))


rates = st.one_of(decimals(0, 1, 5), st.sampled_from([0, 0.0, 1, 0.1, 1e-3]), decimals(-0.5, 0.5, 4))
steps = st.one_of(st.integers(-3, 90), st.integers(1, 60), decimals(-3, 60, 2))
lengths = st.one_of(st.integers(1, 90), decimals(0.5, 60, 2))
scales = st.one_of(decimals(-0.01, 3, 3), st.sampled_from([0.1, 0.5, 1, 0, 2]))
ticks = st.one_of(st.integers(-5, 80), decimals(-5, 80, 1))
tables = st.none() | st.dictionaries(ticks, scales, max_size=6)
factors = st.floats(0.01, 1.3) | st.sampled_from([0, 1, -0.5, -1.1])
powers = st.sampled_from([1, 2, 0.5, 1.7, 3, 0, 1.0, 0.9, 0.0])
parts = st.floats(0, 1.2)


def some(required: Mapping[str, Any], optional: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(dict(required), optional=dict(optional))


COSINE_KWARGS = some(
    {"init_value": rates, "peak_value": rates, "warmup_steps": st.integers(-2, 20), "decay_steps": st.integers(21, 60)},
    {"end_value": rates, "exponent": st.sampled_from([1.0, 2, 0.7])},
)
PLAIN: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "constant_schedule": some({"value": rates}, {}),
    "polynomial_schedule": some(
        {"init_value": rates, "end_value": rates, "power": powers, "transition_steps": steps},
        {"transition_begin": steps},
    ),
    "linear_schedule": some(
        {"init_value": rates, "end_value": rates, "transition_steps": steps}, {"transition_begin": steps}
    ),
    "piecewise_constant_schedule": some({"init_value": rates}, {"boundaries_and_scales": tables}),
    "piecewise_interpolate_schedule": some(
        {"interpolate_type": st.sampled_from(["linear", "cosine"]), "init_value": rates},
        {"boundaries_and_scales": tables},
    ),
    "exponential_decay": some(
        {"init_value": rates, "transition_steps": steps, "decay_rate": factors},
        {"transition_begin": steps, "staircase": st.booleans(), "end_value": rates},
    ),
    "cosine_decay_schedule": some(
        {"init_value": rates, "decay_steps": lengths},
        {"alpha": rates, "exponent": st.sampled_from([1.0, 2, 1.5, 0.5, 0, 0.3])},
    ),
    "linear_onecycle_schedule": some(
        {"transition_steps": lengths, "peak_value": rates},
        {
            "pct_start": parts,
            "pct_final": parts,
            "div_factor": st.floats(0.5, 100),
            "final_div_factor": st.floats(0.5, 1e5),
        },
    ),
    "cosine_onecycle_schedule": some(
        {"transition_steps": lengths, "peak_value": rates},
        {"pct_start": parts, "div_factor": st.floats(0.5, 100), "final_div_factor": st.floats(0.5, 1e5)},
    ),
    "warmup_constant_schedule": some({"init_value": rates, "peak_value": rates, "warmup_steps": steps}, {}),
    "warmup_cosine_decay_schedule": some(
        {"init_value": rates, "peak_value": rates, "warmup_steps": steps, "decay_steps": steps},
        {"end_value": rates, "exponent": st.sampled_from([1.0, 2, 1.5, 0.5])},
    ),
    "warmup_exponential_decay_schedule": some(
        {
            "init_value": rates,
            "peak_value": rates,
            "warmup_steps": steps,
            "transition_steps": lengths,
            "decay_rate": st.floats(0.01, 1.3),
        },
        {"transition_begin": steps, "staircase": st.booleans(), "end_value": rates},
    ),
    "sgdr_schedule": some({"cosine_kwargs": st.lists(COSINE_KWARGS, min_size=1, max_size=3)}, {}),
}
plain = st.sampled_from(sorted(PLAIN)).flatmap(lambda name: st.tuples(st.just(name), PLAIN[name]))


@pytest.fixture(autouse=True, scope="module")
def double_precision() -> Any:
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def real(make: Callable[[], Any], *, total: int = TOTAL) -> np.ndarray:
    """The rates of a row of ticks at once, which is fast."""
    values = jax.vmap(make())(jax.numpy.arange(total, dtype="int64"))
    return np.broadcast_to(np.asarray(values, dtype=np.float64), total)


def real_one_by_one(make: Callable[[], Any]) -> np.ndarray:
    """The rates as an optimizer asks for them. For a row XLA turns x / 49 into x * (1 / 49), floored a tick late."""
    schedule = make()
    return np.array([float(schedule(jax.numpy.asarray(tick))) for tick in range(TOTAL)])


def outcome(make: Callable[[], np.ndarray], raises: type[Exception] | tuple[type[Exception], ...]) -> Any:
    try:
        return make()
    except raises as error:
        return error


def same(spec: dict[str, Any], make: Callable[[], Any]) -> None:
    """Assert that both refuse, or that both agree at every tick."""
    theirs = outcome(lambda: real(make), (ValueError, ArithmeticError, IndexError, TypeError))
    ours = outcome(lambda: simulate(spec, RUN).lr, SpecError)
    if isinstance(theirs, Exception):
        assert isinstance(ours, SpecError), f"optax raises {theirs!r}"
        assert "optax" in str(ours)
    elif not np.isfinite(theirs).all():
        assert isinstance(ours, SpecError) or not np.isfinite(ours).all()
    else:
        assert not isinstance(ours, Exception), ours
        if not np.allclose(ours, theirs, rtol=0, atol=1e-10 * np.abs(theirs).max()):
            theirs = real_one_by_one(make)
        agree(ours, theirs)


@EXAMPLES
@given(plain)
def test_a_schedule_by_itself(drawn: tuple[str, dict[str, Any]]) -> None:
    name, params = drawn
    spec = {"kind": f"optax.{name}", **{key: value for key, value in params.items() if value is not None}}
    if params.get("boundaries_and_scales"):  # as JSON has it
        spec["boundaries_and_scales"] = {str(at): scale for at, scale in params["boundaries_and_scales"].items()}
    same(spec, lambda: getattr(optax, name)(**params))


members = st.recursive(
    plain,
    lambda inner: st.tuples(
        st.just("join_schedules"),
        some({"schedules": st.lists(inner, min_size=1, max_size=4), "boundaries": st.lists(ticks, max_size=3)}, {}),
    ),
    max_leaves=5,
)


def made(drawn: tuple[str, dict[str, Any]]) -> Any:
    name, params = drawn
    if name == "join_schedules":
        params = {**params, "schedules": [made(member) for member in params["schedules"]]}
    return getattr(optax, name)(**params)


def written(drawn: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    name, params = drawn
    if name == "join_schedules":
        params = {**params, "schedules": [written(member) for member in params["schedules"]]}
    return {"kind": f"optax.{name}", **params}


@EXAMPLES
@given(st.lists(members, max_size=4), st.lists(ticks, max_size=4))
def test_joined_schedules(drawn: list[tuple[str, dict[str, Any]]], boundaries: list[float]) -> None:
    whole = ("join_schedules", {"schedules": drawn, "boundaries": boundaries})
    same(written(whole), lambda: made(whole))


@pytest.mark.parametrize("name", KINDS)
def test_parameters_are_those_of_the_signature(name: str) -> None:
    signature = inspect.signature(getattr(optax, name)).parameters
    ours = [known for known in params_of(KINDS[name]) if known != "lr"]
    assert ours == list(signature)
    for known in ours:
        default = default_of(KINDS[name], known)
        expected = signature[known].default
        assert default == (REQUIRED if expected is inspect.Parameter.empty else expected)


def test_every_schedule_of_the_library_is_a_kind() -> None:
    names = [name for name in dir(optax.schedules) if name[0] != "_"]
    public = {name for name in names if name.endswith(("_schedule", "_schedules", "_decay"))}
    assert public == set(KINDS)


def test_the_rates_that_an_optimizer_uses() -> None:
    """Read from updates: with a gradient of -1 and plain SGD an update is the rate."""
    params = {"init_value": 0.01, "peak_value": 0.1, "warmup_steps": 6, "decay_steps": 25, "end_value": 0.001}
    optimizer = optax.sgd(optax.warmup_cosine_decay_schedule(**params))
    weight = jax.numpy.zeros(())
    state = optimizer.init(weight)
    used = []
    for _ in range(30):
        update, state = optimizer.update(-jax.numpy.ones(()), state, weight)
        used.append(float(update))
    ours = simulate({"kind": "optax.warmup_cosine_decay_schedule", "lr": 0.7, **params}, {"steps": 30})
    agree(ours.lr, used, tolerance=1e-6)  # an optimizer counts in int32, which makes single precision of a quotient
