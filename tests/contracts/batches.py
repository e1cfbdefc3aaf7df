"""Small clean batches, one function a stage: what the contract tests spoil."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

WHEN = datetime(2024, 1, 1, tzinfo=UTC)
LIST = pl.List(pl.String)
Tables = dict[str, pl.DataFrame]
PARAMETERS = {"candidates": '{"params": {"pool_size": {}}, "tasks": [["rec", "recommendation", 3]]}'}
"""What a stage promised, as canonical JSON; `{}` for the others."""


def ingested() -> Tables:
    """Two tasks: `rec` (2 users, 8 movies, u1 touched m0 to m2) and `psg` (2 queries, 3 passages)."""
    movies = [
        {"task": "rec", "item_id": f"m{i}", "title": f"Movie {i}", "text": f"Movie {i} (1990)"}
        for i in range(8)
    ]
    passages = [
        {"task": "psg", "item_id": f"p{i}", "title": f"P{i}", "text": f"Passage {i}"} for i in range(3)
    ]
    touched = [("u1", "m0"), ("u1", "m1"), ("u1", "m2"), ("u2", "m3"), ("u2", "m4")]
    return {
        "sources": pl.DataFrame(
            {
                "task": ["rec", "psg"],
                "reader": ["recbole", "pydoc"],
                "location": ["x", "y"],
                "content_digest": ["d", "e"],
                "rows_read": [5, 5],
            }
        ),
        "items": pl.DataFrame(movies + passages),
        "interactions": pl.DataFrame(
            [
                {"task": "rec", "user_id": u, "item_id": i, "rating": 4.0, "happened_at": WHEN}
                for u, i in touched
            ]
        ),
        "queries": pl.DataFrame(
            [
                {"task": "psg", "query_id": f"q{i}", "group_id": f"g{i}", "text": f"Question {i}"}
                for i in range(2)
            ]
        ),
        "qrels": pl.DataFrame(
            [{"task": "psg", "query_id": f"q{i}", "item_id": f"p{i}", "relevance": 1.0} for i in range(2)]
        ),
    }


def pooled() -> Tables:
    """One training set (u1: history m0, m1; positive m2) and one test set (u2: history m3; positive m4),
    pools of 3.
    """
    sets = pl.DataFrame([_set("s1", "train", "u1", ["m0", "m1"]), _set("s2", "test", "u2", ["m3"])])
    pools = {"s1": ["m5", "m2", "m6"], "s2": ["m4", "m6", "m7"]}
    rows = [
        {
            "set_id": s,
            "slot": i,
            "label": "ABC"[i],
            "item_id": item,
            "text": f"Movie {item}",
            "relevance": float(item in ("m2", "m4")),
            "origin": "positive" if item in ("m2", "m4") else "popularity",
            "prior": 1.0,
        }
        for s, pool in pools.items()
        for i, item in enumerate(pool)
    ]
    return {"candidate_sets": sets, "candidates": pl.DataFrame(rows)}


def _set(set_id: str, split: str, user: str, history: list[str]) -> dict[str, object]:
    return {
        "set_id": set_id,
        "task": "rec",
        "split": split,
        "query_id": f"{user}-1",
        "group_id": user,
        "query": "",
        "query_items": history,
        "pool_size": 3,
    }


def distilled() -> Tables:
    """An accepted and a rejected trace on the training set, and scores for both sets."""
    base = {
        "set_id": "s1",
        "task": "rec",
        "mode": "exclude",
        "thinking": True,
        "pool": ["A", "B", "C"],
        "teacher": "knn",
        "teacher_kind": "classical",
        "completion": "<answer> A </answer>",
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "milliseconds": 1.0,
        "cost": 0.0,
    }
    traces = [
        base | {"trace_id": "t1", "action": ["A"], "accepted": True, "reason": ""},
        base
        | {
            "trace_id": "t2",
            "action": ["B"],
            "completion": "<answer> B </answer>",
            "accepted": False,
            "reason": "excludes_best",
        },
    ]
    scores = [
        {"set_id": s, "label": label, "teacher": "knn", "score": 0.5} for s in ("s1", "s2") for label in "ABC"
    ]
    return {"traces": pl.DataFrame(traces), "teacher_scores": pl.DataFrame(scores)}


def evaluated() -> Tables:
    """A direct episode of one call and an iterative one of two, both on the test set, their metrics, and
    the random row.
    """
    step = {
        "episode_id": "e1",
        "step": 0,
        "mode": "rank",
        "pool": ["A", "B", "C"],
        "prompt": "?",
        "completion": "<answer> A B C </answer>",
        "action": ["A", "B", "C"],
        "taken": ["A", "B", "C"],
        "valid": True,
        "reason": "",
        "reward": 0.3,
        "reward_format": 0.0,
        "reward_task": 0.3,
        "reward_trace": 0.0,
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "milliseconds": 2.0,
    }
    episode = {
        "episode_id": "e1",
        "stage": "evaluate",
        "set_id": "s2",
        "task": "rec",
        "model": "k/rl",
        "arm": "rl",
        "strategy": "direct",
        "thinking": True,
        "seed": 1,
        "ranking": ["A", "B", "C"],
        "pool": ["A", "B", "C"],
        "calls": 1,
        "invalid_calls": 0,
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "milliseconds": 2.0,
        "reward": 0.3,
        "rr": 1.0,
        "ndcg_5": 1.0,
        "ndcg_10": 1.0,
        "hit_1": 1.0,
        "hit_3": 1.0,
    }
    return {
        "episodes": pl.DataFrame(
            [episode, episode | {"episode_id": "e2", "strategy": "iterative", "calls": 2}]
        ),
        "steps": pl.DataFrame([step, _exclusion(step, 0, "ABC", "C"), _exclusion(step, 1, "AB", "B")]),
        "evaluations": evaluations(),
        "comparisons": pl.DataFrame(
            [
                {
                    "task": "rec",
                    "strategy": "direct",
                    "thinking": True,
                    "metric": "RR",
                    "arm": "rl",
                    "against": "random",
                    "difference": 0.4,
                    "lower": 0.1,
                    "upper": 0.7,
                    "queries": 1,
                }
            ]
        ),
    }


def _exclusion(step: dict[str, object], number: int, pool: str, label: str) -> dict[str, object]:
    done = {"action": [label], "taken": [label], "completion": f"<answer> {label} </answer>"}
    return step | done | {"episode_id": "e2", "step": number, "mode": "exclude", "pool": list(pool)}


def evaluations(rl: float = 0.9, rl_lower: float = 0.7) -> pl.DataFrame:
    """Rows of two arms: `rl` (MRR as given) and `random` (MRR 0.5)."""

    def arm(
        name: str, strategy: str, values: dict[str, tuple[float, float, float]]
    ) -> list[dict[str, object]]:
        return [
            {
                "task": "rec",
                "arm": name,
                "model": name,
                "strategy": strategy,
                "thinking": strategy != "baseline",
                "metric": metric,
                "value": value,
                "lower": lower,
                "upper": upper,
                "queries": 1,
            }
            for metric, (value, lower, upper) in values.items()
        ]

    mine = {
        "RR": (rl, rl_lower, 1.0),
        "nDCG@10": (0.8, 0.7, 0.9),
        "Hit@1": (0.6, 0.5, 0.7),
        "malformed": (0.1, 0.0, 0.2),
        "calls": (2.0, 2.0, 2.0),
        "prompt_tokens": (10.0, 10.0, 10.0),
        "completion_tokens": (5.0, 5.0, 5.0),
    }
    return pl.DataFrame(
        arm("rl", "iterative", mine)
        + arm("rl", "direct", {"RR": (0.4, 0.3, 0.5)})
        + arm("random", "baseline", {"RR": (0.5, 0.5, 0.5)})
    )
