"""The learning-rate range test on curves whose best rate is known, on noise, and on real training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrsched_cli.training.range_test import Finding, analyse
from tests.training.test_range_test import GRID, NAN, bowl, found

# Curves whose best rate is known, with noise.


def noise(rng: np.random.Generator, rates: int, seeds: int, sd: float, correlation: float) -> np.ndarray:
    """Normal noise ``(R, S)`` that is correlated between neighbouring rates, as runs of one seed are."""
    values = rng.normal(0, sd, (rates, seeds))
    for i in range(1, rates):
        values[i] = correlation * values[i - 1] + np.sqrt(1 - correlation**2) * values[i]
    return values


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_noise_has_no_answer(seeds: int, correlation: float) -> None:
    rng = np.random.default_rng(seeds)
    answers = [
        found(noise(rng, 25, seeds, 0.2, correlation), 2.3 * np.exp(rng.normal(0, 0.2, seeds)), GRID).suggestion
        for _ in range(200)
    ]
    assert sum(answer is not None for answer in answers) <= 10


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_noise_that_starts_apart_has_no_answer(seeds: int) -> None:
    """The loss before training is one more draw of the noise, by which every fall is off together."""
    rng = np.random.default_rng(seeds)
    answers = 0
    for _ in range(200):
        initial = 2.3 * np.exp(rng.normal(0, 0.2, seeds))
        answers += analyse(GRID, initial, 2.3 * np.exp(noise(rng, 25, seeds, 0.2, 0.5))).suggestion is not None
    assert answers <= 10


def plateau(place: float) -> np.ndarray:
    x = np.log10(GRID)
    return np.where(
        x < place - 1, np.minimum(-2 + 3 * (place - 1 - x), 0), np.where(x > place, 4 * (x - place) - 2, -2)
    )


def cliff(place: float) -> np.ndarray:
    x = np.log10(GRID)
    return np.where(x <= place, np.minimum(-(x + 4), 0), NAN)


def trench(place: float) -> np.ndarray:
    x = np.log10(GRID)
    return np.where(x <= place, np.minimum(-(x + 4), 0), np.minimum(6 * (x - place) - 1, 3))


@pytest.mark.parametrize("curve", [bowl, plateau, cliff, trench])
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("sd", "correlation"), [(0.03, 0.0), (0.1, 0.0), (0.1, 0.9)])
def test_the_best_rate_of_a_clean_curve_is_found(curve: Any, seeds: int, sd: float, correlation: float) -> None:
    """Within a step of the grid in 95 of 100 trials, and inside the interval in 90."""
    rng = np.random.default_rng(seeds)
    near = covered = 0
    for _ in range(100):
        expected = curve(rng.uniform(-2.5, -0.5))
        own = rng.normal(0, 0.2, seeds)  # some seeds have easier validation data
        runs = 2.3 * np.exp(expected[:, None] + own + noise(rng, 25, seeds, sd, correlation))
        finding = analyse(GRID, 2.3 * np.exp(own + rng.normal(0, 0.05, seeds)), runs)
        truth = np.flatnonzero(expected <= np.nanmin(expected) + 1e-9)
        if finding.suggestion is None or finding.interval is None:
            continue
        near += truth[0] - 1 <= np.searchsorted(GRID, finding.suggestion) <= truth[-1] + 1
        low, high = np.searchsorted(GRID, finding.interval)
        covered += bool(((truth >= low) & (truth <= high)).any())
    assert near >= 95
    assert covered >= 90


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_flat_start_never_wins(seeds: int) -> None:
    """Rates too low to learn, most of the grid, against a few that learn a little, and chaos above."""
    rng = np.random.default_rng(seeds)
    for _ in range(100):
        changes = np.concatenate([np.zeros(17), [-0.1, -0.3, -0.5, -0.3, 0.5, 1.0, 2.0, 3.0]])[:, None]
        spread = np.concatenate([np.full(17, 1e-4), np.full(4, 0.03), np.full(4, 0.5)])[:, None]
        finding = found(changes + spread * rng.normal(size=(25, seeds)), np.full(seeds, 2.3), GRID)
        assert finding.best is not None
        assert finding.best >= GRID[17]
        assert finding.suggestion in (None, *GRID[18:21])


# Real training.


def softmax_regression(
    x: np.ndarray, y: np.ndarray, rates: np.ndarray, seed: int, epochs: int = 3
) -> tuple[float, np.ndarray]:
    """Train softmax regressions by plain SGD, one at each rate; the validation loss before, and those after."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    val, train = order[: len(x) // 5], order[len(x) // 5 :]
    weights = np.tile(rng.uniform(-1, 1, (1, x.shape[1], 10)) / np.sqrt(x.shape[1]), (len(rates), 1, 1))

    def probabilities(rows: np.ndarray) -> np.ndarray:
        logits = x[rows] @ weights
        odds = np.exp(logits - logits.max(axis=2, keepdims=True))
        return odds / odds.sum(axis=2, keepdims=True)

    def losses() -> np.ndarray:
        return -np.log(np.maximum(probabilities(val)[:, np.arange(len(val)), y[val]], 1e-300)).mean(axis=1)

    before = losses()[0]
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(train), len(train) // 64):
            slope = probabilities(rows)
            slope[:, np.arange(len(rows)), y[rows]] -= 1
            weights -= rates[:, None, None] * (x[rows].T @ slope) / len(rows)
    return before, losses()


def digits(shuffled: bool) -> Finding:
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_digits(return_X_y=True)
    x = x / 16
    rates = np.geomspace(1e-4, 100, 19)
    pairs = []
    for seed in range(3):
        labels = np.random.default_rng(seed).permutation(y) if shuffled else y
        pairs.append(softmax_regression(x, labels, rates, seed))
    initial, final = zip(*pairs, strict=True)
    return analyse(rates, initial, np.column_stack(final), chance=float(np.log(10)))


def test_a_real_job() -> None:
    finding = digits(shuffled=False)
    assert finding.suggestion is not None
    assert 0.2 <= finding.suggestion <= 5
    best = np.argmin(finding.final.mean(axis=1))
    assert abs(np.log10(finding.suggestion / finding.rates[best])) <= 1 / 3 + 1e-9  # a step of the grid


def test_the_same_job_with_shuffled_labels() -> None:
    finding = digits(shuffled=True)
    assert finding.suggestion is None
    assert finding.reason.startswith("nothing is learned: ")
