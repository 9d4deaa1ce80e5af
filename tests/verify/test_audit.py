"""What an audit comes to where a synthetic log says more than a loop does: rounding, thin evidence, groups, clocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsched_cli.kinds import KINDS
from lrsched_cli.logs.log import Log, Series
from lrsched_cli.run import Run
from lrsched_cli.schedules.parameters import required_of
from lrsched_cli.spec import simulate
from lrsched_cli.verify.audit import Audit, audit
from lrsched_cli.verify.evidence import Planned
from tests.support import LR, message_of, simulated

COSINE = {"kind": "cosine", "warmup": 20}


def log_of(*columns: tuple[str, Any, Any], unit: str = "step", form: str = "csv", **details: Any) -> Log:
    """A log with columns of names, counts and rates."""
    series = (
        Series(name, np.asarray(at, dtype=np.int64), np.asarray(rates, dtype=float)) for name, at, rates in columns
    )
    return Log("run.csv", form, unit, tuple(series), "", **details)


def audited(spec: dict[str, Any], rates: Any, *, total: int = 200, at: Any = None, run: Run | None = None) -> Audit:
    """The audit of one column of rates, of every update or of some."""
    counts = np.arange(len(rates)) if at is None else at
    return audit(simulated(spec, total), log_of(("lr", counts, rates)), run)


def rates_of(spec: dict[str, Any], at: Any, total: int = 200) -> np.ndarray:
    return np.asarray(simulated(spec, total).schedule(np.asarray(at)))


# The document.


def test_a_match_is_all_nulls_but_the_size() -> None:
    found = audited(COSINE, rates_of(COSINE, np.arange(200)))
    group = {
        "name": "lr", "verdict": "match", "factor": None, "shift": None, "first_difference": None,
        "max_relative_difference": 0.0,
    }  # fmt: skip
    assert found.document() == {**{k: v for k, v in group.items() if k != "name"}, "groups": [group]}
    assert list(found.document()) == [
        "verdict", "factor", "shift", "first_difference", "max_relative_difference", "groups"
    ]  # fmt: skip


def test_differences_are_parts_of_the_plans_peak() -> None:
    rates = rates_of(COSINE, np.arange(200))
    rates[150] += 0.25 * LR
    found = audited(COSINE, rates)
    assert found.verdict == "different"
    assert found.first_difference == 150
    assert found.max_relative_difference == pytest.approx(0.25)
    assert "1 of 200 rates are not the planned ones" in found.main.cause.what


def test_the_published_figures_of_accelerate() -> None:
    """PAINS.md: a cosine over 100 steps advanced 4 times: 0, 0.97, 0.117, 0.808 at updates 25, 50, 75 and 99."""
    spec = {"kind": "transformers.cosine", "num_warmup_steps": 10, "num_training_steps": 100, "lr": 1.0}
    trace = simulate(spec, {"steps": 100})
    fast = trace.schedule(4 * np.arange(100))
    np.testing.assert_allclose(fast[[25, 50, 75, 99]], [0.0, 0.97, 0.117, 0.808], atol=5e-4)
    found = audit(trace, log_of(("learning_rate", np.arange(100), fast)), Run(world_size=4))
    assert found.document()["factor"] == 4.0


# Paces.


@pytest.mark.parametrize("factor", [2, 3, 8, 24, 100])
def test_whole_factors(factor: int) -> None:
    at = np.arange(400)
    found = audited(COSINE, rates_of(COSINE, factor * at, 400), total=400)
    assert (found.verdict, found.main.factor) == ("scaled", factor)


@pytest.mark.parametrize("every", [3, 37, 391])
def test_one_tick_in_many_updates(every: int) -> None:
    """As many as an epoch has, whatever that is: found without a word on it."""
    total = 40 * every
    spec = {"kind": "cosine", "T_max": 40}
    at = np.arange(total)
    found = audited(spec, rates_of(spec, at // every, total), total=total)
    assert found.verdict == "scaled"
    assert found.main.factor == pytest.approx(1 / every, rel=1e-12)


def test_another_length_is_a_pace_that_is_no_simple_number() -> None:
    found = audited({"kind": "cosine"}, rates_of({"kind": "cosine"}, np.arange(200), 347)[:200])
    assert found.verdict == "scaled"
    assert found.main.factor == pytest.approx(200 / 347, rel=1e-6)
    assert "its length was 347 steps, not 200" in found.main.cause.what


def test_the_launch_names_the_cause() -> None:
    at = np.arange(200)
    for run, factor, told in (
        (Run(world_size=3, grad_accumulation=2), 6, "on every micro-batch, 2 an update, by each of 3 processes"),
        (Run(grad_accumulation=2), 0.5, "its length was counted in batches, 2 an update"),
        (Run(world_size=2), 0.5, "its length was multiplied by 2 processes"),
        (Run(steps_per_epoch=10), 0.1, "once an epoch of 10 updates"),
    ):
        rates = rates_of(COSINE, np.floor(factor * at).astype(int))
        found = audited(COSINE, rates, run=run)
        assert found.document()["factor"] == pytest.approx(factor)
        assert told in found.main.cause.what


# Shifts.


@pytest.mark.parametrize("shift", [-3, -1, 1, 2, 17])
def test_shifts(shift: int) -> None:
    at = np.arange(200)
    found = audited(COSINE, rates_of(COSINE, np.maximum(at + shift, 0)))
    assert (found.verdict, found.main.shift) == ("shifted", shift)


def test_a_log_of_transformers_before_its_fix() -> None:
    """At step g it has the rate of update g, and update g - 1 is the one that is over (transformers#36973)."""
    spec = {"kind": "transformers.linear", "num_warmup_steps": 10, "num_training_steps": 100}
    trace = simulated(spec, 100)
    steps = np.arange(1, 101)
    log = log_of(("learning_rate", steps - 1, trace.schedule(steps)), form="transformers")
    found = audit(trace, log)
    assert (found.verdict, found.main.shift) == ("shifted", 1)
    assert "(transformers logged so before its fix)" in found.main.cause.what


# Rounding.


@pytest.mark.parametrize("digits", [3, 4, 5, 7])
@pytest.mark.parametrize("kind", ["cosine", "exponential", "linear", "polynomial", "onecycle"])
def test_rounded_rates_match(kind: str, digits: int) -> None:
    rates = [float(f"{rate:.{digits - 1}e}") for rate in rates_of({"kind": kind}, np.arange(200))]
    assert audited({"kind": kind}, rates).verdict == "match"


def test_rates_with_a_fixed_number_of_decimals_match() -> None:
    rates = [float(f"{rate:.6f}") for rate in rates_of(COSINE, np.arange(200))]
    assert audited(COSINE, rates).verdict == "match"


def test_rates_in_single_precision_match() -> None:
    rates = rates_of(COSINE, np.arange(200)).astype(np.float32).astype(float)
    assert audited(COSINE, rates).verdict == "match"


def test_a_rounded_log_hides_no_real_difference() -> None:
    """Off by two units of the last digit that it keeps."""
    rates = [float(f"{rate:.4e}") for rate in rates_of(COSINE, np.arange(200))]
    rates[60] = float(f"{rates[60] + 2e-6:.4e}")
    found = audited(COSINE, rates)
    assert (found.verdict, found.first_difference) == ("different", 60)


def test_round_numbers_are_not_a_rounded_log() -> None:
    """Rates of one digit, as a staircase by tenths has them, do not make 0.011 the same as 0.01."""
    spec = {"kind": "step", "step_size": 50}
    rates = rates_of(spec, np.arange(200))
    assert audited(spec, rates).verdict == "match"
    rates[60] = 0.01001
    assert audited(spec, rates).verdict == "different"


# Thin evidence.


@pytest.mark.parametrize("points", [1, 2, 3])
def test_three_points_tell_nothing(points: int) -> None:
    at = np.array([0, 60, 140])[:points]
    for rates in (rates_of(COSINE, at), 0.5 * rates_of(COSINE, at)):
        found = audited(COSINE, rates, at=at)
        assert found.verdict == "unclear"
        assert "cannot tell" in found.main.cause.what


def test_a_constant_plan_tells_nothing() -> None:
    found = audited({"kind": "constant"}, np.full(200, LR))
    assert found.verdict == "unclear"
    assert "the plan is constant" in found.main.cause.what
    assert audited({"kind": "constant"}, np.full(200, 0.3 * LR)).verdict == "different", "that much is certain"


def test_a_log_of_a_flat_part_tells_nothing() -> None:
    spec = {"kind": "wsd", "warmup": 20, "decay": 50}
    at = np.arange(40, 140)
    found = audited(spec, rates_of(spec, at), at=at)
    assert found.verdict == "unclear"
    assert "constant over updates 40 to 139" in found.main.cause.what


def test_two_explanations_are_one_too_many() -> None:
    """A staircase with one step in the log: 15 ticks ahead, or at twice the pace."""
    spec = {"kind": "step", "step_size": 30, "gamma": 0.5}
    at = np.arange(25)
    rates = np.where(at < 15, LR, LR / 2)
    found = audited(spec, rates, total=45, at=at)
    assert found.verdict == "unclear"
    assert "2 times too fast" in found.main.cause.what
    assert "15 updates ahead" in found.main.cause.what
    known = audited(spec, rates, total=45, at=at, run=Run(world_size=2))
    assert (known.verdict, known.main.factor) == ("scaled", 2.0), "the launch decides"


def test_no_point_within_the_plan() -> None:
    found = audited(COSINE, [LR] * 9, at=np.arange(300, 309))
    assert found.verdict == "unclear"
    assert "no point of it lies within the plan" in found.main.cause.what
    assert "the log goes on past the plan's end, tick 200: 9 of its rates are not judged" in found.notes


# No explanation where there is none.


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "linear"}, {"kind": "polynomial", "power": 2}, {"kind": "step", "step_size": 40},
        {"kind": "exponential", "gamma": 0.97}, {"kind": "onecycle"}, {"kind": "sgdr", "T_0": 50},
        {"kind": "cosine", "warmup": 35}, {"kind": "cosine", "eta_min": 0.01, "warmup": 20}, {"kind": "tanh"},
    ],
    ids=lambda spec: "-".join(map(str, spec.values())),
)  # fmt: skip
def test_another_schedule_is_just_different(other: dict[str, Any]) -> None:
    for every in (1, 6):
        at = np.arange(200)[::every]
        found = audited(COSINE, rates_of(other, at), at=at)
        assert found.verdict == "different", found.main.cause


