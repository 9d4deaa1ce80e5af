"""The schedules of lrsched that go one way: constant, decays, and those with a warm-up of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lrsched_cli.dialects.foreign import Failure, Foreign, kinds_of
from lrsched_cli.dialects.parameters import any_ticks
from lrsched_cli.run import MAX_TICKS
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.falls import LINE, Fall, Power, Root, Wave
from lrsched_cli.schedules.forms import Form, Geometric, Law, Level, Stairs, Table, Transition, phases, warmed
from lrsched_cli.schedules.parameters import REQUIRED, param

SOURCE = "lrsched 0.5, schedules.py"
TOTAL: Mapping[str, Any] = {"base_lr": 0.1, "total_steps": 100}


def rate(help: str, **bounds: float) -> Any:
    return param("number", REQUIRED, help, **bounds)


def base_rate(**bounds: float) -> Any:
    return rate("Rate at the start.", **bounds)


def total_steps() -> Any:
    return param("ticks", REQUIRED, "Steps from the start to the end.", length="step")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Function(Foreign):
    """A function of the library."""

    #: The parameters that must be whole numbers above 0.
    whole: ClassVar[tuple[str, ...]] = ()

    def check(self) -> None:
        super().check()
        for name in self.whole:
            value = getattr(self, name)
            for item in value if isinstance(value, tuple) else (value,):
                if not isinstance(item, int) or item <= 0:
                    self.refuse(name, "a whole number > 0", item)


def first_refused(value: Callable[[int], float], last: int = MAX_TICKS) -> Failure | None:
    """The first tick at which Python's arithmetic raises, given that it does so from there on up to ``last``."""

    def reason(tick: int) -> str | None:
        try:
            value(tick)
        except ArithmeticError as error:
            return str(error.args[-1])
        return None

    if reason(last) is None:
        return None
    fine, raising = -1, last
    while raising - fine > 1:
        middle = (fine + raising) // 2
        if reason(middle) is None:
            fine = middle
        else:
            raising = middle
    return Failure(raising, str(reason(raising)))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Constant(Function):
    """The same rate throughout."""

    kind = "lrsched.constant"
    formula = "lr"
    source = f"{SOURCE}, constant"

    lr: float = param("number", 0.1, "The rate.")

    def form(self) -> Form:
        return Level(self.lr)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StepDecay(Function):
    """A factor every so many steps."""

    kind = "lrsched.step_decay"
    formula = "base_lr * drop ** floor(t / step_size)"
    source = f"{SOURCE}, step_decay"
    example: ClassVar[Mapping[str, Any]] = {"base_lr": 0.1, "drop": 0.5, "step_size": 30}
    whole = ("step_size",)

    base_lr: float = base_rate(gt=0)
    drop: float = rate("Factor at each drop.", gt=0, le=1)
    step_size: int = param("ticks", REQUIRED, "Steps between two drops.")

    def form(self) -> Form:
        return Stairs(Geometric(self.base_lr, self.drop, self.step_size), self.step_size)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MultiStep(Function):
    """A factor at each milestone; milestones may repeat and come in any order."""

    kind = "lrsched.multi_step"
    formula = "base_lr * gamma ** (number of milestones <= t)"
    source = f"{SOURCE}, multi_step"
    example: ClassVar[Mapping[str, Any]] = {"base_lr": 0.1, "milestones": (50, 75), "gamma": 0.1}
    whole = ("milestones",)

    base_lr: float = base_rate()
    milestones: tuple[int, ...] = any_ticks(REQUIRED, "Steps at which the rate drops.")
    gamma: float = rate("Factor at each drop.")

    @property
    def failure(self) -> Failure | None:
        gamma, drops = float(self.gamma), sorted(self.milestones)
        found = first_refused(lambda count: gamma**count, len(drops))
        return None if found is None else Failure(drops[found.tick - 1], found.reason)

    def form(self) -> Form:
        at = sorted(self.milestones)
        factors: list[float] = []
        for drops in range(len(at) + 1):
            try:
                factors.append(float(self.gamma) ** drops)
            except OverflowError:  # where the library raises
                factors.append(math.inf)
        return Table(tuple(map(float, at)), tuple(self.base_lr * factor for factor in factors))

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple((step, "drop") for step in sorted(set(self.milestones))[:12])


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Exponential(Function):
    """A constant factor every step."""

    kind = "lrsched.exponential"
    formula = "base_lr * gamma ** t"
    source = f"{SOURCE}, exponential"
    example: ClassVar[Mapping[str, Any]] = {"base_lr": 0.1, "gamma": 0.95}

    base_lr: float = base_rate()
    gamma: float = rate("Factor of each step.")

    @property
    def failure(self) -> Failure | None:
        gamma = float(self.gamma)
        return first_refused(lambda step: gamma**step)

    def form(self) -> Form:
        return powers(self.base_lr, self.gamma)


