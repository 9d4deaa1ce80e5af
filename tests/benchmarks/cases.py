"""The schedules that are measured: entries in the YAML's own form, and who else can make them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """An entry, and the makers of the same schedule elsewhere, given the number of steps."""

    label: str
    spec: Callable[[int], Spec]
    #: A constructor of torch.optim.lr_scheduler as a function of (module, optimizer, steps).
    torch: Callable[[Any, Any, int], Any]
    #: A schedule of the PyPI package lrsched as a function of (package, steps).
    pypi: Callable[[Any, int], Callable[[int], float]] | None = None


def _case(label: str, torch: Any, pypi: Any = None, **spec: Any) -> Case:
    """A case whose parameters do not depend on the steps, its kind the first word of the label."""
    return Case(label, lambda n: {"kind": label.split()[0], **spec}, torch, pypi)


def _warm_cosine(n: int) -> Spec:
    return {"kind": "cosine", "warmup": "5%"}


def _sequence(n: int) -> Spec:
    parts = [
        {"kind": "linear", "start_factor": 0, "for": "10%"},
        {"kind": "constant", "for": "40%"},
        {"kind": "cosine", "for": "50%"},
    ]
    return {"sequence": parts}


def _torch_sequence(m: Any, o: Any, n: int) -> Any:
    parts = [m.LinearLR(o, 0.01, total_iters=n // 10), m.CosineAnnealingLR(o, n - n // 10)]
    return m.SequentialLR(o, parts, [n // 10])


def _linear(p: Any, n: int) -> Any:
    return p.linear(base_lr=0.1, end_lr=0.0, total_steps=n)


def _restarts(p: Any, t_0: int, t_mult: int = 1) -> Any:
    return p.cosine_restarts(base_lr=0.1, min_lr=0.0, period=t_0, t_mult=t_mult)


def _wsd(p: Any, n: int) -> Any:
    return p.warmup_stable_decay(
        base_lr=0.1,
        warmup_steps=n // 100,
        decay_steps=n // 5,
        total_steps=n,
        final_lr=0.0,
        warmup_start=0.0,
        decay_shape="linear",
    )


def _one_cycle(p: Any, n: int) -> Any:
    return p.one_cycle(max_lr=0.1, total_steps=n, pct_start=0.3, initial_div=25.0, final_div=1e4)


def _lambda(factor: Callable[[int, int], float]) -> Any:
    """What a user of torch writes where it has no such kind: a LambdaLR of the formula."""
    return lambda m, o, n: m.LambdaLR(o, lambda t: factor(t, n))


def _decaying(period: int, decay: float) -> Callable[[int, int], float]:
    return lambda t, n: decay ** (t // period) * (1 + math.cos(math.pi * (t % period) / period)) / 2


def _trapezoid(shape: Callable[[float], float]) -> Callable[[int, int], float]:
    def factor(t: int, n: int) -> float:
        if t < n // 100:
            return t / (n // 100)
        return 1.0 if t < n - n // 5 else shape((t - n + n // 5) / (n // 5))

    return factor


def _joined(part: Callable[[float], float]) -> Callable[[int, int], float]:
    def factor(t: int, n: int) -> float:
        if t < n // 10:
            return part(t / (n // 10))
        if t < n // 2:
            return 1 - 0.5 * part((t - n // 10) / (n // 2 - n // 10))
        return 0.5 - 0.5 * part((t - n // 2) / (n - n // 2))

    return factor


CANONICAL = [
    _case("constant", lambda m, o, n: m.ConstantLR(o, 1.0), lambda p, n: p.constant(lr=0.1)),
    _case("linear", lambda m, o, n: m.LinearLR(o, 1.0, 0.0, n), _linear),
    _case("polynomial", lambda m, o, n: m.PolynomialLR(o, n), _linear),
    _case(
        "polynomial power 2",
        lambda m, o, n: m.PolynomialLR(o, n, 2.0),
        lambda p, n: p.polynomial(base_lr=0.1, end_lr=0.0, total_steps=n, power=2.0),
        power=2,
    ),
    _case("polynomial power 0.5", lambda m, o, n: m.PolynomialLR(o, n, 0.5), power=0.5),
    _case(
        "exponential",
        lambda m, o, n: m.ExponentialLR(o, 0.95),
        lambda p, n: p.exponential(base_lr=0.1, gamma=0.95),
    ),
    _case("exponential gamma 0.999999", lambda m, o, n: m.ExponentialLR(o, 0.999999), gamma=0.999999),
    _case("exponential staircase, every 1000", lambda m, o, n: m.StepLR(o, 1000, 0.95), every=1000, staircase=True),
    _case(
        "step",
        lambda m, o, n: m.StepLR(o, max(n * 3 // 10, 1)),
        lambda p, n: p.step_decay(base_lr=0.1, drop=0.1, step_size=max(n * 3 // 10, 1)),
    ),
    _case("step of 30", lambda m, o, n: m.StepLR(o, 30, 0.999), step_size=30, gamma=0.999),
    _case("step of 1", lambda m, o, n: m.StepLR(o, 1, 0.999), step_size=1, gamma=0.999),
    _case(
        "multistep",
        lambda m, o, n: m.MultiStepLR(o, [n // 2, n * 3 // 4]),
        lambda p, n: p.multi_step(base_lr=0.1, milestones=[n // 2, n * 3 // 4], gamma=0.1),
    ),
    _case(
        "multistep of 1,000",
        lambda m, o, n: m.MultiStepLR(o, range(3, 3_003, 3), 0.999),
        milestones=list(range(3, 3_003, 3)),
        gamma=0.999,
    ),
    _case(
        "cosine",
        lambda m, o, n: m.CosineAnnealingLR(o, n),
        lambda p, n: p.cosine(base_lr=0.1, min_lr=0.0, total_steps=n),
    ),
    _case("cosine mirror, T_max 10", lambda m, o, n: m.CosineAnnealingLR(o, 10), T_max=10, after="mirror"),
    _case(
        "cosine restart, T_max 1000",
        lambda m, o, n: m.CosineAnnealingWarmRestarts(o, 1000),
        T_max=1000,
        after="restart",
    ),
    Case(
        "warm-up + cosine",
        _warm_cosine,
        _torch_sequence,
        lambda p, n: p.with_warmup(
            p.cosine(base_lr=0.1, min_lr=0.0, total_steps=n - n // 20), warmup_steps=n // 20, start_lr=0.0
        ),
    ),
    Case(
        "sequence linear, constant, cosine",
        _sequence,
        _torch_sequence,
        lambda p, n: p.sequential(
            [(n // 10, _linear(p, n // 10)), (n, p.cosine(base_lr=0.1, min_lr=0.0, total_steps=n))]
        ),
    ),
    Case(
        "product cosine, step",
        lambda n: {"product": [{"kind": "cosine"}, {"kind": "step"}]},
        lambda m, o, n: m.ChainedScheduler([m.CosineAnnealingLR(o, n), m.StepLR(o, n // 3)]),
    ),
    _case(
        "cosine-restarts",
        lambda m, o, n: m.CosineAnnealingWarmRestarts(o, max(n // 10, 1)),
        lambda p, n: _restarts(p, max(n // 10, 1)),
    ),
    _case(
        "cosine-restarts T_0 10",
        lambda m, o, n: m.CosineAnnealingWarmRestarts(o, 10),
        lambda p, n: _restarts(p, 10),
        T_0=10,
    ),
    _case("cosine-restarts T_0 7, decay 0.9999", _lambda(_decaying(7, 0.9999)), T_0=7, decay=0.9999),
    _case("cosine-restarts T_0 1000, decay 0.999", _lambda(_decaying(1000, 0.999)), T_0=1000, decay=0.999),
    _case(
        "cosine-restarts T_0 10, T_mult 2",
        lambda m, o, n: m.CosineAnnealingWarmRestarts(o, 10, 2),
        lambda p, n: _restarts(p, 10, 2),
        T_0=10,
        T_mult=2,
    ),
    Case(
        "cosine, repeat 1000, lr_mult 0.999",
        lambda n: {"kind": "cosine", "repeat": {"period": 1000, "lr_mult": 0.999}},
        _lambda(_decaying(1000, 0.999)),
    ),
    _case(
        "cyclic",
        lambda m, o, n: m.CyclicLR(o, 0.001, 0.1, max(n // 5, 1)),
        lambda p, n: p.triangular(min_lr=0.001, max_lr=0.1, step_size=max(n // 5, 1)),
    ),
    _case("cyclic of 7", lambda m, o, n: m.CyclicLR(o, 0.001, 0.1, 7), step_size_up=7),
    _case(
        "cyclic triangular2 of 7",
        lambda m, o, n: m.CyclicLR(o, 0.001, 0.1, 7, mode="triangular2"),
        lambda p, n: p.triangular2(min_lr=0.001, max_lr=0.1, step_size=7),
        step_size_up=7,
        mode="triangular2",
    ),
    _case(
        "cyclic triangular2 of 2000",
        lambda m, o, n: m.CyclicLR(o, 0.001, 0.1, 2000, mode="triangular2"),
        step_size_up=2000,
        mode="triangular2",
    ),
    _case(
        "cyclic exp_range of 7",
        lambda m, o, n: m.CyclicLR(o, 0.001, 0.1, 7, mode="exp_range", gamma=0.99999),
        step_size_up=7,
        mode="exp_range",
        gamma=0.99999,
    ),
    _case(
        "cyclic exp_range of 2000",
        lambda m, o, n: m.CyclicLR(o, 0.001, 0.1, 2000, mode="exp_range", gamma=0.99999),
        lambda p, n: p.exp_range(min_lr=0.001, max_lr=0.1, step_size=2000, gamma=0.99999),
        step_size_up=2000,
        mode="exp_range",
        gamma=0.99999,
    ),
    _case("onecycle", lambda m, o, n: m.OneCycleLR(o, 0.1, n), _one_cycle),
    _case("onecycle three phases", lambda m, o, n: m.OneCycleLR(o, 0.1, n, three_phase=True), three_phase=True),
    _case(
        "onecycle linear", lambda m, o, n: m.OneCycleLR(o, 0.1, n, anneal_strategy="linear"), anneal_strategy="linear"
    ),
    _case("wsd", _lambda(_trapezoid(lambda x: 1 - x)), _wsd),
    _case("wsd cosine", _lambda(_trapezoid(lambda x: (1 + math.cos(math.pi * x)) / 2)), decay_shape="cosine"),
    _case("wsd 1-sqrt", _lambda(_trapezoid(lambda x: 1 - math.sqrt(x))), decay_shape="1-sqrt"),
    _case("wsd exp", _lambda(_trapezoid(lambda x: (0.1**x - 0.1) / 0.9)), decay_shape="exp"),
    _case(
        "inverse-sqrt", _lambda(lambda t, n: (t + 1) ** -0.5), lambda p, n: p.inverse_sqrt(base_lr=0.1, warmup_steps=1)
    ),
    _case("inverse-time", _lambda(lambda t, n: 1 / (1 + 9 * t / n))),
    _case("inverse-time power 0.5", _lambda(lambda t, n: (1 + 9 * t / n) ** -0.5), power=0.5),
    _case("tanh", _lambda(lambda t, n: (1 - math.tanh(-7 + 10 * t / n)) / 2)),
    _case("rex", _lambda(lambda t, n: (1 - t / n) / (1 - t / n / 2))),
    _case("piecewise", _lambda(_joined(lambda u: u))),
    _case("piecewise cosine", _lambda(_joined(lambda u: (1 - math.cos(math.pi * u)) / 2)), interpolate="cosine"),
    _case("range-test", lambda m, o, n: m.ExponentialLR(o, 1000 ** (1 / n))),
    _case(
        "range-test staircase",
        _lambda(lambda t, n: 0.001 * (1 + 0.1 * (t // 100))),
        rate=0.1,
        every=100,
        staircase=True,
    ),
    _case("swa", _lambda(lambda t, n: 0.75 + 0.25 * math.cos(math.pi * min(1, 10 * t / n)))),
    _case("factor", _lambda(lambda t, n: max(1e-6, 0.9 ** (t + 1)))),
]


def _torch_case(name: str, make: Callable[[int], dict[str, Any]], label: str = "") -> Case:
    """A class of torch with its own parameters, and the same class to be stepped."""
    return Case(
        f"torch.{name}{label}",
        lambda n: {"kind": f"torch.{name}", "lr": 0.1, **make(n)},
        lambda m, o, n: getattr(m, name)(o, **make(n)),
    )


def _sequential_spec(n: int) -> Spec:
    schedulers = [
        {"kind": "torch.LinearLR", "start_factor": 0.01, "total_iters": n // 10},
        {"kind": "torch.CosineAnnealingLR", "T_max": n - n // 10},
    ]
    return {"kind": "torch.SequentialLR", "lr": 0.1, "schedulers": schedulers, "milestones": [n // 10]}


TORCH = [
    _torch_case("ConstantLR", lambda n: {"total_iters": n // 2}),
    _torch_case("LinearLR", lambda n: {"total_iters": n}),
    _torch_case("PolynomialLR", lambda n: {"total_iters": n}),
    _torch_case("ExponentialLR", lambda n: {"gamma": 0.99999}),
    _torch_case("StepLR", lambda n: {"step_size": max(n * 3 // 10, 1)}),
    _torch_case("StepLR", lambda n: {"step_size": 30, "gamma": 0.999}, " of 30"),
    _torch_case("MultiStepLR", lambda n: {"milestones": [n // 2, n * 3 // 4]}),
    _torch_case("CosineAnnealingLR", lambda n: {"T_max": n}),
    _torch_case("CosineAnnealingLR", lambda n: {"T_max": 10}, " T_max 10"),
    _torch_case("CosineAnnealingWarmRestarts", lambda n: {"T_0": max(n // 10, 1)}),
    _torch_case("CosineAnnealingWarmRestarts", lambda n: {"T_0": 10}, " T_0 10"),
    _torch_case("CosineAnnealingWarmRestarts", lambda n: {"T_0": 10, "T_mult": 2}, " T_0 10, T_mult 2"),
    _torch_case("CyclicLR", lambda n: {"base_lr": 0.001, "max_lr": 0.1}),
    _torch_case("CyclicLR", lambda n: {"base_lr": 0.001, "max_lr": 0.1, "step_size_up": 7}, " of 7"),
    _torch_case("CyclicLR", lambda n: {"base_lr": 0.001, "max_lr": 0.1, "mode": "triangular2"}, " triangular2"),
    _torch_case(
        "CyclicLR", lambda n: {"base_lr": 0.001, "max_lr": 0.1, "mode": "exp_range", "gamma": 0.99999}, " exp_range"
    ),
    _torch_case("OneCycleLR", lambda n: {"max_lr": 0.1, "total_steps": n}),
    _torch_case("OneCycleLR", lambda n: {"max_lr": 0.1, "total_steps": n, "three_phase": True}, " three phases"),
    Case("torch.SequentialLR", _sequential_spec, _torch_sequence),
]
