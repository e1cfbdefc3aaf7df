"""The yardstick: what `candidates` draws, as one would first write it, a pandas loop over users. `python -m … ROWS`."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd

from tests.bench import shapes
from tests.bench.candidates import PARAMS
from tests.bench.measure import clock


def draw(frame: pd.DataFrame, n: int) -> list[tuple[str, str, list[str], list[str]]]:
    """User, positive, history and negatives of every target, by the rules of `candidates`."""
    rng = np.random.default_rng(PARAMS.seed)
    items = np.arange(shapes.ITEMS).astype(str)
    users = frame["user_id"].unique()
    test = set(rng.permutation(users)[: int(len(users) * PARAMS.test_share)])
    counts = frame[~frame["user_id"].isin(test)]["item_id"].value_counts()
    popularity = np.array([counts.get(item, 0) + 1.0 for item in items])
    place, sets = {item: at for at, item in enumerate(items)}, []
    for user, rows in frame.groupby("user_id"):
        touched = rows.sort_values("happened_at")["item_id"].tolist()
        weights = popularity.copy()
        weights[[place[item] for item in touched]] = 0
        weights /= weights.sum()
        targets = range((PARAMS.history + 1) // 2, len(touched))
        chosen = list(targets)[-PARAMS.test_per_user :] if user in test else rng.permutation(list(targets))[: PARAMS.train_per_user]
        for at in chosen:
            negatives = rng.choice(items, n - 1, replace=False, p=weights)
            sets.append((str(user), touched[at], touched[max(0, at - PARAMS.history) : at], list(negatives)))
    return sets


def main(rows: int) -> dict[str, float]:
    frame = shapes.interactions(rows).to_pandas()
    with clock() as taken:
        sets = draw(frame, PARAMS.pool_size["rec-movie"])
    return {**taken, "sets": len(sets)}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
