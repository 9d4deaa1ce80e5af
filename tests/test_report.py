"""What a comparison is told as: exact sentences, and tables that lose no digit at any width."""

from __future__ import annotations

import io
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli.comparison import compare, comparisons, holm, p_text
from lrsched_cli.results import DIVERGED, STOPPED, Results, RunResult
from lrsched_cli.show.report import rich_report, shortened, write_summary
from lrsched_cli.show.verdict import counts, method, verdict
from tests.support import message_of
from tests.test_comparison import A, B, C, rates
from tests.test_results import fake, fake_run, of, with_finals

stats = pytest.importorskip("scipy.stats")


def said(*groups: list[RunResult], val_size: int | None = None) -> list[str]:
    """The verdict on some groups of runs."""
    return verdict(compare(of([run for group in groups for run in group]).groups(), val_size))


def text(results: Results, format: str = "table") -> str:
    out = io.StringIO()
    write_summary(out, results, format)
    return out.getvalue()


def unwrapped(lines: list[str]) -> list[str]:
    """Sentences as they were before they were wrapped."""
    return "\n".join(lines).replace("\n  ", " ").split("\n")


def corrected(*pairs: tuple[list[float], list[float]]) -> list[str]:
    """The p-values of SciPy's tests, corrected by Holm's rule, as they are told."""
    return [p_text(p) for p in holm([stats.ttest_rel(a, b).pvalue for a, b in pairs])]


# The sentences.


def test_one_that_is_better_than_one_other() -> None:
    p = stats.ttest_rel(A, B).pvalue
    assert said(with_finals("a", A), with_finals("b", B)) == [
        f"a is best: 97.50 % against 90.47 % of b ({p_text(p)})",
        f"by loss, a is best: 0.0250 against 0.0953 of b ({p_text(p)})",
    ]


def test_two_alike_and_one_worse() -> None:
    p = corrected((C, B), (A, B), (C, A))[0]
    told = f"c is better than b ({p}); its difference from a is inside the noise"
    assert said(with_finals("a", A), with_finals("b", B), with_finals("c", C)) == [told, f"by loss, {told}"]


def test_several_alike_and_one_worse() -> None:
    runs = [with_finals(name, v) for name, v in (("a", A), ("b", B), ("c", C), ("d", [0.974, 0.971, 0.98]))]
    first, *_ = said(*runs)
    assert first.startswith("c is better than b (p = ")
    assert first.endswith("); its differences from a and d are inside the noise")


def test_none_that_differs() -> None:
    other = [0.974, 0.971, 0.98]
    assert said(with_finals("a", A), with_finals("c", C), with_finals("d", other)) == [
        "no difference between the schedules stands out from the noise of 3 seeds, by accuracy or by loss"
    ]
    lossless = [math.nan] * 3
    assert said(with_finals("a", A, lossless), with_finals("c", C, lossless)) == [
        "no difference between the schedules stands out from the noise of 3 seeds"
    ]
    assert said(with_finals("a", A), with_finals("plateau", A)) == [
        "no difference between the schedules stands out from the noise of 3 seeds, by accuracy or by loss"
    ]


def test_a_difference_by_one_measure_only() -> None:
    runs = with_finals("a", A, [0.5, 0.51, 0.52]), with_finals("c", C, [0.1, 0.105, 0.115])
    p = p_text(stats.ttest_rel([0.5, 0.51, 0.52], [0.1, 0.105, 0.115]).pvalue)
    assert said(*runs) == [
        "by accuracy, no difference between the schedules stands out from the noise of 3 seeds",
        f"by loss, c is best: 0.1067 against 0.5100 of a ({p})",
    ]
    runs = with_finals("a", A, [0.2, 0.21, 0.22]), with_finals("b", B, [0.21, 0.2, 0.22])
    assert said(*runs)[1] == "by loss, no difference between the schedules stands out from the noise of 3 seeds"


