"""Configurations of other programs against these programs: what they make of the same values."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrsched_cli.book import read_book
from lrsched_cli.errors import SpecError
from lrsched_cli.run import Run
from lrsched_cli.trace import Trace
from tests.support import agree

OFTEN = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def read(folder: Path, name: str, text: str, form: str, **options: Any) -> Trace:
    """The trace of a file's only entry."""
    path = folder / name
    path.write_text(text)
    (entry,) = read_book(path, form).entries.values()
    return entry.overlaid({}, Run.of(options)).trace()


def optimizer(lr: float, *, adam: bool = False) -> Any:
    import torch

    weight = torch.nn.Parameter(torch.zeros(1))
    return torch.optim.AdamW([weight], lr=lr) if adam else torch.optim.SGD([weight], lr=lr, momentum=0.9)


def stepped(made: Any, scheduler: Any, total: int) -> list[float]:
    """The rate of every update in the loop that a Trainer has."""
    rates = []
    for update in range(total):
        rates.append(float(made.param_groups[0]["lr"]))
        made.step()
        if update < total - 1:  # after the last, polynomial divides by zero where all of the run is warm-up
            scheduler.step()
    return rates


KWARGS = {
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.2},
    "warmup_stable_decay": {"num_decay_steps": 5},
    "polynomial": {"power": 2.0},
    "cosine_with_restarts": {"num_cycles": 2},
}
TYPES = ("linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt", *KWARGS)


@OFTEN
@given(
    name=st.sampled_from(TYPES),
    lr=st.sampled_from([5e-5, 1e-3, 0.3]),
    epochs=st.sampled_from([1, 1.0, 2.5, 0.7, 3]),
    warmup=st.one_of(st.integers(0, 9), st.floats(0, 0.99), st.sampled_from([1.0, 2.7])),
    samples=st.integers(1, 300),
    batch=st.integers(1, 17),
    accumulation=st.integers(1, 5),
    drop_last=st.booleans(),
)
def test_training_arguments_in_a_trainer(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    lr: float,
    epochs: float,
    warmup: float,
    samples: int,
    batch: int,
    accumulation: int,
    drop_last: bool,
) -> None:
    """The Trainer's own count of steps, its ``get_warmup_steps`` and its scheduler, on a data loader of that length."""
    pytest.importorskip("transformers")
    from torch.utils.data import DataLoader
    from transformers import Trainer, TrainingArguments
    from transformers.optimization import get_scheduler

    folder = tmp_path_factory.mktemp("t")
    said = {
        "learning_rate": lr,
        "num_train_epochs": epochs,
        "lr_scheduler_type": name,
        "lr_scheduler_kwargs": KWARGS.get(name, {}),
        "warmup_steps": warmup,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "dataloader_drop_last": drop_last,
    }
    arguments = TrainingArguments(output_dir=str(folder), report_to=[], use_cpu=True, **said)
    loader = DataLoader(range(samples), batch_size=batch, drop_last=drop_last)
    trainer = SimpleNamespace(
        get_total_train_batch_size=lambda args: 1, get_sp_size=lambda: 1, num_examples=lambda data: samples
    )
    if not len(loader):
        with pytest.raises(SpecError, match="leaves no full batch"):
            read(folder, "a.json", json.dumps(said), "transformers", dataset_size=samples, world_size=1)
        return
    total = Trainer.set_initial_training_values(trainer, arguments, loader)[-1]
    made = optimizer(lr, adam=True)
    steps = arguments.get_warmup_steps(total)
    scheduler = get_scheduler(name, made, steps, total, scheduler_specific_kwargs=arguments.lr_scheduler_kwargs)
    ours = read(folder, "a.json", json.dumps(said), "transformers", dataset_size=samples, world_size=1)
    assert ours.clock.total == total
    agree(ours.lr, stepped(made, scheduler, total))


def test_a_trainer_that_really_trains(tmp_path: Path) -> None:
    """Dumped with ``to_json_string``, as users do; every rate that the optimizer had is read in a callback."""
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            return {"loss": ((self.layer(x) - labels) ** 2).mean()}

    seen: list[float] = []

    class Recorder(TrainerCallback):
        def on_pre_optimizer_step(
            self, args: Any, state: Any, control: Any, optimizer: Any = None, **rest: Any
        ) -> None:
            seen.append(optimizer.param_groups[0]["lr"])

    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        learning_rate=1e-2,
        num_train_epochs=1.6,
        per_device_train_batch_size=3,
        gradient_accumulation_steps=2,
        warmup_steps=0.2,
        lr_scheduler_type="cosine",
        report_to=[],
        use_cpu=True,
        save_strategy="no",
    )
    data = [{"x": torch.ones(1), "labels": torch.zeros(1)} for _ in range(40)]
    Trainer(Model(), arguments, train_dataset=data, callbacks=[Recorder()]).train()
    text = arguments.to_json_string()
    ours = read(tmp_path, "training_args.json", text, "transformers", dataset_size=40, world_size=1)
    assert len(seen) == math.ceil(1.6 * 7)
    agree(ours.lr, seen)
    (entry,) = read_book(tmp_path / "training_args.json").entries.values()
    assert entry.overlaid({}, Run(dataset_size=40, world_size=1)).trace().clock.total == len(seen)


