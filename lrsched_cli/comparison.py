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

import numpy as np
import numpy.typing as npt

from lrsched_cli.results import DIVERGED, OK, STOPPED, Group, Results, RunResult, Spread, counted

#: A corrected p-value below this is called a difference.
LEVEL = 0.05
#: Differences this small beside the values are rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Difference:
    """A schedule's final value minus the best one's, seed by seed.

    Attributes
    ----------
    mean: of the differences.
    low, high: its confidence interval, of the level at which Holm's rule tests this pair: 0.95 or more. It leaves out 0
        exactly where ``p`` is below ``LEVEL``.
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
    """A schedule at a base rate: its last weights or, where ``averaged``, the averaged ones."""

    schedule: str
    lr: float
    averaged: bool
    accuracy: Spread
    loss: Spread
    runs: int
    diverged: int

    @property
    def name(self) -> str:
        return f"{self.schedule} (averaged)" if self.averaged else self.schedule


@dataclass(frozen=True)
class Tests:
    """The tests of one measure.

    Attributes
    ----------
    best: the number of the row with the best mean.
    differences: of the other rows from it, by their numbers; without those that share fewer than two seeds with it.
    least: the smallest corrected p-value of all pairs, also of those without the best; NaN where there is no pair.
    """

    best: int
    differences: dict[int, Difference]
    least: float


@dataclass(frozen=True)
class Comparison:
    """Schedules beside each other.

    Attributes
    ----------
    title: which of the runs these are; empty where they are all.
    rows: ranked by mean final accuracy, ties by loss; in the order given where they cannot be ranked.
    unranked: why there is no ranking; empty where every schedule that did not diverge finished two seeds or more.
    by_accuracy, by_loss: the tests, where there is a ranking, and two rows or more have such values.
    val_size: the number of validation samples, if known.
    note: a sentence to say beside the verdict.
    """

    title: str
    rows: list[Row]
    unranked: str = ""
    by_accuracy: Tests | None = None
    by_loss: Tests | None = None
    val_size: int | None = None
    note: str = ""


def comparisons(results: Results) -> list[Comparison]:
    """All schedules, each at its best base rate; then those at every rate, where a schedule was tried at several.

    A rate that is the best of all schedules comes but once.
    """
    groups, best, size = results.groups(), best_rates(results), results.val_size
    stopped = {run.schedule for run in results.runs if run.status == STOPPED}
    planned = max((results.planned_epochs(name) or 0 for name in stopped), default=0)
    if len(groups) == len(best):
        return [compare(groups, size, planned=planned)]
    rates = results.lrs
    note = (
        f"each schedule is at the best of {len(rates)} base rates, chosen by these same accuracies, which flatters all "
        "of them: train the chosen rates with other seeds for a fair figure"
    )
    chosen = {(schedule, lr): groups[schedule, lr] for schedule, lr in best.items()}
    shared = set(best.values())
    title = "each schedule at its best base rate" + (f", {shared.pop():g} for all" if len(shared) == 1 else "")
    found = [compare(chosen, size, title=title, note=note, planned=planned)]
    for rate in rates:
        part = {key: runs for key, runs in groups.items() if key[1] == rate}
        if part.keys() != chosen.keys():
            found.append(compare(part, size, title=f"base rate {rate:g}", planned=planned))
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
    groups: Mapping[Group, Sequence[RunResult]],
    val_size: int | None = None,
    *,
    title: str = "",
    note: str = "",
    planned: int = 0,
) -> Comparison:
    """Compare schedules, each at one base rate; averaged weights have a row of their own beside the last ones.

    ``val_size`` is the number of validation samples, which tells how finely an accuracy is known; ``planned`` the
    epochs that runs which were interrupted should have had, 0 if unknown.
    """
    members = [member for group, runs in groups.items() for member in _members(group, runs)]
    unranked = _interrupted(groups, planned) or _unrankable([row for row, _ in members])
    if unranked:
        return Comparison(title, [row for row, _ in members], unranked, val_size=val_size, note=note)
    # Few runs of a schedule are left where most diverged: it goes last, and into no test.
    members.sort(
        key=lambda member: (member[0].accuracy.n >= 2, *_merit(member[0].accuracy, member[0].loss)), reverse=True
    )
    rows, finals = [row for row, _ in members], [counted(runs) for _, runs in members]
    tested = [at for at, row in enumerate(rows) if row.accuracy.n >= 2]
    by_accuracy = _tests(finals, tested, "val_accuracy", 1 / val_size if val_size else 0.0)
    losing = sorted((at for at in tested if rows[at].loss.n >= 2), key=lambda at: rows[at].loss.mean)
    by_loss = _tests(finals, losing, "val_loss", 0.0) if len(losing) > 1 else None
    return Comparison(title, rows, "", by_accuracy, by_loss, val_size, note)


def paired_t_test(a: npt.ArrayLike, b: npt.ArrayLike, resolution: float = 0.0, alpha: float = LEVEL) -> Difference:
    """Student's two-sided t-test of ``a - b``, arrays of shape ``(n,)`` with n >= 2; the p-value is uncorrected.

    ``resolution`` is the step in which the values are measured, such as one sample of an accuracy. Two values rounded
    to it differ with a variance of a sixth of its square by the rounding alone, so no less is assumed: two seeds often
    give the very same difference of accuracies by chance. Without it, differences that are all the same have p = 0,
    and p = 1 where all are zero. The interval has the level ``1 - alpha``. Needs SciPy.
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
    half = -float(special.stdtrit(n - 1, alpha / 2)) * error
    p = 2 * float(special.stdtr(n - 1, -abs(mean) / error))
    return Difference(mean * unit, (mean - half) * unit, (mean + half) * unit, p, n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order given: the k-th smallest of m times m - k + 1, and never decreasing."""
    return [min(p, 1.0) for p in _stepped_down(p_values)]


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


def _members(group: Group, runs: Sequence[RunResult]) -> list[tuple[Row, Sequence[RunResult]]]:
    """The runs of a group as a row, and as another with the averaged weights where a run has such."""
    found = [(_row(group, False, runs), runs)]
    if any(run.averaged for run in runs):
        averaged = [_averaged(run) for run in runs]
        found.append((_row(group, True, averaged), averaged))
    return found


def _averaged(run: RunResult) -> RunResult:
    """A run that ends with its averaged weights, so that the same statistics are taken of them."""
    loss, accuracy = ((run.averaged or {}).get(name, math.nan) for name in ("val_loss", "val_accuracy"))
    return replace(run, val_loss=[loss], val_accuracy=[accuracy])


def _row(group: Group, averaged: bool, runs: Sequence[RunResult]) -> Row:
    taken = counted(runs)
    diverged = sum(run.status == DIVERGED for run in runs)
    accuracy, loss = (_spread(taken, name) for name in ("val_accuracy", "val_loss"))
    return Row(*group, averaged, accuracy, loss, len(runs), diverged)


def _merit(accuracy: Spread, loss: Spread) -> tuple[float, float]:
    """What a ranking sorts by, the highest first."""
    return tuple(-math.inf if value != value else value for value in (accuracy.mean, -loss.mean))  # type: ignore[return-value]


def _interrupted(groups: Mapping[Group, Sequence[RunResult]], planned: int) -> str:
    """How far the runs came that were interrupted, if some were."""
    runs = [run for group in groups.values() for run in group]
    stopped = [run for run in runs if run.status == STOPPED]
    if not stopped:
        return ""
    low, high = min(run.epochs for run in stopped), max(run.epochs for run in stopped)
    at = (f"epoch {low}" if low == high else f"epochs {low} to {high}") + (f" of {planned}" if planned else "")
    if any(run.status == OK for run in runs):
        return f"interrupted: {len(stopped)} of {len(runs)} runs were stopped at {at}: no ranking"
    return f"interrupted at {at}: no ranking"


def _unrankable(rows: Sequence[Row]) -> str:
    """Why there is no ranking, if there is none."""
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
    if not _has_scipy():
        return "no ranking: the test needs SciPy, which pip install 'lrsched-cli[train]' brings"
    return ""


def _has_scipy() -> bool:
    try:
        from scipy import special  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        return False
    return True


# The tests.

Pair = tuple[int, int]


def _tests(finals: Sequence[Sequence[RunResult]], order: Sequence[int], name: str, resolution: float) -> Tests:
    """The tested differences of each from the first of an order, corrected over all pairs of them."""
    values = {at: {run.seed: v for run in finals[at] if math.isfinite(v := run.final(name))} for at in order}
    found: dict[Pair, float] = {}
    samples: dict[Pair, tuple[list[float], list[float]]] = {}
    for best, other in combinations(order, 2):
        common = sorted(values[best].keys() & values[other].keys())
        if len(common) >= 2:
            a, b = ([values[at][seed] for seed in common] for at in (other, best))
            samples[best, other] = a, b
            found[best, other] = paired_t_test(a, b, resolution).p
    differences = {}
    for (pair, p), stepped in zip(found.items(), _stepped_down(list(found.values())), strict=True):
        if pair[0] == order[0]:
            # What p is below where Holm's rule finds a difference: so the interval and the corrected p-value agree.
            alpha = LEVEL * p / stepped if p else LEVEL / len(found)
            differences[pair[1]] = replace(paired_t_test(*samples[pair], resolution, alpha), p=min(stepped, 1.0))
    return Tests(order[0], differences, min(holm(list(found.values())), default=math.nan))


def _stepped_down(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values before they are cut at 1."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, (len(p_values) - rank) * p_values[at])
        corrected[at] = highest
    return corrected
