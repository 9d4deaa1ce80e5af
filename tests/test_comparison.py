"""Comparisons: the t-test is SciPy's, Holm's correction is the published one, and noise is not called a difference."""

from __future__ import annotations

import builtins
import io
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli.comparison import best_rates, compare, comparisons, holm, p_text, paired_t_test
from lrsched_cli.results import DIVERGED, STOPPED, Results, RunResult
from lrsched_cli.show.report import rich_report, shortened, write_summary
from tests.support import message_of
from tests.test_results import fake, fake_run, of, with_finals

stats = pytest.importorskip("scipy.stats")


def said(*groups: list[RunResult], val_size: int | None = None) -> list[str]:
    """The verdict on some groups of runs."""
    return compare(of([run for group in groups for run in group]).groups(), val_size).verdict


def text(results: Results, format: str = "table") -> str:
    out = io.StringIO()
    write_summary(out, results, format)
    return out.getvalue()


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
    random = np.random.default_rng(5)
    values = {name: mean + random.normal(0, 0.004, 5) for name, mean in (("a", 0.95), ("b", 0.96), ("c", 0.97))}
    found = compare(of([run for name, v in values.items() for run in with_finals(name, v.tolist())]).groups())
    raw = {pair: stats.ttest_rel(values[pair[0]], values[pair[1]]).pvalue for pair in ("ab", "ac", "bc")}
    corrected, highest = {}, 0.0
    for times, pair in zip((3, 2, 1), sorted(raw, key=raw.__getitem__), strict=True):
        highest = corrected[pair] = max(highest, min(1, times * raw[pair]))
    assert [row.schedule for row in found.rows] == ["c", "b", "a"]
    differences = [row.accuracy_difference for row in found.rows]
    assert differences[0] is None
    assert differences[1] is not None
    assert differences[2] is not None
    assert differences[1].p == pytest.approx(corrected["bc"])
    assert differences[2].p == pytest.approx(corrected["ac"])
    assert differences[1].mean == pytest.approx(np.mean(values["b"] - values["c"]))
    assert differences[1].low < differences[1].mean < differences[1].high


@pytest.mark.parametrize(("schedules", "seeds"), [(2, 3), (5, 5), (8, 4)])
def test_noise_is_called_a_difference_in_at_most_a_twentieth(schedules: int, seeds: int) -> None:
    """Schedules that do not differ, on 360 samples; the share of false differences, beyond what chance explains."""
    random, wrong, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        counts = random.binomial(360, 0.96, (schedules, seeds)) / 360
        runs = [run for number, row in enumerate(counts) for run in with_finals(f"{number}", row.tolist())]
        rows = compare(of(runs).groups(), 360).rows
        wrong += any(row.accuracy_difference is not None and row.accuracy_difference.p < 0.05 for row in rows)
    assert wrong <= stats.binom.ppf(0.999, trials, 0.05)


def test_a_clear_difference_is_found() -> None:
    random = np.random.default_rng(1)
    worse = [0.93 + random.normal(0, 0.003) for _ in range(5)]
    better = [0.97 + random.normal(0, 0.003) for _ in range(5)]
    (first, _) = said(with_finals("constant", worse), with_finals("cosine", better))
    mean, other, p = np.mean(better), np.mean(worse), stats.ttest_rel(better, worse).pvalue
    assert first == (
        f"cosine is best: {100 * mean:.2f} % against {100 * other:.2f} % of constant "
        f"({p_text(p)}, paired t-test over 5 seeds)"
    )


# What is said.


A, B, C = [0.97, 0.975, 0.98], [0.90, 0.906, 0.908], [0.972, 0.973, 0.981]


def test_one_seed_gives_no_ranking() -> None:
    found = compare(fake(seeds=1).groups())
    assert not found.ranked
    assert found.verdict == ["one seed: no ranking; --seeds 5 gives one"]
    assert [row.schedule for row in found.rows] == ["constant", "step", "cosine", "onecycle"]
    assert all(row.accuracy_difference is None and row.verdict == "" for row in found.rows)


