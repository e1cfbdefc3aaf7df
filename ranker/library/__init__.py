"""A policy in the caller's own process: `from ranker import Ranker` (docs/library.md).

ranker.py is the class; registry.py finds the version that it loads; results.py is what it gives. Requests are
read, ranked and scored by what `ranker serve` does it with (ranker/serving/): schema.py and episodes.py.
"""

from ranker.library.ranker import Document, Ranker
from ranker.library.results import Result, Results

__all__ = ["Document", "Ranker", "Result", "Results"]
