"""The fairseq dialect beyond the recorded traces: rates by epoch, lists of rates, metrics, refusals and long runs.

Expected rates are those of fairseq 0.12.2, its schedulers stepped as its Trainer does, or made by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli.dialects.fairseq import KINDS
from lrsched_cli.dialects.fairseq_epochs import Fixed
from lrsched_cli.dialects.fairseq_metric import ReduceLROnPlateau
from lrsched_cli.spec import simulate
from tests.support import agree, consistent, knots_are_honest, message_of, simulated


def made(kind: str, total: int = 100, **params: Any) -> Any:
    return simulated({"kind": f"fairseq.{kind}", **params}, total)


def rates(kind: str, total: int, **params: Any) -> np.ndarray:
    return made(kind, total, **params).lr


def refused(kind: str, **params: Any) -> str:
    return message_of(made, kind, **params)


def test_kinds() -> None:
    assert set(KINDS) == {
        "fixed", "inverse_sqrt", "cosine", "polynomial_decay", "tri_stage", "triangular", "step",
        "reduce_lr_on_plateau", "manual",
    }  # fmt: skip


# A list of rates.


def test_a_rate_is_a_number_or_a_list() -> None:
    agree(rates("fixed", 3, lr=0.3), [0.3] * 3)
    agree(rates("fixed", 3, lr=[0.3]), [0.3] * 3)
    agree(rates("inverse_sqrt", 3, lr=[0.3], warmup_updates=2), [0, 0.15, 0.3])
    for kind, params in (
        ("inverse_sqrt", {}), ("cosine", {"max_update": 9}), ("tri_stage", {"decay_steps": 4}),
        ("triangular", {"max_lr": 1}), ("reduce_lr_on_plateau", {}),
    ):  # fmt: skip
        assert refused(kind, lr=[0.3, 0.1], **params) == (
            f"fairseq.{kind}: lr must be one rate: a list is for fairseq.fixed, got [0.3, 0.1] "
            "(fairseq raises ValueError)"
        )


def test_a_list_leaves_a_single_rate_for_operators() -> None:
    trace = made("fixed", 6, lr=[0.4, 0.2], updates_per_epoch=2, warmup={"for": 2, "start_factor": 0.5})
    assert trace.schedule.lr == 0.4
    agree(trace.lr, [0.2, 0.3, 0.4, 0.4, 0.2, 0.2])
    clamped = made("fixed", 4, lr=[0.4, 0.2], updates_per_epoch=2, clamp={"min_lr": 0.3})
    agree(clamped.lr, [0.4, 0.4, 0.3, 0.3])
    schedule = Fixed(lr=[0.4, 0.2], updates_per_epoch=2)  # type: ignore[arg-type]
    assert (schedule.lr, schedule.lrs) == (0.4, (0.4, 0.2))
    assert schedule == Fixed(lr=(0.4, 0.2), updates_per_epoch=2)  # type: ignore[arg-type]
    assert schedule != Fixed(lr=0.4, updates_per_epoch=2)


def test_a_list_in_a_file(tmp_path: Any) -> None:
    from lrsched_cli import load

    path = tmp_path / "schedules.yaml"
    path.write_text(
        "run: {epochs: 3, steps_per_epoch: 2}\n"
        "schedules:\n"
        "  fixed: {kind: fairseq.fixed, lr: [0.4, 2e-1]}\n"
        "  manual: {kind: fairseq.manual, epoch2lr: {1: 0.3, 2-3: 0.2}}\n"
    )
    book = load(path)
    agree(book["fixed"].values(0, 6), [0.4, 0.4, 0.2, 0.2, 0.2, 0.2])
    agree(book["manual"].values(0, 6), [0.3, 0.3, 0.2, 0.2, 0.2, 0.2])


@pytest.mark.parametrize(
    ("lr", "told"),
    [
        ([], "lr must have at least one rate, got [] (fairseq raises IndexError)"),
        ([0.1, -1], "lr must be >= 0, got -1 (fairseq refuses it)"),
        ([0.1, "x"], "lr must be a finite number, got 'x' (fairseq refuses it)"),
        ("x", "lr must be a finite number, got 'x' (fairseq refuses it)"),
    ],
)
def test_bad_lists(lr: Any, told: str) -> None:
    assert refused("fixed", lr=lr, updates_per_epoch=3) == f"fairseq.fixed: {told}"
    assert message_of(Fixed, lr=lr, updates_per_epoch=3) == told


def test_what_ignores_a_list_says_so() -> None:
    agree(rates("step", 3, lr=[0.3, 0.1], lr_deacy_period=2), [0.3, 0.3, 0.15])
    assert made("step", lr=[0.3, 0.1]).schedule.notes(9) == (
        "fairseq.step uses the first rate 0.3 and ignores the other 1",
    )
    assert made("polynomial_decay", lr=[0.3, 0.1], max_update=9, updates_per_epoch=3).schedule.notes(9) == (
        "fairseq.polynomial_decay reads lr one epoch ahead: it never uses the first rate 0.3",
    )
    assert made("fixed", lr=[0.3, 0.1], updates_per_epoch=3).schedule.notes(9) == ()


# Epochs.


def test_an_epoch_is_as_long_as_said_or_as_in_the_run() -> None:
    spec = {"kind": "fairseq.fixed", "lr": [0.4, 0.2]}
    told = "updates_per_epoch must be given, or the steps_per_epoch of the run: fairseq looks at the epoch for"
    assert message_of(simulate, spec, {"steps": 4}) == f"fairseq.fixed: {told} a list of lr"
    agree(simulate({**spec, "updates_per_epoch": 1}, {"steps": 3}).lr, [0.4, 0.2, 0.2])
    agree(simulate(spec, {"epochs": 2, "steps_per_epoch": 2}).lr, [0.4, 0.4, 0.2, 0.2])
    agree(simulate(spec, {"epochs": 3}).lr, [0.4, 0.2, 0.2])  # a tick is an epoch
    assert refused("fixed", force_anneal=3) == f"fairseq.fixed: {told} force_anneal"
    assert refused("manual", epoch2lr={"2": 0.1}) == f"fairseq.manual: {told} epoch2lr"
    assert refused("reduce_lr_on_plateau", metrics=[1, 1]) == f"fairseq.reduce_lr_on_plateau: {told} metrics"
    agree(rates("fixed", 2, warmup_updates=2), [0.05, 0.1])  # which needs to know nothing of epochs


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"force_anneal": 2, "lr_shrink": 0.5}, [0.4, 0.4, 0.05, 0.05, 0.025, 0.025]),  # of the last rate
        ({"force_anneal": 1, "lr_shrink": 0.5}, [0.05, 0.05, 0.025, 0.025]),
        ({"force_anneal": -1, "lr_shrink": 0.5}, [0.0125, 0.0125, 0.00625]),
        ({"warmup_updates": 4}, [0.1, 0.2, 0.15, 0.2, 0.1, 0.1]),
        ({}, [0.4, 0.4, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1]),
    ],
)
def test_fixed(params: dict[str, Any], expected: list[float]) -> None:
    agree(rates("fixed", len(expected), lr=[0.4, 0.2, 0.1], updates_per_epoch=2, **params), expected)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"warmup_updates": 2}, [0, 0.2, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0, 0]),
        ({"warmup_updates": 2, "lr": [0.9, 0.4, 0.2], "updates_per_epoch": 4},
         [0, 0.2, 0.4, 0.35, 0.15, 0.125, 0.1, 0.075, 0.05, 0.025, 0, 0]),
        # Each epoch starts from the rate that it finds: 0.4 * 0.6, and of that 0.2.
        ({"force_anneal": 2, "updates_per_epoch": 4},
         [0.4, 0.36, 0.32, 0.28, 0.144, 0.12, 0.096, 0.072, 0.0096, 0.0048, 0, 0]),
        ({"force_anneal": 1, "updates_per_epoch": 4, "warmup_updates": 2}, [0] * 12),  # from a warm-up's first rate
        ({"force_anneal": 2, "updates_per_epoch": 4, "end_learning_rate": 0.1, "power": 2}, None),
        ({"warmup_updates": 3, "total_num_update": 2, "end_learning_rate": 0.1}, [0, 0.4 / 3, 0.8 / 3, 0.4, 0.1, 0.1]),
    ],
)  # fmt: skip
def test_polynomial_decay(params: dict[str, Any], expected: list[float] | None) -> None:
    trace = rates("polynomial_decay", 12, **{"lr": 0.4, "max_update": 10, **params})
    if expected is None:  # what is left above the end is multiplied by 0.36 and by 0.04 as epochs begin
        base = {0: 0.3, 4: 0.3 * 0.36, 8: 0.3 * 0.36 * 0.04}
        expected = [0.1 + base[t // 4 * 4] * (1 - t / 10) ** 2 for t in range(10)] + [0.1, 0.1]
    agree(trace[: len(expected)], expected)


def test_an_anneal_of_very_many_epochs() -> None:
    long = {"total_num_update": 10**9, "force_anneal": 3}
    trace = made("polynomial_decay", 10**9, updates_per_epoch=5000, **long)
    assert trace.schedule(10**9 - 1) < 1e-30
    assert trace.schedule(12_000) == pytest.approx(0.1 * (1 - 1e-5) * (1 - 1.2e-5))
    told = "fairseq.polynomial_decay makes each epoch from the one before it, 1e+06 at most, got 999999998"
    assert message_of(made, "polynomial_decay", 10**9, updates_per_epoch=1, **long).endswith(told)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [0.1] * 3),
        ({"epoch2lr": {"1": 0.4, "3,4": 0.2}}, [0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.2, 0.2]),
        ({"epoch2lr": {"2-3": 0.4, "3": 0.2}}, [0.1, 0.1, 0.4, 0.4, 0.2, 0.2]),
        ({"epoch2lr": {"1-3": 0.4, "2": 0.2}}, [0.4, 0.4, 0.2, 0.2, 0.4, 0.4, 0.4]),
        ({"update2lr": {"2": 0.4, "4-5": 0.2}}, [0.1, 0.1, 0.4, 0.4, 0.2, 0.2, 0.2]),
        ({"update2lr": {"1": 0.4}}, [0.4, 0.4, 0.4]),  # what holds at update 1 is set before it, too
        ({"epoch2lr": {"1": 0.4, "3": 0.3}, "update2lr": {"3": 0.2}}, [0.4, 0.4, 0.4, 0.2, 0.2, 0.2]),
        ({"epoch2lr": "{'1': 0.4, ' 2': '0.2'}"}, [0.4, 0.4, 0.2, 0.2]),
        ({"update2lr": {0: 0.4, "5-3": 0.2}}, [0.4, 0.4, 0.4]),
        ({"update2lr": {"0-1000000000000": 0.4, "2": 0.2}}, [0.4, 0.4, 0.2, 0.4]),
    ],
)
def test_manual(params: dict[str, Any], expected: list[float]) -> None:
    agree(rates("manual", len(expected), updates_per_epoch=2, **params), expected)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("{1: 0.1}", "must have quoted keys, got 1 (fairseq raises TypeError)"),
        ("[0.1]", "must be a mapping such as {'1': 0.1, '4-7': 0.05}, got '[0.1]' (fairseq refuses it)"),
        ("{'1':", "must be a mapping such as {'1': 0.1, '4-7': 0.05}, got \"{'1':\" (fairseq refuses it)"),
        (0.1, "must be a mapping such as {'1': 0.1, '4-7': 0.05}, got 0.1 (fairseq refuses it)"),
        ({"-3": 0.1}, "must be by numbers, '1,2' or '4-7', got '-3' (fairseq raises ValueError)"),
        ({"1,2-3": 0.1}, "must be by numbers, '1,2' or '4-7', got '1,2-3' (fairseq raises ValueError)"),
        ({"1": "x"}, "must be a mapping to finite numbers, got 'x' (fairseq refuses it)"),
        ({"1": None}, "must be a mapping to finite numbers, got None (fairseq refuses it)"),
        ({"9" * 20: 0.1}, f"must be by numbers up to 1e+15, got '{'9' * 20}' (fairseq refuses it)"),
    ],
)
def test_bad_tables(table: Any, told: str) -> None:
    assert refused("manual", update2lr=table) == f"fairseq.manual: update2lr {told}"


def test_a_table_by_update_rules_over_one_by_epoch() -> None:
    schedule = made("manual", epoch2lr={"1": 0.4}, update2lr={"7": 0.2}, lr=[0.1, 0.2]).schedule
    assert schedule.notes(9) == (
        "fairseq.manual uses the first rate 0.1 and ignores the other 1",
        "from update 7 on update2lr rules, whatever epoch2lr says",
    )


# Updates.


STAGES = {"warmup_steps": 2, "hold_steps": 1, "decay_steps": 2, "init_lr_scale": 0, "final_lr_scale": 0.25}
RATIOS = {"phase_ratio": [0.25, 0.25, 0.5], "max_update": 7, "init_lr_scale": 0, "final_lr_scale": 0.125}
WAVE = {"max_lr": 0.5, "lr_period_updates": 4, "lr_shrink": 0.5}
STEP = {"warmup_updates": 2, "min_lr": 0.02, "lr_deacy_period": 2}


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        ("inverse_sqrt", {"warmup_updates": 4, "warmup_init_lr": 0.02}, [0.02, 0.04, 0.06, 0.08, 0.1, 0.1 * 0.8**0.5]),
        ("cosine", {"max_update": 2, "min_lr": 0.02}, [0.1, 0.06, 0.01, 0.006, 0.001]),
        # The period that a warm-up leaves may be below 0: the cycles go backwards and their tops grow.
        ("cosine", {"max_update": 2, "warmup_updates": 4, "lr_shrink": 0.5}, [0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.2]),
        # The same with cycles of other lengths: the number of each is a logarithm below 0.
        (
            "cosine",
            {"max_update": 2, "warmup_updates": 4, "lr_shrink": 1, "t_mult": 0.5},
            [0, 0.025, 0.05, 0.075, 0.1, 0.05 + 0.05 * np.cos(np.pi * 0.75), 0.05 + 0.05 * np.cos(np.pi * 0.5)],
        ),
        ("tri_stage", STAGES, [0, 0.05, 0.1, 0.1, 0.05, 0.025, 0.025]),
        ("tri_stage", {**STAGES, "hold_steps": -1}, [0, 0.05, 0.05, 0.025, 0.025]),
        ("tri_stage", RATIOS, [0, 0.1, 0.1, 0.05, 0.025, 0.0125, 0.0125]),  # 1, 1 and 3 updates
        ("triangular", WAVE, [0.1, 0.3, 0.5, 0.3, 0.1, 0.175, 0.25]),
        ("triangular", {**WAVE, "lr_period_updates": 5.5}, [0.1, 0.3, 0.5, 0.3, 0.1, 0.175, 0.25]),
        ("triangular", {**WAVE, "shrink_min": True}, [0.1, 0.3, 0.5, 0.3, 0.05, 0.15, 0.25]),
        ("triangular", {**WAVE, "lr_period_updates": -4}, [0.1, 0.55, 1.0, 0.55, 0.1, 1.05, 2.0]),
        ("step", STEP, [0.02, 0.06, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.02]),
        ("step", {"lr_decay": -0.5, "lr_deacy_period": 1}, [0.1, 0, 0.025, 0]),
    ],
)
def test_by_update(kind: str, params: dict[str, Any], expected: list[float]) -> None:
    agree(rates(kind, len(expected), **params), expected)


def test_a_cosine_starts_again_lower_and_says_so() -> None:
    schedule = made("cosine", max_update=60, warmup_updates=10).schedule
    assert schedule.notes(61) == ("at update 60 the cosine starts again, at 0.1 times its top",)
    assert schedule.notes(60) == ()
    assert schedule(60) == pytest.approx(0.01)
    assert schedule.marks == ((10, "cosine"),)
    assert made("cosine", max_update=60, lr_period_updates=200).schedule.notes(100) == (
        "fairseq uses lr_period_updates 200 and ignores max_update",
    )


def test_the_logarithm_of_a_restart_may_be_rounded_down() -> None:
    # log(243, 3) is a little below 5: fairseq stays in the cycle before for one update, at its floor.
    schedule = made("cosine", 10**6, lr_period_updates=2, t_mult=3, lr_shrink=1).schedule
    starts = [3**i - 1 for i in range(1, 12)]
    np.testing.assert_allclose(
        schedule(np.array(starts)), [0.0 if i in (5, 10) else 0.1 for i in range(1, 12)], atol=1e-15
    )


def test_cycles_that_shrink_come_to_an_end() -> None:
    assert refused("cosine", lr_period_updates=10, t_mult=0.5) == (
        "fairseq.cosine raises in fairseq at tick 20: math domain error: its cycles end here"
    )
    assert np.isfinite(rates("cosine", 20, lr_period_updates=10, t_mult=0.5)).all()
    assert "at tick 5: math domain error: t_mult is not above 0" in refused(
        "cosine", lr_period_updates=10, t_mult=0, warmup_updates=5
    )
    assert "at tick 9: a period of 0 updates: division by zero" in refused("cosine", max_update=9, warmup_updates=9)
    assert "at tick 8: 0.0 cannot be raised to a negative power" in refused(
        "cosine", max_update=3, warmup_updates=7, lr_shrink=0
    )
    assert "at tick 1: 0.0 cannot" in refused("triangular", max_lr=1, lr_period_updates=-9, lr_shrink=0)


@pytest.mark.parametrize(
    ("kind", "params", "told", "raises"),
    [
        ("inverse_sqrt", {"warmup_updates": 0}, "warmup_updates must be > 0, got 0", "raises ZeroDivisionError"),
        ("cosine", {}, "max_update must be > 0 where lr_period_updates is not, got 0", "raises AssertionError"),
        ("cosine", {"min_lr": 0.1, "max_update": 5}, "min_lr must be < lr 0.1, got 0.1", "raises AssertionError"),
        ("polynomial_decay", {}, "total_num_update must be given, or max_update, got None", "raises AssertionError"),
        ("polynomial_decay", {"total_num_update": 0}, "total_num_update must be > 0, got 0", "raises AssertionError"),
        (
            "tri_stage",
            {},
            "warmup_steps must be > 0 together with hold_steps and decay_steps, or phase_ratio given, got 0",
            "raises AssertionError",
        ),
        ("tri_stage", {"warmup_steps": 5}, "decay_steps must be other than 0, got 0", "raises ZeroDivisionError"),
        (
            "tri_stage",
            {"decay_steps": 5, "final_lr_scale": 0},
            "final_lr_scale must be > 0, got 0",
            "raises ValueError",
        ),
        (
            "tri_stage",
            {"phase_ratio": [0.7, 0.2, 0.1], "max_update": 50},
            "phase_ratio must be three numbers that add up to exactly 1.0, got [0.7, 0.2, 0.1]",
            "raises AssertionError",
        ),
        (
            "tri_stage",
            {"phase_ratio": [0.5, 0.5], "max_update": 50},
            "phase_ratio must be three numbers, got [0.5, 0.5]",
            "raises IndexError",
        ),
        (
            "tri_stage",
            {"phase_ratio": [0, 0.5, 0.5]},
            "max_update must be > 0 where phase_ratio is given, got 0",
            "raises AssertionError",
        ),
        ("triangular", {"max_lr": 0.1}, "max_lr must be > lr 0.1, got 0.1", "raises AssertionError"),
        (
            "triangular",
            {"max_lr": 1, "lr_period_updates": 1.5},
            "lr_period_updates must be at least 2, got 1.5",
            "raises ZeroDivisionError",
        ),
        ("step", {"lr_decay": 1.5}, "lr_decay must be <= 1, got 1.5", "raises AssertionError"),
        ("step", {"lr_deacy_period": 0}, "lr_deacy_period must be > 0, got 0", "raises AssertionError"),
        ("step", {"min_lr": -1}, "min_lr must be >= 0, got -1", "raises AssertionError"),
        ("step", {"min_lr": 0.1}, "min_lr must be < lr 0.1, got 0.1", "raises AssertionError"),
        (
            "step",
            {"warmup_updates": 2.5},
            "warmup_updates must be a whole number of ticks or a duration like 5ep, 500st or 10%, got 2.5",
            "refuses it",
        ),
        ("reduce_lr_on_plateau", {"lr_shrink": 1}, "lr_shrink must be < 1, got 1", "refuses it"),
    ],
)
def test_what_fairseq_refuses(kind: str, params: Mapping[str, Any], told: str, raises: str) -> None:
    assert refused(kind, **params) == f"fairseq.{kind}: {told} (fairseq {raises})"


def test_parameters_that_fairseq_ignores() -> None:
    assert made("tri_stage", phase_ratio=[0.25, 0.25, 0.5], max_update=8, hold_steps=3).schedule.notes(9) == (
        "fairseq uses phase_ratio and ignores hold_steps",
    )
    assert made("triangular", max_lr=1, lr_period_updates=7).schedule.notes(9) == (
        "fairseq makes cycles of 6 updates of lr_period_updates 7",
    )
    assert made("triangular", max_lr=1, lr_period_updates=8).schedule.notes(9) == ()


def test_lengths_and_marks() -> None:
    assert made("inverse_sqrt", warmup_updates=7).schedule.marks == ((7, "inverse_sqrt"),)
    assert made("step", warmup_updates=7).schedule.marks == ((7, "step"),)
    assert made("step").schedule.marks == ()
    assert made("fixed", warmup_updates=7).schedule.marks == ((7, "fixed"),)
    assert made("polynomial_decay", max_update=30).schedule.length == 30
    assert made("polynomial_decay", max_update=30).schedule.notes(9) == ()
    assert made("reduce_lr_on_plateau").schedule.length is None
    assert made("tri_stage", warmup_steps=3, decay_steps=4).schedule.notes(9) == ()
    assert len(simulate({"kind": "fairseq.tri_stage", "warmup_steps": 3, "decay_steps": 4}).lr) == 7
    assert len(simulate({"kind": "fairseq.tri_stage", "phase_ratio": [0, 0.5, 0.5], "max_update": 30}).lr) == 30
    assert len(simulate({"kind": "fairseq.polynomial_decay", "max_update": 30}).lr) == 30
    metrics = {"kind": "fairseq.reduce_lr_on_plateau", "metrics": [1, 1, 1]}
    assert len(simulate({**metrics, "updates_per_epoch": 4}).lr) == 12
    assert len(simulate(metrics).lr) == 3
    assert made("tri_stage", warmup_steps=3, decay_steps=4).schedule.marks == ((3, "hold"), (3, "decay"), (7, "end"))


# A metric.


def test_a_plateau_cuts_at_the_end_of_epochs() -> None:
    plateau = {"updates_per_epoch": 2, "metrics": [1, 0.5, 0.5, 0.4, 0.4], "lr_shrink": 0.5}
    agree(rates("reduce_lr_on_plateau", 11, **plateau), [0.1] * 6 + [0.05] * 4 + [0.025])
    rising = {**plateau, "maximize_best_checkpoint_metric": True}
    agree(rates("reduce_lr_on_plateau", 7, **rising), [0.1] * 4 + [0.05] * 2 + [0.025])
    patient = {**plateau, "lr_patience": 1, "metrics": [1, 1, 1, 1]}
    agree(rates("reduce_lr_on_plateau", 8, **patient), [0.1] * 6 + [0.05] * 2)


def test_epochs_that_end_in_the_warm_up_do_not_count() -> None:
    warm = {"warmup_updates": 4, "updates_per_epoch": 2, "lr_shrink": 0.5}
    # The first that counts ends after update 4, and is the best so far, however bad.
    schedule = made("reduce_lr_on_plateau", metrics=[1, 1, 9, 9], **warm).schedule
    agree(schedule.values(0, 9), [0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1, 0.05])
    assert schedule.notes(8) == ("the first 2 metrics do not count: their epochs end in the warm-up",)
    assert schedule.marks == ((4, "reduce_lr_on_plateau"), (8, "cut"))
    agree(rates("reduce_lr_on_plateau", 2, warmup_updates=2, warmup_init_lr=0.06), [0.06, 0.08])


def test_plateau_notes() -> None:
    assert made("reduce_lr_on_plateau").schedule.notes(9) == (
        "without metrics nothing is ever cut: the rate is constant after the warm-up",
    )
    short = made("reduce_lr_on_plateau", metrics=[1, 2], updates_per_epoch=3, warmup_init_lr=0.1).schedule
    assert short.notes(9) == (
        "fairseq ignores warmup_init_lr without warmup_updates",
        "there are 2 metrics: the last rate is held after their epochs",
    )


def test_training_feeds_it_a_metric_each_epoch() -> None:
    schedule = ReduceLROnPlateau(lr=0.1, updates_per_epoch=2, lr_shrink=0.5)
    assert schedule.reacts
    assert schedule.metric_mode == "min"
    assert ReduceLROnPlateau(maximize_best_checkpoint_metric=True, updates_per_epoch=2).metric_mode == "max"
    fed = schedule.fed([9, 1, 9, 1, 9])  # of ticks: the second one of an epoch counts
    agree(fed.values(0, 5), [0.1, 0.1, 0.1, 0.1, 0.05])
    agree(schedule.fed([]).values(0, 5), [0.1] * 5)


# Long runs, and one rule however it is asked.


def test_a_billion_updates() -> None:
    far = np.array([10**9, 10**9 + 1])
    agree(made("inverse_sqrt", warmup_updates=4000).schedule(far), 0.1 * np.sqrt(4000 / far))
    cosine = made("cosine", lr_period_updates=7, lr_shrink=1, warmup_updates=10).schedule
    agree(cosine(far), 0.05 * (1 + np.cos(np.pi * ((far - 10) % 7) / 7)))
    fixed = made("fixed", lr=[0.4, 0.2], updates_per_epoch=1000, force_anneal=999_990, lr_shrink=0.5).schedule
    agree(fixed(np.array([10**9 - 1, 10**9])), 0.2 * 0.5 ** np.array([11, 12]))
    step = made("step", lr_deacy_period=10**8).schedule
    agree(step(far), [0.1 * 0.5**10] * 2)


@settings(deadline=None, max_examples=60)
@given(
    warm=st.integers(0, 30), period=st.integers(1, 40), shrink=st.floats(0.1, 1.1),
    mult=st.sampled_from([1, 1.5, 2, 3]),
    epoch=st.integers(1, 15), lrs=st.lists(st.sampled_from([0.4, 0.2, 0.1, 0.05]), min_size=1, max_size=4),
    anneal=st.none() | st.integers(-1, 9), metrics=st.lists(st.floats(0, 1), max_size=9), total=st.integers(1, 120),
)  # fmt: skip
def test_one_rule_however_it_is_asked(
    warm: int, period: int, shrink: float, mult: float, epoch: int, lrs: list[float], anneal: int | None,
    metrics: list[float], total: int,
) -> None:  # fmt: skip
    by_epoch = {"lr": lrs, "updates_per_epoch": epoch, "force_anneal": anneal, "warmup_updates": warm}
    for kind, params in (
        ("fixed", {**by_epoch, "lr_shrink": shrink}),
        ("polynomial_decay", {**by_epoch, "total_num_update": 2 * period, "power": mult, "end_learning_rate": 0.01}),
        ("cosine", {"warmup_updates": warm, "lr_period_updates": period, "t_mult": mult, "lr_shrink": shrink}),
        ("tri_stage", {"warmup_steps": warm, "hold_steps": epoch, "decay_steps": period, "final_lr_scale": shrink}),
        ("triangular", {"max_lr": 0.5, "lr_period_updates": period + 1, "lr_shrink": shrink}),
        ("step", {"warmup_updates": warm, "lr_deacy_period": period, "lr_decay": min(shrink, 1), "min_lr": 0.01}),
        ("inverse_sqrt", {"warmup_updates": warm + 1, "warmup_init_lr": 0.01}),
        ("reduce_lr_on_plateau", {"warmup_updates": warm, "updates_per_epoch": epoch, "metrics": metrics or None}),
        ("manual", {"epoch2lr": {str(i): rate for i, rate in enumerate(lrs, warm)}, "updates_per_epoch": epoch}),
    ):
        schedule = made(kind, total, **params).schedule
        consistent(schedule, total)
        knots_are_honest(schedule, total)
