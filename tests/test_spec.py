"""Entries and files of them: the contract's example, what errors say and where, overrides, traces, the Python API."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrsched_cli as lrs
from lrsched_cli.book import Book, read_book, set_value
from lrsched_cli.kinds import DIALECTS
from lrsched_cli.schedules import ALIASES, CANONICAL
from lrsched_cli.schedules.decay import Cosine, Step
from tests.support import agree, message_of, torch_trace

#: Section 4 of the contract, as users will copy it.
CONTRACT = """\
run:                       # optional; options of the same name override it
  epochs: 90
  dataset_size: 1281167    # or steps_per_epoch: 5005, or steps: 450000
  batch_size: 256          # per process
  world_size: 8
  grad_accumulation: 4
  drop_last: true
  interval: step           # step | epoch
lr: 0.1                    # default base learning rate of the entries
schedules:
  baseline: {kind: step, step_size: 30ep, gamma: 0.1}
  warmup-cosine:
    kind: cosine
    eta_min: 1e-5          # a number, although YAML 1.1 says it is text
    warmup: 5ep            # or {for: 5%, start_factor: 0.01, shape: linear}
  trapezoid:
    sequence:
      - {kind: linear, start_factor: 0, for: 1000}
      - {kind: constant, for: 80%}
      - {kind: linear, end_factor: 0}
  reactive:
    kind: plateau
    patience: 10
    metrics: runs/val_loss.csv:val_loss   # or a list of numbers
"""
DIALECT = """\
  from-their-config:
    kind: transformers.cosine_with_min_lr
    num_warmup_steps: 500
    num_training_steps: 10000
    min_lr_rate: 0.1
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Book]:
    """Writes p.yaml where the test stands, and loads it."""
    monkeypatch.chdir(tmp_path)

    def load(text: str) -> Book:
        Path("p.yaml").write_text(text)
        return lrs.load("p.yaml")

    return load


