"""ir_measures' own types are partly unknown: what we use of it."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

class Measure:
    NAME: str
    def __matmul__(self, cutoff: int) -> Measure: ...
    def __getitem__(self, parameter: str) -> int: ...

class Metric(NamedTuple):
    query_id: str
    measure: Measure
    value: float

class ScoredDoc(NamedTuple):
    query_id: str
    doc_id: str
    score: float

RR: Measure
Success: Measure
nDCG: Measure

def iter_calc(
    measures: Iterable[Measure], qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]
) -> Iterator[Metric]: ...
