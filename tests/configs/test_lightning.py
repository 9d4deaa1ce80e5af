"""The YAML of a Lightning CLI."""

from __future__ import annotations

import math

import pytest

from tests.configs.support import entry, refusal, traced
from tests.support import agree

STEP = """\
lit.yaml
trainer:
  max_epochs: 6
optimizer:
  class_path: torch.optim.SGD
  init_args: {lr: 0.1}
lr_scheduler:
  class_path: torch.optim.lr_scheduler.StepLR
  init_args:
    step_size: 2
    gamma: 0.5
"""
EVERY_EPOCH = "stepped once an epoch, as the Lightning CLI does: ticks are epochs"
HALVES = [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]


def test_a_saved_config_gives_rates_and_geometry() -> None:
    found = entry("lightning.yaml")
    assert found.run.said == {
        "epochs": 30,
        "interval": "epoch",
        "batch_size": 64,
        "grad_accumulation": 2,
        "world_size": 8,
    }
    assert found.notes == (EVERY_EPOCH,)
    agree(found.trace().lr, [0.001 + 0.199 * 0.5 * (1 + math.cos(math.pi * t / 30)) for t in range(30)])
    counted = entry("lightning.yaml", {"dataset_size": 5000}).trace().clock
    assert (counted.interval, counted.total, counted.steps_per_epoch) == ("epoch", 30, 5)


