"""What is exported from Weights & Biases: the history of a run, or the data of a chart.

``train/global_step`` is written by the Trainer of transformers and counts as that does; ``trainer/global_step`` is
Lightning's; ``Step`` and ``_step`` are counted by ``wandb.log`` itself, once a call unless it was told.
"""

from __future__ import annotations

from collections.abc import Sequence

from lrsched_cli.errors import SpecError
from lrsched_cli.logs import names
from lrsched_cli.logs.table import Convention

TRANSFORMERS, LIGHTNING, OWN = "train/global_step", "trainer/global_step", ("_step", "Step")


def is_wandb(columns: Sequence[str]) -> bool:
    """Whether a table's columns are those of an export."""
    charted = any(" - " in column for column in columns) or any(column.endswith("__MIN") for column in columns)
    return charted or any(column in columns for column in (TRANSFORMERS, LIGHTNING, "_step", "_runtime"))


def counting(columns: Sequence[str]) -> str | None:
    """The column that counts updates best."""
    return next((column for column in (TRANSFORMERS, LIGHTNING, *OWN) if column in columns), None)


def convention(counted: str | None) -> Convention:
    """How an export counts, by the column that it counts in."""
    if counted is not None and names.base_name(counted) == TRANSFORMERS:
        return Convention("wandb", 1, "train/global_step g is update g - 1, as transformers counts")
    return Convention("wandb", 0, f"{counted} t is update t" if counted else "row t is update t")


def refuse_several(columns: Sequence[str], name: str) -> None:
    """Refuse a chart of several runs, each with a column of its own: which one is meant is not known."""
    runs = dict.fromkeys(c.rpartition(" - ")[0] for c in columns if names.is_rate(c) and " - " in c)
    if len(runs) > 1:
        rates = [column for column in columns if names.is_rate(column)]
        raise SpecError(f"holds {len(runs)} runs: say which with --y{names.listed(rates)}", file=name)
