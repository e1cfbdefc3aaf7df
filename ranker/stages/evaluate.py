"""Evaluate: every arm and every baseline on the same frozen test queries, with intervals and paired
differences.

Writes the episodes and steps of all model calls (batch by batch: batches.py), the means (`evaluations`), the
paired differences (`comparisons`), and where `evaluate.traffic_requests` asks for it the clicks that each
model would have got on logged requests (`traffic_estimates`: traffic.py). A failed answer is counted as
malformed and scored by its stated fallback; no query is ever dropped. The random row is an exact expectation,
not a sample.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import polars as pl

from ranker.config import EvaluateParams, FanOutParams, StrategyName, task
from ranker.engines import OPENAI, VLLM, Closing, Engine, Likely, Sampling, load, manifest, own_style
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_sets
from ranker.metrics.counterfactual import NO_TRAFFIC
from ranker.metrics.ranking import COLUMNS, NAMES, per_query, random_expectation
from ranker.metrics.significance import bootstrap_mean
from ranker.policy.prompts import Style, longest_chat_trace
from ranker.progress import Progress
from ranker.refs import Champion, Check, Ref
from ranker.stages import first_stages, fusion, traffic, worked_examples
from ranker.stages.batches import Batches, in_batches, made
from ranker.stages.fan_out import kept, spread
from ranker.stages.run import Produced, run_cached
from ranker.strategies import strategy
from ranker.strategies.base import Strategy
from ranker.strategies.episodes import Origin, Tables, judged
from ranker.types import CandidateSet, JsonObject

PRIOR_ARM = {"recommendation": "popularity", "passage": "bm25", "routing": "best-llm"}
"""What a scenario's first-stage score is called as a row; synthetic data has none."""
RUN_ARM = "first-stage"
"""The same where the first stage is a run that came with the data (reader `trec`, option `run`)."""
PRETRAINED, CONSTRAINED = "pretrained", "pretrained-constrained"
"""Rows of a chat model that was never trained here. Both are shown worked examples; the answers of the first
are read tolerantly, the second can write valid ones alone.
"""
UNTRAINED = "untrained"
"""The model before any training here."""
TRAINED = "rl"
"""The arm that a run is about."""
EXTRA_QUERIES = 12
"""Test queries per task for a pretrained chat model, which takes seconds for each."""
EXTRA_STRATEGIES: tuple[StrategyName, ...] = ("direct",)
"""One call a query, for the same reason."""
EXAMPLES_FROM = 64
"""Training queries per task among which its worked examples are."""
BASELINES = (
    "random",
    "first-position",
    *PRIOR_ARM.values(),
    RUN_ARM,
    *first_stages.ROWS,
    "teacher",
    fusion.ROW,
)
COSTS = {
    "malformed": "malformed",
    "calls": "calls",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
}
Log = Callable[[str], None]

