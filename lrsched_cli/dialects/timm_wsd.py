"""timm's warm-up, stable phase and decay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from lrsched_cli.dialects.timm_base import SOURCE, WARM, Timm, changed, first_tick, ignored, late
from lrsched_cli.errors import SpecError
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.expression import CompiledExpression, compile_expression
from lrsched_cli.schedules.falls import LINE, Fall, Formula, Root, Shrink, Wave
from lrsched_cli.schedules.forms import Bounded, Form, Law, Level, Phases, Raised, Scaled, Transition
from lrsched_cli.schedules.parameters import REQUIRED, param
from lrsched_cli.schedules.ticks import Times, pow_

STABLE_FNS = ("constant", "rsqrt", "power")
DECAY_FNS = ("linear", "1-sqrt", "cosine", "power", "exp")


@dataclass(frozen=True)
class Powered(Fall):
    """``1 - x ** power``."""

    power: float

    def __call__(self, x: Times) -> Any:
        return 1 - pow_(x, self.power)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WSDLRScheduler(Timm):
    """Warm-up, then a stable phase that may fall too, then a decay to lr_min over the last decay_t of t_initial."""

    kind = "timm.WSDLRScheduler"
    formula = (
        f"{WARM}lr_min + (S - lr_min) * decay_fn(x), S = lr * stable_fn(T / stable_timescale), at least lr_min, "
        "x = (T - t_initial + decay_t) / decay_t from 0 to 1, T = t - warmup_t"
    )
    source = f"{SOURCE}, wsd_lr.py; Hu et al. 2024, arXiv 2404.06395"
    example: ClassVar[Mapping[str, Any]] = {"t_initial": 90, "decay_t": 18}

    t_initial: float = param("ticks", REQUIRED, "Ticks after the warm-up, until lr_min.", gt=0, length="epoch")
    decay_t: float = param("ticks", REQUIRED, "Ticks of the decay, at most t_initial.", gt=0)
    lr_min: float = param("number", 0.0, "Rate at the end.", ge=0)
    stable_fn: str = param(
        "choice", "constant", "Shape of the stable phase, which goes on below the decay.", choices=STABLE_FNS
    )
    stable_timescale: float | None = param("ticks", None, "Ticks that count as one in it; by default warmup_t.")
    stable_power: float = param("number", 0.5, "Exponent of stable_fn power.", gt=0)
    decay_fn: str = param("text", "1-sqrt", f"Shape of the decay: {', '.join(DECAY_FNS)}, or lambda f: (1 - f) ** 2.")
    decay_power: float = param("number", 0.5, "Exponent of decay_fn power.", gt=0)
    decay_ratio: float = param(
        "number", 0.1, "Part that decay_fn exp falls to, before it is stretched to lr_min.", gt=0, lt=1
    )

    def check(self) -> None:
        super().check()
        if self.decay_t > self.t_initial:
            self.refuse("decay_t", f"<= t_initial {self.t_initial}", self.decay_t)
        if self.decay_fn not in DECAY_FNS and not self.decay_fn.lstrip().startswith("lambda"):
            self.refuse("decay_fn", f"{', '.join(DECAY_FNS)} or a function such as lambda f: 1 - f", self.decay_fn)
        if self.stable_fn != "constant" and not self._timescale > 0:
            told = f"> 0 with stable_fn {self.stable_fn}, and is warmup_t {self.warmup_t} where it is not given"
            self.refuse("stable_timescale", told, self.stable_timescale)
        _ = self._written

    @property
    def _timescale(self) -> float:
        return self.warmup_t if self.stable_timescale is None else self.stable_timescale

    @cached_property
    def _written(self) -> CompiledExpression | None:
        return None if self.decay_fn in DECAY_FNS else compile_expression(self.decay_fn, ["f"], parameter="decay_fn")

    @property
    def _decay(self) -> Fall:
        if self._written is not None:
            return Formula(self._written)
        if self.decay_fn == "power":
            return Powered(self.decay_power)
        return {"linear": LINE, "1-sqrt": Root(), "cosine": Wave(), "exp": Shrink(self.decay_ratio)}[self.decay_fn]

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """The first tick below the stable phase, and the first at the end of the decay."""
        shift, stable, ticks = self.warmup_t, self.t_initial - self.decay_t, self.decay_t
        begin = first_tick(lambda t: t - shift - stable > 0, shift + stable)
        return begin, first_tick(lambda t: (t - shift - stable) / ticks >= 1, shift + self.t_initial)

    def body(self) -> Form:
        warm, stable = self.warmup_t, self.t_initial - self.decay_t
        if self.stable_fn == "constant":
            top = max(self.lr, self.lr_min)
            falling: Form = late(Transition(top, self.lr_min, self.decay_t, self._decay), warm, stable)
            forms: tuple[Form, ...] = (Level(top), falling, Level(self.lr_min + (top - self.lr_min) * self._left))
        else:
            falling = self._times(late(Transition(1.0, 0.0, self.decay_t, self._decay), stable))
            rest = self._times(Level(self._left)) if self._left else Level(self.lr_min)
            forms = (late(self._stable, warm), late(falling, warm), late(rest, warm) if self._left else rest)
        return Phases(self._ends, forms)

    @property
    def _left(self) -> float:
        """What is left of the decay at its end."""
        try:
            return 0.0 if self._written is None else float(self._written(np.ones(1))[0])
        except SpecError:  # it is refused where a run gets that far
            return math.nan

    @property
    def _stable(self) -> Form:
        power = 0.5 if self.stable_fn == "rsqrt" else self.stable_power
        falling = Law(self.lr, self._timescale, self._timescale, -power)
        return Bounded(falling, low=self.lr_min) if self.lr_min > 0 else falling

    def _times(self, part: Form) -> Form:
        """The stable phase going on, and a part of what it is above lr_min."""
        if self.lr_min == 0:
            return Scaled((self._stable, part))
        return Raised(Scaled((Raised(self._stable, -self.lr_min), part)), self.lr_min)

    @property
    def run_length(self) -> float | None:
        return self.warmup_t + self.t_initial

    @property
    def marks(self) -> tuple[Mark, ...]:
        begin, end = self._ends
        warm = ((math.ceil(self.warmup_t), "stable"),) if self.warmup_t > 0 else ()
        return (*warm, (int(begin), "decay"), (int(end), "end"))

    def notes(self, total: int) -> tuple[str, ...]:
        unread = {"constant": ("stable_timescale", "stable_power"), "rsqrt": ("stable_power",)}
        stable = changed(self, *unread.get(self.stable_fn, ()))
        decay = changed(
            self, *["decay_power"] * (self.decay_fn != "power"), *["decay_ratio"] * (self.decay_fn != "exp")
        )
        return (
            *super().notes(total),
            *ignored(stable, f"with stable_fn {self.stable_fn}"),
            *ignored(decay, f"with decay_fn {self.decay_fn}"),
        )
