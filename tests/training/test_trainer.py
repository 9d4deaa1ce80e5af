"""A training from its plan to its results: the rates that were used, and the plan that trains the same again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lrsched_cli.book import book_of
from lrsched_cli.experiment import Experiment
from lrsched_cli.results import RunResult
from lrsched_cli.targets import example_names, find_targets
from lrsched_cli.training import jobs, rates
from lrsched_cli.training.trainer import finish, plan_document, rate_fault
from lrsched_cli.training.worker import Finished, Remark
from tests.cli.training import SMALL, TWO, copies, document, lrsched, rates_used, same_curves, trained
from tests.training.support import job_of, outcome, write_csv
from tests.training.support import trained as trained_ensemble


@pytest.mark.parametrize("options", [("--epochs", "3"), ("--epochs", "3", "--interval", "step"), ("--steps", "10")])
def test_the_rates_are_those_that_table_prints(tmp_path: Path, options: tuple[str, ...]) -> None:
    """By epoch with --epochs alone, by step where that is asked for; a run may end within an epoch."""
    names = ("cosine", "onecycle", "wsd")
    made = [item for item in SMALL if item not in ("--epochs", "3")]
    folder = trained(*names, *made, *options, "--seeds", "1", "--warmup", "25%", cwd=tmp_path)
    geometry = ("--steps-per-epoch", "4", "--interval", "step" if "--epochs" not in options else "epoch")
    shown = lrsched(
        "table", *names, *geometry, *options, "--warmup", "25%", "--format", "json", "-q", cwd=tmp_path
    )  # fmt: skip
    assert shown.code == 0, shown.err
    for told in json.loads(shown.out)["schedules"]:
        planned = np.repeat(told["lr"], 4 if told["interval"] == "epoch" else 1)
        used = rates_used(folder, told["name"])
        assert len(used) == (10 if "--steps" in options else 12)
        np.testing.assert_allclose(used, planned, rtol=1e-12, atol=0)
    epochs = [len(run["val_loss"]) for run in document(folder)["runs"]]
    assert epochs == [4] * 3  # 10 updates are 2 epochs and a half


def test_a_plateau_reacts_to_the_runs_own_metric(tmp_path: Path) -> None:
    """torch's own scheduler, stepped with the validation losses that results.json holds, gives the rates it holds."""
    folder = trained("plateau", *SMALL[:-4], "--epochs", "9", "--lr", "1.5", "--patience", "0", cwd=tmp_path)
    fell = 0
    for run in document(folder)["runs"]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.5)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        expected = []
        for loss in run["val_loss"][1:]:
            expected += [optimizer.param_groups[0]["lr"]] * 4
            scheduler.step(loss)
        np.testing.assert_allclose(run["lr_used"], expected, rtol=1e-12)
        fell += expected[-1] < 1.5
    assert fell  # or the test says nothing


def test_a_plan_trains_the_same_again(tmp_path: Path) -> None:
    """To the last bit, from another folder too: the paths in it are whole."""
    (tmp_path / "made").mkdir()
    write_csv(tmp_path / "made" / "data.csv")
    (tmp_path / "made" / "p.yaml").write_text(
        "run: {epochs: 4, batch_size: 12, drop_last: true, interval: step}\ndata: csv:data.csv\nmodel: mlp-bn:5\n"
        "optimizer: adamw\nweight_decay: 0.1\nseeds: [3, 4]\nlrs: [0.01, 0.1]\nswa_start: 50%\ndtype: float64\n"
        "lr: 0.3\ndefaults: {warmup: 2}\n"
        "schedules:\n  a: {kind: cosine, lr: 0.2}\n  b: {kind: onecycle, cycle_momentum: true, run: {epochs: 3}}\n"
        "  c: {sequence: [{kind: linear, for: 50%}, {kind: constant}], run: {epochs: 4, interval: epoch}}\n"
    )
    folder = trained("made/p.yaml", cwd=tmp_path)
    (tmp_path / "elsewhere").mkdir()
    again = trained("../out/plan.json", cwd=tmp_path / "elsewhere")
    same_curves(again, folder)
    assert (again / "plan.json").read_text() == (folder / "plan.json").read_text()
    assert document(again)["spec"] == document(folder)["spec"] == json.loads((folder / "plan.json").read_text())


def test_gradients_may_be_accumulated(tmp_path: Path) -> None:
    """So many batches make one update, as of one batch of all their samples; the plan keeps saying how."""
    whole = trained("step", *TWO, cwd=tmp_path)
    made = [item if item != "128" else "32" for item in TWO]
    parts = trained("step", *made, "--grad-accumulation", "4", cwd=tmp_path, folder="parts")
    same_curves(parts, whole)
    same_curves(trained("parts/plan.json", cwd=tmp_path, folder="again"), parts)


