"""Plans for torch.optim: the exported scheduler, on a real optimizer in the usual loop, at every tick."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from lrsched_cli import SpecError, simulate
from lrsched_cli.trace import Trace
from tests.export.support import (
    QUICK,
    Case,
    assert_rates,
    battery,
    defined,
    docstring,
    export_of,
    exported,
    golden_cases,
    metrics_of,
    plans,
    simulated,
    torch_loop,
)
from tests.export.test_formulas import NO_FORMULA
from tests.support import message_of

torch = pytest.importorskip("torch")


def check(case: Case, trace: Trace) -> None:
    """Assert that the loop uses the plan's rates in every group, and its momentum or the optimizer's own."""
    text = export_of("torch", trace, case.spec).text
    metrics = metrics_of(trace)
    ticks = len(trace) if metrics is None else min(len(trace), len(metrics))
    adam = case.spec.get("optimizer") == "adam"
    rates, momenta = torch_loop(defined(text)["make_scheduler"], text, ticks, metrics=metrics, adam=adam)
    assert_rates(rates, trace)
    expected = np.full(ticks, 0.9) if trace.momentum is None else trace.momentum[:ticks]
    np.testing.assert_allclose(momenta, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", [case for case in battery() if simulated(case)], ids=lambda case: case.name)
def test_plan(case: Case) -> None:
    trace = simulate(case.spec, case.run)
    if trace.schedule.reacts and trace.kind != "plateau":
        assert "is driven by a metric" in message_of(export_of, "torch", trace, case.spec)
    else:
        check(case, trace)


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case.name)
def test_plan_in_the_words_of_a_library(case: Case) -> None:
    trace = simulate(case.spec, case.run)
    known = case.name.startswith("torch.") or not (trace.schedule.reacts or case.name in NO_FORMULA)
    if known:
        check(case, trace)
    else:
        assert case.spec["kind"] in message_of(export_of, "torch", trace, case.spec)


@QUICK
@given(plans())
def test_plan_by_chance(case: Case) -> None:
    trace = simulated(case)
    if trace is not None:
        check(case, trace)


CYCLED: list[dict[str, Any]] = [
    {"kind": "torch.OneCycleLR", "max_lr": 0.3, "total_steps": 40},
    {"kind": "torch.OneCycleLR", "max_lr": 0.3, "total_steps": 40, "three_phase": True, "optimizer": "adam"},
    {"kind": "torch.CyclicLR", "base_lr": 0.01, "max_lr": 0.3, "step_size_up": 7, "mode": "triangular2"},
    {"kind": "torch.CyclicLR", "base_lr": 0.01, "max_lr": 0.3, "step_size_up": 7, "scale_fn": "lambda x: 0.9 ** x"},
    {"kind": "onecycle", "cycle_momentum": True, "base_momentum": 0.8},
    {"kind": "cyclic", "cycle_momentum": True, "step_size_up": 7},
]


@pytest.mark.parametrize("spec", CYCLED, ids=lambda spec: spec["kind"])
def test_momentum(spec: dict[str, Any]) -> None:
    trace = simulate(spec, {"steps": 40})
    assert trace.momentum is not None
    check(Case("", spec, {}), trace)
    assert "It cycles the momentum too, or Adam's beta1." in exported("torch", spec, {"steps": 40}).text


def test_momentum_that_torch_does_not_cycle_is_refused() -> None:
    spec = {"kind": "onecycle", "cycle_momentum": True, "warmup": 5}
    told = message_of(exported, "torch", spec, {"steps": 40})
    assert told == "onecycle cycles the momentum, and no scheduler of torch.optim cycles it like this"


def test_a_rate_of_zero() -> None:
    spec = {"kind": "transformers.constant", "lr": 0}
    check(Case("", spec, {}), simulate(spec, {"steps": 5}))


# What they look like.


def made(spec: dict[str, Any], run: dict[str, Any] | None = None) -> str:
    """The body of ``make_scheduler``, without its indentation."""
    text = exported("torch", spec, run or {"epochs": 90}).text.split("def make_scheduler")[1].split('"""')[2]
    return "\n".join(line.removeprefix("    ") for line in text.strip("\n").split("\n"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"kind": "constant"}, "return ConstantLR(optimizer, factor=1.0, total_iters=90)"),
        ({"kind": "linear"}, "return LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=90)"),
        (
            {"kind": "linear", "start_factor": 0.5, "total_iters": 10},
            "return LinearLR(optimizer, start_factor=0.5, total_iters=10)",
        ),
        ({"kind": "exponential", "gamma": 0.9}, "return ExponentialLR(optimizer, gamma=0.9)"),
        ({"kind": "step"}, "return StepLR(optimizer, step_size=27)"),
        ({"kind": "multistep", "milestones": [30, 60]}, "return MultiStepLR(optimizer, milestones=[30, 60])"),
        ({"kind": "cosine", "eta_min": 1e-5}, "return CosineAnnealingLR(optimizer, T_max=90, eta_min=1e-05)"),
        (
            {"kind": "cosine-restarts", "T_0": 10, "T_mult": 2},
            "return CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2)",
        ),
        ({"kind": "inverse-sqrt"}, "return LambdaLR(optimizer, lambda t: 1 / math.sqrt(1 + t))"),
        ({"kind": "cosine", "repeat": 30}, "return CosineAnnealingWarmRestarts(optimizer, T_0=30)"),
        (
            {"kind": "cosine", "warmup": 5},
            (
                "warmup = LambdaLR(optimizer, lambda t: t / 5)\n"
                "decay = CosineAnnealingLR(optimizer, T_max=85)\n"
                "return SequentialLR(optimizer, [warmup, decay], milestones=[5])"
            ),
        ),
        (
            {"kind": "cosine", "warmup": {"for": 5, "start_factor": 0.1}},
            (
                "warmup = LinearLR(optimizer, start_factor=0.1, total_iters=5)\n"
                "decay = CosineAnnealingLR(optimizer, T_max=85)\n"
                "return SequentialLR(optimizer, [warmup, decay], milestones=[5])"
            ),
        ),
        (
            {"kind": "wsd", "warmup": 5, "decay": 20},
            (
                "warmup = LambdaLR(optimizer, lambda t: t / 5)\n"
                "constant = ConstantLR(optimizer, factor=1.0, total_iters=65)\n"
                "decay = LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=20)\n"
                "return SequentialLR(optimizer, [warmup, constant, decay], milestones=[5, 70])"
            ),
        ),
        (
            {"kind": "cosine", "T_max": 60, "eta_min": 0.01},
            (
                "decay = CosineAnnealingLR(optimizer, T_max=60, eta_min=0.01)\n"
                "decay2 = LambdaLR(optimizer, lambda t: 0.1)\n"
                "return SequentialLR(optimizer, [decay, decay2], milestones=[60])"
            ),
        ),
        (
            {"product": [{"kind": "cosine"}, {"kind": "step", "step_size": 9, "gamma": 0.7}]},
            (
                "decay = CosineAnnealingLR(optimizer, T_max=90)\n"
                "decay2 = StepLR(optimizer, step_size=9, gamma=0.7)\n"
                "return ChainedScheduler([decay, decay2])"
            ),
        ),
        (
            {"kind": "plateau", "patience": 3, "metrics": [1.0] * 90},
            "return ReduceLROnPlateau(optimizer, patience=3)",
        ),
        ({"kind": "onecycle"}, "return OneCycleLR(optimizer, max_lr=0.1, total_steps=90, cycle_momentum=False)"),
        (
            {"kind": "torch.LambdaLR", "lr_lambda": "lambda epoch: exp(-epoch / 9)"},
            "return LambdaLR(optimizer, lambda epoch: math.exp(-epoch / 9))",
        ),
        ({"kind": "torch.StepLR", "step_size": "30%"}, "return StepLR(optimizer, step_size=27)"),
        (
            {
                "kind": "torch.SequentialLR",
                "schedulers": [
                    {"kind": "torch.LinearLR", "total_iters": "10%"},
                    {"kind": "torch.ExponentialLR", "gamma": 0.9},
                ],
                "milestones": ["10%"],
            },
            (
                "warmup = LinearLR(optimizer, total_iters=9)\n"
                "decay = ExponentialLR(optimizer, gamma=0.9)\n"
                "return SequentialLR(optimizer, [warmup, decay], milestones=[9])"
            ),
        ),
        (
            {"kind": "linear", "clamp": {"min_lr": 0.02}},
            "return LambdaLR(optimizer, lambda t: max(1 - t / 90, 0.2))",
        ),
        ({"kind": "rex"}, "return LambdaLR(optimizer, lambda t: (1 - t / 90) / (1 - t / 90 / 2))"),
        ({"kind": "cyclic", "warmup": 5}, "return LambdaLR(optimizer, lambda epoch: learning_rate(epoch) / 0.1)"),
        ({"kind": "cyclic", "lr": 1, "warmup": 5}, "return LambdaLR(optimizer, learning_rate)"),
        (
            {"kind": "cyclic"},
            "return CyclicLR(optimizer, base_lr=0.001, max_lr=0.1, step_size_up=18, cycle_momentum=False)",
        ),
        (
            {"kind": "cosine", "groups": {"backbone": 0.1, "head": 1}},
            "return CosineAnnealingLR(optimizer, T_max=90)",
        ),
    ],
    ids=str,
)
def test_scheduler(spec: dict[str, Any], expected: str) -> None:
    assert made(spec) == expected


