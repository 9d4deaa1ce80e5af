"""The file of a snapshot: it reads back as it was written, and a damaged or hostile one is one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli.book import Entry
from lrsched_cli.errors import SpecError
from lrsched_cli.run import Run
from lrsched_cli.spec import Place, simulate
from lrsched_cli.verify.lrsnap import HEAD, read, section_of, text_of, whole_text
from lrsched_cli.verify.recording import Block, Recording, Row, recorded
from lrsched_cli.verify.snapshot import compare, write
from tests.support import message_of

SNAP = Path("s.lrsnap")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_text_is_what_a_reviewer_reads() -> None:
    trace = simulate({"kind": "step", "step_size": "20ep", "gamma": 0.5, "warmup": 2}, {"epochs": 60})
    assert text_of(recorded(trace, "s.yaml:main")).splitlines() == [
        "schedule s.yaml:main",
        "run 60 epochs",
        "plan 368d0f676784d347",
        '| warmup lr=0.1 ticks=2 start=0 shape="linear" clock="prefix" first=0',
        "|   step lr=0.1 step_size=20 gamma=0.5",
        "tick lr",
        "0 0.0",
        "1 0.05",
        "2-21 0.1",
        "22-41 0.05",
        "42-59 0.025",
    ]


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50)
@given(
    NAMES, st.lists(NAMES, min_size=1, max_size=3), st.lists(NAMES, max_size=3),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=5), st.data(),
)  # fmt: skip
def test_it_reads_back_as_it_was_written(
    tmp_path_factory: Any, key: str, columns: list[str], plan: list[str], gaps: list[tuple[int, int]], data: Any
) -> None:
    rows, at = [], 0
    for gap, length in gaps:
        values = tuple(data.draw(VALUES) for _ in columns)
        rows.append(Row(at + gap, at + gap + length, values))
        at += gap + length + 1
    blocks = (Block(0, at, tuple(data.draw(VALUES) for _ in (*columns, *columns))),) if data.draw(st.booleans()) else ()
    lines = tuple(line for line in plan if line and line.isprintable() and line.strip() == line)
    recording = Recording(key, "step", at + 1, lines, tuple(columns), tuple(rows), blocks)
    path = tmp_path_factory.mktemp("s") / "s.lrsnap"
    path.write_bytes(whole_text({key: section_of(recording)}))
    (section,) = read(path).values()
    assert section.recording == recording
    assert section.text == text_of(recording)


def good() -> str:
    write([Entry("a b", {"kind": "cosine"}, Run(epochs=300), Place())], SNAP)
    return SNAP.read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lrsched snapshot 1\n", "", "is no snapshot of lrsched: it does not begin with lrsched snapshot 1"),
        ("lrsched snapshot 1\n", "lrsched snapshot 2\n",
         "1: is a snapshot of version 2, and this lrsched reads 1: remove it, and lrsched snapshot writes it anew"),
        ("run 300 epochs\n", "run 300 weeks\n", "5: is damaged, it must have a run here, got 'run 300 weeks'"),
        ("run 300 epochs\n", "run 0 epochs\n", "5: is damaged, it must have a run here, got 'run 0 epochs'"),
        ("run 300 epochs\n", "run 9999999999999999 epochs\n",
         "6: is damaged, it has a run of more than 1e+15 ticks"),
        ("run 300 epochs\n", "<<<<<<< ours\nrun 300 epochs\n=======\nrun 200 epochs\n>>>>>>> theirs\n",
         "5: is damaged, it has a merge that is not finished"),
        ("\n9 ", "\n<<<<<<< ours\n9 ", "18: is damaged, it has a merge that is not finished"),
        ("\nplan ", "\nplan x", "6: is damaged, it must have a plan here, got "),
        ("tick lr\n", "tick\n", "8: is damaged, it must have tick and a name here, got 'tick'"),
        ("tick lr\n", "tick lr momentum\n", "9: is damaged, it must have 2 values here, got 1"),
        ("\n0 0.1\n", "\n0 zero\n", "9: is damaged, it has a value that is no number: 'zero'"),
        ("\n0 0.1\n", "\n0\n", "9: is damaged, it must have 1 values here, got 0"),
        ("\n0 0.1\n", "\n7 0.1\n", "10: is damaged, it has tick 1 out of order"),
        ("\n0 0.1\n", "\n0-300 0.1\n", "9: is damaged, it has ticks 0-300 in a run of 300"),
        ("\n0 0.1\n", "\n5-3 0.1\n", "9: is damaged, it has ticks 5-3 in a run of 300"),
        ("\n0 0.1\n", "\n0 0.1\nhello\n", "10: is damaged, it must have a tick and its values here, got 'hello'"),
        ('schedule "a b"', 'schedule "a b', "4: is damaged, it must have schedule and a name here, got "),
        ('schedule "a b"', "schedule a b", "4: is damaged, it must have schedule and a name here, got 'schedule a b'"),
        ('schedule "a b"', r'schedule "\q"', r"4: is damaged, it has a name that is not readable: "),
        ('schedule "a b"', "nothing at all", "4: is damaged, it must have schedule and a name here, got "),
    ],
)  # fmt: skip
def test_damage_is_one_line_that_says_where(old: str, new: str, message: str) -> None:
    text = good()
    assert old in text
    SNAP.write_text(text.replace(old, new, 1))
    place = "s.lrsnap:" if message[0].isdigit() else "s.lrsnap: "
    for told in (message_of(read, SNAP), message_of(write, [], SNAP), message_of(compare, [], SNAP)):
        assert told.startswith(place + message), told


def test_a_section_that_is_cut_off_or_there_twice_is_damage() -> None:
    text = good()
    lines = text.splitlines(keepends=True)
    for count in range(4, 8):
        SNAP.write_text("".join(lines[:count]))
        assert "ends in the middle of a schedule" in message_of(read, SNAP) or count == 8
    SNAP.write_text("".join(lines[:8]))
    assert "has no ticks" in message_of(read, SNAP)
    SNAP.write_text(text + text.partition("\n\n")[2])
    assert "has 'a b' twice" in message_of(read, SNAP)
    SNAP.write_text(HEAD)
    assert read(SNAP) == {}


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\0", b"\xff\xfe\xfd", b"lrsched snapshot 1\n\xff", b"lrsched snapshot 99999999999999", b"a" * 100_000],
)
def test_what_is_no_text_is_one_line(data: bytes) -> None:
    SNAP.write_bytes(data)
    assert message_of(read, SNAP).startswith("s.lrsnap:")


def test_what_is_no_file_is_one_line() -> None:
    assert message_of(read, SNAP) == "no such file: s.lrsnap"
    SNAP.mkdir()
    assert message_of(read, SNAP) == "s.lrsnap: is a directory"


def test_a_file_of_windows_reads_the_same() -> None:
    text = good()
    before = read(SNAP)
    SNAP.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read(SNAP) == before


def test_a_row_that_claims_a_run_of_a_quadrillion_costs_nothing() -> None:
    """It was not written by us: what it would take to follow it is not taken."""
    entries = [Entry("a b", {"kind": "cosine"}, Run(steps=10**15), Place())]
    write(entries, SNAP)
    text = SNAP.read_text()
    head, _, _ = text.partition("tick lr\n")
    SNAP.write_text(f"{head}tick lr\n0-{10**15 - 1} 0.1\n")
    (found,) = compare(entries, SNAP)
    assert f"lr was 0.1 and is 0 at tick {10**15 - 1}" in found.message
    assert sys.getsizeof(found.message) < 1000


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_values_that_are_not_finite_are_damage(value: str) -> None:
    SNAP.write_text(good().replace("\n0 0.1\n", f"\n0 {value}\n"))
    assert message_of(read, SNAP).startswith(f"s.lrsnap:9: is damaged, it has a value that is not finite: '{value}'")


def test_lines_that_are_missing_are_damage() -> None:
    """Every line of a section is needed, whether it has all ticks or some of them, with sums or without."""
    kinds = {"few": ({"kind": "step", "step_size": 10}, 30), "sums": ({"kind": "cosine"}, 300)}
    for spec, epochs in (*kinds.values(), ({"kind": "cosine"}, 10**9)):
        SNAP.unlink(missing_ok=True)
        write([Entry("a", spec, Run(epochs=epochs), Place())], SNAP)
        lines = SNAP.read_text().splitlines(keepends=True)
        for at in range(lines.index("tick lr\n") + 1, len(lines)):
            SNAP.write_text("".join(lines[:at] + lines[at + 1 :]))
            assert "is damaged, it " in message_of(read, SNAP), lines[at]
            SNAP.write_text("".join(lines[:at]))
            assert "is damaged, it " in message_of(read, SNAP), lines[at]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("20-29 0.001\n", "", "it stops at tick 19 of 30"),
        ("20-29 0.001\n", "20-25 0.001\n", "it stops at tick 25 of 30"),
        ("10-19 0.01\n", "", "it misses tick 10 of 30"),
    ],
)
def test_ticks_that_are_missing_are_told(old: str, new: str, message: str) -> None:
    write([Entry("a", {"kind": "step", "step_size": 10}, Run(epochs=30), Place())], SNAP)
    text = SNAP.read_text()
    text = text.replace("0.010000000000000002", "0.01").replace("0.0010000000000000002", "0.001")
    assert old in text, text
    SNAP.write_text(text.replace(old, new))
    assert f"is damaged, {message}: remove it" in message_of(read, SNAP)


def test_nothing_is_written_where_an_entry_is_refused() -> None:
    entries = [Entry("a", {"kind": "cosine"}), Entry("b", {"kind": "cosine", "eta_min": -1})]
    with pytest.raises(SpecError):
        write(entries, SNAP)
    assert list(Path().iterdir()) == []
