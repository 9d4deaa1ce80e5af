"""Which program a file is of, and what hostile files get."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lrsched_cli.book import load, read_book
from lrsched_cli.configs import detect, toml_file
from lrsched_cli.configs.source import Keys
from lrsched_cli.document import load_text
from lrsched_cli.errors import SpecError
from tests.configs.support import FILES, entry, refusal
from tests.support import message_of

SAMPLES = {
    "ds_config.json": "deepspeed",
    "ds_auto.json": "deepspeed",
    "training_args.json": "transformers",
    "recipe.yaml": "transformers",
    "axolotl.yml": "axolotl",
    "llamafactory.yaml": "llamafactory",
    "torchtitan.toml": "torchtitan",
    "torchtitan_2024.toml": "torchtitan",
    "args.yaml": "timm",
    "lightning.yaml": "lightning",
    "nanogpt_config.py": "nanogpt",
    "nanogpt_train.py": "nanogpt",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample_is_told_by_its_keys(name: str) -> None:
    book = read_book(FILES / name)
    assert book.form == SAMPLES[name]
    assert list(book) == [Path(name).stem]


def test_every_sample_is_here() -> None:
    assert {path.name for path in FILES.iterdir() if path.is_file()} == {*SAMPLES, "model_config.json"}
    assert set(SAMPLES.values()) == set(detect.FORMATS)


def test_our_own_files_are_never_taken_for_anothers(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("run: {epochs: 3}\nlr: 0.1\noptimizer: sgd\nschedules: {a: {kind: cosine}}\n")
    assert read_book(path).form == "lrsched"
    path.write_text("schedules: {a: {kind: cosine}}\nnum_train_epochs: 3\nlr_scheduler_type: cosine\n")
    assert "unknown key 'num_train_epochs'" in message_of(read_book, path)
    path.write_text("kind: cosine\nlr: 0.1\n")
    assert read_book(path, "deepspeed").form == "lrsched"
    for text in ("schedule: {a: {kind: cosine}}", "schedulers: {a: {kind: cosine}}", "run: {epochs: 3}", "lr: 1", "{}"):
        path.write_text(text)
        assert "neither" not in message_of(read_book, path)


def test_a_file_that_fits_two_is_asked_about() -> None:
    text = "x.yaml\nnum_train_epochs: 3\nzero_optimization: {stage: 2}\nscheduler: {type: WarmupLR, params: {}}\n"
    assert refusal(text) == (
        "x.yaml: has keys of deepspeed (zero_optimization, scheduler.type) and transformers (num_train_epochs): "
        "say which it is with --as deepspeed|transformers"
    )
    assert entry(text, {"steps": 5, "lr": 0.1}, "deepspeed").spec["kind"] == "deepspeed.WarmupLR"
    assert entry(text, {"steps": 5}, "transformers").spec["kind"] == "transformers.linear"


def test_a_file_of_nobody_is_told_what_was_looked_for() -> None:
    text = refusal("x.yaml\nhello: 1\n")
    assert text.startswith(
        "x.yaml: holds neither schedules: nor the keys of a file that is known (deepspeed: scheduler.type"
    )
    assert all(f"{form}: " in text for form in detect.FORMATS)
    assert text.endswith("--as names one")
    assert "\n" not in text


def test_a_models_config_is_told_apart() -> None:
    assert refusal("model_config.json") == (
        "model_config.json: is a model's config.json, which has no schedule; the training arguments have one: "
        "dump them as JSON, or take the trainer's YAML"
    )


def test_few_keys_of_training_arguments_are_enough_where_nothing_else_fits() -> None:
    assert entry("t.yaml\nlearning_rate: 0.1\nmax_steps: 5\noutput_dir: x\n").spec["kind"] == "transformers.linear"
    assert "neither" in refusal("t.yaml\nlearning_rate: 0.1\nmax_steps: 5\n")


def test_names_of_formats_are_checked() -> None:
    assert message_of(detect.check_name, "deepsped") == (
        "--as must be deepspeed, transformers, axolotl, llamafactory, torchtitan, timm, lightning, nanogpt, "
        "lrsched, got 'deepsped' (did you mean deepspeed?)"
    )


def test_a_complete_file_is_a_book_in_python() -> None:
    book = load(FILES / "ds_config.json")
    assert book.trace("ds_config").clock.total == 500
    assert "add --steps" in message_of(load, FILES / "training_args.json")


def test_json_as_programs_write_it(tmp_path: Path) -> None:
    """Characters beyond 16 bits are two escapes in JSON; a lone half is no text, and a backslash is no escape."""
    assert load_text('{"a": "\\ud83d\\uDE80", "b": "\\\\ud83d\\\\ude80"}', "x.json") == {
        "a": "🚀",
        "b": "\\ud83d\\ude80",
    }
    assert load_text("{a: '\\ud83d x'}", "x.yaml") == {"a": "\\ud83d x"}
    assert "x.json:1:" in message_of(load_text, '{"a": "\\ud83d"}', "x.json")


# Hostile files.

FIT = {
    "deepspeed": {"scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": 9}}, "train_batch_size": 8},
    "transformers": {"lr_scheduler_type": "cosine", "num_train_epochs": 3, "learning_rate": 0.1, "warmup_ratio": 0.1},
    "axolotl": {"base_model": "x", "micro_batch_size": 2, "lr_scheduler": "cosine", "learning_rate": 0.1,
                "num_epochs": 1, "warmup_steps": 3},
    "llamafactory": {"stage": "sft", "finetuning_type": "lora", "learning_rate": 0.1, "lr_scheduler_type": "linear"},
    "torchtitan": {"optimizer": {"lr": 0.1}, "lr_scheduler": {"warmup_steps": 3}, "training": {"steps": 9}},
    "timm": {"sched": "cosine", "epochs": 9, "lr": 0.1, "opt": "sgd", "warmup_epochs": 3, "decay_rate": 0.1},
    "lightning": {"trainer": {"max_epochs": 9, "devices": 1}, "lr_scheduler": {"class_path": "StepLR", "init_args":
                  {"step_size": 3}}, "optimizer": {"class_path": "SGD", "init_args": {"lr": 0.1}}},
    "nanogpt": {"learning_rate": 0.1, "max_iters": 9, "warmup_iters": 3, "lr_decay_iters": 9, "min_lr": 0.01},
}  # fmt: skip
ODD: list[Any] = [None, "", "x", "auto", -1, 0, 1.5, 1e308, 10**30, float("nan"), True, [], [[1]], {}, {"a": {"b": 1}}]


def paths(value: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of a nested mapping, as the keys that lead to it."""
    found = [at] if at else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += paths(inner, (*at, key))
    return found


