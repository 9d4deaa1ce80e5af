"""``lrsched export``: its options, its files, its exit codes and what it says."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lrsched_cli.cli.export import TARGETS
from tests.cli.conftest import PROGRAM, environment, spawn
from tests.export.support import defined

PLAN = """\
run: {epochs: 10}
lr: 0.5
schedules:
  halves: {kind: step, step_size: 5, gamma: 0.5}
  warm: {kind: cosine, warmup: 2}
  "a \\"b\\"\\nimport os": {kind: linear}
"""
KNOWN = "torch, lightning, transformers, timm, optax, keras, deepspeed, composer, python, numpy, csv, json"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def test_code_goes_to_stdout_and_nothing_else(run: Any) -> None:
    result = run("export", "cosine", "--to", "torch", "--epochs", "90")
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith("    return CosineAnnealingLR(optimizer, T_max=90)\n")
    assert "# Plan: cosine: {kind: cosine}, at lr 0.1\n# Run: 90 epochs.\n" in result.out


@pytest.mark.parametrize("to", TARGETS)
def test_every_target(run: Any, to: str) -> None:
    result = run("export", "cosine", "--to", to, "--steps", "90", "--warmup", "9")
    assert result.code == 0
    assert result.out
    if to not in ("csv", "json"):
        compile(result.out, to, "exec")
    assert run("export", "cosine", "--to", to, "--steps", "90", "--warmup", "9").out == result.out


def test_an_entry_of_a_file(run: Any, plan: Path) -> None:
    result = run("export", "plan.yaml:halves", "--to", "python")
    assert "# Plan: plan.yaml:halves: {kind: step, step_size: 5, gamma: 0.5}, at lr 0.5\n" in result.out
    assert [defined(result.out)["learning_rate"](t) for t in (0, 4, 5)] == [0.5, 0.5, 0.25]
    result = run("export", "plan.yaml:halves", "--to", "python", "--set", "halves.gamma=0.1", "--lr", "1")
    assert "{kind: step, step_size: 5, gamma: 0.1}, at lr 1\n" in result.out
    assert defined(result.out)["learning_rate"](5) == 0.1


def test_a_name_that_is_code(run: Any, plan: Path) -> None:
    result = run("export", 'plan.yaml:a "b"\nimport os', "--to", "python")
    assert result.code == 0
    assert '# Plan: "plan.yaml:a \\"b\\"\\nimport os": {kind: linear}, at lr 0.5\n' in result.out
    assert "os" not in defined(result.out)


def test_options_are_refused_in_a_line(run: Any, plan: Path) -> None:
    assert run("export", "cosine").message() == f"--to say what for: one of {KNOWN}"
    assert run("export", "cosine", "--to", "pytorch").message() == (
        f"--to must be one of {KNOWN}, got 'pytorch' (did you mean torch?)"
    )
    assert run("export", "plan.yaml", "--to", "torch").message() == (
        'one schedule at a time, got halves, warm, a "b" import os: name one as FILE:ENTRY'
    )
    assert run("export", "cosine", "--to", "torch", "--nearest").message() == (
        "--nearest is for transformers, timm, deepspeed, composer: torch is always exact"
    )
    assert run("export", "cyclic", "--to", "timm", "--nearest").message() == (
        "--nearest cyclic: no scheduler of timm has the shape of this plan"
    )
    assert "did you mean cosine?" in run("export", "cosin", "--to", "torch").message()
    assert "--every" in run("export", "cosine", "--to", "csv", "--every", "3").message()


def test_a_plan_in_epochs_is_refused_where_steps_are_counted(run: Any) -> None:
    for to in ("transformers", "optax", "keras", "deepspeed"):
        assert run("export", "cosine", "--to", to, "--epochs", "9").message() == (
            "cosine counts epochs, and this library counts steps: add --steps-per-epoch N, "
            "or --steps N for a plan in steps"
        )
        assert run("export", "cosine", "--to", to, "--epochs", "9", "--steps-per-epoch", "3").code == 0


# Tables.


def test_several_schedules_as_data(run: Any, plan: Path) -> None:
    result = run("export", "plan.yaml:halves", "plan.yaml:warm", "--to", "csv")
    head, *rows = csv.reader(io.StringIO(result.out))
    assert head == ["t", "epoch", "halves", "warm"]
    assert [float(row[2]) for row in rows] == [0.5] * 5 + [0.25] * 5
    assert run("table", "plan.yaml:halves", "plan.yaml:warm", "--format", "csv").out == result.out
    result = run("export", "plan.yaml:halves", "--to", "json")
    assert json.loads(result.out)["schedules"][0]["lr"] == [0.5] * 5 + [0.25] * 5


def test_data_in_a_file(run: Any, plan: Path, tmp_path: Path) -> None:
    result = run("export", "plan.yaml:halves", "--to", "csv", "-o", "rates.csv", "-q")
    assert (result.code, result.out, result.err) == (0, "rates.csv\n", "")
    assert (tmp_path / "rates.csv").read_text().startswith("t,epoch,halves\n0,0,0.5\n")


# Files.


def test_a_file_is_written_whole_and_its_name_printed(run: Any, tmp_path: Path) -> None:
    for name in ("scheduler.py", "été und so.py", "-o.py"):
        result = run("export", "cosine", "--to", "torch", "-o", f"./{name}")
        assert (result.code, result.out) == (0, f"{name}\n")
        assert (tmp_path / name).read_text().startswith("# A scheduler for torch.optim")
    assert not list(tmp_path.glob(".lrsched*"))
    assert run("export", "cosine", "--to", "torch", "-o", "-").out.startswith("# A scheduler")


def test_a_file_that_cannot_be_written_is_refused(run: Any, tmp_path: Path) -> None:
    told = run("export", "cosine", "--to", "torch", "-o", "no/such.py").message()
    assert told == "cannot write no/such.py: No such file or directory"
    (tmp_path / "folder.py").mkdir()
    told = run("export", "cosine", "--to", "torch", "-o", "folder.py").message()
    assert told == "cannot write folder.py: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_refused(run: Any, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    told = run("export", "cosine", "--to", "torch", "-o", "locked/x.py").message()
    assert told == "cannot write locked/x.py: Permission denied"


def test_nothing_is_written_where_the_plan_is_refused(run: Any, tmp_path: Path) -> None:
    (tmp_path / "kept.py").write_text("mine")
    assert run("export", "greedy", "--to", "python", "-o", "kept.py").code == 2
    assert (tmp_path / "kept.py").read_text() == "mine"


# What is said beside it.


def test_notes_are_on_stderr_and_quiet_leaves_them_out(run: Any) -> None:
    args = ("export", "cosine", "--to", "deepspeed", "--steps", "100", "--warmup", "10", "--nearest")
    result = run(*args)
    assert json.loads(result.out)["scheduler"]["type"] == "WarmupCosineLR"
    assert result.err == (
        "note: A ds_config.json, written by lrsched. Plan: cosine: {kind: cosine, warmup: 10}, at lr 0.1 "
        "Run: 100 steps. NOT EXACT: off by up to 10% of the peak, at tick 1.\n"
        "note: no scheduler of DeepSpeed is this plan; the nearest, WarmupCosineLR, is off by up to 10% of the peak, "
        "at tick 1\n"
    )
    quiet = run(*args, "-q")
    assert (quiet.out, quiet.err) == (result.out, "")


def test_how_steps_were_counted_is_said(run: Any) -> None:
    result = run("export", "cosine", "--to", "torch", "--epochs", "3", "--dataset-size", "100", "--batch-size", "32")
    assert result.err == (
        "note: 4 steps per epoch: ceil(100 / 32) = 4 batches\nnote: an epoch's last batch has 4 of 32 samples\n"
    )


def test_what_a_kind_notes_is_said(run: Any) -> None:
    result = run("export", "torch.OneCycleLR", "--max-lr", "0.1", "--total-steps", "9", "--to", "torch")
    assert "note: cycle_momentum is on" in result.err


# As a program.


def test_a_reader_may_have_enough(tmp_path: Path) -> None:
    for to in ("csv", "torch"):
        words = [*PROGRAM, "export", "cosine", "--to", to, "--steps", "300000"]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment()
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline()
            process.stdout.close()
            err = process.stderr.read().decode()
        assert process.returncode == 0
        assert "Traceback" not in err
        assert "rror" not in err


def test_neither_torch_nor_any_library_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from lrsched_cli.cli.app import _guarded\n"
        "for to in sys.argv[1:]:\n"
        "    assert _guarded(['export', 'cosine', '--to', to, '--steps', '9', '-o', 'x', '-q'], True) == 0\n"
        "heavy = {'torch', 'transformers', 'timm', 'jax', 'optax', 'keras', 'matplotlib', 'scipy', 'ruff'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, *TARGETS],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_an_ascii_terminal_gets_code_that_runs(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("{kind: rex, clamp: {min_lr: 0.01}, groups: {été: 1, 頭: 0.5}}")
    result = spawn(
        "export", "plan.yaml", "--to", "python", cwd=tmp_path, env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    )
    assert result.code == 0
    names = [name for name in defined(result.out) if name[0] != "_"]
    assert names == ["learning_rate__t_", "learning_rate__"]
