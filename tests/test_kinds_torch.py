"""The canonical kinds against torch's own schedulers, stepped on a real optimizer in the documented loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.support import agree, made, torch_trace

torch = pytest.importorskip("torch")
lrs = torch.optim.lr_scheduler

RATES = st.floats(1e-6, 10)
TICKS = st.integers(1, 40)
GAMMAS = st.floats(0.01, 1)
TOTALS = st.integers(1, 60)
ORACLE = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def shares_of(lr: float) -> st.SearchStrategy[float]:
    """A floor between 0 and the rate, both included."""
    return st.sampled_from([0.0, 0.01, 0.5, 1.0]).map(lambda share: share * lr)


def check(kind: str, params: dict[str, Any], make: Callable[[Any], Any], lr: float, total: int, **more: Any) -> None:
    schedule = made(kind, total, lr=lr, **params)
    real = torch_trace(make, total, lr=lr, **more)
    agree(schedule.values(0, total), real["lr"])
    agree(schedule(np.arange(1, total + 1)), real["after"])
    if schedule.momentum is not None:
        agree(schedule.momentum.values(0, total), real["momentum"])
        agree(schedule.momentum(np.arange(total)), real["momentum"])


@given(lr=RATES, total=TOTALS, step_size=TICKS, gamma=GAMMAS)
@ORACLE
def test_step_is_steplr(lr: float, total: int, step_size: int, gamma: float) -> None:
    params = {"step_size": step_size, "gamma": gamma}
    check("step", params, lambda o: lrs.StepLR(o, **params), lr, total)


@given(lr=RATES, total=TOTALS, milestones=st.lists(TICKS, unique=True, max_size=6).map(sorted), gamma=GAMMAS)
@ORACLE
def test_multistep_is_multisteplr(lr: float, total: int, milestones: list[int], gamma: float) -> None:
    params = {"milestones": milestones, "gamma": gamma}
    check("multistep", params, lambda o: lrs.MultiStepLR(o, **params), lr, total)


@given(lr=RATES, total=TOTALS, gamma=st.floats(0.5, 1.05))
@ORACLE
def test_exponential_is_exponentiallr(lr: float, total: int, gamma: float) -> None:
    check("exponential", {"gamma": gamma}, lambda o: lrs.ExponentialLR(o, gamma), lr, total)


@given(lr=RATES, total=TOTALS, start=st.floats(0.01, 1), end=st.floats(0, 1), n=TICKS)
@ORACLE
def test_linear_is_linearlr(lr: float, total: int, start: float, end: float, n: int) -> None:
    params = {"start_factor": start, "end_factor": end, "total_iters": n}
    check("linear", params, lambda o: lrs.LinearLR(o, **params), lr, total)


@given(lr=RATES, total=TOTALS, power=st.floats(0.3, 4), n=TICKS)
@ORACLE
def test_polynomial_is_polynomiallr(lr: float, total: int, power: float, n: int) -> None:
    params = {"power": power, "total_iters": n}
    check("polynomial", params, lambda o: lrs.PolynomialLR(o, **params), lr, total)


@given(data=st.data(), lr=RATES, n=TICKS)
@ORACLE
def test_cosine_is_cosineannealinglr_to_its_end(data: st.DataObject, lr: float, n: int) -> None:
    params = {"T_max": n, "eta_min": data.draw(shares_of(lr))}
    check("cosine", params, lambda o: lrs.CosineAnnealingLR(o, **params), lr, n)


@given(data=st.data(), lr=RATES, n=TICKS, total=st.integers(1, 120))
@ORACLE
def test_mirrored_cosine_is_cosineannealinglr_past_its_end(data: st.DataObject, lr: float, n: int, total: int) -> None:
    params = {"T_max": n, "eta_min": data.draw(shares_of(lr))}
    check("cosine", {**params, "after": "mirror"}, lambda o: lrs.CosineAnnealingLR(o, **params), lr, total)


@given(data=st.data(), lr=RATES, n=TICKS, mult=st.integers(1, 3), total=st.integers(1, 150))
@ORACLE
def test_cosine_restarts_are_warm_restarts(data: st.DataObject, lr: float, n: int, mult: int, total: int) -> None:
    params = {"T_0": n, "T_mult": mult, "eta_min": data.draw(shares_of(lr))}
    check("cosine-restarts", params, lambda o: lrs.CosineAnnealingWarmRestarts(o, **params), lr, total)


@given(
    base=st.floats(0, 1), more=st.floats(1e-3, 2), up=TICKS, down=st.none() | TICKS, total=st.integers(1, 150),
    mode=st.sampled_from(["triangular", "triangular2", "exp_range"]), gamma=st.floats(0.9, 1),
    low=st.floats(0, 0.9), high=st.floats(0, 0.99), adam=st.booleans(),
)  # fmt: skip
@ORACLE
def test_cyclic_is_cycliclr_momentum_included(
    base: float, more: float, up: int, down: int | None, total: int, mode: str, gamma: float, low: float, high: float,
    adam: bool,
) -> None:  # fmt: skip
    params = {
        "base_lr": base, "max_lr": base + more, "step_size_up": up, "step_size_down": down, "mode": mode,
        "gamma": gamma, "cycle_momentum": True, "base_momentum": low, "max_momentum": high,
    }  # fmt: skip
    ours = {name: value for name, value in params.items() if value is not None}
    check("cyclic", ours, lambda o: lrs.CyclicLR(o, **params), 0.1, total, adam=adam)


@given(
    peak=RATES, total=st.integers(2, 120), pct=st.floats(0.02, 0.98), strategy=st.sampled_from(["cos", "linear"]),
    div=st.floats(1, 100), final=st.floats(1, 1e5), three=st.booleans(), low=st.floats(0, 0.9),
    high=st.floats(0, 0.99), adam=st.booleans(),
)  # fmt: skip
@ORACLE
def test_onecycle_is_onecyclelr_momentum_included(
    peak: float, total: int, pct: float, strategy: str, div: float, final: float, three: bool, low: float, high: float,
    adam: bool,
) -> None:  # fmt: skip
    pct = pct / 2 if three else pct
    # Where a phase has no length torch divides by zero.
    assume(abs(pct * total - 1) > 1e-6)
    params = {
        "max_lr": peak, "total_steps": total, "pct_start": pct, "anneal_strategy": strategy, "div_factor": div,
        "final_div_factor": final, "three_phase": three, "cycle_momentum": True, "base_momentum": low,
        "max_momentum": high,
    }  # fmt: skip
    schedule = made("onecycle", total, lr=3.0, **params)
    real = torch_trace(lambda o: lrs.OneCycleLR(o, **params), total, lr=3.0, adam=adam)
    agree(schedule.values(0, total), real["lr"])
    assert schedule.momentum is not None
    agree(schedule.momentum.values(0, total), real["momentum"])
    agree(schedule.momentum(np.arange(total)), real["momentum"])


@given(lr=RATES, swa=RATES, n=TICKS, strategy=st.sampled_from(["cos", "linear"]), total=TOTALS)
@ORACLE
def test_swa_is_swalr(lr: float, swa: float, n: int, strategy: str, total: int) -> None:
    params = {"anneal_epochs": n, "anneal_strategy": strategy}
    real = torch_trace(lambda o: torch.optim.swa_utils.SWALR(o, swa_lr=swa, **params), total, lr=lr)
    # SWALR inverts its own previous step, and loses digits of the rate where the two are far apart.
    agree(made("swa", total, lr=lr, swa_lr=swa, **params).values(0, total), real["lr"], tolerance=1e-7)


@given(start=st.integers(0, 20), n=TICKS, strategy=st.sampled_from(["cos", "linear"]))
@ORACLE
def test_swa_start_waits_as_the_documented_loop_does(start: int, n: int, strategy: str) -> None:
    """The loop of the torch documentation steps SWALR from swa_start on only."""
    total = 45
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    real = []
    swa = None
    for epoch in range(total):
        if epoch == start:
            swa = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=n, anneal_strategy=strategy)
        real.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if swa is not None:
            swa.step()
    params = {"swa_lr": 0.05, "swa_start": start, "anneal_epochs": n, "anneal_strategy": strategy}
    agree(made("swa", total, **params).values(0, total), real)


METRICS = st.lists(st.sampled_from([0.0, 0.5, 0.9999, 0.99995, 1.0, 1.00005, 1.5, 2.0]), min_size=1, max_size=60)


@given(
    metrics=METRICS | st.lists(st.floats(-2, 2), min_size=1, max_size=60), mode=st.sampled_from(["min", "max"]),
    factor=st.floats(0.1, 0.9), patience=st.integers(0, 4), threshold=st.sampled_from([0, 1e-4, 0.1]),
    threshold_mode=st.sampled_from(["rel", "abs"]), cooldown=st.integers(0, 4),
    min_lr=st.sampled_from([0, 0.01, 0.1, 0.2]), eps=st.sampled_from([0, 1e-8, 0.02]),
)  # fmt: skip
@ORACLE
def test_plateau_is_reducelronplateau(metrics: list[float], **params: Any) -> None:
    total = len(metrics)
    real = torch_trace(lambda o: lrs.ReduceLROnPlateau(o, **params), total, metrics=metrics)
    schedule = made("plateau", total, metrics=metrics, **params)
    agree(schedule.values(0, total), real["lr"])
    agree(schedule(np.arange(1, total + 1)), real["after"])
    # A run longer than its metrics holds the last rate.
    assert set(schedule(np.arange(total, total + 30)).tolist()) == {schedule(total)}


@given(metrics=st.lists(st.sampled_from([float("nan"), float("inf"), 1.0, 0.5]), min_size=1, max_size=40))
@ORACLE
def test_plateau_sees_nan_as_torch_does(metrics: list[float]) -> None:
    real = torch_trace(lambda o: lrs.ReduceLROnPlateau(o, patience=2), len(metrics), metrics=metrics)
    agree(made("plateau", metrics=metrics, patience=2).values(0, len(metrics)), real["lr"])


# Known values, so that a mistake shared by both sides of the tests above cannot hide.


def test_papers_and_documentation() -> None:
    """StepLR's docstring; the restarts of SGDR; Smith's triangle; the last two updates of one cycle."""
    step = made("step", step_size=30, gamma=0.1, lr=0.05)
    agree(step(np.array([0, 29, 30, 59, 60, 90])), [0.05, 0.05, 0.005, 0.005, 0.0005, 0.00005])
    agree(made("multistep", milestones=[30, 80], lr=0.05)(np.array([29, 30, 79, 80])), [0.05, 0.005, 0.005, 0.0005])
    sgdr = made("cosine-restarts", T_0=10, T_mult=2, eta_min=0.01)
    agree(sgdr(np.array([0, 5, 10, 20, 30, 70])), [0.1, 0.055, 0.1, 0.055, 0.1, 0.1])
    triangle = made("cyclic", base_lr=0.0, max_lr=1.0, step_size_up=4)
    agree(triangle(np.arange(9)), [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0])
    one = made("onecycle", max_lr=1.0, total_steps=10)
    agree(one(np.array([0, 2, 9])), [0.04, 1.0, 0.04 / 1e4])
    wsd = made("wsd", warmup=10, decay=20, lr=1.0)
    agree(wsd(np.array([0, 5, 10, 79, 80, 90, 99])), [0, 0.5, 1, 1, 1, 0.5, 0.05])
    agree(made("inverse-sqrt", timescale=4, shift=4, lr=1.0)(np.array([0, 12, 60])), [1, 0.5, 0.25])
    agree(made("factor", factor=0.5, stop_factor_lr=0.1, lr=1.0)(np.arange(5)), [0.5, 0.25, 0.125, 0.1, 0.1])
    agree(made("rex", lr=1.0)(np.array([0, 50, 100])), [1, 2 / 3, 0])
    agree(made("range-test", start_lr=1e-4, end_lr=1.0)(np.array([0, 25, 50, 100])), [1e-4, 1e-3, 1e-2, 1])


# GreedyLR of transformers 5.23, traced: the losses of 60 steps, and how long each rate was used.

LOSSES = [
    2.0, 1.909583, 1.717023, 1.562423, 1.52081, 1.431301, 1.258987, 1.172495, 1.162122, 1.060659, 0.919895,
    0.892757, 0.887182, 0.773157, 0.675498, 0.691355, 0.670227, 0.553143, 0.505237, 0.542406, 0.494932, 0.390201,
    0.390453, 0.426103, 0.35248, 0.27611, 0.3139, 0.328905, 0.239235, 0.202685, 0.260246, 0.243344, 0.154222,
    0.160688, 0.21708, 0.167193, 0.096788, 0.139831, 0.175906, 0.101956, 0.064839, 0.129663, 0.132692, 0.050922,
    0.053929, 0.120942, 0.087664, 0.017133, 0.05734, 0.107051, 0.044306, 0.001718, 0.067024, 0.084959, 0.007755,
    0.002947, 0.075097, 0.05546, -0.017072, 0.016193,
]  # fmt: skip
PATIENT = [
    (3, 5e-05), (3, 6.25e-05), (3, 7.8125e-05), (3, 9.765625e-05),
    (3, 0.0001220703125), (4, 0.000152587890625), (17, 0.000190734863281), (4, 0.000152587890625),
    (7, 0.0001220703125), (4, 9.765625e-05), (4, 7.8125e-05), (3, 6.25e-05),
    (2, 5e-05),
]  # fmt: skip
WAITING = [
    (2, 0.1), (4, 0.2), (4, 0.4), (4, 0.8), (21, 1.0), (6, 0.5), (5, 1.0), (6, 0.5), (4, 1.0),
    (4, 0.5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("params", "lr", "runs"),
    [
        ({"patience": 2, "factor": 0.8, "min_lr": 1e-6, "max_lr": 1e-3}, 5e-5, PATIENT),
        ({"patience": 1, "factor": 0.5, "cooldown": 3, "warmup": 2, "min_lr": 1e-4, "reset_start": 3}, 0.1, WAITING),
    ],
)
def test_greedy_is_transformers_greedy(params: dict[str, Any], lr: float, runs: list[tuple[int, float]]) -> None:
    schedule = made("greedy", 60, lr=lr, metrics=LOSSES, **params)
    agree(schedule.values(0, 60), np.repeat([rate for _, rate in runs], [n for n, _ in runs]))


def test_a_kind_is_a_frozen_value() -> None:
    """Two of the same parameters are equal, and none can be changed."""
    schedule = made("cyclic")
    assert schedule == made("cyclic")
    assert schedule != made("cyclic", gamma=0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.lr = 1.0  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.gamma = 0.5  # type: ignore[attr-defined]


def test_the_peak_of_a_shrinking_triangle_is_a_knot() -> None:
    """With gamma 0.99 a rise of 200 ticks turns at tick 100 already; a plot that looks at knots only must see it."""
    schedule = made("cyclic", step_size_up=200, mode="exp_range", gamma=0.99)
    turn = float(schedule.next_knot(np.zeros(1))[0])
    assert abs(turn - (1 + int(schedule.values(0, 400).argmax()))) <= 1