def test_a_whole_export() -> None:
    text = exported("torch", {"kind": "cyclic", "step_size_up": 4, "warmup": 5}, {"steps": 90}).text
    assert text == (
        "# A scheduler for torch.optim, written by lrsched.\n"
        "#\n"
        "# Plan: plan: {kind: cyclic, step_size_up: 4, warmup: 5}, at lr 0.1\n"
        "# Run: 90 steps.\n"
        "# Exact: the rates are the plan's at every tick of this run, to 1e-9 of the peak.\n"
        "\n"
        "from torch.optim import Optimizer\n"
        "from torch.optim.lr_scheduler import LambdaLR, LRScheduler\n"
        "\n\n"
        "def learning_rate(step: int) -> float:\n"
        '    """The learning rate of update `step`, counted from 0."""\n'
        "    if step < 5:\n"
        "        return 0.001 * step / 5\n"
        "    t = (step - 5) % 8\n"
        "    return 0.001 + (0.1 - 0.001) * min(t / 4, (8 - t) / 4)\n"
        "\n\n"
        "def make_scheduler(optimizer: Optimizer) -> LRScheduler:\n"
        '    """For an optimizer made with lr=0.1.\n'
        "\n"
        "    Call scheduler.step() once after every optimizer.step().\n"
        '    """\n'
        "    return LambdaLR(optimizer, lambda step: learning_rate(step) / 0.1)\n"
    )


