"""The learning-rate range test: what a sweep of rates, each trained for a few epochs with several seeds, says.

Smith's test (https://arxiv.org/abs/1506.01186) raises the rate during one run and looks for the steepest fall of the
loss; on a small job that curve is noise, and the steepest place of noise is no rate to train with. Here every rate
has runs of its own, so the noise between seeds is measured, and an answer is given only where the curve stands out.

The rule, with every loss taken as the logarithm of its ratio to the same seed's loss before training:

- The best rate has the lowest loss, averaged over the seeds and smoothed over its neighbours with weights 1, 2, 1.
- Its interval holds the rates around it whose loss, paired by seed, is higher by at most three standard errors.
- There is no answer unless the best rate falls below the loss before training (and below the loss of guessing, if that
  is known) by 1% and by three standard errors; nor where it lies at an end of the range or all rates are the same, with
  fewer than five rates below the first that diverges, and with one seed, which shows no noise.

Rates at and above the first that diverges are left out. Rates that end worse than they began are smoothed apart from
the others: how bad a bad rate is must not move its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lrsched_cli.errors import SpecError, must
from lrsched_cli.schedules.ticks import Array

#: Rates below the first that diverges, without which there is no curve to judge.
FEWEST = 5
#: Standard errors that a difference must exceed.
ERRORS = 3.0
#: The smallest fall of the loss that counts as learning: 1%, as a logarithm.
LEARNED = -float(np.log1p(-0.01))
#: A loss below this share of the same seed's loss before training counts as this share.
FLOOR = 1e-6
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
    mean: ``(R,)``, the geometric mean of ``final`` over the seeds; NaN where one of them is not finite.
    smoothed: ``(R,)``, the curve whose lowest point is the best rate; NaN at and above the first rate that diverged.
    low, high: ``(R,)``, ``mean`` divided and multiplied by the noise: three standard errors of its ratio to the mean
        of the best rate. A rate is as good as the best one where its ``low`` is not above that mean. NaN without a
        curve, and with one seed.
    best: the rate with the lowest smoothed loss, whether or not it is an answer; None without a curve.
    suggestion: the best rate where it is an answer, else None.
    interval: the lowest and the highest rate that cannot be told from the best one; None where nothing is learned,
        and with one seed.
    largest_stable: the highest rate below the first that diverges or, above a best rate that learns, ends worse than
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


def analyse(
    rates: npt.ArrayLike, initial: npt.ArrayLike, final: npt.ArrayLike, *, chance: float | None = None
) -> Finding:
    """Find the rate to train with, the rates that are as good, or why there is no answer.

    Parameters
    ----------
    rates: ``(R,)``, positive and increasing; evenly spaced in the logarithm, as neighbours count by position.
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


