"""``torch_scheduler`` in real training loops: every rate that an update used is the plan's."""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrsched_cli as lrs
from lrsched_cli.kinds import dialect
from lrsched_cli.schedules import CANONICAL
from lrsched_cli.schedules.parameters import params_of
from tests.integrations.support import Watch, sgd, trained, warnings_of, weights
from tests.support import message_of

torch = pytest.importorskip("torch")
scheduler_of = lrs.torch_scheduler
lr_scheduler = torch.optim.lr_scheduler

OPERATED = [
    {"kind": "cosine", "warmup": {"for": "10%", "shape": "cosine", "first": 1}, "clamp": {"min_lr": 0.01}},
    {"kind": "step", "gamma": 0.5, "repeat": {"period": 17, "lr_mult": 0.7}},
    {"sequence": [{"kind": "linear", "start_factor": 0, "for": 7}, {"kind": "exponential"}]},
    {"product": [{"kind": "cosine"}, {"kind": "step", "step_size": 9}]},
    {"kind": "onecycle", "cycle_momentum": True, "warmup": 5},
    {"kind": "cosine", "swa": {"start": "75%", "swa_lr": 0.05}},
]
KINDS = [kind for kind in (*CANONICAL.values(), *dialect("torch").values()) if "metrics" not in params_of(kind)]
ENTRIES: list[Mapping[str, Any]] = [*({"kind": kind.kind, **kind.example} for kind in KINDS), *OPERATED]


def name_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("kind") or next(iter(entry)))


def planned(entry: Mapping[str, Any], steps: int) -> Any:
    """The trace, on a run that the kind's library gets through."""
    if entry.get("kind") == "torch.OneCycleLR":
        entry = {**entry, "total_steps": steps}
    return entry, lrs.simulate({"lr": 0.1, **entry}, {"steps": steps})


# The numbers.


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_every_update_uses_the_rate_and_momentum_of_the_plan(entry: Mapping[str, Any]) -> None:
    entry, trace = planned(entry, 120)
    optimizer = sgd(0.1)
    watch = trained(optimizer, scheduler_of(optimizer, entry, {"steps": 120}), 119)
    optimizer.step()
    assert watch.first == trace.lr.tolist()
    if trace.momentum is None:
        assert set(watch.momenta) == {0.9}
    else:
        assert watch.momenta == trace.momentum.tolist()


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_a_long_run_is_a_trace_to_the_last_bit(entry: Mapping[str, Any]) -> None:
    """Across the blocks in which rates are computed, and one beyond the end."""
    steps = 50_000
    entry, trace = planned(entry, steps)
    optimizer = sgd(0.1)
    optimizer.step()
    scheduler = scheduler_of(optimizer, entry, {"steps": steps})
    optimizer._opt_called = True
    group = optimizer.param_groups[0]
    used = []
    for _ in range(steps - 1):
        used.append(group["lr"])
        scheduler.step()
    used.append(group["lr"])
    assert used == trace.lr.tolist()
    if not np.isnan(trace.lr_after[-1]):
        scheduler.step()
        assert group["lr"] == scheduler.get_last_lr()[0] == trace.lr_after[-1]


def test_the_weights_move_by_the_rates() -> None:
    """Not only is the number in the optimizer: an update of a constant gradient moves the weight by it."""
    trace = lrs.simulate({"kind": "onecycle", "lr": 0.1}, {"steps": 30})
    optimizer = sgd(0.1, momentum=0.0)
    watch = trained(optimizer, scheduler_of(optimizer, "onecycle", {"steps": 30}), 30)
    moved = -np.diff([*watch.weights, float(optimizer.param_groups[0]["params"][0].detach())])
    np.testing.assert_allclose(moved, trace.lr, atol=1e-6)


def test_adam_gets_the_momentum_as_its_first_beta() -> None:
    trace = lrs.simulate({"kind": "onecycle", "cycle_momentum": True, "lr": 0.1}, {"steps": 20})
    optimizer = torch.optim.AdamW([*weights()], lr=0.1, betas=(0.5, 0.987), weight_decay=0.3)
    scheduler = scheduler_of(optimizer, {"kind": "onecycle", "cycle_momentum": True}, {"steps": 20})
    watch = trained(optimizer, scheduler, 20)
    assert trace.momentum is not None
    assert watch.momenta == trace.momentum.tolist()
    assert optimizer.param_groups[0]["betas"][1] == 0.987
    assert optimizer.param_groups[0]["weight_decay"] == 0.3


def test_momentum_that_is_a_tensor_is_filled() -> None:
    beta = torch.tensor(0.5)
    betas = (beta, torch.tensor(0.99))
    optimizer = torch.optim.Adam(weights(), lr=torch.tensor(0.1), betas=betas, capturable=True)
    scheduler_of(optimizer, {"kind": "onecycle", "cycle_momentum": True}, {"steps": 20})
    assert optimizer.param_groups[0]["betas"][0] is beta
    assert float(beta) == pytest.approx(0.95)


def test_an_optimizer_without_momentum_warns() -> None:
    optimizer = torch.optim.Adagrad(weights(), lr=0.1)
    scheduler, told = warnings_of(scheduler_of, optimizer, {"kind": "onecycle", "cycle_momentum": True}, {"steps": 20})
    assert told == ["onecycle cycles momentum, and the optimizer has none: it gets the rates only"]
    assert trained(optimizer, scheduler, 20).first == lrs.simulate({"kind": "onecycle"}, {"steps": 20}).lr.tolist()


