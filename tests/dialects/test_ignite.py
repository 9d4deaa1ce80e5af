"""The ignite dialect beyond the recorded traces: odd cycles, schedulers of torch without their step, and turns.

Expected rates are those of pytorch-ignite 0.5.5 with torch 2.13, or made by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli.dialects.ignite import KINDS
from lrsched_cli.dialects.ignite_compose import ConcatScheduler, CreateLRSchedulerWithWarmup, LRScheduler
from lrsched_cli.dialects.ignite_curves import PiecewiseLinear
from lrsched_cli.dialects.torch import CosineAnnealingLR
from lrsched_cli.run import Clock, Scope
from lrsched_cli.schedules.parameters import params_of
from tests.support import agree, consistent, knots_are_honest, message_of, simulated

CYCLE = {"start_value": 0.4, "end_value": 0.2, "cycle_size": 4}
LINE = {"kind": "ignite.PiecewiseLinear", "milestones_values": [[0, 0.0], [4, 0.4]]}
EXPONENTIAL = {"kind": "torch.ExponentialLR", "gamma": 0.5}


def made(kind: str, total: int = 100, /, **params: Any) -> Any:
    return simulated({"kind": f"ignite.{kind}", **params}, total)


def rates(kind: str, total: int, /, **params: Any) -> np.ndarray:
    return made(kind, total, **params).lr


def refused(kind: str, **params: Any) -> str:
    return message_of(made, kind, **params)


def wrapped(kind: str, **params: Any) -> dict[str, Any]:
    return {"lr_scheduler": {"kind": f"torch.{kind}", **params}}


def test_nested_schedules_are_no_options() -> None:
    assert not params_of(KINDS["ConcatScheduler"])["schedulers"].option
    assert not params_of(KINDS["LRScheduler"])["lr_scheduler"].option


def test_kinds() -> None:
    assert set(KINDS) == {
        "LinearCyclicalScheduler", "CosineAnnealingScheduler", "PiecewiseLinear", "LRScheduler", "ConcatScheduler",
        "create_lr_scheduler_with_warmup", "ReduceLROnPlateauScheduler",
    }  # fmt: skip


# Cycles and points.


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [0.4, 0.3, 0.2, 0.3, 0.4, 0.3]),
        ({"monotonic": True}, [0.4, 0.35, 0.3, 0.25, 0.4, 0.35]),
        ({"start_value_mult": 0.5, "end_value_mult": 2}, [0.4, 0.3, 0.2, 0.3, 0.2, 0.3, 0.4, 0.3, 0.1, 0.45, 0.8]),
        ({"cycle_mult": 0.75}, [0.4, 0.3, 0.2, 0.3, 0.4, 0.2 + 0.2 / 3, 0.2 + 0.2 / 3, 0.4, 0.2, 0.4]),  # 4, 3, 2, 1
        # Cut down to 4 events again and again: the same cycles for ever.
        ({"cycle_mult": 1.2, "monotonic": True}, [0.4, 0.35, 0.3, 0.25, 0.4, 0.35]),
        ({"monotonic": True, "warmup_duration": 2}, [0.4, 0.35, 0.3, 0.25, 0.2, 0.3, 0.4, 0.35]),
        # A warm-up leads to the next cycle's start, and is stretched with it.
        (
            {"monotonic": True, "warmup_duration": 2, "start_value_mult": 0.5, "cycle_mult": 1.5},
            [0.4, 0.35, 0.3, 0.25, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2 - 0.1 / 3, 0.2 - 0.2 / 3, 0.1],
        ),
        # The counter ends before the cycle does, and so before the start value changes.
        ({"warmup_duration": -2, "start_value_mult": 0.5}, [0.4, 0.3, 0.4, 0.3, 0.4]),
        ({"warmup_duration": -4, "start_value_mult": 0.5}, [0.4, 0.3, 0.2, 0.3, 0.2, 0.2, 0.2]),  # and here never
        (
            {"cycle_size": 2.5, "warmup_duration": 2.5, "monotonic": True},
            [0.4, 0.32, 0.24, 0.24, 0.32, 0.4, 0.3, 0.2, 0.3],
        ),
    ],
)
def test_linear_cycles(params: dict[str, Any], expected: list[float]) -> None:
    agree(rates("LinearCyclicalScheduler", len(expected), **{**CYCLE, **params}), expected)


def test_cosine_cycles() -> None:
    wave = [0.4, 0.3 + 0.1 / 2**0.5, 0.3, 0.3 - 0.1 / 2**0.5]
    agree(rates("CosineAnnealingScheduler", 9, **CYCLE), [*wave, *wave, 0.4])
    warm = {**CYCLE, "warmup_duration": 2, "start_value_mult": 2}
    agree(rates("CosineAnnealingScheduler", 8, **warm), [*wave, 0.2, 0.5, 0.8, 0.5 + 0.3 / 2**0.5])


def test_cycles_that_ignite_cannot_go_through() -> None:
    assert refused("LinearCyclicalScheduler", **CYCLE, cycle_mult=0.5) == (
        "ignite.LinearCyclicalScheduler raises in ignite at tick 7: a cycle of no ticks: division by zero"
    )
    assert np.isfinite(rates("LinearCyclicalScheduler", 7, **CYCLE, cycle_mult=0.5)).all()
    assert refused("CosineAnnealingScheduler", **{**CYCLE, "cycle_size": 2.5}) == (
        "ignite.CosineAnnealingScheduler raises in ignite at tick 3: the cycle ends between two ticks: division by zero"
    )
    assert "at tick 4:" in refused("CosineAnnealingScheduler", **CYCLE, cycle_mult=-0.5)
    negative = {**CYCLE, "cycle_mult": -0.5, "warmup_duration": 2}
    assert rates("CosineAnnealingScheduler", 9, **negative)[6:].tolist() == pytest.approx([-0.2, -0.4, -0.6])


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[2, 0.1], [4, 0.3], [4, 0.5], [6, 0.4]], [0.1, 0.1, 0.1, 0.2, 0.5, 0.45, 0.4, 0.4]),
        ([[-2, 0.1], [2, 0.3]], [0.2, 0.25, 0.3, 0.3]),
        ([[-4, 0.1], [-2, 0.3], [2, 0.5]], [0.4, 0.45, 0.5]),
        ([[3, 0.1]], [0.1] * 5),
        ([[-3, 0.1], [-1, 0.2]], [0.2] * 3),
        ([[0, 0.1], [0, 0.2]], [0.2] * 3),
    ],
)
def test_points(points: list[list[float]], expected: list[float]) -> None:
    agree(rates("PiecewiseLinear", len(expected), milestones_values=points), expected)


@pytest.mark.parametrize(
    ("kind", "params", "told"),
    [
        ("LinearCyclicalScheduler", {**CYCLE, "cycle_size": 1}, "cycle_size must be >= 2, got 1"),
        (
            "LinearCyclicalScheduler",
            {**CYCLE, "warmup_duration": 3},
            "warmup_duration must be 0 unless monotonic, got 3",
        ),
        ("PiecewiseLinear", {"milestones_values": []}, "milestones_values must be a list of at least one pair, got []"),
        (
            "PiecewiseLinear",
            {"milestones_values": [[3, 0.1], [1, 0.2]]},
            "milestones_values must be in order, and 1 comes after 3, got [3, 1]",
        ),
        ("create_lr_scheduler_with_warmup", {"warmup_duration": 1}, "warmup_duration must be >= 2, got 1"),
        (
            "ConcatScheduler",
            {"schedulers": [LINE], "durations": []},
            "schedulers must be a list of at least two schedules, got 1",
        ),
        (
            "ConcatScheduler",
            {"schedulers": [LINE, LINE], "durations": [3, 3]},
            "durations must be one fewer than the 2 schedulers, got [3, 3]",
        ),
    ],
)
def test_what_ignite_refuses(kind: str, params: dict[str, Any], told: str) -> None:
    if kind.startswith("create"):
        params = {"lr_scheduler": EXPONENTIAL, "warmup_start_value": 0, **params}
    assert refused(kind, **params) == f"ignite.{kind}: {told} (ignite raises ValueError)"


def test_a_curve_says_that_the_optimizers_rate_does_not_count() -> None:
    assert made("PiecewiseLinear", milestones_values=[[3, 0.1], [5, 0.2]]).schedule.notes(9) == (
        "ignite.PiecewiseLinear sets the rate itself and ignores the optimizer's lr",
    )
    assert made("PiecewiseLinear", milestones_values=[[0, 0.1], [5, 0.2]]).schedule.marks == ((5, "point"),)


# Schedulers of torch.


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (wrapped("StepLR", step_size=2, gamma=0.5), [0.1, 0.1, 0.05, 0.05, 0.025]),
        (wrapped("ExponentialLR", gamma=0.5), [0.05, 0.025, 0.0125]),  # one factor more than in torch
        (wrapped("ConstantLR", factor=0.5, total_iters=2), [0.025, 0.025, 0.05, 0.05]),  # its factor counts twice
        (wrapped("LinearLR", start_factor=0.5, total_iters=2), [0.025, 0.0375, 0.05, 0.05]),
        (wrapped("MultiStepLR", milestones=[0, 2], gamma=0.5), [0.025, 0.025, 0.0125]),
        (wrapped("PolynomialLR", total_iters=2), [0.1 * 2 / 3, 0.1 / 3, 0, 0]),
        (wrapped("MultiplicativeLR", lr_lambda="lambda t: 0.5"), [0.05, 0.025]),
        (wrapped("LambdaLR", lr_lambda="lambda t: 1 / (t + 1)"), [0.1, 0.05, 0.1 / 3]),
        # First the ratio of the wave to its value a tick before 0; then the wave itself.
        (wrapped("CosineAnnealingLR", T_max=2), [0.2, 0.05, 0, 0.05, 0.1]),
        (wrapped("CosineAnnealingLR", T_max=1), [0.2, 0, 0.1, 0]),
        (wrapped("CosineAnnealingWarmRestarts", T_0=2), [0.05, 0.1, 0.05]),  # one tick ahead
        (wrapped("CosineAnnealingWarmRestarts", T_0=1, T_mult=2), [0.1, 0.05, 0.1, 0.05 + 0.05 / 2**0.5]),
        (wrapped("SWALR", swa_lr=0.02), [0.1] * 4),  # its clock counts steps, and there are none
        (wrapped("SWALR", swa_lr=0.02, anneal_epochs=0), [0.02] * 3),
    ],
)
def test_a_scheduler_of_torch_is_never_stepped(inner: dict[str, Any], expected: list[float]) -> None:
    agree(rates("LRScheduler", len(expected), **inner), expected)


def test_a_legacy_handler_comes_after_each_update() -> None:
    agree(rates("LRScheduler", 4, **wrapped("ExponentialLR", gamma=0.5), use_legacy=True), [0.1, 0.05, 0.025, 0.0125])
    agree(
        rates("LRScheduler", 3, **wrapped("ConstantLR", factor=0.5, total_iters=2), use_legacy=True), [0.05, 0.05, 0.1]
    )
    agree(rates("LRScheduler", 3, **wrapped("CosineAnnealingWarmRestarts", T_0=2), use_legacy=True), [0.1, 0.05, 0.1])
    zero = wrapped("CosineAnnealingLR", T_max=0)
    assert "raises in ignite at tick 1: T_max is 0" in refused("LRScheduler", **zero, use_legacy=True)
    assert "raises in ignite at tick 0: T_max is 0" in refused("LRScheduler", **zero)


def test_where_torch_raises() -> None:
    assert "at tick 0: total_iters is 0" in refused("LRScheduler", **wrapped("PolynomialLR", total_iters=0))
    assert "at tick 1: step_size is 0" in refused("LRScheduler", **wrapped("StepLR", step_size=0))
    cycle = wrapped("OneCycleLR", max_lr=0.1, total_steps=10)
    assert "at tick 11:" in refused("LRScheduler", **cycle)
    warm = {"warmup_start_value": 0, "warmup_duration": 5}
    assert "at tick 15:" in refused("create_lr_scheduler_with_warmup", **cycle, **warm)
    text = refused("create_lr_scheduler_with_warmup", lr_scheduler=EXPONENTIAL, **{**warm, "warmup_duration": 2.0})
    assert text.endswith("warmup: warmup_duration must be a whole number, got 2.0 (ignite raises TypeError)")
    nothing = {"kind": "ignite.LRScheduler", **wrapped("CosineAnnealingLR", T_max=0)}
    assert refused("create_lr_scheduler_with_warmup", lr_scheduler=nothing, **warm) == (
        "ignite.create_lr_scheduler_with_warmup: lr_scheduler must be other than one that raises at its first event, "
        "which the constructor asks for, got 'ignite.LRScheduler' (ignite raises ZeroDivisionError)"
    )


OWN = "lr_scheduler must have a get_lr() of its own"


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (
            {"kind": "torch.ReduceLROnPlateau"},
            f"{OWN}, and torch.ReduceLROnPlateau has none (ignite raises NotImplementedError)",
        ),
        (
            {"kind": "torch.ChainedScheduler", "schedulers": [EXPONENTIAL]},
            f"{OWN}, and torch.ChainedScheduler has none (ignite raises NotImplementedError)",
        ),
        (
            {"kind": "torch.StepLr"},
            "lr_scheduler must be a kind of torch, got 'torch.StepLr' (did you mean torch.StepLR?)",
        ),
        (LINE, "lr_scheduler must be a kind of torch, got 'ignite.PiecewiseLinear'"),
        ({**EXPONENTIAL, "lr": 3}, "lr_scheduler has no lr of its own: it shares the optimizer"),
        ({**EXPONENTIAL, "optimizer": "adam"}, "lr_scheduler must have the optimizer of the whole, sgd"),
        ({"kind": "torch.ExponentialLR"}, "lr_scheduler: torch.ExponentialLR needs gamma"),
        ({"kind": "torch.StepLR", "step_size": "x"}, None),
        (7, "lr_scheduler must be a schedule such as {kind: torch...}, got 7"),
    ],
)
def test_bad_members(member: Any, told: str | None) -> None:
    text = refused("LRScheduler", lr_scheduler=member)
    assert text.startswith(f"ignite.LRScheduler: {told or 'lr_scheduler.step_size must be'}")
    if told:
        assert text == f"ignite.LRScheduler: {told}"


def test_what_a_wrapper_says() -> None:
    assert made("LRScheduler", lr_scheduler=EXPONENTIAL).schedule.notes(9) == (
        "ignite asks for the rate once more before the first update: it is 0.05 where torch has 0.1",
    )
    assert made("LRScheduler", **wrapped("StepLR", step_size=2)).schedule.notes(9) == ()
    assert made("LRScheduler", lr_scheduler=EXPONENTIAL, use_legacy=True).schedule.notes(9) == ()
    assert made("LRScheduler", **wrapped("SWALR", swa_lr=0.1)).schedule.notes(9) == (
        "ignite never moves the clock that torch.SWALR counts: the rate does not change",
    )


# Turns.


def test_a_warm_up_in_front_of_torch_goes_on_from_its_second_rate() -> None:
    warm = {"warmup_start_value": 0.0, "warmup_duration": 3}
    exponential = {"lr_scheduler": EXPONENTIAL, **warm}
    agree(rates("create_lr_scheduler_with_warmup", 6, **exponential), [0, 0.05, 0.1, 0.05, 0.025, 0.0125])
    # Where the warm-up ends elsewhere, one more event leads to the rate.
    agree(
        rates("create_lr_scheduler_with_warmup", 6, **exponential, warmup_end_value=0.4),
        [0, 0.2, 0.4, 0.1, 0.05, 0.025],
    )
    constant = {**wrapped("ConstantLR", factor=0.5, total_iters=2), **warm}
    agree(rates("create_lr_scheduler_with_warmup", 6, **constant), [0, 0.025, 0.05, 0.05, 0.1, 0.1])


def test_a_warm_up_in_front_of_ignite_does_not_say_a_rate_twice() -> None:
    warm = {"warmup_start_value": 0.0, "warmup_duration": 3, "warmup_end_value": 0.4}
    cycle = {"kind": "ignite.LinearCyclicalScheduler", **CYCLE}
    agree(rates("create_lr_scheduler_with_warmup", 5, lr_scheduler=cycle, **warm), [0, 0.2, 0.4, 0.3, 0.2])
    agree(
        rates("create_lr_scheduler_with_warmup", 4, lr_scheduler=cycle, **{**warm, "warmup_duration": 2}),
        [0, 0.4, 0.3, 0.2],
    )
    other = {**warm, "warmup_end_value": 0.2}
    agree(rates("create_lr_scheduler_with_warmup", 5, lr_scheduler=cycle, **other), [0, 0.1, 0.2, 0.4, 0.3])
    # To ask for a rate moves a restart on, so that one is left out.
    restarts = {"kind": "ignite.LRScheduler", **wrapped("CosineAnnealingWarmRestarts", T_0=4)}
    asked = {"lr_scheduler": restarts, "warmup_start_value": 0.0, "warmup_duration": 3}
    expected = [0, 0.05, 0.1, 0.05, 0.05 - 0.05 / 2**0.5, 0.1]
    agree(rates("create_lr_scheduler_with_warmup", 6, **asked), expected)
    # A wrapper goes on from the rate that the warm-up left, one event before its end.
    step = {"kind": "ignite.LRScheduler", **wrapped("StepLR", step_size=2, gamma=0.5)}
    plain = {"lr_scheduler": step, "warmup_start_value": 0.0, "warmup_duration": 3}
    agree(rates("create_lr_scheduler_with_warmup", 6, **plain), [0, 0.05, 0.05, 0.05, 0.025, 0.025])


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([2, 3], [0, 0.1, 0.4, 0.3, 0.2, 0, 0.1, 0.2, 0.3, 0.4, 0.4]),
        ([0, 2], [0.4, 0.3, 0, 0.1, 0.2]),
        ([1, 0], [0, 0.4, 0.3, 0.2, 0.3, 0.4]),  # looked at too late: it never ends
        ([0, 0], [0.4, 0.3, 0.2, 0.3, 0.4]),
        ([-1, 2], [0, 0.1, 0.2, 0.3, 0.4, 0.4]),
    ],
)
def test_one_scheduler_after_another(durations: list[int], expected: list[float]) -> None:
    members = [LINE, {"kind": "ignite.LinearCyclicalScheduler", **CYCLE}, LINE]
    agree(rates("ConcatScheduler", len(expected), schedulers=members, durations=durations), expected)


def test_a_member_that_raises_ends_the_whole_in_its_turn() -> None:
    zero = {"kind": "ignite.LRScheduler", **wrapped("StepLR", step_size=0)}  # raises at its second event
    for durations, tick in (([3, 4], 4), ([3, 1], None), ([-1, 4], None)):
        params = {"schedulers": [LINE, zero, LINE], "durations": durations}
        if tick is None:
            assert np.isfinite(rates("ConcatScheduler", 9, **params)).all()
        else:
            assert f"at tick {tick}: step_size is 0" in refused("ConcatScheduler", **params)
            agree(rates("ConcatScheduler", 4, **params), [0, 0.1, 0.2, 0.2])


@pytest.mark.parametrize(
    ("points", "doubled"),
    [
        ([[2, 0.4], [5, 0.1]], True),
        ([[-5, 0.1], [0, 0.4]], True),
        ([[-1, 0.3], [1, 0.5]], True),
        ([[0, 0.5], [3, 0.4]], False),
    ],
)
def test_a_warm_up_compares_the_first_value_of_points(points: list[list[float]], doubled: bool) -> None:
    line = {"kind": "ignite.PiecewiseLinear", "milestones_values": points}
    warm = {"warmup_start_value": 0.0, "warmup_duration": 3, "warmup_end_value": 0.4}
    trace = made("create_lr_scheduler_with_warmup", 4, lr_scheduler=line, **warm)
    first = made("PiecewiseLinear", 1, milestones_values=points).lr[0]
    agree(trace.lr[:3], [0, 0.2, 0.4])
    assert trace.lr[3] == pytest.approx(
        made("PiecewiseLinear", 2, milestones_values=points).lr[1] if doubled else first
    )
    assert trace.schedule.marks == ((3, "PiecewiseLinear"),)


def test_a_wrapper_goes_on_from_the_rate_of_its_turn() -> None:
    members = [LINE, {"kind": "ignite.LRScheduler", "lr_scheduler": EXPONENTIAL}]
    trace = made("ConcatScheduler", 6, schedulers=members, durations=[3])
    agree(trace.lr, [0, 0.1, 0.2, 0.1, 0.05, 0.025])
    assert trace.schedule.marks == ((3, "LRScheduler"),)
    inner = {"kind": "ignite.ConcatScheduler", "schedulers": members, "durations": [3]}
    agree(rates("ConcatScheduler", 7, schedulers=[LINE, inner], durations=[2]), [0, 0.1, 0, 0.1, 0.2, 0.1, 0.05])
    # Constructors come before every event: the factor of the second member is in the first one's rate.
    both = [{"kind": "ignite.LRScheduler", **inside} for inside in (
        wrapped("StepLR", step_size=9), wrapped("ConstantLR", factor=0.5, total_iters=9)
    )]  # fmt: skip
    agree(rates("ConcatScheduler", 4, schedulers=both, durations=[2]), [0.05, 0.05, 0.025, 0.025])


def test_the_momentum_of_a_cycle_inside() -> None:
    cyclic = wrapped("CyclicLR", base_lr=0.1, max_lr=0.5, step_size_up=2, base_momentum=0.7, max_momentum=0.9)
    trace = made("LRScheduler", 4, **cyclic)
    agree(trace.lr, [0.1, 0.3, 0.5, 0.3])
    agree(trace.momentum, [0.9, 0.8, 0.7, 0.8])
    legacy = made("LRScheduler", 3, **cyclic, use_legacy=True)
    agree(legacy.momentum, [0.9, 0.8, 0.7])
    members = [LINE, {"kind": "ignite.LRScheduler", **cyclic}, LINE]
    whole = made("ConcatScheduler", 7, schedulers=members, durations=[2, 3])
    agree(whole.lr, [0, 0.1, 0.1, 0.3, 0.5, 0, 0.1])
    agree(whole.momentum, [0.9, 0.9, 0.9, 0.8, 0.7, 0.7, 0.7])  # held when nothing sets it
    alone = made("ConcatScheduler", 3, schedulers=members, durations=[-1, 3])
    agree(alone.momentum, [0.9] * 3)  # the constructor's
    warm = {"warmup_start_value": 0.0, "warmup_duration": 2}
    asked = {"kind": "ignite.LRScheduler", **cyclic, "use_legacy": True}
    # To ask for its rate sets the momentum as well.
    agree(made("create_lr_scheduler_with_warmup", 4, lr_scheduler=asked, **warm).momentum, [0.8, 0.8, 0.8, 0.7])
    assert made("LRScheduler", lr_scheduler=EXPONENTIAL).momentum is None
    assert "must have momentum or betas" in refused("LRScheduler", **cyclic, optimizer="adagrad")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (EXPONENTIAL, " must be a kind of ignite: ignite.LRScheduler wraps one of torch, got 'torch.ExponentialLR'"),
        ({"kind": "cosine"}, " must be a kind of ignite, got 'cosine'"),
        (
            {"kind": "ignite.LRSchedule"},
            " must be a kind of ignite, got 'ignite.LRSchedule' (did you mean ignite.LRScheduler?)",
        ),
        (
            {**LINE, "milestones_values": []},
            ".milestones_values must be a list of at least one pair, got [] (ignite raises ValueError)",
        ),
        ({**LINE, "lr": 1}, " has no lr of its own: it shares the optimizer"),
        ("x", " must be a schedule such as {kind: ignite...}, got 'x'"),
    ],
)
def test_bad_members_of_a_sequence(wrong: Any, told: str) -> None:
    text = refused("ConcatScheduler", schedulers=[LINE, wrong], durations=[3])
    assert text == f"ignite.ConcatScheduler: schedulers[1]{told}"


def test_a_sequence_of_no_list_and_one_that_never_ends() -> None:
    assert refused("ConcatScheduler", schedulers=LINE, durations=[3]).startswith(
        "ignite.ConcatScheduler: schedulers must be a list of schedules, got {"
    )
    stays = made("ConcatScheduler", schedulers=[LINE, LINE], durations=[-1]).schedule
    assert stays.notes(9) == ("durations[0] is -1: ignite stays with member 0 from event 0 on",)


def test_objects_wait_for_their_run() -> None:
    inner = CosineAnnealingLR(T_max="50%")  # type: ignore[arg-type]
    scope = Scope.of(Clock("step", 8))
    wrapper = LRScheduler(lr=0.1, lr_scheduler=inner, use_legacy=True)
    assert wrapper.unresolved == ["lr_scheduler"]
    agree(wrapper.resolve(scope).values(2, 5), [0.05, 0.05 - 0.05 / 2**0.5, 0])
    warm = CreateLRSchedulerWithWarmup(lr=0.1, lr_scheduler=wrapper, warmup_start_value=0.0, warmup_duration=2)
    assert warm.resolve(scope)(1) == 0.1
    line = PiecewiseLinear(milestones_values=((0, 0.1), (4, 0.3)))
    whole = ConcatScheduler(schedulers=(line, wrapper), durations=(2,))
    assert whole.unresolved == ["schedulers"]
    assert whole.resolve(scope)(1) == pytest.approx(0.15)
    assert message_of(ConcatScheduler, schedulers=(line, CosineAnnealingLR(T_max=4)), durations=(2,)).startswith(
        "schedulers[1] must be a kind of ignite: ignite.LRScheduler wraps one of torch"
    )


# A metric.


def test_the_floor_of_a_plateau_needs_the_group() -> None:
    plateau = {"metrics": [1] * 6, "patience": 0, "factor": 0.5, "min_lr": 0.04}
    assert rates("ReduceLROnPlateauScheduler", 6, **plateau).min() == pytest.approx(0.1 / 16)
    assert rates("ReduceLROnPlateauScheduler", 6, **plateau, param_group_index=0).min() == 0.04
    assert made("ReduceLROnPlateauScheduler", 6, **plateau).schedule.notes(6) == (
        "ignite ignores min_lr 0.04 unless param_group_index is given",
    )
    assert refused("ReduceLROnPlateauScheduler", param_group_index=2) == (
        "ignite.ReduceLROnPlateauScheduler: param_group_index must be 0, got 2 (ignite raises IndexError)"
    )
    assert refused("ReduceLROnPlateauScheduler", param_group_index=0, min_lr=0) == (
        "ignite.ReduceLROnPlateauScheduler: min_lr must be a float such as 0.0 where param_group_index is given, got 0 "
        "(ignite raises TypeError)"
    )


# Long runs, and one rule however it is asked.


def test_a_billion_events() -> None:
    far = np.array([10**9, 10**9 + 1])
    cycle = made("LinearCyclicalScheduler", **{**CYCLE, "cycle_size": 10}, monotonic=True, warmup_duration=4).schedule
    agree(cycle(far), [0.28, 0.26])  # 6 and 7 events into a cycle of 14
    growing = made("CosineAnnealingScheduler", **CYCLE, cycle_mult=2).schedule
    assert growing(4 * (2**27 - 1)) == 0.4
    agree(growing(np.array([4 * (2**27 - 1) + 2**28])), [0.3])
    members = [LINE, {"kind": "ignite.LRScheduler", **wrapped("StepLR", step_size=10**8)}]
    whole = made("ConcatScheduler", schedulers=members, durations=[3]).schedule
    assert whole(10**9) == pytest.approx(0.2 * 0.1**9)


def test_cycles_that_repeat_are_not_written_down_one_by_one() -> None:
    # int(4 * 1.2) is 4: a billion cycles of the same length.
    schedule = made("LinearCyclicalScheduler", **CYCLE, cycle_mult=1.2).schedule
    assert schedule(4 * 10**9 + 2) == pytest.approx(0.2)


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(2, 20), warm=st.integers(0, 9), growth=st.sampled_from([1, 1, 1.3, 2]),
    mult=st.sampled_from([1, 0.8]),
    monotonic=st.booleans(), split=st.integers(0, 20), total=st.integers(1, 150),
)  # fmt: skip
def test_one_rule_however_it_is_asked(
    size: int, warm: int, growth: float, mult: float, monotonic: bool, split: int, total: int
) -> None:
    cycle = {**CYCLE, "cycle_size": size, "cycle_mult": growth, "start_value_mult": mult, "end_value_mult": 1.1}
    linear = {
        "kind": "ignite.LinearCyclicalScheduler", **cycle, "monotonic": monotonic,
        "warmup_duration": warm if monotonic else 0,
    }  # fmt: skip
    cosine = {"kind": "ignite.CosineAnnealingScheduler", **cycle, "warmup_duration": warm}
    wrapper = {"kind": "ignite.LRScheduler", **wrapped("LinearLR", total_iters=size)}
    concat = {"kind": "ignite.ConcatScheduler", "schedulers": [linear, wrapper], "durations": [split]}
    warmed = {
        "kind": "ignite.create_lr_scheduler_with_warmup", "lr_scheduler": concat, "warmup_start_value": 0.0,
        "warmup_duration": warm + 2,
    }  # fmt: skip
    for spec in (linear, cosine, concat, warmed):
        schedule = simulated(spec, total).schedule
        consistent(schedule, total)
        knots_are_honest(schedule, total)
