"""``--data csv:FILE``: which column is what, how classes are numbered, and what is said of each wrong cell."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from lrsched_cli.training import csv_data
from lrsched_cli.training.csv_data import read_csv
from lrsched_cli.training.data import load_data
from tests.support import message_of

FILE = "mes données.csv"


@pytest.fixture
def read(tmp_path):
    """What is read from a file of this text."""

    def read(text: str | bytes, target: str | None = None, drop: tuple[str, ...] = ()):
        (tmp_path / FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_csv(tmp_path / FILE, FILE, target, drop)

    return read


@pytest.fixture
def error(read):
    def error(*args, **kwargs):
        return message_of(read, *args, **kwargs).removeprefix(FILE)

    return error


def listed(found) -> tuple:
    x, y, classes, notes = found
    assert x.dtype == np.float64
    assert y.dtype == np.int64
    return x.tolist(), y.tolist(), classes, notes


def test_the_last_column_is_the_class(read) -> None:
    assert listed(read("a,b,c\n1,2,no\n3,4,yes\n")) == ([[1, 2], [3, 4]], [0, 1], ["no", "yes"], [])
    assert listed(read("a,b,c\n1,2,no\n3,4,5\n", "a", ("c",))) == ([[2], [4]], [0, 1], ["1", "3"], [])


def test_classes_are_numbered_in_sorted_order(read) -> None:
    """Numbers as numbers, however they are written; anything else as text."""
    labels = "x,y\n" + "\n".join(f"1,{label}" for label in ["10", "9", "9.0", " 2", "10"])
    assert listed(read(labels))[1:3] == ([2, 1, 1, 0, 2], ["2", "9", "10"])
    labels = "x,y\n" + "\n".join(f"1,{label}" for label in ["10", "9", "été", "Z", "a", "inf"])
    assert listed(read(labels))[1:3] == ([0, 1, 5, 2, 3, 4], ["10", "9", "Z", "a", "inf", "été"])
    assert listed(read("x,y\n1,0.5\n1,-0.5\n1,5e-1\n"))[1:3] == ([1, 0, 1], ["-0.5", "0.5"])


def test_csv_in_other_hands(read) -> None:
    expected = ([[1.5, -2000.0]], [0], ["x"], [])
    assert listed(read("a,b,y\r\n1.5,-2e3,x\r\n")) == expected
    assert listed(read("a;b;y\r1.5;-2e3;x")) == expected
    assert listed(read("a\tb\ty\n\n 1.5\t -2e3\t x \n\n")) == expected
    assert listed(read('\ufeff"a", "b", "y"\n"1.5", "-2e3", "x"\n')) == expected
    assert listed(read("\n\na,b,y\n1.5,-2e3,x\n".encode("utf-16"))) == expected
    assert listed(read('a,"b\nb",y\n1.5,-2e3,x\n', drop=("b\nb",)))[0] == [[1.5]]


def test_a_header_that_ends_in_a_comma(read) -> None:
    """As in Kaggle's copy of the breast-cancer data, whose rows have a cell less than its header."""
    text = '"id","diagnosis","radius_mean","texture_mean",\n842302,M,17.99,10.38\n842303,B,20.57,17.77,\n'
    expected = ([[17.99, 10.38], [20.57, 17.77]], [1, 0], ["B", "M"], [])
    assert listed(read(text, "diagnosis", ("id",))) == expected


def test_a_column_without_a_name_is_left_out(read) -> None:
    """The index that pandas writes counts the rows: a feature that tells nothing, or everything."""
    x, _, _, notes = listed(read(",a,y\n0,1.5,p\n1,2.5,q\n"))
    assert x == [[1.5], [2.5]]
    assert notes == ["column 1 has no name and is left out"]


def test_wrong_cells(error) -> None:
    hint = "(--drop leaves a column out)"
    assert error("a,b,y\n1,2,p\n3,red,q\n") == f":3: b must be a number, got 'red' {hint}"
    assert error("a,b,y\n1,,p\n") == f":2: b must be a number, got '' {hint}"
    assert error("a,b,y\n,,\n") == f":2: a must be a number, got '' {hint}"
    assert error("a,b,y\n1,nan,p\n") == ":2: b must be a finite number of at most 1e+150, got 'nan'"
    assert error("a,b,y\n1,-inf,p\n") == ":2: b must be a finite number of at most 1e+150, got '-inf'"
    assert error("a,b,y\n2e150,red,p\n") == ":2: a must be a finite number of at most 1e+150, got '2e150'"
    assert error("a,b,y\n1e999,1,p\n") == ":2: a must be a finite number of at most 1e+150, got '1e999'"
    assert error("a;b;y\n1,5;2;p\n") == f":2: a must be a number, got '1,5' {hint}"
    assert error("a,b,y\n1,2,\n") == ":2: y must be a class, got ''"
    assert error("a,b,y\n1,2,NaN\n") == ":2: y must be a class, got 'NaN'"
    assert error('\n\na,b,y\n\n1,"2\n",p\n\n1,x,p\n') == f":8: b must be a number, got 'x' {hint}"
    assert error(f"a,y\n{'x' * 999},p\n") == f":2: a must be a number, got '{'x' * 56}... {hint}"


def test_rows_of_another_length(error) -> None:
    assert error("a,b,y\n1,2,p\n1,2\n") == ":3: has 2 cells where the header names 3 columns"
    assert error("a,b,y\n1,2,p,4\n") == ":2: has 4 cells where the header names 3 columns"
    assert error('a,b,y\n1,2,"p\n1,2,q\n') == ":3: is not CSV: unexpected end of data"
    assert error('a,y\n"' + "1" * 200_000) == ":2: is not CSV: field larger than field limit (131072)"
    assert error("x" * 200_000) == ":1: is not CSV: field larger than field limit (131072)"