def replaced(value: Any, at: tuple[str, ...], new: Any) -> Any:
    return {**value, at[0]: replaced(value[at[0]], at[1:], new)} if at else new


@pytest.mark.parametrize("form", FIT)
@pytest.mark.parametrize("options", [{}, {"steps": 9}, {"epochs": 3, "steps_per_epoch": 2, "world_size": 2, "lr": 0.1}])
def test_odd_values_get_one_line_or_rates(form: str, options: dict[str, Any]) -> None:
    """Whatever a key holds, the answer is a trace or a SpecError that names the file."""
    from lrsched_cli.book import Entry
    from lrsched_cli.run import Run
    from lrsched_cli.spec import Place

    assert set(FIT) == set(detect.FORMATS)
    for at in paths(FIT[form]):
        for odd in ODD:
            document = replaced(FIT[form], at, odd)
            try:
                assert detect.told(document, "f") in (form, None, *(["transformers"] if form == "llamafactory" else []))
                reading = detect.read(document, "f", form)
                found = Entry("f", reading.spec, Run(), Place("f", "f"), plan=reading.plan)
                found.overlaid({}, Run.of(options)).trace()
            except SpecError as error:
                text = str(error)
                assert text.startswith(("f: ", "--")), (at, odd, text)
                assert "\n" not in text
                assert len(text) < 400


