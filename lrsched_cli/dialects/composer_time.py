"""Composer's times, such as ``10ba`` and ``0.5dur``, and what they come to on a run.

Composer counts in batches, samples or tokens, whichever a time is said in, and cuts what it converts to whole ones.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from lrsched_cli.dialects.foreign import Failure, Foreign
from lrsched_cli.dialects.parameters import declared
from lrsched_cli.errors import SpecError, must
from lrsched_cli.run import Clock, Duration, Scope
from lrsched_cli.schedules.forms import Form, Level, phases
from lrsched_cli.schedules.parameters import FromRun, Param, param
from lrsched_cli.schedules.ticks import Array, Times, filled

UNITS = {"ba": "batches", "ep": "epochs", "sp": "samples", "tok": "tokens", "dur": "max_duration"}
_TIME = re.compile(f"(.+?)({'|'.join(UNITS)})", re.IGNORECASE)
#: Batches of an epoch where nobody says how many and ticks are epochs: many, so that no fraction of one is lost.
MANY = 1 << 20


@dataclass(frozen=True)
class Time:
    """An amount of a unit of Composer's, or of ticks where the unit is empty."""

    value: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Time | None:
        """Read ``10ba``, ``3ep``, ``2e9tok`` and the like; None if it is no time."""
        match = _TIME.fullmatch(text.strip())
        try:
            value, unit = (float(match[1]), match[2].lower()) if match else (math.nan, "")
        except ValueError:
            return None
        if not abs(value) <= 1 << 53 or (unit != "dur" and value != int(value)):
            return None
        return cls(value if unit == "dur" else int(value), unit)

    def __str__(self) -> str:
        return f"{self.value:g}dur" if self.unit == "dur" else f"{self.value}{self.unit or ' ticks'}"


class TimeParam(Param):
    """A time as Composer writes it; ``500st`` and ``10%`` are understood too."""

    @property
    def condition(self) -> str:
        return "a time such as 10ba, 3ep or 0.5dur"

    def read(self, name: str, value: Any, scope: Scope | None) -> Any:
        if isinstance(value, (Time, FromRun)) or (value is None and self.optional):
            return value
        time = Time.parse(value) if isinstance(value, str) else None
        return self._ours(name, value, scope) if time is None else time

    def _ours(self, name: str, value: Any, scope: Scope | None) -> Any:
        """A duration of ours that is no time of Composer's."""
        try:
            duration = Duration.parse(value) if isinstance(value, str) else None
        except SpecError:
            duration = None
        if duration is not None and duration.unit == "st" and duration.amount.denominator == 1:
            return Time(int(duration.amount), "ba")
        if duration is None or duration.unit != "%":
            raise must(name, self.condition, value)
        if scope is None:
            return FromRun(str(duration), lambda later: self.read(name, value, later))
        return Time(scope.clock.ticks(duration), "")


class TimesParam(TimeParam):
    """A list of times."""

    @property
    def condition(self) -> str:
        return "a list of times such as 10ba, 3ep or 0.5dur"

    def read(self, name: str, value: Any, scope: Scope | None) -> Any:
        if isinstance(value, FromRun):
            return value
        if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
            raise must(name, self.condition, value)
        items = tuple(super(TimesParam, self).read(name, item, scope) for item in value)
        if not any(isinstance(item, FromRun) for item in items):
            return items
        return FromRun(str(list(value)), lambda later: self.read(name, value, later))


class DurationParam(TimeParam):
    """The length of a run: a time, or a number of epochs."""

    @property
    def condition(self) -> str:
        return "a time > 0 such as 1000ba or 90ep, or a number of epochs"

    def read(self, name: str, value: Any, scope: Scope | None) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = f"{value}ep"
        time = super().read(name, value, scope)
        if isinstance(time, Time) and (time.unit in ("", "dur") or time.value <= 0):
            raise must(name, self.condition, value)
        return time


def time(default: Any, help: str) -> Any:
    """A parameter that is a time."""
    return declared(TimeParam("text", help), default)


def times(default: Any, help: str) -> Any:
    """A parameter that is a list of times."""
    return declared(TimesParam("durations", help), default)


def _from_run(type: str, text: str, help: str, name: str) -> Any:
    return declared(Param(type, help, optional=True, ge=1), FromRun(text, lambda scope: getattr(scope.clock, name)))


def _whole_run(scope: Scope) -> Time:
    return Time(max(scope.rest, 1), "ba" if scope.clock.interval == "step" else "ep")


@dataclass(frozen=True)
class Paced(Form):
    """A form whose clock moves on by so much each tick."""

    form: Form
    pace: int

    def __call__(self, t: Times) -> Any:
        return self.form(t * self.pace)

    def next_knot(self, t: Array) -> Array:
        return np.maximum(np.ceil(self.form.next_knot(t * self.pace) / self.pace), t + 1)