def test_headers(read, error) -> None:
    missing = ":1: must begin with a header that names the columns"
    assert error("1,2,0\n3,4,1\n") == missing
    assert error("5.1,3.5,1.4,0.2,Iris-setosa\n4.9,3.0,1.4,0.2,Iris-setosa\n") == missing
    assert error("842302,M,17.99,10.38\n") == missing
    assert error("\n\n1;2\n") == missing.replace("1", "3", 1)
    assert error("a,b,a\n1,2,3\n") == ":1: names the column 'a' twice"
    assert listed(read("0,1,y\n5,6,p\n"))[0] == [[5, 6]], "pandas names columns so"


def test_columns_that_are_not_there(error) -> None:
    text = "age,size,kind\n1,2,p\n"
    assert error(text, "kinds") == ": has no column 'kinds' for --target (did you mean kind?)"
    assert error(text, "xyz") == ": has no column 'xyz' for --target (it has age, size, kind)"
    assert error(text, None, ("sise",)) == ": has no column 'sise' for --drop (did you mean size?)"
    assert error(text, "kind", ("kind",)) == ": --drop cannot leave out 'kind': it is the target"
    assert error(text, "kind", ("age", "size")) == ": has no column left for features beside the target 'kind'"
    assert error("y\np\n") == ": has no column left for features beside the target 'y'"
    wide = ",".join(f"c{i}" for i in range(30))
    ten = ", ".join(f"c{i}" for i in range(10))
    assert error(wide, "other") == f": has no column 'other' for --target (it has {ten}, ...)"


def test_files_without_samples(error) -> None:
    assert error("") == ": is empty"
    assert error(" \n\n") == ": is empty"
    assert error("a,b,y\n\n") == ": has no samples below its header"
    assert error(b"\xff\xfe\xfd") == ": is not text: it begins as UTF-16 does, but is not"
    assert error(b"a,b\n1,\xe9\n") == ":2: is not text: byte 0xe9 is not UTF-8"
    assert error(b"PK\x03\x04\0\0") == ":1: is not text: it holds NUL bytes"


def test_a_quantity_is_no_class(read, error) -> None:
    prices = "x,price\n" + "\n".join(f"{row},{row + 0.5}" for row in range(60))
    assert error(prices) == (
        ": price must be a class (--target names its column), got 60 different numbers such as 0.5"
    )
    few = "x,grade\n" + "\n".join(f"{row},{row % 20 / 2}" for row in range(60))
    assert len(read(few)[2]) == 20


def test_classes_that_cannot_be_split(tmp_path: Path) -> None:
    def said(*labels: str) -> str:
        (tmp_path / "c.csv").write_text("x,y\n" + "\n".join(f"1,{label}" for label in labels))
        return message_of(load_data, "csv:c.csv", folder=tmp_path)

    assert said("a", "a", "a") == "--data must have at least 2 classes, got 1 in csv:c.csv"
    rare = "--data must have at least 2 samples of each class, got 1 of class"
    assert said("a", "a", "b") == f"{rare} 'b' in csv:c.csv"
    assert said(*map(str, range(9))) == f"{rare} '0' and of 8 others in csv:c.csv"


def test_where_the_file_is(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / FILE).write_text("a,y\n1,p\n2,q\n3,p\n4,q\n")
    data = load_data(f"csv:{FILE}", folder=tmp_path / "plans")
    assert (data.name, data.shape, data.classes, data.train_size, data.val_size) == (f"csv:{FILE}", (1,), 2, 3, 1)
    assert data.notes == ("classes: 0 = p, 1 = q",)
    assert load_data(f"csv:{tmp_path}/plans/{FILE}", folder=Path("elsewhere")).digest == data.digest
    assert message_of(load_data, "csv:none.csv") == "no such file: none.csv"
    assert message_of(load_data, "csv:a\0b") == "no such file: 'a\\x00b'"
    assert message_of(load_data, "csv:.", folder=tmp_path) == ".: is a directory"
    monkeypatch.setattr(csv_data, "MAX_BYTES", 10)
    assert message_of(load_data, f"csv:{FILE}", folder=tmp_path / "plans") == f"{FILE}: is larger than 0 MB"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("a,y\n1,p\n")
    (tmp_path / "c.csv").chmod(0)
    assert message_of(load_data, "csv:c.csv", folder=tmp_path) == "c.csv: cannot be read: permission denied"


def test_more_than_ten_classes_are_not_listed(tmp_path: Path) -> None:
    for classes in (10, 11):
        lines = [f"{row},{row % classes}" for row in range(5 * classes)]
        (tmp_path / "c.csv").write_text("\n".join(["x,y", *lines]))
        assert len(load_data("csv:c.csv", folder=tmp_path).notes) == (classes == 10)


def test_the_same_data_from_a_csv_file(tmp_path: Path) -> None:
    """Breast cancer as Kaggle has it: an id, the diagnosis in letters, benign before malignant."""
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_breast_cancer(return_X_y=True)
    with (tmp_path / "c.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "diagnosis", *range(30)])
        writer.writerows([row, "MB"[y[row]], *values] for row, values in enumerate(x.tolist()))
    data = load_data("csv:c.csv", target="diagnosis", drop=["id"], folder=tmp_path)
    assert data.notes == ("classes: 0 = B, 1 = M",)
    theirs = load_data("breast-cancer")
    assert (data.train_size, data.val_size) == (theirs.train_size, theirs.val_size)
    found, _, _, _ = read_csv(tmp_path / "c.csv", "c.csv", "diagnosis", ["id"])
    np.testing.assert_array_equal(found, x)
