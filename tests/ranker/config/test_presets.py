"""Presets: each is valid, and what is given is laid over it."""

from __future__ import annotations

import pytest

from ranker.config import RetrainParams, parse_params, presets, task
from ranker.errors import BadConfig
from ranker.policy.prompts import longest_trace


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


@pytest.mark.parametrize("name", presets())
def test_a_loss_that_divides_by_the_length_limit_has_a_limit_close_to_the_answers(name):
    """dr_grpo's steps would be tiny with 1,024 tokens for answers of 8 to 138, and no rate would say so."""
    params = parse_params({"preset": name})
    grpo, style = params.train.grpo, params.train.policy.style
    if style == "likelihood" or grpo.loss_type != "dr_grpo":
        return
    pools = [params.candidates.pool_size.get(one, task(one).pool_size) for one in params.ingest.tasks]
    assert style == "compact" and grpo.max_completion_length < 2 * longest_trace(max(pools))


def test_the_papers_way_has_no_sft_and_the_distilled_one_learns_from_a_stronger_model():
    plain, taught = (parse_params({"preset": name}) for name in ("r1-3b", "r1-3b-distilled"))
    assert (plain.train.sft.max_steps, plain.distill.traces) == (0, 0)
    assert taught.train.sft.max_steps and taught.distill.teacher.startswith("openai:")
    assert taught.distill.reward_above == 0 and taught.distill.samples > taught.distill.keep == 1
    assert plain.train.grpo == taught.train.grpo and plain.train.policy == taught.train.policy
    with pytest.raises(BadConfig, match="leaves SFT"):
        parse_params({"preset": "r1-3b-distilled", "distill": {"traces": 0}})
    with pytest.raises(BadConfig, match="leaves SFT"):
        parse_params({"preset": "tiny", "distill": {"traces": 0}, "train": {"sft": {"max_steps": 0}}})