def test_the_example_of_the_contract(file: Any) -> None:
    Path("runs").mkdir()
    Path("runs/val_loss.csv").write_text("step,val_loss\n" + "".join(f"{i},1.0\n" for i in range(50)))
    book = file(CONTRACT + (DIALECT if "transformers" in DIALECTS else ""))
    assert list(book)[:4] == ["baseline", "warmup-cosine", "trapezoid", "reactive"]
    assert book.run.epochs == 90
    spe, total = 157, 90 * 157
    ticks = np.arange(total)
    agree(book["baseline"].values(0, total), 0.1 * 0.1 ** (ticks // (30 * spe)))
    assert book["baseline"](30 * spe - 1) == 0.1
    warm = 5 * spe
    x = (ticks[warm:] - warm) / (total - warm)
    agree(book["warmup-cosine"].values(warm, total), 1e-5 + (0.1 - 1e-5) * (1 + np.cos(np.pi * x)) / 2)
    agree(book["warmup-cosine"].values(0, warm), 0.1 * ticks[:warm] / warm)
    end = 1000 + round(0.8 * total)
    agree(book["trapezoid"].values(0, 1000), 0.1 * ticks[:1000] / 1000)
    agree(book["trapezoid"].values(end, total), 0.1 * (1 - (ticks[end:] - end) / (total - end)))
    agree(book["reactive"](np.array([0, 11, 12, 22, 23])), [0.1, 0.1, 0.01, 0.01, 0.001])


def test_metrics_are_relative_to_their_file(tmp_path: Path) -> None:
    """A plan in another folder finds its log beside itself; from the command line it is where one stands."""
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "log.csv").write_text("loss\n3\n2\n1\n")
    (tmp_path / "plans" / "p.yaml").write_text("schedules: {a: {kind: plateau, metrics: log.csv:loss}}")
    book = lrs.load(tmp_path / "plans" / "p.yaml")
    assert list(book["a"].metrics) == [3.0, 2.0, 1.0]  # type: ignore[attr-defined]
    assert len(book.trace("a")) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {kind: cosine, eta_min: -1.0}", "p.yaml:2: a: eta_min must be >= 0, got -1.0"),
        ("a:\n    kind: cosine\n    etamin: 1", "p.yaml:4: a: cosine has no parameter etamin (did you mean eta_min?)"),
        ("a:\n    kind: cosin",
         "p.yaml:3: a: unknown kind cosin (did you mean cosine?); lrsched list all shows every one"),
        ("a:\n    kind: 5", "p.yaml:3: a: kind must be the name of a kind, got 5"),
        ("a:\n    knid: cosine",
         "p.yaml:3: a: must have one of kind, sequence and product, got the keys knid (did you mean kind?)"),
        ("a: {}", "p.yaml:2: a: must have one of kind, sequence and product, got the keys (none)"),
        ("a: {kind: cosine, product: []}",
         "p.yaml:2: a: must have one of kind, sequence and product, got kind and product"),
        ("a: cosine", "p.yaml:2: a: must be a mapping such as {kind: cosine}, got 'cosine'"),
        ("b: {kind: step}\n  a:", "p.yaml:3: a: must be a mapping such as {kind: cosine}, got None"),
        ('a: {kind: cosine, T_max: "3"}',
         "p.yaml:2: a: T_max must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got '3'"),
        ('a: {kind: step, gamma: "0.5"}', "p.yaml:2: a: gamma must be a finite number, got '0.5'"),
        ("a: {kind: step, gamma: yes}", "p.yaml:2: a: gamma must be a finite number, got True"),
        ("a: {kind: step, lr: -1}", "p.yaml:2: a: lr must be > 0, got -1"),
        ("a: {kind: step, lr: current}", "p.yaml:2: a: lr must be a finite number, got 'current'"),
        ("a:\n    kind: cosine\n    warmup:\n      fro: 5",
         "p.yaml:5: a: warmup has no parameter fro (did you mean for?)"),
        ("a:\n    kind: cosine\n    warmup:\n      for: 5\n      shape: cos",
         "p.yaml:6: a: warmup.shape must be linear, cosine, 1-sqrt, exp or log, got 'cos'"),
        ("a:\n    kind: cosine\n\n    clamp: {min_lr: -1}", "p.yaml:5: a: clamp.min_lr must be >= 0, got -1"),
        ("a:\n    sequence:\n      - {kind: linear, for: 5}\n      - kind: cosine\n        eta_min: 7",
         "p.yaml:6: a: eta_min must be <= lr 0.1, got 7"),
        ("a:\n    sequence:\n      - {kind: linear, for: 5}\n      - kind: cosine\n        eta_mn: 7",
         "p.yaml:6: a: cosine has no parameter eta_mn (did you mean eta_min?)"),
        ("a:\n    product:\n      - {kind: cosine}\n      - {kind: step,\n         gamma: 0}",
         "p.yaml:6: a: gamma must be > 0, got 0"),
        ("a:\n    groups:\n      b: -1\n    kind: cosine",
         "p.yaml:3: a: groups.b must be a finite number > 0, got -1"),
        ("a:\n    kind: cosine\n    swa:\n      start: 75%\n      swalr: 0.05",
         "p.yaml:6: a: swa has no parameter swalr (did you mean swa_lr?)"),
        ("a:\n    kind: cosine\n    swa:\n      start: 75%\n      swa_lr: 0",
         "p.yaml:6: a: swa.swa_lr must be > 0, got 0"),
        ("a:\n    kind: cosine\n    swaa: 75%", "p.yaml:4: a: cosine has no parameter swaa (did you mean swa?)"),
        ("a:\n    kind: cosine\n\n    swa: {start: 0}", "p.yaml:5: a: swa.start must be >= 1, got 0"),
        ("a:\n    product:\n      - {kind: cosine, swa: 75%}",
         "p.yaml:3: a: product part 0 has swa: give it beside product, as weights are averaged to the end of the run"),
        ("a: {kind: cosine, run: {epoch: 5}}", "p.yaml:2: a: run has no key 'epoch' (did you mean epochs?)"),
        ("a: {kind: cosine, run: {epochs: 3, steps: 4}}",
         "p.yaml:2: a: steps 4 is not a whole number of steps in each of 3 epochs"),
        ("a: {kind: cosine, T_max: 5tok, run: {steps: 9}}",
         "p.yaml:2: a: T_max needs tokens_per_step to turn 5tok into steps"),
        ("a: {kind: plateau, metrics: nofile.csv:x}", "p.yaml:2: a: no such file: nofile.csv"),
        ("good: {kind: cosine}\n  bad: {kind: step, gamma: 0}", "p.yaml:3: bad: gamma must be > 0, got 0"),
        ("a: {kind: cosine, after: error, T_max: 9}",
         "p.yaml:2: a: cosine is not defined past tick 9, and the run goes on to 99"),
    ],
)  # fmt: skip
def test_what_an_error_in_an_entry_says(file: Any, text: str, message: str) -> None:
    """File, line, entry, parameter, what must hold, what was given: for the first mistake in any of the entries."""
    assert message_of(file, f"schedules:\n  {text}\n") == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schedules: []", "p.yaml:1: schedules must be a mapping of names to entries, got []"),
        ("schedules: {}", "p.yaml:1: schedules must be a mapping of names to entries, got {}"),
        ("lr: 0.1", "p.yaml: schedules must be a mapping of names to entries, got None"),
        ("schedule: {a: {kind: cosine}}", "p.yaml:1: unknown key 'schedule' (did you mean schedules?)"),
        ("[1]", "p.yaml: must hold schedules: as a mapping of names to entries, got [1]"),
        ("cosine", "p.yaml: must hold schedules: as a mapping of names to entries, got 'cosine'"),
        ("", "p.yaml: is empty"),
        ("schedules: [", "p.yaml:1: not valid YAML: did not find expected node content"),
        ("run: [1]\nschedules: {a: {kind: cosine}}", "p.yaml:1: run must be a mapping such as {epochs: 90}, got [1]"),
        ("run:\n  epoch: 3\nschedules: {a: {kind: cosine}}",
         "p.yaml:2: run has no key 'epoch' (did you mean epochs?)"),
        ("run:\n  batch_size: 3\n  epochs: 0\nschedules: {a: {kind: cosine}}",
         "p.yaml:3: epochs must be a whole number >= 1, got 0"),
        ("lr: -1\nschedules: {a: {kind: cosine}}", "p.yaml:1: lr must be a finite number > 0, got -1"),
        ('lr: "0.1"\nschedules: {a: {kind: cosine}}', "p.yaml:1: lr must be a finite number > 0, got '0.1'"),
        ("defaults: {gama: 3}\nschedules: {a: {kind: step}}",
         "p.yaml:1: defaults has 'gama', which no entry takes (did you mean gamma?)"),
        ("defaults: 3\nschedules: {a: {kind: step}}", "p.yaml: defaults must be a mapping of parameters, got 3"),
        ("kind: cosine\n\neta_min: 5", "p.yaml:3: p: eta_min must be <= lr 0.1, got 5"),
    ],
)  # fmt: skip
def test_what_an_error_in_a_file_says(file: Any, text: str, message: str) -> None:
    assert message_of(file, text + "\n") == message


