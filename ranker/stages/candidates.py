"""Stage 2: draw queries and their candidate pools, split by user or query group before anything is derived,
or by time.

By time each side is drawn from what had happened by its end, as if nothing were known of later: the training
side is the same, row by row, whatever happens after it.

Everything is set-based (SQL, then whole arrays) and decided by the seed, bit by bit: SQL orders by digests of
(seed, ids), arrays are drawn by one generator over sorted rows. Texts stand for items wherever sameness
matters: a negative never has the text of anything its user ever touched, nor that of another candidate.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from ranker import config
from ranker.config import CandidateParams, Task
from ranker.datasets import readers
from ranker.datasets.interactions import Interactions, TooFew, sample_negatives
from ranker.errors import BadConfig, BadPool
from ranker.lake import Lake, candidate_sets
from ranker.progress import Progress
from ranker.refs import Check, Ref
from ranker.retrieval.bm25 import Bm25
from ranker.stages.run import run_cached
from ranker.types import CandidateSet, JsonObject, slot_labels

log = logging.getLogger("ranker.stages.candidates")
SIDES = ("train", "valid", "test")
SEALED = "sealed"
"""The side whose queries nobody draws but `sealed_sets`."""
CELLS = 8_000_000
"""Queries × catalogue drawn at once; bounds memory to some 100 MB."""
INTERACTIONS = 4_000_000
"""Interactions read at once; bounds memory to some 1 GB."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Moments, as ISO text in UTC, that separate the sides of a task: what happened before `train_before`
    trains, what happened from `test_from` on tests, and what lies between validates.
    """

    train_before: str
    test_from: str
    test_before: str | None
    """From when on nothing is read; None reads all there is."""

    def end(self, side: str) -> str | None:
        """When a side ends: what happened from then on is not known to it."""
        return {"train": self.train_before, "valid": self.test_from, "test": self.test_before}[side]


@dataclass(frozen=True, slots=True)
class Draw:
    """One task's drawing: the lake, where its rows are, and its sides (frame group_id, split), which its
    SQL reads as `splits`.
    """

    lake: Lake
    batch_id: str
    task: Task
    params: CandidateParams
    splits: pl.DataFrame
    cut: Cut | None = None
    """Of a task that is split by time."""
    side: str = ""
    """By time: the side that is drawn, and every user with it."""

    @property
    def until(self) -> str | None:
        """What happened from then on is not looked at."""
        return self.cut.end(self.side) if self.cut else None

    def by_side(self) -> Iterator[Draw]:
        """The drawings that make this one: by time one a side, in the order of time."""
        if self.cut is None:
            yield self
            return
        for side in SIDES:
            yield replace(self, side=side, splits=self.splits.with_columns(pl.lit(side).alias("split")))

    @property
    def n(self) -> int:
        return self.params.pool_size.get(self.task.name, self.task.pool_size)

    def named(self, name: str, **params: object) -> pl.DataFrame:
        return self.lake.named(name, {"batch_id": self.batch_id, "task": self.task.name, **params})

    def rng(self, purpose: str) -> np.random.Generator:
        return generator(self.params.seed, self.task.name, purpose, *([self.side] if self.side else []))


def run(
    lake: Lake,
    params: CandidateParams,
    *,
    source: Ref,
    check: Check,
    force: bool = False,
    only_finished: bool = False,
) -> Ref:
    """Draw candidate sets for every task of the ingest stage `source`.

    Returns:
        A Ref whose details hold: source (the ingest key), seed, test_share, valid_share, audit_share, gates
        and gate (what decides the sides), `cuts` by task where time decides, and by task the sets of each
        side, the pool size and what was left out.

    Raises:
        BadPool: a query without a positive, a pool below two, too few negatives, or one text twice in a pool.
        BadConfig: sides by time, and no task has times.
    """
    tasks = [config.task(name) for name in source.details["tasks"]]
    found = cuts(lake, source.key, tasks, params)
    times = {"cuts": {name: asdict(cut) for name, cut in found.items()}} if found else {}

    def produce(key: str):
        with Progress("drawing pools, tasks", len(tasks), log.info) as progress:
            drawn = {
                task.name: draw(lake, source.key, task, params, found.get(task.name))
                for task in progress.over(tasks)
            }
        finished = {
            name: _finish(sets, pools, name, key, generator(params.seed, name, "slots"))
            for name, (sets, pools) in drawn.items()
        }
        tables = {
            "candidate_sets": pl.concat([s for s, _ in finished.values()]),
            "candidates": pl.concat([c for _, c in finished.values()]),
        }
        facts = {
            task.name: {**_sizes(finished[task.name][0]), **_undecided(lake, source.key, task)}
            for task in tasks
        }
        return tables, {"source": source.key, **split_shares(params), **times, "tasks": facts}

    shapes = [(task.name, task.scenario, task.pool_size, task.pools_given) for task in tasks]
    return run_cached(
        lake,
        "candidates",
        parameters={"params": params, "tasks": shapes, **times},
        inputs=[source],
        roots=[__name__],
        check=check,
        force=force,
        only_finished=only_finished,
        produce=produce,
    )


def _sizes(sets: pl.DataFrame) -> JsonObject:
    return {
        **dict(sets["split"].value_counts().sort("split").iter_rows()),
        "pool_size": sets["pool_size"].max(),
    }


def _undecided(lake: Lake, batch_id: str, task: Task) -> JsonObject:
    """What `_given` leaves out, counted; nothing where negatives are drawn."""
    count = (
        lake.named("candidates/undecided", {"batch_id": batch_id, "task": task.name}).item()
        if task.pools_given
        else 0
    )
    return {"left_out": {"queries whose candidates are all equal": count}} if count else {}


def splits(lake: Lake, batch_id: str, task: str, params: CandidateParams) -> pl.DataFrame:
    """The side of each group (group_id, split), the same wherever it is asked."""
    return lake.named("candidates/splits", {"batch_id": batch_id, "task": task, **split_shares(params)})


def split_shares(params: CandidateParams) -> JsonObject:
    """What decides the sides; later stages repeat it from this stage's details."""
    return candidate_sets.split_shares(params.model_dump() | {"seed": str(params.seed)})


