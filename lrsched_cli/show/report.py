"""The outcome of a training as text: tables for people and reports; CSV, JSON and JSON lines for programs."""

from __future__ import annotations

import csv
import io
import json
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from lrsched_cli.comparison import Comparison, Difference, Row, best_rates, comparisons, loss_text, p_text
from lrsched_cli.errors import SpecError, nearest
from lrsched_cli.results import DIVERGED, VERSION, Results
from lrsched_cli.show.summary import printable

FORMATS = ("table", "csv", "json", "jsonl", "markdown")
#: Columns of a plain table, the name's least among them.
WIDTH, LEAST_NAME = 80, 8


def write_summary(out: TextIO, results: Results, format: str) -> None:
    """Write what a training came to in one of ``FORMATS``; those for programs have every schedule and base rate."""
    writers: dict[str, Callable[[TextIO, Results], None]] = {
        "table": _write_plain,
        "csv": _write_csv,
        "json": _write_json,
        "jsonl": _write_jsonl,
        "markdown": _write_markdown,
    }
    if format not in writers:
        raise SpecError(f"must be {', '.join(FORMATS)}, got {format!r}{nearest(format, FORMATS)}", parameter="--format")
    writers[format](out, results)


def rich_report(results: Results, width: int = WIDTH) -> Any:
    """What the plain table says, for a Rich console so wide: tables with their titles, and the verdicts below."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = []
    for comparison in comparisons(results):
        if comparison.title:
            parts.append(Text(comparison.title, style="bold"))
        parts += [rich_table(comparison, width), *map(Text, _said(comparison)), Text("")]
    return Group(*parts[:-1], *map(Text, _further(results)))


def rich_table(comparison: Comparison, width: int = WIDTH) -> Any:
    """The rows of a comparison as a Rich table; the best one is bold where there is a ranking."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    header, *rows = _fitting(comparison, width - 2, gap=3)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for number, title in enumerate(header):
        table.add_column(Text(title), justify="right" if number else "left", no_wrap=True)
    for number, cells in enumerate(rows):
        table.add_row(*map(Text, cells), style="bold" if comparison.ranked and number == 0 else "")
    return table


def shortened(name: str, width: int) -> str:
    """A name that takes at most so many columns of a terminal, without its middle if need be."""
    from rich.cells import cell_len

    if cell_len(name) <= width:
        return name
    head, tail = name, name
    while head and cell_len(head) > (width - 2) // 2:
        head = head[:-1]
    while tail and cell_len(tail) > width - 3 - cell_len(head):
        tail = tail[1:]
    return f"{head}...{tail}"


# For people.


def _write_plain(out: TextIO, results: Results) -> None:
    from rich.cells import cell_len

    for number, comparison in enumerate(comparisons(results)):
        rows = _fitting(comparison, WIDTH, gap=2)
        widths = _widths(rows)
        out.write("\n" * bool(number) + (f"{comparison.title}\n" if comparison.title else ""))
        for name, *cells in rows:
            texts = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
            out.write("  ".join([name + " " * (widths[0] - cell_len(name)), *texts]).rstrip() + "\n")
        out.write("".join(["\n", *map(_wrapped, _said(comparison))]))
    out.write("".join(map(_wrapped, _further(results))))


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) + "\n"


def _write_markdown(out: TextIO, results: Results) -> None:
    for number, comparison in enumerate(comparisons(results)):
        header, *rows = _cells(comparison)
        out.write("\n" * bool(number) + (f"**{comparison.title}**\n\n" if comparison.title else ""))
        out.write("| " + " | ".join([*header[:-1], "points from the best, 95% interval"]) + " |\n| :--- |")
        out.write(" ---: |" * (len(header) - 1) + "\n")
        for cells, row in zip(rows, comparison.rows, strict=True):
            texts = [
                cell.replace("\\", "\\\\").replace("|", "\\|") for cell in (*cells[:-1], _points(row) or cells[-1])
            ]
            out.write("| " + " | ".join(texts) + " |\n")
        out.write("".join(["\n", *(f"- {line}\n" for line in _said(comparison))]))
    out.write("".join(f"- {line}\n" for line in _further(results)))


def _said(comparison: Comparison) -> list[str]:
    """The sentences below a table."""
    return [printable(line) for line in (*comparison.verdict, comparison.counts) if line]


