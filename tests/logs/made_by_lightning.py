"""Writes the logs of Lightning among the fixtures: ``python tests/logs/made_by_lightning.py FOLDER``."""

import shutil
import sys
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger


class Module(lightning.LightningModule):
    def __init__(self, interval, names):
        super().__init__()
        self.backbone, self.head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
        self.interval, self.names = interval, names

    def training_step(self, batch, index):
        loss = self.head(self.backbone(batch[0])).square().mean()
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        groups = self.parameters()
        if self.names is not None:
            groups = [
                {"params": self.backbone.parameters(), "lr": 0.01, **({"name": "backbone"} if self.names else {})},
                {"params": self.head.parameters(), "lr": 0.1, **({"name": "head"} if self.names else {})},
            ]
        optimizer = torch.optim.SGD(groups, lr=0.1)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": self.interval}}


def fit(to, name, *, interval="step", names=None, accumulate=1, every=1, monitor="step"):
    torch.manual_seed(0)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(64, 2)), batch_size=8)
    logger = CSVLogger(to, name="runs", version=name)
    trainer = lightning.Trainer(
        max_epochs=5 * accumulate, accelerator="cpu", logger=logger, callbacks=[LearningRateMonitor(monitor)],
        log_every_n_steps=every, accumulate_grad_batches=accumulate, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(Module(interval, names), batches)
    shutil.copy(to / "runs" / name / "metrics.csv", to / f"lightning-{name}.csv")


def main(to):
    fit(to, "plain")
    fit(to, "named", names=True)
    fit(to, "numbered", names=False)
    fit(to, "stepped-by-epoch", interval="epoch")
    fit(to, "accumulated", accumulate=2)
    fit(to, "sparse", every=7)
    fit(to, "monitored-by-epoch", interval="epoch", monitor="epoch")
    shutil.rmtree(to / "runs")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
