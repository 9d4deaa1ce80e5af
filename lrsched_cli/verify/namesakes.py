"""Which scheduler a schedule is when a training really runs it: a class of torch, or a LambdaLR around a function."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrsched_cli.dialects import torch
from lrsched_cli.dialects.torch_base import TorchSchedule
from lrsched_cli.errors import SpecError
from lrsched_cli.schedules import cycle, decay, metric
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.compose import Grouped

ONE_CYCLE = (
    "max_lr", "total_steps", "pct_start", "anneal_strategy", "div_factor", "final_div_factor", "three_phase",
    "cycle_momentum", "base_momentum", "max_momentum",
)  # fmt: skip
CYCLIC = (
    "base_lr", "max_lr", "step_size_up", "step_size_down", "mode", "gamma", "cycle_momentum", "base_momentum",
    "max_momentum",
)  # fmt: skip
PLATEAU = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps", "metrics")
#: Libraries whose schedules are a LambdaLR, whose function is in the code and not in the checkpoint.
LAMBDAS = ("transformers", "torchtitan")
#: Ticks at which a schedule is compared with its namesake.
LOOKS = 257


def alone(schedule: Schedule) -> Schedule:
    """A schedule without its parameter groups: that of the first."""
    return schedule.body if isinstance(schedule, Grouped) else schedule


def namesake(schedule: Schedule, total: int) -> Schedule | None:
    """The scheduler of torch with the same rates on a run of so many ticks; None where a LambdaLR gives them.

    Raises ``SpecError`` for a schedule of a library whose way to resume is not known.
    """
    schedule = alone(schedule)
    if isinstance(schedule, (TorchSchedule, torch.ReduceLROnPlateau)):
        return schedule
    if schedule.kind.startswith("python:"):
        raise SpecError("how the user's own code resumes is not known")
    library, dot, name = schedule.kind.partition(".")
    if dot:
        if library not in LAMBDAS:
            raise SpecError(f"how {library} resumes is not known; torch's and transformers' ways are")
        if name == "reduce_lr_on_plateau":
            return _made(torch.ReduceLROnPlateau, schedule, PLATEAU)
        if name == "greedy":
            raise SpecError(f"how {schedule.kind} resumes is not known")
        return None
    found = _canonical(schedule)
    return found if found is not None and _alike(schedule, found, total) else None


def _canonical(schedule: Schedule) -> Schedule | None:
    """The namesake of a canonical kind, where torch accepts its parameters."""
    try:
        return _named(schedule)
    except SpecError:
        return None


def _named(schedule: Schedule) -> Schedule | None:
    lr = schedule.lr
    match schedule:
        case decay.Linear(start_factor=start, end_factor=end, total_iters=ticks):
            return torch.LinearLR(lr=lr, start_factor=start, end_factor=end, total_iters=ticks)
        case decay.Polynomial(power=power, eta_min=0, total_iters=ticks):
            return torch.PolynomialLR(lr=lr, total_iters=ticks, power=power)
        case decay.Exponential(gamma=gamma, every=every, staircase=True):
            return torch.StepLR(lr=lr, step_size=every, gamma=gamma)
        case decay.Exponential(gamma=gamma, every=every):
            return torch.ExponentialLR(lr=lr, gamma=gamma ** (1 / every))
        case decay.Step(step_size=ticks, gamma=gamma):
            return torch.StepLR(lr=lr, step_size=ticks, gamma=gamma)
        case decay.MultiStep(milestones=milestones, gamma=gamma):
            return torch.MultiStepLR(lr=lr, milestones=milestones, gamma=gamma)
        case decay.Cosine(T_max=ticks, eta_min=eta_min):
            return torch.CosineAnnealingLR(lr=lr, T_max=ticks, eta_min=eta_min)
        case cycle.CosineRestarts(T_0=ticks, T_mult=mult, eta_min=eta_min, decay=1, after="restart"):
            return torch.CosineAnnealingWarmRestarts(lr=lr, T_0=ticks, T_mult=int(mult), eta_min=eta_min)
        case cycle.Cyclic(after="restart"):
            return _made(torch.CyclicLR, schedule, CYCLIC)
        case cycle.OneCycle():
            return _made(torch.OneCycleLR, schedule, ONE_CYCLE, pct_start=float(schedule.pct_start))
        case metric.Plateau():
            return _made(torch.ReduceLROnPlateau, schedule, PLATEAU)
    return None


def _made(kind: Any, like: Schedule, names: tuple[str, ...], **others: Any) -> Schedule:
    """A kind of torch with the parameters of another schedule."""
    made: Schedule = kind(lr=like.lr, **{**{name: getattr(like, name) for name in names}, **others})
    return made


def _alike(schedule: Schedule, other: Schedule, total: int) -> bool:
    """Whether two schedules have the same rates on a run, as many looks show."""
    ticks = np.unique(np.linspace(0, total - 1, LOOKS).round().astype(np.int64))
    try:
        return bool(np.allclose(schedule(ticks), other(ticks), rtol=1e-9, atol=1e-15))
    except SpecError:
        return False
