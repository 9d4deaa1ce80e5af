"""The schedules of lrsched that go up and down: restarts, one cycle, and triangle waves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from lrsched_cli.dialects.foreign import Failure, kinds_of
from lrsched_cli.dialects.lrsched_decay import SOURCE, Function, decay, first_refused, rate, total_steps
from lrsched_cli.dialects.torch_cycle import CyclicLR
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.falls import Wave
from lrsched_cli.schedules.forms import Cycles, Form, Of, Transition, phases
from lrsched_cli.schedules.parameters import REQUIRED, param

CLR = "lrsched 0.5, clr.py; Smith 2017, arXiv 1506.01186"
TRIANGLE: Mapping[str, Any] = {"min_lr": 0.001, "max_lr": 0.1, "step_size": 20}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineRestarts(Function):
    """Cosine annealing that starts again from the top, cycle after cycle."""

    kind = "lrsched.cosine_restarts"
    formula = "min_lr + (base_lr - min_lr) * (1 + cos(pi * t_i / T_i)) / 2, T_i = period * t_mult ** i"
    source = f"{SOURCE}, cosine_restarts; Loshchilov and Hutter 2017, arXiv 1608.03983"
    example: ClassVar[Mapping[str, Any]] = {"base_lr": 0.1, "min_lr": 0, "period": 34, "t_mult": 1}
    whole = ("period", "t_mult")

    base_lr: float = rate("Rate at the top of each cycle.")
    min_lr: float = rate("The floor.")
    period: int = param("ticks", REQUIRED, "Steps of the first cycle.")
    t_mult: int = param("number", REQUIRED, "Each cycle is this many times longer than the one before.")

    def form(self) -> Form:
        return self._cycles

    @cached_property
    def _cycles(self) -> Cycles:
        return Cycles(Wave(), self.period, self.base_lr, self.min_lr, growth=self.t_mult)

    @property
    def marks(self) -> tuple[Mark, ...]:
        if self.t_mult == 1:
            return ()
        starts = (self._cycles.start_of(i) for i in range(1, 12))
        return tuple((int(start), f"cycle {i + 2}") for i, start in enumerate(starts) if start < float("inf"))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OneCycle(Function):
    """One cycle: half a cosine wave up to the peak, another one down to the end."""

    kind = "lrsched.one_cycle"
    formula = "max_lr / initial_div to max_lr until round(pct_start * total_steps), then to max_lr / final_div"
    source = f"{SOURCE}, one_cycle; Smith and Topin 2018, arXiv 1708.07120"
    example: ClassVar[Mapping[str, Any]] = {
        "max_lr": 0.1, "total_steps": 100, "pct_start": 0.3, "initial_div": 25, "final_div": 1e4
    }  # fmt: skip
    whole = ("total_steps",)

    max_lr: float = rate("Peak.")
    total_steps: int = total_steps()
    pct_start: float = rate("Part of the steps that rises.", gt=0, lt=1)
    initial_div: float = rate("The start is max_lr over this.", gt=0)
    final_div: float = rate("The end is max_lr over this.", gt=0)

    def check(self) -> None:
        super().check()
        if self.total_steps < 2:
            self.refuse("total_steps", ">= 2", self.total_steps)

    @property
    def _peak(self) -> int:
        """The step of the peak: at least one step before it and one after."""
        return min(max(1, round(self.pct_start * self.total_steps)), self.total_steps - 1)

    def form(self) -> Form:
        rise = Transition(self.max_lr / self.initial_div, self.max_lr, self._peak, Wave())
        fall = decay(self.max_lr, self.max_lr / self.final_div, self.total_steps - self._peak, Wave())
        return phases((0, rise), (self._peak, fall))

    @property
    def length(self) -> int:
        return self.total_steps

    @property
    def marks(self) -> tuple[Mark, ...]:
        return ((self._peak, "fall"),)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Triangle(Function):
    """A triangle wave between two rates: torch's CyclicLR by other names."""

    mode: ClassVar[str] = "triangular"
    example: ClassVar[Mapping[str, Any]] = TRIANGLE
    whole = ("step_size",)

    min_lr: float = rate("Lower rate.")
    max_lr: float = rate("Upper rate.")
    step_size: int = param("ticks", REQUIRED, "Steps of the rising half, and of the falling one.")

    def form(self) -> Form:
        wave = CyclicLR(
            base_lr=self.min_lr, max_lr=self.max_lr, step_size_up=self.step_size, mode=self.mode, gamma=self._factor
        )
        return Of(wave)

    @property
    def _factor(self) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Triangular(Triangle):
    """A triangle wave between two rates."""

    kind = "lrsched.triangular"
    formula = "min_lr + (max_lr - min_lr) * triangle(t)"
    source = CLR


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Triangular2(Triangle):
    """A triangle wave of half the height in every cycle."""

    kind = "lrsched.triangular2"
    formula = "min_lr + (max_lr - min_lr) * triangle(t) * 0.5 ** floor(t / (2 * step_size))"
    source = CLR
    mode = "triangular2"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExpRange(Triangle):
    """A triangle wave whose height changes by a factor every step."""

    kind = "lrsched.exp_range"
    formula = "min_lr + (max_lr - min_lr) * triangle(t) * gamma ** t"
    source = CLR
    mode = "exp_range"
    example: ClassVar[Mapping[str, Any]] = {**TRIANGLE, "gamma": 0.98}

    gamma: float = rate("Factor of the height, each step.")

    @property
    def failure(self) -> Failure | None:
        gamma = float(self.gamma)
        return first_refused(lambda step: gamma**step)

    @property
    def _factor(self) -> float:
        return self.gamma


#: The kinds by their names in the library.
KINDS = kinds_of(globals())
