"""A start that can answer: what `start` arranges for reading a pool, with its faults mended, and the form of
an answer besides.

`start` was looked at head by head (docs/experiments.md, 2026-11-25). A matching word's large score
crowded everything else out of the norm, so the next layer read the words that do not match; "nearest" rang,
and at distance 8 or 10 found what is farther; the query's code was not orthogonal to the labels'; an order
began with the query's own `;`. Here every block has one writer, scores are small, and three more things are
arranged, all by the same means:

    layer 0 head 2    what is asked for: exclude or rank, with or without reasoning
    layer 1 head 2    a label in the prompt learns which candidate stands before it (in `named`, which the
                      prompt has no other use for)
    layer 2 head 2    behind a grade: the label of the candidate that follows the graded one; behind
                      `<think>`, of the first
    layer 2 head 1    the sum of the codes already named, which layer 3 head 0 keeps out of its choice
    unembedding       what follows what: `</think>` `<answer>`, a label in the reasoning a grade, a label in
                      an exclusion `</answer>`, …

Learning rates that `start` needs unmake it: at 1e-3, 60 SFT steps take more than they give. It wants three:
little for the layers, more for the embeddings, most for the head (presets/prove-synthetic.toml).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linprog
from transformers import LlamaForCausalLM

from ranker.train.worker.start import (
    NOISE,
    Blocks,
    Vocabulary,
    blocks,
    clear,
    copy,
    embed,
    label_codes,
    match,
    read,
    rotary_speeds,
    score,
    slow_slots,
    summary,
)

FLAGS = (
    "constant",
    "content",
    "word",
    "opens",
    "closes",
    "grade",
    "score",
    "read",
    "mode",
    "modal",
    "tag",
    "answering",
    "phase",
    "said",
    "thinking",
    "begins",
    "first",
)
NEAREST, REACH = 190.0, 48
"""Attention logits at distance 0 of what looks for the nearest token, and the distance up to which the
nearer always wins over whatever is farther.
"""
MATCH_GAIN, SCORE_GAIN = 0.5, 0.125
"""Small: what is written to `score` enters the norm too, and a token with a large score would have less of
everything else.
"""
MATCH_WIDTH = 28
"""At a distance of 600 tokens, 48 dimensions lose a fifth of a word's likeness to itself to the rotary
phases, and 28 next to nothing.
"""
READ = (8.0, 6.0, 20.0)
"""Enough to read a candidate's own tokens, and not so much that a word counts less for having a longer
meaning (a higher idf).
"""
UNREAD = -30.0
MODAL, SAID = 10.0, 8.9
NAMED_KEYS, NAMED_GAIN = {"phase": 1.9, "opens": 6.8, "tag": -3.8, "first": 0.965}, 10.0
"""A label in the answer has both of the first two flags, a label in the prompt one, `<answer>` the first
and the third; <bos> is about as strong as the former.
"""
NEXT, NEXT_GATE, NEXT_SINK = 0.14, 22.0, 1.93
"""The last is times <bos>'s flag of about 14: between what the gate lets through and what is the next
label as well.
"""
EXTREME, SINK, GATE, PASS, UNNAMED = 0.9, 1.49, 16.0, 20.0, 2.0
BIGRAM, GRADED, SHARP = 0.3, 2.0, 2.5
"""The last: logits as differences that sampling at temperature 1 respects.

