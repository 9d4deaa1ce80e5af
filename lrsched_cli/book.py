"""A file of schedules: its entries, the run they share, and the overrides that a command line lays over them.

A configuration of another program is a file of one entry, read by ``configs``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from lrsched_cli.errors import SpecError, must, nearest, shown
from lrsched_cli.experiment import EXPERIMENT_FIELDS, Experiment
from lrsched_cli.kinds import find_kind
from lrsched_cli.run import Run
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.parameters import params_of
from lrsched_cli.spec import ENTRY_KEYS, Place, overlaid, run_of, trace_of
from lrsched_cli.trace import Trace

#: What a file may hold: schedules with what they share, and for ``train`` what to train.
FILE_KEYS = ("run", "lr", "defaults", "schedules", *EXPERIMENT_FIELDS)
STDIN = "<stdin>"

#: The language of a file that is neither YAML nor JSON, by its ending, and of a format where there is no file's name.
LANGUAGES = {".toml": "toml", ".py": "python"}
WRITTEN_IN = {"torchtitan": "toml", "nanogpt": "python"}
#: What completes an entry of another program's configuration, out of the run and the parameters that a command line
#: says: the entry's spec, its run, and what a reader of its rates should know.
Planner = Callable[[Run, Mapping[str, Any]], tuple[Mapping[str, Any], Run, tuple[str, ...]]]


@dataclass(frozen=True)
class Entry:
    """One schedule as it was written, with the run it is meant for; nothing is built until a trace is asked for.

    One of another program's configuration may wait for the command line, with ``plan``: its ``spec`` is then what the
    file alone gives. ``notes`` are what a reader of its rates should know.
    """

    name: str
    spec: Mapping[str, Any]
    run: Run = field(default_factory=Run)
    place: Place = field(default_factory=Place)
    experiment: Experiment = field(default_factory=Experiment)
    notes: tuple[str, ...] = ()
    plan: Planner | None = None

    @property
    def kind(self) -> type[Schedule] | None:
        """The kind it names, or None for a sequence or a product."""
        name = self.spec.get("kind") if isinstance(self.spec, Mapping) else None
        return find_kind(name) if isinstance(name, str) else None

    @property
    def pointwise(self) -> Entry:
        """This entry as a table shows it: of a log only the rates that it has, and no line between them."""
        return self

    @property
    def permitted(self) -> Entry:
        """This entry with leave to run the ``python:`` schedules that it names."""
        return replace(self, place=replace(self.place, allow_code=True))

    def overlaid(self, values: Mapping[str, Any], run: Run) -> Entry:
        """This entry with parameters replaced, and a run laid over its own."""
        if self.plan is not None:
            return self._planned(run, values).overlaid(values, Run(lr=run.lr))
        spec = overlaid(self.spec, values) if values else self.spec
        if run.lr is not None and "lr" in self.spec:
            spec = overlaid(spec, {"lr": run.lr})
        if isinstance(spec, Mapping) and spec.get("run") is not None:
            # Options lie over the entry's own run too, which lies over the file's.
            whole = run.over(run_of(spec["run"], self.place).over(self.run))
            return replace(self, spec=overlaid(spec, {"run": None}), run=whole)
        return replace(self, spec=spec, run=run.over(self.run))

    def _planned(self, run: Run, values: Mapping[str, Any]) -> Entry:
        """This entry complete, so that it waits for nothing any more."""
        assert self.plan is not None
        try:
            spec, whole, notes = self.plan(run, values)
        except SpecError as error:
            raise error.locate(file=self.place.file) from None
        return replace(self, spec=spec, run=whole, notes=(*self.notes, *notes), plan=None)

    def altered(self, keys: list[str], value: Any, assignment: str) -> Entry:
        """This entry with a value replaced that ``keys`` lead to."""
        spec = _replaced(self.spec, keys, value, assignment)
        plan = self.plan
        if plan is None:
            return replace(self, spec=spec)

        def altered(run: Run, values: Mapping[str, Any]) -> tuple[Mapping[str, Any], Run, tuple[str, ...]]:
            said = {keys[0]: value} if len(keys) == 1 else {}
            planned, whole, notes = plan(run, {**said, **values})
            return _replaced(planned, keys, value, assignment), whole, notes

        return replace(self, spec=spec, plan=altered)

    def trace(self) -> Trace:
        """Build it and simulate it on its run; raises ``SpecError`` saying where it was written."""
        if self.plan is not None:
            return self._planned(Run(), {}).trace()
        return trace_of(self.spec, self.run, self.place, self.name)

    def traces(self) -> list[Trace]:
        """What was meant and, where the run's stepper says that the launch does something else, what it does."""
        trace = self.trace()
        if self.run.stepper is None:
            return [trace]
        from lrsched_cli import stepper  # only where one is said

        try:
            return stepper.overlaid(trace, self.run)
        except SpecError as error:
            raise error.locate(entry=self.name, file=self.place.file) from None


