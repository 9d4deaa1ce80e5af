"""torch's ReduceLROnPlateau, which other libraries take over as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from lrsched_cli.dialects.parameters import per_group
from lrsched_cli.run import MAX_TICKS
from lrsched_cli.schedules.metric import MetricDriven, reductions
from lrsched_cli.schedules.parameters import param
from lrsched_cli.schedules.ticks import Array


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ReduceOnPlateau(MetricDriven):
    """The rate is cut where a metric stops improving."""

    formula = "lr * factor after more than patience bad epochs in a row, no lower than min_lr"

    lr: float = param("number", 0.1, "The optimizer's learning rate.")
    mode: str = param("choice", "min", "Whether the metric should fall or rise.", choices=("min", "max"))
    factor: float = param("number", 0.1, "Factor of the rate at a cut.", lt=1)
    patience: float = param("ticks", 10, "Bad epochs that are waited for before a cut.")
    threshold: float = param("number", 1e-4, "How much better counts as better.")
    threshold_mode: str = param("choice", "rel", "Whether threshold is a part of the best.", choices=("rel", "abs"))
    cooldown: float = param("ticks", 0, "Epochs after a cut in which none is bad.")
    min_lr: float = per_group("number", 0.0, "The floor.")
    eps: float = param("number", 1e-8, "A cut smaller than this is not made.")
    metrics: tuple[float, ...] | None = param(
        "metrics", None, "The metric of every tick: numbers, or FILE:COLUMN.", length="epoch"
    )

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        return reductions(
            self.metrics or (),
            self.lr,
            mode=self.mode,
            factor=self.factor,
            patience=math.floor(min(self.patience, MAX_TICKS)),
            threshold=self.threshold,
            threshold_mode=self.threshold_mode,
            cooldown=math.ceil(min(self.cooldown, MAX_TICKS)),
            min_lr=self.min_lr,
            eps=self.eps,
        )

    def notes(self, total: int) -> tuple[str, ...]:
        if self.metrics is None:  # none at all, while training has none yet
            return ("without metrics nothing is ever cut: the rate is constant",)
        return super().notes(total)
