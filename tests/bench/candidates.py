"""`candidates` over MovieLens-20M-shaped interactions: `prepare HOME ROWS` writes them to a lake, `draw HOME ROWS` times the stage."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from ranker import candidates
from ranker.config import CandidateParams
from ranker.lake import open_lake
from tests.bench import shapes

PARAMS = CandidateParams(pool_size={"rec-movie": 20})


def main(part: str, home: Path, rows: int) -> dict[str, float]:
    with open_lake(home) as lake:
        if part == "prepare":
            shapes.ingest_interactions(lake, rows, home)
            return {}
        source = lake.finished("ingest", f"bench{rows}")
        assert source is not None, "prepare comes first"
        started = time.perf_counter()
        done = candidates.run(lake, PARAMS, source=source, check=shapes.accept, force=True)
        return {"seconds": time.perf_counter() - started, "sets": done.rows["candidate_sets"]}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
