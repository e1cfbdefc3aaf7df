"""What will be trained on, before anything is trained: a task's source and its first pools, as a model is
asked about them.

The first two stages themselves, in a lake of their own that is thrown away.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ranker import config
from ranker.config import RetrainParams
from ranker.datasets import tables
from ranker.errors import BadSource, BatchRejected
from ranker.lake import open_lake
from ranker.lake.candidate_sets import load_sets
from ranker.policy import likelihood, prompts
from ranker.refs import Check
from ranker.stages import candidates, ingest
from ranker.types import CandidateSet

ENOUGH = 1_000_000
"""Tokens that a preview's context may have: it shows what the task says, whatever the model."""


@dataclass(frozen=True, slots=True)
class Preview:
    """One task's source and pools."""

    task: str
    rows: Mapping[str, int]
    """Table → rows of it."""
    left_out: Mapping[str, int]
    """What a rule or an option leaves out, in words → how many."""
    sides: Mapping[str, int]
    """train, valid, test → queries."""
    examples: tuple[CandidateSet, ...]


def problems(params: RetrainParams, name: str) -> list[BadSource]:
    """The rules that a task's source breaks, each with its first rows; all at once where its reader is
    `tables`, else the first.
    """
    task = config.task(name)
    place = ingest.location(params.home_path, params.ingest, task)
    if task.reader != "tables":
        return []
    try:
        return tables.problems(task, place)
    except BadSource as error:
        return [error]


def preview(params: RetrainParams, name: str, check: Check, examples: int = 3) -> Preview:
    """Read a task and draw its pools, by these parameters.

    Args:
        check: judges each table by its contract.
        examples: training pools to show.

    Raises:
        BadSource, BadPool, ContractViolated: as the first two stages do.
    """
    own = params.ingest.model_copy(
        update={
            "tasks": (name,),
            "locations": {name: place} if (place := params.ingest.locations.get(name)) else {},
        }
    )
    with tempfile.TemporaryDirectory() as folder, open_lake(Path(folder)) as lake, _nothing_kept():
        where = ingest.location(params.home_path, own, config.task(name))
        here = own.model_copy(update={"locations": {name: str(where)} if where else {}})
        source = ingest.run(lake, here, check=check)
        ref = candidates.run(lake, params.candidates, source=source, check=check)
        facts, drawn = source.details["tasks"][name], ref.details["tasks"][name]
        return Preview(
            name,
            {table: facts[table] for table in ingest.TABLES if facts.get(table)},
            facts.get("left_out", {}),
            {side: drawn.get(side, 0) for side in ("train", "valid", "test")},
            tuple(load_sets(lake, ref.key, split="train", task=name, limit=examples)),
        )


@contextmanager
def _nothing_kept() -> Generator[None]:
    """A batch that a contract refuses goes with the lake: its error must not say where it is kept."""
    try:
        yield
    except BatchRejected as error:
        remedy = error.remedy.partition("; the batch is kept")[0]
        raise type(error)(error.rule, seen=error.seen, remedy=remedy, verdicts=error.verdicts) from error


def shown(given: CandidateSet, style: prompts.Style) -> str:
    """A pool as a policy of this style is asked about it; relevant candidates are marked with +."""
    marks = ["+" if one.relevance > 0 else " " for one in given.candidates]
    if style != "likelihood":
        asked = prompts.messages(prompts.Prompt("rank", False, given), style)
        order = ", ".join(f"{one.label}: {one.relevance:g}" for one in given.candidates)
        return "\n".join([*(turn["content"] for turn in asked), f"relevance: {order}"])
    asked = likelihood.asked(given, lambda text: len(text.split()), ENOUGH)
    if len(asked.branches) == 1:
        texts = asked.branches[0].continuations
        return "\n".join([asked.branches[0].context, *(f"{m}{t}" for m, t in zip(marks, texts, strict=True))])
    lines = [f"{m} {branch.context}" for m, branch in zip(marks, asked.branches, strict=True)]
    return "\n".join([*lines, f"is followed by:{asked.branches[0].continuations[0]}"])
