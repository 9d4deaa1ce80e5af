import copy
import io
import math
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli.document import Located, LocatedList, line_of, load_file, load_stream, load_text, yaml_text
from lrsched_cli.errors import SpecError


def error_of(text, name="p.yaml"):
    started = time.monotonic()
    with pytest.raises(SpecError) as caught:
        load_text(text, name)
    assert time.monotonic() - started < 20, "a hang guard, not a measurement"
    line = str(caught.value)
    assert "\n" not in line
    return line


# Lines


def test_mappings_and_lists_know_their_lines(parser):
    doc = load_text(
        "# plan\nrun:\n  epochs: 9\nschedules:\n  a: {kind: step,\n      gamma: 0.1}\n  b:\n  - 1\n  - x: 2\n", "p"
    )
    assert doc == {"run": {"epochs": 9}, "schedules": {"a": {"kind": "step", "gamma": 0.1}, "b": [1, {"x": 2}]}}
    assert type(doc) is Located
    assert (doc.file, doc.line, doc.lines) == ("p", 2, {"run": 2, "schedules": 4})
    assert (doc["run"].line, doc["schedules"].line) == (3, 5)
    assert doc["schedules"]["a"].lines == {"kind": 5, "gamma": 6}
    items = doc["schedules"]["b"]
    assert type(items) is LocatedList
    assert (items.file, items.line, items.lines, items[1].line) == ("p", 8, [8, 9], 9)


def test_line_of():
    doc = load_text("a: 1\nb:\n- x\n", "p")
    assert line_of(doc, "b") == 2
    assert line_of(doc, "c") is None
    assert line_of(doc["b"], 0) == 3
    assert line_of(doc["b"], 1) is None
    assert line_of({"a": 1}, "a") is None
    assert line_of([1], 0) is None
    assert line_of("text", 0) is None


def test_located_survives_deepcopy_and_pickle():
    doc = load_text("a: {b: [1]}", "p")
    for twin in (copy.deepcopy(doc), pickle.loads(pickle.dumps(doc))):
        assert twin == doc
        assert (twin.file, twin["a"].lines, twin["a"]["b"].line) == ("p", {"b": 1}, 1)


def test_names_that_python_uses_are_only_text(parser):
    assert load_text("__class__: 1\nlines: 2\n__init__: {file: 3}", "p") == {
        "__class__": 1,
        "lines": 2,
        "__init__": {"file": 3},
    }


# Scalars


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-5", 1e-5),
        ("1e5", 1e5),
        ("-1E3", -1000.0),
        ("2.5e3", 2500.0),
        (".5e3", 500.0),
        ("-.5", -0.5),
        ("1.e-5", 1e-5),
        ("1.5e+3", 1500.0),
        ("1_000.5", 1000.5),
        ("3", 3),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("0.5", 0.5),
        ("00.5", 0.5),
        ("1_000_000", 1_000_000),
        ("0x10", 16),
        ("-0xfF", -255),
        ("0o10", 8),
        ("0b101", 5),
        ("9" * 40, int("9" * 40)),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("yes", True),
        ("Off", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01 10:00:00", "2024-01-01 10:00:00"),
        ('"3"', "3"),
        ("'1e-5'", "1e-5"),
        ('"yes"', "yes"),
        ('""', ""),
        ("5ep", "5ep"),
        ("10%", "10%"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1e5x", "1e5x"),
        ("0x_", "0x_"),
        ("0b2", "0b2"),
        (".", "."),
        ("-", [None]),
        ("=", "="),
        ("<<", "<<"),
        ("!!str 3", "3"),
        ('!!int "3"', 3),
        ('!!float "3"', 3.0),
        ("!!bool 'yes'", True),
        ("!!null ''", None),
        ("! 3", 3),
        ("!!map {}", {}),
        ("!!seq []", []),
        ("caf\u00e9 \u5b66\u7fd2", "caf\u00e9 \u5b66\u7fd2"),
    ],
)
def test_scalars(parser, written, value):
    read = load_text(f"a:\n - {written}" if written == "-" else f"a: {written}", "p")["a"]
    read = read[0] if written == "-" else read
    assert read == value
    assert type(read) is type(value) or isinstance(value, list | dict)


def test_nan_is_a_float(parser):
    assert math.isnan(load_text("a: .nan", "p")["a"])