def test_a_single_schedule_and_none() -> None:
    assert said(with_finals("a", A)) == ["one schedule: there is nothing to compare it with"]
    assert said() == ["there are no runs to compare"]


def test_two_alike_and_one_worse() -> None:
    first, second, *_ = said(with_finals("a", A), with_finals("b", B), with_finals("c", C))
    assert first.startswith("c is better than b (p = ")
    assert first.endswith("paired t-test over 3 seeds, Holm-corrected)")
    assert second == "the difference between c and a is inside the noise"


def test_none_that_differs() -> None:
    other = [0.974, 0.971, 0.98]
    first, second = said(with_finals("a", A), with_finals("c", C), with_finals("d", other))
    assert first.startswith("no schedule differs from the best: all are inside the noise of 3 seeds (p = 1, ")
    assert second.startswith("by loss, no schedule differs from the best: all are inside the noise of 3 seeds")
    first, _ = said(with_finals("a", A), with_finals("c", C))
    assert first.startswith("the difference between c and a is inside the noise of 3 seeds (p = ")


def test_all_that_differ_name_the_next() -> None:
    first, _ = said(with_finals("a", A), with_finals("b", B), with_finals("d", [0.5, 0.51, 0.49]))
    assert first.startswith("a is best: 97.50 % against 90.47 % of b, the next (p < 0.001, ")


def test_accuracy_and_loss_have_a_best_of_their_own() -> None:
    runs = [with_finals("a", A, [0.5, 0.51, 0.52]), with_finals("b", B, [0.1, 0.105, 0.115])]
    first, second = said(*runs)
    assert first.startswith("a is best: 97.50 % against 90.47 % of b")
    assert second.startswith("by loss, b is best: 0.1067 against 0.5100 of a")


def test_the_same_values_are_no_difference() -> None:
    found = compare(of(with_finals("constant", A) + with_finals("plateau", A)).groups())
    assert [row.verdict for row in found.rows] == ["best mean", "no difference"]
    assert found.verdict[0] == (
        "the difference between constant and plateau is inside the noise of 3 seeds (p = 1, paired t-test over 3 seeds)"
    )


def test_equal_accuracies_are_ranked_by_loss() -> None:
    groups = of(with_finals("a", A, [0.3] * 3) + with_finals("b", A, [0.2] * 3)).groups()
    assert [row.schedule for row in compare(groups).rows] == ["b", "a"]


def test_what_diverged_is_told_and_goes_last() -> None:
    lost = [("constant", 0.1, 0), ("constant", 0.1, 3), *(("step", 0.1, seed) for seed in range(5))]
    found = compare(fake(seeds=5, diverged=lost).groups())
    assert found.ranked
    assert [row.schedule for row in found.rows][-1] == "step"
    assert found.rows[-1].verdict == "DIVERGED, 5 of 5"
    assert found.verdict[-2:] == ["constant: 2 of 5 runs DIVERGED", "step: every run DIVERGED"]
    assert "3 to 5 seeds" in found.verdict[0]


def test_seeds_are_paired_by_their_number() -> None:
    """Of two schedules that lost different seeds, only those that both finished are compared."""
    random = np.random.default_rng(2)
    a, b = (random.normal(0.95, 0.01, 6).tolist() for _ in range(2))
    runs_a, runs_b = with_finals("a", a), with_finals("b", b)
    runs_a[0].status = runs_b[5].status = DIVERGED
    _, row = compare(of(list(reversed(runs_a)) + runs_b).groups()).rows
    expected = stats.ttest_rel(a[1:5], b[1:5])
    assert row.accuracy_difference is not None
    assert row.accuracy_difference.n == 4
    assert row.accuracy_difference.p == pytest.approx(expected.pvalue)


