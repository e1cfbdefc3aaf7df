"""Tables by the names of their columns, whatever format: CSV and its kin, JSON lines, Parquet."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import polars as pl

from ranker.datasets.contents import bare, content, other_format, shown, text
from ranker.datasets.files import csv_rows, id_of, json_lines, require_columns, text_of
from ranker.errors import BadSource
from ranker.types import JsonObject

if TYPE_CHECKING:
    import pyarrow.parquet as pq

Kind = Literal["id", "text", "number", "time"]
"""What a column holds: how its values become text, and which are none."""
ENDINGS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet")
"""Of files that are read as tables, packed ones (`.csv.gz`) too."""
SEPARATORS = (",", "\t", ";", "|")
"""That a file of separated values may have; its header says which: the one that stands there most often."""
_JSON = (".jsonl", ".ndjson")


def names(path: Path) -> list[str]:
    """The columns of a file; of JSON lines the names that any of its lines has, in order of appearance.

    Raises:
        BadSource: it is no table, or damaged.
    """
    if _ending(path) == ".parquet":
        with _opened(path) as source:
            return list(source.schema_arrow.names)
    if _ending(path) in _JSON:
        return list(dict.fromkeys(name for _, given in json_lines(path) for name in given))
    return next(csv_rows(path, separator(path)))[1]


def rows(path: Path, wanted: Mapping[str, str], kinds: Mapping[str, Kind]) -> pl.DataFrame:
    """Columns row (1-based, as an editor counts lines, or the record of Parquet), path, and each of `wanted`
    as text; a value that is missing is empty.

    Args:
        wanted: field → the file's column.
        kinds: field → what it holds.

    Raises:
        BadSource: the file is damaged or no table, a column is not there, a value is not of its kind.
    """
    if _ending(path) == ".parquet":
        found = _from_parquet(path, wanted, kinds)
    elif _ending(path) in _JSON:
        found = _from_json(path, wanted, kinds)
    else:
        found = _from_text(path, wanted)
    if found.is_empty():
        raise BadSource(
            "a source file must hold rows",
            seen=f"{path} has none",
            remedy="fetch or export it again",
        )
    return found.with_columns(pl.lit(shown(path)).alias("path")).select("row", "path", *wanted)


def separator(path: Path) -> str:
    """What separates the values of a text file, by its first line."""
    if _ending(path) in (".tsv", ".tab"):
        return "\t"
    first = text(path).lstrip().partition("\n")[0]
    return max(SEPARATORS, key=first.count)


def parquet(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Those of `columns` that a Parquet file has, as it has them.

    By pyarrow, which says what is wrong with a damaged file where polars 2.1 panics; and from its bytes, as a
    name may look like a pattern.

    Raises:
        BadSource: it is missing, damaged or no Parquet.
    """
    import pyarrow as pa

    with _opened(path) as source:
        held: pa.Table = source.read([name for name in columns if name in source.schema_arrow.names])
        held.validate(full=True)
    return cast("pl.DataFrame", pl.from_arrow(held))


@contextmanager
def _opened(path: Path) -> Generator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = content(path)
    try:
        yield pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        what, remedy = other_format(data) or (str(error).splitlines()[0][:120], "fetch it again")
        raise BadSource(
            "a source file must be whole Parquet", seen=f"{path}: {what}", remedy=remedy
        ) from error


# -- each format


def _from_text(path: Path, wanted: Mapping[str, str]) -> pl.DataFrame:
    lines = csv_rows(path, separator(path))
    first, header = next(lines)
    require_columns(path, first, header, list(wanted.values()))
    again = [column for column in wanted.values() if header.count(column) > 1]
    if again:
        raise BadSource(
            "a column must stand once",
            seen=f"{path}, row {first}: {again[0]} again",
            remedy="rename one of the columns, or drop it",
        )
    places = [header.index(column) for column in wanted.values()]
    records: list[tuple[int | str, ...]] = []
    for row, fields in lines:
        if len(fields) != len(header):
            raise BadSource(
                f"every row must have {len(header)} fields ({', '.join(header)[:200]})",
                seen=f"{path}, row {row}: {len(fields)} fields",
                remedy="mend the row, or the header; a text with the separator in it stands in quotes",
            )
        records.append((row, *(fields[place] for place in places)))
    return _frame(records, wanted)


def _from_json(path: Path, wanted: Mapping[str, str], kinds: Mapping[str, Kind]) -> pl.DataFrame:
    """A name that no line has is a column that is not there; one that a line lacks is missing in it."""
    records: list[tuple[int | str, ...]] = []
    seen: set[str] = set()
    for row, given in json_lines(path):
        seen |= given.keys()
        records.append((row, *(_of_json(path, row, given, wanted[f], kinds[f]) for f in wanted)))
    require_columns(path, 1, sorted(seen), list(wanted.values()))
    return _frame(records, wanted)


def _of_json(path: Path, row: int, given: JsonObject, column: str, kind: Kind) -> str:
    return (text_of if kind == "text" else id_of)(path, row, given, column)


def _frame(records: list[tuple[int | str, ...]], wanted: Mapping[str, str]) -> pl.DataFrame:
    schema = {"row": pl.Int64, **dict.fromkeys(wanted, pl.String)}
    return pl.DataFrame(records, schema=schema, orient="row")


def _from_parquet(path: Path, wanted: Mapping[str, str], kinds: Mapping[str, Kind]) -> pl.DataFrame:
    held = parquet(path, list(dict.fromkeys(wanted.values())))
    require_columns(path, 1, held.columns, list(wanted.values()))
    texts = [
        _as_text(path, field, column, held.schema[column], kinds[field]) for field, column in wanted.items()
    ]
    return held.with_row_index("row", offset=1).select(pl.col("row").cast(pl.Int64), *texts)


def _as_text(path: Path, field: str, column: str, held: pl.DataType, kind: Kind) -> pl.Expr:
    value = pl.col(column)
    if kind == "time" and isinstance(held, pl.Datetime | pl.Date):
        aware = isinstance(held, pl.Datetime) and held.time_zone is not None
        moment = (value.dt.convert_time_zone("UTC") if aware else value).cast(pl.Datetime("us"))
        found = moment.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")
    elif isinstance(held, pl.String | pl.Null) or held.is_integer():
        found = value.cast(pl.String)
    elif kind != "id" and (held.is_float() or isinstance(held, pl.Decimal)):
        found = value.cast(pl.Float64).fill_nan(None).cast(pl.String)
    elif kind == "text" and isinstance(held, pl.List) and isinstance(held.inner, pl.String):
        found = value.list.eval(pl.element().filter(pl.element() != "")).list.join(" ")
    else:
        raise BadSource(
            f"{field} must be {_NAMED[kind]}",
            seen=f"{path}: column {column} is {held}",
            remedy="convert the column, or name another one",
        )
    return found.fill_null("").alias(field)


_NAMED: dict[Kind, str] = {
    "id": "text or whole numbers",
    "text": "text",
    "number": "numbers",
    "time": "dates, times or numbers",
}


def _ending(path: Path) -> str:
    return Path(bare(path.name)).suffix.lower()