@dataclass(frozen=True)
class Span:
    """A time in batches, samples or tokens, and how many of these a tick moves on."""

    value: int
    unit: str
    pace: int

    @property
    def tick(self) -> int:
        """The first tick at or past it."""
        return -(-self.value // self.pace)

    def paced(self, form: Form) -> Form:
        """A form on this clock as one on that of the ticks."""
        return form if self.pace == 1 else Paced(form, self.pace)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Timed(Foreign):
    """A scheduler of Composer's: a function of the time, which is stated in its units."""

    max_duration: Any = declared(
        DurationParam("any", "Length of the run, as ssr has made it; what dur is a part of."),
        FromRun("the run", _whole_run),
    )
    ssr: float = param("number", 1.0, "Scale schedule ratio: the factor of times other than dur and the warm-up.")
    dataloader_len: int | None = _from_run(
        "integer", "the run's steps_per_epoch", "Batches an epoch.", "steps_per_epoch"
    )
    samples_per_batch: int | None = param("integer", None, "Samples a batch, on all ranks; what sp counts.", ge=1)
    tokens_per_batch: int | None = _from_run(
        "integer", "the run's tokens_per_step", "Tokens a batch, on all ranks; what tok counts.", "tokens_per_step"
    )
    trainer: bool = param("bool", False, "The rates of Composer's Trainer, which is a batch late.")

    #: What a tick is; filled in from the run.
    clock: Clock = field(default=Clock("step", 1), repr=False)

    def resolve(self, scope: Scope) -> Self:
        known = {name: getattr(self, name).value(scope) for name in self.unresolved}
        return replace(self, clock=scope.clock, **known)

    @classmethod
    def own_length(cls, given: Mapping[str, Any]) -> tuple[int, str] | None:
        value = given.get("max_duration")
        length = f"{value}ep" if type(value) is int else value
        whole = Time.parse(length) if isinstance(length, str) else length
        if not isinstance(whole, Time) or whole.unit in ("", "dur") or whole.value < 1:
            return None
        amount = int(whole.value)
        if whole.unit == "ba":
            return amount, "step"
        pace = given.get({"ep": "dataloader_len", "sp": "samples_per_batch", "tok": "tokens_per_batch"}[whole.unit])
        if type(pace) is not int or pace < 1:
            return (amount, "epoch") if whole.unit == "ep" else None
        return (amount * pace if whole.unit == "ep" else -(-amount // pace)), "step"

    def check(self) -> None:
        super().check()
        if self.trainer and self.clock.interval == "epoch":
            raise must("trainer", "off where ticks are epochs: composer's Trainer is a batch late", True)
        self.form()

    def form(self) -> Form:
        rates = self.rates()
        if not self.trainer:
            return rates
        first = float(filled(rates(np.zeros(1)), 1)[0])
        return phases((0, Level(first)), (1, rates))

    @abstractmethod
    def rates(self) -> Form:
        """The rates that the scheduler gives for the number of the batch, on the clock of the ticks."""

    @property
    def failure(self) -> Failure | None:
        found = self.breaks()
        return found and found._replace(tick=found.tick + self.trainer)

    def breaks(self) -> Failure | None:
        """Where the scheduler raises, as it counts."""
        return None

    # What a time comes to.

    def span(self, name: str, *, scaled: bool = True) -> Span:
        """A parameter that is a time, as it is counted; ``scaled``: by the scale schedule ratio."""
        return self.span_of(name, getattr(self, name), scaled=scaled)

    def length_of(self, name: str) -> Span:
        """The same, of a parameter that is divided by."""
        span = self.span(name)
        if not span.value:
            self.refuse(name, f"longer than 0 {UNITS[span.unit]}", str(getattr(self, name)), "ZeroDivisionError")
        return span

    def span_of(self, name: str, time: Time, *, scaled: bool = True) -> Span:
        value, unit = time.value, time.unit
        ratio = self.ssr if scaled else 1.0
        if unit == "":
            return Span(int(value) * self._batches(name, time), "ba", self._batches(name, time))
        if unit == "dur":
            whole: Time = self.max_duration
            if whole.unit == "ep":
                return self._span(name, int(value * self._epoch(name, whole) * whole.value), "ba", whole)
            return self._span(name, int(value * whole.value), whole.unit, whole)
        if unit == "ep":
            return self._span(name, int(value * self._epoch(name, time) * ratio), "ba", time)
        return self._span(name, int(value * ratio), unit, time)

    def _span(self, name: str, value: int, unit: str, time: Time) -> Span:
        """So many of a unit that Composer keeps count of; ``time`` is what was said."""
        each = {"ba": 1, "sp": self.samples_per_batch, "tok": self.tokens_per_batch}[unit]
        if each is None:
            missing = "samples_per_batch" if unit == "sp" else "tokens_per_batch"
            raise SpecError(
                f"needs {missing} to turn {time} into batches, which composer counts itself", parameter=name
            )
        return Span(value, unit, each * self._batches(name, time))

    def _epoch(self, name: str, time: Time) -> int:
        """The batches of an epoch."""
        if self.dataloader_len is not None:
            return self.dataloader_len
        if self.clock.interval == "epoch":
            return MANY
        told = f"needs dataloader_len, or the run's steps_per_epoch, to turn {time} into batches"
        raise SpecError(f"{told} (composer raises RuntimeError)", parameter=name)

    def _batches(self, name: str, time: Time) -> int:
        """The batches of a tick."""
        if self.clock.interval == "step":
            return 1
        if self.dataloader_len is None and time.unit in ("ba", "sp", "tok"):
            told = f"needs dataloader_len, or the run's steps, to turn {time} into epochs"
            raise SpecError(f"{told}: composer counts batches", parameter=name)
        return self._epoch(name, time)

    def notes(self, total: int) -> tuple[str, ...]:
        if self.trainer or self.clock.interval == "epoch":
            return ()
        return ("composer's Trainer uses these rates a batch late: trainer: true shows its own",)
