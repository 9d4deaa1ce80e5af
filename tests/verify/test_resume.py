"""What a resume does to the rate: the real classes of torch, resumed in every way, and what is said of it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from lrsched_cli.book import Entry
from lrsched_cli.errors import SpecError
from lrsched_cli.run import Run
from lrsched_cli.spec import simulate
from lrsched_cli.verify.continuation import continuation
from lrsched_cli.verify.resume import Checkpoint, Resumed, resume
from tests.support import agree

N = 60


def of(spec: Mapping[str, Any], checkpoint: Checkpoint, **run: Any) -> Resumed:
    """What comes of a resume of an entry at a base rate of 1, planned for 60 steps unless said otherwise."""
    return resume(Entry("plan", {"lr": 1.0, **spec}, Run(**(run or {"steps": N}))), checkpoint)


Make = Callable[[Any, Any, int, int], Any]


def _sequence(torch: Any, o: Any, n: int, last: int) -> Any:
    made = torch.optim.lr_scheduler
    members = [made.LinearLR(o, 0.1, 1.0, 10), made.CosineAnnealingLR(o, n - 10)]
    return made.SequentialLR(o, members, [10], last_epoch=last)


def _chain(torch: Any, o: Any, n: int, last: int) -> Any:
    made = torch.optim.lr_scheduler
    return made.ChainedScheduler([made.ConstantLR(o, 0.5, 20, last), made.ExponentialLR(o, 0.97, last)])


def _of(name: str, *args: Any, **params: Any) -> Make:
    """A class of torch; ``"n"`` among its arguments is the number of ticks of the run."""

    def make(torch: Any, o: Any, n: int, last: int) -> Any:
        own = [n if value == "n" else value for value in args]
        named = {key: n if value == "n" else value for key, value in params.items()}
        return getattr(torch.optim.lr_scheduler, name)(o, *own, **named, last_epoch=last)

    return make


#: Each kind's parameters, ``"n"`` for the number of ticks, and the same in torch.
KINDS: dict[str, tuple[dict[str, Any], Make]] = {
    "LambdaLR": ({"lr_lambda": "lambda t: 0.95 ** t"}, _of("LambdaLR", lambda t: 0.95**t)),
    "MultiplicativeLR": ({"lr_lambda": "lambda t: 0.97"}, _of("MultiplicativeLR", lambda t: 0.97)),
    "StepLR": ({"step_size": 10, "gamma": 0.5}, _of("StepLR", 10, 0.5)),
    "MultiStepLR": ({"milestones": [12, 31, 40, 70], "gamma": 0.5}, _of("MultiStepLR", [12, 31, 40, 70], 0.5)),
    "ConstantLR": ({"factor": 0.25, "total_iters": 40}, _of("ConstantLR", 0.25, 40)),
    "LinearLR": ({"start_factor": 0.1, "end_factor": 0.9, "total_iters": "n"}, _of("LinearLR", 0.1, 0.9, "n")),
    "ExponentialLR": ({"gamma": 0.97}, _of("ExponentialLR", 0.97)),
    "PolynomialLR": ({"total_iters": "n", "power": 2.0}, _of("PolynomialLR", "n", 2.0)),
    "CosineAnnealingLR": ({"T_max": "n", "eta_min": 0.01}, _of("CosineAnnealingLR", "n", 0.01)),
    "CosineAnnealingWarmRestarts": ({"T_0": 12, "T_mult": 2}, _of("CosineAnnealingWarmRestarts", 12, 2)),
    "CyclicLR": (
        {"base_lr": 0.1, "max_lr": 2.0, "step_size_up": 12, "mode": "exp_range", "gamma": 0.99},
        _of("CyclicLR", 0.1, 2.0, 12, mode="exp_range", gamma=0.99),
    ),
    "OneCycleLR": ({"max_lr": 2.0, "total_steps": "n"}, _of("OneCycleLR", 2.0, total_steps="n")),
    "SequentialLR": (
        {
            "milestones": [10],
            "schedulers": [
                {"kind": "torch.LinearLR", "start_factor": 0.1, "total_iters": 10},
                {"kind": "torch.CosineAnnealingLR", "T_max": N - 10},
            ],
        },
        _sequence,
    ),
    "ChainedScheduler": (
        {
            "schedulers": [
                {"kind": "torch.ConstantLR", "factor": 0.5, "total_iters": 20},
                {"kind": "torch.ExponentialLR", "gamma": 0.97},
            ]
        },
        _chain,
    ),
    "SWALR": (
        {"swa_lr": 0.05, "anneal_epochs": 40},
        lambda torch, o, n, last: torch.optim.swa_utils.SWALR(o, 0.05, 40, last_epoch=last),
    ),
}
WAYS = [
    ("state-dict", "after", None),
    ("state-dict", "before", None),
    ("state-dict", "never", None),
    ("rebuild", "before", None),
    ("rebuild", "after", None),
    ("rebuild", "never", None),
    ("last-epoch", "before", None),
    ("last-epoch", "before", 29),
    ("last-epoch", "never", None),
]


def really(make: Make, checkpoint: Checkpoint) -> list[float]:
    """The rates of a real optimizer: trained, checkpointed, made anew with the new total, resumed and trained on."""
    torch = pytest.importorskip("torch")

    def optimizer() -> Any:
        weight = torch.nn.Parameter(torch.zeros(1))
        weight.grad = torch.zeros(1)
        return torch.optim.SGD([weight], lr=1.0, momentum=0.9)

    def trained(o: Any, scheduler: Any, ticks: int) -> list[float]:
        used = []
        for _ in range(ticks):
            used.append(float(o.param_groups[0]["lr"]))
            o.step()
            try:
                scheduler.step()
            except ValueError:  # OneCycleLR, past its end
                break
        return used

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a scheduler made before the new optimizer's first step
        first = optimizer()
        scheduler = make(torch, first, N, -1)
        used = trained(first, scheduler, checkpoint.at)
        state = copy.deepcopy((first.state_dict(), scheduler.state_dict()))
        second, last_epoch = optimizer(), -1
        if checkpoint.order == "before":
            second.load_state_dict(state[0])
        if checkpoint.mode == "last-epoch":
            last_epoch = checkpoint.given
            for group in second.param_groups:
                group.setdefault("initial_lr", 1.0)
        scheduler = make(torch, second, checkpoint.total, last_epoch)
        if checkpoint.mode == "state-dict":
            scheduler.load_state_dict(state[1])
        if checkpoint.order == "after":
            second.load_state_dict(state[0])
        return used + trained(second, scheduler, checkpoint.total - checkpoint.at)


@pytest.mark.parametrize(("mode", "loaded", "last_epoch"), WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_real_classes_do_the_same(kind: str, mode: str, loaded: str, last_epoch: int | None) -> None:
    params, make = KINDS[kind]
    spec = {"kind": f"torch.{kind}", **{name: N if value == "n" else value for name, value in params.items()}}
    for at, total in ((1, N), (30, 2 * N), (N, 2 * N)):
        checkpoint = Checkpoint(at, total, mode, loaded, last_epoch)
        if kind == "OneCycleLR" and (mode, loaded) == ("last-epoch", "never"):
            with pytest.raises(KeyError):
                really(make, checkpoint)
            with pytest.raises(SpecError, match="KeyError"):
                of(spec, checkpoint)
            continue
        agree(of(spec, checkpoint).resumed.lr, really(make, checkpoint))


@pytest.mark.parametrize(("mode", "loaded"), [("state-dict", "after"), ("rebuild", "before"), ("rebuild", "never")])
def test_the_real_plateau_does_the_same(mode: str, loaded: str) -> None:
    torch = pytest.importorskip("torch")
    losses = [1.0] * 8 + [0.5] * 9 + [0.4, 0.6] * 10

    def optimizer() -> Any:
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)

    first = optimizer()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(first, patience=5)
    used = []
    for loss in losses[:14]:
        used.append(first.param_groups[0]["lr"])
        scheduler.step(loss)
    state = copy.deepcopy((first.state_dict(), scheduler.state_dict()))
    second = optimizer()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(second, patience=5)
    if loaded != "never":
        second.load_state_dict(state[0])
    if mode == "state-dict":
        scheduler.load_state_dict(state[1])
    for loss in losses[14:]:
        used.append(second.param_groups[0]["lr"])
        scheduler.step(loss)
    spec = {"kind": "torch.ReduceLROnPlateau", "patience": 5, "metrics": losses}
    agree(of(spec, Checkpoint(14, len(losses), mode, loaded), epochs=len(losses)).resumed.lr, used)
    with pytest.raises(SpecError, match="takes no last_epoch"):
        of(spec, Checkpoint(14, len(losses), "last-epoch"), epochs=len(losses))


# Published figures.


def test_the_cosine_of_transformers_extended_to_twice_its_length() -> None:
    """0.50 at step 50 of 100, and 0.848 one step later (huggingface/transformers#34053)."""
    spec = {"kind": "transformers.cosine", "num_warmup_steps": 0, "num_training_steps": 100}
    found = of(spec, Checkpoint(50, 200), steps=100)
    assert found.jump is not None
    assert (found.jump.tick, found.jump.before, round(found.jump.after, 3)) == (51, 0.5, 0.848)
    assert found.jump.share == pytest.approx(0.696, abs=1e-3)
    assert found.scheduler == "LambdaLR"
    assert found.changes == (("num_training_steps", 100, 200),)
    agree(found.resumed.lr[51:], simulate({**spec, "lr": 1.0, "num_training_steps": 200}).lr[51:])


@pytest.mark.parametrize("spec", [
    {"kind": "torch.CosineAnnealingLR", "T_max": 100},
    {"kind": "cosine"},
    {"kind": "torch.OneCycleLR", "max_lr": 1.0, "total_steps": 100},
])  # fmt: skip
def test_torch_silently_keeps_the_old_length(spec: Mapping[str, Any]) -> None:
    """T_max 200 and total_steps 200 go back to 100 on load_state_dict."""
    found = of(spec, Checkpoint(50, 200), steps=100)
    assert found.jump is None
    ((_, old, new),) = found.changes
    assert (old, new) == (100, 200)
    if "OneCycle" in str(spec["kind"]):
        assert len(found.resumed) == 101
        assert "total_steps, 100" in str(found.stops)
    else:
        assert found.stops is None
        agree(found.resumed.lr[[100, 150]], [0.0, 0.5])


def test_a_fresh_cosine_with_last_epoch_restarts_at_the_full_rate() -> None:
    """CosineAnnealingLR(T_max=10, last_epoch=4) on a new optimizer (pytorch/pytorch#168044)."""
    found = of({"kind": "torch.CosineAnnealingLR", "T_max": 10}, Checkpoint(4, 10, "last-epoch", "never"), steps=10)
    assert found.resumed.lr[4] == 1.0
    assert found.jump is not None
    assert found.jump.tick == 4


def test_a_sequence_with_last_epoch_stays_at_the_start_of_its_warm_up() -> None:
    """pytorch/pytorch#162591."""
    spec = {"kind": "torch.SequentialLR", **KINDS["SequentialLR"][0]}
    found = of(spec, Checkpoint(30, N, "last-epoch"))
    assert found.resumed.lr[30] == pytest.approx(0.1)
    assert found.resumed.lr[31:].max() < 0.11


# What is a jump, and what is none.


@pytest.mark.parametrize(
    ("spec", "checkpoint", "jumps"),
    [
        ({"kind": "constant"}, Checkpoint(30, 2 * N), False),
        ({"kind": "constant"}, Checkpoint(30, 2 * N, "rebuild"), False),
        ({"kind": "step", "step_size": 30}, Checkpoint(30, 2 * N), False),  # a drop that was planned
        ({"kind": "step", "step_size": 30}, Checkpoint(31, 2 * N, "rebuild", "never"), True),
        ({"kind": "transformers.linear", "num_warmup_steps": 40, "num_training_steps": N}, Checkpoint(9, 2 * N), False),
        ({"kind": "transformers.linear", "num_warmup_steps": 4, "num_training_steps": N}, Checkpoint(20, N), False),
        ({"kind": "transformers.linear", "num_warmup_steps": 4, "num_training_steps": N}, Checkpoint(20, 61), False),
        ({"kind": "transformers.linear", "num_warmup_steps": 4, "num_training_steps": N}, Checkpoint(20, 80), True),
        ({"kind": "transformers.cosine", "num_warmup_steps": 0, "num_training_steps": N},
         Checkpoint(20, N, "last-epoch"), False),  # a tick ahead, which is no jump
        ({"kind": "cosine", "warmup": 5}, Checkpoint(30, 2 * N), True),  # no class of torch: a LambdaLR
        ({"kind": "wsd"}, Checkpoint(30, 2 * N), False),
        ({"kind": "onecycle"}, Checkpoint(30, 2 * N, "last-epoch"), True),
    ],
)  # fmt: skip
def test_what_counts_as_a_jump(spec: Mapping[str, Any], checkpoint: Checkpoint, jumps: bool) -> None:
    assert (of(spec, checkpoint).jump is not None) == jumps


# What would go on smoothly.


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "transformers.cosine", "num_warmup_steps": 6, "num_training_steps": N},
        {"kind": "transformers.polynomial", "num_warmup_steps": 6, "num_training_steps": N},
        {"kind": "torch.CosineAnnealingLR", "T_max": N},
        {"kind": "torch.OneCycleLR", "max_lr": 1.0, "total_steps": N},
        {"kind": "torch.SequentialLR", **KINDS["SequentialLR"][0]},
        {"kind": "cosine"},
        {"kind": "cosine", "warmup": {"for": 5, "shape": "cosine"}},
        {"kind": "linear"},
        {"kind": "polynomial", "power": 2},
        {"kind": "exponential"},
        {"kind": "step"},
        {"kind": "multistep"},
        {"kind": "wsd"},
        {"kind": "onecycle"},
        {"kind": "cosine", "groups": {"a": 0.1, "b": 1.0}},
        {"kind": "expression", "expr": "lr * (1 - t / total)"},
        {"sequence": [{"kind": "linear", "start_factor": 0.1, "for": "10%"}, {"kind": "cosine"}]},
        {"kind": "constant"},
    ],
    ids=lambda spec: str(spec.get("kind", "sequence")),
)
@pytest.mark.parametrize("at", [1, 30, N])
def test_what_goes_on_smoothly_is_an_entry_that_does(spec: Mapping[str, Any], at: int) -> None:
    found = of(spec, Checkpoint(at, 2 * N))
    smooth = continuation(found)
    assert smooth is not None
    trace = simulate(smooth.spec, smooth.run)
    planned = simulate({"lr": 1.0, **spec}, {"steps": N}).lr
    assert len(trace) == 2 * N
    agree(trace.lr[:at], planned[:at])
    moves = np.abs(np.diff(planned)).max() + 1e-9
    if "step" not in str(spec.get("kind")):
        assert np.abs(np.diff(trace.lr))[at - 1 :].max() <= 1.01 * moves
    assert trace.lr[-1] <= planned[-1] + 0.05