class _Sweep:
    """The analysis of one sweep; rates are known by their index, losses by their change.

    Attributes
    ----------
    usable: how many rates lie below the first that diverged; only these are looked at.
    change: ``(usable, S)``, the logarithm of the loss over the loss before training.
    start: ``(S,)``, the change that the best rate must fall below.
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
        finite = np.isfinite(final)
        self.usable = int(np.logical_and.accumulate(finite.all(axis=1)).sum())
        # A loss of 0 has no logarithm, and the mean of the largest ones may not be a number.
        logs = np.log(np.clip(np.where(finite, final, np.nan), 1e-300, 1e300))
        changes = np.maximum(logs - np.log(initial), np.log(FLOOR))
        scale = np.log(initial).mean()
        self.mean: Array = np.exp(scale + changes.mean(axis=1))
        self.change: Array = changes[: self.usable]
        self.start = np.zeros(self.seeds) if chance is None else np.minimum(np.log(chance / initial), 0.0)

        curve = self.change.mean(axis=1)
        enough = self.usable >= FEWEST
        self.judged = enough and self.seeds > 1
        self.typical = self._typical(self.start - self.change) if self.judged else 0.0
        self.worse = curve > max(LEARNED, ERRORS * np.sqrt(self.typical / self.seeds))
        curve = np.where(self.worse, _smooth(curve, self.worse), _smooth(curve, ~self.worse))
        self.smoothed = np.full_like(rates, np.nan)
        self.smoothed[: self.usable] = np.exp(scale + curve)
        self.best = int(np.argmin(curve)) if enough else None
        self.pooled = self._roughness() if self.judged else 0.0
        self.fall = 0.0 if self.best is None else float(self.start.mean() - curve[self.best])
        self.least = self._least_fall()
        self.learns = self.best is not None and self.fall > self.least

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
        y, bad = self.change, self.worse
        second = (y[:-2] / 2 - y[1:-1] + y[2:] / 2) / np.sqrt(1.5)
        places = np.flatnonzero(~(bad[:-2] | bad[1:-1] | bad[2:]))
        if not places.size:
            places = np.arange(len(second))
        order = np.argsort(np.abs(places + 1 - self.best), kind="stable")
        return self._typical(second[places[order[:NEAREST]]])

    def _least_fall(self) -> float:
        """The fall of the loss that the best rate must exceed to have learned something."""
        if not self.judged:
            return LEARNED
        falls = self.start - self.change[self.best]
        return max(LEARNED, float(self._margins(falls, max(self.typical, 2 * self.pooled))))

    def _above_best(self) -> tuple[Array, Array]:
        """How far the mean of each usable rate lies above that of the best one, and how far the noise reaches."""
        differences = self.change - self.change[self.best]
        return differences.mean(axis=1), self._margins(differences, 2 * self.pooled)

    # What it says.

    def ends(self) -> tuple[int, int]:
        """The first and the last of the rates around the best one that cannot be told from it."""
        assert self.best is not None
        above, margins = self._above_best()
        apart = np.flatnonzero(above > margins)
        under, over = apart[apart < self.best], apart[apart > self.best]
        return int(under[-1]) + 1 if under.size else 0, int(over[0]) - 1 if over.size else self.usable - 1

    def interval(self) -> tuple[float, float] | None:
        if not (self.judged and self.learns):
            return None
        low, high = self.ends()
        return float(self.rates[low]), float(self.rates[high])

    def band(self) -> tuple[Array, Array]:
        factor = np.full_like(self.mean, np.nan)
        if self.judged:
            factor[: self.usable] = self._above_best()[1]
        with np.errstate(over="ignore"):  # noise may reach to infinity
            factor = np.exp(factor)
            return self.mean / factor, self.mean * factor

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
        rate, lower, higher = float(self.rates[best]), self.rates[0] / FURTHER, self.rates[-1] * FURTHER
        if self.seeds == 1:
            return None, f"one seed does not show the noise: {rate:.3g}, with the lowest loss, is a guess; try 3 seeds"
        low, high = self.ends()
        if (low, high) == (0, last):
            alike = f"all rates end alike within the noise of {self.seeds} seeds"
            return None, f"{alike}: extend the range to {lower:.3g} and {higher:.3g}"
        if best == last:
            return None, f"the highest rate, {rate:.3g}, has the lowest loss: extend the range to {higher:.3g}"
        if best == 0:
            return None, f"the lowest rate, {rate:.3g}, has the lowest loss: extend the range to {lower:.3g}"
        others = f"from {self.rates[low]:.3g} to {self.rates[high]:.3g} it is the same within three standard errors"
        if low == high:
            others = "its neighbours are worse by more than three standard errors"
        reason = (
            f"{rate:.3g} has the lowest loss, smoothed over neighbouring rates: {self.mean[best]:.3g}, the mean of "
            f"{self.seeds} seeds; {others}"
        )
        if low == 0:
            reason += f"; lower rates may do as well: extend the range to {lower:.3g}"
        elif high == last:
            reason += f"; higher rates may do as well: extend the range to {higher:.3g}"
        elif best == self.usable - 1:
            reason += f"; the next higher rate, {self.rates[best + 1]:.3g}, diverges"
        return rate, reason

    def _no_curve(self) -> str:
        count, lowest = len(self.rates), self.rates[0]
        if count < FEWEST:
            return f"a curve needs {FEWEST} rates or more, got {count}"
        if not self.usable:
            return f"even the lowest rate, {lowest:.3g}, diverges: extend the range to {lowest / FURTHER:.3g}"
        return (
            f"only {self.usable} of {count} rates lie below the first that diverges, {self.rates[self.usable]:.3g}, "
            f"and {FEWEST} are needed: extend the range to {lowest / FURTHER:.3g}"
        )

    def _no_learning(self) -> str:
        side, share = ("below", -np.expm1(-self.fall)) if self.fall >= 0 else ("above", np.expm1(-self.fall))
        start = "the loss of guessing" if self.start.mean() < 0 else "the loss before training"
        noise = "the least that counts" if self.least == LEARNED else f"the noise of {self.seeds} seeds"
        tip = "more epochs or more seeds"
        if self.largest_stable() == self.rates[-1]:
            tip = "higher rates or more epochs"
        elif self.best == 0 and self.fall > LEARNED:
            tip = "lower rates"
        return (
            f"nothing is learned: the best rate, {self.rates[self.best]:.3g}, ends {100 * share:.2g}% {side} {start}, "
            f"and {noise} is {-100 * np.expm1(-self.least):.2g}%: try {tip}"
        )


def _smooth(y: Array, counted: npt.NDArray[np.bool_]) -> Array:
    """Average each value with those of its neighbours that count, weights 1, 2, 1; NaN where none of the three does."""
    total, weight = (np.pad(values, 1) for values in (np.where(counted, y, 0.0), counted.astype(np.float64)))
    total, weight = (values[:-2] + 2 * values[1:-1] + values[2:] for values in (total, weight))
    return np.asarray(total / np.where(weight > 0, weight, np.nan))
