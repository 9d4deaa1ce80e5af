"""Who calls ``step()``: what a launch makes of a plan, against real loops of torch and figures that users published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from lrsched_cli.curve import extremes, reduce
from lrsched_cli.errors import SpecError
from lrsched_cli.run import Run, read_stepper
from lrsched_cli.schedules.stepping import Every, InEpochs, OnceIn, Pace, Skipping
from lrsched_cli.spec import simulate
from lrsched_cli.stepper import note, overlaid, stepped
from lrsched_cli.trace import Trace
from tests.support import agree, message_of

FAR = np.arange(400)


def launched(spec: Mapping[str, Any], run: Mapping[str, Any]) -> Trace:
    """What a run's stepper makes of an entry."""
    trace = stepped(simulate(spec, run), Run.of(run))
    assert trace is not None
    return trace


def loop(make: Callable[[Any], Any], batches: list[int], accumulated: int, *, lr: float = 1.0) -> list[float]:
    """The rates that a real optimizer uses where its scheduler is stepped after every batch of every epoch."""
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    optimizer = torch.optim.SGD([weight], lr=lr)
    scheduler = make(optimizer)
    used = []
    for count in batches:
        for batch in range(count):
            if (batch + 1) % accumulated == 0 or batch + 1 == count:
                used.append(float(optimizer.param_groups[0]["lr"]))
                optimizer.step()
            scheduler.step()
    return used


# The paces themselves.

PACES = [
    Every(4),
    Every(4, before=3),
    Every(4, most=41),
    Every(1),
    InEpochs(10, 4),
    InEpochs(5, 4),
    InEpochs(3, 8),
    OnceIn(7),
    OnceIn(1),
    Skipping(Fraction(1, 100)),
    Skipping(Fraction(3, 7)),
    Skipping(Fraction(9, 10)),
]


@pytest.mark.parametrize("pace", PACES, ids=repr)
def test_the_first_update_at_a_tick_is_the_first(pace: Pace) -> None:
    """``first`` inverts ``ticks``: the earliest update whose tick is not before the one asked for."""
    ticks = np.asarray(pace.ticks(FAR.astype(float)))
    assert (np.diff(ticks) >= 0).all()
    for tick in range(int(min(ticks[-1], 150)) + 1):
        assert pace.first(np.array([float(tick)]))[0] == np.flatnonzero(ticks >= tick)[0], tick
    assert pace.first(np.array([np.inf]))[0] == np.inf


def test_a_scheduler_that_stops_never_gets_further() -> None:
    assert Every(4, most=41).first(np.array([42.0]))[0] == np.inf
    assert np.asarray(Every(4, most=41).ticks(np.arange(9.0, 13.0))).tolist() == [36, 40, 41, 41]


def test_skipped_updates_are_spread_evenly() -> None:
    ticks = np.asarray(Skipping(Fraction(1, 10)).ticks(np.arange(1001.0)))
    assert ticks[1000] == 900
    repeats = np.flatnonzero(np.diff(ticks) == 0)
    assert len(repeats) == 100
    assert (np.diff(repeats) == 10).all()


# Against real loops.


def _schedulers() -> dict[str, tuple[Mapping[str, Any], Callable[[Any], Any]]]:
    torch = pytest.importorskip("torch")
    made = torch.optim.lr_scheduler
    return {
        "step": ({"kind": "torch.StepLR", "step_size": 7, "gamma": 0.5}, lambda o: made.StepLR(o, 7, 0.5)),
        "cosine": ({"kind": "torch.CosineAnnealingLR", "T_max": 24}, lambda o: made.CosineAnnealingLR(o, 24)),
        "exponential": ({"kind": "torch.ExponentialLR", "gamma": 0.9}, lambda o: made.ExponentialLR(o, 0.9)),
        "restarts": (
            {"kind": "torch.CosineAnnealingWarmRestarts", "T_0": 5, "T_mult": 2},
            lambda o: made.CosineAnnealingWarmRestarts(o, 5, 2),
        ),
        "cyclic": (
            {"kind": "torch.CyclicLR", "base_lr": 0.1, "max_lr": 1.0, "step_size_up": 6, "cycle_momentum": False},
            lambda o: made.CyclicLR(o, 0.1, 1.0, 6, cycle_momentum=False),
        ),
    }


