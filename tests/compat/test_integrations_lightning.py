"""``lightning_config`` in a real Trainer of Lightning: every rate that an update used is the plan's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrsched_cli as lrs

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning.pytorch")
pytestmark = pytest.mark.filterwarnings("ignore")

BATCHES, EPOCHS = 6, 5


class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
    """A line, whose optimizer is watched, with a validation loss that is given."""

    def __init__(self, target: Any, run: Any, losses: list[float] | None = None, lr: float = 0.1) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.target, self.run, self.losses, self.lr = target, run, losses, lr
        self.used: list[tuple[float, float]] = []

    def training_step(self, batch: Any, number: int) -> Any:
        return self.layer(batch).square().mean()

    def validation_step(self, batch: Any, number: int) -> None:
        assert self.losses is not None
        self.log("val_loss", torch.tensor(self.losses[self.current_epoch]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        optimizer.register_step_pre_hook(self.look)
        return lrs.lightning_config(optimizer, self.target, self.run)

    def look(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        group = optimizer.param_groups[0]
        self.used.append((group["lr"], group["momentum"]))

    def loader(self) -> Any:
        return torch.utils.data.DataLoader(torch.ones(BATCHES * 2, 2), batch_size=2)

    train_dataloader = loader

    def val_dataloader(self) -> Any:
        return self.loader() if self.losses is not None else []


def fit(module: Module, folder: Path, checkpoint: Path | None = None, **kwargs: Any) -> Any:
    trainer = lightning.Trainer(
        **{"max_epochs": EPOCHS, **kwargs}, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    return trainer


@pytest.mark.parametrize("accumulated", [1, 2, 4])
def test_a_plan_in_steps(accumulated: int, tmp_path: Path) -> None:
    steps = EPOCHS * -(-BATCHES // accumulated)
    entry = {"kind": "onecycle", "cycle_momentum": True}
    module = Module(entry, {"steps": steps})
    trainer = fit(module, tmp_path, accumulate_grad_batches=accumulated)
    trace = lrs.simulate({**entry, "lr": 0.1}, {"steps": steps})
    assert trace.momentum is not None
    assert module.used == list(zip(trace.lr.tolist(), trace.momentum.tolist(), strict=True))
    assert trainer.lr_scheduler_configs[0].interval == "step"
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == trainer.global_step == steps


def test_a_plan_in_epochs(tmp_path: Path) -> None:
    module = Module("cosine", {"epochs": EPOCHS})
    trainer = fit(module, tmp_path, accumulate_grad_batches=2)
    trace = lrs.simulate({"kind": "cosine"}, {"epochs": EPOCHS})
    assert [lr for lr, _ in module.used] == np.repeat(trace.lr, BATCHES // 2).tolist()
    assert trainer.lr_scheduler_configs[0].interval == "epoch"


def test_a_plan_that_reacts(tmp_path: Path) -> None:
    losses = [1.0, 0.5, 0.5, 0.5, 0.2]
    entry = {"kind": "plateau", "patience": 0, "factor": 0.5}
    module = Module(entry, {"epochs": EPOCHS}, losses)
    fit(module, tmp_path)
    schedule = lrs.simulate({**entry, "metrics": losses}, {"epochs": EPOCHS})
    wanted = np.repeat(schedule.lr, BATCHES).tolist()
    assert [lr for lr, _ in module.used] == wanted
    assert sorted(set(wanted)) == [0.025, 0.05, 0.1]


def test_a_run_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    run = {"steps": EPOCHS * BATCHES}
    trace = lrs.simulate({"kind": "cosine", "warmup": 5, "lr": 0.05}, run)
    entry = {"kind": "cosine", "warmup": 5}
    module = Module(entry, run, lr=0.05)
    trainer = fit(module, tmp_path, max_epochs=2)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    assert [lr for lr, _ in module.used] == trace.lr[: 2 * BATCHES].tolist()
    module = Module(entry, run, lr=0.05)
    fit(module, tmp_path, tmp_path / "half.ckpt")
    assert [lr for lr, _ in module.used] == trace.lr[2 * BATCHES :].tolist()


def test_the_length_of_the_run_comes_from_the_trainer(tmp_path: Path) -> None:
    class Counting(Module):
        def configure_optimizers(self) -> Any:
            self.run = {"steps": self.trainer.estimated_stepping_batches}
            return super().configure_optimizers()

    module = Counting("cosine", None)
    fit(module, tmp_path, accumulate_grad_batches=3)
    trace = lrs.simulate({"kind": "cosine"}, {"steps": EPOCHS * 2})
    assert [lr for lr, _ in module.used] == trace.lr.tolist()
