"""The pytorch_warmup dialect against the library itself: random warm-ups around random schedulers of torch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrsched_cli import SpecError, simulate
from tests.support import agree
from tests.test_torch_dialect import COMPOSED, RATES, leaves, plateaus, real_scheduler

pytest.importorskip("pytorch_warmup")

SETTLED = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
EXAMPLES = settings(SETTLED, max_examples=30)

PERIODS = st.integers(1, 40) | st.sampled_from([1000, 100_000, 0, -1, 10.0, 2.5, [7], [0], [3, 4], []])
BETAS = st.floats(0, 0.9999) | st.sampled_from(
    [0.0, 0.6, 0.6001, 0.61, 0.9, 0.99, 0.999, 0.9999, 0.999999, 1.0, 1.5, -0.1]
)
PARAMETERS = {
    "LinearWarmup": st.fixed_dictionaries({"warmup_period": PERIODS}),
    "ExponentialWarmup": st.fixed_dictionaries({"warmup_period": PERIODS}),
    "UntunedLinearWarmup": st.fixed_dictionaries({}, optional={"beta2": BETAS}),
    "UntunedExponentialWarmup": st.fixed_dictionaries({}, optional={"beta2": BETAS}),
    "RAdamWarmup": st.fixed_dictionaries({}, optional={"beta2": BETAS}),
}


def real(name: str, params: dict[str, Any], lr: float, total: int) -> tuple[list[float], list[float], str | None]:
    """The rates and momenta that the library's own loop uses, and what it raises if it does not get to the end."""
    import pytorch_warmup
    import torch

    given = {key: value for key, value in params.items() if key not in ("inner", "optimizer", "beta2")}
    inner = dict(params.get("inner") or {})
    metrics = inner.pop("metrics", None)
    weight = torch.nn.Parameter(torch.zeros(1))
    rates: list[float] = []
    momenta: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if params["optimizer"] == "sgd":
                optimizer: Any = torch.optim.SGD([weight], lr=lr)
            else:
                optimizer = torch.optim.Adam([weight], lr=lr, betas=(0.9, params.get("beta2", 0.999)))
            scheduler = real_scheduler(inner.pop("kind"), inner, optimizer) if inner else None
            warmup = getattr(pytorch_warmup, name)(optimizer, **given)
            group = optimizer.param_groups[0]
            for tick in range(total):
                rates.append(float(group["lr"]))
                momenta.append(float(group["betas"][0] if "betas" in group else group["momentum"]))
                optimizer.step()
                if tick + 1 < total:
                    with warmup.dampening():
                        if scheduler is not None:
                            scheduler.step(*([] if metrics is None else [metrics[tick]]))
        except Exception as error:  # whatever it raises is refused
            return rates, momenta, repr(error)
    return rates, momenta, None


def check(name: str, params: dict[str, Any], lr: float, total: int) -> None:
    rates, momenta, raised = real(name, params, lr, total)
    spec = {"kind": f"pytorch_warmup.{name}", "lr": lr, **params}
    if raised is not None:
        with pytest.raises(SpecError):
            simulate(spec, {"steps": total})
        if not rates or "metrics" in (params.get("inner") or {}):
            return
        total = len(rates)
    if not np.isfinite(rates).all() or max(map(abs, rates)) > 1e100:
        return
    trace = simulate(spec, {"steps": total})
    agree(trace.lr, rates)
    agree(trace.schedule(np.arange(total)), rates)
    if trace.momentum is None:
        assert len(set(momenta)) <= 1
    else:
        agree(trace.momentum, momenta)


def optimizers(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["sgd", "adam"] if name in ("LinearWarmup", "ExponentialWarmup") else ["adam"])


@pytest.mark.parametrize("name", PARAMETERS)
@EXAMPLES
@given(data=st.data(), lr=RATES | st.just(0.0), total=st.integers(1, 120))
def test_alone(name: str, data: st.DataObject, lr: float, total: int) -> None:
    params = data.draw(PARAMETERS[name])
    check(name, {**params, "optimizer": data.draw(optimizers(name))}, lr, total)


@pytest.mark.parametrize("name", PARAMETERS)
@EXAMPLES
@given(data=st.data(), lr=RATES | st.just(0.0), total=st.integers(1, 40))
def test_around_a_scheduler(name: str, data: st.DataObject, lr: float, total: int) -> None:
    inner = data.draw(
        leaves(True) | COMPOSED["nested"] | plateaus(total).map(lambda p: {"kind": "torch.ReduceLROnPlateau", **p})
    )
    params = data.draw(PARAMETERS[name])
    check(name, {**params, "optimizer": data.draw(optimizers(name)), "inner": inner}, lr, total)


@pytest.mark.parametrize("beta2", [0.61, 0.8, 0.99, 0.999, 0.9999, 0.99999, 1 - 1e-6, 1 - 1e-7])
def test_radam_over_a_long_run(beta2: float) -> None:
    check("RAdamWarmup", {"beta2": beta2, "optimizer": "adam"}, 0.1, 4000)


@pytest.mark.parametrize("name", ["UntunedLinearWarmup", "UntunedExponentialWarmup", "RAdamWarmup"])
def test_an_optimizer_without_betas_is_refused(name: str) -> None:
    rates, _, raised = real(name, {"optimizer": "sgd"}, 0.1, 3)
    assert not rates
    assert raised == "KeyError('betas')"
    with pytest.raises(SpecError, match="optimizer must be adam"):
        simulate({"kind": f"pytorch_warmup.{name}", "optimizer": "sgd"}, {"steps": 3})
