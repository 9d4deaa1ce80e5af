"""Schedules that react to training: fed epoch by epoch, they give the rates of torch's ReduceLROnPlateau exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.metric import Plateau
from tests.support import LR, agree, message_of, simulated

TOTAL = 40
PLATEAU = {"kind": "plateau", "patience": 2, "factor": 0.5, "threshold": 0.0, "cooldown": 1}
TORCH = {key: value for key, value in PLATEAU.items() if key != "kind"}
GREEDY = {"kind": "greedy", "patience": 1, "min_lr": 0.01}


def losses(seed: int, total: int = TOTAL) -> list[float]:
    """A loss that falls, with noise, and stalls."""
    random = np.random.default_rng(seed)
    return (0.95 ** np.minimum(np.arange(total), 12) + 0.1 * random.random(total)).tolist()  # type: ignore[no-any-return]


def live(schedule: Schedule, metrics: Sequence[float]) -> list[float]:
    """The rate that training would use at each tick, knowing the metrics of the ticks before it."""
    return [schedule.fed(metrics[:t])(t) for t in range(len(metrics))]


def stepped(
    metrics: Sequence[float],
    use: Callable[[int, Any], None],
    start: int = 0,
    lrs: Sequence[float] = (LR,),
    **params: Any,
) -> list[list[float]]:
    """The rates by parameter group of a loop with torch's ReduceLROnPlateau, stepped from tick ``start`` on.

    ``use`` may do something else to the optimizer at the beginning of each tick.
    """
    torch = pytest.importorskip("torch")
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in lrs]
    groups = [{"params": [weight], "lr": lr} for weight, lr in zip(weights, lrs, strict=True)]
    optimizer = torch.optim.SGD(groups, lr=LR)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **params)
    used: list[list[float]] = [[] for _ in lrs]
    for t, metric in enumerate(metrics):
        use(t, optimizer)
        for rates, group in zip(used, optimizer.param_groups, strict=True):
            rates.append(float(group["lr"]))
        optimizer.step()
        if t >= start:
            scheduler.step(metric)
    return used


def nothing(t: int, optimizer: Any) -> None:
    pass


# One schedule, and real plateaus.


@given(
    metrics=st.lists(st.sampled_from([0.1, 0.5, 0.500001, 1.0, 2.0, -1.0, math.nan, math.inf]), min_size=1, max_size=40)
    | st.lists(st.floats(0, 1), min_size=1, max_size=40),
    mode=st.sampled_from(["min", "max"]),
    threshold_mode=st.sampled_from(["rel", "abs"]),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
    patience=st.integers(0, 4),
    cooldown=st.integers(0, 3),
    min_lr=st.sampled_from([0.0, 0.002]),
    kind=st.sampled_from(["plateau", "torch.ReduceLROnPlateau"]),
)
@example(
    [96.26, 96.96, 96.78, 97.7, 98.02, 98.03, 98.05, 98.01, 98.05, 98.04], "max", "rel", 1e-4, 0, 0, 0.0, "plateau"
)
@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
def test_each_epochs_rate_is_torchs(metrics: list[float], mode: str, threshold_mode: str, threshold: float,
                                    patience: int, cooldown: int, min_lr: float, kind: str) -> None:  # fmt: skip
    params = {
        "mode": mode, "factor": 0.3, "patience": patience, "threshold": threshold, "threshold_mode": threshold_mode,
        "cooldown": cooldown, "min_lr": min_lr,
    }  # fmt: skip
    schedule = simulated({"kind": kind, **params, "metrics": [1.0]}, TOTAL).schedule
    assert live(schedule, metrics) == stepped(metrics, nothing, **params)[0]
    assert schedule.metric_mode == mode


def test_the_published_reductions_of_a_real_run() -> None:
    """Deep Learning Wizard's accuracies on MNIST: cut after epochs 2, 7, 8 and 9, as the page prints."""
    accuracies = [96.26, 96.96, 96.78, 97.7, 98.02, 98.03, 98.05, 98.01, 98.05, 98.04]
    schedule = simulated({"kind": "plateau", "mode": "max", "patience": 0, "factor": 0.1}, 10).schedule
    agree(live(schedule, accuracies), [0.1] * 3 + [0.01] * 5 + [0.001, 1e-4])
    assert schedule.fed(accuracies)(10) == pytest.approx(1e-5)