def _further(results: Results) -> list[str]:
    """Sentences on the averaged weights and on the test part, where there are such; of each schedule at its best."""
    best = best_rates(results)
    records = [record for record in results.summary() if best[record["schedule"]] == record["lr"]]

    def mean(record: dict[str, Any], name: str) -> float:
        value: float | None = record.get(name, {}).get("mean")
        return math.nan if value is None else value

    averaged = [
        f"{record['schedule']} {_percent(mean(record, 'averaged_accuracy'))} % (loss "
        f"{loss_text(mean(record, 'averaged_loss'))}) against {_percent(mean(record, 'final_accuracy'))} % "
        f"({loss_text(mean(record, 'final_loss'))})"
        for record in records
        if "averaged_accuracy" in record
    ]
    tested = [
        f"{record['schedule']} {_percent(mean(record, 'final_test_accuracy'))} %, "
        f"{_percent(mean(record, 'test_accuracy_at_best'))} % at the best"
        for record in records
        if "final_test_accuracy" in record
    ]
    lines = {
        "averaged weights against the last ones: ": averaged,
        "test accuracy at the end, and at the epoch of the best validation accuracy: ": tested,
    }
    return [printable(start + "; ".join(texts)) for start, texts in lines.items() if texts]


def _fitting(comparison: Comparison, width: int, gap: int) -> list[tuple[str, ...]]:
    """The cells of a table with such gaps, the names shortened where it would be wider than said."""
    rows = _cells(comparison)
    name, *others = _widths(rows)
    room = max(width - sum(others) - gap * len(others), LEAST_NAME)
    return [(shortened(cells[0], room), *cells[1:]) for cells in rows] if name > room else rows


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def _cells(comparison: Comparison) -> list[tuple[str, ...]]:
    """The header and the rows of a table; accuracies in percent."""
    rates = len({row.lr for row in comparison.rows}) > 1
    lr_header = ("lr",) if rates else ()
    rows: list[tuple[str, ...]] = [
        ("schedule", *lr_header, "accuracy %", "sd", "min-max", "loss", "sd", "n", "vs best"),
    ]
    for at, row in enumerate(comparison.rows):
        lr = (f"{row.lr:.3g}",) if rates else ()
        accuracy, loss = row.accuracy, row.loss
        reach = f"{_percent(accuracy.min)}-{_percent(accuracy.max)}" if accuracy.n > 1 else ""
        n = f"{accuracy.n}/{row.runs}" if accuracy.n < row.runs else str(accuracy.n)
        figures = (
            _percent(accuracy.mean),
            _percent(accuracy.sd),
            reach,
            loss_text(loss.mean, 3),
            loss_text(loss.sd, 2),
            n,
        )
        rows.append((printable(row.schedule), *lr, *figures, _against(row, comparison.ranked and at == 0)))
    return rows


def _against(row: Row, best: bool) -> str:
    if row.diverged == row.runs:
        return DIVERGED
    if row.accuracy_difference is None:
        return "best" if best else ""
    return p_text(row.accuracy_difference.p).replace(" ", "")


def _points(row: Row) -> str:
    """The difference of accuracies in points, with its interval."""
    found: Difference | None = row.accuracy_difference
    if found is None:
        return ""
    return f"{100 * found.mean:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}], {p_text(found.p)}"


def _percent(share: float) -> str:
    return "" if share != share else f"{100 * share:.2f}"


# For programs.


def _write_json(out: TextIO, results: Results) -> None:
    out.write(json.dumps({"version": VERSION, "summary": results.summary()}, allow_nan=False) + "\n")


def _write_jsonl(out: TextIO, results: Results) -> None:
    out.write("".join(json.dumps(record, allow_nan=False) + "\n" for record in results.summary()))


def _write_csv(out: TextIO, results: Results) -> None:
    """One row a schedule and base rate, ``final_accuracy.mean`` and so on; empty where there is no value."""
    records = [_flat(record) for record in results.summary()]
    columns: Sequence[str] = list(dict.fromkeys(key for record in records for key in record)) or ["schedule", "lr"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    out.write(text.getvalue())


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat |= {f"{key}.{part}": item for part, item in value.items()} if isinstance(value, dict) else {key: value}
    return flat
