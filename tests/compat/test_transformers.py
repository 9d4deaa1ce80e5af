"""The transformers dialect against ``get_scheduler``: every ``SchedulerType``, random parameters, really stepped."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrsched_cli import SpecError, simulate
from tests.support import agree
from tests.test_torch_dialect import one_of, plateaus

pytest.importorskip("transformers")

SETTLED = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
#: What get_scheduler takes itself; anything else goes into scheduler_specific_kwargs.
OWN = ("num_warmup_steps", "num_training_steps")

RATES = one_of(0.1, 5e-5, 1.0, 1, 0.0)
TICKS = st.integers(0, 60) | one_of(0, 1, -5, 0.5, 2.5, 7.75, 33.333, 100, 10_000)
CYCLES = one_of(0, 0.5, 1, 2, 2.5, 3, -1.0, 7) | st.floats(0.01, 5)
PARTS = one_of(0, 0.1, 0.5, 1.0, 2.0, -0.5, 0.25)
FLOORS = {"min_lr": one_of(0.0, 1e-6, 0.01, 0.5, -0.1), "min_lr_rate": PARTS}
SHAPES = one_of("linear", "cosine", "1-sqrt", "wrong")


def some(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


STEPS = {"num_warmup_steps": TICKS, "num_training_steps": TICKS}
PARAMETERS = {
    "constant": some({}, **STEPS),
    "constant_with_warmup": some({"num_warmup_steps": TICKS}, num_training_steps=TICKS),
    "linear": some(STEPS),
    "cosine": some(STEPS, num_cycles=CYCLES),
    "cosine_with_restarts": some(STEPS, num_cycles=CYCLES),
    "polynomial": some(STEPS, lr_end=one_of(0.0, 1e-7, 0.01, 0.5, -0.1), power=one_of(1.0, 2, 0.5, 0, -1, 3.7)),
    "inverse_sqrt": some(
        {"num_warmup_steps": TICKS}, num_training_steps=TICKS, timescale=TICKS | one_of(-3, -100, 10_000)
    ),
    "cosine_with_min_lr": some(STEPS, num_cycles=CYCLES, **FLOORS),
    "cosine_warmup_with_min_lr": some(STEPS, num_cycles=CYCLES, **FLOORS, warmup_lr_rate=PARTS),
    "warmup_stable_decay": some(
        {"num_warmup_steps": TICKS, "num_decay_steps": TICKS},
        num_training_steps=TICKS,
        num_stable_steps=TICKS,
        warmup_type=SHAPES,
        decay_type=SHAPES,
        min_lr_ratio=PARTS,
        num_cycles=CYCLES,
    ),
}
#: Needed by all kinds but some, which refuse to go without.
REQUIRED = {
    "constant_with_warmup": ["num_warmup_steps"],
    "inverse_sqrt": ["num_warmup_steps"],
    "warmup_stable_decay": ["num_warmup_steps", "num_training_steps", "num_decay_steps"],
}


def real(name: str, params: dict[str, Any], lr: float, total: int) -> tuple[list[float], str | None]:
    """The rates that training would use, and what is raised if it does not get to the end."""
    import torch
    from transformers import get_scheduler

    metrics = params.get("metrics")
    kwargs = {key: value for key, value in params.items() if key not in (*OWN, "metrics")}
    steps = {key: params.get(key) for key in OWN}
    rates: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        try:
            scheduler = get_scheduler(name, optimizer, **steps, scheduler_specific_kwargs=kwargs)
            for tick in range(total):
                rates.append(float(optimizer.param_groups[0]["lr"]))
                optimizer.step()
                if tick + 1 < total:
                    scheduler.step(*([] if metrics is None else [metrics[tick]]))
        except Exception as error:  # whatever it raises is refused
            return rates, repr(error)
    return rates, None


def check(name: str, params: dict[str, Any], lr: float, total: int) -> None:
    rates, raised = real(name, params, lr, total)
    spec = {"kind": f"transformers.{name}", "lr": lr, **params}
    if raised is not None:
        with pytest.raises(SpecError) as caught:
            simulate(spec, {"steps": total})
        assert "transformers" in str(caught.value)
        if not rates or "metrics" in params:
            return
        total = len(rates)
    trace = simulate(spec, {"steps": total})
    agree(trace.lr, rates)
    agree(trace.schedule(np.arange(total)), rates)


@pytest.mark.parametrize("name", PARAMETERS)
@settings(SETTLED, max_examples=40)
@given(data=st.data(), lr=RATES, total=st.integers(1, 150))
def test_it_is_the_library(name: str, data: st.DataObject, lr: float, total: int) -> None:
    check(name, data.draw(PARAMETERS[name]), lr, total)


LEVELS = st.integers(0, 8).map(lambda i: i / 4) | one_of(-1.0, math.nan, math.inf, -math.inf, 0.99999, 1e9)


@st.composite
def greedy(draw: st.DrawFn, total: int) -> dict[str, Any]:
    metrics = st.lists(LEVELS, min_size=total, max_size=total) | st.lists(
        st.floats(-2, 2), min_size=total, max_size=total
    )
    return draw(
        some(
            {"metrics": metrics},
            mode=one_of("min", "max"),
            factor=one_of(0.95, 0.5, 0.1, -0.5, 0.0, 1.0, 2.0),
            patience=one_of(0, 1, 2, 5, -1, 1.5),
            threshold=one_of(1e-6, 0.0, 0.3, -0.1, 1.0) | st.floats(0, 1),
            threshold_mode=one_of("rel", "abs"),
            cooldown=one_of(0, 1, 3, -1, 1.5),
            warmup=one_of(0, 1, 3, -1, 1.5),
            min_lr=one_of(0, 0.001, 0.05, 0.5, [0.01], [0.1, 0.2]),
            max_lr=one_of(1.0, 0.1, 0.2, 10, [0.3], [0.1, 0.2]),
            eps=one_of(1e-8, 0, 0.01, -1.0),
            smooth=st.booleans(),
            window_size=one_of(1, 2, 3, 7, 50, 2.5, 0, -1),
            reset_start=one_of(500, 0, 1, 2, 3, -1, 1.5),
            verbose=st.just(False),
            num_warmup_steps=one_of(0, 5),
        )
    )


@settings(SETTLED, max_examples=150)
@given(data=st.data(), lr=RATES, total=st.integers(1, 60))
def test_greedy_is_the_library(data: st.DataObject, lr: float, total: int) -> None:
    check("greedy", data.draw(greedy(total)), lr, total)


@settings(SETTLED, max_examples=80)
@given(data=st.data(), lr=RATES, total=st.integers(1, 60))
def test_plateau_is_the_library(data: st.DataObject, lr: float, total: int) -> None:
    check("reduce_lr_on_plateau", data.draw(plateaus(total)), lr, total)


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_the_library_cannot_do_without_is_required(name: str) -> None:
    required = REQUIRED.get(name, [] if name == "constant" else list(OWN))
    full = {"num_warmup_steps": 5, "num_training_steps": 20, "num_decay_steps": 3, "min_lr_rate": 0.1}
    known = {"constant": OWN, "warmup_stable_decay": (*OWN, "num_decay_steps")}.get(name, OWN)
    floor = {"min_lr_rate": 0.1} if "min_lr" in name else {}
    for missing in known:
        params = {key: full[key] for key in known if key != missing} | floor
        _, raised = real(name, params, 0.1, 3)
        assert (raised is not None) == (missing in required), raised
        check(name, params, 0.1, 3)


def test_every_scheduler_type_is_a_kind() -> None:
    from transformers import SchedulerType

    from lrsched_cli.dialects.transformers import KINDS

    assert set(KINDS) == {str(kind.value) for kind in SchedulerType}