_SCORES = {
    "set_id": pl.String,
    "task": pl.String,
    "group_id": pl.String,
    "arm": pl.String,
    "model": pl.String,
    "strategy": pl.String,
    "thinking": pl.Boolean,
    **{column: pl.Float64 for column in (*COLUMNS, *COSTS)},
}
SCORED = (
    *("set_id", "task", "arm", "model", "strategy", "thinking", *COLUMNS),
    *("invalid_calls", "calls", "prompt_tokens", "completion_tokens"),
)
"""Columns of an episode that `score` reads."""
MOST_REQUESTS = 64
"""In flight at an endpoint."""
_ARM = ["task", "arm", "model", "strategy", "thinking"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One model to evaluate: a row of the results table per task, strategy and thinking."""

    name: str
    model: str
    folder: Path
    strategies: tuple[StrategyName, ...]
    thinking: tuple[bool, ...]
    queries: int
    tolerant: bool = False
    """Answers are read tolerantly (`parsing.parse_tolerantly`)."""
    constrained: bool = False
    """Only valid answers can be written."""

    @property
    def pretrained(self) -> bool:
        """Whether it is one of the rows of `evaluate.extra_model`."""
        return self.name in (PRETRAINED, CONSTRAINED)

    def limit(self, params: EvaluateParams, chosen: Sequence[CandidateSet]) -> int:
        """Tokens of an answer: a pretrained model's grades and labels are wordier than a policy's."""
        needed = longest_chat_trace(max(map(len, chosen))) if self.pretrained else 0
        return max(params.max_completion_length, needed)

    def sampling(self, params: EvaluateParams, chosen: Sequence[CandidateSet]) -> Sampling:
        constrained = params.constrained or self.constrained
        return Sampling(self.limit(params, chosen), seed=params.seed, constrained=constrained)


def run(
    lake: Lake,
    params: EvaluateParams,
    *,
    sets: Ref,
    traces: Ref,
    trained: Ref,
    champion: Champion | None,
    check: Check,
    force: bool = False,
    only_finished: bool = False,
    log: Log = lambda text: None,
    fan_out: FanOutParams | None = None,
) -> Ref:
    """Evaluate the trained policy on the test split of `sets`.

    Args:
        traces: the distill stage, for the teacher's scores.
        champion: the model in production, evaluated on the same queries; None where there is none (or it is
            this one).
        fan_out: who ranks; None for this process.

    Raises:
        BadModel, Leaked: an encoder that is asked for as a row is missing, or was fine-tuned on other sets.
        Unreachable: the workers of `fan_out` cannot be asked; what they have ranked stays.
    """
    how = fan_out or FanOutParams()
    return _run(
        lake, params, sets, champion, check, force, only_finished, log, how, traces=traces, trained=trained
    )


def run_champion(
    lake: Lake,
    params: EvaluateParams,
    *,
    sets: Ref,
    champion: Champion,
    check: Check,
    force: bool = False,
    only_finished: bool = False,
    log: Log = lambda text: None,
    fan_out: FanOutParams | None = None,
) -> Ref:
    """Evaluate the model in production alone, ranking as it serves, on the test split of `sets`: the arm
    `champion`, beside the baselines that need no teacher.

    Raises:
        BadModel, Leaked: as `run`.
    """
    thinking = params.thinking[0] if champion.thinking is None else champion.thinking
    served = {"models": (), "strategies": (champion.strategy,), "thinking": (thinking,)}
    alone = params.model_copy(update={**served, "extra_model": "", "fusion_queries": 0})
    return _run(lake, alone, sets, champion, check, force, only_finished, log, fan_out or FanOutParams())


def _run(
    lake: Lake,
    params: EvaluateParams,
    sets: Ref,
    champion: Champion | None,
    check: Check,
    force: bool,
    only_finished: bool,
    log: Log,
    fan_out: FanOutParams,
    *,
    traces: Ref | None = None,
    trained: Ref | None = None,
) -> Ref:
    arms = list(_arms(lake.home, params, trained, champion))
    logged = traffic.by_task(lake, sets.details["tasks"], params.traffic_requests)
    extra = [str(arm.folder.name) for arm in arms if arm.pretrained]
    ref = run_cached(
        lake,
        "evaluate",
        parameters=[
            params,
            {"champion": champion.train_key if champion else None},
            {"pretrained": extra},
            {"encoders": first_stages.identity(lake.home, params, sets)},
            {"traffic": traffic.identity(logged)},
        ],
        inputs=[ref for ref in (sets, traces, trained) if ref is not None],
        roots=[__name__],
        check=check,
        force=force,
        only_finished=only_finished,
        produce=lambda key: _produce(
            lake, params, arms, sets, traces, logged, log, _batches(lake, key, force), fan_out
        ),
    )
    _batches(lake, ref.key, again=True)  # the lake has them
    return ref


def _batches(lake: Lake, key: str, again: bool) -> Batches:
    """What a run of this key that was killed has left; nothing where it is to be made `again`."""
    found = Batches(lake.home / "jobs" / key)
    if again:
        found.clear()
    return found


def _arms(
    home: Path, params: EvaluateParams, trained: Ref | None, champion: Champion | None
) -> Iterator[Arm]:
    if trained is not None:
        folder = home / trained.details["model"]
        for phase in params.models:
            yield Arm(
                phase,
                f"{trained.key}/{phase}",
                folder / phase,
                params.strategies,
                params.thinking,
                params.max_queries,
                tolerant=phase == UNTRAINED and params.parsing == "tolerant",
            )
    if champion is not None:
        yield Arm(
            "champion",
            f"{champion.train_key}/rl",
            home / champion.model,
            params.strategies,
            params.thinking,
            params.max_queries,
        )
    if params.extra_model:
        extra = home / params.extra_model
        shared = extra.name, extra, EXTRA_STRATEGIES, (True,), EXTRA_QUERIES
        yield Arm(PRETRAINED, *shared, tolerant=True)
        yield Arm(CONSTRAINED, *shared, constrained=True)


def _produce(
    lake: Lake,
    params: EvaluateParams,
    arms: Sequence[Arm],
    sets: Ref,
    traces: Ref | None,
    logged: Mapping[str, traffic.Logged | None],
    log: Log,
    batches: Batches,
    fan_out: FanOutParams,
) -> Produced:
    _say_what_is_logged(logged, log)
    test = load_sets(lake, sets.key, split="test", limit=params.max_queries)
    by_id = {given.set_id: given for given in test}
    teacher = lake.named("evaluate/teacher", {"batch_id": traces.key if traces else ""})
    log(f"{len(test)} test queries, {len(arms)} models")
    first = first_stages.scores(lake, params, sets, test, log)
    weighed = _weighed(lake, params, arms)
    mixed, weights = _fused(lake, params, arms, weighed, sets, test, teacher, first, log)
    engines = _pretrained(lake, params, arms, sets, teacher, test) | _staying(weighed)
    first = pl.concat([first, mixed])
    ready = [_Ready(engines.get(arm.folder), partial(_loaded, arm, params, lake.home)) for arm in arms]
    planned = [list(work(arm, test, by_id, params, log, own)) for arm, own in zip(arms, ready, strict=True)]
    asked = sum(_size(what) for parts in planned for what, _ in parts)
    estimates: list[pl.DataFrame] = []
    with Progress("ranking", asked, log, unit="queries") as progress:
        if fan_out.engine != "local":
            shared = [
                part for arm, parts in zip(arms, planned, strict=True) if not arm.pretrained for part in parts
            ]
            _by_workers(shared, batches, fan_out, progress)
        for arm, own, parts in zip(arms, ready, planned, strict=True):
            with own:
                for what, make in parts:
                    if not batches.keep(what, make):
                        progress.done(made=False, parts=_size(what))
                estimates += _on_traffic(arm, logged, params, own, log)
    if batches.found:
        log(f"{batches.found} batches of rankings were there already")
    scores = score(test, teacher, batches.episodes(SCORED), first)
    tables = {
        "episodes": batches.paths("episodes"),
        "steps": batches.paths("steps"),
        **({"teacher_scores": first} if first.height else {}),
        "evaluations": evaluations(scores, params),
        "comparisons": comparisons(scores, params),
        **({"traffic_estimates": pl.concat(estimates)} if estimates else {}),
    }
    queries = {
        name: sum(given.task == name for given in test) for name in sorted({given.task for given in test})
    }
    return tables, {
        "queries": queries,
        "arms": [arm.name for arm in arms],
        "strategy": str(strategy(params.strategies[0])),
        **({"fusion": weights} if weights else {}),
        **({"traffic": _requests(logged)} if logged else {}),
        "champion": next((a.model for a in arms if a.name == "champion"), None),
    }


def _say_what_is_logged(logged: Mapping[str, traffic.Logged | None], log: Log) -> None:
    for name, found in logged.items():
        what = f"{len(found.sets)} logged requests are ranked too" if found else NO_TRAFFIC
        log(f"{name}: {what}")


def _requests(logged: Mapping[str, traffic.Logged | None]) -> JsonObject:
    """How many logged requests of each task were ranked; in words where there are none."""
    return {task: len(found.sets) if found else NO_TRAFFIC for task, found in logged.items()}


def _on_traffic(
    arm: Arm,
    logged: Mapping[str, traffic.Logged | None],
    params: EvaluateParams,
    engine: Callable[[], Engine],
    log: Log,
) -> Iterator[pl.DataFrame]:
    """What a model would have got on logged requests, in the first of its ways: that in which the policy
    serves. Nothing of a pretrained model that is asked a few queries alone.
    """
    way, thinking = strategy(arm.strategies[0]), arm.thinking[0]
    for name, asked in logged.items():
        if asked is None or arm.pretrained:
            continue
        with Progress("ranking logged requests", len(asked.sets), unit="queries"):
            ranked = traffic.ranked(
                asked, way, thinking, engine(), arm.sampling(params, asked.sets), arm.tolerant
            )
        found = traffic.estimated(asked, traffic.policy(asked, ranked), params.bootstrap, params.seed)
        listed = ", ".join(f"{one.value.value:.3f} by {one.estimator}" for one in found)
        log(f"{name} {arm.name} {way}: clicks a request on {len(asked.sets)} that were logged, {listed}")
        yield traffic.rows(arm.model, name, (str(way), thinking), asked, found)


def _by_workers(
    planned: Sequence[tuple[Sequence[object], Ranking]],
    batches: Batches,
    fan_out: FanOutParams,
    progress: Progress,
) -> None:
    """Have the workers rank what is not there yet."""
    missing = [(what, ranking) for what, ranking in planned if not batches.has(what)]
    for number, tables in spread([ranking.elsewhere() for _, ranking in missing], fan_out):
        what = missing[number][0]
        batches.put(what, tables)
        progress.done(parts=_size(what))


def _weighed(lake: Lake, params: EvaluateParams, arms: Sequence[Arm]) -> dict[Path, Engine]:
    """The engine of the trained policy by its folder, where the row `fusion` is asked for and can be made:
    that ranks by likelihood. Loaded once for this row and its own.
    """
    if not params.fusion_queries:
        return {}
    trained = [arm for arm in arms if arm.name == TRAINED]
    return {
        arm.folder: _loaded(arm, params, lake.home)
        for arm in trained
        if manifest(arm.folder).get("style") == "likelihood"
    }


def _staying(engines: Mapping[Path, Engine]) -> dict[Path, Engine]:
    """Those that may stay while others run. What holds a GPU is closed, and loaded again in its turn."""
    for engine in engines.values():
        if isinstance(engine, Closing):
            engine.close()
    return {folder: engine for folder, engine in engines.items() if not isinstance(engine, Closing)}


def _fused(
    lake: Lake,
    params: EvaluateParams,
    arms: Sequence[Arm],
    engines: Mapping[Path, Engine],
    sets: Ref,
    test: Sequence[CandidateSet],
    teacher: pl.DataFrame,
    first: pl.DataFrame,
    log: Log,
) -> tuple[pl.DataFrame, dict[str, fusion.Weights]]:
    """The row `fusion` of the trained policy, where its engine is among `engines`."""
    engine = next((engines.get(arm.folder) for arm in arms if arm.name == TRAINED), None)
    if not isinstance(engine, Likely):
        return pl.DataFrame(schema=first_stages.SCORES), {}
    valid = load_sets(lake, sets.key, split="valid", limit=params.fusion_queries)
    known = [
        teacher.select("set_id", "label", pl.lit("teacher").alias("teacher"), "score"),
        first,
        first_stages.scores(lake, params, sets, valid, log),
    ]
    return fusion.fused(valid, test, pl.concat(known), engine, log)


def _pretrained(
    lake: Lake,
    params: EvaluateParams,
    arms: Sequence[Arm],
    sets: Ref,
    teacher: pl.DataFrame,
    test: Sequence[CandidateSet],
) -> dict[Path, Engine]:
    """The engine of a pretrained model's rows, by its folder: with examples, and loaded once for both. Its
    few queries are ranked by transformers, whatever runs the others.
    """
    params = params.model_copy(update={"engine": "transformers"})
    chat = {arm.folder: arm for arm in arms if arm.pretrained}
    if not chat:
        return {}
    train = load_sets(lake, sets.key, split="train", limit=EXAMPLES_FROM)
    examples = worked_examples.of_teacher(train, _pools(teacher), test)
    return {
        folder: worked_examples.WithExamples(_loaded(arm, params, lake.home, "chat"), examples)
        for folder, arm in chat.items()
    }


def _pools(scored: pl.DataFrame) -> dict[str, dict[str, float]]:
    pools: dict[str, dict[str, float]] = {}
    for set_id, label, score in scored.select("set_id", "label", "score").iter_rows():
        pools.setdefault(set_id, {})[label] = score
    return pools


def _loaded(arm: Arm, params: EvaluateParams, home: Path | None, style: Style | None = None) -> Engine:
    """The engine of `evaluate.engine`. An endpoint serves a model under the name of the arm's own, KEY/PHASE,
    so that no other training's is taken for it.
    """
    named = {
        "transformers": arm.folder,
        "vllm": f"{VLLM}{arm.folder}",
        "openai": f"{OPENAI}{params.endpoint}#{arm.model}",
    }
    return load(
        named[params.engine],
        style=style or own_style(arm.folder),
        device=params.device,
        batch=params.per_device_eval_batch_size,
        cache=params.cache,
        home=home,
        concurrency=min(params.per_device_eval_batch_size, MOST_REQUESTS),
        tensor_parallel=params.tensor_parallel_size,
    )


class _Ready:
    """An arm's engine, loaded when the first batch wants it and closed after the last: of an evaluation that
    goes on, nothing is loaded for what is there; and a GPU has room for one vLLM at a time.
    """

    def __init__(self, given: Engine | None, make: Callable[[], Engine]) -> None:
        self._given, self._make, self._own = given, make, None

    def __enter__(self) -> _Ready:
        return self

    def __call__(self) -> Engine:
        if self._given is None and self._own is None:
            self._own = self._make()
        return self._given or cast("Engine", self._own)

    def __exit__(self, *exception: object) -> None:
        own, self._own = self._own, None
        if isinstance(own, Closing):
            own.close()


def rankings(
    arm: Arm,
    test: Sequence[CandidateSet],
    by_id: Mapping[str, CandidateSet],
    params: EvaluateParams,
    log: Log,
    stage: str = "evaluate",
    engine: Engine | None = None,
    home: Path | None = None,
) -> Iterator[Tables]:
    """Episodes and steps of one model, task by task and in each of its ways.

    Args:
        stage: what they are stored under.
        engine: what runs the model; None loads it from the arm's folder.
        home: data folder, where a likelihood policy's scores are kept from run to run; None keeps none.
    """
    with _Ready(engine, lambda: _loaded(arm, params, home)) as ready:
        parts = list(work(arm, test, by_id, params, log, ready, stage))
        with Progress("ranking", sum(_size(what) for what, _ in parts), log, unit="queries"):
            yield from made(parts)


def work(
    arm: Arm,
    test: Sequence[CandidateSet],
    by_id: Mapping[str, CandidateSet],
    params: EvaluateParams,
    log: Log,
    engine: Callable[[], Engine],
    stage: str = "evaluate",
) -> Iterator[tuple[Sequence[object], Ranking]]:
    """The batches of one model, task by task and in each of its ways: what a batch is of, its queries last,
    and what makes its rows.
    """
    all_strategies = list(dict.fromkeys(strategy(name) for name in arm.strategies))
    origin = Origin(stage, arm.model, arm.name, params.seed)
    for name in sorted({given.task for given in test}):
        chosen = [given for given in test if given.task == name][: arm.queries]
        for thinking in arm.thinking:
            for way in all_strategies:
                for part in in_batches(chosen, params.queries_per_batch):
                    what = [arm.name, arm.model, str(way), thinking, [given.set_id for given in part]]
                    of = {given.set_id: by_id[given.set_id] for given in part}
                    yield what, Ranking(engine, origin, arm, way, thinking, part, of, params, log)


def _size(what: Sequence[object]) -> int:
    """Queries of a batch."""
    return len(cast("list[str]", what[-1]))


@dataclass(frozen=True, slots=True)
class Ranking:
    """A batch of queries that one model ranks in one way: called, it gives the rows."""

    engine: Callable[[], Engine]
    origin: Origin
    arm: Arm
    way: Strategy
    thinking: bool
    chosen: Sequence[CandidateSet]
    by_id: Mapping[str, CandidateSet]
    params: EvaluateParams
    log: Log

    def __call__(self) -> Tables:
        ranked = self.way(
            self.chosen,
            self.engine(),
            thinking=self.thinking,
            sampling=self.arm.sampling(self.params, self.chosen),
            tolerant=self.arm.tolerant,
        )
        tables = judged(ranked, self.by_id, self.origin)
        episodes = tables["episodes"]
        seconds, cut = episodes["milliseconds"].sum() / 1000, episodes["shortened_calls"].sum()
        think = "think" if self.thinking else "no-think"
        self.log(
            f"{self.chosen[0].task} {self.origin.arm} {self.way} {think}: MRR"
            f" {episodes['rr'].mean():.3f}, {episodes['invalid_calls'].sum()} of {episodes['calls'].sum()}"
            f" answers invalid, {len(self.chosen)} queries in {seconds:.0f} s"
            + (f", {cut} prompts with texts that were cut" if cut else "")
        )
        return tables

    def elsewhere(self) -> Ranking:
        """The same for a worker, which loads the model itself, and keeps no scores on a disk of its own."""
        load = partial(_loaded, self.arm, self.params, None)
        return replace(
            self, engine=partial(kept, str(self.arm.folder), load), log=logging.getLogger(__name__).info
        )


def score(
    test: Sequence[CandidateSet],
    teacher: pl.DataFrame,
    episodes: pl.DataFrame,
    first: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """What every arm and baseline got on every test query: what `evaluations` and `comparisons` are
    computed from.

    Args:
        teacher: set_id, label, score.
        first: the same of the evaluation's own first stages, with the name of each row in `teacher`.
    """
    named = teacher.select("set_id", "label", pl.lit("teacher").alias("teacher"), "score")
    scored = named if first is None else pl.concat([named, first.select(named.columns)])
    return pl.concat(
        [_baseline_scores(test, scored), _model_scores(episodes, {given.set_id: given for given in test})]
    )


def _model_scores(episodes: pl.DataFrame, by_id: Mapping[str, CandidateSet]) -> pl.DataFrame:
    groups = pl.DataFrame(
        {"set_id": list(by_id), "group_id": [given.group_id for given in by_id.values()]},
        schema={"set_id": pl.String, "group_id": pl.String},
    )
    malformed = (pl.col("invalid_calls") / pl.col("calls")).alias("malformed")
    return (
        episodes.join(groups, on="set_id")
        .with_columns(malformed)
        .select([pl.col(name).cast(kind) for name, kind in _SCORES.items()])
    )


def _baseline_scores(test: Sequence[CandidateSet], scored: pl.DataFrame) -> pl.DataFrame:
    rankings: dict[str, dict[str, list[str]]] = {
        "first-position": {given.set_id: list(given.labels) for given in test}
    }
    for given in test:
        prior_arm = _prior_arm(given.task)
        if prior_arm:
            rankings.setdefault(prior_arm, {})[given.set_id] = _by_score(
                given, {c.label: c.prior for c in given.candidates}
            )
    pools = first_stages.by_pool(scored)
    for given in test:
        for arm in (*first_stages.ROWS, "teacher", fusion.ROW):
            if (arm, given.set_id) in pools:
                rankings.setdefault(arm, {})[given.set_id] = _by_score(given, pools[arm, given.set_id])
    by_id = {given.set_id: given for given in test}
    rows = [
        _baseline_row("random", given, random_expectation([c.relevance for c in given.candidates]))
        for given in test
    ]
    for arm, ranked in rankings.items():
        values = per_query(ranked, {set_id: by_id[set_id].relevance for set_id in ranked})
        rows += [_baseline_row(arm, by_id[set_id], values[set_id]) for set_id in ranked]
    return pl.DataFrame(rows, schema=_SCORES)


def _prior_arm(name: str) -> str | None:
    known = task(name)
    return RUN_ARM if known.options.get("run") else PRIOR_ARM.get(known.scenario)


def _by_score(given: CandidateSet, scores: Mapping[str, float]) -> list[str]:
    """Labels by falling score; equal scores stay as shown (shuffled, hence chance)."""
    return sorted(given.labels, key=lambda label: -scores[label])


def _baseline_row(arm: str, given: CandidateSet, values: Mapping[str, float]) -> JsonObject:
    return {
        "set_id": given.set_id,
        "task": given.task,
        "group_id": given.group_id,
        "arm": arm,
        "model": arm,
        "strategy": "baseline",
        "thinking": False,
        **values,
        **dict.fromkeys(COSTS, 0.0),
    }


def evaluations(scores: pl.DataFrame, params: EvaluateParams) -> pl.DataFrame:
    """Means with 95% intervals: one row per task, arm, strategy, thinking and metric."""
    rows: list[JsonObject] = []
    for identity, part in scores.group_by(_ARM, maintain_order=True):
        for column in (*COLUMNS, *COSTS):
            interval = bootstrap_mean(
                part[column].to_numpy(),
                part["group_id"].to_list(),
                resamples=params.bootstrap,
                seed=params.seed,
            )
            rows.append(
                dict(zip(_ARM, identity, strict=True))
                | {
                    "metric": NAMES.get(column, column),
                    "value": interval.value,
                    "lower": interval.lower,
                    "upper": interval.upper,
                    "queries": interval.queries,
                }
            )
    return pl.DataFrame(rows, schema_overrides={"queries": pl.Int32})


def comparisons(scores: pl.DataFrame, params: EvaluateParams) -> pl.DataFrame:
    """Paired differences on shared queries: rl against sft and champion, every model against every
    baseline and its own no-think arm.
    """
    rows = [row for one, other in _pairs(scores) for row in _compare(one, other, params)]
    schema = {
        "task": pl.String,
        "strategy": pl.String,
        "thinking": pl.Boolean,
        "metric": pl.String,
        "arm": pl.String,
        "against": pl.String,
        "difference": pl.Float64,
        "lower": pl.Float64,
        "upper": pl.Float64,
        "queries": pl.Int32,
    }
    return pl.DataFrame(rows, schema=schema)


def _pairs(scores: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    parts = {
        identity: part
        for identity, part in scores.group_by(["task", "arm", "strategy", "thinking"], maintain_order=True)
    }
    for (name, arm, how, thinking), part in parts.items():
        if arm in BASELINES and arm != fusion.ROW:
            continue
        rivals = {"rl": ("untrained", "sft", "champion"), "sft": ("untrained",)}.get(arm, ())
        keys = [(name, other, how, thinking) for other in rivals] + [
            (name, other, "baseline", False) for other in BASELINES
        ]
        yield from ((part, parts[key]) for key in keys if key in parts and parts[key] is not part)


def _compare(one: pl.DataFrame, other: pl.DataFrame, params: EvaluateParams) -> Iterator[JsonObject]:
    both = one.join(other, on="set_id", suffix="_other")
    first = one.row(0, named=True)
    for column in ("rr", "ndcg_10", "hit_1"):
        differences = (both[column] - both[column + "_other"]).to_numpy()
        interval = bootstrap_mean(
            differences, both["group_id"].to_list(), resamples=params.bootstrap, seed=params.seed
        )
        yield {
            "task": first["task"],
            "strategy": first["strategy"],
            "thinking": first["thinking"],
            "metric": NAMES[column],
            "arm": first["arm"],
            "against": other["arm"][0],
            "difference": interval.value,
            "lower": interval.lower,
            "upper": interval.upper,
            "queries": interval.queries,
        }
