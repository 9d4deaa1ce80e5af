"""Trainings that are cut short, and gone on with: the end is that of one that nobody disturbed, to the last bit."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrsched_cli.errors import SpecError
from lrsched_cli.files import write_whole
from lrsched_cli.results import Results
from lrsched_cli.training import worker
from tests.cli.conftest import PROGRAM, Result, environment
from tests.cli.training import PLAN, Child, before_epoch, copies, document, lrsched, same_curves, trained

pytestmark = copies

RUNS = 8
FINISHED = {"plan.json", "results.json", "results.csv", "figure.png"}
BEGIN = ("train", "p.yaml", "-o", "out")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was left alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "p.yaml").write_text(PLAN)
    return trained("p.yaml", cwd=folder)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the plan in it."""
    (tmp_path / "p.yaml").write_text(PLAN)
    return tmp_path


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was killed after three epochs, for copies to be made of it."""
    folder = tmp_path_factory.mktemp("cut")
    (folder / "p.yaml").write_text(PLAN)
    with pytest.MonkeyPatch.context() as patch:
        return killed(folder, patch, "--workers", "1")


def kill_all() -> None:
    """As ``kill -9`` of the program and its workers: nobody has the time for a last word."""
    os.killpg(0, signal.SIGKILL)


def cut_short(place: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Any], None], *args: str) -> Result:
    with before_epoch(monkeypatch, act):
        return Child(*BEGIN, *args, cwd=place).wait()


def killed(place: Path, monkeypatch: pytest.MonkeyPatch, *args: str, epoch: int = 3) -> Path:
    """The folder of a training that was killed at the beginning of an epoch, the first time that one comes to it."""

    def act(ensemble: Any) -> None:
        if ensemble.epoch == epoch:
            kill_all()

    assert cut_short(place, monkeypatch, act, *args).code == -signal.SIGKILL
    return place / "out"


def states(folder: Path) -> list[Path]:
    return sorted((folder / "state").glob("*.npz"))


def resumed(folder: Path, *args: str) -> None:
    """Go on with a training, to its end."""
    found = lrsched("train", "--resume", folder.name, *args, cwd=folder.parent)
    assert found.code == 0, found.err
    assert found.out.splitlines()[-1] == f"{folder.name}/results.json"
    assert {path.name for path in folder.iterdir()} == FINISHED


# Killed.


@pytest.mark.parametrize(("epoch", "workers"), [(0, "1"), (1, "2"), (4, "1"), (7, "2")])
def test_a_kill_in_an_epoch(
    place: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, epoch: int, workers: str
) -> None:
    """Of runs of two lengths the short ones may have ended by then."""
    folder = killed(place, monkeypatch, "--workers", workers, epoch=epoch)
    assert not (folder / "results.json").exists()
    assert (len(states(folder)) > 0) == (epoch > 0) or workers == "2"
    resumed(folder)
    same_curves(folder, undisturbed)


@pytest.mark.parametrize(("count", "half"), [(2, False), (5, True)])
def test_a_kill_while_states_are_written(
    place: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, count: int, half: bool
) -> None:
    """Between the states of two ensembles, which are then of different epochs, or with one written but not in place."""
    replace, left = Path.replace, [count]

    def replaced(source: Path, target: Path) -> Path:
        if target.suffix == ".npz":
            left[0] -= 1
            if not left[0] and half:
                kill_all()
        found = replace(source, target)
        if not left[0] and not half:
            kill_all()
        return found

    monkeypatch.setattr(Path, "replace", replaced)
    assert cut_short(place, monkeypatch, lambda _: None, "--workers", "1").code == -signal.SIGKILL
    monkeypatch.undo()
    assert len(list((place / "out" / "state").glob(".lrsched-*.tmp"))) == half
    resumed(place / "out")
    same_curves(place / "out", undisturbed)


def test_a_kill_at_the_very_end(place: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained but not written down; and written down but not cleared up, which is finished."""
    with monkeypatch.context() as patch:
        patch.setattr(Results, "write", lambda *_: kill_all())
        assert Child(*BEGIN, cwd=place).wait().code == -signal.SIGKILL
    assert not (place / "out" / "results.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: kill_all())
        assert Child("train", "--resume", "out", cwd=place).wait().code == -signal.SIGKILL
    same_curves(place / "out", undisturbed)
    assert (place / "out" / "state").exists()
    for _ in range(2):
        told = lrsched("train", "--resume", "out", cwd=place).message()
        assert told == "--resume out is finished: lrsched table out shows it"
        assert {path.name for path in (place / "out").iterdir()} == FINISHED


def test_killed_again_and_again_and_gone_on_with_otherwise(
    place: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another number of processes each time; the ensembles stay those of the beginning."""
    folder = killed(place, monkeypatch, "--workers", "2", epoch=2)
    for epoch, workers in ((4, "1"), (6, "2")):

        def act(ensemble: Any, epoch: int = epoch) -> None:
            if ensemble.epoch == epoch:
                kill_all()

        with before_epoch(monkeypatch, act):
            found = Child("train", "--resume", "out", "--workers", workers, cwd=place).wait()
        assert found.code == -signal.SIGKILL
    resumed(folder, "--workers", "1")
    same_curves(folder, undisturbed)


SLOW = """
import os, time, torch

class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(30, 2)

    def forward(self, x):
        time.sleep(float(os.environ.get("PAUSE", "0")))
        return self.inner(x)
"""


def test_a_real_process_killed_at_any_time(place: Path) -> None:
    """Nothing is arranged but a model that takes a while: once there is a state, it is killed as it stands."""
    (place / "slow.py").write_text(SLOW)
    args = ("train", "p.yaml", "--epochs", "60", "--model", "python:slow:Slow")
    process = subprocess.Popen(
        [*PROGRAM, *args, "-o", "out"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=place,
        env=environment(PAUSE="0.01"), start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not states(place / "out"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    resumed(place / "out", "--allow-code")
    same_curves(place / "out", trained(*args[1:], cwd=place, folder="whole"))


# Processes that die.


def test_a_worker_that_is_killed_is_one_line(place: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(ensemble: Any) -> None:
        if ensemble.epoch == 3 and 0 in {member.number for member in ensemble.members}:
            os.kill(os.getpid(), signal.SIGKILL)

    found = cut_short(place, monkeypatch, act, "--workers", "2")
    assert (found.code, found.out) == (70, "")
    told = (
        "a worker process was killed by signal 9; lrsched train --resume out goes on from the last epoch that was saved"
    )
    assert found.err.splitlines()[-1] == f"lrsched: {told}"
    assert "Traceback" not in found.err
    resumed(place / "out")
    same_curves(place / "out", undisturbed)


def test_workers_do_not_outlive_the_program(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed alone, it leaves nobody behind who trains on."""

    def act(ensemble: Any) -> None:
        if ensemble.epoch == 3:
            os.kill(os.getsid(0), signal.SIGKILL)  # the program leads its session

    with before_epoch(monkeypatch, act):
        child = Child(*BEGIN, "--workers", "2", "--epochs", "100000", cwd=place)
        assert child.wait().code == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(child.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    raise AssertionError("its workers train on")


# Interrupted.


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, "1"), (signal.SIGINT, "2"), (signal.SIGTERM, "2")])
def test_an_interrupt_ends_the_epoch_and_reports(
    place: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, workers: str
) -> None:
    """As Ctrl-C, which all processes of a terminal hear."""

    def act(ensemble: Any) -> None:
        if ensemble.epoch == 3 and 0 in {member.number for member in ensemble.members}:
            if number == signal.SIGINT:
                os.killpg(0, number)
            else:
                os.kill(os.getsid(0), number)
            time.sleep(0.3)  # so that it is heard before another epoch begins

    found = cut_short(place, monkeypatch, act, "--workers", workers)
    assert found.code == 130, found.err
    talk = found.err.splitlines()
    assert talk.count("stopping after this epoch; again to stop now") == 1
    assert talk[-2:] == ["lrsched train --resume out goes on", "lrsched: interrupted"]
    assert found.out.splitlines()[-1] == "out/results.json"
    runs = document(place / "out")["runs"]
    whole = document(undisturbed)["runs"]
    assert len(runs) == RUNS
    assert {run["status"] for run in runs} <= {"stopped", "ok"}
    assert runs[0]["status"] == "stopped"
    assert 4 <= len(runs[0]["val_loss"]) < 9
    for run, expected in zip(runs, whole, strict=True):
        done = len(run["val_loss"])
        assert run["val_loss"] == expected["val_loss"][:done]
        assert run["lr_used"] == expected["lr_used"][: 4 * (done - 1)]
    shown = lrsched("table", "out", cwd=place)
    assert shown.code == 0
    assert "interrupted" in shown.out
    resumed(place / "out")
    same_curves(place / "out", undisturbed)


