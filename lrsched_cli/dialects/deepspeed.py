"""The deepspeed dialect: the schedulers of ``deepspeed.runtime.lr_schedules``, stepped by the engine after each update.

Read in DeepSpeed 0.19.6. The warm-ups lag: update 0 has a rate of its own, and update t uses the formula of t - 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lrsched_cli.dialects.deepspeed_cycle import OneCycle
from lrsched_cli.dialects.foreign import Foreign, kinds_of
from lrsched_cli.dialects.parameters import per_group
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.falls import LINE, Fall, Logarithm, Wave
from lrsched_cli.schedules.forms import Bounded, Form, Level, Stairs, Transition, phases, then
from lrsched_cli.schedules.parameters import REQUIRED, param

SOURCE = "deepspeed.runtime.lr_schedules"
WARMUP_TYPES = ("log", "linear")
WARM = "k = t - 1, g = log(k + 1) / log(warmup_num_steps) or k / warmup_num_steps while k < warmup_num_steps"


def total_steps() -> Any:
    return param("ticks", REQUIRED, "Steps of the whole run, the warm-up among them.", length="step")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Warmed(Foreign):
    """A warm-up by the logarithm of the step, or a straight line, that lags a step behind."""

    warmup_num_steps: int = param("ticks", 1000, "Steps of the warm-up; 1 counts as 2.")
    warmup_type: str = param("text", "log", "Shape of the warm-up.", choices=WARMUP_TYPES)

    def check(self) -> None:
        super().check()
        if not isinstance(self.warmup_num_steps, int) or self.warmup_num_steps <= 0:
            self.refuse("warmup_num_steps", "a whole number > 0", self.warmup_num_steps)

    @property
    def _warmup(self) -> int:
        return max(2, self.warmup_num_steps)

    def warmed(self, first: float, low: float, high: float, body: Form) -> Form:
        """The rate of update 0, a rise from ``low`` to ``high``, and a body whose clock begins after it."""
        fall: Fall = LINE if self.warmup_type == "linear" else Logarithm(self._warmup)
        rise = Transition(low, high, self._warmup, fall)
        return phases((0, Level(first)), (1, rise), (self._warmup + 1, body))

    @property
    def marks(self) -> tuple[Mark, ...]:
        return ((self._warmup + 1, "after warm-up"),)

    def notes(self, total: int) -> tuple[str, ...]:
        if self.warmup_type in WARMUP_TYPES:
            return ()
        return (f"deepspeed does not know warmup_type {self.warmup_type}, and uses log",)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WarmupLR(Warmed):
    """A warm-up by the logarithm of the step, or a straight line, then the same rate."""

    kind = "deepspeed.WarmupLR"
    formula = f"warmup_min_lr + (warmup_max_lr - warmup_min_lr) * g, {WARM}; then warmup_max_lr"
    source = f"{SOURCE}.WarmupLR"
    example: ClassVar[Mapping[str, Any]] = {"warmup_num_steps": 20}

    warmup_min_lr: float = per_group("number", 0.0, "Rate at the start.")
    warmup_max_lr: float | None = per_group("number", None, "Rate after the warm-up; the optimizer's lr by default.")

    @property
    def _high(self) -> float:
        return self.lr if self.warmup_max_lr is None else self.warmup_max_lr

    def form(self) -> Form:
        return self.warmed(self.warmup_min_lr, self.warmup_min_lr, self._high, self.body())

    def body(self) -> Form:
        """What follows the warm-up, on a clock that starts after it."""
        return Level(self._high)

    def notes(self, total: int) -> tuple[str, ...]:
        if self.warmup_max_lr is None:
            return super().notes(total)
        return (*super().notes(total), f"{self.kind} sets the rate itself and ignores the optimizer's lr")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WarmupDecayLR(WarmupLR):
    """A warm-up by the logarithm of the step, or a straight line, then a straight line back to its start."""

    kind = "deepspeed.WarmupDecayLR"
    formula = (
        f"warmup_min_lr + (warmup_max_lr - warmup_min_lr) * g, {WARM}; "
        "then g = (total_num_steps - k) / (total_num_steps - warmup_num_steps), at least 0"
    )
    source = f"{SOURCE}.WarmupDecayLR"
    example: ClassVar[Mapping[str, Any]] = {"total_num_steps": 100, "warmup_num_steps": 20}

    total_num_steps: float = total_steps()
    warmup_max_lr: float = per_group("number", 0.001, "Rate after the warm-up.")

    def body(self) -> Form:
        left = self.total_num_steps - self._warmup
        if left <= 0:
            return Level(self.warmup_min_lr)
        # Less than a step is divided by one.
        start = self.warmup_min_lr + (self._high - self.warmup_min_lr) * min(left, 1.0)
        return phases((0, Transition(start, self.warmup_min_lr, left)), (left, Level(self.warmup_min_lr)))

    def notes(self, total: int) -> tuple[str, ...]:
        return (*super().notes(total), *_too_short(self, self.total_num_steps))


def _too_short(kind: Warmed, total: float) -> tuple[str, ...]:
    if total >= kind.warmup_num_steps:
        return ()
    return (f"total_num_steps {total} is less than warmup_num_steps {kind.warmup_num_steps}",)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WarmupCosineLR(Warmed):
    """A warm-up by the logarithm of the step, or a straight line, then half a cosine wave; update 0 has a rate of 0."""

    kind = "deepspeed.WarmupCosineLR"
    formula = (
        f"lr * (warmup_min_ratio + (1 - warmup_min_ratio) * g), {WARM}; "
        "then lr * (cos_min_ratio + (1 - cos_min_ratio) * (1 + cos(pi * x)) / 2), "
        "x = (k - warmup_num_steps + 1) / (total_num_steps - warmup_num_steps), at most 1"
    )
    source = f"{SOURCE}.WarmupCosineLR"
    example: ClassVar[Mapping[str, Any]] = {"total_num_steps": 100, "warmup_num_steps": 20}

    total_num_steps: float = total_steps()
    warmup_min_ratio: float = param("number", 0.0, "Start of the warm-up, as a part of the rate.")
    cos_min_ratio: float = param("number", 1e-4, "End of the wave, as a part of the rate.")

    def form(self) -> Form:
        floor = self.cos_min_ratio * self.lr
        rest = max(1, self.total_num_steps - self._warmup)
        wave: Form = phases((0, Transition(self.lr, floor, rest, Wave())), (rest, Level(floor)))
        if floor < 0:
            wave = Bounded(wave, low=0.0)
        # The wave is a step ahead, which makes up for the step that the warm-up lags.
        return self.warmed(0.0, self.warmup_min_ratio * self.lr, self.lr, then(-1, wave))

    def notes(self, total: int) -> tuple[str, ...]:
        notes = [*super().notes(total), *_too_short(self, self.total_num_steps)]
        if self.warmup_min_ratio:
            notes.append(f"update 0 has a rate of 0, although warmup_min_ratio is {self.warmup_min_ratio:g}")
        return tuple(notes)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LRRangeTest(Foreign):
    """A rate that rises without an end, in a straight line or by stairs."""

    kind = "deepspeed.LRRangeTest"
    formula = "lr_range_test_min_lr * (1 + lr_range_test_step_rate * t / lr_range_test_step_size)"
    source = f"{SOURCE}.LRRangeTest; Smith 2018, arXiv 1803.09820"
    example: ClassVar[Mapping[str, Any]] = {"lr_range_test_step_size": 20}

    lr_range_test_min_lr: float = per_group("number", 1e-3, "Rate at the start.")
    lr_range_test_step_size: int = param("ticks", 2000, "Steps in which the rate rises by the step rate.")
    lr_range_test_step_rate: float = param("number", 1.0, "What it rises by, as a part of the start.")
    lr_range_test_staircase: bool = param("bool", False, "Rise at the end of these steps only.")

    def check(self) -> None:
        super().check()
        if not isinstance(self.lr_range_test_step_size, int) or self.lr_range_test_step_size <= 0:
            self.refuse("lr_range_test_step_size", "a whole number > 0", self.lr_range_test_step_size)

    def form(self) -> Form:
        low, every = self.lr_range_test_min_lr, self.lr_range_test_step_size
        rise = Transition(low, low + low * self.lr_range_test_step_rate, every)
        return Stairs(rise, every) if self.lr_range_test_staircase else rise

    def notes(self, total: int) -> tuple[str, ...]:
        return (f"{self.kind} sets the rate itself and ignores the optimizer's lr",)


#: The kinds by their names in the library.
KINDS = {**kinds_of(globals()), "OneCycle": OneCycle}
