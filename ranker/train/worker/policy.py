"""A small policy from scratch: a Llama-architecture causal LM and a word-level tokenizer whose vocabulary
comes from the training data.

Its weights are plain random ones. What it needs to learn anything (docs/method.md): untied embeddings with a
deviation of about 1/√width, and traces that grade every candidate before the action. Its simplifications: one
token a label, a grade and a common word; rarer words fall into WordPiece pieces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ranker.config import PolicyParams
from ranker.policy.prompts import Prompt, frame_tokens, messages
from ranker.train.worker.job import Job
from ranker.types import slot_labels

SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
LABELS = 26
GRADES = 10
PIECES = 0.25
"""Share of the vocabulary that rare words are spelled with."""
CHAT_TEMPLATE = (
    "{{ '<bos> ' }}{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] + ' <eos>' }}{%"
    " else %}{{ m['content'] + ' ' }}{% endif %}{% endfor %}"
)


def scratch(job: Job) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """An untrained policy and its tokenizer, in seconds; the same weights for the same seed."""
    rows, sets = job.table("sft"), job.sets()
    asked = rows.select("mode", "thinking", "set_id", "pool").unique(maintain_order=True)
    prompts = [
        Prompt(mode, thinking, sets[set_id].keep(pool)) for mode, thinking, set_id, pool in asked.iter_rows()
    ]
    texts = list(dict.fromkeys(messages(prompt, "compact")[-1]["content"] for prompt in prompts))
    labels = slot_labels(max(LABELS, *(len(prompt.set) for prompt in prompts)))
    fixed = list(
        dict.fromkeys(
            [
                *TAGS,
                *(token for name in job.tasks for token in frame_tokens(name)),
                *labels,
                *map(str, range(GRADES)),
            ]
        )
    )
    tokenizer = build_tokenizer(fixed, word_counts(texts, set(fixed)), job.params.policy)
    return build_model(tokenizer, job.params.policy), tokenizer


def word_counts(texts: Sequence[str], known: set[str]) -> Counter[str]:
    """In how many prompts each word stands; structure left out."""
    return Counter(word for text in texts for word in set(text.split()) - known)


def build_tokenizer(
    fixed: Sequence[str], words: Counter[str], params: PolicyParams
) -> PreTrainedTokenizerFast:
    """Split at whitespace; whole tokens for `fixed` and the commonest words, WordPiece pieces for the
    rest; a chat template that adds <bos> only.
    """
    whole = sorted(words, key=lambda word: (-words[word], word))[: int(params.vocab_size * (1 - PIECES))]
    pieces = _pieces(words, int(params.vocab_size * PIECES)) if words else []
    vocab = {token: place for place, token in enumerate(dict.fromkeys([*SPECIALS, *fixed, *whole, *pieces]))}
    raw = Tokenizer(models.WordPiece(vocab, unk_token="<unk>", max_input_chars_per_word=60))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        padding_side="left",
        model_max_length=params.max_length,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _pieces(words: Counter[str], size: int) -> list[str]:
    trained = Tokenizer(models.WordPiece(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # The trainer numbers what it meets in a hash map's order, another in every process, and equal counts fall
    # to the lower number: so all is numbered beforehand.
    inner = sorted({f"##{letter}" for word in words for letter in word[1:]})
    trained.train_from_iterator(
        [" ".join(sorted(words))],
        trainers.WordPieceTrainer(vocab_size=size, special_tokens=["<unk>", *inner], show_progress=False),
    )
    return sorted(set(trained.get_vocab()) - {"<unk>"})


def build_model(tokenizer: PreTrainedTokenizerFast, params: PolicyParams) -> LlamaForCausalLM:
    """Untied embeddings and a standard deviation of about 1/√width: with Llama's 0.02 nothing was learned."""
    torch.manual_seed(params.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=params.hidden_size,
        intermediate_size=params.intermediate_size,
        num_hidden_layers=params.num_hidden_layers,
        num_attention_heads=params.num_attention_heads,
        num_key_value_heads=params.num_attention_heads,
        head_dim=params.head_dim,
        max_position_embeddings=params.max_length,
        tie_word_embeddings=False,
        initializer_range=params.hidden_size**-0.5,
        bos_token_id=cast("int | None", tokenizer.bos_token_id),  # wider in transformers' types
        eos_token_id=cast("int | None", tokenizer.eos_token_id),  # wider in transformers' types
        pad_token_id=cast("int | None", tokenizer.pad_token_id),  # wider in transformers' types
    )
    return LlamaForCausalLM(config)
