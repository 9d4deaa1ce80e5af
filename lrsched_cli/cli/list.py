"""``lrsched list``: every kind with its formula and a small curve."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from lrsched_cli.cli.command import made
from lrsched_cli.cli.talk import has_colour, has_unicode, is_terminal
from lrsched_cli.errors import SpecError, must, nearest
from lrsched_cli.kinds import DIALECTS, dialect, kind_named
from lrsched_cli.run import Clock, Scope
from lrsched_cli.schedules import CANONICAL
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.show.terminal import sparkline

LIBRARIES = ("canonical", *DIALECTS, "all")
#: A run long enough for every kind to show its shape.
TICKS, WIDTH = 100, 16
#: The longest name that words have room beside.
LONGEST_BESIDE = 20
HINT = "lrsched show KIND explains one; lrsched plot KIND draws it."


def command(args: list[str]) -> Any:
    """The command for one call with these arguments."""
    return made("list", list_kinds)


def list_kinds(
    library: Annotated[
        str, typer.Argument(metavar="|".join(LIBRARIES), help="Whose kinds: lrsched's own, or a library's own names.")
    ] = "canonical",
    format: Annotated[str, typer.Option("--format", metavar="table|json", help="How it is written.")] = "table",
) -> None:
    """List the kinds, each with its curve over a run and its formula."""
    if library not in LIBRARIES and not library.startswith("python:"):
        raise SpecError(f"unknown library {library}{nearest(library, LIBRARIES)}; known are {', '.join(LIBRARIES)}")
    if format not in ("table", "json"):
        raise must("--format", "table or json", format)
    kinds = dict(_kinds(library))
    if format == "json":
        records = [
            {
                "kind": name,
                "aliases": list(kind.aliases),
                "formula": kind.formula,
                "source": kind.source,
                "help": kind.__doc__,
            }
            for name, kind in kinds.items()
        ]
        print(json.dumps(records, indent=2, ensure_ascii=False))  # noqa: T201
    elif is_terminal(sys.stdout):
        _to_terminal(kinds)
    else:
        width = max(map(len, kinds))
        for name, kind in kinds.items():
            print(f"{name:{width}}  {curve_of(kind, has_unicode(sys.stdout)):{WIDTH}}  {kind.formula}")  # noqa: T201


def _kinds(library: str) -> Iterator[tuple[str, type[Schedule]]]:
    if library in ("canonical", "all"):
        yield from CANONICAL.items()
    if library.startswith("python:"):
        yield library, kind_named(library)
    for name in DIALECTS:
        if library in (name, "all"):
            yield from dialect(name).items()


def curve_of(kind: type[Schedule], unicode: bool) -> str:
    """A kind's typical curve in a line."""
    schedule = kind.from_params(kind.example, Scope.of(Clock("epoch", TICKS)))
    last = schedule.last_tick
    return sparkline(schedule, TICKS if last is None else min(TICKS, last + 1), WIDTH, unicode)


def _to_terminal(kinds: Mapping[str, type[Schedule]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(force_terminal=has_colour(sys.stdout))  # without colour, without bold too
    if max(map(len, kinds)) > LONGEST_BESIDE:
        for name, kind in kinds.items():
            console.print(_stacked(name, kind, console.width))
        console.print(HINT)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("kind", no_wrap=True)
    table.add_column("curve", no_wrap=True, style="cyan")
    table.add_column("what it does, and its formula", overflow="fold")
    for name, kind in kinds.items():
        title = Text(name, style="bold")
        for alias in kind.aliases:
            title.append(f"\n{alias}", style="dim")
        table.add_row(
            title,
            curve_of(kind, has_unicode(sys.stdout)),
            Text.assemble(kind.__doc__ or "", "\n", (kind.formula, "dim")),
        )
    console.print(table)
    console.print(HINT, style="dim")


def _stacked(name: str, kind: type[Schedule], width: int) -> Any:
    """A kind whose name is too long to have words beside it: its curve, and the words below."""
    from rich.text import Text

    curve = curve_of(kind, has_unicode(sys.stdout))
    text = Text.assemble((f" {name}", "bold"), " " * max(width - len(name) - WIDTH - 3, 1), (curve, "cyan"))
    for words, style in ((kind.__doc__ or "", ""), (kind.formula, "dim")):
        told = textwrap.fill(words, width - 6, break_long_words=False, break_on_hyphens=False)
        text.append("\n" + textwrap.indent(told, "   "), style)
    return text
