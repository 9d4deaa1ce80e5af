"""Documents as plain mappings, lists and scalars that remember their lines, read safely and within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from lrsched_cli.document.located import Located as Located
from lrsched_cli.document.located import LocatedList as LocatedList
from lrsched_cli.document.located import line_of as line_of
from lrsched_cli.errors import SpecError
from lrsched_cli.metrics import decode, read_file, read_stream

MAX_BYTES = 8 << 20


def load_file(path: Path, name: str | None = None) -> Any:
    """The document in a regular file; ``name`` is what errors call it, the path unless given."""
    name = str(path) if name is None else name
    data = read_file(path, name, MAX_BYTES)
    if path.suffix == ".json":
        from lrsched_cli.document.json_text import strict_json

        value = strict_json(decode(data, name).removeprefix("\ufeff"), name)
        if value is not None:
            return value
    return load_text(data, name)


def load_stream(stream: BinaryIO, name: str = "<stdin>") -> Any:
    """The YAML document in a binary stream, such as ``sys.stdin.buffer``."""
    return load_text(read_stream(stream, name, MAX_BYTES), name)


def load_text(data: bytes | str, name: str) -> Any:
    """The YAML document in a text: a ``Located``, a ``LocatedList`` or a scalar; errors call its file ``name``."""
    from lrsched_cli.document.yaml_text import build  # PyYAML costs 20 ms, which a kind by its name need not pay

    if len(data) > MAX_BYTES:
        raise SpecError(f"is larger than {MAX_BYTES >> 20} MB", file=name)
    text = data if isinstance(data, str) else decode(data, name)
    try:
        value = build(text, name)
        if value is None:
            raise SpecError("is empty")
    except SpecError as error:
        raise error.locate(file=name) from None
    return value