# The published ones say the launch that they had, on which nothing is trained here.
@pytest.mark.parametrize("name", sorted({*example_names()} - {"published"}))
def test_the_plan_of_an_example_is_the_example(name: str) -> None:
    """Read back as a file of schedules it is the same job, whose plan is the same again."""
    said = Experiment(data="digits", model="linear", seeds=2)
    entries = find_targets([name])
    job = jobs.plan(entries, said)
    kept = json.loads(json.dumps(plan_document(job)))
    again = jobs.plan(list(book_of(kept, "plan.json", Path()).entries.values()), Experiment())
    assert jobs.digest(again) == jobs.digest(job)
    assert plan_document(again) == plan_document(job)
    assert [(run.schedule, run.lr, run.seed) for run in again.runs] == [
        (run.schedule, run.lr, run.seed) for run in job.runs
    ]
    for key, trace in job.traces.items():
        if not trace.schedule.reacts:
            np.testing.assert_array_equal(again.traces[key].lr, trace.lr)


# The check of every rate.


@pytest.fixture(scope="module")
def job_and_results() -> tuple[jobs.Job, list[RunResult]]:
    """A training of three schedules, one of which reacts to its own losses."""
    specs = {
        "step": {"kind": "step", "step_size": 1},
        "cosine": {"kind": "cosine", "run": {"interval": "step"}},
        "plateau": {"kind": "plateau", "patience": 0},
    }
    data = "python:tests.training.support:vectors"
    job = job_of(specs, {"epochs": 4, "batch_size": 20}, data=data, model="linear", seeds=2)
    ensemble = trained_ensemble(job)
    found = []
    for m, run in enumerate(job.runs):
        curves = outcome(ensemble, m)
        found.append(RunResult(schedule=run.schedule, lr=run.lr, seed=run.seed, status="ok", **curves))
    return job, found


def test_the_rates_of_a_training_are_found_right(job_and_results: tuple[jobs.Job, list[RunResult]]) -> None:
    job, found = job_and_results
    assert rate_fault(job, found) is None
    cut = [replace(run, lr_used=run.lr_used[:3], val_loss=run.val_loss[:2]) for run in found]
    assert rate_fault(job, cut) is None  # of a run that was interrupted


@pytest.mark.parametrize("number", [0, 2, 5])
@pytest.mark.parametrize("wrong", [lambda rate: rate * (1 + 1e-9), lambda rate: np.nan, lambda rate: -rate])
def test_a_rate_that_is_not_the_plans_is_found(
    job_and_results: tuple[jobs.Job, list[RunResult]], number: int, wrong: Any
) -> None:
    """In any run and at any update; a difference in the last digit is none."""
    job, found = job_and_results
    run = found[number]
    for at in (0, len(run.lr_used) - 1):
        used = np.array(run.lr_used)
        used[at] *= 1 + 1e-15
        nearly = [*found[:number], replace(run, lr_used=used), *found[number + 1 :]]
        assert rate_fault(job, nearly) is None
        used[at] = wrong(used[at])
        fault = rate_fault(job, [*found[:number], replace(run, lr_used=used), *found[number + 1 :]])
        assert fault is not None
        told = f"internal error, please report it: {run.schedule} (seed {run.seed}) used the rate "
        assert fault.startswith(told)
        assert f" for update {at}, and the plan says {float(run.lr_used[at])!r}" in fault


@copies
def test_a_training_with_other_rates_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line and with exit code 70; what was trained is written down all the same."""
    planned = rates.Course.lr
    monkeypatch.setattr(rates.Course, "lr", lambda *args: planned(*args) * (1 + 1e-8))
    found = lrsched("train", "step", *TWO, "-o", "out", cwd=tmp_path)
    assert found.code == 70
    assert found.err.splitlines()[-1].startswith("lrsched: internal error, please report it: step (seed 0) used the")
    assert len(document(tmp_path / "out")["runs"]) == 2
    assert any("internal error" in note for note in document(tmp_path / "out")["notes"])


# From messages to results.


def test_results_are_put_together_from_messages(job_and_results: tuple[jobs.Job, list[RunResult]]) -> None:
    """In the order of the runs, whoever is done first; everything is passed on."""
    job, found = job_and_results
    messages = [
        Finished({number: found[number] for number in (5, 3, 1)}), Remark("hot"),
        Finished({number: found[number] for number in (4, 0, 2)}),
    ]  # fmt: skip
    heard: list[Any] = []
    results = finish(job, iter(messages), heard.append, "cpu")
    assert heard == messages
    assert [(run.schedule, run.seed) for run in results.runs] == [(run.schedule, run.seed) for run in job.runs]
    assert results.steps_per_epoch == 2
    assert results.versions["torch"] == torch.__version__
    assert results.spec == plan_document(job)
