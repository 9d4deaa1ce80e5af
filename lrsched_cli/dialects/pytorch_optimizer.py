"""The pytorch_optimizer dialect: the schedulers that the library adds to those of torch.

Read in pytorch_optimizer 4.1, lr_scheduler/. The names are those of its classes and functions; what
``load_lr_scheduler`` calls them stands in their source. ``ProportionScheduler`` is left out: it turns the rate of
another scheduler into some other value, and sets none.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any, ClassVar

import numpy as np

from lrsched_cli.dialects.foreign import Failure, Foreign, kinds_of
from lrsched_cli.dialects.pytorch_optimizer_forms import Chebyshev, Restarts
from lrsched_cli.errors import must
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.falls import LINE, Fall, Power, Reflected, Root, Wave
from lrsched_cli.schedules.forms import Form, Level, Phases, Transition, phases, then
from lrsched_cli.schedules.parameters import REQUIRED, param
from lrsched_cli.schedules.ticks import power_of

SOURCE = "pytorch_optimizer.lr_scheduler"
LATE = "; min_lr at tick 0"


def bounded(ticks: float) -> float:
    """Ticks without end as more than any run has."""
    return max(min(ticks, 1e30), -1e30)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Setting(Foreign):
    """A scheduler that ignores the optimizer's rate: the constructor sets ``min_lr``, the first step what is meant."""

    min_lr: float = param("number", 0.0, "Rate at the end, and at tick 0.")

    @abstractmethod
    def meant(self) -> Form:
        """The rates but for that of tick 0."""

    @property
    @abstractmethod
    def first(self) -> float:
        """The rate that the schedule itself begins with."""

    def form(self) -> Form:
        return Phases((1.0,), (Level(self.min_lr), self.meant()))

    def notes(self, total: int) -> tuple[str, ...]:
        notes = (f"{self.kind} sets the rate itself and ignores the optimizer's lr",)
        if self.first == self.min_lr:
            return notes
        return (
            *notes,
            f"tick 0 uses min_lr {self.min_lr:g}, which its constructor sets: the schedule acts from tick 1",
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class REXScheduler(Setting):
    """A reflected exponential, slow at first and fast at the end."""

    kind = "pytorch_optimizer.REXScheduler"
    formula = f"min_lr + (max_lr - min_lr) * (1 - x) / (1 - x / 2), x = t / total_steps, and then min_lr{LATE}"
    source = f"{SOURCE}.REXScheduler, 'rex'; Chen et al. 2021, arXiv 2107.04197"
    example: ClassVar[Mapping[str, Any]] = {"total_steps": 100}

    total_steps: float = param("ticks", REQUIRED, "Steps until the floor.", length="step")
    max_lr: float = param("number", 1.0, "Rate that it falls from.")

    def meant(self) -> Form:
        fall = Transition(self.max_lr, self.min_lr, self.total_steps or 1, Reflected())
        return phases((0, fall), (self.total_steps, Level(self.min_lr)))

    @property
    def first(self) -> float:
        return self.max_lr if self.total_steps > 0 else self.min_lr


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WarmedUp(Setting):
    """A scheduler with a linear warm-up, all of it one tick late."""

    example: ClassVar[Mapping[str, Any]] = {"t_max": 100, "max_lr": 0.1, "warmup_steps": 10}

    t_max: float = param("ticks", REQUIRED, "Steps, the warm-up among them.", ge=0, length="step")
    max_lr: float = param("number", REQUIRED, "Rate at the end of the warm-up.", ge=0)
    min_lr: float = param("number", 0.0, "Rate at the end, and at tick 0.", ge=0)
    init_lr: float = param("number", 0.0, "Rate at tick 1, where there is a warm-up.", ge=0)
    warmup_steps: float = param("ticks", 0, "Steps of the warm-up.", ge=0)

    @abstractmethod
    def body(self) -> Form:
        """What follows the warm-up, on a clock that starts at its end."""

    @property
    def rest(self) -> float:
        """Steps after the warm-up; below 0 where that is longer than everything."""
        return bounded(self.t_max) - self._warmup

    @property
    def _warmup(self) -> float:
        return bounded(self.warmup_steps)

    @property
    def _after(self) -> int:
        """The first step past the end of the warm-up, where the rate is ``max_lr`` without the body being asked."""
        return math.floor(self._warmup) + 1

    @property
    def first(self) -> float:
        return self.init_lr if self.warmup_steps > 0 else self.max_lr

    def meant(self) -> Form:
        warmup, after = self._warmup, self._after
        rise = Transition(self.init_lr, self.max_lr, self.warmup_steps or 1)
        body = then(warmup - after, self.body())
        return then(1, phases((0, rise), (warmup, Level(self.max_lr)), (after, body)))

    @property
    def marks(self) -> tuple[Mark, ...]:
        name = self.kind.partition(".")[2].removesuffix("Scheduler").lower()
        return ((math.ceil(self._warmup) + 1, name),) if self.warmup_steps > 0 else ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Decaying(WarmedUp):
    """A scheduler that divides by the steps after the warm-up, and goes on past the end by the same formula."""

    past: ClassVar[str] = ""

    @property
    def failure(self) -> Failure | None:
        return None if self.rest else Failure(self._after + 1, "it divides by t_max - warmup_steps, which is 0")

    @property
    def length(self) -> int | None:
        return math.ceil(self.t_max) + 1 if self.t_max < math.inf else None

    def notes(self, total: int) -> tuple[str, ...]:
        notes = super().notes(total)
        if self.max_lr == self.min_lr or self.rest < 0 or total - 2 <= self.t_max:
            return notes
        return (*notes, f"past t_max {self.t_max} the rate {self.past}")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LinearScheduler(Decaying):
    """A linear warm-up, then a straight line to the floor, and on below it."""

    kind = "pytorch_optimizer.LinearScheduler"
    formula = (
        "init_lr + (max_lr - init_lr) * s / warmup_steps, s = t - 1, then "
        f"max_lr + (min_lr - max_lr) * (s - warmup_steps) / (t_max - warmup_steps){LATE}"
    )
    source = f"{SOURCE}.LinearScheduler, 'linear'"
    past = "goes on in a straight line, beyond min_lr"

    def body(self) -> Form:
        # Fewer steps than none turn the line around.
        end = self.min_lr if self.rest > 0 else 2 * self.max_lr - self.min_lr
        return Transition(self.max_lr, end, abs(self.rest) or 1)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineScheduler(Decaying):
    """A linear warm-up, then a cosine wave to the floor; past the end it climbs again."""

    kind = "pytorch_optimizer.CosineScheduler"
    formula = (
        "init_lr + (max_lr - init_lr) * s / warmup_steps, s = t - 1, then min_lr + (max_lr - min_lr) * "
        f"(1 + cos(pi * (s - warmup_steps) / (t_max - warmup_steps))) / 2{LATE}"
    )
    source = f"{SOURCE}.CosineScheduler, 'cosine'"
    past = "climbs again"

    def body(self) -> Form:
        return Transition(self.max_lr, self.min_lr, abs(self.rest) or 1, Wave())


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PolyScheduler(WarmedUp):
    """A linear warm-up, then growth by a power of the steps since then."""

    kind = "pytorch_optimizer.PolyScheduler"
    formula = (
        "init_lr + (max_lr - init_lr) * s / warmup_steps, s = t - 1, then "
        f"min_lr + (max_lr - min_lr) * (s - warmup_steps) ** poly_order{LATE}"
    )
    source = f"{SOURCE}.PolyScheduler, 'poly'"

    poly_order: float = param("number", 0.5, "Exponent.", gt=0)

    def body(self) -> Form:
        # The part left of a way from the floor, 1 - x ** poly_order, at the top after one step and then far beyond it.
        return Transition(self.min_lr, self.max_lr, 1, Power(1.0, self.poly_order))

    def notes(self, total: int) -> tuple[str, ...]:
        grows = "pytorch_optimizer ignores t_max here: after the warm-up the rate grows with the steps, beyond max_lr"
        return (*super().notes(total), grows)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineAnnealingWarmupRestarts(Setting):
    """A linear warm-up and half a cosine wave, again and again, to lower and lower peaks."""

    kind = "pytorch_optimizer.CosineAnnealingWarmupRestarts"
    formula = (
        "s steps into the i-th cycle of n: min_lr + (top - min_lr) * s / warmup_steps, then min_lr + (top - min_lr) * "
        f"(1 + cos(pi * (s - warmup_steps) / (n - warmup_steps))) / 2, top = max_lr * gamma ** i{LATE}"
    )
    source = f"{SOURCE}.CosineAnnealingWarmupRestarts, 'cosine_annealing_with_warmup'"
    example: ClassVar[Mapping[str, Any]] = {"first_cycle_steps": 30, "max_lr": 0.1, "warmup_steps": 5}

    first_cycle_steps: float = param("ticks", REQUIRED, "Steps of the first cycle, the warm-up among them.")
    cycle_mult: float = param("number", 1.0, "Each cycle without its warm-up is so many times as long as the last one.")
    max_lr: float = param("number", 1e-4, "Peak of the first cycle.")
    min_lr: float = param("number", 1e-6, "Rate at the ends of all cycles, and at tick 0.")
    warmup_steps: float = param("ticks", 0, "Steps of the warm-up of each cycle.")
    gamma: float = param("number", 0.9, "Factor of the peak, each cycle.")

    def check(self) -> None:
        super().check()
        if self.warmup_steps >= self.first_cycle_steps:
            self.refuse("warmup_steps", f"< first_cycle_steps {self.first_cycle_steps}", self.warmup_steps)
        if self.warmup_steps < 0 and not float(self.warmup_steps).is_integer():
            # Each cycle then ends at its highest rate, and the last digit decides whether a tick still belongs to it.
            rounds = f" ({self.library()} itself would round)"
            raise must("warmup_steps", "a whole number where it is below 0", self.warmup_steps).adding(rounds)

    @cached_property
    def _restarts(self) -> Restarts:
        lengths = (bounded(self.first_cycle_steps), self.warmup_steps, self.cycle_mult)
        return Restarts(*lengths, self.max_lr, self.min_lr, self.gamma)

    def meant(self) -> Form:
        return self._restarts

    @property
    def first(self) -> float:
        return self.min_lr if self.warmup_steps > 0 else self.max_lr

    @cached_property
    def _overflow(self) -> Failure | None:
        if abs(self.gamma) <= 1:
            return None
        number = int(math.log(np.finfo(float).max) / math.log(abs(self.gamma)))
        while math.isfinite(power_of(self.gamma, float(number))):
            number += 1
        begin = self._restarts.begin_of(number)
        return Failure(int(begin), f"gamma ** {number} overflows") if begin < math.inf else None

    @property
    def failure(self) -> Failure | None:
        return self._overflow

    @property
    def marks(self) -> tuple[Mark, ...]:
        if self.cycle_mult == 1:
            return ()
        begins = takewhile(math.isfinite, (self._restarts.begin_of(i) for i in range(1, 12)))
        return tuple((int(begin), f"cycle {i}") for i, begin in enumerate(begins, 2))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ChebyshevSchedule(Foreign):
    """Chebyshev steps in a fractal order, between 1 and 20 times the rate."""

    kind = "pytorch_optimizer.get_chebyshev_schedule"
    formula = "lr / (0.525 - 0.475 * cos(pi * (node + 0.5) / n)), n = num_epochs rounded up to a power of 2"
    source = f"{SOURCE}.get_chebyshev_schedule, 'chebyshev'; Agarwal et al. 2021, arXiv 2103.01338"
    example: ClassVar[Mapping[str, Any]] = {"num_epochs": 64}

    num_epochs: float = param("ticks", REQUIRED, "Ticks of the whole run.", length="epoch")
    is_warmup: bool = param("bool", False, "Keep the rate as it is.")

    def check(self) -> None:
        super().check()
        if not self.is_warmup and self.num_epochs == math.inf:
            self.refuse("num_epochs", "a finite number", self.num_epochs, "OverflowError")
        if not self.is_warmup and self._doublings < 0:
            self.refuse("num_epochs", "<= 1 or > 1.25", self.num_epochs)

    @property
    def _doublings(self) -> int:
        return int(np.log2(self.num_epochs - 1)) + 1 if self.num_epochs > 1 else 0

    def form(self) -> Form:
        if self.is_warmup:
            return Level(self.lr)
        steps = Chebyshev(self.lr, 1 << self._doublings)
        end = steps.steps + 1
        return Phases((end,), (steps, Level(float(steps(np.array([float(end)]))[0]))))

    def notes(self, total: int) -> tuple[str, ...]:
        if self.is_warmup:
            return ("pytorch_optimizer ignores num_epochs where is_warmup is on: the rate is constant",)
        return ("ticks 0, 1 and 2 all use the first of the steps, as in pytorch_optimizer",)


COOLDOWNS: dict[str, Fall] = {"1-sqrt": Root(), "linear": LINE, "1-square": Power(1.0, 2.0)}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WSDSchedule(Foreign):
    """Linear warm-up, stable, and a decay, which ends at 0 unless it is a cosine; then the floor."""

    kind = "pytorch_optimizer.get_wsd_schedule"
    formula = (
        "lr * t / num_warmup_steps, then lr, then lr * decay(x), then lr * min_lr_ratio, "
        "x = (t - num_warmup_steps - num_stable_steps) / num_decay_steps"
    )
    source = f"{SOURCE}.get_wsd_schedule, 'warmup_stable_decay'; Hu et al. 2024, arXiv 2404.06395"
    example: ClassVar[Mapping[str, Any]] = {"num_warmup_steps": 10, "num_stable_steps": 70, "num_decay_steps": 20}

    num_warmup_steps: float = param("ticks", REQUIRED, "Steps of the warm-up from 0.")
    num_stable_steps: float = param("ticks", REQUIRED, "Steps at the full rate.")
    num_decay_steps: float = param("ticks", REQUIRED, "Steps of the decay.")
    min_lr_ratio: float = param("number", 0.0, "Rate after the decay, as a part of the rate; a cosine's floor.")
    num_cycles: float = param("number", 0.5, "Waves of a cosine decay.")
    cooldown_type: str = param("text", "1-sqrt", "The decay: cosine, 1-sqrt, linear or 1-square; any other is none.")

    @property
    def _decay(self) -> Form:
        ratio, ticks = self.min_lr_ratio, self.num_decay_steps
        if self.cooldown_type == "cosine":
            return Transition(self.lr, ratio * self.lr, max(1, ticks), Wave(self.num_cycles))
        if self.cooldown_type not in COOLDOWNS:
            return Level(ratio * self.lr)
        return Transition(self.lr, 0.0, ticks or 1, COOLDOWNS[self.cooldown_type])

    @property
    def _starts(self) -> tuple[float, float, float]:
        """Where the stable phase, the decay and the floor begin."""
        stable = bounded(self.num_warmup_steps)
        decay = stable + bounded(self.num_stable_steps)
        return stable, decay, decay + bounded(self.num_decay_steps)

    def form(self) -> Form:
        stable, decay, end = self._starts
        rise = Transition(0.0, self.lr, max(1, self.num_warmup_steps))
        return phases(
            (0, rise), (stable, Level(self.lr)), (decay, self._decay), (end, Level(self.min_lr_ratio * self.lr))
        )

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple(zip(map(math.ceil, self._starts), ("stable", "decay", "end"), strict=True))

    def notes(self, total: int) -> tuple[str, ...]:
        _, decay, end = self._starts
        if self.num_decay_steps <= 0 or total <= decay:
            return ()
        if self.cooldown_type not in ("cosine", *COOLDOWNS):
            return (
                f"pytorch_optimizer has no cooldown_type {self.cooldown_type}: the rate drops to min_lr_ratio at once",
            )
        if self.cooldown_type != "cosine" and self.min_lr_ratio > 0 and total > end:
            return (f"the decay goes to 0, and then the rate jumps up to min_lr_ratio {self.min_lr_ratio:g} of lr",)
        return ()


#: The kinds by their names in the library.
KINDS = kinds_of(globals())
