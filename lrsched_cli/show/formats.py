"""Traces as text: a table for people, CSV, JSON and JSON lines for programs, Markdown for reports."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import numpy as np

from lrsched_cli.schedules.base import Schedule
from lrsched_cli.show.rows import CHUNK, Column, Ticks, epoch_column, rate_columns
from lrsched_cli.trace import Trace

VERSION = 1


def write_csv(out: TextIO, traces: Sequence[Trace], chunks: Iterable[Ticks], when: str | None) -> None:
    """One row a tick: ``t,epoch,NAME[,NAME.momentum],...``, numbers at full precision, empty where there is none."""
    columns = _machine_columns(traces, when)
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow([column.header for column in columns])
    out.write(header.getvalue())
    for ticks in chunks:
        cells = [_texts(column, ticks) for column in columns]
        out.write("".join(f"{','.join(row)}\n" for row in zip(*cells, strict=True)))


def write_jsonl(out: TextIO, traces: Sequence[Trace], chunks: Iterable[Ticks], when: str | None) -> None:
    """One object a tick: ``{"t": 0, "epoch": 0, "NAME": 0.1}``, null where there is no value."""
    columns = _machine_columns(traces, when)
    columns = list({column.header: column for column in columns}.values())
    keys = (json.dumps(column.header).replace("%", "%%") for column in columns)
    row = "{" + ", ".join(f"{key}: %s" for key in keys) + "}\n"
    for ticks in chunks:
        cells = [
            ["null" if value is None else repr(value) for value in _values(column.at(ticks), len(ticks))]
            for column in columns
        ]
        out.write("".join([row % texts for texts in zip(*cells, strict=True)]))


def write_json(
    out: TextIO, traces: Sequence[Trace], chunks: Callable[[Trace], Iterable[Ticks]], run: Mapping[str, Any]
) -> None:
    """The whole of every trace, as the README describes; keys in a fixed order."""
    out.write(f'{{"version": {VERSION}, "schedules": [')
    for index, trace in enumerate(traces):
        if index:
            out.write(", ")
        head = {"name": trace.name, "kind": trace.kind, "interval": trace.interval}
        out.write(json.dumps(head)[:-1])
        schedule = trace.schedule
        arrays: dict[str, Callable[[Ticks], Any]] = {
            "t": lambda ticks: ticks,
            "epoch": trace.epoch_at,
            "lr": rate_columns([trace], "used", wide=True)[0].at,
            "lr_after": trace.lr_after_at,
        }
        for key, at in arrays.items():
            out.write(f", {json.dumps(key)}: ")
            _write_array(out, chunks(trace), at)
        out.write(', "momentum": ')
        _write_array(out, chunks(trace), _or_none(schedule.momentum))
        if schedule.groups:
            out.write(', "groups": {')
            for i, (name, group) in enumerate(schedule.groups.items()):
                out.write(f"{', ' if i else ''}{json.dumps(name)}: ")
                _write_array(out, chunks(trace), group)
            out.write("}")
        out.write("}")
    out.write(f'], "run": {json.dumps(run)}}}\n')


def _or_none(schedule: Schedule | None) -> Callable[[Ticks], Any]:
    return schedule if schedule is not None else lambda ticks: None


def _write_array(out: TextIO, chunks: Iterable[Ticks], at: Callable[[Ticks], Any]) -> None:
    """The values at the chunks' ticks as a JSON list; null instead of the list where there are none at all."""
    separator = "["
    for ticks in chunks:
        values = at(ticks)
        if values is None:
            out.write("null")
            return
        if len(ticks):
            out.write(separator + json.dumps(_values(values, len(ticks)))[1:-1])
            separator = ", "
    out.write("[]" if separator == "[" else "]")


def write_markdown(out: TextIO, traces: Sequence[Trace], chunks: Iterable[Ticks], when: str | None) -> None:
    """A Markdown table, numbers to six digits."""
    columns = _reader_columns(traces, when)
    titles = [column.header.replace("|", "\\|") for column in columns]
    out.write("| " + " | ".join(titles) + " |\n|" + " ---: |" * len(columns) + "\n")
    for row in _reader_rows(columns, chunks):
        out.write("| " + " | ".join(row) + " |\n")


def write_plain(out: TextIO, traces: Sequence[Trace], chunks: Iterable[Ticks], when: str | None) -> None:
    """Aligned columns, numbers to six digits; written as they come, however many there are."""
    columns = _reader_columns(traces, when)
    widths = [max(len(column.header), 8 if column.whole else 12) for column in columns]
    out.write("  ".join(c.header.rjust(w) for c, w in zip(columns, widths, strict=True)) + "\n")
    for row in _reader_rows(columns, chunks):
        out.write("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) + "\n")


def rich_table(traces: Sequence[Trace], chunks: Iterable[Ticks], when: str | None, width: int) -> tuple[Any, list[str]]:
    """The same as a Rich table for a terminal so wide, and the names of the columns that did not fit."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns, left_out = _fitting(_reader_columns(traces, when), width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(column.header), justify="right", style="dim" if column.whole else "", no_wrap=True)
    for row in _reader_rows(columns, chunks):
        table.add_row(*row)
    return table, left_out


def _fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """As many columns as a terminal is wide, three at least, and the names of the others."""
    used = 0
    for index, column in enumerate(columns):
        used += 2 + max(len(column.header), 6 if column.whole else 11)
        if used > width and index >= 3:
            return list(columns[:index]), [column.header for column in columns[index:]]
    return list(columns), []


def _machine_columns(traces: Sequence[Trace], when: str | None) -> list[Column]:
    epoch = epoch_column(traces) or Column("epoch", lambda ticks: np.full(ticks.shape, np.nan))
    return [Column("t", lambda ticks: ticks, whole=True), epoch, *rate_columns(traces, when, wide=True)]


def _reader_columns(traces: Sequence[Trace], when: str | None) -> list[Column]:
    intervals = {trace.interval for trace in traces}
    epoch = epoch_column(traces)
    tick = Column(intervals.pop() if len(intervals) == 1 else "tick", lambda ticks: ticks, whole=True)
    leading = [tick] if epoch is None or tick.header == "epoch" else [tick, epoch]
    return [*leading, *rate_columns(traces, when, wide=False)]


def _reader_rows(columns: Sequence[Column], chunks: Iterable[Ticks]) -> Iterator[tuple[str, ...]]:
    for ticks in chunks:
        for start in range(0, len(ticks), CHUNK):
            part = ticks[start : start + CHUNK]
            cells = [[_short(v) for v in np.asarray(column.at(part)).tolist()] for column in columns]
            yield from zip(*cells, strict=True)


def _short(value: float) -> str:
    """A number to six digits, as people write rates; nothing where there is none."""
    return str(value) if isinstance(value, int) else "" if value != value else f"{value:.6g}"


def _texts(column: Column, ticks: Ticks) -> list[str]:
    return ["" if value != value else repr(value) for value in np.asarray(column.at(ticks)).tolist()]


def _values(values: Any, length: int) -> list[Any]:
    """Values as JSON has them: null for what is not a number."""
    array = np.asarray(values)
    items: list[Any] = array.tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        items = [item if item == item and abs(item) != np.inf else None for item in items]
    assert len(items) == length
    return items
