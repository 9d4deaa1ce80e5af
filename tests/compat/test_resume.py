"""Resumes of transformers' schedulers against the library: checkpointed, made anew for the new total, trained on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from lrsched_cli.book import Entry
from lrsched_cli.run import Run
from lrsched_cli.verify.resume import Checkpoint, resume
from tests.support import agree

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

N = 60
#: What get_scheduler is given beside the warm-up and the total.
KINDS: dict[str, Mapping[str, Any]] = {
    "constant": {},
    "constant_with_warmup": {},
    "linear": {},
    "cosine": {},
    "cosine_with_restarts": {"num_cycles": 3},
    "polynomial": {"power": 2.0},
    "inverse_sqrt": {},
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1},
    "warmup_stable_decay": {"num_decay_steps": 15},
}
WAYS = [
    ("state-dict", "after"),
    ("state-dict", "before"),
    ("state-dict", "never"),
    ("rebuild", "before"),
    ("rebuild", "after"),
    ("rebuild", "never"),
]


def _optimizer() -> Any:
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    return torch.optim.AdamW([weight], lr=1.0)


def _trained(optimizer: Any, scheduler: Any, ticks: int) -> list[float]:
    used = []
    for _ in range(ticks):
        used.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return used


def really(name: str, kwargs: Mapping[str, Any], checkpoint: Checkpoint) -> list[float]:
    """The rates of a real optimizer."""

    def make(optimizer: Any, total: int) -> Any:
        return transformers.get_scheduler(name, optimizer, 6, total, dict(kwargs))

    first = _optimizer()
    scheduler = make(first, N)
    used = _trained(first, scheduler, checkpoint.at)
    state = copy.deepcopy((first.state_dict(), scheduler.state_dict()))
    second = _optimizer()
    if checkpoint.order == "before":
        second.load_state_dict(state[0])
    scheduler = make(second, checkpoint.total)
    if checkpoint.mode == "state-dict":
        scheduler.load_state_dict(state[1])
    if checkpoint.order == "after":
        second.load_state_dict(state[0])
    return used + _trained(second, scheduler, checkpoint.total - checkpoint.at)


@pytest.mark.parametrize(("mode", "loaded"), WAYS)
@pytest.mark.parametrize("name", KINDS)
def test_the_library_does_the_same(name: str, mode: str, loaded: str) -> None:
    spec = {"kind": f"transformers.{name}", "num_warmup_steps": 6, "num_training_steps": N, "lr": 1.0, **KINDS[name]}
    for at, total in ((3, 2 * N), (30, 2 * N), (30, N), (N, N + 20)):
        checkpoint = Checkpoint(at, total, mode, loaded)
        ours = resume(Entry(name, spec, Run(steps=N)), checkpoint).resumed.lr
        agree(ours, really(name, KINDS[name], checkpoint), tolerance=1e-8)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_last_epoch_in_the_library(name: str) -> None:
    """The functions that take last_epoch: get_scheduler itself does not."""
    make = getattr(transformers, f"get_{name}_schedule_with_warmup")
    first = _optimizer()
    used = _trained(first, make(first, 6, N), 30)
    second = _optimizer()
    second.load_state_dict(first.state_dict())
    used += _trained(second, make(second, 6, 2 * N, last_epoch=30), 2 * N - 30)
    spec = {"kind": f"transformers.{name}", "num_warmup_steps": 6, "num_training_steps": N, "lr": 1.0}
    agree(resume(Entry(name, spec, Run(steps=N)), Checkpoint(30, 2 * N, "last-epoch")).resumed.lr, used)


def test_the_trainer_resumes_so(tmp_path: Any) -> None:
    """Half of 100 steps, then 200: 0.50 at step 50, and 0.848 one step later (huggingface/transformers#34053)."""
    spec = {"kind": "transformers.cosine", "num_warmup_steps": 0, "num_training_steps": 100, "lr": 1.0}
    jump = resume(Entry("cosine", spec, Run(steps=100)), Checkpoint(50, 200)).jump
    first = _optimizer()
    scheduler = transformers.get_cosine_schedule_with_warmup(first, 0, 100)
    _trained(first, scheduler, 50)
    torch.save((first.state_dict(), scheduler.state_dict()), tmp_path / "checkpoint.pt")
    second = _optimizer()
    scheduler = transformers.get_cosine_schedule_with_warmup(second, 0, 200)
    states = torch.load(tmp_path / "checkpoint.pt", weights_only=False)
    second.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    used = _trained(second, scheduler, 3)
    assert jump is not None
    assert (round(used[0], 3), round(used[1], 3)) == (0.5, 0.848)
    assert (jump.tick, round(jump.before, 3), round(jump.after, 3)) == (51, 0.5, 0.848)
