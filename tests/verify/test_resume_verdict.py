"""The verdict on a resume, held against the rates of the real classes of torch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lrsched_cli.spec import simulate
from lrsched_cli.verify.continuation import annealed, rewarmed
from lrsched_cli.verify.resume import Checkpoint
from lrsched_cli.verify.resume_verdict import CLIMB, DEAD, VERDICTS
from tests.support import agree
from tests.verify.test_resume import KINDS, WAYS, N, of, really

TORCH_COSINE = {"kind": "torch.CosineAnnealingLR", "T_max": N}
HF = {"num_warmup_steps": 6, "num_training_steps": N}


@pytest.mark.parametrize(
    ("spec", "checkpoint", "verdict"),
    [
        ({"kind": "constant"}, Checkpoint(30, 2 * N), "smooth"),
        ({"kind": "constant"}, Checkpoint(30, 2 * N, "rebuild"), "smooth"),
        (TORCH_COSINE, Checkpoint(30, N), "smooth"),
        (TORCH_COSINE, Checkpoint(30, 2 * N), "climbs-again"),
        (TORCH_COSINE, Checkpoint(N, 2 * N), "climbs-again"),
        (TORCH_COSINE, Checkpoint(30, 70), "climbs-again"),
        (TORCH_COSINE, Checkpoint(N, 2 * N, "rebuild"), "dead"),
        (TORCH_COSINE, Checkpoint(N, 2 * N, "last-epoch"), "dead"),
        (TORCH_COSINE, Checkpoint(N, 2 * N, "rebuild", "never"), "starts-anew"),
        ({"kind": "torch.SequentialLR", **KINDS["SequentialLR"][0]}, Checkpoint(3, 70), "climbs-again"),
        ({"kind": "torch.PolynomialLR", "total_iters": N}, Checkpoint(30, 2 * N), "dead"),
        ({"kind": "torch.OneCycleLR", "max_lr": 1.0, "total_steps": N}, Checkpoint(30, 2 * N), "raises"),
        ({"kind": "torch.OneCycleLR", "max_lr": 1.0, "total_steps": N}, Checkpoint(30, N), "smooth"),
        ({"kind": "torch.CosineAnnealingLR", "T_max": 7}, Checkpoint(30, 2 * N), "smooth"),  # climbs as planned
        ({"kind": "torch.CosineAnnealingWarmRestarts", "T_0": 12}, Checkpoint(30, 2 * N), "smooth"),
        ({"kind": "torch.CyclicLR", "base_lr": 0.1, "max_lr": 1.0, "step_size_up": 7}, Checkpoint(30, 2 * N), "smooth"),
        ({"kind": "step", "step_size": 20}, Checkpoint(30, 2 * N), "smooth"),
        ({"kind": "wsd"}, Checkpoint(30, 2 * N), "smooth"),
        ({"kind": "transformers.cosine", **HF}, Checkpoint(N, 2 * N), "jumps"),
        ({"kind": "transformers.cosine", **HF}, Checkpoint(N, 2 * N, "rebuild"), "starts-anew"),
        ({"kind": "transformers.linear", **HF}, Checkpoint(30, 2 * N, "rebuild"), "starts-anew"),
        ({"kind": "transformers.linear", **HF}, Checkpoint(3, 2 * N), "smooth"),  # in its warm-up
        ({"kind": "transformers.linear", **HF}, Checkpoint(30, N), "smooth"),
        ({"kind": "transformers.constant_with_warmup", "num_warmup_steps": 6}, Checkpoint(3, 2 * N), "smooth"),
    ],
)
def test_the_verdict(spec: Mapping[str, Any], checkpoint: Checkpoint, verdict: str) -> None:
    assert of(spec, checkpoint).verdict.name == verdict
    assert verdict in VERDICTS


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_what_it_rests_on_is_in_the_rates_of_the_real_optimizer(kind: str, way: tuple[str, str, int | None]) -> None:
    params, make = KINDS[kind]
    spec = {"kind": f"torch.{kind}", **{name: N if value == "n" else value for name, value in params.items()}}
    if kind == "OneCycleLR" and way[:2] == ("last-epoch", "never"):
        return  # raises KeyError
    for at, total in ((30, 2 * N), (N, 2 * N), (N, 70)):
        checkpoint = Checkpoint(at, total, *way)
        found, real = of(spec, checkpoint), np.array(really(make, checkpoint))
        rest, peak = real[at:], of(spec, Checkpoint(1, N)).planned.lr.max()
        name, climb, dead = found.verdict
        if climb is not None:
            agree(real[[climb.low_tick, climb.high_tick]], [climb.low, climb.high])
            rises = [(r - np.minimum.accumulate(r)).max() for r in (rest, real[max(at, N - 1) :])]  # after the old end
            assert climb.size in [pytest.approx(rise, abs=CLIMB * peak) for rise in rises]
        if dead is not None:
            assert real[dead:].max() <= DEAD * peak
            assert dead == at or real[dead - 1] > DEAD * peak
        if name == "smooth":
            assert len(real) == total
            assert rest.max() > DEAD * peak
            assert found.jump is climb is dead is None


@pytest.mark.parametrize(("given", "raises"), [(50, True), (49, False)])
def test_a_one_cycle_with_last_epoch_raises_at_its_last_step(given: int, raises: bool) -> None:
    torch = pytest.importorskip("torch")

    def optimizer() -> Any:
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)

    said = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = optimizer(), optimizer()
        scheduler = torch.optim.lr_scheduler.OneCycleLR(first, 1.0, total_steps=100)
        for _ in range(50):
            first.step()
            scheduler.step()
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        scheduler = torch.optim.lr_scheduler.OneCycleLR(second, 1.0, total_steps=200, last_epoch=given)
        for tick in range(50, 200):
            assert not said, tick
            second.step()
            try:
                scheduler.step()
            except ValueError as error:
                said = str(error)
    spec = {"kind": "torch.OneCycleLR", "max_lr": 1.0, "total_steps": 100}
    found = of(spec, Checkpoint(50, 200, "last-epoch", last_epoch=given), steps=100)
    assert (found.verdict.name == "raises") == raises == ("Tried to step 201 times" in said)
    assert raises == ("Tried to step 201 times" in str(found.stops))
    assert len(found.resumed) == 200


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "cosine"},
        {"kind": "linear"},
        {"kind": "transformers.cosine", **HF},
        {"kind": "torch.OneCycleLR", "max_lr": 2.0, "total_steps": N},
        {"kind": "polynomial", "power": 2, "eta_min": 1e-3},
    ],
)
def test_an_annealed_run_is_warmed_up_again(spec: Mapping[str, Any]) -> None:
    found = of(spec, Checkpoint(N, 2 * N))
    share, again = annealed(found), rewarmed(found)
    assert share is None or share < 0.01
    if share is None:
        assert again is None  # a line's last rate is a sixtieth of its peak
        return
    assert again is not None
    lr, planned = simulate(again.spec, again.run).lr, found.planned.lr
    agree(lr[:N], planned)
    assert lr[N] == pytest.approx(planned[-1], rel=1e-5)
    assert lr[N:].max() == pytest.approx(planned.max() / 2)
    assert lr[-1] <= planned[-1] + 0.01 * planned.max()


def test_what_is_not_annealed_is_not_warmed_up_again() -> None:
    for spec, checkpoint in (
        ({"kind": "cosine"}, Checkpoint(30, 2 * N)),
        ({"kind": "cosine"}, Checkpoint(59, N)),  # as planned
        ({"kind": "transformers.linear", **HF}, Checkpoint(1, 2 * N)),  # at the start of its warm-up
        ({"kind": "plateau"}, Checkpoint(30, 2 * N)),
    ):
        assert annealed(of(spec, checkpoint)) is None, spec
        assert rewarmed(of(spec, checkpoint)) is None
    groups = of({"kind": "cosine", "groups": {"a": 0.1, "b": 1.0}}, Checkpoint(N, 2 * N))
    assert annealed(groups) is not None
    assert rewarmed(groups) is None
