"""``lrsched schema``: what a file of schedules may hold, as JSON schema for editors."""

from __future__ import annotations

import json
from typing import Any

from lrsched_cli.cli.command import made
from lrsched_cli.schema import schema as schema_of_files


def command(args: list[str]) -> Any:
    """The command for one call with these arguments."""
    return made("schema", schema)


def schema() -> None:
    """Print the JSON schema of a schedules.yaml: point an editor's YAML plugin at it for completion and checks."""
    print(json.dumps(schema_of_files(), indent=2, ensure_ascii=False))  # noqa: T201