@pytest.mark.parametrize("name", ["ds.json", "c.yaml", "job.toml", "train.py"])
def test_files_that_are_no_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert message_of(read_book, path) == f"no such file: {path}"
    path.mkdir()
    assert message_of(read_book, path) == f"{path}: is a directory"
    path.rmdir()
    os.mkfifo(path)
    assert message_of(read_book, path) == f"{path}: is not a regular file"
    path.unlink()
    path.write_bytes(b"\x80\x02}q\x00X")
    assert message_of(read_book, path) == f"{path}:1: is not text: byte 0x80 is not UTF-8"
    path.write_bytes(b"a = 1\n\0")
    assert message_of(read_book, path) == f"{path}:2: is not text: it holds NUL bytes"
    path.write_bytes(b"# " + b"x" * (9 << 20))
    assert message_of(read_book, path) == f"{path}: is larger than 8 MB"
    if path.suffix in (".toml", ".py"):
        path.write_bytes(b"# " + b"x" * (300 << 10))
        assert message_of(read_book, path) == f"{path}: is larger than 256 KB"


def test_files_that_grow_when_they_are_read() -> None:
    """A billion laughs, depth, and keys that are written twice."""
    laughs = "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
    for one, two in zip("abcdefghi", "bcdefghij", strict=True):
        laughs += f"{two}: &{two} [*{one},*{one},*{one},*{one},*{one},*{one},*{one},*{one},*{one},*{one}]\n"
    assert "holds more than 200000 values" in refusal("l.yaml\nnum_train_epochs: 3\n" + laughs)
    assert "levels deep" in refusal("d.json\n" + '{"scheduler": ' * 100 + "1" + "}" * 100)
    twice = '{"learning_rate": 1,\n"num_train_epochs": 2,\n"learning_rate": 3}'
    assert refusal("t.json\n" + twice) == "t.json:3: key 'learning_rate' is written twice, first on line 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a" + ".b" * 100_000 + " = 1", "t.toml:1: a key has more than 60 parts"),
        ("\n[" + '"x\\"y" . ' * 20_000 + "z]", "t.toml:2: a key has more than 60 parts"),
        ("a = " + "[" * 5000, "t.toml: is nested more than 60 levels deep"),
        ("a = " + "[" * 70 + "]" * 70, "t.toml: is nested more than 60 levels deep"),
        ("a = " + "9" * 5000, "t.toml: a number has more than 40 digits"),
        ("a = " + "9" * 50, "t.toml: a number has more than 40 digits"),
        ("a = 1\nb = = 2", "t.toml:2: not valid TOML: Invalid value"),
        ("a = 1\na = 2", "t.toml: not valid TOML: Cannot overwrite a value"),
        ("[a]\n[a]\n", "t.toml:2: not valid TOML: Cannot declare ('a',) twice"),
    ],
    ids=["dots", "quoted", "deep", "deeper", "digits", "many digits", "value", "twice", "tables"],
)  # fmt: skip
def test_toml_that_cannot_be_read(text: str, message: str) -> None:
    assert message_of(toml_file.read_toml, text, "t.toml") == message


def test_toml_holds_many_values_and_no_more() -> None:
    assert len(toml_file.read_toml("a = [" + "1," * 100_000 + "]", "t.toml")["a"]) == 100_000
    told = message_of(toml_file.read_toml, "a = [" + "1," * 250_000 + "]", "t.toml")
    assert told == "t.toml: holds more than 200000 values"


def test_toml_keeps_lines_where_it_is_sure_of_them() -> None:
    found = toml_file.read_toml("a = 1\n[b]\n# c\nc = 2 # [d]\n[b.e]\nf = 3\n", "t.toml")
    keys = Keys(found, "t.toml")
    assert (keys.line("a"), keys.line("b"), keys.inner("b").line("c")) == (1, 2, 4)
    assert keys.inner("b").inner("e").line("f") == 6
    text = 'a = """\nb = 1\n"""\nb = 2\n'
    assert Keys(toml_file.read_toml(text, "t.toml"), "t.toml").line("b") is None
    assert toml_file.read_toml("a = 2020-01-01\nb = [07:32:00]\nc = inf", "t.toml") == {
        "a": "2020-01-01",
        "b": ["07:32:00"],
        "c": float("inf"),
    }


def test_null_counts_as_not_there() -> None:
    document = {"lr_scheduler_type": None, "num_train_epochs": None, "max_steps": 4, "learning_rate": None,
                "warmup_steps": None, "lr_scheduler_kwargs": None, "output_dir": "x", "warmup_ratio": 0.1}  # fmt: skip
    found = entry("n.json\n" + json.dumps(document))
    assert found.spec["kind"] == "transformers.linear"
    assert found.spec["num_warmup_steps"] == 1