def cuts(lake: Lake, batch_id: str, tasks: Sequence[Task], params: CandidateParams) -> dict[str, Cut]:
    """Where time separates the sides, of each task that is split so; empty where none is.

    Raises:
        BadConfig: sides by time, and no task has times.
        BadPool: a task has nothing before `test_before`, or its shares leave a side without a moment.
    """
    if params.split == "hash":
        return {}
    timed = [task for task in tasks if readers.timed(task)]
    others = [task.name for task in tasks if task not in timed]
    if not timed:
        raise BadConfig(
            "a split by time needs a task whose source says when each interaction happened",
            seen=f"{', '.join(others)}: no such times",
            remedy='set candidates.split to "hash", or add a task whose reader is '
            + " or ".join(readers.TIMED),
        )
    for name in others:
        log.info("%s has no times: it is split by a hash of its groups", name)
    return {task.name: _cut(lake, batch_id, task.name, params) for task in timed}


def _cut(lake: Lake, batch_id: str, task: str, params: CandidateParams) -> Cut:
    before = params.test_before or None
    if params.train_before:
        return Cut(params.train_before, params.test_from, before)
    shares = {"test_share": params.test_share, "valid_share": params.valid_share}
    where = {"batch_id": batch_id, "task": task, "test_before": before}
    row = lake.named("candidates/cuts", {**where, **shares}).row(0, named=True)
    if row["train_before"] is None or row["test_from"] is None:
        raise BadPool(
            f"task {task}: a split by time needs interactions",
            seen=f"none before candidates.test_before {before}" if before else "none",
            remedy="give more data, or a later candidates.test_before",
        )
    moments = [datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us) for us in row.values()]
    return Cut(*(moment.isoformat() for moment in moments), test_before=before)


