"""A process's share of a training: its messages, its saved states, what is too large for it, processes that share."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lrsched_cli.errors import SpecError, TrainingError
from lrsched_cli.results import RunResult
from lrsched_cli.training import worker
from lrsched_cli.training.ensemble import Ensemble
from lrsched_cli.training.jobs import Job, digest, grouped
from lrsched_cli.training.processes import cores, shared, train_here
from lrsched_cli.training.worker import Finished, Means, Message, Remark, Report, Worker, as_failure
from tests.cli.training import copies
from tests.training.support import chosen_way, job_of

SPECS = {
    "plateau": {"kind": "plateau", "patience": 0},
    "cycle": {"kind": "onecycle", "cycle_momentum": True},
    "averaged": {"kind": "cosine", "swa": "50%"},
}
RUN = {"epochs": 4, "batch_size": 20}
DATA = "python:tests.training.support:vectors"


@pytest.fixture(scope="module")
def job() -> Job:
    """Six runs in three ensembles: 40 samples, two updates an epoch."""
    made = job_of(SPECS, RUN, data=DATA, model="mlp-bn:4", optimizer="adam", seeds=2)
    return grouped(made, 2)


@pytest.fixture(scope="module")
def expected(job: Job) -> dict[int, RunResult]:
    """The results of the job, trained without a break."""
    return results(messages(job))


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are kept after every epoch, however short."""
    monkeypatch.setattr(worker, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(worker, "SAVE_SHARE", 0.0)


def means(job: Job, folder: Path | None = None, resumed: bool = False) -> Means:
    if folder is not None:
        (folder / "state").mkdir(exist_ok=True)
    return Means(torch.device("cpu"), chosen_way(job)[0], folder, resumed)


def messages(job: Job, folder: Path | None = None, resumed: bool = False, epochs: int = 99) -> list[Message]:
    """All that a worker says; it is told to stop after so many epochs."""
    found: list[Message] = []
    for message in Worker(job, job.groups, means(job, folder, resumed), lambda: most_epochs(found) >= epochs).run():
        found.append(message)
    return found


def most_epochs(found: list[Message]) -> int:
    return max((message.epoch for message in found if isinstance(message, Report)), default=0)


def results(found: list[Message]) -> dict[int, RunResult]:
    out: dict[int, RunResult] = {}
    for message in found:
        if isinstance(message, Finished):
            assert not out.keys() & message.results.keys()
            out |= message.results
    return dict(sorted(out.items()))


def same(ours: dict[int, RunResult], theirs: dict[int, RunResult]) -> None:
    """Assert that two trainings gave the same, to the last bit."""
    assert ours.keys() == theirs.keys()
    for number, run in ours.items():
        for name, value in vars(run).items():
            np.testing.assert_array_equal(value, getattr(theirs[number], name), err_msg=f"{number} {name}")


# What it says.


def test_a_report_an_epoch_and_ensemble(job: Job) -> None:
    found = messages(job)
    reports = [message for message in found if isinstance(message, Report)]
    assert len(job.groups) > 1
    for group in job.groups:
        own = [message for message in reports if message.numbers == group]
        assert [message.epoch for message in own] == [0, 1, 2, 3, 4]
        assert [message.samples for message in own] == [0] + [40 * len(group)] * 4
        final = results(found)
        for message in own:
            assert message.alive.all()
            for i, number in enumerate(group):
                assert message.values["val_loss"][i] == final[number].val_loss[message.epoch]
                if message.epoch:
                    assert message.values["lr"][i] == final[number].lr_used[2 * message.epoch - 1]
                else:
                    assert np.isnan(message.values["lr"][i])
    assert results(found).keys() == set(range(6))
    assert not [message for message in found if isinstance(message, Remark)]


def test_ensembles_are_trained_by_turns(job: Job) -> None:
    """None is an epoch ahead of another, so that an interruption finds all of them as far."""
    done = dict.fromkeys(job.groups, 0)
    for message in messages(job):
        if isinstance(message, Report):
            done[message.numbers] = message.epoch
            assert max(done.values()) - min(done.values()) <= 1


def test_a_run_that_diverges_is_reported_and_the_others_train_on() -> None:
    job = grouped(job_of({"bad": {"kind": "constant", "lr": 1e30}, "good": {"kind": "constant"}}, RUN, data=DATA), 1)
    found = messages(job)
    last = [message for message in found if isinstance(message, Report)][-1]
    names = [job.runs[number].schedule for number in last.numbers]
    assert last.alive.tolist() == [name == "good" for name in names]
    np.testing.assert_array_equal(np.isnan(last.values["val_loss"]), ~last.alive)
    assert {run.status for run in results(found).values() if run.schedule == "bad"} == {"DIVERGED"}
    assert all(len(run.lr_used) == 8 for run in results(found).values() if run.schedule == "good")


# States.


@pytest.mark.parametrize("epochs", [0, 1, 2, 3])
def test_stopped_and_gone_on_with(job: Job, expected: dict[int, RunResult], tmp_path: Path, epochs: int) -> None:
    """Weights, moments, metrics, averages and running statistics are all there: the same numbers as without a stop."""
    first = messages(job, tmp_path, epochs=epochs)
    assert {run.status for run in results(first).values()} == {"stopped"}
    assert {len(run.val_loss) for run in results(first).values()} == {epochs + 1}
    assert {len(run.lr_used) for run in results(first).values()} == {2 * epochs}
    second = messages(job, tmp_path, resumed=True)
    restored = [message for message in second if isinstance(message, Report)][: len(job.groups)]
    assert [(message.epoch, message.samples) for message in restored] == [(epochs, 0)] * len(job.groups)
    same(results(second), expected)


def test_a_diverged_run_stays_so(tmp_path: Path) -> None:
    job = grouped(job_of({"bad": {"kind": "constant", "lr": 1e30}, "good": {"kind": "constant"}}, RUN, data=DATA), 1)
    messages(job, tmp_path, epochs=3)
    same(results(messages(job, tmp_path, resumed=True)), results(messages(job)))


def test_a_state_is_not_read_unless_it_is_to_be_resumed(
    job: Job, expected: dict[int, RunResult], tmp_path: Path
) -> None:
    messages(job, tmp_path, epochs=1)
    for state in (tmp_path / "state").glob("*.npz"):
        state.write_bytes(b"mine")
    same(results(messages(job, tmp_path)), expected)


def test_any_flipped_bit_is_noticed(job: Job, expected: dict[int, RunResult], tmp_path: Path) -> None:
    """The end is the right one or a line that says which file is damaged, never another number."""
    messages(job, tmp_path, epochs=2)
    state = tmp_path / "state" / f"runs-{job.groups[0][0]}-{len(job.groups[0])}.npz"
    whole = state.read_bytes()
    refused = 0
    for at in np.random.default_rng(0).choice(len(whole), 60, replace=False).tolist():
        state.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        try:
            found = results(messages(job, tmp_path, resumed=True))
        except SpecError as error:
            told = str(error)
            assert told.startswith(f"{state} ")
            assert told.endswith("remove it to train these runs anew")
            assert "\n" not in told
            refused += 1
        else:
            same(found, expected)  # a date in the archive, say
        state.write_bytes(whole)
    assert refused > 30


@pytest.mark.parametrize("change", ["seeds", "gamma", "lr", "model"])
def test_a_state_of_another_training_is_refused(tmp_path: Path, change: str) -> None:
    said: dict[str, Any] = {"data": DATA, "model": "mlp:4", "seeds": [0, 1]}
    spec = {"kind": "step", "gamma": 0.5}
    job = grouped(job_of({"a": spec}, RUN, **said), 1)
    messages(job, tmp_path, epochs=1)
    run = RUN
    if change == "gamma":
        spec = {**spec, "gamma": 0.25}
    elif change == "lr":
        run = {**RUN, "lr": 0.3}
    else:
        said[change] = {"seeds": [0, 2], "model": "mlp:5"}[change]
    other = grouped(job_of({"a": spec}, run, **said), 1)
    assert digest(other) != digest(job)
    with pytest.raises(SpecError, match=r"runs-0-2\.npz is of another training: remove it to train these runs anew$"):
        messages(other, tmp_path, resumed=True)


def test_states_are_kept_no_oftener_than_is_cheap(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """About once a second, more seldom where a save takes long, and at the end in any case."""
    now = [0.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(worker, "SAVE_EVERY", 1.0)
    monkeypatch.setattr(worker, "SAVE_SHARE", 20.0)
    saves: list[float] = []

    def kept(path: Path, data: bytes) -> None:
        saves.append(now[0])
        now[0] += 0.125

    train = Ensemble.train_epoch

    def trained(ensemble: Ensemble) -> None:
        now[0] += 0.5
        train(ensemble)

    monkeypatch.setattr(worker, "write_whole", kept)
    monkeypatch.setattr(Ensemble, "train_epoch", trained)
    long = grouped(job_of({"a": {"kind": "step"}}, {**RUN, "epochs": 20}, data=DATA, seeds=2), 1)
    list(Worker(long, long.groups, means(long, tmp_path), _saved_at=0.0).run())
    np.testing.assert_allclose(saves, [1.0, 3.625, 6.25, 8.875, 10.5], atol=0)


def test_a_full_disk_is_said_once(
    job: Job, expected: dict[int, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise SpecError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(worker, "write_whole", full)
    found = messages(job, tmp_path)
    (remark,) = (message.text for message in found if isinstance(message, Remark))
    assert remark.endswith(": No space left on device: training goes on, but could not be resumed")
    same(results(found), expected)


# Memory.


@pytest.mark.parametrize("where", ["begin", "train_epoch"])
def test_what_did_not_fit_is_gone_before_its_halves_are_made(
    job: Job, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Or there would be less room for them than there was."""
    whole = grouped(job, 1, one=True)
    original: Any = getattr(Ensemble, where)
    lost: list[weakref.ref[Ensemble]] = []
    alive_at_making: list[int] = []
    made = Worker._made

    def limited(ensemble: Ensemble) -> None:
        if len(ensemble.members) > 2:
            lost.append(weakref.ref(ensemble))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        original(ensemble)

    def making(self: Worker, numbers: Any) -> Ensemble:
        alive_at_making.append(sum(gone() is not None for gone in lost))
        return made(self, numbers)

    monkeypatch.setattr(Ensemble, where, limited)
    monkeypatch.setattr(Worker, "_made", making)
    gc.collect()
    gc.disable()  # nothing but the counting of references may be needed
    try:
        found = messages(whole)
    finally:
        gc.enable()
    assert len(lost) == 3
    assert len(alive_at_making) == 7
    assert set(alive_at_making) == {0}
    assert [message.text for message in found if isinstance(message, Remark)] == [
        f"{count} runs at once do not fit into memory: they are trained in two halves" for count in (6, 3, 3)
    ]
    monkeypatch.undo()
    parts = tuple(tuple(message.results) for message in found if isinstance(message, Finished))
    assert sorted(map(len, parts)) == [1, 1, 2, 2]
    same(results(found), results(messages(replace(whole, groups=parts))))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError("Unable to allocate 7.45 GiB for an array"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_every_way_to_have_no_memory_splits(job: Job, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    begin = Ensemble.begin

    def limited(ensemble: Ensemble) -> None:
        if len(ensemble.members) > 3:
            raise error
        begin(ensemble)

    monkeypatch.setattr(Ensemble, "begin", limited)
    found = messages(grouped(job, 1, one=True))
    assert len([message for message in found if isinstance(message, Remark)]) == 1
    assert len(results(found)) == 6


@pytest.mark.parametrize("where", ["begin", "train_epoch"])
def test_any_other_error_is_raised_as_it_is(job: Job, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def broken(ensemble: Ensemble) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Ensemble, where, broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        messages(job)


def test_an_error_as_something_to_be_sent() -> None:
    spec, lost = SpecError("no", parameter="--x"), TrainingError("died")
    assert as_failure(spec) is spec
    assert as_failure(lost) is lost
    failure = as_failure(ValueError("two\nlines"))
    assert isinstance(failure, TrainingError)
    assert str(failure) == "training failed: ValueError: two lines"


# Several processes.


@pytest.mark.parametrize("world", [1, 2, 3, 5, 20])
def test_every_ensemble_is_somebodys(job: Job, world: int) -> None:
    shares = [shared(job, rank, world) for rank in range(world)]
    assert sorted(group for share in shares for group in share) == sorted(job.groups)
    loads = [sum(map(len, share)) for share in shares]
    assert max(loads) - min(loads) <= max(map(len, job.groups))


def test_the_longest_ensembles_are_dealt_out_first() -> None:
    """By their work: a long run alone, the short ones together."""
    specs = {f"short{i}": {"kind": "step", "run": {"epochs": 2}} for i in range(3)}
    job = grouped(job_of({**specs, "long": {"kind": "step"}}, {**RUN, "epochs": 9}, data=DATA, seeds=2), 2)
    shares = [{job.runs[n].schedule for group in shared(job, rank, 2) for n in group} for rank in range(2)]
    assert {"long"} in [share & {"long"} for share in shares]
    work = [sum(len(g) * job.runs[g[0]].course.updates for g in shared(job, rank, 2)) for rank in range(2)]
    assert max(work) <= 2 * 2 * 9 + 2 * 3 * 2 * 2 // 2


@copies
@pytest.mark.parametrize("workers", [2, 3])
def test_processes_give_what_one_gives(job: Job, expected: dict[int, RunResult], workers: int) -> None:
    found = list(train_here(job, means(job), workers, threading.Event()))
    same(results(found), expected)


@copies
def test_processes_are_stopped_by_an_event(job: Job, tmp_path: Path) -> None:
    long = grouped(job_of(SPECS, {**RUN, "epochs": 1000}, data=DATA, optimizer="adam", seeds=2), 2)
    stop = threading.Event()

    def watched() -> Iterator[Message]:
        for message in train_here(long, means(long, tmp_path), 2, stop):
            if isinstance(message, Report) and message.epoch == 3:
                stop.set()
            yield message

    found = results(list(watched()))
    assert {run.status for run in found.values()} == {"stopped"}
    assert len(found) == 6
    assert len(list((tmp_path / "state").glob("*.npz"))) == len(long.groups)


@copies
def test_an_error_in_a_process_is_raised_here(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's mistake as such, anything else in one line; nobody is left over."""
    import multiprocessing

    for error, expected in ((SpecError("no"), SpecError), (ValueError("a\nb"), TrainingError)):

        def broken(ensemble: Ensemble, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(Ensemble, "train_epoch", broken)
        with pytest.raises(expected, match=r"^(no|training failed: ValueError: a b)$"):
            list(train_here(job, means(job), 2, threading.Event()))
        assert multiprocessing.active_children() == []


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= cores() <= 4096