@pytest.mark.parametrize("name", ["step", "cosine", "exponential", "restarts", "cyclic"])
def test_a_scheduler_stepped_on_every_batch(name: str) -> None:
    """10 batches an epoch make two accumulations of 4 and one of 2."""
    spec, make = _schedulers()[name]
    run = {"epochs": 4, "dataset_size": 80, "batch_size": 8, "grad_accumulation": 4, "stepper": "micro-batch"}
    ours = launched({"lr": 1.0, **spec}, run)
    agree(ours.lr, loop(make, [10] * 4, 4))
    agree(ours.schedule(ours.tick), ours.lr)


@pytest.mark.parametrize("name", ["step", "cosine", "exponential", "restarts", "cyclic"])
def test_a_scheduler_stepped_on_every_batch_of_even_accumulations(name: str) -> None:
    spec, make = _schedulers()[name]
    run = {"steps": 12, "grad_accumulation": 3, "stepper": "micro-batch"}
    agree(launched({"lr": 1.0, **spec}, run).lr, loop(make, [36], 3))


@pytest.mark.parametrize("name", ["step", "cosine", "exponential", "restarts", "cyclic"])
def test_a_plan_in_epochs_stepped_on_every_batch_becomes_one_in_steps(name: str) -> None:
    """ivadomed/ivadomed#57: unplanned cycles by stepping on every batch."""
    spec, make = _schedulers()[name]
    run = {"epochs": 6, "steps_per_epoch": 5, "interval": "epoch", "stepper": "micro-batch"}
    entry = {"lr": 1.0, **spec}
    meant, ours = overlaid(simulate(entry, run), Run.of(run))
    agree(ours.lr, loop(make, [5] * 6, 1))
    assert (meant.interval, ours.interval, len(meant), len(ours)) == ("step", "step", 30, 30)
    agree(meant.lr, np.repeat(simulate(entry, run).lr, 5))
    assert ours.epoch is not None
    assert ours.epoch.tolist() == [tick // 5 for tick in range(30)]


def test_a_plan_in_steps_stepped_once_an_epoch() -> None:
    """pytorch/pytorch#65417: OneCycleLR stepped by epoch follows a sliver of its curve."""
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=300, cycle_momentum=False)
    used = []
    for _ in range(10):
        for _ in range(30):
            used.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
        scheduler.step()
    spec = {"kind": "torch.OneCycleLR", "max_lr": 1.0, "total_steps": 300, "cycle_momentum": False}
    ours = launched(spec, {"epochs": 10, "steps_per_epoch": 30, "stepper": "epoch"})
    agree(ours.lr, used)
    assert ours.lr.max() < 0.07


