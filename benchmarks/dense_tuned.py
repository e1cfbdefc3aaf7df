"""The encoder of the row `dense`, fine-tuned on the labels that a policy is trained on: the control that asks
whether a language model was needed.

`python -m benchmarks.dense_tuned --home data` reads the latest candidate sets of `--task` from the lake,
trains on the training queries of all their passage tasks, prints what it and the untrained encoder have on
the test queries, and keeps it in models/dense-tuned/<key of the sets>. With `--set
evaluate.dense_tuned=models/dense-tuned` an evaluation on those sets shows it as the row `dense-tuned`.

Loss: softmax over the candidates of all queries of a batch, the gold against its own pool and everybody
else's (candidates that read like the gold or are as relevant are left out); cosines times SCALE. AdamW,
warm-up, linear decay to zero. Nothing is chosen by the test queries; the validation queries only show that it
went well.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from ranker.config import data_home, task
from ranker.engines import MANIFEST
from ranker.engines.encoder import Encoder
from ranker.errors import BadModel, StageMissing
from ranker.lake import open_lake
from ranker.lake.candidate_sets import load_sets
from ranker.metrics.ranking import per_query
from ranker.metrics.significance import Interval, bootstrap_mean
from ranker.refs import file_digest
from ranker.retrieval.dense import LIMIT, Encode, dense
from ranker.stages.first_stages import WEIGHTS
from ranker.types import CandidateSet

SCALE = 20.0
BETAS = (0.9, 0.98)
WARM_UP = 0.1
"""Share of the steps."""
REPORT_EVERY = 30.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How it is trained: one epoch is every training query once."""

    epochs: float = 1.0
    batch: int = 8
    learning_rate: float = 2e-5
    words: int = LIMIT
    queries: int = 0
    """Training queries at most; 0 for all."""
    seed: int = 1


def tune(encoder: Encoder, train: Sequence[CandidateSet], recipe: Recipe, log: Callable[[str], None]) -> None:
    """Train the encoder's network in place."""
    rng = random.Random(recipe.seed)
    torch.manual_seed(recipe.seed)
    steps = max(1, math.ceil(recipe.epochs * len(train) / recipe.batch))
    batches = _batches(train, recipe.batch, rng)
    optimiser = torch.optim.AdamW(encoder.model.parameters(), lr=recipe.learning_rate, betas=BETAS)
    warm = max(1, round(WARM_UP * steps))
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
    )
    encoder.model.train()
    began, said, losses = time.monotonic(), time.monotonic(), list[float]()
    for step in range(1, steps + 1):
        loss = _loss(encoder, next(batches), recipe.words)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.model.parameters(), 1.0)
        optimiser.step()
        rate.step()
        losses.append(loss.item())
        if time.monotonic() - said > REPORT_EVERY or step == steps:
            said = time.monotonic()
            log(f"step {step} of {steps}, loss {np.mean(losses[-50:]):.3f}, {said - began:.0f} s")
    encoder.model.eval()


def _batches(train: Sequence[CandidateSet], size: int, rng: random.Random) -> Iterator[list[CandidateSet]]:
    """Batches without end, every query once an epoch."""
    waiting: list[CandidateSet] = []
    while True:
        if len(waiting) < size:
            waiting += rng.sample(train, len(train))
        batch, waiting = waiting[:size], waiting[size:]
        yield batch


def _loss(encoder: Encoder, batch: Sequence[CandidateSet], words: int) -> torch.Tensor:
    def read(text: str) -> str:
        return " ".join(text.split()[:words])

    queries = [read(given.query) for given in batch]
    texts = [read(c.text) for given in batch for c in given.candidates]
    made = encoder.vectors(encoder.tokens([*queries, *texts]))
    scores = SCALE * made[: len(queries)] @ made[len(queries) :].T
    gold, barred, start = list[int](), torch.zeros_like(scores, dtype=torch.bool), 0
    for row, given in enumerate(batch):
        grades = [c.relevance for c in given.candidates]
        best = start + grades.index(max(grades))
        as_good = {start + place for place, grade in enumerate(grades) if grade == max(grades)}
        for place, text in enumerate(texts):
            barred[row, place] = place != best and (place in as_good or text == texts[best])
        gold.append(best)
        start += len(grades)
    return torch.nn.functional.cross_entropy(
        scores.masked_fill(barred, -torch.inf), torch.tensor(gold, device=scores.device)
    )