def test_a_second_interrupt_ends_it_at_once(place: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(ensemble: Any) -> None:
        if ensemble.epoch == 3:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)

    found = cut_short(place, monkeypatch, act, "--workers", "1")
    assert (found.code, found.out) == (130, "")
    assert found.err.splitlines()[-1] == "lrsched: interrupted"
    assert not (place / "out" / "results.json").exists()
    resumed(place / "out")
    same_curves(place / "out", undisturbed)


def test_an_interrupt_before_the_first_epoch(place: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lrsched_cli.training.ensemble import Ensemble

    begin = Ensemble.begin

    def interrupted(ensemble: Ensemble) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        begin(ensemble)

    with monkeypatch.context() as patch:
        patch.setattr(Ensemble, "begin", interrupted)
        found = Child(*BEGIN, "--workers", "1", "--set", "short.run.epochs=8", cwd=place).wait()
    assert found.code == 130
    if (place / "out" / "results.json").exists():  # a single ensemble begins, a second one is interrupted again
        assert {len(run["val_loss"]) for run in document(place / "out")["runs"]} == {1}


# States that cannot be kept, or gone on from.


def test_a_full_disk_stops_the_keeping_and_not_the_training(
    place: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".npz":
            raise SpecError(f"cannot write {path}: No space left on device")
        write_whole(path, data)

    monkeypatch.setattr(worker, "write_whole", full)
    found = cut_short(place, monkeypatch, lambda _: None, "--workers", "1")
    assert found.code == 0, found.err
    (note,) = (text for text in found.err.splitlines() if "No space" in text)
    assert note.startswith("note: cannot write out/state/runs-")
    assert note.endswith(".npz: No space left on device: training goes on, but could not be resumed")
    same_curves(place / "out", undisturbed)


def test_a_damaged_state_is_one_line(place: Path, undisturbed: Path, cut: Path) -> None:
    """Without it these runs are trained anew, to the same end."""
    folder = Path(shutil.copytree(cut, place / "out"))
    state = states(folder)[0]
    whole = state.read_bytes()
    other = io.BytesIO()
    np.savez(other, a=np.arange(3))
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for workers, damaged in zip(
        "121212", (b"", whole[:middle], b"mine\n", bytes(999), other.getvalue(), flipped), strict=True
    ):
        state.write_bytes(damaged)
        told = lrsched("train", "--resume", "out", "-q", "--workers", workers, cwd=place).message()
        assert told.startswith(f"out/state/{state.name} cannot be gone on from ("), damaged[:40]
        assert told.endswith("): remove it to train these runs anew")
        assert state.read_bytes() == damaged
    state.unlink()
    resumed(folder)
    same_curves(folder, undisturbed)


def test_a_state_of_another_training_is_one_line(place: Path, cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where it would fit: the same networks from other seeds."""
    shutil.copytree(cut, place / "out")
    (place / "other").mkdir()
    (place / "other" / "p.yaml").write_text(PLAN.replace("seeds: 2", "seeds: [2, 3]"))
    (ours, theirs) = (
        states(folder)[0] for folder in (place / "out", killed(place / "other", monkeypatch, "--workers", "1"))
    )
    assert ours.name == theirs.name
    ours.write_bytes(theirs.read_bytes())
    told = lrsched("train", "--resume", "out", "-q", cwd=place).message()
    assert told == f"out/state/{ours.name} is of another training: remove it to train these runs anew"


CHANGES = {
    '"patience": 0': '"patience": 1',
    '"step_size": 2': '"step_size": 3',
    '"start": "50%"': '"start": "60%"',
    '"short"': '"brief"',
    '"seeds": [\n  0': '"seeds": [\n  9',
    '"adam"': '"sgd"',
    '"mlp-bn:6"': '"mlp:6"',
    '"epochs": 8': '"epochs": 9',
    '"interval": "step"': '"interval": "epoch"',
    '"batch_size": 128': '"batch_size": 64',
}


def test_a_plan_that_was_changed_is_one_line(place: Path, undisturbed: Path, cut: Path) -> None:
    folder = Path(shutil.copytree(cut, place / "out"))
    text = (folder / "plan.json").read_text()
    for old, new in CHANGES.items():
        assert old in text
        (folder / "plan.json").write_text(text.replace(old, new, 1))
        told = lrsched("train", "--resume", "out", "-q", cwd=place).message()
        assert told == "out was begun with other data or another plan: it cannot be gone on with", old
    (folder / "plan.json").write_text(text.replace("\n", " "))  # the same, written otherwise
    resumed(folder)
    same_curves(folder, undisturbed)


def test_what_cannot_be_resumed_is_one_line(place: Path, cut: Path) -> None:
    folder = Path(shutil.copytree(cut, place / "out"))
    job = folder / "state" / "job.json"
    kept = job.read_bytes()

    def told(*args: str) -> str:
        return lrsched("train", "--resume", *args, "-q", cwd=place).message()

    assert told("nowhere") == "--resume nowhere holds no training: it has no plan.json"
    assert told("p.yaml") == "--resume p.yaml holds no training: it has no plan.json"
    assert told("out", "--workers", "0") == "--workers must be from 1 to 1024, got 0"
    assert told("out", "--device", "tpu") == "--device must be cpu, cuda, cuda:N, mps or auto, got 'tpu'"
    damaged = "out/state/job.json is damaged: the training cannot be gone on with"
    number = json.loads(kept)
    for text in (
        b"{}", b"[1, 2]", b"{", b"[" * 100_000, kept.replace(b"[[", b"[[99, "),
        json.dumps({**number, "groups": number["groups"][1:]}).encode(),
        json.dumps({**number, "groups": [["x"]]}).encode(),
    ):  # fmt: skip
        job.write_bytes(text)
        assert told("out") == damaged, text[:40]
    job.unlink()
    assert told("out") == "no such file: out/state/job.json"
    (folder / "plan.json").write_text("{")
    assert told("out").startswith("out/plan.json:")
    (folder / "plan.json").unlink()
    assert told("out") == "--resume out holds no training: it has no plan.json"


def test_a_finished_training_is_not_resumed(place: Path) -> None:
    folder = trained("p.yaml", "--epochs", "2", cwd=place)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    told = lrsched("train", "--resume", "out", cwd=place).message()
    assert told == "--resume out is finished: lrsched table out shows it"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
