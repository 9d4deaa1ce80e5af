"""How a factory is called, whose optimizer it steps, and what is told of parameter groups that it misses."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lrsched_cli.run import Run
from lrsched_cli.spec import Place, trace_of
from lrsched_cli.trace import Trace
from tests.cli.conftest import spawn
from tests.support import agree, message_of, torch_trace

torch = pytest.importorskip("torch")
schedulers = torch.optim.lr_scheduler

HEAD = """\
import torch
from torch.optim.lr_scheduler import *

def sgd(lr=0.5):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)

"""
OF_ITS_OWN = """\
def leaves_ours_alone(optimizer=None):
    return CosineAnnealingLR(sgd(), 10)
def takes_another_thing(model_dim=512):
    assert model_dim == 512
    return CosineAnnealingLR(sgd(), 10)
def takes_a_number(epochs: int = 10):
    return CosineAnnealingLR(sgd(), epochs)
def takes_nothing():
    return CosineAnnealingLR(sgd(), 10)
def gives_what_lightning_takes():
    optimizer = sgd()
    scheduler = {"scheduler": CosineAnnealingLR(optimizer, 10), "interval": "step"}
    return {"optimizer": optimizer, "lr_scheduler": scheduler}
class Holds:
    def __init__(self, size=3):
        self.inner = CosineAnnealingLR(sgd(), 10)
    def step(self):
        self.inner.step()
class Lists:
    def __init__(self):
        self.all = [CosineAnnealingLR(sgd(), 10)]
    def step(self):
        self.all[0].step()
def needs_a_closure():
    return CosineAnnealingLR(torch.optim.LBFGS([torch.nn.Parameter(torch.zeros(1))], lr=0.5), 10)
"""
OF_OURS = """\
class Wrapper:
    def __init__(self, optimizer):
        self.param_groups = list(optimizer.param_groups)
    def step(self):
        pass
def wraps(optimizer):
    scheduler = CosineAnnealingLR(optimizer, 10)
    scheduler.optimizer = Wrapper(optimizer)
    return scheduler
class Several:
    def __init__(self, optimizer):
        self.inner = CosineAnnealingLR(optimizer, 10)
        self.others = [sgd(), optimizer]
    def step(self):
        self.inner.step()
def comes_second(steps, optimizer):
    return CosineAnnealingLR(optimizer, steps)
def by_name(*, optim, steps=10):
    return CosineAnnealingLR(optim, steps)
def whatever(*given, **more):
    return CosineAnnealingLR(given[0], 10)