def test_a_drop_that_is_to_come_comes_later() -> None:
    smooth = continuation(of({"kind": "step", "step_size": 20, "gamma": 0.5}, Checkpoint(29, 2 * N)))
    assert smooth is not None
    assert smooth.words == "the same entry on the longer run"
    smooth = continuation(of({"kind": "step"}, Checkpoint(29, 2 * N)))
    assert smooth is not None
    assert "multistep" in str(smooth.spec)
    drops = np.flatnonzero(np.diff(simulate(smooth.spec, smooth.run).lr) < 0) + 1
    assert drops.tolist() == [18, 48, 114] or drops.tolist()[0] == 18
    assert smooth.trace.lr[-1] == pytest.approx(simulate({"kind": "step", "lr": 1.0}, {"steps": N}).lr[-1])


def test_a_stable_phase_goes_on_until_the_decay_must_begin() -> None:
    smooth = continuation(of({"kind": "wsd", "decay": 12}, Checkpoint(30, 2 * N)))
    assert smooth is not None
    lr = simulate(smooth.spec, smooth.run).lr
    assert (lr[30 : 2 * N - 12] == 1.0).all()
    assert lr[-1] < 0.15


def test_restarts_go_on_as_they_do() -> None:
    spec = {"kind": "cosine-restarts", "T_0": 12}
    smooth = continuation(of(spec, Checkpoint(N, 2 * N)))
    assert smooth is not None
    assert smooth.words == "the same entry on the longer run"


