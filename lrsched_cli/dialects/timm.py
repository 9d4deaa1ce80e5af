"""The timm dialect: the classes of timm.scheduler, and ``create_scheduler_v2``, which makes one by a name.

Read in timm 1.0.31.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from lrsched_cli.dialects.foreign import Failure
from lrsched_cli.dialects.timm_base import SOURCE, Timed, Timm, changed, ignored, noise_refused
from lrsched_cli.dialects.timm_cycles import CosineLRScheduler, Cycled, PolyLRScheduler, TanhLRScheduler
from lrsched_cli.dialects.timm_phases import MultiStepLRScheduler, PlateauLRScheduler, StepLRScheduler
from lrsched_cli.dialects.timm_wsd import WSDLRScheduler
from lrsched_cli.errors import SpecError
from lrsched_cli.schedules.base import Mark, Schedule
from lrsched_cli.schedules.forms import Form, Level
from lrsched_cli.schedules.parameters import Metrics, param
from lrsched_cli.schedules.ticks import Times

SCHEDS = ("cosine", "tanh", "poly", "step", "multistep", "wsd", "rsqrt", "constant", "plateau", "none")
CYCLES = ("min_lr", "cooldown_epochs", "cycle_mul", "cycle_decay", "cycle_limit")
#: The parameters that only some schedules read, and which read them.
READ: dict[str, tuple[str, ...]] = {
    "cosine": (*CYCLES, "k_decay"),
    "tanh": CYCLES,
    "poly": (*CYCLES, "k_decay", "decay_rate"),
    "step": ("decay_epochs", "decay_rate"),
    "multistep": ("decay_milestones", "decay_rate"),
    "wsd": ("min_lr", "cooldown_epochs", "decay_epochs", "decay_fn", "stable_timescale"),
    "rsqrt": ("min_lr", "cooldown_epochs", "decay_epochs", "decay_fn", "stable_timescale"),
    "constant": (),
    "plateau": ("decay_rate", "patience_epochs", "min_lr", "plateau_mode", "metrics"),
    "none": (),
}
SPECIAL = tuple(dict.fromkeys(name for names in READ.values() for name in names))
#: What the factory calls the parameters of the classes.
CALLED = {
    "t_initial": "num_epochs", "lr_min": "min_lr", "warmup_t": "warmup_epochs", "warmup_lr_init": "warmup_lr",
    "decay_t": "decay_epochs", "power": "decay_rate",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CreateSchedulerV2(Timed):
    """The schedule that create_scheduler_v2 makes for a name, as timm's train.py asks it."""

    kind = "timm.create_scheduler_v2"
    formula = "that of the class that sched names: CosineLRScheduler for cosine, and so on"
    source = f"{SOURCE}, scheduler_factory.py"

    sched: str = param("choice", "cosine", "Which schedule; none leaves the rate alone.", choices=SCHEDS)
    num_epochs: float = param("number", 300, "Epochs of the schedule, without a warm-up prefix and cooldown.")
    decay_epochs: float | None = param(
        "number",
        None,
        "Epochs between steps, by default 90, or of the decay of wsd and rsqrt, by default a part of 0.2.",
    )
    decay_milestones: tuple[float, ...] = param("numbers", (90, 180, 270), "Epochs of the steps of multistep.")
    cooldown_epochs: float = param("number", 0, "Epochs at min_lr after the schedule; they make the run longer.")
    patience_epochs: float = param("number", 10, "Bad epochs that plateau waits for.")
    decay_rate: float = param("number", 0.1, "Factor of a step or a cut; the exponent of poly.")
    min_lr: float = param("number", 0.0, "Rate at the end.")
    warmup_lr: float = param("number", 1e-5, "Rate that the warm-up starts from.")
    warmup_epochs: float = param("number", 0, "Epochs of the warm-up.")
    warmup_prefix: bool = param("bool", False, "Whether the schedule's clock starts after the warm-up.")
    noise: Any = param("any", None, "Parts of the run with noise; only timm itself can draw it.")
    noise_pct: float = param("number", 0.67, "Largest noise.")
    noise_std: float = param("number", 1.0, "Standard deviation of the noise.")
    noise_seed: int = param("integer", 42, "Seed of the noise.")
    cycle_mul: float = param("number", 1.0, "Factor of the length, each cycle.")
    cycle_decay: float = param("number", 0.1, "Factor of the rate that a cycle starts from, each cycle.")
    cycle_limit: float = param("number", 1, "Cycles; min_lr after them.")
    k_decay: float = param("number", 1.0, "Exponent of the clock within a cycle of cosine or poly.")
    decay_fn: str | None = param("text", None, "Shape of the decay; by default 1-sqrt for wsd, linear for rsqrt.")
    stable_timescale: float | None = param("number", None, "Epochs that count as one in rsqrt; by default the warm-up.")
    plateau_mode: str = param("choice", "max", "Whether plateau's metric should fall or rise.", choices=("min", "max"))
    step_on_epochs: bool = param("bool", True, "Whether a tick is an epoch, or else an update.")
    updates_per_epoch: float = param("number", 0, "Updates an epoch, where a tick is an update.")
    metrics: Any = param("metrics", None, "The metric of every tick for plateau: numbers, or FILE:COLUMN.")

    def check(self) -> None:
        super().check()
        if self.noise is not None and self.sched != "none":
            raise noise_refused("noise")
        if not self.step_on_epochs and not self.updates_per_epoch > 0:
            self.refuse("updates_per_epoch", "> 0 without step_on_epochs", self.updates_per_epoch, "AssertionError")
        if self.sched == "plateau" and not self.step_on_epochs:
            self.refuse("step_on_epochs", "true with sched plateau", False, "AssertionError")
        try:
            _ = self.scheduler
        except SpecError as error:
            error.parameter = CALLED.get(error.parameter or "", error.parameter)
            raise

    @cached_property
    def scheduler(self) -> Timm | PlateauLRScheduler | None:
        """The object that it makes; None for ``none``."""
        if self.sched == "none":
            return None
        if self.sched == "plateau":
            return self._plateau()
        return self._wsd() if self.sched in ("wsd", "rsqrt") else self._made()

    @property
    def _ticks_per_epoch(self) -> float:
        return 1 if self.step_on_epochs else self.updates_per_epoch

    @property
    def _warm(self) -> dict[str, Any]:
        """What every class is given."""
        return {
            "lr": self.lr,
            "warmup_t": self.warmup_epochs * self._ticks_per_epoch,
            "warmup_lr_init": self.warmup_lr,
        }

    def _plateau(self) -> PlateauLRScheduler:
        return PlateauLRScheduler(
            **self._warm,
            decay_rate=self.decay_rate,
            patience_t=self.patience_epochs,
            lr_min=self.min_lr,
            mode=self.plateau_mode,
            metrics=self.metrics,
        )

    def _wsd(self) -> WSDLRScheduler:
        each = self._ticks_per_epoch
        length = (self.num_epochs if self.warmup_prefix else self.num_epochs - self.warmup_epochs) * each
        decay = 0.2 if self.decay_epochs is None else self.decay_epochs
        ticks = round(decay * length if 0 < decay < 1 else decay * each)
        if not 0 < ticks <= length:
            told = "num_epochs" if self.warmup_prefix else "num_epochs - warmup_epochs"
            self.refuse(
                "decay_epochs", f"at least a tick and at most {told}, {length / each:g} epochs", self.decay_epochs
            )
        return WSDLRScheduler(
            **self._warm,
            t_initial=length,
            decay_t=ticks,
            lr_min=self.min_lr,
            stable_fn="rsqrt" if self.sched == "rsqrt" else "constant",
            stable_timescale=None if self.stable_timescale is None else self.stable_timescale * each,
            decay_fn=self.decay_fn or ("linear" if self.sched == "rsqrt" else "1-sqrt"),
            t_in_epochs=self.step_on_epochs,
        )

    def _made(self) -> Timm:
        each = self._ticks_per_epoch
        common = {**self._warm, "warmup_prefix": self.warmup_prefix, "t_in_epochs": self.step_on_epochs}
        if self.sched == "constant":
            return StepLRScheduler(**common, decay_t=1, decay_rate=1.0)
        if self.sched == "step":
            every = 90 if self.decay_epochs is None else self.decay_epochs
            return StepLRScheduler(**common, decay_t=every * each, decay_rate=self.decay_rate)
        if self.sched == "multistep":
            milestones = tuple(milestone * each for milestone in self.decay_milestones)
            return MultiStepLRScheduler(**common, decay_t=milestones, decay_rate=self.decay_rate)
        common |= {"t_initial": self.num_epochs * each, "lr_min": self.min_lr}
        common |= {name: getattr(self, name) for name in ("cycle_mul", "cycle_decay", "cycle_limit")}
        if self.sched == "tanh":
            return TanhLRScheduler(**common)
        if self.sched == "poly":
            return PolyLRScheduler(**common, power=self.decay_rate, k_decay=self.k_decay)
        return CosineLRScheduler(**common, k_decay=self.k_decay)

    def form(self) -> Form:
        return Level(self.lr) if self.scheduler is None else self.scheduler.as_form

    def curve(self, t: Times) -> Any:
        return super().curve(t) if self.scheduler is None else self.scheduler.curve(t)

    @property
    def failure(self) -> Failure | None:
        return None if self.scheduler is None else self.scheduler.failure

    @property
    def marks(self) -> tuple[Mark, ...]:
        return () if self.scheduler is None else self.scheduler.marks

    @property
    def interval(self) -> str:
        return "epoch" if self.step_on_epochs else "step"

    @property
    def epochs(self) -> float | None:
        """How many epochs timm trains with it; None where it cannot tell."""
        made, each = self.scheduler, self._ticks_per_epoch
        if isinstance(made, (Cycled, WSDLRScheduler)):
            ticks = made.run_length
            return None if ticks is None else (ticks + self.cooldown_epochs * each) // each
        return self.num_epochs + (self.warmup_epochs if self.warmup_prefix else 0)

    @property
    def run_length(self) -> float | None:
        if self.sched == "plateau" and self.metrics is not None and not changed(self, "num_epochs"):
            return len(self.metrics)
        return None if self.epochs is None else self.epochs * self._ticks_per_epoch

    def notes(self, total: int) -> tuple[str, ...]:
        made, told = self.scheduler, list(super().notes(total))
        if made is not None and self.sched != "constant":
            told += made.notes(total)
        if self.epochs is not None and self.run_length != total:
            told.append(f"timm trains {self.epochs:g} epochs with it")
        unread = [name for name in SPECIAL if name not in READ[self.sched]]
        if self.sched == "none":
            unread += ["warmup_lr", "warmup_epochs", "noise"]
        told += ignored(changed(self, *unread), f"with sched {self.sched}")
        told += ignored(changed(self, "noise_pct", "noise_std", "noise_seed"), "without noise")
        return tuple(told)

    # A metric drives plateau.

    @property
    def reacts(self) -> bool:
        return self.sched == "plateau"

    @property
    def metric_mode(self) -> str | None:
        return self.plateau_mode if self.reacts else None

    def fed(self, metrics: Sequence[float]) -> Self:
        return replace(self, metrics=Metrics(metrics)) if self.reacts else self


#: The kinds by their names in the library.
KINDS: dict[str, type[Schedule]] = {
    kind.kind.partition(".")[2]: kind
    for kind in (
        CosineLRScheduler,
        TanhLRScheduler,
        PolyLRScheduler,
        StepLRScheduler,
        MultiStepLRScheduler,
        WSDLRScheduler,
        PlateauLRScheduler,
        CreateSchedulerV2,
    )
}
