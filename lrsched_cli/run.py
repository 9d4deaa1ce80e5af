"""How long training is: epochs, steps, the launch geometry that gives them, and durations in any of these units."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from numbers import Real
from typing import Any

from lrsched_cli.errors import SpecError, must, nearest, shown

#: The longest run: beyond it a tick is no longer an exact double with room to divide.
MAX_TICKS = 10**15
DEFAULT_EPOCHS = 100
DEFAULT_LR = 0.1

_DURATION = re.compile(r"([+-]?(?:\d[\d_]*\.?[\d_]*|\.\d+)(?:[eE][+-]?\d+)?)\s*(ep|st|%|tok)?")


@dataclass(frozen=True)
class Duration:
    """A length as it was written: an exact amount of epochs, steps, percent or tokens."""

    amount: Fraction
    unit: str

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read ``5ep``, ``500st``, ``10%`` or ``2e9tok``; anything else is a ``SpecError``."""
        match = _DURATION.fullmatch(text.strip())
        if match is None or match[2] is None:
            raise SpecError(f"must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got {shown(text)}")
        return cls(exact(match[1]), match[2])

    def __str__(self) -> str:
        amount = self.amount
        return f"{amount.numerator if amount.denominator == 1 else float(amount)}{self.unit}"


def exact(text: str) -> Fraction:
    """The exact value of a decimal number, refused where it is too long or too large to be a length."""
    try:
        number = Decimal(text.replace("_", ""))
    except InvalidOperation:  # pragma: no cover - the callers' patterns admit numbers only
        raise SpecError(f"must be a number, got {shown(text)}") from None
    if len(text) > 40 or not -40 < number.adjusted() < 40:
        raise SpecError(f"must be at most {MAX_TICKS:.0e}, got {shown(text)}")
    return Fraction(number)


@dataclass(frozen=True)
class Clock:
    """What ticks count and how many there are: the resolved form of a :class:`Run`.

    Attributes
    ----------
    interval: ``"epoch"`` or ``"step"``, what one tick is.
    total: the number of ticks in the run.
    steps_per_epoch: optimizer updates an epoch, or None where that is unknown.
    tokens_per_step: tokens an update consumes, or None.
    """

    interval: str
    total: int
    steps_per_epoch: int | None = None
    tokens_per_step: int | None = None

    def ticks(self, duration: Duration) -> int:
        """The whole number of ticks nearest to a duration (halves up); at least 1 if it is positive."""
        ticks = duration.amount * self._ticks_per(duration)
        nearest_tick = math.floor(ticks + Fraction(1, 2))
        if abs(nearest_tick) > MAX_TICKS:
            raise SpecError(f"must be at most {MAX_TICKS:.0e} ticks, got {duration}")
        return max(nearest_tick, 1) if ticks > 0 else nearest_tick

    def _ticks_per(self, duration: Duration) -> Fraction:
        if duration.unit == "%":
            return Fraction(self.total, 100)
        steps_per_tick = 1 if self.interval == "step" else self.steps_per_epoch
        if duration.unit == "ep":
            if self.interval == "epoch":
                return Fraction(1)
            if self.steps_per_epoch is None:
                raise SpecError(f"needs steps_per_epoch to turn {duration} into steps")
            return Fraction(self.steps_per_epoch)
        if steps_per_tick is None:
            raise SpecError(f"needs steps_per_epoch to turn {duration} into epochs")
        if duration.unit == "st":
            return Fraction(1, steps_per_tick)
        if self.tokens_per_step is None:
            raise SpecError(f"needs tokens_per_step to turn {duration} into {self.interval}s")
        return Fraction(1, self.tokens_per_step * steps_per_tick)


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number and not a truth value."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every double
        return False


def _whole(name: str, value: Any) -> int:
    if not is_number(value) or value != int(value) or value < 1:
        raise must(name, "a whole number >= 1", value)
    if value > MAX_TICKS:
        raise must(name, f"<= {MAX_TICKS:.0e}", value)
    return int(value)


