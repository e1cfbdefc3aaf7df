"""Every view over many steps: `HOME STEPS` gives the time of each view, each asked once by a fresh reader
and read to the end; and of each page of `ranker ui`, the first one with all that it imports.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from benchmarks import shapes
from benchmarks.measure import clock
from ranker.lake import open_lake
from ranker.lake.connection import SQL

PAGES = ("runs", "episodes", "compare", "contracts", "ask", "training")
"""Of ranker/ui/pages.py, in the order of their menu."""


def pages(home: Path) -> dict[str, dict[str, float]]:
    """What Streamlit takes for each page as it is first shown, by name.

    Raises:
        RuntimeError: a page showed a fault instead.
    """
    from streamlit.testing.v1 import AppTest  # here, as a test wants the names alone

    os.environ["RANKER_HOME"] = str(home)
    found: dict[str, dict[str, float]] = {}
    for name in PAGES:
        page = AppTest.from_string(f"from ranker.ui import pages\npages.{name}()", default_timeout=600)
        with clock() as found[name]:
            page.run()
        if faults := [*page.exception, *page.error]:
            raise RuntimeError(f"the page {name}: {faults[0].value}")
    return found


def main(home: Path, steps: int) -> dict[str, object]:
    with open_lake(home) as lake:
        written = shapes.evaluated(lake, steps)
    found: dict[str, dict[str, float]] = {}
    for path in sorted((SQL / "views").glob("*.sql")):
        with open_lake(home, read_only=True) as reader, clock() as found[path.stem]:
            reader.rows(f"select * from {path.stem}")
    return {"steps": written, "views": found, "pages": pages(home)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
