"""Traces as a plot of characters, and a curve in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import combining, east_asian_width

import numpy as np
import numpy.typing as npt

from lrsched_cli.curve import Curve, reduce
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.show import axes as scale
from lrsched_cli.show.axes import PlotOptions, Series
from lrsched_cli.show.summary import printable
from lrsched_cli.trace import Trace

#: Foreground colours that every terminal has, and that can be told apart on light and dark ones.
COLOURS = (34, 31, 32, 35, 36, 33)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
#: Columns from one letter on a curve to the next.
APART = 16

BLOCKS, HEIGHTS = "▁▂▃▄▅▆▇█", "_.,-~=+#"


class _Signs(NamedTuple):
    """What the frame is drawn with, and how many dots across and down a cell of the plot has."""

    side: str
    tick: str
    corner: str
    floor: str
    notch: str
    mark: str
    across: int
    down: int


UNICODE = _Signs("│", "┤", "└", "─", "┬", "┊", 2, 4)
ASCII = _Signs("|", "+", "+", "-", "+", ":", 1, 1)

#: The bits of a braille pattern's dots, by row and column.
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def render(
    traces: Sequence[Trace],
    width: int = 80,
    height: int = 20,
    *,
    colour: bool = False,
    unicode: bool = True,
    options: PlotOptions | None = None,
) -> str:
    """The rates of some traces as lines of text, none wider than ``width``; of ``height`` lines with few traces.

    Curves are dots of braille patterns, or letters where the output is not Unicode. With several curves each also
    carries its letter, so that they can be told apart without colour.
    """
    options = options or PlotOptions()
    x, curves = scale.lay_out(traces, options.x)
    plot = _Plot(curves, width, height, colour, unicode, options.log_y)
    lines = [*plot.title(options.title), *plot.body(), *plot.x_axis(x), *plot.legend()]
    return "\n".join(line.rstrip() for line in lines)


def sparkline(schedule: Schedule, total: int, width: int = 16, unicode: bool = True) -> str:
    """A curve in one line, from 0 to its peak; each character stands halfway between the extremes of its part."""
    width = min(width, total)
    curve = reduce(schedule, 0, total, 8 * width)
    part = curve.ticks * width // total
    rates = np.nan_to_num(curve.rates, posinf=0.0, neginf=0.0)
    middle = np.array([np.ptp(r) / 2 + r.min() for i in range(width) if len(r := rates[part == i])])
    peak = float(rates.max(initial=0.0)) or 1.0
    signs = BLOCKS if unicode else HEIGHTS
    return "".join(signs[round(float(share) * 7)] for share in np.clip(middle / peak, 0, 1))


class _Plot:
    def __init__(self, curves: list[Series], width: int, height: int, colour: bool, unicode: bool, log: bool) -> None:
        self.curves, self.width, self.colour, self.log = curves, max(width, 24), colour, log
        self.signs = UNICODE if unicode else ASCII
        self.unicode = unicode
        self.end = max(series.end for series in curves)
        self.rows = max(height - 3 - (1 if len(curves) > 1 else 0), 4)
        self.reduced = [self._reduced(series) for series in curves]
        self.low, self.high = self._limits()
        self.ticks, self.labels = self._y_ticks()
        self.margin = max(map(len, self.labels)) + 1
        self.columns = self.width - self.margin - 1

    # Data.

    def _reduced(self, series: Series) -> Curve:
        dots = self.width * self.signs.across
        return reduce(series.schedule, 0, series.total, dots, rows=self.rows * self.signs.down, log=self.log)

    def _limits(self) -> tuple[float, float]:
        rates = np.concatenate([curve.rates for curve in self.reduced])
        rates = rates[np.isfinite(rates) & ((rates > 0) | (not self.log))]
        low, high = scale.rate_limits(float(rates.min(initial=np.inf)), float(rates.max(initial=-np.inf)), self.log)
        return low, high if high > low else low + 1

    def _share(self, rates: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Rates as shares of the height, from 0 at the bottom."""
        values, low, high = np.asarray(rates, dtype=np.float64), self.low, self.high
        if self.log:
            values, low, high = np.log10(np.maximum(values, low)), np.log10(low), np.log10(high)
        return np.asarray(np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1))

    def _y_ticks(self) -> tuple[list[int], list[str]]:
        """Rows of the ticks, counted from the top, and their labels."""
        most = max(self.rows // 3, 2)
        choose = scale.log_ticks if self.log else scale.linear_ticks
        values = choose(self.low, self.high, most)
        rows = [round(float(1 - share) * (self.rows - 1)) for share in self._share(values)]
        return rows, (scale.power_labels if self.log else scale.rate_labels)(values)

    # Drawing.

    def _dots(self, series: Series, curve: Curve) -> npt.NDArray[np.bool_]:
        """The dots that the line through a curve touches."""
        across, down = self.columns * self.signs.across, self.rows * self.signs.down
        x = curve.ticks * (series.unit / self.end * (across - 1))
        x *= series.total / max(series.total - 1, 1)  # the last tick in the last column
        x = np.minimum(x, across - 1)
        y = (1 - self._share(curve.rates)) * (down - 1)
        canvas = np.zeros((down, across), dtype=bool)
        if len(x) == 1:
            canvas[round(float(y[0])), :] = True
        for x0, y0, x1, y1 in zip(x[:-1], y[:-1], x[1:], y[1:], strict=True):
            n = int(max(abs(x1 - x0), abs(y1 - y0))) + 2
            canvas[np.rint(np.linspace(y0, y1, n)).astype(int), np.rint(np.linspace(x0, x1, n)).astype(int)] = True
        return canvas

    def body(self) -> list[str]:
        """The rows of the plot with the rate axis."""
        signs, alone = self.signs, len(self.curves) == 1
        cells = np.full((self.rows, self.columns), " ", dtype="<U1")
        owner = np.full((self.rows, self.columns), -1)
        names = self._phases(cells) if alone else ""
        bits = np.zeros((self.rows, self.columns), dtype=int)
        for i, (series, curve) in enumerate(zip(self.curves, self.reduced, strict=True)):
            dots = self._dots(series, curve)
            blocks = dots.reshape(self.rows, signs.down, self.columns, signs.across)
            touched = blocks.any(axis=(1, 3))
            owner[touched] = i
            if self.unicode:
                bits |= (blocks * DOTS[:, None, :]).sum(axis=(1, 3))
            else:
                cells[touched] = "*" if alone else self._letter(i)
        if self.unicode:
            filled = bits > 0
            cells[filled] = [chr(0x2800 + bit) for bit in bits[filled]]
            if not alone:
                self._tag(cells, owner)
        lines = [] if not names else [" " * (self.margin + 1) + names]
        for row in range(self.rows):
            label = self.labels[self.ticks.index(row)] if row in self.ticks else ""
            side = signs.tick if label else signs.side
            lines.append(label.rjust(self.margin) + side + self._coloured(cells[row], owner[row]))
        return lines

    def _letter(self, number: int) -> str:
        return LETTERS[number % len(LETTERS)]

    def _tag(self, cells: npt.NDArray[np.str_], owner: npt.NDArray[np.int_]) -> None:
        """Write each curve's letter on it every few columns, the curves taking turns."""
        for i, (series, curve) in enumerate(zip(self.curves, self.reduced, strict=True)):
            reach = max(round(self.columns * series.end / self.end), 1)
            for column in range((2 + 5 * i) % APART, reach, APART):
                tick = min(int(column / max(reach - 1, 1) * (series.total - 1)), series.total - 1)
                near = curve.rates[min(int(np.searchsorted(curve.ticks, tick)), len(curve.ticks) - 1)]
                row = round(float(1 - self._share(near)) * (self.rows - 1))
                cells[row, column], owner[row, column] = self._letter(i), i

    def _phases(self, cells: npt.NDArray[np.str_]) -> str:
        """Draw a line where each phase of a single curve begins; returns the line of their names above the plot."""
        series, names = self.curves[0], ""
        for tick, label in series.marks[: self.columns // 4]:
            column = min(int(tick * series.unit / self.end * self.columns), self.columns - 1)
            cells[:, column] = self.signs.mark
            label = printable(label)
            if len(names) <= column <= self.columns - len(label):
                names = names.ljust(column) + label + " "
        return names

    def _coloured(self, cells: npt.NDArray[np.str_], owner: npt.NDArray[np.int_]) -> str:
        """A row of cells, with the colour of the curve in each; a colour is set only where it changes."""
        if not self.colour:
            return "".join(cells).rstrip()
        text, current = "", -1
        for sign, number in zip(cells, owner, strict=True):
            if number != current and (number >= 0 or sign != " "):
                text += "\x1b[0m" if current >= 0 else ""
                text += f"\x1b[{COLOURS[number % len(COLOURS)]}m" if number >= 0 else ""
                current = number
            text += sign
        return text.rstrip() + ("\x1b[0m" if current >= 0 else "")

    # Around the plot.

    def title(self, title: str | None) -> list[str]:
        if title is None:
            title = self.curves[0].name if len(self.curves) == 1 else ""
        return [_cut(self._encodable(printable(title)), self.width)] if title else []

    def x_axis(self, name: str) -> list[str]:
        """The line under the plot with its ticks, and their labels with the axis's own name at the right."""
        floor, labels = [self.signs.floor] * self.columns, [" "] * (self.margin + 1 + self.columns)
        label = scale.X_LABELS[name]
        values = scale.linear_ticks(0, self.end, max(self.columns // 12, 2))
        free, room = 0, len(labels) - len(label) - 2
        for value, text in zip(values, scale.count_labels(values), strict=True):
            column = min(int(value / self.end * self.columns), self.columns - 1)
            floor[column] = self.signs.notch
            start = max(self.margin + 1 + column - len(text) // 2, free)
            if start + len(text) <= room:
                labels[start : start + len(text)] = text
                free = start + len(text) + 1
        labels[-len(label) :] = label
        return [" " * self.margin + self.signs.corner + "".join(floor), "".join(labels)]

    def legend(self) -> list[str]:
        """The letters and names of several curves, as many in a line as fit."""
        if len(self.curves) == 1:
            return []
        lines, line, used = [], "", 0
        for i, series in enumerate(self.curves):
            entry = _cut(f"{self._letter(i)} {self._encodable(series.name)}", self.width - self.margin - 1)
            if used and used + 3 + _cells(entry) > self.width - self.margin - 1:
                lines.append(line)
                line, used = "", 0
            line += "   " * bool(used) + (f"\x1b[{COLOURS[i % len(COLOURS)]}m{entry}\x1b[0m" if self.colour else entry)
            used += 3 * bool(used) + _cells(entry)
        return [" " * (self.margin + 1) + part for part in (*lines, line)]

    def _encodable(self, text: str) -> str:
        return text if self.unicode else text.encode("ascii", "backslashreplace").decode()


def _cells(text: str) -> int:
    """The columns that a text takes: two for a wide letter, none for an accent of its own."""
    return sum(0 if combining(sign) else 1 + (east_asian_width(sign) in "WF") for sign in text)


def _cut(text: str, width: int) -> str:
    """A text that fits in a width."""
    if _cells(text) <= width:
        return text
    while text and _cells(text) > width - 3:
        text = text[:-1]
    return text + "..."
