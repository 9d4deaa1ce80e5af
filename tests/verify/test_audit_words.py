"""Logs on which an audit must not claim more than they show, and its words for what they do show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrsched_cli.logs.detect import read_log
from lrsched_cli.run import Run
from lrsched_cli.verify.audit import audit
from tests.support import LR, message_of, simulated
from tests.verify.test_audit import COSINE, audited, log_of, rates_of


@pytest.mark.parametrize("counts", [range(1, 201), range(1, 201, 10), range(10, 201, 10), range(1, 91)])
def test_a_log_that_is_counted_from_1_matches(counts: range) -> None:
    at = np.array(counts)
    rates = rates_of(COSINE, at - 1)
    log = log_of(("lr", at, rates), assumed=True)
    found = audit(simulated(COSINE, 200), log)
    assert found.verdict == "match"
    assert "counted from 1" in found.log.says
    # Not where the user or the program says what the first count is, nor where a count of 0 is there.
    assert audit(simulated(COSINE, 200), log_of(("lr", at, rates))).main.shift == -1
    zero = log_of(("lr", np.append(0, at), np.append(0.0, rates)), assumed=True)
    assert audit(simulated(COSINE, 200), zero).main.shift == -1


def test_a_log_from_0_that_lacks_its_first_rate_is_not_counted_from_1(tmp_path: Path) -> None:
    at = np.arange(1, 200)
    log = log_of(("lr", at, rates_of(COSINE, at - 1)), assumed=True)
    assert audit(simulated(COSINE, 200), log).main.shift == -1
    file = tmp_path / "run.csv"
    file.write_text("step,lr\n0,nan\n1,0.1\n2,0.1\n")
    assert not read_log(file, "run.csv").assumed
    file.write_text("step,lr\n1,0.1\n2,0.1\n")
    assert read_log(file, "run.csv").assumed


def test_a_shift_says_which_row_has_the_rate_of_which_update() -> None:
    at = np.arange(200)
    ahead = audited(COSINE, rates_of(COSINE, at + 1)).main.cause.what
    assert ahead.startswith("the rates are 1 update ahead of the plan: row t has what was planned for update t+1")
    behind = audited(COSINE, rates_of(COSINE, np.maximum(at - 3, 0))).main.cause.what
    assert behind == "the rates are 3 updates behind the plan: row t has what was planned for update t-3"


def test_a_constant_log_is_said_to_be_one() -> None:
    found = audited(COSINE, np.full(200, 0.05))
    assert "the rate is 0.05 throughout" in found.main.cause.what


def test_half_speed_of_a_straight_line_is_no_other_floor() -> None:
    found = audited({"kind": "linear"}, LR * (1 - np.arange(200) / 400))
    assert (found.verdict, found.main.factor) == ("scaled", 0.5)
    floor = audited({"kind": "cosine"}, 0.2 * LR + 0.8 * rates_of({"kind": "cosine"}, np.arange(200)))
    assert floor.verdict == "different"
    assert "with a floor of" in floor.main.cause.what


def test_a_pace_that_a_log_only_bounds_is_not_claimed() -> None:
    """A warm-up of 92 updates that is over between two points: 1.84 times as fast or any faster."""
    spec = {"kind": "transformers.constant_with_warmup", "num_warmup_steps": 92}
    at = np.arange(0, 500, 50)
    rates = rates_of(spec, 8 * at, 500)
    found = audited(spec, rates, total=500, at=at)
    assert found.verdict == "unclear"
    assert "at least 1.84 times too fast" in found.main.cause.what
    known = audited(spec, rates, total=500, at=at, run=Run(world_size=8))
    assert (known.verdict, known.main.factor) == ("scaled", 8.0), "the launch decides"


def test_a_shift_that_a_log_only_bounds_is_not_claimed() -> None:
    spec = {"kind": "step", "step_size": 60, "gamma": 0.5}
    at = np.arange(0, 200, 25)
    found = audited(spec, rates_of(spec, at + 18), at=at)
    assert found.verdict == "unclear"
    assert "the rates are 10 to 19 updates ahead of the plan" in found.main.cause.what


def test_a_staircase_that_was_resumed_is_no_pace() -> None:
    """Fresh schedulers: torch's MultiStepLR at 205 of 1,000, StepLR at 57 and 78 of 200, and at 37 and 56 of 100."""
    spec = {"kind": "torch.MultiStepLR", "milestones": [235, 489, 940], "gamma": 0.9}
    at = np.arange(1000)
    found = audited(spec, rates_of(spec, np.maximum(at - 205, 0), 1000), total=1000)
    assert (found.verdict, found.main.shift) == ("shifted", -205)

    def resumed(size: int, total: int, *resumes: int) -> Any:
        step = {"kind": "torch.StepLR", "step_size": size, "gamma": 0.5}
        ticks = np.arange(total)
        since = np.max([np.where(ticks >= start, start, 0) for start in (0, *resumes)], axis=0)
        return audited(step, rates_of(step, ticks - since, total), total=total)

    found = resumed(81, 200, 57, 78)
    assert (found.verdict, found.main.shift) == ("shifted", -78)
    found = resumed(32, 100, 37, 56)
    assert (found.verdict, found.first_difference) == ("jump", 37)


def test_a_rate_of_0_throughout_may_be_a_schedule_that_had_run_out() -> None:
    for spec in ({"kind": "linear"}, {"kind": "linear", "warmup": 20}):
        found = audited(spec, np.zeros(200))
        assert found.verdict == "unclear"
        assert "the scheduler had run out" in found.main.cause.what
    assert "or it was never stepped" in found.main.cause.what


def test_a_column_that_is_another_group_leads_to_groups() -> None:
    rates = rates_of(COSINE, np.arange(200))
    log = log_of(("lr/head", np.arange(200), rates), ("lr/backbone", np.arange(200), 0.1 * rates))
    found = audit(simulated(COSINE, 200), log)
    assert found.verdict == "different"
    assert found.main.cause.advice == "plan the groups: --groups head=1,backbone=0.1"


def test_a_warm_up_that_is_missing() -> None:
    found = audited(COSINE, rates_of(COSINE, np.maximum(np.arange(200), 20)))
    assert found.verdict == "different"
    assert found.main.cause.what == "the warm-up is missing; from update 20 on the log is the plan"


def test_what_is_no_number(tmp_path: Path) -> None:
    lines = tmp_path / "run.jsonl"
    lines.write_text('{"step": 0, "lr": true}\n{"step": 1, "lr": 0.1}\n')
    log = read_log(lines, "run.jsonl")
    assert log.form == "jsonl"
    assert len(log.series[0]) == 1
    table = tmp_path / "run.csv"
    table.write_text("step;lr\n0;0,1\n1;0,09\n")
    told = "run.csv: has numbers with a decimal comma in lr: write them with a point"
    assert message_of(read_log, table, "run.csv") == told
