"""A plan in the Trainer of transformers, and a callback that audits the rate of every update."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from lrsched_cli.errors import SpecError, must
from lrsched_cli.integrations.blocks import Block, Stream, block_of, streams_of
from lrsched_cli.integrations.groups import groups_of
from lrsched_cli.integrations.plan import Plan, Target, missing, planned_for, refuse_epochs
from lrsched_cli.integrations.torch import PlannedLR, torch_scheduler
from lrsched_cli.run import Run

try:
    from transformers import TrainerCallback  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ImportError:
    raise missing("transformers", "'transformers[torch]'") from None


#: Where a Trainer's saved state keeps how many updates were skipped.
SKIPPED = "lrsched_cli.RateAudit.skipped"


def trainer_optimizers(
    optimizer: Any, target: Target, run: Mapping[str, Any] | Run | None = None
) -> tuple[Any, PlannedLR]:
    """An optimizer and the scheduler of a plan, as ``Trainer(optimizers=...)`` takes them.

    >>> optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)  # doctest: +SKIP
    >>> pair = lrs.trainer_optimizers(optimizer, "schedules.yaml:main", {"steps": 10_000})  # doctest: +SKIP
    >>> Trainer(model, args, train_dataset=data, optimizers=pair).train()  # doctest: +SKIP

    Parameters
    ----------
    optimizer, target, run: as :func:`~lrsched_cli.torch_scheduler` takes them. The Trainer steps its scheduler after
        every update, so the plan must tick by step. One that a metric drives is stepped at every evaluation instead,
        as ReduceLROnPlateau is, and may tick as it likes.

    Returns the pair of optimizer and scheduler. Raises ``SpecError`` where the plan ticks by epoch, and as
    :func:`~lrsched_cli.torch_scheduler` does.
    """
    scheduler = torch_scheduler(optimizer, target, run)
    if not scheduler.plan.schedule.reacts:
        refuse_epochs(scheduler.plan, "the Trainer")
    return optimizer, scheduler


class Difference(NamedTuple):
    """An update whose rate was not the plan's.

    Attributes
    ----------
    update: its number, counted from 0.
    group: the parameter group's number.
    planned, used: the two rates.
    """

    update: int
    group: int
    planned: float
    used: float

    def __str__(self) -> str:
        return f"update {self.update} used lr {self.used:g} where the plan has {self.planned:g} (group {self.group})"


class RateAudit(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """A callback that compares the rate of every optimizer step with a plan, while the Trainer trains.

    >>> audit = lrs.RateAudit("schedules.yaml:main", {"steps": 10_000})  # doctest: +SKIP
    >>> Trainer(model, args, train_dataset=data, callbacks=[audit]).train()  # doctest: +SKIP

    It audits any scheduler, the Trainer's own included (against ``{"kind": "transformers.cosine", ...}``, say). An
    update that mixed precision skips is no update of the plan's. A run of another length than the plan's warns as
    training begins.

    Parameters
    ----------
    target, run: as :func:`~lrsched_cli.torch_scheduler` takes them; the plan must tick by step and react to no metric.
    on_difference: ``"raise"`` (a ``SpecError``, before the update is made) or ``"record"``.
    tolerance: how far rates may be apart, as a part of the highest rate so far.

    Attributes
    ----------
    updates: how many updates were compared.
    first: the first :class:`Difference`, or None.
    differences: how many updates differed.
    """

    def __init__(
        self,
        target: Target,
        run: Mapping[str, Any] | Run | None = None,
        *,
        on_difference: str = "raise",
        tolerance: float = 1e-9,
    ) -> None:
        if on_difference not in ("raise", "record"):
            raise must("on_difference", "raise or record", on_difference)
        self.target = target
        self.run = run
        self.on_difference = on_difference
        self.tolerance = tolerance
        self._start_over()

    def _start_over(self) -> None:
        self.updates = self.differences = self._skipped = 0
        self.first: Difference | None = None
        self._highest = 0.0
        self._streams: list[Stream] = []
        self._block = Block(0, 0, [])

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start_over()
        saved = (getattr(state, "stateful_callbacks", None) or {}).get(SKIPPED, {})
        self._skipped = saved.get("attributes", {}).get("skipped", 0)
        plan, _ = planned_for(self.target, self.run, groups_of(kwargs["optimizer"]))
        self._accept(plan)
        self._streams = streams_of(plan.members(groups_of(kwargs["optimizer"])), plan.total)
        if state.max_steps != plan.total:
            told = f"{plan.name} is planned for {plan.total} updates, and the Trainer makes {state.max_steps}"
            warnings.warn(told, stacklevel=2)

    def _accept(self, plan: Plan) -> None:
        if plan.schedule.reacts:
            raise SpecError("reacts to a metric, so that its rates are not known before", entry=plan.name)
        refuse_epochs(plan, "the Trainer")

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        update = state.global_step - self._skipped
        if not self._block.first <= update < self._block.end:
            self._block = block_of(self._streams, update)
        at = update - self._block.first
        self.updates += 1
        for number, group in enumerate(kwargs["optimizer"].param_groups):
            planned, used = self._block.rows[number][at], float(group["lr"])
            self._highest = max(self._highest, abs(planned))
            if not abs(used - planned) <= self.tolerance * self._highest:
                self._differs(Difference(update, number, planned, used))
                return

    def _differs(self, difference: Difference) -> None:
        self.differences += 1
        self.first = self.first or difference
        if self.on_difference == "raise":
            raise SpecError(str(difference))

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if getattr(kwargs["optimizer"], "step_was_skipped", False):
            self._skipped += 1
            saved = getattr(state, "stateful_callbacks", None)
            if saved is not None:
                saved[SKIPPED] = {"attributes": {"skipped": self._skipped}}
