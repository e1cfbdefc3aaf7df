"""The warehouse: a DuckLake. `open_lake` gives a `Lake`."""

from ranker.lake.connection import Lake, open_lake

__all__ = ["Lake", "open_lake"]