def test_the_loaders_of_yaml_stay_as_they_are():
    assert yaml.safe_load("a: 1e-5\nb: 1:30\nc: 010") == {"a": "1e-5", "b": 90, "c": 8}
    assert yaml.load("a: 1e-5\nb: 1:30", getattr(yaml, "CSafeLoader", yaml.SafeLoader)) == {"a": "1e-5", "b": 90}


# Keys


def test_keys_are_text_or_numbers(parser):
    assert load_text("{30: 0.1, 0.5: a, 1e1: b, '3': c}", "p") == {30: 0.1, 0.5: "a", 10.0: "b", "3": "c"}


def test_words_for_truth_are_text_as_keys(parser):
    doc = load_text("on: 1\nNo: 2\ntrue: 3\n'off': 4", "p")
    assert doc == {"on": 1, "No": 2, "true": 3, "off": 4}
    assert doc.lines == {"on": 1, "No": 2, "true": 3, "off": 4}


# Anchors


def test_aliases_give_the_same_value(parser):
    doc = load_text("a: &x {k: 1}\nb: *x\nc: &y 5\nd: *y", "p")
    assert doc == {"a": {"k": 1}, "b": {"k": 1}, "c": 5, "d": 5}
    assert doc["a"] is doc["b"]
    assert doc.lines == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_merge_keys(parser):
    doc = load_text(
        "x: &x {a: 1, b: 1}\ny: &y\n  b: 2\n  c: 2\n"
        "one:\n  c: 3\n  <<: *x\nmany:\n  <<: [*x, *y]\n  a: 4\nnone:\n  <<: []\ntext:\n  '<<': 5\n",
        "p",
    )
    assert doc["one"] == {"a": 1, "b": 1, "c": 3}
    assert list(doc["one"]) == ["a", "b", "c"]
    assert (doc["one"].line, doc["one"].lines) == (6, {"a": 1, "b": 1, "c": 6})
    assert doc["many"] == {"a": 4, "b": 1, "c": 2}
    assert doc["many"].lines == {"a": 10, "b": 1, "c": 4}
    assert (doc["none"], doc["none"].lines, doc["text"]) == ({}, {}, {"<<": 5})


# Refusals that both parsers word alike


