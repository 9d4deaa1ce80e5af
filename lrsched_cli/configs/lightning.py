"""The YAML of a Lightning CLI: ``lr_scheduler``, the rate of ``optimizer``, and how long ``trainer`` trains.

Read in lightning 2.6, pytorch/cli.py: its ``configure_optimizers`` returns the scheduler alone, which the Trainer then
steps once an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsched_cli.configs.source import Draft, Keys, Plan, Reading, ask, laid_over
from lrsched_cli.errors import SpecError, nearest, shown
from lrsched_cli.kinds import dialect, find_kind
from lrsched_cli.run import Run
from lrsched_cli.schedules.parameters import params_of

EPOCHS = 1000
TORCH = "torch.optim.lr_scheduler."
LIGHTNING = ("lightning.pytorch.cli.", "pytorch_lightning.cli.")
#: Keys that arguments of a model give a scheduler and an optimizer by, in Lightning's own examples.
IN_MODEL = ("lr_scheduler", "scheduler")


def read(keys: Keys) -> Reading:
    """What a Lightning CLI file says."""
    if "trainer" not in keys and "fit" in keys:
        keys = keys.inner("fit")
    scheduler, optimizer, own = _parts(keys)
    kind = _kind(scheduler)
    arguments = scheduler.inner("init_args")

    def plan(options: Run, given: Mapping[str, Any]) -> Plan:
        notes: list[str] = []
        draft = Draft(kind, keys.file, scheduler.line("class_path"))
        draft.put_all(_arguments(arguments, kind, notes), "torch")
        _put_rate(draft, optimizer, keys, options)
        _put_optimizer(draft, optimizer)
        if options.interval is None and not own:
            raise ask(keys, "when the model's configure_optimizers has its scheduler stepped", "--interval step|epoch")
        interval = options.interval or "epoch"
        if options.interval is None:
            notes.append("stepped once an epoch, as the Lightning CLI does: ticks are epochs")
        run = _run(keys.inner("trainer"), keys, options, interval, notes)
        return Plan(draft.spec, run, tuple(notes))

    return Reading("lightning", {"kind": kind}, plan)


def _parts(keys: Keys) -> tuple[Keys, Keys, bool]:
    """Scheduler and optimizer, and whether they are the CLI's own rather than arguments of the model."""
    if "lr_scheduler" in keys:
        return _class(keys, "lr_scheduler"), _class(keys, "optimizer"), True
    arguments = _arguments_in(keys.part("model"))
    for name in IN_MODEL:
        if "class_path" in arguments.part(name):
            return arguments.part(name), _class(arguments, "optimizer"), False
    told = "has no lr_scheduler: the rate is then up to the configure_optimizers of the model, which is not read"
    raise SpecError(told, file=keys.file)


def _class(keys: Keys, name: str) -> Keys:
    """A class and its arguments; the class may stand alone."""
    if isinstance(keys.get(name), str):
        return keys.only({"class_path": keys.get(name)})
    return keys.inner(name)


def _arguments_in(value: Keys) -> Keys:
    """The arguments of a model or of data, which may be those of one class or stand below its name."""
    return value.part("init_args") if "init_args" in value else value


def _kind(scheduler: Keys) -> str:
    """The class as one of our kinds; a short name is one of torch's."""
    path = scheduler.text("class_path")
    if path is None:
        raise scheduler.wrong("class_path", "is missing: it names the scheduler")
    name = path
    for prefix in (TORCH, *LIGHTNING):
        name = name.removeprefix(prefix)
    known = [full.partition(".")[2] for full in dialect("torch")]
    if "." in name or find_kind(f"torch.{name}") is None:
        near = "" if "." in name else nearest(name, known)
        raise scheduler.wrong("class_path", f"is no scheduler of torch.optim.lr_scheduler: {shown(path)}{near}")
    return f"torch.{name}"


