"""``lrsched find`` as a user sees it: the rates, the answer, the picture, the refusals."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.training import Child, before_epoch, copies, document, line, lrsched, trained

SMALL = ("--data", "breast-cancer", "--model", "mlp:6", "--batch-size", "128", "--workers", "1")
QUICK = ("find", *SMALL, "--epochs", "2", "--rates", "7", "--seeds", "3")


def found(*args: str, cwd: Path) -> dict[str, Any]:
    """The answer as strict JSON."""
    result = lrsched("find", *args, "--format", "json", "-q", cwd=cwd)
    assert (result.code, result.err) == (0, "")
    answer = json.loads(result.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert list(answer) == ["version", "suggestion", "interval", "largest_stable", "reason", "rates"]
    return dict(answer)


def test_the_losses_are_those_of_trainings_at_these_rates(tmp_path: Path) -> None:
    """What ``train`` with the same rates and seeds ends at, their mean: every rate has runs of its own."""
    rates = [0.001, 0.01, 0.1, 1.0, 1e20]
    options = (*SMALL, "--epochs", "2", "--seeds", "3", "--lrs", ",".join(map(str, rates)))
    answer = found(*options, cwd=tmp_path)
    runs = document(trained("constant", *options, cwd=tmp_path))["runs"]
    assert [row["lr"] for row in answer["rates"]] == rates
    for row in answer["rates"]:
        finals = [run["val_loss"][-1] for run in runs if run["lr"] == row["lr"] and run["status"] == "ok"]
        if row["diverged"]:
            assert len(finals) < 3
        else:
            assert row["loss"] == pytest.approx(statistics.mean(finals), rel=1e-12)
    assert [row["diverged"] for row in answer["rates"]] == [False] * 4 + [True]
    assert answer["largest_stable"] == 1.0


def test_a_suggestion_that_holds(tmp_path: Path) -> None:
    """On digits, with plain SGD: trained longer, at it the loss is lower than far below and far above it."""
    options = ("--data", "digits", "--seeds", "3")
    answer = found(*options, "--epochs", "3", "--rates", "13", cwd=tmp_path)
    suggestion, (low, high) = answer["suggestion"], answer["interval"]
    assert 0.1 <= low <= suggestion <= high <= 3.2
    assert suggestion in [row["lr"] for row in answer["rates"]]
    lrs = ",".join(repr(rate) for rate in (suggestion / 30, suggestion, suggestion * 30))
    summary = document(trained("constant", *options, "--epochs", "6", "--lrs", lrs, cwd=tmp_path))["summary"]
    below, at, above = (record["final_accuracy"]["mean"] for record in summary)
    assert at > 0.95
    assert at > below + 0.02
    assert above is None or at > above + 0.1


def test_every_format_says_the_same(tmp_path: Path) -> None:
    answer = found(*QUICK[1:], cwd=tmp_path)
    assert [row["lr"] for row in answer["rates"]] == pytest.approx(np.geomspace(1e-4, 10, 7), rel=1e-3)
    rows = lrsched(*QUICK, "--format", "csv", cwd=tmp_path)
    assert rows.code == 0
    for row, expected in zip(csv.DictReader(io.StringIO(rows.out)), answer["rates"], strict=True):
        assert list(row) == list(expected)
        assert {"lr", "loss", "smoothed", "low", "high", "diverged"} <= expected.keys()
        for name in ("lr", "loss", "smoothed", "low", "high"):
            assert row[name] == ("" if expected[name] is None else repr(expected[name]))
        assert row["diverged"] == str(expected["diverged"]).lower()
    assert rows.err.splitlines()[0] == "training constant"
    assert "lr-range.png" in rows.err.splitlines()
    table = lrsched(*QUICK, "-q", cwd=tmp_path, drawn=True)
    lines = table.out.splitlines()
    assert [float(text.split()[0]) for text in lines[1:8]] == pytest.approx([row["lr"] for row in answer["rates"]])
    assert [text.endswith("<- suggested") for text in lines[1:8]] == [
        row["lr"] == answer["suggestion"] for row in answer["rates"]
    ]
    assert lines[-1] == "lr-range.png"
    assert (tmp_path / "lr-range.png").read_bytes().startswith(b"\x89PNG")
    assert (table.code, table.err) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["lr-range.png"]  # it keeps nothing else


def test_the_picture_goes_where_it_is_told(tmp_path: Path) -> None:
    quick = (*QUICK, "--seeds", "2", "-q")
    assert lrsched(*quick, "-o", "größe.svg", cwd=tmp_path, drawn=True).out.splitlines()[-1] == "größe.svg"
    assert "<svg" in (tmp_path / "größe.svg").read_text()
    lost = lrsched(*quick, "-o", "no/x.png", cwd=tmp_path, drawn=True)
    assert lost.code == 2
    assert len(lost.out.splitlines()) >= 8  # what was trained is not lost with it
    assert lost.err == "lrsched: cannot write no/x.png: No such file or directory\n"


def test_one_seed_gives_no_answer(tmp_path: Path) -> None:
    answer = found(*SMALL, "--epochs", "2", "--rates", "7", "--seeds", "1", cwd=tmp_path)
    assert (answer["suggestion"], answer["interval"]) == (None, None)
    assert "seed" in answer["reason"]
    assert len(answer["rates"]) == 7


def test_a_schedule_is_tried_with_its_base_rates(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "run: {epochs: 2, batch_size: 128}\ndata: breast-cancer\nmodel: mlp:6\noptimizer: adam\nseeds: 3\n"
        "schedules: {falls: {kind: linear, lr: 0.3}, other: {kind: step}}\n"
    )
    answer = found("p.yaml:falls", "--rates", "5", cwd=tmp_path)
    assert [row["lr"] for row in answer["rates"]] == pytest.approx(np.geomspace(1e-5, 1, 5), rel=1e-3)
    told = line("find", "p.yaml", cwd=tmp_path)
    assert told == "find tries the rates of one schedule, got falls, other"


def test_a_schedule_whose_rates_are_in_the_plan_is_one_line(tmp_path: Path) -> None:
    args = ("piecewise", "--points", "0:0.1,1:0.2", *SMALL, "--epochs", "2")
    told = lrsched("find", *args, "-q", cwd=tmp_path).message()
    assert told == (
        "piecewise: takes its rates from the plan, whatever base rate it is given: there is nothing to find"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--lowest", "1", "--highest", "0.1"), "--lowest must be below --highest 0.1, got 1"),
        (("--lowest", "1", "--highest", "1"), "--lowest must be below --highest 1, got 1"),
        (("--lowest", "0"), "--lowest must be a rate from 1e-30 to 1e+30, got 0.0"),
        (("--lowest", "nan"), "--lowest must be a rate from 1e-30 to 1e+30, got nan"),
        (("--highest", "inf"), "--highest must be a rate from 1e-30 to 1e+30, got inf"),
        (("--rates", "1"), "--rates must be from 2 to 1000, got 1"),
        (("--rates", "1001"), "--rates must be from 2 to 1000, got 1001"),
        (("--lrs", "0.1,0.2"), "a curve needs 5 rates or more, got 2"),
        (("--format", "xml"), "--format must be table, csv, json, got 'xml'"),
        (("-o", "x.gif"), "--output must be a png, svg or pdf file, got 'x.gif'"),
        (("-o", "x"), "--output must be a png, svg or pdf file, got 'x'"),
        (("--optimizer", "adan"), "optimizer must be sgd, adam"),
        (("--device", "tpu"), "--device must be cpu, cuda, cuda:N, mps or auto, got 'tpu'"),
        (("--workers", "0"), "--workers must be from 1 to 1024, got 0"),
        (("step", "cosine"), "find tries the rates of one schedule, got step, cosine"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(tmp_path: Path, args: tuple[str, ...], expected: str) -> None:
    assert line("find", *args, *SMALL[:-2], cwd=tmp_path).startswith(expected)
    assert list(tmp_path.iterdir()) == []


@copies
def test_an_interrupt_gives_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(ensemble: Any) -> None:
        if ensemble.epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)

    with before_epoch(monkeypatch, act):
        result = Child(*QUICK, "--epochs", "50", cwd=tmp_path).wait()
    assert (result.code, result.out) == (130, "")
    assert result.err.splitlines()[-2:] == [
        "interrupted: too little was trained to find a rate", "lrsched: interrupted",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_rates_that_all_diverge_give_no_answer(tmp_path: Path) -> None:
    answer = found(*SMALL, "--epochs", "2", "--rates", "5", "--lowest", "1e20", "--highest", "1e25", cwd=tmp_path)
    assert (answer["suggestion"], answer["interval"], answer["largest_stable"]) == (None, None, None)
    assert all(row["diverged"] for row in answer["rates"])
    assert not any(isinstance(value, float) and math.isnan(value) for row in answer["rates"] for value in row.values())
