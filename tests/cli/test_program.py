"""The program as a process: pipes that end, signals, terminals, bare environments, completion."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import PROGRAM, ROOT, environment, on_terminal, spawn

unix = pytest.mark.skipif(os.name != "posix", reason="needs a shell, signals and terminals of Unix")
ESCAPE = "\x1b"


@unix
def test_a_reader_that_has_read_enough_ends_it_quietly(tmp_path: Path) -> None:
    """``| head -1``: one line, no complaint, exit code 0."""
    command = ["bash", "-o", "pipefail", "-c", '"$@" | head -1; echo "${PIPESTATUS[0]}"', "-", *PROGRAM]
    for target in (
        ["table", "step", "--steps", "300000", "-q"],
        ["table", "step", "--steps", "300000", "--format", "csv"],
    ):
        done = subprocess.run(
            [*command, *target], capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=120
        )
        assert done.stdout.splitlines()[-1] == "0"
        assert done.stderr == ""


@unix
def test_an_interrupt_is_one_word_and_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "table", "step", "--steps", "1000000000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.read(1)  # it has begun to write, and goes on until it is told to stop
    process.send_signal(signal.SIGINT)
    # What it has in the pipe must be read for it to get on.
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.decode()) == (130, "lrsched: interrupted\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(tmp_path: Path) -> None:
    for verb in (["table", "step"], ["table", "step", "-o", "/dev/full"], ["plot", "step", "-o", "-"], ["list"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*PROGRAM, *verb], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment(),
                timeout=120,
            )  # fmt: skip
        assert done.returncode == 2, verb
        assert done.stderr.startswith("lrsched: "), verb
        assert done.stderr.endswith("No space left on device\n"), verb
        assert done.stderr.count("\n") == 1, verb
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_on_a_real_command_line(tmp_path: Path) -> None:
    """The same one line and exit code as in the tests that run it in their own process; a traceback with --debug."""
    told = "lrsched: step: gamma must be > 0, got -1\n"
    assert spawn("table", "step", "--gamma", "-1", cwd=tmp_path) == (2, "", told)
    debug = spawn("table", "--debug", "step", "--gamma", "-1", cwd=tmp_path)
    assert (debug.code, debug.out) == (2, "")
    assert debug.err.startswith("Traceback")
    assert debug.err.endswith(told)


@pytest.mark.parametrize("args", [("-m", "lrsched_cli"), ()])
def test_version_and_help(tmp_path: Path, args: tuple[str, ...]) -> None:
    """With nothing to do it shows the help; ``python -m lrsched_cli`` is the same program."""
    program = [sys.executable, *args] if args else PROGRAM
    if args and not (ROOT / "lrsched_cli" / "__main__.py").exists():
        pytest.skip("not written yet")
    for option, expected in (("--version", "lrsched "), ("--help", "Print the rate of every tick."), ("", "Usage:")):
        done = subprocess.run(
            [*program, *filter(None, [option])], capture_output=True, text=True, cwd=tmp_path, env=environment(),
            timeout=60,
        )  # fmt: skip
        assert expected in done.stdout
        assert (done.returncode, done.stderr.strip()) in ((0, ""), (2, ""))
        assert done.returncode == 0 or not option


def test_a_bare_environment_is_enough(tmp_path: Path) -> None:
    """No HOME, no TERM, no locale: a picture and a table all the same, with names in any script."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    (tmp_path / "plän.yaml").write_text("schedules: {größe: {kind: step}}", encoding="utf-8")
    picture = spawn("plot", "plän.yaml", "--epochs", "9", "-q", cwd=tmp_path, env=env)
    assert picture.code == 0, picture.err
    assert (tmp_path / picture.out.strip()).read_bytes().startswith(b"\x89PNG")
    assert "Traceback" not in picture.err
    table = spawn("table", "plän.yaml", "--epochs", "1", "--format", "csv", cwd=tmp_path, env=env)
    assert (table.code, table.out) == (0, "t,epoch,größe\n0,0,0.1\n")


def test_an_ascii_terminal_does_not_break_it(tmp_path: Path) -> None:
    """Where stdout knows ASCII only, a name that is not is still no traceback."""
    (tmp_path / "p.yaml").write_text("schedules: {größe: {kind: step}}", encoding="utf-8")
    env = environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    for verb in (["table", "p.yaml", "--epochs", "1"], ["list"], ["show", "step"]):
        found = spawn(*verb, cwd=tmp_path, env=env)
        assert "Traceback" not in found.err
        assert "internal error" not in found.err, verb
        assert found.code in (0, 2), verb


