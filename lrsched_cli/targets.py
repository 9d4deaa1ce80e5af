"""From the words on a command line to schedules: kinds, files, entries of files, the examples that are installed."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lrsched_cli.book import Book, Entry, book_of, read_book, read_stream, set_value
from lrsched_cli.errors import SpecError, nearest, shown
from lrsched_cli.kinds import DIALECTS, dialect, find_kind, near_kind
from lrsched_cli.schedules import ALIASES, CANONICAL
from lrsched_cli.spec import Place

#: Where entries are looked for that are named without a file.
DEFAULT_FILE = Path("schedules.yaml")
SUFFIXES = (".yaml", ".yml", ".json", ".toml", ".py")
#: Files that are no logs whatever is in them.
PLANS = (".yaml", ".yml", ".toml", ".py")
#: The examples that come with the package, a file each; in an installed package beside the starter of ``lrsched init``.
EXAMPLES = Path(__file__).parent / "examples"


def example_names() -> list[str]:
    """The examples by name, sorted; the starter is none of them."""
    return sorted(path.stem for path in EXAMPLES.glob("*.yaml") if path.name != DEFAULT_FILE.name)


def example_file(name: str) -> Path:
    """The file of an example; an unknown one is a ``SpecError`` with the nearest."""
    known = example_names()
    if name not in known:
        raise SpecError(f"unknown example {shown(name)}{nearest(name, known)}; lrsched init --list shows every one")
    return EXAMPLES / f"{name}.yaml"


def read_example(name: str) -> Book:
    """An example as a book: called by its name, and with paths relative to where it is used."""
    from lrsched_cli.document import load_file

    return book_of(load_file(example_file(name), name), name, Path())


def find_targets(
    words: Sequence[str], assignments: Sequence[str] = (), form: str | None = None, *, logs: bool = False
) -> list[Entry]:
    """The entries that the words stand for, in order; with no words those of ``./schedules.yaml``.

    ``form`` names the format that files are read as, where they are not our own; ``logs`` says that logs of runs are
    targets too. Raises ``SpecError`` where a word is
    nothing that is known, naming what is nearest.
    """
    if not words:
        if not DEFAULT_FILE.exists():
            raise SpecError(
                "name a kind or a file, or run it where there is a schedules.yaml; lrsched list shows the kinds"
            )
        words = [str(DEFAULT_FILE)]
    books = _Books(assignments, form)
    found: list[Entry] = []
    for word in words:
        found += _logged(word, logs) or _find(word, books)
    if assignments and not books.used:
        raise SpecError("changes entries of a file, and no file is named", parameter="--set")
    books.refuse_unused()
    return _distinct(found)


def permitted(entries: Sequence[Entry], allow_code: bool) -> list[Entry]:
    """The entries of files with leave to run the ``python:`` schedules that they name, if they have it."""
    if not allow_code:
        return list(entries)
    return [entry.permitted for entry in entries]


def _find(word: str, books: _Books) -> list[Entry]:
    kind = find_kind(word)
    if kind is not None and word.startswith("python:"):  # named by the user, and so allowed to run
        return [Entry(word, {"kind": word}, place=Place(allow_code=True))]
    if kind is not None:
        return [Entry(word, {"kind": kind.kind})]
    if word == "-" or _is_file(word):
        return list(books[word].entries.values())
    colons = [place for place, character in enumerate(word) if character == ":"]
    for path, name in ((word[:place], word[place + 1 :]) for place in colons):
        if path == "-" or _is_file(path):
            try:
                return [books[path].entry(name)]
            except SpecError as error:
                near = _near_code(word)
                raise error if not near else SpecError(f"{path} holds no schedule {name}{near}") from None
    has_default = DEFAULT_FILE.is_file() and not _looks_like_dialect(word)
    if has_default and word in books.read(str(DEFAULT_FILE)).entries:
        return [books[str(DEFAULT_FILE)].entries[word]]
    examples = example_names()
    example, colon, name = word.partition(":")
    if example in examples:
        book = books[example]
        return [book.entry(name)] if colon else list(book.entries.values())
    if has_default:
        near = near_kind(word, [*books.read(str(DEFAULT_FILE)), *examples])
        raise SpecError(f"no kind and no entry of {DEFAULT_FILE} is called {word}{near}")
    near = _near_code(word) or near_kind(word, examples)
    raise SpecError(f"unknown kind {word}{near}; lrsched list all shows every one")


def _near_code(word: str) -> str:
    """`` (did you mean python:...?)`` for the name of somebody's own code without the word before it."""
    home, _, name = word.rpartition(":")
    file = Path(home if home.endswith(".py") else f"{home.replace('.', '/')}.py")
    with contextlib.suppress(OSError, ValueError):
        if name and re.search(rf"^(?:(?:def|class)\s+)?{re.escape(name)}\b", file.read_text("utf-8"), re.MULTILINE):
            return f" (did you mean python:{word}?)"
    return ""


