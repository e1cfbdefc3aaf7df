"""Parameters of training that do not fit together."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ranker.config import GRPOParams, PolicyParams, TrainParams


def test_a_checkpoint_keeps_no_half_used_completions() -> None:
    with pytest.raises(ValidationError, match="multiple of num_iterations"):
        GRPOParams(num_iterations=4, save_steps=50)


def test_one_process_holds_whole_groups_and_several_are_left_to_their_check() -> None:
    odd = GRPOParams(per_device_train_batch_size=4, num_generations=8)
    with pytest.raises(ValidationError, match="a multiple of num_generations; seen 4 and 8"):
        TrainParams(grpo=odd)
    assert TrainParams(grpo=odd, accelerate_config="cpu-2").grpo.batch(2) == 8


def test_weights_are_not_negative() -> None:
    with pytest.raises(ValidationError, match="weights are at least 0"):
        TrainParams(weights={"rec-movie": -1})


def test_snapshots_are_of_full_weights() -> None:
    with pytest.raises(ValidationError, match="snapshots keeps full weights"):
        TrainParams(snapshots=(5,), policy=PolicyParams(lora_r=4))