# Terminals.


@unix
def test_a_terminal_gets_a_table_that_a_person_can_read(tmp_path: Path) -> None:
    """A hundred epochs are cut to a screenful within 80 columns, and stderr says what was left out."""
    found = on_terminal("table", "cosine", cwd=tmp_path)
    assert found.code == 0
    assert ESCAPE in found.out
    lines = found.out.splitlines()
    assert 20 < len(lines) < 40
    plain = on_terminal("table", "cosine", cwd=tmp_path, TERM="dumb")
    assert len(plain.out.splitlines()) == 101
    assert "24 of 100 epochs" in found.err
    whole = on_terminal("table", "cosine", "--every", "1", cwd=tmp_path)
    assert len(whole.out.splitlines()) > 100


@unix
@pytest.mark.parametrize("change", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("verb", [("table", "cosine"), ("list",), ("show", "step"), ("plot", "step", "--terminal")])
def test_no_escapes_where_plain_text_is_wanted(tmp_path: Path, change: dict[str, str], verb: tuple[str, ...]) -> None:
    found = on_terminal(*verb, cwd=tmp_path, **change)
    assert found.code == 0
    assert found.out.strip()
    assert ESCAPE not in found.out


@unix
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_picture_in_the_terminal_fits_it(tmp_path: Path, columns: int) -> None:
    """plot on a terminal writes its file, says which and draws; --terminal draws only."""
    found = on_terminal("plot", "onecycle", cwd=tmp_path, columns=columns, NO_COLOR="1")
    assert found.code == 0
    assert found.out.startswith("onecycle.png\n")
    lines = found.out.splitlines()
    assert len(lines) > 10
    assert max(map(len, lines)) <= columns
    (tmp_path / "onecycle.png").unlink()
    only = on_terminal("plot", "onecycle", "--terminal", cwd=tmp_path, columns=columns, NO_COLOR="1")
    assert only.out == found.out.removeprefix("onecycle.png\n")
    assert list(tmp_path.iterdir()) == []


@unix
def test_a_pipe_gets_plain_text_whatever_the_terminal(tmp_path: Path) -> None:
    for verb in (["table", "cosine", "--epochs", "3"], ["list"], ["show", "cosine"], ["plot", "cosine", "-o", "x.svg"]):
        found = spawn(*verb, cwd=tmp_path, env=environment(TERM="xterm-256color"))
        assert found.code == 0
        assert ESCAPE not in found.out + found.err


# Completion.


@pytest.mark.parametrize(
    ("words", "expected", "absent"),
    [
        ("lrsched ta", {"table"}, {"plot"}),
        ("lrsched ", {"table", "plot", "list", "show", "init", "schema"}, {"cosine"}),
        ("lrsched table cos", {"cosine", "cosine-restarts"}, {"step"}),
        ("lrsched plot wa", {"warm"}, {"wsd"}),
        ("lrsched plot torch.Ste", {"torch.StepLR"}, {"torch.CyclicLR"}),
        ("lrsched table sche", {"schedules.yaml"}, {"step"}),
        ("lrsched table cosine --eta", {"--eta-min"}, {"--gamma"}),
        ("lrsched show sg", {"sgdr"}, {"step"}),
    ],
)
def test_completion(tmp_path: Path, words: str, expected: set[str], absent: set[str]) -> None:
    """By the protocol of bash, as the installed script calls it."""
    (tmp_path / "schedules.yaml").write_text("schedules: {warm: {kind: cosine}}")
    count = str(len(words.split(" ")) - 1)
    env = environment(_LRSCHED_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
    code = "import sys; sys.argv = ['lrsched']; from lrsched_cli.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60
    )
    found = set(done.stdout.split())
    assert expected <= found
    assert not absent & found
    assert "Traceback" not in done.stderr


def test_a_run_of_a_billion_steps_takes_no_longer_than_starting(tmp_path: Path) -> None:
    """A hang guard with room for any machine: working out every tick would take many times as long."""
    started = time.monotonic()
    found = spawn("table", "cosine", "--warmup", "1%", "--steps", "1000000000", "--at", "0,999999999", cwd=tmp_path)
    assert found.code == 0
    assert time.monotonic() - started < 20
