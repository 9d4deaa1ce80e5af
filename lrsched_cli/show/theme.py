"""The look of the figures, kept from the user's settings and the user's settings kept from it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from lrsched_cli.show.axes import Stroke


@contextmanager
def without_3d() -> Iterator[None]:
    """Import Matplotlib without its 3-D axes, a tenth of the time; whoever asks for them later gets them."""
    name = "mpl_toolkits.mplot3d"
    if name in sys.modules or "matplotlib.projections" in sys.modules:
        yield
        return

    class Axes3D:
        name = "3d"

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            from mpl_toolkits.mplot3d import Axes3D as Real  # type: ignore[import-untyped]

            return Real(*args, **kwargs)

    sys.modules[name] = stub = ModuleType(name)
    stub.Axes3D = Axes3D  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del sys.modules[name]


with without_3d():
    import matplotlib as mpl
    import matplotlib.projections  # which would import them

INK, FAINT, GRID = "#222222", "#6e6e6e", "#e6e6e6"
#: Okabe and Ito's colours without the yellow, in an order that keeps neighbours apart for the colour-blind.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#555555")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
OVER: Any = (0, (3, 3))  # for a curve that lies on another, which shows between the dashes

THEME: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": "#8a8a8a",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.labelsize": 9.5,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#8a8a8a",
    "ytick.color": "#8a8a8a",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3.5,
    "ytick.major.size": 3.5,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.solid_joinstyle": "round",
    "lines.dash_joinstyle": "round",
    "lines.solid_capstyle": "round",
    "path.simplify": False,  # curves come reduced to what shows; simplifying moves them by up to 32/255
    "svg.hashsalt": "lrsched",
    "svg.fonttype": "path",  # the layout is measured in this font, which the reader may not have
    "pdf.fonttype": 42,  # what submission systems ask for
}


@contextmanager
def themed() -> Iterator[None]:
    """Our look whatever the user's matplotlibrc says, and no word about letters that the font lacks."""
    families = {key.partition(".")[0] for key in THEME} | {"figure", "savefig", "patch", "mathtext"}
    default: dict[Any, Any] = {k: v for k, v in mpl.rcParamsDefault.items() if k.partition(".")[0] in families}
    ours: dict[Any, Any] = {**default, **THEME}
    with warnings.catch_warnings(), mpl.rc_context(ours):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def style(number: int, stroke: Stroke | None = None) -> tuple[str, Any]:
    """The colour and the dashes of a curve by its number, every colour solid first, then dashed; or by its stroke."""
    if stroke is not None:
        return COLOURS[stroke.colour], stroke.dash
    cycle, colour = divmod(number, len(COLOURS))
    return COLOURS[colour], DASHES[cycle % len(DASHES)]
