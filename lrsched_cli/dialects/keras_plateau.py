"""The callback of keras that cuts the rate where a metric stops improving."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lrsched_cli.dialects.foreign import kinds_of
from lrsched_cli.errors import must
from lrsched_cli.schedules.metric import MetricDriven
from lrsched_cli.schedules.parameters import param
from lrsched_cli.schedules.ticks import Array

#: What mode auto makes of a metric of keras, by its name without ``val_``.
HIGHER = """
    acc accuracy auc binary_accuracy binary_io_u categorical_accuracy concordance_correlation cosine_similarity
    f1_score fbeta_score mean_io_u one_hot_mean_io_u pearson_correlation precision precision_at_recall r2_score
    recall recall_at_precision sensitivity_at_specificity sparse_categorical_accuracy
    sparse_top_k_categorical_accuracy specificity_at_sensitivity top_k_categorical_accuracy
"""
LOWER = """
    loss bce binary_crossentropy categorical_crossentropy categorical_hinge hinge kl_divergence logcosh mae mape
    mean_absolute_error mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error mse msle
    poisson root_mean_squared_error sparse_categorical_crossentropy squared_hinge
"""
DIRECTIONS = dict.fromkeys(LOWER.split(), "min") | dict.fromkeys(HIGHER.split(), "max")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ReduceLROnPlateau(MetricDriven):
    """The rate is cut where a metric stops improving, at the last epoch that patience counts."""

    kind = "keras.ReduceLROnPlateau"
    formula = "lr * factor from the epoch after patience bad ones in a row on, no lower than min_lr"
    source = "keras.callbacks.ReduceLROnPlateau"

    lr: float = param("number", 0.1, "The optimizer's learning rate.", ge=0)
    monitor: str = param("text", "val_loss", "The name of the metric: in mode auto it says which way is better.")
    factor: float = param("number", 0.1, "Factor of the rate at a cut.")
    patience: float = param("ticks", 10, "Bad epochs in a row that make a cut.")
    verbose: Any = param("any", 0, "Print each cut.")
    mode: str = param("text", "auto", "Whether a better metric is lower or higher: min, max or auto.")
    min_delta: float = param("number", 1e-4, "How much better counts as better, whatever its sign.")
    cooldown: float = param("ticks", 0, "Epochs after a cut until a bad one counts.")
    min_lr: float = param("number", 0.0, "The floor.")
    metrics: tuple[float, ...] | None = param(
        "metrics", None, "The metric of every tick: numbers, or FILE:COLUMN.", length="epoch"
    )

    def check(self) -> None:
        super().check()
        if self.factor >= 1:
            raise must("factor", "< 1", self.factor).adding(" (keras raises ValueError)")
        self.metric_mode  # noqa: B018 - keras finds out at the end of the first epoch

    @property
    def metric_mode(self) -> str:
        if self.mode in ("min", "max"):
            return self.mode
        # The second metric of a name has a number behind it, as in auc_1.
        known = DIRECTIONS.get(re.sub(r"_\d+$", "", self.monitor.removeprefix("val_")))
        if known is not None:
            return known
        told = f"min or max where monitor is {self.monitor}, which keras may not know"
        raise must("mode", told, self.mode).adding(" (keras raises ValueError)")

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        ticks, rates = [], [self.lr]
        for tick in self._cuts():
            with np.errstate(over="ignore"):
                # The floor, and with it the rate, is compared in single precision.
                reducible = np.float32(rates[-1]) > np.float32(self.min_lr)
            if not reducible:
                break
            ticks.append(tick + 1.0)
            rates.append(max(rates[-1] * self.factor, self.min_lr))
        return np.array(ticks), np.array(rates)

    def _cuts(self) -> Iterator[int]:
        """The epochs whose metric is one bad one too many."""
        sign, gain = (1.0 if self.metric_mode == "min" else -1.0), abs(self.min_delta)
        best: float | None = None
        bad: int = 0
        cooldown: float = 0
        for tick, metric in enumerate(self.metrics or ()):
            if cooldown > 0:
                cooldown -= 1
                bad = 0
            loss = sign * metric
            # The first metric is the best so far, even one that is no number.
            if best is None or loss + gain < best:
                best, bad = loss, 0
            elif not cooldown > 0:
                bad += 1
                if bad >= self.patience:
                    yield tick
                    cooldown, bad = self.cooldown, 0

    def notes(self, total: int) -> tuple[str, ...]:
        notes = super().notes(total)
        if not self.metrics:
            notes = ("without metrics nothing is ever cut: the rate is constant",)
        elif not self.lr > self.min_lr:
            notes = (*notes, f"min_lr {self.min_lr:g} is not below lr {self.lr:g}: nothing is ever cut")
        if self.mode not in ("auto", "min", "max"):
            notes = (*notes, f"keras knows no mode {self.mode} and takes it for auto")
        return notes


KINDS = kinds_of(globals())
