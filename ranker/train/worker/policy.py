"""A small policy from scratch: a Llama-architecture causal LM and a word-level tokenizer whose vocabulary comes from the training data.

Its simplifications: one token a word, an item, a label, a grade; a word never seen in training is <unk>.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ranker.config import PolicyParams
from ranker.sets import slot_labels
from ranker.train.worker.job import Job

SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
FRAME = ("<think>", "</think>", "<answer>", "</answer>", "think", "nothink", "exclude", "rank", "history", "query", ";")
CHAT_TEMPLATE = (
    "{{ '<bos> ' }}{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] + ' <eos>' }}{% else %}{{ m['content'] + ' ' }}{% endif %}{% endfor %}"
)


def scratch(job: Job) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """An untrained policy and its tokenizer, in seconds; the same weights for the same seed."""
    words = vocabulary(job)
    tokenizer = build_tokenizer(words, job.params.policy)
    return build_model(len(tokenizer), tokenizer, job.params.policy), tokenizer


def vocabulary(job: Job) -> list[str]:
    """Tokens in order: frame, labels, grades, task names, items, then the commonest words of the training prompts."""
    traces = job.table("sft")
    items = job.table("items")["token"].to_list()
    largest = int(traces["pool_size"].max() or 2)
    fixed = [*FRAME, *slot_labels(max(largest, 26)), *map(str, range(10)), *job.tasks]
    known = set(fixed) | set(items)
    counts = Counter(word for prompt in traces["prompt"].unique(maintain_order=True) for word in prompt.split() if word not in known)
    common = sorted(counts, key=lambda word: (-counts[word], word))[: job.params.policy.vocabulary]
    return [*fixed, *items, *common]


def build_tokenizer(words: Sequence[str], params: PolicyParams) -> PreTrainedTokenizerFast:
    """Word-level, split at whitespace, with a chat template that adds <bos> and nothing else."""
    vocab = {word: place for place, word in enumerate(dict.fromkeys([*SPECIALS, *words]))}
    raw = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>",
                                        padding_side="left", model_max_length=params.context, clean_up_tokenization_spaces=False)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_model(size: int, tokenizer: PreTrainedTokenizerFast, params: PolicyParams) -> LlamaForCausalLM:
    """Untied embeddings and a standard deviation of about 1/√width: with Llama's 0.02 nothing was learned (docs/method)."""
    torch.manual_seed(params.seed)
    config = LlamaConfig(
        vocab_size=size, hidden_size=params.hidden, intermediate_size=4 * params.hidden, num_hidden_layers=params.layers,
        num_attention_heads=params.heads, num_key_value_heads=params.heads, max_position_embeddings=params.context, tie_word_embeddings=False,
        initializer_range=params.hidden ** -0.5, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def histories(job: Job) -> pl.DataFrame:
    """(task, user_id, item_id) of training users."""
    return job.table("histories")
