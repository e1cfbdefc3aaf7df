"""Every view over many steps: `HOME STEPS` gives seconds by view, each asked once by a fresh reader and read to the end."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from ranker.lake import SQL, open_lake
from tests.bench import shapes


def main(home: Path, steps: int) -> dict[str, object]:
    with open_lake(home) as lake:
        written = shapes.evaluated(lake, steps)
    seconds: dict[str, float] = {}
    for path in sorted((SQL / "views").glob("*.sql")):
        with open_lake(home, read_only=True) as reader:
            started = time.perf_counter()
            reader.rows(f"select * from {path.stem}")
            seconds[path.stem] = time.perf_counter() - started
    return {"steps": written, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
