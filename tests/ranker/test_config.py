from __future__ import annotations

import pytest

from ranker.config import RetrainParams, parse_params, presets, task, task_names
from ranker.errors import BadConfig


@pytest.mark.parametrize("name", presets())
def test_every_shipped_preset_is_valid_and_survives_json(name):
    params = parse_params({"preset": name})
    assert RetrainParams.model_validate(params.model_dump(mode="json", by_alias=True)) == params


@pytest.mark.parametrize("name", task_names())
def test_every_shipped_task_is_valid(name):
    assert task(name).name == name


def test_what_is_given_is_laid_over_the_preset():
    params = parse_params({"preset": "tiny", "train": {"sft": {"steps": 3}}})
    assert params.train.sft.steps == 3
    assert params.train.sft.batch == parse_params({"preset": "tiny"}).train.sft.batch
    assert params.ingest.tasks == ("synthetic",)


def test_a_form_never_gets_values_that_would_override_a_preset():
    schema = RetrainParams.model_json_schema()
    for definition in [schema, *schema["$defs"].values()]:
        for name, field in definition.get("properties", {}).items():
            assert name == "preset" or "default" not in field
    assert "required" not in schema


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "huge"}, "huge"),
        ({"ingest": {"tasks": ["rec-books"]}}, "rec-books"),
        ({"train": {"sft": {"step": 3}}}, "train.sft.step"),
        ({"candidates": {"test_share": 1.5}}, "test_share"),
        ({"train": {"grpo": {"batch": 30, "generations": 8}}}, "multiple of generations"),
        ({"train": {"policy": {"hidden": 64}}}, "hidden"),
    ],
)
def test_what_contradicts_is_named(given, message):
    with pytest.raises(BadConfig, match=message):
        parse_params(given)
