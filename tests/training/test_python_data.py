"""``--data python:MODULE:FUNCTION``: the datasets a user's code returns, and one line for all that goes wrong in it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from lrsched_cli.training import python_data
from lrsched_cli.training.data import load_data
from tests.support import message_of

SERIAL = itertools.count()
HEAD = """
import numpy as np
def pair(n, shape=(3,), first=0, dtype=np.float32):
    return np.arange(first, first + n * int(np.prod(shape))).reshape(n, *shape).astype(dtype), np.arange(n) % 2
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module into the current folder, under a name of its own, and returns what ``--data`` is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def module(code: str, head: str = HEAD) -> str:
        name = f"user_data_{next(SERIAL)}"
        (tmp_path / f"{name}.py").write_text(head + textwrap.dedent(code), encoding="utf-8")
        return f"python:{name}:make"

    return module


@pytest.fixture
def said(module):
    """What is said about a factory; its own name is written as M."""

    def said(code: str) -> str:
        text = module(code)
        return message_of(load_data, text).replace(text.split(":")[1], "M")

    return said


def returned(expression: str) -> str:
    return f"def make():\n    return {expression}\n"


# Datasets.


def test_tensor_datasets(module) -> None:
    torch = pytest.importorskip("torch")
    text = module("""
        import torch
        from torch.utils.data import TensorDataset
        def make():
            torch.manual_seed(0)
            parts = [torch.randn(n, 1, 4, 4) for n in (30, 8, 6)]
            return [TensorDataset(x, torch.arange(len(x)) % 3) for x in parts]
    """)
    data = load_data(text)
    split = data.split(5)
    torch.manual_seed(0)
    for part, count in ((split.train, 30), (split.val, 8), (split.test, 6)):
        np.testing.assert_array_equal(part.x, torch.randn(count, 1, 4, 4).numpy(), strict=True)
        np.testing.assert_array_equal(part.y, np.arange(count) % 3)
        assert part.y.dtype == np.int64
    assert (data.name, data.shape, data.classes, data.seeded) == (text, (1, 4, 4), 3, False)
    assert (data.train_size, data.val_size, data.notes) == (30, 8, ())
    limited = load_data(text, limit=7)
    np.testing.assert_array_equal(limited.split(0).train.x, split.train.x[:7])
    assert (limited.train_size, limited.val_size, limited.digest) == (7, 8, data.digest)


def test_map_style_datasets(module) -> None:
    """A subset, a class of one's own, and one derived from TensorDataset that does more than return its tensors."""
    pytest.importorskip("torch")
    split = load_data(module("""
        import torch
        from torch.utils.data import Dataset, Subset, TensorDataset
        class Squares(Dataset):
            def __len__(self):
                return 4
            def __getitem__(self, index):
                return [index, index**2], torch.tensor(index % 2)
        class Doubled(TensorDataset):
            def __getitem__(self, index):
                x, y = super().__getitem__(index)
                return 2 * x, int(y)
        def make():
            ones = TensorDataset(torch.ones(6, 2, requires_grad=True), torch.tensor([[0], [1]] * 3))
            return Squares(), Subset(ones, [1, 3]), Doubled(torch.ones(2, 2), torch.tensor([0, 1]))
    """)).split(0)  # fmt: skip
    assert split.train.x.tolist() == [[0, 0], [1, 1], [2, 4], [3, 9]]
    assert split.train.y.tolist() == [0, 1, 0, 1]
    assert (split.val.x.tolist(), split.val.y.tolist()) == ([[1, 1], [1, 1]], [1, 1])
    assert split.test.x.tolist() == [[2, 2], [2, 2]]


def test_arrays_need_no_torch(module) -> None:
    text = module(returned("pair(6), pair(4, first=50)"))
    code = (
        "import sys\nfrom lrsched_cli.training.data import load_data\n"
        f"print(load_data({text!r}).split(0).val.x[0], 'torch' in sys.modules)"
    )
    env = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=env)
    assert (done.stdout, done.stderr) == ("[50. 51. 52.] False\n", "")


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ("uint8", np.float32), ("int16", np.float32), ("bool", np.float32), ("int64", np.float64),
        ("float16", np.float32), ("float32", np.float32), ("float64", np.float64),
    ],
)  # fmt: skip
def test_samples_become_floating(module, given: str, held: type) -> None:
    train = load_data(module(returned(f"pair(6, dtype=np.{given}), pair(4, dtype=np.{given})"))).split(0).train
    assert train.x.dtype == held
    np.testing.assert_array_equal(train.x, np.arange(18).reshape(6, 3).astype(given))


def test_samples_of_a_single_number(module) -> None:
    data = load_data(module(returned("pair(6, ()), pair(4, ())")))
    assert data.shape == (1,)
    assert data.split(0).train.x.tolist() == [[0], [1], [2], [3], [4], [5]]


def test_bfloat16(module) -> None:
    pytest.importorskip("torch")
    text = module("""
        import torch
        from torch.utils.data import TensorDataset
        def make():
            part = TensorDataset(torch.tensor([[0.5], [2]], dtype=torch.bfloat16), torch.tensor([False, True]))
            return part, part
    """)
    train = load_data(text).split(0).train
    assert (train.x.dtype, train.x.tolist(), train.y.tolist()) == (np.float32, [[0.5], [2]], [0, 1])


def test_the_current_folder_comes_first(module, tmp_path: Path, monkeypatch) -> None:
    text = module(returned("pair(6), pair(4)"))
    other = tmp_path / "other"
    other.mkdir()
    (other / f"{text.split(':')[1]}.py").write_text("make = None")
    monkeypatch.syspath_prepend(other)
    assert load_data(text).train_size == 6
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "mod.py").write_text(
        f"from {text.split(':')[1]} import make\nclass C:\n    make = staticmethod(make)\n"
    )
    assert load_data("python:pkg.mod:make").train_size == load_data("python:pkg.mod:C.make").train_size == 6


