"""A learning-rate range test as a Matplotlib figure. Loaded only when one is drawn: Matplotlib takes long to import."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lrsched_cli.show import axes as scale
from lrsched_cli.show.axes import PlotOptions
from lrsched_cli.show.figure import BOTTOM, EDGE, GAP, LEFT
from lrsched_cli.show.summary import number, printable
from lrsched_cli.show.theme import COLOURS, FAINT, INK, themed, without_3d
from lrsched_cli.training.range_test import Finding

with without_3d():
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import FixedLocator, NullLocator

CURVE, ANSWER = COLOURS[0], COLOURS[1]
#: The axis ends at so many times the highest loss that learns nothing; what is above it is marked at its edge.
HEADROOM = 1.25
#: A logarithmic axis begins so many times below the lowest mean; seeds that end lower lie on its edge.
BELOW = 10.0
#: Losses that span more than this are drawn on a logarithmic axis.
WIDE = 30.0
#: Heights on the sheet, in inches: numbers above the panel, a line of the title and of the reason, a row of the key.
ABOVE, HEAD, LINE, KEY = 0.2, 0.25, 0.185, 0.2
#: The least distance of two numbers above the panel, and of two numbers beside it, in inches.
APART, BESIDE = 0.55, 0.34
#: About the widths of a letter of the key and of what is drawn before its words, in inches.
LETTER, HANDLE = 0.07, 0.42
#: The margin for the words at the right ends of lines, in inches.
RIGHT = 0.78


def draw_finding(finding: Finding, options: PlotOptions | None = None) -> Figure:
    """Draw the loss after training against the rate: every seed, their mean, the smoothed curve, the answer, how sure.

    ``options.x`` does not apply: the rates have a logarithmic axis. ``options.log_y`` gives the losses one as well,
    which they also get where they span much.
    """
    options = options or PlotOptions()
    with themed():
        sheet = _Sheet(finding, options)
        sheet.draw()
        return sheet.figure


class _Sheet:
    """One figure while it is drawn."""

    def __init__(self, finding: Finding, options: PlotOptions) -> None:
        self.finding, self.width = finding, options.width
        finite = finding.final[np.isfinite(finding.final)]
        references = [*finding.initial, *([] if finding.chance is None else [finding.chance])]
        top = min(max([*references, *finite]), HEADROOM * max(references))
        means = finding.mean[np.isfinite(finding.mean) & (finding.mean > 0)]
        # A seed that ends at 1e-8 where their mean is 0.1 must not squeeze the means into the top of the panel.
        lowest = max(min([*references, *finite[finite > 0]]), min([*references, *means]) / BELOW)
        self.log = options.log_y or top > WIDE * lowest
        if not self.log and (finite == 0).any():
            lowest = 0.0
        self.limits = self._limits(lowest, top)
        self.lines = list(self._words(options.title))
        self.keys = self._keys()
        self.columns = self._columns([key.get_label() for key in self.keys])
        head = GAP + sum(height for *_, height in self.lines) + ABOVE
        self.foot = BOTTOM + KEY * -(-len(self.keys) // self.columns)
        # Many words make the sheet taller, not the curve flatter.
        self.inner = max(options.height - head - self.foot, 0.5 * options.height)
        self.height = head + self.inner + self.foot
        self.figure = Figure(figsize=(self.width, self.height), dpi=options.dpi, facecolor="white")

    def _limits(self, lowest: float, highest: float) -> tuple[float, float]:
        """The bottom and the top of the axis, with margins."""
        bottom, top = scale.rate_limits(lowest, highest, self.log)
        if self.log:
            spread = (top / bottom) ** 0.06
            return bottom / spread, top * spread
        spread = 0.06 * (top - bottom)
        return bottom - (spread if bottom else 0.0), top + spread

    def draw(self) -> None:
        axes = self.figure.add_axes((
            LEFT / self.width, self.foot / self.height,
            max(self.width - LEFT - RIGHT, 0.5) / self.width, self.inner / self.height,
        ))  # fmt: skip
        self._scales(axes)
        self._references(axes)
        self._losses(axes)
        self._answer(axes)
        self.figure.legend(
            handles=self.keys, loc="lower left", bbox_to_anchor=(EDGE / self.width, 0.05 / self.height),
            ncols=self.columns, frameon=False, fontsize=8, handlelength=1.5, handletextpad=0.6, columnspacing=1.6,
            labelspacing=0.35, borderpad=0, borderaxespad=0,
        )  # fmt: skip
        down = GAP
        for text, size, weight, colour, height in self.lines:
            self.figure.text(
                EDGE / self.width, 1 - down / self.height, text, fontsize=size, fontweight=weight, color=colour,
                va="top", parse_math=False,
            )  # fmt: skip
            down += height

    # Words.

    def _words(self, title: str | None) -> Iterator[tuple[str, float, str, str, float]]:
        """The lines above the picture: text, size, weight, colour and height."""
        finding, named = self.finding, title is not None
        if title is None:
            rate = finding.suggestion
            title = "Learning-rate range test: " + ("no answer" if rate is None else f"{number(rate)} is best")
        for line in self._wrapped(printable(title), 11):
            yield line, 11.0, "bold", INK, HEAD
        reason = f"No answer: {finding.reason}" if finding.suggestion is None and named else finding.reason
        colour = FAINT if finding.suggestion is not None else ANSWER
        for line in self._wrapped(reason, 8.5):
            yield line, 8.5, "normal", colour, LINE

    def _wrapped(self, text: str, size: float) -> list[str]:
        # A letter of DejaVu Sans is a little more than half as wide as high, a bold one a tenth more.
        share = 0.65 if size > 10 else 0.56
        return textwrap.wrap(text, max(int((self.width - 2 * EDGE) * 72 / (share * size)), 8))

    def _above(self) -> npt.NDArray[np.bool_]:
        """Which rates have a run whose loss is off the axis, and none that is unstable."""
        return np.asarray((self.finding.final > self.limits[1]).any(axis=1) & ~self.finding.unstable)

    # The panel.

    def _scales(self, axes: Axes) -> None:
        rates, (bottom, top) = self.finding.rates, self.limits
        pad = (rates[-1] / rates[0]) ** 0.03 if len(rates) > 1 else 2.0
        left, right = float(rates[0] / pad), float(rates[-1] * pad)
        # Three ticks at least: of fewer, one cannot see that an axis is logarithmic.
        up = min(max(int(self.inner / BESIDE), 3), 7)
        across = min(max(int((self.width - LEFT - RIGHT) / APART), 3), 8)
        axes.set_xscale("log")
        axes.set_xlim(left, right)
        axes.xaxis.set_major_locator(FixedLocator(values := scale.log_ticks(left, right, across)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels(scale.power_labels(values, powers=True))
        axes.set_xlabel("learning rate")
        if self.log:
            axes.set_yscale("log")
            values = scale.log_ticks(bottom, top, up)
            labels = scale.power_labels(values, powers=True)
        else:
            values = scale.linear_ticks(bottom, top, up)
            labels = scale.rate_labels(values, powers=True)
        axes.set_ylim(bottom, top)
        axes.yaxis.set_major_locator(FixedLocator(values))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_yticklabels(labels)
        axes.grid(True, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_ylabel("loss after training" if self.inner > 1.5 else "loss")
        axes.yaxis.set_label_coords((EDGE + 0.1 - LEFT) / max(self.width - LEFT - RIGHT, 0.5), 0.5)

    def _references(self, axes: Axes) -> None:
        """Dotted lines at the losses that take no learning."""
        finding = self.finding
        before = float(finding.initial.mean())
        lines = [("before\ntraining", before)] + ([] if finding.chance is None else [("guessing", finding.chance)])
        # Two lines may be as near to each other as they like: the word of the lower one hangs down.
        places = ["center"] if len(lines) == 1 else ["top", "bottom"]
        for (word, loss), place in zip(sorted(lines, key=lambda line: line[1]), places, strict=True):
            axes.axhline(loss, color=FAINT, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1.5)
            axes.annotate(
                word, (1, loss), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va=place,
                fontsize=8, color=FAINT, linespacing=1.0,
            )  # fmt: skip

    def _losses(self, axes: Axes) -> None:
        finding = self.finding
        x = np.broadcast_to(finding.rates[:, None], finding.final.shape)
        bottom, top = self.limits
        losses = np.where(np.isfinite(finding.final), finding.final, np.nan)
        shown = losses <= top
        losses = np.maximum(losses, bottom)
        axes.fill_between(
            finding.rates, np.maximum(finding.low, bottom), np.minimum(finding.high, top), color=CURVE, alpha=0.12,
            linewidth=0, zorder=2,
        )  # fmt: skip
        axes.plot(x[shown], losses[shown], "o", color=CURVE, alpha=0.4, ms=3.2, mew=0, zorder=3, clip_on=False)
        axes.plot(finding.rates, finding.smoothed, color=CURVE, linewidth=1.0, zorder=4)
        if len(finding.initial) > 1:
            means = np.isfinite(finding.mean) & (finding.mean >= bottom) & (finding.mean <= top)
            axes.plot(finding.rates[means], finding.mean[means], "D", color=CURVE, ms=4.2, mew=0, zorder=4.5)
        at_edge: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 5}
        above = finding.rates[self._above()]
        axes.plot(above, np.ones_like(above), "^", color=CURVE, ms=4.5, mew=0, **at_edge)
        gone = finding.rates[finding.unstable]
        axes.plot(gone, np.ones_like(gone), "x", color=INK, ms=5.5, mew=1.3, **at_edge)

    def _answer(self, axes: Axes) -> None:
        finding = self.finding
        if finding.best is None:
            return
        loss = finding.mean[finding.rates == finding.best]
        answered = finding.suggestion is not None
        numbers = [(finding.best, ANSWER if answered else FAINT, "bold" if answered else "normal")]
        if finding.interval is not None:
            half = (finding.rates[-1] / finding.rates[0]) ** (0.25 / (len(finding.rates) - 1))
            low, high = finding.interval
            axes.axvspan(low / half, high * half, color=ANSWER, alpha=0.12, linewidth=0, zorder=1)
            numbers += [(rate, FAINT, "normal") for rate in (low, high) if rate != finding.best]
        if answered:
            axes.axvline(finding.best, color=ANSWER, linewidth=1.2, zorder=3.5)
        face = ANSWER if answered else "white"
        axes.plot([finding.best], loss, "o", ms=6.5, mfc=face, mec=ANSWER, mew=1.3, zorder=6)
        self._numbers(axes, numbers)

    def _numbers(self, axes: Axes, numbers: list[tuple[float, str, str]]) -> None:
        """Rates above the panel: all, or where they would touch each other only the first."""
        left, right = axes.get_xlim()
        inch = (self.width - LEFT - RIGHT) / np.log(right / left)
        places = np.sort([inch * np.log(rate / left) for rate, *_ in numbers])
        for rate, colour, weight in numbers if (np.diff(places) >= APART).all() else numbers[:1]:
            axes.annotate(
                number(rate), (rate, 1), (0, 5), xycoords=axes.get_xaxis_transform(), color=colour,
                textcoords="offset points", ha="center", va="bottom", fontsize=8.5, fontweight=weight,
            )  # fmt: skip

    # The key.

    def _keys(self) -> list[Any]:
        """What the picture holds, as artists with labels."""
        finding = self.finding
        seeds = len(finding.initial)
        dot: dict[str, Any] = {"linestyle": "none", "mew": 0, "color": CURVE}
        keys: list[Any] = []
        if np.isfinite(finding.final).any():
            runs = "a run" if seeds == 1 else f"{seeds} seeds"
            keys.append(Line2D([], [], marker="o", ms=4, alpha=0.5, label=runs, **dot))
        if seeds > 1 and np.isfinite(finding.mean).any():
            keys.append(Line2D([], [], marker="D", ms=4.2, label="mean", **dot))
        if np.isfinite(finding.smoothed).any():
            keys.append(Line2D([], [], color=CURVE, linewidth=1.0, label="smoothed"))
        if np.isfinite(finding.low).any():
            keys.append(Patch(color=CURVE, alpha=0.15, linewidth=0, label="noise"))
        if finding.interval is not None:
            keys.append(Patch(color=ANSWER, alpha=0.15, linewidth=0, label="as good as the best"))
        if self._above().any():
            keys.append(Line2D([], [], marker="^", ms=4.5, label="above the axis", **dot))
        if finding.unstable.any():
            cross: dict[str, Any] = {"marker": "x", "ms": 5.5, "mew": 1.3, "color": INK, "linestyle": "none"}
            keys.append(Line2D([], [], label="unstable", **cross))
        return keys

    def _columns(self, words: list[str]) -> int:
        """The most columns of the key that fit on the sheet; it is filled column by column."""
        for columns in range(len(words), 1, -1):
            rows = -(-len(words) // columns)
            widest = [max(map(len, words[i : i + rows])) for i in range(0, len(words), rows)]
            if sum(LETTER * letters + HANDLE for letters in widest) <= self.width - 2 * EDGE:
                return columns
        return 1
