"""The learning-rate range test: its rule by hand, and what holds for any losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli.training.range_test import Finding, analyse
from tests.support import message_of

NAN, INF = float("nan"), float("inf")
GRID = np.geomspace(1e-5, 10, 25)


def found(changes: Any, initial: Any = None, rates: Any = None, **chance: float) -> Finding:
    """What is found of ``(R, S)`` logarithms of the loss after training over the loss before, at 1e-1, 1, 10, ..."""
    changes = np.asarray(changes, dtype=float)
    changes = changes[:, None] if changes.ndim == 1 else changes
    initial = np.full(changes.shape[1], 2.0) if initial is None else np.asarray(initial)
    rates = 10.0 ** np.arange(-1, len(changes) - 1) if rates is None else rates
    return analyse(rates, initial, initial * np.exp(changes), **chance)


def bowl(place: float) -> np.ndarray:
    return np.minimum((np.log10(GRID) - place) ** 2 - 2, 0)


def twice(*changes: float) -> np.ndarray:
    """Two seeds that agree."""
    return np.column_stack([changes, changes])


def ended(*rows: float | tuple[float, float]) -> Finding:
    """What is found of two seeds that begin at 1 and end at these losses, at 1e-1, 1, 10, ...

    A number is the loss of both.
    """
    losses = np.array([row if isinstance(row, tuple) else (row, row) for row in rows])
    return analyse(10.0 ** np.arange(-1, len(rows) - 1), [1, 1], losses)


# By hand.

#: Five to a decade: a neighbour has half the weight.
FIFTHS = 10 ** (np.arange(7) / 5)


def test_the_curve_and_its_lowest_point() -> None:
    losses = np.array([1.0, 0.6, 0.2, 0.4, 1.0])
    finding = analyse(FIFTHS[:5], [1, 1], twice(*losses))
    # An end has one neighbour: (1 + 0.3) / 1.5.
    np.testing.assert_allclose(finding.smoothed, [1.3 / 1.5, 1.2 / 2, 0.7 / 2, 1 / 2, 1.2 / 1.5], rtol=1e-14)
    np.testing.assert_allclose(finding.mean, losses, rtol=1e-14)
    np.testing.assert_allclose(finding.low, finding.mean, rtol=1e-14)  # seeds that agree show no noise
    assert finding.best == finding.suggestion == FIFTHS[2]
    assert finding.interval == (FIFTHS[2], FIFTHS[2])
    assert finding.largest_stable == FIFTHS[4]
    assert not finding.diverged.any()
    assert not finding.unstable.any()
    assert finding.reason == (
        "2.512 has the lowest loss: 0.2000, the mean of 2 seeds (0.3500 smoothed over its neighbours); its neighbours "
        "are worse by more than the noise"
    )


def test_a_coarse_grid_is_not_smoothed() -> None:
    losses = [1.0, 0.6, 0.2, 0.4, 1.0]
    for step in (0.41, 0.5, 1.0):
        finding = analyse(10 ** (step * np.arange(5)), [1, 1], twice(*losses))
        np.testing.assert_allclose(finding.smoothed, losses, rtol=1e-14)
        assert "0.2000, the mean of 2 seeds;" in finding.reason


def test_a_fine_grid_is_smoothed_as_far_in_decades() -> None:
    """Twenty to a decade: seven neighbours on each side, with the weights 7/8, 6/8, ... beside 1."""
    losses = np.linspace(0.9, 0.1, 41) ** 2
    finding = analyse(10 ** (np.arange(41) / 20), [1, 1], twice(*losses))
    weights = np.array([1, 2, 3, 4, 5, 6, 7, 8, 7, 6, 5, 4, 3, 2, 1])
    np.testing.assert_allclose(finding.smoothed[7:-7], np.convolve(losses, weights / 64, "valid"), rtol=1e-12)


def test_the_mean_is_the_mean() -> None:
    """A rate at which two seeds of five fail is not the best one because three end near zero."""
    losses = np.array([1, 0.5, 0.1, 0.3, 0.6])[:, None] * np.ones(5)
    losses[3] = [2.3e-4, 0.43, 1e-8, 0.58, 8e-4]
    finding = analyse(10.0 ** np.arange(5), np.ones(5), losses)
    assert finding.mean[3] == pytest.approx((2.3e-4 + 0.43 + 1e-8 + 0.58 + 8e-4) / 5)
    assert finding.suggestion == 100


@pytest.mark.parametrize(("shift", "upper"), [(0.049, 10), (0.051, 100)])
def test_the_end_of_the_interval(shift: float, upper: float) -> None:
    """One seed alone is worse by ``shift`` at the rate above the best: the mean by 0.05 + shift/2.

    The two differences have a standard deviation of shift/sqrt(2), their mean a standard error of shift/2: it is the
    same within three of them where 0.05 + shift/2 <= 1.5 shift, so from 0.05 on.
    """
    finding = ended(1, 0.6, 0.2, (0.25, 0.25 + shift), 1)
    assert finding.interval is not None
    assert finding.interval[1] == upper
    assert finding.low[3] == pytest.approx(0.25 - shift)
    assert finding.high[3] == pytest.approx(0.25 + 2 * shift)


@pytest.mark.parametrize(("other", "upper"), [(0.34, 10_000), (0.38, 1000)])
def test_noise_that_the_best_rate_has_not_excuses_little(other: float, upper: float) -> None:
    """One seed fails at the rate above the best.

    Two seeds of which one is as good never differ from the best rate by three standard errors. The best rate falls by
    0.8: a tenth of it is 0.08, and the means lie 0.07 and 0.09 above.
    """
    finding = ended(1, 0.8, 0.6, 0.4, 0.2, (0.2, other), 0.6, 0.8, 1)
    assert finding.low[5] < 0.2
    assert finding.interval == (1000, upper)


def test_the_noise_around_the_best_rate_is_a_floor() -> None:
    """The seeds agree at the rate above the best by chance; second differences of the others show the noise.

    They differ by 2e at the rates 0, 2, 3, 4 and 6, so by 2e, -e, 0, -e and 2e in the second differences.
    """
    e = 0.025
    y = np.array([1.0, 0.75, 0.5, 0.25, 0.5, 0.75, 1.0])
    finding = ended(*zip(y, y + 2 * e * np.array([1, 0, 1, 1, 1, 0, 1]), strict=True))
    # The median of the variances is e^2/2, a second difference has 1.5 times the variance of a loss, and the last
    # factor makes a median a mean.
    pooled = e**2 / 2 / 1.5 / (1 - 2 / 9) ** 3
    reach = 3 * np.sqrt(2 * pooled / 2)
    assert finding.low[4] == pytest.approx(finding.mean[4] - reach)
    assert finding.high[4] == pytest.approx(finding.mean[4] + reach)


def test_a_cliff_does_not_move_its_neighbour() -> None:
    """The best rate may stand right before rates that are worse than no training, that explode, or that diverge."""
    for cliff in (1.5, 9.0, 1e20, INF, NAN):
        finding = analyse(FIFTHS, [1, 1], twice(0.9, 0.8, 0.7, 0.6, 0.5, cliff, cliff))
        assert finding.suggestion == finding.largest_stable == FIFTHS[4]
        assert finding.smoothed[4] == pytest.approx(0.8 / 1.5)
    assert finding.reason.endswith("; the next higher rate, 10, is unstable")
    np.testing.assert_array_equal(finding.diverged, [False] * 5 + [True] * 2)
    assert np.isnan(finding.smoothed[5:]).all()


def test_a_finite_loss_that_exploded_is_unstable() -> None:
    finding = ended(1, 0.6, 0.2, 0.4, 0.7, (0.1, 1.7e21), 0.1)
    np.testing.assert_array_equal(finding.unstable, [False] * 5 + [True, False])
    assert not finding.diverged.any()
    assert finding.mean[5] == pytest.approx(0.85e21)
    for curve in (finding.smoothed, finding.low, finding.high):
        np.testing.assert_array_equal(np.isfinite(curve), [True] * 5 + [False] * 2)
    assert (finding.suggestion, finding.largest_stable) == (10, 1000)


@pytest.mark.parametrize(("loss", "initial", "chance", "unstable"), [
    (9.9, 1.0, None, False), (10.1, 1.0, None, True), (20.0, 1.0, 2.3, False), (24.0, 1.0, 2.3, True),
    (20.0, 2.3, 1.0, False), (NAN, 1.0, 2.3, True),
])  # fmt: skip
def test_ten_times_what_takes_no_learning(loss: float, initial: float, chance: float | None, unstable: bool) -> None:
    assert analyse([0.1], [initial, 1.0], [[loss, 1.0]], chance=chance).unstable.tolist() == [unstable]


def test_chaos_beyond_the_best_rate_is_not_its_noise() -> None:
    chaos = [[0.5, 2], [2, 0.5], [1, 2.2]]
    finding = found([[0, 0], [-0.5, -0.5], [-1, -1], [-1.5, -1.5], [-2, -2], *chaos])
    np.testing.assert_allclose(finding.low[:5], finding.mean[:5], rtol=1e-14)
    assert finding.interval == (1000, 1000)


def test_rates_above_one_that_diverges_are_not_trusted() -> None:
    finding = found([[0, 0], [-1, -1], [-2, -2], [-1, -1], [-0.5, -0.5], [-3, INF], [-5, -5]])
    assert finding.suggestion == 10
    assert finding.largest_stable == 1000


def test_where_the_loss_ends_worse_than_it_began() -> None:
    assert found(twice(0, -1, -2, -1, -0.1, 0.5, 0.1)).largest_stable == 1000
    # Below the best rate this is no reason: statistics of a batch norm may settle badly.
    assert found(twice(0.2, 0.1, -1, -2, -1, 0.5)).largest_stable == 1000
    assert found(twice(0, 0, 0, 0, 0.5, 1)).largest_stable == 100
    assert found(twice(0.5, 0.5, 0.5, 1, 2)).largest_stable is None


def test_a_loss_of_zero() -> None:
    finding = found(twice(0, -1, -INF, -INF, -INF, -1, 0))
    assert finding.suggestion == 10
    assert finding.interval == (10, 1000)
    assert finding.mean[3] == 0


# No answer, each for its reason.


FEW, START = "lie below the first that is unstable", "the loss before training"
NOTHING, HIGHER, LONGER = (
    "nothing is learned: the best rate, ",
    "try higher rates or more epochs",
    "try more epochs or more seeds",
)


@pytest.mark.parametrize(
    ("changes", "best", "interval", "reason"),
    [
        (
            twice(NAN, INF, NAN, NAN, INF), None, None,
            "even the lowest rate, 0.1, is unstable: extend the range to 0.01",
        ),
        (
            twice(0, -1, -2, NAN, NAN, NAN), None, None,
            f"only 3 of 6 rates {FEW}, 100, and 5 are needed: extend the range to 0.01",
        ),
        (
            twice(-4, -3, -2, -1, NAN, -2), None, None,
            f"only 4 of 6 rates {FEW}, 1000, and 5 are needed: extend the range to 0.01",
        ),
        (twice(0, -1), None, None, "a curve needs 5 rates or more, got 2"),
        (
            [0, -1, -2, -1, 0], 10, None,
            "one seed does not show the noise: 10, with the lowest loss, is a guess; try 3 seeds",
        ),
        (
            twice(0, -1, -2, -3, -4), 1000, (1000, 1000),
            "the highest rate, 1000, has the lowest loss: extend the range to 1e+04",
        ),
        (
            twice(-4, -3, -2, -1, 0), 0.1, (0.1, 0.1),
            "the lowest rate, 0.1, has the lowest loss: extend the range to 0.01",
        ),
        (
            twice(-1, -1, -1, -1, -1), 0.1, (0.1, 1000),
            "all rates end alike within the noise of 2 seeds: extend the range to 0.01 and 1e+04",
        ),
        (
            twice(0, 0, -0.004, -0.006, -0.008), 1000, None,
            NOTHING + f"1000, ends 0.8% below {START}, and the least that counts is 1%: {HIGHER}",
        ),
        (
            twice(0, 0, -0.004, -0.008, 0, 0.1), 100, None,
            NOTHING + f"100, ends 0.8% below {START}, and the least that counts is 1%: {LONGER}",
        ),
        (
            [[0.02], [0.04], [0.5], [1], [2]], 0.1, None,
            NOTHING + f"0.1, ends 2% above {START}, and the least that counts is 1%: {LONGER}",
        ),
        # The differences over the seeds are 0.3, -0.3, 0.6, 0.4, -0.3, their second differences 0.75, -0.55, -0.25:
        # one loss has the variance 0.55^2/3/(7/9)^3 = 0.214, and three standard errors are 1.39.
        (
            np.log1p([[0.1, -0.2], [-0.1, 0.2], [0.2, -0.4], [0.2, -0.2], [-0.2, 0.1]]), 10, None,
            NOTHING + f"10, ends 10% below {START}, and the noise of 2 seeds is 139%: {HIGHER}",
        ),
    ],
)  # fmt: skip
def test_no_answer(changes: Any, best: float | None, interval: Any, reason: str) -> None:
    finding = found(changes)
    assert finding.suggestion is None
    assert finding.best == best
    assert finding.interval == interval
    assert finding.reason == reason


def test_advice_where_only_the_lowest_rate_learns_a_little() -> None:
    rng = np.random.default_rng(0)
    changes = np.array([-0.2, 0.4, 0.8, 1.1, 1.3, 1.4])[:, None] + rng.normal(0, 0.2, (6, 3))
    assert found(changes, [2, 2, 2]).reason.endswith(": try lower rates")


def test_one_seed_has_no_noise_and_no_interval() -> None:
    finding = found([0, -1, -2, -1, 0])
    assert np.isnan(finding.low).all()
    assert np.isnan(finding.high).all()
    assert np.isfinite(finding.smoothed).all()
    assert finding.largest_stable == 1000


def test_reaching_the_loss_of_guessing_is_no_learning() -> None:
    """Ten classes: ln 10 is the loss of a guess, and a network that starts at 2.6 has to unlearn first."""
    finals = np.array([2.6, 2.5, 2.4, 2.35, 2.33, 2.4, 3.0])
    changes = twice(*np.log(finals / 2.6))
    assert found(changes, [2.6, 2.6]).suggestion == 1000
    finding = found(changes, [2.6, 2.6], chance=np.log(10))
    assert finding.suggestion is None
    assert finding.reason == (
        "nothing is learned: the best rate, 1000, ends 1.2% above the loss of guessing, and the least that counts "
        "is 1%: try more epochs or more seeds"
    )
    flat = twice(0, 0, -0.004, -0.008, 0, 0.1)
    assert found(flat, chance=3.0).reason == found(flat).reason, "a guess that is worse than the start is no bar"
    assert found(changes, [2.6, 2.6], chance=2.45).suggestion == 1000


# What holds for any losses.

LOSSES = st.one_of(
    st.floats(0, 10), st.floats(0, allow_nan=False, allow_infinity=False), st.sampled_from([0.0, 5e-324, NAN, INF])
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), count=st.integers(1, 12), seeds=st.integers(1, 4))
def test_any_losses_have_a_finding(data: st.DataObject, count: int, seeds: int) -> None:
    final = np.array(data.draw(st.lists(LOSSES, min_size=count * seeds, max_size=count * seeds))).reshape(count, seeds)
    initial = np.array(data.draw(st.lists(st.floats(1e-100, 1e100), min_size=seeds, max_size=seeds)))
    finding = analyse(np.geomspace(1e-3, 1, count), initial, final)
    assert finding.reason
    assert "\n" not in finding.reason
    assert finding.mean.shape == finding.smoothed.shape == finding.low.shape == finding.high.shape == (count,)
    if finding.suggestion is not None:
        assert finding.suggestion == finding.best
        assert finding.interval is not None
    if finding.interval is not None and finding.best is not None:
        assert finding.interval[0] <= finding.best <= finding.interval[1]
        assert finding.largest_stable is not None
        assert finding.largest_stable >= finding.best


def test_the_order_of_the_seeds_and_the_unit_of_the_loss_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    changes, initial = bowl(-1)[:, None] + rng.normal(0, 0.1, (25, 4)), np.array([2.0, 2.1, 2.2, 2.3])
    finding = found(changes, initial, GRID)
    turned = found(changes[:, ::-1], initial[::-1], GRID)
    scaled = found(changes, 1000 * initial, GRID)
    for other in (turned, scaled):
        assert (other.suggestion, other.interval) == (finding.suggestion, finding.interval)
        assert other.largest_stable == finding.largest_stable
    np.testing.assert_allclose(scaled.smoothed, 1000 * finding.smoothed, rtol=1e-12)
    np.testing.assert_allclose(turned.low, finding.low, rtol=1e-12)


def test_the_arrays_are_copies() -> None:
    rates, initial, final = GRID.copy(), np.ones(2), np.ones((25, 2))
    finding = analyse(rates, initial, final)
    rates[:], initial[:], final[:] = 7, 7, 7
    assert finding.rates[0] == 1e-5
    assert finding.initial[0] == finding.final[0, 0] == 1


SHAPES = "rates, initial and final must have the shapes (R,), (S,) and (R, S), got "
RATES = "rates must be increasing, from 1e-100 to 1e+100 at most, got "


@pytest.mark.parametrize(
    ("rates", "initial", "final", "message"),
    [
        ([], [1], [], SHAPES + "(0,), (1,), (0,)"),
        ([0.1], [], [[]], SHAPES + "(1,), (0,), (1, 0)"),
        ([0.1, 1], [1], [[1, 1]], SHAPES + "(2,), (1,), (1, 2)"),
        (0.1, 1, 1, SHAPES + "(), (), ()"),
        ([1, 0.1], [1], [[1], [1]], RATES + "[1.0, 0.1]"),
        ([1, 1], [1], [[1], [1]], RATES + "[1.0, 1.0]"),
        ([0, 1], [1], [[1], [1]], RATES + "[0.0, 1.0]"),
        ([-1], [1], [[1]], RATES + "[-1.0]"),
        ([NAN], [1], [[1]], RATES + "[nan]"),
        ([1, NAN, 2], [1], [[1], [1], [1]], RATES + "[1.0, nan, 2.0]"),
        ([1, INF], [1], [[1], [1]], RATES + "[1.0, inf]"),
        ([1], [1, NAN], [[1, 1]], "the loss before training must be from 1e-100 to 1e+100, got nan"),
        ([1], [0], [[1]], "the loss before training must be from 1e-100 to 1e+100, got 0.0"),
        ([1], [INF], [[1]], "the loss before training must be from 1e-100 to 1e+100, got inf"),
        ([1], [1], [[-0.5]], "a loss must be >= 0, got -0.5"),
        (["a"], [1], [[1]], "rates and losses must be arrays of numbers"),
        ([1], [1], [[1], [1, 2]], "rates and losses must be arrays of numbers"),
        ([1], [1], None, SHAPES + "(1,), (1,), ()"),
    ],
)  # fmt: skip
def test_mistakes(rates: Any, initial: Any, final: Any, message: str) -> None:
    assert message_of(analyse, rates, initial, final) == message


@pytest.mark.parametrize("chance", [0.0, -1.0, NAN, INF])
def test_a_loss_of_guessing_that_is_none(chance: float) -> None:
    text = message_of(analyse, [0.1], [1.0], [[1.0]], chance=chance)
    assert text == f"chance must be from 1e-100 to 1e+100, got {chance}"
