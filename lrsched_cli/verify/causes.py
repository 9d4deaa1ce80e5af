"""The usual reasons why a run's rates are not the planned ones, and what to do about each, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Cause:
    """What happened, and what to do about it; the second is empty where there is nothing to do."""

    what: str
    advice: str = ""


@dataclass(frozen=True)
class Setting:
    """How a run was launched, which names the causes of a wrong pace.

    Attributes
    ----------
    interval: what a tick of the plan is, ``step`` or ``epoch``.
    world: processes.
    accumulation: batches an update.
    per_epoch: updates an epoch; None where unknown.
    form: the format of the log.
    """

    interval: str = "step"
    world: int = 1
    accumulation: int = 1
    per_epoch: int | None = None
    form: str = "csv"

    @property
    def tick(self) -> str:
        """What a tick is called."""
        return "epoch" if self.interval == "epoch" else "update"

    def causes(self) -> Mapping[Fraction, Cause]:
        """The paces that this launch makes likely, as ticks for each planned one, and the reason for each."""
        world, batches, epoch = self.world, self.accumulation, self.per_epoch
        found: dict[Fraction, Cause] = {}

        def add(factor: Fraction, what: str, advice: str) -> None:
            if factor != 1:
                found.setdefault(factor, Cause(what, advice))

        add(Fraction(world), f"Accelerate steps a prepared scheduler once for each of {world} processes", PREPARED)
        add(Fraction(batches), f"it was stepped on every one of {batches} micro-batches", MICRO_BATCH)
        both = f"it was stepped on every micro-batch, {batches} an update, by each of {world} processes"
        add(Fraction(world * batches), both, PREPARED)
        if epoch is not None and self.interval == "step":
            add(Fraction(1, epoch), f"it was stepped once an epoch of {epoch:,} updates", EVERY_UPDATE)
            add(Fraction(1, epoch * batches), f"it was stepped once in {epoch * batches:,} updates", EVERY_UPDATE)
        if epoch is not None and self.interval == "epoch":
            add(Fraction(epoch), f"it was stepped at every one of {epoch:,} updates an epoch", EVERY_EPOCH)
            add(
                Fraction(epoch * batches),
                f"it was stepped on every micro-batch, {epoch * batches:,} an epoch",
                EVERY_EPOCH,
            )
        counted = f"its length was counted in batches, {batches} an update"
        add(Fraction(1, batches), counted, IN_UPDATES)
        add(
            Fraction(1, world),
            f"its length was multiplied by {world} processes, and it was not stepped by each",
            IN_UPDATES,
        )
        add(Fraction(1, world * batches), f"its length was counted in batches of {world} processes", IN_UPDATES)
        return found


PREPARED = (
    "multiply its lengths by the number of processes, or leave the scheduler out of accelerator.prepare() "
    "(huggingface/accelerate#2926)"
)
MICRO_BATCH = "call scheduler.step() only where the optimizer steps too"
EVERY_UPDATE = "step it after every update; in Lightning say interval: step (Lightning-AI/pytorch-lightning#11599)"
EVERY_EPOCH = "step it once an epoch, or plan it by step"
IN_UPDATES = "give the scheduler its length in updates of the optimizer"


def of_pace(factor: Fraction, smooth: bool, setting: Setting, total: int | None) -> Cause:
    """Why a scheduler may have run at another pace; ``total`` is the length that it runs by, if any."""
    number = f"{float(factor):.4g}"
    said = f"in time, the schedule ran {number} times too fast: "
    if factor < 1:
        said = f"in time, the schedule ran {float(1 / factor):.4g} times too slowly: "
    known = setting.causes().get(factor)
    if known is not None:
        return Cause(said + known.what, known.advice)
    if smooth and total is not None:
        length = round(total / float(factor))
        told = f"its length was {length:,} {setting.interval}s, not {total:,}"
        return Cause(said + told, "give the scheduler the length of the plan, or plan what was meant")
    if smooth:
        return Cause(
            said + "its own time constant is another one", "compare the scheduler's parameters with the plan's"
        )
    if factor.denominator == 1:
        told = (
            f"{number} ticks an update, as Accelerate makes on {number} processes, "
            f"or a loop that steps on each of {number} micro-batches"
        )
        advice = f"{MICRO_BATCH}; under Accelerate {PREPARED}"
        return Cause(said + told, f"{advice}. --world-size and --grad-accumulation tell them apart")
    if factor.numerator == 1:
        told = f"one tick in {factor.denominator:,} updates, as of a scheduler that is stepped once an epoch"
        return Cause(said + told, EVERY_UPDATE)
    return Cause(f"{said}{number} ticks an update", "look for who else calls scheduler.step(), and how often")


def of_shift(shift: int, setting: Setting, warmup: int | None) -> Cause:
    """Why the rates may be those of some ticks later in the plan (a shift above 0) or earlier."""
    count = f"{abs(shift):,} {setting.tick}{'s' if abs(shift) > 1 else ''}"
    if shift > 0 and shift == warmup:
        said = f"the schedule began {count} into the plan: its warm-up was lost"
        return Cause(said, "check that the warm-up is built and that its length is not 0")
    if shift == 1 and setting.form == "transformers":
        said = f"{_moved(shift, setting)} (transformers logged so before its fix)"
        return Cause(said, "the run itself followed the plan; transformers#36973 logs the rate that was used")
    if shift > 0:
        said = _moved(shift, setting)
        if shift > 1:
            return Cause(said, "the schedule did not begin at its start: look at last_epoch and resume")
        said += " (a log that reads the rate late, after scheduler.step())"
        advice = "read the rate before scheduler.step(), or step the scheduler after the optimizer and not before"
        return Cause(said, advice)
    said = _moved(shift, setting)
    if shift == -1:
        return Cause(said, "if the log calls its first update 1, say --count-from 1; else the first step() was missed")
    return Cause(
        said,
        "the schedule began late, as a fresh one after a resume does, or --count-from says what the log calls update 0",
    )


def _moved(shift: int, setting: Setting) -> str:
    count = f"{abs(shift):,} {setting.tick}{'s' if abs(shift) > 1 else ''}"
    where, sign = ("ahead of", "+") if shift > 0 else ("behind", "-")
    said = f"the rates are {count} {where} the plan"
    return f"{said}: row t has what was planned for {setting.tick} t{sign}{abs(shift):,}"