def test_a_rate_that_is_a_tensor_is_filled_in_place() -> None:
    lr = torch.tensor(0.1)
    optimizer = torch.optim.Adam(weights(), lr=lr, capturable=False)
    scheduler = scheduler_of(optimizer, {"kind": "cosine", "lr": 0.1}, {"steps": 10})
    watch = trained(optimizer, scheduler, 10)
    assert optimizer.param_groups[0]["lr"] is lr
    np.testing.assert_allclose(watch.first, lrs.simulate({"kind": "cosine"}, {"steps": 10}).lr, rtol=1e-6)
    last = scheduler.get_last_lr()[0]
    assert torch.is_tensor(last)
    assert last is not lr
    assert last == lr
    scheduler.load_state_dict(scheduler.state_dict())


def test_a_billion_steps_cost_what_a_thousand_do() -> None:
    """In memory; in time they are measured by the benchmarks."""
    steps, start = 10**9, 600_000_000
    optimizer = sgd(0.1)
    tracemalloc.start()
    scheduler = scheduler_of(optimizer, {"kind": "cosine", "warmup": "1%", "lr": 0.1}, {"steps": steps})
    scheduler.load_state_dict({**scheduler.state_dict(), "last_epoch": start, "_step_count": start + 1})
    used = []
    for _ in range(20_000):
        scheduler.step()
        used.append(optimizer.param_groups[0]["lr"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000
    wanted = scheduler.plan.schedule(np.arange(start + 1, start + 20_001))
    np.testing.assert_allclose(used, wanted, rtol=1e-12)
    assert used[0] > used[-1] > 0


# The base rate.


def test_the_optimizers_rate_is_the_base_where_the_plan_names_none() -> None:
    for target in ("cosine", {"kind": "cosine"}, {"sequence": [{"kind": "cosine"}]}):
        optimizer = sgd(0.037)
        scheduler = scheduler_of(optimizer, target, {"steps": 10})
        assert optimizer.param_groups[0]["lr"] == 0.037
        assert scheduler.base_lrs == [0.037]
        assert (
            trained(optimizer, scheduler, 10).first
            == lrs.simulate({"kind": "cosine", "lr": 0.037}, {"steps": 10}).lr.tolist()
        )


@pytest.mark.parametrize(
    ("target", "run"),
    [({"kind": "cosine", "lr": 0.1}, {"steps": 10}), ({"kind": "cosine"}, {"steps": 10, "lr": 0.1})],
)
def test_the_plans_rate_is_used_where_it_names_one(target: Any, run: Any) -> None:
    optimizer = sgd(0.5)
    scheduler, told = warnings_of(scheduler_of, optimizer, target, run)
    assert told == ["cosine says lr 0.1 and the optimizer 0.5: the plan's is used"]
    (watch, told) = warnings_of(trained, optimizer, scheduler, 10)
    assert told == []
    assert watch.first == lrs.simulate({"kind": "cosine"}, {"steps": 10}).lr.tolist()


def test_the_same_rate_does_not_warn() -> None:
    for lr in (0.1, torch.tensor(0.1)):
        optimizer = torch.optim.SGD(weights(), lr=lr)
        assert warnings_of(scheduler_of, optimizer, {"kind": "cosine", "lr": 0.1})[1] == []


def test_a_file_names_the_rate_for_its_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "run: {steps: 10}\nlr: 0.2\nschedules: {main: {kind: cosine}, other: {kind: step, step_size: 3}}\n"
    (tmp_path / "plan.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    optimizer = sgd(0.2)
    assert (
        trained(optimizer, scheduler_of(optimizer, "plan.yaml:main"), 10).first
        == lrs.load("plan.yaml").trace("main").lr.tolist()
    )
    optimizer = sgd(0.2)
    scheduler = scheduler_of(optimizer, Path("plan.yaml:main"), {"steps": 20})
    assert scheduler.plan.total == 20
    assert warnings_of(scheduler_of, sgd(0.1), "plan.yaml:main")[1] == [
        "main says lr 0.2 and the optimizer 0.1: the plan's is used"
    ]
    told = message_of(scheduler_of, optimizer, "plan.yaml")
    assert told == "plan.yaml has 2 entries (main, other): name one, as in plan.yaml:main"


def test_schedules_and_traces_are_targets(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("run: {epochs: 7}\nschedules: {main: {kind: cosine, lr: 0.2}}\n")
    book = lrs.load(tmp_path / "plan.yaml")
    optimizer = sgd(0.2)
    scheduler = scheduler_of(optimizer, book["main"], book.run)
    assert scheduler.plan.interval == "epoch"
    assert trained(optimizer, scheduler, 7).first == book.trace("main").lr.tolist()
    optimizer = sgd(0.2)
    scheduler = scheduler_of(optimizer, book.trace("main"))
    assert (scheduler.plan.interval, scheduler.plan.total) == ("epoch", 7)
    assert trained(optimizer, scheduler, 7).first == book.trace("main").lr.tolist()
    assert message_of(scheduler_of, optimizer, book.trace("main"), {"steps": 3}) == (
        "run stands beside a trace, which has one already"
    )


# Parameter groups.


def test_groups_of_a_plan_are_found_by_name() -> None:
    entry = {"kind": "cosine", "lr": 0.1, "groups": {"a": 0.1, "b": 1.0}}
    trace = lrs.simulate(entry, {"steps": 10})
    optimizer = sgd(0.1, 0.1, 0.1, names="bab")
    scheduler = scheduler_of(optimizer, entry, {"steps": 10})
    watch = trained(optimizer, scheduler, 10)
    wanted = [trace.groups[name].tolist() for name in "bab"]
    assert [list(rates) for rates in zip(*watch.rates, strict=True)] == wanted
    assert scheduler.base_lrs == [0.1, pytest.approx(0.01), 0.1]


def test_groups_of_a_plan_are_taken_in_order_where_one_has_no_name() -> None:
    entry = {"kind": "cosine", "groups": {"a": 0.5, "b": 1.0}}
    optimizer = torch.optim.SGD([{"params": weights(), "name": "b"}, {"params": weights()}], lr=0.2)
    watch = trained(optimizer, scheduler_of(optimizer, entry, {"steps": 10}), 10)
    trace = lrs.simulate({**entry, "lr": 0.2}, {"steps": 10})
    assert watch.first == trace.lr.tolist() == trace.groups["a"].tolist()
    assert [rates[1] for rates in watch.rates] == trace.groups["b"].tolist()


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (sgd(0.1, 0.1, 0.1), "cosine: groups names 2 (aa, bb), and the optimizer has 3 parameter groups"),
        (sgd(0.1), "cosine: groups names 2 (aa, bb), and the optimizer has 1 parameter group"),
        (
            torch.optim.SGD([{"params": weights(), "name": name} for name in ("aa", "b")], lr=0.1),
            "cosine: groups has no b, as a parameter group is called (did you mean bb?)",
        ),
        (
            torch.optim.SGD([{"params": weights(), "name": "aa"}], lr=0.1),
            "cosine: groups has bb, and no parameter group is called so; the optimizer has aa",
        ),
        (
            sgd(0.1, 0.2),
            "cosine: groups scale one base rate, and the optimizer's groups have 0.1, 0.2: name lr in the plan",
        ),
    ],
)
def test_groups_that_do_not_match_are_refused(optimizer: Any, message: str) -> None:
    assert message_of(scheduler_of, optimizer, {"kind": "cosine", "groups": {"aa": 0.1, "bb": 1}}) == message


def test_groups_with_rates_of_their_own_run_the_schedule_at_them() -> None:
    """As torch does it: eta_min is the same for all."""
    optimizer, reference = sgd(0.1, 0.4), sgd(0.1, 0.4)
    scheduler = scheduler_of(optimizer, {"kind": "cosine", "eta_min": 0.01}, {"steps": 10})
    ours = trained(optimizer, scheduler, 10)
    theirs = trained(reference, lr_scheduler.CosineAnnealingLR(reference, 10, eta_min=0.01), 10)
    np.testing.assert_allclose(ours.rates, theirs.rates, rtol=1e-12)
    for group, lr in enumerate((0.1, 0.4)):
        trace = lrs.simulate({"kind": "cosine", "eta_min": 0.01, "lr": lr}, {"steps": 10})
        assert [rates[group] for rates in ours.rates] == trace.lr.tolist()


def test_groups_keep_their_ratio_to_the_first_where_the_plan_names_the_rate() -> None:
    optimizer = sgd(0.1, 0.2)
    scheduler, told = warnings_of(scheduler_of, optimizer, {"kind": "cosine", "lr": 0.05}, {"steps": 10})
    assert told == [
        "cosine says lr 0.05 and the optimizer 0.1: the plan's is used, which makes 0.05, 0.1 of the groups' rates"
    ]
    assert scheduler.base_lrs == [0.05, 0.1]
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.1]


@pytest.mark.parametrize("entry", [{"kind": "cosine", "lr": 3e-4}, {"kind": "cosine"}])
def test_a_small_rate_for_the_backbone_stays_small(entry: dict[str, Any]) -> None:
    """The usual layout of fine-tuning: the optimizer's own rate is that of a later group, and the plan's."""
    groups = [{"params": weights(), "lr": 3e-5}, {"params": weights()}]
    optimizer = torch.optim.AdamW(groups, lr=3e-4)
    scheduler, told = warnings_of(scheduler_of, optimizer, entry, {"steps": 10})
    assert told == []
    assert scheduler.base_lrs == [3e-5, 3e-4]
    planned = lrs.simulate({"kind": "cosine", "lr": 3e-4}, {"steps": 10}).lr.tolist()
    assert [rates[1] for rates in trained(optimizer, scheduler, 10).rates] == planned


def test_groups_keep_their_ratio_where_rates_do_not_come_from_lr() -> None:
    entry = {"kind": "onecycle", "max_lr": 0.3}
    trace = lrs.simulate(entry, {"steps": 20})
    optimizer = sgd(0.1, 0.02)
    watch = trained(optimizer, scheduler_of(optimizer, entry, {"steps": 20}), 20)
    assert watch.first == trace.lr.tolist()
    np.testing.assert_allclose([rates[1] for rates in watch.rates], trace.lr * 0.2, rtol=1e-15)


def test_groups_keep_their_ratio_where_a_plan_cannot_be_built_at_another_rate() -> None:
    """A schedule built in Python, and a kind whose ``lr`` is a list."""
    entry = {"kind": "fairseq.fixed", "lr": [0.1, 0.05, 0.02], "updates_per_epoch": 5}
    for target in (entry, lrs.simulate({"kind": "cosine", "lr": 0.1, "eta_min": 0.05}, {"steps": 20}).schedule):
        optimizer = sgd(0.1, 0.025)
        watch = trained(optimizer, scheduler_of(optimizer, target, {"steps": 20}), 20)
        assert watch.first == lrs.simulate(target, {"steps": 20}).lr.tolist()
        assert [rates[1] for rates in watch.rates] == [rate * 0.25 for rate in watch.first]


def test_a_group_at_rate_0_stays_there() -> None:
    optimizer = sgd(0.1, 0.0)
    watch = trained(optimizer, scheduler_of(optimizer, "cosine", {"steps": 5}), 5)
    assert {rates[1] for rates in watch.rates} == {0.0}
    assert scheduler_of(sgd(0.0, 0.1), {"kind": "cosine", "lr": 0.1}).base_lrs == [0.0, 0.1]
    told = message_of(scheduler_of, sgd(0.0, 0.1), {"kind": "cosine", "lr": 0.2})
    assert told == "lr must be > 0 in the first parameter group, as the others have another, got 0.0"


def test_a_group_whose_rate_does_not_fit_is_named() -> None:
    told = message_of(scheduler_of, sgd(0.1, 0.01), {"kind": "cosine", "eta_min": 0.05})
    assert told == "cosine: eta_min must be <= lr 0.01, got 0.05 (in parameter group 1, whose base rate is 0.01)"


def test_groups_that_are_added_join_in() -> None:
    optimizer = sgd(0.1)
    scheduler = scheduler_of(optimizer, "cosine", {"steps": 10})
    watch = trained(optimizer, scheduler, 4)
    optimizer.add_param_group({"params": weights(), "lr": 0.3})
    more = trained(optimizer, scheduler, 5)
    wanted = lrs.simulate({"kind": "cosine", "lr": 0.3}, {"steps": 10}).lr.tolist()
    assert [rates[1] for rates in more.rates][1:] == wanted[5:9]
    assert watch.first[:4] == lrs.simulate({"kind": "cosine"}, {"steps": 10}).lr.tolist()[:4]
    assert scheduler.base_lrs == [0.1, 0.3]
    optimizer, entry = sgd(0.1, 0.1), {"kind": "cosine", "groups": {"a": 1, "b": 2}}
    scheduler = scheduler_of(optimizer, entry)
    optimizer.add_param_group({"params": weights(), "lr": 0.3})
    optimizer.step()
    assert "the optimizer has 3 parameter groups" in message_of(scheduler.step)


# Its end.


def test_past_the_run_it_goes_on_as_it_is_defined() -> None:
    schedule = lrs.simulate({"kind": "torch.CosineAnnealingLR", "T_max": 10, "lr": 0.1}, {"steps": 10}).schedule
    optimizer = sgd(0.1)
    scheduler = scheduler_of(optimizer, {"kind": "torch.CosineAnnealingLR", "T_max": 10}, {"steps": 10})
    watch = trained(optimizer, scheduler, 200)
    assert watch.first[10:] == [schedule(tick) for tick in range(10, 200)]
    assert watch.first[20] == pytest.approx(0.1)
    optimizer = sgd(0.1)
    watch = trained(optimizer, scheduler_of(optimizer, "cosine", {"steps": 10}), 30)
    assert set(watch.first[10:]) == {0.0}


def test_it_raises_where_the_library_would() -> None:
    entry = {"kind": "torch.OneCycleLR", "max_lr": 0.1, "total_steps": 10}
    optimizer, reference = sgd(0.1), sgd(0.1)
    ours = scheduler_of(optimizer, entry, {"steps": 10})
    theirs = lr_scheduler.OneCycleLR(reference, 0.1, total_steps=10)
    ours_rates, theirs_rates = trained(optimizer, ours, 10).first, trained(reference, theirs, 10).first
    np.testing.assert_allclose(ours_rates, theirs_rates, rtol=1e-9)
    with pytest.raises(ValueError, match="Tried to step 11 times"):
        theirs.step()
    assert message_of(ours.step) == (
        "torch.OneCycleLR raises in torch at tick 11: it has been stepped more than its total_steps, 10"
    )
    assert ours.last_epoch == 10
    entry = {"kind": "cosine", "T_max": 10, "after": "error"}
    optimizer = sgd(0.1)
    ours = scheduler_of(optimizer, entry, {"steps": 10})
    trained(optimizer, ours, 10)
    assert message_of(ours.step) == "cosine is not defined past tick 10, and the run goes on to 11"


# Its state.

PLAN = {"kind": "cosine", "warmup": 20, "lr": 0.1, "eta_min": 1e-5}


def state_of(entry: Any, updates: int, steps: int = 100, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The states of a scheduler and its optimizer after so many updates, as a file gives them back."""
    optimizer = sgd(0.1, **kwargs)
    scheduler = scheduler_of(optimizer, entry, {"steps": steps})
    trained(optimizer, scheduler, updates)
    file = io.BytesIO()
    torch.save((scheduler.state_dict(), optimizer.state_dict()), file)
    file.seek(0)
    loaded: tuple[dict[str, Any], dict[str, Any]] = torch.load(file, weights_only=True)
    return loaded


@pytest.mark.parametrize("order", ["optimizer first", "optimizer before", "optimizer last", "scheduler only"])
def test_it_resumes_exactly(order: str) -> None:
    trace = lrs.simulate(PLAN, {"steps": 100})
    for updates in (0, 1, 37, 99):
        state, saved = state_of(PLAN, updates)
        optimizer = sgd(0.1)
        if order == "optimizer first":
            optimizer.load_state_dict(saved)
        scheduler = scheduler_of(optimizer, PLAN, {"steps": 100})
        if order == "optimizer before":
            optimizer.load_state_dict(saved)
        scheduler.load_state_dict(state)
        if order == "optimizer last":
            optimizer.load_state_dict(saved)
        assert scheduler.get_last_lr() == [trace.lr[updates]]
        assert optimizer.param_groups[0]["lr"] == trace.lr[updates]
        assert trained(optimizer, scheduler, 100 - updates).first == trace.lr[updates:].tolist()
        assert scheduler.last_epoch == 100


def test_it_resumes_exactly_in_a_new_process(tmp_path: Path) -> None:
    entry = {"kind": "onecycle", "cycle_momentum": True}
    trace = lrs.simulate({**entry, "lr": 0.1}, {"steps": 40_000})
    torch.save(state_of(entry, 30_000, 40_000), tmp_path / "state.pt")
    code = f"""
import torch, json, lrsched_cli as lrs
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
scheduler = lrs.torch_scheduler(optimizer, {entry}, {{"steps": 40_000}})
state, saved = torch.load({str(tmp_path / "state.pt")!r}, weights_only=True)
scheduler.load_state_dict(state)
optimizer.load_state_dict(saved)
out = []
for _ in range(10_000):
    out.append([optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]])
    optimizer.step()
    scheduler.step()
print(json.dumps(out))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rates, momenta = zip(*json.loads(done.stdout), strict=True)
    assert list(rates) == trace.lr[30_000:].tolist()
    assert trace.momentum is not None
    assert list(momenta) == trace.momentum[30_000:].tolist()


def test_the_state_is_small_and_plain() -> None:
    optimizer = sgd(0.1)
    scheduler = scheduler_of(optimizer, PLAN, {"steps": 10**6})
    trained(optimizer, scheduler, 3)
    state = scheduler.state_dict()
    assert json.loads(json.dumps(state)) == state
    assert len(json.dumps(state)) < 300
    assert state.keys() == {"last_epoch", "_step_count", "base_lrs", "_last_lr", "plan", "digest"}
    assert state["last_epoch"] == 3
    assert state["_last_lr"] == scheduler.get_last_lr() == [optimizer.param_groups[0]["lr"]]


def test_the_state_of_another_plan_warns() -> None:
    state, saved = state_of(PLAN, 30)
    other = {**PLAN, "warmup": 40}
    optimizer = sgd(0.1)
    scheduler = scheduler_of(optimizer, other, {"steps": 100})
    _, told = warnings_of(scheduler.load_state_dict, state)
    trace = lrs.simulate(other, {"steps": 100})
    rates = f"its rate was {state['_last_lr'][0]:g}, and this one's is {trace.lr[30]:g}"
    assert told == [f"the state is of another plan that is called cosine too: at tick 30 {rates}"]
    optimizer.load_state_dict(saved)  # with the other plan's rate, which is no reason to warn again
    watch, told = warnings_of(trained, optimizer, scheduler, 70)
    assert told == []
    assert watch.first[1:] == trace.lr[31:].tolist()


def test_the_state_of_a_torch_scheduler_is_taken_with_a_warning() -> None:
    optimizer = sgd(0.1)
    theirs = lr_scheduler.CosineAnnealingLR(optimizer, 100)
    trained(optimizer, theirs, 30)
    optimizer = sgd(0.1)
    ours = scheduler_of(optimizer, "cosine", {"steps": 100})
    _, told = warnings_of(ours.load_state_dict, theirs.state_dict())
    assert len(told) == 1
    assert told[0].startswith("the state is of another plan (or of another scheduler) than cosine: at tick 30")
    assert optimizer.param_groups[0]["lr"] == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "last_epoch must be a whole number in a scheduler's state, got None"),
        ({"last_epoch": "3"}, "last_epoch must be a whole number in a scheduler's state, got '3'"),
        ({"last_epoch": 3, "base_lrs": [0.1, 0.1]}, "state_dict has 2 parameter groups, and the optimizer 1"),
    ],
)
def test_what_is_no_state_is_refused(state: Any, message: str) -> None:
    assert message_of(scheduler_of(sgd(0.1), "cosine").load_state_dict, state) == message


