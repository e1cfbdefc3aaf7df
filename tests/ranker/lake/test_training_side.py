"""What may be counted: of a hashed split the training users' interactions, of one by time those from before
training ends.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ranker.config import CandidateParams
from ranker.lake import Lake, training_side
from ranker.stages import candidates
from tests.ranker.material import movies, taste


@pytest.mark.parametrize("split", ["hash", "time"])
def test_only_the_training_side_is_counted(lake: Lake, tmp_path: Path, split: str) -> None:
    params = CandidateParams(history=4, split=split)  # pyright: ignore[reportArgumentType]
    ref = movies(lake, tmp_path, params=params)
    sides = dict(candidates.splits(lake, ref.details["source"], "rec-movie", params).iter_rows())
    cut = ref.details.get("cuts", {}).get("rec-movie")
    ends = datetime.fromisoformat(cut["train_before"]) if cut else None
    rows = [(str(user), str(item), at) for user, item, _, at in taste()]
    expected = [
        (user, item)
        for user, item, at in sorted(rows, key=lambda row: (row[0], row[2]))
        if (datetime.fromtimestamp(int(str(at)), UTC) < ends if ends else sides[user] == "train")
    ]
    assert training_side.visits(lake, ref, "rec-movie").rows() == expected
    assert 0 < len(expected) < len(rows)