def test_what_a_metric_drives_has_no_continuation() -> None:
    found = of({"kind": "plateau"}, Checkpoint(30, 2 * N))
    assert found.jump is None
    assert continuation(found) is None


# Other clocks, other totals.


def test_the_same_total_written_otherwise_becomes_the_new_one() -> None:
    """As ticks, after a warm-up, as the last part of a sequence, in epochs, as epochs times steps."""
    specs: list[tuple[Mapping[str, Any], tuple[Any, ...]]] = [
        ({"kind": "cosine", "T_max": N}, ("T_max", N, 2 * N)),
        ({"kind": "cosine", "T_max": N - 10, "warmup": 10}, ("T_max", N - 10, 2 * N - 10)),
        ({"kind": "cosine", "T_max": "6ep"}, ("T_max", "6ep", 2 * N)),
        ({"kind": "torch.OneCycleLR", "max_lr": 1.0, "epochs": 6, "steps_per_epoch": 10}, ("epochs", 6, 12)),
        ({"kind": "torch.SequentialLR", **KINDS["SequentialLR"][0]}, ("schedulers[1].T_max", N - 10, 2 * N - 10)),
        ({"sequence": [{"kind": "constant", "for": 20}, {"kind": "cosine", "for": 40}]}, ("sequence[1].for", 40, 100)),
    ]
    for spec, change in specs:
        found = of(spec, Checkpoint(30, 2 * N), epochs=6, steps_per_epoch=10)
        assert found.changes[0] == change, spec
        assert len(found.wished) == 2 * N