def test_skipped_steps_as_accelerate_and_transformers_have_them() -> None:
    """A GradScaler that finds infinite gradients; the scheduler is stepped only where the optimizer was."""
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=50)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30)
    bad = [t for t in range(50) if (t + 1) * 3 // 20 > t * 3 // 20]  # 3 of 20, evenly
    used = []
    for t in range(50):
        scaler.scale(torch.zeros(1))
        weight.grad = torch.full((1,), float("inf") if t in bad else 0.0)
        used.append(float(optimizer.param_groups[0]["lr"]))
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() >= before:  # as Lightning and others tell a skipped step
            scheduler.step()
    spec = {"kind": "torch.LinearLR", "start_factor": 1.0, "end_factor": 0.01, "total_iters": 50, "lr": 1.0}
    ours = launched(spec, {"steps": 50, "stepper": "amp-skip:15%"})
    agree(ours.lr, used)
    assert ours.schedule.tick_of(50) == 50 - 7  # type: ignore[attr-defined]


# Published figures.


def test_cosine_of_transformers_advanced_four_times() -> None:
    """get_scheduler("cosine", warm-up 10 of 100 steps), four ticks an update."""
    spec = {"kind": "transformers.cosine", "num_warmup_steps": 10, "num_training_steps": 100, "lr": 1.0}
    ours = launched(spec, {"steps": 100, "world_size": 4, "stepper": "accelerate"})
    assert ours.lr[[25, 50, 75, 99]].round(3).tolist() == [0.0, 0.97, 0.117, 0.808]


def test_accelerate_2926() -> None:
    """A linear warm-up and StepLR on 4 GPUs: every milestone comes four times too early."""
    spec = {
        "kind": "torch.SequentialLR",
        "lr": 1.0,
        "milestones": [40],
        "schedulers": [
            {"kind": "torch.LinearLR", "start_factor": 0.1, "total_iters": 40},
            {"kind": "torch.StepLR", "step_size": 20, "gamma": 0.1},
        ],
    }
    run = {"steps": 100, "world_size": 4, "stepper": "accelerate"}
    meant, ours = overlaid(simulate(spec, run), Run.of(run))
    assert (np.flatnonzero(meant.lr >= 1.0)[0], np.flatnonzero(ours.lr >= 1.0)[0]) == (40, 10)
    assert np.flatnonzero(np.diff(meant.lr) < 0)[:2].tolist() == [59, 79]
    assert np.flatnonzero(np.diff(ours.lr) < 0)[:2].tolist() == [14, 19]
    agree(ours.lr[:25], meant.lr[::4])
    assert ours.name == "torch.SequentialLR (accelerate)"


def test_diffusers_3954() -> None:
    """The cosine of the training scripts on 4 GPUs is at zero after a quarter of the run, and ends at its peak."""
    spec = {"kind": "transformers.cosine", "num_warmup_steps": 0, "num_training_steps": 800, "lr": 1.0}
    ours = launched(spec, {"steps": 800, "world_size": 4, "stepper": "accelerate"})
    zeros = [200, 600]
    assert (ours.lr[zeros] < 1e-12).all()
    agree(ours.lr[[0, 400]], [1.0, 1.0])
    assert ours.lr[-1] > 0.9999
    fixed = {**spec, "num_training_steps": 3200}  # what the maintainers do: steps times num_processes
    agree(launched(fixed, {"steps": 800, "world_size": 4, "stepper": "accelerate"}).lr, simulate(spec).lr)


def test_ltx_video_trainer_67() -> None:
    """LinearLR over 10,000 steps is at its end at step 2,500 on 4 GPUs."""
    spec = {"kind": "torch.LinearLR", "start_factor": 1.0, "end_factor": 0.1, "total_iters": 10_000, "lr": 1e-4}
    run = {"steps": 10_000, "world_size": 4, "stepper": "accelerate"}
    ours = launched(spec, run)
    assert np.flatnonzero(ours.lr <= 1e-5 * (1 + 1e-9))[0] == 2500
    assert ours.schedule.length == 2500
    assert np.ptp(ours.lr[2500:]) == 0


def test_villa_1495() -> None:
    """The diffusers cosine of 1,000 epochs, stepped at each of 250 iterations: the figures of the pull request."""
    spec = {"kind": "transformers.cosine", "num_warmup_steps": 100, "num_training_steps": 1000, "lr": 1.0}
    run = {"epochs": 1000, "steps_per_epoch": 250, "interval": "epoch", "stepper": "optimizer-step"}
    lr = launched(spec, run).lr
    assert len(lr) == 250_000
    assert lr[[250, 1000, 2000, 249_999]].round(4).tolist() == [0.9330, 0.0, 0.9698, 0.7485]
    falls = (lr[1:-1] <= lr[:-2]) & (lr[1:-1] < lr[2:]) & (lr[1:-1] < 1e-4)
    # The last of the 140 is the one at which the run's count of zeros starts: tick 0 of the warm-up is one too.
    assert falls.sum() + (lr[0] == 0) == 140
    high = lr > 0.9
    assert (np.diff(high.astype(int)) == 1).sum() == 139
    same = launched(spec, {**run, "stepper": "micro-batch"})
    agree(same.lr, lr)


# Where a schedule ends.


def test_a_scheduler_that_raises_ends_the_trace() -> None:
    spec = {"kind": "torch.OneCycleLR", "max_lr": 1.0, "total_steps": 40}
    run = {"steps": 40, "grad_accumulation": 4, "stepper": "micro-batch"}
    meant, ours = overlaid(simulate(spec, run), Run.of(run))
    assert len(ours) == 10
    assert ours.schedule.last_tick == 9
    agree(ours.lr, meant.lr[3::4])
    told = "with stepper micro-batch the scheduler fails after 10 steps: torch.OneCycleLR raises in torch at tick 41: "
    assert str(note(meant, Run.of(run))).startswith(told)
    assert "past" in message_of(ours.schedule, 10) or "raises" in message_of(ours.schedule, 10)


def test_an_expression_that_has_no_rate_further_on_ends_the_trace() -> None:
    spec, run = (
        {"kind": "expression", "expr": "lr * (1 - t / total)"},
        {"steps": 160, "stepper": "accelerate", "world_size": 4},
    )
    ours = launched(spec, run)
    assert (len(ours), ours.schedule.last_tick) == (41, 40)
    assert ours.lr[-1] == 0
    told = "with stepper accelerate the scheduler fails after 41 steps: expr must be >= 0, got "
    assert str(note(simulate(spec, run), Run.of(run))).startswith(told)


def test_accelerate_does_not_step_one_cycle_past_its_total_steps() -> None:
    spec = {"kind": "torch.OneCycleLR", "max_lr": 1.0, "total_steps": 40}
    run = {"steps": 40, "world_size": 3, "stepper": "accelerate"}
    meant, ours = overlaid(simulate(spec, run), Run.of(run))
    assert len(ours) == 40
    agree(ours.lr[:14], meant.lr[:40:3])
    assert np.ptp(ours.lr[14:]) == 0
    assert ours.lr[-1] == meant.schedule(40) > meant.lr[-1]
    assert note(meant, Run.of(run)) is None


def test_momentum_groups_marks_and_notes_keep_the_pace() -> None:
    entry = {"kind": "torch.OneCycleLR", "max_lr": 1.0, "total_steps": 80, "groups": {"a": 0.1, "b": 1.0}}
    run = {"steps": 40, "world_size": 2, "stepper": "accelerate"}
    meant, ours = simulate(entry, {**run, "steps": 80}), launched(entry, run)
    assert ours.momentum is not None
    assert meant.momentum is not None
    agree(ours.momentum, meant.momentum[::2])
    agree(ours.groups["b"], meant.groups["b"][::2])
    assert [tick for tick, _ in ours.schedule.marks] == [-(-tick // 2) for tick, _ in meant.schedule.marks]
    climbing = {"kind": "torch.CosineAnnealingLR", "T_max": 40}
    assert "climbs" in launched(climbing, run).schedule.notes(40)[0]


def test_a_metric_is_passed_on_once_for_each_process() -> None:
    """AcceleratedScheduler calls step(metric) world_size times, so that patience runs out as much sooner."""
    torch = pytest.importorskip("torch")
    losses = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.7]
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
    used = []
    for loss in losses:
        used.append(optimizer.param_groups[0]["lr"])
        for _ in range(2):
            scheduler.step(loss)
    spec = {"kind": "torch.ReduceLROnPlateau", "patience": 3, "metrics": losses, "lr": 1.0}
    ours = launched(spec, {"epochs": 12, "world_size": 2, "stepper": "accelerate"})
    agree(ours.lr, used)
    assert stepped(simulate(spec), Run(stepper="micro-batch", grad_accumulation=4)) is None


# What is said, and what is left alone.


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({"stepper": None}, None),
        ({"stepper": "optimizer-step"}, None),
        ({"stepper": "accelerate", "world_size": 1}, "stepper accelerate with a world_size of 1 is as meant"),
        ({"stepper": "micro-batch", "grad_accumulation": 1},
         "stepper micro-batch with a grad_accumulation of 1 is as meant"),
        ({"stepper": "optimizer-step", "interval": "epoch", "epochs": 3, "steps": None},
         "stepper optimizer-step needs steps_per_epoch to show a plan in epochs: it is shown as meant"),
        ({"stepper": "epoch", "interval": "epoch", "epochs": 3, "steps": None}, None),
        ({"stepper": "amp-skip:0.1", "interval": "epoch", "epochs": 3, "steps": None},
         "skipped updates do not change a scheduler that is stepped by epoch"),
    ],
)  # fmt: skip
def test_what_is_as_meant_is_not_overlaid(run: Mapping[str, Any], told: str | None) -> None:
    whole = Run.of({key: value for key, value in {"steps": 30, **run}.items() if value is not None})
    trace = simulate({"kind": "cosine"}, whole)
    assert overlaid(trace, whole) == [trace]
    assert note(trace, whole) == told


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({"stepper": "accelerate"}, "accelerate needs world_size (--world-size)"),
        ({"stepper": "micro-batch"}, "micro-batch needs grad_accumulation (--grad-accumulation)"),
        ({"stepper": "epoch"}, "epoch needs steps_per_epoch (--steps-per-epoch)"),
        ({"stepper": "accelerate", "world_size": 10**9, "steps": 10**9}, "takes the scheduler past tick 1e+15"),
    ],
)
def test_a_geometry_that_is_missing_is_asked_for(run: Mapping[str, Any], told: str) -> None:
    whole = Run.of({"steps": 30, **run})
    trace = simulate({"kind": "constant"}, whole)
    assert message_of(stepped, trace, whole) == f"constant: stepper {told}"


