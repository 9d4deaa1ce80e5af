"""``lrsched show KIND``: one kind explained."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from lrsched_cli.cli.command import made
from lrsched_cli.cli.options import flag_of
from lrsched_cli.cli.talk import has_colour, has_unicode
from lrsched_cli.kinds import kind_named
from lrsched_cli.run import Clock, Scope
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.parameters import REQUIRED, default_of, params_of
from lrsched_cli.show.terminal import render
from lrsched_cli.targets import complete
from lrsched_cli.trace import Trace

TICKS = 100


def command(args: list[str]) -> Any:
    """The command for one call with these arguments."""
    return made("show", show)


def show(
    kind: Annotated[str, typer.Argument(help="A kind, as lrsched list names it.", autocompletion=complete)],
) -> None:
    """Explain one kind: what it does, its formula, its parameters and its curve."""
    found = kind_named(kind)
    print("\n".join(explanation(found)))  # noqa: T201
    if any(default_of(found, name) is REQUIRED for name in params_of(found)):
        return
    clock = Clock("epoch", TICKS)
    trace = Trace(found.kind, found.from_params({}, Scope.of(clock)), clock)
    print(f"\nWith its defaults, over {TICKS} epochs:\n")  # noqa: T201
    print(render([trace], 78, 16, colour=has_colour(sys.stdout), unicode=has_unicode(sys.stdout)))  # noqa: T201


def explanation(kind: type[Schedule]) -> list[str]:
    """The lines that explain a kind."""
    also = f" (also {', '.join(kind.aliases)})" if kind.aliases else ""
    lines = [
        f"{kind.kind}{also}",
        f"  {kind.__doc__}",
        "",
        f"  rate(t) = {kind.formula}",
        f"  Source: {kind.source}",
        "",
    ]
    lines.append("Parameters")
    for name, param in params_of(kind).items():
        default = default_of(kind, name)
        told = "required" if default is REQUIRED else "" if default is None else f"default {default_text(default)}"
        bounds = f"must be {param.bounds}" if param.bounds else " or ".join(param.choices)
        details = "; ".join(part for part in (told, bounds) if part)
        lines.append(f"  {name:18} {flag_of(name):22} {param.help}" + (f" ({details})" if details else ""))
    lines += ["", "Try", f"  lrsched plot {kind.kind}", f"  lrsched table {kind.kind} --help"]
    return lines


def default_text(default: Any) -> str:
    """A default as the help shows it."""
    return {True: "yes", False: "no"}[default] if isinstance(default, bool) else str(default)
