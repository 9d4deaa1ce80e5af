"""Snapshots: the rates of a team's schedules written down, so that a change of any of them is seen.

What is guaranteed: up to a million ticks, and of any schedule that is computed tick by tick (``python:`` factories, up
to ten million), a change at any tick is seen, as every stretch of equal rates is recorded, or sums over all ticks. Of
longer runs the ticks beside knots, the first ones, and some at growing and at even distances are recorded; where the
plan changed and all of these agree, that is a warning.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lrsched_cli.book import Entry, read_book
from lrsched_cli.errors import SpecError
from lrsched_cli.files import write_whole
from lrsched_cli.trace import Trace
from lrsched_cli.verify.difference import Change, change
from lrsched_cli.verify.findings import Finding
from lrsched_cli.verify.lrsnap import Section, read, section_of, whole_text
from lrsched_cli.verify.place import files_in, key_of, seen
from lrsched_cli.verify.recording import recorded

CODE = "snapshot"
ADVICE = "Undo it, or let lrsched snapshot record it."


@dataclass(frozen=True)
class Written:
    """What writing a snapshot did: how many entries it has, and of them the keys that came, changed and went."""

    count: int
    new: list[str] = field(default_factory=list)
    changed: dict[str, Change] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


def write(entries: Sequence[Entry], path: Path, traces: Sequence[Trace] | None = None) -> Written:
    """Record entries, and keep what the file has of others, but for entries whose files do not have them any more.

    A section whose rates and plan are the same stays as it is, to the last digit. ``traces`` are those of the entries,
    where the caller has them. Raises ``SpecError`` where an entry cannot be simulated, the file is damaged or cannot be
    written.
    """
    before = read(path) if os.path.lexists(path) else {}
    gone = _gone(entries, before, path)
    sections = {key: section for key, section in before.items() if key not in gone}
    new: list[str] = []
    changed: dict[str, Change] = {}
    for entry, trace in zip(entries, _traces(entries, traces), strict=True):
        key = key_of(entry, path)
        section = section_of(recorded(trace, key))
        if key not in before:
            new.append(key)
            sections = _beside(sections, section)
            continue
        found = change(before[key], trace, section.recording)
        if found is not None:
            changed[key] = found
        if found is not None or before[key].digest != section.digest:
            sections[key] = section
    data = whole_text(sections)
    if not path.exists() or path.read_bytes() != data:
        write_whole(path, data)
    return Written(len(sections), new, changed, gone)


def compare(entries: Sequence[Entry], path: Path, traces: Sequence[Trace | None] | None = None) -> list[Finding]:
    """What differs from the snapshot, in the order of the entries; entries that came or went are findings too.

    An entry of a file of which nothing is recorded is a note, and one of no file (a kind, a ``python:`` word) is none.
    ``traces`` are those of the entries, where the caller has them; they may end before the run does.
    Raises ``SpecError`` where the file is damaged.
    """
    sections = read(path)
    findings = []
    given: Sequence[Trace | None] = traces if traces is not None else [None] * len(entries)
    for entry, trace in zip(entries, given, strict=True):
        key = key_of(entry, path)
        if key in sections:
            findings += _compared(entry, trace, sections[key], path)
        elif entry.place.file is not None:
            known = any(other.startswith(f"{seen(entry.place.file, path)}:") for other in sections)
            told = f"is not in {path}"
            findings.append(_finding(entry, "error" if known else "note", told, "Let lrsched snapshot record it."))
    for key in _gone(entries, sections, path):
        told = f"is in {path}, and not there any more"
        advice = "Put it back, or let lrsched snapshot forget it."
        findings.append(Finding(CODE, "error", key, told, advice, file=str(path)))
    return findings


def _compared(entry: Entry, trace: Trace | None, section: Section, path: Path) -> list[Finding]:
    try:
        if trace is None:
            trace = entry.trace()
        trace.schedule.require(len(trace) - 1)
        found = change(section, trace)
    except SpecError as error:  # it could be simulated when it was recorded
        return [_finding(entry, "error", f"was recorded in {path}, and fails now: {error}", ADVICE)]
    if found is None:
        return []
    told = f"differs from {path}: {found.told}"
    epoch = None if found.tick is None else trace.epoch_at(np.array([found.tick]))
    return [_finding(entry, found.severity, told, ADVICE, found.tick, None if epoch is None else int(epoch[0]))]


def _finding(
    entry: Entry, severity: str, told: str, advice: str, tick: int | None = None, epoch: int | None = None
) -> Finding:
    line = getattr(entry.spec, "line", None)
    return Finding(CODE, severity, entry.name, told, advice, tick, epoch, entry.place.file, line)


def _traces(entries: Sequence[Entry], traces: Sequence[Trace] | None) -> Sequence[Trace]:
    return [entry.trace() for entry in entries] if traces is None else traces


def _name(entry: Entry) -> str:
    return entry.place.name or entry.name


def _gone(entries: Sequence[Entry], sections: dict[str, Section], path: Path) -> list[str]:
    """The recorded entries that the files do not have any more: those of the entries, and those that are deleted."""
    found = []
    for file in dict.fromkeys(entry.place.file for entry in entries if entry.place.file is not None):
        if not Path(file).is_file():
            continue
        try:
            names = set(read_book(Path(file)))
        except SpecError:  # it is read as something that its keys do not tell
            names = {_name(entry) for entry in entries if entry.place.file == file}
        start = f"{seen(file, path)}:"
        found += [key for key in sections if key.startswith(start) and key[len(start) :] not in names]
    for key in sections:
        files = files_in(key)
        if files and key not in found and not any((path.parent / file).exists() for file in files):
            found.append(key)
    return found


def _beside(sections: dict[str, Section], new: Section) -> dict[str, Section]:
    """The sections with a new one after the last that is of the same file, or after all."""
    keys = list(sections)
    file = new.recording.key.rpartition(":")[0]
    same = [i for i, key in enumerate(keys) if file and key.rpartition(":")[0] == file]
    at = same[-1] + 1 if same else len(keys)
    items = list(sections.items())
    return dict([*items[:at], (new.recording.key, new), *items[at:]])