def powers(start: float, factor: float) -> Form:
    """A factor every step; below 0 it jumps at every one."""
    form = Geometric(start, factor)
    return form if factor > 0 else Stairs(form, 1)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExponentialDecay(Function):
    """A factor every so many steps, spread over them."""

    kind = "lrsched.exponential_decay"
    formula = "base_lr * decay_rate ** (t / decay_steps)"
    source = f"{SOURCE}, exponential_decay"
    example: ClassVar[Mapping[str, Any]] = {"base_lr": 0.1, "decay_rate": 0.5, "decay_steps": 30}
    whole = ("decay_steps",)

    base_lr: float = base_rate(gt=0)
    decay_rate: float = rate("Factor of decay_steps steps.", gt=0, lt=1)
    decay_steps: int = param("ticks", REQUIRED, "Steps in which the rate falls by the factor once.")

    def form(self) -> Form:
        return Geometric(self.base_lr, self.decay_rate, self.decay_steps)


def decay(start: float, end: float, ticks: int, fall: Fall) -> Form:
    """From one rate to another, which is held."""
    return phases((0, Transition(start, end, ticks, fall)), (ticks, Level(end)))


def power_decay(start: float, end: float, ticks: int, power: float) -> Form:
    """The same by a power of the part that is left; to the power of 0 even nothing is 1."""
    return decay(start, end, ticks, LINE if power == 1 else Power(power)) if power else Level(start)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Polynomial(Function):
    """A power of the part of the steps that is left, down to an end."""

    kind = "lrsched.polynomial"
    formula = "end_lr + (base_lr - end_lr) * (1 - t / total_steps) ** power"
    source = f"{SOURCE}, polynomial"
    example: ClassVar[Mapping[str, Any]] = {**TOTAL, "end_lr": 0.001, "power": 2}
    whole = ("total_steps",)

    base_lr: float = base_rate()
    end_lr: float = rate("Rate at the end.")
    total_steps: int = total_steps()
    power: float = rate("Exponent.")

    @property
    def failure(self) -> Failure | None:
        total, power = self.total_steps, float(self.power)
        return first_refused(lambda step: (1.0 - step / total) ** power, total)

    def form(self) -> Form:
        return power_decay(self.base_lr, self.end_lr, self.total_steps, self.power)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PolynomialDecay(Function):
    """A power of the part of the steps that is left, down to an end; the power must be positive."""

    kind = "lrsched.polynomial_decay"
    formula = "end_lr + (start_lr - end_lr) * (1 - t / total_steps) ** power"
    source = f"{SOURCE}, polynomial_decay"
    example: ClassVar[Mapping[str, Any]] = {"start_lr": 0.1, "end_lr": 0.001, "total_steps": 100, "power": 2}
    whole = ("total_steps",)

    start_lr: float = base_rate()
    end_lr: float = rate("Rate at the end.")
    total_steps: int = total_steps()
    power: float = rate("Exponent.", gt=0)

    def form(self) -> Form:
        return power_decay(self.start_lr, self.end_lr, self.total_steps, self.power)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Linear(Function):
    """A straight line to an end."""

    kind = "lrsched.linear"
    formula = "base_lr + (end_lr - base_lr) * t / total_steps"
    source = f"{SOURCE}, linear"
    example: ClassVar[Mapping[str, Any]] = {**TOTAL, "end_lr": 0.001}
    whole = ("total_steps",)

    base_lr: float = base_rate()
    end_lr: float = rate("Rate at the end.")
    total_steps: int = total_steps()

    def form(self) -> Form:
        return decay(self.base_lr, self.end_lr, self.total_steps, LINE)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Cosine(Function):
    """Half a cosine wave down to a floor, which is held."""

    kind = "lrsched.cosine"
    formula = "min_lr + (base_lr - min_lr) * (1 + cos(pi * t / total_steps)) / 2"
    source = f"{SOURCE}, cosine"
    example: ClassVar[Mapping[str, Any]] = {**TOTAL, "min_lr": 0}
    whole = ("total_steps",)

    base_lr: float = base_rate()
    min_lr: float = rate("The floor.")
    total_steps: int = total_steps()

    def form(self) -> Form:
        return decay(self.base_lr, self.min_lr, self.total_steps, Wave())


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InverseSqrt(Function):
    """A linear warm-up from 0, then the inverse square root of the step."""

    kind = "lrsched.inverse_sqrt"
    formula = "base_lr * t / warmup_steps, then base_lr * sqrt(warmup_steps / t)"
    source = f"{SOURCE}, inverse_sqrt"
    example: ClassVar[Mapping[str, Any]] = {"base_lr": 0.1, "warmup_steps": 10}
    whole = ("warmup_steps",)

    base_lr: float = rate("Rate after the warm-up.")
    warmup_steps: int = param("ticks", REQUIRED, "Steps of the warm-up.")

    def form(self) -> Form:
        return warmed(self.warmup_steps, 0.0, self.base_lr, Law(self.base_lr, self.warmup_steps, self.warmup_steps))

    @property
    def marks(self) -> tuple[Mark, ...]:
        return ((self.warmup_steps, "inverse_sqrt"),)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WarmupStableDecay(Function):
    """A linear warm-up, a constant rate, and a decay over the last steps."""

    kind = "lrsched.warmup_stable_decay"
    formula = "warmup_start to base_lr, base_lr, then final_lr + (base_lr - final_lr) * (1 - x), or 1 - sqrt(x)"
    source = f"{SOURCE}, warmup_stable_decay; Hu et al. 2024, arXiv 2404.06395"
    example: ClassVar[Mapping[str, Any]] = {
        **TOTAL, "warmup_steps": 10, "decay_steps": 20, "final_lr": 0, "warmup_start": 0, "decay_shape": "linear"
    }  # fmt: skip
    whole = ("total_steps",)

    base_lr: float = rate("The constant rate.", ge=0)
    warmup_steps: int = param("ticks", REQUIRED, "Steps of the warm-up.")
    decay_steps: int = param("ticks", REQUIRED, "Steps of the decay; with 0 the rate never falls.")
    total_steps: int = total_steps()
    final_lr: float = rate("Rate at the end.", ge=0)
    warmup_start: float = rate("Rate at the start.", ge=0)
    decay_shape: str = param("choice", REQUIRED, "Shape of the decay.", choices=("linear", "1-sqrt"))

    def check(self) -> None:
        super().check()
        for name in ("warmup_steps", "decay_steps"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                self.refuse(name, "a whole number >= 0", value)
        if self.warmup_steps + self.decay_steps > self.total_steps:
            told = f"at most total_steps {self.total_steps} with decay_steps {self.decay_steps}"
            self.refuse("warmup_steps", told, self.warmup_steps)

    def form(self) -> Form:
        body: Form = Level(self.base_lr)
        if self.decay_steps:
            fall = LINE if self.decay_shape == "linear" else Root()
            falling = decay(self.base_lr, self.final_lr, self.decay_steps, fall)
            body = phases((0, body), (self._decay_start - self.warmup_steps, falling))
        return warmed(self.warmup_steps, self.warmup_start, self.base_lr, body)

    @property
    def _decay_start(self) -> int:
        return self.total_steps - self.decay_steps

    @property
    def length(self) -> int | None:
        return self.total_steps if self.decay_steps else None

    @property
    def marks(self) -> tuple[Mark, ...]:
        stable = (self.warmup_steps, "stable")
        return (stable, (self._decay_start, "decay"), (self.total_steps, "end")) if self.decay_steps else (stable,)

    def notes(self, total: int) -> tuple[str, ...]:
        if self.decay_steps:
            return ()
        return (f"decay_steps is 0: the rate stays at base_lr past total_steps, never at final_lr {self.final_lr:g}",)


#: The kinds by their names in the library.
KINDS = kinds_of(globals())
