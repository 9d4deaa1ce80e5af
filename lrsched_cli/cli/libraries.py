"""``lrsched libraries KIND``: what each library makes of the same words."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lrsched_cli.cli.command import made
from lrsched_cli.cli.plot import drawn_into
from lrsched_cli.cli.talk import has_colour, is_terminal, say
from lrsched_cli.errors import SpecError, must, nearest
from lrsched_cli.kinds import DIALECTS
from lrsched_cli.readings.compare import Row, alike_rows, compared, horizon, telling_ticks
from lrsched_cli.readings.table import READINGS, family_of
from lrsched_cli.readings.words import Words
from lrsched_cli.run import Duration, Run
from lrsched_cli.schedules import ALIASES
from lrsched_cli.show.summary import number
from lrsched_cli.trace import Trace

FORMATS = ("table", "markdown", "csv", "json")


def command(args: list[str]) -> Any:
    """The command for one call with these arguments."""
    return made("libraries", libraries)


def libraries(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"What is asked for: {', '.join(READINGS)}.")],
    warmup: Annotated[
        str, typer.Option("--warmup", metavar="STEPS", help="Linear warm-up asked for: steps, or a share such as 5%.")
    ] = "10%",
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Steps asked for in all.")] = 100,
    lr: Annotated[float, typer.Option("--lr", metavar="RATE", help="Rate asked for.")] = 1.0,
    eta_min: Annotated[float, typer.Option("--eta-min", metavar="RATE", help="Rate at the end asked for.")] = 0.0,
    only: Annotated[str | None, typer.Option("--only", metavar="A,B", help="Only these libraries.")] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="T,T,...", help="Rates at these ticks.")] = None,
    format: Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="How it is written.")] = "table",
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Draw the readings over each other, to a file.")
    ] = None,
) -> None:
    """Show what each library makes of the same words: the rates that it would really use."""
    family = family_of(ALIASES.get(kind, kind))
    if family is None:
        raise SpecError(f"no other library has {kind}{nearest(kind, READINGS)}; known are {', '.join(READINGS)}")
    if format not in FORMATS:
        raise must("--format", "table, markdown, csv or json", format)
    words = _words(warmup, steps, lr, eta_min)
    rows = compared(family, words, _libraries(only))
    if not rows:
        raise SpecError(f"{family} is in none of these libraries", parameter="--only")
    ticks = telling_ticks(words) if at is None else _ticks(at, words)
    asked = f"{family}: warm-up {words.warmup}, total {words.total}, rate {words.lr:g}"
    if format == "table":
        _table(rows, ticks, asked, narrow=at is None)
    else:
        WRITERS[format](rows, ticks, asked)
    sys.stdout.flush()
    if output is not None:
        _draw(rows, asked, output)
    for row in rows:
        if row.refused:
            say(f"note: {row.reading.name} refuses it: {row.refused}")


def _words(warm: str, steps: int, lr: float, floor: float) -> Words:
    if not 1 <= steps <= 10_000_000:
        raise must("--steps", "from 1 to 10,000,000", steps)
    clock = Run(steps=steps).clock(None)
    try:
        warmup = int(warm) if warm.isdecimal() else clock.ticks(Duration.parse(warm))
    except SpecError as error:
        error.parameter = "--warmup"
        raise
    if not 0 <= warmup < steps:
        raise must("--warmup", f">= 0 and below --steps {steps}", warmup)
    if not 0 < lr < float("inf"):
        raise must("--lr", "a finite number > 0", lr)
    if not 0 <= floor <= lr:
        raise must("--eta-min", f">= 0 and at most --lr {lr:g}", floor)
    return Words(lr, warmup, steps, floor)


def _libraries(only: str | None) -> list[str]:
    names = [name.strip() for name in only.split(",") if name.strip()] if only else []
    for name in names:
        if name not in DIALECTS:
            raise SpecError(f"unknown library {name}{nearest(name, DIALECTS)}", parameter="--only")
    return names


def _ticks(text: str, words: Words) -> list[int]:
    ticks = []
    for item in text.split(","):
        if not item.strip().isdigit() or int(item) > horizon(words):
            raise must("--at", f"ticks from 0 to {horizon(words)}", item.strip())
        ticks.append(int(item))
    return ticks


# How rows are written.


def _cells(row: Row, ticks: Sequence[int]) -> list[str]:
    if row.trace is None:
        return [*("-" for _ in ticks), "refused", ""]
    peak, end = row.peak, row.end
    rates = [number(rate, 3) if (rate := row.at(tick)) is not None else "-" for tick in ticks]
    return [*rates, f"{number(peak[0], 3)} at {peak[1]}", f"{number(end[0], 3)} at {end[1]}, {row.then}"]


def _table(rows: Sequence[Row], ticks: Sequence[int], asked: str, *, narrow: bool) -> None:
    """As text; ``narrow``: of a terminal too narrow for all ticks, some are left out."""
    width = shutil.get_terminal_size((80, 24)).columns if narrow and is_terminal(sys.stdout) else 10_000
    shown = _fitting(rows, ticks, width)
    head = ["as read by", *map(str, shown), "peak", "end, and then"]
    lines = [head, *([row.reading.name, *_cells(row, shown)] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    bold, plain = ("\x1b[1m", "\x1b[0m") if has_colour(sys.stdout) else ("", "")
    print(f"{bold}{asked}{plain}")  # noqa: T201
    for place, line in enumerate(lines):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(size) for cell, size in zip(line[1:-2], widths[1:-2], strict=True)]
        cells += [cell.ljust(size) for cell, size in zip(line[-2:], widths[-2:], strict=True)]
        text = "  ".join(cells).rstrip()
        print(f"{bold}{text}{plain}" if place == 0 else text)  # noqa: T201
    if len(shown) < len(ticks):
        say(f"too narrow for ticks {', '.join(str(t) for t in ticks if t not in shown)}: --at {ticks[-1]} shows one")


def _fitting(rows: Sequence[Row], ticks: Sequence[int], width: int) -> list[int]:
    """The ticks whose columns fit beside the names, those in the middle left out first."""
    cells = {tick: max(len(str(tick)), *(len(_cells(row, [tick])[0]) for row in rows)) + 2 for tick in ticks}
    ends = [_cells(row, [])[-2:] for row in rows]
    fixed = max(len(row.reading.name) for row in rows) + sum(
        max(map(len, column)) + 2 for column in zip(*ends, strict=True)
    )
    kept = list(ticks)
    while kept and fixed + sum(cells[tick] for tick in kept) > width:
        kept.pop(len(kept) // 2)
    return kept


def _markdown(rows: Sequence[Row], ticks: Sequence[int], asked: str) -> None:
    head = [asked, *map(str, ticks), "peak", "end, and then"]
    print("| " + " | ".join(head) + " |")  # noqa: T201
    print("|" + "---|" * len(head))  # noqa: T201
    for row in rows:
        print("| " + " | ".join([f"`{row.reading.name}`", *_cells(row, ticks)]) + " |")  # noqa: T201


def _csv(rows: Sequence[Row], ticks: Sequence[int], asked: str) -> None:
    del asked
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["kind", *ticks, "peak", "peak_tick", "end", "end_tick", "then"])
    for row in rows:
        rates = [("" if (rate := row.at(tick)) is None else repr(rate)) for tick in ticks]
        told = [*row.peak, *row.end, row.then] if row.trace is not None else ["", "", "", "", "refused"]
        out.writerow([row.reading.name, *rates, *told])


def _json(rows: Sequence[Row], ticks: Sequence[int], asked: str) -> None:
    records: list[dict[str, Any]] = []
    for row in rows:
        spec = dict(row.reading.entry(row.words))
        record: dict[str, Any] = {"name": row.reading.name, "spec": spec, "refused": row.refused or None}
        if row.trace is not None:
            peak, end = row.peak, row.end
            record |= {
                "lr": {str(tick): row.at(tick) for tick in ticks},
                "peak": peak[0], "peak_tick": peak[1], "end": end[0], "end_tick": end[1], "then": row.then,
            }  # fmt: skip
        records.append(record)
    print(json.dumps({"version": 1, "asked": asked, "readings": records}, indent=1))  # noqa: T201


WRITERS = {"markdown": _markdown, "csv": _csv, "json": _json}


def _named(alike: Sequence[Row]) -> str:
    """What one curve of a picture is called: the reading, or the libraries that all read so."""
    if len(alike) == 1:
        return alike[0].reading.name
    told = (row.reading.library + (f" ({row.reading.told})" if row.reading.told else "") for row in alike)
    return ", ".join(dict.fromkeys(told))


def _draw(rows: Sequence[Row], title: str, output: str) -> None:
    from lrsched_cli.show.axes import PlotOptions

    traces = [
        Trace(_named(alike), alike[0].trace.schedule, alike[0].trace.clock)
        for alike in alike_rows(rows)
        if alike[0].trace is not None
    ]
    if not traces:
        raise SpecError("nothing to draw: every library refuses it", parameter="--output")

    def figure() -> Any:
        from lrsched_cli.show.figure import draw

        return draw(traces, PlotOptions(title=title, height=5.5))

    path = drawn_into(figure, Path(title).stem, output, None)
    if path is not None:
        say(str(path))
