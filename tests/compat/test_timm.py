"""The timm dialect against timm itself: random schedulers, asked in the loop of its train.py."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrsched_cli import SpecError, simulate
from tests.support import agree

EXAMPLES = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
TOTAL = 130


def real(kind: str, params: Mapping[str, Any], lr: float, total: int) -> tuple[list[Any], Exception | None]:
    """The rates that timm uses, and what it raises if it does not get to the end."""
    scheduler_module = pytest.importorskip("timm.scheduler")
    torch = pytest.importorskip("torch")
    arguments = {name: value for name, value in params.items() if name != "metrics"}
    if str(arguments.get("decay_fn")).startswith("lambda"):
        arguments["decay_fn"] = eval(arguments["decay_fn"])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    group, rates = optimizer.param_groups[0], []
    metrics = params.get("metrics")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scheduler = getattr(scheduler_module, kind)(optimizer, **arguments)
            if kind == "create_scheduler_v2":
                scheduler = scheduler[0]
            for tick in range(total):
                rates.append(group["lr"])
                if scheduler is not None:
                    scheduler.step_update(tick + 1, None if metrics is None else metrics[tick])
                    scheduler.step(tick + 1, None if metrics is None else metrics[tick])
        except (ValueError, TypeError, AssertionError, ArithmeticError) as error:
            return rates, error
    return rates, None


def check(kind: str, params: Mapping[str, Any], lr: float, total: int = TOTAL) -> None:
    params = {name: value for name, value in params.items() if value is not None}
    rates, raised = real(kind, params, lr, total)
    spec = {"kind": f"timm.{kind}", "lr": lr, **params}
    numbers = [not isinstance(rate, complex) and abs(rate) < math.inf for rate in rates]
    good = numbers.index(False) if False in numbers else len(rates)
    if good < total:  # it raises, or goes on with what is no number
        assert raised is not None or good < len(rates)
        with pytest.raises(SpecError, match="timm"):
            _ = simulate(spec, {"epochs": total}).lr
    if good:
        agree(simulate(spec, {"epochs": good}).lr, [float(rate) for rate in rates[:good]])


rates = st.one_of(st.sampled_from([0.1, 1.0, 3e-4, 1, 0.0]), st.floats(1e-6, 10))
small = st.one_of(st.sampled_from([0.0, 0, 1e-5, 0.01]), st.floats(0, 0.5))
signed = st.one_of(small, st.floats(-0.5, 0.5))
ticks = st.one_of(st.integers(1, 60), st.sampled_from([1.1, 2.4, 0.3, 7.7, 100, 81]), st.floats(0.2, 70))
warm = st.one_of(
    st.sampled_from([0, 0, 0, 5]), st.integers(0, 30), st.sampled_from([2.5, 0.1, 0.5, 3.3]), st.integers(-3, 0)
)
common = {
    "warmup_t": warm,
    "warmup_lr_init": signed,
    "t_in_epochs": st.booleans(),
    "noise_pct": st.just(0.5),
}
cycles = {
    "t_initial": ticks,
    "lr_min": small,
    "cycle_mul": st.one_of(
        st.sampled_from([1.0, 1, 2, 3, 1.1, 1.5, 2.0, 3.0, 1.01, 0.5, 0.9, 10]), st.floats(0.5, 3.5)
    ),
    "cycle_decay": st.one_of(st.sampled_from([1.0, 0.1, 0.5, 0, 2, -0.5]), st.floats(-1.5, 1.5)),
    "cycle_limit": st.one_of(st.just(1), st.integers(0, 12), st.sampled_from([1.5, 1000, 10**9])),
    "warmup_prefix": st.booleans(),
}
k_decay = st.one_of(st.just(1.0), st.sampled_from([1, 2, 0.5, 1.5, 3.0]), st.floats(0.1, 5))


def given_params(**strategies: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


@EXAMPLES
@given(given_params(**common, **cycles, k_decay=k_decay), ticks, rates)
def test_cosine(params: dict[str, Any], t_initial: float, lr: float) -> None:
    check("CosineLRScheduler", {"t_initial": t_initial, **params}, lr)


@EXAMPLES
@given(
    given_params(
        **common, **cycles, k_decay=k_decay, power=st.one_of(st.sampled_from([0.5, 1, 2, 0.9, 3.0]), st.floats(0.05, 4))
    ),
    ticks,
    rates,
)
def test_poly(params: dict[str, Any], t_initial: float, lr: float) -> None:
    check("PolyLRScheduler", {"t_initial": t_initial, **params}, lr)


@EXAMPLES
@given(given_params(**{**common, **cycles, "lb": st.floats(-9, 2), "ub": st.floats(-1, 9)}), ticks, rates)
def test_tanh(params: dict[str, Any], t_initial: float, lr: float) -> None:
    check("TanhLRScheduler", {"t_initial": t_initial, **params}, lr)


factors = st.one_of(st.sampled_from([0.1, 0.5, 1.0, 1, 0, 2, -1, 1e200]), st.floats(-2, 2))


@EXAMPLES
@given(
    given_params(**common, decay_rate=factors, warmup_prefix=st.booleans()),
    st.one_of(ticks, st.floats(-20, 20), st.integers(-5, 5)),
    rates,
)
def test_step(params: dict[str, Any], decay_t: float, lr: float) -> None:
    check("StepLRScheduler", {"decay_t": decay_t, **params}, lr)


@EXAMPLES
@given(
    given_params(**common, decay_rate=factors, warmup_prefix=st.booleans()),
    st.lists(st.one_of(st.integers(-2, 140), st.floats(0, 140), st.integers(0, 4)), max_size=6),
    rates,
    st.booleans(),
)
def test_multistep(params: dict[str, Any], decay_t: list[float], lr: float, ordered: bool) -> None:
    check("MultiStepLRScheduler", {"decay_t": sorted(decay_t) if ordered else decay_t, **params}, lr)


wsd = {
    "lr_min": small,
    "stable_fn": st.sampled_from(["constant", "rsqrt", "power"]),
    "stable_timescale": st.one_of(st.none(), st.floats(-1, 50), st.integers(0, 20)),
    "stable_power": st.one_of(st.just(0.5), st.floats(-0.1, 3)),
    "decay_fn": st.sampled_from(
        ["linear", "1-sqrt", "cosine", "power", "exp", "lambda f: (1 - f) ** 2", "lambda f: 1 - 0.7 * f"]
    ),
    "decay_power": st.one_of(st.just(0.5), st.floats(-0.1, 3)),
    "decay_ratio": st.floats(0, 1),
}


@EXAMPLES
@given(given_params(**common, **wsd), ticks, st.one_of(ticks, st.floats(0, 1)), rates)
def test_wsd(params: dict[str, Any], t_initial: float, decay: float, lr: float) -> None:
    decay_t = decay * t_initial if decay < 1 else decay
    check("WSDLRScheduler", {"t_initial": t_initial, "decay_t": decay_t, **params}, lr)


plateau = {
    "decay_rate": st.one_of(st.sampled_from([0.1, 0.5, 1.0]), st.floats(-0.5, 1.1)),
    "patience_t": st.one_of(st.integers(0, 5), st.floats(0, 3)),
    "threshold": st.sampled_from([1e-4, 0.0, 0.1]),
    "cooldown_t": st.integers(0, 4),
    "warmup_t": warm,
    "warmup_lr_init": small,
    "lr_min": small,
    "mode": st.sampled_from(["min", "max"]),
}
metrics = st.one_of(
    st.none(),
    st.lists(st.floats(-3, 3), min_size=TOTAL, max_size=TOTAL),
    st.lists(st.integers(0, 3).map(float), min_size=TOTAL, max_size=TOTAL),
)


@EXAMPLES
@given(given_params(**plateau), metrics, rates)
def test_plateau(params: dict[str, Any], values: list[float] | None, lr: float) -> None:
    check("PlateauLRScheduler", {"metrics": values, **params}, lr)


factory = {
    "num_epochs": st.one_of(st.integers(0, 60), st.just(100)),
    "decay_epochs": st.one_of(st.none(), st.integers(0, 50), st.floats(0, 20), st.floats(0, 1)),
    "decay_milestones": st.lists(st.integers(0, 60), max_size=4).map(sorted),
    "cooldown_epochs": st.integers(0, 5),
    "patience_epochs": st.integers(0, 5),
    "decay_rate": st.one_of(st.sampled_from([0.1, 0.5, 1.0]), st.floats(0.05, 1.1)),
    "min_lr": small,
    "warmup_lr": small,
    "warmup_epochs": st.integers(0, 12),
    "warmup_prefix": st.booleans(),
    "noise_std": st.just(0.3),
    "cycle_mul": st.sampled_from([1.0, 1, 2, 1.5, 3.0, 0.5]),
    "cycle_decay": st.sampled_from([0.1, 1, 0.5]),
    "cycle_limit": st.integers(1, 5),
    "k_decay": st.sampled_from([1.0, 2, 0.5]),
    "decay_fn": st.sampled_from([None, "linear", "cosine", "exp", "foo"]),
    "stable_timescale": st.one_of(st.none(), st.integers(0, 9)),
    "plateau_mode": st.sampled_from(["min", "max"]),
    "step_on_epochs": st.booleans(),
    "updates_per_epoch": st.integers(0, 7),
}
scheds = st.sampled_from(["cosine", "tanh", "poly", "step", "multistep", "wsd", "rsqrt", "constant", "plateau", "none"])


@EXAMPLES
@given(given_params(**factory), scheds, metrics, rates)
def test_factory(params: dict[str, Any], sched: str, values: list[float] | None, lr: float) -> None:
    check("create_scheduler_v2", {"sched": sched, "metrics": values, **params}, lr)
