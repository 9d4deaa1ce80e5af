"""``trainer_optimizers`` and ``RateAudit`` in a real Trainer of transformers, and the scheduler under accelerate."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import lrsched_cli as lrs
from tests.integrations.support import Watch, sgd, warnings_of
from tests.support import message_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
accelerate = pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")

SAMPLES = 40


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
        return {"loss": self.layer(x).square().mean(), "logits": self.layer(x)}


def trainer_of(folder: Path, model: Any = None, optimizer: Any = None, **kwargs: Any) -> tuple[Any, Watch]:
    """A Trainer that makes 20 updates of 4 samples, and its optimizer watched."""
    said = {"callbacks": kwargs.pop("callbacks", []), "optimizers": kwargs.pop("optimizers", (optimizer, None))}
    evaluated = [{"x": torch.ones(2), "labels": torch.zeros(1)}] * 4
    said |= {"eval_dataset": evaluated} if "eval_strategy" in kwargs else {}
    args = transformers.TrainingArguments(
        **{"output_dir": str(folder), "per_device_train_batch_size": 4, "num_train_epochs": 2, "save_strategy": "no",
           "report_to": [], "use_cpu": True, "disable_tqdm": True, "learning_rate": 0.1, "logging_strategy": "no",
           "seed": 1, **kwargs},
    )  # fmt: skip
    data = [{"x": torch.full((2,), float(i)), "labels": torch.zeros(1)} for i in range(SAMPLES)]
    trainer = transformers.Trainer(model or Model(), args, train_dataset=data, **said)
    if trainer.optimizer is None:
        trainer.create_optimizer()
    return trainer, Watch(trainer.optimizer)


def pair_of(entry: Any, steps: int = 20, lr: float = 0.1) -> tuple[Any, tuple[Any, Any]]:
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    return model, lrs.trainer_optimizers(optimizer, entry, {"steps": steps})


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_trainer_uses_the_rates_of_the_plan(accumulated: int, tmp_path: Path) -> None:
    steps = 20 // accumulated
    entry = {"kind": "onecycle", "cycle_momentum": True}
    model, pair = pair_of(entry, steps)
    audit = lrs.RateAudit({**entry, "lr": 0.1}, {"steps": steps})
    trainer, watch = trainer_of(
        tmp_path, model, gradient_accumulation_steps=accumulated, optimizers=pair, callbacks=[audit]
    )
    trainer.train()
    trace = lrs.simulate(entry, {"steps": steps})
    assert watch.first == trace.lr.tolist()
    assert trace.momentum is not None
    assert watch.momenta == trace.momentum.tolist()
    assert (audit.updates, audit.first, audit.differences) == (steps, None, 0)


def test_a_run_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    entry = {"kind": "cosine", "warmup": 5, "lr": 0.1}
    trace = lrs.simulate(entry, {"steps": 20})
    model, pair = pair_of(entry)
    trainer, watch = trainer_of(tmp_path, model, optimizers=pair, save_strategy="epoch")
    trainer.train()
    assert watch.first == trace.lr.tolist()
    model, pair = pair_of(entry)
    audit = lrs.RateAudit(entry, {"steps": 20})
    trainer, watch = trainer_of(tmp_path, model, optimizers=pair, callbacks=[audit])
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))
    assert watch.first == trace.lr[10:].tolist()
    assert (audit.updates, audit.first) == (10, None)


def test_a_plan_that_reacts_is_stepped_at_evaluations(tmp_path: Path) -> None:
    entry = {"kind": "plateau", "patience": 0, "factor": 0.5, "threshold": 0.5}
    model, pair = pair_of(entry)
    trainer, watch = trainer_of(
        tmp_path, model, optimizers=pair, eval_strategy="steps", eval_steps=5, metric_for_best_model="loss"
    )
    trainer.train()
    measured = pair[1].state_dict()["metrics"]
    assert len(measured) == 4
    trace = lrs.simulate({**entry, "metrics": measured}, {"steps": 4})
    assert watch.first == np.repeat(trace.lr, 5).tolist()


def test_a_plan_in_epochs_is_refused(tmp_path: Path) -> None:
    told = "the Trainer steps the scheduler after every update, and cosine ticks by epoch: "
    told += "say steps in its run, or epochs and steps_per_epoch"
    assert message_of(lrs.trainer_optimizers, sgd(0.1), "cosine", {"epochs": 3}) == told
    trainer, _ = trainer_of(tmp_path, callbacks=[lrs.RateAudit("cosine", {"epochs": 3})])
    assert message_of(trainer.train) == told
    _, scheduler = lrs.trainer_optimizers(sgd(0.1), "cosine", {"epochs": 3, "steps_per_epoch": 5})
    assert scheduler.plan.total == 15
    trainer, _ = trainer_of(tmp_path, callbacks=[lrs.RateAudit("plateau", {"steps": 20})])
    assert message_of(trainer.train) == "plateau: reacts to a metric, so that its rates are not known before"


# The audit.

THEIRS = {"kind": "transformers.cosine", "num_warmup_steps": 4, "num_training_steps": 20, "lr": 0.1}


def test_it_audits_the_trainers_own_scheduler(tmp_path: Path) -> None:
    audit = lrs.RateAudit(THEIRS, {"steps": 20})
    trainer, _ = trainer_of(tmp_path, callbacks=[audit], lr_scheduler_type="cosine", warmup_steps=4)
    trainer.train()
    assert (audit.updates, audit.first) == (20, None)


def test_a_wrong_plan_stops_training_before_the_first_update_that_differs(tmp_path: Path) -> None:
    wrong = {"kind": "transformers.cosine", "num_warmup_steps": 5, "num_training_steps": 20, "lr": 0.1}
    trainer, watch = trainer_of(
        tmp_path, callbacks=[lrs.RateAudit(wrong, {"steps": 20})], lr_scheduler_type="cosine", warmup_steps=4
    )
    told = message_of(trainer.train)
    assert told == "update 1 used lr 0.025 where the plan has 0.02 (group 0)"
    assert len(watch.rates) == 1  # at a rate of 0, as both have it


def test_a_wrong_plan_is_recorded(tmp_path: Path) -> None:
    wrong = {"kind": "linear", "end_factor": 0, "lr": 0.1}
    audit = lrs.RateAudit(wrong, {"steps": 20}, on_difference="record")
    trainer, watch = trainer_of(tmp_path, callbacks=[audit], lr_scheduler_type="constant")
    trainer.train()
    assert len(watch.rates) == audit.updates == 20
    assert audit.differences == 19
    assert audit.first is not None
    assert audit.first[:2] == (1, 0)
    assert audit.first.planned == pytest.approx(0.095)
    assert audit.first.used == 0.1
    told = "on_difference must be raise or record, got 'warn'"
    assert message_of(lrs.RateAudit, wrong, on_difference="warn") == told


def test_a_difference_in_one_parameter_group_is_found(tmp_path: Path) -> None:
    model = Model()
    groups = [{"params": [model.layer.weight]}, {"params": [model.layer.bias], "lr": 0.05}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    audit = lrs.RateAudit("cosine", {"steps": 20}, on_difference="record")
    lambdas = [lambda t: 0.5 * (1 + np.cos(np.pi * t / 20)), lambda t: 1.0]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambdas)
    trainer, _ = trainer_of(tmp_path, model, optimizers=(optimizer, scheduler), callbacks=[audit])
    trainer.train()
    assert audit.first is not None
    assert audit.first[:2] == (1, 1)
    assert audit.first.used == 0.05


def test_a_run_of_another_length_warns(tmp_path: Path) -> None:
    audit = lrs.RateAudit({"kind": "constant", "lr": 0.1}, {"steps": 30})
    trainer, _ = trainer_of(tmp_path, callbacks=[audit], lr_scheduler_type="constant")
    _, told = warnings_of(trainer.train)
    assert "constant is planned for 30 updates, and the Trainer makes 20" in told


def test_updates_that_mixed_precision_skips_are_none_of_the_plans() -> None:
    """What the Trainer tells its callbacks, without the hardware that overflows: the count outlives a checkpoint."""
    optimizer = sgd(0.1)
    optimizer.step_was_skipped = False
    scheduler = lrs.torch_scheduler(optimizer, "cosine", {"steps": 20})
    state = SimpleNamespace(global_step=0, max_steps=20, stateful_callbacks={})
    audit = lrs.RateAudit("cosine", {"steps": 20})
    audit.on_train_begin(None, state, None, optimizer=optimizer)
    for tries in range(12):
        if tries == 6:  # as in a new process
            audit = lrs.RateAudit("cosine", {"steps": 20})
            audit.on_train_begin(None, state, None, optimizer=optimizer)
        audit.on_pre_optimizer_step(None, state, None, optimizer=optimizer)
        optimizer.step_was_skipped = tries in (0, 3, 7)
        audit.on_optimizer_step(None, state, None, optimizer=optimizer)
        if not optimizer.step_was_skipped:
            optimizer.step()
            scheduler.step()
        state.global_step += 1
    assert audit.first is None
    assert scheduler.last_epoch == 9
    assert list(state.stateful_callbacks.values()) == [{"attributes": {"skipped": 3}}]


# Accelerate.


def test_accelerate_prepares_it() -> None:
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = lrs.torch_scheduler(optimizer, "cosine", {"steps": 10})
    watch = Watch(optimizer)
    model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
    assert type(scheduler).__name__ == "AcceleratedScheduler"
    for _ in range(20):
        with accelerator.accumulate(model):
            accelerator.backward(model(torch.ones(1, 2)).square().mean())
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    trace = lrs.simulate({"kind": "cosine"}, {"steps": 10})
    assert watch.first == trace.lr.tolist()
    assert scheduler.get_last_lr() == [trace.lr_after[-1]]
    assert scheduler.state_dict()["last_epoch"] == 10
    # And one that is made for an optimizer which is prepared already.
    optimizer = accelerator.prepare(torch.optim.SGD(model.parameters(), lr=0.1))
    assert lrs.torch_scheduler(optimizer, "cosine").get_last_lr() == [0.1]
