"""What a comparison of schedules comes to, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lrsched_cli.comparison import LEVEL, Comparison, Difference, Row, Tests, loss_text, p_text
from lrsched_cli.results import DIVERGED

#: A validation part of at most so many samples is told as a count: one of them is then 0.1% or more.
COUNTABLE = 1000
#: Of more rows than this only the first and the last are counted out.
MOST_COUNTED = 6
#: Names that a sentence lists.
MOST_NAMES = 4


def verdict(comparison: Comparison) -> list[str]:
    """What can be said of a comparison: why there is no ranking, or what the tests found; and what diverged."""
    names = _Names(comparison.rows)
    said = [comparison.unranked] if comparison.unranked else _found(comparison, names)
    said += _diverged(comparison.rows, names)
    return said + [comparison.note] * bool(comparison.note)


def counts(comparison: Comparison) -> str:
    """The mean accuracies as samples that were classified correctly; empty where that would be many, or unknown."""
    size, names = comparison.val_size, _Names(comparison.rows)
    known = [row for row in comparison.rows if row.accuracy.n]
    if size is None or size > COUNTABLE or not known:
        return ""
    texts = []
    for number, row in enumerate(known if len(known) <= MOST_COUNTED else (known[0], known[-1])):
        low, high = round(row.accuracy.min * size), round(row.accuracy.max * size)
        total = "" if number else f" of {size}"
        among = f" ({low} to {high})" if row.accuracy.n > 1 else ""
        texts.append(f"{names[row]} {row.accuracy.mean * size:.1f}{total}{among}")
    return f"correct: {', '.join(texts)}"


def method(comparisons: Sequence[Comparison]) -> str:
    """Which test the p-values of some comparisons are of; empty where there are none."""
    tests = [part for one in comparisons for part in (one.by_accuracy, one.by_loss) if part and part.differences]
    if not tests:
        return ""
    corrected = any(len(part.differences) > 1 for part in tests)
    return f"paired t-tests over {_seeds(tests)}" + (", Holm-corrected over all pairs" if corrected else "")


class _Names:
    """What sentences call the rows: by the schedule, and by its base rate too where these differ."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rates = len({row.lr for row in rows}) > 1

    def __getitem__(self, row: Row) -> str:
        return f"{row.name} at {row.lr:g}" if self.rates else row.name


def _found(comparison: Comparison, names: _Names) -> list[str]:
    """What the tests by accuracy and by loss say; where neither finds anything, that is said once."""
    tests = {"": comparison.by_accuracy, "by loss, ": comparison.by_loss}
    known = {prefix: part for prefix, part in tests.items() if part is not None}
    silent = [part for part in known.values() if part.differences and part.least >= LEVEL]
    if len(silent) == len(known):
        either = ", by accuracy or by loss" if len(silent) > 1 else ""
        return [f"no difference between the schedules stands out from the noise of {_seeds(silent)}{either}"]
    said = []
    for prefix, part in known.items():
        if not part.differences:
            said.append(f"{prefix}no test: no two schedules finished two common seeds")
        elif part in silent:
            measure = prefix or "by accuracy, "
            said.append(f"{measure}no difference between the schedules stands out from the noise of {_seeds([part])}")
        else:
            said += _differing(prefix, comparison.rows, part, names)
    return said


def _differing(prefix: str, rows: Sequence[Row], tests: Tests, names: _Names) -> list[str]:
    """What is said where some pair of schedules differs; ``prefix`` tells that it is by loss."""

    def value(row: Row) -> str:
        return loss_text(row.loss.mean) if prefix else f"{100 * row.accuracy.mean:.2f} %"

    def listed(numbers: Sequence[int]) -> str:
        return _listed([names[rows[at]] for at in numbers])

    first, differences = names[rows[tests.best]], tests.differences
    differing = {at: found for at, found in differences.items() if found.p < LEVEL}
    same = [at for at in differences if at not in differing]
    worse = {at: found for at, found in differing.items() if (found.mean > 0) == bool(prefix)}
    # Where runs diverged, the seeds in common may tell otherwise than the means.
    better = {at: found for at, found in differing.items() if at not in worse}
    said = []
    if not differing:
        return [f"{prefix}no difference from {first}, the best, stands out from the noise of {_seeds([tests])}"]
    if len(worse) == len(differences):
        # The rows are in the order of their accuracies, which need not be that of their losses.
        following = min(worse, key=lambda at: rows[at].loss.mean if prefix else -rows[at].accuracy.mean)
        rest = ", the next" if len(worse) > 1 else ""
        against = f"{value(rows[tests.best])} against {value(rows[following])} of {names[rows[following]]}{rest}"
        said.append(f"{prefix}{first} is best: {against} ({_most(worse)})")
    elif worse:
        others = sorted(worse, key=lambda at: rows[at].loss.mean if prefix else -rows[at].accuracy.mean)
        said.append(
            f"{prefix}{first} is better than {listed(others)} ({_most(worse)})" + _alike(listed(same), len(same))
        )
    if better:
        said.append(f"{prefix}{listed(list(better))} did better than {first} over their common seeds ({_most(better)})")
    return said


def _alike(names: str, count: int) -> str:
    if not count:
        return ""
    differences = "its difference" if count == 1 else "its differences"
    return f"; {differences} from {names} {'is' if count == 1 else 'are'} inside the noise"


def _most(tested: Mapping[int, Difference]) -> str:
    """The largest of several p-values, told as such."""
    text = p_text(max(found.p for found in tested.values()))
    return text.replace(" = ", " <= ") if len(tested) > 1 else text


def _seeds(tests: Sequence[Tests]) -> str:
    found = [difference.n for part in tests for difference in part.differences.values()]
    low, high = min(found), max(found)
    return f"{low} seeds" if low == high else f"{low} to {high} seeds"


def _listed(names: Sequence[str]) -> str:
    """``a, b and c``; of more than four, the first three and how many more."""
    shown = (
        list(names) if len(names) <= MOST_NAMES else [*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} more"]
    )
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _diverged(rows: Sequence[Row], names: _Names) -> list[str]:
    """The schedules of which some runs diverged, or all of them."""
    rows = [row for row in rows if not row.averaged]
    wholly = [names[row] for row in rows if row.diverged == row.runs]
    partly = [
        f"{names[row]}: {row.diverged} of {row.runs} runs {DIVERGED}" for row in rows if 0 < row.diverged < row.runs
    ]
    return partly + ([f"{_listed(wholly)}: every run {DIVERGED}"] if wholly else [])
