"""What the verbs print: targets, options, selections and formats."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from lrsched_cli.document import load_file, load_text
from lrsched_cli.kinds import KINDS
from lrsched_cli.schedules import CANONICAL
from lrsched_cli.schedules.parameters import REQUIRED, Derived, FromRun, default_of, params_of
from tests.cli.conftest import ROOT, Result

PLAN = """\
run: {epochs: 10}
lr: 0.5
schedules:
  halves: {kind: step, step_size: 5, gamma: 0.5}
  falls: {kind: linear}
"""


def columns(result: Result) -> dict[str, list[float | None]]:
    """A CSV as its columns, by header; None where a cell is empty."""
    assert result.code == 0, result.err
    head, *rows = csv.reader(io.StringIO(result.out))
    return {
        h: [float(c) if c else None for c in column] for h, column in zip(head, zip(*rows, strict=True), strict=True)
    }


def rates(result: Result, name: str) -> np.ndarray:
    return np.array(columns(result)[name], dtype=float)


# The two commands of the design card.


def test_plot_writes_a_picture_and_says_which(run: Any) -> None:
    result = run("plot", "cosine", "--epochs", "100")
    assert (result.code, result.out) == (0, "cosine.png\n")
    assert result.err == "cosine: peak 0.1 at epoch 0, ends at 2.467e-05 (epoch 99), mean 0.0505\n"
    assert Path("cosine.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in Path().iterdir()] == ["cosine.png"]


def test_table_prints_every_epoch(run: Any) -> None:
    result = run("table", "step", "--gamma", "0.5")
    lines = result.out.splitlines()
    assert lines[0].split() == ["epoch", "lr", "used", "lr", "after"]
    assert len(lines) == 101
    assert lines[30].split() == ["29", "0.1", "0.05"]
    assert lines[31].split() == ["30", "0.05", "0.05"]
    assert lines[100].split() == ["99", "0.0125", "0.0125"]


# Options.


def test_every_parameter_is_an_option_of_its_kind(run: Any) -> None:
    """Whatever the YAML takes: ticks, durations, numbers, lists, on and off."""
    cases = {
        ("multistep", "--milestones", "3,6", "--gamma", "1e-1"): [0.1] * 3 + [0.01] * 3 + [0.001] * 4,
        ("step", "--step-size", "50%", "--gamma", "0.5"): [0.1] * 5 + [0.05] * 5,
        ("step", "--step-size=5ep", "--gamma=.5", "--lr=1"): [1.0] * 5 + [0.5] * 5,
        ("exponential", "--staircase", "--every", "5", "--gamma", "0.5"): [0.1] * 5 + [0.05] * 5,
        ("exponential", "--no-staircase", "--gamma", "1.0"): [0.1] * 10,
        ("piecewise", "--points", "0:0.5,5:0.25", "--interpolate", "constant"): [0.5] * 5 + [0.25] * 5,
        ("expression", "--expr", "t if t < 5 else 5"): [0, 1, 2, 3, 4, 5, 5, 5, 5, 5],
        ("plateau", "--metrics", "1,1,1", "--patience", "0"): [0.1, 0.1, 0.01] + [0.001] * 7,
        ("linear", "--warmup", "5", "--end-factor", "1"): [0, 0.02, 0.04, 0.06, 0.08] + [0.1] * 5,
        ("linear", "--repeat", "5"): [0.1, 0.08, 0.06, 0.04, 0.02] * 2,
        ("cosine", "--t-max", "1", "--after", "mirror"): [0.1, 0] * 5,
        ("wsd", "--warmup", "5", "--decay", "5"): [0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.08, 0.06, 0.04, 0.02],
    }
    for (kind, *options), expected in cases.items():
        found = rates(run("table", kind, *options, "--epochs", "10", "--format", "csv"), kind)
        np.testing.assert_allclose(found, expected, atol=1e-12, err_msg=str(options))


def test_options_are_the_union_of_the_kinds_parameters(run: Any) -> None:
    """Each goes to every kind that has it, and to no other."""
    result = run("table", "cosine", "step", "polynomial", "--eta-min", "0.01", "--gamma", "0.5", "--epochs", "11",
                 "--step-size", "5", "--t-max", "10", "--format", "csv")  # fmt: skip
    found = columns(result)
    assert list(found) == ["t", "epoch", "cosine", "step", "polynomial"]
    np.testing.assert_allclose(found["step"], [0.1] * 5 + [0.05] * 5 + [0.025])
    assert found["cosine"][-1] == pytest.approx(0.01)
    np.testing.assert_allclose(found["polynomial"], 0.01 + 0.09 * (1 - np.arange(11) / 11))


def test_every_is_the_kinds_where_the_kind_has_it(run: Any) -> None:
    """A verb's option never takes a parameter's name: exponential owns --every, and the table's is --stride there."""
    own = run("table", "exponential", "--gamma", "0.5", "--every", "2", "--epochs", "4", "--format", "csv")
    np.testing.assert_allclose(rates(own, "exponential"), 0.1 * 0.5 ** (np.arange(4) / 2))
    both = run("table", "exponential", "--gamma", "0.5", "--every", "2", "--stride", "3", "--epochs", "9",
               "--format", "csv")  # fmt: skip
    assert columns(both)["t"] == [0, 3, 6]
    np.testing.assert_allclose(rates(both, "exponential"), 0.1 * 0.5 ** (np.arange(0, 9, 3) / 2))
    assert columns(run("table", "step", "--every", "40", "--format", "csv"))["t"] == [0, 40, 80]
    assert columns(run("table", "step", "--stride", "40", "--format", "csv"))["t"] == [0, 40, 80]


