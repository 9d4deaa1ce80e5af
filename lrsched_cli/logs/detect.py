"""Which program a log is of, told by what is in it, and the reading of each format."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrsched_cli.errors import SpecError, nearest, shown
from lrsched_cli.logs import csv_file, json_file, lightning, tensorboard, training, transformers, wandb
from lrsched_cli.logs.log import Log, Unread
from lrsched_cli.logs.table import Choice, Convention, Table, log_of
from lrsched_cli.metrics import decode, read_file
from lrsched_cli.results import is_results

#: What ``--log-format`` takes.
FORMATS = ("transformers", "lightning", "tensorboard", "wandb", "csv", "jsonl", "lrsched")
#: Endings of files that are logs whatever is in them.
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
#: The largest log that is read.
MAX_BYTES = 1 << 31
#: Nothing said: everything is found by its name.
UNSAID = Choice()
#: How much of a JSON file is looked at to see whether it is a trainer's state.
PEEK = 1 << 16

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def is_log(path: Path) -> bool:
    """Whether a path is of a log: by its ending where that tells, else by how its content begins."""
    try:
        if path.is_dir():
            return is_results(path) or _inside(path, str(path)) is not None
        if tensorboard.MARK in path.name or path.suffix.lower() in SUFFIXES:
            return path.is_file()
        return path.suffix.lower() == ".json" and path.is_file() and _begins_as_log(path)
    except (OSError, ValueError):
        return False
    except SpecError:  # several runs in a folder: a log, although it must be said which
        return True


def _begins_as_log(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(PEEK)
    return path.name == transformers.FILE or b'"log_history"' in start or start.lstrip()[:1] == b"["


def read_log(path: Path, name: str, choice: Choice = UNSAID) -> Log:
    """The log at a path; raises ``SpecError`` with the file where it cannot be read.

    ``name`` is the path as its user wrote it.
    """
    if choice.form is not None and choice.form not in FORMATS:
        told = f"must be {', '.join(FORMATS)}, got {shown(choice.form)}{nearest(choice.form, FORMATS)}"
        raise SpecError(told, parameter="--log-format")
    try:
        if path.is_dir():
            return _read_folder(path, name, choice)
    except OSError as error:
        raise SpecError(f"cannot be read: {(error.strerror or 'unknown error').lower()}", file=name) from None
    except ValueError as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"no such file: {shown(name)}") from None  # a name that no file can have
    if tensorboard.MARK in path.name or choice.form == "tensorboard":
        if not path.is_file():
            raise SpecError(f"no such file: {name}")
        return tensorboard.read(path, name, choice)
    data = read_file(path, name, MAX_BYTES)
    try:
        return _read_bytes(data, name, choice)
    except SpecError as error:
        # An option that is at fault is named by itself.
        raise (error if error.parameter else error.locate(file=name)) from None


def _read_folder(folder: Path, name: str, choice: Choice) -> Log:
    if is_results(folder) or choice.form == training.FORM:
        return training.read(folder, name, choice)
    inside = _inside(folder, name)
    if inside is None:
        wanted = "results.json, trainer_state.json, checkpoint-N, metrics.csv or event files"
        raise SpecError(f"is a folder without a log that is known ({wanted})", file=name)
    if inside.is_dir():
        return tensorboard.read(inside, name, choice)
    return read_log(inside, str(Path(name) / inside.relative_to(folder)), choice)


def _inside(folder: Path, name: str) -> Path | None:
    """The log in a folder: a trainer's state, that of its last checkpoint, a metrics.csv, or a folder of events."""
    for file in (transformers.FILE, lightning.FILE):
        if (folder / file).is_file():
            return folder / file
    states = [
        (int(found[1]), path / transformers.FILE)
        for path in folder.iterdir()
        if (found := _CHECKPOINT.fullmatch(path.name)) and (path / transformers.FILE).is_file()
    ]
    if states:
        return max(states)[1]
    return tensorboard.folder_of_events(folder, name)


def _read_bytes(data: bytes, name: str, choice: Choice) -> Log:
    start = data[:PEEK].removeprefix(codecs.BOM_UTF8).lstrip()
    if not start:
        raise SpecError("is empty")
    if choice.form == transformers.FORM or (start[:1] == b"{" and b'"log_history"' in start):
        return transformers.read(json_file.parsed(decode(data, name)), name, choice)
    if start[:1] in (b"{", b"[") and choice.form not in ("csv", "lightning"):
        return _of_table(_json_table(decode(data, name)), name, choice, "jsonl")
    return _of_table(csv_file.table_of(data, name), name, choice)


def _json_table(text: str) -> Table:
    unread = Unread()
    if text.lstrip()[0] == "[":
        found = json_file.parsed(text)
        return json_file.table_of(json_file.objects(found, unread, "items that are no JSON object"), unread)
    head, _, rest = text.strip().partition("\n")
    if not rest or not _complete(head):
        found = json_file.parsed(text) if rest or _complete(head) else None
        if isinstance(found, Mapping) and any(isinstance(value, list) for value in found.values()):
            return json_file.table_of(_rows(found), unread)
        if rest and isinstance(found, Mapping):
            raise SpecError("holds no log that is known: neither log_history nor an object a line nor lists of numbers")
    return json_file.table_of(json_file.lines_of(text, unread), unread)


def _complete(line: str) -> bool:
    """Whether a line is JSON by itself."""
    try:
        json_file.parsed(line)
    except SpecError:
        return False
    return True


def _rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lists by name as rows, as a history of Keras is dumped."""
    lists = {key: value for key, value in columns.items() if isinstance(value, list)}
    longest = max(map(len, lists.values()))
    return [{key: value[row] for key, value in lists.items() if row < len(value)} for row in range(longest)]


def _of_table(table: Table, name: str, choice: Choice, plain: str = "csv") -> Log:
    """The log in a table, by the program that its columns are of; ``plain`` is its form where they are of none."""
    form = choice.form
    if form == "wandb" or (form is None and wandb.is_wandb(table.columns)):
        counted = choice.x or wandb.counting(table.columns)
        if not choice.y:
            wandb.refuse_several(table.columns, name)
        return log_of(table, name, wandb.convention(counted), choice, x=counted if not choice.x else None)
    if form == "transformers":
        return log_of(table, name, transformers.CONVENTION, choice)
    if form == "lightning" or (form is None and lightning.is_lightning(table.columns)):
        return log_of(table, name, lightning.CONVENTION, choice, x="step" if "step" in table.columns else None)
    own = {"t", "epoch"} <= set(table.columns[:2])
    if own and not choice.y:  # what `lrsched table --format csv` writes
        choice = replace(choice, y=tuple(c for c in table.columns[2:] if not c.endswith(".momentum")))
    said = "t 0 is the first update" if own and not choice.x else ""
    return log_of(table, name, Convention(form or plain, 0, said), choice, x="t" if own else None)


def split(word: str) -> tuple[str, tuple[str, ...]] | None:
    """The log and the column that a word names, as ``FILE`` or ``FILE:COLUMN``; None where it names no log."""
    if is_log(Path(word)):
        return word, ()
    places = [place for place, character in enumerate(word) if character == ":" and place]
    return next(((word[:at], (word[at + 1 :],)) for at in reversed(places) if is_log(Path(word[:at]))), None)
