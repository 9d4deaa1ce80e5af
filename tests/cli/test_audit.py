"""``lrsched audit PLAN LOG`` and logs as targets: what is printed, the exit code, the one line of a mistake."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lrsched_cli.spec import simulate
from tests.cli.conftest import on_terminal
from tests.test_floors import loaded_by

FIXTURES = Path(__file__).parents[1] / "logs" / "fixtures"
PLAN = """\
run: {steps: 1000}
schedules:
  main: {kind: cosine, warmup: 50}
  both: {kind: cosine, warmup: 50, groups: {backbone: 0.1, head: 1}}
"""
SCHEDULE = simulate({"kind": "cosine", "warmup": 50}, {"steps": 1000}).schedule


@pytest.fixture(autouse=True)
def files(run: Any) -> None:
    """A plan, the log of a run that followed it, and of one that Accelerate advanced four times."""
    Path("plan.yaml").write_text(PLAN)
    for name, factor in (("good", 1), ("fast", 4)):
        rows = "".join(f"{u},{SCHEDULE(factor * u)!r},0.5\n" for u in range(0, 1000, 10))
        Path(f"{name}.csv").write_text(f"step,lr,loss\n{rows}")


def test_a_match_exits_0(run: Any) -> None:
    done = run("audit", "plan.yaml:main", "good.csv")
    assert done.code == 0
    assert done.out == "match\nthe run used the planned rates\n100 rates, off by nothing of the peak at most\n"
    assert done.err == "note: read as csv: step 0 is the first update\n"


def test_a_wrong_run_exits_1_and_names_the_cause(run: Any) -> None:
    done = run("audit", "plan.yaml:main", "fast.csv", "--world-size", "4", "-q")
    assert done.code == 1
    assert done.err == ""
    assert done.out == (
        "scaled, factor 4\n"
        "in time, the schedule ran 4 times too fast: "
        "Accelerate steps a prepared scheduler once for each of 4 processes\n"
        "multiply its lengths by the number of processes, or leave the scheduler out of accelerator.prepare() "
        "(huggingface/accelerate#2926)\n"
        "100 rates, off by 90% of the peak at most, the first difference at update 10\n"
        "\n"
        "update    planned     actual  off by\n"
        "     0          0          0\n"
        "    10       0.02       0.08    +60%\n"
        "    20       0.04  0.0997541  +59.8%\n"
        "    30       0.06  0.0986663  +38.7%\n"
        "    40       0.08  0.0967282  +16.7%\n"
        "    50        0.1  0.0939737  -6.03%\n"
        "    60  0.0999727  0.0904508  -9.52%\n"
    )


def test_json_for_programs(run: Any) -> None:
    done = run("audit", "plan.yaml:main", "fast.csv", "--format", "json")
    assert done.code == 1
    found = json.loads(done.out)
    assert list(found) == ["verdict", "factor", "shift", "first_difference", "max_relative_difference", "groups"]
    assert (found["verdict"], found["factor"], found["shift"], found["first_difference"]) == ("scaled", 4.0, None, 10)
    assert found["groups"] == [{"name": "lr", **{key: value for key, value in found.items() if key != "groups"}}]
    assert "4 times too fast" in done.err
    good = run("audit", "plan.yaml:main", "good.csv", "--format", "json", "-q")
    group = {"name": "lr", "verdict": "match", "factor": None, "shift": None, "first_difference": None}
    group["max_relative_difference"] = 0.0
    assert good.code == 0
    assert json.loads(good.out)["groups"] == [group]
    assert good.err == ""


def test_the_plan_may_be_the_entry_of_the_default_file_or_a_kind(run: Any) -> None:
    Path("schedules.yaml").write_text(PLAN.replace("  both", "#  both"))
    assert run("audit", "good.csv").code == 0, "the only entry of ./schedules.yaml"
    assert run("audit", "main", "good.csv").code == 0
    assert run("audit", "cosine", "good.csv", "--steps", "1000", "--warmup", "50").code == 0
    assert run("audit", "plan.yaml:main", "good.csv", "--set", "main.warmup=60").code == 1


def test_columns_are_named_by_options_or_in_the_word(run: Any) -> None:
    rows = "".join(f"{u + 1},{SCHEDULE(u)!r}\n" for u in range(0, 1000, 10))
    Path("odd.txt").write_text(f"at,rate\n{rows}")
    said = "--x", "at", "--y", "rate", "--count-from", "1"
    assert run("audit", "plan.yaml:main", "odd.txt", *said).code == 0
    early = run(
        "audit", "plan.yaml:main", "odd.txt", "--x", "at", "--y", "rate", "--count-from", "0", "--format", "json", "-q"
    )
    assert json.loads(early.out)["shift"] == -1
    Path("odd.csv").write_text(f"step,rate\n{rows}")
    assert run("audit", "plan.yaml:main", "odd.csv:rate", "--count-from", "1").code == 0


def test_the_log_may_have_the_name_of_an_option_s_value(run: Any) -> None:
    shutil.copy("good.csv", "x")
    assert run("audit", "plan.yaml:main", "x", "--x", "step").code == 0
    assert run("audit", "--y", "lr", "--", "plan.yaml:main", "x").code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("audit", "takes a plan and the log of its run: lrsched audit PLAN LOG"),
        ("audit good.csv", "takes a plan and the log of its run: lrsched audit PLAN good.csv"),
        ("audit plan.yaml good.csv", "takes one plan, got main, both: name one as FILE:ENTRY"),
        ("audit plan.yaml:main good.csv x", "takes one plan and one log, got plan.yaml:main, good.csv, x"),
        ("audit plan.yaml:mian good.csv", "plan.yaml: has no entry 'mian' (did you mean main?)"),
        ("audit cosin good.csv", "unknown kind cosin (did you mean cosine?); lrsched list all shows every one"),
        ("audit plan.yaml:main none.csv", "no such file: none.csv"),
        ("audit plan.yaml:main .", "good.csv"),
        ("audit plan.yaml:main good.csv --y loss2", "good.csv: --y: has no column 'loss2' (did you mean loss?)"),
        ("audit plan.yaml:main good.csv --x stp", "good.csv: --x: has no column 'stp' (did you mean step?)"),
        ("audit plan.yaml:main good.csv --format xml", "--format must be text or json, got 'xml'"),
        ("audit plan.yaml:main good.csv --log-format hf",
         "--log-format must be transformers, lightning, tensorboard, wandb, csv, jsonl, lrsched, got 'hf'"),
        ("audit plan.yaml:main good.csv -o x.gif", "--output must be a png, svg or pdf file, got 'x.gif'"),
        ("audit plan.yaml:main good.csv --epochs 3",
         "good.csv: the plan ticks by epoch and the log counts steps: say --steps-per-epoch"),
        ("check good.csv", "good.csv is the log of a run: lrsched audit PLAN good.csv compares it with its plan"),
        ("export good.csv --to torch",
         "good.csv is the log of a run: lrsched audit PLAN good.csv compares it with its plan"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line(run: Any, line: str, message: str) -> None:
    if message == "good.csv":
        message = (
            ".: is a folder without a log that is known "
            "(results.json, trainer_state.json, checkpoint-N, metrics.csv or event files)"
        )
    before = sorted(path.name for path in Path().iterdir())
    assert run(*line.split()).message() == message
    assert sorted(path.name for path in Path().iterdir()) == before, "nothing is written"


def test_it_starts_without_what_draws_and_trains(tmp_path: Path, run: Any) -> None:
    assert not loaded_by("audit", "plan.yaml:main", "good.csv", cwd=tmp_path) & {
        "torch",
        "matplotlib",
        "pandas",
        "scipy",
    }


def test_help_needs_no_log(run: Any) -> None:
    for words in (("audit", "--help"), ("audit", "-h"), ("audit", "plan.yaml", "--help")):
        done = run(*words)
        assert done.code == 0
        assert "PLAN LOG" in done.out
        assert "[targets]" not in done.out
        assert "--count-from" in done.out


def test_a_picture_of_both(run: Any) -> None:
    done = run("audit", "plan.yaml:main", "fast.csv", "-o", "x.png")
    assert done.code == 1
    assert Path("x.png").read_bytes().startswith(b"\x89PNG")
    assert "drawn: x.png" in done.err
    run("audit", "plan.yaml:main", "fast.csv", "-o", "x.svg")
    run("audit", "plan.yaml:main", "fast.csv", "-o", "y.svg")
    assert Path("x.svg").read_bytes() == Path("y.svg").read_bytes()


def test_several_groups_are_listed(run: Any) -> None:
    rows = "".join(f"{u},{0.1 * SCHEDULE(u)!r},{SCHEDULE(4 * u)!r}\n" for u in range(0, 1000, 10))
    Path("metrics.csv").write_text(f"step,lr-SGD/backbone,lr-SGD/head\n{rows}")
    done = run("audit", "plan.yaml:both", "metrics.csv", "-q")
    assert done.code == 1
    assert done.out.startswith("scaled, factor 4\nhead: in time, the schedule ran 4 times too fast")
    table = [line.split() for line in done.out.split("\n\n")[1].splitlines()]
    assert table[0] == ["group", "verdict", "factor", "shift", "first", "off", "by"]
    assert [row[:2] for row in table[1:]] == [["backbone", "match"], ["head", "scaled"]]
    assert table[2][2:] == ["4", "10", "90%"]


def test_a_lost_warm_up_is_named(run: Any) -> None:
    """A cosine over the whole run: not the plan's, which is shorter for its warm-up, at any shift."""
    whole = simulate({"kind": "cosine"}, {"steps": 1000}).schedule
    Path("lost.csv").write_text("step,lr\n" + "".join(f"{u},{whole(u)!r}\n" for u in range(0, 1000, 10)))
    done = run("audit", "plan.yaml:main", "lost.csv", "-q")
    assert (done.code, done.out.split("\n")[:2]) == (
        1, ["different", "the warm-up is missing: the rates are those of the plan without its warm-up"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "spec", "verdict"),
    [
        ("transformers-linear.json",
         "{kind: transformers.linear, lr: 5e-5, num_warmup_steps: 5, num_training_steps: 40}", "match"),
        ("lightning-named.csv",
         "{kind: torch.CosineAnnealingLR, T_max: 40, groups: {backbone: 0.1, head: 1}}", "match"),
        ("lightning-stepped-by-epoch.csv", "{kind: torch.CosineAnnealingLR, T_max: 40}", "scaled"),
    ],
)  # fmt: skip
def test_real_logs(run: Any, name: str, spec: str, verdict: str) -> None:
    Path("p.yaml").write_text(f"run: {{steps: 40}}\nlr: 0.1\nschedules: {{a: {spec}}}\n")
    done = run("audit", "p.yaml", str(FIXTURES / name), "--format", "json", "-q")
    assert json.loads(done.out)["verdict"] == verdict


