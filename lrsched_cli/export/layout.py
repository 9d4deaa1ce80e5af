"""How exported code is laid out: spaces, quotes and line breaks as formatters of Python have them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

#: The longest line of exported code.
WIDTH = 110
#: Calls with a line for each of their arguments are easier to read than ones longer than this.
COMFORT = 90

_OPERATORS: dict[type[ast.AST], tuple[str, int]] = {
    ast.Or: ("or", 2),
    ast.And: ("and", 3),
    ast.BitOr: ("|", 6),
    ast.BitAnd: ("&", 8),
    ast.Add: ("+", 9),
    ast.Sub: ("-", 9),
    ast.Mult: ("*", 10),
    ast.Div: ("/", 10),
    ast.FloorDiv: ("//", 10),
    ast.Mod: ("%", 10),
    ast.Pow: ("**", 12),
}
_COMPARED: dict[type[ast.AST], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.In: "in",
}
_TERNARY, _NOT, _COMPARE, _SIGN, _POWER, _ATOM = 1, 4, 5, 11, 12, 14
#: Lines that hold an expression: what comes before it, it, and what comes after it.
_LINE = re.compile(r"(?P<before>\s*(?:return |if |elif |while |[a-z]\w* [+-]?= )?)(?P<text>.*?)(?P<after>:?)")


def formatted(lines: Iterable[str], indent: int = 0) -> list[str]:
    """Lines of code, laid out; docstrings, comments, definitions and what else is no expression stay as they are."""
    out = []
    for line in lines:
        found = _LINE.fullmatch(line)
        expression = None if found is None else _parsed(found["text"])
        if found is None or expression is None or line.strip().startswith(('"""', "#", "@")):
            out.append(line)
            continue
        before = found["before"]
        depth = indent + len(before) - len(before.lstrip())
        started = " " * depth + before.lstrip()
        out += [text[indent:] for text in _broken(started, expression, found["after"], depth)]
    return out


def call(function: str, arguments: Iterable[str], width: int = COMFORT) -> list[str]:
    """A call, with a line for each of its arguments where it is long."""
    node: Any = _parsed(f"{function}({', '.join(arguments)})")
    line = flat(node)
    return [line] if len(line) <= width else list(_exploded("", node, "", 0))


def one_line(text: str) -> str:
    """An expression as formatters write it, however long."""
    node = _parsed(text)
    return text if node is None else flat(node)


def flat(node: ast.AST, level: int = 0) -> str:
    """An expression on one line, in parentheses where it binds less tightly than ``level``."""
    text, own = _FLAT[type(node)](node)
    return f"({text})" if own < level else text


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None


# On one line.


def _binary(node: ast.BinOp) -> tuple[str, int]:
    sign, own = _OPERATORS[type(node.op)]
    if isinstance(node.op, ast.Pow):
        left, right = flat(node.left, own + 1), flat(node.right, _SIGN)
        near = _is_simple(node.left) and _is_simple(node.right)
        return (f"{left}**{right}" if near else f"{left} ** {right}"), own
    return f"{flat(node.left, own)} {sign} {flat(node.right, own + 1)}", own


def _is_simple(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        return _is_simple(node.operand)
    return isinstance(node, (ast.Constant, ast.Name, ast.Attribute))


def _truth(node: ast.BoolOp) -> tuple[str, int]:
    sign, own = _OPERATORS[type(node.op)]
    return f" {sign} ".join(flat(value, own + 1) for value in node.values), own


def _unary(node: ast.UnaryOp) -> tuple[str, int]:
    if isinstance(node.op, ast.Not):
        return f"not {flat(node.operand, _NOT)}", _NOT
    sign = {ast.USub: "-", ast.UAdd: "+", ast.Invert: "~"}[type(node.op)]  # type: ignore[index]
    return f"{sign}{flat(node.operand, _SIGN)}", _SIGN


def _compared(node: ast.Compare) -> tuple[str, int]:
    parts = [
        f"{_COMPARED[type(op)]} {flat(right, _COMPARE + 1)}"
        for op, right in zip(node.ops, node.comparators, strict=True)
    ]
    return " ".join([flat(node.left, _COMPARE + 1), *parts]), _COMPARE


def _ternary(node: ast.IfExp) -> tuple[str, int]:
    body, test = flat(node.body, _TERNARY + 1), flat(node.test, _TERNARY + 1)
    return f"{body} if {test} else {flat(node.orelse, _TERNARY)}", _TERNARY


def _lambda(node: ast.Lambda) -> tuple[str, int]:
    return f"lambda {', '.join(argument.arg for argument in node.args.args)}: {flat(node.body)}", 0


def _literal(node: ast.Constant) -> tuple[str, int]:
    value = node.value
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False), _ATOM
    if isinstance(value, float) and abs(value) >= 1e6:
        digits, _, power = f"{value:.15e}".partition("e")
        text = f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
        return (text if float(text) == value else repr(value)), _ATOM
    return repr(value), _ATOM


