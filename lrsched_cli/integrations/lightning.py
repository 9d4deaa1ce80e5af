"""A plan for Lightning's ``configure_optimizers``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lrsched_cli.integrations.plan import Target
from lrsched_cli.run import Run

if TYPE_CHECKING:
    from torch.optim import Optimizer


def lightning_config(
    optimizer: Optimizer,
    target: Target,
    run: Mapping[str, Any] | Run | None = None,
    *,
    monitor: str = "val_loss",
) -> dict[str, Any]:
    """What ``configure_optimizers`` returns: the optimizer, and its scheduler with the interval of the plan.

    >>> def configure_optimizers(self):  # doctest: +SKIP
    ...     optimizer = torch.optim.AdamW(self.parameters(), lr=3e-4)
    ...     run = {"steps": self.trainer.estimated_stepping_batches}
    ...     return lrs.lightning_config(optimizer, "schedules.yaml:warmup-cosine", run)

    Parameters
    ----------
    optimizer, target, run: as :func:`~lrsched_cli.torch_scheduler` takes them. A step of the plan is an optimizer
        step, of which gradient accumulation makes fewer; an epoch is one of the Trainer's.
    monitor: the logged metric that a plan which reacts to one is given; of no use to other plans.

    Returns a dictionary with ``"optimizer"`` and ``"lr_scheduler"``, whose ``"interval"`` is ``"step"`` or
    ``"epoch"``. Raises ``SpecError`` as :func:`~lrsched_cli.torch_scheduler` does.
    """
    from lrsched_cli.integrations.torch import torch_scheduler

    scheduler = torch_scheduler(optimizer, target, run)
    config = {"scheduler": scheduler, "interval": scheduler.plan.interval, "frequency": 1}
    if scheduler.plan.schedule.reacts:
        config |= {"monitor": monitor, "reduce_on_plateau": True}
    return {"optimizer": optimizer, "lr_scheduler": config}
