"""Writes the logs of transformers among the fixtures: ``python tests/logs/made_by_transformers.py FOLDER``."""

import shutil
import sys
from pathlib import Path

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x=None, labels=None):
        out = self.layer(x).squeeze(-1)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}


class Stop(TrainerCallback):
    """Saves a checkpoint and ends the training, as a job that is killed."""

    def __init__(self, at):
        self.at = at

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.at:
            control.should_save = control.should_training_stop = True


def train(folder, stop=None, resume=None, **arguments):
    torch.manual_seed(0)
    data = [{"x": torch.randn(2), "labels": torch.tensor(0.0)} for _ in range(64)]
    args = TrainingArguments(
        str(folder), report_to=[], per_device_train_batch_size=8, learning_rate=5e-5, use_cpu=True, save_steps=1000,
        **arguments,
    )  # fmt: skip
    trainer = Trainer(Model(), args, train_dataset=data, callbacks=[Stop(stop)] if stop else [])
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_state()
    return folder / "trainer_state.json"


def main(to):
    runs = to / "runs"
    shutil.copy(
        train(runs / "a", max_steps=40, lr_scheduler_type="linear", warmup_steps=5, logging_steps=1),
        to / "transformers-linear.json",
    )
    cosine = {"lr_scheduler_type": "cosine"}
    shutil.copy(
        train(runs / "b", num_train_epochs=5, warmup_steps=4, logging_steps=3, gradient_accumulation_steps=2, **cosine),
        to / "transformers-accumulated.json",
    )
    # Half of 100 updates, then on to 200: the rate jumps from 0.50 to 0.848 of its peak.
    train(runs / "c", stop=50, max_steps=100, logging_steps=5, **cosine)
    resumed = str(runs / "c" / "checkpoint-50")
    shutil.copy(
        train(runs / "c", resume=resumed, max_steps=200, logging_steps=5, **cosine), to / "transformers-extended.json"
    )
    shutil.rmtree(runs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
