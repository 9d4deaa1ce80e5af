"""What each library makes of the same words, against what was measured of the real libraries."""

from __future__ import annotations

import numpy as np
import pytest

from lrsched_cli.kinds import DIALECTS, find_kind
from lrsched_cli.readings.compare import Row, compared, horizon, telling_ticks
from lrsched_cli.readings.table import READINGS, family_of
from lrsched_cli.readings.words import Words
from lrsched_cli.schedules import CANONICAL
from lrsched_cli.spec import simulate

EVERY = [(family, reading) for family, readings in READINGS.items() for reading in readings]


@pytest.mark.parametrize(("family", "reading"), EVERY, ids=lambda x: getattr(x, "name", x))
@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_the_library_takes_the_words(family: str, reading: object, warmup: int) -> None:
    row = next(row for row in compared(family, Words(lr=0.3, warmup=warmup)) if row.reading is reading)
    assert row.refused == ""
    assert len(row.rates) >= 100
    assert np.isfinite(row.rates).all()
    assert row.peak[0] <= 0.3 * (1 + 1e-12)


def test_names_are_kinds() -> None:
    for family, reading in EVERY:
        assert family in CANONICAL
        assert find_kind(reading.kind) is not None, reading.kind
    libraries = {reading.library for _, reading in EVERY}
    assert libraries == set(DIALECTS)


def rows(family: str, **words: float) -> dict[str, Row]:
    return {row.reading.name: row for row in compared(family, Words(**{"lr": 1.0, **words}))}  # type: ignore[arg-type]


# Update 0, the first update at the full rate, and the tick at which the end is reached, for 100 steps of which 10 are
# warm-up, as they were measured of the real libraries.
CONVENTIONS = [
    ("cosine", "torch.CosineAnnealingLR", 1 / 3, 10, 100, "rises"),
    ("cosine", "transformers.cosine_with_min_lr", 0, 10, 100, "rises"),
    ("cosine", "transformers.cosine_warmup_with_min_lr", 0.1, 9, 99, "rises"),
    ("cosine", "timm.CosineLRScheduler (warmup_prefix)", 0, 10, 110, "holds"),
    ("cosine", "optax.warmup_cosine_decay_schedule", 0, 10, 100, "holds"),
    ("cosine", "keras.CosineDecay", 0, 10, 110, "holds"),
    ("cosine", "composer.CosineAnnealingScheduler", 0, 11, 101, "holds"),
    ("cosine", "megatron.cosine", 0, 10, 100, "holds"),
    ("cosine", "torchtitan.LRSchedulersContainer", 0.1, 9, 100, "rises"),
    ("cosine", "ignite.create_lr_scheduler_with_warmup", 0, 9, 99, "rises"),
    ("linear", "transformers.linear", 0, 10, 100, "holds"),
    ("linear", "deepspeed.WarmupDecayLR", 0, 10, 101, "holds"),
    ("linear", "torchtitan.LRSchedulersContainer", 0.1, 9, 100, "turns negative"),
    ("onecycle", "torch.OneCycleLR", 0.04, 29, 99, "raises"),
    ("onecycle", "optax.cosine_onecycle_schedule", 0.04, 30, 100, "holds"),
]


@pytest.mark.parametrize(("family", "name", "first", "full", "end", "then"), CONVENTIONS)
def test_conventions(family: str, name: str, first: float, full: int, end: int, then: str) -> None:
    row = rows(family, warmup=10)[name]
    assert row.first == pytest.approx(first, abs=1e-12)
    assert row.peak == (pytest.approx(1.0), full)
    assert (row.end[1], row.then) == (end, then)


def test_timm_never_reaches_the_peak_without_a_prefix() -> None:
    row = rows("cosine", warmup=10)["timm.CosineLRScheduler"]
    assert row.peak == (pytest.approx((1 + np.cos(np.pi / 10)) / 2), 10)


# "Peak 1, warm-up 3, cosine, total 10" in the libraries themselves, to the digits that were printed.
MEASURED = {
    "transformers.cosine_with_min_lr": ({}, {1: 0.333, 2: 0.667, 3: 1.0, 4: 0.950, 5: 0.812, 9: 0.050, 12: 0.188}),
    "optax.warmup_cosine_decay_schedule": ({}, {1: 0.333, 2: 0.667, 3: 1.0, 4: 0.950, 5: 0.812, 9: 0.050, 12: 0.0}),
    "transformers.cosine_warmup_with_min_lr": (
        {"floor": 0.1},
        {0: 0.333, 1: 0.667, 2: 1.0, 3: 0.955, 4: 0.831, 5: 0.650, 9: 0.100, 10: 0.145, 12: 0.450},
    ),
    "timm.CosineLRScheduler": ({"floor": 0.01}, {3: 0.796, 4: 0.658, 5: 0.505, 9: 0.034, 10: 0.010, 12: 0.010}),
    "timm.CosineLRScheduler (warmup_prefix)": (
        {"floor": 0.01},
        {3: 1.0, 4: 0.976, 5: 0.906, 9: 0.352, 10: 0.214, 12: 0.034},
    ),
    "keras.CosineDecay": ({}, {0: 0, 1: 0.333, 2: 0.667, 3: 1.0, 4: 0.976, 5: 0.905, 9: 0.345, 10: 0.206, 12: 0.025}),
    "ignite.create_lr_scheduler_with_warmup": ({}, {0: 0, 1: 0.5, 2: 1.0}),
}


@pytest.mark.parametrize("name", MEASURED)
def test_measured_rates(name: str) -> None:
    words, expected = MEASURED[name]
    row = rows("cosine", warmup=3, total=10, **words)[name]
    assert {tick: float(row.rates[tick]) for tick in expected} == pytest.approx(expected, abs=6e-4)


def test_ends_and_what_follows() -> None:
    found = rows("wsd", warmup=10)
    assert found["timm.WSDLRScheduler"].end[1] == 110
    assert found["pytorch_optimizer.get_wsd_schedule"].end == (0.0, 100)
    assert rows("constant")["torch.ConstantLR"].end == (1.0, 0)


def test_a_library_may_refuse() -> None:
    """Megatron wants a warm-up that is shorter than the decay."""
    row = rows("linear", warmup=99, total=100)["megatron.linear"]
    assert row.refused == ""
    refused = [row for row in compared("piecewise", Words(total=1)) if row.refused]
    assert all(row.trace is None for row in refused)


def test_family_of() -> None:
    assert family_of("cosine") == "cosine"
    assert family_of("timm.CosineLRScheduler") == "cosine"
    assert family_of("transformers.linear") == "linear"
    assert family_of("torch.SequentialLR") is None


def test_telling_ticks_lie_inside() -> None:
    for words in (Words(), Words(warmup=3, total=10), Words(total=1), Words(warmup=99), Words(warmup=1, total=2)):
        ticks = telling_ticks(words)
        assert ticks == sorted(set(ticks))
        assert ticks[0] == 0
        assert ticks[-1] <= horizon(words)
        assert words.total in ticks


def test_a_reading_is_an_entry() -> None:
    """What ``--format json`` prints as a spec gives the same rates when it is simulated."""
    row = rows("cosine", warmup=10)["optax.warmup_cosine_decay_schedule"]
    again = simulate(dict(row.reading.entry(row.words)), {"steps": len(row.rates)})
    assert np.array_equal(again.lr, row.rates)
