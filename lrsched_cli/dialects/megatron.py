"""The megatron dialect: Megatron-LM's ``OptimizerParamScheduler``, and its decay styles as kinds of their own.

Read in Megatron-LM, megatron/core/optimizer_param_scheduler.py. It counts by the ``increment`` that it is stepped with:
1, or the global batch size where its parameters are samples, as in Megatron's own training loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lrsched_cli.dialects.foreign import Failure, Foreign, kinds_of
from lrsched_cli.dialects.megatron_steps import COUNTED_REST, counted, in_steps
from lrsched_cli.errors import must
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.falls import LINE, Fall, Root, Shrink, Wave
from lrsched_cli.schedules.forms import Form, Law, Level, Transition, phases, then
from lrsched_cli.schedules.parameters import param

SOURCE = "megatron.core.optimizer_param_scheduler.OptimizerParamScheduler"
STYLES = ("linear", "cosine", "constant", "inverse-square-root", "WSD")
WARM = "init_lr + (max_lr - init_lr) * s / lr_warmup_steps while s <= lr_warmup_steps, s = t * increment; then "
#: From 1 to 0 in the last steps of WSD; the exponential one is 2 * 0.5 ** x - 1.
WSD_FALLS: dict[str, Fall] = {"exponential": Shrink(0.5), "linear": LINE, "cosine": Wave(), "minus_sqrt": Root()}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OptimizerParamScheduler(Foreign):
    """A linear warm-up, then a decay in one of Megatron's styles; past its steps the minimum."""

    kind = "megatron.OptimizerParamScheduler"
    formula = WARM + "min_lr + (max_lr - min_lr) * decay((s - lr_warmup_steps) / (lr_decay_steps - lr_warmup_steps))"
    source = SOURCE
    example: ClassVar[Mapping[str, Any]] = {"lr_warmup_steps": 10}

    init_lr: float = param("number", 0.0, "Rate at the start of the warm-up.")
    max_lr: float | None = param("number", None, "Rate at the end of the warm-up; lr by default.")
    min_lr: float = param("number", 0.0, "The floor.")
    lr_warmup_steps: float = counted(0, "Steps of the warm-up.")
    lr_decay_steps: float = counted(COUNTED_REST, "Steps until the floor, the warm-up among them.", length="step")
    lr_decay_style: str = param("text", "linear", "How it decays after the warm-up.", choices=STYLES)
    wsd_decay_steps: float | None = counted(None, "Steps of the decay at the end, of the style WSD.")
    lr_wsd_decay_style: str = param("text", "exponential", "Shape of that decay.", choices=tuple(WSD_FALLS))
    increment: int = param(
        "integer", 1, "What an update adds to the steps: the global batch size where steps are samples.", ge=1
    )

    @classmethod
    def own_length(cls, given: Mapping[str, Any]) -> tuple[int, str] | None:
        found, each = super().own_length(given), given.get("increment")
        if found is None or not isinstance(each, int) or each < 1:
            return found
        return math.ceil(found[0] / each), found[1]

    def check(self) -> None:
        super().check()
        raises = "AssertionError"
        if self.min_lr < 0:
            self.refuse("min_lr", ">= 0", self.min_lr, raises)
        if self._max < self.min_lr:
            self.refuse("min_lr", f"<= max_lr {self._max:g}", self.min_lr, raises)
        if self.init_lr > self._max:
            self.refuse("init_lr", f"<= max_lr {self._max:g}", self.init_lr, raises)
        if not self.lr_decay_steps > 0:
            self.refuse("lr_decay_steps", "> 0", self.lr_decay_steps, raises)
        if not self._warmup < self._decay:
            condition = f"< lr_decay_steps {self.lr_decay_steps}"
            self.refuse("lr_warmup_steps", condition, self.lr_warmup_steps, raises)
        if self.lr_decay_style == "WSD" and self.wsd_decay_steps is None:
            self.refuse("wsd_decay_steps", "given for the style WSD", None, raises)

    @property
    def _max(self) -> float:
        return self.lr if self.max_lr is None else self.max_lr

    # Steps as updates, which need not be whole.

    @property
    def _warmup(self) -> float:
        return in_steps(self.lr_warmup_steps, self.increment) / self.increment

    @property
    def _decay(self) -> float:
        return in_steps(self.lr_decay_steps, self.increment) / self.increment

    @property
    def _anneal(self) -> float:
        """The last update at the full rate, in the style WSD."""
        assert self.wsd_decay_steps is not None
        return self._decay - in_steps(self.wsd_decay_steps, self.increment) / self.increment

    @property
    def _body_from(self) -> int:
        """The first update after the warm-up, which still rules where it ends."""
        return math.floor(self._warmup) + 1 if self._warmup > 0 else 0

    @property
    def failure(self) -> Failure | None:
        tick, told = self._body_from, f"the decay style {self.lr_decay_style} is not supported"
        if self.lr_decay_style == "WSD" and self.lr_wsd_decay_style not in WSD_FALLS:
            tick = max(tick, math.floor(self._anneal) + 1)
            told = f"lr_wsd_decay_style {self.lr_wsd_decay_style} is unknown to it"
        elif self.lr_decay_style in STYLES:
            return None
        return Failure(tick, told) if tick <= self._decay else None

    def form(self) -> Form:
        rise = Transition(self.init_lr, self._max, self._warmup or 1)
        body = _from(self._body_from, self.body())
        if self.lr_decay_style == "constant":
            return phases((0, rise), body)
        return phases((0, rise), body, (math.floor(self._decay) + 1, Level(self.min_lr)))

    def body(self) -> Form:
        """What follows the warm-up, on the clock of the whole."""
        high, low = self._max, self.min_lr
        if self.lr_decay_style == "constant":
            return Level(high)
        if self.lr_decay_style == "inverse-square-root":
            # Steps count from 1 here, as does the warm-up: update 0 is no step.
            first = max(self._warmup, 1 / self.increment)
            root = phases((0, Level(high)), _from(1, Law(high, first, 0.0)))
            return phases((0, root), (first * (high / low) * (high / low), Level(low))) if low else root
        if self.lr_decay_style == "WSD":
            start, fall = self._anneal, WSD_FALLS.get(self.lr_wsd_decay_style, LINE)
            falling = then(start, Transition(high, low, (self._decay - start) or 1, fall))
            return phases((0, Level(high)), _from(math.floor(start) + 1, falling))
        fall = Wave() if self.lr_decay_style == "cosine" else LINE
        return then(self._warmup, Transition(high, low, self._decay - self._warmup, fall))

    @property
    def length(self) -> int | None:
        return None if self.lr_decay_style == "constant" else math.floor(self._decay)

    @property
    def marks(self) -> tuple[Mark, ...]:
        marks = [(math.floor(self._warmup), self.lr_decay_style)] if self._warmup > 0 else []
        if self.lr_decay_style == "WSD" and self._warmup < self._anneal < self._decay:
            marks.append((math.floor(self._anneal), "decay"))
        return tuple(marks)

    def notes(self, total: int) -> tuple[str, ...]:
        notes = []
        if self.lr_decay_style == "constant" and self.min_lr:
            notes.append(f"megatron ignores min_lr {self.min_lr:g} in the style constant")
        if self.lr_decay_style != "WSD" and self.wsd_decay_steps is not None:
            notes.append(f"megatron ignores wsd_decay_steps {self.wsd_decay_steps} in the style {self.lr_decay_style}")
        end = math.floor(self._decay)
        if self.lr_decay_style == "inverse-square-root" and total > end + 1:
            notes.append(f"the rate drops to min_lr {self.min_lr:g} at tick {end + 1}, past lr_decay_steps")
        return tuple(notes)


