"""Every kind of every library against the recorded traces of the real one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrsched_cli import SpecError, simulate
from tests.dialects.golden import assert_agrees, cases
from tests.golden.spec import to_spec
from tests.support import knots_are_honest


@pytest.mark.parametrize("case", cases("libraries.json"), ids=lambda case: case["id"])
def test_golden_trace(case: dict[str, Any]) -> None:
    if case.get("stochastic"):
        with pytest.raises(SpecError, match="noise"):
            simulate(*to_spec(case))
        return
    trace = simulate(*to_spec(case))
    assert_agrees(trace.lr, case)
    # One by one and from any tick on, as a picture asks for them.
    ticks = np.random.default_rng(0).permutation(case["total"])
    np.testing.assert_allclose(trace.schedule(ticks), trace.lr[ticks], rtol=0, atol=1e-13 * np.abs(trace.lr).max())
    if case["total"] < 1000:
        knots_are_honest(trace.schedule, case["total"])
    if "momentums" in case:
        assert_agrees(trace.momentum, case, "momentums")
    else:
        assert trace.momentum is None


@pytest.mark.parametrize(
    "case",
    cases("libraries_bad.json"),
    ids=lambda case: (
        f"{case['library']}-{case['name']}-{case['message'][:24] if case['raises'] else case['note'][:24]}"
    ),
)
def test_golden_bad_input(case: dict[str, Any]) -> None:
    length = len(case.get("result", ())) or 40
    spec, run = to_spec({"id": "", "unit": "step", "total": length, **case})
    if not case["raises"]:
        assert_agrees(simulate(spec, run).lr, {"dtype": "float32", **case}, "result")
        return
    with pytest.raises(SpecError) as caught:
        simulate(spec, run)
    assert case["library"] in str(caught.value)
    assert "\n" not in str(caught.value)
