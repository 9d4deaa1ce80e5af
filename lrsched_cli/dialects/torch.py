"""The torch dialect: the classes of torch.optim.lr_scheduler, under their own names and parameters."""

from __future__ import annotations

from lrsched_cli.dialects.torch_compose import CLASSES, KINDS, ChainedScheduler, SequentialLR
from lrsched_cli.dialects.torch_cycle import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR, ReduceLROnPlateau
from lrsched_cli.dialects.torch_decay import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    MultiplicativeLR,
    MultiStepLR,
    StepLR,
)
from lrsched_cli.dialects.torch_ramp import SWALR, CosineAnnealingLR, LinearLR, PolynomialLR

__all__ = [
    "CLASSES",
    "KINDS",
    "SWALR",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
