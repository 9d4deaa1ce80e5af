"""Arithmetic as text: numbers, what can be left out of a formula, and a user's expression in another spelling."""

from __future__ import annotations

import ast
import copy
from functools import reduce
from typing import TYPE_CHECKING, Any

from lrsched_cli.schedules.expression import FUNCTIONS

if TYPE_CHECKING:
    from lrsched_cli.export.code import Writer
    from lrsched_cli.schedules.expression import CompiledExpression

#: So many digits at most show that a number is meant to be a plain one.
PLAIN = 12


def number(value: float) -> str:
    """A rate as a person writes it: whole ones without ``.0``, and without the noise of its last digits.

    The 16th and the 17th only tell in which way a product of two plain numbers was rounded: 0.1 * 3 is 0.3.
    """
    short = f"{value:.15g}"
    digits = short.partition("e")[0].replace(".", "").strip("-0")
    return exact(float(short) if len(digits) <= PLAIN else value)


def tidy(value: float) -> float:
    """A number without the noise of its last digits, where it is meant to be a plain one."""
    return float(number(value).strip("()"))


def exact(value: float) -> str:
    """A number with all of its digits: what a long run multiplies (a factor, a period) must not lose any."""
    whole = value == int(value) and abs(value) < 1e15
    text = str(int(value)) if whole else repr(float(value))
    return f"({text})" if value < 0 else text


def floating(value: float) -> str:
    """A rate that is all of a formula, as a float."""
    text = number(value)
    return text if any(mark in text for mark in ".e") else f"{text}.0".replace(").0", ".0)")


def base(value: float) -> str:
    """The base of a power, which must not be a whole number: arrays raise these as whole numbers, and overflow."""
    text = exact(value)
    return f"{text}.0" if text.isdigit() else text


def simplified(text: str) -> str:
    """A formula without what changes nothing: additions of 0, factors of 1, parentheses."""
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:  # pragma: no cover - what is written here is always an expression
        return text
    return ast.unparse(ast.fix_missing_locations(_Simplifier().visit(tree)))