def test_a_difference_that_is_not_from_the_best() -> None:
    """The best one is too unsteady to differ from any, though the others do differ."""
    steady, lower, unsteady = [0.90, 0.901, 0.902, 0.903], [0.88, 0.881, 0.8822, 0.883], [0.99, 0.80, 0.99, 0.93]
    lossless = [math.nan] * 4
    runs = [with_finals(n, v, lossless) for n, v in (("s", steady), ("l", lower), ("u", unsteady))]
    assert said(*runs) == ["no difference from u, the best, stands out from the noise of 4 seeds"]


def test_the_best_mean_may_be_worse_over_the_common_seeds() -> None:
    """One that lost its bad seeds has the better mean; over the seeds that both finished, the other does better."""
    a, b = [0.95, 0.951, 0.952, 0.90, 0.90, 0.90], [0.93, 0.932, 0.931, 0, 0, 0]
    runs = with_finals("a", a, [math.nan] * 6), with_finals("b", b, [math.nan] * 6)
    for run in runs[1][3:]:
        run.status = DIVERGED
    p = p_text(stats.ttest_rel(a[:3], b[:3]).pvalue)
    assert said(*runs) == [
        f"a did better than b over their common seeds ({p})",
        "b: 3 of 6 runs DIVERGED",
    ]


def test_all_that_differ_name_the_next() -> None:
    low = [0.5, 0.51, 0.49]
    assert corrected((A, B), (A, low), (B, low))[:2] == ["p < 0.001"] * 2
    assert said(with_finals("a", A), with_finals("b", B), with_finals("d", low))[0] == (
        "a is best: 97.50 % against 90.47 % of b, the next (p < 0.001)"
    )


def test_what_diverged_is_told() -> None:
    lost = [("constant", 0.1, 0), ("constant", 0.1, 3), *(("step", 0.1, seed) for seed in range(5))]
    results = fake(seeds=5, diverged=lost)
    for run in results.runs[1:3]:
        run.averaged = {"val_accuracy": 0.9, "val_loss": 0.1}
    assert verdict(compare(results.groups()))[-2:] == ["constant: 2 of 5 runs DIVERGED", "step: every run DIVERGED"]
    assert method(comparisons(results)) == "paired t-tests over 2 to 5 seeds, Holm-corrected over all pairs"


def test_no_common_seeds() -> None:
    assert said(with_finals("a", [0.5, 0.6]), with_finals("b", [0.1, 0.2, 0.3, 0.4])[2:]) == [
        "no test: no two schedules finished two common seeds",
        "by loss, no test: no two schedules finished two common seeds",
    ]
    assert said(with_finals("a", [0.5, 0.6]), with_finals("b", [0.1, 0.2, 0.3])[1:])[0] == (
        "no test: no two schedules finished two common seeds"
    )


def test_an_interrupted_training_shows_how_far_it_came() -> None:
    """And leaves it to the command line, which knows the folder's name, to say how to go on."""
    runs = [fake_run(name, seed=seed, epochs=2, status=STOPPED) for name in ("a", "b") for seed in range(3)]
    results = of(runs)
    results.spec["run"] = {"epochs": 6}
    shown = text(results)
    assert "\n\ninterrupted at epoch 2 of 6: no ranking\n" in shown
    assert "--resume" not in shown
    assert "paired" not in shown


def test_samples_are_counted_where_they_are_few() -> None:
    """The form of a published figure: 109 of 114."""
    first, second = with_finals("a", [109 / 114, 112 / 114]), with_finals("b", [109 / 114, 108 / 114])
    groups = of(first + second).groups()
    assert counts(compare(groups, 114)) == "correct: a 110.5 of 114 (109 to 112), b 108.5 (108 to 109)"
    assert counts(compare(of(with_finals("a", [109 / 114])).groups(), 114)) == "correct: a 109.0 of 114"
    assert counts(compare(groups, 10_000)) == counts(compare(groups)) == ""
    many = [run for at in range(7) for run in with_finals(f"{at}", [(90 + at) / 100, (90 + at) / 100])]
    assert counts(compare(of(many).groups(), 100)) == "correct: 6 96.0 of 100 (96 to 96), 0 90.0 (90 to 90)"


