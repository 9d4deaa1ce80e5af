"""What the tests of other programs' configurations share."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrsched_cli.book import Entry, read_book
from lrsched_cli.run import Run
from lrsched_cli.trace import Trace
from tests.support import message_of

FILES = Path(__file__).parent / "files"


def entry(
    source: str | Path, options: Mapping[str, Any] | None = None, form: str | None = None, /, **values: Any
) -> Entry:
    """The entry of a sample file, or of a text that begins with its file's name and a line break, complete."""
    if isinstance(source, Path):
        path, folder = source, None
    elif "\n" in source:
        name, text = source.split("\n", 1)
        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name) / name
        path.write_text(text)
    else:
        path, folder = FILES / source, None
    try:
        book = read_book(path, form)
        (found,) = book.entries.values()
        return found.overlaid(values, Run.of(options))
    finally:
        if folder is not None:
            folder.cleanup()


def traced(source: str | Path, options: Mapping[str, Any] | None = None, /, **values: Any) -> Trace:
    """Its trace, on the run that the file and the options give."""
    return entry(source, options, **values).trace()


def refusal(
    source: str | Path, options: Mapping[str, Any] | None = None, form: str | None = None, /, **values: Any
) -> str:
    """What is said against it, without the folder of the file."""
    text = message_of(lambda: entry(source, options, form, **values).trace())
    place, colon, rest = text.partition(": ")
    return f"{Path(place).name}{colon}{rest}" if "/" in place else text
