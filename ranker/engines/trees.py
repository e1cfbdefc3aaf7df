"""Log-probabilities of continuations, many contexts in one forward pass: the arithmetic that scoring and
training share.

A tree is a context and the continuations that may follow it. All of its tokens lie in one row: the context
once, then each continuation, which sees the context and itself, at positions that go on from the context.
220 tokens instead of 1,000 for eight film titles behind one history. A tree of one continuation is an
ordinary sequence. Trees of like length share a batch, and logits are computed only where a continuation
stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import PreTrainedTokenizerBase

from ranker.policy.likelihood import Branches


@dataclass(frozen=True, slots=True)
class Tree:
    """Token ids of a context and of its continuations."""

    context: list[int]
    continuations: list[list[int]]

    def __len__(self) -> int:
        return len(self.context) + sum(map(len, self.continuations))


CPU_TOKENS, GPU_TOKENS = 1_024, 32_768


def forward_tokens(device: torch.device) -> int:
    """Tokens of one forward pass, padding included. On two CPU cores passages take a quarter longer with
    4,096, where what a layer computes no longer fits the cache; a GPU wants to be filled.
    """
    return CPU_TOKENS if device.type == "cpu" else GPU_TOKENS


def token(tokenizer: PreTrainedTokenizerBase, name: str) -> int:
    """The id of a special token (`pad_token_id`, `eos_token_id`); 0 where the tokenizer has none."""
    return int(cast("int | None", getattr(tokenizer, name)) or 0)


def count(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """Tokens of a text, no special ones added."""
    return len(_encode(tokenizer, [text])[0])


def tree(branches: Branches, tokenizer: PreTrainedTokenizerBase) -> Tree:
    """Branches as token ids, context and continuation tokenized as one text.

    Where a tokenizer joins the end of the context with the beginning of a continuation, the context ends
    before that token, for all continuations alike. A tokenizer's <bos> stands first, or, where a context has
    no token at all, its <eos>: the first token of a continuation needs one before it.
    """
    wholes = _encode(tokenizer, [branches.context + after for after in branches.continuations])
    (context,) = _encode(tokenizer, [branches.context])
    shared = min((_common(context, whole) for whole in wholes), default=len(context))
    start = [token(tokenizer, "bos_token_id")] if _begins(tokenizer) else []
    head = [*start, *context[:shared]] or [token(tokenizer, "eos_token_id")]
    return Tree(head, [whole[shared:] for whole in wholes])


def apart(one: Tree) -> list[Tree]:
    """Each continuation with the context to itself, as an ordinary sequence."""
    return [Tree(one.context, [after]) for after in one.continuations]


def batches(sizes: Sequence[int], tokens: int) -> list[list[int]]:
    """Places of trees of like length, the longest first; a batch of one, or of at most `tokens` tokens with
    its padding.
    """
    order = sorted(range(len(sizes)), key=lambda place: -sizes[place])
    found: list[list[int]] = []
    for place in order:
        if found and (len(found[-1]) + 1) * sizes[found[-1][0]] <= tokens:
            found[-1].append(place)
        else:
            found.append([place])
    return found


@dataclass(frozen=True, slots=True)
class Batch:
    """Trees as tensors on the CPU: what a causal LM is given, and where their continuations are read."""

    ids: torch.Tensor
    """(trees, length) token ids."""
    positions: torch.Tensor
    """(trees, length) places in the text."""
    seen: torch.Tensor
    """(trees, 1, length, length) bool: who sees whom; (trees, length) where no tree branches."""
    rows: torch.Tensor
    """(scored tokens, 2): tree, and the place whose logits predict the token."""
    targets: torch.Tensor
    """(scored tokens,) the tokens."""
    owners: torch.Tensor
    """(scored tokens,) continuation, numbered through the batch."""
    counts: tuple[tuple[int, ...], ...]
    """Tokens of each continuation, by tree."""


def collate(trees: Sequence[Tree], pad: int) -> Batch:
    """Trees padded on the right to the longest."""
    length = max(map(len, trees))
    ids = torch.full((len(trees), length), pad)
    positions = torch.zeros_like(ids)
    branch = torch.full_like(ids, -1)  # 0 the context, k the k-th continuation, -1 padding
    rows, targets, owners, owner = [], [], [], 0
    for row, one in enumerate(trees):
        start = len(one.context)
        ids[row, :start] = torch.tensor(one.context)
        positions[row, :start] = torch.arange(start)
        branch[row, :start] = 0
        for number, after in enumerate(one.continuations, 1):
            end = start + len(after)
            ids[row, start:end] = torch.tensor(after, dtype=torch.long)
            positions[row, start:end] = torch.arange(len(one.context), len(one.context) + len(after))
            branch[row, start:end] = number
            rows += [
                (row, len(one.context) - 1 if place == start else place - 1) for place in range(start, end)
            ]
            targets += after
            owners += [owner] * len(after)
            start, owner = end, owner + 1
    return Batch(
        ids,
        positions,
        _seen(branch, any(len(one.continuations) > 1 for one in trees)),
        torch.tensor(rows, dtype=torch.long).reshape(-1, 2),
        torch.tensor(targets, dtype=torch.long),
        torch.tensor(owners, dtype=torch.long),
        tuple(tuple(map(len, one.continuations)) for one in trees),
    )


def after_contexts(trees: Sequence[Tree], pad: int) -> Batch:
    """What is left to read of trees of one continuation each where keys and values of all but the last token
    of their contexts are known, padded on the left: `seen` is (trees, longest context − 1 + length).
    """
    tails = [[one.context[-1], *one.continuations[0][:-1]] for one in trees]
    length, past = max(map(len, tails)), max(len(one.context) for one in trees) - 1
    ids = torch.full((len(trees), length), pad)
    seen = torch.zeros((len(trees), past + length), dtype=torch.bool)
    for row, (one, tail) in enumerate(zip(trees, tails, strict=True)):
        ids[row, : len(tail)] = torch.tensor(tail)
        seen[row, past - len(one.context) + 1 : past + len(tail)] = True
    counts = [len(one.continuations[0]) for one in trees]
    return Batch(
        ids,
        torch.tensor([len(one.context) - 1 for one in trees])[:, None] + torch.arange(length),
        seen,
        torch.tensor([(row, place) for row, n in enumerate(counts) for place in range(n)]).reshape(-1, 2),
        torch.tensor([token for one in trees for token in one.continuations[0]], dtype=torch.long),
        torch.tensor([row for row, n in enumerate(counts) for _ in range(n)], dtype=torch.long),
        tuple((n,) for n in counts),
    )


def _seen(branch: torch.Tensor, branches: bool) -> torch.Tensor:
    if not branches:
        return branch >= 0
    length = branch.shape[1]
    own = branch[:, :, None] == branch[:, None, :]
    context = branch[:, None, :] == 0
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    # padding sees itself, or its softmax would have nothing to divide by
    return ((earlier & (own | context)) | torch.eye(length, dtype=torch.bool))[:, None]


def forward(batch: Batch, device: torch.device) -> dict[str, Any]:
    """The arguments of a decoder's forward pass. A mask of four dimensions is taken as it is."""
    return {
        "input_ids": batch.ids.to(device),
        "position_ids": batch.positions.to(device),
        "attention_mask": batch.seen.to(device),
        "use_cache": False,
    }


