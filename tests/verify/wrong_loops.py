"""Training loops that are wrong in the usual ways, with torch's own optimizers and schedulers, and what they log."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim import lr_scheduler

from tests.support import LR

#: Updates of a run, and of one of its epochs.
TOTAL, EPOCH = 200, 20

Maker = Callable[[torch.optim.Optimizer], Any]


def rise(t: int, ticks: int) -> float:
    return min(t / ticks, 1.0)


def linear_factor(t: int) -> float:
    return rise(t, 20) if t < 20 else max(0.0, (TOTAL - t) / (TOTAL - 20))


def cosine_factor(t: int) -> float:
    return rise(t, 20) if t < 20 else max(0.0, 0.5 * (1 + math.cos(math.pi * (t - 20) / (TOTAL - 20))))


def wsd_factor(t: int) -> float:
    return rise(t, 10) if t < 150 else max(1 - (t - 150) / 50, 0.0)


def noam_factor(t: int) -> float:
    return min((t + 1) / 25, math.sqrt(25 / (t + 1)))


def warm_cosine(optimizer: torch.optim.Optimizer) -> Any:
    parts = [
        lr_scheduler.LinearLR(optimizer, 0.01, 1.0, 20),
        lr_scheduler.CosineAnnealingLR(optimizer, TOTAL - 20),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, [20])


#: Schedules as torch makes them, and as plans.
KINDS: dict[str, tuple[Maker, dict[str, Any]]] = {
    "StepLR": (lambda o: lr_scheduler.StepLR(o, 30, 0.5), {"kind": "torch.StepLR", "step_size": 30, "gamma": 0.5}),
    "MultiStepLR": (
        lambda o: lr_scheduler.MultiStepLR(o, [60, 120, 160], 0.3),
        {"kind": "torch.MultiStepLR", "milestones": [60, 120, 160], "gamma": 0.3},
    ),
    "ExponentialLR": (lambda o: lr_scheduler.ExponentialLR(o, 0.98), {"kind": "torch.ExponentialLR", "gamma": 0.98}),
    "CosineAnnealingLR": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, 1e-3),
        {"kind": "torch.CosineAnnealingLR", "T_max": TOTAL, "eta_min": 1e-3},
    ),
    "LinearLR": (
        lambda o: lr_scheduler.LinearLR(o, 1.0, 0.01, TOTAL),
        {"kind": "torch.LinearLR", "start_factor": 1.0, "end_factor": 0.01, "total_iters": TOTAL},
    ),
    "PolynomialLR": (
        lambda o: lr_scheduler.PolynomialLR(o, TOTAL, 2.0),
        {"kind": "torch.PolynomialLR", "total_iters": TOTAL, "power": 2.0},
    ),
    "OneCycleLR": (
        lambda o: lr_scheduler.OneCycleLR(o, LR, total_steps=TOTAL),
        {"kind": "torch.OneCycleLR", "max_lr": LR, "total_steps": TOTAL},
    ),
    "CyclicLR": (
        lambda o: lr_scheduler.CyclicLR(o, 0.001, LR, 23, 31),
        {"kind": "torch.CyclicLR", "base_lr": 0.001, "max_lr": LR, "step_size_up": 23, "step_size_down": 31},
    ),
    "CosineAnnealingWarmRestarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 37, 2, 1e-3),
        {"kind": "torch.CosineAnnealingWarmRestarts", "T_0": 37, "T_mult": 2, "eta_min": 1e-3},
    ),
    "SequentialLR": (
        warm_cosine,
        {
            "sequence": [
                {"kind": "torch.LinearLR", "start_factor": 0.01, "total_iters": 20, "for": 20},
                {"kind": "torch.CosineAnnealingLR", "T_max": TOTAL - 20},
            ]
        },
    ),
    "transformers.linear": (
        lambda o: lr_scheduler.LambdaLR(o, linear_factor),
        {"kind": "transformers.linear", "num_warmup_steps": 20, "num_training_steps": TOTAL},
    ),
    "transformers.cosine": (
        lambda o: lr_scheduler.LambdaLR(o, cosine_factor),
        {"kind": "transformers.cosine", "num_warmup_steps": 20, "num_training_steps": TOTAL},
    ),
    "wsd": (lambda o: lr_scheduler.LambdaLR(o, wsd_factor), {"kind": "wsd", "warmup": 10, "decay": 50}),
    "noam": (
        lambda o: lr_scheduler.LambdaLR(o, noam_factor),
        {"kind": "expression", "expr": "lr*min((t+1)/25, sqrt(25/(t+1)))"},
    ),
}


class Loop:
    """A training loop that logs the rate of every update; a subclass is wrong at one place."""

    def __init__(self, make: Maker, lr: float = LR) -> None:
        self.make, self.lr = make, lr
        self.begin()

    def begin(self) -> None:
        weight = torch.nn.Parameter(torch.zeros(1))
        weight.grad = torch.zeros(1)
        self.optimizer = torch.optim.SGD([weight], lr=self.lr, momentum=0.9)
        self.scheduler = self.make(self.optimizer)

    @property
    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            # As Accelerate does it, which steps a OneCycleLR to its end only.
            if not hasattr(self.scheduler, "total_steps") or self.scheduler._step_count <= self.scheduler.total_steps:
                self.scheduler.step()

    def update(self, u: int) -> float:
        """Make update ``u``, and what is logged of it."""
        rate = self.rate
        self.optimizer.step()
        self.step()
        return rate

    def run(self) -> list[float]:
        return [self.update(u) for u in range(TOTAL)]


class Accelerate(Loop):
    """The scheduler is prepared, and so stepped once for each of four processes."""

    def update(self, u: int) -> float:
        rate = self.rate
        self.optimizer.step()
        self.step(4)
        return rate


class MicroBatches(Loop):
    """The scheduler is stepped on each of the four micro-batches of an update, the optimizer on the last."""

    def update(self, u: int) -> float:
        self.step(3)
        return super().update(u)


class ByEpoch(Loop):
    """A schedule of updates is stepped once an epoch."""

    def update(self, u: int) -> float:
        rate = self.rate
        self.optimizer.step()
        self.step((u + 1) % EPOCH == 0)
        return rate


class HalfSpeed(Loop):
    """The scheduler is stepped at every second update."""

    def update(self, u: int) -> float:
        rate = self.rate
        self.optimizer.step()
        self.step(u % 2)
        return rate


class Held(Loop):
    """From update 70 on the scheduler is no longer stepped."""

    def update(self, u: int) -> float:
        rate = self.rate
        self.optimizer.step()
        self.step(u < 70)
        return rate


class LateLog(Loop):
    """The rate is read after the scheduler's step."""

    def update(self, u: int) -> float:
        super().update(u)
        return self.rate


class ResumedTwice(Loop):
    """Resumed at updates 90 and 140, each time with a fresh scheduler."""

    at = (90, 140)

    def update(self, u: int) -> float:
        if u in self.at:
            self.begin()
        return super().update(u)


class Resumed(ResumedTwice):
    """Resumed at update 90 with a fresh scheduler."""

    at = (90,)


def planned(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A plan at the base rate of the loops."""
    return {**spec, "lr": LR}
