"""``python:`` on the command line: data on stdout, their talk and their tracebacks on stderr, no surprise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Result, environment, on_terminal, spawn

CODE = """\
import os, sys, warnings
print("imported")
out = sys.stdout

def rate(step):
    return 0.1 * 0.5**step

def loud(step):
    print("printed")
    sys.__stdout__.write("written\\n")
    out.write("kept\\n")
    os.write(1, b"low\\n")
    if step == 0:
        os.system("echo echoed")
    warnings.warn("careful")
    return 0.1 * 0.5**step

def bad(optimizer):
    raise ValueError("no luck")

def late(step):
    if step > 7:
        raise IndexError("no more")
    return 0.1

def stop(step):
    raise KeyboardInterrupt

def leave(step):
    sys.exit(0)

def halves(optimizer):
    return Halves(optimizer)

class Halves:
    def __init__(self, optimizer):
        self.optimizer = optimizer
    def step(self):
        for group in self.optimizer.param_groups:
            group["lr"] /= 2
"""
CSV = "t,epoch,python:mine:{0}\n0,0,0.1\n1,1,0.05\n2,2,0.025\n"


@pytest.fixture
def lrsched(tmp_path: Path) -> Any:
    (tmp_path / "mine.py").write_text(CODE)

    def run(line: str, **changes: str | None) -> Result:
        env = environment(PYTHONWARNINGS=None, PYTHONDONTWRITEBYTECODE="1", **changes)
        return spawn(*line.split(), cwd=tmp_path, env=env)

    return run


def test_what_it_prints_does_not_spoil_the_data(lrsched: Any) -> None:
    done = lrsched("table python:mine:loud --epochs 3 --format csv -q")
    assert done.code == 0
    assert done.out == CSV.format("loud")
    for word in ("imported", "printed", "written", "kept", "low", "echoed", "careful"):
        assert word in done.err, word


def test_it_works_with_the_verbs(lrsched: Any, tmp_path: Path) -> None:
    document = json.loads(lrsched("table python:mine:halves --epochs 3 --format json").out)
    (schedule,) = document["schedules"]
    assert (schedule["name"], schedule["kind"]) == ("python:mine:halves", "python:mine:halves")
    assert (schedule["lr"], schedule["lr_after"]) == ([0.1, 0.05, 0.025], [0.05, 0.025, 0.0125])
    grouped = lrsched("table python:mine:halves --groups a=1,b=10 --epochs 2 --format csv -q").out
    assert grouped.splitlines() == [
        "t,epoch,python:mine:halves,python:mine:halves.a,python:mine:halves.b", "0,0,0.1,0.1,1.0", "1,1,0.05,0.05,0.5"
    ]  # fmt: skip
    assert lrsched("export python:mine:rate --to csv --epochs 3 -q").out == CSV.format("rate")
    assert lrsched("plot python:mine:rate cosine --epochs 9 -q").out == "python-mine-rate-cosine.png\n"
    assert (tmp_path / "python-mine-rate-cosine.png").exists()
    assert "python:mine:rate" in lrsched("list python:mine:rate").out
    assert "Break" not in lrsched("list python:mine:late").err
    shown = lrsched("show python:mine:rate").out
    assert "(optimizer) -> scheduler" in shown
    assert "--metrics" in lrsched("table python:mine:rate --help").out


def test_its_exceptions_are_its_own(lrsched: Any) -> None:
    done = lrsched("table python:mine:bad")
    assert (done.code, done.out) == (2, "")
    traceback, line = done.err.removeprefix("imported\n").rstrip("\n").rsplit("\n", 1)
    assert traceback.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{Path(traceback.split(chr(34))[1])}", line 19, in bad',
        '    raise ValueError("no luck")',
        "ValueError: no luck",
    ]
    assert line == "lrsched: python:mine:bad failed when it was called: ValueError: no luck"
    done = lrsched("table python:mine:late --epochs 20")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("IndexError: no more\nlrsched: python:mine:late raises at tick 8: IndexError: no more\n")
    assert "lrsched_cli" not in done.err
    assert lrsched("table python:mine:late --epochs 8 -q").code == 0
    done = lrsched("table python:mine:leave")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("lrsched: python:mine:leave failed at tick 0: it exits with 0\n")


def test_ctrl_c_in_it_ends_the_program(lrsched: Any) -> None:
    done = lrsched("table python:mine:stop")
    assert (done.code, done.err) == (130, "imported\nlrsched: interrupted\n")


def test_a_file_needs_leave(lrsched: Any, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("schedules:\n  mine: {kind: 'python:mine:rate'}\n  other: {kind: step}\n")
    refusal = "lrsched: s.yaml:2: mine: kind is 'python:mine:rate', which is run: --allow-code permits that\n"
    for line in ("table s.yaml", "plot s.yaml", "export s.yaml:mine --to csv", "table s.yaml --no-allow-code",
                 "table s.yaml --allow-code --no-allow-code", "table s.yaml -- --allow-code"):  # fmt: skip
        done = lrsched(line)
        assert (done.code, done.out) == (2, ""), line
        assert done.err == refusal or "--allow-code" in line.partition(" -- ")[2], (line, done.err)
    assert lrsched("table s.yaml:other -q").code == 0
    assert lrsched("table s.yaml:mine --allow-code --epochs 3 --format csv -q").out == CSV.format("rate").replace(
        "python:mine:rate", "mine"
    )
    assert lrsched("train s.yaml:mine --epochs 1 --data synthetic --seeds 1 -q").err == refusal


def test_help_and_completion_run_nothing(lrsched: Any) -> None:
    assert "imported" not in "".join(lrsched("table python:mine:rate --help")[1:])


def test_a_terminal_of_80_columns_shows_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    words = ("table", "python:mine:rate", "--epochs", "3")
    done = on_terminal(*words, cwd=tmp_path, PYTHONDONTWRITEBYTECODE="1", NO_COLOR="1")
    assert done.code == 0
    assert "imported" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_the_schema_knows_it() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from lrsched_cli.schema import schema

    validator = jsonschema.Draft202012Validator(schema())

    def faults(entry: dict[str, Any]) -> list[Any]:
        return list(validator.iter_errors({"schedules": {"a": entry}}))

    good = {
        "kind": "python:pkg.module:make",
        "args": {"gamma": 0.5},
        "groups": {"a": 1},
        "metrics": [1, 2],
        "warmup": 5,
    }
    assert not faults(good)
    assert faults({"kind": "python:pkg"})
    assert faults({**good, "gama": 1})