def test_many_names_are_cut() -> None:
    runs = [with_finals(name, [v + 0.05 * i for v in (0.5, 0.504, 0.508)]) for i, name in enumerate("abcdefgh")]
    assert "h is best: 85.40 % against 80.40 % of g, the next" in said(*runs)[0]
    first, *_ = said(*runs, with_finals("i", [0.8535, 0.8542, 0.8575]))
    assert first.startswith("i is better than g, f, e and 4 more (p <= ")
    assert first.endswith("); its difference from h is inside the noise")


def test_several_rates_have_their_sentences_once() -> None:
    """The verdict and the counts belong to the best rates; the test is named at the end."""
    results = rates()
    lines = unwrapped(text(results).splitlines())
    p = p_text(stats.ttest_rel(C, [0.99] * 3).pvalue)
    assert lines[5] == f"a at 1 is best: 99.00 % against 97.53 % of b at 0.01 ({p})"
    assert [line for line in lines if line.startswith("correct:")] == [
        "correct: a at 1 356.4 of 360 (356 to 356), b at 0.01 351.1 (350 to 353)"
    ]
    assert sum("is best" in line for line in lines) == 2, "by accuracy and by loss, of the first table"
    assert sum("paired" in line for line in lines) == 1
    assert lines[-1] == "paired t-tests over 3 seeds"
    at = lines.index("base rate 0.01")
    assert lines[at + 4 : at + 6] == ["", "base rate 0.1"]


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
    assert shortened("x" * 10**6, 5) == "x...x"
    lines = text(of(with_finals("x" * 200 + "|", A) + with_finals("b", B, lr=0.01))).splitlines()
    assert max(len(line) for line in lines) <= 80


def test_shortened_names_are_told_from_each_other() -> None:
    names = ["warmup-then-cosine-for-a-while (averaged)", "warmup-then-linear-for-a-while (averaged)"]
    lines = text(of(with_finals(names[0], A) + with_finals(names[1], C))).splitlines()
    assert [line.split("  ")[0] for line in lines[1:3]] == [
        "warmup-then-line...hile (averaged)",
        "warmup-then-cosi...hile (averaged)",
    ]
    assert "min-max" not in lines[0], "it is left out for them"


def test_a_table_with_what_diverged() -> None:
    table = text(fake(["constant", "cosine"], seeds=2, diverged=[("cosine", 0.1, 0), ("cosine", 0.1, 1)]))
    assert "0/2  DIVERGED" in table
    assert "nan" not in table


def test_markdown_is_a_table_with_the_intervals_of_the_corrected_test() -> None:
    runs = with_finals("a|b", A) + with_finals("b", B) + with_finals("c", [0.5, 0.51, 0.52])
    lines = text(of(runs), "markdown").splitlines()
    assert lines[0] == (
        "| schedule | accuracy % | sd | min-max | loss | sd | n "
        "| points from the best [interval of the corrected test] |"
    )
    assert lines[1] == "| :--- |" + " ---: |" * 7
    assert lines[2] == "| a\\|b | 97.50 | 0.50 | 97.00-98.00 | 0.0250 | 0.0050 | 3 | best |"
    # Of three pairs this one has the largest p-value: it stands uncorrected, unless a smaller one's is higher.
    found = {other: stats.ttest_rel(v, A) for other, v in (("b", B), ("c", [0.5, 0.51, 0.52]))}
    found["bc"] = stats.ttest_rel([0.5, 0.51, 0.52], B)
    p = holm([found[key].pvalue for key in ("b", "c", "bc")])[0]
    interval = found["b"].confidence_interval(1 - 0.05 * found["b"].pvalue / p)
    told = f"-7.03 [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}], {p_text(p)} |"
    assert lines[3].endswith(told)
    assert lines[-1] == "paired t-tests over 3 seeds, Holm-corrected over all pairs"


def test_programs_get_the_summary_as_it_is_stored() -> None:
    results = fake(seeds=2, lrs=(0.1, 0.2), diverged=[("step", 0.2, 0)])
    assert json.loads(text(results, "json")) == {"version": 1, "summary": results.summary()}
    assert [json.loads(line) for line in text(results, "jsonl").splitlines()] == results.summary()
    header, first, *rest = text(results, "csv").splitlines()
    assert header.startswith("schedule,lr,final_accuracy.mean,final_accuracy.sd,")
    assert header.endswith(",diverged")
    assert first.split(",")[2] == repr(results.summary()[0]["final_accuracy"]["mean"])
    assert len(rest) == 7


