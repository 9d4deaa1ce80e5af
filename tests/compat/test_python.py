"""``python:`` factories of real libraries, against the loops of these libraries' own trainers; where they are there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrsched_cli.run import Run
from lrsched_cli.spec import Place, trace_of
from lrsched_cli.trace import Trace
from tests.support import agree

os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries, which warn of each other


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def traced(code: str, run: Run, **spec: Any) -> Trace:
    Path("plan.py").write_text(code)
    word = "python:plan.py:make"
    return trace_of({"kind": word, **spec}, run, Place(allow_code=True), word)


def optimizer(lr: float = 0.1) -> Any:
    torch = pytest.importorskip("torch")
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)


def test_timm_by_epoch_and_by_update() -> None:
    """As timm/train.py has it: ``step_update`` after an update, ``step(epoch + 1)`` after an epoch."""
    scheduler = pytest.importorskip("timm.scheduler")
    made = "CosineLRScheduler(optimizer, t_initial=20, warmup_t=4, warmup_lr_init=1e-4, t_in_epochs={0})"
    code = "from timm.scheduler import CosineLRScheduler\ndef make(optimizer):\n    return " + made
    for in_epochs, run in ((True, Run(epochs=24)), (False, Run(steps=24))):
        o = optimizer()
        theirs = eval(made.format(in_epochs), {**vars(scheduler), "optimizer": o})
        rates = []
        for tick in range(24):
            rates.append(o.param_groups[0]["lr"])
            if in_epochs:
                theirs.step(tick + 1)
            else:
                theirs.step_update(num_updates=tick + 1)
        assert traced(code.format(in_epochs), run).lr.tolist() == rates
        assert len(set(rates)) > 10


def test_transformers_cosine_and_greedy() -> None:
    library = pytest.importorskip("transformers")
    code = "import transformers\ndef make(optimizer):\n    return transformers.get_cosine_schedule_with_warmup("
    trace = traced(code + "optimizer, 5, 50)", Run(steps=60))
    o = optimizer()
    theirs = library.get_cosine_schedule_with_warmup(o, 5, 50)
    rates = []
    for _ in range(60):
        rates.append(o.param_groups[0]["lr"])
        o.step()
        theirs.step()
    assert trace.lr.tolist() == rates
    greedy = "from transformers.optimization import GreedyLR\ndef make(optimizer):\n"
    losses = [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    trace = traced(greedy + "    return GreedyLR(optimizer, patience=2, min_lr=1e-3)", Run(steps=12), metrics=losses)
    o = optimizer()
    theirs = library.optimization.GreedyLR(o, patience=2, min_lr=1e-3)
    rates = []
    for loss in losses:
        rates.append(o.param_groups[0]["lr"])
        theirs.step(loss)
    assert trace.lr.tolist() == rates
    assert len(set(rates)) == 2


def test_accelerate_prepares_it() -> None:
    """On one process its scheduler is the one that it was made of."""
    pytest.importorskip("accelerate")
    code = (
        "import torch\nfrom accelerate import Accelerator\ndef make(optimizer):\n"
        "    a = Accelerator(cpu=True)\n    s = torch.optim.lr_scheduler.StepLR(optimizer, 3)\n"
        "    return a.prepare(s)\n"
    )
    agree(traced(code, Run(steps=7)).lr, [0.1] * 3 + [0.01] * 3 + [0.001], tolerance=1e-12)


def test_optax_and_keras_schedules_are_functions_of_the_step() -> None:
    optax = pytest.importorskip("optax")
    made = "optax.warmup_cosine_decay_schedule(0.0, 0.1, 5, 50)"
    trace = traced(f"import optax\nmake = {made}", Run(steps=50))
    theirs = eval(made, {"optax": optax})
    assert trace.lr.tolist() == [float(theirs(step)) for step in range(50)]


def test_keras_schedules_too() -> None:
    keras = pytest.importorskip("keras")
    made = "keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)"
    trace = traced(f"import keras\nmake = {made}", Run(steps=30))
    theirs = eval(made, {"keras": keras})
    np.testing.assert_array_equal(trace.lr, [float(theirs(step)) for step in range(30)])


def test_deepspeed_shaped_schedulers_need_no_argument() -> None:
    pytest.importorskip("torch")
    code = (
        "class WarmupLR:\n    def __init__(self, optimizer):\n        self.o, self.n = optimizer, -1\n"
        "        self.step()\n"
        "    def step(self, last_batch_iteration=None):\n"
        "        self.n = self.n + 1 if last_batch_iteration is None else last_batch_iteration\n"
        "        self.o.param_groups[0]['lr'] = 0.1 * min(1, self.n / 4)\n"
        "def make(optimizer):\n    return WarmupLR(optimizer)\n"
    )
    agree(traced(code, Run(steps=6)).lr, [0, 0.025, 0.05, 0.075, 0.1, 0.1])
