"""Classical teachers: a score for every candidate of every pool, from training groups only. Pure arrays, no
lake.

They are what a policy is taught to imitate and the row it is compared with, so they may use nothing of a
held-out group, and nothing of a training query's own answer either: item-kNN leaves the query's user out, the
router its question.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import scipy.sparse as sp

from ranker.config import Scenario, Task
from ranker.errors import BadConfig
from ranker.policy.prompts import Style, compact_words
from ranker.retrieval.bm25 import Bm25

WINDOW = 12
"""Two visits of one user count as neighbours up to so many places apart,"""
TAU = 3.0
"""less the further apart they lie: exp(−(gap − 1) / TAU)."""
ALL_VISITS = 0.1
"""Weight of two visits of one user at any distance."""
RECENCY = 4.0
"""History items count less the further back they lie: exp(−(back − 1) / RECENCY)."""
DAMPING = 0.85
"""Exponent of a candidate's popularity in the denominator; a history item's is 0.5. (Cosine has 0.5 for
both.)
"""
SHRINK = 3.0
NEIGHBOURS = 60
"""Training questions that vote on a language model."""
PRIOR_WEIGHT = 5.0
"""Votes that a model's mean over all training questions is worth."""
CLASSICAL = "classical"
"""Teacher's name that stands for each scenario's own."""
NAMES = {
    "recommendation": "item-knn",
    "passage": "idf-overlap",
    "routing": "knn-effect",
    "synthetic": "overlap",
}
_TEXTS: tuple[Scenario, ...] = ("passage", "synthetic", "recommendation")
RANKERS: dict[str, tuple[str, tuple[Scenario, ...]]] = {
    "item-knn": ("what users touched together", ("recommendation",)),
    "popularity": ("how many users touched an item", ("recommendation",)),
    "bm25": ("words that query and candidate share", _TEXTS),
    "idf-overlap": ("words that query and candidate share", _TEXTS),
    "overlap": ("words that query and candidate share", ("synthetic",)),
    "knn-effect": ("how language models did on similar questions", ("routing",)),
    "best-llm": ("how language models did on all questions", ("routing",)),
}
"""Ranker → what it reads, and the scenarios that have it."""


def ranker_of(teacher: str, task: Task, style: Style) -> str:
    """The classical ranker that `teacher` means for a task: itself, or the scenario's own for 'classical' and
    for a model.

    Raises:
        BadConfig: it cannot score that task, or reads texts where compact prompts show items as tokens.
    """
    if teacher not in RANKERS:
        return NAMES[task.scenario]
    reads, scenarios = RANKERS[teacher]
    hidden = task.item_tokens and style == "compact" and scenarios == _TEXTS
    if task.scenario in scenarios and not hidden:
        return teacher
    fitting = [
        name
        for name, (_, others) in RANKERS.items()
        if task.scenario in others and not (others == _TEXTS and task.item_tokens)
    ]
    raise BadConfig(
        "a teacher must be able to score a task's candidates",
        seen=f"{teacher} reads {reads}; {task.name} is {task.scenario}"
        + (" whose compact prompts show items as tokens, without text" if hidden else ""),
        remedy=f"set distill.teachers.{task.name} to {' or '.join(fitting)}",
    )


def item_knn(pools: pl.DataFrame, visits: pl.DataFrame) -> np.ndarray:
    """Item-kNN over co-visits of training users: near ones in time count most, popular candidates are damped.

    Args:
        pools: one row a candidate, with split, group_id, item_id, relevance and query_items (oldest first).
        visits: user_id, item_id of training users, in time order by user.

    Returns:
        Scores ≥ 0, float (rows of pools,). For a training query the visits of its own user are left out: of
        its pool only the positive is among them (negatives are untouched), and the history lies right before
        it.
    """
    ids = (
        pl.concat([visits["item_id"], pools["item_id"], pools["query_items"].explode()])
        .drop_nulls()
        .unique()
        .sort()
    )
    at = ids.to_frame("id").with_row_index("at")
    together, count = _visits_together(visits, at)
    pairs = pools.select(
        pl.int_range(pl.len()).alias("row"),
        "item_id",
        (pl.col("split") == "train").alias("own"),
        "relevance",
        "query_items",
    ).explode("query_items")
    pairs = pairs.with_columns(
        _at("item_id", at, "candidate"),
        _at("query_items", at, "seen"),
        (pl.len() - pl.int_range(pl.len())).over("row").alias("back"),
    )
    row, candidate, seen, back = (pairs[c].to_numpy() for c in ("row", "candidate", "seen", "back"))
    own = pairs["own"].to_numpy().astype(float)
    own_pair = own * (pairs["relevance"].to_numpy() > 0)
    joint = np.asarray(together[seen, candidate]).ravel() - own_pair * (
        ALL_VISITS + np.where(back <= WINDOW, np.exp(-(back - 1) / TAU), 0.0)
    )
    norm = (
        np.maximum(count[seen] - own, 1) ** 0.5 * np.maximum(count[candidate] - own_pair, 0.5) ** DAMPING
        + SHRINK
    )
    weight = np.exp(-(back - 1) / RECENCY)
    total = np.bincount(row, weight * np.maximum(joint, 0) / norm, minlength=pools.height)
    return total / np.maximum(np.bincount(row, weight, minlength=pools.height), 1e-12)


