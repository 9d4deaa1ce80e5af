"""Plans as functions: what the exported code computes, at every tick, in plain Python and in NumPy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from lrsched_cli import SpecError, simulate
from lrsched_cli.trace import Trace
from tests.export.support import (
    EXPRESSIONS,
    QUICK,
    Case,
    assert_rates,
    battery,
    defined,
    export_of,
    exported,
    golden_cases,
    plans,
    rates_of,
    simulated,
    told,
)
from tests.support import message_of

#: Why the formula of a plan may be unknown.
REASONS = ("driven by a metric", "follow from each other", "for which no formula is known", "from the one before it")


def functions(text: str) -> list[Any]:
    """The exported functions of all parameter groups."""
    return [value for name, value in defined(text).items() if name.startswith("learning_rate")]


def check_python(text: str, trace: Trace) -> None:
    """Assert that plain Python gives the plan, and something at the tick after it, which loops ask for."""
    rates = [[function(tick) for function in functions(text)] for tick in range(len(trace) + 1)]
    assert all(type(rate) in (float, int) for row in rates for rate in row)
    assert_rates(np.array(rates[:-1], dtype=float), trace)


def check_numpy(text: str, trace: Trace) -> None:
    """Assert that NumPy gives the plan, of all ticks at once and of one, and does not warn."""
    ticks = np.arange(len(trace))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = [function(ticks) for function in functions(text)]
        assert all(row.shape == ticks.shape and row.dtype == np.float64 for row in rows)
        assert_rates(np.transpose(rows), trace)
        some = np.array([[float(function(tick)) for function in functions(text)] for tick in (0, len(trace) // 2)])
    for i, rates in enumerate(rates_of(trace).values()):
        np.testing.assert_allclose(some[:, i], rates[[0, len(trace) // 2]], rtol=1e-9, atol=1e-9 * rates.max())


def check(case: Case, trace: Trace) -> bool:
    """Assert it of both; false where the formula is unknown, which must be said in a line."""
    try:
        check_python(export_of("python", trace, case.spec).text, trace)
        check_numpy(export_of("numpy", trace, case.spec).text, trace)
    except SpecError as error:
        if any(reason in str(error) for reason in REASONS):
            return False
        raise
    return True


@pytest.mark.parametrize("case", [case for case in battery() if simulated(case)], ids=lambda case: case.name)
def test_plan(case: Case) -> None:
    trace = simulate(case.spec, case.run)
    assert check(case, trace) is not trace.schedule.reacts


#: Those of other libraries whose rates are no formula of the tick, or one that nobody would write down.
NO_FORMULA = {
    "torch.seq.onecycle_const",
    "torch.seq.cos_swalr",
    "torch.seq.nested_first",
    "torch.chain.linear_cosine_past",
    "torch.chain.lambda_exp",
    "torch.chain.of_seq",
    "keras.poly_cycle",
    "deepspeed.onecycle_decay",
    "ignite.linear_cyclic",
    "ignite.linear_mono_warm",
    "ignite.cosine_warm",
    "ignite.create_with_warmup",
}


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case.name)
def test_plan_in_the_words_of_a_library(case: Case) -> None:
    trace = simulate(case.spec, case.run)
    assert check(case, trace) is not (trace.schedule.reacts or case.name in NO_FORMULA)


@QUICK
@given(plans())
def test_plan_by_chance(case: Case) -> None:
    trace = simulated(case)
    if trace is not None:
        assert check(case, trace)


@pytest.mark.parametrize("expr", EXPRESSIONS)
@pytest.mark.parametrize("around", [{}, {"warmup": 7}, {"clamp": {"min_lr": 0.01}}, {"repeat": 15}], ids=str)
def test_expression(expr: str, around: dict[str, Any]) -> None:
    case = Case("expression", {"kind": "expression", "lr": 0.1, "expr": expr, **around}, {"steps": 60})
    assert check(case, simulate(case.spec, case.run))


@pytest.mark.parametrize("lr", [1e-12, 5e-324 * 2**60, 1e300, 1.0, 3])
def test_tiny_and_huge_rates(lr: float) -> None:
    for spec in ({"kind": "cosine", "warmup": 5}, {"kind": "step"}, {"kind": "wsd"}, {"kind": "inverse-sqrt"}):
        case = Case("", {"lr": lr, **spec}, {"steps": 50})
        assert check(case, simulate(case.spec, case.run))


def test_a_rate_of_zero() -> None:
    spec = {"kind": "transformers.linear", "lr": 0, "num_warmup_steps": 3, "num_training_steps": 9}
    assert check(Case("", spec, {}), simulate(spec))


@pytest.mark.parametrize("spec", [{"kind": "cosine", "warmup": "1%"}, {"kind": "cyclic"}, {"kind": "step"}], ids=str)
def test_a_run_of_a_billion_steps(spec: dict[str, Any]) -> None:
    trace = simulate(spec, {"steps": 10**9})
    ticks = np.random.default_rng(0).integers(0, 10**9, 1000)
    expected = trace.schedule(ticks)
    (function,) = functions(export_of("numpy", trace, spec).text)
    np.testing.assert_allclose(function(ticks), expected, rtol=0, atol=1e-10)
    (function,) = functions(export_of("python", trace, spec).text)
    np.testing.assert_allclose([function(tick) for tick in ticks.tolist()], expected, rtol=0, atol=1e-10)


def test_many_digits_last_for_a_billion_steps() -> None:
    gamma = 0.99999999876543217
    spec = {"kind": "torch.ExponentialLR", "gamma": gamma}
    text = exported("python", spec, {"steps": 10**9}).text
    assert f"return 0.1 * {gamma!r}**step" in text


def test_every_cycle_of_a_long_run_is_counted() -> None:
    spec = {"kind": "transformers.cosine_with_restarts", "num_warmup_steps": 0, "num_training_steps": 10**6}
    trace = simulate({**spec, "num_cycles": 30001})
    (function,) = functions(export_of("python", trace, spec).text)
    ticks = np.arange(10**6 - 1000, 10**6)
    np.testing.assert_allclose([function(int(t)) for t in ticks], trace.lr[ticks], rtol=0, atol=1e-10)


# Names.


def test_groups_have_a_function_each() -> None:
    spec = {"kind": "cosine", "groups": {"a b": 1.0, "a_b": 0.5, "1x": 0.1, "été": 0.2, 'a"""\n': 0.3}}
    text = exported("python", spec, {"steps": 10}).text
    names = [name for name in defined(text) if name.startswith("learning_rate")]
    assert names == [f"learning_rate_{name}" for name in ("a_b", "a_b2", "1x", "_t_", "a____")]
    check_python(text, simulate(spec, {"steps": 10}))
    check_numpy(exported("numpy", spec, {"steps": 10}).text, simulate(spec, {"steps": 10}))


