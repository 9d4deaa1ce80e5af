"""How exported code is laid out: a linter of Python finds nothing to say about it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli import SpecError, simulate
from lrsched_cli.cli.export import CODE
from lrsched_cli.export.layout import WIDTH, call, formatted, lean, one_line
from tests.export.support import Case, battery, export_of, exported, golden_cases, simulated


def assert_clean(folder: Path) -> None:
    """Assert that ruff, told nothing but the width of lines, finds nothing to say."""
    pytest.importorskip("ruff")
    rules = ["--select", "E,F,I,W,B,UP,RET,C4", "--ignore", "B023", "--line-length", str(WIDTH)]
    words = [sys.executable, "-m", "ruff", "check", "--quiet", "--isolated", *rules, "."]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


@pytest.mark.parametrize("to", CODE)
def test_every_export_is_clean(to: str, tmp_path: Path) -> None:
    """A third of the plans for each library, another third for the next one."""
    cases = [case for case in (*battery(), *golden_cases()) if simulated(case)]
    written = 0
    for i, case in enumerate(cases[list(CODE).index(to) % 3 :: 3]):
        try:
            export = export_of(to, simulate(case.spec, case.run), case.spec)
        except SpecError:
            continue
        if export.suffix == ".py":
            (tmp_path / f"{i}.py").write_text(export.text)
            written += 1
    assert written > 150
    assert_clean(tmp_path)


def _expression(name: str, expr: str) -> Case:
    return Case(name, {"kind": "expression", "expr": expr}, {})


LONG: list[Case] = [
    _expression("sum", " + ".join(f"lr * cos(t / {k}) ** 2" for k in range(1, 30))),
    _expression("product", " * ".join(f"(1 + sin(t / {k}) / 9)" for k in range(1, 30))),
    _expression("choice", " else ".join(f"{k} if t < {k}" for k in range(1, 40)) + " else 9"),
    _expression("and", "lr * (" + " and ".join(f"t > {k}" for k in range(30)) + ") + lr"),
    _expression("calls", "lr * max(" + ", ".join(f"1 / (t + {k})" for k in range(1, 30)) + ")"),
    _expression("nested", "lr * (1 + " * 12 + "cos(t)" + ") / 2" * 12),
    _expression("powers", "lr * (t + 1) ** (" + " + ".join(["t / 1e9"] * 20) + ")"),
    Case("milestones", {"kind": "multistep", "milestones": list(range(3, 93, 3)), "gamma": 0.9}, {}),
    Case(
        "steps", {"kind": "piecewise", "points": [[k, 0.1 + k % 7] for k in range(40)], "interpolate": "constant"}, {}
    ),
    Case("lines", {"kind": "piecewise", "points": [[k, 0.1 + k % 7] for k in range(20)]}, {}),
    Case("groups", {"kind": "rex", "clamp": {"min_lr": 0.01}, "groups": {f"layer_{k}": 0.9**k for k in range(9)}}, {}),
    Case(
        "sequence",
        {"sequence": [{"kind": "wsd", "for": 12}, {"kind": "cyclic", "for": 40}, {"kind": "onecycle"}], "repeat": 70},
        {},
    ),
    Case(
        "torch",
        {
            "kind": "torch.ChainedScheduler",
            "schedulers": [
                {"kind": "torch.LinearLR", "total_iters": 5},
                {"kind": "torch.ConstantLR"},
                {"kind": "torch.StepLR", "step_size": 9},
                {"kind": "torch.PolynomialLR", "total_iters": 99},
                {"kind": "torch.ExponentialLR", "gamma": 0.99},
                {"kind": "torch.MultiStepLR", "milestones": list(range(0, 90, 2))},
            ],
        },
        {},
    ),
]


@pytest.mark.parametrize("case", LONG, ids=lambda case: case.name)
def test_long_ones_are_broken(case: Case, tmp_path: Path) -> None:
    for to in CODE:
        try:
            export = exported(to, case.spec, {"steps": 100})
        except SpecError:
            if (to, case.name) == ("keras", "groups"):
                continue
            raise
        if export.suffix == ".py":
            (tmp_path / f"{to}.py").write_text(export.text)
    assert_clean(tmp_path)


# Expressions by chance, on one line and on several.

_names = st.sampled_from(["t", "x", "step", "math.pi", "cycle"])
_numbers = st.sampled_from(["0.1", "3", "1e-05", "0.0001", "12345", "2.5"])


def _larger(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def joined(template: str, **parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.builds(template.format, **parts)

    operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "+", "*"])
    return st.one_of(
        joined("({a}) {o} ({b})", a=part, b=part, o=operators),
        joined("({a}) {o} ({b})", a=part, b=part, o=operators),
        joined("-({a})", a=part),
        joined("not ({a})", a=part),
        joined("math.cos({a})", a=part),
        joined(
            "np.where(({a}) {o} ({b}), {c}, {d})", a=part, b=part, c=part, d=part, o=st.sampled_from(["<", ">=", "=="])
        ),
        joined("min({a}, {b})", a=part, b=part),
        joined("({a}) if ({b}) < ({c}) else ({d})", a=part, b=part, c=part, d=part),
        joined("({a}) and ({b}) < ({c})", a=part, b=part, c=part),
        joined("({a}) < ({b}) <= ({c})", a=part, b=part, c=part),
        joined("[{a}, {b}][int({c})]", a=part, b=part, c=part),
    )


expressions = st.recursive(_names | _numbers, _larger, max_leaves=14)


@settings(deadline=None, max_examples=300)
@given(expressions)
def test_one_line_means_the_same(text: str) -> None:
    assert ast.dump(ast.parse(one_line(text))) == ast.dump(ast.parse(text))


@settings(deadline=None, max_examples=150)
@given(expressions)
def test_no_parentheses_are_left_that_say_nothing(text: str) -> None:
    (line,) = lean([f"    value = (({text}))"])
    assert ast.dump(ast.parse(line.lstrip())) == ast.dump(ast.parse(f"value = {text}"))
    assert line == f"    value = {one_line(text)}"


def test_what_is_no_expression_stays_as_it_is() -> None:
    lines = ['    """(a)."""', "# (a)", "    if (step) < (3):", "    return (a)", "def f((a):"]
    assert lean(lines) == ['    """(a)."""', "# (a)", "    if step < 3:", "    return a", "def f((a):"]


def test_arguments_with_a_line_each() -> None:
    assert formatted(f"made = {call('f', ['a', 'b=1'])}") == "made = f(a, b=1)\n"
    assert formatted(f"made = {call('f', ['a', 'b=1'], line_each=True)}") == "made = f(\n    a,\n    b=1,\n)\n"
