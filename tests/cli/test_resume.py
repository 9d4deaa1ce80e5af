"""``lrsched resume``: what it says, in every format, and what its exit code means."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrsched_cli.book import load
from tests.cli.conftest import on_terminal
from tests.support import agree

COSINE = (
    "transformers.cosine", "--num-warmup-steps", "0", "--num-training-steps", "100", "--lr", "1", "--at", "50",
    "--new-total", "200",
)  # fmt: skip

TOLD = """\
transformers.cosine: resumed at step 50 of 100, to train 200 steps in all
(state-dict)

Verdict: jumps.
The rate jumps at step 51: 0.5 -> 0.848 (+0.348, +69.6%).
It ends at 6.168e-05 (step 199); the old run was to end at 0.0002467 (step
99).

It runs as a LambdaLR: its function is in the code, so that of the new run
goes on at the old tick.
The new run has num_training_steps 100 -> 200.
The optimizer's state is loaded last: the first rate is the one of the
checkpoint.

    step     planned      resumed       smooth
      47    0.547054     0.547054     0.547054
      48    0.531395     0.531395     0.531395
      49    0.515705     0.515705     0.515705
      50         0.5          0.5          0.5
      51    0.484295     0.847956          0.5
      52    0.468605     0.842274     0.499944
      53    0.452946     0.836506     0.499778
      99  0.00024672     0.507854     0.382529
     125           -     0.308658     0.252636
     199           -  6.16838e-05  5.55675e-05

To go on smoothly (a cosine down to the planned end):

  run: {steps: 200}
  schedules:
    transformers.cosine-continued:
      lr: 1
      sequence:  # step 50 too is as planned: the checkpoint has its rate
      - {kind: transformers.cosine, num_warmup_steps: 0,
        num_training_steps: 100, for: 51}
      - {lr: current, kind: cosine}
"""

ANNEALED = """\
The run is already annealed. To go on smoothly (a cosine down to the planned
end) trains the 100 new epochs at 0.025% of the peak or less, which changes
little.

To train on in earnest, warm up again to a part of the peak, here 50% (up to
0.05, then a cosine down to the planned end):

  run: {epochs: 200}
  schedules:
    cosine-continued:
      lr: 0.1
      sequence:
      - {kind: cosine, T_max: 100, for: 100}
      - lr: 0.05
        kind: cosine
        warmup: {for: 5, start_lr: 2.4672e-05}
"""

COMPARED = """\
torch.OneCycleLR: resumed at step 50 of 100, to train 200 steps in all

  mode        verdict      at the resume             ends at
  state-dict  raises       0.812 -> 0.794 (step 50)  0.000507 (step 100)
  rebuild     starts anew  0.812 -> 0.04 (step 50)   0.283 (step 199)
  last-epoch  raises       0.812 -> 0.957 (step 50)  0.00013 (step 199)

