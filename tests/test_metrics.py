import json
import math
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrsched_cli import metrics
from lrsched_cli.errors import SpecError
from lrsched_cli.metrics import parse_metrics, read_metrics
from tests.support import message_of

FUZZ = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
LIGHTNING = "epoch,step,train_loss,val_loss\n0,9,0.9,\n0,9,,0.8\n1,19,0.5,\n1,19,,0.4\n"


@pytest.fixture
def read(tmp_path):
    """Reads ``FILE[:COLUMN]`` after it wrote a text or bytes to the file."""

    def read(text, reference="m", file="m"):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_metrics(reference, tmp_path)

    return read


@pytest.fixture
def error(read):
    def error(*args, **kwargs):
        return message_of(read, *args, **kwargs)

    return error


# CSV


def test_sparse_rows_are_passed_over(read):
    assert read(LIGHTNING, "m:val_loss") == [0.8, 0.4]
    assert read(LIGHTNING, "m:train_loss") == [0.9, 0.5]
    assert read("a,b\n1, \n2\n\n3,4\n", "m:b") == [4.0]


def test_csv_in_other_hands(read):
    assert read('"a", "b"\r\n"1", 2\r\n', "m:a") == [1.0]
    assert read("a\tb\n1\t2\n", "m:b") == [2.0]
    assert read("a;b\n1;2\n", "m:b") == [2.0]
    assert read("\n \n a , b \n1,2\n", "m:b") == [2.0]
    assert read("\ufeffa,b\n1,2\n", "m:a") == [1.0]
    assert read("a,b\r1,2\r".encode("utf-16"), "m:a") == [1.0]


def test_what_is_not_finite_is_kept(read):
    values = read("v\nnan\ninf\n-inf\nNaN\n1\n")
    assert math.isnan(values[0])
    assert values[1:3] == [math.inf, -math.inf]
    assert math.isnan(values[3])
    assert values[4] == 1


def test_the_only_column_of_numbers_needs_no_name(read):
    assert read("val_loss\n0.5\n0.25\n") == [0.5, 0.25]
    assert read("when,note,loss\nMon,,\nTue,x,0.5\n") == [0.5]


def test_a_column_must_be_named_where_several_could_be(read, error):
    assert error(LIGHTNING) == (
        "m: has several columns: say which as m:COLUMN (it has epoch, step, train_loss, val_loss)"
    )
    assert error("a,b\nx,y\n") == "m: has several columns: say which as m:COLUMN (it has a, b)"
    assert error("a,b\n1,x\n2,3\n") == "m: has several columns: say which as m:COLUMN (it has a, b)"
    wide = ",".join(f"c{i}" for i in range(30))
    listed = ", ".join(f"c{i}" for i in range(12))
    assert error(f"{wide}\nx,y\n") == f"m: has several columns: say which as m:COLUMN (it has {listed} and 18 more)"


def test_a_column_that_is_not_there(error):
    assert error(LIGHTNING, "m:val_los") == "m: has no column 'val_los' (did you mean val_loss?)"
    assert error("a,b\n1,2\n", "m:xyz") == "m: has no column 'xyz' (it has a, b)"
    assert error("a,b\n1,2\n", "m:") == "m: has no column '' (it has a, b)"


def test_cells_that_are_no_numbers(error):
    assert error("a,b\n1,2\n3,oops\n", "m:b") == "m:3: b must be a number, got 'oops'"
    assert error('\na,b\n"1\n",2\n3,x\n', "m:b") == "m:5: b must be a number, got 'x'"
    assert error("v\n1\nv\n2\n") == "m:3: v must be a number, got 'v'"
    assert error("v\n" + "x" * 999) == f"m:2: v must be a number, got '{'x' * 56}..."
    assert error('v\n"' + "1" * 200_000) == "m:2: is not CSV: field larger than field limit (131072)"


def test_a_table_needs_a_header_and_values(error):
    assert error("1,2\n3,4\n") == "m:1: must begin with a header that names the columns"
    assert error("a,b\n", "m:a") == "m: has no numbers in column 'a'"
    assert error("a,b\n1,\n", "m:b") == "m: has no numbers in column 'b'"
    assert error("loss\n") == "m: has no numbers in column 'loss'"


# Bare numbers


def test_a_number_a_line(read, error):
    assert read("0.5\n\n 0.25\r\n1e-3\nnan\n")[:3] == [0.5, 0.25, 0.001]
    assert error("1\n2\nx\n") == "m:3: each value must be a number, got 'x'"
    assert error("1\n2\n", "m:loss") == "m: has no columns, only numbers: leave out :loss"
    assert error("") == "m: is empty"
    assert error(" \n") == "m: is empty"


# JSON


def test_json_list(read, error):
    assert read("[1, 2.5, null, NaN]")[:2] == [1.0, 2.5]
    assert read(' [{"v": 1}, {"w": 5}, {"v": null, "w": 6}, {"v": "0.5"}]', "m:v") == [1.0, 0.5]
    assert read(f"[1{'0' * 9999}]") == [math.inf]
    assert error("[1, true]") == "m: each value must be a number, got True"
    assert error('[1, {"v": 2}]') == "m: must be JSON objects throughout, got 1.0"
    assert error("[1]", "m:v") == "m: has no columns, only numbers: leave out :v"
    assert error("[]") == "m: has no numbers"
    assert error("[1,\n2") == "m:2: is not JSON: Expecting ',' delimiter"
    assert error("[" * 100_000) == "m: is not JSON of numbers: it is nested too deeply"


