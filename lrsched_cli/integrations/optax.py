"""A plan as a schedule of optax: a function of the update's number that JAX can trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lrsched_cli.integrations.plan import Target, missing, plan_of
from lrsched_cli.integrations.table import rate_table
from lrsched_cli.run import Run

try:
    from jax import numpy as jnp  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ImportError:
    raise missing("JAX", "optax") from None


def optax_schedule(
    target: Target,
    run: Mapping[str, Any] | Run | None = None,
    *,
    group: str | None = None,
    ticks: int | None = None,
) -> Callable[[Any], Any]:
    """An optax ``Schedule``: a function from the number of an update, counted from 0, to its rate.

    >>> optimizer = optax.adamw(optax_schedule("schedules.yaml:main", {"steps": 10_000}))  # doctest: +SKIP

    It works under ``jax.jit``, ``vmap`` and ``scan``, with counts that are traced and of any shape: the rates are a
    table, one a tick, of JAX's default float type (float32 unless ``jax_enable_x64``).

    Parameters
    ----------
    target, run: as :func:`~lrsched_cli.torch_scheduler` takes them. A plan that names no ``lr`` has 0.1, or that of
        ``run``. optax counts updates, so that a plan that ticks by epoch needs ``steps_per_epoch`` as well.
    group: whose rates, where the plan has ``groups:`` (a schedule for each, with ``optax.multi_transform``).
    ticks: length of the table, 4 million at most; by default the run and the tick after it. The last rate is held.

    The momentum that a plan cycles is not in it. Raises ``SpecError`` for a plan that a metric drives, one that is too
    long, and one whose epochs are of unknown length.
    """
    table, updates = rate_table(plan_of(target, run), "optax", group, ticks)
    rates = jnp.asarray(table)
    last = len(table) - 1

    def schedule(count: Any) -> Any:
        tick = jnp.asarray(count) // updates
        return jnp.take(rates, jnp.clip(tick, 0, last).astype(jnp.int32))

    return schedule
