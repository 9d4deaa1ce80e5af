"""The learning-rate range test: what a sweep of rates, each trained for a few epochs with several seeds, says.

Smith's test (https://arxiv.org/abs/1506.01186) raises the rate during one run and looks for the steepest fall of the
loss; on a small job that curve is noise, and the steepest place of noise is no rate to train with. Here every rate
has runs of its own, so the noise between seeds is measured, and an answer is given only where the curve stands out.

The rule:

- The best rate has the lowest loss, averaged over the seeds and smoothed over its neighbours: their weights fall
  linearly to nothing at a distance of 0.4 decades, so that a coarse grid is not smoothed at all.
- Its interval holds the rates around it whose loss, paired by seed, is higher by at most three standard errors; where
  a rate is noisier than those around the best one, that excuses at most a tenth of what was learned.
- There is no answer unless the best rate falls below the loss before training (and below the loss of guessing, if that
  is known) by 1% and by three standard errors; nor where it lies at an end of the range or all rates are the same, with
  fewer than five rates below the first that is unstable, and with one seed, which shows no noise.

A rate is unstable where a seed ends with a loss that is not finite, or above ten times the loss before training (or of
guessing, if that is higher). Rates at and above the first unstable one are left out. Rates that end worse than they
began are smoothed apart from the others: how bad a bad rate is must not move its neighbours.

Losses are averaged as they are, not as logarithms: a rate at which one seed in five fails must not look good because
the others end at 1e-8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lrsched_cli.comparison import loss_text
from lrsched_cli.errors import SpecError, must
from lrsched_cli.schedules.ticks import Array

#: Rates below the first that is unstable, without which there is no curve to judge.
FEWEST = 5
#: Standard errors that a difference must exceed.
ERRORS = 3.0
#: The smallest fall that counts as learning, as a share of the loss that it must fall below.
LEARNED = 0.01
#: A loss above so many times what takes no learning is an explosion, although it is finite.
EXPLODED = 10.0
#: The share of what the best rate has learned that a rate of more noise may lack and count as good.
EXCUSED = 0.1
#: The distance, in decades, at which a rate no longer counts as a neighbour.
REACH = 0.4
#: What a rate and a loss before training may be.
LEAST, MOST = 1e-100, 1e100
#: Places nearest to the best rate over which the noise is pooled.
NEAREST = 7
#: How much further a range should reach where its end is in the way.
FURTHER = 10.0


@dataclass(frozen=True, eq=False)
class Finding:
    """What a range test found over ``R`` rates and ``S`` seeds.

    Attributes
    ----------
    rates: ``(R,)``, increasing.
    initial: ``(S,)``, each seed's loss before training.
    final: ``(R, S)``, the losses at the end; NaN or infinite where a run diverged.
    chance: the loss of guessing, where it was given.
    mean: ``(R,)``, the mean of ``final`` over the seeds; NaN where one of them is not finite.
    smoothed: ``(R,)``, the curve whose lowest point is the best rate; NaN at and above the first unstable rate.
    low, high: ``(R,)``, ``mean`` less and more the noise: three standard errors of its difference from the mean of the
        best rate. NaN where ``smoothed`` is, without a curve, and with one seed.
    best: the rate with the lowest smoothed loss, whether or not it is an answer; None without a curve.
    suggestion: the best rate where it is an answer, else None.
    interval: the lowest and the highest rate that cannot be told from the best one; None where nothing is learned,
        and with one seed.
    largest_stable: the highest rate below the first that is unstable or, above a best rate that learns, ends worse than
        it began, as far as the noise shows; None if already the lowest rate does.
    reason: one line: the rule with its numbers, or why there is no answer and what to try.
    """

    rates: Array
    initial: Array
    final: Array
    chance: float | None
    mean: Array
    smoothed: Array
    low: Array
    high: Array
    best: float | None
    suggestion: float | None
    interval: tuple[float, float] | None
    largest_stable: float | None
    reason: str

    @property
    def diverged(self) -> npt.NDArray[np.bool_]:
        """``(R,)``: whether a run of each rate ended with a loss that is not finite."""
        return np.asarray(~np.isfinite(self.final).all(axis=1))

    @property
    def unstable(self) -> npt.NDArray[np.bool_]:
        """``(R,)``: whether a run of each rate diverged, or ended far above the loss that takes no learning."""
        return _unstable(self.initial, self.final, self.chance)


def analyse(
    rates: npt.ArrayLike, initial: npt.ArrayLike, final: npt.ArrayLike, *, chance: float | None = None
) -> Finding:
    """Find the rate to train with, the rates that are as good, or why there is no answer.

    Parameters
    ----------
    rates: ``(R,)``, positive and increasing.
    initial: ``(S,)``, the loss of each seed before training, positive.
    final: ``(R, S)``, the loss at the end of each run, not negative; NaN or infinite where it diverged.
    chance: the loss of a model that only knows how frequent the classes are (their entropy), if known. A network may
        start far above it, and getting there is no learning: the best rate must fall below this loss too.

    A ``SpecError`` says which of these does not hold.
    """
    sweep = _Sweep(*_checked(rates, initial, final, chance), chance)
    suggestion, reason = sweep.answer()
    low, high = sweep.band()
    return Finding(
        rates=sweep.rates,
        initial=sweep.initial,
        final=sweep.final,
        chance=chance,
        mean=sweep.mean,
        smoothed=sweep.smoothed,
        low=low,
        high=high,
        best=None if sweep.best is None else float(sweep.rates[sweep.best]),
        suggestion=suggestion,
        interval=sweep.interval(),
        largest_stable=sweep.largest_stable(),
        reason=reason,
    )


def _checked(
    rates: npt.ArrayLike, initial: npt.ArrayLike, final: npt.ArrayLike, chance: float | None
) -> tuple[Array, Array, Array]:
    try:
        x, before, after = (np.array(values, dtype=np.float64) for values in (rates, initial, final))
    except (TypeError, ValueError):  # text, or rows of different lengths
        raise SpecError("rates and losses must be arrays of numbers") from None
    if x.ndim != 1 or not x.size or before.ndim != 1 or not before.size or after.shape != (x.size, before.size):
        shapes = ", ".join(str(values.shape) for values in (x, before, after))
        raise SpecError(f"rates, initial and final must have the shapes (R,), (S,) and (R, S), got {shapes}")
    if not (x[0] >= LEAST and x[-1] <= MOST and (np.diff(x) > 0).all()):
        raise must("rates", f"increasing, from {LEAST:g} to {MOST:g} at most", x.tolist())
    for value in before[~((before >= LEAST) & (before <= MOST))].tolist():
        raise SpecError(f"the loss before training must be from {LEAST:g} to {MOST:g}, got {value}")
    for value in after[after < 0].tolist():
        raise SpecError(f"a loss must be >= 0, got {value}")
    if chance is not None and not LEAST <= chance <= MOST:
        raise must("chance", f"from {LEAST:g} to {MOST:g}", chance)
    return x, before, after


def _unstable(initial: Array, final: Array, chance: float | None) -> npt.NDArray[np.bool_]:
    limits = EXPLODED * np.maximum(initial, chance or 0.0)
    return np.asarray(~(final <= limits).all(axis=1))  # not so for NaN either


class _Sweep:
    """The analysis of one sweep; rates are known by their index.

    Attributes
    ----------
    usable: how many rates lie below the first unstable one; only these are looked at.
    loss: ``(usable, S)``, the losses after training.
    start: ``(S,)``, the loss that the best rate must fall below.
    typical: the variance over the seeds of the fall below it, for most rates.
    worse: ``(usable,)``, whether a rate ended worse than it began, as far as the noise shows.
    best: the index of the best rate, or None where too few are usable.
    judged: whether differences can be judged: there is a curve, and more than one seed.
    pooled: the variance of a single loss about the curve of its own seed, where it is judged.
    fall, least: how far the best rate falls, and how far it must to have learned something.
    """

    def __init__(self, rates: Array, initial: Array, final: Array, chance: float | None) -> None:
        self.rates, self.initial, self.final = rates, initial, final
        self.seeds = len(initial)
        self.usable = int(np.logical_and.accumulate(~_unstable(initial, final, chance)).sum())
        # The sum of the largest losses may not be a number.
        self.mean: Array = np.where(np.isfinite(final), np.minimum(final, 1e300), np.nan).mean(axis=1)
        self.loss: Array = final[: self.usable]
        self.start = initial if chance is None else np.minimum(initial, chance)

        enough = self.usable >= FEWEST
        self.judged = enough and self.seeds > 1
        self.typical = self._typical(self.start - self.loss) if self.judged else 0.0
        rise = self.mean[: self.usable] - initial.mean()
        self.worse = rise > max(LEARNED * initial.mean(), ERRORS * np.sqrt(self.typical / self.seeds))
        curve = self._smoothed()
        self.smoothed = np.full_like(rates, np.nan)
        self.smoothed[: self.usable] = curve
        self.best = int(np.argmin(curve)) if enough else None
        self.pooled = self._roughness() if self.judged else 0.0
        self.fall = 0.0 if self.best is None else float(self.start.mean() - curve[self.best])
        self.least = self._least_fall()
        self.learns = self.best is not None and self.fall > self.least

    def _smoothed(self) -> Array:
        """The means, each averaged with those of its neighbours that are as bad or as good."""
        decades = np.log10(self.rates[: self.usable])
        weights = np.maximum(1 - np.abs(decades[:, None] - decades) / REACH, 0.0)
        weights *= self.worse[:, None] == self.worse
        return np.asarray(weights @ self.mean[: self.usable] / weights.sum(axis=1))

    # The noise.

    def _margins(self, differences: Array, pooled: float) -> Array:
        """Three standard errors of the mean over the seeds of differences ``(..., S)`` that are paired by seed.

        Few seeds now and then agree by chance, so a variance is never taken below the pooled one.
        """
        return np.asarray(ERRORS * np.sqrt(np.maximum(differences.var(axis=-1, ddof=1), pooled) / self.seeds))

    def _typical(self, values: Array) -> float:
        """The variance over the seeds in most rows of ``(n, S)`` values, which a few wild rows do not move.

        The median of a variance lies below its mean by the factor of Wilson and Hilferty (PNAS 17, 1931).
        """
        return float(np.median(values.var(axis=1, ddof=1))) / (1 - 2 / (9 * (self.seeds - 1))) ** 3

    def _roughness(self) -> float:
        """The variance of a single loss about the curve of its own seed, around the best rate.

        From second differences, which a smooth curve leaves small: Gasser, Sroka and Jennen-Steinmetz, Biometrika 73
        (1986). What the seeds have in common belongs to the curve, and the variance over them leaves it out.
        """
        assert self.best is not None
        y, bad = self.loss, self.worse
        second = (y[:-2] / 2 - y[1:-1] + y[2:] / 2) / np.sqrt(1.5)
        places = np.flatnonzero(~(bad[:-2] | bad[1:-1] | bad[2:]))
        if not places.size:
            places = np.arange(len(second))
        order = np.argsort(np.abs(places + 1 - self.best), kind="stable")
        return self._typical(second[places[order[:NEAREST]]])

    def _least_fall(self) -> float:
        """The fall of the loss that the best rate must exceed to have learned something."""
        if not self.judged:
            return self._counted()
        falls = self.start - self.loss[self.best]
        return max(self._counted(), float(self._margins(falls, max(self.typical, 2 * self.pooled))))

    def _counted(self) -> float:
        """The least fall that counts as learning, however sure it is."""
        return LEARNED * float(self.start.mean())

    def _above_best(self) -> tuple[Array, Array]:
        """How far the mean of each usable rate lies above that of the best one, and how far the noise reaches."""
        differences = self.loss - self.loss[self.best]
        return differences.mean(axis=1), self._margins(differences, 2 * self.pooled)

    # What it says.

    def ends(self) -> tuple[int, int]:
        """The first and the last of the rates around the best one that cannot be told from it."""
        assert self.best is not None
        above, margins = self._above_best()
        # One seed in five that fails makes more noise than it moves the mean: three standard errors excuse any failure.
        usual = ERRORS * np.sqrt(2 * self.pooled / self.seeds)
        margins = np.minimum(margins, max(usual, EXCUSED * self.fall))
        apart = np.flatnonzero(above > margins)
        under, over = apart[apart < self.best], apart[apart > self.best]
        return int(under[-1]) + 1 if under.size else 0, int(over[0]) - 1 if over.size else self.usable - 1

    def interval(self) -> tuple[float, float] | None:
        if not (self.judged and self.learns):
            return None
        low, high = self.ends()
        return float(self.rates[low]), float(self.rates[high])

    def band(self) -> tuple[Array, Array]:
        margins = np.full_like(self.mean, np.nan)
        if self.judged:
            margins[: self.usable] = self._above_best()[1]
        return np.maximum(self.mean - margins, 0.0), self.mean + margins

    def largest_stable(self) -> float | None:
        worse = np.flatnonzero(self.worse)
        if self.best is not None and self.learns:
            worse = worse[worse > self.best]
        first = int(worse[0]) if worse.size else self.usable
        return float(self.rates[first - 1]) if first else None

    def answer(self) -> tuple[float | None, str]:
        """The suggestion, or None, and the reason."""
        if self.best is None:
            return None, self._no_curve()
        if not self.learns:
            return None, self._no_learning()
        best, last = self.best, len(self.rates) - 1
        rate, lower, higher = self._named(best), self._lower(), self._higher()
        if self.seeds == 1:
            return None, f"one seed does not show the noise: {rate}, with the lowest loss, is a guess; try 3 seeds"
        low, high = self.ends()
        if (low, high) == (0, last):
            alike = f"all rates end alike within the noise of {self.seeds} seeds"
            return None, f"{alike}: extend the range to {lower} and {higher}"
        if best == last:
            return None, f"the highest rate, {rate}, has the lowest loss: extend the range to {higher}"
        if best == 0:
            return None, f"the lowest rate, {rate}, has the lowest loss: extend the range to {lower}"
        return float(self.rates[best]), self._why(low, high)

    def _why(self, low: int, high: int) -> str:
        """The rule with its numbers, where rates from one index to another are as good as the best."""
        assert self.best is not None
        mean, smoothed = (loss_text(float(values[self.best])) for values in (self.mean, self.smoothed))
        apart = "" if mean == smoothed else f" ({smoothed} smoothed over its neighbours)"
        others = f"from {self._named(low)} to {self._named(high)} it is the same within the noise"
        if low == high:
            others = "its neighbours are worse by more than the noise"
        best = f"{self._named(self.best)} has the lowest loss: {mean}, the mean of {self.seeds} seeds{apart}"
        reason = f"{best}; {others}"
        if low == 0:
            reason += f"; lower rates may do as well: extend the range to {self._lower()}"
        elif high == len(self.rates) - 1:
            reason += f"; higher rates may do as well: extend the range to {self._higher()}"
        elif self.best == self.usable - 1:
            reason += f"; the next higher rate, {self._named(self.usable)}, is unstable"
        return reason

    def _named(self, index: int) -> str:
        return _rate(float(self.rates[index]))

    def _lower(self) -> str:
        """Where a range should begin whose lower end is in the way."""
        return _rate(float(self.rates[0]) / FURTHER)

    def _higher(self) -> str:
        """Where a range should end whose upper end is in the way."""
        return _rate(float(self.rates[-1]) * FURTHER)

    def _no_curve(self) -> str:
        count = len(self.rates)
        if count < FEWEST:
            return f"a curve needs {FEWEST} rates or more, got {count}"
        if not self.usable:
            return f"even the lowest rate, {self._named(0)}, is unstable: extend the range to {self._lower()}"
        return (
            f"only {self.usable} of {count} rates lie below the first that is unstable, {self._named(self.usable)}, "
            f"and {FEWEST} are needed: extend the range to {self._lower()}"
        )

    def _no_learning(self) -> str:
        assert self.best is not None
        start = float(self.start.mean())
        side = "below" if self.fall >= 0 else "above"
        what = "the loss of guessing" if start < self.initial.mean() else "the loss before training"
        noise = "the least that counts" if self.least == self._counted() else f"the noise of {self.seeds} seeds"
        tip = "more epochs or more seeds"
        if self.largest_stable() == self.rates[-1]:
            tip = "higher rates or more epochs"
        elif self.best == 0 and self.fall > self._counted():
            tip = "lower rates"
        ends = f"ends {_percent(abs(self.fall) / start)} {side} {what}"
        return (
            f"nothing is learned: the best rate, {self._named(self.best)}, {ends}, "
            f"and {noise} is {_percent(self.least / start)}: try {tip}"
        )


def _rate(rate: float) -> str:
    return f"{rate:.4g}"


def _percent(share: float) -> str:
    """A share in percent, to two digits below ten."""
    return f"{100 * share:.0f}%" if share >= 0.0995 else f"{100 * share:.2g}%"
