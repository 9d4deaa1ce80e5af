"""The operator swa against torch's own loop with SWALR and AveragedModel, by hand, and what is refused."""

from __future__ import annotations

from typing import Any, NamedTuple

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrsched_cli.errors import SpecError
from lrsched_cli.schedules.averaging import Averaged
from lrsched_cli.schedules.compose import InSequence
from lrsched_cli.schedules.decay import Constant
from lrsched_cli.schedules.warmup import Warmup
from lrsched_cli.schema import schema
from tests.support import LR, agree, consistent, knots_are_honest, message_of, simulated

TOTAL = 60


class Loop(NamedTuple):
    """What torch used at each tick, by parameter group, and how often it averaged."""

    lr: list[list[float]]
    momentum: list[float]
    averaged: int


def torch_loop(make: Any, start: int, swalr: dict[str, Any], *, rates: tuple[float, ...] = (LR,)) -> Loop:
    """The recipe of torch's documentation, the first averaged tick being ``start``."""
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import SWALR, AveragedModel

    model = torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(1)) for _ in rates])
    groups = [{"params": [weight], "lr": rate} for weight, rate in zip(model, rates, strict=True)]
    optimizer = torch.optim.SGD(groups, lr=LR, momentum=0.9)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    swa_scheduler = SWALR(optimizer, **swalr)
    averaged_model = AveragedModel(model)
    used: list[list[float]] = [[] for _ in rates]
    momentum = []
    for t in range(TOTAL):
        for rates_of, group in zip(used, optimizer.param_groups, strict=True):
            rates_of.append(float(group["lr"]))
        momentum.append(float(optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        if t >= start:
            averaged_model.update_parameters(model)
            swa_scheduler.step()
        else:
            scheduler.step()
    return Loop(used, momentum, int(averaged_model.n_averaged))


def warmed_up(s: Any, o: Any) -> Any:
    parts = [s.LinearLR(o, start_factor=0.1, total_iters=8), s.CosineAnnealingLR(o, T_max=TOTAL - 8)]
    return s.SequentialLR(o, parts, milestones=[8])


#: A body as an entry, and as torch builds it.
BODIES = {
    "constant": ({"kind": "constant"}, lambda s, o: s.ConstantLR(o, 1.0, 1)),
    "step": ({"kind": "step", "step_size": 7, "gamma": 0.5}, lambda s, o: s.StepLR(o, 7, 0.5)),
    "cosine": ({"kind": "cosine"}, lambda s, o: s.CosineAnnealingLR(o, T_max=TOTAL)),
    "warm-up": ({"kind": "cosine", "warmup": {"for": 8, "start_factor": 0.1}}, warmed_up),
    "sgdr": ({"kind": "sgdr", "T_0": 9}, lambda s, o: s.CosineAnnealingWarmRestarts(o, 9)),
    "cyclic": (
        {"kind": "torch.CyclicLR", "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5},
        lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=5),
    ),
    "onecycle": (
        {"kind": "torch.OneCycleLR", "max_lr": 0.1, "total_steps": TOTAL},
        lambda s, o: s.OneCycleLR(o, 0.1, total_steps=TOTAL),
    ),
    "chain": (
        {"product": [{"kind": "step", "step_size": 7, "gamma": 0.5}, {"kind": "exponential", "gamma": 0.97}]},
        lambda s, o: s.ChainedScheduler([s.StepLR(o, 7, 0.5), s.ExponentialLR(o, 0.97)]),
    ),
}


@given(
    body=st.sampled_from(sorted(BODIES)),
    start=st.integers(1, TOTAL - 1),
    anneal=st.integers(1, 40),
    swa_lr=st.sampled_from([0.05, 0.1, 0.3, 1e-4]),
    strategy=st.sampled_from(["cos", "linear"]),
)
@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
def test_the_rate_is_that_of_torchs_loop(body: str, start: int, anneal: int, swa_lr: float, strategy: str) -> None:
    spec, make = BODIES[body]
    swalr = {"swa_lr": swa_lr, "anneal_epochs": anneal, "anneal_strategy": strategy}
    found = simulated({**spec, "swa": {"start": start, **swalr}}, TOTAL)
    real = torch_loop(make, start, swalr)
    agree(found.lr, real.lr[0])
    if found.momentum is not None:
        agree(found.momentum, real.momentum)
    assert found.schedule.averages_from == start == TOTAL - real.averaged
    consistent(found.schedule, TOTAL)
    knots_are_honest(found.schedule, TOTAL)


def test_which_tick_is_the_first() -> None:
    """Tick 30 is averaged and still has the body's rate; 31 is one step of the anneal on, 34 has arrived."""
    found = simulated({"kind": "linear", "swa": {"start": 30, "swa_lr": 0.07, "anneal_epochs": 4}}, TOTAL)
    half = (1 - np.cos(np.pi * np.arange(5) / 4)) / 2
    agree(found.lr[28:36], [0.1 * 32 / 60, 0.1 * 31 / 60, *(0.05 + 0.02 * half), 0.07])
    assert found.schedule.averages_from == 30


def test_each_group_anneals_from_its_own_rate_to_the_same() -> None:
    swalr = {"swa_lr": 0.05, "anneal_epochs": 6, "anneal_strategy": "linear"}
    real = torch_loop(lambda s, o: s.CosineAnnealingLR(o, TOTAL), 40, swalr, rates=(0.01, 0.2))
    spec = {"kind": "cosine", "swa": {"start": 40, **swalr}, "groups": {"backbone": 0.1, "head": 2}}
    found = simulated(spec, TOTAL)
    agree(found.groups["backbone"], real.lr[0])
    agree(found.groups["head"], real.lr[1])
    assert found.schedule.averages_from == 40


def test_it_is_the_kind_of_the_same_name_around_a_constant_rate() -> None:
    """Its defaults too: half a cosine wave over 10% of the run."""
    for more in ({}, {"anneal_epochs": 7}, {"anneal_strategy": "linear"}):
        kind = simulated({"kind": "swa", "swa_start": 30, "swa_lr": 0.02, **more}, TOTAL)
        agree(simulated({"kind": "constant", "swa": {"start": 30, "swa_lr": 0.02, **more}}, TOTAL).lr, kind.lr)


@pytest.mark.parametrize("start", [45, "75%", "45st", "15ep", {"start": "75%"}])
def test_without_a_rate_only_the_weights_are_averaged(start: Any) -> None:
    for body, _ in BODIES.values():
        found = simulated({**body, "swa": start}, TOTAL, steps_per_epoch=3)
        plain = simulated(body, TOTAL, steps_per_epoch=3)
        assert np.array_equal(found.lr, plain.lr)
        assert np.array_equal(found.momentum, plain.momentum)  # type: ignore[arg-type]
        assert found.schedule.averages_from == 45
        assert plain.schedule.averages_from is None
        assert found.kind == plain.kind


def test_it_lies_around_warm_up_and_clamp() -> None:
    """In whatever order the file has them: the anneal leaves the clamped rate, and is not clamped itself."""
    spec = {"swa": {"start": 20, "swa_lr": 0.08, "anneal_epochs": 4}, "clamp": {"max_lr": 0.06}, "warmup": 10}
    found = simulated({**spec, "kind": "constant"}, TOTAL)
    rise = [min(0.01 * t, 0.06) for t in range(20)]
    half = (1 - np.cos(np.pi * np.arange(4) / 4)) / 2
    agree(found.lr, [*rise, *(0.06 + 0.02 * half), *[0.08] * 36])


def test_it_is_marked_and_a_start_past_the_end_is_told() -> None:
    warm = simulated({"kind": "cosine", "warmup": 5, "swa": {"start": 40, "swa_lr": 0.05}}, TOTAL).schedule
    assert warm.marks == ((5, "cosine"), (40, "averaging"))
    assert warm.notes(TOTAL) == ()
    assert warm.notes(40) == ("no weights are averaged: swa starts at tick 40, and the run ends at tick 40",)
    parts = {"sequence": [{"kind": "constant", "for": 50}, {"kind": "linear"}]}
    goes_on = simulated({**parts, "swa": 40}, TOTAL).schedule
    assert goes_on.marks == ((40, "averaging"), (50, "linear"))
    stops = simulated({**parts, "swa": {"start": 40, "swa_lr": 0.05}}, TOTAL).schedule
    assert stops.marks == ((40, "averaging"),)


def test_a_body_need_not_be_defined_where_it_is_no_longer_asked() -> None:
    """torch's loop steps it up to the hand-over only, and OneCycleLR raises one step after its last."""
    body = {"kind": "torch.OneCycleLR", "max_lr": 0.1, "total_steps": 40}
    found = simulated({**body, "swa": {"start": 39, "swa_lr": 0.05}}, TOTAL)
    swalr = {"swa_lr": 0.05, "anneal_epochs": 6, "anneal_strategy": "cos"}
    agree(found.lr, torch_loop(lambda s, o: s.OneCycleLR(o, 0.1, total_steps=40), 39, swalr).lr[0])
    for swa in (39, {"start": 45, "swa_lr": 0.05}):
        assert "not defined past tick" in message_of(simulated, {**body, "swa": swa}, TOTAL)


def test_built_in_python() -> None:
    swa = Averaged(body=Constant(lr=0.1), start=10, swa_lr=0.05, anneal_epochs=5)
    assert (swa(10), swa(15), swa.averages_from) == (pytest.approx(0.1), 0.05, 10)
    assert Warmup(body=swa, ticks=5).averages_from == 15, "the body's clock waits for it"
    assert Warmup(body=swa, ticks=5, clock="overlay").averages_from == 10
    told = "sequence part 1 has swa: give it beside sequence, as weights are averaged to the end of the run"
    assert message_of(lambda: InSequence(parts=(Constant(lr=0.1), swa), starts=(5,))) == told


WRONG = [
    ({"swa": 0}, "swa must be >= 1, got 0"),
    ({"swa": -5}, "swa must be >= 1, got -5"),
    ({"swa": 2.5}, "swa must be a whole number of ticks or a duration like 5ep, 500st or 10%, got 2.5"),
    ({"swa": "75"}, "swa must be ticks or a duration like 5ep, 500st, 10% or 2e9tok, got '75'"),
    ({"swa": True}, "swa must be a mapping of start, swa_lr, anneal_epochs, anneal_strategy, got True"),
    ({"swa": [75]}, "swa must be a mapping of start, swa_lr, anneal_epochs, anneal_strategy, got [75]"),
    ({"swa": {}}, "swa needs start"),
    ({"swa": {"swa_lr": 0.05}}, "swa needs start"),
    ({"swa": {"start": 0}}, "swa.start must be >= 1, got 0"),
    ({"swa": {"start": 5, "swa_lr": 0}}, "swa.swa_lr must be > 0, got 0"),
    ({"swa": {"start": 5, "swa_lr": float("nan")}}, "swa.swa_lr must be a finite number, got nan"),
    ({"swa": {"start": 5, "swa_lr": 0.1, "anneal_epochs": 0}}, "swa.anneal_epochs must be >= 1, got 0"),
    ({"swa": {"start": 5, "swa_lr": 0.1, "anneal_strategy": "cosine"}},
     "swa.anneal_strategy must be cos or linear, got 'cosine'"),
    ({"swa": {"start": 5, "anneal_epochs": 3}},
     "swa needs swa_lr, the rate that it anneals to; got anneal_epochs alone"),
    ({"swa": {"start": 5, "swalr": 0.1}}, "swa has no parameter swalr (did you mean swa_lr?)"),
    ({"swaa": 5}, "cosine has no parameter swaa (did you mean swa?)"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "message"), WRONG)
def test_what_a_refusal_says(more: dict[str, Any], message: str) -> None:
    told = message_of(simulated, {"kind": "cosine", **more}, TOTAL)
    assert told.removeprefix("cosine: ") == message


@pytest.mark.parametrize("form", ["sequence", "product"])
def test_a_part_has_no_average_of_its_own(form: str) -> None:
    told = f"{form} part 1 has swa: give it beside {form}, as weights are averaged to the end of the run"
    parts = [{"kind": "constant", "for": 5}, {"kind": "cosine", "swa": 9}]
    if form == "product":
        parts[0].pop("for")
    assert message_of(simulated, {form: parts}, TOTAL) == told


def test_the_schema_knows_it() -> None:
    check = jsonschema.Draft202012Validator(schema())

    def valid(swa: Any) -> bool:
        entry = {"kind": "cosine", "swa": swa}
        return bool(check.is_valid({"schedules": {"a": entry}}))

    assert valid("75%")
    assert valid(75)
    assert valid({"start": "75%", "swa_lr": 0.05, "anneal_epochs": "5ep", "anneal_strategy": "linear"})
    for wrong in ({"start": 5, "swalr": 1}, {"start": 5, "anneal_strategy": "cosine"}, [75], {"start": 5, "swa_lr": 0}):
        assert not valid(wrong)
        with pytest.raises(SpecError):
            simulated({"kind": "cosine", "swa": wrong}, TOTAL)
