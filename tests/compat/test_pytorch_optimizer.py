"""The pytorch_optimizer dialect against the library itself: random schedulers, stepped on a real optimizer."""

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

pytest.importorskip("pytorch_optimizer")

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


RATES = st.sampled_from([0.0, 1e-6, 0.001, 0.1, 1.0, 3]) | st.floats(1e-6, 2)
ANY_RATE = RATES | st.sampled_from([-0.1, -1.0])
TICKS = st.integers(0, 60)
ODD_TICKS = TICKS | st.integers(-12, -1) | st.sampled_from([0.5, 2.5, 7.75, 33.333, 1e9, math.inf])


def some(**strategies: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the parameters, each there or not."""
    return st.fixed_dictionaries({}, optional=strategies)


WARMED = st.fixed_dictionaries(
    {"t_max": ODD_TICKS, "max_lr": ANY_RATE},
    optional={"min_lr": ANY_RATE, "init_lr": ANY_RATE, "warmup_steps": ODD_TICKS},
)
PARAMETERS = {
    "REXScheduler": st.fixed_dictionaries(
        {"total_steps": ODD_TICKS}, optional={"max_lr": ANY_RATE, "min_lr": ANY_RATE}
    ),
    "LinearScheduler": WARMED,
    "CosineScheduler": WARMED,
    "PolyScheduler": st.builds(
        lambda params, order: params | order,
        WARMED,
        some(poly_order=st.sampled_from([0.0, -1.0, 1, 2, 0.3]) | st.floats(0.01, 4)),
    ),
    "CosineAnnealingWarmupRestarts": st.fixed_dictionaries(
        {"first_cycle_steps": ODD_TICKS},
        optional={
            "cycle_mult": st.sampled_from([0, 1, 1.0, 2, 1.5, 0.5, 1.1, -1.0]) | st.floats(0, 3),
            "max_lr": ANY_RATE,
            "min_lr": ANY_RATE,
            "warmup_steps": ODD_TICKS,  # none is a fraction below 0, which is refused
            "gamma": st.sampled_from([0, 1, 0.5, 2, -0.5, 1e30, -1e200]) | st.floats(0, 1.2),
        },
    ),
    "get_chebyshev_schedule": st.fixed_dictionaries(
        {"num_epochs": st.integers(-2, 200) | st.sampled_from([1.1, 1.25, 1.26, 1.5, 2.5, 16.5, math.inf])},
        optional={"is_warmup": st.booleans()},
    ),
    "get_wsd_schedule": st.fixed_dictionaries(
        {"num_warmup_steps": ODD_TICKS, "num_stable_steps": ODD_TICKS, "num_decay_steps": ODD_TICKS},
        optional={
            "min_lr_ratio": st.sampled_from([0, 0.1, 1.0, 2.0, -0.5]) | st.floats(0, 1),
            "num_cycles": st.sampled_from([0, 0.5, 1, 2.5, -1.0]) | st.floats(0.01, 4),
            "cooldown_type": st.sampled_from(["cosine", "1-sqrt", "linear", "1-square", "exp"]),
        },
    ),
}


def real(name: str, params: dict[str, Any], lr: float, total: int) -> tuple[list[float], str | None]:
    """The rates that the library uses, and what it raises if it does not get to the end."""
    import pytorch_optimizer
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    rates: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scheduler = getattr(pytorch_optimizer, name)(optimizer, **params)
            for tick in range(total):
                rates.append(float(optimizer.param_groups[0]["lr"]))
                optimizer.step()
                if tick + 1 < total:
                    scheduler.step()
        except Exception as error:  # the library has exceptions of its own
            return rates, repr(error)
    return rates, None


def check(name: str, params: dict[str, Any], lr: float, total: int) -> None:
    rates, raised = real(name, params, lr, total)
    spec = {"kind": f"pytorch_optimizer.{name}", "lr": lr, **params}
    if raised is not None:
        with pytest.raises(SpecError) as caught:
            simulate(spec, {"steps": total})
        assert "pytorch_optimizer" in str(caught.value)
        if not rates:
            return
        total = len(rates)
    if not np.isfinite(rates).all() or not np.isfinite(np.sum(np.abs(rates))):
        return
    agree(simulate(spec, {"steps": total}).lr, rates)


@pytest.mark.parametrize("name", PARAMETERS)
def test_it_is_the_library(name: str) -> None:
    @EXAMPLES
    @given(params=PARAMETERS[name], lr=RATES, total=st.integers(1, 150))
    def compare(params: dict[str, Any], lr: float, total: int) -> None:
        check(name, params, lr, total)

    compare()


def test_every_scheduler_of_the_library_is_here_or_in_torch() -> None:
    import pytorch_optimizer

    from lrsched_cli.dialects.pytorch_optimizer import KINDS

    for name in pytorch_optimizer.get_supported_lr_schedulers():
        made = pytorch_optimizer.load_lr_scheduler(name)
        if made.__module__.startswith("torch.") or name == "proportion":
            continue
        assert f"'{name}'" in KINDS[made.__name__].source
    assert len(KINDS) == 7