def _from(tick: int, form: Form) -> tuple[int, Form]:
    """A part of a chain whose clock is that of the whole."""
    return tick, then(-tick, form)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Styled(OptimizerParamScheduler):
    """A scheduler that is named by its decay style."""

    kind = ""

    def check(self) -> None:
        style = self.kind.partition(".")[2]
        if self.lr_decay_style != style:
            raise must("lr_decay_style", f"{style} in the kind {self.kind}", self.lr_decay_style)
        super().check()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Linear(Styled):
    """A linear warm-up, then a straight line to the minimum."""

    kind = "megatron.linear"
    formula = WARM + "max_lr to min_lr at lr_decay_steps"

    lr_decay_style: str = param("text", "linear", "The style that this kind is named by.", choices=("linear",))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Cosine(Styled):
    """A linear warm-up, then half a cosine wave to the minimum."""

    kind = "megatron.cosine"
    formula = WARM + "min_lr + (max_lr - min_lr) * (1 + cos(pi * x)) / 2, x = 1 at lr_decay_steps"

    lr_decay_style: str = param("text", "cosine", "The style that this kind is named by.", choices=("cosine",))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Constant(Styled):
    """A linear warm-up, then the same rate for ever."""

    kind = "megatron.constant"
    formula = WARM + "max_lr"

    lr_decay_style: str = param("text", "constant", "The style that this kind is named by.", choices=("constant",))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InverseSquareRoot(Styled):
    """A linear warm-up, then the inverse square root of the steps, and from its end the minimum."""

    kind = "megatron.inverse-square-root"
    formula = WARM + "max_lr * sqrt(lr_warmup_steps / s), at least min_lr, and min_lr past lr_decay_steps"

    lr_decay_style: str = param(
        "text", "inverse-square-root", "The style that this kind is named by.", choices=("inverse-square-root",)
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WSD(Styled):
    """Warm-up, stable, decay to the minimum."""

    kind = "megatron.WSD"
    formula = WARM + "max_lr until lr_decay_steps - wsd_decay_steps, then min_lr + (max_lr - min_lr) * decay(x)"
    source = f"{SOURCE}; Hu et al. 2024, arXiv 2404.06395"
    example: ClassVar[Mapping[str, Any]] = {"lr_warmup_steps": 10, "wsd_decay_steps": 20}

    lr_decay_style: str = param("text", "WSD", "The style that this kind is named by.", choices=("WSD",))


#: The kinds by their names in the library.
KINDS = kinds_of(globals())
