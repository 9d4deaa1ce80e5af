"""nanoGPT's Python variables, and how Python is read without being run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lrsched_cli.configs.python_file import read_python
from lrsched_cli.configs.source import Computed
from tests.configs.support import FILES, entry, refusal, traced
from tests.support import agree, message_of

BASE = "c.py\nlearning_rate = 0.1\nmax_iters = 20\nlr_decay_iters = 16\nmin_lr = 0.01\nwarmup_iters = 4\n"


def get_lr(it: int, lr: float, floor: float, warmup: float, end: float, *, older: bool = False) -> float:
    """nanoGPT's rule."""
    if it < warmup:
        return lr * it / warmup if older else lr * (it + 1) / (warmup + 1)
    if it > end:
        return floor
    return floor + 0.5 * (1 + math.cos(math.pi * (it - warmup) / (end - warmup))) * (lr - floor)


def test_a_config_gives_every_iteration() -> None:
    found = entry("nanogpt_config.py")
    assert found.run.said == {"steps": 301, "interval": "step", "batch_size": 12, "tokens_per_step": 12 * 64 * 40}
    agree(found.trace().lr, [get_lr(it, 1e-3, 1e-4, 25, 300) for it in range(301)])
    assert found.notes == (
        "warm-up is (it + 1) / (warmup_iters + 1), as train.py has it now; before 2025 it was it / warmup_iters",
        "301 updates: the loop of train.py makes one at max_iters 300 too",
    )


def test_a_whole_train_py_says_itself_how_it_warms_up() -> None:
    found = entry("nanogpt_train.py")
    agree(found.trace().lr, [get_lr(it, 6e-4, 6e-5, 10, 50, older=True) for it in range(61)])
    assert found.notes == ("61 updates: the loop of train.py makes one at max_iters 60 too",)
    text = (FILES / "nanogpt_train.py").read_text()
    newer = "t.py\n" + text.replace(
        "learning_rate * it / warmup_iters", "learning_rate * (it + 1) / (warmup_iters + 1)"
    )
    agree(traced(newer).lr, [get_lr(it, 6e-4, 6e-5, 10, 50) for it in range(61)])
    other = "t.py\n" + text.replace("coeff = 0.5 * (1.0 +", "coeff = 0.4 * (1.0 +")
    assert refusal(other) == "t.py: has a get_lr that is not nanoGPT's: write it as kind expression"


def test_what_a_config_leaves_out_is_train_pys() -> None:
    found = entry("c.py\nmax_iters = 10\nlr_decay_iters = 10\nwarmup_iters = 2\n")
    agree(found.trace().lr, [get_lr(it, 6e-4, 6e-5, 2, 10) for it in range(11)])
    assert found.notes[-1] == "not in the file, so as train.py has it: learning_rate 0.0006, min_lr 6e-05"
    still = entry("c.py\nlearning_rate = 3e-5\nmax_iters = 20\ndecay_lr = False\n")
    agree(still.trace().lr, [3e-5] * 21)
    assert still.notes == ("21 updates: the loop of train.py makes one at max_iters 20 too",)


def test_the_command_lines_length_is_how_much_is_shown() -> None:
    rates = [get_lr(it, 0.1, 0.01, 4, 16) for it in range(40)]
    agree(traced(BASE, {"steps": 7}).lr, rates[:7])
    agree(traced(BASE, {"epochs": 2, "steps_per_epoch": 20}).lr, rates)
    assert refusal(BASE, {"interval": "epoch", "steps": 3}) == (
        "c.py: --interval is epoch, but nanoGPT sets the rate of every iteration"
    )


@pytest.mark.parametrize(
    ("warmup", "end", "floor"),
    [(0, 16, 0.01), (4, 16, 0.2), (6.5, 16, 0.01), (4, 15.5, 0.0), (10, 6, 0.01), (0.5, 3, 0.05), (30, 40, 0.01)],
)
def test_what_our_own_kinds_would_refuse_is_exact_too(warmup: float, end: float, floor: float) -> None:
    text = f"c.py\nlearning_rate = 0.1\nmax_iters = 30\nlr_decay_iters = {end}\n"
    text += f"min_lr = {floor}\nwarmup_iters = {warmup}\n"
    found = entry(text)
    agree(found.trace().lr, [get_lr(it, 0.1, floor, warmup, end) for it in range(31)])
    assert any("the rate rises to it" in note for note in found.notes) == (floor > 0.1)


