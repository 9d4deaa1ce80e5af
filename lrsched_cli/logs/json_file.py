"""JSON as loggers write it: an object a line, or a list of objects; nested, with keys that come and go."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from lrsched_cli.errors import SpecError
from lrsched_cli.logs.log import Unread
from lrsched_cli.logs.table import Pairs, Table, floats

#: Lines that are parsed at a time.
LINES = 2000
#: How deep objects are looked into.
DEEPEST = 4
#: A list of this many numbers at most may be the rates of parameter groups.
MOST_GROUPS = 64

Records = list[dict[str, Any]]


def parsed(text: str) -> Any:
    """The value of a JSON text; raises ``SpecError``."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(f"is not JSON: {error.msg}", line=error.lineno) from None
    except RecursionError:
        raise SpecError("is nested too deeply") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise SpecError(f"is not JSON that can be read: {error}") from None


def lines_of(text: str, unread: Unread) -> Records:
    """The objects of a text with one a line; what is none is told, and refused where it is most of them."""
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    if lines and not text.endswith("\n") and not _is_json(lines[-1]):
        lines.pop()
        unread.add("the last line, which has no end")
    records: list[Any] = []
    for start in range(0, len(lines), LINES):
        part = lines[start : start + LINES]
        try:
            found = json.loads(f"[{','.join(part)}]")
        except (ValueError, RecursionError):
            found = []
        # Lines that only together are JSON are none of them an object.
        records += found if len(found) == len(part) else [_object(line) for line in part]
    return objects(records, unread, "lines that are no JSON object")


def objects(values: Sequence[Any], unread: Unread, what: str) -> Records:
    """The objects among some values; raises ``SpecError`` where there are few."""
    records = [value for value in values if type(value) is dict]
    if len(records) < len(values):
        if len(records) < len(values) / 2:
            raise SpecError("is not JSON objects, one a line or in a list")
        unread.add(what, len(values) - len(records))
    if not records:
        raise SpecError("has no line that is whole" if unread.found else "is empty")
    return records


def _object(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_json(line: str) -> bool:
    return _object(line) is not None


def table_of(records: Records, unread: Unread) -> Table:
    """The table of some objects: a column for every key, ``train.lr`` for one inside another."""
    columns = _Columns(records, unread)
    return Table(list(columns.paths), columns.read, unread)


class _Columns:
    """The values in some objects by column."""

    def __init__(self, records: Records, unread: Unread) -> None:
        self.records, self.unread = records, unread
        self.paths: dict[str, tuple[str | int, ...]] = {}
        self._find(records, ())

    def _find(self, records: Iterable[Any], path: tuple[str | int, ...]) -> None:
        for key in dict.fromkeys(chain.from_iterable(records)):
            inner = (*path, key)
            value = next((v for record in records if (v := record.get(key)) is not None), None)
            if isinstance(value, Mapping) and len(inner) < DEEPEST:
                self._find([v for record in records if type(v := record.get(key)) is dict], inner)
            elif isinstance(value, list) and 0 < len(value) <= MOST_GROUPS:
                for place in range(len(value)):
                    self.paths[".".join(map(str, (*inner, place)))] = (*inner, place)
            else:
                self.paths[".".join(map(str, inner))] = inner

    def _values(self, column: str) -> list[Any]:
        first, *rest = self.paths[column]
        assert isinstance(first, str)
        values = [record.get(first) for record in self.records]
        for key in rest:
            if isinstance(key, int):
                values = [v[key] if type(v) is list and len(v) > key else None for v in values]
            else:
                values = [v.get(key) if type(v) is dict else None for v in values]
        return values

    def read(self, counting: str | None, columns: Sequence[str]) -> Pairs:
        """The counts and the values of each column, of the objects that have both."""
        counts = None if counting is None else self._values(counting)
        pairs = []
        for column in columns:
            values, beside = self._values(column), counts
            if None in values or beside is None:
                there = [value is not None for value in values]
                beside = None if beside is None else [c for c, is_there in zip(beside, there, strict=True) if is_there]
                values = [value for value in values if value is not None]
            if beside is not None and None in beside:
                self.unread.add(f"rates without a count in {counting}", beside.count(None))
                values = [v for v, c in zip(values, beside, strict=True) if c is not None]
                beside = [c for c in beside if c is not None]
            if bool in map(type, values):  # true is no number, although Python's is 1
                values = [None if type(value) is bool else value for value in values]
            numbers = floats(values, self.unread, column)
            if beside is None:
                pairs.append((np.arange(len(numbers), dtype=np.float64), numbers))
            else:
                pairs.append((floats(beside, self.unread, counting or ""), numbers))
        return pairs
