"""How a training is followed: the arithmetic, plain lines, and the live table on a terminal."""

from __future__ import annotations

import itertools
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrsched_cli.cli import progress
from lrsched_cli.cli.progress import Plain, Standing, spoken
from lrsched_cli.errors import SpecError
from lrsched_cli.files import write_whole
from lrsched_cli.training import worker
from lrsched_cli.training.worker import Report
from tests.cli.training import PLAN, before_epoch, copies, lrsched, watched

ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """What a terminal shows in the end: as much of ECMA-48 as Rich makes use of."""

    def __init__(self, text: str, columns: int = 80) -> None:
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0
        self.columns, self.cursor = columns, True
        for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f]|[^\x00-\x1f]+", text):
            if piece.startswith(ESCAPE):
                self.control(piece[2:-1], piece[-1])
            elif piece == "\n":
                self.down()
            elif piece == "\r":
                self.column = 0
            else:
                assert piece >= " ", repr(piece)
                for character in piece:
                    self.put(character)

    def down(self) -> None:
        self.row += 1
        while len(self.lines) <= self.row:
            self.lines.append([])

    def put(self, character: str) -> None:
        if self.column == self.columns:
            self.column = 0
            self.down()
        line = self.lines[self.row]
        line += [" "] * (self.column + 1 - len(line))
        line[self.column] = character
        self.column += 1

    def control(self, values: str, what: str) -> None:
        if what == "A":
            self.row -= int(values or 1)
            assert self.row >= 0
        elif what == "K":
            assert values == "2"
            self.lines[self.row] = []
        elif what in "hl":
            assert values == "?25"
            self.cursor = what == "h"
        else:
            assert what == "m", (values, what)

    @property
    def text(self) -> str:
        return "\n".join("".join(line).rstrip() for line in self.lines).rstrip("\n")


# Where the runs stand.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set by the test."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def report(numbers: tuple[int, ...], epoch: int, loss: float = 1.0, alive: Any = True, samples: int = 50) -> Report:
    values = {"val_loss": np.full(len(numbers), loss), "lr": np.full(len(numbers), 0.1)}
    return Report(numbers, epoch, values, np.broadcast_to(alive, len(numbers)), samples if epoch else 0)


def test_share_and_time_left(clock: list[float]) -> None:
    """Four runs of 10 epochs and one of 20: of 60 epochs 4 are done after 2 s, so that 28 s are left."""
    standing = Standing([("a", 0.1)] * 4 + [("b", 0.1)], [10] * 4 + [20])
    assert standing.share == 0
    assert np.isnan(standing.remaining)
    clock[0] += 30  # a slow start is no part of the speed
    standing.take(report((0, 1, 2, 3), 0))
    standing.take(report((4,), 0))
    assert np.isnan(standing.remaining)
    clock[0] += 2
    standing.take(report((0, 1, 2, 3), 1, samples=400))
    assert standing.share == pytest.approx(4 / 60)
    assert standing.remaining == pytest.approx(28)
    assert standing.speed == pytest.approx(200)


def test_a_run_that_diverged_needs_no_more_time(clock: list[float]) -> None:
    standing = Standing([("a", 0.1), ("a", 0.1), ("b", 0.5)], [10, 10, 10])
    standing.take(report((0, 1, 2), 0))
    clock[0] += 1
    standing.take(report((0, 1, 2), 1, loss=2.0, alive=[True, False, False]))
    assert standing.share == pytest.approx((1 + 10 + 10) / 30)
    assert standing.remaining == pytest.approx(9)
    assert standing.rows() == [
        ("a", 0.1, "1/10", {"val_loss": 2.0, "lr": 0.1}, 1),
        ("b", 0.5, "1/10", {}, 1),
    ]
    standing.take(report((0,), 2, alive=False))
    assert (standing.share, standing.remaining) == (1, 0)


def test_what_was_done_before_is_no_part_of_the_speed(clock: list[float]) -> None:
    """Gone on with at epoch 90 of 100, an epoch a second: 9 s are left after one, not the tenth of a second."""
    standing = Standing([("a", 0.1)], [100])
    resumed = report((0,), 90)
    standing.take(Report(resumed.numbers, 90, resumed.values, resumed.alive, 0))
    assert standing.share == pytest.approx(0.9)
    clock[0] += 1
    standing.take(report((0,), 91))
    assert standing.remaining == pytest.approx(9)
    assert standing.speed == pytest.approx(50)