def test_noise_is_just_different() -> None:
    random = np.random.default_rng(0)
    found = audited(COSINE, rates_of(COSINE, np.arange(200)) * random.uniform(0.9, 1.1, 200))
    assert found.verdict == "different"
    assert audited(COSINE, random.permutation(rates_of(COSINE, np.arange(200)))).verdict == "different"


# Resumes.


def test_a_resume_that_is_one_epoch_late() -> None:
    at = np.arange(200)
    found = audited(COSINE, rates_of(COSINE, np.where(at < 100, at, at - 1)))
    assert (found.verdict, found.first_difference) == ("jump", 100)
    assert "from there on it is 1 update behind" in found.main.cause.what


def test_skipped_steps_are_told_as_such() -> None:
    """Updates whose scheduler step was left out, as GradScaler's skipped ones."""
    at = np.arange(200)
    lag = sum((at >= skipped).astype(int) for skipped in (60, 100, 150))
    found = audited(COSINE, rates_of(COSINE, at - lag))
    assert found.verdict == "different"
    assert "falls out of step at update 60, 100 and 150" in found.main.cause.what


def test_a_resume_with_another_length_jumps() -> None:
    """PAINS.md: a cosine of transformers, 50 of 100 steps and then on to 200, goes from 0.50 to 0.848."""
    spec = {"kind": "transformers.cosine", "num_warmup_steps": 0, "lr": 1.0}
    short = simulate({**spec, "num_training_steps": 100}, {"steps": 100})
    long = simulate({**spec, "num_training_steps": 200}, {"steps": 200})
    at = np.arange(100)
    rates = np.where(at < 50, short.schedule(at), long.schedule(at))
    found = audit(short, log_of(("lr", at, rates)))
    assert (found.verdict, found.first_difference) == ("jump", 50)
    assert "from 0.515705 to 0.853553" in found.main.cause.what
    onto = audit(long, log_of(("lr", at, rates)))
    assert onto.verdict == "jump"
    assert "onto the plan, which it did not follow before" in onto.main.cause.what