"""
WORD = "python:mine.py:f"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, from which nothing stays imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    sys.modules.pop("mine", None)


def traced(code: str, name: str = "f", total: int = 8, **spec: Any) -> Trace:
    Path("mine.py").write_text(HEAD + code)
    word = f"python:mine.py:{name}"
    return trace_of({"kind": word, **spec}, Run(epochs=total), Place(allow_code=True), word)


def named(code: str) -> list[str]:
    return re.findall(r"^(?:def|class) (\w+)", code, re.MULTILINE)


def cosine(lr: float, total: int) -> list[float]:
    real = torch_trace(lambda o: schedulers.CosineAnnealingLR(o, 10), total, lr=lr)
    rates: list[float] = real["lr"]
    return rates


@pytest.mark.parametrize("name", named(OF_ITS_OWN))
def test_the_rates_are_those_of_the_optimizer_that_it_steps(name: str) -> None:
    trace = traced(OF_ITS_OWN, name)
    assert trace.lr.tolist() == cosine(0.5, 8)
    (note,) = trace.schedule.notes(8)
    its = "LBFGS" if name == "needs_a_closure" else "SGD"
    assert note.endswith(f"{name} makes an optimizer of its own: the rates are those of that {its}, not the base rate")
    assert trace.schedule.lr == 0.5


def test_groups_of_its_own_are_named_in_order() -> None:
    code = (
        "def f():\n    a, b = (torch.nn.Parameter(torch.zeros(1)) for _ in 'ab')\n"
        "    return ExponentialLR(torch.optim.Adam([{'params': [a], 'lr': 0.2}, {'params': [b]}], lr=0.4), 0.5)"
    )
    trace = traced(code, total=3, groups={"head": 1, "tail": 7})
    agree(trace.groups["head"], [0.2, 0.1, 0.05])
    agree(trace.groups["tail"], [0.4, 0.2, 0.1])
    told = f"{WORD} makes an optimizer of its own, with 2 parameter groups: name them, as in --groups a=1,b=1"
    assert message_of(traced, code) == told
    one = "def f():\n    return ExponentialLR(sgd(), 0.5)"
    told = f"{WORD} makes an optimizer of its own, with 1 parameter group: name no groups"
    assert told in message_of(traced, one, groups={"a": 1, "b": 1})


@pytest.mark.parametrize("name", named(OF_OURS)[1:])
def test_ours_is_used_where_it_is_taken(name: str) -> None:
    args = {"args": {"steps": 10}} if name == "comes_second" else {}
    trace = traced(OF_OURS, name, **args)
    assert trace.lr.tolist() == cosine(0.1, 8)
    assert not trace.schedule.notes(8)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class S:\n    def step(self): pass\ndef f(): return S()",
         f"{WORD} gives a scheduler that has no .optimizer: let it take the optimizer as a parameter"),
        ("class f:\n    def __init__(self): self.a, self.b = sgd(), sgd()\n    def step(self): pass",
         f"{WORD} makes 2 optimizers of its own: one of them must be the one that it is given"),
        ("def f(size=3): return None",
         f"{WORD} must give a scheduler with step(), or be a function of the step, got None"),
        ("def f(steps, optimizer): pass", f"{WORD} needs steps too: give args: {{steps: ...}}"),
    ],
)  # fmt: skip
def test_where_nothing_tells_it_is_refused_in_a_line(code: str, message: str) -> None:
    assert message_of(traced, code) == message


def test_a_step_with_a_default_is_a_step() -> None:
    agree(traced("def f(step=0):\n    return 0.1 * 0.5**step", total=3).lr, [0.1, 0.05, 0.025])
    agree(traced("def f(x=3):\n    return 0.1 * 0.5**x", total=3).lr, [0.1, 0.05, 0.025])


@pytest.mark.parametrize(
    "body",
    [
        "LambdaLR(optimizer, [lambda t: 1.0, lambda t: 0.5])",
        "MultiplicativeLR(optimizer, [lambda t: 1.0, lambda t: 0.5])",
        "OneCycleLR(optimizer, [0.1, 0.2], total_steps=20)",
        "CyclicLR(optimizer, [0.01, 0.02], 0.1)",
        "ReduceLROnPlateau(optimizer, min_lr=[0.01, 0.02])",
    ],
)
def test_what_is_made_for_groups_is_told_how_to_have_them(body: str) -> None:
    code = f"def f(optimizer):\n    return {body}"
    hint = "; it is made for 2 parameter groups: name them, as in --groups a=1,b=1"
    assert message_of(traced, code).endswith(hint)
    metrics = {"metrics": [1.0] * 8} if "Plateau" in body else {}
    assert len(traced(code, groups={"a": 1, "b": 1}, **metrics).groups) == 2
    assert hint in message_of(traced, code, groups={"a": 1, "b": 1, "c": 1})


def test_a_group_that_is_not_there_is_told_as_well() -> None:
    code = "def f(optimizer):\n    optimizer.param_groups[1]['lr'] *= 2\n    return ExponentialLR(optimizer, 0.5)"
    told = message_of(traced, code)
    assert told.endswith("; if it is made for several parameter groups, name them, as in --groups a=1,b=1")
    assert "--groups" not in message_of(traced, "def f(optimizer):\n    return {}['x']")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("mine.py:f", "mine.py holds no schedule f (did you mean python:mine.py:f?)"),
        ("mine:f", "unknown kind mine:f (did you mean python:mine:f?); lrsched list all shows every one"),
    ],
)
def test_the_word_before_it_is_told(word: str, message: str) -> None:
    Path("mine.py").write_text("def f(step):\n    return 0.1\n")
    assert spawn("table", word, cwd=Path()).message() == message
    assert "did you mean python" not in spawn("table", "mine.py:g", cwd=Path()).message()