def _items(node: Any) -> list[str]:
    """The parts of what has brackets of its own, each on one line."""
    return [prefix + flat(part) for prefix, part in _parts(node)]


def _parts(node: Any) -> list[tuple[str, ast.AST]]:
    """The parts of a call, a list or a dictionary, and what is written before each."""
    if isinstance(node, ast.Dict):
        return [(f"{flat(k)}: ", v) for k, v in zip(node.keys, node.values, strict=True) if k is not None]
    if isinstance(node, ast.Call):
        return [*(("", part) for part in node.args), *((f"{word.arg}=", word.value) for word in node.keywords)]
    return [("", part) for part in node.elts]


def _brackets(node: Any) -> tuple[str, str]:
    if isinstance(node, ast.Call):
        return f"{flat(node.func, _ATOM)}(", ")"
    return {ast.List: ("[", "]"), ast.Dict: ("{", "}")}[type(node)]


def _bracketed(node: Any) -> tuple[str, int]:
    opened, closed = _brackets(node)
    return f"{opened}{', '.join(_items(node))}{closed}", _ATOM


_FLAT: dict[type[ast.AST], Any] = {
    ast.BinOp: _binary,
    ast.BoolOp: _truth,
    ast.UnaryOp: _unary,
    ast.Compare: _compared,
    ast.IfExp: _ternary,
    ast.Lambda: _lambda,
    ast.Constant: _literal,
    ast.Name: lambda node: (node.id, _ATOM),
    ast.Attribute: lambda node: (f"{flat(node.value, _ATOM)}.{node.attr}", _ATOM),
    ast.Subscript: lambda node: (f"{flat(node.value, _ATOM)}[{flat(node.slice)}]", _ATOM),
    ast.Tuple: lambda node: (", ".join(flat(part) for part in node.elts), 0),
    ast.Call: _bracketed,
    ast.List: _bracketed,
    ast.Dict: _bracketed,
}


# On several.


def _broken(before: str, node: ast.AST, after: str, depth: int) -> Iterator[str]:
    """A statement with one expression, in as many lines as it needs; ``depth`` is its indentation."""
    line = f"{before}{flat(node)}{after}"
    if len(line) <= WIDTH or isinstance(node, (ast.Tuple, ast.Constant, ast.Name)):
        yield line
    elif isinstance(node, (ast.Call, ast.List, ast.Dict)):
        yield from _exploded(before, node, after, depth)
    elif (last := _last(node)) is not None and len(before) + len(flat(node)) - len(flat(last)) + 20 < WIDTH:
        if isinstance(last, ast.Call):
            yield from _exploded(before + flat(node).removesuffix(flat(last)), last, after, depth)
            return
        yield before + flat(node).removesuffix(f"{flat(last)})")
        yield from _inside(last, depth + 4)
        yield f"{' ' * depth}){after}"
    else:
        yield f"{before}("
        yield from _inside(node, depth + 4)
        yield f"{' ' * depth}){after}"


def _inside(node: ast.AST, depth: int) -> Iterator[str]:
    """An expression between parentheses of its own."""
    line = f"{' ' * depth}{flat(node)}"
    return iter([line]) if len(line) <= WIDTH else _chain(node, depth)