def test_rows_are_means_over_the_living_runs(clock: list[float]) -> None:
    standing = Standing([("a", 0.1)] * 3, [4] * 3)
    for number, (epoch, loss) in enumerate(((2, 1.0), (3, 2.0), (1, 9.0))):
        standing.take(report((number,), epoch, loss=loss, alive=number != 2))
    ((schedule, lr, epoch, means, lost),) = standing.rows()
    assert (schedule, lr, epoch, lost) == ("a", 0.1, "2/4", 1)
    assert means["val_loss"] == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (99.4, "99 s"), (100, "2 min"), (3600, "60 min"), (5400, "1.5 h"), (float("nan"), "?")],
)
def test_a_length_of_time_as_it_is_said(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_a_line_every_few_seconds(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """The epoch is that of the slowest run on its way: one that ended sooner does not hold it back."""
    standing = Standing([("a", 0.1), ("b", 0.1), ("c", 0.1)], [10, 4, 10])
    plain = Plain(standing)
    standing.take(report((0, 1, 2), 0))
    for epoch in range(1, 6):
        clock[0] += 2
        standing.take(report((0,), epoch, loss=0.25))
        standing.take(report((1,), min(epoch, 4), loss=0.75))
        standing.take(report((2,), min(epoch, 2), alive=epoch < 2))
        plain.refresh()
    plain.remark("[/b] is said as it is")
    assert capsys.readouterr().err.splitlines() == [
        " 67%  epoch 3 of 10, mean val loss 0.5000, 1 DIVERGED, 8 s left",
        "note: [/b] is said as it is",
    ]


# On a terminal, and where there is none.


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plan, where everything is shown at once."""
    (tmp_path / "p.yaml").write_text(PLAN)
    monkeypatch.setattr(progress, "REFRESHMENTS", 1e9)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    return tmp_path


TRAIN = ("train", "p.yaml", "-o", "out", "--workers", "1")


@copies
@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_gets_a_table_that_leaves_nothing_behind(place: Path, columns: int) -> None:
    name = "a name that is much longer than its column is wide, größe and all"
    (place / "p.yaml").write_text(PLAN.replace("short:", f"{name}:").replace("seeds: 2", "seeds: 2\nlrs: [0.01, 0.1]"))
    code, written = watched(*TRAIN, cwd=place, columns=columns)
    assert code == 0
    live = written[written.index("\x1b[?25l") : written.index("\x1b[?25h")]
    frames = [SEQUENCE.sub("", text) for text in re.split(r"[\r\n]+", live)]
    assert max(map(len, frames)) <= columns
    assert any("samples/s" in text for text in frames)
    assert any(re.search(r"plateau +0\.01 +8/8 +0\.\d+ +0\.\d{4} +0\.\d{4} +\d\d\.\d%", text) for text in frames)
    assert any(text.startswith(" a name") and "…" in text for text in frames)
    screen = Screen(written, columns)
    assert screen.cursor
    assert "samples/s" not in screen.text
    assert "lr now" not in screen.text
    lines = screen.text.splitlines()
    assert lines[0] == f"training plateau, cycle, averaged, {name}"[:columns].rstrip()
    assert "" not in lines[:4]  # the talk, and then at once the result
    assert lines[-2] == "out/results.json"
    assert " s of training" in lines[-1]


@copies
def test_without_colour_there_is_none(place: Path) -> None:
    """The table still moves where it can."""
    code, written = watched(*TRAIN, cwd=place, NO_COLOR="1")
    assert code == 0
    assert "\x1b[?25l" in written
    assert not COLOUR.search(written)
    assert "samples/s" not in Screen(written).text


@copies
def test_a_dumb_terminal_gets_lines(place: Path) -> None:
    code, written = watched(*TRAIN, cwd=place, TERM="dumb")
    assert code == 0
    assert ESCAPE not in written
    assert re.search(r"^ *\d+%  epoch \d of 8, mean val loss 0\.\d{4}, \S+ (s|min) left\r?$", written, re.M)


def test_a_pipe_gets_lines(place: Path) -> None:
    found = lrsched(*TRAIN, cwd=place)
    assert found.code == 0
    assert ESCAPE not in found.out + found.err
    assert all(line.isprintable() for line in found.err.splitlines())
    found = lrsched(*TRAIN[:-4], "-o", "quiet", "-q", cwd=place)
    assert (found.code, found.err) == (0, "")


@copies
@pytest.mark.parametrize("terminal", [True, False])
def test_a_note_on_the_way_is_said_as_it_is(place: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """Brackets in a name are no markup."""

    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".npz":
            raise SpecError(f"cannot write {path}: No space left on device")
        write_whole(path, data)

    monkeypatch.setattr(worker, "write_whole", full)
    args = ("train", "p.yaml", "-o", "[b] [", "--workers", "1")
    with before_epoch(monkeypatch, lambda _: None):
        if terminal:
            code, written = watched(*args, cwd=place)
            text = "".join(line.ljust(80) if len(line) < 80 else line for line in Screen(written).text.splitlines())
        else:
            code, _, text = lrsched(*args, cwd=place)
    assert code == 0
    told = re.findall(r"note: cannot write \[b\] \[/state/runs-\S+: No space left on device: training goes on", text)
    assert len(told) == 1, text


@copies
def test_an_interrupt_leaves_the_terminal_as_it_was(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one too, which ends it in the middle of a frame."""
    for count in (1, 2):

        def act(ensemble: Any, count: int = count) -> None:
            if ensemble.epoch == 2:
                for _ in itertools.repeat(None, count):
                    os.kill(os.getpid(), signal.SIGINT)

        with before_epoch(monkeypatch, act):
            code, written = watched("train", "p.yaml", "-o", f"out{count}", "--workers", "1", cwd=place)
        assert code == 130
        screen = Screen(written)
        assert screen.cursor
        assert "samples/s" not in screen.text
        assert screen.text.splitlines()[-1] == "lrsched: interrupted"
        assert "stopping after this epoch; again to stop now" in screen.text