@pytest.mark.parametrize("name", CANONICAL)
def test_help_of_a_kind_lists_its_parameters(run: Any, name: str) -> None:
    """Every option with its help, bounds and default; the formula; the source."""
    result = run("table", name, "--help")
    assert result.code == 0
    text = " ".join(result.out.replace("│", " ").split())
    kind = CANONICAL[name]
    assert f"rate(t) = {kind.formula}" in text
    assert kind.source.split("\n")[0] in text
    for parameter, described in params_of(kind).items():
        flag = "--" + parameter.lower().replace("_", "-")
        assert f" {flag} " in text or f" {flag}/" in text or f" {flag}," in text, flag
        if parameter == "lr":
            continue
        assert described.help in text, parameter
        if described.bounds:
            assert f"{described.help} Must be {described.bounds}." in text
        default = default_of(kind, parameter)
        if isinstance(default, FromRun | Derived | int | float) and not isinstance(default, bool):
            assert f"[default: ({default})]" in text, parameter
        assert default is not REQUIRED
    for option in ("--epochs", "--steps", "--steps-per-epoch", "--interval", "--dataset-size", "--batch-size",
                   "--grad-accumulation", "--world-size", "--drop-last", "--lr"):  # fmt: skip
        assert f" {option} " in text


# Targets.


def test_targets_are_files_entries_bare_names_and_stdin(run: Any) -> None:
    Path("p.yaml").write_text(PLAN)
    Path("schedules.yaml").write_text(PLAN.replace("0.5\n", "0.25\n"))
    half, fall = [0.5] * 5 + [0.25] * 5, 0.5 * (1 - np.arange(10) / 10)
    whole = columns(run("table", "p.yaml", "--format", "csv"))
    assert list(whole) == ["t", "epoch", "halves", "falls"]
    np.testing.assert_allclose(whole["halves"], half)
    np.testing.assert_allclose(whole["falls"], fall)
    np.testing.assert_allclose(rates(run("table", "p.yaml:falls", "--format", "csv"), "falls"), fall)
    np.testing.assert_allclose(rates(run("table", "falls", "--format", "csv"), "falls"), fall / 2)
    assert list(columns(run("table", "--format", "csv"))) == ["t", "epoch", "halves", "falls"]
    np.testing.assert_allclose(rates(run("table", "-", "--format", "csv", stdin=PLAN), "falls"), fall)
    np.testing.assert_allclose(rates(run("table", "--format", "csv", "--", "-:halves", stdin=PLAN), "halves"), half)
    both = columns(run("table", "p.yaml:falls", "schedules.yaml:falls", "cosine", "--format", "csv"))
    assert list(both) == ["t", "epoch", "p.yaml:falls", "schedules.yaml:falls", "cosine"]
    assert columns(run("table", "step", "step", "--format", "csv")).keys() == {"t", "epoch", "step", "step (2)"}


def test_a_kind_beats_an_entry_of_its_name(run: Any) -> None:
    Path("schedules.yaml").write_text("lr: 0.5\nschedules: {constant: {kind: linear}}")
    assert set(rates(run("table", "constant", "--format", "csv"), "constant")) == {0.1}
    assert rates(run("table", "schedules.yaml:constant", "--format", "csv"), "constant")[-1] < 0.1