def test_the_base_rate_comes_back_with_the_state() -> None:
    """As in torch, an optimizer that is built with another rate goes on with the one it was saved with."""
    state, _ = state_of("cosine", 30)
    optimizer = sgd(0.7)
    scheduler = scheduler_of(optimizer, "cosine", {"steps": 100})
    scheduler.load_state_dict(state)
    wanted = lrs.simulate({"kind": "cosine", "lr": 0.1}, {"steps": 100}).lr
    assert trained(optimizer, scheduler, 70).first == wanted[30:].tolist()


def test_last_epoch_resumes_without_a_state() -> None:
    trace = lrs.simulate(PLAN, {"steps": 100})
    optimizer = sgd(0.1)
    scheduler = scheduler_of(optimizer, PLAN, {"steps": 100}, last_epoch=29)
    assert trained(optimizer, scheduler, 70).first == trace.lr[30:].tolist()
    optimizer = sgd(0.1)
    told = "last_epoch needs the optimizer's initial_lr: load the optimizer's state first, or name lr in the plan"
    assert message_of(scheduler_of, optimizer, "cosine", {"steps": 100}, last_epoch=29) == told
    optimizer.param_groups[0]["initial_lr"] = 0.3
    scheduler = scheduler_of(optimizer, "cosine", {"steps": 100}, last_epoch=29)
    assert optimizer.param_groups[0]["lr"] == lrs.simulate({"kind": "cosine", "lr": 0.3}, {"steps": 100}).lr[30]
    assert message_of(scheduler_of, optimizer, "cosine", last_epoch=-2) == (
        "last_epoch must be a whole number >= -1, got -2"
    )


