"""The first ranking of a new process: `HOME` is a data folder with a champion (`make run`)."""

from __future__ import annotations

import json
import sys
import time

BEGAN = time.perf_counter()
TASK, QUERY = "passage-pydoc", "Return the absolute value of a number."
DOCUMENTS = ("abs(x): …", "pow(base, exp): …", "os.walk(top): …", "re.compile(pattern): …")


def main(home: str) -> dict[str, float]:
    from ranker import Ranker  # here, as its import is a part of what is measured

    ranker = Ranker.from_registry(home=home, task=TASK)
    loaded = time.perf_counter()
    ranker.rank(QUERY, DOCUMENTS)
    first = time.perf_counter()
    ranker.rank(QUERY, DOCUMENTS)
    return {
        "load": loaded - BEGAN,
        "first": first - loaded,
        "second": time.perf_counter() - first,
        "seconds": first - BEGAN,
        "cpu": time.process_time(),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
