"""``--stepper``, and ``stepper:`` in a run: the overlay that every verb of schedules understands."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from lrsched_cli.schema import schema

COSINE = ("transformers.cosine", "--num-warmup-steps", "10", "--num-training-steps", "100", "--lr", "1")


def test_a_table_of_what_was_meant_and_of_what_the_launch_does(run: Any) -> None:
    done = run("table", *COSINE, "--stepper", "accelerate", "--world-size", "4", "--at", "25,50,75,99", "-q")
    assert done.out.splitlines()[0].split("  ")[-2:] == ["transformers.cosine", "transformers.cosine (accelerate)"]
    assert [round(float(line.split()[-1]), 3) for line in done.out.splitlines()[1:]] == [0.0, 0.97, 0.117, 0.808]


def test_csv_json_and_notes(run: Any) -> None:
    words = (*COSINE, "--stepper", "micro-batch", "--grad-accumulation", "4")
    rows = list(csv.DictReader(io.StringIO(run("table", *words, "--format", "csv").out)))
    meant, launched = ([float(row[name]) for row in rows] for name in list(rows[0])[2:])
    assert launched[:25] == pytest.approx(meant[3::4], rel=1e-12)
    done = run("table", *words, "--format", "json")
    found = json.loads(done.out)
    assert [one["name"] for one in found["schedules"]] == ["transformers.cosine", "transformers.cosine (micro-batch)"]
    assert found["run"]["stepper"] == "micro-batch"
    assert "note: transformers.cosine (micro-batch): past num_training_steps 100 the rate climbs again" in done.err


def test_a_scheduler_that_raises_leaves_empty_cells(run: Any) -> None:
    words = ("torch.OneCycleLR", "--max-lr", "1", "--total-steps", "40", "--stepper", "micro-batch")
    done = run("table", *words, "--grad-accumulation", "4", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [bool(row["torch.OneCycleLR (micro-batch)"]) for row in rows] == [True] * 10 + [False] * 30
    assert "note: with stepper micro-batch the scheduler fails after 10 steps: torch.OneCycleLR raises" in done.err
    assert done.err.count("ignores the optimizer's lr") == 1  # once, not of the launch again


def test_the_run_of_a_file_and_the_option_over_it(run: Any) -> None:
    Path("p.yaml").write_text(
        "run: {steps: 40, world_size: 2, stepper: accelerate}\nschedules:\n  a: {kind: cosine}\n  b: {kind: step}\n"
    )
    head = run("table", "p.yaml", "--at", "0", "-q").out.splitlines()[0]
    assert head.split("  ")[-4:] == ["a", "a (accelerate)", "b", "b (accelerate)"] or "a (accelerate)" in head
    head = run("table", "p.yaml:a", "--at", "0", "-q", "--stepper", "amp-skip:1%").out.splitlines()[0]
    assert "a (amp-skip:1%)" in head
    assert "(" not in run("table", "p.yaml:a", "--at", "0", "-q", "--stepper", "optimizer-step").out
    assert run("plot", "p.yaml", "-o", "p.png").code == 0
    assert "b (accelerate)" in run("plot", "p.yaml", "--terminal").out
    assert run("export", "p.yaml:a", "--to", "torch").code == 0


def test_a_users_own_factory_is_stepped_as_far_as_the_launch_goes(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    Path("own_steps.py").write_text(
        "def make(optimizer):\n    import torch\n    return torch.optim.lr_scheduler.StepLR(optimizer, 20)\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    words = ("python:own_steps:make", "--steps", "40", "--stepper", "micro-batch", "--grad-accumulation", "4")
    done = run("table", *words, "--at", "0,10,39", "--format", "csv", "-q")
    assert done.code == 0, done.err
    launched = [float(line.split(",")[-1]) for line in done.out.splitlines()[1:]]
    assert launched == pytest.approx([0.1, 0.001, 1e-8])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--stepper accelerate", "cosine: stepper accelerate needs world_size (--world-size)"),
        ("--stepper micro-batch", "cosine: stepper micro-batch needs grad_accumulation (--grad-accumulation)"),
        ("--stepper epoch", "cosine: stepper epoch needs steps_per_epoch (--steps-per-epoch)"),
        ("--stepper epochs",
         ("stepper must be optimizer-step, micro-batch, accelerate, epoch or amp-skip:RATE, got 'epochs' "
          "(did you mean epoch?)")),
        ("--stepper amp-skip",
         "stepper must be amp-skip:RATE, the rate a share of the updates such as 0.01 or 1%, got 'amp-skip'"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line(run: Any, words: str, message: str) -> None:
    assert run("table", "cosine", "--steps", "9", *words.split()).message() == message


def test_the_schema_knows_it() -> None:
    stepper = schema()["$defs"]["run"]["properties"]["stepper"]
    assert stepper["anyOf"][0]["enum"] == ["optimizer-step", "micro-batch", "accelerate", "epoch"]
