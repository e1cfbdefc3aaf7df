"""How far the words and items that a prompt shows can carry: `HOME TASK …`, a lake with candidate sets, gives
MRR by task as JSON.

A bilinear ranker sees the tokens of the compact prompts and nothing else, and learns from the true relevance
of all training queries (cross-entropy, Adam). A candidate's score is that of its words: does the query have
them, how alike their vectors are to the query's, and what each counts. It is no policy: no language, no
answer to write. But it is what reinforcement can hope for from the same tokens, so a policy that is near to
it has little left to learn (docs/results.md, "How much there is to learn").
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ranker.lake import open_lake
from ranker.lake.candidate_sets import load_sets
from ranker.metrics.ranking import per_query
from ranker.policy.prompts import Prompt, messages
from ranker.types import CandidateSet

WIDTH, BATCH, STEPS, EVERY, RATE, SEED = 64, 64, 1_500, 100, 3e-3, 0
"""EVERY: steps between two looks at the validation queries; the best of them says which weights the test
queries see.
"""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of a split: `query` (q, words), `candidates` (q, candidates, words), 0 where there is
    none; `relevance` (q, candidates), −1 likewise.
    """

    query: torch.Tensor
    candidates: torch.Tensor
    relevance: torch.Tensor


def fields(given: CandidateSet) -> tuple[list[str], list[list[str]]]:
    """A compact prompt's words: the query's, and each candidate's."""
    head, *rest = messages(Prompt("rank", False, given), "compact")[-1]["content"].split(" ; ")
    return head.split()[4:], [part.removesuffix(" ;").split()[:-1] for part in rest[: len(given)]]


def numbered(sets: Sequence[CandidateSet], ids: Mapping[str, int]) -> Tokens:
    shown = [fields(given) for given in sets]
    words = max(len(part) for query, parts in shown for part in (query, *parts))
    pool = max(map(len, sets))
    query, candidates = (
        torch.zeros(len(sets), words, dtype=torch.long),
        torch.zeros(len(sets), pool, words, dtype=torch.long),
    )
    relevance = torch.full((len(sets), pool), -1.0)
    for row, (given, (asked, parts)) in enumerate(zip(sets, shown, strict=True)):
        query[row, : len(asked)] = torch.tensor([ids.get(word, 0) for word in asked])
        for place, (part, candidate) in enumerate(zip(parts, given.candidates, strict=True)):
            candidates[row, place, : len(part)] = torch.tensor([ids.get(word, 0) for word in part])
            relevance[row, place] = candidate.relevance
    return Tokens(query, candidates, relevance)


class Bilinear(torch.nn.Module):
    """Scores (queries, candidates)."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.vector = torch.nn.Parameter(torch.randn(words, WIDTH) / WIDTH**0.5)
        self.hit, self.count = torch.nn.Parameter(torch.ones(words)), torch.nn.Parameter(torch.zeros(words))
        self.sharp = torch.nn.Parameter(torch.tensor(3.0))

    def forward(self, query: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        asked, there = (query > 0).float(), (candidates > 0).float()
        mean = (self.vector[query] * asked[..., None]).sum(1) / asked.sum(1, keepdim=True).clamp(min=1)
        same = (candidates[..., None] == query[:, None, None, :]).any(-1).float()
        worth = (
            same * self.hit[candidates]
            + torch.einsum("qcwk,qk->qcw", self.vector[candidates], mean)
            + self.count[candidates]
        )
        return self.sharp * (worth * there).sum(-1) / there.sum(-1).clamp(min=1).sqrt()


def losses(model: Bilinear, given: Tokens) -> torch.Tensor:
    """Mean cross-entropy of the best candidates."""
    scores = model(given.query, given.candidates).masked_fill(given.relevance < 0, -1e9)
    best = (given.relevance == given.relevance.max(1, keepdim=True).values).float()
    return -(torch.log_softmax(scores, 1) * best / best.sum(1, keepdim=True)).sum(1).mean()


def batches(given: Tokens) -> Iterator[Tokens]:
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(STEPS):
        rows = torch.randint(len(given.query), (BATCH,), generator=generator)
        yield Tokens(given.query[rows], given.candidates[rows], given.relevance[rows])


@torch.no_grad()
def mrr(model: Bilinear, sets: Sequence[CandidateSet], given: Tokens) -> float:
    """By the metric of every table; equal scores as shown."""
    found = model(given.query, given.candidates)
    rankings = {
        one.set_id: [one.labels[place] for place in (-row[: len(one)]).argsort(stable=True).tolist()]
        for one, row in zip(sets, found, strict=True)
    }
    values = per_query(rankings, {one.set_id: one.relevance for one in sets})
    return sum(value["rr"] for value in values.values()) / len(values)


def ceiling(
    train: Sequence[CandidateSet], valid: Sequence[CandidateSet], test: Sequence[CandidateSet]
) -> dict[str, Any]:
    """MRR on the test queries of what does best on the validation queries, and the step at which it did."""
    torch.manual_seed(SEED)
    ids = {
        word: place
        for place, word in enumerate(
            sorted(
                {word for given in train for part in (fields(given)[0], *fields(given)[1]) for word in part}
            ),
            1,
        )
    }
    taught, chosen, held = (numbered(part, ids) for part in (train, valid, test))
    model, best = Bilinear(len(ids) + 1), (0.0, 0, 0.0)
    optimizer = torch.optim.Adam(model.parameters(), RATE, betas=(0.9, 0.98))
    for step, batch in enumerate(batches(taught), 1):
        optimizer.zero_grad()
        losses(model, batch).backward()
        optimizer.step()
        if step % EVERY == 0:
            best = max(best, (mrr(model, valid, chosen), step, mrr(model, test, held)))
    return {
        "valid": best[0],
        "step": best[1],
        "test": best[2],
        "queries": len(test),
        "train": len(train),
        "words": len(ids),
    }


def main(home: Path, names: Sequence[str]) -> dict[str, Any]:
    found = {}
    with open_lake(home, read_only=True) as lake:
        for name in names:
            batch = lake.named("report/sets_of", {"task": name}).item()
            found[name] = ceiling(
                *(load_sets(lake, batch, split=split, task=name) for split in ("train", "valid", "test"))
            )
            print(name, found[name], file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:]), indent=1))
