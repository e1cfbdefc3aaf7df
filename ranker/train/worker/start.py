"""A structured start for a from-scratch policy: plain LlamaForCausalLM weights, arranged so that reading a
pool is possible from step 0.

With independent random weights a model of this size learned nothing on real pools within minutes: the loss
falls only once three things work together (which tokens belong to which candidate, what the query says, how
a candidate compares with it), and no single one pays. Mimetic initialisation (Trockman & Kolter 2023) starts
attention as a similarity; this goes one step further in the same spirit and gives each of the three to one
head, plus embeddings from the data. Nothing is frozen: SFT and RL move every weight, and the table's
`untrained` row shows what the start alone is worth.

The residual stream is split into blocks (multiples of the initializer's std `s`):

    meaning   what a content token means: items by spectral embedding of co-occurrence, words near-orthogonal,
              times their idf
    label     the code of a label token; the words `query` and `history` share one more code
    summary   ← layer 1 head 0: the mean `meaning` of the query's tokens
    field     ← layer 0 head 0: the code of the nearest label before (which candidate, or the query, this
              token is of)
    named     ← layer 2 head 1: the mean code of the labels already named in the answer
    flags     scalars: constant, content token, opens or closes a field, grade token and value, score, …
    frame     random codes of the remaining structural tokens

    layer 1 head 1 lets a word find itself in the query (W_q = W_k on `meaning`) and marks the hit in `score`;
    layer 1's MLP adds meaning · summary to `score` (items are never equal, only alike); layer 2 head 0 lets a
    label in the trace (and the `;` that closes a candidate) read the mean score of that candidate's tokens;
    layer 3 head 0 lets the answer find the candidate with the lowest score (exclude) or the highest (rank),
    where layer 1 head 2 says which is asked for and layer 0 head 1 whether the answer has begun.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from transformers import LlamaForCausalLM

FLAGS = (
    "constant",
    "content",
    "word",
    "opens",
    "closes",
    "grade",
    "value",
    "score",
    "read",
    "mode",
    "modal",
    "tag",
    "answering",
    "phase",
    "first",
)
NOISE = 0.2
"""Share of the ordinary random initialisation that stays under the structure: too much of it, like a
learning rate of 2e-3, destroys what is arranged.
"""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the start must know of the tokens: ids by role, and what content tokens mean."""

    labels: tuple[int, ...]
    openers: tuple[int, ...]
    """`query` and `history`: they open the query's field as a label opens a candidate's."""
    grades: tuple[int, ...]
    modes: tuple[int, int]
    """`exclude:` and `rank:`."""
    thinks: tuple[int, int]
    """`-think` and `+think`."""
    tags: tuple[int, int, int, int]
    """<think>, </think>, <answer>, </answer>."""
    closer: int
    """`;`"""
    first: int
    """<bos>"""
    last: int
    """<eos>"""
    frame: tuple[int, ...]
    """All other structural tokens."""
    content: np.ndarray
    """Ids of items and words, shape (c,)."""
    words: np.ndarray
    """Those of `content` that are words (a word equals itself; items are only alike), shape (w,)."""
    meaning: np.ndarray
    """The vectors of `content`, shape (c, k); rows may differ in length."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Where each block lies in the residual stream."""

    meaning: slice
    label: slice
    summary: slice
    field: slice
    named: slice
    frame: slice
    flag: Mapping[str, int]

    def only(self, flag: str) -> slice:
        """One flag as a block of width 1."""
        return slice(self.flag[flag], self.flag[flag] + 1)


def blocks(hidden: int, k: int, codes: int, flags: Sequence[str] = FLAGS) -> Blocks:
    """Lay the blocks out, the flags last. Raises ValueError where `hidden` is too small for them."""
    ends = np.cumsum([0, k, codes, k, codes, codes]).tolist()
    first_flag = hidden - len(flags)
    if ends[-1] + 8 > first_flag:
        raise ValueError(
            f"hidden must be at least {ends[-1] + 8 + len(flags)} for meaning {k} and codes {codes}; seen"
            f" {hidden}"
        )
    parts = [slice(a, b) for a, b in pairwise(ends)]
    return Blocks(*parts, slice(ends[-1], first_flag), {name: first_flag + i for i, name in enumerate(flags)})


