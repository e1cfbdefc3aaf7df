"""Every figure reckoned from a configuration is what a real torch model has."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedModel, Qwen2Config

from ranker.config import parse_params
from ranker.errors import BadModel
from ranker.train.model_size import PUBLISHED, Architecture, find, read, scratch

SMALL = {
    "vocab_size": 64,
    "hidden_size": 128,
    "intermediate_size": 344,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
CONFIGS = {
    "llama": LlamaConfig(**SMALL),
    "llama, own head width": LlamaConfig(**(SMALL | {"head_dim": 48}), tie_word_embeddings=True),
    "qwen2": Qwen2Config(**SMALL, tie_word_embeddings=True),
    "qwen2, all heads": Qwen2Config(**(SMALL | {"num_key_value_heads": 4, "hidden_size": 64})),
}


def built(config) -> PreTrainedModel:
    return AutoModelForCausalLM.from_config(config)


@pytest.fixture(params=CONFIGS, ids=str)
def small(request) -> tuple[PreTrainedModel, Architecture]:
    config = CONFIGS[request.param]
    return built(config), read(config.to_dict(), request.param)


def test_parameters_are_those_of_a_real_model(small):
    model, reckoned = small
    assert reckoned.parameters == sum(p.numel() for p in model.parameters())
    assert reckoned.layer == sum(p.numel() for p in model.model.layers[0].parameters())


@pytest.mark.parametrize(("name", "billions"), [("qwen2.5-3b-instruct", 3.09), ("smollm2", 0.1345)])
def test_published_models_have_their_published_size(name, billions):
    given = json.loads((PUBLISHED / f"{name}.json").read_text())
    config = AutoConfig.for_model(**given)
    with torch.device("meta"):
        model = built(config)
    reckoned = read(given, name)
    assert reckoned.parameters == sum(p.numel() for p in model.parameters())
    assert reckoned.parameters / 1e9 == pytest.approx(billions, rel=2e-3)


@pytest.mark.parametrize("preset", ["prove-synthetic", "tiny"])
def test_the_policy_from_scratch_has_the_size_of_its_parameters(preset):
    from transformers import PreTrainedTokenizerFast

    from ranker.train.worker.policy import build_model, build_tokenizer

    params = parse_params({"preset": preset}).train.policy
    tokenizer: PreTrainedTokenizerFast = build_tokenizer([f"t{i}" for i in range(100)], {}, params)
    model = build_model(tokenizer, params)
    reckoned = scratch(params)
    assert (
        reckoned.parameters - 2 * reckoned.embedding
        == sum(p.numel() for p in model.parameters()) - 2 * len(tokenizer) * params.hidden_size
    )


def test_adapters_are_those_that_peft_trains(small):
    model, reckoned = small
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert reckoned.adapters(4) == sum(p.numel() for p in tuned.parameters() if p.requires_grad)


def test_adam_keeps_eight_bytes_a_parameter_and_gradients_four(small):
    model, reckoned = small
    optimizer = torch.optim.AdamW(model.parameters())
    model(
        input_ids=torch.zeros(1, 4, dtype=torch.long), labels=torch.zeros(1, 4, dtype=torch.long)
    ).loss.backward()
    optimizer.step()
    moments = sum(
        value.nbytes for state in optimizer.state.values() for name, value in state.items() if name != "step"
    )
    assert moments == 8 * reckoned.parameters
    assert sum(p.grad.nbytes for p in model.parameters()) == 4 * reckoned.parameters


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
def test_what_the_backward_pass_keeps_per_token_is_counted_by_torch(small, bf16, checkpointing):
    model, reckoned = small
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    per_token = (kept(model, 512, bf16) - kept(model, 256, bf16)) / 256
    again = replace(reckoned, layers=1).activations(bf16, False) - replace(reckoned, layers=0).activations(
        bf16, False
    )
    assert per_token == reckoned.activations(bf16, checkpointing) - (again if checkpointing else 0)


def kept(model: PreTrainedModel, tokens: int, bf16: bool) -> int:
    """Bytes that one forward pass through the decoder saves for the backward pass, each storage once."""
    storages: dict[int, int] = {}
    held = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        held.append(tensor)  # a freed address would be counted for another
        return tensor

    ids = torch.zeros(1, tokens, dtype=torch.long)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        model.get_decoder()(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return sum(storages.values())


def test_the_cache_of_a_token_is_what_a_real_cache_holds(small):
    model, reckoned = small
    cache = model.to(torch.bfloat16)(
        input_ids=torch.zeros(1, 10, dtype=torch.long), use_cache=True
    ).past_key_values
    assert sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers) == 10 * reckoned.kv_bytes()


def test_operations_are_those_that_torch_counts(small):
    """Eager attention works on the whole square, so that every token's context is all of them."""
    model, reckoned = small
    model.set_attn_implementation("eager")
    tokens = 64
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
    assert counter.get_total_flops() / tokens == pytest.approx(
        reckoned.forward(tokens), rel=0.01
    )  # norms and biases are no products


def test_a_model_that_cannot_be_reckoned_is_named(tmp_path):
    with pytest.raises(BadModel, match="mamba"):
        read({"model_type": "mamba"}, "other")
    with pytest.raises(BadModel, match=r"config\.json"):
        find(
            tmp_path,
            parse_params(
                {"train": {"policy": {"model_name_or_path": "models/none", "style": "chat"}}}
            ).train.policy,
        )