def reciprocal_ranks(encode: Encode, sets: Sequence[CandidateSet], words: int) -> dict[str, float]:
    """RR by set, ranked by cosine; equals stay as shown."""
    pools = pl.DataFrame(
        [(given.query, c.text) for given in sets for c in given.candidates],
        schema=["query", "text"],
        orient="row",
    )
    scores, start, rankings = dense(pools, encode, words), 0, dict[str, list[str]]()
    for given in sets:
        own = dict(zip(given.labels, scores[start : start + len(given)], strict=True))
        rankings[given.set_id] = sorted(given.labels, key=lambda label: -own[label])
        start += len(given)
    found = per_query(rankings, {given.set_id: given.relevance for given in sets})
    return {set_id: values["rr"] for set_id, values in found.items()}


def _sets(home: Path, name: str) -> tuple[str, dict[str, list[CandidateSet]]]:
    """Key of the latest candidate sets that hold the task, and the sets of all their passage tasks by
    split.
    """
    with open_lake(home, read_only=True) as lake:
        found = lake.named("report/sets_of", {"task": name})
        if found.is_empty():
            raise StageMissing(
                "the encoder is fine-tuned on candidate sets",
                seen=f"no candidate sets of {name} in {home}",
                remedy="run `ranker retrain`, or `ranker run ingest` and `ranker run candidates`",
            )
        key = str(found.item())
        return key, {
            split: [
                given for given in load_sets(lake, key, split=split) if task(given.task).scenario == "passage"
            ]
            for split in ("train", "valid", "test")
        }


def _keep(encoder: Encoder, source: Path, target: Path, manifest: dict[str, Any]) -> None:
    """A folder like the source's with the new weights, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as room:
        part = Path(room) / target.name
        shutil.copytree(source, part, ignore=shutil.ignore_patterns(WEIGHTS))
        encoder.model.save_pretrained(part)
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        if target.exists():
            target.rename(Path(room) / "before")
        part.rename(target)


def main(
    home: Path, name: str, model: Path, out: Path, recipe: Recipe, log: Callable[[str], None] = print
) -> dict[str, Interval]:
    """Train, keep and measure.

    Returns:
        MRR on the test queries, with intervals: `dense`, `dense-tuned`, and their paired `difference`.

    Raises:
        StageMissing: there are no candidate sets of the task.
        BadModel: the encoder is missing.
    """
    if not (model / "config.json").is_file():
        raise BadModel("an encoder is needed", seen=str(model), remedy="run `ranker fetch` first")
    key, sides = _sets(home, name)
    train = sides["train"][: recipe.queries or None]
    encoder = Encoder(model)
    log(
        f"{len(train)} training, {len(sides['valid'])} validation, {len(sides['test'])} test queries of {key}"
    )
    before = {side: reciprocal_ranks(encoder, sides[side], LIMIT) for side in ("valid", "test")}
    tune(encoder, train, recipe, log)
    after = {side: reciprocal_ranks(encoder, sides[side], LIMIT) for side in ("valid", "test")}
    for side in ("valid", "test"):
        means = (float(np.mean(list(found[side].values()))) for found in (before, after))
        log(side + ": MRR {:.4f} → {:.4f}".format(*means))
    facts = {
        "sets": key,
        "recipe": asdict(recipe),
        "trained": len(train),
        "from": file_digest(model / WEIGHTS),
    }
    _keep(encoder, model, out / key, facts)
    log(f"kept in {out / key}")
    groups = [given.group_id for given in sides["test"]]
    old, new = (
        np.array([found["test"][given.set_id] for given in sides["test"]]) for found in (before, after)
    )
    parts = {"dense": old, "dense-tuned": new, "difference": new - old}
    return {row: bootstrap_mean(values, groups, resamples=2_000, seed=23) for row, values in parts.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=data_home())
    parser.add_argument("--task", default="passage-pydoc")
    parser.add_argument("--model", default="models/all-minilm-l6-v2", help="folder below home")
    parser.add_argument("--out", default="models/dense-tuned", help="folder below home")
    for field, default in asdict(Recipe()).items():
        parser.add_argument(f"--{field.replace('_', '-')}", type=type(default), default=default)
    asked = vars(parser.parse_args())
    where, what, start, end = (asked.pop(field) for field in ("home", "task", "model", "out"))
    for row, found in main(where, what, where / start, where / end, Recipe(**asked)).items():
        print(f"{row}: {found.value:.4f} [{found.lower:.4f}, {found.upper:.4f}] on {found.queries} queries")
