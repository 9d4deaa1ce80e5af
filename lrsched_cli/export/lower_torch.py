"""The torch kinds as plain forms, each alone on its optimizer.

Where torch's schedulers get in each other's way (a sequence inside a sequence, a chain of what sets the rate) a form
made from the members is not what torch does: a plan is compared with its form before anything is written from it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import numpy as np

from lrsched_cli.dialects import torch
from lrsched_cli.export.lower import Counted, UnknownFormError, form_of, one_cycle, times, triangles
from lrsched_cli.schedules.falls import LINE, Fall, Power, Triangle, Wave
from lrsched_cli.schedules.forms import (
    Cycles,
    Form,
    Geometric,
    Level,
    Raised,
    Scaled,
    Stairs,
    Table,
    Transition,
    Written,
    phases,
    then,
)


def _ramp(s: Any, start: float, end: float, fall: Fall = LINE) -> Form:
    if not s._end:
        return Level(s.lr if isinstance(s, torch.PolynomialLR) else start)
    return phases((0, Transition(start, end, s.total_iters, fall)), (s._end, Level(s(int(s._end)))))


def _step(s: Any) -> Form:
    every = abs(s.step_size)
    return Stairs(Geometric(s.lr, s.gamma, every), every) if every != 1 else Geometric(s.lr, s.gamma)


def _multistep(s: Any) -> Form:
    fires = sorted({int(m) for m in s.milestones if m == int(m) and m >= 0})
    values = s(np.array([0, *fires])) if fires and fires[0] else np.array([s.lr, *s(np.array(fires))])
    return Table(tuple(map(float, fires)), tuple(values.tolist())) if fires else Level(s.lr)


def _multiplicative(s: Any) -> Form:
    if s._function.breaks or _varies(s._function):
        raise UnknownFormError("computes each rate from the one before it: no formula of the step gives its rates")
    return Geometric(s.lr, float(s._function(np.ones(1))[0]))


def _varies(function: Any) -> bool:
    """Whether an expression names its variable."""
    body = ast.parse(function.text.strip(), mode="eval").body
    body = body.body if isinstance(body, ast.Lambda) else body
    return any(isinstance(node, ast.Name) and node.id == function.variable for node in ast.walk(body))


def _constant(s: Any) -> Form:
    end = s.total_iters
    undone = end > 0 and end == int(end)  # else no clock ever stands there
    return phases((0, Level(s.lr * s.factor)), (end, Level(s.lr))) if undone else Level(s.lr * s.factor)


def _cyclic(s: Any) -> Form:
    up = s.step_size_up
    down = up if s.step_size_down is None else s.step_size_down
    if not (up > 0 and down >= 0 and up + down == int(up + down)):
        raise UnknownFormError("has phases of no positive length")
    if s.scale_fn is None:
        return triangles(up, down, s.base_lr, s.max_lr, s.mode, s.gamma)
    scale: Form = Written(s._function)
    if s.scale_mode == "cycle":  # whose cycles are counted from 1
        scale = Counted(then(-1, scale), up + down)
    wave = Cycles(Triangle(up / (up + down)), up + down, s.max_lr - s.base_lr)
    return Raised(Scaled((wave, scale)), s.base_lr)


def _one_cycle(s: Any) -> Form:
    start, peak, end = s._levels
    return one_cycle(s._ends, [start, peak, start, end] if s.three_phase else [start, peak, end], s.anneal_strategy)


def _swa(s: Any) -> Form:
    if not s.anneal_epochs:
        return Level(s.swa_lr)
    fall: Fall = LINE if s.anneal_strategy == "linear" else Wave()
    return phases((0, Transition(s.lr, s.swa_lr, s.anneal_epochs, fall)), (s.anneal_epochs, Level(s.swa_lr)))


def _sequential(s: Any) -> Form:
    return phases(*zip((0, *s.milestones), (form_of(member) for member in _on(s)), strict=True))


def _chained(s: Any) -> Form:
    if not s.lr:
        return Level(0.0)
    return Scaled((Level(s.lr), *(times(form_of(member), 1 / s.lr) for member in _on(s))))


def _on(s: Any) -> list[Any]:
    """The members on the optimizer's rate, which is the outer schedule's."""
    from dataclasses import replace

    return [replace(member, lr=s.lr) for member in s.schedulers]


RULES: dict[type, Callable[[Any], Form]] = {
    torch.LambdaLR: lambda s: Written(s._function, s.lr),
    torch.MultiplicativeLR: _multiplicative,
    torch.StepLR: _step,
    torch.MultiStepLR: _multistep,
    torch.ExponentialLR: lambda s: Geometric(s.lr, s.gamma),
    torch.ConstantLR: _constant,
    torch.LinearLR: lambda s: _ramp(s, s.lr * s.start_factor, s.lr * s.end_factor),
    torch.PolynomialLR: lambda s: _ramp(s, s.lr, 0.0, LINE if s.power == 1 else Power(s.power)),
    torch.CosineAnnealingLR: lambda s: Transition(s.lr, s.eta_min, abs(s.T_max), Wave()),
    torch.CosineAnnealingWarmRestarts: lambda s: Cycles(Wave(), s.T_0, s.lr, s.eta_min, growth=s.T_mult),
    torch.CyclicLR: _cyclic,
    torch.OneCycleLR: _one_cycle,
    torch.SWALR: _swa,
    torch.SequentialLR: _sequential,
    torch.ChainedScheduler: _chained,
}
