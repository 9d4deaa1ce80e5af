"""The timm dialect where the recorded traces do not reach: edges, refusals, notes, long runs."""

from __future__ import annotations

import bisect
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli import simulate
from lrsched_cli.dialects.timm import KINDS
from lrsched_cli.schedules.base import Schedule
from tests.support import agree, consistent, knots_are_honest, message_of

LR = 0.1


def rates(kind: str, total: int, /, **params: Any) -> np.ndarray:
    return simulate({"kind": f"timm.{kind}", "lr": LR, **params}, {"epochs": total}).lr


def schedule(kind: str, total: int = 100, /, **params: Any) -> Schedule:
    return simulate({"kind": f"timm.{kind}", "lr": LR, **params}, {"epochs": total}).schedule


def refusal(kind: str, total: int = 100, /, **params: Any) -> str:
    told = message_of(schedule, kind, total, **params)
    assert told.startswith((f"timm.{kind}: ", f"timm.{kind} "))
    return told.removeprefix(f"timm.{kind}: ")


# Update 0 and the warm-up.


def test_update_0_has_what_the_constructor_leaves() -> None:
    tanh = rates("TanhLRScheduler", 3, t_initial=10, lb=-1.0, ub=1.0)
    agree(tanh, [0.1, *(0.05 * (1 - math.tanh(-1 + 0.2 * t)) for t in (1, 2))])
    agree(rates("MultiStepLRScheduler", 3, decay_t=[0, 1], decay_rate=0.5), [0.1, 0.025, 0.025])
    agree(rates("WSDLRScheduler", 3, t_initial=10, decay_t=2, lr_min=0.5), [0.1, 0.5, 0.5])
    agree(rates("CosineLRScheduler", 3, t_initial=10, cycle_limit=0, lr_min=0.01), [0.1, 0.01, 0.01])
    agree(rates("StepLRScheduler", 3, decay_t=10, decay_rate=0.5, warmup_t=-10, warmup_lr_init=0.3), [0.3, 0.05, 0.05])


def test_the_clock_runs_during_the_warm_up_unless_it_is_a_prefix() -> None:
    params = {"t_initial": 10, "power": 1.0, "warmup_t": 4, "warmup_lr_init": 0.02}
    agree(rates("PolyLRScheduler", 6, **params), [0.02, 0.04, 0.06, 0.08, 0.06, 0.05])
    agree(rates("PolyLRScheduler", 7, warmup_prefix=True, **params), [0.02, 0.04, 0.06, 0.08, 0.1, 0.09, 0.08])
    told = "without warmup_prefix the schedule runs during the warm-up: at tick 4 it is at 0.06"
    assert schedule("PolyLRScheduler", **params).notes(100) == (told,)
    assert schedule("PolyLRScheduler", **params).notes(4) == ()
    assert schedule("PolyLRScheduler", warmup_prefix=True, **params).notes(100) == ()
    assert schedule("StepLRScheduler", decay_t=9, decay_rate=0.5, warmup_t=4, warmup_prefix=False).notes(100) == ()


def test_a_tanh_warm_up_leads_to_where_the_tangent_is_by_then() -> None:
    middle = 0.05 * (1 - math.tanh(0))
    agree(
        rates("TanhLRScheduler", 5, t_initial=8, lb=-2.0, ub=2.0, warmup_t=4),
        [0, 0.25, 0.5, 0.75, 1] * np.array(middle),
    )
    # Past the last cycle it leads to lr_min.
    agree(rates("TanhLRScheduler", 4, t_initial=3, warmup_t=4, lr_min=0.04), [0, 0.01, 0.02, 0.03])


def test_a_warm_up_may_end_between_two_ticks() -> None:
    agree(rates("StepLRScheduler", 6, decay_t=2, decay_rate=0.5, warmup_t=2.5), [0, 0.04, 0.08, 0.1, 0.1, 0.05])


# Cycles.


def test_a_restart_may_come_a_tick_late() -> None:
    """log(243, 3) is 4.999..., so the sixth cycle, from 10 * (3 ** 5 - 1) / 2 = 1210 on, begins one tick late."""
    tripled = rates("CosineLRScheduler", 1220, t_initial=10, cycle_mul=3, cycle_limit=9, lr_min=0.001)
    assert tripled[400] == pytest.approx(LR, rel=1e-12)
    assert tripled[1210] == pytest.approx(0.001, rel=1e-9)
    assert tripled[1211] == pytest.approx(0.001 + 0.0495 * (1 + math.cos(math.pi / 2430)), rel=1e-12)


