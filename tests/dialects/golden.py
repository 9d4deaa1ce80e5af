"""The recorded traces of the real libraries, and how an entry is held against one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden"
#: Relative to the largest rate. Keras computes in float32 unless told otherwise.
TOLERANCE = {"float64": 1e-9, "float32": 1e-5}


def cases(file: str, library: str | None = None) -> list[dict[str, Any]]:
    """The cases of a file, or those of one library."""
    found: list[dict[str, Any]] = json.loads((GOLDEN / file).read_text())
    return [case for case in found if library in (None, case["library"])]


def assert_agrees(ours: Any, case: Mapping[str, Any], column: str = "lrs") -> None:
    """Assert that the rates of every tick agree with a case, and say where they do not."""
    ours, theirs = np.asarray(ours)[:: case.get("every", 1)], np.asarray(case[column])
    assert ours.shape == theirs.shape
    peak = np.abs(theirs).max()
    wrong = np.flatnonzero(~(np.abs(ours - theirs) <= TOLERANCE[case.get("dtype", "float64")] * peak))
    told = wrong.size and f"entry {wrong[0]}: {ours[wrong[0]]!r}, {case['library']} has {theirs[wrong[0]]!r}"
    assert not wrong.size, told
