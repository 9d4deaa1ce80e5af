"""The torchtitan dialect: what ``LRSchedulersContainer.Config.build`` makes of its fields.

Read in torchtitan 0.2.2, components/lr_scheduler.py: a LambdaLR, with a virtual last step after the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lrsched_cli.dialects.foreign import Failure, Foreign, kinds_of
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.falls import LINE, Fall, Root, Wave
from lrsched_cli.schedules.forms import Form, Level, Transition, phases, then
from lrsched_cli.schedules.parameters import REST, param

FALLS: dict[str, Fall] = {"linear": LINE, "sqrt": Root(), "cosine": Wave()}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LRSchedulersContainer(Foreign):
    """Warm-up that is one step ahead, stable, decay to a floor that comes one step after the run."""

    kind = "torchtitan.LRSchedulersContainer"
    formula = (
        "lr * (t + 1) / warmup_steps, then lr, then lr * (m + (1 - m) * decay(x)), m = min_lr_factor, "
        "x = 1 at t = total_steps"
    )
    source = "torchtitan.components.lr_scheduler.LRSchedulersContainer; Hu et al. 2024, arXiv 2404.06395"
    example: ClassVar[Mapping[str, Any]] = {"warmup_steps": 20}

    training_steps: float = param("ticks", REST, "Steps of the training, training.steps.", length="step")
    warmup_steps: float = param("ticks", 200, "Steps of the warm-up; cut to the whole run where it is longer.")
    total_steps: float | None = param("ticks", None, "Steps of the schedule, where not training_steps.", length="step")
    decay_ratio: float | None = param(
        "number", None, "Part of the steps that decays, at the end; all after the warm-up by default."
    )
    decay_type: str = param("text", "linear", "Shape of the decay.", choices=tuple(FALLS))
    min_lr_factor: float = param("number", 0.0, "The floor, as a part of the rate.")

    @property
    def _total(self) -> float:
        return self.training_steps if self.total_steps is None else self.total_steps

    @property
    def _warmup(self) -> float:
        return min(int(self.warmup_steps), self._total)

    @property
    def _decay(self) -> float:
        rest = self._total - self._warmup
        return rest if self.decay_ratio is None else min(round(self._total * self.decay_ratio), rest)

    @property
    def _decays_from(self) -> float:
        """The first tick of the decay: a step that does not exist is counted among the stable ones."""
        return self._total + 1 - self._decay

    @property
    def failure(self) -> Failure | None:
        tick = max(math.ceil(self._decays_from), 0)
        if not self._decay:
            return Failure(tick, f"there is nothing left to decay after its {self._total} steps")
        if self.decay_type not in FALLS:
            return Failure(tick, f"unknown decay_type {self.decay_type}")
        if self.decay_type == "sqrt" and self._decay < 0:
            return Failure(tick, "a square root of a negative number")
        return None

    def form(self) -> Form:
        warm, start = self._warmup, self._decays_from
        fall = FALLS.get(self.decay_type, LINE)
        decay = Transition(self.lr, self.min_lr_factor * self.lr, self._decay or 1, fall)
        # Both ends of the run are a step ahead: the decay is counted from the step before its first.
        rise = then(-1, Transition(0.0, self.lr, warm or 1))
        return phases((0, rise), (warm, Level(self.lr)), (start, then(-1, decay)))

    @property
    def length(self) -> int | None:
        return int(self._total)

    @property
    def marks(self) -> tuple[Mark, ...]:
        warm, start = int(self._warmup), int(self._decays_from)
        stable = ((warm, "stable"),) if 0 < warm < start else ()
        return (*stable, (start, "decay"))

    def notes(self, total: int) -> tuple[str, ...]:
        notes = []
        if self.warmup_steps > self._total:
            notes.append(f"warmup_steps {self.warmup_steps} is cut to the {self._total} steps of the schedule")
        elif self.decay_ratio is not None and round(self._total * self.decay_ratio) > self._decay:
            notes.append(f"decay_ratio {self.decay_ratio:g} is cut to the {self._decay} steps after the warm-up")
        if total > self._total + 1 and self.failure is None:
            beyond = "climbs again" if self.decay_type == "cosine" else "goes on below its floor"
            notes.append(f"past its {self._total} steps the rate {beyond}")
        return tuple(notes)


#: The kinds by their names in the library.
KINDS = kinds_of(globals())