REFUSED = {
    "": "p.yaml: is empty",
    " \n\n": "p.yaml: is empty",
    "# only a comment\n": "p.yaml: is empty",
    "---\n": "p.yaml: is empty",
    "null": "p.yaml: is empty",
    "---\na: 1\n---\nb: 2\n": "p.yaml: holds more than one document",
    "---\n---\n": "p.yaml: holds more than one document",
    "x: 1\na: 010": "p.yaml:2: a number must not begin with 0, got 010: write 10, or 0o10 if it is octal",
    "a: -007": "p.yaml:1: a number must not begin with 0, got -007: write -7, or -0o7 if it is octal",
    "a: 089": "p.yaml:1: a number must not begin with 0, got 089: write 89",
    "a: 00": "p.yaml:1: a number must not begin with 0, got 00: write 0, or 0o0 if it is octal",
    "010: 1": "p.yaml:1: a number must not begin with 0, got 010: write 10, or 0o10 if it is octal",
    "a: " + "1" * 41: "p.yaml:1: a number has more than 40 digits: " + "1" * 41,
    "a: -" + "1" * 9999: "p.yaml:1: a number has more than 40 digits: -" + "1" * 55 + "..",
    "a: 1\n\nb: 2\na: 3\n": "p.yaml:4: key 'a' is written twice, first on line 1",
    "x:\n  no: 1\n  'no': 3\n": "p.yaml:3: key 'no' is written twice, first on line 2",
    "{1: a, 1.0: b}": "p.yaml:1: key 1.0 is written twice, first on line 1",
    "x: &x {}\ny:\n  <<: *x\n  <<: *x\n": "p.yaml:4: key '<<' is written twice, first on line 3",
    "~: 1": "p.yaml:1: a key must be text or a number below 1e18, got '~'",
    ".nan: 1": "p.yaml:1: a key must be text or a number below 1e18, got '.nan'",
    "2305843009213693951: 1": "p.yaml:1: a key must be text or a number below 1e18, got '2305843009213693951'",
    "a: 1\n? [b]\n: 1": "p.yaml:2: a key must be text or a number below 1e18, got a list",
    "? {b: 1}\n: 1": "p.yaml:1: a key must be text or a number below 1e18, got a mapping",
    "a:\n  <<: 3": "p.yaml:2: << must be a mapping or a list of mappings, got 3",
    "a: {<<: [{b: 1}, c]}": "p.yaml:1: << must be a mapping or a list of mappings, got 'c'",
    "a: 1\nb: !!python/object/apply:os.system [ls]": (
        "p.yaml:2: tag !!python/object/apply:os.system is not allowed on a list"
    ),
    "a: !!python/name:os.system": "p.yaml:1: tag !!python/name:os.system is not allowed on a value",
    "a: !x {b: 1}": "p.yaml:1: tag !x is not allowed on a mapping",
    "a: !!set {b}": "p.yaml:1: tag !!set is not allowed on a mapping",
    "a: !!binary aGk=": "p.yaml:1: tag !!binary is not allowed on a value",
    "a: !!timestamp 2024-01-01": "p.yaml:1: tag !!timestamp is not allowed on a value",
    "!!map [1]": "p.yaml:1: tag !!map is not allowed on a list",
    "!!str [1]": "p.yaml:1: tag !!str is not allowed on a list",
    "a: !%0A x": "p.yaml:1: tag !\\n is not allowed on a value",
    "a: !!int b": "p.yaml:1: tag !!int does not fit 'b'",
    "a: !!int 1.5": "p.yaml:1: tag !!int does not fit '1.5'",
    "a: !!bool maybe": "p.yaml:1: tag !!bool does not fit 'maybe'",
    "a: !!float\n": "p.yaml:1: tag !!float does not fit ''",
    "a: 1\nb: &b [*b]": "p.yaml:2: an anchor holds an alias of itself",
    "a: &a {b: {<<: *a}}": "p.yaml:1: an anchor holds an alias of itself",
    "a: &a\n  ? *a\n  : 1": "p.yaml:1: an anchor holds an alias of itself",
    "a: 1\nb: \a": "p.yaml:2: is not text: it holds the character '\\x07'",
    "a: \0": "p.yaml:1: is not text: it holds the character '\\x00'",
    "a: \ud800": "p.yaml:1: is not text: it holds the character '\\ud800'",
    "[" * 100_000: "p.yaml:1: is nested more than 60 levels deep",
    "[\n" * 100_000: "p.yaml:61: is nested more than 60 levels deep",
    "- " * 100_000: "p.yaml:1: is nested more than 60 levels deep",
    "{a: " * 100_000: "p.yaml:1: is nested more than 60 levels deep",
    "[" * 61 + "]" * 61: "p.yaml:1: is nested more than 60 levels deep",
    "- &a0 []\n" + "".join(f"- &a{i} [*a{i - 1}]\n" for i in range(1, 999)): (
        "p.yaml:1: is nested more than 60 levels deep"
    ),
    "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30)): (
        "p.yaml:6: holds more than 200000 values, counting what aliases repeat"
    ),
    "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{k: *a{i - 1}}}\n" for i in range(1, 999)): (
        "p.yaml:60: is nested more than 60 levels deep"
    ),
    "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{k: *a{i - 1}, l: *a{i - 1}}}\n" for i in range(1, 50)): (
        "p.yaml:16: holds more than 200000 values, counting what aliases repeat"
    ),
    "a: &a {" + ", ".join(f"k{i}: 1" for i in range(500)) + "}\nb:\n" + "- {<<: *a}\n" * 500: (
        "p.yaml:3: holds more than 200000 values, counting what aliases repeat"
    ),
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:30]))
def test_refused(parser, text):
    assert error_of(text) == REFUSED[text]


def test_a_large_document_is_refused(parser, monkeypatch):
    monkeypatch.setattr(yaml_text, "MAX_NODES", 50)
    assert len(load_text("- 1\n" * 49, "p")) == 49
    assert error_of("- 1\n" * 50) == "p.yaml:1: holds more than 50 values, counting what aliases repeat"
    assert error_of("a: b\n" * 50) == "p.yaml:1: holds more than 50 values, counting what aliases repeat"


