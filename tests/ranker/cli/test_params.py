"""Parameters from the command line: preset, file, --set, named options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ranker.cli.params import nested, parameters
from ranker.config import DEFAULT_PRESET, parse_params
from ranker.errors import BadConfig


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("train.sft.max_steps=100", {"train": {"sft": {"max_steps": 100}}}),
        ("train.sft.learning_rate=1e-4", {"train": {"sft": {"learning_rate": 1e-4}}}),
        ('ingest.tasks=["synthetic"]', {"ingest": {"tasks": ["synthetic"]}}),
        ("evaluate.extra_model=", {"evaluate": {"extra_model": ""}}),
        ("ingest.locations.rec-movie=/a/b", {"ingest": {"locations": {"rec-movie": "/a/b"}}}),
        ("register.promote=false", {"register": {"promote": False}}),
        ("a.b=x=y", {"a": {"b": "x=y"}}),
    ],
)
def test_set_takes_a_dotted_name_and_a_toml_value(given: str, expected: dict) -> None:
    assert nested(given) == expected


@pytest.mark.parametrize("given", ["train.sft.max_steps", "=3", "train..steps=3", ""])
def test_set_without_a_name_or_a_value_is_refused(given: str) -> None:
    with pytest.raises(BadConfig, match="NAME=VALUE"):
        nested(given)


def test_options_are_laid_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "given.toml"
    file.write_text(
        'preset = "tiny"\n[train.sft]\nmax_steps = 7\nper_device_train_batch_size = 5\n[register]\nname ='
        ' "mine"\n'
    )
    params = parameters(DEFAULT_PRESET, "", "", ["train.sft.max_steps=9"], file, ["train", "evaluate"])
    assert (params.preset, params.train.sft.max_steps, params.train.sft.per_device_train_batch_size) == (
        "tiny",
        9,
        5,
    )
    assert (params.train.grpo.max_steps, params.register_.name, params.force) == (
        parse_params({"preset": "tiny"}).train.grpo.max_steps,
        "mine",
        ("train", "evaluate"),
    )


def test_a_file_may_be_json(tmp_path: Path) -> None:
    file = tmp_path / "given.json"
    file.write_text(json.dumps({"preset": "tiny", "evaluate": {"max_queries": 3}}))
    assert parameters(DEFAULT_PRESET, "", "", None, file).evaluate.max_queries == 3