def test_a_run_of_its_own_and_one_in_epochs() -> None:
    spec = {"kind": "transformers.linear", "num_warmup_steps": 0, "num_training_steps": 30, "run": {"epochs": 30}}
    found = of(spec, Checkpoint(15, 60))
    assert (found.planned.interval, len(found.planned), len(found.resumed)) == ("epoch", 30, 60)
    assert found.jump is not None
    assert found.jump.before == 0.5


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (
            {"kind": "optax.cosine_decay_schedule", "init_value": 1.0, "decay_steps": 10},
            "how optax resumes is not known",
        ),
        ({"kind": "transformers.greedy", "metrics": [1.0] * N}, "how transformers.greedy resumes is not known"),
        ({"kind": "plateau", "warmup": 5}, "plateau inside another schedule: how it resumes is not known"),
    ],
)
def test_what_is_not_known_is_refused(spec: Mapping[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        of(spec, Checkpoint(30, 2 * N))


def test_what_it_costs_does_not_grow_with_the_run() -> None:
    total = 10**12
    for kind in ("cosine", "onecycle", "wsd", "step"):
        found = of({"kind": kind}, Checkpoint(total // 2, 2 * total), steps=total)
        assert np.isfinite(found.resumed.schedule(total // 2 + 1))
        assert continuation(found) is not None