def sealed_sets(lake: Lake, batch_id: str, task: Task, params: CandidateParams) -> list[CandidateSet]:
    """The sealed queries of a task with their pools, drawn as test queries are; always the same, and never
    stored. Empty where none are sealed.

    Raises:
        BadPool: as `draw`.
    """
    if SEALED not in set(splits(lake, batch_id, task.name, params)["split"]):
        return []
    few = params.model_copy(update={"max_train": 1, "max_valid": 1})
    sets, pools = draw(lake, batch_id, task, few, unseal=True)
    asked = sets.filter(pl.col("split") == "test").with_columns(pl.lit(SEALED).alias("split"))
    return candidate_sets.from_rows(
        *_finish(asked, pools, task.name, SEALED, generator(params.seed, task.name, "slots"))
    )


def draw(
    lake: Lake,
    batch_id: str,
    task: Task,
    params: CandidateParams,
    cut: Cut | None = None,
    *,
    unseal: bool = False,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One task's sets and pools.

    Args:
        cut: where time separates the sides; None leaves them to the hash.
        unseal: the sealed side is drawn as the test side, and the test side is sealed.

    Returns:
        Sets: query_id, group_id, split, query, query_items; one row a query, sorted by query_id.
        Pools: query_id, item_id, text, relevance, origin, prior; pool-size rows a query, not yet shuffled.
    """
    sides = splits(lake, batch_id, task.name, params)
    if unseal:
        sides = sides.with_columns(pl.col("split").replace({"test": SEALED, SEALED: "test"}))
    if cut is None and not {"train", "test"} <= set(sides["split"]):
        raise BadPool(
            f"task {task.name}: both train and test need a user or query group",
            seen=f"{sides.height} group(s) in all",
            remedy="give more data, or another test_share",
        )
    drawing = Draw(lake, batch_id, task, params, sides, cut)
    lake.register("splits", sides.with_columns(_numbers()))
    if drawing.n < 2:
        raise BadPool(
            f"task {task.name}: a pool holds at least 2 candidates",
            seen=f"pool_size {drawing.n}",
            remedy="raise candidates.pool_size",
        )
    return (_given if task.pools_given else _BUILDERS[task.scenario])(drawing)


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """A random generator for one purpose; other purposes draw independently of it."""
    mixed = hashlib.sha256("|".join((str(seed), *purpose)).encode()).digest()
    return np.random.default_rng(int.from_bytes(mixed[:8], "big"))


# -- recommendation


@dataclass(frozen=True, slots=True)
class _Part:
    """Queries that are drawn from the same interactions: those of all sides, or by time of one."""

    d: Draw
    interactions: Interactions
    targets: np.ndarray
    """Places in `interactions`, rising."""
    users: np.ndarray
    """Of each target, its user's number."""
    sets: pl.DataFrame
    """A row a target."""


def _recommendation(d: Draw) -> tuple[pl.DataFrame, pl.DataFrame]:
    items = d.named("candidates/items")
    parts = list(_parts(d, items))
    sets = pl.concat([part.sets for part in parts])
    needed = f"users with more than {(d.params.history + 1) // 2} items each, or a shorter candidates.history"
    when = f", before {d.cut.train_before} as well as from {d.cut.test_from} on" if d.cut else ""
    _require_sides(d, sets, needed + when)
    training = parts[0]
    touched = training.interactions.counts(
        (training.d.splits["split"] == "train").to_numpy(), items.height
    )  # by time: what had happened by the end of training
    return sets.sort("query_id"), pl.concat([_pools(part, items, touched) for part in parts])


def _parts(d: Draw, items: pl.DataFrame) -> Iterator[_Part]:
    known = np.zeros(d.splits.height, np.int64)
    for own in d.by_side():
        interactions = _interactions(own, items)
        targets = _targets(own, interactions, known)
        users = interactions.owners(targets)
        yield _Part(own, interactions, targets, users, _asked(own, interactions, targets, users, items))
        known = np.diff(interactions.starts)


def _pools(part: _Part, items: pl.DataFrame, touched: np.ndarray) -> pl.DataFrame:
    """The pool of each target: itself, and what its user had not touched by the end of its side."""
    d, interactions = part.d, part.interactions
    positives = interactions.items[part.targets][:, None]
    shown = np.concatenate([positives, _negatives(d, interactions, part.users, items, touched)], axis=1)
    offered = items.select("item_id", "text", pl.Series("prior", touched, dtype=pl.Float64))
    first = pl.Series(np.arange(shown.size) % d.n == 0)
    return offered[shown.ravel()].select(
        part.sets["query_id"].gather(np.repeat(np.arange(len(part.targets)), d.n)),
        "item_id",
        first.cast(pl.Float64).alias("relevance"),
        pl.when(first).then(pl.lit("positive")).otherwise(pl.lit(d.params.negatives)).alias("origin"),
        "text",
        "prior",
    )


def _interactions(d: Draw, items: pl.DataFrame) -> Interactions:
    """First interactions of all users until the drawing's end, read a part of the users at a time; users are
    numbered as in `d.splits`, items as in `items`.
    """
    where = {"batch_id": d.batch_id, "task": d.task.name}
    rows = d.lake.rows(
        "select count(*) from interactions where batch_id = $batch_id and task = $task", where
    ).item()
    d.lake.register("catalogue", items.select("item_id", _numbers()))
    bounds = np.linspace(0, d.splits.height, max(1, -(-rows // INTERACTIONS)) + 1).astype(int).tolist()
    with Progress(f"{d.task.name}: reading interactions of users", d.splits.height, log.info) as progress:

        def read(low: int, high: int) -> pl.DataFrame:
            part = d.named("candidates/interactions", low=low, high=high, until=d.until)
            progress.done(parts=high - low)
            return part

        parts = (read(low, high) for low, high in pairwise(bounds))
        arrays = (
            (part["user_number"].to_numpy(), part["item_number"].to_numpy(), part["happened_at"].to_numpy())
            for part in parts
        )
        return Interactions.gathered(arrays, d.splits.height, d.rng("ties"))


def _targets(d: Draw, interactions: Interactions, known: np.ndarray) -> np.ndarray:
    """Interactions that become positives, rising: held-out users' latest, some of each training user's, and
    at most so many a side.

    Args:
        known: how many of each user's first interactions belong to an earlier side, int (users,).
    """
    p, chosen = d.params, list[np.ndarray]()
    most = {"train": p.max_train, "valid": p.max_valid, "test": p.max_test}
    for side in SIDES:
        users, rng = np.flatnonzero((d.splits["split"] == side).to_numpy()), d.rng(f"targets {side}")
        least = np.maximum(known[users], (p.history + 1) // 2)
        at = (
            interactions.some(users, p.train_per_user, least, rng)
            if side == "train"
            else interactions.latest(users, p.test_per_user, least)
        )
        chosen.append(
            rng.choice(at, most[side], replace=False, shuffle=False) if len(at) > most[side] else at
        )
    return np.sort(np.concatenate(chosen))


def _asked(
    d: Draw, interactions: Interactions, targets: np.ndarray, users: np.ndarray, items: pl.DataFrame
) -> pl.DataFrame:
    """query_id, group_id, split, query (the history's titles), query_items (oldest first): a row a target,
    in their order.
    """
    before, counts = interactions.before(targets, d.params.history)
    history = items[before].select(
        pl.Series("row", np.repeat(np.arange(len(targets)), counts)), "item_id", "title"
    )
    asked = history.group_by("row", maintain_order=True).agg("item_id", "title")
    return d.splits[users].select(
        pl.concat_str("group_id", items["item_id"].gather(interactions.items[targets]), separator=":").alias(
            "query_id"
        ),
        "group_id",
        "split",
        asked["title"].list.join("; ").alias("query"),
        asked["item_id"].alias("query_items"),
    )


def _negatives(
    d: Draw, interactions: Interactions, users: np.ndarray, items: pl.DataFrame, touched: np.ndarray
) -> np.ndarray:
    """Rows of `items` that each target's user never touched, int (targets, n − 1): by (training popularity +
    1), or uniformly. Of items with one text the most touched stands for all.
    """
    text = items["same"].to_numpy()
    order = np.lexsort((-touched, text))
    shown = order[np.unique(text[order], return_index=True)[1]]
    weight = touched[shown] + 1 if d.params.negatives == "popularity" else np.ones(len(shown), np.int64)
    try:
        return shown[sample_negatives(interactions, users, text, weight, d.n - 1, d.rng("negatives"))]
    except TooFew as error:
        names = d.splits["group_id"].gather([error.user])
        raise _too_few(d, "user", names.item(), "has touched nearly everything", error.left) from error


# -- passages


def _passage(d: Draw) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One positive (the most relevant), and negatives from BM25's best and at random; BM25's statistics
    are those of all passages.
    """
    p = d.params
    items, judged = d.named("candidates/items"), d.named("candidates/judged", seed=str(p.seed))
    sets = d.named(
        "candidates/queries",
        seed=str(p.seed),
        whole=True,
        max_test=p.max_test,
        max_valid=p.max_valid,
        max_train=p.max_train,
    )
    _require_sides(d, sets, "queries in more than one group")
    relevant = judged.filter(pl.col("relevance") > 0).join(items.select("item_id", "same"), on="item_id")
    best = relevant.sort(["query_id", "relevance", "draw"], descending=[False, True, False]).unique(
        "query_id", keep="first", maintain_order=True
    )
    _require_positive(d, sets, best)
    sets = sets.join(
        best.select("query_id", "item_id", "relevance", "same"),
        on="query_id",
        how="left",
        maintain_order="left",
    )
    sets, found, origins, scores = _other_passages(d, sets, items, relevant)
    catalogue = items.unique("same", keep="first", maintain_order=True).sort("same")
    negatives = _long(
        sets["query_id"], found, catalogue["item_id"], pl.lit(0.0), pl.Series("origin", origins.ravel())
    )
    positives = sets.select("query_id", "item_id", "relevance", pl.lit("positive").alias("origin"))
    prior = pl.Series("prior", np.concatenate([scores[:, 0], scores[:, 1:].ravel()]), dtype=pl.Float64)
    pools = (
        pl.concat([positives, negatives])
        .with_columns(prior)
        .join(items.select("item_id", "text"), on="item_id")
    )
    return (
        sets.select(
            "query_id", "group_id", "split", "query", pl.lit([], pl.List(pl.String)).alias("query_items")
        ),
        pools,
    )


def _other_passages(
    d: Draw, sets: pl.DataFrame, items: pl.DataFrame, relevant: pl.DataFrame
) -> tuple[pl.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """The sets, negatives (numbers of texts) and their origins, both (queries, n − 1), and BM25 scores
    (queries, n), the positive's first.

    Never a negative: a text that is relevant to the query, or that is relevant only to queries of another
    side (so that no passage of a test query is ever shown in training, nor the reverse). A validation query
    that finds too few others on its small side is left out; one of the other sides is refused.
    """
    texts = items.unique("same", keep="first", maintain_order=True).sort("same")["text"].to_list()
    index = Bm25(texts)
    foreign = {side: _foreign(relevant, side, len(texts)) for side in SIDES}
    own = relevant.group_by("query_id").agg("same")
    hard, rng = min(round(d.params.bm25_share * (d.n - 1)), len(texts)), d.rng("passages")
    kept: list[pl.DataFrame] = []
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for part in _chunks(sets, len(texts)):
        scores = index.scores(part["query"].to_list())
        barred = np.stack([foreign[side] for side in part["split"]])
        barred[_pairs(part.select("query_id"), own, "query_id")] = True
        keys = rng.standard_exponential(scores.shape, dtype=np.float32)
        _put_hits_first(keys, np.where(barred, -1.0, scores), hard)
        keys[barred] = np.inf
        found = _smallest(keys, d.n - 1)
        taken = np.take_along_axis(keys, found, 1)
        left = np.isfinite(taken).sum(1)
        full = (left >= d.n - 1) | (part["split"] != "valid").to_numpy()
        part, found, taken, scores, left = (
            part.filter(pl.Series(full)),
            found[full],
            taken[full],
            scores[full],
            left[full],
        )
        _require_negatives(d, part["query_id"], left, "query", "leaves too few other passages on its side")
        shown = np.concatenate([part["same"].to_numpy()[:, None], found], axis=1)
        kept.append(part)
        parts.append((found, np.where(taken < 0, "bm25", "random"), np.take_along_axis(scores, shown, 1)))
    found, origins, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return pl.concat(kept), found, origins, scores


def _foreign(relevant: pl.DataFrame, side: str, texts: int) -> np.ndarray:
    """Which texts are relevant to queries of other sides only, bool (texts,)."""
    here, there = np.zeros(texts, bool), np.zeros(texts, bool)
    here[relevant.filter(pl.col("split") == side)["same"].to_numpy()] = True
    there[relevant.filter(pl.col("split") != side)["same"].to_numpy()] = True
    return there & ~here


def _put_hits_first(keys: np.ndarray, scores: np.ndarray, hard: int) -> None:
    """Give each row's `hard` best positive scores the smallest keys, in place; equal scores in the order
    of their columns.
    """
    if hard:
        columns: int = scores.shape[1]
        behind = np.multiply(np.arange(columns, dtype=np.int64), 1e-9, dtype=np.float64)
        ordered = scores.astype(np.float64) - behind
        top = _smallest(-ordered, hard)
        best = np.take_along_axis(scores, top, 1) > 0
        np.put_along_axis(
            keys,
            top,
            np.where(best, np.arange(hard) - float(hard), np.take_along_axis(keys, top, 1)).astype(
                np.float32
            ),
            1,
        )


# -- pools that come with the data (routing, synthetic, passages where the task says so)


def _given(d: Draw) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The judged candidates of each query: all, or n with a best and a worst one. A query whose candidates
    are all equal is left out.
    """
    p = d.params
    items, judged = d.named("candidates/items"), d.named("candidates/judged", seed=str(p.seed))
    sets = d.named(
        "candidates/queries",
        seed=str(p.seed),
        whole=False,
        max_test=p.max_test,
        max_valid=p.max_valid,
        max_train=p.max_train,
    )
    _require_sides(d, sets, "queries whose candidates differ in relevance, in more than one group")
    pools = _keep(judged.join(sets.select("query_id"), on="query_id"), d.n).join(
        items.select("item_id", "text", "same"), on="item_id", how="left"
    )
    _require_pools(d, sets, pools)
    prior = _prior(d, sets, judged, pools)
    pools = pools.with_columns(prior.alias("prior"), pl.lit("given").alias("origin"))
    return sets.with_columns(pl.lit([], pl.List(pl.String)).alias("query_items")), pools.select(
        "query_id", "item_id", "relevance", "origin", "prior", "text"
    )


def _prior(d: Draw, sets: pl.DataFrame, judged: pl.DataFrame, pools: pl.DataFrame) -> pl.Series:
    """First-stage scores: those of the run that came with the data, else the scenario's own."""
    if pools["first_stage"].null_count() < pools.height:
        return pools["first_stage"]
    return _bm25(sets, pools) if d.task.scenario == "passage" else _mean_relevance(judged, pools)


def _mean_relevance(judged: pl.DataFrame, pools: pl.DataFrame) -> pl.Series:
    """Prior of each row of `pools`: its item's mean relevance over the judged training queries alone, 0
    where there are none.
    """
    mean = (
        judged.filter(pl.col("split") == "train")
        .group_by("item_id")
        .agg(pl.col("relevance").mean().alias("prior"))
    )
    return pools.join(mean, on="item_id", how="left", maintain_order="left")["prior"].fill_null(0.0)


def _bm25(sets: pl.DataFrame, pools: pl.DataFrame) -> pl.Series:
    """Prior of each row of `pools`: BM25 of its query and text, its statistics those of all candidates."""
    texts = pools["text"].unique(maintain_order=True)
    index, numbered = (
        Bm25(texts.to_list()),
        pools.select("query_id", "text").join(
            texts.to_frame("text").with_row_index("at"), on="text", maintain_order="left"
        ),
    )
    parts: list[pl.DataFrame] = []
    for part in _chunks(sets, len(texts)):
        scores = index.scores(part["query"].to_list())
        rows = numbered.join(
            part.select("query_id").with_row_index("row"), on="query_id", maintain_order="left"
        ).select("query_id", "text", "row", "at")
        parts.append(
            rows.select(
                "query_id",
                "text",
                pl.Series("prior", scores[rows["row"].to_numpy(), rows["at"].to_numpy()], dtype=pl.Float64),
            )
        )
    return pools.join(pl.concat(parts), on=["query_id", "text"], how="left", maintain_order="left")["prior"]


def _keep(offered: pl.DataFrame, n: int) -> pl.DataFrame:
    """At most n candidates a query by drawn order, its first best and its first worst always among them."""
    by = pl.col("relevance")
    first_best = pl.col("draw").filter(by == by.max()).min().over("query_id") == pl.col("draw")
    first_worst = pl.col("draw").filter(by == by.min()).min().over("query_id") == pl.col("draw")
    ranked = offered.with_columns((~(first_best | first_worst)).alias("other")).sort(
        "query_id", "other", "draw"
    )
    return ranked.filter(pl.int_range(pl.len()).over("query_id") < n).drop("other")


_BUILDERS: dict[str, Callable[[Draw], tuple[pl.DataFrame, pl.DataFrame]]] = {
    "recommendation": _recommendation,
    "passage": _passage,
}
"""Scenarios whose negatives are drawn."""


# -- promises that must hold


def _require_sides(d: Draw, sets: pl.DataFrame, needed: str) -> None:
    counts = {side: sets.filter(pl.col("split") == side).height for side in ("train", "test")}
    if not all(counts.values()):
        raise BadPool(
            f"task {d.task.name}: both sides need queries",
            seen=", ".join(f"{side} {count}" for side, count in counts.items()),
            remedy=f"the source must hold {needed}",
        )


def _require_positive(d: Draw, sets: pl.DataFrame, best: pl.DataFrame) -> None:
    without = sets.join(best, on="query_id", how="anti")
    if without.height:
        raise BadPool(
            f"task {d.task.name}: every query needs a positive",
            seen=f"query {without['query_id'][0]!r} and {without.height - 1} more have none",
            remedy="add a judgement with relevance above 0, or drop the query",
        )


def _require_negatives(d: Draw, ids: pl.Series, left: np.ndarray, kind: str, why: str) -> None:
    """`left`: how many usable negatives each row got."""
    if (left < d.n - 1).any():
        worst = int(np.argmin(left))
        raise _too_few(d, kind, ids[worst], why, left[worst])


def _too_few(d: Draw, kind: str, name: str, why: str, left: int) -> BadPool:
    return BadPool(
        f"task {d.task.name}: every pool needs {d.n - 1} negatives",
        seen=f"{kind} {name!r} {why}: {left} left",
        remedy=f"lower candidates.pool_size.{d.task.name}, or drop this {kind}",
    )


def _require_pools(d: Draw, sets: pl.DataFrame, pools: pl.DataFrame) -> None:
    """Given pools: n candidates each, no text twice."""
    sizes = sets.join(
        pools.group_by("query_id").agg(
            pl.len(), pl.col("same").n_unique().alias("texts"), pl.col("item_id").sort().first()
        ),
        on="query_id",
    )
    small = sizes.filter(pl.col("len") < d.n)
    if small.height:
        raise BadPool(
            f"task {d.task.name}: every pool holds {d.n} candidates",
            seen=f"query {small['query_id'][0]!r} comes with {small['len'][0]}",
            remedy=(
                f"lower candidates.pool_size.{d.task.name} to {sizes['len'].min()}, or give more candidates"
            ),
        )
    twin = sizes.filter(pl.col("texts") < pl.col("len"))
    if twin.height:
        same = (
            pools.filter(
                (pl.col("query_id") == twin["query_id"][0]) & pl.col("same").is_duplicated().over("query_id")
            )["item_id"]
            .sort()
            .to_list()
        )
        raise BadPool(
            f"task {d.task.name}: no two candidates of a pool may have the same text",
            seen=f"query {twin['query_id'][0]!r}: items {', '.join(same)}",
            remedy="give them texts that differ, or drop one",
        )


def _numbers() -> pl.Expr:
    return pl.int_range(pl.len(), dtype=pl.Int32).alias("number")


# -- arrays


def _chunks(frame: pl.DataFrame, width: int) -> Iterator[pl.DataFrame]:
    yield from frame.iter_slices(max(1, CELLS // max(1, width)))


def _smallest(keys: np.ndarray, k: int) -> np.ndarray:
    """Columns of each row's k smallest keys, smallest first, int (rows, min(k, columns))."""
    k = min(k, keys.shape[1])
    found = np.argpartition(keys, k - 1, axis=1)[:, :k]
    return np.take_along_axis(found, np.argsort(np.take_along_axis(keys, found, 1), axis=1, kind="stable"), 1)


def _pairs(rows: pl.DataFrame, lists: pl.DataFrame, on: str) -> tuple[np.ndarray, np.ndarray]:
    """Index arrays (row, column) of every number in `lists.same` that belongs to a row by `on`."""
    long = rows.with_row_index("row").join(lists, on=on).select("row", "same").explode("same")
    return long["row"].to_numpy(), long["same"].to_numpy()


def _long(
    ids: pl.Series, at: np.ndarray, names: pl.Series, relevance: pl.Expr, origin: pl.Expr | pl.Series
) -> pl.DataFrame:
    """One row per query and number in `at` (queries, k), with `names[number]` as item_id."""
    flat = pl.DataFrame({"query_id": np.repeat(np.arange(len(ids)), at.shape[1]), "item_id": at.ravel()})
    return flat.select(
        ids.gather(flat["query_id"]).alias("query_id"),
        names.gather(flat["item_id"]).alias("item_id"),
        relevance.alias("relevance"),
        origin.alias("origin"),
    )


# -- tables


def _finish(
    sets: pl.DataFrame, pools: pl.DataFrame, task: str, key: str, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The two tables: ids, shuffled slots, labels."""
    named = sets.with_columns(
        pl.Series("set_id", [_id(task, query, key) for query in sets["query_id"]]), pl.lit(task).alias("task")
    )
    ordered = pools.join(named.select("query_id", "set_id"), on="query_id").sort("query_id", "item_id")
    shuffled = ordered.with_columns(pl.Series("order", rng.random(ordered.height))).sort("set_id", "order")
    slotted = shuffled.with_columns(pl.int_range(pl.len(), dtype=pl.Int32).over("set_id").alias("slot"))
    labels = pl.Series(slot_labels(int(slotted["slot"].max()) + 1))  # type: ignore[arg-type]
    slotted = slotted.with_columns(labels.gather(slotted["slot"]).alias("label"))
    sizes = slotted.group_by("set_id").agg(pl.len().cast(pl.Int32).alias("pool_size"))
    columns = ("set_id", "task", "split", "query_id", "group_id", "query", "query_items", "pool_size")
    return named.join(sizes, on="set_id").sort("set_id").select(columns), slotted.select(
        "set_id", "slot", "label", "item_id", "text", "relevance", "origin", "prior"
    )


def _id(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
