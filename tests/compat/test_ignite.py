"""The ignite dialect against pytorch-ignite: real handlers on a real engine, and the rate that each update uses."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrsched_cli import SpecError, simulate
from lrsched_cli.trace import Trace
from tests.support import agree

pytest.importorskip("ignite")
torch = pytest.importorskip("torch")
MANY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

values = st.one_of(st.integers(0, 100).map(lambda n: n / 100), st.sampled_from([0.1, 0.05]))
events = st.integers(2, 12) | st.integers(2, 40)
odd = st.sampled_from([0, 1, -3, 2.5, 7.5])
mults = st.sampled_from([1, 1, 1, 2, 0.5, 1.5, 0.9, 1.1, -0.5, 0])
EXPRESSIONS = ["lambda t: 0.95 ** t", "lambda t: 1 / (t + 1)", "lambda t: 0.9"]


def some(required: dict[str, Any], optional: dict[str, Any], kind: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"kind": st.just(kind), **required}, optional=optional)


def cyclical(name: str, **more: Any) -> st.SearchStrategy[dict[str, Any]]:
    required = {"start_value": values, "end_value": values, "cycle_size": st.one_of(events, events, odd)}
    optional = {
        "cycle_mult": mults,
        "start_value_mult": mults,
        "end_value_mult": mults,
        "warmup_duration": st.one_of(st.integers(0, 12), odd),
        **more,
    }
    return some(required, optional, f"ignite.{name}")


points = st.lists(st.tuples(st.integers(-4, 50), values).map(list), max_size=6).map(
    lambda found: sorted(found, key=lambda point: point[0]) if len(found) < 6 else found
)
LINEAR = cyclical("LinearCyclicalScheduler", monotonic=st.booleans())
COSINE = cyclical("CosineAnnealingScheduler")
PIECEWISE = some({"milestones_values": points}, {}, "ignite.PiecewiseLinear")
iters = st.one_of(st.integers(1, 30), st.integers(0, 3), st.just(2.5))
gammas = st.sampled_from([0.5, 0.9, 0.1, 1.1, 0])
momenta = {"base_momentum": st.just(0.7), "max_momentum": st.just(0.95)}
TORCH = [
    some({"lr_lambda": st.sampled_from(EXPRESSIONS)}, {}, "torch.LambdaLR"),
    some({"lr_lambda": st.sampled_from(EXPRESSIONS)}, {}, "torch.MultiplicativeLR"),
    some({"step_size": iters}, {"gamma": gammas}, "torch.StepLR"),
    some({"milestones": st.lists(st.integers(0, 40), max_size=4)}, {"gamma": gammas}, "torch.MultiStepLR"),
    some({}, {"factor": st.sampled_from([0.5, 0, 1]), "total_iters": iters}, "torch.ConstantLR"),
    some({}, {"start_factor": st.sampled_from([0.1, 1]), "end_factor": st.sampled_from([0, 0.5]), "total_iters": iters},
         "torch.LinearLR"),
    some({"gamma": gammas}, {}, "torch.ExponentialLR"),
    some({}, {"total_iters": iters, "power": st.sampled_from([1, 2, 0.5, -1])}, "torch.PolynomialLR"),
    some({"T_max": iters}, {"eta_min": values}, "torch.CosineAnnealingLR"),
    some({"T_0": st.integers(0, 12)}, {"T_mult": st.sampled_from([1, 2, 3]), "eta_min": values},
         "torch.CosineAnnealingWarmRestarts"),
    some({"base_lr": values, "max_lr": values, "step_size_up": st.integers(1, 12)},
         {"mode": st.sampled_from(["triangular2", "exp_range"]), "gamma": st.just(0.9), **momenta}, "torch.CyclicLR"),
    some({"max_lr": values, "total_steps": st.integers(1, 100)}, {"three_phase": st.booleans(), **momenta},
         "torch.OneCycleLR"),
    some({"swa_lr": values}, {"anneal_epochs": st.integers(0, 5)}, "torch.SWALR"),
    some({}, {}, "torch.ReduceLROnPlateau"),
    st.just({"kind": "torch.ChainedScheduler", "schedulers": [{"kind": "torch.ExponentialLR", "gamma": 0.9}]}),
]  # fmt: skip
WRAPPED = some({"lr_scheduler": st.one_of(TORCH)}, {}, "ignite.LRScheduler")
LEGACY = some({"lr_scheduler": st.one_of(TORCH)}, {"use_legacy": st.just(True)}, "ignite.LRScheduler")
# Of several members most must be sound for the whole to be.
SOUND = {"start_value": values, "end_value": values, "cycle_size": events}
LEAF = st.one_of(
    some(SOUND, {"monotonic": st.booleans(), "start_value_mult": mults}, "ignite.LinearCyclicalScheduler"),
    some(SOUND, {"warmup_duration": events, "cycle_mult": mults}, "ignite.CosineAnnealingScheduler"),
    some({"milestones_values": points.filter(bool)}, {}, "ignite.PiecewiseLinear"),
    some({"lr_scheduler": st.one_of(TORCH[:-2])}, {}, "ignite.LRScheduler"),
    some({"lr_scheduler": st.one_of(TORCH)}, {"use_legacy": st.booleans()}, "ignite.LRScheduler"),
)


def composed(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    @st.composite
    def concat(draw: st.DrawFn) -> dict[str, Any]:
        members = draw(st.lists(inner, min_size=2, max_size=4)) if draw(st.integers(0, 19)) else [draw(inner)]
        durations = [draw(events if draw(st.integers(0, 4)) else st.integers(-1, 3)) for _ in members[1:]]
        if draw(st.integers(0, 19)) == 0:
            durations.append(3)
        return {"kind": "ignite.ConcatScheduler", "schedulers": members, "durations": durations}

    required = {
        "lr_scheduler": st.one_of(inner, *TORCH[:-2]),
        "warmup_start_value": values,
        "warmup_duration": st.one_of(events, events, events, st.sampled_from([0, 1, 2, 2.0])),
    }
    return st.one_of(concat(), some(required, {"warmup_end_value": values}, "ignite.create_lr_scheduler_with_warmup"))


def made(spec: dict[str, Any], optimizer: Any) -> Any:
    """The real object."""
    from ignite.handlers import param_scheduler
    from torch.optim import lr_scheduler, swa_utils

    params = {name: value for name, value in spec.items() if name != "kind"}
    library, _, name = spec["kind"].partition(".")
    if "schedulers" in params:
        params["schedulers"] = [made(member, optimizer) for member in params["schedulers"]]
    if "lr_scheduler" in params:
        params["lr_scheduler"] = made(params["lr_scheduler"], optimizer)
    if library == "torch":
        if "lr_lambda" in params:
            params["lr_lambda"] = eval(params["lr_lambda"])  # one of EXPRESSIONS
        return getattr(swa_utils if name == "SWALR" else lr_scheduler, name)(optimizer, **params)
    if "milestones_values" in params:
        params["milestones_values"] = [tuple(point) for point in params["milestones_values"]]
    if name in ("LinearCyclicalScheduler", "CosineAnnealingScheduler", "PiecewiseLinear"):
        params = {"optimizer": optimizer, "param_name": "lr", **params}
    return getattr(param_scheduler, name)(**params)


def real(spec: dict[str, Any], lr: float, total: int) -> tuple[list[float], list[float], Exception | None]:
    """The rates and momenta of the updates, and what is raised on the way."""
    from ignite.engine import Engine, Events

    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    optimizer = torch.optim.SGD([weight], lr=lr, momentum=0.9)
    group = optimizer.param_groups[0]
    rates: list[float] = []
    momenta: list[float] = []

    def update(engine: Any, batch: Any) -> None:
        rates.append(float(group["lr"]))
        momenta.append(float(group["momentum"]))
        optimizer.step()

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            handler = made(spec, optimizer)
            engine = Engine(update)
            engine.logger.disabled = True
            legacy = spec.get("use_legacy")
            engine.add_event_handler(Events.ITERATION_COMPLETED if legacy else Events.ITERATION_STARTED, handler)
            engine.run([0] * total, max_epochs=1)
    except Exception as error:  # whatever it is, it must be refused
        return rates, momenta, error
    return rates, momenta, None


def ours(spec: dict[str, Any], lr: float, total: int) -> tuple[Trace | None, str]:
    """The trace, or what is said where there is none."""
    try:
        return simulate({"lr": lr, **spec}, {"steps": total}), ""
    except SpecError as error:
        return None, str(error)


def compare(spec: dict[str, Any], lr: float, total: int) -> None:
    rates, momenta, raised = real(spec, lr, total)
    trace, refused = ours(spec, lr, total)
    if trace is not None:
        # After the last update a legacy handler makes one more rate.
        assert raised is None or len(rates) == total, f"ignite raises {raised!r} at {len(rates)}"
        agree(trace.lr[: len(rates)], rates)
        if trace.momentum is not None:
            agree(trace.momentum, momenta)
        else:
            assert set(momenta) == {0.9}
        return
    # What has no get_lr() is refused from the start, and ignite raises when its turn comes.
    assert raised is not None or "get_lr()" in refused, refused
    assert "\n" not in refused
    if rates and "get_lr()" not in refused:
        assert f"tick {len(rates)}" in refused


SETTING = {"lr": st.sampled_from([0.1, 0.05, 1.0]), "total": st.integers(1, 120)}


@MANY
@given(spec=st.one_of(LINEAR, COSINE, PIECEWISE), **SETTING)
def test_every_curve(spec: dict[str, Any], lr: float, total: int) -> None:
    compare(spec, lr, total)


@MANY
@given(spec=st.one_of(WRAPPED, LEGACY), **SETTING)
def test_every_scheduler_of_torch(spec: dict[str, Any], lr: float, total: int) -> None:
    compare(spec, lr, total)


@MANY
@given(spec=st.one_of(composed(LEAF), composed(composed(LEAF))), **SETTING)
def test_schedulers_of_schedulers(spec: dict[str, Any], lr: float, total: int) -> None:
    compare(spec, lr, total)
