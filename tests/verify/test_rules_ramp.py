"""A warm-up that ends in a leap, in formulas and in code: found there, and nowhere else."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lrsched_cli.book import Entry
from lrsched_cli.run import Run
from lrsched_cli.spec import Place
from lrsched_cli.verify.check import check
from lrsched_cli.verify.findings import Finding

CODE = """
import math

def warm(step):
    return 0.1 * (step / 100 if step < 10 else 1 - (step - 10) / 990)

def right(step):
    return 0.1 * (step / 10 if step < 10 else 1 - (step - 10) / 990)

def torch_warm(optimizer):
    import torch
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: t / 100 if t < 10 else 1.0)

def restarts(optimizer):
    import torch
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 50)
"""


def jumps(spec: dict[str, Any], steps: int = 1000, place: Place | None = None) -> list[Finding]:
    return check([Entry("a", spec, Run.of({"steps": steps}), place or Place())], ["rate-jumps"])


def of_lambda(text: str, steps: int = 1000) -> list[Finding]:
    return jumps({"kind": "torch.LambdaLR", "lr_lambda": f"lambda t: {text}"}, steps)


@pytest.mark.parametrize(
    ("text", "tick"),
    [
        ("t / 100 if t < 10 else 1 - (t - 10) / 990", 10),
        ("t / 100 if t < 3 else 1", 3),
        ("(t + 1) / 5000 if t < 500 else 0.999 ** t", 500),
        ("0.1 + t / 1000 if t < 100 else 1", 100),
        ("t / 100 if t < 10 else 0.5 * (1 + cos(pi * (t - 10) / 990))", 10),
        ("t * t / 10000 if t < 20 else 1", 20),
        ("(t % 250) / 1000 if t % 250 < 25 else 1 - (t % 250) / 250", 25),  # at every restart
    ],
)
def test_a_warm_up_that_is_too_long_for_its_end(text: str, tick: int) -> None:
    (mine,) = of_lambda(text)
    assert (mine.severity, mine.tick) == ("warning", tick)
    assert "at the end of a rise" in mine.message
    assert f"at tick {tick}" in mine.advice
    (same,) = jumps({"kind": "expression", "expr": f"lr * ({text})"})
    assert same.tick == tick


@pytest.mark.parametrize(
    "text",
    [
        "t / 10 if t < 10 else 1 - (t - 10) / 990",
        "(t + 1) / 10 if t < 10 else 1",
        "min(t / 100, 1)",
        "1 - (t % 50) / 50",  # restarts
        "0.5 * (1 + cos(pi * (t % 100) / 100))",
        "(t % 50) / 50",  # falls like a saw
        "1 - abs((t % 100) / 50 - 1)",  # a triangle
        "0.1 if t < 100 else 0.5 if t < 200 else 1",  # stairs up
        "floor(t / 100) / 10 + 0.1",
        "0.001 * 10 ** (t / 300)",  # a range test
        "10 ** (t - 1000)",
        "2 ** min(t, 40) / 2 ** 40",
        "1 - sqrt(1 - min(t / 100, 1))",
        "1 - sqrt(1 - min(t / 4, 1))",
        "1 - (1 - min(t / 100, 1)) ** 0.3",
        "sqrt(min(t / 100, 1))",
        "sin(t) ** 2",
        "abs(sin(3 * t))",
        "abs(sin(0.7 * t)) + 0.2 * abs(cos(5 * t))",
        "t / 10 if t < 10 else 1 if t < 500 else 0.1 if t < 600 else 0.5",  # a second peak after a level
        "1 if t % 100 else 2",  # a spike
        "1e-17 * t + (0.1 if t < 10 else 1)",
        "1 / 3 * (1 + 1e-16 * t) if t < 10 else 1",
    ],
)
def test_what_is_asked_for_is_no_leap(text: str) -> None:
    assert of_lambda(text) == []
    assert of_lambda(text, 5000) == []


def test_a_product_of_steps() -> None:
    leap = "lambda t: (t + 1) / t if t < 10 else (10 if t == 10 else 0.999)"
    (mine,) = jumps({"kind": "torch.MultiplicativeLR", "lr": 0.01, "lr_lambda": leap})
    assert mine.tick == 10
    (late,) = jumps({"kind": "torch.MultiplicativeLR", "lr": 0.01, "lr_lambda": leap.replace("10", "9001")}, 200_000)
    assert late.tick == 9001
    assert jumps({"kind": "torch.MultiplicativeLR", "lr_lambda": "lambda t: 0.99 if t % 50 else 1.6"}) == []


def test_code(tmp_path: Any) -> None:
    (tmp_path / "ours.py").write_text(CODE)
    place = Place(folder=tmp_path, allow_code=True)
    (mine,) = jumps({"kind": "python:ours.py:warm"}, place=place)
    assert (mine.tick, mine.code) == (10, "rate-jumps")
    assert "lr: current" not in mine.advice
    assert jumps({"kind": "python:ours.py:right"}, place=place) == []
    pytest.importorskip("torch")
    (real,) = jumps({"kind": "python:ours.py:torch_warm"}, place=place)
    assert real.tick == 10
    assert jumps({"kind": "python:ours.py:restarts"}, place=place) == []


def test_a_part_of_a_sequence_and_one_that_is_warmed_up() -> None:
    part = {"kind": "expression", "expr": "lr * (t / 100 if t < 10 else 1)"}
    (mine,) = jumps({"sequence": [{"kind": "constant", "lr": 0.001, "for": 100}, part]})
    assert mine.tick == 110
    parts = [{"kind": "torch.LambdaLR", "lr_lambda": "lambda t: t / 100"}, {"kind": "torch.StepLR", "step_size": 300}]
    (join,) = jumps({"kind": "torch.SequentialLR", "milestones": [5], "schedulers": parts})
    assert join.tick == 5
    (again,) = jumps({**part, "warmup": 100})
    assert again.tick == 110


@pytest.mark.parametrize("test", ["t < 1000", "t * t < 1e6"])
def test_a_leap_in_a_billion_ticks_costs_no_more(test: str) -> None:
    text = f"t / 100000 if {test} else 1 - t / 2e9"
    of_lambda(text, 10_000)
    start = time.perf_counter()
    (mine,) = of_lambda(text, 10**9)
    assert time.perf_counter() - start < 1
    assert mine.tick == 1000