def test_a_run_written_twice_still_matches() -> None:
    at = np.concatenate([np.arange(120), np.arange(100, 200)])
    found = audited(COSINE, rates_of(COSINE, at), at=at)
    assert found.verdict == "match"
    assert "the log's count goes back once: a run that was resumed, or several in one log" in found.notes


# Groups.

GROUPS = {**COSINE, "groups": {"backbone": 0.1, "head": 1.0}}


def both(factor: int = 1) -> tuple[Any, Any]:
    groups = simulated(GROUPS, 200).schedule.groups
    return tuple(group(factor * np.arange(200)) for group in groups.values())


@pytest.mark.parametrize(
    "names",
    [("lr-Adam/backbone", "lr-Adam/head"), ("lr-Adam/pg1", "lr-Adam/pg2"), ("lr/pg0", "lr/pg1"), ("lr.0", "lr.1")],
)
def test_groups_are_paired_by_name_or_number(names: tuple[str, str]) -> None:
    back, head = both()
    at = np.arange(200)
    found = audit(simulated(GROUPS, 200), log_of((names[1], at, head), (names[0], at, back)))
    assert found.verdict == "match"
    assert [(group.name, group.column) for group in found.groups] == [("backbone", names[0]), ("head", names[1])]


def test_a_lone_column_is_of_the_group_that_it_agrees_with() -> None:
    _, head = both()
    found = audit(simulated(GROUPS, 200), log_of(("learning_rate", np.arange(200), head), form="transformers"))
    assert found.verdict == "missing"
    assert [group.verdict for group in found.groups] == ["missing", "match"]
    assert "the Trainer logs the rate of the first group only" in found.main.cause.what


