"""Variables of a Python file, read without running it: literals, and arithmetic on them and on earlier names."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable
from typing import Any

from lrsched_cli.configs.source import GET_LR, NEWER, OLDER, UNKNOWN, Computed
from lrsched_cli.document import Located
from lrsched_cli.errors import SpecError
from lrsched_cli.run import is_number

#: Beyond this a power is not worked out, nor a number kept: no rate or count of steps is as large.
LARGEST = 1e30
OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
#: Arithmetic deeper than this is not followed.
DEEPEST = 50
#: What get_lr returns in its warm-up, in the two forms that nanoGPT has had.
WARMUPS = {
    "learning_rate * (it + 1) / (warmup_iters + 1)": NEWER,
    "learning_rate * it / warmup_iters": OLDER,
}
#: All else that it does, in any order.
REST = {
    "it < warmup_iters",
    "it > lr_decay_iters",
    "min_lr",
    "decay_ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)",
    "coeff = 0.5 * (1.0 + math.cos(math.pi * decay_ratio))",
    "min_lr + coeff * (learning_rate - min_lr)",
}


def read_python(text: str, name: str) -> Located:
    """The variables that the top level of a Python file assigns, the last value of each; errors call it ``name``.

    A name that anything else binds is a :class:`Computed`. A function ``get_lr`` is told by the key ``get_lr()``.
    """
    try:
        with warnings.catch_warnings():  # of "\\d" and the like, which are that file's own affair
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError as error:
        raise SpecError(f"not valid Python: {error.msg}", file=name, line=error.lineno) from None
    except (ValueError, RecursionError, MemoryError):
        raise SpecError("not Python that can be read: it is nested too deeply", file=name) from None
    out = Located(name, 1)
    for statement in tree.body:
        _take(statement, out)
    return out


def _take(statement: ast.stmt, out: Located) -> None:
    """Take what a statement of the top level assigns."""
    value: ast.expr | None = None
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        value, targets = statement.value, statement.targets
    elif isinstance(statement, ast.AnnAssign):
        if statement.value is None:  # a name with a type alone is bound to nothing
            return
        value, targets = statement.value, [statement.target]
    elif isinstance(statement, ast.FunctionDef) and statement.name == "get_lr":
        _put(out, GET_LR, _warmup_of(statement), statement.lineno)
        return
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    if value is not None and len(names) == len(targets):
        found = _value(value, out)
        for name in names:
            _put(out, name, found, statement.lineno)
        return
    for node in ast.walk(statement):
        bound = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del) else None
        if isinstance(node, ast.alias):
            bound = (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            bound = node.name
        if bound is not None:
            _put(out, bound, Computed(getattr(node, "lineno", statement.lineno)), statement.lineno)


def _put(out: Located, name: str, value: Any, line: int) -> None:
    out[name] = value
    out.lines[name] = line


def _value(node: ast.expr, names: Located, depth: int = 0) -> Any:
    """The value of an expression, or a ``Computed`` where it is more than arithmetic."""
    unknown = Computed(node.lineno)
    if depth > DEEPEST:
        return unknown
    if isinstance(node, ast.Constant):
        plain = isinstance(node.value, bool | float | str | None)
        small = isinstance(node.value, int) and abs(node.value) <= LARGEST
        return node.value if plain or small else unknown
    if isinstance(node, ast.Name):
        return names.get(node.id, unknown)
    if isinstance(node, ast.UnaryOp):
        operands = [node.operand]
    elif isinstance(node, ast.BinOp):
        operands = [node.left, node.right]
    else:
        return unknown
    values = [_value(operand, names, depth + 1) for operand in operands]
    made = OPERATORS.get(type(node.op))
    if made is None or not all(is_number(value) and abs(value) <= LARGEST for value in values):
        return unknown
    if made is operator.pow and abs(values[1]) > 100:
        return unknown
    try:
        found = made(*values)
    except (ArithmeticError, ValueError):
        return unknown
    return found if is_number(found) and abs(found) <= LARGEST else unknown


def _warmup_of(function: ast.FunctionDef) -> str:
    """Which of nanoGPT's two a function ``get_lr`` is; asserts and comments make no difference."""
    said = set()
    for node in ast.walk(function):
        if isinstance(node, ast.If):
            said.add(ast.unparse(node.test))
        elif isinstance(node, ast.Return) and node.value is not None:
            said.add(ast.unparse(node.value))
        elif isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.Assert | ast.Expr):
            said.add(ast.unparse(node))
    return next((name for text, name in WARMUPS.items() if said == REST | {text}), UNKNOWN)
