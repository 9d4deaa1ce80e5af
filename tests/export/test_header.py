"""The comment on top of an export: what it is, from which plan, how exact; and that nothing breaks out of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli import simulate
from lrsched_cli.cli.export import CODE
from lrsched_cli.document import load_text
from lrsched_cli.export.writing import flow
from tests.export.support import defined, export_of, exported, told
from tests.support import message_of

PLAN = {"kind": "cosine", "lr": 0.1, "warmup": {"for": "5ep", "shape": "1-sqrt"}, "eta_min": 1e-5, "swa": None}


def test_says_what_it_is_and_from_which_plan() -> None:
    text = exported("torch", PLAN, {"epochs": 90, "steps_per_epoch": 10}).text
    assert text.startswith(
        "# A scheduler for torch.optim, written by lrsched.\n"
        "#\n"
        "# Plan: plan: {kind: cosine, lr: 0.1, warmup: {for: 5ep, shape: 1-sqrt}, eta_min: 1e-05, swa: null}\n"
        "# Run: 900 steps, 10 steps an epoch.\n"
        "# Exact: the rates are the plan's at every tick of this run, to 1e-9 of the peak.\n"
        "\n"
    )


def test_says_the_base_rate_where_the_plan_does_not() -> None:
    text = export_of("python", simulate({"kind": "cosine"}, {"epochs": 1, "lr": 0.3}), {"kind": "cosine"}).text
    assert "# Plan: plan: {kind: cosine}, at lr 0.3\n# Run: 1 epoch.\n" in text


def test_says_how_many_ticks_of_a_long_run_were_compared() -> None:
    text = told(exported("python", {"kind": "cosine"}, {"steps": 10**9}).text)
    assert re.search(r"Exact: the rates are the plan's at \d+ of 1000000000 ticks of this run, to 1e-9 of the", text)


def test_says_that_metrics_are_the_plans() -> None:
    spec = {"kind": "plateau", "metrics": [1.0] * 40}
    text = told(exported("torch", spec, {"epochs": 40}).text)
    assert "metrics: [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, ... 40 in all]}" in text
    assert text.endswith("the plan's at every tick of this run and its metrics, to 1e-9 of the peak.")


WHAT = {
    "torch": "A scheduler for torch.optim, written by lrsched.",
    "lightning": "A scheduler for Lightning's configure_optimizers, written by lrsched.",
    "transformers": "Arguments for the Trainer of transformers, written by lrsched.",
    "timm": "A scheduler for timm, written by lrsched.",
    "optax": "A schedule for optax, written by lrsched.",
    "keras": "A schedule for Keras, written by lrsched.",
    "composer": "A scheduler for Composer's Trainer, written by lrsched.",
    "python": "A learning rate in plain Python, written by lrsched.",
    "numpy": "A learning rate in NumPy, written by lrsched.",
}


@pytest.mark.parametrize("to", WHAT)
def test_first_line(to: str) -> None:
    assert exported(to, {"kind": "cosine"}, {"steps": 10}).text.startswith(f"# {WHAT[to]}\n#\n# Plan: plan: ")


# What a user wrote stays inside of it.

NASTY = [
    "a\nimport os",
    "a\r\nimport os",
    "tab\tand\x0bfeeds\x0c",
    "next\x85line\u2028and\u2029another",
    "zero\x00byte",
    "surrogate \ud800",
    'quotes " and \' and """',
    "backslash \\ and \\n",
    "été 頭 😀",
    "coding: latin-1",
    "coding=foo",
    "# -*- coding: nonsense -*-",
    "vim: set fileencoding=rot13 :",
    "x" * 300,
    "",
]


@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
@pytest.mark.parametrize("to", CODE)
def test_no_name_breaks_out(to: str, name: str) -> None:
    # A clamp, so that there is a formula for each.
    spec = {"kind": "cosine", "clamp": {"min_lr": 0.02}}
    trace = simulate(spec, {"steps": 10})
    written = export_of(to, trace, {**spec, "unread": name}, place=f"{name}.yaml:{name}")
    assert written.suffix == ".py"
    # As a file is read, whose first lines may name its encoding.
    assert compile(written.text.encode(), "<exported>", "exec")
    code = [line for line in written.text.split("\n") if not line.startswith("#")]
    assert code == [line for line in export_of(to, trace, spec).text.split("\n") if not line.startswith("#")]


