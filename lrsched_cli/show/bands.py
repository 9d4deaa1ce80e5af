"""Curves of many runs as what a picture shows of them: a mean, a range over seeds, and no more points than columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrsched_cli.results import Floats
from lrsched_cli.schedules.ticks import Array

#: Columns that curves are reduced to at most; a panel of a training's figure has fewer pixels.
COLUMNS = 600
#: Values further from 0 are drawn there: what fits in a double may not fit in Matplotlib's arithmetic.
FURTHEST = 1e30


@dataclass(frozen=True)
class Band:
    """The mean of a curve over some seeds, and its lowest and highest value at each epoch."""

    x: Array
    mean: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, curves: Sequence[Floats], factor: float = 1.0) -> Band:
        """Of curves that may end at different epochs; NaN where none has a finite value."""
        values = np.full((len(curves), max(map(len, curves), default=0)), np.nan)
        for row, curve in zip(values, curves, strict=True):
            row[: len(curve)] = drawable(curve) * factor
        known = np.isfinite(values).sum(axis=0)
        mean = np.where(known > 0, np.nansum(values, axis=0) / np.maximum(known, 1), np.nan)
        low, high = (best.reduce(values, axis=0, initial=np.nan) for best in (np.fmin, np.fmax))
        return cls(np.arange(values.shape[1], dtype=np.float64), mean, low, high)


def drawable(curve: Floats) -> Array:
    """A curve as a picture can hold it: NaN for what is not finite, and nothing further from 0 than it can show."""
    values = np.asarray(curve, dtype=np.float64)
    return np.where(np.isfinite(values), np.clip(values, -FURTHEST, FURTHEST), np.nan)


def interesting(bands: Sequence[Band]) -> Array:
    """The accuracies that an axis should hold: without those of the first epochs where these dwarf the others.

    Every schedule's end is among them.
    """
    values = np.concatenate([part for band in bands for part in (band.low, band.high)])
    values = values[np.isfinite(values)]
    last = [found[0] for band in bands if (found := ends(band)) is not None]
    if not last:
        return np.array([0.0, 100.0])
    low = min(float(np.quantile(values, 0.15)), *last)
    top = float(values.max())
    return np.array([low if top - values.min() > 2.5 * (top - low) > 0 else float(values.min()), top])


def ends(band: Band) -> tuple[float, float] | None:
    """The lowest and the highest last value of a band, or None where it has no value."""
    known = np.flatnonzero(np.isfinite(band.mean))
    return (float(band.low[known[-1]]), float(band.high[known[-1]])) if len(known) else None


def decades(values: Array) -> float:
    """The decades that the positive values of some curves span."""
    values = values[np.isfinite(values) & (values > 0)]
    return float(np.log10(values.max() / values.min())) if len(values) else 0.0


def _starts(length: int) -> Any:
    """The first index of each column."""
    return np.arange(COLUMNS, dtype=np.int64) * length // COLUMNS


def thinned(x: Any, y: Array) -> tuple[Array, Array]:
    """The points of a line that show: all if they are few, else the lowest and the highest of each column."""
    if len(x) <= 2 * COLUMNS:
        return np.asarray(x, dtype=np.float64), y
    at = _starts(len(x))
    low, high = np.fmin.reduceat(y, at), np.fmax.reduceat(y, at)
    falls = y[np.append(at[1:], len(y)) - 1] < y[at]
    pairs = np.where(falls, [high, low], [low, high])
    return np.repeat(np.asarray(x, dtype=np.float64)[at], 2), pairs.T.ravel()


def envelope(band: Band) -> tuple[Array, Array, Array]:
    """The edges of a band that show."""
    if len(band.x) <= 2 * COLUMNS:
        return band.x, band.low, band.high
    at = _starts(len(band.x))
    return band.x[at], np.fmin.reduceat(band.low, at), np.fmax.reduceat(band.high, at)


def staircase(rates: Array, steps: int) -> tuple[Array, Array]:
    """Rates over epochs: a rate is constant during its update."""
    x = np.arange(len(rates) + 1) / steps
    if len(rates) <= COLUMNS:
        return np.repeat(x, 2)[1:-1], np.repeat(rates, 2)
    x, y = thinned(x[:-1], rates)
    return np.append(x, len(rates) / steps), np.append(y, rates[-1])
