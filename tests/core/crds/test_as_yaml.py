"""The YAML that we write is read back as what it was, by a reader of the old YAML too."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from alise_core.crds.as_yaml import as_yaml

_texts = st.text(max_size=12) | st.text("aZ0 .:-#{}[]'\"|>&*!%@`,?=~/\\\n", max_size=6)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)
    | _texts
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "word",
    ["yes", "No", "on", "y", "null", "~", "1", "0x1", "1e3", "1_000", "2026-01-01", "a: b", "a #b",
     "- a", " a", "a ", "", ".5", ".inf", ".NaN", "=", "<<", "a:", "{{ x }}", "*a", "&a", "!a",
     "1:20", "\x85", "\u2028", "é", "True or not"],
)  # fmt: skip
def test_words_that_readers_take_for_something_else(word: str) -> None:
    assert yaml.safe_load(as_yaml({word: [word]})) == {word: [word]}


def test_it_reads_well() -> None:
    value = {"a": {"b": [{"c": 1, "d": ["x"]}, {}], "e": []}, "f": "Two words: three.", "g": True}
    assert as_yaml(value) == (
        "a:\n  b:\n    - c: 1\n      d:\n        - x\n    - {}\n  e: []\n"
        'f: "Two words: three."\ng: true\n'
    )


@given(_values)
def test_everything_comes_back(value: object) -> None:
    assert yaml.safe_load(as_yaml(value)) == value
