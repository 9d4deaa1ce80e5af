"""``lrsched check``: what is wrong with schedules, before it costs a run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lrsched_cli.book import Entry
from lrsched_cli.cli.command import made
from lrsched_cli.cli.options import command_function, own_options, value_of
from lrsched_cli.cli.talk import has_colour, is_terminal, say
from lrsched_cli.errors import SpecError, nearest
from lrsched_cli.show import findings as show
from lrsched_cli.verify.check import check as checked
from lrsched_cli.verify.check import codes
from lrsched_cli.verify.findings import Finding
from lrsched_cli.verify.rules import rule_named

FORMATS = ("text", "json", "sarif", "github", "junit")


def command(args: list[str]) -> Any:
    """The command for one call with these arguments."""
    if value_of("--explain", args, own_options(check)) is not None:
        return made("check", explain)
    return made("check", command_function(check, args))


def explain(
    code: Annotated[str, typer.Option("--explain", metavar="CODE", help="Explain a rule; all lists every one.")],
    targets: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Explain a rule of lrsched check."""
    del targets
    sys.stdout.write(show.rules_text() if code == "all" else show.explanation_text(rule_named(code)))


def check(
    entries: list[Entry],
    *,
    format: Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="How it is written.")] = "text",
    select: Annotated[str | None, typer.Option("--select", metavar="CODE,...", help="Only these rules.")] = None,
    ignore: Annotated[str | None, typer.Option("--ignore", metavar="CODE,...", help="All but these rules.")] = None,
    snapshot: Annotated[
        Path | None,
        typer.Option("--snapshot", metavar="FILE", help="Recorded rates to compare with; ./schedules.lrsnap if there."),
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Record the rates as they are now.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file; - is stdout.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="CODE", help="Explain a rule; all lists every one.")
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME.PARAM=VALUE", help="Change an entry of the file.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing beside the findings.")] = False,
) -> None:
    """Say what is wrong with schedules, before it costs a run.

    Exit code 0 where nothing is found, or notes alone; 1 with errors or warnings; 2 for bad input.
    """
    del assign, explain  # carried out where the targets are found, and before
    if format not in FORMATS:
        raise SpecError(f"must be {', '.join(FORMATS)}, got {format!r}{nearest(format, FORMATS)}", parameter="--format")
    chosen, left_out = _codes(select, "--select"), _codes(ignore, "--ignore") or set()
    found = checked(entries, chosen, left_out)
    if "snapshot" not in left_out and (chosen is None or "snapshot" in chosen):
        found = [*_snapshot(entries, snapshot, update, quiet), *found]
    _write(found, entries, format, output)
    if not quiet:
        say(show.count_text(found, len(entries)))
    if any(finding.severity != "note" for finding in found):
        raise typer.Exit(1)


def _codes(text: str | None, option: str) -> set[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise SpecError("names no rule; lrsched check --explain all lists every one", parameter=option)
    return codes(names, option)


def _write(found: Sequence[Finding], entries: Sequence[Entry], format: str, output: Path | None) -> None:
    to_file = output is not None and str(output) != "-"
    if format == "text":
        terminal = not to_file and is_terminal(sys.stdout)
        width = shutil.get_terminal_size((80, 24)).columns if terminal else None
        text = show.write_text(found, colour=terminal and has_colour(sys.stdout), width=width)
    elif format == "junit":
        text = show.write_junit(found, [entry.name for entry in entries])
    else:
        text = show.WRITERS[format](found)
    if to_file:
        from lrsched_cli.files import write_whole

        assert output is not None
        write_whole(output, text.encode(errors="backslashreplace"))
        return
    sys.stdout.write(text)
    sys.stdout.flush()


def _snapshot(entries: list[Entry], path: Path | None, update: bool, quiet: bool) -> list[Finding]:
    """What the recorded rates say, where there are any; with ``update`` they are recorded anew instead."""
    default = Path("schedules.lrsnap")
    if path is None and not update and not default.is_file():
        return []
    from lrsched_cli.verify import snapshot as recorded

    place = path or recorded.DEFAULT_SNAPSHOT
    if update:
        written = recorded.write(entries, place)
        if not quiet:
            say(f"{place}: {written.count} recorded, {len(written.new)} new, {len(written.changed)} changed")
        return []
    return list(recorded.compare(entries, place))
