"""The text of a snapshot: a section for each entry, a line for each tick, so that a diff reads well."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lrsched_cli.errors import SpecError, shown
from lrsched_cli.metrics import decode, read_file
from lrsched_cli.run import MAX_TICKS
from lrsched_cli.verify.recording import LOOKED_AT, Block, Recording, Row
from lrsched_cli.verify.resolved import digest_of

VERSION = 1
HEAD = f"""\
lrsched snapshot {VERSION}
# The rates of the schedules below. `lrsched check` compares them, `lrsched snapshot` writes them anew.
"""
#: A snapshot is a few kilobytes an entry.
MAX_BYTES = 64 << 20

#: Lines of the file with their numbers.
Lines = list[tuple[int, str]]

_RUN = re.compile(r"run ([1-9]\d{0,15}) (epoch|step)s?")
_PLAN = re.compile(r"plan ([0-9a-f]{16})")
_TICKS = re.compile(r"(\d{1,16})(?:-(\d{1,16}))?")


@dataclass(frozen=True)
class Section:
    """One entry of a snapshot as it was written: its text, and what that records."""

    recording: Recording
    digest: str
    text: str


def text_of(recording: Recording) -> str:
    """A recording as a section of the file; it ends in a line break."""
    total, interval = recording.total, recording.interval
    lines = [
        f"schedule {_quoted(recording.key)}",
        f"run {total} {interval}{'s' * (total != 1)}",
        f"plan {digest_of(recording.plan)}",
        *(f"| {line}" for line in recording.plan),
        f"tick {' '.join(map(_quoted, recording.columns))}",
    ]
    for first, last, values in recording.rows:
        lines.append(f"{first if first == last else f'{first}-{last}'} {' '.join(map(repr, values))}")
    lines += [f"sum {first}-{last} {' '.join(map(repr, sums))}" for first, last, sums in recording.blocks]
    if _uncovered(recording) is not None:  # nothing else would show that some are missing
        lines.append(f"lines {len(recording.rows) + len(recording.blocks)}")
    return "\n".join(lines) + "\n"


def section_of(recording: Recording) -> Section:
    return Section(recording, digest_of(recording.plan), text_of(recording))


def whole_text(sections: Mapping[str, Section]) -> bytes:
    """The file."""
    return "\n".join([HEAD, *(section.text for section in sections.values())]).encode("utf-8", "backslashreplace")


def read(path: Path) -> dict[str, Section]:
    """The sections of a file by their key; raises ``SpecError`` with the line where it is damaged."""
    name = str(path)
    lines = decode(read_file(path, name, MAX_BYTES), name).splitlines()
    if not lines or not re.fullmatch(r"lrsched snapshot \d{1,9}", lines[0].strip()):
        raise SpecError("is no snapshot of lrsched: it does not begin with lrsched snapshot 1", file=name)
    version = int(lines[0].split()[-1])
    if version != VERSION:
        told = f"is a snapshot of version {version}, and this lrsched reads {VERSION}"
        raise SpecError(f"{told}: remove it, and lrsched snapshot writes it anew", file=name, line=1)
    sections: dict[str, Section] = {}
    for block in _blocks(lines):
        section = _Reader(name, block).section()
        if section.recording.key in sections:
            _refuse(name, block[0][0], f"has {shown(section.recording.key)} twice")
        sections[section.recording.key] = section
    return sections


def _blocks(lines: list[str]) -> Iterator[Lines]:
    """The sections as numbered lines; empty lines and comments stand between them."""
    block: Lines = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("schedule ") and block:
            yield block
            block = []
        block.append((number, line))
    if block:
        yield block


class _Reader:
    """Reads the lines of one section."""

    def __init__(self, name: str, lines: Lines) -> None:
        self.name = name
        self.lines = lines
        self.at = 0

    def fail(self, told: str) -> NoReturn:
        number = self.lines[min(self.at, len(self.lines) - 1)][0]
        _refuse(self.name, number, told)

    def next(self) -> str:
        if self.at >= len(self.lines):
            self.fail("ends in the middle of a schedule")
        return self.lines[self.at][1].rstrip()

    def match(self, pattern: re.Pattern[str], wanted: str) -> re.Match[str]:
        found = pattern.fullmatch(self.next())
        if found is None:
            if self.next().startswith(("<<<<<<<", "=======", ">>>>>>>")):
                self.fail("has a merge that is not finished")
            self.fail(f"must have {wanted} here, got {shown(self.next())}")
        self.at += 1
        return found

    def section(self) -> Section:
        key = self.words("schedule", 1)[0]
        total, interval = self.match(_RUN, "a run").groups()
        if int(total) > MAX_TICKS:
            self.fail(f"has a run of more than {MAX_TICKS:.0e} ticks")
        digest = self.match(_PLAN, "a plan")[1]
        plan = []
        while self.at < len(self.lines) and self.next().startswith("|"):
            plan.append(self.next()[2:])
            self.at += 1
        columns = tuple(self.words("tick", None))
        rows = self.rows(columns, int(total))
        blocks = self.sums(columns, int(total))
        recording = Recording(key, interval, int(total), tuple(plan), columns, rows, blocks)
        self.counted(recording)
        if self.at < len(self.lines):
            if self.next().startswith(("<<<<<<<", "=======", ">>>>>>>")):
                self.fail("has a merge that is not finished")
            self.fail(f"must have a tick and its values here, got {shown(self.next())}")
        return Section(recording, digest, "\n".join(line.rstrip() for _, line in self.lines) + "\n")

    def counted(self, recording: Recording) -> None:
        """Refuse a section of which lines are missing: it knows every tick, or says how many lines it has."""
        told = re.fullmatch(r"lines (\d{1,9})", self.next()) if self.at < len(self.lines) else None
        count = len(recording.rows) + len(recording.blocks)
        if told is not None:
            if int(told[1]) != count:
                self.fail(f"has {count} lines of ticks and sums, and had {told[1]}")
            self.at += 1
        elif self.at == len(self.lines) and (missing := _uncovered(recording)) is not None:
            last = recording.rows[-1].last
            stops = missing > last or recording.blocks or recording.total > LOOKED_AT
            self.fail(f"{f'stops at tick {last}' if stops else f'misses tick {missing}'} of {recording.total}")

    def words(self, first: str, count: int | None) -> list[str]:
        """The quoted or bare words after the first of a line."""
        line = self.next()
        head, _, rest = line.partition(" ")
        words = re.findall(r'"(?:[^"\\]|\\.)*"|[^\s"]+', rest)
        if head != first or not words or " ".join(words) != rest or (count is not None and len(words) != count):
            if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
                self.fail("has a merge that is not finished")
            self.fail(f"must have {first} and a name here, got {shown(line)}")
        try:
            found = [json.loads(word) if word.startswith('"') else word for word in words]
        except ValueError:
            self.fail(f"has a name that is not readable: {shown(rest)}")
        self.at += 1
        return found

    def rows(self, columns: tuple[str, ...], total: int) -> tuple[Row, ...]:
        rows: list[Row] = []
        while self.at < len(self.lines) and not self.next().startswith("sum "):
            ticks, *values = self.next().split()
            if not ticks[0].isdigit():
                break
            first, last = self.span(ticks, total)
            if rows and first <= rows[-1].last:
                self.fail(f"has tick {first} out of order")
            rows.append(Row(first, last, self.numbers(values, len(columns))))
            self.at += 1
        if not rows:
            self.fail("has no ticks")
        return tuple(rows)

    def sums(self, columns: tuple[str, ...], total: int) -> tuple[Block, ...]:
        blocks: list[Block] = []
        while self.at < len(self.lines) and self.next().startswith("sum "):
            words = self.next().split()
            first, last = self.span(words[1] if len(words) > 1 else "", total)
            sums = self.numbers(words[2:], 2 * len(columns), may_overflow=True)
            blocks.append(Block(first, last, sums))
            self.at += 1
        return tuple(blocks)

    def span(self, text: str, total: int) -> tuple[int, int]:
        found = _TICKS.fullmatch(text)
        if found is None:
            self.fail(f"must have a tick here, got {shown(text)}")
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last < total:
            self.fail(f"has ticks {text} in a run of {total}")
        return first, last

    def numbers(self, words: list[str], count: int, *, may_overflow: bool = False) -> tuple[float, ...]:
        if len(words) != count:
            self.fail(f"must have {count} values here, got {len(words)}")
        try:
            values = tuple(float(word) for word in words)
        except ValueError:
            self.fail(f"has a value that is no number: {shown(' '.join(words))}")
        if not may_overflow and not all(map(math.isfinite, values)):
            self.fail(f"has a value that is not finite: {shown(' '.join(words))}")
        return values


def _uncovered(recording: Recording) -> int | None:
    """The first tick that no row has; None where each has one."""
    expected = 0
    for row in recording.rows:
        if row.first != expected:
            return expected
        expected = row.last + 1
    return expected if expected < recording.total else None


def _quoted(name: str) -> str:
    if name and re.fullmatch(r"[^\s\"\\]+", name) and name.isprintable():
        return name
    return json.dumps(name, ensure_ascii=not name.isprintable())


def _refuse(name: str, line: int, told: str) -> NoReturn:
    raise SpecError(f"is damaged, it {told}: remove it, and lrsched snapshot writes it anew", file=name, line=line)
