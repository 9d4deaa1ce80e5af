"""Rules at the edges of what they find: the first wrong tick, common ends, brief warm-ups, points beyond the run."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lrsched_cli.book import Entry
from lrsched_cli.run import Run
from lrsched_cli.verify.check import check
from lrsched_cli.verify.findings import Finding

LONG = {"epochs": 90, "steps_per_epoch": 391}


def found(spec: dict[str, Any], code: str, **run: Any) -> list[Finding]:
    return [finding for finding in check([Entry("a", spec, Run.of(run))]) if finding.code == code]


@pytest.mark.parametrize("steps", [100, 10**6, 10**9])
def test_the_first_wrong_tick_is_told(steps: int) -> None:
    first = next(t for t in range(100) if math.sin(t) < 0)
    (finding,) = found({"kind": "expression", "expr": "lr * sin(t)", "lr": 0.1}, "not-positive", steps=steps)
    assert finding.tick == first
    assert finding.message == f"the rate must be >= 0, got {0.1 * math.sin(first):.6g} at t = {first}"


def test_a_late_wrong_tick_is_one_among_others() -> None:
    spec = {"kind": "expression", "expr": "5e5 - t"}
    (finding,) = found(spec, "not-positive", steps=10**9)
    assert (finding.tick, finding.message) == (500_001, "the rate must be >= 0, got -1 at t = 500001, among others")


@pytest.mark.parametrize(
    ("spec", "run"),
    [
        ({"kind": "torch.SWALR", "swa_lr": 0.05}, {"epochs": 50}),
        ({"kind": "cosine", "eta_min": 0.01, "lr": 0.1}, {"steps": 100}),
        ({"kind": "torch.CosineAnnealingLR", "T_max": 100, "eta_min": 0.03, "lr": 0.1}, {"steps": 100}),
    ],
)
def test_groups_that_end_alike(spec: dict[str, Any], run: dict[str, Any]) -> None:
    (finding,) = found({**spec, "groups": {"a": 0.1, "b": 1.0}}, "groups-collapsed", **run)
    assert finding.severity == "warning"
    assert "groups a and b end with one rate" in finding.message
    assert not found({**spec, "groups": {"a": 1.0, "b": 1.0}}, "groups-collapsed", **run)


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "cosine", "lr": 0.1},
        {"kind": "cosine", "lr": 0.1, "eta_min": 1e-6},
        {"kind": "cosine", "lr": 0.1, "eta_min": 1e-3},  # a tenth of the smaller rate: a floor, as many have it
        {"kind": "linear", "lr": 0.1},
        {"kind": "step", "lr": 0.1},
        {"kind": "cosine", "lr": 0.1, "warmup": 10},
    ],
)
def test_groups_with_a_common_floor_are_ordinary(spec: dict[str, Any]) -> None:
    assert not found({**spec, "groups": {"a": 0.1, "b": 1.0}}, "groups-collapsed", steps=100)


@pytest.mark.parametrize("warmup", [5, {"for": 5}, 20])
def test_a_bare_warmup_that_looks_like_epochs_is_noted(warmup: Any) -> None:
    (finding,) = found({"kind": "cosine", "warmup": warmup}, "unit-mismatch", **LONG)
    assert finding.severity == "note"
    assert finding.message.startswith("warmup ")
    assert "it may be meant in epochs" in finding.message


@pytest.mark.parametrize(
    ("spec", "run"),
    [
        ({"kind": "cosine", "warmup": "5st"}, LONG),
        ({"kind": "cosine", "warmup": "5ep"}, LONG),
        ({"kind": "cosine", "warmup": 100}, LONG),
        ({"kind": "cosine", "warmup": 5}, {"epochs": 90}),
        ({"kind": "cosine", "warmup": 10}, {"epochs": 3, "steps_per_epoch": 500}),
        ({"kind": "cosine", "warmup": 5}, {"epochs": 90, "steps_per_epoch": 20}),
        ({"kind": "transformers.cosine", "num_warmup_steps": 10, "num_training_steps": 35190}, LONG),
    ],
)
def test_other_warmups_are_not(spec: dict[str, Any], run: dict[str, Any]) -> None:
    assert not found(spec, "unit-mismatch", **run)


@pytest.mark.parametrize(("last", "faults"), [(5000, 1), (31, 1), (30, 0), (29, 0)])
def test_points_beyond_the_run(last: int, faults: int) -> None:
    spec = {"kind": "piecewise", "points": [[0, 0.1], [10, 0.2], [last, 0.01]]}
    findings = found(spec, "never-fires", epochs=30)
    assert len(findings) == faults
    if findings:
        assert findings[0].message.startswith(f"points: {last:,} is not reached; the last tick is 29, and 2 of 3")
    held = {"kind": "piecewise", "points": [[0, 0.1], [10, 0.2], [last, 0.2]]}
    assert not found(held, "never-fires", epochs=30)
