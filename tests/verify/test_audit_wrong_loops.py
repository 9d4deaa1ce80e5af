"""Logs of loops that are really wrong, with torch's own optimizers: each is diagnosed, for every kind of schedule.

Where two mistakes leave the same log, the simpler one is named, and listed here with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from lrsched_cli.logs.log import Log, Series
from lrsched_cli.run import Run
from lrsched_cli.verify.audit import Audit, audit
from tests.support import LR, simulated

pytest.importorskip("torch")

from tests.verify import wrong_loops as loops
from tests.verify.wrong_loops import EPOCH, KINDS, TOTAL, Loop

Rates = Callable[[np.ndarray], np.ndarray]


def rounded(rates: np.ndarray) -> np.ndarray:
    """Five significant digits, as many logs keep."""
    return np.array([float(f"{rate:.4e}") for rate in rates])


def exact(rates: np.ndarray) -> np.ndarray:
    return rates


#: How a loop's rates are written: every how many updates, and with which digits.
WRITTEN = pytest.mark.parametrize(
    ("every", "digits"),
    [(1, exact), (1, rounded), (7, exact), (7, rounded)],
    ids=["dense", "dense-5-digits", "sparse", "sparse-5-digits"],
)
EACH = pytest.mark.parametrize("name", KINDS)


@cache
def logged(loop: type[Loop], name: str, lr: float = LR) -> np.ndarray:
    return np.array(loop(KINDS[name][0], lr).run())


def audited(rates: np.ndarray, name: str, every: int, digits: Rates, run: Run | None = None) -> Audit:
    """The audit of what a loop logged, against the plan of the schedule."""
    at = np.arange(len(rates))[::every]
    log = Log("run.csv", "csv", "step", (Series("lr", at, digits(rates[::every])),), "")
    return audit(simulated(KINDS[name][1], TOTAL), log, run)


@WRITTEN
@EACH
def test_a_right_loop(name: str, every: int, digits: Rates) -> None:
    found = audited(logged(Loop, name), name, every, digits)
    assert found.verdict == "match", found.main.cause
    assert found.first_difference is None
    assert found.max_relative_difference is not None
    assert found.max_relative_difference < (1e-9 if digits is exact else 1e-4)


@WRITTEN
@EACH
def test_accelerate_with_four_processes(name: str, every: int, digits: Rates) -> None:
    rates = logged(loops.Accelerate, name)
    found = audited(rates, name, every, digits, Run(world_size=4))
    assert (found.verdict, found.main.factor) == ("scaled", 4.0), found.main.cause
    assert "Accelerate steps a prepared scheduler once for each of 4 processes" in found.main.cause.what
    # Without a word on the launch both usual causes are named.
    found = audited(rates, name, every, digits)
    assert (found.verdict, found.main.factor) == ("scaled", 4.0), found.main.cause
    assert "4 processes" in found.main.cause.what
    assert "4 micro-batches" in found.main.cause.what


@WRITTEN
@EACH
def test_stepped_on_every_micro_batch(name: str, every: int, digits: Rates) -> None:
    found = audited(logged(loops.MicroBatches, name), name, every, digits, Run(grad_accumulation=4))
    assert (found.verdict, found.main.factor) == ("scaled", 4.0), found.main.cause
    assert "stepped on every one of 4 micro-batches" in found.main.cause.what


#: Steps of a staircase that ten ticks do not reach: the rate never moves, as if nobody had stepped the scheduler.
NOT_REACHED = ("StepLR", "MultiStepLR")


@WRITTEN
@EACH
def test_stepped_once_an_epoch(name: str, every: int, digits: Rates) -> None:
    for run in (Run(), Run(steps_per_epoch=EPOCH)):
        found = audited(logged(loops.ByEpoch, name), name, every, digits, run)
        if name in NOT_REACHED:
            assert found.verdict == "constant-after"
        else:
            assert (found.verdict, found.main.factor) == ("scaled", 1 / EPOCH), found.main.cause
            assert "once an epoch" in found.main.cause.what


@WRITTEN
@EACH
def test_half_speed(name: str, every: int, digits: Rates) -> None:
    found = audited(logged(loops.HalfSpeed, name), name, every, digits)
    if name == "MultiStepLR":  # a single drop in all of the run, which a resume would explain as well
        assert found.verdict == "unclear"
        assert "may have run 2 times too slowly, or begun again after a resume" in found.main.cause.what
        return
    assert (found.verdict, found.main.factor) == ("scaled", 0.5), found.main.cause


@WRITTEN
@EACH
def test_no_longer_stepped(name: str, every: int, digits: Rates) -> None:
    found = audited(logged(loops.Held, name), name, every, digits)
    assert found.verdict == "constant-after", found.main.cause
    assert found.first_difference is not None
    # It shows as soon as the plan moves on: at once on a curve, at the next step of a staircase, wherever it decays.
    moves = {"StepLR": 90, "MultiStepLR": 120, "wsd": 150}.get(name, 71)
    assert moves <= found.first_difference < moves + every + 1


@WRITTEN
@EACH
def test_resumed_with_a_fresh_scheduler(name: str, every: int, digits: Rates) -> None:
    for loop in (loops.Resumed, loops.ResumedTwice):
        found = audited(logged(loop, name), name, every, digits)
        assert found.verdict == "jump", found.main.cause
        assert found.first_difference is not None
        assert 90 <= found.first_difference < 90 + every


@EACH
def test_a_dense_log_tells_where_it_was_resumed(name: str) -> None:
    found = audited(logged(loops.ResumedTwice, name), name, 1, exact)
    # MultiStepLR is still at its first rate when it is resumed again, which shows when that does not end after 60.
    second = 150 if name == "MultiStepLR" else 140
    assert f"at update 90 and {second}" in found.main.cause.what
    assert "it starts again there, as with a fresh scheduler" in found.main.cause.what


@WRITTEN
@EACH
def test_a_log_that_is_read_too_late(name: str, every: int, digits: Rates) -> None:
    found = audited(logged(loops.LateLog, name), name, every, digits)
    if name == "MultiStepLR" and every > 1:  # whose drops lie between two points
        assert found.verdict == "unclear"
        assert "the rates are 1 to 3 updates ahead of the plan" in found.main.cause.what
        return
    assert (found.verdict, found.main.shift) == ("shifted", 1), found.main.cause


#: Schedulers that ignore the optimizer's rate: with another one they still do what was planned.
OWN_RATES = ("OneCycleLR", "CyclicLR")


@WRITTEN
@EACH
def test_a_wrong_base_rate(name: str, every: int, digits: Rates) -> None:
    found = audited(logged(Loop, name, 0.03), name, every, digits)
    assert found.verdict == ("match" if name in OWN_RATES else "different"), found.main.cause
    if name not in (*OWN_RATES, "CosineAnnealingLR", "CosineAnnealingWarmRestarts"):  # whose eta_min is no part of it
        assert "every rate is 0.3 times the planned one" in found.main.cause.what


@WRITTEN
@pytest.mark.parametrize("name", [name for name in KINDS if name != "wsd"])  # whose warmup is a parameter of its own
def test_a_lost_warm_up(name: str, every: int, digits: Rates) -> None:
    """The loop runs what was to come after a warm-up of 25 updates."""
    rates = logged(Loop, name)
    trace = simulated({**KINDS[name][1], "warmup": 25}, TOTAL + 25)
    at = np.arange(TOTAL)[::every]
    found = audit(trace, Log("run.csv", "csv", "step", (Series("lr", at, digits(rates[::every])),), ""))
    assert (found.verdict, found.main.shift) == ("shifted", 25), found.main.cause
    assert "warm-up was lost" in found.main.cause.what


@EACH
def test_a_group_that_was_never_logged(name: str) -> None:
    trace = simulated({**KINDS[name][1], "groups": {"backbone": 1, "head": 1}}, TOTAL)
    rates = logged(Loop, name)
    series = (Series("lr-SGD/head", np.arange(TOTAL), rates),)
    found = audit(trace, Log("metrics.csv", "lightning", "step", series, ""))
    assert found.verdict == "missing"
    assert [(group.name, group.verdict) for group in found.groups] == [("backbone", "missing"), ("head", "match")]