def test_large_text_is_refused_before_it_is_parsed():
    assert error_of("a" * (8 * 2**20 + 1)) == "p.yaml: is larger than 8 MB"
    assert error_of(b"a" * (8 * 2**20 + 1)) == "p.yaml: is larger than 8 MB"


def test_sixty_levels_are_read(parser):
    assert load_text("[" * 60 + "]" * 60, "p")[0][0].line == 1


# Syntax errors, in each parser's words


SYNTAX = {
    "a: 1\nb: c: d": (
        "p.yaml:2: not valid YAML: mapping values are not allowed in this context",
        "p.yaml:2: not valid YAML: mapping values are not allowed here",
    ),
    "a:\n\t- b": (
        "p.yaml:2: not valid YAML: found character that cannot start any token",
        "p.yaml:2: not valid YAML: found character '\\t' that cannot start any token",
    ),
    "a: *b": (
        "p.yaml:1: not valid YAML: found undefined alias",
        "p.yaml:1: not valid YAML: found undefined alias 'b'",
    ),
    "a: &x 1\nb: &x 2": (
        "p.yaml:2: not valid YAML: found duplicate anchor",
        "p.yaml:2: not valid YAML: found duplicate anchor 'x'",
    ),
    "a: [1": (
        "p.yaml:1: not valid YAML: did not find expected ',' or ']'",
        "p.yaml:1: not valid YAML: expected ',' or ']', but got '<stream end>'",
    ),
    "a: 1\nb: 'x\n": (
        "p.yaml:2: not valid YAML: found unexpected end of stream",
        "p.yaml:2: not valid YAML: found unexpected end of stream",
    ),
    'a: "\\UFFFFFFFF"': (
        "p.yaml:1: not valid YAML: found invalid Unicode character escape code",
        "p.yaml: not valid YAML: a character or version number is out of range",
    ),
    'a: "\\ud800"': (
        "p.yaml:1: not valid YAML: found invalid Unicode character escape code",
        "p.yaml:1: is not text: it holds half a character in '\\ud800'",
    ),
    f"%YAML 1.{'1' * 5000}\n--- a": (
        "p.yaml:1: not valid YAML: found extremely long version number",
        "p.yaml: not valid YAML: a character or version number is out of range",
    ),
}


@pytest.mark.parametrize("text", SYNTAX, ids=lambda text: repr(text[:20]))
def test_syntax_errors(parser, text):
    assert error_of(text) == SYNTAX[text][("c", "python").index(parser)]


# Bytes and files


@pytest.mark.parametrize(
    "data",
    [
        "a: \u00e9\n".encode(),
        "\ufeffa: \u00e9\n".encode(),
        "a: \u00e9\r\n".encode(),
        "a: \u00e9\r\n".encode("utf-16"),
        "\ufeffa: \u00e9\r\n".encode("utf-16-be"),
    ],
)
def test_encodings(parser, data):
    assert load_text(data, "p") == {"a": "\u00e9"}


def test_text_with_a_byte_order_mark_or_windows_lines(parser):
    assert load_text("\ufeffa: 1\r\nb: 2\r\n", "p").lines == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: \xe9\n", "p.yaml:2: is not text: byte 0xe9 is not UTF-8"),
        (b"\x89PNG\r\n", "p.yaml:1: is not text: byte 0x89 is not UTF-8"),
        (b"a\n\0", "p.yaml:2: is not text: it holds NUL bytes"),
        (b"\xff\xfea", "p.yaml: is not text: it begins as UTF-16 does, but is not"),
        ("a: 1".encode("utf-32"), "p.yaml:1: is not text: it holds NUL bytes"),
        (b"\x1b[31m", "p.yaml:1: is not text: it holds the character '\\x1b'"),
        (b"", "p.yaml: is empty"),
    ],
)
def test_bytes_that_are_no_text(data, message):
    assert error_of(data) == message


def test_load_file(tmp_path):
    path = tmp_path / "caf\u00e9 plan.yaml"
    path.write_text("a: {b: 1}\n")
    assert load_file(path) == {"a": {"b": 1}}
    assert load_file(path).file == str(path)
    assert load_file(path, "plan.yaml")["a"].file == "plan.yaml"