@pytest.mark.parametrize("spec", [PLATEAU, GREEDY, {"kind": "torch.ReduceLROnPlateau"}])
def test_before_the_first_metric_there_is_the_initial_rate(spec: dict[str, Any]) -> None:
    schedule = simulated(spec, TOTAL).schedule
    for none in ([], (), np.array([])):
        assert schedule.fed(none)(0) == LR  # type: ignore[arg-type]
        assert set(schedule.fed(none).values(0, TOTAL).tolist()) == {LR}  # type: ignore[arg-type]


def test_a_plan_may_still_not_list_none() -> None:
    told = "metrics must be a list of numbers or FILE:COLUMN, got []"
    assert message_of(simulated, {**PLATEAU, "metrics": []}, TOTAL) == f"plateau: {told}"
    assert message_of(lambda: Plateau(metrics=[])) == told
    assert message_of(Plateau(metrics=[1.0]).fed, ["a"]) == "metrics must be a list of numbers or FILE:COLUMN, got 'a'"


# Inside others.

WARM = 5
SEEDS = pytest.mark.parametrize("seed", range(5))


@SEEDS
@pytest.mark.parametrize("first", [0, 1])
def test_after_a_warm_up_its_clock_starts(seed: int, first: int) -> None:
    """The first metric that counts is that of the first tick after the warm-up."""

    def warm(t: int, optimizer: Any) -> None:
        if t <= WARM:
            optimizer.param_groups[0]["lr"] = LR * min((t + first) / WARM, 1)

    metrics = losses(seed)
    real = stepped(metrics, warm, start=WARM, **TORCH)[0]
    spec = {**PLATEAU, "warmup": {"for": WARM, "first": first}}
    ours = live(simulated(spec, TOTAL).schedule, metrics)
    assert ours[WARM:] == real[WARM:]
    assert min(real[WARM:]) < LR
    agree(ours, real)


@SEEDS
@pytest.mark.parametrize("clock", ["overlay", "product"])
def test_under_a_warm_up_its_clock_is_the_runs(seed: int, clock: str) -> None:
    """Bad epochs count while the rate still rises; product scales what is left of it."""
    metrics = losses(seed)[::-1]
    real = stepped(metrics, nothing, **TORCH)[0]
    spec = {**PLATEAU, "warmup": {"for": 8, "clock": clock}}
    expected = [t / 8 * (real[t] if clock == "product" else LR) for t in range(8)] + real[8:]
    assert real[8] < LR
    agree(live(simulated(spec, TOTAL).schedule, metrics), expected)


@SEEDS
def test_a_part_of_a_sequence_sees_its_own_ticks(seed: int) -> None:
    metrics = losses(seed)
    parts = [{"kind": "constant", "lr": 0.02, "for": 7}, {**PLATEAU, "for": 25}, {"kind": "constant", "lr": 0.3}]
    real = stepped(metrics[7:32], nothing, **TORCH)[0]
    assert min(real) < LR
    ours = live(simulated({"sequence": parts}, TOTAL).schedule, metrics)
    assert ours == [0.02] * 7 + real + [0.3] * 8
    twice = live(simulated({"sequence": [{**PLATEAU, "for": 20}, PLATEAU]}, TOTAL).schedule, metrics)
    assert twice == stepped(metrics[:20], nothing, **TORCH)[0] + stepped(metrics[20:], nothing, **TORCH)[0]