A completion is twenty tokens long, and each could go wrong.
"""


@torch.no_grad()
def apply(model: LlamaForCausalLM, words: Vocabulary, codes: int, seed: int) -> None:
    """Arrange the weights of an initialised model in place (at least 4 layers, 3 heads)."""
    config = model.config
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(NOISE)
    k = words.meaning.shape[1]
    place = blocks(config.hidden_size, k, codes, FLAGS)
    code = label_codes(len(words.labels) + 1, codes, generator).roll(
        -1, 0
    )  # the query's, last, is orthogonal to every label's
    _quiet(model, place)
    _embed(model, words, place, code, generator)
    nearest(model, place, (0, 0), "opens", [(place.label, place.field)])
    nearest(
        model,
        place,
        (0, 1),
        "tag",
        [(place.only("answering"), place.only("phase")), (place.only("tag"), place.only("said"))],
    )
    _mode(model, place)
    _before(model, place)
    summary(model, place, code[-1])
    match(model, place, code[-1], MATCH_GAIN, slowest(model)[: MATCH_WIDTH + 1])
    score(model, place, k, SCORE_GAIN)
    _read(model, place)
    _named(model, place)
    _next(model, place, code[-1])
    _extreme(model, place, code[-1])
    _head(model, words, place, code)


def meaning_columns(hidden: int, k: int, codes: int) -> list[int]:
    """Columns of the embeddings that say what a word or an item means, and what it counts by itself."""
    place = blocks(hidden, k, codes, FLAGS)
    return [*range(place.meaning.start, place.meaning.stop), place.flag["score"]]


def _embed(
    model: LlamaForCausalLM, words: Vocabulary, place: Blocks, code: torch.Tensor, generator: torch.Generator
) -> None:
    embed(model, words, place, code)
    weight, s, flag = model.model.embed_tokens.weight, model.config.initializer_range, place.flag
    weight[list(words.thinks), flag["modal"]] = 2 * s
    # Equal in length, or the longest would be the nearest to look for.
    weight[list(words.tags), flag["answering"]] = torch.tensor([-2.0, -2.0, 2.0, -2.0]) * s
    weight[list(words.tags), flag["begins"]] = torch.tensor([2.0, -2.0, -2.0, -2.0]) * s
    weight[words.first, flag["first"]] = (
        300 * s
    )  # attention rests on <bos>: behind the norm nothing may be left of it that training could push
    weight[list(words.thinks), flag["thinking"]] = torch.tensor([-2.0, 2.0]) * s
    others = [*words.frame, *words.grades, *words.tags, words.first, words.closer]
    weight[others, : place.frame.start] = 0  # structure means nothing, and names nobody
    codes = torch.randn(len(others), place.frame.stop - place.frame.start, generator=generator)
    weight[others, place.frame] = codes / codes.pow(2).mean(1, keepdim=True).sqrt() * 2 * s


def _quiet(model: LlamaForCausalLM, place: Blocks) -> None:
    """Nothing but its own head or MLP writes to a block at first; noise there would prefer some labels to
    others.
    """
    for layer in model.model.layers:
        for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
            weight[: place.frame.start] = 0
            weight[list(place.flag.values())] = 0


def nearest(
    model: LlamaForCausalLM,
    place: Blocks,
    at: tuple[int, int],
    flag: str,
    copied: Sequence[tuple[slice, slice]],
) -> None:
    """A layer's head attends to the nearest token with `flag`, by rotary phases that agree at distance 0
    and drift apart; copies blocks of it.
    """
    attention, base, half = clear(model, *at)
    for pair, strength in enumerate(falling(rotary_speeds(model), model.config.max_position_embeddings)):
        size = math.sqrt(max(strength, 0.0) * NEAREST * math.sqrt(2 * half))
        attention.q_proj.weight[base + pair, place.flag["constant"]] = attention.k_proj.weight[
            base + pair, place.flag[flag]
        ] = size
    for source, target in copied:
        copy(model, attention, base, source, target, gain=2.0)
        base += source.stop - source.start


def slowest(model: LlamaForCausalLM) -> list[int]:
    """Slow slots of a head, the slowest first: what takes only some of them, or the first, reaches
    farther.
    """
    half = model.config.head_dim // 2
    return sorted(slow_slots(model, half), key=lambda slot: (-(slot % half), slot))


def falling(speeds: np.ndarray, context: int, reach: int = REACH) -> np.ndarray:
    """Weights of the rotary pairs, shape (pairs,), sum 1, with which Σ weight · cos(speed · distance) falls
    all the way to `reach` and stays below.

    Equal weights ring: a token at distance 8 or 10 then has less than some that are farther. The least fall,
    as a share of the logarithm of the distances' ratio, is made as large as can be (a linear program). Beyond
    `reach`, up to `context`, it need not fall but may not come back: left free it did, and in prompts of a
    hundred tokens the last candidate took itself for part of the query.
    """
    waves = np.cos(np.arange(max(context, reach) + 1)[:, None] * speeds)
    near, far = np.triu_indices(reach + 1, 1)
    beyond = np.arange(reach + 1, context + 1)
    near, far = (
        np.r_[near, np.full(len(beyond), reach)],
        np.r_[far, beyond],
    )  # what is below the last of a falling row is below all of it
    fall = np.log((np.minimum(far, reach + 1) + 1) / (near + 1))
    n = len(speeds)
    found = linprog(
        np.r_[np.zeros(n), -1.0],
        A_ub=np.c_[waves[far] - waves[near], fall],
        b_ub=np.zeros(len(near)),
        A_eq=[np.r_[np.ones(n), 0.0]],
        b_eq=[1.0],
        bounds=[(0, None)] * (n + 1),
        method="highs",
    )
    return found.x[:n]


def _mode(model: LlamaForCausalLM, place: Blocks) -> None:
    """What is asked for (exclude or rank, with or without reasoning), told to every token behind the two
    that say so.
    """
    attention, base, half = clear(model, 0, 2)
    _attend(attention, base + half - 1, "constant", "modal", MODAL, place)
    for flag in ("mode", "thinking"):
        copy(model, attention, base, place.only(flag), place.only(flag), gain=4.0)
        base += 1


def _before(model: LlamaForCausalLM, place: Blocks) -> None:
    """Which candidate (or the query) stands before, from the `;` that ended it.

    In the completion, where the block is for what is named, nothing.
    """
    nearest(model, place, (1, 2), "closes", [(place.field, place.named)])
    attention, base, half = (
        model.model.layers[1].self_attn,
        2 * model.config.head_dim,
        model.config.head_dim // 2,
    )
    _attend(attention, base + half - 1, "said", "first", SAID, place)


def _read(model: LlamaForCausalLM, place: Blocks) -> None:
    """A candidate's own content: no label, as one in the reasoning has its own code at distance 0, and no
    tag, as `<think>` has the last candidate's.
    """
    slow = slowest(model)
    read(model, place, READ, slow)
    free = min(place.label.stop - place.label.start, len(slow) - 1) + 1
    for slot, flag in zip(slow[free:], ("opens", "tag"), strict=False):
        _attend(model.model.layers[2].self_attn, slot, "constant", flag, UNREAD, place)


def _named(model: LlamaForCausalLM, place: Blocks) -> None:
    """The sum of the codes named so far: <bos> shares the attention, so that what each label gets falls
    less as more are named.
    """
    attention, base, half = clear(model, 2, 1)
    for flag, strength in NAMED_KEYS.items():
        _attend(attention, base + half - 1, "constant", flag, strength, place)
    copy(model, attention, base, place.label, place.named, gain=NAMED_GAIN)


def _next(model: LlamaForCausalLM, place: Blocks, query_code: torch.Tensor) -> None:
    """Behind a grade the label of the candidate that follows the graded one; behind `<think>` that of the
    one that follows the query.
    """
    attention, base, half = clear(model, 2, 2)
    query, key = attention.q_proj.weight, attention.k_proj.weight
    sink, gate = base + half - 1, base + half - 2
    _attend(attention, sink, "constant", "first", NEXT_SINK, place)
    for flag in ("grade", "begins"):
        _attend(attention, gate, flag, "opens", NEXT_GATE, place)
    size = math.sqrt(NEXT * math.sqrt(2 * half))
    slow = [base + slot for slot in slowest(model) if base + slot not in (sink, gate)]
    for j, slot in zip(range(place.field.stop - place.field.start), slow, strict=False):
        query[slot, place.field.start + j] = key[slot, place.named.start + j] = size
        query[slot, place.flag["begins"]] = 2.5 * size * query_code[j]
    copy(model, attention, base, place.label, place.label, gain=12.0)


def _extreme(model: LlamaForCausalLM, place: Blocks, query_code: torch.Tensor) -> None:
    """Before the answer attention rests on <bos>, where nothing is to be copied; in it, on a candidate
    that is not named yet.
    """
    attention, base, half = clear(model, 3, 0)
    by_score, sink, gate, query = (base + half - 1 - i for i in range(4))
    _attend(attention, by_score, "mode", "read", EXTREME, place)
    _attend(attention, sink, "constant", "first", SINK, place)
    _attend(attention, gate, "phase", "closes", GATE, place)
    size = math.sqrt(PASS * math.sqrt(2 * half))
    attention.q_proj.weight[query, place.flag["constant"]] = size
    attention.k_proj.weight[query, place.field] = -query_code / len(query_code) * size
    slow = [base + slot for slot in slowest(model) if base + slot not in (by_score, sink, gate, query)]
    size = math.sqrt(UNNAMED * math.sqrt(2 * half))
    for j, slot in zip(range(place.field.stop - place.field.start), slow, strict=False):
        attention.q_proj.weight[slot, place.named.start + j] = -size
        attention.k_proj.weight[slot, place.field.start + j] = size
    copy(model, attention, base, place.field, place.label, gain=4.0)


def _attend(
    attention: torch.nn.Module, slot: int, prompts: str, answers: str, strength: float, place: Blocks
) -> None:
    """Attention logits of `strength` × flag `prompts` of the query × flag `answers` of the key, in one rotary
    slot.
    """
    size = attention.head_dim**0.25
    attention.q_proj.weight[slot, place.flag[prompts]] = size
    attention.k_proj.weight[slot, place.flag[answers]] = strength * size


def _head(model: LlamaForCausalLM, words: Vocabulary, place: Blocks, code: torch.Tensor) -> None:
    """Unembedding: labels by their code, grades by the score, and every structural token before any word."""
    weight, s = model.lm_head.weight, model.config.initializer_range
    weight[list(words.labels), place.label] = code[: len(words.labels)] * 2 * s
    weight[:, place.named] = 0  # layer 3 has seen to it already
    structural = [*words.labels, *words.grades, *words.tags, *words.frame]
    weight[:, place.flag["constant"]] -= 0.6
    weight[structural, place.flag["constant"]] += 1.2
    weight[:, place.flag["read"]] = 0
    value = torch.linspace(
        -1, 1, len(words.grades)
    )  # −(value − score)², but for what is the same for every grade; scores read are about 0 to 4
    weight[list(words.grades), place.flag["read"]] = GRADED * value
    weight[list(words.grades), place.flag["constant"]] -= GRADED * (2 * value + value**2)
    _grammar(model, words, place)
    weight.mul_(SHARP)


def _grammar(model: LlamaForCausalLM, words: Vocabulary, place: Blocks) -> None:
    """What follows what in a completion. Labels win by being picked; the rest here."""
    weight, flag = model.lm_head.weight, place.flag
    think, done, answer, end = words.tags
    follows: list[tuple[Sequence[int], dict[str, float]]] = [
        ([think], {"closes": 6.0, "thinking": 0.9}),
        ([answer], {"closes": 6.0, "thinking": -0.9}),
        (
            words.grades,
            {"opens": 6.0, "phase": -1.3, "closes": -8.0},
        ),  # a prompt ends with its last candidate's `;`, which reads that one's score
        ([done], {"grade": 7.0}),
        ([end], {"opens": 6.5, "phase": 0.8, "mode": -1.4, "tag": -6.0}),
    ]
    for tokens, flags in follows:
        for name, strength in flags.items():
            weight[list(tokens), flag[name]] = strength
    embedded = model.model.embed_tokens.weight / model.config.initializer_range
    for token, following in ((done, answer), (end, words.last)):
        weight[following, place.frame] = embedded[token, place.frame] * BIGRAM
