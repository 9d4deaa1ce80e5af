"""A function with annotated options as a command of Typer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command


def made(name: str, function: Callable[..., None]) -> Any:
    """The command of one function, as Typer itself makes it for an app that has only this one."""
    alone = typer.Typer(add_completion=False, context_settings={"help_option_names": ["--help", "-h"]})
    alone.command(name=name, cls=Command)(function)
    return get_command(alone)


class Command(TyperCommand):
    """A command that starts as fast as it can."""

    def get_params(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        return unconverted(super().get_params(ctx))


def unconverted(parameters: list[Any]) -> list[Any]:
    """The parameters, none of which loads what converts values before there is one to convert."""
    for parameter in parameters:
        # Typer has no public way to say so. In a version that is made otherwise nothing is changed, only slower.
        makes_its_own = hasattr(parameter, "get_runtime_param") and hasattr(parameter, "type_descriptor")
        if makes_its_own and getattr(parameter, "_runtime_param", parameter) is None:
            parameter._runtime_param = _AsItIs()
    return parameters


class _AsItIs:
    """Stands for Typer's converter of a value until there is something to convert: it needs 60 ms to load pydantic.

    Nothing, text where text is wanted and a default of the right type are left as they are.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        many = param.multiple or param.nargs == -1
        wanted = getattr(param.type_descriptor, "annotation", None)
        if value is None:
            return () if many else None
        if type(value) is wanted:
            return value
        if many and wanted == list[str]:
            return list(value)
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)