def test_a_training_of_our_own(run: Any) -> None:
    """Each schedule of a folder, the one that reacts to the run too, is what the plan beside it says."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    said = "--data", "breast-cancer", "--epochs", "6", "--seeds", "2", "--workers", "1", "-o", "run", "-q"
    assert run("train", "step", "exponential", "plateau", "onecycle", *said).code == 0
    for name, code in (("exponential", 0), ("onecycle", 0), ("step", 0), ("plateau", 1)):
        done = run("audit", f"run/plan.json:{name}", "run", "--format", "json", "-q")
        assert done.code == code, "a plateau that never acts is constant, which tells nothing"
        assert json.loads(done.out)["max_relative_difference"] < 1e-9
    told = "run: holds step, exponential, plateau, onecycle, and no schedule is called linear: say which with --y"
    assert run("audit", "linear", "run").message() == told


def test_a_terminal_gets_the_curves_too(tmp_path: Path, run: Any) -> None:
    done = on_terminal("audit", "plan.yaml:main", "fast.csv", cwd=tmp_path, NO_COLOR="1")
    assert done.code == 1
    assert "a main, planned   b fast.csv, actual" in done.out
    assert "scaled, factor 4" in done.out
    assert max(map(len, done.out.split("\n"))) <= 80
    assert "\x1b[3" not in done.out
    assert "\x1b[" in on_terminal("audit", "plan.yaml:main", "fast.csv", cwd=tmp_path).out


# Logs as targets of plot and table.


def test_a_table_of_a_log_has_its_rows_only(run: Any) -> None:
    done = run("table", "good.csv", "--format", "csv", "-q")
    rows = list(csv.reader(done.out.splitlines()))
    assert rows[0] == ["t", "epoch", "good.csv"]
    assert [int(row[0]) for row in rows[1:]] == list(range(0, 1000, 10))
    assert float(rows[6][2]) == SCHEDULE(50)


def test_a_table_beside_a_plan_leaves_what_was_not_logged_empty(run: Any) -> None:
    done = run("table", "plan.yaml:main", "fast.csv:lr", "--format", "csv", "-q", "--from", "9", "--to", "11")
    assert list(csv.reader(done.out.splitlines())) == [
        ["t", "epoch", "main", "fast.csv"],
        ["9", "", repr(SCHEDULE(9)), ""],
        ["10", "", repr(SCHEDULE(10)), repr(SCHEDULE(40))],
        ["11", "", repr(SCHEDULE(11)), ""],
    ]
    found = json.loads(run("table", "good.csv", "--format", "json", "-q", "--at", "10,11").out)
    assert found["schedules"][0]["lr"] == [SCHEDULE(10), None]


def test_a_plot_lays_a_log_over_a_plan(run: Any) -> None:
    done = run("plot", "plan.yaml:main", "fast.csv", "-o", "x.svg")
    assert done.code == 0
    assert "fast.csv" in Path("x.svg").read_text()
    assert "fast.csv: peak 0.09975 at step 20" in done.err
    assert run("plot", str(FIXTURES / "lightning-named.csv"), "--terminal", "-q").code == 0
