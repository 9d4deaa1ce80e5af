"""How the tests of the command line run it: in this process for most, in one of its own where that is the point."""

from __future__ import annotations

import gc
import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from lrsched_cli.cli.app import _guarded

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "from lrsched_cli.cli.app import main; main()"]


class Result(NamedTuple):
    """What a run of the program gave."""

    code: int
    out: str
    err: str

    def message(self) -> str:
        """The one line of a refusal: exit code 2, nothing on stdout."""
        assert self.code == 2, self
        assert self.out == ""
        assert self.err.startswith("lrsched: ")
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        return self.err.removeprefix("lrsched: ").rstrip("\n")


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., Result]]:
    """Runs the program in this process, in an empty folder, its output not a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def program(*args: str, stdin: str | None = None) -> Result:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO((stdin or "").encode()), isatty=bool))
        code = _guarded(list(args), False)
        return Result(code, *capsys.readouterr())

    yield program
    gc.unfreeze()
    gc.enable()


def environment(**changes: str | None) -> dict[str, str]:
    """This environment with the checkout importable, and some of it changed or (None) removed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    env |= {name: value for name, value in changes.items() if value is not None}
    return {name: value for name, value in env.items() if name not in changes or changes[name] is not None}


def spawn(*args: str, cwd: Path, env: dict[str, str] | None = None, **details: Any) -> Result:
    """Runs the program as a process of its own, its output in pipes."""
    done = subprocess.run(
        [*PROGRAM, *args], capture_output=True, text=True, cwd=cwd, env=env or environment(), timeout=120, **details
    )
    return Result(done.returncode, done.stdout, done.stderr)


def written_to(leader: int) -> str:
    """All that is written to a terminal until nobody is left to write, read from its other end, which is closed."""
    pieces = []
    try:
        while piece := os.read(leader, 1 << 16):
            pieces.append(piece)
    except OSError:  # how Linux says that nobody is left to write
        pass
    os.close(leader)
    return b"".join(pieces).decode()


def on_terminal(*args: str, cwd: Path, columns: int = 80, **changes: str | None) -> Result:
    """Runs the program as a process with a terminal for its output; its talk is in a pipe."""
    leader, follower = pty.openpty()
    env = environment(COLUMNS=str(columns), LINES="40", **changes)
    with subprocess.Popen(
        [*PROGRAM, *args], stdin=follower, stdout=follower, stderr=subprocess.PIPE, cwd=cwd, env=env
    ) as process:
        os.close(follower)
        text = written_to(leader)
        assert process.stderr is not None
        err = process.stderr.read().decode()
    return Result(process.returncode, text.replace("\r\n", "\n"), err)
