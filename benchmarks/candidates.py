"""`candidates` over MovieLens-20M-shaped interactions.

`prepare HOME ROWS` writes them to a lake, `stage HOME ROWS` times the stage, `pools HOME ROWS` what the
yardstick does too: all sets and pools drawn, without the caps of a side, and nothing written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import shapes
from benchmarks.measure import clock
from ranker.config import CandidateParams, task
from ranker.lake import open_lake
from ranker.stages import candidates

PARAMS = CandidateParams(pool_size={"rec-movie": 20})
UNCAPPED = PARAMS.model_copy(update={"max_train": 10**9, "max_valid": 10**9, "max_test": 10**9})


def main(part: str, home: Path, rows: int) -> dict[str, float]:
    with open_lake(home) as lake:
        if part == "prepare":
            shapes.ingest_interactions(lake, rows, home)
            return {}
        source = lake.finished("ingest", f"bench{rows}")
        assert source is not None, "prepare comes first"
        candidates.splits(
            lake, source.key, "rec-movie", PARAMS
        )  # what a first query imports is no part of the drawing
        with clock() as taken:
            if part == "pools":
                sets = candidates.draw(lake, source.key, task("rec-movie"), UNCAPPED)[0].height
            else:
                sets = candidates.run(lake, PARAMS, source=source, check=shapes.accept, force=True).rows[
                    "candidate_sets"
                ]
        return {**taken, "sets": sets}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