@pytest.mark.parametrize("cycles", [3, 300])
def test_cycles_of_no_whole_length_begin_where_floor_division_says(cycles: int) -> None:
    """11 // 1.1 is 9.0: the tick is the last one of its cycle, and the fraction of that is rounded too."""
    ticks = np.arange(1, 12)
    part = [(t - 1.1 * (t // 1.1)) / 1.1 if t // 1.1 < cycles else 1.0 for t in ticks.tolist()]
    ours = rates("PolyLRScheduler", 12, t_initial=1.1, cycle_limit=cycles)
    agree(ours[1:], [LR * (1 - x) ** 0.5 for x in part])


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        (
            "PolyLRScheduler",
            {"t_initial": 250, "cycle_mul": 1.2, "cycle_limit": 200, "k_decay": 1.5},
            {549: 0.007068119279992506, 550: 0.1, 909: 0.006452729505533979, 910: 0.0, 911: 0.09999443126596078},
        ),
        (
            "PolyLRScheduler",
            {"t_initial": 250, "cycle_mul": 1.2, "cycle_limit": 5, "k_decay": 1.5},
            {549: 0.007068119279992506, 550: 0.1, 909: 0.006452729505533979, 910: 0.0, 911: 0.09999443126596078},
        ),
        (
            "PolyLRScheduler",
            {"t_initial": 34, "cycle_mul": 10, "cycle_limit": 5, "power": 0.1},
            {3773: 0.04434576061636364, 3774: 0.0, 3775: 0.09999970587846013},
        ),
        (
            "CosineLRScheduler",
            {"t_initial": 16, "cycle_mul": 1.5, "cycle_limit": 100},
            {129: 8.459208643659122e-05, 130: 0.1, 210: 3.760237478849793e-05, 211: 0.0, 212: 0.09998328666948438},
        ),
        (
            "CosineLRScheduler",
            {"t_initial": 10, "cycle_mul": 1.01, "cycle_limit": 10**6},
            {100: 0.03796443983194034, 1000: 0.025967255062559785, 5000: 0.09879528753345967},
        ),
    ],
)  # fmt: skip
def test_cycles_that_grow_end_where_timm_rounds_them(
    kind: str, params: dict[str, Any], expected: dict[int, float]
) -> None:
    """Rates of timm 1.0.31: a cycle may be a tick too long, and its last rate the root of what rounding left."""
    found = rates(kind, 6000, **params)
    agree(found[[*expected]], [*expected.values()])
    knots_are_honest(schedule(kind, 1000, **params), 1000)


def test_the_last_bit_may_make_a_rate_complex() -> None:
    # At tick 331 the fourth cycle has begun, a little less than a tick too early: its clock is below 0.
    rooted = {"t_initial": 100, "cycle_mul": 1.1, "cycle_limit": 20, "k_decay": 1.5}
    assert rates("PolyLRScheduler", 331, **rooted)[330] == pytest.approx(0.011122520317305684, rel=1e-9)
    told = "timm.PolyLRScheduler makes the rate nan at tick 331: it must be finite"
    assert message_of(rates, "PolyLRScheduler", 400, **rooted) == told


def test_cycles_without_end_grow_and_decay() -> None:
    long = schedule("CosineLRScheduler", 10**9, t_initial=10, cycle_mul=2, cycle_decay=0.9, cycle_limit=10**6)
    number = 26  # from 10 * (2 ** 26 - 1) on, for 671,088,640 ticks
    assert long(10 * (2**26 - 1)) == pytest.approx(LR * 0.9**number, rel=1e-9)
    assert long(10 * (2**26 - 1) + 671_088_640 // 2) == pytest.approx(LR * 0.9**number / 2, rel=1e-9)
    assert long.next_knot(np.array([7e8])).tolist() == [10 * (2**27 - 1)]
    assert [mark for mark in long.marks if mark[0] < 100] == [(10, "cycle 2"), (30, "cycle 3"), (70, "cycle 4")]


def test_many_cycles_are_not_looked_through_one_by_one() -> None:
    for length in (7, 7.5):
        many = schedule("CosineLRScheduler", 10**9, t_initial=length, cycle_limit=10**12)
        start = 15 * 66_666_666
        assert many(start) == pytest.approx(LR * (0.5 + 0.5 * math.cos(math.pi * (start % length) / length)), rel=1e-6)
        assert many.next_knot(np.array([start + 0.0]))[0] == math.ceil((start // length + 1) * length)


def test_k_decay_bends_the_clock() -> None:
    bent = rates("PolyLRScheduler", 10, t_initial=8, k_decay=2, power=1.0)
    agree(bent, [*(LR * (1 - t * t / 64) for t in range(8)), 0, 0])
    flat = rates("CosineLRScheduler", 4, t_initial=3, k_decay=0.0, lr_min=0.02, cycle_limit=2)
    agree(flat, [0.1, 0.02, 0.02, 0.02])


# Steps.


def test_steps_are_counted_by_floor_division() -> None:
    fine = rates("StepLRScheduler", 12, decay_t=1.1, decay_rate=0.5)
    assert fine[11] == pytest.approx(LR * 0.5**9, rel=1e-12)  # 11 // 1.1 is 9.0
    agree(rates("StepLRScheduler", 5, decay_t=-2, decay_rate=0.5), [0.1, 0.2, 0.2, 0.4, 0.4])
    agree(rates("StepLRScheduler", 4, decay_t=1, decay_rate=0.5), [0.1, 0.05, 0.025, 0.0125])
    agree(rates("StepLRScheduler", 4, decay_t=1, decay_rate=-1), [0.1, -0.1, 0.1, -0.1])
    agree(rates("StepLRScheduler", 4, decay_t=2, decay_rate=0), [0.1, 0.1, 0, 0])
    agree(rates("StepLRScheduler", 4, decay_t=math.inf, decay_rate=0.5), [0.1] * 4)
    knots_are_honest(schedule("StepLRScheduler", decay_t=-7.7, decay_rate=1.01), 100)
    assert schedule("StepLRScheduler", 10**9, decay_t=2.4, decay_rate=1 - 1e-9)(10**9 - 1) == pytest.approx(
        LR * (1 - 1e-9) ** (999_999_999 // 2.4), rel=1e-9
    )


def test_milestones_act_one_tick_early_and_are_searched_unsorted() -> None:
    agree(rates("MultiStepLRScheduler", 6, decay_t=[4], decay_rate=0.5, warmup_t=2), [0, 0.05, 0.1, 0.1, 0.1, 0.05])
    # bisect_right([5, 2], x) is 0 below 2, still 0 from 2 on, and 2 from 5 on: it looks at the 2 first.
    expected = [LR * 0.5 ** bisect.bisect_right([5, 2, 3], t + 1) for t in range(1, 9)]
    agree(rates("MultiStepLRScheduler", 9, decay_t=[5, 2, 3], decay_rate=0.5)[1:], expected)
    agree(rates("MultiStepLRScheduler", 3, decay_t=[]), [0.1, 0.1, 0.1])
    agree(
        rates("MultiStepLRScheduler", 4, decay_t=[-math.inf, 2.5, 2.9, math.inf], decay_rate=0.5),
        [0.1, 0.05, 0.0125, 0.0125],
    )
    assert schedule("MultiStepLRScheduler", decay_t=["25%", 50], decay_rate=0.5).marks == ((24, "step"), (49, "step"))


def test_what_decays_nothing_is_told() -> None:
    told = ("decay_rate is 1, as by default: nothing decays",)
    assert schedule("StepLRScheduler", decay_t=30).notes(100) == told
    assert schedule("MultiStepLRScheduler", decay_t=[30]).notes(100) == told


# Warm-up, stable, decay.


def test_a_stable_phase_may_fall_to_lr_min_before_the_decay() -> None:
    params = {"t_initial": 40, "decay_t": 10, "stable_fn": "rsqrt", "warmup_t": 4, "lr_min": 0.05, "decay_fn": "linear"}
    ours = rates("WSDLRScheduler", 50, **params)
    agree(ours[4:16], [LR / math.sqrt(1 + t / 4) for t in range(12)])
    agree(ours[16:], [0.05] * 34)
    assert schedule("WSDLRScheduler", **params).marks == ((4, "stable"), (35, "decay"), (44, "end"))


def test_a_written_decay_rules_to_its_end_and_beyond() -> None:
    half = {"t_initial": 4, "decay_t": 2, "decay_fn": "lambda f: 1 - f / 2"}
    agree(rates("WSDLRScheduler", 6, **half, lr_min=0.02), [0.1, 0.1, 0.1, 0.08, 0.06, 0.06])
    falling = rates("WSDLRScheduler", 6, **half, stable_fn="power", stable_power=1, stable_timescale=1)
    agree(falling, [0.1, 0.05, 0.1 / 3, 0.1 / 4 * 0.75, 0.1 / 5 / 2, 0.1 / 6 / 2])
    pole = {"t_initial": 4, "decay_t": 2, "decay_fn": "lambda f: 1 / (1 - f)"}
    agree(rates("WSDLRScheduler", 4, **pole), [0.1, 0.1, 0.1, 0.2])
    assert refusal("WSDLRScheduler", 5, **pole) == "timm.WSDLRScheduler makes the rate nan at tick 4: it must be finite"


def test_every_decay_goes_from_the_stable_rate_to_lr_min() -> None:
    for fn, middle in (("linear", 0.5), ("1-sqrt", 1 - 0.5**0.5), ("cosine", 0.5), ("power", 1 - 0.5**0.5)):
        agree(rates("WSDLRScheduler", 7, t_initial=6, decay_t=2, decay_fn=fn)[4:], [0.1, 0.1 * middle, 0])
    exp = rates("WSDLRScheduler", 7, t_initial=6, decay_t=2, decay_fn="exp", decay_ratio=0.25, lr_min=0.04)
    agree(exp[4:], [0.1, 0.04 + 0.06 * (0.5 - 0.25) / 0.75, 0.04])


def test_what_a_phase_does_not_read_is_told() -> None:
    told = schedule("WSDLRScheduler", t_initial=9, decay_t=3, stable_timescale=-4, stable_power=2, decay_power=2).notes(
        9
    )
    assert told == (
        "timm ignores stable_timescale and stable_power with stable_fn constant",
        "timm ignores decay_power with decay_fn 1-sqrt",
    )
    rsqrt = {"t_initial": 9, "decay_t": 3, "stable_fn": "rsqrt", "stable_timescale": 4, "decay_fn": "exp"}
    assert schedule("WSDLRScheduler", **rsqrt, decay_ratio=0.2).notes(9) == ()


# Plateau.


def test_metrics_of_the_warm_up_do_not_count() -> None:
    stalled = {"patience_t": 1, "decay_rate": 0.5, "metrics": [9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0]}
    ours = rates("PlateauLRScheduler", 8, warmup_t=2, warmup_lr_init=0.02, **stalled)
    # Tick 2 has the first metric that counts, 9; from tick 3 on all are lower, and higher is better.
    agree(ours, [0.02, 0.06, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025])
    between = rates("PlateauLRScheduler", 8, warmup_t=2.5, warmup_lr_init=0.05, **stalled)
    agree(between, np.array([0.05, 0.07, 0.09, 0.09, 0.09, 0.045, 0.045, 0.0225]))


def test_a_metric_drives_plateau() -> None:
    plateau = KINDS["PlateauLRScheduler"](lr=LR, patience_t=0, warmup_t=1)
    assert plateau.reacts
    assert plateau.metric_mode == "max"
    assert plateau.notes(10) == ("without metrics nothing is ever cut",)
    agree(plateau.fed([5, 5, 5])(np.arange(5)), [0, 0.1, 0.1, 0.01, 0.01])
    agree(plateau.fed([])(np.arange(3)), [0, 0.1, 0.1])
    patient = KINDS["PlateauLRScheduler"](lr=LR, patience_t=math.inf, metrics=[5.0] * 50)
    agree(patient(np.arange(60)), [0.1] * 60)
    assert plateau.fed([5, 5, 5]).marks == ((3, "cut"),)
    told = "there are 3 metrics for 9 ticks: the last rate is held from there on"
    assert plateau.fed([5, 5, 5]).notes(9) == (told,)


# What is refused.


@pytest.mark.parametrize(
    ("kind", "params", "told"),
    [
        ("CosineLRScheduler", {"t_initial": 0}, "t_initial must be > 0, got 0 (timm refuses it)"),
        ("PolyLRScheduler", {"t_initial": 9, "lr_min": -1}, "lr_min must be >= 0, got -1 (timm refuses it)"),
        ("TanhLRScheduler", {"t_initial": 9, "cycle_limit": -1}, "cycle_limit must be >= 0, got -1 (timm refuses it)"),
        ("TanhLRScheduler", {"t_initial": 9, "warmup_t": -1}, "warmup_t must be >= 0, got -1 (timm refuses it)"),
        (
            "TanhLRScheduler",
            {"t_initial": 9, "lb": 3.0},
            "lb must be < ub 3, got 3.0 (timm raises AssertionError)",
        ),
        (
            "CosineLRScheduler",
            {"t_initial": 9, "noise_range_t": [1, 5]},
            "noise_range_t asks for noise, which is drawn as training goes on: only timm itself can draw it",
        ),
        (
            "CosineLRScheduler",
            {"t_initial": 9, "initialize": False},
            "initialize must be true: a new optimizer has no initial_lr, got False (timm raises KeyError)",
        ),
        (
            "WSDLRScheduler",
            {"t_initial": 9, "decay_t": 10},
            "decay_t must be <= t_initial 9, got 10 (timm raises ValueError)",
        ),
        (
            "WSDLRScheduler",
            {"t_initial": 9, "decay_t": 1, "decay_fn": "foo"},
            ("decay_fn must be linear, 1-sqrt, cosine, power, exp or a function such as lambda f: 1 - f, got 'foo' "
             "(timm raises ValueError)"),
        ),
        (
            "WSDLRScheduler",
            {"t_initial": 9, "decay_t": 1, "decay_fn": "lambda f: open(f)"},
            "decay_fn must be arithmetic on f, pi, got 'open(f)' (timm refuses it)",
        ),
        (
            "WSDLRScheduler",
            {"t_initial": 9, "decay_t": 1, "stable_fn": "rsqrt"},
            ("stable_timescale must be > 0 with stable_fn rsqrt, and is warmup_t 0 where it is not given, got None "
             "(timm raises ValueError)"),
        ),
        (
            "WSDLRScheduler",
            {"t_initial": 9, "decay_t": 1, "decay_ratio": 1},
            "decay_ratio must be > 0 and < 1, got 1 (timm refuses it)",
        ),
        ("PlateauLRScheduler", {"decay_rate": 1.0}, "decay_rate must be < 1, got 1.0 (timm refuses it)"),
        ("PlateauLRScheduler", {"mode": "up"}, "mode must be min or max, got 'up' (timm refuses it)"),
        (
            "MultiStepLRScheduler",
            {"decay_t": 30},
            "decay_t must be a list of ticks or durations, got 30 (timm refuses it)",
        ),
        (
            "PlateauLRScheduler",
            {"warmup_t": math.inf},
            "warmup_t must be finite, got inf (timm divides by it)",
        ),
        ("create_scheduler_v2", {"num_epochs": 0}, "num_epochs must be > 0, got 0 (timm refuses it)"),
        (
            "create_scheduler_v2",
            {"sched": "foo"},
            ("sched must be cosine, tanh, poly, step, multistep, wsd, rsqrt, constant, plateau or none, got 'foo' "
             "(timm refuses it)"),
        ),
        (
            "create_scheduler_v2",
            {"noise": 0.5},
            "noise asks for noise, which is drawn as training goes on: only timm itself can draw it",
        ),
        (
            "create_scheduler_v2",
            {"step_on_epochs": False},
            "updates_per_epoch must be > 0 without step_on_epochs, got 0 (timm raises AssertionError)",
        ),
        (
            "create_scheduler_v2",
            {"sched": "plateau", "step_on_epochs": False, "updates_per_epoch": 5},
            "step_on_epochs must be true with sched plateau, got False (timm raises AssertionError)",
        ),
        (
            "create_scheduler_v2",
            {"sched": "wsd", "num_epochs": 5, "warmup_epochs": 5},
            ("decay_epochs must be at least a tick and at most num_epochs - warmup_epochs, 0 epochs, got None "
             "(timm raises ValueError)"),
        ),
        (
            "create_scheduler_v2",
            {"sched": "rsqrt", "num_epochs": 50},
            ("stable_timescale must be > 0 with stable_fn rsqrt, and is warmup_t 0 where it is not given, got None "
             "(timm raises ValueError)"),
        ),
        (
            "create_scheduler_v2",
            {"sched": "cosine", "min_lr": -1},
            "min_lr must be >= 0, got -1 (timm refuses it)",
        ),
    ],
)  # fmt: skip
def test_what_timm_refuses(kind: str, params: dict[str, Any], told: str) -> None:
    assert refusal(kind, **params) == told


@pytest.mark.parametrize(
    ("kind", "params", "tick", "reason"),
    [
        ("CosineLRScheduler", {"t_initial": 10, "cycle_mul": 0.5}, 20, "math domain error"),
        ("CosineLRScheduler", {"t_initial": 10, "cycle_mul": 0, "warmup_t": 4}, 4, "math domain error"),
        ("TanhLRScheduler", {"t_initial": 10, "cycle_mul": -1}, 1, "math domain error"),
        (
            "CosineLRScheduler",
            {"t_initial": 1e-308, "cycle_mul": 3, "cycle_limit": 10**9},
            1,
            "cannot convert float infinity to integer",
        ),
        (
            "PolyLRScheduler",
            {"t_initial": 2, "cycle_decay": 1e200, "warmup_t": 3, "warmup_prefix": True},
            7,
            "cycle_decay: (34, 'Numerical result out of range')",
        ),
        ("CosineLRScheduler", {"t_initial": 1e6, "k_decay": 60.0}, 1, "k_decay: (34, 'Numerical result out of range')"),
        (
            "CosineLRScheduler",
            {"t_initial": 10, "k_decay": 170.5, "cycle_mul": 3, "cycle_limit": 9},
            40,
            "k_decay: (34, 'Numerical result out of range')",
        ),
        ("StepLRScheduler", {"decay_t": 0, "warmup_t": 2}, 2, "decay_t is 0: integer division or modulo by zero"),
        (
            "StepLRScheduler",
            {"decay_t": 0.01, "decay_rate": 2},
            11,
            "decay_rate: (34, 'Numerical result out of range')",
        ),
        (
            "StepLRScheduler",
            {"decay_t": -3, "decay_rate": 0},
            1,
            "decay_rate: 0.0 cannot be raised to a negative power",
        ),
        (
            "MultiStepLRScheduler",
            {"decay_t": [5, 9], "decay_rate": 1e200},
            8,
            "decay_rate: (34, 'Numerical result out of range')",
        ),
        ("create_scheduler_v2", {"num_epochs": 10, "cycle_mul": 0.5}, 20, "math domain error"),
    ],
)  # fmt: skip
def test_where_timm_raises_in_the_run(kind: str, params: dict[str, Any], tick: int, reason: str) -> None:
    assert np.isfinite(rates(kind, tick, **params)).all()
    told = refusal(kind, tick + 1, **params)
    assert told == f"timm.{kind} raises in timm at tick {tick}: {reason}"


def test_a_warm_up_to_no_rate_is_refused_at_once() -> None:
    params = {"t_initial": 10, "cycle_mul": 0.5, "warmup_t": 30}
    assert refusal("TanhLRScheduler", 1, **params) == "timm.TanhLRScheduler raises in timm at tick 0: math domain error"
    assert len(rates("TanhLRScheduler", 50, **params, warmup_prefix=True)) == 50


def test_a_rate_that_is_no_number_is_refused_where_it_is_asked_for() -> None:
    params = {"t_initial": 10, "k_decay": -1.0, "power": 0.5}
    told = "timm.PolyLRScheduler makes the rate nan at tick 1: it must be finite"
    assert refusal("PolyLRScheduler", 3, **params) == told
    # 77 - 7.7 * (77 // 7.7) is a little more than 7.7, and a root of what is left is a complex number.
    rounded = schedule("PolyLRScheduler", t_initial=7.7, cycle_limit=10)
    assert message_of(rounded.values, 0, 100) == told.replace("tick 1", "tick 77")
    waves = rates("CosineLRScheduler", 4, t_initial=10, k_decay=-1.0)
    agree(waves[1:], [LR / 2 * (1 + math.cos(math.pi * 10 / t)) for t in (1, 2, 3)])


# The factory.


def test_the_factory_makes_a_class_with_parameters_of_its_own() -> None:
    made = {name: schedule("create_scheduler_v2", sched=name, num_epochs=60, warmup_epochs=5).scheduler for name in (
        "cosine", "tanh", "poly", "step", "multistep", "wsd", "rsqrt", "constant", "plateau", "none")}  # fmt: skip
    assert [type(one).__name__ for one in made.values()] == [
        "CosineLRScheduler", "TanhLRScheduler", "PolyLRScheduler", "StepLRScheduler", "MultiStepLRScheduler",
        "WSDLRScheduler", "WSDLRScheduler", "StepLRScheduler", "PlateauLRScheduler", "NoneType",
    ]  # fmt: skip
    assert (made["poly"].power, made["cosine"].cycle_decay) == (0.1, 0.1)
    assert (made["step"].decay_t, made["step"].warmup_prefix) == (90, False)
    assert (made["wsd"].t_initial, made["wsd"].decay_t, made["rsqrt"].decay_fn) == (55, 11, "linear")
    assert made["multistep"].decay_t == (90, 180, 270)


def test_the_factory_counts_in_updates() -> None:
    params = {"num_epochs": 10, "step_on_epochs": False, "updates_per_epoch": 4, "warmup_lr": 0.0}
    steps = rates("create_scheduler_v2", 40, sched="multistep", decay_milestones=[3, 5], **params)
    agree(steps, [0.1] * 11 + [0.01] * 8 + [0.001] * 21)
    made = schedule("create_scheduler_v2", sched="wsd", decay_epochs=2.6, stable_timescale=3, **params).scheduler
    assert (made.t_initial, made.decay_t, made.stable_timescale) == (40, 10, 12)


@pytest.mark.parametrize(
    ("params", "length"),
    [
        ({}, (300, "epoch")),
        ({"num_epochs": 30, "warmup_epochs": 5, "cooldown_epochs": 3}, (33, "epoch")),
        ({"num_epochs": 30, "warmup_epochs": 5, "warmup_prefix": True, "cycle_limit": 2}, (65, "epoch")),
        ({"num_epochs": 10, "cycle_mul": 2, "cycle_limit": 3, "sched": "tanh"}, (70, "epoch")),
        ({"sched": "step", "num_epochs": 30, "warmup_epochs": 5, "cooldown_epochs": 3}, (30, "epoch")),
        ({"sched": "multistep", "num_epochs": 30, "warmup_epochs": 5, "warmup_prefix": True}, (35, "epoch")),
        ({"sched": "wsd", "num_epochs": 30, "warmup_epochs": 5, "cooldown_epochs": 2}, (32, "epoch")),
        ({"num_epochs": 30, "step_on_epochs": False, "updates_per_epoch": 7}, (210, "step")),
        ({"sched": "plateau", "metrics": [1.0, 2.0]}, (2, "epoch")),
        ({"sched": "plateau", "metrics": [1.0, 2.0], "num_epochs": 9}, (9, "epoch")),
        ({"sched": "none", "num_epochs": 12}, (12, "epoch")),
        ({"sched": "foo"}, None),
    ],
)
def test_the_factory_knows_the_run(params: dict[str, Any], length: tuple[int, str] | None) -> None:
    assert KINDS["create_scheduler_v2"].own_length(params) == length


@pytest.mark.parametrize(
    ("kind", "params", "length"),
    [
        ("CosineLRScheduler", {"t_initial": 30}, (30, "epoch")),
        ("CosineLRScheduler", {"t_initial": 30, "t_in_epochs": False, "warmup_t": 5}, (30, "step")),
        ("PolyLRScheduler", {"t_initial": 30, "cycle_limit": 3, "warmup_t": 5, "warmup_prefix": True}, (95, "epoch")),
        ("CosineLRScheduler", {"t_initial": 10, "cycle_mul": 1.5, "cycle_limit": 3}, (47, "epoch")),
        ("CosineLRScheduler", {"t_initial": 10, "cycle_mul": 2.0, "cycle_limit": 10**9}, None),
        ("CosineLRScheduler", {"t_initial": "50%"}, None),
        ("CosineLRScheduler", {"t_initial": 2.5}, None),
        ("StepLRScheduler", {"decay_t": 30}, None),
        ("WSDLRScheduler", {"t_initial": 30, "decay_t": 5, "warmup_t": 5}, (35, "epoch")),
        ("PlateauLRScheduler", {"metrics": [1.0, 2.0, 3.0]}, (3, "epoch")),
    ],
)
def test_a_class_knows_the_run_where_it_has_an_end(kind: str, params: dict[str, Any], length: Any) -> None:
    assert KINDS[kind].own_length(params) == length


def test_the_factory_says_what_it_ignores() -> None:
    assert schedule("create_scheduler_v2", 30, num_epochs=30).notes(30) == ()
    assert schedule("create_scheduler_v2", 30, num_epochs=30, cooldown_epochs=3, decay_fn="linear").notes(30) == (
        "timm trains 33 epochs with it",
        "timm ignores decay_fn with sched cosine",
    )
    assert schedule("create_scheduler_v2", sched="constant", num_epochs=9, cycle_mul=2, noise_pct=0.1).notes(9) == (
        "timm ignores cycle_mul with sched constant",
        "timm ignores noise_pct without noise",
    )
    nothing = schedule("create_scheduler_v2", sched="none", num_epochs=9, noise=0.3, warmup_epochs=2)
    assert nothing.notes(9) == ("timm ignores warmup_epochs and noise with sched none",)
    agree(nothing(np.arange(9)), [0.1] * 9)
    timescale = schedule("create_scheduler_v2", sched="wsd", num_epochs=9, stable_timescale=3)
    assert timescale.notes(9) == ("timm ignores stable_timescale with stable_fn constant",)


def test_a_metric_drives_the_factory_only_with_plateau() -> None:
    plateau = schedule("create_scheduler_v2", sched="plateau", patience_epochs=0, plateau_mode="min")
    assert plateau.reacts
    assert plateau.metric_mode == "min"
    agree(plateau.fed([1.0, 2.0, 0.5])(np.arange(5)), [0.1, 0.1, 0.01, 0.01, 0.01])
    assert plateau.fed([1.0, 2.0, 0.5]).marks == ((2, "cut"),)
    cosine = schedule("create_scheduler_v2", metrics=[1.0])
    assert not cosine.reacts
    assert cosine.metric_mode is None
    assert cosine.fed([2.0]) is cosine
    assert "timm ignores metrics with sched cosine" in cosine.notes(300)


def test_noise_parameters_without_noise_are_told() -> None:
    assert schedule("CosineLRScheduler", t_initial=9, noise_std=0.5, noise_seed=7).notes(9) == (
        "timm ignores noise_std and noise_seed without noise_range_t",
    )


# Whatever the parameters.

warm = {"warmup_t": st.integers(0, 30) | st.sampled_from([2.5, 7.3]), "warmup_lr_init": st.floats(0, 0.05)}
cycles = {
    "lr_min": st.sampled_from([0.0, 0.02]),
    "cycle_mul": st.sampled_from([1, 1.0, 1.1, 1.5, 2, 3.0]),
    "cycle_decay": st.sampled_from([1.0, 0.5]),
    "cycle_limit": st.sampled_from([0, 1, 2, 5, 10**6]),
    "warmup_prefix": st.booleans(),
}
steps = {"decay_rate": st.sampled_from([0.5, 1.0, 0.9, 0.0, 1.01]), "warmup_prefix": st.booleans()}
lengths = st.integers(1, 90) | st.sampled_from([1.1, 2.4, 0.3, 33.3])
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "CosineLRScheduler": ({"t_initial": lengths}, {**warm, **cycles, "k_decay": st.sampled_from([1.0, 2, 0.5])}),
    "PolyLRScheduler": ({"t_initial": st.integers(1, 90)}, {**warm, **cycles, "power": st.sampled_from([0.5, 1, 2.0])}),
    "TanhLRScheduler": ({"t_initial": lengths}, {**warm, **cycles, "lb": st.floats(-6, -1)}),
    "StepLRScheduler": ({"decay_t": lengths}, {**warm, **steps}),
    "MultiStepLRScheduler": ({"decay_t": st.lists(st.integers(0, 200), max_size=5)}, {**warm, **steps}),
    "WSDLRScheduler": (
        {
            "t_initial": st.integers(60, 180),
            "decay_t": st.integers(1, 60) | st.sampled_from([4.4]),
            "stable_timescale": st.integers(1, 40),
        },
        {
            **warm,
            "lr_min": st.sampled_from([0.0, 0.03]),
            "stable_fn": st.sampled_from(["constant", "rsqrt", "power"]),
            "decay_fn": st.sampled_from(["linear", "1-sqrt", "cosine", "power", "exp", "lambda x: 1 - x ** 2"]),
        },
    ),
    "PlateauLRScheduler": (
        {"metrics": st.lists(st.floats(0, 1), min_size=5, max_size=200)},
        {**warm, "patience_t": st.integers(0, 5), "cooldown_t": st.integers(0, 3)},
    ),
    "create_scheduler_v2": (
        {"sched": st.sampled_from(["cosine", "tanh", "poly", "step", "wsd", "constant", "none"])},
        {"num_epochs": st.integers(60, 150), "warmup_epochs": st.integers(0, 20), "decay_epochs": st.integers(1, 40)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAMILIES)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_kind_gives_the_same_however_it_is_asked(kind: str, data: st.DataObject) -> None:
    needed, more = FAMILIES[kind]
    params = data.draw(st.fixed_dictionaries(needed, optional=more))
    made = schedule(kind, 200, **params)
    consistent(made, 200)
    knots_are_honest(made, 200)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("CosineLRScheduler", {"t_initial": 10**8, "cycle_limit": 20, "warmup_t": 10**6, "cycle_decay": 0.9}),
        ("TanhLRScheduler", {"t_initial": 1e7, "cycle_mul": 1.5, "cycle_limit": 30}),
        ("PolyLRScheduler", {"t_initial": 10**9, "k_decay": 1.5}),
        ("StepLRScheduler", {"decay_t": 2.4e6, "decay_rate": 0.97}),
        ("MultiStepLRScheduler", {"decay_t": [3e8, 6e8], "decay_rate": 0.1}),
        ("WSDLRScheduler", {"t_initial": 10**9, "decay_t": 2 * 10**8, "stable_fn": "rsqrt", "stable_timescale": 10**6}),
        ("create_scheduler_v2", {"num_epochs": 1000, "step_on_epochs": False, "updates_per_epoch": 10**6}),
    ],
)  # fmt: skip
def test_a_long_run_costs_no_more(kind: str, params: dict[str, Any]) -> None:
    trace = simulate({"kind": f"timm.{kind}", "lr": LR, **params}, {"steps": 10**9})
    at = np.random.default_rng(1).integers(0, 10**9, 20)
    one = [trace.schedule(tick) for tick in at.tolist()]
    np.testing.assert_allclose(trace.schedule(at), one, rtol=0, atol=1e-15)
    row = trace.schedule.values(10**9 - 1000, 10**9)
    np.testing.assert_allclose(row, trace.schedule(np.arange(10**9 - 1000, 10**9)), rtol=0, atol=1e-12)
