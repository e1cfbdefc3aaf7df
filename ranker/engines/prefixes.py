"""Keys and values of prompts that were read, for those that begin alike: what a query's next prompt shares is
not read again.

Elimination shows the survivors in the same order, so that a prompt equals the one before it up to the
candidate that went. What is kept is bounded in bytes; the prompts used longest ago go first. Token ids are
compared, so that nothing is ever taken for what it is not. For models whose layers all attend to the whole
context (no sliding windows).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from ranker.errors import BadModel

Layers = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of one prompt, per layer, each (heads, tokens, width)."""
PADDING = 1.25
"""Prompts are read together where the longest has at most so many times the new tokens of the shortest,
and a few more.
"""
SLACK = 8


@dataclass(frozen=True, slots=True)
class Kept:
    """A prompt that was read, without its last token."""

    ids: list[int]
    layers: Layers

    @property
    def bytes(self) -> int:
        return sum(part.nbytes for layer in self.layers for part in layer)


class Prefixes:
    """Fills the cache of a batch of prompts, from what was kept and by reading the rest."""

    def __init__(self, model: PreTrainedModel, mebibytes: int) -> None:
        self._model, self._most = model, mebibytes * 2**20
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._bytes = 0

    @torch.inference_mode()
    def filled(self, ids: Sequence[list[int]], keys: Sequence[Hashable]) -> tuple[DynamicCache, list[int]]:
        """A cache of all but the last token of each prompt, left-padded, and how many tokens of each were not
        read again.

        Args:
            ids: token ids of the prompts.
            keys: whose prompt each is: the next prompt under the same key looks here for what it shares.

        Raises:
            BadModel: the model has no keys and values.
        """
        before = [one[:-1] for one in ids]
        shared = [self._shared(key, one) for key, one in zip(keys, before, strict=True)]
        done: dict[int, Layers] = {}
        for chunk in _alike([len(one) - count for one, (count, _) in zip(before, shared, strict=True)]):
            done.update(
                zip(chunk, self._read([before[i] for i in chunk], [shared[i] for i in chunk]), strict=True)
            )
        for i, (key, one) in enumerate(zip(keys, before, strict=True)):
            self._keep(key, Kept(one, done[i]))
        return _stacked([done[i] for i in range(len(ids))]), [count for count, _ in shared]

    def _shared(self, key: Hashable, ids: list[int]) -> tuple[int, Layers]:
        """How many tokens the last prompt under this key begins alike with, and their keys and values."""
        kept = self._kept.get(key)
        if kept is None:
            return 0, []
        self._kept.move_to_end(key)
        count = next(
            (i for i, (one, other) in enumerate(zip(ids, kept.ids, strict=False)) if one != other),
            min(len(ids), len(kept.ids)),
        )
        return count, [(k[:, :count], v[:, :count]) for k, v in kept.layers]

    def _read(self, ids: list[list[int]], shared: list[tuple[int, Layers]]) -> list[Layers]:
        """Keys and values of prompts of which the first `shared` tokens are known: one forward pass over
        the rest, padded left.
        """
        counts = [count for count, _ in shared]
        rest = [one[count:] for one, count in zip(ids, counts, strict=True)]
        new, past = max(map(len, rest)), max(counts)
        if not new:
            return [layers for _, layers in shared]
        device = self._model.device
        tokens = torch.tensor([[0] * (new - len(one)) + one for one in rest], device=device)
        mask = torch.tensor(
            [
                [0] * (past - count) + [1] * count + [0] * (new - len(one)) + [1] * len(one)
                for one, count in zip(rest, counts, strict=True)
            ],
            device=device,
        )
        cache = _stacked([layers for _, layers in shared], past) if past else DynamicCache()
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, past:]
        self._model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        if not cache.layers:
            raise BadModel(
                "scores of labels, and what is kept from call to call, need a model with keys and values",
                seen=f"{type(self._model).__name__}, which has recurrent layers alone",
                remedy="choose a strategy by written answers, or ask the model by likelihood",
            )
        return [
            self._joined(cache, row, len(one), layers)
            for row, (one, (_, layers)) in enumerate(zip(rest, shared, strict=True))
        ]

    @staticmethod
    def _joined(cache: DynamicCache, row: int, new: int, before: Layers) -> Layers:
        own: list[Any] = cache.layers  # transformers types them as attentions of any kind, keys or none
        fresh = [
            (
                layer.keys[row, :, -new:] if new else layer.keys[row, :, :0],
                layer.values[row, :, -new:] if new else layer.values[row, :, :0],
            )
            for layer in own
        ]
        if not before:
            return [(k.clone(), v.clone()) for k, v in fresh]
        return [
            (torch.cat([old_k, k], 1), torch.cat([old_v, v], 1))
            for (old_k, old_v), (k, v) in zip(before, fresh, strict=True)
        ]

    def _keep(self, key: Hashable, kept: Kept) -> None:
        former = self._kept.pop(key, None)
        self._bytes += kept.bytes - (former.bytes if former else 0)
        self._kept[key] = kept
        while self._bytes > self._most:
            self._bytes -= self._kept.popitem(last=False)[1].bytes


def whole_context(model: PreTrainedModel) -> bool:
    """Whether every layer attends to all tokens before, so that its keys and values may be cut and joined."""
    config = model.config.get_text_config(decoder=True)
    kinds = getattr(config, "layer_types", None) or []
    return all(kind == "full_attention" for kind in kinds) and not getattr(config, "sliding_window", None)


def _alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places, by rising length, in groups of like length."""
    group: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if group and lengths[place] > PADDING * lengths[group[0]] + SLACK:
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def _stacked(rows: Sequence[Layers], tokens: int = 0) -> DynamicCache:
    """A cache of several prompts, left-padded to the longest (or to `tokens`); a row without layers is all
    padding.
    """
    known = next(layers for layers in rows if layers)
    tokens = tokens or max((layers[0][0].shape[1] if layers else 0) for layers in rows)
    cache = DynamicCache()
    for place, pair in enumerate(known):
        parts: list[Any] = []
        for side in (0, 1):
            heads, _, width = pair[side].shape
            full = pair[side].new_zeros(len(rows), heads, tokens, width)
            for row, layers in enumerate(rows):
                if layers and (count := layers[place][side].shape[1]):
                    full[row, :, tokens - count :] = layers[place][side]
            parts.append(full)
        cache.update(parts[0], parts[1], place)
    return cache
