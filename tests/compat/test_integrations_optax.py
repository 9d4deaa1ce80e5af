"""``optax_schedule`` in real training loops of optax, compiled by JAX: every rate is the plan's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import lrsched_cli as lrs
from tests.support import message_of

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
jnp = jax.numpy
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

STEPS = 40
ENTRIES: list[Mapping[str, Any]] = [
    {"kind": "cosine", "warmup": 5},
    {"kind": "step", "step_size": 7},
    {"kind": "onecycle"},
    {"sequence": [{"kind": "linear", "start_factor": 0, "for": 9}, {"kind": "exponential"}]},
    {"kind": "torch.CyclicLR", "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4},
]


def close(found: Any, wanted: Any) -> None:
    """As float32 has them: to its relative precision, and to that of the peak's where the rate is small."""
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-6, atol=1e-8)


def moves(schedule: Any, steps: int) -> Any:
    """How far SGD moves a weight whose gradient is 1, update by update, in one compiled loop."""
    optimizer = optax.sgd(schedule)

    def update(carry: Any, _: Any) -> Any:
        state, weight = carry
        by, state = optimizer.update(jnp.ones(()), state, weight)
        return (state, optax.apply_updates(weight, by)), -by

    weight = jnp.zeros(())
    return jax.jit(lambda: jax.lax.scan(update, (optimizer.init(weight), weight), length=steps)[1])()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry.get("kind", "sequence")))
def test_every_update_uses_the_rate_of_the_plan(entry: Mapping[str, Any]) -> None:
    trace = lrs.simulate({"lr": 0.1, **entry}, {"steps": STEPS})
    schedule = lrs.optax_schedule({"lr": 0.1, **entry}, {"steps": STEPS})
    close(moves(schedule, STEPS), trace.lr)
    ticks = np.arange(STEPS + 1)
    wanted = [*trace.lr, trace.lr_after[-1]]
    close([schedule(int(tick)) for tick in ticks], wanted)
    close(jax.vmap(schedule)(jnp.asarray(ticks)), wanted)
    close(jax.jit(schedule)(jnp.asarray(ticks.reshape(-1, 1))), np.reshape(wanted, (-1, 1)))
    assert schedule(jnp.int32(3)).dtype == jnp.float32
    assert schedule(3).shape == ()


def test_adam_trains_with_it_as_with_optaxs_own() -> None:
    """The same weights, to the rounding of float32, as with the schedule of optax that the plan's kind names."""
    theirs = optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, STEPS, 0.001)
    params = {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 10, "decay_steps": STEPS, "end_value": 0.001}
    ours = lrs.optax_schedule({"kind": "optax.warmup_cosine_decay_schedule", **params}, {"steps": STEPS})

    def trained(schedule: Any) -> Any:
        optimizer = optax.adamw(schedule)
        weights = {"w": jnp.arange(4.0)}
        state = optimizer.init(weights)

        @jax.jit
        def update(weights: Any, state: Any) -> Any:
            gradients = jax.grad(lambda w: jnp.sum((w["w"] - 1) ** 2))(weights)
            by, state = optimizer.update(gradients, state, weights)
            return optax.apply_updates(weights, by), state

        for _ in range(STEPS):
            weights, state = update(weights, state)
        return np.asarray(weights["w"])

    np.testing.assert_allclose(trained(ours), trained(theirs), rtol=1e-5)


def test_epochs_are_counted_in_updates() -> None:
    run = {"epochs": 5, "steps_per_epoch": 8, "interval": "epoch"}
    trace = lrs.simulate({"kind": "cosine", "lr": 0.1}, run)
    close(moves(lrs.optax_schedule("cosine", {**run, "lr": 0.1}), 40), np.repeat(trace.lr, 8))


def test_a_group_is_asked_for_by_name() -> None:
    entry = {"kind": "cosine", "lr": 0.1, "groups": {"backbone": 0.1, "head": 1.0}}
    schedules = {name: lrs.optax_schedule(entry, {"steps": STEPS}, group=name) for name in entry["groups"]}  # type: ignore[attr-defined]
    trace = lrs.simulate(entry, {"steps": STEPS})
    for name, schedule in schedules.items():
        close(moves(schedule, STEPS), trace.groups[name])
    optimizer = optax.multi_transform(
        {name: optax.sgd(schedule) for name, schedule in schedules.items()}, {"a": "backbone", "b": "head"}
    )
    weights = {"a": jnp.zeros(()), "b": jnp.zeros(())}
    by, _ = optimizer.update({"a": jnp.ones(()), "b": jnp.ones(())}, optimizer.init(weights), weights)
    close([-by["a"], -by["b"]], [0.01, 0.1])


def test_past_the_table_the_last_rate_is_held() -> None:
    entry = {"kind": "torch.CosineAnnealingLR", "T_max": 10}
    schedule = lrs.optax_schedule(entry, {"steps": 10})
    close([schedule(10), schedule(11), schedule(10**9)], [0, 0, 0])
    schedule = lrs.optax_schedule(entry, {"steps": 10}, ticks=21)
    close([schedule(10), schedule(15), schedule(20), schedule(25)], [0, 0.05, 0.1, 0.1])
    short = lrs.optax_schedule({"kind": "torch.OneCycleLR", "max_lr": 0.1, "total_steps": 10}, {"steps": 10})
    assert float(short(11)) == float(short(10))


def test_double_precision_where_jax_has_it() -> None:
    with jax.enable_x64(True):
        schedule = lrs.optax_schedule("cosine", {"steps": 10})
        trace = lrs.simulate({"kind": "cosine"}, {"steps": 10})
        assert [float(schedule(tick)) for tick in range(10)] == trace.lr.tolist()


@pytest.mark.parametrize(
    ("target", "kwargs", "message"),
    [
        ("plateau", {}, "plateau: reacts to a metric, and optax's schedules see only the update's number"),
        (
            "cosine",
            {"run": {"steps": 10**9}},
            "cosine: is too long for optax: a table of its rates holds 4000000 ticks at most, got 1000000001",
        ),
        (
            "cosine",
            {"run": {"epochs": 3}},
            "optax counts updates, and cosine ticks by epoch: say steps in its run, or steps_per_epoch too",
        ),
        (
            {"kind": "cosine", "groups": {"a": 1, "b": 2}},
            {"run": {"steps": 3}},
            "cosine: groups has a, b, and a schedule of optax is one: say which, as in group='a'",
        ),
        ("cosine", {"run": {"steps": 3}, "group": "head"}, "cosine: has no parameter group head"),
        ("cosine", {"run": {"steps": 3}, "ticks": 0}, "ticks must be a whole number >= 1, got 0"),
        (
            {"kind": "torch.OneCycleLR", "max_lr": 0.1, "total_steps": 10},
            {"run": {"steps": 10}, "ticks": 20},
            "torch.OneCycleLR raises in torch at tick 11: it has been stepped more than its total_steps, 10",
        ),
    ],
)
def test_what_cannot_be_a_schedule_is_refused(target: Any, kwargs: Any, message: str) -> None:
    assert message_of(lrs.optax_schedule, target, **kwargs) == message
