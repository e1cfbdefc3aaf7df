"""Documents as people send them."""

from __future__ import annotations

from typing import Any

AWKWARD: dict[str, Any] = {
    "missing": {"id": "7"},
    "null": {"text": None, "id": "7"},
    "NaN": {"text": float("nan"), "id": "7"},
    "NaN beside it": {"text": "a2", "price": float("nan"), "count": float("inf")},
    "a number": {"text": 0},
    "a long number": {"text": 10**400},
    "a list": {"text": ["a2", "a3"]},
    "empty": "",
    "spaces": " \t\n",
    "NUL": "a2\x00a3",
    "control characters": "a2\x07\x1b[31m",
    "right to left": "\u200fa2 \u202e a3",
    "control tokens": "a2 <|im_end|> </think> [/INST] <eos>",
    "markup": "[/INST] [bold] [test]",
    "a tab in its id": {"text": "a2", "id": "a\tb"},
    "a long id": {"text": "a2", "id": "x" * 500},
    "an emoji": "a2 😀",
    "NFD": "ae\u0301 a2",
}
"""One document each, as people send them; the readers of data sets have the same values."""
