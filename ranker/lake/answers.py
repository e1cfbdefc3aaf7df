"""Rows that leave DuckDB as a polars frame, whatever types a statement that somebody typed gives them, and no
more than memory holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count

import duckdb
import polars as pl
import psutil
import pyarrow
from duckdb import sqltypes
from duckdb.sqltypes import DuckDBPyType

from ranker.errors import BadQuery

QUERY_MEBIBYTES = 4_096
"""What a statement that somebody typed may hold in memory (the rest goes to disk), and what it may give."""
BATCH_ROWS = 100_000


def mebibytes() -> int:
    """What a confined lake may take: never more than half of the machine, where a training may be running."""
    return min(QUERY_MEBIBYTES, psutil.virtual_memory().total // 2**21)


def framed(found: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """All rows, whatever types they have.

    Raises:
        BadQuery: they take more than QUERY_MEBIBYTES.
    """
    kinds = found.types
    portable = [_portable(kind) for kind in kinds]
    if portable != kinds:
        columns = zip(found.columns, portable, strict=True)
        found = found.select(  # by place, as a name may stand there twice
            *(
                duckdb.SQLExpression(f"#{place}").cast(kind).alias(name)
                for place, (name, kind) in enumerate(columns, start=1)
            )
        )
    frame = _bounded(found)
    whole = [name for name, kind in zip(frame.columns, kinds, strict=True) if kind == sqltypes.HUGEINT]
    return frame.with_columns(pl.col(whole).cast(pl.Int128))


def _bounded(result: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """All rows, in batches: DuckDB's own limit does not count what it has handed over.

    Raises:
        BadQuery: they take more than QUERY_MEBIBYTES.
    """
    reader = result.to_arrow_reader(BATCH_ROWS)
    batches: list[pyarrow.RecordBatch] = []
    size = 0
    for batch in reader:
        batches.append(batch)
        size += batch.nbytes
        if size > mebibytes() * 2**20:
            raise BadQuery(
                "an answer fits into memory",
                seen=f"more than {mebibytes():,} MiB",
                remedy="ask for fewer rows or columns (`limit`), or use `ranker lake export`",
            )
    table = pyarrow.Table.from_batches(batches, reader.schema)
    try:
        return pl.DataFrame(table.rename_columns(list(_distinct(table.column_names))))
    except pl.exceptions.PolarsError as error:
        raise BadQuery(
            "an answer has types that a frame has",
            seen=str(error),
            remedy="cast what is no common type (an interval, say): `x::varchar`",
        ) from error


def _distinct(names: Iterable[str]) -> Iterator[str]:
    """Names of columns as DuckDB's own conversion to polars makes them: the second `n` is `n_1`."""
    given: set[str] = set()
    for name in names:
        free = next(new for new in chain([name], (f"{name}_{i}" for i in count(1))) if new not in given)
        given.add(free)
        yield free


_AS_TEXT = frozenset(
    {
        "bignum",
        "bit",
        "blob",
        "geometry",
        "hugeint",
        "interval",
        "time with time zone",
        "time_ns",
        "uhugeint",
        "union",
        "variant",
    }
)
"""Types that polars has not, or has otherwise: they come as the text that DuckDB makes of them."""


def _portable(kind: DuckDBPyType, nested: bool = False) -> DuckDBPyType:
    """The type as which a column leaves DuckDB; the same where polars has it."""
    if kind.id == "hugeint" and nested:
        return duckdb.decimal_type(38, 0)
    if kind.id in _AS_TEXT:
        return sqltypes.VARCHAR
    if kind.id not in ("struct", "map", "list", "array"):
        return kind
    inner = {
        name: _portable(part, nested=True) for name, part in kind.children if isinstance(part, DuckDBPyType)
    }
    if inner == dict(kind.children):
        return kind
    if kind.id == "struct":
        return duckdb.struct_type(inner)
    if kind.id == "map":
        return duckdb.map_type(inner["key"], inner["value"])
    return duckdb.list_type(inner["child"])
