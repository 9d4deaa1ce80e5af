"""The scheduler of ignite that a metric drives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from lrsched_cli.dialects.foreign import kinds_of
from lrsched_cli.dialects.ignite_base import SOURCE
from lrsched_cli.dialects.plateau import ReduceOnPlateau
from lrsched_cli.errors import SpecError
from lrsched_cli.schedules.parameters import param
from lrsched_cli.schedules.ticks import Array


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ReduceLROnPlateauScheduler(ReduceOnPlateau):
    """torch's ReduceLROnPlateau, called when the metric is known; its floor counts with param_group_index only."""

    kind = "ignite.ReduceLROnPlateauScheduler"
    source = f"{SOURCE}.ReduceLROnPlateauScheduler"

    param_group_index: int | None = param("integer", None, "The parameter group, of which there is one: 0.")

    def check(self) -> None:
        super().check()
        if self.param_group_index not in (None, 0, -1):
            told = f"must be 0, got {self.param_group_index} (ignite raises IndexError)"
            raise SpecError(told, parameter="param_group_index")
        if self.param_group_index is not None and not isinstance(self.min_lr, float):
            told = f"must be a float such as 0.0 where param_group_index is given, got {self.min_lr}"
            raise SpecError(f"{told} (ignite raises TypeError)", parameter="min_lr")

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        if self.param_group_index is None and self.min_lr != 0:
            return replace(self, min_lr=0.0)._table
        return super()._table

    def notes(self, total: int) -> tuple[str, ...]:
        notes = super().notes(total)
        if self.param_group_index is None and self.min_lr != 0:
            notes += (f"ignite ignores min_lr {self.min_lr:g} unless param_group_index is given",)
        return notes


#: The kinds by their names in the library.
KINDS = kinds_of(globals())
