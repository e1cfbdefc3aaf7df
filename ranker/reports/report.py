"""The report of one evaluation: every number comes from the lake, every arm stands beside chance.

`gather` reads, `html` writes one self-contained file (inline style and SVG, nothing fetched);
`ranker/cli/tables.py` shows the same `Report` in the terminal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ranker.errors import StageMissing
from ranker.lake import Lake, lineage
from ranker.lake.candidate_sets import load_sets
from ranker.metrics.calibration import calibration_error, is_relevant, probability, reliability
from ranker.metrics.counterfactual import LEAST_EFFECTIVE, NO_TRAFFIC
from ranker.policy.likelihood import log_policy
from ranker.reports import charts
from ranker.reports.charts import Interval
from ranker.reports.extremes import Extremes, extremes
from ranker.resources import shipped
from ranker.types import CandidateSet, JsonObject

ARMS = (
    "rl",
    "sft",
    "untrained",
    "champion",
    "pretrained",
    "pretrained-constrained",
    "teacher",
    "dense-tuned",
    "dense",
    "mf",
    "popularity",
    "bm25",
    "best-llm",
    "first-stage",
    "first-position",
    "random",
)
"""Order of the rows; whatever else there is comes last."""
POLICY = "rl"
"""The arm that is served."""
CURVES = {
    ("sft", "loss"): "SFT loss",
    ("sft", "eval_rr"): "Validation MRR (SFT)",
    ("rl", "reward"): "Mean reward (RL)",
    ("rl", "eval_rr"): "Validation MRR (RL)",
    ("rl", "frac_reward_zero_std"): "Groups without spread (RL)",
}
"""(phase, name) in training_metrics → title of its plot."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over test queries with its 95% interval."""

    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Injection:
    """The attack that raises who brings it most, as `ranker audit injection` measured it of a model on a
    task.
    """

    text: str
    """Name of the attack."""
    rise: float
    """How much further up than the control, of the way from last to first."""
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.rise:+.3f} [{self.lower:+.3f}, {self.upper:+.3f}] {self.text}"