def _arguments(arguments: Keys, kind: str, notes: list[str]) -> Keys:
    """The arguments of the class, without those that say nothing about its rates."""
    for name in arguments:
        value = arguments.get(name)
        members = value if isinstance(value, list) else [value]
        if any(isinstance(member, Mapping) and "class_path" in member for member in members):
            raise arguments.wrong(name, "holds classes, and a Lightning CLI has no optimizer to give to them")
    values = {name: arguments.get(name) for name in arguments}
    if values.get("last_epoch") == -1:
        del values["last_epoch"]
    values.pop("verbose", None)
    monitor = values.pop("monitor", None)
    if kind == "torch.ReduceLROnPlateau":
        notes.append(f"driven by {monitor or 'a metric'}: --metrics FILE:COLUMN says what it was")
    elif monitor is not None:
        raise arguments.wrong("monitor", f"is no argument of {kind.partition('.')[2]}, and torch refuses it")
    return arguments.only(values)


def _put_rate(draft: Draft, optimizer: Keys, keys: Keys, options: Run) -> None:
    arguments = optimizer.inner("init_args")
    rate = arguments.number("lr")
    if rate is None and options.lr is None:
        raise ask(keys, f"the rate of the optimizer ({arguments.named('lr')})", "--lr")
    draft.put("lr", options.lr if rate is None else rate, arguments.line("lr"))


def _put_optimizer(draft: Draft, optimizer: Keys) -> None:
    kind = find_kind(draft.spec["kind"])
    assert kind is not None
    name = (optimizer.text("class_path") or "").rpartition(".")[2].lower()
    if "optimizer" in params_of(kind) and name in params_of(kind)["optimizer"].choices:
        draft.put("optimizer", name)


def _run(trainer: Keys, keys: Keys, options: Run, interval: str, notes: list[str]) -> Run:
    """The run: what the trainer says of the launch and of the length, in epochs and in steps."""
    launch = _launch(trainer, keys)
    if options.said.keys() & {"epochs", "steps", "tokens"}:
        return options.over(Run(**{**launch.said, "interval": interval}))
    epochs, steps = trainer.whole("max_epochs", -1), trainer.whole("max_steps", -1)
    epochs, steps = (value if value is not None and value > 0 else None for value in (epochs, steps))
    if epochs is None and steps is None:
        if trainer.any_of(["max_epochs", "max_time"]):
            raise ask(keys, "how long training is", "--epochs, or --steps")
        epochs = EPOCHS
        notes.append(f"trainer says no length, so Lightning trains for {EPOCHS} epochs")
    updates = options.over(launch).counted_steps_per_epoch
    if epochs is not None and steps is not None:
        if updates is None:
            raise ask(keys, f"whether max_steps {steps} ends it before max_epochs {epochs}", "--steps-per-epoch")
        epochs, steps = (epochs, None) if epochs * updates <= steps else (None, steps)
    if interval == "epoch" and epochs is None and updates is None:
        raise ask(keys, f"how many epochs max_steps {steps} are", "--steps-per-epoch, or --epochs")
    if interval == "step" and steps is None and updates is None:
        raise ask(keys, "how many steps an epoch has", "--steps-per-epoch, or --dataset-size")
    return laid_over(options, Run(**{**launch.said, "interval": interval}), steps=steps, epochs=epochs)


def _launch(trainer: Keys, keys: Keys) -> Run:
    """Processes and batches, where the file has them as numbers."""
    devices = trainer.get("devices")
    if isinstance(devices, list):
        count = len(devices) or None
    elif isinstance(devices, str):
        one = int(devices) if devices.isdecimal() and len(devices) < 10 else None
        count = len(devices.split(",")) if "," in devices else one
    else:
        count = trainer.whole("devices", -1)
    nodes = trainer.whole("num_nodes") or 1
    batch = _arguments_in(keys.part("data")).get("batch_size")
    return Run(
        world_size=count * nodes if count is not None and count > 0 else None,
        grad_accumulation=trainer.whole("accumulate_grad_batches"),
        batch_size=batch if isinstance(batch, int) and not isinstance(batch, bool) and batch > 0 else None,
    )
