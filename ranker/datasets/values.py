"""Single values as people bring them: what counts as a text and as a number, and what a text becomes before
it is shown.

The rules are those of docs/tasks.md, "What is read how"; every reader takes them from here.
"""

from __future__ import annotations

import json
import math
import re
from typing import cast

import polars as pl

LOST = "\ufffd"
"""U+FFFD: stands for what is no character, a lone surrogate or NUL."""
NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
"""A decimal number, in the syntax that Python's and Rust's regular expressions share."""
_NUMBER = re.compile(NUMBER.removesuffix("$") + r"\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")
SPACES = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + "\u2028\u2029\u202f\u205f\u3000"
)
"""What Unicode calls white space, as Rust's \\s does; Python's adds four control characters."""
_SPACES = re.compile(f"[{SPACES}]+")


def as_text(value: object) -> str | None:
    """A value as text: missing or NaN is empty, a number is its digits, a list of texts is joined by spaces.

    None where it is something else (an object, true or false), which no reader guesses at.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [as_text(part) for part in cast("list[object]", value)]
        return None if None in parts else " ".join(part for part in parts if part)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_number(value: object) -> float | None:
    """A finite number, or a text that is one in decimal digits; None where it is neither."""
    if isinstance(value, str):
        value = value.strip()
        if not _NUMBER.match(value):
            return None
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return found if math.isfinite(found) else None


def characters(text: str) -> str:
    """`text` with U+FFFD for lone surrogates, which JSON and Python's literals can name and no file, table or
    digest can hold.
    """
    return _SURROGATE.sub(LOST, text)


def parsed(text: str, *, numbers_as_written: bool = False) -> object:
    """A JSON value whose texts are characters; NaN and infinities are missing.

    Args:
        numbers_as_written: gives numbers as text, for ids: 0 stays "0", 1.50 and 10^400 stay as they are.

    Raises:
        ValueError: it is no JSON, or an object has a name twice; a JSONDecodeError where the place is known.
        RecursionError: it is nested too deep.
    """
    value: object = (_AS_WRITTEN if numbers_as_written else _AS_NUMBERS).decode(text)
    return _mended(value) if _HALF.search(text) else value


def _missing(name: str) -> None:
    return None


def _one_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        again = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{again!r} stands twice in one object")
    return found


# Made once: json.loads makes one for each line, which takes as long as the line.
_AS_NUMBERS = json.JSONDecoder(parse_constant=_missing, object_pairs_hook=_one_each)
_AS_WRITTEN = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=_missing, object_pairs_hook=_one_each
)
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a pair of surrogates, as JSON writes it."""


def _mended(value: object) -> object:
    if isinstance(value, str):
        return characters(value)
    if isinstance(value, list):
        return [_mended(part) for part in cast("list[object]", value)]
    if isinstance(value, dict):
        return {characters(k): _mended(part) for k, part in cast("dict[str, object]", value).items()}
    return value


def flat(text: str | pl.Expr) -> pl.Expr:
    """A column of texts as one line each: every run of spaces and line ends is one space, none at the ends;
    NUL is U+FFFD and nothing is empty. Everything else stays, marks of writing direction too.
    """
    column = pl.col(text) if isinstance(text, str) else text
    shown = column.fill_null("").str.replace_all("\x00", LOST, literal=True)
    return shown.str.replace_all(r"\s+", " ").str.strip_chars()


def one_line(text: str) -> str:
    """`flat` of one text."""
    return _SPACES.sub(" ", text.replace("\x00", LOST)).strip(" ")
