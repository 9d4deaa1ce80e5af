"""The forms that other libraries' schedules are said in, each by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lrsched_cli.schedules.falls import (
    LINE,
    Fade,
    Fall,
    Logarithm,
    Power,
    Reflected,
    Root,
    Shrink,
    Tangent,
    Triangle,
    Wave,
)
from lrsched_cli.schedules.forms import (
    Bounded,
    Cycles,
    Form,
    Geometric,
    Late,
    Law,
    Level,
    Raised,
    Repeated,
    Scaled,
    Stairs,
    Table,
    Transition,
    Wrapped,
    joined,
    phases,
    warmed,
)
from lrsched_cli.schedules.ticks import Ticks, filled


def values(form: Form, total: int) -> list[float]:
    """The values of ticks in a row, which must be those of scattered ticks."""
    row = filled(form(Ticks(0, 1, total)), total)
    order = np.random.default_rng(0).permutation(total)
    np.testing.assert_allclose(filled(form(order.astype(float)), total), row[order], rtol=0, atol=1e-14)
    return [float(value) for value in row]


def knots(form: Form, total: int) -> list[int]:
    """The knots below ``total``, each asked for from the one before it."""
    found, at = [], 0.0
    while (at := float(form.next_knot(np.array([at]))[0])) < total:
        found.append(int(at))
    return found


FALLS: list[tuple[Fall, float, float, float]] = [
    (LINE, 1, 0.75, 0),
    (Wave(), 1, (1 + math.sqrt(0.5)) / 2, 0),
    (Wave(waves=1), 1, 0.5, 1),
    (Wave(exponent=2), 1, ((1 + math.sqrt(0.5)) / 2) ** 2, 0),
    (Wave(k=2), 1, (1 + math.cos(math.pi / 16)) / 2, 0),
    (Power(2), 1, 0.5625, 0),
    (Power(0.5), 1, math.sqrt(0.75), 0),
    (Power(1, k=2), 1, 0.9375, 0),
    (Root(), 1, 0.5, 0),
    (Shrink(0.0625), 1, (0.5 - 0.0625) / 0.9375, 0),
    (Fade(), 1, math.exp(-0.25), math.exp(-1)),
    (Logarithm(4), 1, 0.5, 1 - math.log(5) / math.log(4)),
    (Tangent(-2, 2), 0.5 + math.tanh(2) / 2, 0.5 + math.tanh(1) / 2, 0.5 - math.tanh(2) / 2),
    (Reflected(), 1, 0.75 / 0.875, 0),
    (Triangle(0.25), 0, 1, 0),
    (Triangle(0.5), 0, 0.5, 0),
]


@pytest.mark.parametrize(("fall", "start", "quarter", "end"), FALLS, ids=lambda x: str(x))
def test_a_fall(fall: Fall, start: float, quarter: float, end: float) -> None:
    found = np.asarray(fall(np.array([0.0, 0.25, 1.0])))
    np.testing.assert_allclose(found, [start, quarter, end], rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize(
    ("form", "expected", "bends"),
    [
        (Level(0.3), [0.3] * 4, []),
        (Transition(1, 3, 4), [1, 1.5, 2, 2.5, 3, 3.5], []),
        (Transition(1, 0, 2, Wave()), [1, 0.5, 0, 0.5, 1, 0.5, 0], [2, 4, 6]),
        (Geometric(8, 0.5), [8, 4, 2, 1], []),
        (Geometric(8, 0.25, 2), [8, 4, 2, 1], []),
        (Law(6, 4, 4), [6, 6 / math.sqrt(1.25), 6 / math.sqrt(1.5)], []),
        (Law(6, 1, 1, -1), [6, 3, 2, 1.5], []),
        (Table((2, 2, 3), (5, 4, 3, 2)), [5, 5, 3, 2, 2], [2, 3]),
        (Stairs(Transition(0, 6, 6), 2), [0, 0, 2, 2, 4, 4], [2, 4]),
        (Scaled((Level(2), Geometric(8, 0.5))), [16, 8, 4], []),
        (Raised(Geometric(8, 0.5), 1), [9, 5, 3], []),
        (Bounded(Transition(0, 6, 6), 1, 4), [1, 1, 2, 3, 4, 4, 4], []),
        (Late(Transition(0, 6, 6), 2), [-2, -1, 0, 1, 2], []),
        (Late(Transition(1, 6, 5), 2, held=True), [1, 1, 1, 2, 3], [2]),
        (Late(Geometric(8, 0.5), -1), [4, 2, 1], []),
        (Repeated(Transition(0, 3, 3), 3), [0, 1, 2, 0, 1, 2, 0], [3, 6]),
        (Repeated(Transition(0, 2, 2), 2, there_and_back=True), [0, 1, 2, 1, 0, 1, 2, 1], [1, 2, 3, 4, 5, 6, 7]),
        (Wrapped(LINE, 2.0, 4, 2), [2, 1, 2, 1, 2], [1, 2, 3, 4]),
        (Cycles(LINE, 2, 4, 2), [4, 3, 4, 3, 4], [2, 4]),
        (Cycles(LINE, 2, 4, 2, top_mult=0.5, foot_mult=0.5), [4, 3, 2, 1.5, 1], [2, 4]),
        (Cycles(LINE, 2, 4, growth=2), [4, 2, 4, 3, 2, 1, 4, 3.5], [2, 6]),
        (Cycles(LINE, 3, 4, growth=1.5, whole=True), [4, 8 / 3, 4 / 3, 4, 3, 2, 1, 4], [3, 7]),
        (Cycles(Triangle(), 4, 2, 1), [1, 1.5, 2, 1.5, 1, 1.5], [2, 4]),
        (joined([0, 2, 4], [0, 4, 2]), [0, 2, 4, 3, 2, 2, 2], [2, 4]),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, Form) else "",
)
def test_a_form(form: Form, expected: list[float], bends: list[int]) -> None:
    assert values(form, len(expected)) == pytest.approx(expected, rel=1e-15, abs=1e-15)
    assert knots(form, len(expected)) == bends


def test_a_library_may_count_the_first_tick_of_a_cycle_to_the_one_before() -> None:
    """Where the logarithm of a quotient is rounded down: timm and Keras at the fifth power of 3."""

    def number(tick: float) -> int:
        return 0 if tick == 2 else 99

    assert values(Cycles(LINE, 2, 4, growth=2, number=number), 7) == pytest.approx([4, 2, 0, 3, 2, 1, 4])


def test_phases_are_a_chain_of_ifs() -> None:
    """``if t < 4: a; elif t < 2: b; elif t < 6: c; else: d``: b never comes, and c reads its own clock."""
    form = phases((0, Level(1)), (4, Level(2)), (2, Transition(0, 10, 10)), (6, Level(3)))
    assert values(form, 8) == [1, 1, 1, 1, 2, 3, 3, 3]
    assert values(phases((0, Level(1)), (-2, Transition(0, 10, 10))), 3) == [2, 3, 4]
    assert values(phases((0, Level(1)), (0, Level(2))), 2) == [2, 2]


def test_warmed() -> None:
    assert values(warmed(2, 0.0, 1.0, Geometric(1, 0.5)), 5) == [0, 0.5, 1, 0.5, 0.25]
    assert values(warmed(0, 0.0, 1.0, Geometric(1, 0.5)), 3) == [1, 0.5, 0.25]


def test_a_billion_ticks_cost_what_a_thousand_cost() -> None:
    """Growing cycles are written down as far as asked: some sixty to the last tick there is."""
    form = Cycles(LINE, 10, 1.0, growth=2)
    far = filled(form(np.array([1e15 - 1])), 1)
    assert 0 < far[0] < 1
    assert len(form._starts) < 60


def test_whole_cycles_may_never_grow() -> None:
    """2 * 1.4 is 2 again, and so on: a billion ticks are not counted one cycle after the other."""
    form: Any = Cycles(LINE, 2, 4, growth=1.4, whole=True)
    assert filled(form(np.array([1e9, 1e9 + 1])), 2) == pytest.approx([4, 2])


def test_cycles_that_shrink_end_somewhere() -> None:
    form: Any = Cycles(LINE, 8, 1.0, growth=0.5)
    assert values(form, 15)[8] == 1
    assert len(form._starts) < 60
