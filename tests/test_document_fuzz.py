"""Whatever a file holds, it is read or refused in one line."""

import math
import re

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lrsched_cli.document import load_text
from lrsched_cli.errors import SpecError

FUZZ = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load_or_refuse(data):
    refusal = ""
    try:
        load_text(data, "p.yaml")
    except SpecError as error:
        refusal = str(error)
    assert "\n" not in refusal


PIECES = [*"-?:,[]{}#&*!|>'\"%@` \n\t=<~.1a\\_\u2028\ufeff", "&a ", "*a", "!!", "<<: ", "- ", ": ", "? ", "\n  ", "0x"]
PIECES += ["0", "---\n", "...\n", "%YAML 1.1\n", "%TAG ! x\n", "\\x", "\\u", "\\U", "e5", "\r\n"]
YAMLISH = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@FUZZ
@given(st.binary() | st.text() | YAMLISH)
@example("\ufeff\ufeff")
@example("!<")
@example('"\\xzz"')
def test_whatever_is_read_is_a_value_or_a_refusal(parser, data):
    load_or_refuse(data)


@FUZZ
@given(YAMLISH)
def test_every_plain_text_is_a_value_or_a_refusal_beneath_a_key(parser, text):
    load_or_refuse(f"a: {text}")


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**38), 10**38)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
)
# Text that YAML 1.1 says is text, and so is dumped without quotes, but is a number here or is refused as one.
READS_OTHERWISE = r"[-+]?(0o[0-7_]+|[0-9][0-9_]*|[0-9_.]+([eE][-+]?[0-9]+)?)|="


def differs(value):
    if isinstance(value, str):
        return bool(re.fullmatch(READS_OTHERWISE, value))
    children = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return any(map(differs, children))


DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcno-1 ", max_size=4), inner, max_size=4),
    max_leaves=12,
).filter(lambda value: value is not None and not differs(value))


@FUZZ
@given(DATA, st.booleans())
def test_what_safe_dump_writes_is_read_as_safe_load_reads_it(parser, data, flow):
    text = yaml.safe_dump(data, default_flow_style=flow)
    assert load_text(text, "p") == yaml.safe_load(text) == data


@FUZZ
@given(st.floats(allow_nan=False))
def test_floats_as_python_writes_them(parser, number):
    if math.isfinite(number):
        assert load_text(f"a: {number!r}", "p")["a"] == number