def _at(column: str, at: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(column).replace_strict(at["id"], at["at"], default=None).alias(name)


def _visits_together(visits: pl.DataFrame, at: pl.DataFrame) -> tuple[sp.csr_matrix, np.ndarray]:
    """Symmetric weights of item pairs, sparse (items, items), and visits by item, (items,)."""
    coded = visits.select((pl.col("user_id").rank("dense") - 1).alias("user"), _at("item_id", at, "item"))
    user, item, n = (
        coded["user"].to_numpy().astype(np.int64),
        coded["item"].to_numpy().astype(np.int64),
        at.height,
    )
    matrix = sp.csr_matrix(
        (np.ones(len(item), np.float32), (user, item)), shape=(int(user.max(initial=0)) + 1, n)
    )
    together = ALL_VISITS * (matrix.T @ matrix)
    for gap in range(1, min(WINDOW + 1, len(item))):
        same = user[:-gap] == user[gap:]
        near = sp.csr_matrix(
            (
                np.full(int(same.sum()), np.exp(-(gap - 1) / TAU), np.float32),
                (item[:-gap][same], item[gap:][same]),
            ),
            shape=(n, n),
        )
        together = together + near + near.T
    return together.tocsr(), np.asarray(matrix.sum(0)).ravel()


def idf_overlap(pools: pl.DataFrame, limit: int | None) -> np.ndarray:
    """Share of the query's words, weighted by idf over the pools' distinct texts, that the candidate's text
    holds; in [0, 1].

    Args:
        pools: one row a candidate, with query and text.
        limit: only the first so many words of a text are read (what a compact prompt shows); None reads all.
    """
    texts, queries = pools["text"].unique().sort(), pools["query"].unique().sort()
    held = _words("text", texts, limit)
    idf = held.group_by("word").len().select("word", (1 + texts.len() / pl.col("len")).log().alias("idf"))
    unseen = float(np.log(1 + texts.len()))
    asked = (
        _words("query", queries, None)
        .join(idf, on="word", how="left")
        .with_columns(pl.col("idf").fill_null(unseen))
    )
    total = asked.group_by("query").agg(pl.col("idf").sum().alias("total"))
    pairs = pools.select("query", "text").unique()
    shared = (
        pairs.join(asked, on="query")
        .join(held, on=["text", "word"])
        .group_by("query", "text")
        .agg(pl.col("idf").sum())
    )
    scored = (
        pools.select("query", "text")
        .join(shared, on=["query", "text"], how="left", maintain_order="left")
        .join(total, on="query", how="left", maintain_order="left")
    )
    return (scored["idf"].fill_null(0.0) / scored["total"].fill_null(1.0)).to_numpy()


def _words(name: str, texts: pl.Series, limit: int | None) -> pl.DataFrame:
    """Distinct (text, word) rows, words as a compact prompt shows them: what the teacher matches, the
    policy can match.
    """
    lists = [sorted(set(compact_words(text, limit))) for text in texts]
    return (
        pl.DataFrame({name: texts, "word": pl.Series(lists, dtype=pl.List(pl.String))})
        .explode("word")
        .drop_nulls()
    )


def nearest_effect(pools: pl.DataFrame, judgements: pl.DataFrame) -> np.ndarray:
    """Mean relevance of each candidate over the training questions nearest by BM25, drawn towards its mean
    over all of them.

    Args:
        pools: one row a candidate, with query_id, query and item_id.
        judgements: query_id, query, item_id, relevance of training questions; a question never votes on
            itself.
    """
    wide = judgements.pivot(
        on="item_id",
        index=["query_id", "query"],
        values="relevance",
        aggregate_function="first",
        maintain_order=True,
    )
    models = [column for column in wide.columns if column not in ("query_id", "query")]
    effect = wide.select(models).to_numpy().astype(float)
    mean = np.nanmean(effect, axis=0)
    effect = np.where(np.isnan(effect), mean, effect)
    asked = pools.select("query_id", "query").unique(maintain_order=True)
    votes = _votes(asked, wide.select("query_id", "query"))
    table = (votes @ effect + PRIOR_WEIGHT * mean) / (votes.sum(1, keepdims=True) + PRIOR_WEIGHT)
    long = (
        pl.DataFrame(table, schema=models)
        .with_columns(asked["query_id"])
        .unpivot(index="query_id", variable_name="item_id", value_name="score")
    )
    return (
        pools.select("query_id", "item_id")
        .join(long, on=["query_id", "item_id"], how="left", maintain_order="left")["score"]
        .fill_null(float(mean.mean()))
        .to_numpy()
    )


def _votes(asked: pl.DataFrame, known: pl.DataFrame) -> np.ndarray:
    """Weight of each known question for each asked one, (asked, known): BM25 over the best hit's, for the
    NEIGHBOURS nearest.
    """
    scores = Bm25(known["query"].to_list()).scores(asked["query"].to_list())
    itself = asked.with_row_index("row").join(known.with_row_index("column"), on="query_id")
    scores[itself["row"].to_numpy(), itself["column"].to_numpy()] = 0
    top = np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS]
    best = np.take_along_axis(scores, top, 1)
    votes = np.zeros_like(scores)
    np.put_along_axis(votes, top, best / np.maximum(best[:, :1], 1e-9), 1)
    return votes