def test_json_lines(read, error):
    log = '{"step": 1, "eval/loss": 0.5}\n\n{"step": 2}\n{"step": 3, "eval/loss": 0.25, "note": "x"}\n'
    assert read(log, "m:eval/loss") == [0.5, 0.25]
    assert read('{"v": 1, "note": "x"}\n{"v": 2}\n') == [1.0, 2.0]
    assert error(log) == "m: has several columns: say which as m:COLUMN (it has step, eval/loss)"
    assert error(log, "m:eval_loss") == "m: has no column 'eval_loss' (did you mean eval/loss?)"
    assert error(log, "m:note") == "m:4: note must be a number, got 'x'"
    assert error('{"v": 1}\n{"v": [2]}\n') == "m:2: v must be a number, got [2.0]"
    assert error('{"v": 1}\n[2]\n', "m:v") == "m:2: must be JSON objects throughout, got [2.0]"
    assert (
        error('{\n  "v": 1\n}\n')
        == "m:1: is not one JSON object a line: Expecting property name enclosed in double quotes"
    )
    assert error("{}\n") == "m:1: each value must be a number, got {}"


# References


def test_names_of_files(read, tmp_path):
    for file in ("runs/a b.csv", "caf\u00e9.csv", "C:x.csv", "a:b:c.csv", "1,2.csv"):
        assert read("loss,n\n0.5,x\n", f"{file}:loss", file) == [0.5]
        assert read("loss,n\n0.5,x\n", file, file) == [0.5]
        assert parse_metrics(f"{file}:loss", tmp_path) == [0.5]
    assert read("val:loss,n\n0.5,1\n", "m:val:loss") == [0.5]
    assert read("loss,n\n0.5,1\n", f"{tmp_path / 'm'}:loss") == [0.5]


def test_the_longest_name_that_exists_is_the_file(read):
    read("a,b\n1,2\n", "m:a")
    assert read("7\n", "m:a", "m:a") == [7.0]
    assert read("b,n\n8,x\n", "m:a:b", "m:a") == [8.0]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no.csv:loss", "no such file: no.csv"),
        ("no.csv", "no such file: no.csv"),
        ("C:\\runs\\no.csv", "no such file: C:\\runs\\no.csv"),
        ("C:\\runs\\no.csv:loss", "no such file: C:\\runs\\no.csv"),
        (":loss", "no such file: :loss"),
        (".:loss", ".: is a directory"),
        ("a\0b:c", "no such file: 'a\\x00b'"),
        ("", "metrics must be numbers with commas between them, or FILE:COLUMN, got ''"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, reference, message):
    with pytest.raises(SpecError) as caught:
        read_metrics(reference, tmp_path)
    assert str(caught.value) == message


def test_files_that_are_no_text(error):
    assert error(b"\x1f\x8b\x08") == "m:1: is not text: byte 0x8b is not UTF-8"
    assert error(b"a\n\0\n") == "m:2: is not text: it holds NUL bytes"
    assert error(b"\xff\xfe\x00") == "m: is not text: it begins as UTF-16 does, but is not"


def test_files_that_are_too_large_or_no_files(tmp_path, error, monkeypatch):
    monkeypatch.setattr(metrics, "MAX_BYTES", 2**20)
    assert error("1\n" * 2**20) == "m: is larger than 1 MB"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert error("", "pipe") == "pipe: is not a regular file"


# The command line


def test_numbers_with_commas(tmp_path):
    assert parse_metrics("96.26,96.96, 97", tmp_path) == [96.26, 96.96, 97.0]
    assert parse_metrics("0.5", tmp_path) == [0.5]
    assert parse_metrics("1e-3,-inf", tmp_path) == [0.001, -math.inf]
    assert math.isnan(parse_metrics("nan,1", tmp_path)[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,x", "metrics must be numbers with commas between them, got 'x'"),
        ("1,,2", "metrics must be numbers with commas between them, got ''"),
        ("1,2,", "metrics must be numbers with commas between them, got ''"),
        ("x,1", "no such file: x,1"),
        ("", "metrics must be numbers with commas between them, or FILE:COLUMN, got ''"),
    ],
)
def test_lists_that_are_mistyped(tmp_path, text, message):
    with pytest.raises(SpecError) as caught:
        parse_metrics(text, tmp_path)
    assert str(caught.value) == message


def test_a_long_list_that_is_mistyped_is_not_taken_for_a_name(tmp_path):
    with pytest.raises(SpecError, match=r"^metrics must be numbers with commas between them, got 'x'$"):
        parse_metrics("1," * 9999 + "x", tmp_path)


# Fuzz


def test_neither_yaml_nor_pandas_is_needed():
    script = "import sys, lrsched_cli.metrics; assert not {'yaml', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@FUZZ
@given(
    st.binary()
    | st.lists(st.sampled_from([*'[]{}",;:\t\n\r 0.x', '{"a": 1}\n', "a,b\n", "1,2\n", "nan"])).map("".join),
    st.sampled_from(["m", "m:a", "m:"]),
)
def test_whatever_is_read_is_numbers_or_a_refusal(read, text, reference):
    try:
        values = read(text, reference)
    except SpecError:
        return
    assert values
    assert all(type(value) is float for value in values)


NUMBERS = st.lists(st.floats(allow_nan=False), min_size=1)


@FUZZ
@given(NUMBERS)
def test_every_kind_of_file_gives_the_same_numbers(read, tmp_path, values):
    lines = [repr(value) for value in values]
    assert read("\n".join(lines)) == values
    assert read("\n".join(["v", *lines])) == values
    assert read("\n".join(["n,v", *(f"x,{line}" for line in lines)]), "m:v") == values
    assert read(json.dumps(values)) == values
    assert read("\n".join(json.dumps({"v": value}) for value in values), "m:v") == values
    assert parse_metrics(",".join(lines), tmp_path) == values
