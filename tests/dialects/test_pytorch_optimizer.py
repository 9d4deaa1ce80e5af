"""The pytorch_optimizer dialect where its recorded traces do not look: edges, refusals, notes and long runs."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli import simulate
from lrsched_cli.dialects.pytorch_optimizer import KINDS
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.parameters import params_of
from tests.support import agree, consistent, knots_are_honest, message_of, simulated

LIBRARY = "pytorch_optimizer"


def rates(name: str, total: int, **params: Any) -> list[float]:
    return simulated({"kind": f"{LIBRARY}.{name}", **params}, total).lr.tolist()  # type: ignore[no-any-return]


def made(name: str, total: int = 100, **params: Any) -> Schedule:
    return simulated({"kind": f"{LIBRARY}.{name}", **params}, total).schedule


def message(name: str, total: int = 100, **params: Any) -> str:
    return message_of(rates, name, total, **params).removeprefix(f"{LIBRARY}.{name}").removeprefix(":").strip()


# Each value by hand, from the formula in the library.


def test_rex_uses_its_floor_first() -> None:
    agree(rates("REXScheduler", 6, total_steps=4, max_lr=1.0, min_lr=0.1), [0.1, 0.1 + 0.9 * 0.75 / 0.875,
          0.1 + 0.9 * 0.5 / 0.75, 0.1 + 0.9 * 0.25 / 0.625, 0.1, 0.1])  # fmt: skip


@pytest.mark.parametrize("total_steps", [0, -3, 1, 0.5])
def test_a_rex_without_steps_is_its_floor(total_steps: float) -> None:
    assert rates("REXScheduler", 4, total_steps=total_steps, min_lr=0.25) == [0.25] * 4


def test_a_linear_schedule_is_one_tick_late_and_goes_on_below_its_floor() -> None:
    agree(rates("LinearScheduler", 10, t_max=6, max_lr=0.8, min_lr=0.1, init_lr=0.2, warmup_steps=2),
          [0.1, 0.2, 0.5, 0.8, 0.625, 0.45, 0.275, 0.1, -0.075, -0.25])  # fmt: skip


def test_fewer_steps_than_the_warm_up_turn_the_line_around() -> None:
    agree(
        rates("LinearScheduler", 6, t_max=1, max_lr=0.4, min_lr=0.2, warmup_steps=3),
        [0.2, 0, 0.4 / 3, 0.8 / 3, 0.4, 0.5],
    )


def test_the_warm_up_may_end_between_two_steps() -> None:
    agree(rates("CosineScheduler", 5, t_max=3.5, max_lr=0.6, warmup_steps=1.5),
          [0, 0, 0.4, 0.3 * (1 + math.cos(math.pi / 4)), 0.3 * (1 + math.cos(math.pi * 3 / 4))])  # fmt: skip


def test_poly_grows() -> None:
    grown = [0.1, 0.6, 0.6, 0.1 + 0.5 * 4, 0.1 + 0.5 * 9]
    agree(rates("PolyScheduler", 5, t_max=3, max_lr=0.6, min_lr=0.1, poly_order=2), grown)


def test_restarts_warm_up_again_and_their_waves_are_cut_to_whole_steps() -> None:
    # Waves of 3, int(4.5) and int(6) steps, each after a warm-up of one step.
    wave = {n: [(1 + math.cos(math.pi * s / n)) / 2 for s in range(n)] for n in (3, 4, 6)}
    expected = [0, *wave[3], 0, *(0.5 * p for p in wave[4]), 0, *(0.25 * p for p in wave[6]), 0, 0.125]
    agree(rates("CosineAnnealingWarmupRestarts", len(expected), first_cycle_steps=4, warmup_steps=1, cycle_mult=1.5,
                max_lr=1.0, min_lr=0.0, gamma=0.5), expected)  # fmt: skip


def test_a_cycle_is_never_shorter_than_its_warm_up_and_a_step() -> None:
    two = [0.0, 0.5]
    agree(rates("CosineAnnealingWarmupRestarts", 8, first_cycle_steps=4, warmup_steps=2, cycle_mult=0, max_lr=1.0,
                min_lr=0.0, gamma=1), [*two, 1, 0.5, *two, 1, 0.0])  # fmt: skip


def test_cycles_shorter_than_a_tick_have_a_tick_each() -> None:
    # Waves of 4, 3, 2, 1, 1, ... steps less three of warm-up: the clock stands at 0, 0, 1, 3, 6, 9, 12 when it is read.
    wave = [(1 + math.cos(math.pi * (s + 3) / n)) / 2 for n, s in ((3, 0), (2, 1), (1, 3), (1, 6), (1, 9), (1, 12))]
    cycles = {
        "first_cycle_steps": 1,
        "warmup_steps": -3,
        "cycle_mult": 0.75,
        "max_lr": 1.0,
        "min_lr": 0.0,
        "gamma": 0.5,
    }
    agree(rates("CosineAnnealingWarmupRestarts", 7, **cycles), [0, *(0.5**i * part for i, part in enumerate(wave, 1))])


def test_chebyshev_steps_go_by_mirrored_pairs() -> None:
    nodes = [0, 7, 3, 4, 1, 6, 2, 5]
    steps = [0.1 / (0.525 - 0.475 * math.cos((n + 0.5) * math.pi / 8)) for n in nodes]
    agree(rates("get_chebyshev_schedule", 14, num_epochs=5), [steps[0]] * 2 + steps + [steps[-1]] * 4)


@pytest.mark.parametrize(
    ("epochs", "count"), [(-1, 1), (0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 8), (9, 16), (1.5, 1)]
)
def test_chebyshev_takes_so_many_steps(epochs: float, count: int) -> None:
    taken = rates("get_chebyshev_schedule", 40, num_epochs=epochs)
    assert len(set(taken)) == count
    assert len(set(taken[count + 1 :])) == 1


def test_chebyshev_in_its_warm_up_is_constant() -> None:
    assert rates("get_chebyshev_schedule", 3, num_epochs=1.1, is_warmup=True) == [0.1] * 3


@pytest.mark.parametrize(
    ("cooldown", "decay"),
    [
        ("linear", [1, 0.5]),
        ("1-sqrt", [1, 1 - math.sqrt(0.5)]),
        ("1-square", [1, 0.75]),
        ("cosine", [1, 0.6]),
        ("anything", [0.2, 0.2]),
    ],
)
def test_stable_phases_decay_by_their_type_and_then_jump(cooldown: str, decay: list[float]) -> None:
    phases = {"num_warmup_steps": 2, "num_stable_steps": 1, "num_decay_steps": 2}
    expected = np.array([0, 0.5, 1, *decay, 0.2, 0.2])
    agree(rates("get_wsd_schedule", 7, **phases, min_lr_ratio=0.2, cooldown_type=cooldown), 0.1 * expected)


def test_steps_without_end() -> None:
    forever = math.inf
    assert rates("CosineScheduler", 4, t_max=9, max_lr=1, min_lr=0.5, init_lr=0.25, warmup_steps=forever) == [
        0.5, 0.25, 0.25, 0.25
    ]  # fmt: skip
    assert rates("LinearScheduler", 3, t_max=forever, max_lr=1) == [0, 1, 1]
    assert rates("CosineAnnealingWarmupRestarts", 3, first_cycle_steps=forever, max_lr=1, min_lr=0) == [0, 1, 1]
    phases = {"num_warmup_steps": 1, "num_stable_steps": 1, "num_decay_steps": forever}
    assert rates("get_wsd_schedule", 4, **phases) == [0, 0.1, 0.1, 0.1]
    assert made("CosineScheduler", t_max=forever, max_lr=1).length is None


# What the library refuses, or fails at.


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("LinearScheduler", {"t_max": 10}, "needs max_lr"),
        ("CosineScheduler", {"t_max": -1, "max_lr": 1}, "t_max must be >= 0, got -1 (pytorch_optimizer refuses it)"),
        ("CosineScheduler", {"t_max": 9, "max_lr": -1}, "max_lr must be >= 0, got -1 (pytorch_optimizer refuses it)"),
        ("LinearScheduler", {"t_max": 9, "max_lr": 1, "init_lr": -0.1},
         "init_lr must be >= 0, got -0.1 (pytorch_optimizer refuses it)"),
        ("LinearScheduler", {"t_max": 9, "max_lr": 1, "warmup_steps": -2},
         "warmup_steps must be >= 0, got -2 (pytorch_optimizer refuses it)"),
        ("PolyScheduler", {"t_max": 9, "max_lr": 1, "poly_order": 0},
         "poly_order must be > 0, got 0 (pytorch_optimizer refuses it)"),
        ("LinearScheduler", {"t_max": 9, "max_lr": 1, "warmup_steps": 9},
         "raises in pytorch_optimizer at tick 11: it divides by t_max - warmup_steps, which is 0"),
        ("CosineAnnealingWarmupRestarts", {"first_cycle_steps": 5, "warmup_steps": 5},
         "warmup_steps must be < first_cycle_steps 5, got 5 (pytorch_optimizer raises ValueError)"),
        ("CosineAnnealingWarmupRestarts", {"first_cycle_steps": 5, "warmup_steps": -1.5},
         "warmup_steps must be a whole number where it is below 0, got -1.5 (pytorch_optimizer itself would round)"),
        ("CosineAnnealingWarmupRestarts", {"first_cycle_steps": 2, "gamma": 1e100},
         "raises in pytorch_optimizer at tick 8: gamma ** 4 overflows"),
        ("get_chebyshev_schedule", {"num_epochs": 1.2},
         "num_epochs must be <= 1 or > 1.25, got 1.2 (pytorch_optimizer raises ValueError)"),
        ("get_chebyshev_schedule", {"num_epochs": math.inf},
         "num_epochs must be a finite number, got inf (pytorch_optimizer raises OverflowError)"),
        ("REXScheduler", {"total_steps": math.nan},
         "total_steps must be a number, got nan (pytorch_optimizer refuses it)"),
    ],
)  # fmt: skip
def test_refused(name: str, params: dict[str, Any], told: str) -> None:
    assert message(name, **params) == told


def test_a_run_may_end_before_the_library_raises() -> None:
    params = {"t_max": 3, "max_lr": 0.3, "warmup_steps": 3}
    agree(rates("LinearScheduler", 5, **params), [0, 0, 0.1, 0.2, 0.3])
    assert "at tick 5" in message("LinearScheduler", 6, **params)
    cycles = {"first_cycle_steps": 2, "gamma": -2.0, "cycle_mult": 1}
    assert len(rates("CosineAnnealingWarmupRestarts", 2048, **cycles)) == 2048
    assert "at tick 2048: gamma ** 1024 overflows" in message("CosineAnnealingWarmupRestarts", 2049, **cycles)


# What it says.


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("REXScheduler", {"total_steps": 9},
         "tick 0 uses min_lr 0, which its constructor sets: the schedule acts from tick 1"),
        ("CosineScheduler", {"t_max": 9, "max_lr": 1}, "past t_max 9 the rate climbs again"),
        ("LinearScheduler", {"t_max": 9, "max_lr": 1},
         "past t_max 9 the rate goes on in a straight line, beyond min_lr"),
        ("PolyScheduler", {"t_max": 9, "max_lr": 1},
         "pytorch_optimizer ignores t_max here: after the warm-up the rate grows with the steps, beyond max_lr"),
        ("get_chebyshev_schedule", {"num_epochs": 9},
         "ticks 0, 1 and 2 all use the first of the steps, as in pytorch_optimizer"),
        ("get_wsd_schedule",
         {"num_warmup_steps": 2, "num_stable_steps": 2, "num_decay_steps": 2, "min_lr_ratio": 0.25},
         "the decay goes to 0, and then the rate jumps up to min_lr_ratio 0.25 of lr"),
        ("get_wsd_schedule",
         {"num_warmup_steps": 2, "num_stable_steps": 2, "num_decay_steps": 2, "cooldown_type": "sqrt"},
         "pytorch_optimizer has no cooldown_type sqrt: the rate drops to min_lr_ratio at once"),
    ],
)  # fmt: skip
def test_notes(name: str, params: dict[str, Any], told: str) -> None:
    assert told in made(name, **params).notes(100)


def test_nothing_is_said_of_what_does_not_happen() -> None:
    linear = made("LinearScheduler", t_max=9, max_lr=1, min_lr=0.5, init_lr=0.5, warmup_steps=3)
    ignored = f"{LIBRARY}.LinearScheduler sets the rate itself and ignores the optimizer's lr"
    assert linear.notes(11) == (ignored,)
    assert len(linear.notes(12)) == 2
    phases = {"num_warmup_steps": 2, "num_stable_steps": 2, "num_decay_steps": 2}
    assert made("get_wsd_schedule", **phases, min_lr_ratio=0.1, cooldown_type="cosine").notes(100) == ()
    assert made("get_wsd_schedule", **phases, min_lr_ratio=0.1).notes(6) == ()
    assert made("get_wsd_schedule", **phases, cooldown_type="sqrt").notes(4) == ()


def test_lengths_and_marks() -> None:
    assert made("REXScheduler", total_steps=7).length == 7
    assert made("CosineScheduler", t_max=7, max_lr=1, warmup_steps=2).length == 8
    assert made("CosineScheduler", t_max=7, max_lr=1, warmup_steps=2).marks == ((3, "cosine"),)
    assert made("get_chebyshev_schedule", num_epochs=9).length == 17
    phases = made("get_wsd_schedule", num_warmup_steps=2, num_stable_steps=2, num_decay_steps=2)
    assert phases.length == 6
    assert phases.marks == ((2, "stable"), (4, "decay"), (6, "end"))
    cycles = made("CosineAnnealingWarmupRestarts", first_cycle_steps=4, warmup_steps=1, cycle_mult=2)
    assert cycles.marks[:3] == ((4, "cycle 2"), (11, "cycle 3"), (24, "cycle 4"))
    assert made("CosineAnnealingWarmupRestarts", first_cycle_steps=4).marks == ()


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("REXScheduler", {"total_steps": 30}),
        ("LinearScheduler", {"t_max": 30, "max_lr": 1}),
        ("get_chebyshev_schedule", {"num_epochs": 30}),
    ],
)
def test_its_own_length_is_the_run(name: str, params: dict[str, Any]) -> None:
    assert len(simulate({"kind": f"{LIBRARY}.{name}", **params}).lr) == 30


# Long runs.

LONG = {
    "REXScheduler": {"total_steps": 2e9},
    "LinearScheduler": {"t_max": 2e9, "max_lr": 1.0, "warmup_steps": 1000},
    "CosineScheduler": {"t_max": 1000, "max_lr": 1.0, "warmup_steps": 100},
    "PolyScheduler": {"t_max": 100, "max_lr": 1.0},
    "CosineAnnealingWarmupRestarts": {"first_cycle_steps": 1000, "warmup_steps": 10, "cycle_mult": 1.001},
    "get_chebyshev_schedule": {"num_epochs": 2_000_000_000},
    "get_wsd_schedule": {"num_warmup_steps": 1000, "num_stable_steps": 1e9, "num_decay_steps": 1e9},
}


@pytest.mark.parametrize("name", LONG)
def test_a_billion_ticks_cost_what_a_thousand_do(name: str) -> None:
    started = time.perf_counter()
    schedule = made(name, 1_500_000_000, **LONG[name])
    assert math.isfinite(schedule(10**9))
    np.testing.assert_allclose(
        schedule.values(10**9, 10**9 + 3000), schedule(np.arange(10**9, 10**9 + 3000)), rtol=0, atol=1e-12 * 1e5
    )
    assert time.perf_counter() - started < 2


def test_late_values_by_hand() -> None:
    t = 10**9
    x = t / 2e9
    agree([made("REXScheduler", t + 1, total_steps=2e9)(t)], [(1 - x) / (1 - x / 2)])
    # Whole cycles of 110 ticks: 9,090,909 of them, and then 10 ticks.
    cycles = {"first_cycle_steps": 110, "warmup_steps": 20, "max_lr": 1.0, "min_lr": 0.0, "gamma": 1}
    agree([made("CosineAnnealingWarmupRestarts", t + 1, **cycles)(t)], [0.5])


# Every kind says the same in every way it is asked.

RATES = st.sampled_from([0.0, 0.01, 0.1, 1.0])
TICKS = st.integers(0, 40)
WARMED = {
    "t_max": st.integers(60, 90),
    "max_lr": RATES,
    "min_lr": st.sampled_from([0.01, 0.1, 1.0]),
    "init_lr": RATES,
    "warmup_steps": TICKS | st.sampled_from([0.5, 2.5]),
}
PARAMETERS = {
    "REXScheduler": {"total_steps": st.integers(-1, 90) | st.just(20.5), "max_lr": RATES, "min_lr": RATES},
    "LinearScheduler": {**WARMED, "t_max": st.integers(150, 300)},
    "CosineScheduler": WARMED,
    "PolyScheduler": {**WARMED, "max_lr": st.just(1.0), "poly_order": st.sampled_from([0.3, 1, 2])},
    "CosineAnnealingWarmupRestarts": {
        "first_cycle_steps": st.integers(11, 40) | st.just(20.5),
        "cycle_mult": st.sampled_from([0, 0.5, 1, 1.0, 1.1, 1.5, 2]),
        "max_lr": RATES,
        "min_lr": RATES,
        "warmup_steps": st.integers(-12, 10) | st.sampled_from([0.5, 2.5]),
        "gamma": st.sampled_from([0, 0.5, 0.9, 1]),
    },
    "get_chebyshev_schedule": {"num_epochs": st.integers(0, 150), "is_warmup": st.booleans()},
    "get_wsd_schedule": {
        "num_warmup_steps": TICKS,
        "num_stable_steps": TICKS,
        "num_decay_steps": TICKS | st.just(0.5),
        "min_lr_ratio": st.sampled_from([0, 0.1, 1.0]),
        "num_cycles": st.sampled_from([0, 0.5, 1, 2.5]),
        "cooldown_type": st.sampled_from(["cosine", "1-sqrt", "linear", "1-square", "exp"]),
    },
}


@pytest.mark.parametrize("name", PARAMETERS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_consistent_and_honest(name: str, data: st.DataObject) -> None:
    schedule = made(name, 150, **data.draw(st.fixed_dictionaries(PARAMETERS[name])))
    consistent(schedule, 150)
    knots_are_honest(schedule, 150)


def test_every_kind_has_its_example() -> None:
    for kind in KINDS.values():
        assert set(kind.example) <= set(params_of(kind))
        assert np.isfinite(simulated({"kind": kind.kind, **kind.example}).lr).all()
