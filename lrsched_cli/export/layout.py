"""How exported code is laid out: black breaks and spaces it, as it does most Python code that people read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

#: The longest line of exported code.
WIDTH = 100
#: Calls with a line for each of their arguments are easier to read than ones longer than this.
COMFORT = 90
#: Lines that hold an expression: what comes before it, it, and what comes after it.
_LINE = re.compile(r"(?P<before>\s*(?:return |if |elif |while |[a-z]\w* [+-]?= )?)(?P<text>.*?)(?P<after>:?)")


def formatted(source: str) -> str:
    """A module, laid out."""
    import black  # needs 0.1 s, which only code that is written costs

    return black.format_str(source, mode=black.Mode(line_length=WIDTH))


def call(function: str, arguments: Iterable[str], *, line_each: bool = False) -> str:
    """A call; where it is long, or with ``line_each``, every argument has a line of its own."""
    text = f"{function}({', '.join(arguments)}"
    # A comma after the last one is what tells black.
    return f"{text},)" if line_each or len(text) >= COMFORT else f"{text})"


def one_line(text: str) -> str:
    """An expression without the parentheses that it does not need, on one line."""
    return ast.unparse(ast.parse(text.strip(), mode="eval").body)


def lean(lines: Iterable[str]) -> list[str]:
    """Lines of code whose expressions have no parentheses that they do not need; all other lines as they are."""
    return list(map(_lean, lines))


def _lean(line: str) -> str:
    found = _LINE.fullmatch(line)
    if found is None or line.strip().startswith(('"""', "#", "@")):
        return line
    try:
        return f"{found['before']}{one_line(found['text'])}{found['after']}"
    except SyntaxError:
        return line
