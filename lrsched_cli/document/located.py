"""What a document is made of: mappings and lists that remember their lines; and how large it may be."""

from __future__ import annotations

from typing import Any

#: Mappings, lists and scalars, each counted as often as aliases repeat it.
MAX_NODES = 200_000
#: Mappings and lists inside each other, aliases included.
MAX_DEPTH = 60
MAX_DIGITS = 40


class Located(dict[Any, Any]):
    """A mapping with the ``file`` it was written in, the ``line`` it begins on, from 1, and the ``lines`` of its keys.

    A merged key (``<<``) has the line where it was written. A copy of the mapping is a plain ``dict``.
    """

    __slots__ = ("file", "line", "lines")

    def __init__(self, file: str, line: int) -> None:
        self.file = file
        self.line = line
        self.lines: dict[Any, int] = {}


class LocatedList(list[Any]):
    """A list with the ``file`` it was written in, the ``line`` it begins on and the ``lines`` of its items."""

    __slots__ = ("file", "line", "lines")

    def __init__(self, file: str, line: int) -> None:
        self.file = file
        self.line = line
        self.lines: list[int] = []


def line_of(container: Any, key: Any) -> int | None:
    """The line where a mapping's key or a list's item was written; None if it was not read from a text."""
    if not isinstance(container, Located | LocatedList):
        return None
    try:
        return container.lines[key]
    except LookupError:
        return None