def test_no_group_breaks_out() -> None:
    for name in NASTY[:-1]:
        spec = {"kind": "rex", "clamp": {"min_lr": 0.02}, "groups": {"body": 1.0, name: 0.5}}
        for to in ("torch", "timm", "optax", "python", "numpy"):
            text = exported(to, spec, {"steps": 10}).text
            compile(text.encode(), "<exported>", "exec")
            assert "import os" not in [line.strip() for line in text.split("\n")]
        names = [name for name in defined(exported("python", spec, {"steps": 10}).text) if name[0] != "_"]
        assert len(names) == 2


_words = [
    "5ep",
    "10%",
    "1e-5",
    "yes",
    "null",
    "3",
    "a: b",
    "lr * 0.9 ** t",
    "~",
    "",
    ".inf",
    "0x1f",
    "1_000",
    "=",
    "<<",
]
_text = st.text(max_size=12) | st.sampled_from(_words)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _text,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(_text, part, max_size=4),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(_text, _values, max_size=4))
def test_flow_is_yaml(spec: dict[str, Any]) -> None:
    text = flow(spec)
    assert text.isprintable()
    assert load_text(text, "plan") == spec


def test_long_lists_are_cut() -> None:
    assert flow({"points": list(range(20))}) == "{points: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ... 20 in all]}"


def test_no_line_is_long() -> None:
    spec = {"kind": "expression", "expr": " + ".join(f"lr / (t + {k})" for k in range(1, 45))}
    for to in CODE:
        written = exported(to, spec, {"steps": 10})
        assert max(map(len, written.text.split("\n"))) <= 110


# How exact it is.


def test_single_precision_is_said() -> None:
    spec = {"kind": "exponential", "gamma": 0.9999}
    text = told(exported("keras", spec, {"steps": 30000}).text)
    assert text.endswith(
        "to 1e-9 of the peak. Keras computes them in single precision, off by about 0.006% of the peak."
    )
    text = told(exported("optax", {"kind": "cosine"}, {"steps": 100}).text)
    assert text.endswith(
        "to 1e-9 of the peak. JAX computes them in single precision (unless jax_enable_x64 is set), "
        "to about 1e-6 of the peak."
    )


def test_why_it_is_not_one_of_the_librarys_own() -> None:
    spec = {"kind": "cosine", "warmup": 10}
    text = told(exported("deepspeed", spec, {"steps": 100}).text)
    assert (
        "to 1e-9 of the peak. Not one of its own: no scheduler of DeepSpeed is this plan; the nearest, WarmupCosineLR, "
        "is off by up to 10% of the peak, at tick 1."
    ) in text
    text = told(exported("timm", {"kind": "cyclic"}, {"steps": 100}).text)
    assert text.endswith("Not one of its own: no scheduler of timm has the shape of this plan.")


def test_nearest_says_by_how_much() -> None:
    spec = {"kind": "cosine", "warmup": 10}
    written = exported("deepspeed", spec, {"steps": 100}, nearest=True)
    assert written.suffix == ".json"
    off = "off by up to 10% of the peak, at tick 1"
    plan = f"Plan: plan: {flow(spec)}, at lr 0.1 Run: 100 steps."
    assert written.notes == (
        f"A ds_config.json, written by lrsched. {plan} NOT EXACT: {off}.",
        f"no scheduler of DeepSpeed is this plan; the nearest, WarmupCosineLR, is {off}",
    )
    text = exported("timm", {"kind": "cosine", "warmup": 10, "T_max": 30}, {"steps": 100}, nearest=True).text
    assert "NOT EXACT: off by up to" not in text  # it is
    told_of = message_of(exported, "timm", {"kind": "cyclic"}, {"steps": 100}, nearest=True)
    assert told_of == "--nearest cyclic: no scheduler of timm has the shape of this plan"