def _logged(word: str, wanted: bool) -> list[Entry]:
    """The entry of a log, where a word names one; nothing where it does not."""
    if not any(sign in word for sign in "./:") or word.endswith(PLANS) or not _exists(word):
        return []
    from lrsched_cli.logs.detect import split

    named = split(word)
    if named is None:
        return []
    if not wanted:
        raise SpecError(f"{named[0]} is the log of a run: lrsched audit PLAN {named[0]} compares it with its plan")
    from lrsched_cli.logs.recorded import entry_of

    return [entry_of(*named)]


def _exists(word: str) -> bool:
    """Whether a word, or a part of it before a colon, is the name of something that is there."""
    ends = [place for place, character in enumerate(word) if character == ":"]
    return any(Path(word[:end]).exists() for end in (len(word), *ends) if end)


def _looks_like_dialect(word: str) -> bool:
    return word.partition(".")[0] in DIALECTS and "." in word


def _is_file(word: str) -> bool:
    return word.endswith(SUFFIXES) or (("/" in word or "." in word) and Path(word).exists())


class _Books:
    """The files and the examples that words name, each read once, with the assignments carried out where it is used."""

    def __init__(self, assignments: Sequence[str], form: str | None) -> None:
        if form is not None:
            from lrsched_cli.configs.detect import check_name

            check_name(form)
        self.assignments = assignments
        self.form = form
        self.used: dict[str, Book] = {}
        self._read: dict[str, Book] = {}

    def read(self, word: str) -> Book:
        """A book as it is written."""
        if word not in self._read:
            self._read[word] = _book(word, self.form)
        return self._read[word]

    def __getitem__(self, word: str) -> Book:
        if word not in self.used:
            book = self.read(word)
            for assignment in self.assignments:
                book = set_value(book, assignment)
            self.used[word] = book
        return self.used[word]

    def refuse_unused(self) -> None:
        """Refuse a format that none of the files was read as."""
        if self.form is None or any(book.form == self.form for book in self.used.values()):
            return
        own = ", ".join(self.used)
        told = f"says how a file is read, and {own} is lrsched's own" if own else "says how a file is read: name one"
        raise SpecError(told, parameter="--as")


def _book(word: str, form: str | None) -> Book:
    if word == "-":
        if sys.stdin is None:
            raise SpecError("standard input is closed")
        return read_stream(sys.stdin.buffer, form)
    return read_book(Path(word), form) if _is_file(word) else read_example(word)


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
    """What a half-typed word may become: kinds, other libraries' kinds once one is named, entries, examples, files."""
    names = [*CANONICAL, *ALIASES, *(f"{library}." for library in DIALECTS)]
    library = incomplete.partition(".")[0]
    if library in DIALECTS and "." in incomplete:
        names = list(dialect(library))
    if DEFAULT_FILE.is_file():
        with contextlib.suppress(SpecError):  # a broken file must not break completion
            names += list(read_book(DEFAULT_FILE))
    names += example_names()
    names += [str(path) for pattern in ("*.y*ml", "*.json", "*.toml") for path in sorted(Path().glob(pattern))]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def complete_example(incomplete: str) -> list[str]:
    """The examples that a half-typed word may become."""
    return [name for name in example_names() if name.startswith(incomplete)]
