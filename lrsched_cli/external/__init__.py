"""A team's own Python: ``python:pkg.module:factory`` as a kind, stepped for real with an optimizer of its own.

The code runs where a schedule of such a kind is built (``from_params``), and nowhere before: to name a kind, to list
its parameters or to read a file of it runs nothing.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from lrsched_cli.external.factory import Factory
from lrsched_cli.external.word import PREFIX, Word
from lrsched_cli.schedules.base import Schedule


def is_python(name: str) -> bool:
    """Whether a kind's name is a word such as ``python:pkg.module:factory``."""
    return name.startswith(PREFIX)


@lru_cache(maxsize=256)
def kind_of(name: str, folder: Path = Path()) -> type[Schedule]:
    """The kind of such a word, a file in it being looked for in ``folder``; raises ``SpecError`` where it is none."""
    word = Word.parse(name, folder)
    return type("Factory", (Factory,), {"kind": name, "word": word, "__doc__": Factory.__doc__})
