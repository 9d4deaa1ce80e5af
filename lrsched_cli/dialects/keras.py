"""The keras dialect: the classes of ``keras.optimizers.schedules``, and the callback ReduceLROnPlateau.

Read in keras 3.15, in its arithmetic for ``floatx`` float64. A schedule stands in place of the optimizer's learning
rate and is given the count of updates, 0 for the first one.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lrsched_cli.dialects import keras_plateau
from lrsched_cli.dialects.foreign import Foreign, kinds_of
from lrsched_cli.dialects.keras_forms import Inverse, Restarts, Stairs, Stretched
from lrsched_cli.dialects.optax_base import settled, unused_lr
from lrsched_cli.dialects.parameters import any_ticks
from lrsched_cli.errors import must
from lrsched_cli.schedules.base import Mark, Schedule
from lrsched_cli.schedules.falls import LINE, Fall, Power, Wave
from lrsched_cli.schedules.forms import Form, Geometric, Table, Transition, phases
from lrsched_cli.schedules.parameters import REQUIRED, param
from lrsched_cli.schedules.ticks import Array

SOURCE = "keras.optimizers.schedules"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class KerasSchedule(Foreign):
    """A function of the count of updates, given to an optimizer in place of its learning rate."""

    @abstractmethod
    def rates(self) -> Mapping[str, float]:
        """The rates that it is given, by the names of their parameters."""

    def remarks(self) -> Iterator[str]:
        """What keras does silently with these parameters."""
        yield from ()

    def notes(self, total: int) -> tuple[str, ...]:
        return (*unused_lr(self.lr, self.rates()), *self.remarks())


def initial() -> Any:
    return param("number", REQUIRED, "Rate at the start. Where it is written as a whole number, so are all others.")


def named(name: str) -> Any:
    return param("text", name, "A name for the operation: it changes nothing.")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Decay(KerasSchedule):
    """A decay from a rate at the start, whose type is the type of the arithmetic.

    Keras turns the other parameters into that type: beside a whole number, as 0 is one and 0.0 is not, a rate of 0.1
    is cut down to 0, and pi to 3.
    """

    #: The parameter that says how long it takes.
    ticks: ClassVar[str] = "decay_steps"

    initial_learning_rate: float = initial()

    @property
    def whole(self) -> bool:
        """Whether keras computes in whole numbers."""
        return isinstance(self.initial_learning_rate, int)

    def cast(self, value: float) -> float:
        """A parameter in the type of the arithmetic."""
        return math.trunc(value) if self.whole and math.isfinite(value) else value

    def wave(self) -> Fall:
        """Half a cosine wave, with pi in the type of the arithmetic."""
        return Wave(0.5 * (self.cast(math.pi) / math.pi))

    def check(self) -> None:
        super().check()
        value = getattr(self, self.ticks)
        if value <= 0:
            self.refuse(self.ticks, "> 0", value)
        if self.cast(value) == 0:
            told = ">= 1 where initial_learning_rate is a whole number"
            raise must(self.ticks, told, value).adding(" (keras divides by 0)")

    def rates(self) -> Mapping[str, float]:
        return {"initial_learning_rate": self.initial_learning_rate}

    def remarks(self) -> Iterator[str]:
        if self.whole:
            first = self.initial_learning_rate
            yield f"keras computes in whole numbers here and cuts the others down to such: write {first}.0 for {first}"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExponentialDecay(Decay):
    """A constant factor every so many updates, smoothly or in steps."""

    kind = "keras.ExponentialDecay"
    formula = "initial_learning_rate * decay_rate ** (t / decay_steps), floored in a staircase"
    source = f"{SOURCE}.ExponentialDecay"
    example: ClassVar[Mapping[str, Any]] = {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.7}

    decay_steps: float = param("ticks", REQUIRED, "Updates for one factor.")
    decay_rate: float = param("number", REQUIRED, "The factor.")
    staircase: bool = param("bool", False, "Decay in steps.")
    name: str = named("ExponentialDecay")

    def form(self) -> Form:
        start, ticks, rate = self.initial_learning_rate, self.cast(self.decay_steps), self.cast(self.decay_rate)
        return Stairs(Geometric(start, rate), ticks) if self.staircase else Geometric(start, rate, ticks)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InverseTimeDecay(Decay):
    """One over the time, smoothly or in steps."""

    kind = "keras.InverseTimeDecay"
    formula = "initial_learning_rate / (1 + decay_rate * t / decay_steps), t / decay_steps floored in a staircase"
    source = f"{SOURCE}.InverseTimeDecay"
    example: ClassVar[Mapping[str, Any]] = {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}

    decay_steps: float = param("ticks", REQUIRED, "Updates for one decay_rate.")
    decay_rate: float = param("number", REQUIRED, "What is added to the divisor.")
    staircase: bool = param("bool", False, "Decay in steps.")
    name: str = named("InverseTimeDecay")

    def form(self) -> Form:
        start, ticks, rate = self.initial_learning_rate, self.cast(self.decay_steps), self.cast(self.decay_rate)
        return Stairs(Inverse(start, rate), ticks) if self.staircase else Inverse(start, rate, ticks)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PolynomialDecay(Decay):
    """A power of the time that is left, down to an end; with cycle over longer and longer times."""

    kind = "keras.PolynomialDecay"
    formula = (
        "end_learning_rate + (initial_learning_rate - end_learning_rate) * (1 - t / decay_steps) ** power, "
        "then end_learning_rate; with cycle decay_steps is its next multiple, ceil(t / decay_steps) times as long"
    )
    source = f"{SOURCE}.PolynomialDecay"
    example: ClassVar[Mapping[str, Any]] = {"initial_learning_rate": 0.1, "decay_steps": 100}

    decay_steps: float = param("ticks", REQUIRED, "Updates of the decay.", length="step")
    end_learning_rate: float = param("number", 0.0001, "Rate at the end.")
    power: float = param("number", 1.0, "Exponent.")
    cycle: bool = param("bool", False, "Go on past the end over the next multiple of decay_steps.")
    name: str = named("PolynomialDecay")

    def form(self) -> Form:
        start, end, power = self.initial_learning_rate, self.cast(self.end_learning_rate), self.cast(self.power)
        ticks = self.cast(self.decay_steps)
        if self.cycle:
            return Stretched(start, end, ticks, self.decay_steps, power)
        return settled(Transition(start, end, ticks, LINE if power == 1 else Power(power)))

    def rates(self) -> Mapping[str, float]:
        return {**super().rates(), "end_learning_rate": self.end_learning_rate}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineDecay(Decay):
    """Half a cosine wave down to a part of the rate, after a warm-up if a target is given."""

    kind = "keras.CosineDecay"
    formula = (
        "initial_learning_rate + (warmup_target - initial_learning_rate) * t / warmup_steps, then "
        "warmup_target * ((1 - alpha) * (1 + cos(pi * (t - warmup_steps) / decay_steps)) / 2 + alpha); "
        "without a target from initial_learning_rate at once"
    )
    source = f"{SOURCE}.CosineDecay; Loshchilov and Hutter 2017, arXiv 1608.03983"
    example: ClassVar[Mapping[str, Any]] = {"initial_learning_rate": 0.1, "decay_steps": 100}

    decay_steps: float = param(
        "ticks", REQUIRED, "Updates of the decay, those of the warm-up not counted.", length="step"
    )
    alpha: float = param("number", 0.0, "The end, as a part of the top.")
    name: str = named("CosineDecay")
    warmup_target: float | None = param("number", None, "Rate at the end of the warm-up.")
    warmup_steps: float = param("ticks", 0, "Updates of the linear warm-up, where a target is given.")

    @classmethod
    def own_length(cls, given: Mapping[str, Any]) -> tuple[int, str] | None:
        """The ticks and interval of its own length, the warm-up among them."""
        found, warmup = super().own_length(given), given.get("warmup_steps")
        if found is None or given.get("warmup_target") is None or not isinstance(warmup, int):
            return found
        return found[0] + max(warmup, 0), found[1]

    def form(self) -> Form:
        top = self.initial_learning_rate if self.warmup_target is None else self.cast(self.warmup_target)
        decay = settled(Transition(top, self.alpha * top, self.cast(self.decay_steps), self.wave()))
        if self.warmup_target is None:
            return decay
        warmup = self.cast(self.warmup_steps)
        return phases((0, Transition(self.initial_learning_rate, top, warmup or 1)), (warmup, decay))

    def rates(self) -> Mapping[str, float]:
        return {**super().rates(), **({} if self.warmup_target is None else {"warmup_target": self.warmup_target})}

    def remarks(self) -> Iterator[str]:
        yield from super().remarks()
        if self.warmup_target is None and self.warmup_steps != 0:
            yield f"warmup_steps {self.warmup_steps} is not used: keras warms up only to a warmup_target"

    @property
    def marks(self) -> tuple[Mark, ...]:
        warmed = self.warmup_target is not None and 0 < self.warmup_steps < math.inf
        return ((math.ceil(self.warmup_steps), "decay"),) if warmed else ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineDecayRestarts(Decay):
    """Half cosine waves that start from the top again, each longer and lower or higher than the one before."""

    kind = "keras.CosineDecayRestarts"
    formula = (
        "initial_learning_rate * ((1 - alpha) * m_mul ** i * (1 + cos(pi * x)) / 2 + alpha), "
        "x the part of cycle i that is over, cycle i of first_decay_steps * t_mul ** i updates"
    )
    source = f"{SOURCE}.CosineDecayRestarts; Loshchilov and Hutter 2017, arXiv 1608.03983"
    example: ClassVar[Mapping[str, Any]] = {"initial_learning_rate": 0.1, "first_decay_steps": 15}
    ticks = "first_decay_steps"

    first_decay_steps: float = param("ticks", REQUIRED, "Updates of the first cycle.")
    t_mul: float = param("number", 2.0, "Each cycle is this many times longer than the one before.")
    m_mul: float = param("number", 1.0, "Factor of the rate above its foot, each cycle.")
    alpha: float = param("number", 0.0, "The foot, as a part of the rate at the start.")
    name: str = named("SGDRDecay")

    def form(self) -> Restarts:
        return Restarts(
            top=self.initial_learning_rate,
            first=self.cast(self.first_decay_steps),
            growth=self.cast(self.t_mul),
            top_mult=self.cast(self.m_mul),
            foot=self.cast(self.alpha),
            fall=self.wave(),
            whole=self.whole,
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PiecewiseConstantDecay(KerasSchedule):
    """A table of rates: each one from the update after its boundary on."""

    kind = "keras.PiecewiseConstantDecay"
    formula = "values[i], i = number of boundaries < t"
    source = f"{SOURCE}.PiecewiseConstantDecay"
    example: ClassVar[Mapping[str, Any]] = {"boundaries": [50, 75], "values": [0.1, 0.01, 0.001]}

    boundaries: tuple[float, ...] = any_ticks(REQUIRED, "The last updates of the rates, but for the last rate.")
    values: tuple[float, ...] = param(  # type: ignore[assignment]
        "numbers", REQUIRED, "The rates, one more than boundaries."
    )
    name: str = named("PiecewiseConstant")

    def check(self) -> None:
        super().check()
        if len(self.boundaries) != len(self.values) - 1:
            self.refuse("boundaries", f"one fewer than the {len(self.values)} values", list(self.boundaries))
        if not self.boundaries:
            self.refuse("boundaries", "a list of at least one", [], "IndexError")
        for boundary in self.boundaries:
            if math.isinf(boundary):
                raise must("boundaries", "finite", boundary).adding(" (keras casts it to a whole number)")
        if isinstance(self.values[0], int) and any(isinstance(value, float) for value in self.values):
            told = "all whole numbers, or begin with a float such as 1.0"
            self.refuse("values", told, list(self.values), "RuntimeError")

    def rates(self) -> Mapping[str, float]:
        return {f"values[{i}]": value for i, value in enumerate(self.values)}

    def form(self) -> Form:
        # A boundary is compared with a whole number, and cut down to one.
        changes = sorted({math.trunc(boundary) + 1.0 for boundary in self.boundaries})
        return Table(tuple(changes), tuple(self._rate(t) for t in (changes[0] - 1, *changes)))

    def _rate(self, t: float) -> float:
        """The rate at a tick: the sum of the values whose range it is in, which may be several out of order."""
        ends = [math.trunc(boundary) for boundary in self.boundaries]
        inside = [t <= ends[0], *(low < t <= high for low, high in zip(ends, ends[1:], strict=False)), t > ends[-1]]
        return sum(value for value, mine in zip(self.values, inside, strict=True) if mine)

    def remarks(self) -> Iterator[str]:
        if list(self.boundaries) != sorted(self.boundaries):
            yield "boundaries are out of order: keras adds up the rates whose ranges overlap"


class Rates(tuple[float, ...]):
    """The parameter ``values``, called as the method of that name that it hides."""

    schedule: Schedule

    def __call__(self, start: int, stop: int) -> Array:
        return Schedule.values(self.schedule, start, stop)


class ValuesField:
    """The field ``values``: it is kept as any other, and read as what can be called too."""

    def __get__(self, schedule: Any, owner: type | None = None) -> Any:
        if schedule is None:
            return Schedule.values
        rates = Rates(vars(schedule)["values"])
        rates.schedule = schedule
        return rates

    def __set__(self, schedule: Any, value: Any) -> None:
        vars(schedule)["values"] = value


PiecewiseConstantDecay.values = ValuesField()  # type: ignore[assignment]


#: The kinds by their names in the library.
KINDS: dict[str, type[Schedule]] = {**kinds_of(globals()), **keras_plateau.KINDS}