def test_a_missing_file_and_a_missing_entry(file: Any) -> None:
    assert message_of(lrs.load, "nosuch.yaml") == "no such file: nosuch.yaml"
    book = file("schedules: {warm: {kind: cosine}}")
    assert message_of(book.entry, "wram") == "p.yaml: has no entry 'wram' (did you mean warm?)"


# What entries share.


def test_defaults_reach_every_entry_that_takes_them(file: Any) -> None:
    book = file(
        "defaults: {gamma: 0.5, warmup: 2, lr: 1}\n"
        "schedules:\n  a: {kind: step, step_size: 3}\n  b: {kind: step, step_size: 3, gamma: 0.25, warmup: 0}\n"
        "  c: {kind: cosine, lr: 0.1}\n  d: {sequence: [{kind: constant}]}\n"
    )
    agree(book["a"](np.array([0, 1, 2, 4, 5])), [0, 0.5, 1, 1, 0.5])
    agree(book["b"](np.array([0, 3])), [1, 0.25])
    agree(book["c"](np.array([0, 2])), [0, 0.1])
    agree(book["d"](np.array([1, 2])), [0.5, 1])


def test_an_entrys_own_run_lies_over_the_files(file: Any) -> None:
    book = file(
        "run: {epochs: 10, steps_per_epoch: 4}\nschedules:\n  a: {kind: linear}\n"
        "  b: {kind: linear, run: {epochs: 3}}\n  c: {kind: linear, run: {interval: epoch, lr: 7}}\n"
    )
    assert {name: (len(book.trace(name)), book.trace(name).interval) for name in book} == {
        "a": (40, "step"), "b": (12, "step"), "c": (10, "epoch")
    }  # fmt: skip
    assert book["c"](0) == 7