def test_an_empty_column_is_missing() -> None:
    back, _ = both()
    columns = ("lr-Adam/pg1", np.arange(200), back), ("lr-Adam/pg2", [], [])
    found = audit(simulated(GROUPS, 200), log_of(*columns))
    assert found.verdict == "missing"
    assert "the column lr-Adam/pg2 is empty" in found.main.cause.what


def test_groups_that_fail_alike_speak_with_one_voice() -> None:
    back, head = both(4)
    at = np.arange(200)
    found = audit(simulated(GROUPS, 200), log_of(("backbone", at, back), ("head", at, head)))
    assert (found.verdict, found.document()["factor"]) == ("scaled", 4.0)
    assert [group.factor for group in found.groups] == [4.0, 4.0]


def test_groups_that_differ_each_in_their_own_way_are_different() -> None:
    back, head = both()
    at = np.arange(200)
    found = audit(simulated(GROUPS, 200), log_of(("backbone", at, both(4)[0]), ("head", at, np.full(200, LR))))
    assert found.verdict == "different"
    assert found.document()["factor"] is None
    assert {group.verdict for group in found.groups} == {"scaled", "constant-after"}
    assert len(back) == len(head)


# Clocks.


def test_a_plan_by_epoch_and_a_log_by_update() -> None:
    spec = {"kind": "step", "step_size": 3, "lr": LR}
    trace = simulate(spec, {"epochs": 10})
    updates = np.arange(80)
    right = log_of(("lr", updates, trace.schedule(updates // 8)), steps_per_epoch=8)
    assert audit(trace, right).verdict == "match"
    wrong = log_of(("lr", updates, trace.schedule(updates)), steps_per_epoch=8)
    found = audit(trace, wrong)
    assert (found.verdict, found.main.factor) == ("scaled", 8.0)
    assert "stepped at every one of 8 updates an epoch" in found.main.cause.what
    unknown = log_of(("lr", updates, trace.schedule(updates)))
    told = "run.csv: the plan ticks by epoch and the log counts steps: say --steps-per-epoch"
    assert message_of(audit, trace, unknown) == told


def test_a_plan_by_update_and_a_log_by_epoch() -> None:
    trace = simulate({"kind": "cosine", "lr": LR}, {"epochs": 20, "steps_per_epoch": 8})
    epochs = np.arange(20)
    log = log_of(("lr", epochs, trace.schedule(8 * epochs)), unit="epoch")
    assert audit(trace, log).verdict == "match"


def test_what_the_trainer_planned_is_compared() -> None:
    found = audit(simulated(COSINE, 200), log_of(("lr", np.arange(200), rates_of(COSINE, np.arange(200))), total=500))
    assert "the trainer planned 500 updates, and the plan has 200" in found.notes


# The machinery.


@pytest.mark.parametrize("kind", [k for k in KINDS if "." not in k and not required_of(KINDS[k])])
def test_a_row_of_ticks_has_the_rates_of_its_ticks(kind: str) -> None:
    """Equally spaced ticks take a faster way, which must lead to the same rates."""
    trace = simulated({"kind": kind}, 30_000)
    planned = Planned(trace.schedule, 30_000)
    for step in (1, 3):
        ticks = np.arange(7, 29_000, step)
        np.testing.assert_allclose(planned.rates(ticks), trace.schedule(ticks), rtol=0, atol=1e-12)


@given(
    factor=st.integers(2, 12),
    total=st.integers(120, 600),
    warmup=st.integers(0, 40),
    every=st.integers(1, 9),
    kind=st.sampled_from(["cosine", "linear", "polynomial", "exponential", "sgdr", "onecycle"]),
)
def test_any_whole_factor_of_any_smooth_plan_is_found(
    factor: int, total: int, warmup: int, every: int, kind: str
) -> None:
    spec = {"kind": kind, "warmup": warmup}
    at = np.arange(total)[::every]
    rates = rates_of(spec, factor * at, total)
    found = audited(spec, rates, total=total, at=at)
    if found.verdict == "scaled":
        assert found.main.factor == factor or _same(spec, total, at, factor, found.main.factor or 0)
    elif found.verdict == "match":  # a periodic plan, looked at every so many ticks, looks the same
        assert _same(spec, total, at, factor, 1)
    else:  # so few rates before it ends that something else explains them too
        assert found.verdict in ("unclear", "constant-after"), found.main.cause
        assert len(np.unique(rates.round(12))) < 12


def _same(spec: dict[str, Any], total: int, at: np.ndarray, factor: int, other: float) -> bool:
    """Whether two paces leave the same log, as paces that differ by a whole period do."""
    return bool(
        np.allclose(rates_of(spec, factor * at, total), rates_of(spec, (other * at).astype(int), total), atol=1e-9)
    )
