"""All parameters together: what contradicts is refused, by its name."""

from __future__ import annotations

import pytest

from ranker.config import parse_params
from ranker.errors import BadConfig


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "huge"}, "huge"),
        ({"ingest": {"tasks": ["rec-books"]}}, "rec-books"),
        ({"train": {"sft": {"step": 3}}}, "train.sft.step"),
        ({"candidates": {"test_share": 1.5}}, "test_share"),
        (
            {"train": {"grpo": {"per_device_train_batch_size": 30, "num_generations": 8}}},
            "multiple of num_generations",
        ),
        ({"train": {"weights": {"rec-movie": 0, "passage-pydoc": 0}}}, "one task at least is above 0"),
    ],
)
def test_what_contradicts_is_named(given, message):
    with pytest.raises(BadConfig, match=message):
        parse_params(given)
