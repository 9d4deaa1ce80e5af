"""``lrsched libraries``: the same words in every library, on the command line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Result

Run = Callable[..., Result]


def test_a_table(run: Run) -> None:
    result = run("libraries", "cosine", "--warmup", "3", "--steps", "10")
    assert result.code == 0
    head, names, *lines = result.out.splitlines()
    assert head == "cosine: warm-up 3, total 10, rate 1"
    assert names.split()[:3] == ["as", "read", "by"]
    keras = next(line for line in lines if line.startswith("keras.CosineDecay"))
    assert keras.split()[-7:] == ["1", "at", "3", "0", "at", "13,", "holds"]


def test_csv_and_json_agree(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("libraries", "linear", "--format", "csv").out)))
    readings = json.loads(run("libraries", "linear", "--format", "json").out)["readings"]
    assert [row["kind"] for row in rows] == [reading["name"] for reading in readings]
    for row, reading in zip(rows, readings, strict=True):
        assert float(row["55"]) == reading["lr"]["55"]
        assert int(row["peak_tick"]) == reading["peak_tick"]


def test_only_and_at(run: Run) -> None:
    out = run("libraries", "step", "--only", "torch,keras", "--at", "0,30", "--format", "markdown").out
    assert [line.split("|")[1].strip() for line in out.splitlines()[2:]] == [
        "`torch.StepLR`",
        "`keras.ExponentialDecay`",
    ]


def test_a_warm_up_may_be_a_share(run: Run) -> None:
    assert run("libraries", "linear", "--warmup", "10%").out == run("libraries", "linear", "--warmup", "10").out
    assert "5ep" in run("libraries", "linear", "--warmup", "5ep").message()


def test_a_picture(run: Run, tmp_path: Path) -> None:
    result = run("libraries", "cosine", "-o", str(tmp_path / "all of them.png"))
    assert result.code == 0
    assert (tmp_path / "all of them.png").read_bytes().startswith(b"\x89PNG")


def test_a_kind_of_a_library_means_its_family(run: Run) -> None:
    assert run("libraries", "transformers.linear").out == run("libraries", "linear").out


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["cosin"], "no other library has cosin (did you mean cosine?); known are constant, linear,"),
        (["cosine", "--warmup", "100"], "--warmup must be >= 0 and below --steps 100, got 100"),
        (["cosine", "--steps", "0"], "--steps must be from 1 to 10,000,000, got 0"),
        (["cosine", "--lr", "-1"], "--lr must be a finite number > 0, got -1.0"),
        (["cosine", "--eta-min", "2"], "--eta-min must be >= 0 and at most --lr 1, got 2.0"),
        (["cosine", "--only", "tim"], "--only unknown library tim (did you mean timm?)"),
        (["tanh", "--only", "keras"], "--only tanh is in none of these libraries"),
        (["cosine", "--at", "0,x"], "--at must be ticks from 0 to 120, got 'x'"),
        (["cosine", "--format", "xml"], "--format must be table, markdown, csv or json, got 'xml'"),
    ],
)
def test_bad_input(run: Run, args: list[str], told: str) -> None:
    assert told in run("libraries", *args).message()