#: Who may call a scheduler's ``step()``.
STEPPERS = ("optimizer-step", "micro-batch", "accelerate", "epoch", "amp-skip:RATE")


def read_stepper(value: Any) -> tuple[str, Fraction]:
    """Who calls ``step()``, and of ``amp-skip:RATE`` the share of the updates that are skipped (``0.01`` or ``1%``)."""
    told = f"{', '.join(STEPPERS[:-1])} or {STEPPERS[-1]}"
    if not isinstance(value, str):
        raise must("stepper", told, value)
    name, colon, rate = value.partition(":")
    if not colon and value in STEPPERS[:-1]:
        return value, Fraction(0)
    if name != "amp-skip":
        raise must("stepper", told, value).adding(nearest(value, [*STEPPERS[:-1], "amp-skip:0.01"]))
    match = re.fullmatch(r"\s*(\d*\.?\d+(?:[eE][+-]?\d+)?)\s*(%?)\s*", rate)
    try:
        share = exact(match[1]) / (100 if match[2] else 1) if match else Fraction(0)
    except SpecError:  # too long or too large to be any share
        share = Fraction(0)
    if not 0 < share < 1:
        raise must("stepper", "amp-skip:RATE, the rate a share of the updates such as 0.01 or 1%", value)
    return name, share


def _said(help: str) -> Any:
    """A field of a run: nothing unless a user says it."""
    return field(default=None, metadata={"help": help})


