"""Figures that were measured with the real libraries, and what the tool says to the plans that gave them."""

from __future__ import annotations

from typing import Any

import pytest

from lrsched_cli import simulate
from lrsched_cli.book import Entry
from lrsched_cli.run import Run
from lrsched_cli.verify.check import check
from lrsched_cli.verify.findings import Finding

pytestmark = pytest.mark.filterwarnings("error")


def found(spec: dict[str, Any], **run: Any) -> dict[str, Finding]:
    """What ``lrsched check`` says to a plan, by code."""
    return {finding.code: finding for finding in check([Entry("plan", spec, Run(**run))])}


def test_a_scheduler_advanced_four_times_an_update() -> None:
    """transformers' cosine, 100 steps, 10 of warm-up (huggingface/accelerate#2926)."""
    spec = {"kind": "transformers.cosine", "lr": 1.0, "num_warmup_steps": 10, "num_training_steps": 100}
    run = Run(steps=100, world_size=4, stepper="accelerate")
    _, launched = Entry("plan", spec, run).traces()
    assert launched.lr[[25, 50, 75, 99]] == pytest.approx([0.0, 0.97, 0.117, 0.808], abs=5e-4)


def test_an_extended_cosine_jumps() -> None:
    """transformers' cosine at 50 of 100, extended to 200: 0.50 -> 0.848 one step later."""
    from lrsched_cli.verify.resume import Checkpoint, resume

    spec = {"kind": "transformers.cosine", "lr": 1.0, "num_warmup_steps": 0, "num_training_steps": 100}
    rates = resume(Entry("plan", spec, Run(steps=100)), Checkpoint(50, 200, "state-dict", "after")).resumed.lr
    assert rates[50:52] == pytest.approx([0.5, 0.848], abs=5e-4)


@pytest.mark.parametrize("kind", ["transformers.cosine", "transformers.cosine_with_min_lr"])
def test_a_cosine_of_transformers_climbs_again_past_its_end(kind: str) -> None:
    spec = {"kind": kind, "lr": 1.0, "num_warmup_steps": 3, "num_training_steps": 10}
    spec |= {"min_lr": 0.0} if kind.endswith("min_lr") else {}
    rates = simulate(spec, {"steps": 13}).lr
    assert rates[10:] == pytest.approx([0.0, 0.050, 0.188], abs=5e-4)
    assert "rebounds" in found(spec, steps=13)


def test_restarts_that_end_near_their_peak() -> None:
    """CosineAnnealingWarmRestarts(4, 2) over 14 steps: 0.99 of the peak."""
    spec = {"kind": "torch.CosineAnnealingWarmRestarts", "lr": 1.0, "T_0": 4, "T_mult": 2}
    assert simulate(spec, {"steps": 14}).lr[-1] == pytest.approx(0.99, abs=5e-3)
    assert "ends-mid-cycle" in found(spec, steps=14)


def test_the_first_update_of_transformers_has_a_rate_of_0() -> None:
    spec = {"kind": "transformers.linear", "lr": 1.0, "num_warmup_steps": 3, "num_training_steps": 100}
    assert simulate(spec).lr[0] == 0.0
    assert {code: finding.severity for code, finding in found(spec, steps=100).items()} == {"first-update-zero": "note"}


def test_a_warm_up_longer_than_the_run() -> None:
    """transformers' linear with a warm-up of 15 of 10 steps peaks at 0.6 of the rate, without a word."""
    spec = {"kind": "transformers.linear", "lr": 1.0, "num_warmup_steps": 15, "num_training_steps": 10}
    assert simulate(spec, {"steps": 10}).lr.max() == pytest.approx(0.6)
    assert "warmup-too-long" in found(spec, steps=10)


def test_a_fresh_cosine_with_last_epoch_starts_at_the_full_rate() -> None:
    torch = pytest.importorskip("torch")
    from lrsched_cli.verify.resume import Checkpoint, resume

    entry = Entry("plan", {"kind": "torch.CosineAnnealingLR", "lr": 1.0, "T_max": 10}, Run(steps=10))
    resumed = resume(entry, Checkpoint(4, 10, "last-epoch", "never"))
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [parameter], "initial_lr": 1.0}], lr=1.0)
    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, last_epoch=4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1.0)
    assert resumed.resumed.lr[4] == pytest.approx(1.0)


#: "Linear warm-up 3, cosine, total 10, peak 1": the rates used at steps 0 to 5, 9, 10 and 12.
STEPS = [0, 1, 2, 3, 4, 5, 9, 10, 12]
COSINE = {"t_initial": 10, "warmup_t": 3, "warmup_lr_init": 0.001, "lr_min": 0.01, "lr": 1.0}
TABLE: list[tuple[dict[str, Any], list[float]]] = [
    (
        {"kind": "transformers.cosine", "lr": 1.0, "num_warmup_steps": 3, "num_training_steps": 10},
        [0, 0.333, 0.667, 1, 0.950, 0.812, 0.050, 0, 0.188],
    ),
    (
        {"kind": "optax.warmup_cosine_decay_schedule", "init_value": 0.0, "peak_value": 1.0, "warmup_steps": 3,
         "decay_steps": 10},
        [0, 0.333, 0.667, 1, 0.950, 0.812, 0.050, 0, 0],
    ),
    (
        {"kind": "timm.CosineLRScheduler", **COSINE},
        [0.001, 0.334, 0.667, 0.796, 0.658, 0.505, 0.034, 0.010, 0.010],
    ),
    (
        {"kind": "timm.CosineLRScheduler", **COSINE, "warmup_prefix": True},
        [0.001, 0.334, 0.667, 1, 0.976, 0.906, 0.352, 0.214, 0.034],
    ),
    (
        {"kind": "keras.CosineDecay", "initial_learning_rate": 0.0, "decay_steps": 10, "warmup_target": 1.0,
         "warmup_steps": 3},
        [0, 0.333, 0.667, 1, 0.976, 0.905, 0.345, 0.206, 0.025],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), TABLE, ids=lambda value: value.get("kind") if "kind" in value else "")
def test_the_same_words_in_each_library(spec: dict[str, Any], expected: list[float]) -> None:
    assert simulate(spec, {"steps": 13}).lr[STEPS] == pytest.approx(expected, abs=6e-4)


def test_timm_never_reaches_the_peak_that_was_asked_for() -> None:
    assert "peak-never-reached" in found({"kind": "timm.CosineLRScheduler", **COSINE}, steps=13)


def test_a_cosine_that_is_stepped_once_a_step_with_a_horizon_of_epochs() -> None:
    """ScrollPrize/villa#1495: decays to zero 140 times over the run."""
    spec = {"kind": "cosine", "lr": 1.0, "after": "mirror", "T_max": 500}
    rates = simulate(spec, {"steps": 140_000}).lr
    assert (rates == rates.min()).sum() == 140
