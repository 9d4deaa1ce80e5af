"""``lrsched init``: a commented file to start from."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from lrsched_cli.cli.command import made
from lrsched_cli.cli.talk import say
from lrsched_cli.errors import SpecError
from lrsched_cli.files import write_whole


def command(args: list[str]) -> Any:
    """The command for one call with these arguments."""
    return made("init", init)


def init(
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - is stdout.")
    ] = "schedules.yaml",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented schedules.yaml to start from."""
    text = starter()
    if output == "-":
        sys.stdout.write(text)
        return
    path = Path(output)
    if path.exists() and not force:
        raise SpecError(f"{path} is there already; --force replaces it, -o names another")
    write_whole(path, text.encode())
    print(path)  # noqa: T201
    say(f"try: lrsched plot {path}")


def starter() -> str:
    """The schedules.yaml that the package ships; in a checkout, the one at its top."""
    packaged = files("lrsched_cli") / "examples" / "schedules.yaml"
    place = packaged if packaged.is_file() else Path(__file__).parents[2] / "schedules.yaml"
    return place.read_text(encoding="utf-8")
