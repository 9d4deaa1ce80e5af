"""Comparisons: the t-test is SciPy's, Holm's correction is the published one, and noise is not called a difference."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli.comparison import Comparison, best_rates, compare, comparisons, holm, paired_t_test
from lrsched_cli.results import DIVERGED, STOPPED, Results, RunResult
from tests.test_results import fake, fake_run, of, with_finals

stats = pytest.importorskip("scipy.stats")


A, B, C = [0.97, 0.975, 0.98], [0.90, 0.906, 0.908], [0.972, 0.973, 0.981]


def compared(*groups: list[RunResult], val_size: int | None = None) -> Comparison:
    return compare(of([run for group in groups for run in group]).groups(), val_size)


def normal(means: dict[str, float], seeds: int = 5, sd: float = 0.004, seed: int = 5) -> dict[str, Any]:
    """Accuracies of some schedules around their means."""
    random = np.random.default_rng(seed)
    return {name: mean + random.normal(0, sd, seeds) for name, mean in means.items()}


def runs_of(values: dict[str, Any]) -> list[list[RunResult]]:
    return [with_finals(name, found.tolist()) for name, found in values.items()]


# The test.


@given(st.integers(2, 20), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_the_t_test_is_scipys(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    a = random.normal(0.9, 0.05, n)
    b = a + random.normal(random.normal(0, 0.05), 0.03, n)
    found, theirs = paired_t_test(a, b), stats.ttest_rel(a, b)
    interval = theirs.confidence_interval(0.95)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-12)
    assert found.mean == pytest.approx(np.mean(a - b))
    assert found.n == n


def test_differences_without_spread() -> None:
    """All zero is no difference, all the same a sure one; rounding is neither."""
    same = paired_t_test([0.9, 0.8], [0.9, 0.8])
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
    shifted = paired_t_test([0.75, 0.5, 1.0], [0.5, 0.25, 0.75])
    assert (shifted.mean, shifted.low, shifted.high, shifted.p) == (0.25, 0.25, 0.25, 0)
    assert paired_t_test([0.1 + 0.2] * 3, [0.3] * 3).p == 1


def test_an_accuracy_is_known_to_one_sample_only() -> None:
    """Two seeds with the same small difference of counts prove nothing; with a spread the resolution has no part."""
    assert paired_t_test([99 / 114, 100 / 114], [98 / 114, 99 / 114], 1 / 114).p == pytest.approx(
        2 * stats.t.sf(1 / np.sqrt(1 / 12), 1)
    )
    a, b = np.array([99, 105, 101]) / 114, np.array([98, 99, 99]) / 114
    assert paired_t_test(a, b, 1 / 114).p == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_holm_as_worked_by_hand() -> None:
    """m = 4: 0.005 * 4, then 0.01 * 3, then 0.03 * 2, then 0.04 * 1, which may not be lower than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_the_corrected_p_values_of_three_schedules() -> None:
    """From SciPy's t-test and Holm's rule on the three pairs, worked here step by step."""
    values = normal({"a": 0.95, "b": 0.96, "c": 0.97})
    found = compared(*runs_of(values))
    tests = {pair: stats.ttest_rel(values[pair[0]], values[pair[1]]) for pair in ("ac", "bc", "ab")}
    corrected, factors, highest = {}, {}, 0.0
    for times, pair in zip((3, 2, 1), sorted(tests, key=lambda pair: tests[pair].pvalue), strict=True):
        highest = corrected[pair] = max(highest, min(1, times * tests[pair].pvalue))
        factors[pair] = highest / tests[pair].pvalue
    assert [row.schedule for row in found.rows] == ["c", "b", "a"]
    assert found.by_accuracy is not None
    assert found.by_accuracy.best == 0
    assert sorted(found.by_accuracy.differences) == [1, 2]
    assert found.by_accuracy.least == pytest.approx(min(corrected.values()))
    for at, pair in ((1, "bc"), (2, "ac")):
        difference = found.by_accuracy.differences[at]
        assert difference.p == pytest.approx(corrected[pair])
        assert difference.mean == pytest.approx(np.mean(values[pair[0]] - values[pair[1]]))
        interval = tests[pair].confidence_interval(1 - 0.05 / factors[pair])
        assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high))