def test_too_few_seeds_are_left() -> None:
    lost = [("constant", 0.1, 0), ("constant", 0.1, 1), ("step", 0.1, 1)]
    results = fake(["constant", "step"], seeds=3, diverged=lost)
    assert compare(results.groups()).verdict == [
        "no ranking: fewer than two schedules have two runs that did not diverge",
        "constant: 2 of 3 runs DIVERGED",
        "step: 1 of 3 runs DIVERGED",
    ]
    apart = with_finals("b", [0.1, 0.2, 0.3, 0.4])[2:]
    assert said(with_finals("a", [0.5, 0.6]), apart) == [
        "no test: no two schedules finished two common seeds",
        "by loss, no test: no two schedules finished two common seeds",
    ]
    one = with_finals("b", [0.1, 0.2, 0.3])[1:]
    assert said(with_finals("a", [0.5, 0.6]), one)[0] == "no test: no two schedules finished two common seeds"
    uneven = said(with_finals("a", A), with_finals("b", [0.5]))
    assert uneven == ["no ranking: a schedule has fewer than two seeds"]


def test_an_interrupted_training_is_not_ranked() -> None:
    runs = [fake_run(name, seed=seed, epochs=2, status=STOPPED) for name in ("a", "b") for seed in range(3)]
    found = compare(of(runs).groups())
    assert found.verdict == ["interrupted: no ranking before every run has ended; --resume FOLDER goes on"]
    assert not found.ranked
    assert [row.accuracy.n for row in found.rows] == [3, 3]


def test_without_scipy_there_is_no_test(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    found = compare(fake().groups())
    assert found.verdict == ["no ranking: the test needs SciPy, which pip install 'lrsched-cli[train]' brings"]
    assert not found.ranked


def test_samples_are_counted_where_they_are_few() -> None:
    """The form of a published figure: 109 of 114."""
    groups = of(with_finals("a", [109 / 114, 112 / 114])).groups()
    assert compare(groups, 114).counts == "classified rightly: a 110.5/114 (109 to 112)"
    assert compare(of(with_finals("a", [109 / 114])).groups(), 114).counts == "classified rightly: a 109.0/114"
    assert compare(groups, 10_000).counts == compare(groups).counts == ""


def test_many_names_are_cut() -> None:
    names = "abcdefgh"
    runs = [with_finals(name, [v + 0.05 * i for v in (0.5, 0.504, 0.508)]) for i, name in enumerate(names)]
    assert "h is best: 85.40 % against 80.40 % of g, the next" in said(*runs)[0]
    runs.append(with_finals("i", [0.8535, 0.8542, 0.8575]))
    first, second, *_ = said(*runs)
    assert first.startswith("i is better than g, f, e and 4 more (p <= ")
    assert second == "the difference between i and h is inside the noise"


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 1) | st.just(math.nan), st.floats()), min_size=2, max_size=3),
        min_size=2, max_size=4,
    )
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_any_values_are_compared_without_a_warning(values: list[list[tuple[float, float]]]) -> None:
    runs = [run for at, row in enumerate(values) for run in with_finals(f"{at}", *map(list, zip(*row, strict=True)))]
    for format in ("table", "markdown", "csv", "json", "jsonl"):
        text(of(runs), format)


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
    assert best.verdict[0].startswith("a at 1 is best: 99.00 % against 97.53 % of b at 0.01 (p = 0.036, ")
    assert best.verdict[-1].startswith("each schedule is at the best of 3 base rates, chosen by these same accuracies")
    assert [one.title for one in others] == ["base rate 0.01", "base rate 0.1", "base rate 1"]
    assert [row.schedule for row in others[0].rows] == ["b", "a"]


def test_a_rate_that_most_runs_did_not_survive_is_not_the_best() -> None:
    results = rates()
    for run in results.runs[6:8]:
        run.status = DIVERGED
    assert best_rates(results)["a"] == 0.1


def test_schedules_with_a_rate_each_are_one_comparison() -> None:
    (only,) = comparisons(of(with_finals("a", A, lr=0.1) + with_finals("b", B, lr=0.01)))
    assert only.title == ""
    assert only.verdict[0].startswith("a at 0.1 is best")
    assert not any("chosen" in line for line in only.verdict)


# The tables.