def test_averaged_weights_are_a_row_and_the_test_part_is_told() -> None:
    runs = with_finals("a", A)
    for run, accuracy in zip(runs, (0.98, 0.99, 0.985), strict=True):
        run.averaged = {"val_accuracy": accuracy, "val_loss": 0.01, "test_accuracy": 0.95}
        run.test_accuracy = [0.2, 0.96]
    lines = text(of(runs)).splitlines()
    assert lines[1].split() == ["a", "(averaged)", "98.50", "0.50", "98.00-99.00", "0.0100", "0", "3", "best"]
    assert lines[2].split()[:3] == ["a", "97.50", "0.50"]
    start = "test accuracy at the end, and at the epoch of the best validation accuracy: "
    assert unwrapped(lines)[-3:] == [
        f"{start}a 96.00 %, 96.00 % at the best, 95.00 % averaged",
        "",
        "paired t-tests over 3 seeds",
    ]
    unknown = with_finals("a", A)
    unknown[0].test_accuracy = [math.nan, math.nan]
    assert unwrapped(text(of(unknown)).splitlines())[-1].endswith(": a unknown, unknown at the best")


def test_a_format_that_is_none_is_refused() -> None:
    assert message_of(text, fake(), "jsno") == (
        "--format must be table, csv, json, jsonl, markdown, got 'jsno' (did you mean json?)"
    )


# The terminal.


def in_terminal(results: Results, width: int) -> list[str]:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, no_color=True).print(rich_report(results, width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def averaged(*names: str, lrs: tuple[float, ...] = (0.1,)) -> Results:
    results = fake(names, seeds=3, lrs=lrs)
    for run in results.runs:
        run.averaged = {"val_accuracy": 1.0, "val_loss": 0.01}
    return results


def test_a_terminal_of_80_columns_has_the_plain_table() -> None:
    """Letter by letter, but for the line under the header."""
    for results in (averaged("constant", "warmup-cosine"), rates(), fake(seeds=1)):
        lines = [line for line in in_terminal(results, 80) if not line.startswith("─")]
        assert lines == text(results).splitlines()


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 70, 80, 120])
def test_a_terminal_never_loses_a_digit(width: int) -> None:
    """At any width: what is shown of a row is whole, and what does not fit is left out as a column."""
    results = averaged(
        "constant", "[bold]halving-for-a-long-while[/]", "halving-again-for-a-long-while", lrs=(0.1, 0.02)
    )
    whole = {cell for line in in_terminal(results, 200) for cell in line.split()}
    lines = in_terminal(results, width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    cells = [cell for line in lines for cell in line.split() if cell.replace(".", "").isdigit()]
    assert set(cells) <= whole
    assert "accuracy %" in "".join(lines)


def test_columns_are_left_out_one_after_the_other() -> None:
    """Names are shortened first; then go the range, the deviation and that of the losses."""
    results = fake(["constant", "halving-for-a-long-while"])

    def header(width: int) -> list[str]:
        return in_terminal(results, width)[0].split()

    full = ["schedule", "accuracy", "%", "sd", "min-max", "loss", "sd", "n", "vs", "best"]
    assert header(90) == header(76) == full
    assert "halvin...-while" in in_terminal(results, 74)[2]
    assert header(70) == ["schedule", "accuracy", "%", "sd", "loss", "sd", "n", "vs", "best"]
    assert header(55) == ["schedule", "accuracy", "%", "loss", "sd", "n", "vs", "best"]
    assert header(46) == ["schedule", "accuracy", "%", "loss", "n", "vs", "best"]
    assert header(25) == ["schedule", "accuracy", "%"]


def test_the_best_of_a_ranking_is_bold() -> None:
    from rich.console import Console

    def first(results: Results) -> str:
        out = io.StringIO()
        Console(file=out, width=80, force_terminal=True, color_system="standard").print(rich_report(results, 80))
        return out.getvalue().splitlines()[2]

    assert first(fake()).startswith("\x1b[1m")
    assert "\x1b[1m" not in first(fake(seeds=1))
