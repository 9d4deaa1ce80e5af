"""Curves in a terminal: within its width, plain where it must be, and with their spikes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lrsched_cli.run import Clock, Scope
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.cycle import CosineRestarts, Cyclic, OneCycle
from lrsched_cli.schedules.decay import Constant, Cosine, Exponential, Linear, Step
from lrsched_cli.schedules.phases import Piecewise, Wsd
from lrsched_cli.show.axes import PlotOptions
from lrsched_cli.show.terminal import render, sparkline
from lrsched_cli.trace import Trace


def trace(
    kind: type[Schedule], clock: Clock | None = None, name: str | None = None, lr: float = 0.1, **params
) -> Trace:
    clock = clock or Clock("epoch", 100)
    return Trace(name or kind.kind, kind.from_params(params, Scope.of(clock, lr)), clock)


BILLION = Clock("step", 10**9, steps_per_epoch=10**6, tokens_per_step=1000)
SPIKE = trace(Piecewise, BILLION, points=[[0, 0.01], [10**8, 0.1], [10**8 + 1, 0.01]], interpolate="constant")
PLOTS = {
    "one": [trace(Cosine)],
    "three": [trace(Cosine), trace(Step), trace(OneCycle)],
    "phases": [trace(Wsd, BILLION, warmup="5%")],
    "spike": [SPIKE],
    "cycles": [trace(CosineRestarts, BILLION, T_0=10)],
    "lengths": [trace(Cosine), trace(Step, BILLION)],
    "one tick": [trace(Cosine, Clock("epoch", 1))],
    "zero": [trace(Linear, start_factor=0, end_factor=0)],
    "tiny": [trace(Cosine, lr=1e-12)],
    "twenty": [trace(Cosine, name=f"schedule number {i}", lr=0.1 + i) for i in range(20)],
    "foreign": [trace(Cosine, name="学習率" * 40), trace(Step, name="é\x1b[31m\n$")],
}
ESCAPE = re.compile("\x1b\\[\\d+m")


def dots(line: str) -> int:
    """How many braille dots a line has."""
    return sum((ord(sign) - 0x2800).bit_count() for sign in line if 0x2800 <= ord(sign) <= 0x28FF)


def body(text: str) -> list[str]:
    """The inside of the plot, a string for each row."""
    return [
        re.split("[│┤|+]", line, maxsplit=1)[1] for line in text.splitlines() if re.match(r"^[ \d.e-]*[│┤|+]", line)
    ]


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize("unicode", [False, True])
@pytest.mark.parametrize("name", PLOTS)
def test_it_fits_and_is_plain(name: str, unicode: bool, log_y: bool):
    for width, height in ((80, 20), (40, 10), (200, 50)):
        text = render(PLOTS[name], width, height, unicode=unicode, options=PlotOptions(log_y=log_y))
        lines = text.splitlines()
        assert max(map(len, lines)) <= width
        assert "\x1b" not in text
        assert unicode or text.isascii()
        if len(PLOTS[name]) < 4:
            assert len(lines) <= height + (name == "phases") + (name == "foreign")


def test_colour_adds_only_colour():
    for traces in PLOTS.values():
        coloured = render(traces, 80, 20, colour=True)
        assert ESCAPE.search(coloured)
        assert [line.rstrip() for line in ESCAPE.sub("", coloured).splitlines()] == render(traces, 80, 20).splitlines()
        for line in coloured.splitlines():
            assert not ESCAPE.search(line) or line.endswith("\x1b[0m")


def test_the_same_traces_give_the_same_text():
    assert render(PLOTS["three"]) == render(PLOTS["three"])


def test_a_decay_falls_from_left_to_right():
    rows = body(render([trace(Cosine)], 80, 20, unicode=False))
    heights = [
        next(i for i, row in enumerate(rows) if len(row) > column and row[column] == "*") for column in range(72)
    ]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (0, len(rows) - 2)


def test_the_axes_say_the_numbers():
    lines = render([trace(Cosine)], 80, 20).splitlines()
    assert lines[0] == "cosine"
    assert lines[1].startswith(" 0.10┤")
    assert lines[-3].startswith("    0┤")
    assert lines[-1].split() == ["0", "20", "40", "60", "80", "epoch"]


def test_a_logarithmic_axis_has_powers():
    text = render([trace(OneCycle)], 80, 20, options=PlotOptions(log_y=True))
    assert re.search("1e-[3456]┤", text)


@pytest.mark.parametrize("unicode", [False, True])
def test_a_spike_of_one_tick_of_a_billion_is_seen(unicode: bool):
    rows = body(render([SPIKE], 80, 20, unicode=unicode))
    at = [len(row) - 1 for row in rows[:10]]
    assert len(set(at)) == 1
    assert at[0] == pytest.approx(0.1 * 74, abs=1)


def test_curves_can_be_told_apart_without_colour():
    text = render(PLOTS["three"], 80, 22)
    rows = "".join(body(text))
    assert all(rows.count(letter) >= 2 for letter in "abc")
    assert text.splitlines()[-1].split() == ["a", "cosine", "b", "step", "c", "onecycle"]


def test_phases_have_lines_and_names():
    lines = render(PLOTS["phases"], 80, 20).splitlines()
    assert lines[1].split() == ["stable", "decay"]
    assert sum(line.count("┊") for line in lines) > 15


def test_fast_cycles_fill_their_range():
    rows = body(render(PLOTS["cycles"], 80, 20))
    assert all(dots(row) > 0.9 * 8 * 74 for row in rows[:-2])


def test_sparklines():
    def line(kind: type[Schedule], **params) -> str:
        return sparkline(trace(kind, **params).schedule, 100)

    assert line(Cosine) == "███▇▇▆▆▅▄▃▃▂▂▁▁▁"
    assert line(Constant) == "█" * 16
    assert line(Linear, start_factor=0, end_factor=0) == "▁" * 16
    assert list(line(Exponential)) == sorted(line(Exponential), reverse=True)
    assert sparkline(trace(Cosine).schedule, 100, unicode=False).isascii()
    assert len(sparkline(trace(Cosine).schedule, 3)) == 3
    assert len(sparkline(trace(Cyclic, BILLION).schedule, 10**9, 40)) == 40
    assert sparkline(SPIKE.schedule, 10**9).count("▂") == 15


def test_nothing_heavy_is_imported():
    code = (
        "import sys\n"
        "import lrsched_cli.show.terminal\n"
        "assert not {'matplotlib', 'torch', 'yaml', 'rich', 'plotext', 'PIL'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