def test_the_variable_of_an_expression_may_be_called_anything() -> None:
    for name in ("step", "x", "t", "math", "np", "cycle", "e"):
        spec = {"kind": "torch.LambdaLR", "lr_lambda": f"lambda {name}: math.cos({name} / 9) ** 2"}
        for to in ("python", "numpy"):
            (function,) = functions(exported(to, spec, {"steps": 30}).text)
            np.testing.assert_allclose(
                [float(function(t)) for t in range(30)], 0.1 * np.cos(np.arange(30) / 9) ** 2, rtol=1e-12
            )


# What NumPy goes on after, plain Python raises.


def guards(expr: str, steps: int = 50) -> list[str]:
    """The conditions under which exported code says a rate without its formula."""
    text = exported("python", {"kind": "expression", "expr": expr}, {"steps": steps}).text
    check_python(text, simulate({"kind": "expression", "expr": expr}, {"steps": steps}))
    lines = [line.strip() for line in text.split("\n")]
    return [f"{line} {after}" for line, after in zip(lines, lines[1:], strict=False) if line.startswith("if ")]


def test_ticks_without_a_value_are_said() -> None:
    assert guards("lr * min(t ** -0.5, t / 9)") == ["if step == 0: return 0.0"]
    assert guards("lr / (1 + 1 / abs(t - 7))") == ["if step == 7: return 0.0"]
    assert guards("lr / (1 + exp(100 * t - 200))") == ["if step >= 10: return 0.0"]
    assert guards("lr / (1 + exp(200 - 100 * t))") == []
    assert guards("lr / (1 + exp(900 - 100 * t))") == ["if step <= 1: return 0.0"]
    assert guards("lr / (1 + 1 / (t // 5 - 4) ** 2)") == ["if 20 <= step <= 24: return 0.0"]
    assert guards("lr / (1 + 1 / (t % 10))") == ["if step in (0, 10, 20, 30, 40, 50): return 0.0"]
    # The last step of a loop asks for the rate after it.
    assert guards("lr / (1 + 1 / (t - 50) ** 2)") == ["if step >= 50: return 0.0"]