class Book(Mapping[str, Schedule]):
    """The schedules of a file by name, each built for the file's run when it is first asked for.

    Attributes
    ----------
    run: the run that the file gives, as a :class:`~lrsched_cli.run.Run`.
    entries: what was written, by name.
    name: what errors call the file.
    form: the name of the format that it is read as; ``lrsched`` is our own.
    """

    def __init__(self, name: str, run: Run, entries: Mapping[str, Entry], form: str = "lrsched") -> None:
        self.name = name
        self.run = run
        self.entries = dict(entries)
        self.form = form
        self._traces: dict[str, Trace] = {}

    def __getitem__(self, name: str) -> Schedule:
        return self.trace(name).schedule

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def trace(self, name: str) -> Trace:
        """The trace of an entry on the file's run."""
        if name not in self._traces:
            self._traces[name] = self.entries[name].trace()
        return self._traces[name]

    def entry(self, name: str) -> Entry:
        """An entry by name; an unknown one is a ``SpecError`` with the nearest."""
        if name not in self.entries:
            raise SpecError(f"has no entry {shown(name)}{nearest(name, self.entries)}", file=self.name)
        return self.entries[name]


def load(path: str | Path, *, allow_code: bool = False) -> Book:
    """Read a file of schedules, or another program's configuration; raises ``SpecError`` with file and line.

    Every entry is checked, so that a mistake in one is found before another is used. ``allow_code`` says whether the
    file may name ``python:`` schedules, which are run.
    """
    if not isinstance(path, (str, Path)):
        raise must("path", "a file's name", path)
    book = read_book(Path(path))
    if allow_code:
        allowed = {name: entry.permitted for name, entry in book.entries.items()}
        book = Book(book.name, book.run, allowed, book.form)
    for name in book:
        book.trace(name)
    return book


def read_book(path: Path, form: str | None = None) -> Book:
    """Read a file of schedules without building any of them; ``form`` is the format to read another's file as."""
    from lrsched_cli.document import MAX_BYTES, load_file

    name, language = str(path), LANGUAGES.get(path.suffix)
    if language is None:
        return book_of(load_file(path, name), name, path.parent, form)
    from lrsched_cli.configs.detect import parse
    from lrsched_cli.metrics import read_file

    return book_of(parse(read_file(path, name, MAX_BYTES), name, language), name, path.parent, form)


def read_stream(stream: BinaryIO, form: str | None = None) -> Book:
    """Read schedules from a stream such as standard input."""
    language = WRITTEN_IN.get(form or "")
    if language is None:
        from lrsched_cli.document import load_stream

        return book_of(load_stream(stream, STDIN), STDIN, Path(), form)
    from lrsched_cli.configs.detect import parse
    from lrsched_cli.document import MAX_BYTES
    from lrsched_cli.metrics import read_stream as read_bytes

    return book_of(parse(read_bytes(stream, STDIN, MAX_BYTES), STDIN, language), STDIN, Path(), form)


def book_of(document: Any, name: str, folder: Path, form: str | None = None) -> Book:
    """A document as a book: ``schedules:`` with what they share, a single entry by itself, or one of another program.

    ``form`` says how a document is read that is not our own; without it, its keys tell.
    """
    if not isinstance(document, Mapping):
        raise SpecError(f"must hold schedules: as a mapping of names to entries, got {shown(document)}", file=name)
    if "schedules" not in document and document.keys() & {"kind", "sequence", "product"}:
        stem = "schedule" if name == STDIN else Path(name).stem
        return Book(name, Run(), {stem: Entry(stem, document, Run(), Place(stem, name, folder))})
    other = _of_other(document, name, folder, form)
    if other is not None:
        return other
    lines = getattr(document, "lines", {})
    for key in document:
        if key not in FILE_KEYS:
            raise SpecError(f"unknown key {shown(key)}{nearest(str(key), FILE_KEYS)}", file=name, line=lines.get(key))
    run = run_of(document.get("run"), Place(None, name, folder))
    experiment = _experiment_of(document, name)
    if document.get("lr") is not None:
        try:
            run = replace(run, lr=document["lr"])
        except SpecError as error:
            raise error.locate(file=name, line=lines.get("lr")) from None
    schedules = document.get("schedules")
    if not isinstance(schedules, Mapping) or not schedules:
        wrong = must("schedules", "a mapping of names to entries", schedules)
        raise wrong.locate(file=name, line=lines.get("schedules"))
    entries = {}
    for entry_name, spec in schedules.items():
        entries[str(entry_name)] = Entry(str(entry_name), spec, run, Place(str(entry_name), name, folder), experiment)
    if document.get("defaults") is not None:
        entries = _with_defaults(entries, document["defaults"], name)
    for entry in entries.values():
        if not isinstance(entry.spec, Mapping):
            wrong = SpecError(f"must be a mapping such as {{kind: cosine}}, got {shown(entry.spec)}", entry=entry.name)
            raise wrong.locate(file=name, line=getattr(schedules, "lines", {}).get(entry.name))
    return Book(name, run, entries)


