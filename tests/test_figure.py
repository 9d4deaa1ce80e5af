"""Figures: the same picture as one drawn from every tick, the same bytes every time, and files whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrsched_cli.curve import Curve
from lrsched_cli.errors import SpecError
from lrsched_cli.files import write_whole
from lrsched_cli.run import Clock, Scope
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.compose import Grouped
from lrsched_cli.schedules.cycle import CosineRestarts, Cyclic, OneCycle
from lrsched_cli.schedules.decay import Constant, Cosine, Exponential, Linear, Step
from lrsched_cli.schedules.phases import Piecewise, Wsd
from lrsched_cli.show import figure
from lrsched_cli.show.axes import PlotOptions, count_labels, linear_ticks, log_ticks, power_labels, rate_labels
from lrsched_cli.show.figure import draw, save
from lrsched_cli.show.summary import summary
from lrsched_cli.trace import Trace

MILLION = 10**6


def trace(
    kind: type[Schedule], clock: Clock | None = None, name: str | None = None, lr: float = 0.1, **params
) -> Trace:
    clock = clock or Clock("epoch", 100)
    return Trace(name or kind.kind, kind.from_params(params, Scope.of(clock, lr)), clock)


def steps(kind: type[Schedule], total: int = MILLION, **params) -> Trace:
    return trace(kind, Clock("step", total), **params)


def png(traces: list[Trace], **options) -> bytes:
    out = io.BytesIO()
    save(draw(traces, PlotOptions(**options)), out, "png")
    return out.getvalue()


def pixels(one: Trace, **options) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png([one], dpi=100, **options))).convert("RGB")).astype(int)


def texts(traces: list[Trace], **options) -> list[str]:
    from matplotlib.text import Text

    drawn = draw(traces, PlotOptions(**options))
    return [text.get_text() for text in drawn.findobj(Text) if text.get_text()]


def every_tick(schedule: Schedule, start: int, stop: int, columns: int, **_) -> Curve:
    ticks = np.arange(start, stop)
    return Curve(ticks, schedule(ticks))


def off(one: Trace, monkeypatch: pytest.MonkeyPatch, **options) -> np.ndarray:
    """How far each pixel is from the picture drawn with the same style from every tick, of 255."""
    mine = pixels(one, **options)
    monkeypatch.setattr(figure, "reduce", every_tick)
    return np.abs(mine - pixels(one, **options)).max(axis=2)


@pytest.mark.parametrize(
    "one",
    [
        steps(Cosine),
        steps(Cosine, 10**7),
        steps(Step, step_size=20_000, gamma=0.9),
        steps(Cyclic, step_size_up=50_000, mode="exp_range", gamma=1 - 3e-6),
        steps(OneCycle),
        steps(Wsd, warmup=1000),
        steps(Exponential),
        steps(Piecewise, points=[[0, 0.01], [500_000, 0.1], [500_001, 0.01]], interpolate="constant"),
    ],
    ids=lambda one: f"{one.name}-{len(one)}",
)
def test_the_picture_is_the_one_drawn_from_every_tick(one: Trace, monkeypatch: pytest.MonkeyPatch):
    assert np.mean(off(one, monkeypatch) <= 1) >= 0.999


def test_so_it_is_on_a_logarithmic_axis(monkeypatch: pytest.MonkeyPatch):
    assert np.mean(off(steps(OneCycle), monkeypatch, log_y=True) <= 1) >= 0.999


@pytest.mark.parametrize("cycles", [300, 100_000])
def test_cycles_narrower_than_the_line_fill_the_same_area(cycles: int, monkeypatch: pytest.MonkeyPatch):
    """To within the edges, where Agg adds up the coverage of strokes that lie on each other.

    There even the picture of every second tick differs from the one of every tick: at 300 cycles in 0.15% of the
    pixels; at 100,000 cycles a whole row of half covered pixels becomes full.
    """
    wrong = off(steps(CosineRestarts, T_0=MILLION // cycles), monkeypatch)
    assert np.mean(wrong <= 1) >= 0.98
    assert np.mean(wrong <= 24) >= 0.995


def test_the_spike_is_in_the_picture():
    flat = pixels(steps(Constant, lr=0.01))
    with_spike = pixels(steps(Piecewise, points=[[0, 0.01], [500_000, 0.1], [500_001, 0.01]], interpolate="constant"))
    assert flat.shape == with_spike.shape
    blue = (with_spike[:, :, 2] - with_spike[:, :, 0] > 100).sum(axis=0)
    assert blue.max() > 200  # a stroke from the floor to the peak


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_the_same_input_gives_the_same_bytes(format: str):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.test_figure import *\n"
        "traces = [trace(OneCycle, cycle_momentum=True), trace(Cosine, name='é $x_1$')]\n"
        "save(draw(traces), sys.stdout.buffer, sys.argv[2])"
    )
    root = str(Path(__file__).parents[1])

    def once(seed: str) -> bytes:
        env = {**os.environ, "PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": seed + "00000000"}
        return subprocess.run(
            [sys.executable, "-c", code, root, format], capture_output=True, check=True, env=env, cwd=root
        ).stdout

    first = once("1")
    assert first == once("2")
    assert not any(word in first for word in (b"CreationDate", b"dc:date", b"Matplotlib v", b"Software"))
    assert len(first) < 120_000


def test_a_vector_file_of_a_million_steps_is_small():
    out = io.BytesIO()
    save(draw([steps(Cosine)]), out, "svg")
    assert len(out.getvalue()) < 80_000


def test_neither_pyplot_nor_the_3d_axes_are_imported_and_both_still_work():
    code = (
        "import sys\n"
        "from tests.test_figure import *\n"
        "draw([trace(Cosine)])\n"
        "assert not {'matplotlib.pyplot', 'mpl_toolkits.mplot3d', 'torch', 'yaml', 'typer'} & set(sys.modules)\n"
        "from matplotlib.figure import Figure\n"
        "axes = Figure().add_subplot(projection='3d')\n"
        "from mpl_toolkits.mplot3d import Axes3D\n"
        "assert isinstance(axes, Axes3D)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_nobody_elses_settings_are_touched_or_used():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plain = png([trace(Cosine)])
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30, "lines.linewidth": 9}):
        assert png([trace(Cosine)]) == plain


ODD = {
    "one tick": [trace(Cosine, Clock("epoch", 1))],
    "two ticks": [trace(Cosine, Clock("step", 2))],
    "zero": [trace(Linear, start_factor=0, end_factor=0)],
    "constant": [trace(Constant)],
    "tiny": [trace(Cosine, lr=1e-12)],
    "huge": [trace(Cosine, lr=1e3)],
    "twenty": [trace(Cosine, name=f"schedule {i}", lr=0.1 + i / 100) for i in range(20)],
    "long name": [trace(Cosine, name="très long $x^2$ _" * 20), trace(Step, name="_b")],
    "foreign": [trace(Cosine, name="学習率 🙂 \x1b[31m\n")],
    "lengths": [trace(Cosine), trace(Step, Clock("epoch", 50))],
    "momentum": [trace(OneCycle, cycle_momentum=True), trace(Cyclic)],
}


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_odd_input_is_drawn_without_a_warning(name: str, log_y: bool):
    assert png(ODD[name], log_y=log_y).startswith(b"\x89PNG")


def test_names_are_shown_as_they_are():
    name = "a $x_1$ \\frac très_long"
    assert name in texts([trace(Cosine, name=name)])
    assert {name, "_b"} <= set(texts([trace(Cosine, name=name), trace(Step, name="_b")]))


def test_ticks_and_epochs_have_an_axis_each():
    clock = Clock("step", 500, steps_per_epoch=50)
    assert {"step", "epoch"} <= set(texts([trace(Cosine, clock)]))
    assert "step" not in texts([trace(Cosine, clock)], x="epoch")
    assert "fraction of the run" in texts([trace(Cosine, clock), trace(Step)])


def test_an_axis_that_cannot_be_had_is_refused():
    with pytest.raises(SpecError, match="cosine: an x axis in epochs needs steps_per_epoch"):
        draw([steps(Cosine)], PlotOptions(x="epoch"))
    with pytest.raises(SpecError, match="cosine: an x axis in tokens needs tokens_per_step"):
        draw([steps(Cosine)], PlotOptions(x="tokens"))
    with pytest.raises(SpecError, match="x must be step, epoch, fraction or tokens, got 'hour'"):
        PlotOptions(x="hour")


def test_a_format_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(SpecError, match=r"a figure is a png, svg or pdf file, got .*x\.jpg"):
        save(draw([trace(Cosine)]), tmp_path / "x.jpg")
    assert not list(tmp_path.iterdir())


def test_groups_have_a_curve_each():
    clock = Clock("epoch", 100)
    members = {name: trace(Cosine, lr=lr).schedule for name, lr in (("backbone", 0.01), ("head", 0.1))}
    grouped = Trace("fine", Grouped(body=members["backbone"], members=members), clock)
    assert {"fine", "fine.backbone", "fine.head", "100 epochs"} <= set(texts([grouped]))
    assert summary(grouped).startswith("fine.backbone: peak 0.01 ")


def test_phases_are_marked():
    assert {"stable", "decay"} <= set(texts([trace(Wsd, warmup=10)]))
    assert "stable" not in texts([trace(Wsd, warmup=10), trace(Cosine)])


def test_a_rate_of_zero_is_pointed_out_on_a_logarithmic_axis():
    assert "▼ rate 0" in texts([trace(Wsd, warmup=10)], log_y=True)
    assert "▼ rate 0" not in texts([trace(Exponential)], log_y=True)


def test_tick_labels():
    assert linear_ticks(0, 0.1, 7) == [0, 0.02, 0.04, 0.06, 0.08, 0.1]
    assert linear_ticks(0, 90, 8) == [0, 20, 40, 60, 80]
    assert rate_labels([0, 0.05, 0.1]) == ["0", "0.05", "0.10"]
    assert rate_labels([0, 2e-5, 4e-5]) == ["0", "2e-5", "4e-5"]
    assert rate_labels([0, 2e-5, 1e-4], powers=True) == ["0", "2\N{MULTIPLICATION SIGN}10⁻⁵", "10⁻⁴"]
    assert power_labels([1e-5, 1e-3, 0.1], powers=True) == ["10⁻⁵", "10⁻³", "10⁻¹"]
    assert log_ticks(1e-6, 0.1, 8) == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1])
    assert count_labels([0, 200_000, 1_000_000]) == ["0", "200k", "1M"]
    assert count_labels([0, 5_000, 10_000]) == ["0", "5k", "10k"]
    assert count_labels([0, 1e12, 2e12]) == ["0", "1T", "2T"]


class TestWriteWhole:
    def test_it_writes_and_replaces(self, tmp_path: Path):
        path = tmp_path / "une courbe é.png"
        write_whole(path, b"one")
        path.chmod(0o640)
        write_whole(path, b"two")
        assert path.read_bytes() == b"two"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert os.listdir(tmp_path) == [path.name]

    def test_a_new_file_gets_what_the_umask_leaves(self, tmp_path: Path):
        before = os.umask(0o027)
        try:
            write_whole(tmp_path / "x", b"")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640

    def test_a_link_is_followed(self, tmp_path: Path):
        (tmp_path / "folder").mkdir()
        link = tmp_path / "link"
        link.symlink_to("folder/target")
        write_whole(link, b"one")
        assert link.is_symlink()
        assert (tmp_path / "folder" / "target").read_bytes() == b"one"

    def test_a_folder_and_a_missing_folder_are_refused(self, tmp_path: Path):
        with pytest.raises(SpecError, match=r"^cannot write .*: Is a directory$"):
            write_whole(tmp_path, b"")
        with pytest.raises(SpecError, match=r"^cannot write .*: No such file or directory$"):
            write_whole(tmp_path / "none" / "x.png", b"")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
    def test_a_failure_leaves_the_old_file_and_nothing_else(
        self, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path = tmp_path / "x.png"
        path.write_bytes(b"old")

        def fail(self: Path, target: Path) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(SpecError) as raised:
            write_whole(path, b"new")
        assert str(raised.value) == f"cannot write {path}: {os.strerror(number)}"
        assert os.listdir(tmp_path) == ["x.png"]
        assert path.read_bytes() == b"old"

    def test_an_interrupt_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def interrupt(self: Path, target: Path) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_whole(tmp_path / "x.png", b"new")
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_a_full_device_is_reported_and_not_replaced(self):
        with pytest.raises(SpecError, match="cannot write /dev/full: No space left on device"):
            write_whole(Path("/dev/full"), b"x" * 100_000)
        assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
