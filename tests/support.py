"""What several tests share: schedules on a run, real torch schedulers, and what every schedule must satisfy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from lrsched_cli.errors import SpecError
from lrsched_cli.run import Clock, Scope
from lrsched_cli.schedules import CANONICAL
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.spec import simulate
from lrsched_cli.trace import Trace

LR = 0.1


def made(kind: str, total: int = 100, /, *, lr: float = LR, **params: Any) -> Schedule:
    """A canonical kind on a run of so many steps."""
    return CANONICAL[kind].from_params(params, Scope.of(Clock("step", total), lr))


def simulated(spec: Mapping[str, Any], total: int = 100, **run: Any) -> Trace:
    """An entry in the YAML's own form, at a base rate of 0.1, on a run of so many steps."""
    return simulate({"lr": LR, **spec}, {"steps": total, **run})


def message_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """What the SpecError says that a call must raise; always one line."""
    with pytest.raises(SpecError) as caught:
        function(*args, **kwargs)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


def agree(ours: Any, theirs: Any, *, tolerance: float = 1e-9, floor: float = 1e-300) -> None:
    """Assert that rates agree within a part of their peak, or ``floor``, and say where they do not."""
    ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    assert ours.shape == theirs.shape
    bound = tolerance * np.abs(theirs).max(initial=0.0) + floor
    wrong = np.flatnonzero(~(np.abs(ours - theirs) <= bound))
    assert not wrong.size, f"tick {wrong[0]}: {ours[wrong[0]]!r}, expected {theirs[wrong[0]]!r}"


def torch_trace(
    make: Callable[[Any], Any], total: int, *, lr: float = LR, metrics: Any = None, adam: bool = False
) -> Mapping[str, list[float]]:
    """Step a scheduler of torch on a real optimizer: the rates and momenta it used, and its rate after each step."""
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    make_optimizer = torch.optim.Adam if adam else torch.optim.SGD
    optimizer = make_optimizer([weight], lr=lr, **({} if adam else {"momentum": 0.9}))
    scheduler = make(optimizer)
    group = optimizer.param_groups[0]
    out: dict[str, list[float]] = {"lr": [], "momentum": [], "after": []}
    for tick in range(total):
        out["lr"].append(float(group["lr"]))
        out["momentum"].append(float(group["betas"][0] if adam else group["momentum"]))
        optimizer.step()
        if metrics is None:
            scheduler.step()
        else:
            scheduler.step(metrics[tick])
        out["after"].append(float(scheduler.get_last_lr()[0]))
    return out


def consistent(schedule: Schedule, total: int, seed: int = 0) -> np.ndarray:
    """Assert that a schedule gives the same rates in a row, in chunks, on arrays and one by one, and return them."""
    rates = schedule.values(0, total)
    assert rates.shape == (total,)
    assert rates.dtype == np.float64
    assert np.isfinite(rates).all()
    assert (rates >= 0).all()
    atol = 1e-14 * rates.max(initial=0.0) + 1e-300
    random = np.random.default_rng(seed)
    order = random.permutation(total)
    np.testing.assert_allclose(schedule(order), rates[order], rtol=0, atol=atol)
    for tick in order[:24].tolist():
        one = schedule(tick)
        assert type(one) is float
        assert abs(one - rates[tick]) <= atol
    for _ in range(4):
        low, high = sorted(random.integers(0, total + 1, 2).tolist())
        np.testing.assert_allclose(schedule.values(low, high), rates[low:high], rtol=0, atol=atol)
    return rates


def knots_are_honest(schedule: Schedule, total: int) -> None:
    """Assert that between two knots the rates are monotone and do not jump, and that knots go forward."""
    rates = schedule(np.arange(total))
    slack = 1e-12 * rates.max(initial=0.0) + 1e-300
    start = 0
    while start < total:
        knot = float(schedule.next_knot(np.array([float(start)]))[0])
        assert knot > start
        assert knot == np.floor(knot)
        end = int(min(knot, total))
        moves = np.diff(rates[start:end])
        assert (moves >= -slack).all() or (moves <= slack).all(), f"turns between the knots {start} and {end}"
        for tick in start + np.unique(np.linspace(0, end - start - 2, 12).astype(int)) if end - start > 1 else ():
            # A jump takes the whole change at one place, however finely the tick is cut.
            fine = schedule.curve(tick + np.linspace(0.0, 1.0, 65))
            cuts = np.abs(np.diff(np.broadcast_to(fine, 65)))
            assert cuts.max() <= max(0.9 * cuts.sum(), slack), f"jumps at {tick} between the knots {start} and {end}"
        start = end


def refuses_ticks_outside(schedule: Schedule) -> None:
    """Assert that a tick below 0 or between two is refused."""
    assert message_of(schedule, -1) == "t must be >= 0, got -1"
    assert message_of(schedule, 0.5) == "t must be whole ticks, got 0.5"