def test_ticks_without_a_value_are_found_in_a_long_run() -> None:
    spec = {"kind": "expression", "expr": "lr / (1 + exp(t / 1000 - 300000))"}
    text = exported("python", spec, {"steps": 10**9}).text
    # exp(709.782712893384) is the largest one.
    assert "    if step >= 300709783:\n        return 0.0\n" in text
    (function,) = functions(text)
    assert function(300709782) < 1e-300
    assert function(10**9) == 0


def test_a_clamp_holds_what_overflows() -> None:
    spec = {"kind": "exponential", "gamma": 2, "clamp": {"max_lr": 0.5}}
    text = exported("python", spec, {"steps": 5000}).text
    assert "    if step >= 1024:\n        return 0.5\n" in text
    check_python(text, simulate(spec, {"steps": 5000}))


def test_many_ticks_without_a_value_are_refused_in_plain_python() -> None:
    spec = {"kind": "expression", "expr": "lr / (1 + 1 / (t % 5)) + lr * t"}
    message = message_of(exported, "python", spec, {"steps": 50})
    assert message == (
        "expression has a formula that plain Python cannot evaluate at tick 0, "
        "where NumPy divides by zero or overflows: --to numpy can"
    )
    trace = simulate(spec, {"steps": 50})
    check_numpy(export_of("numpy", trace, spec).text, trace)


# What they look like.

HEADER = """\
# {what}, written by lrsched.
#
# Plan: plan: {plan}
# Run: {run}.
# Exact: the rates are the plan's at every tick of this run, to 1e-9 of the peak.
"""


def test_plain_python_reads_as_a_person_would_write_it() -> None:
    spec = {"kind": "cosine", "lr": 0.1, "eta_min": 1e-4, "warmup": "5ep"}
    text = exported("python", spec, {"epochs": 90, "steps_per_epoch": 10}).text
    plan = "{kind: cosine, lr: 0.1, eta_min: 0.0001, warmup: 5ep}"
    assert text == HEADER.format(
        what="A learning rate in plain Python", plan=plan, run="900 steps, 10 steps an epoch"
    ) + (
        "\n"
        "import math\n"
        "\n\n"
        "def learning_rate(step: int) -> float:\n"
        '    """The learning rate of update `step`, counted from 0."""\n'
        "    if step < 50:\n"
        "        return 0.1 * step / 50\n"
        "    x = (step - 50) / 850\n"
        "    return 0.0001 + (0.1 - 0.0001) * (1 + math.cos(math.pi * x)) / 2\n"
    )


def test_numpy_reads_as_a_person_would_write_it() -> None:
    spec = {"kind": "multistep", "milestones": [30, 60, 80], "gamma": 0.2}
    text = exported("numpy", spec, {"epochs": 90}).text
    plan = "{kind: multistep, milestones: [30, 60, 80], gamma: 0.2}, at lr 0.1"
    assert text == HEADER.format(what="A learning rate in NumPy", plan=plan, run="90 epochs") + (
        "\n"
        "import numpy as np\n"
        "\n\n"
        "def learning_rate(epoch):\n"
        '    """The learning rate of epoch `epoch`, counted from 0: of an array of them, or of one."""\n'
        "    epoch = np.asarray(epoch, dtype=float)\n"
        "    return np.select([epoch < 30, epoch < 60, epoch < 80], [0.1, 0.02, 0.004], 0.0008)\n"
    )


