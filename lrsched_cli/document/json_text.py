"""JSON as a document: read by Python's own parsers, without the time that PyYAML takes to load."""

from __future__ import annotations

import ast
import json
import math
import warnings
from typing import Any, NoReturn

from lrsched_cli.document.located import MAX_DEPTH, MAX_DIGITS, Located, LocatedList
from lrsched_cli.errors import SpecError

#: A larger JSON text is read as the YAML that it is, within bounds of its own.
MAX_LOCATED = 64 << 10


def strict_json(text: str, name: str) -> Any:
    """What a JSON text holds, or None where it is for the reader of YAML to say what is wrong with it.

    Raises ``SpecError`` for what YAML takes and the program that the file is for does not, such as a comma too many.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_doubtful, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise SpecError(f"is not valid JSON: {error.msg}", file=name, line=error.lineno) from None
    except (RecursionError, ValueError):
        return None
    # JSON is an expression of Python but for its words: Python's parser knows the lines.
    if not isinstance(value, dict | list) or len(text) > MAX_LOCATED:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text.strip(), mode="eval").body
        skipped = text[: len(text) - len(text.lstrip())].count("\n")
        return _located(value, tree, name, skipped, 0)
    except (SyntaxError, RecursionError, MemoryError, ValueError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key twice")
    return value


def _doubtful(text: str) -> NoReturn:
    raise ValueError(text)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _doubtful(text)


def _located(value: Any, node: Any, name: str, skipped: int, depth: int) -> Any:
    """A value with the lines of the expression that it was written as."""
    if depth > MAX_DEPTH or (isinstance(value, int) and len(str(value)) > MAX_DIGITS):
        raise ValueError("out of bounds")
    if isinstance(value, dict):
        out = Located(name, node.lineno + skipped)
        for (key, item), key_node, item_node in zip(value.items(), node.keys, node.values, strict=True):
            out[_text(key)] = _located(item, item_node, name, skipped, depth + 1)
            out.lines[key] = key_node.lineno + skipped
        return out
    if isinstance(value, list):
        items = LocatedList(name, node.lineno + skipped)
        for item, item_node in zip(value, node.elts, strict=True):
            items.append(_located(item, item_node, name, skipped, depth + 1))
            items.lines.append(item_node.lineno + skipped)
        return items
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    value.encode()  # half a character, which is a ValueError
    if not value.isprintable():
        raise ValueError("a character that YAML may refuse")
    return value