def test_a_division_by_zero_is_told_where_it_happens() -> None:
    text = BASE.replace("lr_decay_iters = 16", "lr_decay_iters = 4")
    assert refusal(text) == (
        "c.py:3: lr_decay_iters is warmup_iters 4 too, and get_lr divides by their difference at iteration 4"
    )
    assert traced(text, {"steps": 4}).clock.total == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.1\n", "'0.1'\n", "c.py:1: learning_rate must be a number, got '0.1'"),
        (
            "0.1\n",
            "float(0.1)\n",
            (
                "c.py:1: learning_rate is computed: only numbers, text and arithmetic on them are "
                "read, "
                "and nothing is run"
            ),
        ),
        ("0.1\n", "-1\n", "c.py:1: c: lr must be > 0, got -1"),
        ("min_lr = 0.01", "min_lr = -1", "c.py:4: min_lr must be >= 0, got -1"),
        ("max_iters = 20", "max_iters = 2.5", "c.py:2: max_iters must be a whole number >= 0, got 2.5"),
        ("max_iters = 20", "max_iters = 20\ndecay_lr = 'no'", "c.py:3: decay_lr must be true or false, got 'no'"),
        ("max_iters = 20", "max_iters = (", "c.py:2: not valid Python: '(' was never closed"),
    ],
)
def test_what_is_refused(old: str, new: str, message: str) -> None:
    assert refusal(BASE.replace(old, new, 1)) == message


# Python, read and not run.


def test_arithmetic_on_earlier_names_is_worked_out() -> None:
    text = "a = 5 * 8\nb: float = a / 2\nc = d = -b // 3 % 7 + 2 ** 3\ne = 1_000\nf = 'x'\ng = True\nh = None\na = 3\n"
    found = read_python(text, "p.py")
    assert dict(found) == {
        "a": 3, "b": 20.0, "c": -20.0 // 3 % 7 + 8, "d": -20.0 // 3 % 7 + 8, "e": 1000, "f": "x", "g": True, "h": None
    }  # fmt: skip
    assert (found.lines["a"], found.lines["b"], found.lines["d"]) == (8, 2, 3)


@pytest.mark.parametrize(
    "text",
    [
        "a = f(1)",
        "a = b",
        "a = 'x' + 'y'",
        "a = [1]",
        "a = 1 if b else 2",
        "a = 1\na += 1",
        "a = 1\nif b:\n    a = 2",
        "a = 1\nfor a in []: pass",
        "a = 1\nwith f() as a: pass",
        "a = 1\nimport a",
        "a = 1\nfrom m import n as a",
        "a = 1\ndef a(): pass",
        "a = 1\nclass a: pass",
        "a = 1\ndel a",
        "a, b = 1, 2",
        "a = b = c[0] = 1",
        "(a := 1)",
        "a = 1 / 0",
        "a = 9 ** 9 ** 9",
        "a = 2 ** 4000",
        "a = -1 ** 0.5\na = (-1) ** 0.5",
        "a = 1e300 * 1e300",
        f"a = {10**40}",
        "a = 1j",
        "a = b''",
        "a = ...",
        "a = not 1",
        "a = 1 | 2",
        "a = True + 1",
        "a = " + "-" * 80 + "1",
    ],
)
def test_anything_else_is_left_unknown(text: str) -> None:
    assert isinstance(read_python(text, "p.py")["a"], Computed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = (", "p.py:1: not valid Python: '(' was never closed"),
        ("(" * 500, "p.py:1: not valid Python: too many nested parentheses"),
        ("a = " + "-" * 200_000 + "1", "p.py: not Python that can be read: it is nested too deeply"),
        ("a = " + "1+" * 100_000 + "1", "p.py: not Python that can be read: it is nested too deeply"),
        ("a = 1\n\0", "p.py: not valid Python: source code string cannot contain null bytes"),
    ],
    ids=["open", "parentheses", "signs", "sum", "nul"],
)
def test_python_that_cannot_be_read(text: str, message: str) -> None:
    assert message_of(read_python, text, "p.py") == message


def test_nothing_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    opened = f"open({str(mark)!r}, 'w')"
    text = f"{opened}.close()\nlearning_rate = [{opened}] and 1\nmax_iters = 3\ndecay_lr = False\n"
    refusal("c.py\n" + text)
    assert not mark.exists()
    assert read_python("x = '\\d'\n", "p.py")["x"] == "\\d"  # no warning of an escape that is none
