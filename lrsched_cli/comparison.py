"""Which schedule does better, and whether that is more than the noise between seeds.

Every schedule of a seed starts from the same weights and sees the same batches, so runs are compared seed by seed: by
Student's t-test on paired differences (two-sided), its p-values corrected as by Holm, A simple sequentially
rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.

Holm's family is all pairs of schedules, although only the pairs with the best one are told. Which one is best is read
off the same values, and a family of those pairs alone forgets that: with no true difference it found one in 7% of
simulated trainings of 5 schedules and 5 seeds, and in 11% of those of 8 and 10; all pairs found one in 4% at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import ModuleType

import numpy as np
import numpy.typing as npt

from lrsched_cli.results import DIVERGED, STOPPED, Group, Results, RunResult, Spread, counted

#: A corrected p-value below this is called a difference; one minus this is the level of the confidence intervals.
LEVEL = 0.05
#: Differences this small beside the values are rounding.
ROUNDING = 1e-12
#: A validation part of at most so many samples is told as a count: one of them is then 0.1% or more.
COUNTABLE = 1000
#: Names that a sentence lists.
MOST_NAMES = 4


@dataclass(frozen=True)
class Difference:
    """A schedule's final value minus the best one's, seed by seed.

    Attributes
    ----------
    mean: of the differences.
    low, high: its 95% confidence interval, of this pair alone.
    p: the probability of such a mean or a larger one if there were no difference, corrected for all pairs.
    n: the seeds that both finished.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True)
class Row:
    """A schedule at a base rate. The differences are None for the best one, and where there is no test."""

    schedule: str
    lr: float
    accuracy: Spread
    loss: Spread
    runs: int
    diverged: int
    accuracy_difference: Difference | None = None
    loss_difference: Difference | None = None
    verdict: str = ""


@dataclass(frozen=True)
class Comparison:
    """Schedules beside each other.

    Attributes
    ----------
    title: which of the runs these are; empty where they are all.
    rows: ranked by mean final accuracy, ties by loss; in the order given where they cannot be ranked.
    ranked: whether every schedule that did not diverge finished two seeds or more, so that there is a ranking.
    verdict: what can be said, in plain sentences.
    counts: a sentence with the mean accuracies as samples that were classified rightly; empty where the validation
        part is large or of unknown size.
    """

    title: str
    rows: list[Row]
    ranked: bool
    verdict: list[str]
    counts: str


def comparisons(results: Results) -> list[Comparison]:
    """All schedules, each at its best base rate; then those at every rate, where a schedule was tried at several."""
    groups, best = results.groups(), best_rates(results)
    if len(groups) == len(best):
        return [compare(groups, results.val_size)]
    tried = len(results.lrs)
    note = (
        f"each schedule is at the best of {tried} base rates, chosen by these same accuracies, which flatters all of "
        "them: train the chosen rates with other seeds for a fair figure"
    )
    chosen = {(schedule, lr): groups[schedule, lr] for schedule, lr in best.items()}
    found = [compare(chosen, results.val_size, title="each schedule at its best base rate", note=note)]
    for rate in results.lrs:
        part = {key: runs for key, runs in groups.items() if key[1] == rate}
        found.append(compare(part, results.val_size, title=f"base rate {rate:g}"))
    return found


def best_rates(results: Results) -> dict[str, float]:
    """The base rate of each schedule with the highest mean final accuracy, of those that the most runs survived."""
    best: dict[str, tuple[tuple[float, float, float], float]] = {}
    for (schedule, lr), runs in results.groups().items():
        taken = counted(runs)
        merit = (len(taken), *_merit(_spread(taken, "val_accuracy"), _spread(taken, "val_loss")))
        if schedule not in best or merit > best[schedule][0]:
            best[schedule] = merit, lr
    return {schedule: lr for schedule, (_, lr) in best.items()}