def test_options_lie_over_a_file(run: Any) -> None:
    Path("p.yaml").write_text(PLAN + "  own: {kind: linear, lr: 3, run: {epochs: 7}}\n")
    result = run("table", "p.yaml", "--epochs", "4", "--lr", "2", "--gamma", "0.25", "--step-size", "2",
                 "--format", "csv")  # fmt: skip
    found = columns(result)
    np.testing.assert_allclose(found["halves"], [2, 2, 0.5, 0.5])
    np.testing.assert_allclose(found["own"], [2, 1.5, 1, 0.5])
    found = columns(run("table", "p.yaml", "--set", "falls.lr=1", "--set", "own.run.epochs=2", "--format", "csv"))
    assert found["falls"][0] == 1
    assert found["own"] == [3, 1.5] + [None] * 8


def test_the_run_says_what_a_tick_is(run: Any) -> None:
    steps = columns(run("table", "linear", "--epochs", "2", "--steps-per-epoch", "3", "--format", "csv"))
    assert (steps["t"], steps["epoch"]) == ([0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1])
    assert columns(run("table", "linear", "--steps", "2", "--format", "csv"))["epoch"] == [None, None]
    epochs = run("table", "linear", "--epochs", "2", "--steps-per-epoch", "3", "--interval", "epoch", "--format", "csv")
    assert columns(epochs)["t"] == [0, 1]
    counted = run("table", "linear", "--epochs", "2", "--dataset-size", "7", "--batch-size", "2", "--drop-last",
                  "--format", "csv")  # fmt: skip
    assert len(columns(counted)["t"]) == 6
    assert counted.err.splitlines()[1:] == [
        "note: 3 steps per epoch: floor(7 / 2) = 3 batches",
        "note: an epoch's last batch has 1 of 2 samples, and is dropped",
    ]


# Which ticks.