def _last(node: ast.AST) -> ast.AST | None:
    """What ends an expression of two operands, if it is a call or stands in parentheses and may be broken there."""
    if not isinstance(node, ast.BinOp) or len(_operands(node)) > 2:
        return None
    last: ast.AST = node
    while isinstance(last, ast.BinOp):
        _, right, level = _operands(last)[-1]
        if _level(right) < level:
            return right  # type: ignore[no-any-return]
        last = right
    return last if isinstance(last, ast.Call) and last.args else None


def _exploded(before: str, node: Any, after: str, depth: int) -> Iterator[str]:
    """A call, a list or a dictionary with a line for each of its parts."""
    opened, closed = _brackets(node)
    yield f"{before}{opened}"
    for prefix, part in _parts(node):
        yield from _argument(prefix, part, ",", depth + 4)
    yield f"{' ' * depth}{closed}{after}"


def _argument(prefix: str, node: ast.AST, after: str, depth: int) -> Iterator[str]:
    """A part between brackets, which needs no more of them to be broken."""
    line = f"{' ' * depth}{prefix}{flat(node)}{after}"
    if len(line) <= WIDTH or isinstance(node, (ast.Constant, ast.Name, ast.Lambda, ast.Subscript, ast.Attribute)):
        yield line
    elif isinstance(node, (ast.Call, ast.List, ast.Dict)):
        yield from _exploded(" " * depth + prefix, node, after, depth)
    elif prefix:
        yield f"{' ' * depth}{prefix}("
        yield from _inside(node, depth + 4)
        yield f"{' ' * depth}){after}"
    else:
        yield from _chain(node, depth, after)


def _chain(node: ast.AST, depth: int, after: str = "") -> Iterator[str]:
    """An expression with a line for each of its operands, those that bind less tightly first."""
    operands = _operands(node)
    for i, (prefix, part, level) in enumerate(operands):
        end = after if i == len(operands) - 1 else ""
        line = f"{' ' * depth}{prefix}{flat(part, level)}{end}"
        if len(line) <= WIDTH:
            yield line
        elif isinstance(part, (ast.Call, ast.List, ast.Dict)):
            yield from _exploded(" " * depth + prefix, part, end, depth)
        elif _level(part) < level:
            yield f"{' ' * depth}{prefix}("
            yield from _inside(part, depth + 4)
            yield f"{' ' * depth}){end}"
        elif len(_operands(part)) > 1:
            first, *rest = _chain(part, depth, end)
            yield f"{' ' * depth}{prefix}{first.lstrip()}"
            yield from rest
        else:
            yield line


def _level(node: ast.AST) -> int:
    found: int = _FLAT[type(node)](node)[1]
    return found


def _operands(node: ast.AST) -> list[tuple[str, Any, int]]:
    """What an expression is made of at its outermost: an operator, an operand, and how tightly it must bind."""
    if isinstance(node, ast.BinOp):
        sign, own = _OPERATORS[type(node.op)]
        power = isinstance(node.op, ast.Pow)
        same = isinstance(node.left, ast.BinOp) and _OPERATORS[type(node.left.op)][1] == own and not power
        left = _operands(node.left) if same else [("", node.left, own + power)]
        return [*left, (f"{sign} ", node.right, _SIGN if power else own + 1)]
    if isinstance(node, ast.BoolOp):
        sign, own = _OPERATORS[type(node.op)]
        return [(f"{sign} " if i else "", value, own + 1) for i, value in enumerate(node.values)]
    if isinstance(node, ast.Compare):
        pairs = zip(node.ops, node.comparators, strict=True)
        rest = [(f"{_COMPARED[type(op)]} ", right, _COMPARE + 1) for op, right in pairs]
        return [("", node.left, _COMPARE + 1), *rest]
    if isinstance(node, ast.IfExp):
        parts: list[tuple[str, Any, int]] = [("", node.body, _TERNARY + 1), ("if ", node.test, _TERNARY + 1)]
        if isinstance(node.orelse, ast.IfExp):
            (_, first, level), *rest = _operands(node.orelse)
            return [*parts, ("else ", first, level), *rest]
        return [*parts, ("else ", node.orelse, _TERNARY)]
    return [("", node, 0)]