def compare(
    groups: Mapping[Group, Sequence[RunResult]], val_size: int | None = None, *, title: str = "", note: str = ""
) -> Comparison:
    """Compare schedules, each at one base rate.

    ``val_size`` is the number of validation samples, which tells how finely an accuracy is known; ``note`` is a
    sentence to say beside the verdict.
    """
    rows = [_row(schedule, lr, runs) for (schedule, lr), runs in groups.items()]
    reason = _unrankable(rows, groups)
    names = _Names(rows)
    verdict = [] if reason is None else [reason]
    if reason is None:
        # Few runs of a schedule are left where most diverged: it goes last, and into no test.
        rows.sort(key=lambda row: (row.accuracy.n >= 2, *_merit(row.accuracy, row.loss)), reverse=True)
        rows, verdict = _judged(rows, groups, val_size, names)
    verdict += _diverged(rows, names)
    return Comparison(title, rows, reason is None, verdict + [note] * bool(note), _counts(rows, val_size, names))


def paired_t_test(a: npt.ArrayLike, b: npt.ArrayLike, resolution: float = 0.0) -> Difference:
    """Student's two-sided t-test of ``a - b``, arrays of shape ``(n,)`` with n >= 2; the p-value is uncorrected.

    ``resolution`` is the step in which the values are measured, such as one sample of an accuracy. Two values rounded
    to it differ with a variance of a sixth of its square by the rounding alone, so no less is assumed: two seeds often
    give the very same difference of accuracies by chance. Without it, differences that are all the same have p = 0,
    and p = 1 where all are zero. Needs SciPy.
    """
    from scipy import special  # type: ignore[import-untyped]

    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    # In units of a power of two, which is exact, so that squares of huge losses do not overflow.
    unit = max(math.ldexp(1.0, math.frexp(max(np.abs(x).max(), np.abs(y).max()))[1] - 1), 1.0)
    x, y, resolution = x / unit, y / unit, resolution / unit
    d = x - y
    d[np.abs(d) <= ROUNDING * np.maximum(np.abs(x), np.abs(y))] = 0.0
    n, mean = len(d), float(d.mean())
    variance = 0.0 if np.ptp(d) == 0 else float(d.var(ddof=1))
    error = math.sqrt(max(variance, resolution**2 / 6) / n)
    if error == 0:
        return Difference(mean * unit, mean * unit, mean * unit, float(mean == 0), n)
    half = float(special.stdtrit(n - 1, 1 - LEVEL / 2)) * error
    p = 2 * float(special.stdtr(n - 1, -abs(mean) / error))
    return Difference(mean * unit, (mean - half) * unit, (mean + half) * unit, p, n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order given: the k-th smallest of m times m - k + 1, and never decreasing."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min((len(p_values) - rank) * p_values[at], 1.0))
        corrected[at] = highest
    return corrected


def p_text(p: float) -> str:
    """``p = 0.034``, or ``p < 0.001``."""
    return "p < 0.001" if p < 1e-3 else f"p = {p:.2g}"


def loss_text(loss: float, digits: int = 4) -> str:
    """``0.0891``, with four decimals where these tell it, else to some significant digits; empty for NaN."""
    if loss != loss:
        return ""
    return f"{loss:.4f}" if 1e-3 <= loss < 1e3 else f"{loss:.{digits}g}"


def _spread(runs: Sequence[RunResult], name: str) -> Spread:
    return Spread.of(run.final(name) for run in runs)


def _row(schedule: str, lr: float, runs: Sequence[RunResult]) -> Row:
    taken = counted(runs)
    diverged = sum(run.status == DIVERGED for run in runs)
    return Row(schedule, lr, _spread(taken, "val_accuracy"), _spread(taken, "val_loss"), len(runs), diverged)


def _merit(accuracy: Spread, loss: Spread) -> tuple[float, float]:
    """What a ranking sorts by, the highest first."""
    return tuple(-math.inf if value != value else value for value in (accuracy.mean, -loss.mean))  # type: ignore[return-value]


def _unrankable(rows: Sequence[Row], groups: Mapping[Group, Sequence[RunResult]]) -> str | None:
    """Why there is no ranking, if there is none."""
    if any(run.status == STOPPED for runs in groups.values() for run in runs):
        return "interrupted: no ranking before every run has ended; --resume FOLDER goes on"
    if not rows:
        return "there are no runs to compare"
    if len(rows) < 2:
        return "one schedule: there is nothing to compare it with"
    if all(row.runs < 2 for row in rows):
        return "one seed: no ranking; --seeds 5 gives one"
    if any(row.accuracy.n < 2 and row.diverged == 0 for row in rows):
        return "no ranking: a schedule has fewer than two seeds"
    if sum(row.accuracy.n >= 2 for row in rows) < 2:
        return "no ranking: fewer than two schedules have two runs that did not diverge"
    if _special() is None:
        return "no ranking: the test needs SciPy, which pip install 'lrsched-cli[train]' brings"
    return None


def _special() -> ModuleType | None:
    try:
        from scipy import special  # type: ignore[import-untyped]
    except ImportError:
        return None
    return special  # type: ignore[no-any-return]


# The tests.

Pair = tuple[int, int]


def _judged(
    rows: list[Row], groups: Mapping[Group, Sequence[RunResult]], val_size: int | None, names: _Names
) -> tuple[list[Row], list[str]]:
    """The rows with their differences from the best, and what can be said of them."""
    finals = [counted(groups[row.schedule, row.lr]) for row in rows]
    compared = [at for at, row in enumerate(rows) if row.accuracy.n >= 2]
    by_accuracy = _from_best(finals, compared, "val_accuracy", 1 / val_size if val_size else 0.0)
    judged = [replace(row, accuracy_difference=by_accuracy.get(at)) for at, row in enumerate(rows)]
    sentences = _sentences("", judged, compared[0], by_accuracy, names)
    losing = [at for at in compared if rows[at].loss.n >= 2]
    if len(losing) > 1:
        lowest = min(losing, key=lambda at: rows[at].loss.mean)
        by_loss = _from_best(finals, [lowest, *(at for at in losing if at != lowest)], "val_loss", 0.0)
        judged = [replace(row, loss_difference=by_loss.get(at)) for at, row in enumerate(judged)]
        sentences += _sentences("by loss, ", judged, lowest, by_loss, names)
    return [replace(row, verdict=_row_verdict(at, row)) for at, row in enumerate(judged)], sentences


def _from_best(
    finals: Sequence[Sequence[RunResult]], order: Sequence[int], name: str, resolution: float
) -> dict[int, Difference]:
    """The tested difference of each from the first of an order, corrected over all pairs of them."""
    tested: dict[Pair, Difference] = {}
    values = {at: {run.seed: v for run in finals[at] if math.isfinite(v := run.final(name))} for at in order}
    for best, other in combinations(order, 2):
        common = sorted(values[best].keys() & values[other].keys())
        if len(common) >= 2:
            a, b = ([values[at][seed] for seed in common] for at in (other, best))
            tested[best, other] = paired_t_test(a, b, resolution)
    corrected = holm([difference.p for difference in tested.values()])
    pairs = zip(tested.items(), corrected, strict=True)
    return {other: replace(found, p=p) for ((best, other), found), p in pairs if best == order[0]}


def _row_verdict(at: int, row: Row) -> str:
    if row.accuracy.n < 2:
        return f"{DIVERGED}, {row.diverged} of {row.runs}"
    difference = row.accuracy_difference
    if difference is None:
        return "best mean" if at == 0 else "no common seeds"
    if difference.p < LEVEL:
        # Where runs diverged, the seeds in common may tell otherwise than the means.
        return f"{'worse' if difference.mean < 0 else 'better over the common seeds'} ({p_text(difference.p)})"
    if difference.mean == 0 and difference.p == 1:
        return "no difference"
    return f"inside the noise ({p_text(difference.p)})"


# The sentences.


class _Names:
    """What sentences call the rows: by the schedule, and by its base rate too where these differ."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rates = len({row.lr for row in rows}) > 1

    def __getitem__(self, row: Row) -> str:
        return f"{row.schedule} at {row.lr:g}" if self.rates else row.schedule


def _sentences(
    prefix: str, rows: Sequence[Row], best: int, differences: Mapping[int, Difference], names: _Names
) -> list[str]:
    """What the tests against the best row say; ``prefix`` tells that it is by loss."""
    if not differences:
        return [f"{prefix}no test: no two schedules finished two common seeds"]

    def value(row: Row) -> str:
        return loss_text(row.loss.mean) if prefix else f"{100 * row.accuracy.mean:.2f} %"

    worse = {at: found for at, found in differences.items() if found.p < LEVEL and (found.mean > 0) == bool(prefix)}
    same = {at: found for at, found in differences.items() if found.p >= LEVEL}
    first, seeds = rows[best], _seeds(differences)
    test = f"paired t-test over {seeds}" + (", Holm-corrected" if len(differences) > 1 else "")
    if not worse and len(same) > 1:
        smallest = min(found.p for found in same.values())
        least = p_text(smallest) if smallest >= 1 else p_text(smallest).replace(" = ", " >= ")
        return [f"{prefix}no schedule differs from the best: all are inside the noise of {seeds} ({least}, {test})"]
    if not worse and not same:
        return []
    if not worse:
        (other, found), *_ = same.items()
        pair = _listed([names[first], names[rows[other]]])
        return [f"{prefix}the difference between {pair} is inside the noise of {seeds} ({p_text(found.p)}, {test})"]
    most = p_text(max(found.p for found in worse.values()))
    others = sorted(worse, key=lambda at: rows[at].loss.mean if prefix else -rows[at].accuracy.mean)
    if same:
        alike = _listed([names[first], *(names[rows[at]] for at in same)])
        beaten = _listed([names[rows[at]] for at in others])
        return [
            f"{prefix}{names[first]} is better than {beaten} ({_at_most(most, worse)}, {test})",
            f"{prefix}the difference between {alike} is inside the noise",
        ]
    following = rows[others[0]]
    rest = ", the next" if len(worse) > 1 else ""
    against = f"{value(first)} against {value(following)} of {names[following]}{rest}"
    return [f"{prefix}{names[first]} is best: {against} ({_at_most(most, worse)}, {test})"]


def _at_most(text: str, tested: Mapping[int, Difference]) -> str:
    """The largest of several p-values, told as such."""
    return text.replace(" = ", " <= ") if len(tested) > 1 else text


def _seeds(differences: Mapping[int, Difference]) -> str:
    counts = sorted({found.n for found in differences.values()})
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def _listed(names: Sequence[str]) -> str:
    """``a, b and c``; of more than four, the first three and how many more."""
    shown = (
        list(names) if len(names) <= MOST_NAMES else [*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} more"]
    )
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _diverged(rows: Sequence[Row], names: _Names) -> list[str]:
    """The schedules of which some runs diverged, or all of them."""
    wholly = [names[row] for row in rows if row.diverged == row.runs]
    partly = [
        f"{names[row]}: {row.diverged} of {row.runs} runs {DIVERGED}" for row in rows if 0 < row.diverged < row.runs
    ]
    return partly + ([f"{_listed(wholly)}: every run {DIVERGED}"] if wholly else [])


#: Of more schedules than this only the first and the last are counted out.
MOST_COUNTED = 6


def _counts(rows: Sequence[Row], val_size: int | None, names: _Names) -> str:
    """The accuracies as samples that were classified rightly, of a validation part that is small enough to count."""
    known = [row for row in rows if row.accuracy.n]
    if val_size is None or val_size > COUNTABLE or not known:
        return ""
    texts = []
    for row in known if len(known) <= MOST_COUNTED else (known[0], known[-1]):
        low, high = round(row.accuracy.min * val_size), round(row.accuracy.max * val_size)
        among = f" ({low} to {high})" if row.accuracy.n > 1 else ""
        texts.append(f"{names[row]} {row.accuracy.mean * val_size:.1f}/{val_size}{among}")
    return f"classified rightly: {', '.join(texts)}"