@pytest.mark.parametrize("after", ["hold", "extrapolate"])
def test_past_the_last_part(after: str) -> None:
    metrics = losses(0)
    schedule = simulated({"sequence": [{**PLATEAU, "for": 20}], "after": after}, TOTAL).schedule
    real = stepped(metrics, nothing, **TORCH)[0]
    assert live(schedule, metrics) == (real if after == "extrapolate" else [*real[:20], *[real[20]] * 20])
    assert real[20] > real[-1]


@SEEDS
def test_a_product_is_two_schedulers_on_one_optimizer(seed: int) -> None:
    metrics = losses(seed)

    def halve(t: int, optimizer: Any) -> None:
        if t and t % 9 == 0:
            optimizer.param_groups[0]["lr"] *= 0.5

    spec = {"product": [{"kind": "step", "step_size": 9, "gamma": 0.5}, {**PLATEAU, "eps": 0}]}
    agree(live(simulated(spec, TOTAL).schedule, metrics), stepped(metrics, halve, eps=0, **TORCH)[0])


@SEEDS
def test_every_group_reacts(seed: int) -> None:
    metrics = losses(seed)
    grouped = simulated({**PLATEAU, "groups": {"backbone": 0.1, "head": 2}}, TOTAL).schedule
    real = stepped(metrics, nothing, lrs=(LR * 0.1, LR * 2), **TORCH)
    for name, rates in zip(("backbone", "head"), real, strict=True):
        assert [grouped.fed(metrics[:t]).groups[name](t) for t in range(TOTAL)] == rates
    assert live(grouped, metrics) == real[0]


@SEEDS
def test_a_clamp_leaves_the_metric_alone(seed: int) -> None:
    metrics = losses(seed)
    real = stepped(metrics, nothing, **TORCH)[0]
    spec = {**PLATEAU, "clamp": {"min_lr": 0.02, "max_lr": 0.06}}
    assert live(simulated(spec, TOTAL).schedule, metrics) == np.clip(real, 0.02, 0.06).tolist()


@SEEDS
def test_an_average_takes_over_from_the_rate_that_training_reached(seed: int) -> None:
    """torch's loop: the plateau is stepped before the hand-over and SWALR after it."""
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import SWALR

    metrics, start = losses(seed), 28
    swalr = {"swa_lr": 0.05, "anneal_epochs": 6, "anneal_strategy": "linear"}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **TORCH)
    swa_scheduler = SWALR(optimizer, **swalr)
    real = []
    for t, metric in enumerate(metrics):
        real.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if t >= start:
            swa_scheduler.step()
        else:
            scheduler.step(metric)
    schedule = simulated({**PLATEAU, "swa": {"start": start, **swalr}}, TOTAL).schedule
    ours = live(schedule, metrics)
    assert ours[start] == real[start] < LR
    agree(ours, real)
    assert schedule.fed([]).averages_from == start


# All at once, and what no metric may change.

NESTED = {
    "plateau": PLATEAU,
    "greedy": GREEDY,
    "smooth": {**GREEDY, "smooth": True, "window_size": 4},
    "torch": {"kind": "torch.ReduceLROnPlateau", **TORCH},
    "clamp": {**GREEDY, "clamp": {"max_lr": 0.12}},
    "overlay": {**PLATEAU, "warmup": {"for": WARM, "clock": "overlay"}},
    "prefix": {**PLATEAU, "warmup": WARM},
    "swa": {**PLATEAU, "swa": {"start": 25, "swa_lr": 0.05}},
    "groups": {**PLATEAU, "groups": {"a": 1, "b": 0.5}},
}


@pytest.mark.parametrize("name", NESTED)
@SEEDS
def test_metrics_in_the_plan_and_metrics_of_training_agree(name: str, seed: int) -> None:
    """Those in a plan are on the clock of the schedule that has them, which waits for a warm-up in front of it."""
    spec, metrics = NESTED[name], losses(seed)
    own = metrics[WARM:] if name == "prefix" else metrics
    planned = simulated({**spec, "metrics": own}, TOTAL)
    fed = simulated(spec, TOTAL).schedule.fed(metrics)
    assert np.array_equal(fed.values(0, TOTAL), planned.lr)
    for group, rates in planned.groups.items():
        assert np.array_equal(fed.groups[group].values(0, TOTAL), rates)
    agree(live(planned.schedule, metrics), planned.lr)  # each epoch knows what it needs, and no more