def test_digests_tell_plans_apart_and_are_the_same_everywhere(tmp_path: Path) -> None:
    entries = [dict(entry) for entry in ENTRIES]

    def digests(entries: list[dict[str, Any]]) -> list[str]:
        return [scheduler_of(sgd(0.1), planned(entry, 60)[0], {"steps": 60}).digest for entry in entries]

    here = digests(entries)
    assert len(set(here)) == len(here)
    (tmp_path / "entries.json").write_text(json.dumps([planned(entry, 60)[0] for entry in entries]))
    code = f"""
import json, torch, lrsched_cli as lrs
for entry in json.load(open({str(tmp_path / "entries.json")!r})):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    print(lrs.torch_scheduler(optimizer, entry, {{"steps": 60}}).digest)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == here


def test_the_metrics_that_a_plan_lists_are_no_part_of_it() -> None:
    """A plan of 60 epochs lists other examples than one of 100."""
    runs = [{"epochs": 60}, {"epochs": 100}]
    assert len({scheduler_of(sgd(0.1), "plateau", run).digest for run in runs}) == 1
    plans = [{"kind": "plateau", "metrics": metrics} for metrics in ([1.0, 2.0], [3.0])]
    assert len({scheduler_of(sgd(0.1), plan).digest for plan in plans}) == 1


def test_a_longer_run_is_the_same_plan_where_it_changes_nothing() -> None:
    def digest(entry: dict[str, Any], run: dict[str, Any]) -> str:
        return str(scheduler_of(sgd(run.get("lr", 0.1)), entry, run).digest)

    assert digest({"kind": "step", "step_size": 30}, {"steps": 90}) == digest(
        {"kind": "step", "step_size": 30}, {"steps": 100}
    )
    assert digest({"kind": "cosine"}, {"steps": 90}) != digest({"kind": "cosine"}, {"steps": 100})
    assert digest({"kind": "cosine"}, {"steps": 90}) != digest({"kind": "cosine"}, {"epochs": 90})
    assert digest({"kind": "cosine"}, {"steps": 90}) != digest({"kind": "cosine"}, {"steps": 90, "lr": 0.1000001})


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
@pytest.mark.parametrize("copier", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["deepcopy", "pickle"])
def test_copies_go_on_by_themselves(entry: Mapping[str, Any], copier: Any) -> None:
    entry, trace = planned(entry, 60)
    optimizer = sgd(0.1)
    scheduler = scheduler_of(optimizer, entry, {"steps": 60})
    trained(optimizer, scheduler, 20)
    twin = copier(scheduler)
    assert twin.optimizer is not optimizer
    assert twin.digest == scheduler.digest
    assert trained(twin.optimizer, twin, 40).first == trace.lr[20:].tolist()
    assert scheduler.last_epoch == 20


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([*OPERATED, PLAN]), st.lists(st.sampled_from(["step", "load", "copy", "jump"]), max_size=60))
def test_whatever_happens_the_optimizer_has_the_plans_rate(entry: Any, deeds: list[str]) -> None:
    trace = lrs.simulate({"lr": 0.1, **entry}, {"steps": 100})
    wanted = [*trace.lr, *(trace.schedule(tick) for tick in range(100, 200))]
    optimizer = sgd(0.1)
    scheduler = scheduler_of(optimizer, entry, {"steps": 100})
    for deed in deeds:
        if deed == "step":
            optimizer.step()
            scheduler.step()
        elif deed == "load":
            state = json.loads(json.dumps(scheduler.state_dict()))
            optimizer = sgd(0.1)
            scheduler = scheduler_of(optimizer, entry, {"steps": 100})
            scheduler.load_state_dict(state)
        elif deed == "copy":
            scheduler = copy.deepcopy(scheduler)
            optimizer = scheduler.optimizer
        else:
            optimizer.step()
            scheduler.step((scheduler.last_epoch * 7 + 13) % 100)
        assert optimizer.param_groups[0]["lr"] == wanted[scheduler.last_epoch]
        assert scheduler.get_last_lr() == [wanted[scheduler.last_epoch]]


# A metric.


def losses(count: int, seed: int = 0) -> list[float]:
    noise = np.random.default_rng(seed).normal(size=count)
    falling: list[float] = (np.maximum(1 - np.arange(count) / 40, 0.3) + 0.03 * noise).tolist()
    return falling


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_does_what_torchs_does(mode: str) -> None:
    params: dict[str, Any] = {"mode": mode, "patience": 2, "factor": 0.5, "cooldown": 1}
    optimizer, reference = sgd(0.1, 0.02), sgd(0.1, 0.02)
    ours = scheduler_of(optimizer, {"kind": "plateau", **params}, {"epochs": 120})
    theirs = lr_scheduler.ReduceLROnPlateau(reference, **params)
    metrics = losses(120)
    ours_rates = trained(optimizer, ours, 120, iter(metrics)).rates
    theirs_rates = trained(reference, theirs, 120, iter(metrics)).rates
    np.testing.assert_allclose(ours_rates, theirs_rates, rtol=1e-9)
    assert len(set(ours_rates)) > 4
    assert isinstance(ours, lr_scheduler.ReduceLROnPlateau)
    assert ours.plan.interval == "epoch"


METRIC_PLANS = [
    {"kind": "plateau", "patience": 3},
    {"kind": "torch.ReduceLROnPlateau", "patience": 3},
    {"kind": "greedy", "patience": 3},
    {"kind": "plateau", "patience": 3, "warmup": 10},
    {"sequence": [{"kind": "cosine", "for": 10}, {"kind": "plateau", "patience": 2}]},
    {"kind": "plateau", "patience": 2, "groups": {"a": 1, "b": 0.5}},
]


@pytest.mark.parametrize("entry", METRIC_PLANS, ids=name_of)
def test_a_plan_reacts_to_the_metrics_and_resumes(entry: dict[str, Any]) -> None:
    """The rates are those of a plan that lists the metrics; another process goes on with the saved ones."""
    metrics = losses(60)
    schedule = lrs.simulate({"lr": 0.1, **entry}, {"steps": 60}).schedule.fed(metrics)
    wanted = [schedule.fed(metrics[:tick])(tick) for tick in range(60)]
    rates = (0.1, 0.1) if "groups" in entry else (0.1,)

    def fresh() -> tuple[Any, Any]:
        optimizer = sgd(*rates)
        return optimizer, scheduler_of(optimizer, entry, {"steps": 60})

    optimizer, scheduler = fresh()
    assert trained(optimizer, scheduler, 60, iter(metrics)).first == wanted
    optimizer, scheduler = fresh()
    trained(optimizer, scheduler, 25, iter(metrics))
    state = json.loads(json.dumps(scheduler.state_dict()))
    assert state["metrics"] == metrics[:25]
    optimizer, scheduler = fresh()
    scheduler.load_state_dict(state)
    twin = pickle.loads(pickle.dumps(scheduler))
    assert trained(optimizer, scheduler, 35, iter(metrics[25:])).first == wanted[25:]
    assert trained(twin.optimizer, twin, 35, iter(metrics[25:])).first == wanted[25:]
    assert len(set(wanted)) > 2


def test_a_metric_is_needed_where_one_is_and_refused_where_none_is() -> None:
    scheduler = scheduler_of(sgd(0.1), "plateau", {"epochs": 10})
    assert message_of(scheduler.step) == "plateau reacts to a metric: call step(metric), as ReduceLROnPlateau's"
    assert message_of(scheduler.step, 1.0, 3) == "plateau reacts to every metric in turn: step(metric) takes no epoch"
    assert scheduler.last_epoch == 0
    scheduler.step(torch.tensor(0.5))
    assert scheduler.state_dict()["metrics"] == [0.5]
    scheduler = scheduler_of(sgd(0.1), "cosine", {"epochs": 10})
    scheduler.optimizer.step()
    assert message_of(scheduler.step, 0.37) == "cosine reacts to no metric: step() takes none, got 0.37"
    state = scheduler_of(sgd(0.1), "plateau", {"epochs": 10}).state_dict()
    with pytest.warns(UserWarning, match="another plan"):
        scheduler.load_state_dict(state)
    scheduler = scheduler_of(sgd(0.1), "plateau", {"epochs": 10})
    told = "state_dict must list the 3 metrics so far, as plateau reacts to them"
    assert message_of(scheduler.load_state_dict, {"last_epoch": 3}) == told
    told = "last_epoch does not say what training measured, and plateau reacts to it: load the scheduler's state"
    assert message_of(scheduler_of, sgd(0.1), {"kind": "plateau", "lr": 0.1}, last_epoch=3) == told


def test_a_plan_that_cannot_react_is_refused_before_training() -> None:
    told = message_of(scheduler_of, sgd(0.1), {"kind": "plateau", "repeat": 10})
    assert told == "repeat plays plateau again: it cannot react to the metric of training"


# Among torch's own.


def test_it_is_a_scheduler_of_torch() -> None:
    optimizer = sgd(0.1)
    scheduler = scheduler_of(optimizer, "cosine", {"steps": 10})
    assert isinstance(scheduler, lr_scheduler.LRScheduler)
    assert not isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
    assert optimizer.param_groups[0]["initial_lr"] == 0.1
    assert repr(scheduler) == "PlannedLR(cosine, step 0 of 10)"
    assert scheduler.get_lr() == scheduler.get_last_lr() == scheduler._last_lr == [0.1]


def test_a_step_before_the_first_update_warns() -> None:
    optimizer = sgd(0.1)
    scheduler = scheduler_of(optimizer, "cosine", {"steps": 10})
    _, told = warnings_of(scheduler.step)
    (message,) = told
    assert message.startswith("scheduler.step() came before optimizer.step(), so the first rate of the plan is skipped")


def test_updates_that_a_grad_scaler_skips_keep_their_rate() -> None:
    optimizer = sgd(0.1)
    scheduler = scheduler_of(optimizer, "cosine", {"steps": 12})
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=100)
    weight = optimizer.param_groups[0]["params"][0]
    watch = Watch(optimizer)
    tries = 0
    while len(watch.rates) < 12:
        optimizer.zero_grad()
        loss = weight.sum() * (float("inf") if tries % 3 == 1 else 1.0)
        scaler.scale(loss).backward()
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() >= before:  # the update was made
            scheduler.step()
        tries += 1
    assert tries > 12
    assert watch.first == lrs.simulate({"kind": "cosine"}, {"steps": 12}).lr.tolist()


def sequential(optimizer: Any, place: int) -> Any:
    """SequentialLR with the plan's scheduler in one of two places, and torch's in the other."""
    if place == 0:
        first = scheduler_of(optimizer, {"kind": "linear", "start_factor": 0.1}, {"steps": 5})
        return lr_scheduler.SequentialLR(optimizer, [first, lr_scheduler.CosineAnnealingLR(optimizer, 10)], [5])
    first = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5)
    return lr_scheduler.SequentialLR(optimizer, [first, scheduler_of(optimizer, "cosine", {"steps": 10})], [5])


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("resumed", [None, 3, 8])
def test_it_takes_its_turn_in_sequential_lr(place: int, resumed: int | None) -> None:
    optimizer, reference = sgd(0.1), sgd(0.1)
    parts = [lr_scheduler.LinearLR(reference, 0.1, total_iters=5), lr_scheduler.CosineAnnealingLR(reference, 10)]
    theirs = trained(reference, lr_scheduler.SequentialLR(reference, parts, [5]), 15).first
    scheduler = sequential(optimizer, place)
    ours = trained(optimizer, scheduler, resumed or 15).first
    if resumed:
        state, saved = copy.deepcopy(scheduler.state_dict()), copy.deepcopy(optimizer.state_dict())
        optimizer = sgd(0.1)
        scheduler = sequential(optimizer, place)
        optimizer.load_state_dict(saved)
        scheduler.load_state_dict(state)
        ours += trained(optimizer, scheduler, 15 - resumed).first
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_two_plans_follow_each_other_in_sequential_lr() -> None:
    optimizer = sgd(0.1)
    parts = [
        scheduler_of(optimizer, {"kind": "linear", "start_factor": 0.1}, {"steps": 5}),
        scheduler_of(optimizer, "cosine", {"steps": 10}),
    ]
    watch = trained(optimizer, lr_scheduler.SequentialLR(optimizer, parts, [5]), 15)
    first = lrs.simulate({"kind": "linear", "start_factor": 0.1}, {"steps": 5}).lr
    assert watch.first == [*first, *lrs.simulate({"kind": "cosine"}, {"steps": 10}).lr]


def test_a_scheduler_that_writes_beside_it_is_told_once() -> None:
    optimizer = sgd(0.1)
    parts = [scheduler_of(optimizer, "cosine", {"steps": 10}), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    chained = lr_scheduler.ChainedScheduler(parts)
    _, told = warnings_of(trained, optimizer, chained, 6)
    (message,) = told
    assert message == (
        "something else changed the learning rate from 0.0975528, as cosine has it, to 0.0877975: the plan's rates "
        "are written over it (combine schedules in the plan, with product: or sequence:)"
    )
    optimizer = sgd(0.1)
    plateau = scheduler_of(optimizer, "plateau")
    with pytest.raises(ValueError, match="does not support `ReduceLROnPlateau`"):
        lr_scheduler.ChainedScheduler([plateau])


def test_a_rate_set_by_hand_is_told_and_overwritten() -> None:
    optimizer = sgd(0.1, 0.1)
    scheduler = scheduler_of(optimizer, "cosine", {"steps": 10})
    trained(optimizer, scheduler, 3)
    optimizer.param_groups[1]["lr"] = 0.5
    watch, told = warnings_of(trained, optimizer, scheduler, 5)
    assert len(told) == 1
    assert "to 0.5" in told[0]
    assert watch.rates[0][1] == 0.5
    assert [rates[1] for rates in watch.rates[1:]] == watch.first[1:]


def test_lightnings_dictionary() -> None:
    optimizer = sgd(0.1)
    config = lrs.lightning_config(optimizer, "cosine", {"steps": 10})
    assert config["optimizer"] is optimizer
    inner = config["lr_scheduler"]
    assert inner.keys() == {"scheduler", "interval", "frequency"}
    assert (inner["interval"], inner["frequency"]) == ("step", 1)
    assert lrs.lightning_config(sgd(0.1), "cosine", {"epochs": 10})["lr_scheduler"]["interval"] == "epoch"
    inner = lrs.lightning_config(sgd(0.1), "plateau", {"epochs": 10}, monitor="loss")["lr_scheduler"]
    assert (inner["monitor"], inner["reduce_on_plateau"], inner["interval"]) == ("loss", True, "epoch")


# What cannot be.


@pytest.mark.parametrize(
    ("target", "run", "message"),
    [
        ("cosin", None, "unknown kind cosin (did you mean cosine?); lrsched list all shows every one"),
        (5, None, "target must be a word such as schedules.yaml:main, a mapping, a schedule or a trace, got 5"),
        ({"kind": "cosine"}, {"epoch": 3}, "run has no key 'epoch' (did you mean epochs?)"),
        ({"kind": "cosine", "eta_min": -1}, None, "cosine: eta_min must be >= 0, got -1"),
        ({}, None, "plan: must have one of kind, sequence and product, got the keys (none)"),
    ],
)
def test_bad_targets_are_refused_in_one_line(
    target: Any, run: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message_of(scheduler_of, sgd(0.1), target, run) == message


def test_what_is_no_optimizer_is_refused() -> None:
    assert message_of(scheduler_of, None, "cosine") == "optimizer must be a torch.optim.Optimizer, got None"
    told = "lr must be a finite number > 0, got 0.0, the optimizer's; name lr in the plan"
    assert message_of(scheduler_of, sgd(0.0), "cosine") == told


NAMES = {
    "torch_scheduler": ("torch", "needs PyTorch: pip install torch"),
    "lightning_config(None, 'cosine')": ("torch", "needs PyTorch: pip install torch"),
    "trainer_optimizers": ("transformers", "needs transformers: pip install 'transformers[torch]'"),
    "RateAudit": ("transformers", "needs transformers: pip install 'transformers[torch]'"),
    "keras_schedule": ("keras", "needs Keras: pip install keras"),
    "optax_schedule": ("jax", "needs JAX: pip install optax"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_library_is_told_in_one_line(name: str) -> None:
    library, message = NAMES[name]
    code = f"""
import sys
sys.modules[{library!r}] = None
import lrsched_cli as lrs
try:
    lrs.{name}
except lrs.SpecError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (message, "")


def test_importing_the_package_loads_no_training_library() -> None:
    code = (
        "import sys, lrsched_cli as lrs; lrs.simulate({'kind': 'cosine'}); dir(lrs); "
        "print(sorted({'torch', 'keras', 'jax', 'transformers', 'lightning', 'tensorflow'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import sys, lrsched_cli as lrs; lrs.torch_scheduler; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