def test_a_file_may_be_one_entry(file: Any) -> None:
    assert list(file("kind: cosine\nT_max: 5\n")) == ["p"]


def test_anchors_and_merges_are_plain_yaml(file: Any) -> None:
    book = file("schedules:\n  a: &a {kind: step, step_size: 3}\n  b: {<<: *a, gamma: 0.5}\n  c: *a\n")
    agree(book["b"](np.arange(4)), [0.1, 0.1, 0.1, 0.05])
    assert book["a"] == book["c"]


# Overrides.


@pytest.mark.parametrize(
    ("assignment", "tick", "rate"),
    [
        ("s.gamma=0.25", 3, 0.025),
        ("s.gamma=1e-1", 3, 0.01),
        ("s.lr=1", 0, 1),
        ("s.step_size=1", 1, 0.05),
        ("s.step_size=2ep", 2, 0.05),
        ("s.warmup=4", 1, 0.025),
        ("s.warmup={for: 4, start_factor: 0.5}", 0, 0.05),
        ("s.warmup.for=4", 2, 0.05),
        ("s.swa={start: 2, swa_lr: 0.3, anneal_epochs: 2, anneal_strategy: linear}", 3, 0.2),
        ("q.sequence.1.lr=0.5", 9, 0.5),
        ("q.sequence.0.for=9", 8, 0.1),
        ("dotted.name.gamma=0.25", 3, 0.025),
    ],
)
def test_a_value_set_from_outside(file: Any, assignment: str, tick: int, rate: float) -> None:
    """NAME.PARAM=VALUE, the value read as YAML; deeper names reach into operators and parts."""
    text = (
        "schedules:\n  s: {kind: step, step_size: 3, gamma: 0.5}\n  dotted.name: {kind: step, step_size: 3}\n"
        "  q: {sequence: [{kind: constant, for: 3}, {kind: constant, lr: 0.2}]}\n"
    )
    before = file(text)
    after = set_value(before, assignment)
    name = "dotted.name" if assignment.startswith("dotted") else assignment.partition(".")[0]
    assert after[name](tick) == pytest.approx(rate, rel=1e-12)
    assert after[name] != before[name]
    assert before.entries == read_book(Path("p.yaml")).entries, "the book itself stays as it is"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("gamma", "--set must be NAME.PARAM=VALUE, got 'gamma'; p.yaml has stp"),
        ("step.gamma=1",
         "--set must be NAME.PARAM=VALUE, got 'step.gamma=1'; p.yaml has stp (did you mean stp?)"),
        ("stp.gama=1", "p.yaml:1: stp: step has no parameter gama (did you mean gamma?)"),
        ("stp.gamma=x", "p.yaml:1: stp: gamma must be a finite number, got 'x'"),
        ("stp.gamma=[", "--set:1: not valid YAML: did not find expected node content"),
        ("stp.gamma.deep=1", "--set has nothing called deep in 'stp.gamma.deep=1'"),
    ],
)  # fmt: skip
def test_what_a_refused_assignment_says(file: Any, assignment: str, message: str) -> None:
    book = file("schedules: {stp: {kind: step, gamma: 0.5}}")
    assert message_of(lambda: set_value(book, assignment)["stp"]) == message


# The Python API.


def test_the_example_of_the_package() -> None:
    trace = lrs.simulate({"kind": "torch.StepLR", "lr": 0.1, "step_size": 10}, {"epochs": 30})
    agree(trace.lr, [0.1] * 10 + [0.01] * 10 + [0.001] * 10)


def test_a_trace_has_the_promised_arrays() -> None:
    trace = lrs.simulate({"kind": "cosine", "lr": 0.1}, {"epochs": 3, "steps_per_epoch": 4})
    assert (trace.lr.dtype, trace.tick.dtype) == (np.float64, np.int64)
    assert trace.tick.tolist() == list(range(12))
    assert trace.epoch is not None
    assert trace.epoch.dtype == np.int64
    assert trace.epoch.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert trace.momentum is None
    assert trace.groups == {}
    assert (len(trace), trace.interval, trace.kind) == (12, "step", "cosine")
    assert lrs.simulate({"kind": "cosine"}, {"steps": 5}).epoch is None
    cycled = lrs.simulate({"kind": "onecycle", "cycle_momentum": True}, {"steps": 5}).momentum
    assert cycled is not None
    assert cycled.shape == (5,)