class _Simplifier(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        left, right = constant(node.left), constant(node.right)
        if isinstance(node.op, ast.Sub) and right is not None and right < 0:
            node = ast.BinOp(node.left, ast.Add(), ast.Constant(-right))
            right = -right
        elif isinstance(node.op, ast.Add) and right is not None and right < 0:
            node = ast.BinOp(node.left, ast.Sub(), ast.Constant(-right))
            right = -right
        if right == 0 and isinstance(node.op, (ast.Add, ast.Sub)):
            return node.left
        if left == 0 and isinstance(node.op, ast.Add):
            return node.right
        if right == 1 and isinstance(node.op, (ast.Mult, ast.Div, ast.Pow)):
            return node.left
        if left == 1 and isinstance(node.op, ast.Mult):
            return node.right
        return self._merged(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """``step - 10 < 5`` as ``step < 15``."""
        self.generic_visit(node)
        left, bound = node.left, constant(node.comparators[0])
        if len(node.ops) == 1 and isinstance(left, ast.BinOp) and isinstance(left.op, ast.Sub):
            offset = constant(left.right)
            if isinstance(offset, int) and isinstance(bound, int):
                return ast.Compare(left.left, node.ops, [ast.Constant(bound + offset)])
        return node

    def _merged(self, node: ast.BinOp) -> ast.AST:
        """``(step - 10) - 5`` as ``step - 15``: clocks that start later and later."""
        signs = {ast.Add: 1, ast.Sub: -1}
        inner = node.left
        if type(node.op) in signs and isinstance(inner, ast.BinOp) and type(inner.op) in signs:
            first, second = constant(inner.right), constant(node.right)
            if isinstance(first, int) and isinstance(second, int):
                offset = signs[type(inner.op)] * first + signs[type(node.op)] * second
                if offset == 0:
                    return inner.left
                op: ast.operator = ast.Add() if offset > 0 else ast.Sub()
                return ast.BinOp(inner.left, op, ast.Constant(abs(offset)))
        return node


def constant(node: ast.AST) -> float | int | None:
    """The value of a part of a formula that is a plain number, maybe with a sign."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = constant(node.operand)
        return None if value is None else -value
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) else None


def times(*factors: str) -> str:
    """A product, without the parentheses around a factor that is one itself; factors of 1 are left out."""
    kept = [factor for factor in factors if factor != "1"]
    return " * ".join(text if i == 0 and _is_product(text) else _factor(text) for i, text in enumerate(kept)) or "1"


def over(text: str, by: str) -> str:
    """A quotient; one of 1 is left out."""
    if by == "1":
        return _factor(text)
    return f"{text if _is_product(text) else _factor(text)} / {_factor(by, last=True)}"


def _factor(text: str, *, last: bool = False) -> str:
    node = ast.parse(text, mode="eval").body
    plain = isinstance(node, (ast.Constant, ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    powers = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
    return text if plain or powers or (not last and _is_product(text)) else f"({text})"


def _is_product(text: str) -> bool:
    node = ast.parse(text, mode="eval").body
    return isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div))


def divided(text: str, by: float) -> str:
    """A formula over a number: divided where the number is its first factor, or where all of it is."""
    tree: ast.expr = ast.parse(text, mode="eval").body
    first = tree
    while isinstance(first, ast.BinOp) and isinstance(first.op, (ast.Mult, ast.Div)):
        factor = constant(first.left)
        if factor is not None:
            first.left = _parsed(number(factor / by))
            return simplified(ast.unparse(tree))
        first = first.left
    return simplified(over(text, number(by)))


def without_parentheses(text: str) -> str:
    """A formula in which ``a * (b / c)`` is said as ``a * b / c``."""
    return ast.unparse(ast.fix_missing_locations(_Flattener().visit(_parsed(text))))


class _Flattener(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        right = node.right
        if isinstance(node.op, ast.Mult) and isinstance(right, ast.BinOp) and isinstance(right.op, (ast.Mult, ast.Div)):
            return ast.BinOp(self.visit_BinOp(ast.BinOp(node.left, ast.Mult(), right.left)), right.op, right.right)
        return node


# What a user wrote.


def renamed(compiled: CompiledExpression, t: str, writer: Writer) -> str:
    """A user's expression with ``t`` for its variable, its constants filled in and the writer's functions."""
    tree = ast.parse(compiled.text.strip(), mode="eval").body
    if isinstance(tree, ast.Lambda):
        tree = tree.body
    return ast.unparse(ast.fix_missing_locations(_Renamer(compiled, t, writer).visit(tree)))


def variable_of(compiled: CompiledExpression) -> str:
    """What a user calls the variable of an expression, or ``t`` where that name means something else in the code."""
    name = compiled.variable
    return "t" if name in {*FUNCTIONS, "math", "np", "pi", "bisect"} else name


class _Renamer(ast.NodeTransformer):
    """Arrays know no ``and``, and take the truth of a comparison for no number: there they are said with functions."""

    def __init__(self, compiled: CompiledExpression, t: str, writer: Writer) -> None:
        self.compiled, self.writer = compiled, writer
        self.clock = _parsed(t)

    def _text(self, node: ast.expr) -> str:
        # What is visited is changed, and some of it is needed twice.
        return ast.unparse(self.visit(copy.deepcopy(node)))

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id == self.compiled.variable:
            return self.clock
        if node.id in self.compiled.constants:
            return _parsed(exact(self.compiled.constants[node.id]))
        return _parsed(self.writer.pi)  # the only other name that an expression may have

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        return _parsed(self.writer.pi)

    def visit_Call(self, node: ast.Call) -> Any:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id  # type: ignore[attr-defined]
        arguments = [self._text(argument) for argument in node.args]
        if name in ("min", "max") and (self.writer.backend is not None or len(arguments) == 1):
            return _parsed(self._extreme(name, arguments))
        return _parsed(self.writer.call(name, *arguments))

    def _extreme(self, name: str, values: list[str]) -> str:
        """The smallest or the largest of several values, of which arrays compare two at a time."""
        if len(values) <= 3:
            return reduce(lambda a, b: self.writer.call(name, a, b), values)
        function = self.writer.call(name).removesuffix("()")
        return f"functools.reduce({function}, [{', '.join(values)}])"

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        tests, values = [], []
        last: ast.expr = node
        while isinstance(last, ast.IfExp):
            tests.append(self._condition(last.test))
            values.append(self._text(last.body))
            last = last.orelse
        return _parsed(self.writer.where(tests, values, self._text(last)))

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        if self.writer.backend is None:
            return self.generic_visit(node)
        if all(map(_is_condition, node.values)):
            return self._truth(node)
        value = self._text(node.values[-1])
        for first in reversed(node.values[:-1]):
            text = self._text(first)
            pair = (text, value) if isinstance(node.op, ast.Or) else (value, text)
            value = self.writer.where([self._condition(first)], [pair[0]], pair[1])
        return _parsed(value)

    def visit_Compare(self, node: ast.Compare) -> Any:
        return self.generic_visit(node) if self.writer.backend is None else self._truth(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not) and self.writer.backend is not None:
            return self._truth(node)
        return self.generic_visit(node)

    def _truth(self, node: ast.expr) -> Any:
        """Whether a condition holds, as a number."""
        return _parsed(self.writer.where([self._condition(node)], ["1.0"], "0.0"))

    def _condition(self, node: ast.expr) -> str:
        """A test, as the backend wants one."""
        if self.writer.backend is None:
            return self._text(node)
        if isinstance(node, ast.Compare):
            operands = [_parsed(self._text(part)) for part in (node.left, *node.comparators)]
            pairs = zip(operands, node.ops, operands[1:], strict=False)
            return _joined("&", [ast.unparse(ast.Compare(left, [op], [right])) for left, op, right in pairs])
        if isinstance(node, ast.BoolOp) and all(map(_is_condition, node.values)):
            return _joined("&" if isinstance(node.op, ast.And) else "|", list(map(self._condition, node.values)))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = node.operand
            return f"~({self._condition(inner)})" if _is_condition(inner) else f"({self._text(inner)}) == 0"
        return f"({self._text(node)}) != 0"


def _joined(operator: str, conditions: list[str]) -> str:
    return conditions[0] if len(conditions) == 1 else f" {operator} ".join(f"({one})" for one in conditions)


def _is_condition(node: ast.expr) -> bool:
    if isinstance(node, ast.BoolOp):
        return all(map(_is_condition, node.values))
    return isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body
