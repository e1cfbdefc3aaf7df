"""Single values: what is a text, an id, a number, and what a text becomes."""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.datasets import values
from ranker.datasets.files import number
from ranker.errors import BadSource
from tests.ranker.datasets import awkward

texts = st.text() | st.sampled_from([text for text in awkward.TEXTS.values() if "\ud800" not in text[:9]])


@given(texts.map(values.characters))
def test_a_text_and_a_column_of_texts_become_the_same_line(text: str) -> None:
    shown = pl.DataFrame({"text": [text]}).select(values.flat("text")).item()
    assert shown == values.one_line(text) == awkward.line(text)
    assert values.one_line(shown) == shown


def test_a_missing_text_is_empty() -> None:
    assert pl.DataFrame({"text": [None, "a"]}).select(values.flat("text"))["text"].to_list() == ["", "a"]


@pytest.mark.parametrize(("name", "value"), awkward.VALUES.items())
def test_values_that_are_texts(name: str, value: Any) -> None:
    assert values.one_line(values.as_text(value) or "") == awkward.line(value)


@pytest.mark.parametrize(("name", "value"), awkward.NO_TEXTS.items())
def test_values_that_are_none(name: str, value: Any) -> None:
    assert values.as_text(value) is None


NUMERALS = st.sampled_from([*awkward.NUMBERS, *awkward.NO_NUMBERS]) | st.text("0123456789.eE+-_ ", max_size=7)


@given(NUMERALS | st.floats().map(str) | st.integers().map(str))
def test_a_number_and_a_column_of_numbers_are_read_alike(text: str) -> None:
    one = values.as_number(text)
    rows = pl.DataFrame({"row": [1], "n": [text]})
    try:
        many = number(awkward.Path("f"), rows, "n", -1e300, 1e300, "mend it")["n"][0]
    except BadSource:
        many = None
    assert many == one or (one is not None and abs(one) > 1e300)
    if one is not None:
        assert one == float(text)


@pytest.mark.parametrize("value", awkward.NO_NUMBER_VALUES)
def test_values_that_are_no_number(value: Any) -> None:
    assert values.as_number(value) is None


def test_json_has_characters_alone_and_no_infinities() -> None:
    given = json.dumps({"a\ud800": ["\udfff", "\ud83d\ude42", math.nan, -math.inf, 0]})
    assert values.parsed(given) == {"a\ufffd": ["\ufffd", "🙂", None, None, 0]}


def test_numbers_may_stay_as_they_are_written() -> None:
    given = "[0, -0, 1.50, 1e3, 1" + "0" * 5_000 + "]"
    assert values.parsed(given, numbers_as_written=True) == ["0", "-0", "1.50", "1e3", "1" + "0" * 5_000]


@pytest.mark.parametrize("text", ["", "{", '{"a": 1, "a": 2}', "1" * 5_000, "nan", "'a'"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        values.parsed(text)
