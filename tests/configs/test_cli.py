"""Configurations of other programs on the command line."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Result, environment, spawn
from tests.configs.support import FILES
from tests.support import agree

DEEPSPEED = {
    "train_micro_batch_size_per_gpu": 4,
    "scheduler": {
        "type": "WarmupDecayLR",
        "params": {"total_num_steps": 12, "warmup_max_lr": 0.1, "warmup_num_steps": 4, "warmup_type": "linear"},
    },
}


@pytest.fixture
def files(run: Any) -> Any:
    """The program, in a folder with every sample file."""
    for path in FILES.iterdir():
        if path.is_file():
            shutil.copy(path, path.name)
    return run


def rates(result: Result, name: str) -> list[float]:
    assert result.code == 0, result.err
    return [float(row[name]) for row in csv.DictReader(io.StringIO(result.out))]


def test_plot_draws_a_ds_config(files: Any) -> None:
    result = files("plot", "ds_config.json")
    assert (result.code, result.out) == (0, "ds_config.png\n")
    assert Path("ds_config.png").read_bytes().startswith(b"\x89PNG")
    assert result.err.splitlines()[0].startswith("ds_config: peak 0.0003 at step 51")


def test_table_prints_rates_and_says_what_was_assumed(files: Any) -> None:
    result = files("table", "training_args.json", "--dataset-size", "320", "--world-size", "1", "--format", "csv")
    total, warmup = 25, 2  # ceil(2.5 * 10), ceil(25 * 0.06)
    expected = [3e-5 * t / warmup if t < warmup else 3e-5 * (total - t) / (total - warmup) for t in range(total)]
    agree(rates(result, "training_args"), expected)
    notes = [line for line in result.err.splitlines() if line.startswith("note: ")]
    assert notes[0] == "note: 10 steps per epoch: ceil(320 / 16) = 20 batches, ceil(20 / 2) = 10 updates"
    assert notes[-1].startswith("note: warmup_ratio 0.06: ceil(25 * 0.06) = 2 steps of warm-up")
    quiet = files("table", "training_args.json", "--steps", "25", "--format", "csv", "--quiet")
    assert quiet.err == ""
    agree(rates(quiet, "training_args"), expected)


def test_several_files_are_overlaid_with_plans_and_kinds(files: Any) -> None:
    Path("plan.yaml").write_text("schedules: {mine: {kind: linear, lr: 1.0}}")
    result = files("table", "ds_config.json", "axolotl.yml", "plan.yaml", "step", "--steps", "30", "--format", "csv")
    assert result.code == 0, result.err
    assert next(csv.reader(io.StringIO(result.out))) == ["t", "epoch", "ds_config", "axolotl", "mine", "step"]
    assert "note: axolotl: warmup_ratio 0.1: 3 steps of warm-up, rounded down as axolotl does" in result.err


def test_an_entry_may_be_named(files: Any) -> None:
    whole = files("table", "torchtitan.toml", "--format", "csv")
    assert files("table", "torchtitan.toml:torchtitan", "--format", "csv").out == whole.out
    wrong = files("table", "torchtitan.toml:tochtitan")
    assert wrong.message() == "torchtitan.toml: has no entry 'tochtitan' (did you mean torchtitan?)"


def test_parameters_of_its_kind_are_options(files: Any) -> None:
    text = files("table", "ds_config.json", "--help").out
    assert "--warmup-num-steps" in text
    assert "--as" in text
    Path("ds.json").write_text(json.dumps(DEEPSPEED))
    result = files("table", "ds.json", "--warmup-num-steps", "2", "--total-num-steps", "6", "--format", "csv")
    agree(rates(result, "ds"), [0.0, *(0.1 * (k / 2 if k < 2 else (6 - k) / 4) for k in range(5))])
    unknown = files("table", "ds.json", "--warmup-steps", "2")
    assert unknown.message() == "ds has no option --warmup-steps (did you mean --warmup-num-steps?)"


def test_set_changes_it_too(files: Any) -> None:
    Path("ds.json").write_text(json.dumps(DEEPSPEED))
    result = files(
        "table", "ds.json", "--set", "ds.warmup_num_steps=2", "--set", "ds.total_num_steps=6", "--format", "csv"
    )
    agree(rates(result, "ds"), [0.0, *(0.1 * (k / 2 if k < 2 else (6 - k) / 4) for k in range(5))])
    args = files("table", "llamafactory.yaml", "--set", "llamafactory.num_training_steps=8", "--format", "csv")
    assert len(rates(args, "llamafactory")) == 8
    warm = files(
        "table", "nanogpt_config.py", "--set", "nanogpt_config.warmup.for=2", "--steps", "5", "--format", "csv"
    )
    agree(rates(warm, "nanogpt_config")[:2], [1e-3 / 26, 1e-3 / 26 + (1e-3 - 1e-3 / 26) / 2])


def test_as_names_the_format(files: Any) -> None:
    both = {**DEEPSPEED, "num_train_epochs": 3}
    Path("both.json").write_text(json.dumps(both))
    told = files("table", "both.json").message()
    assert told.endswith("say which it is with --as deepspeed|transformers")
    assert len(rates(files("table", "both.json", "--as", "deepspeed", "--format", "csv"), "both")) == 12
    assert len(rates(files("table", "--as=transformers", "both.json", "--steps", "3", "--format", "csv"), "both")) == 3
    own = files("table", "both.json", "--as", "lrsched").message()
    assert own.startswith("both.json:1: unknown key 'train_micro_batch_size_per_gpu'")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "table ds_config.json --as deepsped",
            (
                "--as must be deepspeed, transformers, axolotl, llamafactory, torchtitan, "
                "timm, lightning, nanogpt, lrsched, got 'deepsped' (did you mean deepspeed?)"
            ),
        ),
        ("table step --as deepspeed", "--as says how a file is read: name one"),
        ("table plan.yaml --as deepspeed", "--as says how a file is read, and plan.yaml is lrsched's own"),
        ("table ds_config.json --as", "Option '--as' requires an argument."),
        ("table nosuch.toml", "no such file: nosuch.toml"),
        ("table nosuch.py", "no such file: nosuch.py"),
        (
            "table ds_config.json --interval epoch",
            "ds_config.json: --interval is epoch, but DeepSpeed steps its scheduler at every optimizer step",
        ),
        (
            "table training_args.json",
            (
                "training_args.json: does not say how many steps training has: add --steps, or "
                "--steps-per-epoch, or --dataset-size"
            ),
        ),
        (
            "plot model_config.json",
            (
                "model_config.json: is a model's config.json, which has no schedule; the training "
                "arguments have one: dump them as JSON, or take the trainer's YAML"
            ),
        ),
    ],
)
def test_a_mistake_gets_one_line(files: Any, line: str, message: str) -> None:
    Path("plan.yaml").write_text("schedules: {a: {kind: cosine}}")
    assert files(*line.split(" ")).message() == message


def test_a_plan_beside_it_is_still_a_plan_with_as(files: Any) -> None:
    Path("plan.yaml").write_text("schedules: {mine: {kind: linear, lr: 1.0}}")
    result = files("table", "plan.yaml", "ds_config.json", "--as", "deepspeed", "--steps", "5", "--format", "csv")
    assert next(csv.reader(io.StringIO(result.out))) == ["t", "epoch", "mine", "ds_config"]


def test_standard_input_is_read_too(files: Any) -> None:
    text = json.dumps(DEEPSPEED)
    assert len(rates(files("table", "-", "--format", "csv", stdin=text), "schedule")) == 12
    toml = Path("torchtitan.toml").read_text()
    piped = files("table", "-", "--as", "torchtitan", "--format", "csv", stdin=toml)
    assert rates(piped, "schedule") == rates(files("table", "torchtitan.toml", "--format", "csv"), "torchtitan")
    script = Path("nanogpt_config.py").read_text()
    assert len(rates(files("table", "-", "--as", "nanogpt", "--format", "csv", stdin=script), "schedule")) == 301
    assert files("table", "-", "--as", "nanogpt", stdin="a = (").message() == (
        "<stdin>:1: not valid Python: '(' was never closed"
    )


def test_a_switch_of_another_library_takes_no_value(files: Any) -> None:
    """Which words are targets is known before the kinds of the targets are."""
    result = files("table", "--warmup-prefix", "args.yaml", "--lr", "0.1", "--format", "csv")
    assert len(rates(result, "args")) == 50
    Path("rt.json").write_text('{"scheduler": {"type": "LRRangeTest", "params": {"lr_range_test_step_size": 2}}}')
    stairs = files("table", "--lr-range-test-staircase", "rt.json", "--steps", "4", "--format", "csv")
    agree(rates(stairs, "rt"), [1e-3, 1e-3, 2e-3, 2e-3])


def test_the_json_says_the_run(files: Any) -> None:
    result = files("table", "ds_config.json", "--format", "json")
    document = json.loads(result.out)
    assert document["run"]["steps"] == 500
    assert document["run"]["world_size"] == 8
    assert document["schedules"][0]["kind"] == "deepspeed.WarmupDecayLR"


def test_the_program_itself_reads_one(tmp_path: Path) -> None:
    """In a process of its own, with warnings as errors."""
    shutil.copy(FILES / "nanogpt_train.py", tmp_path / "train.py")
    result = spawn("table", "train.py", "--at", "0,10,60", "--format", "csv", cwd=tmp_path)
    assert result.code == 0, result.err
    assert [row["t"] for row in csv.DictReader(io.StringIO(result.out))] == ["0", "10", "60"]


LOADED = """
import sys
from lrsched_cli.cli.app import _guarded
assert _guarded(sys.argv[1:], False) == 0
print("\\n" + " ".join(name for name in sys.modules if name.startswith("lrsched_cli.") or name in ("tomllib", "yaml")))
"""


def loaded(folder: Path, *args: str) -> set[str]:
    """The modules of ours in memory after a run, and the parsers of files."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *args],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_only_what_a_file_needs_is_loaded(tmp_path: Path) -> None:
    for name in ("ds_config.json", "torchtitan.toml"):
        shutil.copy(FILES / name, tmp_path / name)
    (tmp_path / "plan.yaml").write_text("schedules: {a: {kind: step}}")
    assert not any(name.startswith("lrsched_cli.configs") for name in loaded(tmp_path, "table", "plan.yaml"))
    ours = loaded(tmp_path, "table", "ds_config.json", "--as", "deepspeed", "--steps", "5", "--quiet")
    formats = {name.rpartition(".")[2] for name in ours if name.startswith("lrsched_cli.configs.")}
    assert formats == {"detect", "source", "deepspeed"}
    assert not ours & {"tomllib", "lrsched_cli.dialects.timm", "lrsched_cli.dialects.transformers"}
    toml = loaded(tmp_path, "table", "torchtitan.toml")
    assert "tomllib" in toml
    assert "lrsched_cli.dialects.torch" not in toml