def _of_other(document: Mapping[str, Any], name: str, folder: Path, form: str | None) -> Book | None:
    """The book of another program's configuration; None where a document is meant to be our own."""
    if "schedules" in document or form == "lrsched":
        return None
    from lrsched_cli.configs import detect

    form = form or detect.told(document, name)
    if form is None:
        if all(key in FILE_KEYS or _like_schedules(key, value) for key, value in document.items()):
            return None
        detect.refuse_unknown(document, name)
    assert form is not None
    reading = detect.read(document, name, form)
    stem = "schedule" if name == STDIN else Path(name).stem
    entry = Entry(stem, reading.spec, Run(), Place(stem, name, folder), plan=reading.plan)
    return Book(name, Run(), {stem: entry}, form)


def _like_schedules(key: Any, value: Any) -> bool:
    """Whether a key is ``schedules`` mistyped: it is near, and holds entries."""
    entries = value.values() if isinstance(value, Mapping) else ()
    shaped = any(isinstance(entry, Mapping) and entry.keys() & {"kind", "sequence", "product"} for entry in entries)
    return shaped and bool(nearest(str(key), ["schedules"]))


def _experiment_of(document: Mapping[str, Any], name: str) -> Experiment:
    """What a file says for ``train`` beside its schedules."""
    said = {key: value for key, value in document.items() if key in EXPERIMENT_FIELDS and value is not None}
    try:
        return Experiment.of(said)
    except SpecError as error:
        line = getattr(document, "lines", {}).get(error.parameter)
        raise error.locate(file=name, line=line) from None


def _with_defaults(entries: Mapping[str, Entry], defaults: Any, name: str) -> dict[str, Entry]:
    """Entries with the file's ``defaults`` under what they say themselves, each where its kind has such a parameter."""
    if not isinstance(defaults, Mapping):
        raise must("defaults", "a mapping of parameters", defaults).locate(file=name)
    used: set[str] = set()
    known: set[str] = set()
    out = {}
    for entry in entries.values():
        takes = {key for key in ENTRY_KEYS if key not in ("kind", "sequence", "product", "after")}
        if entry.kind is not None:
            takes |= set(params_of(entry.kind))
        known |= takes
        used |= takes & set(defaults)
        said = entry.spec if isinstance(entry.spec, Mapping) else defaults
        more = {key: value for key, value in defaults.items() if key in takes and key not in said}
        out[entry.name] = replace(entry, spec=overlaid(entry.spec, more)) if more else entry
    for key in defaults:
        if key not in used:
            error = SpecError(f"defaults has {shown(key)}, which no entry takes{nearest(str(key), known)}", file=name)
            raise error.locate(line=getattr(defaults, "lines", {}).get(key))
    return out


def set_value(book: Book, assignment: str) -> Book:
    """A book with ``NAME.PARAM=VALUE`` carried out: the value read as YAML, deeper names reaching into operators."""
    from lrsched_cli.document import load_text

    path, equals, text = assignment.partition("=")
    name = max((n for n in book if path.startswith(f"{n}.")), key=len, default=None)
    if not equals or name is None:
        told = f"{book.name} has {', '.join(book)}{nearest(path.partition('.')[0], book)}"
        raise SpecError(f"must be NAME.PARAM=VALUE, got {shown(assignment)}; {told}", parameter="--set")
    keys = path[len(name) + 1 :].split(".")
    value = load_text(text, "--set") if text.strip() else None
    entry = book.entry(name).altered(keys, value, assignment)
    return Book(book.name, book.run, {**book.entries, name: entry}, book.form)


def _replaced(container: Any, keys: list[str], value: Any, assignment: str) -> Any:
    key: Any = keys[0]
    if isinstance(container, list):
        if not key.isdigit() or int(key) >= len(container):
            raise SpecError(f"has no part {key} of {len(container)} in {shown(assignment)}", parameter="--set")
        key = int(key)
    elif not isinstance(container, Mapping):
        raise SpecError(f"has nothing called {key} in {shown(assignment)}", parameter="--set")
    if len(keys) > 1:
        inner = container[key] if isinstance(container, list) or key in container else {}
        value = _replaced(inner, keys[1:], value, assignment)
    if isinstance(container, list):
        out: Any = copy.copy(container)
        out[key] = value
        return out
    return overlaid(container, {key: value})