def test_who_calls_what_and_when_is_said() -> None:
    assert docstring(exported("torch", {"kind": "cosine"}, {"epochs": 9}).text) == (
        "For an optimizer made with lr=0.1. Call scheduler.step() once after every epoch."
    )
    plateau = {"kind": "plateau", "metrics": [1.0, 1.0]}
    assert docstring(exported("torch", plateau, {"steps": 2}).text) == (
        "For an optimizer made with lr=0.1. Call scheduler.step(metric) once after every optimizer.step()."
    )
    groups = {"kind": "cosine", "lr": 0.5, "groups": {"a b": 0.1, 'b"""\n\\': 1}}
    assert docstring(exported("torch", groups, {"steps": 9}).text) == (
        'For an optimizer with the parameter groups a b with lr=0.05, "b\\"\\"\\"\\n\\\\" with lr=0.5, in this order. '
        "Call scheduler.step() once after every optimizer.step()."
    )


def test_many_groups_are_told_on_many_lines() -> None:
    spec = {"kind": "cosine", "clamp": {"min_lr": 0.01}, "groups": {f"layer {i}": 0.9**i for i in range(12)}}
    text = exported("torch", spec, {"steps": 9}).text
    assert max(map(len, text.split("\n"))) <= 110
    check(Case("", spec, {}), simulate(spec, {"steps": 9}))


def test_what_torch_cannot_do_is_refused() -> None:
    for spec in ({"kind": "greedy"}, {"kind": "plateau", "warmup": 5}):
        with pytest.raises(SpecError, match="is driven by a metric: no formula of the step gives its rates"):
            exported("torch", spec, {"epochs": 30})
