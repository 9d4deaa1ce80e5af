"""A function with annotated options as a command of Typer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.main import get_command


def made(name: str, function: Callable[..., None]) -> Any:
    """The command of one function, as Typer itself makes it for an app that has only this one."""
    alone = typer.Typer(add_completion=False, context_settings={"help_option_names": ["--help", "-h"]})
    alone.command(name=name)(function)
    return get_command(alone)