def test_what_reacts_and_to_which_metric() -> None:
    cases: list[tuple[dict[str, Any], str | None]] = [
        ({"kind": "cosine", "warmup": 3, "swa": 9}, None),
        ({"sequence": [{"kind": "constant", "for": 5}, {"kind": "linear"}], "groups": {"a": 1}}, None),
        ({"kind": "torch.ChainedScheduler", "schedulers": [{"kind": "torch.ConstantLR"}]}, None),
        *((spec, "min") for spec in NESTED.values()),
        ({"sequence": [{"kind": "constant", "for": 5}, {**PLATEAU, "mode": "max", "warmup": 2}], "swa": 20}, "max"),
        ({"product": [{"kind": "cosine"}, {**GREEDY, "mode": "max"}], "groups": {"a": 1, "b": 2}}, "max"),
    ]
    for spec, mode in cases:
        schedule = simulated(spec, TOTAL).schedule
        assert (schedule.reacts, schedule.metric_mode) == (mode is not None, mode), spec
        if mode is None:
            assert schedule.fed([1.0]) is schedule


RESTARTED = {"sequence": [{"kind": "constant", "for": 5}, {**PLATEAU, "for": 9}], "after": "restart"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({**PLATEAU, "repeat": 10}, "repeat plays plateau again: it cannot react to the metric of training"),
        ({**GREEDY, "repeat": 10, "clamp": {}, "groups": {"a": 1}},
         "repeat plays greedy again: it cannot react to the metric of training"),
        (RESTARTED, "after restart plays plateau again: it cannot react to the metric of training"),
        ({**RESTARTED, "after": "mirror"},
         "after mirror plays plateau again: it cannot react to the metric of training"),
        ({"sequence": [{**PLATEAU, "for": 9}, {"kind": "linear", "lr": "current"}]},
         "lr is current in part 1, and the last rate of plateau is known only in training"),
    ],
)  # fmt: skip
def test_what_cannot_react_is_refused_before_training(spec: dict[str, Any], message: str) -> None:
    """With recorded metrics all of these have a trace; fed nothing they say at once that training is another matter."""
    found = simulated(spec, TOTAL)
    assert np.isfinite(found.lr).all()
    assert message_of(found.schedule.fed, []) == message


def test_the_same_around_what_no_metric_drives_is_fine() -> None:
    for spec in (
        {"kind": "cosine", "repeat": 10},
        {
            "sequence": [{"kind": "constant", "for": 5}, {"kind": "linear", "lr": "current", "for": 9}],
            "after": "restart",
        },
        {"sequence": [{"kind": "constant", "for": 5}, {**PLATEAU, "lr": "current"}]},
    ):
        schedule = simulated(spec, TOTAL).schedule
        assert schedule.fed([])(0) == LR


def test_one_metric_cannot_be_better_both_ways() -> None:
    spec = {"sequence": [{**PLATEAU, "for": 9}, {**PLATEAU, "mode": "max"}]}
    schedule = simulated(spec, TOTAL).schedule
    assert schedule.reacts
    told = "mode has both min and max, and training has one metric"
    assert message_of(lambda: schedule.metric_mode) == told


def test_it_costs_little() -> None:
    """About 0.5 ms for greedy and 0.1 ms for plateau after 1000 epochs; the bound leaves room for a busy machine."""
    metrics = losses(0, 1000)
    for spec in (PLATEAU, GREEDY):
        schedule = simulated(spec, 1000).schedule
        costs = []
        for _ in range(10):
            start = time.process_time()
            schedule.fed(metrics)(1000)
            costs.append(time.process_time() - start)
        assert min(costs) < 0.005
