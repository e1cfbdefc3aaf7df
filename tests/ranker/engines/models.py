"""Real, untrained models of a few thousand parameters, as folders."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ranker.config import PolicyParams
from ranker.engines import MANIFEST
from ranker.policy.prompts import Style, frame_tokens
from ranker.train.worker import policy
from ranker.types import JsonObject

FIXED = [*policy.TAGS, *frame_tokens("synthetic"), *"ABCDEFGH", *"01234"]


def tiny(
    folder: Path, *, style: Style = "compact", context: int = 128, head_dim: int = 16, seed: int = 13
) -> Path:
    """A Llama of one layer that knows tags, labels, grades and the attributes a0 … a11; any other word is
    unknown to it.
    """
    params = PolicyParams(
        num_hidden_layers=1,
        hidden_size=32,
        num_attention_heads=2,
        head_dim=head_dim,
        intermediate_size=64,
        max_length=context,
        seed=seed,
    )
    tokenizer = policy.build_tokenizer(FIXED, Counter({f"a{i}": 5 for i in range(12)}), params)
    return _saved(folder, tokenizer, params, style)


def bytewise(folder: Path, *, pieces: int = 320, context: int = 1024, seed: int = 13) -> Path:
    """A Llama of one layer whose vocabulary is byte-level BPE, as chat models have it: a tag, and often a
    label, is several tokens.
    """
    params = PolicyParams(
        num_hidden_layers=1,
        hidden_size=32,
        num_attention_heads=2,
        head_dim=16,
        intermediate_size=64,
        max_length=context,
        seed=seed,
    )
    return _saved(folder, byte_tokenizer(pieces), params, "chat")


def byte_tokenizer(pieces: int = 320) -> PreTrainedTokenizerFast:
    """A byte-level BPE with a chat template."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(
        [
            "First reason between <think> and </think>: grade every candidate. <answer> C A B </answer> The"
            " worst is B. ä"
        ]
        * 9,
        trainer,
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<|end|>",
        eos_token="<|end|>",
        bos_token="<|end|>",
        padding_side="left",
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}assistant: "
    )
    return tokenizer


FAMILIES: dict[str, JsonObject] = {
    "gpt2": {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 1024},
    "bloom": {"hidden_size": 32, "n_layer": 1, "n_head": 2},
    "mpt": {"d_model": 32, "n_layers": 1, "n_heads": 2, "max_seq_len": 1024},
    "gemma3": {
        "text_config": {
            "vocab_size": 320,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 1024,
            "sliding_window": 32,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "image_size": 28,
            "patch_size": 14,
        },
        "mm_tokens_per_image": 1,
    },
    "gemma2": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 1024,
        "final_logit_softcapping": 1.0,
    },
    "mamba": {"hidden_size": 32, "num_hidden_layers": 1, "state_size": 4},
}
"""Kinds of causal LMs that say otherwise what Llama says, by their names in transformers: where the context
is, whether positions are learned, whether layers attend to all of it, what becomes of the logits.
"""


def family(folder: Path, name: str, *, style: Style = "chat", seed: int = 13) -> Path:
    """A model of one of FAMILIES with random weights as a folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = byte_tokenizer()
    sizes = {"initializer_range": 0.3, **FAMILIES[name]}
    if "text_config" in sizes:
        sizes["text_config"] = {**sizes["text_config"], "initializer_range": 0.3}
    else:
        sizes["vocab_size"] = len(tokenizer)
    torch.manual_seed(seed)
    config = AutoConfig.for_model(name, **sizes, eos_token_id=tokenizer.eos_token_id)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / MANIFEST).write_text(json.dumps({"style": style}))
    return folder


def _saved(folder: Path, tokenizer: PreTrainedTokenizerFast, params: PolicyParams, style: Style) -> Path:
    policy.build_model(tokenizer, params).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / MANIFEST).write_text(json.dumps({"style": style}))
    return folder


def sentence_encoder(folder: Path, *, pooling: str = "mean_tokens", seed: int = 13) -> Path:
    """A BERT of one layer with random weights as a folder of sentence-transformers: words of letters and
    digits, 32 tokens at most.
    """
    import torch
    from transformers import BertConfig, BertModel

    words = [
        *"abcdefghijklmnopqrstuvwxyz0123456789",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"),
    ]
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(seed)
    sizes = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    BertModel(sizes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32}))
    return folder