def test_ticks_are_epochs_unless_said_otherwise() -> None:
    agree(traced(STEP).lr, HALVES)
    found = entry(STEP, {"interval": "step", "steps_per_epoch": 2})
    assert not found.notes
    agree(found.trace().lr, [0.1 * 0.5 ** (t // 2) for t in range(12)])
    assert refusal(STEP, {"interval": "step"}) == (
        "lit.yaml: does not say how many steps an epoch has: add --steps-per-epoch, or --dataset-size"
    )


def test_the_length_is_the_trainers() -> None:
    def length(trainer: str, **options: int) -> int:
        return traced(STEP.replace("max_epochs: 6", trainer), options).clock.total

    assert length("max_steps: 25", steps_per_epoch=10) == 3
    assert length("max_epochs: 6\n  max_steps: 25", steps_per_epoch=10) == 3
    assert length("max_epochs: 2\n  max_steps: 25", steps_per_epoch=10) == 2
    assert length("max_epochs: -1", epochs=4) == 4
    assert length("max_epochs: 6", epochs=4) == 4
    assert length("max_epochs: -1\n  max_steps: -1", epochs=4) == 4
    free = entry(STEP.replace("max_epochs: 6", "precision: 32"))
    assert free.run.epochs == 1000
    assert "trainer says no length, so Lightning trains for 1000 epochs" in free.notes


def test_what_the_trainer_does_not_say_is_asked_for() -> None:
    def told(trainer: str) -> str:
        return refusal(STEP.replace("max_epochs: 6", trainer))

    assert told("max_steps: 25") == (
        "lit.yaml: does not say how many epochs max_steps 25 are: add --steps-per-epoch, or --epochs"
    )
    assert told("max_epochs: 6\n  max_steps: 25") == (
        "lit.yaml: does not say whether max_steps 25 ends it before max_epochs 6: add --steps-per-epoch"
    )
    assert told("max_epochs: -1") == "lit.yaml: does not say how long training is: add --epochs, or --steps"
    rate = STEP.replace("{lr: 0.1}", "{momentum: 0.9}")
    assert refusal(rate) == "lit.yaml: does not say the rate of the optimizer (optimizer.init_args.lr): add --lr"
    agree(traced(rate, {"lr": 0.1}).lr, HALVES)


@pytest.mark.parametrize(
    ("devices", "processes"),
    [("3", 3), ("'3'", 3), ("[0, 1]", 2), ("'0,1,2'", 3), ("auto", None), ("-1", None), ("'" + "9" * 5000 + "'", None)],
)
def test_devices_are_processes_where_they_are_counted(devices: str, processes: int | None) -> None:
    text = STEP.replace("max_epochs: 6", f"max_epochs: 6\n  devices: {devices}\n  num_nodes: 2")
    assert entry(text).run.world_size == (None if processes is None else 2 * processes)


def test_names_may_be_short_and_under_the_subcommand() -> None:
    short = STEP.replace("torch.optim.lr_scheduler.StepLR", "StepLR").replace("torch.optim.SGD", "SGD")
    agree(traced(short).lr, HALVES)
    head, _, body = short.partition("\n")
    under = f"{head}\nfit:\n" + "".join(f"  {line}\n" for line in body.splitlines())
    agree(traced(under).lr, HALVES)
    optimizer = "optimizer: {class_path: SGD, init_args: {lr: 1.0}}"
    alone = f"c.yaml\ntrainer: {{max_epochs: 3}}\n{optimizer}\nlr_scheduler: ConstantLR\n"
    agree(traced(alone).lr, [1 / 3] * 3)


def test_momentum_is_that_of_the_optimizer() -> None:
    text = STEP.replace("StepLR", "OneCycleLR").replace("step_size: 2", "max_lr: 1.0")
    text = text.replace("gamma: 0.5", "total_steps: 6")
    assert entry(text.replace("torch.optim.SGD", "torch.optim.AdamW")).spec["optimizer"] == "adamw"
    assert traced(text).momentum is not None


def test_a_plateau_is_driven_by_its_metric() -> None:
    text = STEP.replace("torch.optim.lr_scheduler.StepLR", "lightning.pytorch.cli.ReduceLROnPlateau").replace(
        "step_size: 2\n    gamma: 0.5", "monitor: val_loss\n    patience: 0"
    )
    found = entry(text, None, metrics=[1.0] * 6)
    assert found.notes == ("driven by val_loss: --metrics FILE:COLUMN says what it was", EVERY_EPOCH)
    agree(found.trace().lr, [0.1, 0.1, 0.01, 1e-3, 1e-4, 1e-5])


def test_classes_in_the_arguments_of_a_model_have_no_interval_of_their_own() -> None:
    text = """\
m.yaml
trainer: {max_epochs: 6, devices: 1}
model:
  class_path: project.Net
  init_args:
    optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.1}}
    scheduler: {class_path: torch.optim.lr_scheduler.StepLR, init_args: {step_size: 2, gamma: 0.5}}
"""
    assert refusal(text) == (
        "m.yaml: does not say when the model's configure_optimizers has its scheduler stepped: add --interval "
        "step|epoch"
    )
    agree(traced(text, {"interval": "epoch"}).lr, HALVES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "torch.optim.lr_scheduler.StepLR",
            "project.Steps",
            ("lit.yaml:7: lr_scheduler.class_path is no scheduler of torch.optim.lr_scheduler: 'project.Steps'"),
        ),
        (
            "StepLR",
            "StepLr",
            (
                "lit.yaml:7: lr_scheduler.class_path is no scheduler of torch.optim.lr_scheduler: "
                "'torch.optim.lr_scheduler.StepLr' (did you mean StepLR?)"
            ),
        ),
        (
            "gamma",
            "gama",
            (
                "lit.yaml:10: lr_scheduler.init_args.gama is no argument of StepLR (did you mean gamma?), "
                "and "
                "torch refuses it"
            ),
        ),
        (
            "gamma: 0.5",
            "monitor: x",
            "lit.yaml:10: lr_scheduler.init_args.monitor is no argument of StepLR, and torch refuses it",
        ),
        ("max_epochs: 6", "max_epochs: six", "lit.yaml:2: trainer.max_epochs must be a number, got 'six'"),
        (
            "  class_path: torch.optim.lr_scheduler.StepLR\n",
            "",
            "lit.yaml: lr_scheduler.class_path is missing: it names the scheduler",
        ),
        (
            "step_size: 2",
            "step_size: 2\n    schedulers: [{class_path: StepLR}]",
            (
                "lit.yaml:10: "
                "lr_scheduler.init_args.schedulers holds classes, and a Lightning CLI has no optimizer to give to them"
            ),
        ),
        ("lr: 0.1", "lr: '0.1'", "lit.yaml:5: optimizer.init_args.lr must be a number, got '0.1'"),
    ],
)
def test_what_is_refused(old: str, new: str, message: str) -> None:
    assert refusal(STEP.replace(old, new)) == message


def test_a_file_without_a_scheduler_says_so() -> None:
    text = "t.yaml\ntrainer: {max_epochs: 3, devices: 1}\nmodel: {class_path: project.Net}\n"
    assert refusal(text) == (
        "t.yaml: has no lr_scheduler: the rate is then up to the configure_optimizers of the model, which is not read"
    )