state-dict: Training stops after 101 of 200 steps: torch.OneCycleLR raises at
tick 101: it has been stepped more than its total_steps, 100.
rebuild: The rate jumps at step 50: 0.8117 -> 0.04 (-0.772, -95.1%). From step
50 on the rates are those of a new run from its start.
last-epoch: The rate jumps at step 50: 0.8117 -> 0.9571 (+0.145, +17.9%).
Training is done, then torch.OneCycleLR raises at the last scheduler.step(),
as its clock is one ahead: it has been stepped more than its total_steps, 200
("Tried to step 201 times").
"""


def test_a_jump_is_told_in_words_and_numbers(run: Any) -> None:
    done = run("resume", *COSINE)
    assert done.code == 1
    assert done.out.startswith(TOLD)
    assert done.err == ""


def test_what_goes_on_smoothly_is_a_file_that_can_be_used(run: Any, tmp_path: Path) -> None:
    out = run("resume", *COSINE).out
    text = out[out.index("  run:") :]
    Path("next.yaml").write_text("\n".join(line[2:] for line in text.splitlines()))
    book = load("next.yaml")
    trace = book.trace("transformers.cosine-continued")
    assert len(trace) == 200
    agree(trace.lr[:51], (1 + np.cos(np.pi * np.arange(51) / 100)) / 2)
    assert np.abs(np.diff(trace.lr)).max() < 0.016
    assert run("table", "next.yaml", "--at", "0").code == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("cosine --steps 100 --at 50", 0),
        ("cosine --steps 100 --at 50 --new-total 200", 1),  # climbs back to the peak
        ("cosine --steps 100 --at 100 --new-total 200 --mode rebuild", 1),  # at 0 for good
        ("cosine --steps 100 --warmup 5 --at 50 --new-total 200", 1),
        ("torch.OneCycleLR --max-lr 1 --total-steps 100 --at 50 --new-total 200", 1),  # raises
        ("cosine --steps 100 --at 50 --mode rebuild --optimizer-state never", 1),
        ("torch.CyclicLR --base-lr 0.1 --max-lr 1 --steps 100 --at 50 --resume-mode rebuild --step-size-up 20", 1),
        ("step --step-size 30 --epochs 90 --at 33% --new-total 200%", 0),
        ("step --epochs 90 --steps-per-epoch 10 --at 30ep --new-total 120ep", 0),
    ],
)
def test_the_exit_code(run: Any, words: str, code: int) -> None:
    done = run("resume", *words.split())
    assert done.code == code, done
    assert ("Verdict: smooth." in done.out) == (code == 0)


def test_torch_forgets_the_new_length(run: Any) -> None:
    out = " ".join(run("resume", "cosine", "--steps", "100", "--at", "50", "--new-total", "200").out.split())
    assert "It runs as torch.CosineAnnealingLR" in out
    assert "The new values are forgotten: T_max 100 is back." in out
    assert "Verdict: climbs again. The rate climbs again: from 0 at step 100 to 0.09998 at step 199." in out


def test_of_an_annealed_run_more_of_the_same_is_not_advised(run: Any) -> None:
    words = ("resume", "cosine", "--epochs", "100", "--at", "100", "--new-total", "200")
    assert run(*words).out.endswith(ANNEALED)
    found = json.loads(run(*words, "--format", "json").out)
    assert (found["verdict"], found["climb"]["from"]) == ("climbs-again", {"tick": 100, "lr": 0.0})
    assert found["rewarmed"]["schedule"]["sequence"][1]["lr"] == 0.05
    assert found["smooth"]["schedule"]["sequence"][1]["lr"] == "current"


def test_all_modes_side_by_side(run: Any) -> None:
    words = ("resume", "torch.OneCycleLR", "--max-lr", "1", "--total-steps", "100", "--at", "50", "--new-total", "200")
    done = run(*words, "--mode", "all")
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith(COMPARED)
    assert max(map(len, done.out.splitlines())) <= 80
    found = json.loads(run(*words, "--mode", "all", "--format", "json").out)
    assert [(one["mode"], one["verdict"]) for one in found["modes"]] == [
        ("state-dict", "raises"), ("rebuild", "starts-anew"), ("last-epoch", "raises"),
    ]  # fmt: skip
    two = run(*words, "--mode", "rebuild", "--mode", "last-epoch", "--format", "csv").out
    assert two.startswith("t,planned,rebuild,last-epoch,smooth\n")
    assert run("resume", "constant", "--at", "50", "--new-total", "200", "--mode", "all").code == 0


def test_a_mode_that_cannot_be_is_said_beside_the_others(run: Any) -> None:
    words = ("resume", "plateau", "--at", "5", "--resume-mode", "all")
    assert "last-epoch: torch.ReduceLROnPlateau takes no last_epoch." in run(*words).out
    refused = json.loads(run(*words, "--format", "json").out)["modes"][-1]
    assert refused["verdict"] == "refused"
    assert run(*words, "--last-epoch=-1").message() == "--last-epoch must be >= 0, got -1"


def test_last_epoch_is_one_off(run: Any) -> None:
    words = ("resume", "transformers.linear", "--num-warmup-steps", "0", "--num-training-steps", "100", "--at", "50")
    out = " ".join(run(*words, "--mode", "last-epoch").out.split())
    assert "made with last_epoch=50: its clock starts at tick 51." in out
    assert "49 makes it go on at 50." in out
    exact = json.loads(run(*words, "--mode", "last-epoch", "--last-epoch", "49", "--format", "json").out)
    assert exact["ticks"]["planned"][3] == exact["ticks"]["resumed"][3]
    assert exact["last_epoch"] == 49


def test_json_and_csv(run: Any) -> None:
    found = json.loads(run("resume", *COSINE, "--format", "json").out)
    assert (found["version"], found["schedule"], found["scheduler"]) == (1, "transformers.cosine", "LambdaLR")
    assert (found["at"], found["total"], found["new_total"], found["mode"]) == (50, 100, 200, "state-dict")
    assert found["continuous"] is False
    assert found["jump"]["tick"] == 51
    assert found["jump"]["size"] == pytest.approx(0.348, abs=1e-3)
    assert found["changes"] == {"num_training_steps": [100, 200]}
    assert found["smooth"]["run"] == {"steps": 200}
    rows = list(csv.DictReader(io.StringIO(run("resume", *COSINE, "--format", "csv").out)))
    assert [int(row["t"]) for row in rows] == found["ticks"]["t"]
    assert [float(row["resumed"]) for row in rows] == found["ticks"]["resumed"]
    assert rows[-1]["planned"] == ""


def test_pictures(run: Any, tmp_path: Path) -> None:
    done = run("resume", *COSINE, "-o", "r.svg")
    assert Path("r.svg").read_text().startswith("<?xml")
    assert done.err == "drawn into r.svg\n"
    first = Path("r.svg").read_bytes()
    run("resume", *COSINE, "-o", "r.svg")
    assert Path("r.svg").read_bytes() == first
    words = ("torch.OneCycleLR", "--max-lr", "1", "--total-steps", "9", "--at", "5", "--new-total", "20")
    assert run("resume", *words, "--mode", "all", "-o", "all.png").err == "drawn into all.png\n"
    done = on_terminal("resume", *COSINE, cwd=tmp_path)
    assert done.code == 1
    assert "b resumed" in done.out
    plain = on_terminal("resume", *COSINE, cwd=tmp_path, NO_COLOR="1")
    assert "\x1b" not in plain.out
    assert max(map(len, plain.out.splitlines())) <= 80


def test_groups_accents_and_a_run_of_its_own(run: Any) -> None:
    Path("p.yaml").write_text(
        "run: {epochs: 20, steps_per_epoch: 8, stepper: accelerate, world_size: 4}\nschedules:\n"
        "  é a: {kind: cosine, warmup: 2ep, groups: {body: 0.1, head: 1.0}}\n",
        encoding="utf-8",
    )
    done = run("resume", "p.yaml:é a", "--at", "10ep", "--new-total", "40ep")
    assert done.code == 1
    assert done.out.startswith("é a: resumed at step 80 of 160, to train 320 steps in all")
    assert "groups: {body: 0.1, head: 1.0}" in done.out
    assert "note: the rates are those of the first group, body\n" in done.err
    assert "the stepper is left out" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("cosine", "say where the run stopped, such as --at 50, --at 5ep or --at 50%"),
        ("cosine --at x", "--at must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got 'x'"),
        ("cosine --at 0", "--at must be from 1 to 100, the ticks of the run, got 0"),
        ("cosine --at 101", "--at must be from 1 to 100, the ticks of the run, got 101"),
        ("cosine --at -5", "--at must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got '-5'"),
        ("cosine --at 50 --new-total 50", "--new-total must be > --at 50, got 50"),
        ("cosine --at 100", "--at 100 is the end of the run: add --new-total, such as --new-total 200"),
        ("cosine --at 5 --mode stat-dict",
         "--mode must be state-dict, rebuild, last-epoch, all, got 'stat-dict' (did you mean state-dict?)"),
        ("cosine --at 5 --optimizer-state now", "--optimizer-state must be before, after or never, got 'now'"),
        ("cosine --at 5 --last-epoch 4", "--last-epoch is for --mode last-epoch"),
        ("cosine --at 5 --mode last-epoch --last-epoch=-1", "--last-epoch must be >= 0, got -1"),
        ("cosine step --at 5", "one schedule at a time, got cosine, step: name one as FILE:ENTRY"),
        ("cosine --at 5 --format xml", "--format must be text, json, csv, got 'xml'"),
        ("cosine --at 5 -o x.gif", "--output must be a png, svg or pdf file, got 'x.gif'"),
        ("cosine --at 5 -o no/x.png", "cannot write no/x.png: No such file or directory"),
        ("plateau --at 5 --resume-mode last-epoch", "--mode torch.ReduceLROnPlateau takes no last_epoch"),
        ("torch.OneCycleLR --max-lr 1 --total-steps 9 --at 5 --mode last-epoch --optimizer-state never",
         ("--mode last-epoch: torch.OneCycleLR needs max_lr and min_lr in the optimizer's groups, and torch raises "
          "KeyError where its state is new")),
        ("optax.cosine_decay_schedule --init-value 1 --decay-steps 9 --at 5",
         "optax.cosine_decay_schedule: how optax resumes is not known; torch's and transformers' ways are"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line(run: Any, words: str, message: str) -> None:
    assert run("resume", *words.split()).message() == message
    assert list(Path().iterdir()) == []