@OFTEN
@given(data=st.data())
def test_timm_arguments_in_its_factory(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """``scheduler_kwargs(args)`` into ``create_scheduler_v2``, stepped as train.py steps it."""
    pytest.importorskip("timm")
    from timm.scheduler.scheduler_factory import create_scheduler_v2, scheduler_kwargs

    draw = data.draw
    on_updates = draw(st.booleans())
    said: dict[str, Any] = {
        "sched": draw(
            st.sampled_from(["cosine", "tanh", "step", "multistep", "poly", "wsd", "rsqrt", "constant", "none"])
        ),
        "epochs": draw(st.integers(6, 20)),
        "lr": draw(st.sampled_from([0.1, 1e-3])),
        "warmup_epochs": draw(st.integers(0, 5)),
        "warmup_lr": draw(st.sampled_from([0.0, 1e-5])),
        "warmup_prefix": draw(st.booleans()),
        "cooldown_epochs": draw(st.integers(0, 4)),
        "min_lr": draw(st.sampled_from([0.0, 1e-6])),
        "decay_epochs": draw(st.sampled_from([1, 2.4, 3, 0.25])),
        "decay_milestones": draw(st.lists(st.integers(1, 20), min_size=1, max_size=4).map(sorted)),
        "decay_rate": draw(st.sampled_from([0.1, 0.5, 1.0])),
        "lr_cycle_mul": draw(st.sampled_from([1.0, 1.5, 2.0])),
        "lr_cycle_decay": draw(st.sampled_from([0.5, 1.0])),
        "lr_cycle_limit": draw(st.integers(1, 3)),
        "lr_k_decay": draw(st.sampled_from([1.0, 1.5])),
        "lr_noise": None,
        "seed": 42,
        "sched_on_updates": on_updates,
        "opt": "sgd",
    }
    updates = draw(st.integers(1, 4))
    text = "\n".join(f"{key}: {json.dumps(value)}" for key, value in said.items())
    folder = tmp_path_factory.mktemp("t")
    options = {"steps_per_epoch": updates} if on_updates else {}
    made = optimizer(said["lr"])
    try:
        scheduler, epochs = create_scheduler_v2(
            made, **scheduler_kwargs(SimpleNamespace(**said)), updates_per_epoch=updates
        )
        rates = []
        for epoch in range(int(epochs)):
            for update in range(updates if on_updates else 1):
                rates.append(made.param_groups[0]["lr"])
                if scheduler is not None and on_updates:
                    scheduler.step_update(epoch * updates + update + 1)
            if scheduler is not None:
                scheduler.step(epoch + 1, None)
    except (ValueError, AssertionError, ZeroDivisionError):
        with pytest.raises(SpecError):
            read(folder, "args.yaml", text, "timm", **options)
        return
    ours = read(folder, "args.yaml", text, "timm", **options)
    assert ours.clock.total == len(rates)
    agree(ours.lr, rates)


@pytest.mark.parametrize(
    ("trainer", "options"),
    [({"max_epochs": 5}, {}), ({"max_epochs": 4, "accumulate_grad_batches": 3}, {"interval": "step"})],
)
def test_lightning_steps_as_its_cli_returns_the_scheduler(
    tmp_path: Path, trainer: dict[str, Any], options: dict[str, Any]
) -> None:
    """``configure_optimizers`` of LightningCLI in a real Trainer: the rate of every epoch, or of every update."""
    pytest.importorskip("lightning")
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.cli import LightningCLI

    seen: dict[int, list[float]] = {}

    class Model(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            return self.layer(batch[0]).sum()

        def configure_optimizers(self) -> Any:
            made = torch.optim.SGD(self.parameters(), lr=0.2)
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(made, T_max=5, eta_min=0.01)
            if options.get("interval") == "step":
                return {"optimizer": made, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
            return LightningCLI.configure_optimizers(self, made, scheduler)

        def on_before_optimizer_step(self, made: Any) -> None:
            seen.setdefault(self.current_epoch, []).append(made.param_groups[0]["lr"])

    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    samples, batch = 22, 3
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(samples, 1)), batch_size=batch)
    with warnings.catch_warnings(action="ignore"):  # of few workers and the like
        pl.Trainer(**trainer, **silent, enable_model_summary=False, devices=1).fit(Model(), loader)
    document = {
        "trainer": {**trainer, "devices": 1},
        "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.2}},
        "lr_scheduler": {
            "class_path": "torch.optim.lr_scheduler.CosineAnnealingLR",
            "init_args": {"T_max": 5, "eta_min": 0.01},
        },
        "data": {"batch_size": batch},
    }
    ours = read(tmp_path, "c.yaml", json.dumps(document), "lightning", dataset_size=samples, **options)
    if options:
        agree(ours.lr, [rate for rates in seen.values() for rate in rates])
    else:
        assert all(len(set(rates)) == 1 for rates in seen.values())
        agree(ours.lr, [rates[0] for rates in seen.values()])
        assert ours.clock.steps_per_epoch == len(seen[0])
