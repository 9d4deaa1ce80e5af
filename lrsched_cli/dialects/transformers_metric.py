"""The two schedulers of transformers that a metric drives, stepped at every evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from lrsched_cli.dialects.foreign import Failing, Failure, kinds_of
from lrsched_cli.dialects.parameters import per_group
from lrsched_cli.dialects.plateau import ReduceOnPlateau
from lrsched_cli.schedules import metric
from lrsched_cli.schedules.parameters import Metrics, param
from lrsched_cli.schedules.ticks import Array

SOURCE = "transformers.get_scheduler, optimization.py"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ReduceLROnPlateau(ReduceOnPlateau):
    """torch's ReduceLROnPlateau, stepped at every evaluation."""

    kind = "transformers.reduce_lr_on_plateau"
    source = f"{SOURCE}, get_reduce_on_plateau_schedule"

    num_warmup_steps: float | None = param("ticks", None, "Ignored: this schedule has no warm-up.")
    num_training_steps: float | None = param("ticks", None, "Ignored.")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Greedy(Failing, metric.Greedy):
    """Raise the rate while a metric improves and cut it while it does not, stepped at every evaluation."""

    kind = "transformers.greedy"
    source = f"{SOURCE}, GreedyLR; arXiv 2512.14527"

    lr: float = param("number", 0.1, "The optimizer's learning rate.", ge=0)
    factor: float = param("number", 0.95, "Factor of each cut; a raise divides by it.", lt=1)
    patience: float = param("ticks", 10, "Evaluations of one sign that are tolerated.")
    threshold: float = param("number", 1e-6, "How much better counts as better.")
    cooldown: float = param("ticks", 0, "Evaluations after a cut in which nothing counts.")
    warmup: float = param("ticks", 0, "Evaluations after a raise in which nothing counts.")
    min_lr: float = per_group("number", 1e-3, "The floor of cuts.")
    max_lr: float = per_group("number", 1.0, "The ceiling of raises.")
    eps: float = param("number", 1e-8, "Smaller changes of the rate are not made.")
    window_size: float = param("ticks", 50, "Evaluations in the mean.")
    reset_start: float = param("ticks", 500, "Cuts at the floor until everything starts over.")
    verbose: bool = param("bool", False, "Print each change.")
    num_warmup_steps: float | None = param("ticks", None, "Ignored: this schedule has no warm-up.")
    num_training_steps: float | None = param("ticks", None, "Ignored.")

    @cached_property
    def failure(self) -> Failure | None:
        if not self.unresolved and self.smooth and self.window_size < 1 and self.metrics:
            return Failure(1, f"it takes the mean of window_size {self.window_size} metrics")
        if self.unresolved or self.factor:
            return None
        state = metric.GreedyState(self)
        for at, value in enumerate(self.metrics):
            try:
                state.step(value)
            except ZeroDivisionError:
                return Failure(at + 1, "a raise divides by factor, which is 0")
        return None

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        if self.failure is None:
            return super()._table
        return replace(self, metrics=Metrics(self.metrics[: self.failure.tick - 1]))._table

    def notes(self, total: int) -> tuple[str, ...]:
        if self.min_lr < self.lr:
            return super().notes(total)
        floor = f"min_lr {self.min_lr:g} is not below lr {self.lr:g}: the rate is never cut below lr"
        return (*super().notes(total), floor)


#: The kinds by their names in the library.
KINDS = kinds_of(globals())