def test_the_plain_table_fits_and_is_aligned() -> None:
    own = fake(["constant", "cosine"], seeds=5).runs + fake(["warmup-then-onecycle", "step"], (0.03,), seeds=5).runs
    lines = text(of(own)).splitlines()
    assert max(map(len, lines)) <= 80
    header = lines[0]
    assert header.split() == ["schedule", "lr", "accuracy", "%", "sd", "min-max", "loss", "sd", "n", "vs", "best"]
    assert {len(line) for line in lines[1:5]} == {len(header)}
    assert lines[5] == ""


def test_the_table_shows_the_numbers() -> None:
    table = text(of(with_finals("a", A) + with_finals("b", B))).splitlines()
    assert table[1].split() == ["a", "97.50", "0.50", "97.00-98.00", "0.0250", "0.0050", "3", "best"]
    p = stats.ttest_rel(B, A).pvalue
    assert table[2].split()[-1] == p_text(p).replace(" ", "")


def test_a_long_name_loses_its_middle() -> None:
    assert shortened("warmup-cosine", 13) == "warmup-cosine"
    assert shortened("from-their-config-with-warmup", 16) == "from-th...warmup"
    assert shortened("学習率学習率", 9) == "学...習率", "a wide letter takes two columns"
    lines = text(of(with_finals("x" * 200 + "|", A) + with_finals("b", B, lr=0.01))).splitlines()
    assert len(lines[0]) <= 80
    assert max(len(line) for line in lines[:3]) <= 80


def test_a_table_with_what_diverged() -> None:
    table = text(fake(["constant", "cosine"], seeds=2, diverged=[("cosine", 0.1, 0), ("cosine", 0.1, 1)]))
    assert "0/2  DIVERGED" in table
    assert "nan" not in table


def test_markdown_is_a_table_with_its_intervals() -> None:
    lines = text(of(with_finals("a|b", A) + with_finals("b", B)), "markdown").splitlines()
    assert lines[0].endswith("| points from the best, 95% interval |")
    assert lines[1].count("---") == lines[0].count("|") - 1
    assert lines[2].startswith("| a\\|b | 97.50 |")
    interval = stats.ttest_rel(B, A).confidence_interval(0.95)
    assert f"-7.03 [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}], p" in lines[3]


def test_programs_get_the_summary_as_it_is_stored() -> None:
    results = fake(seeds=2, lrs=(0.1, 0.2), diverged=[("step", 0.2, 0)])
    assert json.loads(text(results, "json")) == {"version": 1, "summary": results.summary()}
    assert [json.loads(line) for line in text(results, "jsonl").splitlines()] == results.summary()
    header, first, *rest = text(results, "csv").splitlines()
    assert header.startswith("schedule,lr,final_accuracy.mean,final_accuracy.sd,")
    assert header.endswith(",diverged")
    assert first.split(",")[2] == repr(results.summary()[0]["final_accuracy"]["mean"])
    assert len(rest) == 7


def test_averaged_weights_and_the_test_part_are_told() -> None:
    runs = with_finals("a", A)
    for run in runs:
        run.averaged, run.test_accuracy = {"val_accuracy": 0.99, "val_loss": 0.01}, [0.2, 0.96]
    found = text(of(runs))
    assert "averaged weights against the last ones: a 99.00 % (loss 0.0100) against 97.50 %" in found
    assert "test accuracy at the end, and at the epoch of the best validation accuracy:" in found
    assert "96.00 %, 96.00 % at the best" in found


def test_a_format_that_is_none_is_refused() -> None:
    assert message_of(text, fake(), "jsno") == (
        "--format must be table, csv, json, jsonl, markdown, got 'jsno' (did you mean json?)"
    )


def test_the_rich_report_says_the_same() -> None:
    from rich.console import Console

    results = fake([*"ab", "[bold]a long name of a schedule that is cut in the middle[/]"], seeds=3, lrs=(0.1, 0.2))
    out = io.StringIO()
    Console(file=out, width=80, no_color=True).print(rich_report(results, 80))
    plain = text(results)
    assert "each schedule at its best base rate" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80
    for word in ("[bol", "97.50", "min-max", "classified rightly"):
        assert (word in out.getvalue()) == (word in plain)
