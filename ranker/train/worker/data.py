"""What the trainer feeds on: rows weighted by task, drawn across tasks or batched by length, and their
prompts, fitted and rendered by the one function that evaluation has (`engines.rendering`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ranker.engines.rendering import Rendered, Renderer
from ranker.errors import BadModel, PromptTooLong
from ranker.policy.prompts import Prompt
from ranker.types import CandidateSet, Fields, JsonObject

WINDOW = 40
"""Batches that are sorted together."""
CHUNK = 512
"""Prompts that are rendered together."""
UNREADABLE = (PromptTooLong, BadModel)
"""What a renderer raises of a prompt that cannot be read whole."""


@dataclass
class Fitting:
    """Rows of training as prompts of at most so many tokens; by task, of how many prompts texts were cut,
    and how many are left out: they do not fit however short their texts are, or a vocabulary from the data
    has no word of them.
    """

    sets: Mapping[str, CandidateSet]
    renderer: Renderer
    prompts: Counter[str] = field(default_factory=Counter[str])
    shortened: Counter[str] = field(default_factory=Counter[str])
    left_out: Counter[str] = field(default_factory=Counter[str])

    def asked(self, row: Fields) -> Prompt:
        """The question of a row of `sft.parquet` or `rl.parquet`."""
        return Prompt(row["mode"], row["thinking"], self.sets[row["set_id"]].keep(row["pool"]))

    def rendered(
        self, rows: Sequence[Fields], budgets: Sequence[int], beat: Callable[[int], None] = lambda done: None
    ) -> list[tuple[str, list[int]] | None]:
        """Text and token ids for each row, None where a prompt does not fit its budget; counted by task.

        Args:
            beat: told of how many rows there are, now and then.

        Raises:
            PromptTooLong, BadModel: all are left out; of the first, why.
        """
        found: list[tuple[str, list[int]] | None] = []
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            found += self._fitted([self.asked(row) for row in part], budgets[start : start + CHUNK])
            beat(len(found))
        if rows and not any(found):
            self.renderer.prompts([self.asked(rows[0])], [budgets[0]])  # says why
        return found

    def _fitted(
        self, prompts: Sequence[Prompt], budgets: Sequence[int]
    ) -> list[tuple[str, list[int]] | None]:
        try:
            made = self.renderer.prompts(prompts, budgets)
        except UNREADABLE:
            if len(prompts) > 1:
                halves = (slice(None, len(prompts) // 2), slice(len(prompts) // 2, None))
                return [one for half in halves for one in self._fitted(prompts[half], budgets[half])]
            self.left_out[prompts[0].set.task] += 1
            return [None]
        self._count(prompts, made)
        return list(zip(made.texts, made.ids, strict=True))

    def _count(self, prompts: Sequence[Prompt], made: Rendered) -> None:
        for prompt, texts in zip(prompts, made.shortened, strict=True):
            self.prompts[prompt.set.task] += 1
            self.shortened[prompt.set.task] += texts > 0

    @property
    def facts(self) -> JsonObject:
        """What a phase's manifest says of it: {"fitted": {task: {"prompts", "shortened", "left_out"}}}."""
        return {
            "fitted": {
                name: {
                    "prompts": self.prompts[name],
                    "shortened": self.shortened[name],
                    "left_out": self.left_out[name],
                }
                for name in sorted({*self.prompts, *self.left_out})
            }
        }


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


def across_tasks(
    tasks: Sequence[str],
    batch: int,
    steps: int,
    seed: int,
    allowed: Callable[[int], np.ndarray] | None = None,
) -> list[int]:
    """Row indices for `steps` batches, every one with each task in its share; in a random order otherwise.

    Batches of like lengths lean to one task each (by 0.47 of the batch, with tasks whose prompts differ), so
    that a step of few prompts teaches one thing and the next another.

    Args:
        allowed: as `batched_by_length` takes it.
    """
    rng = np.random.default_rng(seed)
    names = np.asarray(tasks)

    def spread(rows: np.ndarray) -> np.ndarray:
        rows = rng.permutation(rows)
        places = np.empty(len(rows))
        for name in np.unique(names[rows]):
            own = np.flatnonzero(names[rows] == name)
            places[own] = (np.arange(len(own)) + rng.random(len(own))) / len(own)
        return rows[np.argsort(places, kind="stable")]

    if allowed is None:
        epochs = [spread(np.arange(len(names))) for _ in range(-(-steps * batch // len(names)))]
        return np.concatenate(epochs)[: steps * batch].tolist()
    return [
        int(row)
        for start in range(0, steps, WINDOW)
        for row in np.resize(spread(allowed(start)), min(WINDOW, steps - start) * batch)
    ]


def growing(pools: Sequence[int], share: float, steps: int) -> Callable[[int], np.ndarray]:
    """A curriculum on pool size: the largest pool allowed grows evenly from the smallest to the largest
    over `share` of the steps.
    """
    sizes = np.asarray(pools)
    least, most = int(sizes.min()), int(sizes.max())
    return lambda step: np.flatnonzero(
        sizes <= least + (most - least) * min(1.0, (step + WINDOW) / max(share * steps, 1))
    )


def tokenized(
    rows: Sequence[Fields], fitting: Fitting, context: int, beat: Callable[[int], None] = lambda done: None
) -> list[JsonObject]:
    """Traces as `input_ids`, `labels` (−100 for the prompt) and `length`: each prompt fitted to what its
    answer leaves of `context` tokens. What cannot be fitted is counted in `fitting.left_out`.
    """
    answers = [fitting.renderer.answer(row["completion"], row["thinking"]) for row in rows]
    made = fitting.rendered(rows, [context - len(answer) for answer in answers], beat)
    found: list[JsonObject] = []
    for prompt, answer in zip(made, answers, strict=True):
        if prompt is None:
            continue
        whole = [*prompt[1], *answer]
        labels = [-100] * len(prompt[1]) + answer
        found.append(
            {
                "input_ids": whole,
                "labels": labels,
                "attention_mask": [1] * len(whole),
                "length": len(whole),
            }
        )
    return found
