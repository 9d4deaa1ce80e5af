"""How the tests of training run it: in a copy of this process, which has torch loaded and is not changed by it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import sys
import tempfile
import termios
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special  # noqa: F401

import lrsched_cli.show.comparison
import lrsched_cli.show.figure
import lrsched_cli.show.range_figure
import lrsched_cli.training.sweep
import lrsched_cli.training.trainer
from lrsched_cli.cli.app import _guarded
from tests.cli.conftest import Result, environment, spawn, written_to

copies = pytest.mark.skipif(sys.platform != "linux", reason="needs a copy of this process, with torch in it")

#: Schedules that have all that a training carries from epoch to epoch: a metric, a cycled momentum, averaged weights,
#: rates by step; runs of two lengths, so that there are several ensembles.
PLAN = """\
run: {epochs: 8, batch_size: 128}
data: breast-cancer
model: mlp-bn:6
optimizer: adam
seeds: 2
schedules:
  plateau: {kind: plateau, patience: 0, factor: 0.5}
  cycle: {kind: onecycle, cycle_momentum: true, run: {interval: step}}
  averaged: {kind: cosine, swa: {start: 50%, swa_lr: 0.05}}
  short: {kind: step, step_size: 2, run: {epochs: 5}}
"""
#: 455 samples to train on in batches of 128: 4 updates an epoch.
SMALL = ("--data", "breast-cancer", "--model", "mlp:6", "--batch-size", "128", "--epochs", "3", "--workers", "1")
TWO = (*SMALL, "--seeds", "2")
CURVES = ("train_loss", "val_loss", "val_accuracy", "lr_used", "momentum_used", "averaged")


class Child:
    """The program in a copy of this process, leading a process group of its own, its output in files.

    Unless it is ``drawn``, the picture of a training is an empty file, which saves the time to draw it.
    """

    def __init__(self, *args: str, cwd: Path, drawn: bool = False, **changes: str) -> None:
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        out, err = self._out.fileno(), self._err.fileno()
        self.pid = copied(lambda: program(args, cwd, changes, (os.open(os.devnull, 0), out, err), drawn))

    def wait(self) -> Result:
        """Wait for its end; the exit code is negative where a signal ended it."""
        deadline = time.monotonic() + 60
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        texts = []
        for file in (self._out, self._err):
            with file:
                file.seek(0)
                texts.append(file.read().decode())
        return Result(os.waitstatus_to_exitcode(ended[1]), *texts)


def copied(function: Callable[[], int]) -> int:
    """The process id of a copy of this process that calls a function and ends with its result as exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of threads, of which a copy has none
        pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.setsid()
        code = function()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def program(
    args: tuple[str, ...], cwd: Path, changes: dict[str, str], files: tuple[int, int, int], drawn: bool = False
) -> int:
    """The program's exit code, run in this process with these open files as standard input, output and error."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    sys.stdin, sys.stdout, sys.stderr = (open(n, m, 1, closefd=False) for n, m in enumerate("rww"))  # noqa: SIM115
    os.chdir(cwd)
    os.environ.pop("NO_COLOR", None)
    os.environ |= {"COLUMNS": "120", "TERM": "xterm-256color", **changes}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not drawn and args[0] != "plot":
        vars(lrsched_cli.show.comparison)["draw_results"] = lambda _: None
        vars(lrsched_cli.show.range_figure)["draw_finding"] = lambda _: None
        vars(lrsched_cli.show.figure)["save"] = lambda _, path: path.touch()
    code = _guarded(list(args), False)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def lrsched(*args: str, cwd: Path, drawn: bool = False, **changes: str) -> Result:
    """Run the program, its output in pipes or files; where this process cannot be copied, from the start."""
    if sys.platform == "linux":
        return Child(*args, cwd=cwd, drawn=drawn, **changes).wait()
    return spawn(*args, cwd=cwd, env=environment(**changes))


def trained(*args: str, cwd: Path, folder: str = "out", **changes: str) -> Path:
    """The folder of a training that went well."""
    found = lrsched("train", *args, "-o", folder, cwd=cwd, **changes)
    assert found.code == 0, found.err
    return cwd / folder


def watched(*args: str, cwd: Path, columns: int = 80, **changes: str) -> tuple[int, str]:
    """The exit code of the program on a terminal of its own, and all that it wrote there."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    size = {"COLUMNS": str(columns), "LINES": "30"}
    pid = copied(lambda: program(args, cwd, size | changes, (follower, follower, follower)))
    os.close(follower)
    text = written_to(leader)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def document(folder: Path) -> dict[str, Any]:
    """A folder's ``results.json``, read as strict JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    found = json.loads((folder / "results.json").read_bytes(), parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def same_curves(ours: Path, theirs: Path) -> None:
    """Assert that two trainings left the same numbers, to the last bit, and the same figures from them."""
    one, other = document(ours), document(theirs)
    for run, expected in zip(one["runs"], other["runs"], strict=True):
        for name in ("schedule", "lr", "seed", "status", *CURVES):
            assert run.get(name) == expected.get(name), (run["schedule"], run["seed"], name)
    assert one["summary"] == other["summary"]
    assert (ours / "results.csv").read_bytes() == (theirs / "results.csv").read_bytes()


def rates_used(folder: Path, schedule: str) -> np.ndarray:
    """The rates that were used with a schedule, of its first run."""
    return np.array(next(run["lr_used"] for run in document(folder)["runs"] if run["schedule"] == schedule))


@contextmanager
def before_epoch(monkeypatch: pytest.MonkeyPatch, act: Callable[[Any], None]) -> Iterator[None]:
    """Call a function with each ensemble before each of its epochs, and keep the state after every epoch."""
    from lrsched_cli.training import worker
    from lrsched_cli.training.ensemble import Ensemble

    original = Ensemble.train_epoch

    def train_epoch(ensemble: Ensemble) -> None:
        act(ensemble)
        original(ensemble)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "SAVE_EVERY", 0.0)
        patch.setattr(worker, "SAVE_SHARE", 0.0)
        patch.setattr(Ensemble, "train_epoch", train_epoch)
        yield


def schedules(folder: Path) -> list[str]:
    return list(dict.fromkeys(run["schedule"] for run in document(folder)["runs"]))


def line(*args: str, cwd: Path, **changes: str) -> str:
    """The one line of a refusal, as ``Result.message`` has it, of a program that may first say what it does."""
    found = lrsched(*args, cwd=cwd, **changes)
    assert (found.code, found.out) == (2, ""), found
    talk, refusal = found.err.splitlines()[:-1], found.err.splitlines()[-1]
    assert len(talk) <= 1
    assert all(words.startswith("training ") for words in talk), found.err
    return refusal.removeprefix("lrsched: ")