@pytest.mark.parametrize(
    ("name", "ours", "real"),
    [
        ("step", {"step_size": 3}, lambda s, o: s.StepLR(o, 3)),
        ("cosine", {"after": "mirror", "T_max": 5}, lambda s, o: s.CosineAnnealingLR(o, 5)),
        ("sgdr", {"T_0": 4}, lambda s, o: s.CosineAnnealingWarmRestarts(o, 4)),
    ],
)
def test_lr_after_is_what_get_last_lr_returns(name: str, ours: dict[str, Any], real: Any) -> None:
    torch = pytest.importorskip("torch")
    trace = lrs.simulate({"kind": name, "lr": 0.1, **ours}, {"epochs": 12})
    stepped = torch_trace(lambda o: real(torch.optim.lr_scheduler, o), 12)
    agree(trace.lr, stepped["lr"])
    agree(trace.lr_after, stepped["after"])
    agree(trace.lr_after_at(np.array([0, 11])), [stepped["after"][0], stepped["after"][11]])


def test_lr_after_is_nan_where_there_is_nothing_after() -> None:
    trace = lrs.simulate({"kind": "cosine", "T_max": 9, "after": "error"}, {"epochs": 10})
    assert np.isfinite(trace.lr).all()
    assert np.isnan(trace.lr_after).tolist() == [False] * 9 + [True]


def test_a_schedule_can_be_built_before_its_run_is_known() -> None:
    """The default length waits for a run; parameters that are given do not."""
    waiting = Cosine(lr=0.1)
    told = "T_max is the rest of the run: simulate the schedule on a run"
    assert message_of(waiting, 0) == told
    agree(lrs.simulate(waiting, {"epochs": 20}).lr, lrs.simulate({"kind": "cosine", "lr": 0.1}, {"epochs": 20}).lr)
    assert Step(lr=1.0, step_size=2, gamma=0.5)(np.array([[0, 1], [2, 4]])).tolist() == [[1, 1], [0.5, 0.25]]
    assert Step(lr=1.0, step_size="10%").resolve  # type: ignore[arg-type]
    assert lrs.simulate(Step(lr=1.0, step_size="10%"), {"epochs": 20}).schedule.step_size == 2  # type: ignore[arg-type, attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        waiting.T_max = 3  # type: ignore[misc]
    assert message_of(lambda: Step(lr=0.1, gamma=0)) == "gamma must be > 0, got 0"


def test_bad_input_raises_the_line_that_the_program_prints() -> None:
    assert issubclass(lrs.SpecError, ValueError)
    assert message_of(lrs.simulate, {"kind": "cosine", "eta_min": -1.0}) == "cosine: eta_min must be >= 0, got -1.0"
    assert message_of(lrs.simulate, {"kind": "cosin"}).startswith("cosin: unknown kind cosin (did you mean cosine?)")
    assert message_of(lrs.simulate, 5) == "spec must be a mapping such as {'kind': 'cosine'} or a schedule, got 5"
    assert message_of(lrs.simulate, {"kind": "cosine"}, {"epoch": 3}) == "run has no key 'epoch' (did you mean epochs?)"


def test_kinds_are_a_mapping() -> None:
    assert set(CANONICAL) < set(lrs.KINDS)
    assert lrs.KINDS["sgdr"] is CANONICAL["cosine-restarts"]
    assert all(lrs.KINDS[alias] is CANONICAL[name] for alias, name in ALIASES.items())
    assert "torch.StepLR" in lrs.KINDS
    assert "cosin" not in lrs.KINDS
    assert len(lrs.KINDS) == len(list(lrs.KINDS))
    with pytest.raises(KeyError):
        lrs.KINDS["torch.NoSuch"]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, lrsched_cli; print(sorted(sys.modules.keys() & {'numpy', 'yaml', 'typer', 'rich', 'torch'}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout == "[]\n"
    assert set(lrs.__all__) <= set(dir(lrs))
    with pytest.raises(AttributeError, match=r"has no attribute 'simluate'"):
        lrs.simluate  # noqa: B018
