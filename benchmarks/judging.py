"""Contracts over a batch of candidates drawn from MovieLens-20M-shaped data: `HOME ROWS SETS` judges about
SETS × 20 rows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.candidates import PARAMS
from benchmarks.measure import clock
from contracts.gate import validate_batch
from ranker.lake import open_lake
from ranker.refs import Staged, Verdict
from ranker.stages import candidates


def main(home: Path, rows: int, sets: int) -> dict[str, float]:
    seen: dict[str, float] = {}

    def timed(staged: Staged) -> list[Verdict]:
        with clock() as taken:
            verdicts = validate_batch(staged)
        seen.update(taken, expectations=len(verdicts))
        return verdicts

    with open_lake(home) as lake:
        source = lake.finished("ingest", f"bench{rows}")
        assert source is not None, "prepare comes first"
        done = candidates.run(
            lake, PARAMS.model_copy(update={"max_train": sets}), source=source, check=timed, force=True
        )
    return {**seen, "rows": sum(done.rows.values())}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
