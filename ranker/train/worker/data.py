"""What the trainer feeds on: rows weighted by task, batched by length, tokenized."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from transformers import PreTrainedTokenizerBase

WINDOW = 40
"""Batches that are sorted together."""


def weighted(
    rows: pl.DataFrame, weights: dict[str, float], seed: int, needed: int | None = None
) -> pl.DataFrame:
    """Rows resampled so that each task's share follows its weight; tasks count alike where no weight is
    given, and 0 leaves one out.

    Args:
        needed: rows that training will look at; more are not prepared.
    """
    parts = [
        part for part in rows.partition_by("task", maintain_order=True) if weights.get(part["task"][0], 1.0)
    ]
    share = [weights.get(part["task"][0], 1.0) for part in parts]
    each = max(len(part) / weight for part, weight in zip(parts, share, strict=True))
    if needed is not None:
        each = min(each, needed / sum(share))
    drawn = []
    for part, weight in zip(parts, share, strict=True):
        n = max(1, round(each * weight))
        repeats = [part.sample(fraction=1.0, shuffle=True, seed=seed + i) for i in range(-(-n // len(part)))]
        drawn.append(pl.concat(repeats).head(n))
    return pl.concat(drawn).sample(fraction=1.0, shuffle=True, seed=seed)


def batched_by_length(
    lengths: Sequence[int],
    batch: int,
    steps: int,
    seed: int,
    allowed: Callable[[int], np.ndarray] | None = None,
) -> list[int]:
    """Row indices for `steps` batches of like lengths (no padding to speak of), the batches themselves in
    random order.

    transformers' group_by_length runs from long to short within each mega-batch, which here means from task
    to
    task: the loss swings and what one task taught is overwritten by the next.

    Args:
        allowed: the rows that may be drawn at a step (a curriculum); None draws every row once an epoch.
    """
    rng = np.random.default_rng(seed)
    sizes = np.asarray(lengths)
    width = WINDOW * batch
    if allowed is None:
        epochs = [rng.permutation(len(lengths)) for _ in range(-(-steps * batch // len(lengths)))]
        drawn = np.concatenate(epochs)[: steps * batch]
        windows = [drawn[start : start + width] for start in range(0, len(drawn), width)]
    else:
        starts = range(0, steps, WINDOW)
        windows = [
            np.resize(rng.permutation(allowed(start)), min(WINDOW, steps - start) * batch) for start in starts
        ]
    alike = [window[np.argsort(sizes[window], kind="stable")].reshape(-1, batch) for window in windows]
    return [int(i) for window in alike for group in rng.permutation(len(window)) for i in window[group]]


def growing(pools: Sequence[int], share: float, steps: int) -> Callable[[int], np.ndarray]:
    """A curriculum on pool size: the largest pool allowed grows evenly from the smallest to the largest
    over `share` of the steps.
    """
    sizes = np.asarray(pools)
    least, most = int(sizes.min()), int(sizes.max())
    return lambda step: np.flatnonzero(
        sizes <= least + (most - least) * min(1.0, (step + WINDOW) / max(share * steps, 1))
    )


def tokenize(rows: dict[str, list], tokenizer: PreTrainedTokenizerBase, context: int) -> dict[str, list]:
    asked = [[{"role": "user", "content": prompt}] for prompt in rows["prompt"]]
    heads = [
        str(tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True))
        for prompt in asked
    ]
    prompts = tokenizer(heads, add_special_tokens=False)["input_ids"]
    answers = tokenizer(rows["completion"], add_special_tokens=False)["input_ids"]
    ids, labels = [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        whole = [*prompt, *answer, tokenizer.eos_token_id]
        if (
            len(whole) <= context
        ):  # prompts are fitted before distillation; what still exceeds the context cannot be learned from
            ids.append(whole)
            labels.append([-100] * len(prompt) + whole[len(prompt) :])
    return {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": [[1] * len(whole) for whole in ids],
        "length": [len(whole) for whole in ids],
    }
