"""``metrics.csv``, which Lightning's CSVLogger writes: few cells of a row are filled, ``lr-Adam`` is a rate.

LearningRateMonitor's ``step`` t is the number of updates made when a batch begins, so the rate beside it is that of
update t counted from 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from lrsched_cli.logs.table import Convention

FILE = "metrics.csv"
CONVENTION = Convention("lightning", 0, "step t is update t")


def is_lightning(columns: Sequence[str]) -> bool:
    """Whether a table's columns are those of a CSVLogger."""
    monitored = any(column.startswith("lr-") for column in columns)
    return "step" in columns and (monitored or "epoch" in columns)