def popularity(pools: pl.DataFrame) -> np.ndarray:
    """Training users that touched each candidate; a training query's own user, who touched its positive, is
    left out.

    Args:
        pools: one row a candidate, with split, relevance and prior (training users that touched it).
    """
    own = (pools["split"] == "train") & (pools["relevance"] > 0)
    return pools["prior"].to_numpy() - own.to_numpy().astype(float)


def mean_effect(pools: pl.DataFrame, judgements: pl.DataFrame) -> np.ndarray:
    """Mean relevance of each candidate over all training questions but the one asked; arguments as for
    `nearest_effect`.
    """
    means = judgements.group_by("item_id").agg(pl.col("relevance").sum().alias("sum"), pl.len().alias("n"))
    own = judgements.select("query_id", "item_id", pl.col("relevance").alias("own"))
    known = pools.select("query_id", "item_id").join(means, on="item_id", how="left", maintain_order="left")
    known = known.join(own, on=["query_id", "item_id"], how="left", maintain_order="left")
    others = pl.col("n") - pl.col("own").is_not_null()
    score = (
        pl.when(others > 0)
        .then((pl.col("sum") - pl.col("own").fill_null(0.0)) / others)
        .otherwise(judgements["relevance"].mean())
    )
    return known.select(score.alias("score"))["score"].to_numpy()


def bm25(pools: pl.DataFrame, limit: int | None) -> np.ndarray:
    """BM25 of each row's query and text, its statistics those of the pools' distinct texts; arguments as
    for `idf_overlap`.
    """
    texts = pools["text"].unique(maintain_order=True)
    index = Bm25([_shown(text, limit) for text in texts])
    places = pools.select("query", "text").join(
        texts.to_frame().with_row_index("at"), on="text", how="left", maintain_order="left"
    )
    scores = np.zeros(pools.height)
    for (query,), rows in places.with_row_index("row").group_by("query", maintain_order=True):
        asked = _shown(str(query), None if limit is None else len(str(query)))
        scores[rows["row"].to_numpy()] = index.scores([asked])[0, rows["at"].to_numpy()]
    return scores


def _shown(text: str, limit: int | None) -> str:
    return text if limit is None else " ".join(compact_words(text, limit))


def word_overlap(pools: pl.DataFrame) -> np.ndarray:
    """How many distinct words query and text share."""
    return np.array(
        [
            len(set(query.split()) & set(text.split()))
            for query, text in zip(pools["query"], pools["text"], strict=True)
        ],
        float,
    )


def grade_edges(scores: np.ndarray, grades: int) -> np.ndarray:
    """Thresholds that make a grade mean the same in every pool: quantiles of the teacher's scores over all
    training candidates.

    A mass of equal least scores (no overlap at all) takes grade 0 for itself; few distinct scores get a grade
    each.

    Returns:
        Increasing edges, at most grades − 1; see `grade`.
    """
    distinct = np.unique(scores)
    if len(distinct) <= grades:
        return distinct[:-1]
    if (scores == distinct[0]).mean() < 1 / grades:
        return np.unique(np.quantile(scores, np.arange(1, grades) / grades))
    rest = np.quantile(scores[scores > distinct[0]], np.arange(1, grades - 1) / (grades - 1))
    return np.unique(np.concatenate([distinct[:1], rest]))


def grade(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Grade of each score: how many edges lie below it."""
    return np.searchsorted(edges, scores, side="left")


def separate(grades: Sequence[int], scores: Sequence[float], top: int) -> list[int]:
    """`grades` of one pool, changed by at most 1 so that the strictly lowest score has the strictly lowest
    grade.
    """
    least = min(scores)
    floor = min(g for g, s in zip(grades, scores, strict=True) if s == least)
    if floor == top and min(scores) < max(scores):
        return [top - 1 if s == least else top for s in scores]
    return [g if s == least else max(g, floor + 1) for g, s in zip(grades, scores, strict=True)]