@pytest.mark.parametrize(
    ("options", "ticks"),
    [
        (["--at", "0,99,30"], [0, 99, 30]),
        (["--at", "5ep,10%"], [5, 10]),
        (["--from", "97"], [97, 98, 99]),
        (["--to", "2"], [0, 1, 2]),
        (["--from", "10", "--to", "12"], [10, 11, 12]),
        (["--from", "10%", "--to", "20%", "--every", "4"], [10, 14, 18]),
        (["--changes"], [0, 30, 60, 90]),
        (["--changes", "--from", "31"], [31, 60, 90]),
        (["--every", "50ep"], [0, 50]),
    ],
)
def test_which_ticks_are_shown(run: Any, options: list[str], ticks: list[int]) -> None:
    result = run("table", "step", *options, "--format", "csv")
    assert columns(result)["t"] == ticks
    np.testing.assert_allclose(rates(result, "step"), 0.1 * 0.1 ** (np.array(ticks) // 30), rtol=1e-9)
    as_json = json.loads(run("table", "step", *options, "--format", "json").out)["schedules"][0]
    assert as_json["t"] == ticks


def test_changes_of_a_long_run_skip_what_is_constant(run: Any) -> None:
    result = run("table", "step", "constant", "--steps", "1_000_000_000", "--changes", "--format", "csv")
    assert columns(result)["t"] == [0, 3e8, 6e8, 9e8]


def test_when_after_is_what_the_scheduler_says_next(run: Any) -> None:
    """The rate used for tick t + 1 stands at t; a table for one schedule shows both."""
    used = rates(run("table", "linear", "--epochs", "5", "--format", "csv", "--when", "used"), "linear")
    after = rates(run("table", "linear", "--epochs", "5", "--format", "csv", "--when", "after"), "linear")
    np.testing.assert_allclose(after, [*used[1:], 0.0], atol=1e-15)
    plain = run("table", "linear", "--epochs", "5", "--when", "after").out.splitlines()
    assert [line.split() for line in plain[:2]] == [["epoch", "linear"], ["0", "0.08"]]


def test_changes_in_the_middle_of_what_is_constant_are_found(run: Any) -> None:
    """A bump of 2,000 steps in 100,000, whose ends an expression does not give away."""
    bump = "lr * max(0.1, 1 - (t - 30000) ** 2 / 1e6)"
    found = columns(run("table", "expression", "--expr", bump, "--steps", "100000", "--changes", "--format", "csv"))
    inside = int((0.9 * 1e6) ** 0.5)
    assert found["t"] == [0, *range(30_000 - inside, 30_000 + inside + 2)]


# Formats.


def test_json_has_its_keys_in_order_and_full_precision(run: Any) -> None:
    args = (
        "table",
        "cosine",
        "cyclic",
        "--epochs",
        "3",
        "--eta-min",
        "0.001",
        "--cycle-momentum",
        "--format",
        "json",
    )
    result = run(*args)
    document = json.loads(result.out)
    assert list(document) == ["version", "schedules", "run"]
    assert document["version"] == 1
    first, second = document["schedules"]
    assert list(first) == ["name", "kind", "interval", "t", "epoch", "lr", "lr_after", "momentum"]
    assert (first["name"], first["kind"], first["interval"]) == ("cosine", "cosine", "epoch")
    assert (first["t"], first["epoch"], first["momentum"]) == ([0, 1, 2], [0, 1, 2], None)
    np.testing.assert_allclose(first["lr"], [0.1, 0.07525, 0.02575], rtol=1e-9)
    np.testing.assert_allclose(first["lr_after"], [0.07525, 0.02575, 0.001], rtol=1e-9)
    np.testing.assert_allclose(second["momentum"], [0.9, 0.8, 0.9])
    assert document["run"]["epochs"] == 3
    assert run(*args).out == result.out, "byte-identical between two runs"
    assert repr(first["lr"][1]) in result.out


def test_json_has_null_where_there_is_nothing(run: Any) -> None:
    result = run("table", "cosine", "--steps", "3", "--t-max", "2", "--after", "error", "--format", "json")
    only = json.loads(result.out)["schedules"][0]
    assert only["epoch"] is None
    assert only["lr_after"][-1] is None
    assert None not in only["lr"]


def test_groups_are_beside_the_rate(run: Any) -> None:
    args = ("table", "linear", "--epochs", "2", "--groups", "body=0.1,head=1")
    only = json.loads(run(*args, "--format", "json").out)["schedules"][0]
    assert list(only)[-2:] == ["momentum", "groups"]
    np.testing.assert_allclose(only["groups"]["body"], [0.01, 0.005])
    np.testing.assert_allclose(only["groups"]["head"], [0.1, 0.05])
    found = columns(run(*args, "--format", "csv"))
    assert list(found) == ["t", "epoch", "linear", "linear.body", "linear.head"]
    np.testing.assert_allclose(found["linear.head"], [0.1, 0.05])


def test_jsonl_markdown_and_table_word_for_word(run: Any) -> None:
    """Rates that are exact in binary, so that the text is the same on every machine."""
    args = ("table", "step", "--lr", "1", "--gamma", "0.5", "--step-size", "2", "--epochs", "3", "-q")
    assert run(*args, "--format", "jsonl").out == (
        '{"t": 0, "epoch": 0, "step": 1.0}\n{"t": 1, "epoch": 1, "step": 1.0}\n{"t": 2, "epoch": 2, "step": 0.5}\n'
    )
    assert run(*args, "--format", "csv").out == "t,epoch,step\n0,0,1.0\n1,1,1.0\n2,2,0.5\n"
    assert run(*args, "--format", "markdown").out == (
        "| epoch | lr used | lr after |\n| ---: | ---: | ---: |\n| 0 | 1 | 1 |\n| 1 | 1 | 0.5 |\n| 2 | 0.5 | 0.5 |\n"
    )
    assert run(*args).out == (
        "   epoch       lr used      lr after\n"
        "       0             1             1\n"
        "       1             1           0.5\n"
        "       2           0.5           0.5\n"
    )
    assert run(*args).err == ""


def test_a_table_goes_to_a_file_whole(run: Any) -> None:
    result = run("table", "step", "--epochs", "2", "--format", "csv", "-o", "out.csv", "-q")
    assert result == (0, "", "")
    assert Path("out.csv").read_text().startswith("t,epoch,step\n0,0,0.1\n1,1,")
    assert [path.name for path in Path().iterdir()] == ["out.csv"]


def test_names_with_spaces_and_accents(run: Any) -> None:
    Path("ein Ordner é").mkdir()
    path = "ein Ordner é/plän 1.yaml"
    Path(path).write_text('schedules: {"naïve, plan": {kind: constant}}', encoding="utf-8")
    result = run("table", f"{path}:naïve, plan", "--epochs", "1", "--format", "csv")
    assert list(columns(result)) == ["t", "epoch", "naïve, plan"]
    assert run("plot", path, "--epochs", "3", "-q") == (0, "naïve-plan.png\n", "")


# The other verbs.


@pytest.mark.parametrize("name", KINDS)
def test_show_explains_every_kind(run: Any, name: str) -> None:
    result = run("show", name)
    assert (result.code, result.err) == (0, "")
    kind = KINDS[name]
    assert result.out.splitlines()[0].split(" (")[0] == name
    text = " ".join(result.out.split())
    assert " ".join(f"rate(t) = {kind.formula} Source:".split()) in text
    for parameter, described in params_of(kind).items():
        flag = "--" + parameter.lower().replace("_", "-")
        offered = described.option and described.type != "schedules"
        assert (f" {parameter}, {flag} {described.help}" if offered else f" {parameter} {described.help}") in text


def test_list_names_every_kind_with_its_formula(run: Any) -> None:
    lines = run("list").out.splitlines()
    assert [line.split()[0] for line in lines] == list(CANONICAL)
    assert all(line.endswith(CANONICAL[line.split()[0]].formula) for line in lines)
    records = json.loads(run("list", "all", "--format", "json").out)
    assert [record["kind"] for record in records] == list(KINDS)
    assert list(records[0]) == ["kind", "aliases", "formula", "source", "help"]


def test_init_writes_a_plan_that_works_and_replaces_none(run: Any) -> None:
    assert run("init").out == "schedules.yaml\n"
    assert Path("schedules.yaml").read_bytes() == (ROOT / "schedules.yaml").read_bytes()
    assert len(columns(run("table", "--format", "csv"))) == 2 + len(
        load_text(run("init", "-o", "-").out, "starter")["schedules"]
    )
    Path("schedules.yaml").write_text("mine")
    assert run("init").message() == "schedules.yaml is there already; --force replaces it, -o names another"
    assert Path("schedules.yaml").read_text() == "mine"
    assert run("init", "--force").code == 0
    assert Path("schedules.yaml").read_text() != "mine"


def test_schema_accepts_what_the_program_accepts_and_refuses_typos(run: Any) -> None:
    schema = json.loads(run("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    check.validate(load_file(ROOT / "schedules.yaml"))
    check.validate(load_text(PLAN, "plan"))
    for entry in (
        {"kind": "sgdr", "T_0": "10%", "warmup": "5ep", "clamp": {"min_lr": 0}, "groups": {"a": 0.1}},
        {"kind": "cosine", "warmup": {"for": 5, "shape": "log"}, "repeat": {"period": 5}, "run": {"epochs": 3}},
        {"sequence": [{"kind": "linear", "for": 5}, {"kind": "constant", "lr": "current"}], "after": "hold"},
        {"kind": "multistep", "milestones": [1, "50%"]}, {"kind": "piecewise", "points": [[0, 1], ["5ep", 0.1]]},
        {"kind": "plateau", "metrics": "log.csv:loss"}, {"kind": "torch.StepLR", "step_size": 3},
    ):  # fmt: skip
        check.validate({"schedules": {"a": entry}})
    for entry in (
        {"kind": "cosin"}, {"kind": "cosine", "etamin": 1}, {"kind": "cosine", "eta_min": -1}, {"knid": "cosine"}, {},
        {"kind": "step", "gamma": "0.5"}, {"kind": "step", "gamma": 0}, 5,
        {"kind": "step", "step_size": 0}, {"kind": "step", "step_size": "3"},
        {"kind": "cosine", "warmup": {"fro": 5}}, {"kind": "cosine", "warmup": {"for": 5, "shape": "cos"}},
        {"kind": "cosine", "run": {"epoch": 3}}, {"kind": "cyclic", "mode": "saw"}, {"kind": "step", "lr": 0},
        {"kind": "cosine", "groups": {"a": 0}}, {"sequence": [{"kind": "step", "gama": 1}]},
        {"kind": "onecycle", "pct_start": 2}, {"kind": "plateau", "factor": 1},
    ):  # fmt: skip
        assert not check.is_valid({"schedules": {"a": entry}}), entry
    for document in ({"schedule": {}}, {"schedules": {}}, {"schedules": {"a": {"kind": "step"}}, "epochs": 3}, []):
        assert not check.is_valid(document), document