def logprobs(states: torch.Tensor, head: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """log p(continuation | context), summed over tokens, in float32: (continuations,).

    Args:
        states: the decoder's last hidden states (trees, length, width).
        head: output embeddings, applied only where a continuation is predicted.
    """
    rows = batch.rows.to(states.device)
    logits = head(states[rows[:, 0], rows[:, 1]]).float()  # bfloat16 loses what tells candidates apart
    each = logits.gather(1, batch.targets.to(states.device)[:, None]).squeeze(1) - logits.logsumexp(1)
    total = torch.zeros(sum(map(len, batch.counts)), device=states.device)
    return total.index_add(0, batch.owners.to(states.device), each)


def read(
    grown: Sequence[Tree], tokens: int, logprobs: Callable[[list[Tree]], torch.Tensor]
) -> list[torch.Tensor]:
    """Of each tree the log-probabilities of its continuations (k,), in the order given.

    Args:
        tokens: of one batch, padding included.
        logprobs: runs the model on a batch: (continuations,) of all its trees.
    """
    found: dict[int, torch.Tensor] = {}
    for chunk in batches([len(one) for one in grown], tokens):
        part = [grown[place] for place in chunk]
        values = logprobs(part).split([len(one.continuations) for one in part])
        found.update(zip(chunk, values, strict=True))
    return [found[place] for place in range(len(grown))]


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Texts are others' words: what spells a special token is read as the letters that it has."""
    return tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def _begins(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer itself puts its <bos> first."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the beginning that both share."""
    for place, (left, right) in enumerate(zip(one, other)):  # noqa: B905 - the shorter decides
        if left != right:
            return place
    return min(len(one), len(other))
