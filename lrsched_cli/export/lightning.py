"""A plan for Lightning: torch's scheduler, and the dictionary that ``configure_optimizers`` returns."""

from __future__ import annotations

from typing import Any

from lrsched_cli.export import torch
from lrsched_cli.export.plan import Plan
from lrsched_cli.export.writing import Export, header, module, value


def export(plan: Plan) -> Export:
    """The scheduler with the ``interval`` at which it is stepped, which Lightning takes for an epoch unless told."""
    blocks, imports, fit = torch.scheduler(plan, caller="Lightning")
    entries: dict[str, Any] = {"scheduler": None, "interval": plan.interval}
    if plan.schedule.reacts:
        entries["monitor"] = "val_loss"
    lines = [f'            "{key}": {value(item) if key != "scheduler" else "make_scheduler(optimizer)"},'
             for key, item in entries.items()]  # fmt: skip
    function = [
        "def with_schedule(optimizer: Optimizer) -> dict:",
        '    """What configure_optimizers returns, for an optimizer as make_scheduler wants it."""',
        "    return {",
        '        "optimizer": optimizer,',
        '        "lr_scheduler": {',
        *lines,
        "        },",
        "    }",
    ]
    head = header(plan, "A scheduler for Lightning's configure_optimizers", fit)
    return Export(module(head, imports, *blocks, function))