@torch.no_grad()
def apply(model: LlamaForCausalLM, words: Vocabulary, codes: int, seed: int) -> None:
    """Arrange the weights of an initialised model in place (at least 4 layers, 3 heads)."""
    config = model.config
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(NOISE)
    k = words.meaning.shape[1]
    place = blocks(config.hidden_size, k, codes)
    code = label_codes(len(words.labels) + 1, codes, generator)
    _embed(model, words, place, code, generator)
    nearest(model, place, 0, "opens", place.label, place.field)
    nearest(model, place, 1, "tag", place.only("answering"), place.only("phase"))
    _mode(model, place)
    summary(model, place, code[-1])
    match(model, place, code[-1])
    score(model, place, k)
    read(model, place)
    _named(model, place)
    _extreme(model, place)
    _head(model, words, place, code)


def label_codes(n: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """`n` sign-like codes of `width`, shape (n, width), each of norm √width; the first `width` of them
    orthogonal.
    """
    square = torch.linalg.qr(torch.randn(width, width, generator=generator))[0] * math.sqrt(width)
    return torch.cat([square, torch.sign(torch.randn(max(n - width, 0), width, generator=generator))])[
        torch.arange(n)
    ]


def embed(model: LlamaForCausalLM, words: Vocabulary, place: Blocks, code: torch.Tensor) -> None:
    """What every start tells of a token by its embedding: its meaning, whose label it is, what it opens or
    closes, what it asks for.
    """
    weight, s, flag = model.model.embed_tokens.weight, model.config.initializer_range, place.flag
    weight.mul_(0.2)
    weight[:, list(flag.values())] = 0
    weight[:, flag["constant"]] = 2 * s
    vectors = torch.tensor(words.meaning, dtype=weight.dtype)
    weight[words.content, place.meaning] = vectors / vectors.pow(2).mean().sqrt() * 1.5 * s
    weight[words.content, flag["content"]] = 2 * s
    weight[words.words, flag["word"]] = 2 * s
    weight[list(words.labels), place.label] = code[: len(words.labels)] * 2 * s
    weight[list(words.openers), place.label] = code[-1] * 2 * s
    weight[[*words.labels, *words.openers], flag["opens"]] = 2 * s
    weight[list(words.grades), flag["grade"]] = 2 * s
    for name, tokens in (("closes", [words.closer]), ("tag", words.tags), ("modal", words.modes)):
        weight[list(tokens), flag[name]] = 2 * s
    weight[list(words.modes), flag["mode"]] = torch.tensor([-2.0, 2.0]) * s


def _embed(
    model: LlamaForCausalLM, words: Vocabulary, place: Blocks, code: torch.Tensor, generator: torch.Generator
) -> None:
    embed(model, words, place, code)
    weight, s, flag = model.model.embed_tokens.weight, model.config.initializer_range, place.flag
    values = torch.linspace(-1, 1, len(words.grades))
    weight[list(words.grades), flag["value"]] = values * 2 * s
    weight[words.tags[2], flag["answering"]] = 2 * s
    weight[words.first, flag["first"]] = 2 * s
    others = [*words.frame, *words.grades, *words.tags]
    weight[others, place.frame] = (
        torch.randn(len(others), place.frame.stop - place.frame.start, generator=generator) * 2 * s
    )


def nearest(
    model: LlamaForCausalLM, place: Blocks, head: int, flag: str, source: slice, target: slice
) -> None:
    """Layer 0: attend to the nearest token with `flag`, by rotary phases that agree at distance 0 and
    drift apart; copy `source` of it.
    """
    attention, base, half = clear(model, 0, head)
    speed = rotary_speeds(model)
    pairs = [i for i in range(half) if 0.004 <= speed[i] <= 1.0]
    amplitude = math.sqrt(NEAREST * math.sqrt(2 * half) / len(pairs))
    for i in pairs:
        attention.q_proj.weight[base + i, place.flag["constant"]] = amplitude
        attention.k_proj.weight[base + i, place.flag[flag]] = amplitude
    copy(model, attention, base, source, target, gain=2.0)


def _mode(model: LlamaForCausalLM, place: Blocks) -> None:
    attention, base, half = clear(model, 1, 2)
    attention.q_proj.weight[base + half - 1, place.flag["constant"]] = 8.0
    attention.k_proj.weight[base + half - 1, place.flag["modal"]] = 8.0
    copy(model, attention, base, place.only("mode"), place.only("mode"), gain=2.0)


def summary(model: LlamaForCausalLM, place: Blocks, query_code: torch.Tensor) -> None:
    """The mean meaning of the query's content."""
    attention, base, half = clear(model, 1, 0)
    slot = base + half - 1  # the slowest rotary pair: position does not matter
    attention.q_proj.weight[slot, place.flag["constant"]] = 8.0
    attention.k_proj.weight[slot, place.field] = query_code / len(query_code) * 4
    attention.k_proj.weight[slot, place.flag["content"]] = 2.0
    copy(model, attention, base, place.meaning, place.summary, gain=3.0)


NEAREST = 40.0
MATCH, MATCH_QUERY, MATCH_GAIN = 120.0, 8.0, 4.0
READ = (20.0, 30.0, 4.0)
"""Attention logits for a token of the same candidate and for a content token, and the gain of what is
read.
"""


def match(
    model: LlamaForCausalLM,
    place: Blocks,
    query_code: torch.Tensor,
    gain: float = MATCH_GAIN,
    slots: Sequence[int] = (),
) -> None:
    """A word attends to itself unless the query has it too; what is read is whether the attended token is the
    query's.

    Args:
        slots: of the head, a dimension of meaning in each but the last; none takes all slow ones.
    """
    attention, base, half = clear(model, 1, 1)
    slow = slots or slow_slots(model, half)
    width = min(place.meaning.stop - place.meaning.start, len(slow) - 1)
    amplitude = math.sqrt(MATCH * math.sqrt(2 * half) / (width * 1.5))
    for j in range(width):
        attention.q_proj.weight[base + slow[j], place.meaning.start + j] = amplitude
        attention.k_proj.weight[base + slow[j], place.meaning.start + j] = amplitude
    size = math.sqrt(MATCH_QUERY * math.sqrt(2 * half) / 4)
    attention.q_proj.weight[base + slow[width], place.flag["word"]] = size
    attention.k_proj.weight[base + slow[width], place.field] = query_code / len(query_code) * size
    attention.v_proj.weight[base, place.field] = query_code / len(query_code)
    attention.o_proj.weight[place.flag["score"], base] = gain * model.config.initializer_range


def score(model: LlamaForCausalLM, place: Blocks, k: int, gain: float = 1.0) -> None:
    """Layer 1's MLP: Σ meaning_j · summary_j, exactly, since silu(z) − silu(−z) = z."""
    mlp, s = model.model.layers[1].mlp, model.config.initializer_range
    for j in range(k):
        for sign, row in ((1.0, 2 * j), (-1.0, 2 * j + 1)):
            mlp.gate_proj.weight[row] = 0
            mlp.up_proj.weight[row] = 0
            mlp.down_proj.weight[:, row] = 0
            mlp.gate_proj.weight[row, place.meaning.start + j] = sign
            mlp.up_proj.weight[row, place.summary.start + j] = sign
            mlp.down_proj.weight[place.flag["score"], row] = gain * s
    mlp.down_proj.weight[place.flag["score"], 2 * k :] = 0


def read(
    model: LlamaForCausalLM,
    place: Blocks,
    strengths: tuple[float, float, float] = READ,
    slots: Sequence[int] = (),
) -> None:
    """A label, a grade and the `;` that closes a candidate read the mean score of that candidate's
    content; `slots` as in `match`, for codes.
    """
    same, content, gain = strengths
    attention, base, half = clear(model, 2, 0)
    slow = slots or slow_slots(model, half)
    width = min(place.label.stop - place.label.start, len(slow) - 1)
    amplitude = math.sqrt(same * math.sqrt(2 * half) / (width * 2.0))
    for j in range(width):
        attention.q_proj.weight[base + slow[j], place.label.start + j] = amplitude
        attention.q_proj.weight[base + slow[j], place.field.start + j] = amplitude
        attention.k_proj.weight[base + slow[j], place.field.start + j] = amplitude
    size = math.sqrt(content * math.sqrt(2 * half) / 4)
    attention.q_proj.weight[base + slow[width], place.flag["constant"]] = size
    attention.k_proj.weight[base + slow[width], place.flag["content"]] = size
    attention.v_proj.weight[base, place.flag["score"]] = 1.0
    attention.o_proj.weight[place.flag["read"], base] = gain * model.config.initializer_range


def _named(model: LlamaForCausalLM, place: Blocks) -> None:
    attention, base, half = clear(model, 2, 1)
    slot = base + half - 1
    attention.q_proj.weight[slot, place.flag["constant"]] = 6.0
    attention.k_proj.weight[slot, place.flag["phase"]] = 6.0
    attention.k_proj.weight[slot, place.flag["opens"]] = 6.0
    copy(model, attention, base, place.label, place.named, gain=2.0)


EXTREME, SINK, GATE = 3.0, 6.0, 12.0


def _extreme(model: LlamaForCausalLM, place: Blocks) -> None:
    """Before the answer attention rests on <bos>, where nothing is to be copied."""
    attention, base, half = clear(model, 3, 0)
    query, key = attention.q_proj.weight, attention.k_proj.weight
    by_score, sink, gate = (base + half - 1 - i for i in range(3))
    query[by_score, place.flag["mode"]] = EXTREME
    key[by_score, place.flag["read"]] = EXTREME
    query[sink, place.flag["constant"]] = SINK
    key[sink, place.flag["first"]] = SINK
    query[gate, place.flag["phase"]] = GATE
    for flag in ("closes", "grade"):
        key[gate, place.flag[flag]] = GATE
    copy(model, attention, base, place.field, place.label, gain=4.0)


def _head(model: LlamaForCausalLM, words: Vocabulary, place: Blocks, code: torch.Tensor) -> None:
    """Unembedding: labels by their code, grades by the score, and every structural token before any word."""
    weight, s = model.lm_head.weight, model.config.initializer_range
    weight[list(words.labels), place.label] = code[: len(words.labels)] * 2 * s
    weight[list(words.labels), place.named] = -code[: len(words.labels)] * 4 * s
    structural = [*words.labels, *words.grades, *words.tags, *words.frame]
    weight[:, place.flag["constant"]] -= 0.6
    weight[structural, place.flag["constant"]] += 1.2
    values = torch.linspace(-1, 1, len(words.grades))
    weight[:, place.flag["read"]] = 0
    weight[list(words.grades), place.flag["read"]] = values


def clear(model: LlamaForCausalLM, layer: int, head: int) -> tuple[torch.nn.Module, int, int]:
    """Empty one head; returns its attention module, its first row and half its width."""
    attention = model.model.layers[layer].self_attn
    width = attention.head_dim
    rows = slice(head * width, (head + 1) * width)
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.weight[rows] = 0
    attention.o_proj.weight[:, rows] = 0
    return attention, head * width, width // 2


def copy(
    model: LlamaForCausalLM, attention: torch.nn.Module, base: int, source: slice, target: slice, gain: float
) -> None:
    width = source.stop - source.start
    attention.v_proj.weight[base : base + width, source] = torch.eye(width)
    attention.o_proj.weight[target, base : base + width] = (
        torch.eye(width) * gain * model.config.initializer_range
    )


def rotary_speeds(model: LlamaForCausalLM) -> np.ndarray:
    """Radians per position of each rotary pair, fastest first, shape (head_dim / 2,)."""
    half = model.config.head_dim // 2
    return model.config.rope_parameters["rope_theta"] ** (-np.arange(half) / half)


def slow_slots(model: LlamaForCausalLM, half: int) -> list[int]:
    """Slots of a head whose rotary phase hardly depends on the position."""
    quiet = [i for i in range(half) if rotary_speeds(model)[i] < 0.004]
    return [*quiet, *(i + half for i in quiet)]
