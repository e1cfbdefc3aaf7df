"""What is new in the data since the champion was trained: whether a retraining is due.

Measured are the rows that were read (a draw of candidates changes with every row), and the drift that the
contracts warn of, here between the champion's candidate sets and the present ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ranker.lake import Lake, lineage
from ranker.refs import Champion, Ref

KINDS = ("interactions", "queries", "judgements", "items")
DRIFT = {"rows": "contracts/drift/rows", "length of queries": "contracts/drift/text"}
"""What has drifted → the contracts' query, which gives a row for each task where it has."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """Rows of one of the KINDS of one task."""

    task: str
    kind: str
    rows: int
    fresh: int
    """New or changed."""

    @property
    def share(self) -> float:
        return self.fresh / self.rows


@dataclass(frozen=True, slots=True)
class News:
    """What is new since a champion was trained."""

    version: str
    fresh: tuple[Fresh, ...]
    drift: tuple[str, ...]
    """What the contracts' measures of drift find, in words."""

    def due(self, least: float) -> bool:
        """Whether so much is new: a share of some task's rows of some kind, or any drift."""
        return bool(self.drift) or any(one.share >= least for one in self.fresh)

    def sentence(self, least: float) -> str:
        """A sentence that says what was measured, and what it is compared with."""
        rising = sorted(self.fresh, key=lambda one: (one.share, -KINDS.index(one.kind)))
        largest = {one.task: one for one in rising}
        by_task = ", ".join(
            f"{one.share:.1%} new {one.kind} ({task}: {one.fresh:,} of {one.rows:,})"
            for task, one in sorted(largest.items())
        )
        drift = f"; drift of {', '.join(self.drift)}" if self.drift else "; no drift"
        return f"{by_task} since champion version {self.version}{drift}; from {least:.1%} a retraining is due"


def since(lake: Lake, sets: Ref, champion: Champion) -> News | None:
    """What the candidate sets `sets` are drawn from that the champion's were not; None where the lake does
    not know what the champion was trained on.
    """
    runs = {run.key: run for run in lineage.of(lake, champion.train_key)}
    own = runs.get(champion.train_key)
    drawn = next((runs[key] for key in own.inputs if runs[key].stage == "candidates"), None) if own else None
    if drawn is None:
        return None
    counted = lake.named("news/rows", {"now": sets.details["source"], "before": drawn.details["source"]})
    fresh = tuple(Fresh(*row) for row in counted.iter_rows())
    drift = tuple(_drifted(lake, sets.key, drawn.key)) if sets.key != drawn.key else ()
    return News(champion.version, fresh, drift)


def _drifted(lake: Lake, now: str, before: str) -> Iterator[str]:
    """By the contracts' own queries, which compare a batch (`now_drawn`) with the last one accepted."""
    lake.register("now_drawn", lake.named("news/drawn", {"batch_id": now}))
    lake.register("earlier_of_batch", lake.named("news/earlier", {"batch_id": before}))
    for what, name in DRIFT.items():
        found = lake.filled(name, table="candidate_sets", batch="now_drawn", column="query")
        if found.height:
            yield f"{what} ({', '.join(found['task'])})"
