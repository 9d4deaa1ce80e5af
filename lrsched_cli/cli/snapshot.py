"""``lrsched snapshot``: the rates of schedules written down, for ``lrsched check`` to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lrsched_cli.book import Entry
from lrsched_cli.cli.command import made
from lrsched_cli.cli.options import command_function
from lrsched_cli.cli.talk import say
from lrsched_cli.errors import SpecError
from lrsched_cli.verify.snapshot import DEFAULT_SNAPSHOT, Written, write


def command(args: list[str]) -> Any:
    """The command for one call with these arguments."""
    return made("snapshot", command_function(snapshot, args))


def snapshot(
    entries: list[Entry],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The snapshot; it is refreshed if it is there.")
    ] = DEFAULT_SNAPSHOT,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME.PARAM=VALUE", help="Change an entry of the file.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing beside the file's name.")] = False,
) -> None:
    """Record the rates of schedules in schedules.lrsnap, to keep beside them; lrsched check says when they change."""
    del assign  # carried out where the targets are found
    if str(output) == "-":
        raise SpecError("must be a file that is kept, got -", parameter="--output")
    written = write(entries, output)
    print(output)  # noqa: T201
    if not quiet:
        _tell(written, len(entries))


def _tell(written: Written, recorded: int) -> None:
    for key, change in written.changed.items():
        say(f"changed {key}: {change.told}")
    for key in written.gone:
        say(f"gone    {key}")
    for key in written.new:
        say(f"new     {key}")
    same = recorded - len(written.new) - len(written.changed)
    counts = {"new": len(written.new), "changed": len(written.changed), "gone": len(written.gone), "as before": same}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    say(f"{written.count} schedule{'s' * (written.count != 1)} recorded: {told}")
