"""A TOML file as a mapping that remembers its lines, within the bounds of other documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lrsched_cli.document.located import MAX_DEPTH, MAX_DIGITS, MAX_NODES, Located, LocatedList
from lrsched_cli.errors import SpecError

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.){0,100}"|'[^'\n]{0,100}')"""
#: tomllib needs memory that grows with the square of a dotted key's length: such keys are not shown to it.
_LONG_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART}){{{MAX_DEPTH},}}")
_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")
_AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def read_toml(text: str, name: str) -> Located:
    """The mapping in a TOML text; errors call its file ``name``."""
    import tomllib

    if found := _LONG_KEY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise SpecError(f"a key has more than {MAX_DEPTH} parts", file=name, line=line)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _AT.search(str(error))
        wrong = SpecError(f"not valid TOML: {_AT.sub('', str(error))[:100]}", file=name)
        raise wrong.locate(line=int(place[1]) if place and place[1] else None) from None
    except RecursionError:
        raise SpecError(f"is nested more than {MAX_DEPTH} levels deep", file=name) from None
    except ValueError:  # a number of thousands of digits, which Python itself refuses
        raise SpecError(f"a number has more than {MAX_DIGITS} digits", file=name) from None
    try:
        return _Built(name, _lines_of(text)).mapping(values, (), 0)
    except SpecError as error:
        raise error.locate(file=name) from None


class _Built:
    """Copies plain values, counting them."""

    def __init__(self, file: str, lines: Mapping[tuple[str, ...], int]) -> None:
        self.file = file
        self.lines = lines
        self.nodes = 0

    def mapping(self, values: Mapping[str, Any], path: tuple[str, ...], depth: int) -> Located:
        out = Located(self.file, self.lines.get(path, 0))
        for key, value in values.items():
            out[key] = self.value(value, (*path, key), depth + 1)
            if (line := self.lines.get((*path, key))) is not None:
                out.lines[key] = line
        return out

    def value(self, value: Any, path: tuple[str, ...], depth: int) -> Any:
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise SpecError(f"is nested more than {MAX_DEPTH} levels deep")
        if self.nodes > MAX_NODES:
            raise SpecError(f"holds more than {MAX_NODES} values")
        if isinstance(value, dict):
            return self.mapping(value, path, depth)
        if isinstance(value, list):
            out = LocatedList(self.file, self.lines.get(path, 0))
            out += [self.value(item, (), depth + 1) for item in value]
            return out
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**MAX_DIGITS:
            raise SpecError(f"a number has more than {MAX_DIGITS} digits")
        return value if isinstance(value, bool | int | float | str) else str(value)  # dates and times are text


def _lines_of(text: str) -> dict[tuple[str, ...], int]:
    """The lines of keys that stand in tables of their own, as far as a look at each line tells them.

    Text over several lines may look like keys: a document that has any is not looked at.
    """
    if '"""' in text or "'''" in text:
        return {}
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] | None = ()
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("["):
            header = _TABLE.match(line)
            table = tuple(header[1].split(".")) if header else None
            if table is not None:
                found.setdefault(table, number)
        elif table is not None and (key := _KEY.match(line)):
            found.setdefault((*table, key[1]), number)
    return found
