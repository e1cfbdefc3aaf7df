"""The yardstick: what `candidates.draw` gives, as one would first write it, a pandas loop over users. `python
-m … ROWS`.

It begins with the interactions and titles in memory, where `candidates.draw` reads them from the lake.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd

from benchmarks import shapes
from benchmarks.candidates import PARAMS
from benchmarks.measure import clock


def draw(frame: pd.DataFrame, titles: list[str], n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sets and pools as `candidates.draw` gives them, drawn by its rules; item i is called str(i), and its
    text is its title.
    """
    rng, p = np.random.default_rng(PARAMS.seed), PARAMS
    users = rng.permutation(frame["user_id"].unique())
    tests = int(len(users) * p.test_share)
    valids = int((len(users) - tests) * p.valid_share)
    side = {
        user: "test" if at < tests else "valid" if at < tests + valids else "train"
        for at, user in enumerate(users)
    }
    counts = frame[frame["user_id"].map(side) == "train"]["item_id"].value_counts()
    prior = np.array([float(counts.get(str(item), 0)) for item in range(len(titles))])
    sets, pools = [], []
    for user, rows in frame.groupby("user_id"):
        touched = [int(item) for item in rows.sort_values("happened_at")["item_id"]]
        weights = prior + 1.0
        weights[touched] = 0.0
        weights /= weights.sum()
        targets = range((p.history + 1) // 2, len(touched))
        chosen = (
            rng.permutation(targets)[: p.train_per_user]
            if side[user] == "train"
            else targets[-p.test_per_user :]
        )
        for at in chosen:
            query, history = f"{user}:{touched[at]}", touched[max(0, at - p.history) : at]
            sets.append(
                (
                    query,
                    user,
                    side[user],
                    "; ".join(titles[item] for item in history),
                    [str(item) for item in history],
                )
            )
            negatives = rng.choice(len(titles), n - 1, replace=False, p=weights)
            pools.append((query, str(touched[at]), 1.0, "positive", titles[touched[at]], prior[touched[at]]))
            pools += [(query, str(item), 0.0, p.negatives, titles[item], prior[item]) for item in negatives]
    return (
        pd.DataFrame(sets, columns=["query_id", "group_id", "split", "query", "query_items"]),
        pd.DataFrame(pools, columns=["query_id", "item_id", "relevance", "origin", "text", "prior"]),
    )


def main(rows: int) -> dict[str, float]:
    frame, titles = shapes.interactions(rows).to_pandas(), shapes.titles().to_list()
    with clock() as taken:
        sets, _ = draw(frame, titles, PARAMS.pool_size["rec-movie"])
    return {**taken, "sets": len(sets)}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