# What goes wrong.


def test_references_that_name_nothing(module) -> None:
    for text in (
        "python:mod",
        "python:mod:",
        "python::make",
        "python:a b:c",
        "python:../mod:make",
        "python:mod:make()",
    ):
        assert message_of(load_data, text) == f"--data must be python:MODULE:FUNCTION, got {text!r}"
    assert message_of(load_data, "python:no_such_mod:make") == (
        "--data failed importing no_such_mod: ModuleNotFoundError: No module named 'no_such_mod'"
    )
    text = module("value = 3\n")
    name = text.split(":")[1]
    assert message_of(load_data, text) == f"--data has no make in the module {name}"
    assert message_of(load_data, f"python:{name}:value") == f"--data must name a function, got 3 in {name}:value"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "failed importing M: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "failed importing M: SystemExit: 3"),
        ("def make(:", "failed importing M: SyntaxError: invalid syntax (M.py, line 5)"),
        (returned("[][1]"), "failed calling python:M:make: IndexError: list index out of range"),
        (returned("exec('raise ValueError(\"a\\\\n  b\")')"), "failed calling python:M:make: ValueError: a b"),
        ("def make(seed):\n    pass",
         "failed calling python:M:make: TypeError: make() missing 1 required positional argument: 'seed'"),
        (returned("pair(3)[0]"), "python:M:make must return (train, val) or (train, val, test), got ndarray"),
        (returned("[pair(3)]"), "python:M:make must return (train, val) or (train, val, test), got list of 1"),
        (returned("None"), "python:M:make must return (train, val) or (train, val, test), got NoneType"),
    ],
)  # fmt: skip
def test_code_that_fails(said, code: str, message: str) -> None:
    assert said(code) == f"--data {message}"


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("None", "must be a TensorDataset or another map-style dataset, got NoneType"),
        ("iter([])", "must be a TensorDataset or another map-style dataset, got list_iterator"),
        ("[]", "must have at least one sample"),
        ("pair(0)", "must have at least one sample and one feature"),
        ("pair(3, (0,))", "must have at least one sample and one feature"),
        ("pair(3)[:1]", "must have samples and labels, got 1 tensors"),
        ("(pair(3)[0], pair(4)[1])", "must have a label for each of its 3 samples, got 4"),
        ("[1, 2]", "must have items (x, y), got int at 0"),
        ("[([1.0], 0), ([1.0], 0, 0)]", "must have items (x, y), got tuple of 3 at 1"),
        ("[([1.0], 0), ([1.0, 2.0], 0)]", "must have samples of one shape, got (1,) at 0 and (2,) at 1"),
        ("[('a', 0)]", "must have samples that are numbers, got <U1"),
        ("(pair(3)[0].astype(complex), pair(3)[1])", "must have samples that are numbers, got complex128"),
        ("(pair(3)[0], pair(3)[1] * 1.0)",
         "must have labels that are whole numbers, one a sample, got float64 of shape (3,)"),
        ("(pair(3)[0], np.eye(3, dtype=int))",
         "must have labels that are whole numbers, one a sample, got int64 of shape (3, 3)"),
        ("(pair(3)[0], np.int64(1))", "must have labels that are whole numbers, one a sample, got int64 of shape ()"),
        ("[([1.0], [0, 1])]", "must have labels that are whole numbers, one a sample, got int64 of shape (1, 2)"),
        ("(pair(3)[0], pair(3)[1] - 1)", "must have labels from 0 up to the number of classes, got -1"),
        ("(pair(3)[0], pair(3)[1].astype('uint64') * (2**64 - 1))",
         "must have labels from 0 up to the number of classes, got 18446744073709551615"),
        ("(pair(3)[0] * np.float32('nan'), pair(3)[1])", "must have finite samples, got NaN or inf"),
    ],
)  # fmt: skip
def test_datasets_that_are_refused(said, train: str, message: str) -> None:
    assert said(returned(f"({train}), pair(4)")) == f"--data python:M:make's training part {message}"
    assert said(returned(f"pair(4), pair(4), ({train})")) == f"--data python:M:make's test part {message}"


def test_parts_that_do_not_go_together(said) -> None:
    assert said(returned("pair(4), pair(4, (2, 2))")) == (
        "--data python:M:make must return parts of one shape of sample, got (3,) and (2, 2)"
    )
    assert said(returned("(pair(4)[0], np.zeros(4, int)), (pair(4)[0], np.zeros(4, int))")).startswith(
        "--data must have at least 2 classes, got only the label 0 in python:M:make"
    )


def test_an_item_that_fails(said) -> None:
    assert said("""
        class Broken:
            def __len__(self):
                return 9
            def __getitem__(self, index):
                if index == 5:
                    raise OSError("disk: été")
                return [0.5], 1
        def make():
            return Broken(), Broken()
    """) == "--data failed reading python:M:make's training part: OSError: disk: été"  # fmt: skip


def test_more_than_fits_in_memory(said, monkeypatch) -> None:
    huge = """
        class Huge:
            def __len__(self):
                return 10**12
            def __getitem__(self, index):
                return np.zeros(1000, np.float32), 1
        def make():
            return Huge(), Huge()
    """
    assert said(huge) == (
        "--data python:M:make's training part must fit in memory with the others, at most 8 GB, got 3725290.3"
    )
    monkeypatch.setattr(python_data, "MAX_BYTES", 100)
    assert "validation part must fit in memory" in said(returned("pair(6), pair(4)"))


def test_an_interrupt_is_no_mistake_of_the_code(module) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_data(module("raise KeyboardInterrupt"))
