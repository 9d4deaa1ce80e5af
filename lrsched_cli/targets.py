"""From the words on a command line to schedules: kinds, files, entries of files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lrsched_cli.book import Book, Entry, read_book, read_stream, set_value
from lrsched_cli.errors import SpecError
from lrsched_cli.kinds import DIALECTS, dialect, find_kind, kind_named, near_kind
from lrsched_cli.schedules import ALIASES, CANONICAL

#: Where entries are looked for that are named without a file.
DEFAULT_FILE = Path("schedules.yaml")
SUFFIXES = (".yaml", ".yml", ".json")


def find_targets(words: Sequence[str], assignments: Sequence[str] = ()) -> list[Entry]:
    """The entries that the words stand for, in order; with no words those of ``./schedules.yaml``.

    Raises ``SpecError`` where a word is nothing that is known, naming what is nearest.
    """
    if not words:
        if not DEFAULT_FILE.exists():
            raise SpecError(
                "name a kind or a file, or run it where there is a schedules.yaml; lrsched list shows the kinds"
            )
        words = [str(DEFAULT_FILE)]
    books: dict[str, Book] = {}
    found: list[Entry] = []
    for word in words:
        found += _find(word, books, list(assignments))
    if assignments and not books:
        raise SpecError("changes entries of a file, and no file is named", parameter="--set")
    return _distinct(found)


def _find(word: str, books: dict[str, Book], assignments: list[str]) -> list[Entry]:
    kind = find_kind(word)
    if kind is not None:
        return [Entry(word, {"kind": kind.kind})]
    if word == "-":
        return list(_book("-", books, assignments).entries.values())
    if _is_file(word):
        return list(_book(word, books, assignments).entries.values())
    colons = [place for place, character in enumerate(word) if character == ":"]
    for path, name in ((word[:place], word[place + 1 :]) for place in colons):
        if path == "-" or _is_file(path):
            return [_book(path, books, assignments).entry(name)]
    if DEFAULT_FILE.is_file() and not _looks_like_dialect(word):
        book = _book(str(DEFAULT_FILE), books, assignments)
        if word in book.entries:
            return [book.entries[word]]
        raise SpecError(f"no kind and no entry of {DEFAULT_FILE} is called {word}{near_kind(word, book)}")
    kind_named(word)
    return []


def _looks_like_dialect(word: str) -> bool:
    return word.partition(".")[0] in DIALECTS and "." in word


def _is_file(word: str) -> bool:
    return word.endswith(SUFFIXES) or (("/" in word or "." in word) and Path(word).exists())


def _book(word: str, books: dict[str, Book], assignments: list[str]) -> Book:
    if word not in books:
        book = _from_stdin() if word == "-" else read_book(Path(word))
        for assignment in assignments:
            book = set_value(book, assignment)
        books[word] = book
    return books[word]


def _from_stdin() -> Book:
    if sys.stdin is None:
        raise SpecError("standard input is closed")
    return read_stream(sys.stdin.buffer)


def _distinct(entries: list[Entry]) -> list[Entry]:
    """Entries with the file's name before the entry's where two of them have the same."""
    names = [entry.name for entry in entries]
    out: list[Entry] = []
    for entry in entries:
        name = entry.name
        if names.count(name) > 1 and entry.place.file:
            name = f"{entry.place.file}:{name}"
        serial = 2
        while any(other.name == name for other in out):
            name, serial = f"{entry.name} ({serial})", serial + 1
        out.append(entry if name == entry.name else replace(entry, name=name))
    return out


def complete(incomplete: str) -> list[str]:
    """What a half-typed word may become: kinds, other libraries' kinds once one is named, entries, files."""
    names = [*CANONICAL, *ALIASES, *(f"{library}." for library in DIALECTS)]
    library = incomplete.partition(".")[0]
    if library in DIALECTS and "." in incomplete:
        names = list(dialect(library))
    if DEFAULT_FILE.is_file():
        with contextlib.suppress(SpecError):  # a broken file must not break completion
            names += list(read_book(DEFAULT_FILE))
    names += [str(path) for path in sorted(Path().glob("*.y*ml"))]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
