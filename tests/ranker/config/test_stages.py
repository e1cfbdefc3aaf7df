"""Parameters of the stages besides training: what each refuses, by its name."""

from __future__ import annotations

import pytest

from ranker.config import STAGES, RetrainParams, parse_params
from ranker.errors import BadConfig


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ingest": {"tasks": []}}, r"ingest\.tasks"),
        ({"candidates": {"negatives": "worst"}}, r"candidates\.negatives"),
        ({"distill": {"samples": 2}}, "temperature above 0"),
        ({"distill": {"grades": 11}}, r"distill\.grades"),
        ({"evaluate": {"strategies": ["direct:"]}}, r"evaluate\.strategies"),
        ({"evaluate": {"models": ["best"]}}, r"evaluate\.models"),
        ({"register": {"max_cost_ratio": 0}}, "max_cost_ratio"),
        ({"register": {"tracking_uri": "file:///tmp/mlruns"}}, r"register\.tracking_uri.*not a folder"),
        ({"register": {"tracking_uri": "file:mlruns"}}, r"register\.tracking_uri"),
        ({"register": {"tracking_uri": "./mlruns"}}, r"register\.tracking_uri"),
    ],
)
def test_what_a_stage_cannot_do_is_refused_by_its_name(given: dict, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        parse_params(given)


@pytest.mark.parametrize(
    "uri", ["", "https://m.example.org", "sqlite:///m.db", "postgresql://db/m", "databricks"]
)
def test_a_registry_is_a_server_or_a_database(uri: str) -> None:
    assert parse_params({"register": {"tracking_uri": uri}}).register_.tracking_uri == uri


def test_several_samples_of_a_prompt_may_be_had_with_a_temperature() -> None:
    assert parse_params({"distill": {"samples": 2, "temperature": 0.7}}).distill.samples == 2


def test_every_stage_has_its_section() -> None:
    fields = {field.removesuffix("_") for field in RetrainParams.model_fields}
    assert set(STAGES) <= fields
