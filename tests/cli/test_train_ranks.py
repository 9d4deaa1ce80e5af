"""Trainings spread over several processes, as ``torchrun`` starts them: the outcome is that of one process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lrsched_cli.training import jobs
from tests.cli.conftest import Result, environment
from tests.cli.training import PLAN, Child, before_epoch, copies, lrsched, same_curves, trained

pytestmark = copies


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training by a single process."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "p.yaml").write_text(PLAN)
    return trained("p.yaml", "--workers", "1", cwd=folder)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "p.yaml").write_text(PLAN)
    return tmp_path


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def begun(world: int, *args: str, cwd: Path) -> list[Child]:
    """The program as so many ranks, with what ``torchrun`` says in their environment."""
    said = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [Child(*args, cwd=cwd, RANK=str(rank), LOCAL_RANK=str(rank), **said) for rank in range(world)]


def spread(world: int, *args: str, cwd: Path) -> list[Result]:
    return [child.wait() for child in begun(world, *args, cwd=cwd)]


def rank() -> int:
    return int(os.environ["RANK"])


def test_torchrun_gives_what_one_process_gives(place: Path, alone: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    env = environment(PYTHONWARNINGS=None, OMP_NUM_THREADS="1")
    done = subprocess.run(
        [*command, "-m", "lrsched_cli", "train", "p.yaml", "-o", "out"],
        capture_output=True, text=True, cwd=place, env=env, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("out/results.json") == 1
    assert done.stderr.count("8 runs: 4 schedules x 2 seeds") == 1
    same_curves(place / "out", alone)


@pytest.mark.parametrize("world", [2, 3, 5])
def test_so_many_ranks_give_what_one_process_gives(place: Path, alone: Path, world: int) -> None:
    """Each is told once, by rank 0; of five ranks one has nothing to do."""
    first, *others = spread(world, "train", "p.yaml", "-o", "out", cwd=place)
    assert first.code == 0, first.err
    assert first.out.splitlines()[-1] == "out/results.json"
    assert others == [Result(0, "", "")] * (world - 1)
    same_curves(place / "out", alone)
    assert not (place / "out" / "state").exists()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_killed_ends_the_job(
    place: Path, alone: Path, monkeypatch: pytest.MonkeyPatch, victim: int
) -> None:
    """A clear line, from rank 1 where nobody leads any more; one process goes on with it to the same end."""

    def act(ensemble: Any) -> None:
        time.sleep(0.05)  # so that the ranks meet on the way
        if ensemble.epoch == 4 and rank() == victim:
            os.kill(os.getpid(), signal.SIGKILL)

    with before_epoch(monkeypatch, act):
        found = spread(3, "train", "p.yaml", "-o", "out", cwd=place)
    assert [result.code for result in found] == [-signal.SIGKILL if i == victim else 70 for i in range(3)]
    told = "another process of the 3 died: lrsched train --resume out goes on from the last epoch that was saved"
    for i in {0, 1} - {victim}:
        assert found[i].err.splitlines()[-1] == f"lrsched: {told}"
    assert found[2].err == ""
    assert not (place / "out" / "results.json").exists()
    again = lrsched("train", "--resume", "out", cwd=place)
    assert again.code == 0, again.err
    same_curves(place / "out", alone)


def test_what_one_rank_refuses_all_refuse(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is missing on one machine only: told by rank 0, and nobody waits for whoever gave up."""
    load = jobs.load_data

    def loaded(name: str, **details: Any) -> Any:
        return load("csv:gone.csv" if rank() == 1 else name, **details)

    monkeypatch.setattr(jobs, "load_data", loaded)
    found = spread(3, "train", "p.yaml", "-o", "out", cwd=place)
    assert [result.code for result in found] == [2, 2, 2]
    assert "gone.csv" in found[0].err.splitlines()[-1]
    assert [result.err for result in found[1:]] == ["", ""]
    assert not (place / "out").exists()


def test_a_mistake_that_all_ranks_make_is_told_once(place: Path) -> None:
    (place / "out").mkdir()
    (place / "out" / "plan.json").write_text("{}")
    for args, words in (
        (("train", "p.yaml", "-o", "out"), "out holds a training already"),
        (("train", "p.yaml", "--device", "tpu"), "--device must be"),
        (("train", "--resume", "nowhere"), "--resume nowhere holds no training"),
    ):
        found = spread(2, *args, cwd=place)
        assert [result.code for result in found] == [2, 2]
        assert words in found[0].err.splitlines()[-1]
        assert found[1] == Result(2, "", "")


def test_an_interrupt_of_one_rank_stops_all(place: Path, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(ensemble: Any) -> None:
        time.sleep(0.02)
        if ensemble.epoch == 1 and rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with before_epoch(monkeypatch, act):
        first, second = spread(2, "train", "p.yaml", "--epochs", "30", "-o", "out", cwd=place)
    assert first.code == 130, first.err
    assert first.err.splitlines()[-2:] == ["lrsched train --resume out goes on", "lrsched: interrupted"]
    assert second == Result(0, "", "")
    for result in spread(2, "train", "--resume", "out", cwd=place):
        assert result.code == 0, result.err
    same_curves(place / "out", trained("p.yaml", "--epochs", "30", cwd=place, folder="whole"))


def test_code_that_fails_on_one_rank_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(ensemble: Any) -> None:
        if ensemble.epoch == 2 and rank() == 1:
            raise ValueError("tired\nof this")

    with before_epoch(monkeypatch, act):
        first, second = spread(2, "train", "p.yaml", "-o", "out", cwd=place)
    assert (first.code, first.out) == (70, "")
    assert first.err.splitlines()[-1] == "lrsched: training failed: ValueError: tired of this"
    assert second == Result(70, "", "")


def test_find_spreads_its_runs_too(place: Path) -> None:
    args = (
        "find",
        "--data",
        "breast-cancer",
        "--model",
        "mlp:4",
        "--epochs",
        "1",
        "--rates",
        "6",
        "--format",
        "csv",
        "-q",
    )
    first, second = spread(2, *args, cwd=place)
    assert (first.code, first.err) == (0, "")
    assert second == Result(0, "", "")
    assert first.out == lrsched(*args, cwd=place).out


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"RANK": "2", "MASTER_PORT": "29500"}, "RANK is 2, WORLD_SIZE is 2, MASTER_PORT is 29500"),
        ({"RANK": "0"}, "RANK is 0, WORLD_SIZE is 2, MASTER_PORT is not set"),
        ({"RANK": "x", "MASTER_PORT": "29500"}, "RANK is x, WORLD_SIZE is 2, MASTER_PORT is 29500"),
        ({"RANK": "0", "MASTER_PORT": "99999"}, "RANK is 0, WORLD_SIZE is 2, MASTER_PORT is 99999"),
    ],
)
def test_what_torchrun_says_wrongly_is_one_line(place: Path, said: dict[str, str], told: str) -> None:
    found = lrsched("train", "p.yaml", cwd=place, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", **said)
    assert found.message() == f"{told}: start it with torchrun"


def test_what_others_leave_in_the_environment_is_no_torchrun(place: Path) -> None:
    """A batch system may say RANK and WORLD_SIZE too, and torchrun itself start a single process."""
    for name, said in (
        ("a", {"RANK": "1", "WORLD_SIZE": "2"}),
        ("b", {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}),
    ):
        trained("p.yaml", "--epochs", "1", cwd=place, folder=name, **said)
