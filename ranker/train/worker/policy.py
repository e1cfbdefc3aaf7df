"""A small policy from scratch: a Llama-architecture causal LM and a word-level tokenizer whose vocabulary
comes from the training data.

Its simplifications: one token an item, a label, a grade and a common word; rarer words fall into WordPiece
pieces, and an item that training never knew is <unk>.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np
import polars as pl
import torch
from scipy.linalg import polar
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import LinearOperator, eigsh
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ranker.config import PolicyParams
from ranker.policy.prompts import frame_tokens, item_token
from ranker.train.worker import answering, start
from ranker.train.worker.job import Job
from ranker.types import slot_labels

SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
OPENERS = ("query:", "history:")
LABELS = 26
GRADES = 10
PIECES = 0.25
"""Share of the vocabulary that rare words are spelled with."""
ROPE_THETA = 1e6
"""Slow rotary pairs, so that matching by meaning survives a few hundred tokens of distance."""
WINDOW, DECAY = 12, 3.0
"""Items consumed within so many places of each other also count as neighbours, by exp(−gap / DECAY)."""
SHRINK = 10.0
CHAT_TEMPLATE = (
    "{{ '<bos> ' }}{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] + ' <eos>' }}{%"
    " else %}{{ m['content'] + ' ' }}{% endif %}{% endfor %}"
)


def scratch(job: Job) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """An untrained policy and its tokenizer, in seconds; the same weights for the same seed."""
    texts = job.table("sft")["prompt"].unique(maintain_order=True).to_list()
    labels = slot_labels(max(LABELS, cast("int | None", job.table("sft")["pool_size"].max()) or 2))
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
    items = job.table("items")["token"].to_list()
    words = word_counts(texts, {*fixed, *items})
    tokenizer = build_tokenizer([*fixed, *items], words, job.params.policy)
    model = build_model(tokenizer, job.params.policy)
    model.config.item_rows = _runs(
        sorted(map(tokenizer.get_vocab().__getitem__, _touched(job)))
    )  # which `item_rate` is for (trainers.py)
    if job.params.policy.structured:
        vocabulary = _roles(tokenizer, labels, fixed, items, texts, job)
        (answering if job.params.policy.answering else start).apply(
            model, vocabulary, job.params.policy.codes, job.params.policy.seed
        )
        if job.params.policy.answering:
            # What the fast rate of the embeddings is not for: the rows of structural tokens, which come
            # first, and all columns but these (trainers.py).
            model.config.structural_tokens = len({*SPECIALS, *fixed})
            model.config.meaning_columns = answering.meaning_columns(
                model.config.hidden_size, job.params.policy.meaning, job.params.policy.codes
            )
    return model, tokenizer


def _touched(job: Job) -> list[str]:
    """Tokens of the items that users consume; an LLM to route to is an item, too, but none of these."""
    tasks = job.table("histories")["task"].unique().to_list()
    return job.table("items").filter(pl.col("task").is_in(tasks))["token"].to_list()


def _runs(rows: Sequence[int]) -> list[list[int]]:
    """Ascending numbers as [first, behind the last] of each run without a gap."""
    breaks = [0, *(place for place in range(1, len(rows)) if rows[place] != rows[place - 1] + 1), len(rows)]
    return [[rows[a], rows[b - 1] + 1] for a, b in pairwise(breaks) if b > a]


def word_counts(texts: Sequence[str], known: set[str]) -> Counter[str]:
    """In how many prompts each word stands; structure and items left out."""
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
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=False,
        initializer_range=params.hidden_size**-0.5,
        bos_token_id=cast("int | None", tokenizer.bos_token_id),  # wider in transformers' types
        eos_token_id=cast("int | None", tokenizer.eos_token_id),  # wider in transformers' types
        pad_token_id=cast("int | None", tokenizer.pad_token_id),  # wider in transformers' types
    )
    return LlamaForCausalLM(config)


# --- what tokens mean at the start ---


def _roles(
    tokenizer: PreTrainedTokenizerFast,
    labels: Sequence[str],
    fixed: Sequence[str],
    items: Sequence[str],
    texts: Sequence[str],
    job: Job,
) -> start.Vocabulary:
    vocab = tokenizer.get_vocab()
    named = {*labels, *OPENERS, *map(str, range(GRADES)), *TAGS}
    structural = {*SPECIALS, *fixed}
    known = {vocab[item] for item in items}
    content = sorted(place for token, place in vocab.items() if token not in structural)
    meaning = np.zeros((len(vocab), job.params.policy.meaning))
    _word_meaning(meaning, content, tokenizer, texts, job.params.policy.seed)
    for name in job.tasks:
        _item_meaning(meaning, vocab, name, job)
    return start.Vocabulary(
        labels=tuple(vocab[label] for label in labels),
        openers=tuple(vocab[word] for word in OPENERS if word in vocab),
        grades=tuple(vocab[str(grade)] for grade in range(job.params.policy.grades)),
        modes=(vocab["exclude:"], vocab["rank:"]),
        thinks=(vocab["-think"], vocab["+think"]),
        tags=(vocab[TAGS[0]], vocab[TAGS[1]], vocab[TAGS[2]], vocab[TAGS[3]]),
        closer=vocab[";"],
        first=vocab["<bos>"],
        last=vocab["<eos>"],
        frame=tuple(sorted(vocab[token] for token in structural - named)),
        content=np.array(content),
        words=np.array([place for place in content if place not in known]),
        meaning=meaning[content],
    )


def _word_meaning(
    meaning: np.ndarray,
    content: Sequence[int],
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    seed: int,
) -> None:
    """Directions as near orthogonal as they can be; the squared length is the token's idf, so that two
    equal words score their idf.
    """
    frequency = np.ones(len(meaning))
    for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]:
        frequency[list(set(ids))] += 1
    idf = np.log1p(len(texts) / frequency)
    directions = spread(np.random.default_rng(seed).standard_normal((len(content), meaning.shape[1])))
    meaning[content] = directions * np.sqrt(idf[content] / idf[content].mean())[:, None]


def spread(vectors: np.ndarray) -> np.ndarray:
    """Unit rows (n × k) near `vectors` that are about as little alike as n can be; so they are in the first
    MATCH_WIDTH dimensions too, which alone are read for equal words.

    The polar factor is a tight frame, which has the least squared likeness in all (Benedetto and Fickus,
    Finite normalized tight frames, 2003): none up to k rows, next to what is drawn at many times k. Drawn
    rows of 28 dimensions have a likeness of ±0.19. A few of such chance meanings decide between a policy's
    equals, for better or worse, whatever it is rewarded for (docs/experiments.md, equals).
    """
    cut = min(answering.MATCH_WIDTH, vectors.shape[1])
    parts = [polar(part)[0] for part in (vectors[:, :cut], vectors[:, cut:]) if part.shape[1]]
    return np.hstack(
        [
            part / np.linalg.norm(part, axis=1, keepdims=True) * np.sqrt(part.shape[1] / vectors.shape[1])
            for part in parts
        ]
    )


def _item_meaning(meaning: np.ndarray, vocab: dict[str, int], name: str, job: Job) -> None:
    touched = job.table("histories").filter(pl.col("task") == name)
    if touched.is_empty():
        # Nothing is known of such items (LLMs to route to). A random direction would say something of every
        # query, and all of it noise: SFT alone gave MRR 0.764 on routing with it, 0.819 without.
        meaning[[vocab[token] for token in job.table("items").filter(pl.col("task") == name)["token"]]] = 0
        return
    items = sorted(touched["item_id"].unique())
    ids = np.array([vocab[item_token(name, item)] for item in items])
    width = meaning.shape[1]
    vectors = (
        item_vectors(touched, items, width)
        if job.params.policy.items == "cooccurrence"
        else np.random.default_rng(job.params.policy.seed).standard_normal((len(items), width))
    )
    meaning[ids] = vectors / np.sqrt(np.mean(np.sum(vectors**2, axis=1)))


def item_vectors(touched: pl.DataFrame, items: Sequence[str], k: int) -> np.ndarray:
    """Spectral embedding (items × k) of item similarity: cosine of co-occurrence plus the same within a
    window of each user's sequence.

    Popularity is taken out by subtracting the best rank-one match to the mean; `touched` has each user's
    items in time order.
    Only the k leading eigenvectors are computed, from sparse counts: ten thousand items take seconds, not
    minutes.
    """
    similarity = _similarity(touched, items)
    mean = np.asarray(similarity.mean(1)).ravel()
    k_found = min(k, len(items) - 1)
    # scipy's own signature: pyright takes the class for its private subclass, which __new__ may return.
    centred = LinearOperator(
        similarity.shape,  # pyright: ignore[reportCallIssue]
        matvec=lambda v: similarity @ v - mean * (mean @ v) / mean.mean(),  # pyright: ignore[reportCallIssue]
        dtype=float,  # pyright: ignore[reportCallIssue]
    )
    values, vectors = eigsh(centred, k=k_found, which="LA", v0=np.ones(len(items)))
    found = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    return np.pad(found, ((0, 0), (0, k - k_found)))


def _similarity(touched: pl.DataFrame, items: Sequence[str]) -> csr_array:
    index = {item: place for place, item in enumerate(items)}
    users = touched.partition_by("user_id", maintain_order=True)
    sequences = [np.array([index[item] for item in part["item_id"]]) for part in users]
    shape = (len(items), len(items))
    owner = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    interactions = csr_array(
        (np.ones(len(owner)), (owner, np.concatenate(sequences))), shape=(len(sequences), len(items))
    )
    interactions.data[:] = 1.0  # who touched an item twice counts once
    together, near = interactions.T @ interactions, csr_array(shape)
    for gap in range(1, WINDOW + 1):
        pairs = [(sequence[:-gap], sequence[gap:]) for sequence in sequences if len(sequence) > gap]
        if pairs:
            first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
            near = near + csr_array(
                (np.full(len(first), math.exp(-(gap - 1) / DECAY)), (first, second)), shape=shape
            )
    counts = together.diagonal() + SHRINK
    scale = diags_array(1 / np.sqrt(counts))
    together = together - diags_array(together.diagonal())
    parts = [csr_array(scale @ part @ scale) for part in (together, near + near.T)]
    return sum((part / _spread(part) for part in parts if _spread(part) > 0), csr_array(shape))


def _spread(matrix: csr_array) -> float:
    """Standard deviation over all entries, zeros included."""
    rows, columns = cast("tuple[int, int]", matrix.shape)
    n = rows * columns
    return math.sqrt(max((matrix.data**2).sum() / n - (matrix.data.sum() / n) ** 2, 0.0))
