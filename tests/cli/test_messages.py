"""What a user's mistakes get: one line, exit code 2, nothing printed, nothing written, never a traceback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lrsched_cli.cli import app as program

PLAN = """\
schedules:
  warm: {kind: cosine, warmup: 5ep}
  wave: {kind: sgdr}
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # Verbs and options.
        ("tabel step", "unknown verb tabel (did you mean table?); lrsched --help shows them all"),
        ("frobnicate", "unknown verb frobnicate; lrsched --help shows them all"),
        ("--nosuch", "No such option: --nosuch"),
        ("table step --gama 0.5", "step has no option --gama (did you mean --gamma?)"),
        ("table step --gama=0.5", "step has no option --gama (did you mean --gamma?)"),
        ("table step --milestones 3", "step has no option --milestones; multistep has it"),
        ("table step --t-max 3", "step has no option --t-max; cosine has it"),
        ("table step cosine --milestones 3", "step, cosine has no option --milestones; multistep has it"),
        ("plot step --every 3", "step has no option --every; exponential, inverse-time, range-test have it"),
        ("table step --gamma", "Option '--gamma' requires an argument."),
        ("table step -x", "No such option: -x"),
        # Targets.
        ("table stpe", "unknown kind stpe (did you mean step?); lrsched list all shows every one"),
        ("table zzz", "unknown kind zzz; lrsched list all shows every one"),
        ("table torch.StepLr",
         "unknown kind torch.StepLr (did you mean torch.StepLR?); lrsched list all shows every one"),
        ("table nosuch.yaml", "no such file: nosuch.yaml"),
        ("table nosuch.yaml:warm", "no such file: nosuch.yaml"),
        ("table", "name a kind or a file, or run it where there is a schedules.yaml; lrsched list shows the kinds"),
        ("plot", "name a kind or a file, or run it where there is a schedules.yaml; lrsched list shows the kinds"),
        ("table p.yaml:wram", "p.yaml: has no entry 'wram' (did you mean warm?)"),
        ("table p.yaml:", "p.yaml: has no entry ''"),
        ("show stpe", "unknown kind stpe (did you mean step?); lrsched list all shows every one"),
        ("show", "Missing argument 'kind'."),
        (
            "table cosine --min-lr 1e-5",
            "cosine has no option --min-lr (did you mean --eta-min?); plateau, greedy have it",
        ),
        (
            "list torhc",
            (
                "unknown library torhc (did you mean torch?); known are canonical, torch, transformers, timm, optax, "
                "keras, deepspeed, composer, fairseq, megatron, torchtitan, ignite, pytorch_optimizer, "
                "pytorch_warmup, d2l, lrsched, all"
            ),
        ),
        ("list --format xml", "--format must be table or json, got 'xml'"),
        # Values.
        ("table step --gamma -1", "step: gamma must be > 0, got -1"),
        ("table step --gamma abc", "step: gamma must be a finite number, got 'abc'"),
        ("table step --gamma nan", "step: gamma must be a finite number, got nan"),
        ("table step --gamma 1e999", "step: gamma must be a finite number, got inf"),
        ("table step --gamma=", "step: gamma must be a finite number, got ''"),
        ("table step --step-size 0", "step: step_size must be >= 1, got 0"),
        ("table step --step-size 2.5",
         "step: step_size must be a whole number of ticks or a duration like 5ep, 500st or 10%, got 2.5"),
        ("table step --step-size 5e",
         "step: step_size must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got '5e'"),
        ("table step --lr 0", "lr must be a finite number > 0, got 0"),
        ("table step --lr 5%", "lr must be a finite number > 0, got '5%'"),
        ("table step --warmup -1", "step: warmup must be >= 0, got -1"),
        ("table step --repeat 0", "step: repeat must be >= 1, got 0"),
        ("table step --groups a", "--groups must be NAME=SCALE,..., got 'a'"),
        ("table step --groups a=0", "step: groups.a must be a finite number > 0, got 0"),
        ("table cosine --eta-min 1", "cosine: eta_min must be <= lr 0.1, got 1"),
        ("table cosine --after never",
         "cosine: after must be hold, mirror, end, restart, extrapolate or error, got 'never'"),
        ("table multistep --milestones 30,20", "multistep: milestones must increase, got 20 after 30"),
        ("table multistep --milestones 30,x",
         "multistep: milestones must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got 'x'"),
        ("table piecewise --points 0:1,5", "piecewise: points must be a list of [tick, value] pairs, got [5]"),
        ("table plateau --metrics 1,2,x", "metrics must be numbers with commas between them, got 'x'"),
        ("table plateau --metrics nofile.csv:loss", "no such file: nofile.csv"),
        ("table expression --expr exit()", "expression: expr must be arithmetic on t, pi, lr, total, got 'exit()'"),
        ("table p.yaml --set warm.eta_min=1", "p.yaml:2: warm: eta_min must be <= lr 0.1, got 1"),
        ("table p.yaml --set warm.swa=0", "p.yaml:2: warm: swa must be >= 1, got 0"),
        ("table p.yaml --set warm.swaa=75%", "p.yaml:2: warm: cosine has no parameter swaa (did you mean swa?)"),
        ("table p.yaml --set warm.swa.start=75% --set warm.swa.swalr=1",
         "p.yaml:2: warm: swa has no parameter swalr (did you mean swa_lr?)"),
        ("table p.yaml --set warm.swa.swa_lr=0.05", "p.yaml:2: warm: swa needs start"),
        ("table step --set a.b=1", "--set changes entries of a file, and no file is named"),
        # The run.
        ("table step --epochs 0", "epochs must be a whole number >= 1, got 0"),
        ("table step --epochs -3", "epochs must be a whole number >= 1, got -3"),
        ("table step --epochs 1.5", "epochs must be a whole number >= 1, got 1.5"),
        ("table step --epochs ten", "epochs must be a whole number >= 1, got 'ten'"),
        ("table step --epochs 1e99", "epochs must be <= 1e+15, got 1e+99"),
        ("table step --epochs 10 --steps 7", "step: steps 7 is not a whole number of steps in each of 10 epochs"),
        ("table step --interval week", "interval must be step or epoch, got 'week'"),
        ("table step --interval step", "step: interval step needs steps, or steps_per_epoch beside epochs"),
        ("table step --dataset-size 3 --batch-size 4 --drop-last",
         "step: dataset_size 3 with drop_last leaves no full batch of 4 on 1 processes"),
        # Selections and formats.
        ("table step --at 100", "--at must be a tick from 0 to 99, got 100"),
        ("table step --at -1", "--at must be a tick from 0 to 99, got -1"),
        ("table step --at x", "--at must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got 'x'"),
        ("table step --from 9 --to 3", "--to must be >= --from 9, got 3"),
        ("table step --every 0", "--every must be >= 1, got 0"),
        ("table step --every 1.5", "--every must be a whole number of ticks or a duration like 5ep, got '1.5'"),
        ("table step --every 0 --format json", "--every must be >= 1, got 0"),
        ("table step --when before", "--when must be used or after, got 'before'"),
        ("table step --format jsno",
         "--format must be table, csv, json, jsonl, markdown, got 'jsno' (did you mean json?)"),
        # Pictures.
        ("plot step -o x.gif", "--output must be a png, svg or pdf file, got 'x.gif'"),
        ("plot step --format gif", "--format must be png, svg or pdf, got 'gif'"),
        ("plot step --format png -o x.svg", "--format is png, but x.svg ends in svg"),
        ("plot step --terminal -o x.png", "--terminal draws no file: leave out --output and --format"),
        ("plot step --width 1", "--width must be from 2 to 100, got 1.0"),
        ("plot step --dpi 5000", "--dpi must be from 20 to 1200, got 5000"),
        ("plot step --x weeks", "--x must be step, epoch, fraction or tokens, got 'weeks'"),
        ("plot step -o nosuch/x.png", "cannot write nosuch/x.png: No such file or directory"),
        ("table step -o nosuch/x.csv", "cannot write nosuch/x.csv: No such file or directory"),
        ("init -o nosuch/x.yaml", "cannot write nosuch/x.yaml: No such file or directory"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line(run: Any, line: str, message: str) -> None:
    Path("p.yaml").write_text(PLAN)
    assert run(*line.split(" ")).message() == message
    assert [path.name for path in Path().iterdir()] == ["p.yaml"], "nothing is written"


def test_a_bare_name_is_looked_for_among_the_entries_too(run: Any) -> None:
    Path("schedules.yaml").write_text(PLAN)
    told = "no kind and no entry of schedules.yaml is called wram (did you mean warm?)"
    assert run("table", "wram").message() == told


def test_a_broken_plan_is_told_with_its_line(run: Any) -> None:
    Path("schedules.yaml").write_text(PLAN + "  bad:\n    kind: cosine\n    eta_min: -1\n")
    assert run("table").message() == "schedules.yaml:6: bad: eta_min must be >= 0, got -1"
    assert run("plot", "bad").message() == "schedules.yaml:6: bad: eta_min must be >= 0, got -1"
    bad = "schedules: {a: {kind: cosin}}"
    told = "<stdin>:1: a: unknown kind cosin (did you mean cosine?); lrsched list all shows every one"
    assert run("table", "-", stdin=bad).message() == told
    assert run("table", "-", stdin="").message() == "<stdin>: is empty"


def test_a_file_that_cannot_be_written_is_told_and_nothing_is_left(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which one may not write, and a disk that fills while the file is written."""

    def refuse(path: Any, flags: int, *rest: Any) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert run("plot", "step", "--epochs", "3").message() == "cannot write step.png: Permission denied"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert run("init").message() == "cannot write schedules.yaml: No space left on device"
    assert list(Path().iterdir()) == []
    Path("there").mkdir()
    assert run("table", "step", "-o", "there").message() == "cannot write there: Is a directory"


def test_a_file_that_was_there_is_kept_where_the_new_one_fails(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("step.csv").write_text("old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert run("table", "step", "-o", "step.csv").code == 2
    assert Path("step.csv").read_text() == "old"
    assert len(list(Path().iterdir())) == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "too large to handle (MemoryError)"),
        (RecursionError(), 2, "too large to handle (RecursionError)"),
        (OSError(5, "Input/output error", "x.csv"), 2, "x.csv: Input/output error"),
        (ZeroDivisionError("oops\nagain"), 70,
         "internal error, please report it: ZeroDivisionError: oops again (--debug shows where)"),
    ],
)  # fmt: skip
def test_whatever_happens_is_one_line(
    run: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(program, "app", fail)
    assert run("table", "step") == (code, "", f"lrsched: {line}\n")


def test_debug_shows_where(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """--debug anywhere on the line gives a traceback, and the exit code stays."""
    assert program._guarded(["table", "step", "--gamma", "-1"], True) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("lrsched: step: gamma must be > 0, got -1\n")
