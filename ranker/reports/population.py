"""Are the queries that are served still those that the champion was trained on? By task: how long they are,
how many of their words no training query has, how many of their documents no one has seen before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from scipy.stats import chi2

from ranker.lake import Lake, lineage
from ranker.refs import Champion
from ranker.reports.gauges import Figure, Sample

LEAST_PSI = 0.2
"""Below it a shift is small, by the usual reading of the index."""
LEAST_SHARE = 0.1
"""By so much more of the words, or of the documents, must be unknown."""
CHANCE = 0.001
"""Of a shift of the lengths where there is none."""
ERRORS = 3.0
"""Standard errors by which a share must be clear of its bound."""

REQUESTS = Figure("ranker_served_requests", "Requests in the window that drift is looked for in.", ("task",))
PSI = Figure(
    "ranker_served_length_psi", "Population stability index of the served queries' lengths.", ("task",)
)
WORDS = Figure(
    "ranker_served_unknown_words_ratio", "Share of served words that no training query has.", ("task",)
)
DOCUMENTS = Figure(
    "ranker_served_unknown_documents_ratio",
    "Share of served documents that the lake does not have.",
    ("task",),
)
SHIFTS = Figure("ranker_served_shifts", "Measures by which what is served has shifted.", ("task",))
FIGURES = (REQUESTS, PSI, WORDS, DOCUMENTS, SHIFTS)


@dataclass(frozen=True, slots=True)
class Population:
    """What was served of one task."""

    task: str
    trained: int
    """Training queries; 0 where the champion was not trained on this task."""
    served: int
    """Requests."""
    bins: int | None
    length_psi: float | None
    """Population stability index of the lengths, Σ (q − p) ln(q / p) over the deciles of training."""
    words: int | None
    unknown_words: float | None
    """Share of the served queries' words that no training query has; None without words."""
    unknown_words_test: float | None
    """The same of the test queries, which are drawn as training's are."""
    documents: int | None
    unknown_items: float | None
    """Share of the served documents whose text neither an item nor a candidate has."""

    @property
    def psi_bound(self) -> float:
        """What the index must exceed. Where nothing has shifted, it is about (1/served + 1/trained) times χ²
        of bins − 1 degrees of freedom (Yurdakul and Naranjo 2020): few requests alone make it large.
        """
        by_chance = float(chi2.ppf(1 - CHANCE, max((self.bins or 1) - 1, 1)))
        return max(LEAST_PSI, by_chance * (1 / max(self.served, 1) + 1 / max(self.trained, 1)))

    @property
    def shifts(self) -> tuple[str, ...]:
        """What is no longer as in training, in words; empty where nothing is."""
        if not self.trained:
            return ("the champion was not trained on it",)
        found: list[str] = []
        if self.length_psi is not None and self.length_psi > self.psi_bound:
            found.append(f"lengths (PSI {self.length_psi:.2f}, from {self.psi_bound:.2f} on it counts)")
        for what, share, of, usual in (
            ("words", self.unknown_words, self.words, self.unknown_words_test or 0.0),
            ("documents", self.unknown_items, self.documents, 0.0),
        ):
            if share is not None and of and _clear(share, of, usual + LEAST_SHARE):
                found.append(f"{what} ({share:.0%} unknown, {usual:.0%} are usual)")
        return tuple(found)

    def __str__(self) -> str:
        said = "; ".join(self.shifts) or "as in training"
        return f"{self.task}: {said} ({self.served:,} requests, {self.trained:,} training queries)"


def _clear(share: float, of: int, bound: float) -> bool:
    return share - ERRORS * (share * (1 - share) / of) ** 0.5 > bound


def served(lake: Lake, champion: Champion, days: float) -> list[Population] | None:
    """What was served within the last `days`, by task, beside what the champion was trained on; None where
    the lake does not know that.
    """
    runs = {run.key: run for run in lineage.of(lake, champion.train_key)}
    own = runs.get(champion.train_key)
    sets = next((key for key in own.inputs if runs[key].stage == "candidates"), None) if own else None
    if sets is None:
        return None
    since = datetime.now(UTC) - timedelta(days=days)
    found = lake.named("report/population", {"sets": sets, "since": since})
    return [Population(**row) for row in found.iter_rows(named=True)]


def samples(found: Sequence[Population]) -> Iterator[Sample]:
    """The same as figures; one that is not known has none."""
    for one in found:
        values = {
            REQUESTS: one.served,
            PSI: one.length_psi,
            WORDS: one.unknown_words,
            DOCUMENTS: one.unknown_items,
            SHIFTS: len(one.shifts),
        }
        yield from (
            Sample(figure, value, (one.task,)) for figure, value in values.items() if value is not None
        )
