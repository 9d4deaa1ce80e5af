"""What schedules, forms and falls have in common: they are values."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


class Value:
    """Equal to another of its class with equal fields; nobody changes one.

    ``dataclass`` would write these methods anew for every class, which is most of what it costs to import one.
    """

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._compared() == other._compared()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self), *self._compared()))

    def __repr__(self) -> str:
        told = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({told})"

    def _compared(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self) if field.compare]  # type: ignore[arg-type]
