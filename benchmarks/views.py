"""Every view over many steps: `HOME STEPS` gives the time of each view, each asked once by a fresh reader
and read to the end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import shapes
from benchmarks.measure import clock
from ranker.lake import open_lake
from ranker.lake.connection import SQL


def main(home: Path, steps: int) -> dict[str, object]:
    with open_lake(home) as lake:
        written = shapes.evaluated(lake, steps)
    found: dict[str, dict[str, float]] = {}
    for path in sorted((SQL / "views").glob("*.sql")):
        with open_lake(home, read_only=True) as reader, clock() as found[path.stem]:
            reader.rows(f"select * from {path.stem}")
    return {"steps": written, "views": found}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
