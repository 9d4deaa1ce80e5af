"""A plan as a ``LearningRateSchedule`` of Keras, on any of its backends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lrsched_cli.errors import SpecError
from lrsched_cli.integrations.plan import Plan, Target, missing, plan_of
from lrsched_cli.integrations.table import rate_table
from lrsched_cli.run import Run

try:
    import keras  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ImportError:
    raise missing("Keras", "keras") from None


def keras_schedule(
    target: Target,
    run: Mapping[str, Any] | Run | None = None,
    *,
    group: str | None = None,
    ticks: int | None = None,
) -> PlannedSchedule:
    """A Keras ``LearningRateSchedule`` that gives the optimizer the rates of a plan.

    >>> schedule = keras_schedule("schedules.yaml:main", {"steps": 10_000})  # doctest: +SKIP
    >>> model.compile(keras.optimizers.SGD(schedule), loss="mse")  # doctest: +SKIP

    The rates are a table of float32, one a tick, so that it works in compiled training on every backend.

    Parameters
    ----------
    target, run: as :func:`~lrsched_cli.torch_scheduler` takes them. A plan that names no ``lr`` has 0.1, or that of
        ``run``: a Keras optimizer has no other rate. Keras counts updates, so that a plan that ticks by epoch needs
        ``steps_per_epoch`` as well.
    group: whose rates, where the plan has ``groups:``.
    ticks: length of the table, 4 million at most; by default the run and the tick after it. The last rate is held.

    Returns a schedule that a saved model carries with it (``get_config`` has the entry and its run). The momentum that
    a plan cycles is not set: Keras has no place for it. Raises ``SpecError`` for a plan that a metric drives, one that
    is too long, and one whose epochs are of unknown length.
    """
    return PlannedSchedule(target, run, group, ticks)


@keras.saving.register_keras_serializable(package="lrsched_cli")  # type: ignore[misc,unused-ignore]
class PlannedSchedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc,unused-ignore]
    """The rates of a plan by the number of the update; made by :func:`keras_schedule`."""

    def __init__(
        self,
        target: Target,
        run: Mapping[str, Any] | Run | None = None,
        group: str | None = None,
        ticks: int | None = None,
    ) -> None:
        super().__init__()
        self.plan = plan_of(target, run)
        rates, self._updates = rate_table(self.plan, "Keras", group, ticks)
        self._group, self._ticks = group, ticks
        self._last = len(rates) - 1
        self._rates = keras.ops.convert_to_tensor(rates.astype(np.float32))

    def __call__(self, step: Any) -> Any:
        """The rate of update ``step`` (counted from 0, a number or a tensor of whole numbers), as a float32 tensor."""
        tick = keras.ops.convert_to_tensor(step) // self._updates
        return keras.ops.take(self._rates, keras.ops.clip(keras.ops.cast(tick, "int32"), 0, self._last))

    def get_config(self) -> dict[str, Any]:
        """The entry and its run, from which ``from_config`` makes the schedule again."""
        return {**written(self.plan), "group": self._group, "ticks": self._ticks}


def written(plan: Plan) -> dict[str, Any]:
    """A plan's entry and run as plain mappings; a ``SpecError`` where it was built in Python."""
    if plan.entry is None:
        raise SpecError("was built in Python, and cannot be saved: give keras_schedule a mapping", entry=plan.name)
    run = plan.entry.run.said
    if not plan.named:
        run["lr"] = plan.base
    return {"target": _plain(plan.entry.spec), "run": run}


def _plain(value: Any) -> Any:
    """Mappings and lists, which in a file's entries know their lines, as plain ones."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
