"""What a reader gives: five frames in the lake's columns, less task and batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

Schema = dict[str, pl.DataType | type[pl.DataType]]
ITEMS: Schema = {"item_id": pl.String, "title": pl.String, "text": pl.String, "attributes": pl.String}
INTERACTIONS: Schema = {
    "user_id": pl.String,
    "item_id": pl.String,
    "rating": pl.Float64,
    "happened_at": pl.Datetime("us", "UTC"),
}
QUERIES: Schema = {"query_id": pl.String, "group_id": pl.String, "text": pl.String}
QRELS: Schema = {"query_id": pl.String, "item_id": pl.String, "relevance": pl.Float64}
FIRST_STAGE = "first_stage"
"""A column more of qrels, where a run came with the data: the score that it gave."""


def empty(schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """A frame without rows."""
    return pl.DataFrame(schema=dict(schema))


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one source holds, in the lake's columns less task and batch.

    Recommendation fills interactions, the others queries and qrels.
    """

    items: pl.DataFrame
    interactions: pl.DataFrame = field(default_factory=lambda: empty(INTERACTIONS))
    queries: pl.DataFrame = field(default_factory=lambda: empty(QUERIES))
    qrels: pl.DataFrame = field(default_factory=lambda: empty(QRELS))
    location: str = ""
    """Where it was read, in words."""
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    """What a stated rule of the reader or an option leaves out, in words → how many.

    Nothing goes uncounted.
    """

    @property
    def rows_read(self) -> int:
        """Records of the source's main part: interactions, or judgements where there are none."""
        return self.interactions.height or self.qrels.height