@dataclass(frozen=True)
class Run:
    """How long training is, as a user says it; every field may be left out.

    A length (epochs, steps or both, which must then agree) and what an epoch is: ``steps_per_epoch``, or the launch
    geometry that gives it.
    """

    epochs: int | None = _said("Epochs of training.")
    steps: int | None = _said("Optimizer steps of training.")
    steps_per_epoch: int | None = _said("Optimizer steps an epoch.")
    interval: str | None = _said("What one tick of a schedule is: step or epoch.")
    dataset_size: int | None = _said("Training samples, from which the steps per epoch are counted.")
    batch_size: int | None = _said("Samples a batch, on each process.")
    grad_accumulation: int | None = _said("Batches an optimizer step.")
    world_size: int | None = _said("Processes that share the data.")
    drop_last: bool | None = _said("Whether incomplete batches are dropped.")
    tokens: int | None = _said("Tokens of training, instead of steps.")
    tokens_per_step: int | None = _said("Tokens an optimizer step consumes, for durations such as 2e9tok.")
    lr: float | None = _said("Base learning rate.")
    stepper: str | None = _said("Who calls the scheduler's step(): table, plot and check overlay what it then does.")

    def __post_init__(self) -> None:
        for name in RUN_FIELDS:
            value = getattr(self, name)
            if value is None:
                continue
            if name == "interval":
                if value not in ("step", "epoch"):
                    raise must("interval", "step or epoch", value)
            elif name == "stepper":
                read_stepper(value)
            elif name == "drop_last":
                if not isinstance(value, bool):
                    raise must("drop_last", "true or false", value)
            elif name == "lr":
                if not is_number(value) or value <= 0:
                    raise must("lr", "a finite number > 0", value)
            else:
                object.__setattr__(self, name, _whole(name, value))
        if self.dataset_size is not None and self.steps_per_epoch is not None:
            counted, _ = self._geometry()
            if counted != self.steps_per_epoch:
                raise SpecError(
                    f"steps_per_epoch {self.steps_per_epoch} contradicts dataset_size {self.dataset_size}, "
                    f"which gives {counted} steps per epoch"
                )

    @classmethod
    def of(cls, value: Run | Mapping[str, Any] | None) -> Run:
        """A run from a mapping with the fields' names; an unknown key is a ``SpecError``."""
        if value is None:
            return cls()
        if isinstance(value, Run):
            return value
        if not isinstance(value, Mapping):
            raise must("run", "a mapping such as {epochs: 90}", value)
        for key in value:
            if key not in RUN_FIELDS:
                told = nearest(str(key), RUN_FIELDS) or f"; it has {', '.join(RUN_FIELDS)}"
                raise SpecError(f"run has no key {shown(key)}{told}")
        return cls(**value)

    @property
    def said(self) -> dict[str, Any]:
        """The fields that are not left out."""
        return {name: value for name in RUN_FIELDS if (value := getattr(self, name)) is not None}

    def over(self, outer: Run) -> Run:
        """This run laid over an outer one: what is said here replaces what is said there.

        A length here (epochs or steps) replaces both lengths there, and steps per epoch here replace a geometry
        there, so that an option never contradicts the file it overrides.
        """
        mine, theirs = self.said, outer.said
        lengths = ("epochs", "steps", "tokens")
        if any(name in mine for name in lengths):
            theirs = {name: value for name, value in theirs.items() if name not in lengths}
        if "steps_per_epoch" in mine:
            theirs.pop("dataset_size", None)
        geometry = {"dataset_size", "batch_size", "grad_accumulation", "world_size", "drop_last"}
        if mine.keys() & geometry and "dataset_size" in {*mine, *theirs}:
            theirs.pop("steps_per_epoch", None)
        return replace(Run(), **{**theirs, **mine})

    def lasting(self, clock: Clock, total: int) -> Run:
        """This run, whose clock is ``clock``, made ``total`` ticks long, its epochs as long as before."""
        lengths = ("epochs", "steps", "tokens")
        said = {name: value for name, value in self.said.items() if name not in lengths}
        if clock.steps_per_epoch is not None and "dataset_size" not in said:
            said["steps_per_epoch"] = clock.steps_per_epoch
        return Run(**{**said, f"{clock.interval}s": total, "interval": clock.interval})

    @staticmethod
    def shared(runs: Sequence[Run]) -> dict[str, Any]:
        """What all of some runs say alike."""
        first, *others = (run.said for run in runs)
        return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}

    def clock(self, own_length: tuple[int, str] | None = None) -> Clock:
        """Resolve the run, for a schedule whose own length is ``(ticks, interval)`` if it has one."""
        per_epoch = self.counted_steps_per_epoch
        epochs, steps = self.epochs, self._steps
        if epochs is not None and steps is not None:
            if per_epoch is None:
                if steps % epochs:
                    raise SpecError(f"steps {steps} is not a whole number of steps in each of {epochs} epochs")
                per_epoch = steps // epochs
            elif steps != epochs * per_epoch:
                made = f"epochs {epochs} of {per_epoch} steps each, which make {epochs * per_epoch}"
                raise SpecError(f"steps {steps} contradicts {made}")
        if epochs is None and steps is None:
            if own_length is not None:
                interval = self.interval or own_length[1]
                return Clock(interval, own_length[0], per_epoch, self.tokens_per_step)
            epochs = DEFAULT_EPOCHS
        interval = self.interval or ("step" if steps is not None or per_epoch is not None else "epoch")
        total = self._total(interval, epochs, steps, per_epoch)
        if total > MAX_TICKS:
            raise must("steps", f"<= {MAX_TICKS:.0e}", total)
        return Clock(interval, total, per_epoch, self.tokens_per_step)

    @property
    def _steps(self) -> int | None:
        """Steps as given, or as a budget of tokens gives them."""
        if self.tokens is None:
            return self.steps
        if self.tokens_per_step is None:
            raise SpecError(f"needs tokens_per_step to turn {self.tokens} into steps", parameter="tokens")
        steps = max((2 * self.tokens + self.tokens_per_step) // (2 * self.tokens_per_step), 1)
        if self.steps is not None and self.steps != steps:
            raise SpecError(f"steps {self.steps} contradicts tokens {self.tokens}, which make {steps} steps")
        return steps

    def _total(self, interval: str, epochs: int | None, steps: int | None, per_epoch: int | None) -> int:
        if interval == "epoch":
            if epochs is not None:
                return epochs
            if per_epoch is None:
                raise SpecError("interval epoch needs epochs, or steps_per_epoch beside steps")
            assert steps is not None
            return -(-steps // per_epoch)
        if steps is not None:
            return steps
        if per_epoch is None:
            raise SpecError("interval step needs steps, or steps_per_epoch beside epochs")
        assert epochs is not None
        return epochs * per_epoch

    @property
    def counted_steps_per_epoch(self) -> int | None:
        """Optimizer updates an epoch, as given or as the launch geometry gives them; None if unknown."""
        if self.steps_per_epoch is not None:
            return self.steps_per_epoch
        return self._geometry()[0] if self.dataset_size is not None else None

    @property
    def batches_per_epoch(self) -> int | None:
        """Batches an epoch on each process, as the launch geometry gives them; None without one."""
        return None if self.dataset_size is None else self._batches()[1]

    @property
    def notes(self) -> list[str]:
        """The arithmetic from the launch geometry to the steps per epoch, a sentence each; empty without one."""
        return self._geometry()[1] if self.dataset_size is not None else []

    def _geometry(self) -> tuple[int, list[str]]:
        """Steps per epoch as DistributedSampler, DataLoader and the accumulation of current Trainers count them."""
        assert self.dataset_size is not None
        world, batch, accumulation = self.world_size or 1, self.batch_size or 1, self.grad_accumulation or 1
        drop = bool(self.drop_last)
        name = "floor" if drop else "ceil"
        samples, batches = self._batches()
        steps = _ceil(batches, accumulation)
        if steps < 1:
            raise SpecError(
                f"dataset_size {self.dataset_size} with drop_last leaves no full batch of {batch} on {world} processes"
            )
        terms = []
        if world > 1:
            terms.append(f"{name}({self.dataset_size} / {world}) = {samples} samples a process")
        terms.append(f"{name}({samples} / {batch}) = {batches} batches")
        if accumulation > 1:
            terms.append(f"ceil({batches} / {accumulation}) = {steps} updates")
        notes = [f"{steps} steps per epoch: " + ", ".join(terms)]
        remainder = samples % batch
        if remainder:
            left = ", and is dropped" if drop else ""
            each = ", on each process" if world > 1 else ""
            notes.append(f"an epoch's last batch has {remainder} of {batch} samples{left}{each}")
        if batches % accumulation:
            notes.append(
                f"an epoch's last update accumulates {batches % accumulation} of {accumulation} batches; "
                f"a loop that steps only on full accumulations, as transformers did up to 4.51, "
                f"makes {batches // accumulation} updates"
            )
        return steps, notes

    def _batches(self) -> tuple[int, int]:
        """Samples and batches an epoch, on each process."""
        assert self.dataset_size is not None
        divide = _floor if self.drop_last else _ceil
        samples = divide(self.dataset_size, self.world_size or 1)
        return samples, divide(samples, self.batch_size or 1)


#: What a run may say, and the words that explain it.
RUN_FIELDS: dict[str, str] = {f.name: f.metadata["help"] for f in fields(Run)}


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _floor(a: int, b: int) -> int:
    return a // b


@dataclass(frozen=True)
class Group:
    """Which of an optimizer's named parameter groups a schedule is for, and the base rates of all of them.

    ``known`` keeps what is found for all groups at once while the schedules are built one by one.
    """

    name: str
    rates: Mapping[str, float]
    known: dict[str, Any]


@dataclass(frozen=True)
class Scope:
    """Where a schedule stands: the clock of the run and what is left of it for this schedule.

    Attributes
    ----------
    clock: the whole run's clock, for durations.
    rest: ticks that remain for this schedule (after a warm-up, or a part's own length).
    span: ticks that a default share such as 30% is taken of: the whole run's, or a part's own length.
    lr: the base learning rate it gets where it names none.
    warmup: ticks of the warm-up in front of it, 0 without one.
    group: the parameter group that it is for; None where there are no named ones.
    stretch: how many times further than its run a launch may step it.
    """

    clock: Clock
    rest: int
    span: int
    lr: float = DEFAULT_LR
    warmup: int = 0
    group: Group | None = None
    stretch: int = 1

    @classmethod
    def of(cls, clock: Clock, lr: float | None = None) -> Scope:
        return cls(clock, clock.total, clock.total, DEFAULT_LR if lr is None else lr)
