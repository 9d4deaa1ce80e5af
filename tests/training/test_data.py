"""What ``--data`` names: scikit-learn's data, CSV files, a user's own Python, and how each seed splits them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsched_cli.training import sklearn_data
from lrsched_cli.training.data import DATASETS, _apportion, load_data
from tests.support import message_of

datasets = pytest.importorskip("sklearn.datasets")
model_selection = pytest.importorskip("sklearn.model_selection")
preprocessing = pytest.importorskip("sklearn.preprocessing")

BUNDLED = {"digits": datasets.load_digits, "breast-cancer": datasets.load_breast_cancer}


# Names.


def test_unknown_names() -> None:
    known = "digits, breast-cancer, synthetic, mnist, fashion-mnist, csv:FILE or python:MODULE:FUNCTION"
    said = {
        "digit": f"--data must be {known}, got 'digit' (did you mean digits?)",
        "breast_cancer": f"--data must be {known}, got 'breast_cancer' (did you mean breast-cancer?)",
        "Fashion MNIST": f"--data must be {known}, got 'Fashion MNIST' (did you mean fashion-mnist?)",
        "été.csv": f"--data must be {known}, got 'été.csv' (did you mean csv:été.csv?)",
        "xyz": f"--data must be {known}, got 'xyz'",
        "": f"--data must be {known}, got ''",
        "digits:8": "--data must be digits, with nothing after it, got 'digits:8'",
        "csv": "--data must be csv:FILE, got 'csv'",
        "python:": "--data must be python:MODULE:FUNCTION, got 'python:'",
    }
    assert {text: message_of(load_data, text) for text in said} == said
    assert all(help.endswith(".") and len(help) < 120 for help in DATASETS.values())


def test_options_that_change_nothing_are_said() -> None:
    notes = load_data("digits", target="y", drop=["a"], data_dir=Path("a"), download=True).notes
    assert notes == (
        "--target is for csv, not for digits: it changes nothing",
        "--drop is for csv, not for digits: it changes nothing",
        "--data-dir is for mnist and fashion-mnist, not for digits: it changes nothing",
        "--download is for mnist and fashion-mnist, not for digits: it changes nothing",
    )


# Scikit-learn's files.


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_data_is_what_scikit_learn_loads(name: str, moved: bool, monkeypatch) -> None:
    """Bit for bit, from its files and, where a later version has moved them, through its own functions."""
    if moved:
        monkeypatch.setitem(sklearn_data._FILES, name, ("nowhere.csv", 0, (1, 1)))
    x, y = sklearn_data.load_bundled(name)
    theirs = BUNDLED[name]()
    np.testing.assert_array_equal(x, theirs.data, strict=True)
    np.testing.assert_array_equal(y, theirs.target)
    assert y.dtype == np.int64


def test_what_the_bundled_data_says_of_itself() -> None:
    digits, cancer = load_data("digits"), load_data("breast-cancer")
    assert (digits.shape, digits.classes, digits.seeded, digits.train_size, digits.val_size) == (
        (64,),
        10,
        True,
        1437,
        360,
    )
    assert (cancer.shape, cancer.classes, cancer.train_size, cancer.val_size) == ((30,), 2, 455, 114)
    assert digits.notes == ()
    assert cancer.notes == ("classes: 0 = malignant, 1 = benign",)
    assert list(datasets.load_breast_cancer().target_names) == ["malignant", "benign"]


def test_scikit_learn_is_not_imported_for_its_files() -> None:
    code = (
        "import sys, json\nfrom lrsched_cli.training.data import load_data\nload_data('digits').split(0)\n"
        "load_data('breast-cancer')\nprint(json.dumps(sorted(sys.modules.keys() & {'sklearn', 'scipy', 'torch'})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == []


def test_without_scikit_learn(monkeypatch) -> None:
    monkeypatch.setattr(sklearn_data, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert message_of(load_data, "digits") == "digits comes with scikit-learn: pip install 'lrsched-cli[train]'"
    for text in ("synthetic", "synthetic:rasbt"):
        assert message_of(load_data, text) == "synthetic needs scikit-learn: pip install 'lrsched-cli[train]'"


# Generated samples.


def test_synthetic_is_make_classification() -> None:
    x, y = sklearn_data.make_synthetic(
        "n_samples=3e2, n_features=8,n_informative=3,n_classes=3,weights=[0.5,0.3,0.2],"
        "shuffle=false,scale=None,flip_y=0"
    )
    theirs, labels = datasets.make_classification(
        n_samples=300, n_features=8, n_informative=3, n_classes=3, weights=[0.5, 0.3, 0.2], shuffle=False, scale=None,
        flip_y=0.0, random_state=0,
    )  # fmt: skip
    np.testing.assert_array_equal(x, theirs)
    np.testing.assert_array_equal(y, labels)
    assert load_data("synthetic").digest == load_data("synthetic:random_state=0").digest
    assert load_data("synthetic").digest != load_data("synthetic:random_state=1").digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_sample=3", "synthetic has no argument 'n_sample' (did you mean n_samples?); it has n_samples, "),
        ("return_X_y=false", "synthetic has no argument 'return_X_y'; it has "),
        ("rasb", "synthetic takes rasbt or key=value with commas between, such as n_samples=1000, got 'rasb'"),
        ("n_samples=x", "n_samples must be a number, true, false or None, got 'x'"),
        ("n_samples=", "n_samples must be a number, true, false or None, got ''"),
        ("n_samples=9,n_samples=9", "synthetic has n_samples twice"),
        ("n_samples=nan", "n_samples must be a whole number >= 1, got nan"),
        ("n_samples=-1", "n_samples must be a whole number >= 1, got -1"),
        ("n_features=2.5", "n_features must be a whole number >= 1, got 2.5"),
        ("n_samples=1e6,n_features=501", "n_samples x n_features must be at most 5e+08, got 1000000 x 501"),
        ("n_features=1e9", "n_samples x n_features must be at most 5e+08, got 100 x 1000000000"),
        ("n_features=1e5,n_informative=1e5", "n_samples x n_features must be at most 5e+08, got 100 x 100000"),
        ("n_classes=1e9", "n_samples must be at least n_classes x n_clusters_per_class, 2000000000, got 100"),
        ("random_state=None", "random_state must be a whole number, as every seed must see the same samples, got None"),
        ("random_state=-1", "make_classification refuses 'random_state=-1': The 'random_state' parameter "),
        ("class_sep=inf", "make_classification refuses 'class_sep=inf': The 'class_sep' parameter "),
        ("n_classes=5", "make_classification refuses 'n_classes=5': n_classes(5) * n_clusters_per_class(2) must be "),
        ("weights=[1,0],flip_y=0", "--data must have at least 2 classes, got 1 in synthetic:weights=[1,0],flip_y=0"),
        ("weights=[0,1],flip_y=0", "--data must have at least 2 samples of each class, got 0 of class 0 in "),
    ],
)  # fmt: skip
def test_synthetic_arguments_that_are_refused(text: str, message: str) -> None:
    assert message_of(load_data, f"synthetic:{text}").startswith(message)


def test_rasbts_parts_are_his() -> None:
    """His data module, step by step: two plain splits, not stratified, in single precision."""
    x, y = datasets.make_classification(
        n_samples=20000, n_features=100, n_informative=10, n_redundant=40, n_repeated=25, n_clusters_per_class=5,
        flip_y=0.05, class_sep=0.5, random_state=123,
    )  # fmt: skip
    # train_test_split by hand: the first of a permutation are the test part.
    order = np.random.RandomState(123).permutation(20000)
    inner = np.random.RandomState(123).permutation(16000)
    rest = order[4000:]
    expected = {"train": rest[inner[1600:]], "val": rest[inner[:1600]], "test": order[:4000]}
    data = load_data("synthetic:rasbt")
    assert (data.shape, data.classes, data.seeded, data.train_size, data.val_size) == ((100,), 2, False, 14400, 1600)
    for name, rows in expected.items():
        part = getattr(data.split(0), name)
        np.testing.assert_array_equal(part.x, x[rows].astype(np.float32), strict=True)
        np.testing.assert_array_equal(part.y, y[rows])
    limited = load_data("synthetic:rasbt", limit=32).split(0)
    np.testing.assert_array_equal(limited.train.x, data.split(0).train.x[:32])
    assert len(limited.val.y) == 1600


# Splits.


def rows_of(split, whole) -> tuple[list[int], list[int]]:
    """The rows in the parts of a split whose first column counts them: standardised, it is still a line.

    ``whole`` is the same seed's split without a limit, which has every row once and the same held-out rows.
    """
    column = np.concatenate([whole.train.x[:, 0], whole.val.x[:, 0]])
    held_out = np.argsort(np.argsort(column))[len(whole.train.y) :]
    line = np.polyfit(split.val.x[:, 0], held_out, 1)
    return [np.rint(np.polyval(line, part.x[:, 0])).astype(int).tolist() for part in (split.train, split.val)]


@pytest.fixture
def counted(tmp_path):
    """A CSV file whose first column counts its rows: 50 samples of three classes, one column constant."""
    random = np.random.default_rng(1)
    y = np.array([0] * 31 + [1] * 13 + [2] * 6)
    table = np.column_stack([np.arange(50), random.lognormal(3, 2, 50), np.full(50, 0.1), random.normal(size=50), y])
    lines = [",".join(map(repr, row)) for row in table.tolist()]
    (tmp_path / "counted.csv").write_text("\n".join(["row,a,b,c,y", *lines]))
    return lambda **options: load_data("csv:counted.csv", folder=tmp_path, **options), table[:, :-1], y


@pytest.mark.parametrize("limit", [None, 20])
def test_standardised_by_the_training_part_only(counted, limit: int | None) -> None:
    load, x, y = counted
    for seed in range(5):
        split = load(limit=limit).split(seed)
        train, val = rows_of(split, load().split(seed))
        assert len(set(train) | set(val)) == (limit or 40) + 10
        scaler = preprocessing.StandardScaler().fit(x[train])
        np.testing.assert_allclose(split.train.x, scaler.transform(x[train]), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(split.val.x, scaler.transform(x[val]), rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(split.train.y, y[train])
        np.testing.assert_array_equal(split.val.y, y[val])
    assert load().notes[1] == "1 of 4 features have the same value in every sample"


def test_what_is_constant_in_the_training_part_alone(tmp_path: Path) -> None:
    """It is divided by 1: rounding gives it a deviation of about 1e-17, which would blow up the held-out rest."""
    lines = [f"{0.1 if row else 5},{row},{row % 2}" for row in range(100)]
    (tmp_path / "c.csv").write_text("\n".join(["a,b,y", *lines]))
    data = load_data("csv:c.csv", folder=tmp_path)
    held = [split for split in map(data.split, range(30)) if len(set(split.train.x[:, 0])) == 1]
    assert held, "in some seeds the odd row is held out"
    for split in held:
        assert abs(split.train.x[0, 0]) < 1e-12
        assert sorted(set(split.val.x[:, 0].round(9))) == [0, 4.9]


def test_numbers_near_the_bounds_of_a_double(tmp_path: Path) -> None:
    lines = [f"{1e150 if row % 3 else -1e150},{row * 1e-320},{row % 2}" for row in range(20)]
    (tmp_path / "c.csv").write_text("\n".join(["a,b,y", *lines]))
    split = load_data("csv:c.csv", folder=tmp_path).split(0)
    assert np.isfinite(split.train.x).all()
    assert np.isfinite(split.val.x).all()


@pytest.mark.parametrize(
    "text", [*BUNDLED, "synthetic:n_samples=503,weights=[0.7,0.2,0.1],n_classes=3,n_informative=3"]
)
def test_stratified_as_scikit_learn_does(text: str) -> None:
    data = load_data(text)
    whole = np.concatenate([part.y for part in (data.split(0).train, data.split(0).val)])
    theirs = model_selection.StratifiedShuffleSplit(1, test_size=0.2, random_state=0)
    train, val = next(theirs.split(whole, whole))
    for seed in range(3):
        split = data.split(seed)
        assert (len(split.train.y), len(split.val.y)) == (data.train_size, data.val_size) == (len(train), len(val))
        assert np.abs(np.bincount(split.train.y) - np.bincount(whole[train])).max() <= 1
        assert np.abs(np.bincount(split.val.y) - np.bincount(whole[val])).max() <= 1


@given(st.lists(st.integers(2, 60), min_size=2, max_size=12))
def test_every_class_keeps_training_samples(sizes: list[int]) -> None:
    """The held-out counts are within one of the exact share, and add up to a fifth, rounded up."""
    counts = np.array(sizes)
    total = -(-sum(sizes) // 5)
    held = _apportion(counts, total)
    assert held.sum() == total
    assert (np.abs(held - counts * total / sum(sizes)) < 1).all()
    assert (held >= 0).all()
    assert (counts - held >= 1).all()


@given(st.lists(st.integers(1, 60), min_size=2, max_size=12), st.data())
def test_a_limit_leaves_every_class_a_sample(sizes: list[int], data: st.DataObject) -> None:
    counts = np.array(sizes)
    limit = data.draw(st.integers(len(sizes), sum(sizes)))
    kept = _apportion(counts, limit, least=1)
    assert kept.sum() == limit
    assert (kept >= 1).all()
    assert (kept <= counts).all()


def test_apportioned_by_hand() -> None:
    """A fifth of 7, 2 and 1 is 1.4, 0.4 and 0.2: the remainders give the first two equals to the earlier class."""
    assert _apportion(np.array([7, 2, 1]), 2).tolist() == [2, 0, 0]
    assert _apportion(np.array([5, 3, 2]), 4).tolist() == [2, 1, 1]  # 2, 1.2, 0.8
    assert _apportion(np.array([1, 1, 1]), 2).tolist() == [1, 1, 0]
    assert _apportion(np.array([97, 2, 1]), 5, least=1).tolist() == [3, 1, 1]


def test_each_seed_draws_a_split_of_its_own(counted) -> None:
    load, _, _ = counted
    data = load()
    held = [frozenset(rows_of(split, split)[1]) for split in map(data.split, range(20))]
    assert len(set(held)) == 20
    assert len(frozenset.union(*held)) > 45, "every row is held out at some time"
    again = load().split(7)
    np.testing.assert_array_equal(again.train.x, data.split(7).train.x)
    np.testing.assert_array_equal(data.split(np.int64(7)).val.x, again.val.x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(data)).split(7).val.x, again.val.x)
    assert message_of(data.split, -1) == "seed must be a whole number >= 0, got -1"


def test_the_split_of_a_seed_never_changes(counted) -> None:
    """Recorded: results stay comparable from machine to machine and from version to version."""
    load, _, _ = counted
    split = load().split(0)
    assert rows_of(split, split)[1] == [11, 14, 8, 36, 7, 5, 27, 42, 31, 44]


def test_the_training_part_is_shuffled(counted) -> None:
    """A file sorted by class must not train class after class."""
    load, _, _ = counted
    y = load().split(0).train.y
    assert y.tolist() != sorted(y.tolist())


def test_a_limit_is_stratified_and_drawn_by_the_seed(counted) -> None:
    load, _, _ = counted
    data = load(limit=20)
    assert (data.train_size, data.val_size) == (20, 10)
    drawn = set()
    for seed in range(5):
        split, whole = data.split(seed), load().split(seed)
        train, val = rows_of(split, whole)
        assert np.bincount(split.train.y).tolist() == [13, 5, 2]  # of 25, 10 and 5: half, ties to the first
        assert val == rows_of(whole, whole)[1]
        assert set(train) < set(rows_of(whole, whole)[0])
        drawn.add(frozenset(train))
    assert len(drawn) == 5
    assert data.digest == load().digest
    assert np.bincount(load(limit=3).split(0).train.y).tolist() == [1, 1, 1]
    assert message_of(load, limit=2) == "--limit must be at least the number of classes, 3, got 2"
    assert load(limit=41).notes[-1] == "--limit 41 limits nothing: there are 40 training samples"
    for wrong in (0, -1, True, 2.0):
        assert message_of(load, limit=wrong) == f"--limit must be a whole number >= 1, got {wrong}"