def body(spec: dict[str, Any], steps: int = 100, to: str = "python") -> str:
    """What follows the docstring of the function, without the indentation."""
    lines = exported(to, {"lr": 0.1, **spec}, {"steps": steps}).text.split("counted from 0")[1].split("\n")[1:-1]
    return "\n".join(line.removeprefix("    ") for line in lines)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"kind": "constant"}, "return 0.1"),
        ({"kind": "linear"}, "return 0.1 * (1 - step / 100)"),
        ({"kind": "linear", "start_factor": 0.5, "end_factor": 1}, "return 0.05 + (0.1 - 0.05) * step / 100"),
        ({"kind": "polynomial", "power": 2}, "x = step / 100\nreturn 0.1 * (1 - x) ** 2"),
        ({"kind": "exponential", "gamma": 0.9}, "return 0.1 * 0.9**step"),
        ({"kind": "exponential", "gamma": 0.9, "every": 7}, "return 0.1 * 0.9 ** (step / 7)"),
        ({"kind": "step", "step_size": 30}, "return 0.1 * 0.1 ** (step // 30)"),
        ({"kind": "multistep"}, "if step < 50:\n    return 0.1\nif step < 75:\n    return 0.01\nreturn 0.001"),
        (
            {"kind": "multistep", "milestones": [1, 2, 3, 4]},
            "return 0.1 * 0.1 ** bisect.bisect([1, 2, 3, 4], step)",
        ),
        (
            {"kind": "cosine-restarts", "T_0": 7, "T_mult": 2, "decay": 0.5},
            (
                "start, length, cycle = 0, 7, 0\n"
                "while step >= start + length:\n"
                "    start, length = start + length, length * 2\n"
                "    cycle += 1\n"
                "x = (step - start) / length\n"
                "return 0.1 * 0.5**cycle * (1 + math.cos(math.pi * x)) / 2"
            ),
        ),
        (
            {"kind": "cyclic", "step_size_up": 4, "step_size_down": 6},
            "t = step % 10\nreturn 0.001 + (0.1 - 0.001) * min(t / 4, (10 - t) / 6)",
        ),
        ({"kind": "inverse-sqrt"}, "return 0.1 / math.sqrt(1 + step)"),
        ({"kind": "inverse-time", "rate": 0.5}, "return 0.1 / (1 + step / 2)"),
        ({"kind": "expression"}, "return 0.1 * (1 + math.cos(math.pi * step / 100)) / 2"),
        (
            {"kind": "constant", "warmup": {"for": 10, "shape": "log"}},
            "if step < 10:\n    return 0.1 * math.log(step + 1) / math.log(11)\nreturn 0.1",
        ),
        (
            {"kind": "step", "step_size": 30, "warmup": {"for": 10, "clock": "product"}},
            "if step < 10:\n    return 0.1 * 0.1 ** (step // 30) * step / 10\nreturn 0.1 * 0.1 ** (step // 30)",
        ),
        (
            {"product": [{"kind": "exponential", "gamma": 0.9}, {"kind": "step", "step_size": 9}]},
            "return 0.1 * 0.9**step * 0.1 ** (step // 9)",
        ),
        ({"kind": "linear", "clamp": {"min_lr": 0.02}}, "return max(0.1 * (1 - step / 100), 0.02)"),
        ({"kind": "linear", "repeat": 10}, "return 0.1 * (1 - step % 10 / 10)"),
    ],
)
def test_formula(spec: dict[str, Any], expected: str) -> None:
    assert body(spec) == expected


def test_momentum_is_said_to_be_left_out() -> None:
    spec = {"kind": "onecycle", "cycle_momentum": True}
    text = told(exported("python", spec, {"steps": 10}).text)
    assert text.endswith("to 1e-9 of the peak. The momentum that the plan cycles is not in here.")


def test_what_has_no_formula_is_refused_with_the_reason() -> None:
    message = message_of(exported, "python", {"kind": "plateau", "metrics": [1, 2, 3]}, {"epochs": 3})
    assert message == "plateau is driven by a metric: no formula of the step gives its rates"
    spec = {"kind": "torch.MultiplicativeLR", "lr_lambda": "lambda t: 1 - 1 / (t + 2)"}
    message = message_of(exported, "numpy", spec, {"epochs": 9})
    assert message == (
        "torch.MultiplicativeLR computes each rate from the one before it: no formula of the step gives its rates"
    )