@given(st.integers(2, 5), st.integers(2, 6), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_an_interval_leaves_out_zero_where_the_corrected_test_differs(schedules: int, seeds: int, seed: int) -> None:
    values = normal({f"{number}": 0.9 + 0.004 * number for number in range(schedules)}, seeds, seed=seed)
    found = compared(*runs_of(values)).by_accuracy
    assert found is not None
    assert len(found.differences) == schedules - 1
    for difference in found.differences.values():
        assert (difference.low > 0 or difference.high < 0) == (difference.p < 0.05)
        assert difference.low <= difference.mean <= difference.high


@pytest.mark.parametrize(("schedules", "seeds"), [(2, 3), (5, 5), (8, 4)])
def test_noise_is_called_a_difference_in_at_most_a_twentieth(schedules: int, seeds: int) -> None:
    """Schedules that do not differ, on 360 samples; the share of false differences, beyond what chance explains."""
    random, wrong, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        counts = random.binomial(360, 0.96, (schedules, seeds)) / 360
        runs = [run for number, row in enumerate(counts) for run in with_finals(f"{number}", row.tolist())]
        found = compared(runs, val_size=360).by_accuracy
        assert found is not None
        wrong += found.least < 0.05
    assert wrong <= stats.binom.ppf(0.999, trials, 0.05)


# The rows.


def test_averaged_weights_are_rows_of_their_own() -> None:
    """With the statistics and the tests of the others: SciPy's, of the averaged weights' values."""
    averaged = [0.99, 0.985, 0.991]
    runs = with_finals("a", A)
    for run, accuracy in zip(runs, averaged, strict=True):
        run.averaged = {"val_accuracy": accuracy, "val_loss": 1 - accuracy}
    found = compared(runs, with_finals("b", B))
    assert [(row.name, row.schedule, row.averaged) for row in found.rows] == [
        ("a (averaged)", "a", True), ("a", "a", False), ("b", "b", False)
    ]  # fmt: skip
    best, last, _ = found.rows
    assert (best.accuracy.mean, best.accuracy.sd) == pytest.approx((np.mean(averaged), np.std(averaged, ddof=1)))
    assert (best.accuracy.n, best.runs, best.diverged) == (3, 3, 0)
    assert best.loss.mean == pytest.approx(1 - np.mean(averaged))
    assert last.accuracy.mean == pytest.approx(np.mean(A))
    assert found.by_accuracy is not None
    p = [stats.ttest_rel(x, y).pvalue for x, y in ((A, averaged), (B, averaged), (B, A))]
    expected = holm(p)
    assert [found.by_accuracy.differences[at].p for at in (1, 2)] == pytest.approx(expected[:2])
    assert found.by_loss is not None
    assert found.by_loss.best == 0


def test_a_lone_schedule_is_compared_with_its_averaged_weights() -> None:
    runs = with_finals("a", A)
    runs[0].status = DIVERGED
    for run in runs[1:]:
        run.averaged = {"val_accuracy": 0.5, "val_loss": math.nan}
    found = compared(runs)
    assert found.unranked == ""
    assert [(row.name, row.accuracy.n, row.loss.n, row.diverged) for row in found.rows] == [
        ("a", 2, 2, 1), ("a (averaged)", 2, 0, 1)
    ]  # fmt: skip
    assert found.by_loss is None


def test_one_seed_gives_no_ranking() -> None:
    found = compare(fake(seeds=1).groups())
    assert found.unranked == "one seed: no ranking; --seeds 5 gives one"
    assert [row.schedule for row in found.rows] == ["constant", "step", "cosine", "onecycle"]
    assert found.by_accuracy is found.by_loss is None


def test_a_single_schedule_and_none() -> None:
    assert compared(with_finals("a", A)).unranked == "one schedule: there is nothing to compare it with"
    assert compared().unranked == "there are no runs to compare"


def test_equal_accuracies_are_ranked_by_loss() -> None:
    found = compared(with_finals("a", A, [0.3] * 3), with_finals("b", A, [0.2] * 3))
    assert [row.schedule for row in found.rows] == ["b", "a"]


def test_accuracy_and_loss_have_a_best_of_their_own() -> None:
    found = compared(with_finals("a", A, [0.5, 0.51, 0.52]), with_finals("b", B, [0.1, 0.105, 0.115]))
    assert found.by_accuracy is not None
    assert found.by_loss is not None
    assert (found.by_accuracy.best, list(found.by_accuracy.differences)) == (0, [1])
    assert (found.by_loss.best, list(found.by_loss.differences)) == (1, [0])
    expected = stats.ttest_rel([0.5, 0.51, 0.52], [0.1, 0.105, 0.115]).pvalue
    assert found.by_loss.differences[0].p == pytest.approx(expected)


def test_what_diverged_goes_last() -> None:
    lost = [("constant", 0.1, 0), ("constant", 0.1, 3), *(("step", 0.1, seed) for seed in range(5))]
    found = compare(fake(seeds=5, diverged=lost).groups())
    assert found.unranked == ""
    assert (found.rows[-1].schedule, found.rows[-1].diverged, found.rows[-1].runs) == ("step", 5, 5)
    assert found.by_accuracy is not None
    assert 3 not in found.by_accuracy.differences


def test_seeds_are_paired_by_their_number() -> None:
    """Of two schedules that lost different seeds, only those that both finished are compared."""
    random = np.random.default_rng(2)
    a, b = (random.normal(0.95, 0.01, 6).tolist() for _ in range(2))
    runs_a, runs_b = with_finals("a", a), with_finals("b", b)
    runs_a[0].status = runs_b[5].status = DIVERGED
    found = compared(list(reversed(runs_a)), runs_b).by_accuracy
    expected = stats.ttest_rel(a[1:5], b[1:5])
    assert found is not None
    assert found.differences[1].n == 4
    assert found.differences[1].p == pytest.approx(expected.pvalue)


def test_too_few_seeds_are_left() -> None:
    lost = [("constant", 0.1, 0), ("constant", 0.1, 1), ("step", 0.1, 1)]
    found = compare(fake(["constant", "step"], seeds=3, diverged=lost).groups())
    assert found.unranked == "no ranking: fewer than two schedules have two runs that did not diverge"
    uneven = compared(with_finals("a", A), with_finals("b", [0.5]))
    assert uneven.unranked == "no ranking: a schedule has fewer than two seeds"
    apart = compared(with_finals("a", [0.5, 0.6]), with_finals("b", [0.1, 0.2, 0.3, 0.4])[2:]).by_accuracy
    assert apart is not None
    assert apart.differences == {}


# Interrupted.


def stopped(epochs: int, name: str = "a", seeds: int = 3) -> list[RunResult]:
    return [fake_run(name, seed=seed, epochs=epochs, status=STOPPED) for seed in range(seeds)]


def test_an_interrupted_training_says_how_far_it_came() -> None:
    results = of(stopped(244) + stopped(244, "b"))
    results.spec["run"] = {"epochs": 600}
    (found,) = comparisons(results)
    assert found.unranked == "interrupted at epoch 244 of 600: no ranking"
    assert [row.accuracy.n for row in found.rows] == [3, 3]
    results.runs += [fake_run("b", seed=3, epochs=0, status=STOPPED)]
    assert comparisons(results)[0].unranked == "interrupted at epochs 0 to 244 of 600: no ranking"
    results.runs += [fake_run("a", seed=4)]
    assert comparisons(results)[0].unranked == (
        "interrupted: 7 of 8 runs were stopped at epochs 0 to 244 of 600: no ranking"
    )
    results.spec = {}
    assert comparisons(results)[0].unranked.endswith("at epochs 0 to 244: no ranking")


def test_the_epochs_that_were_planned() -> None:
    results = of(stopped(2))
    results.data["steps_per_epoch"] = 5
    specs: dict[int | None, Any] = {
        30: {"run": {"epochs": 30}},
        40: {"run": {"epochs": 30}, "schedules": {"a": {"run": {"epochs": 40}}}},
        21: {"run": {"steps": 101}},
        None: {"run": {"epochs": True}, "schedules": {"a": {"run": [3]}}},
    }
    assert [results.planned_epochs("a") for results.spec in specs.values()] == list(specs)
    for odd in ({}, {"run": 3, "schedules": [1]}, {"schedules": {"a": None}}, {"run": {"epochs": -1, "steps": "x"}}):
        results.spec = odd
        assert results.planned_epochs("a") is None


def test_without_scipy_there_is_no_test(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    found = compare(fake().groups())
    assert found.unranked == "no ranking: the test needs SciPy, which pip install 'lrsched-cli[train]' brings"


# Several base rates.


def rates() -> Results:
    return of(
        with_finals("a", A, lr=0.1) + with_finals("a", B, lr=0.01) + with_finals("a", [0.99, 0.99, 0.99], lr=1.0)
        + with_finals("b", B, lr=0.1) + with_finals("b", C, lr=0.01) + with_finals("b", [0.5] * 3, lr=1.0)
    )  # fmt: skip


def test_each_schedule_is_compared_at_its_best_rate_and_at_every_one() -> None:
    results = rates()
    assert best_rates(results) == {"a": 1.0, "b": 0.01}
    best, *others = comparisons(results)
    assert [(row.schedule, row.lr) for row in best.rows] == [("a", 1.0), ("b", 0.01)]
    assert best.title == "each schedule at its best base rate"
    assert best.note == (
        "each schedule is at the best of 3 base rates, chosen by these same accuracies, which flatters all of them: "
        "train the chosen rates with other seeds for a fair figure"
    )
    assert [one.title for one in others] == ["base rate 0.01", "base rate 0.1", "base rate 1"]
    assert [row.schedule for row in others[0].rows] == ["b", "a"]


def test_a_rate_that_is_the_best_of_all_comes_once() -> None:
    results = of([run for name in "ab" for lr, v in ((0.1, A), (0.01, B)) for run in with_finals(name, v, lr=lr)])
    assert [one.title for one in comparisons(results)] == [
        "each schedule at its best base rate, 0.1 for all", "base rate 0.01"
    ]  # fmt: skip


def test_a_rate_that_most_runs_did_not_survive_is_not_the_best() -> None:
    results = rates()
    for run in results.runs[6:8]:
        run.status = DIVERGED
    assert best_rates(results)["a"] == 0.1


def test_schedules_with_a_rate_each_are_one_comparison() -> None:
    (only,) = comparisons(of(with_finals("a", A, lr=0.1) + with_finals("b", B, lr=0.01)))
    assert only.title == ""
    assert [(row.schedule, row.lr) for row in only.rows] == [("a", 0.1), ("b", 0.01)]
    assert only.note == ""
