"""The parameter groups of a torch optimizer: how their rates are read and written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Group(NamedTuple):
    """A parameter group: its name, if it has one, its own base rate, and the optimizer's own.

    The optimizer's is what it was made with, where a group has that, else its first group's: an optimizer with a small
    rate for its backbone has its own in some other group.
    """

    name: str | None
    lr: float
    main: float


def groups_of(optimizer: Any) -> list[Group]:
    """The parameter groups of an optimizer, each with the base rate that a new scheduler of torch takes."""
    rates = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
    own = float(getattr(optimizer, "defaults", {}).get("lr", math.nan))
    used = any(math.isclose(own, rate, rel_tol=1e-12) for rate in rates)
    names = [None if group.get("name") is None else str(group["name"]) for group in optimizer.param_groups]
    return [Group(name, rate, own if used else rates[0]) for name, rate in zip(names, rates, strict=True)]


def is_tensor(lr: Any) -> bool:
    """Whether a rate is a tensor, to be filled in place (what a compiled or captured optimizer reads)."""
    return hasattr(lr, "fill_")


def own(lr: Any) -> Any:
    """A rate of its own: a copy of a tensor, or the number."""
    return lr.clone() if is_tensor(lr) else lr


def like(lr: Any, rate: float) -> Any:
    """A rate in the way of an optimizer's: a tensor, or a number."""
    return lr.new_full((), rate) if is_tensor(lr) else rate


def write_rate(group: dict[str, Any], rate: float) -> None:
    if is_tensor(group["lr"]):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def has_momentum(groups: Sequence[dict[str, Any]]) -> bool:
    """Whether any group has what a cycled momentum is written to."""
    return any("betas" in group or "momentum" in group for group in groups)


def write_momentum(groups: Sequence[dict[str, Any]], momentum: float) -> None:
    """Set Adam's beta1, or the momentum, of every group that has one."""
    for group in groups:
        if "betas" in group:
            first, *others = group["betas"]
            if is_tensor(first):
                first.fill_(momentum)
            else:
                group["betas"] = (momentum, *others)
        elif "momentum" in group:
            group["momentum"] = momentum
