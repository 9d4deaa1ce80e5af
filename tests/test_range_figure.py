"""The figure of a range test: what is marked where, what it says without an answer, and the same bytes every time."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from lrsched_cli.show.axes import PlotOptions
from lrsched_cli.show.figure import save
from lrsched_cli.show.range_figure import ANSWER, CURVE, draw_finding
from lrsched_cli.training.range_test import Finding, analyse

NAN, INF = float("nan"), float("inf")
RATES = np.geomspace(1e-4, 10, 11)
#: Falls to 0.2, rises beyond the loss before training, and diverges.
CURVE_LOSSES = np.array([2.3, 2.2, 2.0, 1.4, 0.7, 0.3, 0.2, 0.5, 4.0, NAN, INF])


def finding(losses: np.ndarray = CURVE_LOSSES, seeds: int = 3, **chance: float) -> Finding:
    shift = 1 + 0.02 * np.arange(seeds)
    return analyse(RATES[: len(losses)], 2.3 * shift, losses[:, None] * shift, **chance)


def panel(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def said(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)


def marks(figure: Figure, marker: str) -> np.ndarray:
    """The rates that have a marker of some form."""
    drawn = [line.get_xdata() for line in panel(figure).lines if line.get_marker() == marker]
    return np.sort(np.concatenate(drawn)) if drawn else np.array([])


def upright(figure: Figure) -> list[float]:
    """The rates at which a line stands."""
    lines = [line for line in panel(figure).lines if list(line.get_ydata()) == [0, 1] and line.get_linestyle() == "-"]
    return [float(np.asarray(line.get_xdata())[0]) for line in lines if to_hex(line.get_color()) == ANSWER.lower()]


def test_what_is_marked_where() -> None:
    found = finding(chance=2.31)
    figure = draw_finding(found)
    axes = panel(figure)
    assert found.suggestion == pytest.approx(RATES[6])
    assert upright(figure) == [found.suggestion]
    np.testing.assert_array_equal(marks(figure, "x"), RATES[9:])
    np.testing.assert_array_equal(marks(figure, "^"), [RATES[8]])
    curve = next(line for line in axes.lines if line.get_marker() == "None" and len(line.get_xdata()) == len(RATES))
    np.testing.assert_array_equal(curve.get_ydata(), found.smoothed)
    lines = [line for line in axes.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2]
    dotted = [line.get_ydata()[0] for line in lines if list(line.get_xdata()) == [0, 1]]
    assert sorted(dotted) == pytest.approx([2.31, 2.3 * 1.02])
    assert {"0.1", "before\ntraining", "guessing", "learning rate", "loss after training"} <= set(texts(figure))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["3 seeds", "mean", "smoothed", "noise", "as good as the best", "above the axis", "unstable"]
    assert axes.get_xscale() == "log"
    assert axes.get_yscale() == "linear"


def test_the_means_are_the_printed_ones() -> None:
    losses = CURVE_LOSSES[:, None] * [1, 1.5, 3]
    found = analyse(RATES, [2.3] * 3, losses)
    (means,) = [line for line in panel(draw_finding(found)).lines if line.get_marker() == "D"]
    np.testing.assert_array_equal(means.get_xdata(), RATES[3:8])  # those of the others are above the axis
    np.testing.assert_allclose(means.get_ydata(), losses.mean(axis=1)[3:8], rtol=1e-14)
    assert found.best is not None
    (answer,) = [line for line in panel(draw_finding(found)).lines if list(line.get_xdata()) == [found.best]]
    assert answer.get_ydata() == found.mean[found.rates == found.best]


def test_an_exploded_loss_is_marked_as_unstable() -> None:
    losses = CURVE_LOSSES.copy()
    losses[8] = 1e21
    np.testing.assert_array_equal(marks(draw_finding(finding(losses)), "x"), RATES[8:])


def test_a_seed_near_zero_does_not_squeeze_the_means() -> None:
    losses = CURVE_LOSSES[:, None] * [1, 1, 1]
    losses[6, 0] = 1e-9
    figure = draw_finding(analyse(RATES, [2.3] * 3, losses), PlotOptions(log_y=True))
    bottom, _ = panel(figure).get_ylim()
    assert bottom > 0.2 * 2 / 3 / 30
    points = next(line for line in panel(figure).lines if line.get_marker() == "o" and len(line.get_xdata()) > 1)
    assert min(points.get_ydata()) == bottom, "at the edge, not left out"


def test_every_run_is_a_point() -> None:
    figure = draw_finding(finding())
    points = next(line for line in panel(figure).lines if line.get_marker() == "o" and len(line.get_xdata()) > 1)
    assert len(points.get_xdata()) == 8 * 3  # those of the last three rates are above the axis or diverged
    assert to_hex(points.get_color()) == CURVE.lower()


def test_the_interval_is_shaded() -> None:
    rng = np.random.default_rng(0)
    found = analyse(RATES, [2.3] * 4, 2.3 * np.exp(-((np.log10(RATES) + 4) * (1 - np.log10(RATES)))[:, None] / 4
                    + rng.normal(0, 0.1, (11, 4))))  # fmt: skip
    assert found.interval is not None
    low, high = found.interval
    assert low < high
    (span,) = [patch for patch in panel(draw_finding(found)).patches if to_hex(patch.get_facecolor()) == ANSWER.lower()]
    box = span.get_extents().transformed(panel(draw_finding(found)).transData.inverted())
    step = RATES[1] / RATES[0]
    assert low / step < box.x0 < low
    assert high < box.x1 < high * step


@pytest.mark.parametrize(
    ("losses", "seeds", "words"),
    [
        (CURVE_LOSSES, 1, "one seed does not show the noise"),
        (np.full(11, 2.3), 3, "nothing is learned"),
        (np.full(11, NAN), 3, "even the lowest rate, 0.0001, is unstable"),
        (np.linspace(2.3, 0.3, 11), 3, "the highest rate, 10, has the lowest loss"),
        (np.full(11, 1.0), 3, "all rates end alike"),
        (np.array([1.0]), 3, "a curve needs 5 rates or more, got 1"),
        (np.array([1.0, 0.5, 0.1, INF, INF]), 3, "only 3 of 5 rates"),
        (np.zeros(11), 2, "all rates end alike"),
    ],
)
def test_no_answer_is_to_be_seen(losses: np.ndarray, seeds: int, words: str) -> None:
    figure = draw_finding(finding(losses, seeds))
    assert said(figure).startswith("Learning-rate range test: no answer ")
    assert words in said(figure)
    assert upright(figure) == []
    reason = figure.texts[1]
    assert to_hex(reason.get_color()) == ANSWER.lower()
    assert "No answer: " + words in said(draw_finding(finding(losses, seeds), PlotOptions(title="mine")))
    save(figure, io.BytesIO())


def test_the_title() -> None:
    assert said(draw_finding(finding())).startswith("Learning-rate range test: 0.1 is best 0.1 has the lowest loss")
    named = draw_finding(finding(), PlotOptions(title="Zürich $x_1$\n2"))
    assert said(named).startswith("Zürich $x_1$\\n2 0.1 has the lowest loss")
    assert said(draw_finding(finding(), PlotOptions(title=""))).startswith("0.1 has the lowest loss")


def test_a_logarithmic_axis_where_asked_or_needed() -> None:
    assert panel(draw_finding(finding(), PlotOptions(log_y=True))).get_yscale() == "log"
    deep = np.array([2.3, 2.2, 1.0, 0.1, 0.01, 0.001, 0.0001, 0.01, 4.0, NAN, INF])
    assert panel(draw_finding(finding(deep))).get_yscale() == "log"
    holed = np.array([2.3, 2.2, 1.0, 0.1, 0.01, 0.0, 0.0, 0.01, 4.0, NAN, INF])
    save(draw_finding(finding(holed)), io.BytesIO())


@pytest.mark.parametrize("size", [(3, 2), (4, 3), (7.5, 4.5), (12, 4)])
def test_nothing_is_cut_off_or_covered(size: tuple[float, float]) -> None:
    figure = draw_finding(finding(chance=2.31), PlotOptions(width=size[0], height=size[1]))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # places the labels of the axes
    renderer = canvas.get_renderer()
    sheet = figure.bbox
    for text in figure.findobj(Text):
        if text.get_text() and text.get_visible():
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= sheet.x1, text
            assert box.y1 <= sheet.y1, text
    inside, key = panel(figure).get_tightbbox(renderer), figure.legends[0].get_window_extent(renderer)
    assert inside is not None
    assert key.y1 <= inside.y0
    assert min(text.get_window_extent(renderer).y0 for text in figure.texts) >= inside.y1


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_the_same_finding_gives_the_same_bytes(format: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.{format}" for i in range(2)]
    for file in files:
        save(draw_finding(finding(chance=2.31)), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(files[0].read_bytes()) > 5000


def test_size_and_resolution() -> None:
    out = io.BytesIO()
    save(draw_finding(finding(), PlotOptions(width=6, height=4, dpi=50)), out)
    assert Image.open(out).size == (300, 200)


def test_losses_of_any_size() -> None:
    for scale in (1e-90, 1e90):
        losses = scale * CURVE_LOSSES[:, None] * [1, 1.01]
        losses[8] = 1e300
        save(draw_finding(analyse(RATES, [2.3 * scale] * 2, losses)), io.BytesIO())
    wide = analyse(np.geomspace(1e-100, 1e100, 11), [2.3, 2.3], CURVE_LOSSES[:, None] * [1, 1.01])
    save(draw_finding(wide), io.BytesIO())
    assert isinstance(panel(draw_finding(wide)).lines[0], Line2D)
