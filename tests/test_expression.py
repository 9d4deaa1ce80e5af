"""The expression kind: Python's own arithmetic on the tick, and nothing but arithmetic."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lrsched_cli.schedules import CANONICAL
from lrsched_cli.schedules.parameters import params_of
from tests.support import consistent, knots_are_honest, made, message_of

NAMES = {"min": min, "max": max, "abs": abs, "round": round, "floor": math.floor, "ceil": math.ceil} | {
    name: getattr(math, name) for name in ("sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "pi")
}
EXPRESSIONS = [
    "lr",
    "0.5",
    "lr * 0.95 ** t",
    "lr * (1 + cos(pi * t / total)) / 2",
    "lr / (t + 1) ** 0.5",
    "lr * min((t + 1) ** -0.5, (t + 1) * 10 ** -1.5)",
    "lr if t < 30 else lr / 10 if t < 60 else lr / 100",
    "lr * 0.5 ** (t // 7)",
    "lr * (t % 7) / 7",
    "lr * (10 <= t < 20)",
    "lr * (t > 5 and t < 9 or t == 50)",
    "lr * (not t % 2)",
    "lr * (t and 2)",
    "lr * (0 or t)",
    "abs(t - 40) * 0.001",
    "max(0.01, lr * sin(t / 9))",
    "lr * floor(t / 9) / 9 + ceil(t / 4) * 0.01 + round(t / 8) * 0.01",
    "exp(-t / 20) + sqrt(t) + log(t + 1) + tanh(t / 50) + abs(tan(t / 200))",
    "-(-lr)",
    "+lr * (t != 3)",
    "lr * (t >= 99)",
    "2 ** -t",
    "7 // 2 * 0.01 + 7 % 4 * 0.001 + (-7) // 2 + 5 + (-7) % 4",
    "1e-3 if t % 20 // 10 else 1e-4",
]
#: Where two curves cross is not worked out, so that this one turns between knots.
CURVED = "lr * min((t + 1) ** -0.5"


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_is_what_python_says(text: str) -> None:
    schedule = made("expression", 100, expr=text)
    rates = consistent(schedule, 100)
    expected = [float(eval(text, dict(NAMES), {"t": t, "lr": 0.1, "total": 100})) for t in range(100)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=1e-15)
    if not text.startswith(CURVED):
        knots_are_honest(schedule, 100)


@given(
    a=st.integers(1, 12), b=st.integers(0, 30), c=st.floats(0.1, 3), op=st.sampled_from(["<", "<=", ">", ">=", "=="]),
    shape=st.sampled_from(["({c} if t {op} {b} else 1)", "(t % {a} {op} {b})", "((t + {b}) // {a} + 1)",
                           "max(t * {c}, {b})", "abs({c} * t - {b})", "floor(t * {c} + {b})"]),
)  # fmt: skip
@settings(deadline=None, max_examples=150)
@example(a=1, b=0, c=0.8125, op="<", shape="floor(t * {c} + {b})")
def test_knots_of_an_expression_are_found(a: int, b: int, c: float, op: str, shape: str) -> None:
    """Comparisons, remainders and roundings of straight lines in t turn or jump at a knot only."""
    text = f"0.001 * {shape.format(a=a, b=b, c=c, op=op)}"
    schedule = made("expression", 80, expr=text)
    consistent(schedule, 80)
    knots_are_honest(schedule, 80)


@pytest.mark.parametrize(
    "text", ["lambda epoch: 0.1 * 0.95 ** epoch", "0.1 * math.pow(0.95, t)", "0.1 * np.exp(t * math.log(0.95))"]
)
def test_code_from_a_lambda_is_read(text: str) -> None:
    """What a LambdaLR had: a lambda of any name, functions with their module in front."""
    if "pow" in text:
        assert message_of(made, "expression", expr=text).startswith("expr must be arithmetic on t, pi, lr, total, got")
        return
    np.testing.assert_allclose(made("expression", expr=text)(np.arange(50)), 0.1 * 0.95 ** np.arange(50), rtol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "().__class__", "open('x')", "[t for t in range(9)]", "t.real", "eval('1')",
        "'a' * 9", "(lambda: 1)()", "f'{t}'", "t if True else print", "lr[0]", "{1: 2}", "(t := 3)", "lr @ t", "t is 1",
        "min(*[1])", "max(t, key=abs)", "t << 3", "~t", "1j", "yield", "await t", "...", "None", "", "   ", "\0",
        "lr lr",
        "lambda a, b: a", "lambda *a: 1", "lambda: 1", "min()", "exp(1, 2)", "t and print", "a.b.c(1)",
    ],
)  # fmt: skip
def test_what_is_not_arithmetic_is_refused(text: str) -> None:
    """No attribute, no other name, no call of anything else: nothing in an expression can run code."""
    message = message_of(made, "expression", expr=text)
    assert message.startswith(("expr ", "exp takes", "min takes"))


@pytest.mark.parametrize(
    "text", ["9**9**9**9 * t", "(" * 300 + "t" + ")" * 300, "-" * 600 + "t", "t" + "+t" * 900, "1" * 5000, "9" * 400]
)
def test_a_monstrous_expression_is_refused_at_once(text: str) -> None:
    started = time.monotonic()
    assert message_of(made, "expression", expr=text)
    assert time.monotonic() - started < 5, "a hang guard, not a measurement"


def test_the_documented_names_are_the_known_names() -> None:
    """The contract's list of functions, each with the value that Python gives."""
    for name in ("min", "max", "abs", "floor", "ceil", "round", "sqrt", "exp", "log", "sin", "cos", "tan", "tanh"):
        argument = "0.7, 0.2" if name in ("min", "max") else "0.7"
        text = f"{name}({argument}) + 1"
        expected = eval(text, dict(NAMES))
        assert made("expression", expr=text)(3) == pytest.approx(expected, rel=1e-15)


def test_one_expression_parameter_there_is() -> None:
    """A new one must be tested here too."""
    found = [(n, p) for n, k in CANONICAL.items() for p, d in params_of(k).items() if d.type == "expression"]
    assert found == [("expression", "expr")]
