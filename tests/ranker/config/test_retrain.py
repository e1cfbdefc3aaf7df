"""All parameters together: what contradicts is refused, by its name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ranker.config import RetrainParams, parse_params
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


@pytest.mark.parametrize(
    "uri", ["postgres:dbname=l password=hunter22", "postgres:postgresql://u:hunter22@db/l"]
)
def test_a_lake_holds_no_password(uri: str) -> None:
    with pytest.raises(BadConfig, match="pgpass") as caught:
        parse_params({"preset": "tiny", "lake": f"ducklake:{uri}"})
    assert "hunter22" not in str(caught.value)
    with pytest.raises(ValidationError) as raw:
        RetrainParams.model_validate({"preset": "tiny", "lake": f"ducklake:{uri}"})
    assert "hunter22" not in str(raw.value), "what Prefect keeps of it"
