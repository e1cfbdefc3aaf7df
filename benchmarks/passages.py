"""BM25 over MS-MARCO-shaped passages: `ROWS QUERIES` gives seconds for the index and for a query."""

from __future__ import annotations

import json
import sys
import time

from benchmarks import shapes
from ranker.retrieval.bm25 import Bm25


def main(rows: int, queries: int) -> dict[str, float]:
    texts = shapes.passages(rows)
    started = time.perf_counter()
    index = Bm25(texts)
    indexed = time.perf_counter()
    for text in texts[:queries]:
        index.scores([" ".join(text.split()[:8])])
    return {"rows": rows, "index_s": indexed - started, "query_s": (time.perf_counter() - indexed) / queries}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