@pytest.mark.parametrize(
    "word", ["", "epochs", "amp-skip", "amp-skip:", "amp-skip:2", "amp-skip:0", "amp-skip:nan", "amp-skip:1e400", 3]
)
def test_a_stepper_that_is_none_is_refused(word: Any) -> None:
    with pytest.raises(SpecError, match="stepper must be"):
        Run(stepper=word)


@pytest.mark.parametrize(
    ("word", "share"), [("0.01", 0.01), ("1%", 0.01), (".5", 0.5), ("2.5 %", 0.025), ("1e-3", 1e-3)]
)
def test_a_rate_of_skipped_steps(word: str, share: float) -> None:
    assert read_stepper(f"amp-skip:{word}") == ("amp-skip", Fraction(str(share)))


def test_what_it_costs_does_not_grow_with_the_run() -> None:
    """A trillion steps are drawn and searched for their peak at once."""
    run = {"steps": 10**12, "grad_accumulation": 4, "stepper": "micro-batch"}
    for kind in ("cosine", "step", "wsd", "sgdr", "onecycle"):
        schedule = launched({"kind": kind}, run).schedule
        assert len(reduce(schedule, 0, 10**12, 400).ticks) < 50_000
        assert extremes(schedule, 0, 10**12).peak == pytest.approx(0.1, rel=1e-3)