def file_error(path, name=None):
    with pytest.raises(SpecError) as caught:
        load_file(path, name)
    return str(caught.value)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "a.yaml").write_text("a: 010")
    assert file_error(tmp_path / "a.yaml", "a.yaml").startswith("a.yaml:1: a number must not begin with 0")
    assert file_error(tmp_path / "no.yaml", "no.yaml") == "no such file: no.yaml"
    assert file_error(tmp_path / "no.yaml") == f"no such file: {tmp_path / 'no.yaml'}"
    assert file_error(tmp_path / "a.yaml" / "b", "a.yaml/b") == "no such file: a.yaml/b"
    assert file_error(tmp_path, "plans") == "plans: is a directory"
    assert file_error(Path("a\0b")) == "no such file: 'a\\x00b'"
    assert file_error(Path("a\ud800b")) == "no such file: 'a\\ud800b'"
    assert file_error(tmp_path / ("a" * 5000), "aaa") == "aaa: cannot be read: file name too long"
    (tmp_path / "loop").symlink_to("loop")
    assert file_error(tmp_path / "loop", "loop") == "loop: cannot be read: too many levels of symbolic links"

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert file_error(tmp_path / "a.yaml", "a.yaml") == "a.yaml: cannot be read: permission denied"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_pipes_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert file_error(tmp_path / "pipe", "pipe") == "pipe: is not a regular file"
    assert file_error(Path("/dev/zero")) == "/dev/zero: is not a regular file"


def test_large_file_is_not_read_whole(tmp_path):
    with (tmp_path / "huge.yaml").open("wb") as stream:
        stream.truncate(2**40)
    assert file_error(tmp_path / "huge.yaml", "huge.yaml") == "huge.yaml: is larger than 8 MB"


def test_load_stream():
    assert load_stream(io.BytesIO(b"a: 1")).file == "<stdin>"
    with pytest.raises(SpecError, match=r"^<stdin>: is empty$"):
        load_stream(io.BytesIO())
    with Path("/dev/zero").open("rb") as endless, pytest.raises(SpecError, match=r"^<stdin>: is larger than 8 MB$"):
        load_stream(endless)

    class Closed(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(SpecError, match=r"^<stdin>: cannot be read: input/output error$"):
        load_stream(Closed())


def test_yaml_without_its_c_parser():
    script = (
        "import yaml\n"
        "if hasattr(yaml, 'CSafeLoader'): del yaml.CSafeLoader\n"
        "from lrsched_cli import document; from lrsched_cli.document import yaml_text\n"
        "assert [loader.__mro__[2] for loader in yaml_text.LOADERS] == [yaml.SafeLoader]\n"
        "assert document.load_text('a: [1e-5]', 'p') == {'a': [1e-5]}\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


# JSON, which Python's own parsers read.


def _lines(value):
    """A document's values, each with the line that it was written on."""
    if isinstance(value, Located):
        return (value.line, {key: (value.lines[key], _lines(item)) for key, item in value.items()})
    if isinstance(value, LocatedList):
        return (value.line, [(line, _lines(item)) for line, item in zip(value.lines, value, strict=True)])
    return value


json_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | json_texts,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(json_texts, part, max_size=4),
)


@settings(deadline=None)
@given(st.dictionaries(json_texts, json_values), st.sampled_from([None, 0, 2, "\t"]), st.sampled_from(["", "\n\n "]))
def test_json_is_read_as_the_yaml_that_it_is(tmp_path_factory, value, indent, before):
    import json

    path = tmp_path_factory.mktemp("json") / "x.json"
    text = before + json.dumps(value, indent=indent, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
    try:
        expected = load_text(text, "x.json")
    except SpecError as error:
        expected = str(error)
    if isinstance(expected, str):
        with pytest.raises(SpecError) as caught:
            load_file(path, "x.json")
        assert str(caught.value) == expected
        return
    found = load_file(path, "x.json")
    assert found == value
    assert _lines(found) == _lines(expected)


def test_a_json_file_does_without_yaml(tmp_path):
    (tmp_path / "x.json").write_text('{"a": {"b": [1,\n 2e-5, "\\u00e9"]}}')
    script = (
        "import sys; from pathlib import Path; from lrsched_cli.document import load_file\n"
        f"assert load_file(Path({str(tmp_path / 'x.json')!r})) == {{'a': {{'b': [1, 2e-5, 'é']}}}}\n"
        "assert 'yaml' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
