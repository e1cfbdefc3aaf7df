"""A study told: one table, one plot, the claims, and the same as JSON, in `studies/<name>` of the data
folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import altair as alt
from pydantic import BaseModel, ConfigDict

from ranker.metrics.significance import Interval
from ranker.reports.markdown import table
from ranker.studies import plots
from ranker.studies.design import Claim, Study
from ranker.studies.scores import Pick, Results, baseline
from ranker.types import Fields

FOLDER = "studies"
HEAD = (
    "arm",
    "model",
    "how",
    "MRR",
    "95% interval",
    "− chance",
    "nDCG@10",
    "Hit@1",
    "invalid",
    "calls",
    "tokens",
    "seeds",
    "queries",
    "− first arm, paired",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a study's table: means over test queries and seeds, per query where it is a cost."""

    task: str
    arm: str
    model: str
    how: str
    mrr: float
    lower: float
    upper: float
    above_chance: float
    ndcg_10: float
    hit_1: float
    malformed: float
    calls: float
    tokens: float
    seeds: int
    queries: int
    against_first: tuple[float, float, float] | None
    """Paired difference to the same model of the study's first arm, with its interval; None for that arm,
    for baselines, and where pools differ.
    """

    @property
    def cells(self) -> tuple[str, ...]:
        """As in HEAD."""
        interval = "" if self.model == "random" else f"{self.lower:.3f}…{self.upper:.3f}"
        cost = (
            (f"{self.malformed:.1%}", f"{self.calls:.1f}", f"{self.tokens:.0f}", str(self.seeds))
            if self.how
            else ("",) * 4
        )
        quality = (
            f"{self.mrr:.3f}",
            interval,
            f"{self.above_chance:+.3f}",
            f"{self.ndcg_10:.3f}",
            f"{self.hit_1:.3f}",
        )
        gap = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*self.against_first) if self.against_first else ""
        return (self.arm if self.how else "", self.model, self.how, *quality, *cost, str(self.queries), gap)


class StudyResults(BaseModel):
    """What a study leaves behind. Page and terminal are made of the same cells."""

    model_config = ConfigDict(frozen=True)

    name: str
    question: str
    folder: Path
    head: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether no claim fails."""
        return all(claim.holds is not False for claim in self.claims)

    @property
    def markdown(self) -> str:
        """The study as a page: question, claims, table, notes."""
        parts = [f"# {self.name}", self.question]
        if self.claims:
            parts.append(
                "## Claims\n\n"
                + table(("claim", "verdict", "figure"), ((c.text, c.verdict, c.figure) for c in self.claims))
            )
        parts.append("## Results\n\n" + table(self.head, self.body))
        parts += [f"- {note}" for note in self.notes]
        return "\n\n".join(parts) + "\n"


def rows(results: Results) -> list[Row]:
    """The table, task by task: models, then baselines, chance last."""
    return [
        _row(results, name, pick)
        for name in results.tasks
        for pick in results.picks
        if results.of(pick, [name]).height
    ]


def _row(results: Results, task: str, pick: Pick) -> Row:
    def mean(value: str) -> float:
        return _known(results.mean(pick, [task], value)).value

    rr, chance = (
        _known(results.mean(pick, [task])),
        _known(results.mean(baseline(pick.arm, "random"), [task])),
    )
    return Row(
        task,
        pick.arm,
        pick.model,
        pick.how,
        rr.value,
        rr.lower,
        rr.upper,
        rr.value - chance.value,
        mean("ndcg_10"),
        mean("hit_1"),
        mean("malformed"),
        mean("calls"),
        mean("prompt_tokens") + mean("completion_tokens"),
        results.seeds(pick),
        rr.queries,
        _against_first(results, task, pick),
    )


def _against_first(results: Results, task: str, pick: Pick) -> tuple[float, float, float] | None:
    """Of an arm that thinks where the first does not (or the other way round), the difference in thinking
    is part of it.
    """
    if pick.arm == results.arms[0] or pick.strategy == "baseline":
        return None
    same = [
        Pick(results.arms[0], pick.model, pick.strategy, thinking)
        for thinking in (pick.thinking, not pick.thinking)
    ]
    gaps = (results.difference(pick, other, [task]) for other in same)
    gap = next((gap for gap in gaps if gap is not None), None)
    return gap and (gap.value, gap.lower, gap.upper)


def _known(interval: Interval | None) -> Interval:
    assert interval is not None, "asked only of rows that are there"
    return interval


def write(
    folder: Path, study: Study, results: Results, left_out: Mapping[str, str], facts: Fields
) -> StudyResults:
    """Write table.md, study.json, plot.svg and plot.png of a study, and give what a caller shows of it.

    Args:
        left_out: task → where its data was sought.
        facts: what else the JSON is to say, e.g. which stage runs the figures come from.
    """
    found_rows = rows(results)
    figures = [asdict(row) for row in found_rows]
    found = StudyResults(
        name=study.name,
        question=study.question,
        folder=folder,
        head=("task", *HEAD),
        body=tuple((row.task, *row.cells) for row in found_rows),
        claims=tuple(study.claims(results)),
        notes=tuple(f"{name} is left out: no data at {where}" for name, where in left_out.items()),
    )
    return save(found, plots.intervals(figures, study.question), {"rows": figures, **facts})


def save(found: StudyResults, chart: alt.VConcatChart, figures: Fields) -> StudyResults:
    """Write a study's files; older ones are replaced."""
    found.folder.mkdir(parents=True, exist_ok=True)
    (found.folder / "table.md").write_text(found.markdown, encoding="utf-8")
    stored = found.model_dump(include={"name", "question", "claims", "notes"}) | dict(figures)
    (found.folder / "study.json").write_text(
        json.dumps(stored, indent=1, ensure_ascii=False), encoding="utf-8"
    )
    plots.save(chart, found.folder / "plot")
    return found