def test_a_staircase_is_drawn_as_one() -> None:
    """Every epoch's rate is constant, however few pixels there are."""
    run = {"epochs": 50, "steps_per_epoch": 2000, "stepper": "epoch"}
    ours = launched({"kind": "exponential", "gamma": 0.9}, run)
    curve = reduce(ours.schedule, 0, len(ours), 400)
    ticks = np.arange(0, len(ours), 7)
    agree(np.interp(ticks, curve.ticks, curve.rates), ours.schedule(ticks))
    early = launched(
        {"kind": "onecycle", "total_steps": 1000}, {"steps": 1000, "world_size": 7, "stepper": "accelerate"}
    )
    assert early.lr.argmax() == 43


@pytest.mark.parametrize("pace", PACES, ids=repr)
@pytest.mark.parametrize("kind", ["cosine", "step", "sgdr", "cyclic", "wsd"])
def test_extremes_lie_beside_knots(pace: Pace, kind: str) -> None:
    """Between two knots every launched curve is monotone."""
    from lrsched_cli.schedules.stepping import Stepped

    schedule = Stepped(body=simulate({"kind": kind}, {"steps": 120}).schedule, pace=pace)
    rates, at = schedule.values(0, 300), 0.0
    agree(schedule(np.arange(300)), rates)
    while at < 299:
        knot = float(schedule.next_knot(np.array([at]))[0])
        assert knot > at
        change = np.diff(rates[int(at) : int(min(knot, 300))])
        assert (change >= -1e-15).all() or (change <= 1e-15).all(), (at, knot)
        at = knot
