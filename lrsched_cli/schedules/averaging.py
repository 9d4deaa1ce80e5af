"""Stochastic weight averaging around any schedule: where the average begins, and the rate from there on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lrsched_cli.schedules.base import Mark, Schedule, next_of
from lrsched_cli.schedules.compose import Wrapper
from lrsched_cli.schedules.cycle import Follow
from lrsched_cli.schedules.ticks import Array, Times, anneal, piecewise


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Averaged(Wrapper):
    """A schedule whose weights are averaged from a tick on, while its rate is annealed to a constant one.

    Tick ``start`` is the first whose weights (those that its last update leaves) go into the average. It is the last
    one with the body's own rate, from which the anneal begins: the rate of tick ``start + k`` is ``k / anneal_epochs``
    of the way to ``swa_lr``. From tick ``start + anneal_epochs`` on it is ``swa_lr``. The momentum stays where the
    body has left it. In torch this is the loop::

        for t in range(ticks):
            train(model, optimizer)
            if t >= start:
                averaged_model.update_parameters(model)
                swa_scheduler.step()  # SWALR(optimizer, swa_lr, anneal_epochs, anneal_strategy)
            else:
                scheduler.step()  # the body

    The example in torch's documentation has ``>`` for ``>=``: its ``swa_start = 160`` is ``start`` 161 here.

    Source: Izmailov et al. 2018, arXiv 1803.05407; torch.optim.swa_utils.SWALR.

    Attributes
    ----------
    start: the tick, at least 1.
    swa_lr: the constant rate of the average; None where the body goes on, and only the weights are averaged.
    anneal_epochs: ticks of the anneal.
    anneal_strategy: its shape, ``cos`` or ``linear``.
    """

    kind = "swa"

    start: int
    swa_lr: float | None = None
    anneal_epochs: int = 10
    anneal_strategy: str = "cos"

    @property
    def averages_from(self) -> int:
        return self.start

    @cached_property
    def _handover(self) -> float:
        # Asked for only where the anneal is: what a metric makes of it is known no earlier.
        return self.body(self.start)

    def curve(self, t: Times) -> Any:
        swa_lr = self.swa_lr
        if swa_lr is None:
            return self.body.curve(t)

        def down(x: Times) -> Any:
            return anneal((x - self.start) / self.anneal_epochs, self._handover, swa_lr, self.anneal_strategy)

        return piecewise(t, self._phases, [self.body.curve, down, lambda _: swa_lr])

    @property
    def _phases(self) -> tuple[int, int]:
        return self.start, self.start + self.anneal_epochs

    def next_knot(self, t: Array) -> Array:
        if self.swa_lr is None:
            return self.body.next_knot(t)
        before = np.minimum(self.body.next_knot(np.minimum(t, self.start)), self.start)
        return np.where(t < self.start, before, next_of(self._phases, t))

    @property
    def last_tick(self) -> int | None:
        last = self.body.last_tick
        return last if self.swa_lr is None or last is None or last < self.start else None

    @property
    def marks(self) -> tuple[Mark, ...]:
        marks = [
            (t, label) for t, label in self.body.marks if t < self.start or (self.swa_lr is None and t > self.start)
        ]
        return tuple(sorted([*marks, (self.start, "averaging")]))

    @property
    def momentum(self) -> Schedule | None:
        follow = self.body.momentum
        if follow is None or self.swa_lr is None:
            return follow
        rules = [follow.curve, lambda _: follow(self.start)]
        return Follow(of=self, rule=lambda t: piecewise(t, [self.start], rules))

    def notes(self, total: int) -> tuple[str, ...]:
        notes = self.body.notes(total)
        if self.start < total:
            return notes
        return (*notes, f"no weights are averaged: swa starts at tick {self.start}, and the run ends at tick {total}")
