"""What the kinds of other libraries share: their own parameters, and what these mean as a form."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, NoReturn, Self

import numpy as np

from lrsched_cli.errors import SpecError, must
from lrsched_cli.run import Scope
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.forms import Form, settles
from lrsched_cli.schedules.parameters import param, params_of
from lrsched_cli.schedules.ticks import Array, Times


class Failure(NamedTuple):
    """The tick at which a library raises, and why."""

    tick: int
    reason: str


class Failing(Schedule):
    """A kind of another library, which may raise in the middle of a run."""

    @property
    def failure(self) -> Failure | None:
        """Where the library raises, if it ever does."""
        return None

    @property
    def last_tick(self) -> int | None:
        return None if self.failure is None else self.failure.tick - 1

    @classmethod
    def library(cls) -> str:
        """The library's name, as in ``timm.CosineLRScheduler``."""
        return cls.kind.partition(".")[0]

    def require(self, tick: int) -> None:
        if not self.unresolved and self.failure is not None and tick >= self.failure.tick:
            told = f"{self.kind} raises in {self.library()} at tick {self.failure.tick}: {self.failure.reason}"
            raise SpecError(told)
        super().require(tick)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Foreign(Failing):
    """A kind of another library, under its own names: it accepts what the library accepts, and refuses what it refuses.

    A subclass has the library's parameters as fields, :meth:`form` for what they mean, and :meth:`check` for what the
    library raises. An error says whose rule it is.
    """

    lr: float = param("number", 0.1, "The optimizer's learning rate.", ge=0)

    @abstractmethod
    def form(self) -> Form:
        """The rates as a form; asked for once, when every parameter is known."""

    @classmethod
    def from_params(cls, given: Mapping[str, Any], scope: Scope) -> Self:
        try:
            return super().from_params(given, scope)
        except SpecError as error:
            raise cls._told(error) from None

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
            if not self.unresolved:
                self._refuse_nan()
        except SpecError as error:
            raise self._told(error) from None

    @classmethod
    def _told(cls, error: SpecError) -> SpecError:
        """The error with the library's name in it."""
        return error if cls.library() in str(error) else error.adding(f" ({cls.library()} refuses it)")

    def _refuse_nan(self) -> None:
        for name in params_of(type(self)):
            value = getattr(self, name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, float) and math.isnan(item):
                    raise must(name, "a number", item)

    @classmethod
    def refuse(cls, name: str, condition: str, value: Any, raises: str = "ValueError") -> NoReturn:
        """Refuse a parameter as the library does: what must hold of it, what it is, and what the library raises."""
        raise must(name, condition, value).adding(f" ({cls.library()} raises {raises})")

    @cached_property
    def as_form(self) -> Form:
        """:meth:`form`, made once."""
        with np.errstate(all="ignore"):
            return self.form()

    def curve(self, t: Times) -> Any:
        return self.as_form(t)

    def next_knot(self, t: Array) -> Array:
        with np.errstate(all="ignore"):
            return self.as_form.next_knot(t)

    @property
    def length(self) -> int | None:
        """Where the rate settles on a level, if it does."""
        tick = settles(self.as_form)
        return None if tick is None or math.isinf(tick) else math.ceil(tick)


def kinds_of(names: Mapping[str, Any]) -> dict[str, type[Schedule]]:
    """The kinds that a module defines, by their names in the library, in the order of their definition."""
    module = names["__name__"]
    found = (value for value in names.values() if isinstance(value, type) and issubclass(value, Schedule))
    return {kind.kind.partition(".")[2]: kind for kind in found if kind.__module__ == module and kind.kind}
