"""A parameter's former name is refused, and says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from ranker.cli.params import nested, parameters
from ranker.config import EvaluateParams, RetrainParams, TrainParams, parse_params
from ranker.config.former import GONE, REMOVED, RENAMED, new_name, recorded
from ranker.errors import BadConfig


def names(model: type[BaseModel], where: str = "") -> Iterator[str]:
    """Dotted names of all parameters of a section and of those in it."""
    for name, field in model.model_fields.items():
        full = f"{where}{field.alias or name}"
        yield full
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from names(field.annotation, f"{full}.")


TODAY = set(names(RetrainParams))


@pytest.mark.parametrize("old", RENAMED)
def test_a_former_name_is_refused_with_the_new_one(old: str) -> None:
    assert new_name(old) in TODAY and old not in TODAY
    with pytest.raises(BadConfig, match=re.escape(f"{old} is now {new_name(old)}")):
        parse_params({"preset": "tiny", **nested(f"{old}=1")})


@pytest.mark.parametrize("old", REMOVED)
def test_a_removed_parameter_is_refused_with_what_it_always_is(old: str) -> None:
    assert old not in TODAY
    with pytest.raises(BadConfig, match=re.escape(f"{old} was removed: it is always {REMOVED[old]}")):
        parse_params({"preset": "tiny", **nested(f"{old}=1")})


@pytest.mark.parametrize("old", GONE)
def test_a_parameter_of_what_is_gone_is_refused_with_what_holds_in_its_place(old: str) -> None:
    assert old not in TODAY
    with pytest.raises(BadConfig, match=re.escape(f"{old} was removed: {GONE[old]}")):
        parse_params({"preset": "tiny", **nested(f"{old}=1")})


def test_a_file_and_options_of_former_names_are_refused_naming_all_of_them(tmp_path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[train.sft]\nsteps = 7\nbatch = 8\n[train.policy]\nlayers = 4\n")
    with pytest.raises(BadConfig) as caught:
        parameters("tiny", "", "", ["train.grpo.generations=4"], file)
    for old in ("train.sft.steps", "train.sft.batch", "train.policy.layers", "train.grpo.generations"):
        assert old in caught.value.seen and RENAMED[old] in caught.value.remedy


def test_what_an_older_version_recorded_of_an_evaluation_is_read_by_todays_names(caplog) -> None:
    old = {"max_queries": 7, "max_completion": 40, "batch": 12, "extra_queries": 3, "seed": 5}
    assert EvaluateParams(**recorded("evaluate", old)) == EvaluateParams(
        max_queries=7, max_completion_length=40, per_device_eval_batch_size=12, seed=5
    )
    assert "evaluate.extra_queries was 3 when this was recorded; now it is always 12" in caplog.text
    caplog.clear()
    assert recorded("evaluate", {"extra_queries": 12}) == {} and not caplog.text


def test_what_an_older_version_recorded_of_a_training_is_read_in_all_its_sections() -> None:
    old = {
        "sft": {"steps": 7, "warmup_steps": 0.05, "seed": 4},
        "grpo": {"generations": 4, "epsilon": 0.2},
        "weights": {"synthetic": 2.0},
    }
    read = TrainParams(**recorded("train", old))
    assert (read.sft.max_steps, read.sft.seed, read.grpo.num_generations) == (7, 4, 4)
    assert read.weights == {"synthetic": 2.0}
