"""The stepper ``accelerate`` against Accelerate itself, told that there are several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from lrsched_cli.run import Run
from lrsched_cli.spec import simulate
from lrsched_cli.stepper import stepped
from tests.support import agree

accelerate = pytest.importorskip("accelerate")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")
schedulers = torch.optim.lr_scheduler


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Forget the processes that a test has made up."""
    yield
    _forget()


def _forget() -> None:
    from accelerate.state import AcceleratorState, GradientState, PartialState

    AcceleratorState._reset_state(True)
    PartialState._reset_state()
    GradientState._reset_state()


def trained(
    make: Callable[[Any], Any], processes: int, epochs: int, batches: int, accumulated: int = 1, skipped: int = 0
) -> list[float]:
    """The rates of a loop as Accelerate's examples have it: step both on every batch, which it ignores or repeats.

    ``skipped`` says of how many updates one finds that its gradients overflow, as a GradScaler would report.
    """
    from accelerate import Accelerator
    from accelerate.scheduler import AcceleratedScheduler
    from accelerate.state import PartialState

    _forget()
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulated)
    PartialState._shared_state["num_processes"] = processes
    weight = torch.nn.Parameter(torch.zeros(1))
    plain = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    scheduler = AcceleratedScheduler(make(plain), [optimizer := accelerator.prepare_optimizer(plain)])
    used: list[float] = []
    for _ in range(epochs):
        for batch in range(batches):
            last = batch + 1 == batches
            accelerator.gradient_state._set_sync_gradients(last or (batch + 1) % accumulated == 0)
            weight.grad = torch.zeros(1)
            if accelerator.sync_gradients:
                used.append(float(plain.param_groups[0]["lr"]))
                optimizer._is_overflow = bool(skipped and len(used) % skipped == 0)
            optimizer.optimizer.step()
            scheduler.step()
    return used


KINDS: dict[str, tuple[Mapping[str, Any], Callable[[Any], Any]]] = {
    "StepLR": ({"kind": "torch.StepLR", "step_size": 9, "gamma": 0.5}, lambda o: schedulers.StepLR(o, 9, 0.5)),
    "LinearLR": (
        {"kind": "torch.LinearLR", "start_factor": 1.0, "end_factor": 0.1, "total_iters": 40},
        lambda o: schedulers.LinearLR(o, 1.0, 0.1, 40),
    ),
    "CosineAnnealingLR": (
        {"kind": "torch.CosineAnnealingLR", "T_max": 40, "eta_min": 0.01},
        lambda o: schedulers.CosineAnnealingLR(o, 40, 0.01),
    ),
    "OneCycleLR": (
        {"kind": "torch.OneCycleLR", "max_lr": 2.0, "total_steps": 40},
        lambda o: schedulers.OneCycleLR(o, 2.0, total_steps=40),
    ),
    "SequentialLR": (
        {
            "kind": "torch.SequentialLR",
            "milestones": [8],
            "schedulers": [
                {"kind": "torch.LinearLR", "start_factor": 0.1, "total_iters": 8},
                {"kind": "torch.StepLR", "step_size": 10},
            ],
        },
        lambda o: schedulers.SequentialLR(o, [schedulers.LinearLR(o, 0.1, 1.0, 8), schedulers.StepLR(o, 10)], [8]),
    ),
}


@pytest.mark.parametrize("processes", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_a_scheduler_is_stepped_once_for_each_process(kind: str, processes: int) -> None:
    spec, make = KINDS[kind]
    run = {"epochs": 4, "steps_per_epoch": 10, "world_size": processes, "stepper": "accelerate"}
    ours = stepped(simulate({"lr": 1.0, **spec}, run), Run.of(run))
    assert ours is not None
    agree(ours.lr, trained(make, processes, 4, 10))


@pytest.mark.parametrize("kind", KINDS)
def test_and_only_where_gradients_are_in_sync(kind: str) -> None:
    """10 batches in accumulations of 4, 4 and 2 are 3 updates an epoch."""
    spec, make = KINDS[kind]
    run = {
        "epochs": 4, "dataset_size": 80, "batch_size": 4, "grad_accumulation": 4, "world_size": 2,
        "stepper": "accelerate",
    }  # fmt: skip
    ours = stepped(simulate({"lr": 1.0, **spec}, run), Run.of(run))
    assert ours is not None
    agree(ours.lr, trained(make, 2, 4, 10, accumulated=4))


@pytest.mark.parametrize("kind", KINDS)
def test_a_skipped_update_steps_nothing(kind: str) -> None:
    spec, make = KINDS[kind]
    run = {"steps": 40, "stepper": "amp-skip:0.2"}
    ours = stepped(simulate({"lr": 1.0, **spec}, run), Run.of(run))
    assert ours is not None
    agree(ours.lr, trained(make, 1, 1, 40, skipped=5))


def test_a_cosine_of_transformers_on_four_processes() -> None:
    """Warm-up 10 of 100 steps: 0.0 at update 25, 0.97 at 50, 0.117 at 75 and 0.808 at 99."""
    transformers = pytest.importorskip("transformers")
    used = trained(lambda o: transformers.get_cosine_schedule_with_warmup(o, 10, 100), 4, 1, 100)
    assert [round(used[t], 3) for t in (25, 50, 75, 99)] == [0.0, 0.97, 0.117, 0.808]
    run = {"steps": 100, "world_size": 4, "stepper": "accelerate"}
    spec = {"kind": "transformers.cosine", "num_warmup_steps": 10, "num_training_steps": 100, "lr": 1.0}
    ours = stepped(simulate(spec, run), Run.of(run))
    assert ours is not None
    agree(ours.lr, used)
