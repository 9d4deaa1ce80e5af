"""The fairseq scheduler that a metric drives: reduce_lr_on_plateau."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

from lrsched_cli.dialects.fairseq_base import SOURCE, ByEpoch, warm_mark
from lrsched_cli.dialects.foreign import kinds_of
from lrsched_cli.schedules.base import Mark
from lrsched_cli.schedules.forms import Form, Level, Table, warmed
from lrsched_cli.schedules.metric import reductions
from lrsched_cli.schedules.parameters import Metrics, param
from lrsched_cli.schedules.ticks import Array


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ReduceLROnPlateau(ByEpoch):
    """A linear warm-up by update, then torch's ReduceLROnPlateau by epoch, without patience unless it is given."""

    kind = "fairseq.reduce_lr_on_plateau"
    formula = "warmup_init_lr to lr until warmup_updates, then lr * lr_shrink after more than lr_patience bad epochs"
    source = f"{SOURCE}/reduce_lr_on_plateau.py"
    example: ClassVar[Mapping[str, Any]] = {
        "warmup_updates": 10, "updates_per_epoch": 20, "metrics": [1.0, 0.5, 0.5, 0.4, 0.4]
    }  # fmt: skip
    single: ClassVar[bool] = True

    lr_shrink: float = param("number", 0.1, "Factor of the rate at a cut.", lt=1)
    lr_threshold: float = param("number", 1e-4, "How much better counts as better, as a part of the best.")
    lr_patience: int = param("integer", 0, "Bad epochs that are waited for before a cut.")
    warmup_updates: int = param("duration", 0, "Updates of the linear warm-up, whose epochs do not count.")
    warmup_init_lr: float = param("number", -1, "Rate at the start of the warm-up; below 0: 0.")
    maximize_best_checkpoint_metric: bool = param("bool", False, "The metric should rise.")
    metrics: Any = param("metrics", None, "The metric of every epoch: numbers, or FILE:COLUMN.", length="epoch")

    @classmethod
    def own_length(cls, given: Mapping[str, Any]) -> tuple[int, str] | None:
        """The updates of the epochs that have a metric, where it is said how many one has."""
        known, each = super().own_length(given), given.get("updates_per_epoch")
        return (known[0] * each, "step") if known and type(each) is int and each > 0 else known

    @property
    def epochs_for(self) -> str:
        return "metrics" if self.metrics else ""

    @property
    def reacts(self) -> bool:
        return True

    @property
    def metric_mode(self) -> str:
        return "max" if self.maximize_best_checkpoint_metric else "min"

    def fed(self, metrics: Sequence[float]) -> Self:
        # An epoch is over, and measured, with its last tick.
        known = list(metrics[self.epoch - 1 :: self.epoch])
        return replace(self, metrics=Metrics(known))

    @property
    def _uncounted(self) -> int:
        """Epochs that end in the warm-up, or with it."""
        return max(self.warmup_updates, 0) // self.epoch if self.warmup_updates > 0 else 0

    @cached_property
    def _cuts(self) -> tuple[Array, Array]:
        """The ticks from which a new rate holds, and the rates, one more."""
        metrics = () if self.metrics is None else self.metrics[self._uncounted :]
        epochs, rates = reductions(
            metrics,
            self.lr,
            mode=self.metric_mode,
            factor=self.lr_shrink,
            patience=self.lr_patience,
            threshold=self.lr_threshold,
            threshold_mode="rel",
            cooldown=0,
            min_lr=0.0,
            eps=1e-8,
        )
        return (epochs + self._uncounted) * self.epoch, rates

    def form(self) -> Form:
        ticks, rates = self._cuts
        warm = max(self.warmup_updates, 0)
        table = Table(tuple((ticks - warm).tolist()), tuple(rates.tolist()))
        return warmed(warm, max(self.warmup_init_lr, 0.0), self.lr, table if len(ticks) else Level(self.lr))

    @property
    def length(self) -> int | None:
        return None

    @property
    def marks(self) -> tuple[Mark, ...]:
        cuts = ((int(tick), "cut") for tick in self._cuts[0][:12])
        return (*warm_mark(self.warmup_updates, "reduce_lr_on_plateau"), *cuts)

    def notes(self, total: int) -> tuple[str, ...]:
        if not self.metrics:
            return ("without metrics nothing is ever cut: the rate is constant after the warm-up",)
        notes = []
        if self._uncounted:
            notes.append(f"the first {self._uncounted} metrics do not count: their epochs end in the warm-up")
        if self.warmup_init_lr >= 0 and self.warmup_updates <= 0:
            notes.append("fairseq ignores warmup_init_lr without warmup_updates")
        if len(self.metrics) * self.epoch < total:
            notes.append(f"there are {len(self.metrics)} metrics: the last rate is held after their epochs")
        return tuple(notes)


#: The kinds by their names in the library.
KINDS = kinds_of(globals())
