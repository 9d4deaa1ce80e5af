"""``trainer_state.json``, which the Trainer of transformers keeps beside every checkpoint.

Its ``step`` g is the number of updates that are over, and its ``learning_rate`` is that of the last of these, update
g - 1 counted from 0, since huggingface/transformers#36973. Before, it was the rate of update g, the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any

import numpy as np

from lrsched_cli.errors import SpecError
from lrsched_cli.logs.json_file import objects, table_of
from lrsched_cli.logs.log import Log, Unread, chosen, series_of, steps_an_epoch
from lrsched_cli.logs.table import Choice, Convention, log_of

FILE, FORM = "trainer_state.json", "transformers"
CONVENTION = Convention(FORM, 1, "step g is update g - 1")
#: Entries whose epoch is looked at.
LOOKED = 1000


def read(document: Any, name: str, choice: Choice) -> Log:
    """The log of a trainer's state."""
    history = document.get("log_history") if isinstance(document, Mapping) else document
    if not isinstance(history, list):
        raise SpecError("has no list log_history, as a trainer_state.json has", file=name)
    if not history:
        raise SpecError("has an empty log_history: nothing was logged before this checkpoint", file=name)
    log = _usual(history, name) if choice in (Choice(), Choice(FORM), Choice(plan=choice.plan)) else None
    if log is None:
        unread = Unread()
        table = table_of(objects(history, unread, "entries that are no JSON object"), unread)
        log = log_of(table, name, CONVENTION, choice, x="step" if "step" in table.columns else None)
    total = document.get("max_steps") if isinstance(document, Mapping) else None
    return replace(log, total=total if isinstance(total, int) and total > 0 else None)


def _usual(history: list[Any], name: str) -> Log | None:
    """The log of entries as the Trainer writes them, without a look at their other keys; None where they are others."""
    try:
        rated = [entry for entry in history if "learning_rate" in entry]
        if not rated:
            return None
        steps, rates = (
            np.fromiter(map(itemgetter(key), rated), np.float64, len(rated)) for key in ("step", "learning_rate")
        )
        looked = rated[:: -(-len(rated) // LOOKED)]
        epochs = np.array([float(entry.get("epoch") or np.nan) for entry in looked])
        at = np.array([entry["step"] for entry in looked], dtype=np.float64)
        unread = Unread()
        series = series_of("learning_rate", steps, rates, 1, unread)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        return None
    per_epoch = steps_an_epoch(epochs, at, over=True)
    return Log(
        name, FORM, "step", chosen([series], name, unread), CONVENTION.says,
        steps_per_epoch=per_epoch, notes=tuple(unread.notes),
    )  # fmt: skip
