"""Presets: each is valid, and what is given is laid over it."""

from __future__ import annotations

import pytest

from ranker.config import RetrainParams, parse_params, presets


@pytest.mark.parametrize("name", presets())
def test_every_shipped_preset_is_valid_and_survives_json(name):
    params = parse_params({"preset": name})
    assert RetrainParams.model_validate(params.model_dump(mode="json", by_alias=True)) == params


def test_what_is_given_is_laid_over_the_preset():
    params = parse_params({"preset": "tiny", "train": {"sft": {"max_steps": 3}}})
    assert params.train.sft.max_steps == 3
    assert (
        params.train.sft.per_device_train_batch_size
        == parse_params({"preset": "tiny"}).train.sft.per_device_train_batch_size
    )
    assert params.ingest.tasks == ("synthetic",)