@dataclass(frozen=True, slots=True)
class Row:
    """One arm on one task: all its metrics by name, and what chance would give."""

    task: str
    arm: str
    strategy: str
    thinking: bool
    queries: int
    estimates: dict[str, Estimate]
    random: float
    injection: Injection | None = None
    """None where it was not measured of this model in this way."""

    @property
    def injected(self) -> str:
        """The worst attack, as text; baselines read no text that could ask for anything."""
        return "" if self.baseline else str(self.injection or "not measured")

    @property
    def baseline(self) -> bool:
        return self.strategy == "baseline"

    @property
    def how(self) -> str:
        return "" if self.baseline else f"{self.strategy}, {'think' if self.thinking else 'no-think'}"

    @property
    def rr(self) -> Estimate:
        return self.estimates["RR"]

    @property
    def mark(self) -> str:
        """Where the arm stands beside chance, judged by its interval."""
        if self.arm == "random":
            return "chance"
        lower, upper = self.rr.lower, self.rr.upper
        if lower is None or upper is None:
            return "no interval"
        return (
            "above chance"
            if lower > self.random
            else "below chance"
            if upper < self.random
            else "not above chance"
        )

    @property
    def tokens(self) -> float:
        """Prompt and completion tokens per query."""
        return sum(
            self.estimates[name].value
            for name in ("prompt_tokens", "completion_tokens")
            if name in self.estimates
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference, arm minus against, on the same queries."""

    task: str
    strategy: str
    thinking: bool
    metric: str
    arm: str
    against: str
    difference: float
    lower: float
    upper: float
    queries: int

    @property
    def how(self) -> str:
        return f"{self.strategy}, {'think' if self.thinking else 'no-think'}"

    @property
    def mark(self) -> str:
        return "better" if self.lower > 0 else "worse" if self.upper < 0 else "not clear"


@dataclass(frozen=True, slots=True)
class OnTraffic:
    """Clicks a request that an arm would have got on logged ones, by one estimator, with 95% intervals."""

    task: str
    arm: str
    strategy: str
    thinking: bool
    estimator: str
    requests: int
    depth: int
    """First places whose clicks count."""
    value: float
    lower: float
    upper: float
    gain: float
    """Beyond those of the policy that served."""
    gain_lower: float
    gain_upper: float
    effective: float
    """Effective sample size."""

    @property
    def cells(self) -> tuple[str, ...]:
        """By the names of `ON_TRAFFIC`."""
        return (
            self.task,
            self.arm,
            self.estimator,
            f"{self.value:.3f} [{self.lower:.3f}, {self.upper:.3f}]",
            f"{self.gain:+.3f} [{self.gain_lower:+.3f}, {self.gain_upper:+.3f}]",
            f"{self.effective:,.0f}",
            f"{self.requests:,}",
        )


ON_TRAFFIC = (
    *("task", "arm", "estimator", "clicks [95% interval]"),
    *("minus what was served", "effective sample", "requests"),
)
"""Columns of a table of `OnTraffic`."""
TRAFFIC_TITLE = "Clicks a request on logged traffic"


@dataclass(frozen=True, slots=True)
class PromotionTest:
    """What the promotion rule tested on one task, or over all tasks."""

    task: str
    against: str
    """Version of the champion; where there was none, a row of the evaluation."""
    queries: int
    planned: int
    look: int
    level: float
    difference: float | None
    lower: float | None
    upper: float | None
    p: float | None
    p_holm: float | None
    least: float | None
    """Gain from which it counts."""
    detectable: float | None
    """Gain that such a test sees with a chance of 80%."""

    @property
    def interval(self) -> str:
        if self.difference is None:
            return "not measured"
        return f"{self.difference:+.3f} [{self.lower:+.3f}, {self.upper:+.3f}]"

    @property
    def ranked(self) -> str:
        return f"{self.queries} of {self.planned}"

    @property
    def corrected(self) -> str:
        return "" if self.p_holm is None else f"{self.p_holm:.4f}"

    @property
    def counts(self) -> str:
        return "" if self.least is None else f"{self.least:.3f}"

    @property
    def sees(self) -> str:
        return "" if self.detectable is None else f"{self.detectable:.3f}"


@dataclass(frozen=True, slots=True)
class Curve:
    """One training metric over optimizer steps."""

    title: str
    points: tuple[tuple[int, float], ...]
    best: int | None = None
    """Step of the checkpoint that was kept by it; None where nothing was chosen by this metric."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a task's data looked like: rows as read, queries of each side, and what was left out."""

    task: str
    rows: dict[str, int]
    """Table of the source → its rows."""
    queries: dict[str, int]
    """Side → candidate sets."""
    pool_size: int
    left_out: dict[str, int]
    """What a rule or an option left out, in words → how many."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often a likelihood policy's probabilities are right on the test queries of a task."""

    task: str
    calibrated: bool
    """Probabilities of relevance, as calibrated on validation; else the softmax over each pool at the
    policy's temperature.
    """
    curve: tuple[tuple[float, float, int], ...]
    """Mean probability, share relevant and candidates of each bin."""

    @property
    def error(self) -> float:
        """Expected calibration error."""
        return calibration_error(self.curve)

    @property
    def candidates(self) -> int:
        return sum(count for _, _, count in self.curve)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Of how many prompts of one task the model did not get every word, in a phase of training or in the
    evaluation: by the task's own limits, or to fit the model.
    """

    phase: str
    task: str
    prompts: int
    shortened: int
    """Prompts of which texts were cut."""
    left_out: int
    """Prompts, beside those, that no cut makes fit."""

    @property
    def ratio(self) -> float:
        """Share of all of them that the model did not get whole."""
        return (self.shortened + self.left_out) / max(self.prompts + self.left_out, 1)


@dataclass(frozen=True, slots=True)
class Report:
    """All that is shown of one evaluation."""

    key: str
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    curves: tuple[Curve, ...]
    lineage: tuple[lineage.Run, ...]
    libraries: dict[str, str]
    """Library → version, of those that decided the evaluation's figures."""
    extremes: tuple[Extremes, ...]
    """Of the served way of ranking the best and worst queries, by task."""
    reliability: tuple[Reliability, ...]
    """Of the trained policy, where it is a likelihood policy: by task."""
    fitted: tuple[Fitted, ...]
    """Prompts of the training, by phase and task (of a likelihood policy none are counted), and of the
    evaluation, of all arms together.
    """
    tests: tuple[PromotionTest, ...]
    """Behind the verdict on the model version; empty where nothing was registered."""
    version: JsonObject | None
    """batch_id, name, version, alias, verdict, registered_at of the model version; None where nothing was
    registered.
    """
    traffic: tuple[OnTraffic, ...] = ()
    """Of the models, where the evaluation was asked for it (`evaluate.traffic_requests`)."""

    @property
    def without_traffic(self) -> tuple[str, ...]:
        """Tasks on which it was asked for in vain: no logged request was shuffled, on a day that passed."""
        asked = next((run.details.get("traffic", {}) for run in self.lineage if run.key == self.key), {})
        return tuple(sorted(task for task, found in asked.items() if not isinstance(found, int)))

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(sorted({row.task for row in self.rows}))

    @property
    def data(self) -> tuple[Drawn, ...]:
        """By task, as the stages ingest and candidates noted it; empty where the lake has neither."""
        noted = {run.stage: run.details.get("tasks", {}) for run in self.lineage}
        source, sets = noted.get("ingest", {}), noted.get("candidates", {})
        return tuple(
            _drawn(task, source[task], sets[task])
            for task in self.tasks
            if {task} <= source.keys() & sets.keys()
        )

    def served(self, task: str) -> Row | None:
        """The row of the way that is served: the policy's, as it was registered (the first in order)."""
        return next((row for row in self.of(task) if row.arm == POLICY), None)

    def of(self, task: str) -> tuple[Row, ...]:
        """The rows of one task, models first, chance last."""
        return tuple(row for row in self.rows if row.task == task)

    def gains(self, arm: str = "rl", against: str = "sft", metric: str = "RR") -> tuple[Difference, ...]:
        return tuple(d for d in self.differences if (d.arm, d.against, d.metric) == (arm, against, metric))


def over_time(lake: Lake, key: str) -> list[tuple[object, ...]]:
    """One evaluation as a part of a table over time: task, arm, its best MRR, test queries; none of another
    stage.
    """
    return lake.named("report/over_time", {"batch_id": key}).rows()


def latest(lake: Lake) -> str:
    """Key of the evaluation that finished last.

    Raises:
        StageMissing: nothing has been evaluated yet.
    """
    found = lake.named("report/latest")
    if found.is_empty():
        raise StageMissing(
            "a report needs an evaluation",
            seen="no finished stage 'evaluate' in the lake",
            remedy="run `ranker retrain` first",
        )
    return found.item()


def test_sets(lake: Lake, task: str, most: int) -> list[CandidateSet]:
    """At most so many test queries of a task, from the latest candidates that have any.

    Raises:
        StageMissing: none have.
    """
    return load_sets(lake, test_batch(lake, task), split="test", task=task, limit=most)


def test_batch(lake: Lake, task: str) -> str:
    """Key of the latest candidates that have test queries of a task.

    Raises:
        StageMissing: none have.
    """
    batches = lake.named("report/sets_of", {"task": task})
    if batches.is_empty():
        raise StageMissing(
            "test queries must have been drawn",
            seen=f"none of {task!r} in the lake",
            remedy="run `ranker retrain` with this task first",
        )
    return batches.item()


def gather(lake: Lake, key: str) -> Report:
    """Read the report of the evaluation `key`.

    Raises:
        StageMissing: the lake holds no such evaluation.
    """
    ancestry = lineage.of(lake, key)
    if not any(run.stage == "evaluate" for run in ancestry):
        raise StageMissing(
            "a report needs an evaluation",
            seen=f"no evaluation {key!r} in the lake",
            remedy='see `ranker query "select * from stage_runs"`',
        )
    trained = next((run for run in ancestry if run.stage == "train"), None)
    fitted = trained.details.get("likelihood", {}).get(POLICY, {}) if trained else {}
    batch = trained.key if trained else ""
    curves = lake.named("report/curves", {"batch_id": batch, "names": [name for _, name in CURVES]})
    rows = _rows(
        lake.rows("select * exclude (batch_id) from evaluations where batch_id = $key", {"key": key}),
        lake.named("report/injections", {"batch_id": key}),
    )
    way = next((row for row in rows if row.arm == POLICY), None)
    versions = lake.named("report/version", {"batch_id": key})
    return Report(
        key=key,
        rows=rows,
        differences=_differences(
            lake.rows("select * exclude (batch_id) from comparisons where batch_id = $key", {"key": key})
        ),
        curves=tuple(_curves(curves, trained.details if trained else {})),
        libraries=_libraries(lake, key),
        extremes=extremes(lake, key, POLICY, way.strategy, way.thinking) if way else (),
        reliability=tuple(
            _reliability(lake.named("report/scores", {"batch_id": key, "arm": POLICY}), fitted)
        ),
        lineage=ancestry,
        fitted=(*(_fitted(trained.details) if trained else ()), *_shortened(lake, key)),
        tests=promotion_tests(lake, versions["batch_id"].item()) if versions.height else (),
        version=None if versions.is_empty() else versions.row(0, named=True),
        traffic=tuple(
            OnTraffic(**row) for row in lake.named("report/traffic", {"batch_id": key}).iter_rows(named=True)
        ),
    )


def promotion_tests(lake: Lake, key: str) -> tuple[PromotionTest, ...]:
    """What the promotion rule tested in the register stage `key`; the mean over all tasks last."""
    found = lake.named("report/promotion", {"batch_id": key})
    return tuple(PromotionTest(**row) for row in found.iter_rows(named=True))


def _rows(means: pl.DataFrame, injections: pl.DataFrame) -> tuple[Row, ...]:
    attacked = {row[:4]: Injection(*row[4:]) for row in injections.iter_rows()}
    random = {
        row["task"]: row["value"] for row in means.filter(arm="random", metric="RR").iter_rows(named=True)
    }
    rows = []
    for (task, arm, strategy, thinking), part in means.group_by(
        ["task", "arm", "strategy", "thinking"], maintain_order=True
    ):
        estimates = {
            row["metric"]: Estimate(row["value"], row["lower"], row["upper"])
            for row in part.iter_rows(named=True)
        }
        way = task, arm, strategy, thinking
        rows.append(Row(*way, part["queries"][0], estimates, random.get(task, 0.0), attacked.get(way)))
    return tuple(sorted(rows, key=_place))


def _place(row: Row) -> tuple[Any, ...]:
    order = ARMS.index(row.arm) if row.arm in ARMS else len(ARMS)
    return row.task, order, row.strategy != "iterative", not row.thinking


def _differences(frame: pl.DataFrame) -> tuple[Difference, ...]:
    found = [Difference(**row) for row in frame.iter_rows(named=True)]
    return tuple(
        sorted(
            found,
            key=lambda d: (d.task, d.arm, d.against, d.metric, d.strategy != "iterative", not d.thinking),
        )
    )


def _curves(frame: pl.DataFrame, details: JsonObject) -> Iterable[Curve]:
    for (phase, name), title in CURVES.items():
        points = tuple(frame.filter(phase=phase, name=name).select("step", "value").iter_rows())
        if len(points) > 1:
            chosen = details.get(phase, {}).get("best_step") if name == "eval_rr" else None
            yield Curve(title, points, chosen)


def _libraries(lake: Lake, key: str) -> dict[str, str]:
    said = lake.named("report/identity", {"batch_id": key}).item()
    return dict(sorted(json.loads(said).get("libraries", {}).items())) if said else {}


def _drawn(task: str, source: JsonObject, sets: JsonObject) -> Drawn:
    return Drawn(
        task,
        {name: source[name] for name in ("items", "interactions", "queries", "qrels") if source.get(name)},
        {side: count for side, count in sets.items() if side not in ("pool_size", "left_out")},
        sets.get("pool_size", 0),
        {**source.get("left_out", {}), **sets.get("left_out", {})},
    )


def _reliability(scores: pl.DataFrame, fitted: JsonObject) -> Iterable[Reliability]:
    for (name,), part in scores.group_by(["task"], maintain_order=True):
        own = fitted.get(name, {}).get("calibration")
        probabilities = (
            [probability(score, (own[0], own[1])) for score in part["score"]]
            if own
            else [
                share for _, pool in part.group_by("set_id", maintain_order=True) for share in _shares(pool)
            ]
        )
        curve = reliability(probabilities, is_relevant(part["relevance"].to_list()))
        yield Reliability(str(name), bool(own), tuple(curve))


def _shortened(lake: Lake, key: str) -> Iterable[Fitted]:
    """Prompts of the evaluation, all of which were asked."""
    for counts in lake.named("report/shortened", {"batch_id": key}).iter_rows():
        yield Fitted("evaluation", *counts, left_out=0)


def _fitted(details: JsonObject) -> Iterable[Fitted]:
    for phase in ("sft", "rl"):
        for name, counts in details.get(phase, {}).get("fitted", {}).items():
            yield Fitted(phase, name, **counts)


def _shares(pool: pl.DataFrame) -> list[float]:
    """The softmax over one pool, in the order of its rows."""
    by_label = dict(pool.select("label", "score").iter_rows())
    return [math.exp(share) for share in log_policy(by_label, pool["temperature"][0], "rank").values()]


# --- HTML ---


def html(report: Report) -> str:
    """The report as one self-contained HTML page."""
    environment = Environment(
        loader=FileSystemLoader(shipped("reports", "templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "mrr": mrr,
        "gained": gained,
        "curve": lambda found: Markup(charts.curve(found.points, found.best)),
        "cost": cost,
        "reliable": lambda found: Markup(charts.reliability(found.curve)),
        "on_traffic": ON_TRAFFIC,
        "traffic_title": TRAFFIC_TITLE,
        "least_effective": LEAST_EFFECTIVE,
        "no_traffic": NO_TRAFFIC,
    }
    return environment.get_template("report.html.j2").render(report=report)


def mrr(rows: Sequence[Row]) -> Markup:
    """The chart of a task's rows beside chance, from 0 to 1."""
    lines = [
        Interval(
            f"{row.arm} · {row.how}" if row.how else row.arm,
            row.rr.value,
            row.rr.lower,
            row.rr.upper,
            charts.BASELINE if row.baseline else charts.MODEL,
        )
        for row in rows
    ]
    return Markup(charts.intervals(lines, dashed=rows[0].random, low=0, high=1))


def cost(report: Report, task: str) -> Markup:
    """The chart of a task's ways of ranking by their tokens; nothing where all cost the same."""
    rows = [row for row in report.of(task) if row.tokens]
    if len({round(row.tokens) for row in rows}) < 2:
        return Markup("")
    served = report.served(task)
    return Markup(
        charts.cost([(f"{row.arm} · {row.how}", row.tokens, row.rr.value, row is served) for row in rows])
    )


def gained(gains: Sequence[Difference]) -> Markup:
    """The chart of paired differences beside none."""
    colours = {"better": charts.GOOD, "worse": charts.BAD}
    lines = [
        Interval(f"{d.task} · {d.how}", d.difference, d.lower, d.upper, colours.get(d.mark, charts.BASELINE))
        for d in gains
    ]
    low, high = min(0.0, *(d.lower for d in gains)), max(0.0, *(d.upper for d in gains))
    return Markup(charts.intervals(lines, dashed=0, low=low, high=high))


def write(lake: Lake, key: str) -> Path:
    """Write the report of the evaluation `key` to reports/<key>.html in the data folder; an older one is
    replaced.
    """
    target = lake.home / "reports" / f"{key}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    part.write_text(html(gather(lake, key)), encoding="utf-8")
    part.replace(target)
    return target
