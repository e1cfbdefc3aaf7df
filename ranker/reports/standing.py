"""How the champion stands: its latest evaluation beside the one before of the same model, and beside the
floor that a first champion has to clear. A sentence, and a row a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ranker.config import EvaluateParams
from ranker.lake import Lake
from ranker.metrics.significance import Interval, bootstrap_mean
from ranker.types import Fields


@dataclass(frozen=True, slots=True)
class Standing:
    """MRR of the champion on one task, ranking as it serves."""

    task: str
    now: Interval
    floor: str
    above_floor: Interval | None
    """MRR minus that of the row `floor`, paired; None where there is no such row."""
    before: Interval | None = None
    """In the evaluation before; None where there is none."""
    before_at: datetime | None = None
    change: Interval | None = None
    """Now minus before, paired; None where no test query is the same."""

    def __str__(self) -> str:
        return f"{self.task} MRR {_plain(self.now)}, {self.since_before}, {self.beside_floor}"

    @property
    def since_before(self) -> str:
        """Beside the evaluation before, in words."""
        if self.before is None or self.before_at is None:
            return "evaluated for the first time"
        day = f"{self.before_at:%Y-%m-%d}"
        if self.change is None:
            return f"{_plain(self.before)} on {day} on other queries"
        same = f"{self.change.signed} on {self.change.queries} queries of both"
        if self.change.lower > 0:
            return f"better than on {day} ({same})"
        if self.change.upper < 0:
            return f"worse than on {day} ({same})"
        return f"no clear change since {day} ({same})"

    @property
    def beside_floor(self) -> str:
        """Beside the floor, in words."""
        if self.above_floor is None:
            return f"no row {self.floor!r} to be compared with"
        clear = "clear of" if self.above_floor.lower > 0 else "not clear of"
        return f"{clear} {self.floor} ({self.above_floor.signed})"


def standings(lake: Lake, key: str, params: EvaluateParams, floor: str) -> list[Standing]:
    """Of the champion in the evaluation `key`, by task.

    Args:
        params: with how many draws, and which, a change gets its interval.
        floor: name of a baseline row.
    """
    rows = lake.named("report/standing", {"batch_id": key, "floor": floor}).iter_rows(named=True)
    return [_standing(lake, key, row, params, floor) for row in rows]


def _standing(lake: Lake, key: str, row: Fields, params: EvaluateParams, floor: str) -> Standing:
    return Standing(
        row["task"],
        Interval(row["value"], row["lower"], row["upper"], row["queries"]),
        floor,
        _interval(row, "floor"),
        _interval(row, "before"),
        row["before_at"],
        _change(lake, key, row, params),
    )


def _interval(row: Fields, name: str) -> Interval | None:
    if row[f"{name}_value"] is None:
        return None
    return Interval(*(row[f"{name}_{part}"] for part in ("value", "lower", "upper", "queries")))


def _change(lake: Lake, key: str, row: Fields, params: EvaluateParams) -> Interval | None:
    way = {name: row[name] for name in ("task", "model", "strategy", "thinking")}
    pairs = lake.named("report/standing_pairs", {"batch_id": key, "before": row["before_key"], **way})
    if pairs.is_empty():
        return None
    return bootstrap_mean(
        (pairs["rr"] - pairs["rr_before"]).to_numpy(),
        pairs["group_id"].to_list(),
        resamples=params.bootstrap,
        seed=params.seed,
    )


def sentence(version: str, found: Sequence[Standing]) -> str:
    """How the version stands on every task, in one sentence."""
    return f"champion version {version}: {'; '.join(map(str, found))}"


def _plain(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.lower:.3f}, {interval.upper:.3f}]"
