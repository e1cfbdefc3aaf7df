"""What readers share: files as text and as tables of strings, and checks that refuse with file and row."""

from __future__ import annotations

import gzip
import json
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from ranker import refs
from ranker.config import Task
from ranker.errors import BadConfig, BadSource
from ranker.types import Fields, JsonObject

LATEST = 4_102_444_800
"""2100-01-01 in Unix seconds: a larger number is milliseconds, or nonsense."""


def folder(task: Task, location: Path | None) -> Path:
    """`location`, checked to exist.

    Raises:
        BadSource: it is missing; the remedy says how to fetch it or name one's own.
    """
    if location is not None and location.exists():
        return location
    fetch = "run `ranker fetch` to download it, or " if task.package else ""
    raise BadSource(
        f"task {task.name}: its data must be there",
        seen=f"no file or folder {location}",
        remedy=f"{fetch}name your own folder with ingest.locations.{task.name}",
    )


def files_digest(paths: Sequence[Path]) -> str:
    """Digest over names and bytes of files (not over where they lie)."""
    return refs.digest([(path.name, refs.file_digest(path)) for path in paths])


def file_in(task: Task, location: Path, pattern: str) -> Path:
    """The one file in a folder that matches `pattern`; a file next to which others lie counts as its folder.

    Raises:
        BadSource: there is none, or more than one.
    """
    where = location if location.is_dir() else location.parent
    found = sorted(where.glob(pattern))
    if len(found) == 1:
        return found[0]
    raise BadSource(
        f"task {task.name}: its folder must hold exactly one {pattern} file",
        seen=f"{len(found)} in {where}" + (f": {', '.join(p.name for p in found[:5])}" if found else ""),
        remedy=f"put the file there, or name another folder with ingest.locations.{task.name}",
    )


def text(path: Path, encoding: str = "utf-8") -> str:
    """A file's text, without a byte order mark; a name that ends in .gz is unpacked on the way.

    Raises:
        BadSource: it is missing, empty, a broken archive or not UTF-8 (with the row of the first bad byte).
    """
    data = _bytes(path)
    if not data.strip():
        raise BadSource(
            "a source file must not be empty",
            seen=f"{path} has {len(data)} bytes",
            remedy="fetch or export it again",
        )
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except LookupError as error:
        raise BadConfig(
            "an encoding must exist", seen=encoding, remedy="for example utf-8 or latin-1"
        ) from error
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise BadSource(
            f"a source file must be {encoding.upper()}",
            seen=f"{path}, row {row}: byte 0x{data[error.start]:02x}",
            remedy=f"convert it, for example: iconv -f latin1 -t utf-8 {path.name}",
        ) from error


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise BadSource(
            "a source file must exist",
            seen=f"no file {path}",
            remedy="restore it, or name another folder in ingest.locations",
        )
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as packed:
            return packed.read()
    except (OSError, EOFError) as error:
        raise BadSource(
            "a .gz file must be whole", seen=f"{path}: {error}", remedy="fetch or export it again"
        ) from error


def json_value(path: Path, remedy: str) -> object:
    """The one JSON value that a file holds.

    Raises:
        BadSource: it is no JSON; names the row, and `remedy`.
    """
    try:
        return json.loads(text(path))
    except json.JSONDecodeError as error:
        raise BadSource(
            "a source file must be JSON", seen=f"{path}, row {error.lineno}: {error.msg}", remedy=remedy
        ) from error


def json_lines(path: Path) -> Iterator[tuple[int, JsonObject]]:
    """(row, object) of a file with one JSON object a line; blank lines are skipped.

    Raises:
        BadSource: a line is no JSON object.
    """
    for row, line in enumerate(text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise BadSource(
                "every line must be a JSON object",
                seen=f"{path}, row {row}: {line[:80]}",
                remedy="mend or drop the line",
            )
        yield row, value


def table(
    path: Path,
    separator: str,
    columns: Sequence[str] | None = None,
    *,
    header: Sequence[str] = (),
    encoding: str = "utf-8",
) -> pl.DataFrame:
    """A separated text file as strings, with `row` (1-based, as an editor counts). No quoting. Blank lines
    are skipped.

    Args:
        separator: between fields.
        columns: names of the fields; None takes the first line as header.
        header: names that the first line must hold.

    Raises:
        BadSource: a row has another number of fields than the header, or there are no rows at all, or a name
        is missing.
    """
    lines = pl.DataFrame({"line": text(path, encoding).split("\n")}).with_row_index("row", offset=1)
    lines = lines.with_columns(pl.col("line").str.strip_suffix("\r")).filter(
        pl.col("line").str.strip_chars() != ""
    )
    names = list(columns) if columns else lines["line"][0].split(separator)
    missing = [name for name in header if name not in names]
    if missing:
        raise BadSource(
            f"the header must hold {', '.join(header)}",
            seen=f"{path}, row {lines['row'][0]}: {', '.join(names)}",
            remedy=f"add {', '.join(missing)}",
        )
    if not columns:
        lines = lines.slice(1)
    if lines.is_empty():
        raise BadSource(
            "a source file must hold rows",
            seen=f"{path} has a header and nothing else",
            remedy="fetch or export it again",
        )
    fields = lines.with_columns(pl.col("line").str.split(separator).alias("fields"))
    refuse(
        path,
        fields,
        pl.col("fields").list.len() != len(names),
        f"every row must have {len(names)} fields ({', '.join(names)})",
        pl.col("line").str.slice(0, 80),
        "mend the row, or the header",
    )
    return fields.select("row", *(pl.col("fields").list.get(i).alias(name) for i, name in enumerate(names)))


def refuse(path: Path, rows: pl.DataFrame, wrong: pl.Expr, rule: str, seen: pl.Expr, remedy: str) -> None:
    """Raise BadSource for the first of `rows` where `wrong` holds (nulls count as not wrong); `rows`
    carries `row`.
    """
    bad = rows.filter(wrong)
    if bad.is_empty():
        return
    value = bad.select(seen.cast(pl.String).fill_null("nothing")).item(0, 0)
    more = f" (and {bad.height - 1:,} more rows)" if bad.height > 1 else ""
    raise BadSource(rule, seen=f"{path}, row {bad['row'][0]}: {value}{more}", remedy=remedy)


def number(path: Path, rows: pl.DataFrame, column: str, low: float, high: float, remedy: str) -> pl.DataFrame:
    """`rows` with `column` as a finite number; a null (what a reader knows not to be there) stays one.

    Raises:
        BadSource: a value is no number, or lies outside [low, high].
    """
    raw = pl.col(column)
    cast = rows.with_columns(raw.cast(pl.Float64, strict=False).alias("_value"))
    wrong = raw.is_not_null() & (pl.col("_value").is_null() | ~pl.col("_value").is_between(low, high))
    refuse(path, cast, wrong, f"{column} must be a number from {low:g} to {high:g}", raw, remedy)
    return cast.with_columns(pl.col("_value").alias(column)).drop("_value")


def interactions(
    path: Path, rows: pl.DataFrame, items: pl.DataFrame, ratings: tuple[float, float]
) -> pl.DataFrame:
    """Interactions as the lake holds them, from string columns user_id, item_id, timestamp and (optional)
    rating.

    Raises:
        BadSource: a missing id, a rating or time out of range, a repeated row, an item without an entry among
        `items`.
    """
    for column in ("user_id", "item_id"):
        _refuse_empty(path, rows, column)
    rows = number(path, rows, "timestamp", 0, LATEST, "give Unix time in seconds")
    if "rating" in rows.columns:
        rows = number(
            path, rows, "rating", *ratings, remedy="mend the rating, or set the task's option rating_range"
        )
    else:
        rows = rows.with_columns(pl.lit(None, pl.Float64).alias("rating"))
    _refuse_duplicates(path, rows)
    unknown = rows.join(items, on="item_id", how="anti")
    refuse(
        path,
        unknown,
        pl.lit(True),
        "every interaction's item must be among the items",
        pl.col("item_id"),
        "add the item, or drop the row",
    )
    happened = (pl.col("timestamp") * 1e6).cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return rows.select("user_id", "item_id", "rating", happened.alias("happened_at"))


def options(task: Task, known: Fields) -> JsonObject:
    """The task's options over a reader's defaults.

    Raises:
        BadConfig: an option that the reader does not have, or of another kind than its default.
    """
    for name, value in task.options.items():
        if name not in known:
            raise BadConfig(
                f"task {task.name}: the reader {task.reader} must know every option",
                seen=name,
                remedy=f"choose among {', '.join(known) or 'none'}",
            )
        kind = typing.cast("type[object]", type(known[name]))
        if not isinstance(value, (int, float) if kind is float else kind) or (
            kind is not bool and isinstance(value, bool)
        ):
            raise BadConfig(
                f"task {task.name}: option {name} must be a {kind.__name__}",
                seen=repr(value),
                remedy=f"for example {known[name]!r}",
            )
    return {**known, **task.options}


def _refuse_empty(path: Path, rows: pl.DataFrame, column: str) -> None:
    refuse(
        path,
        rows,
        pl.col(column).str.strip_chars() == "",
        f"{column} must not be empty",
        pl.lit("an empty field"),
        "fill it or drop the row",
    )


def _refuse_duplicates(path: Path, rows: pl.DataFrame) -> None:
    same = ["user_id", "item_id"]
    repeated = rows.with_columns(pl.col("row").first().over(same).alias("first")).filter(
        ~pl.struct(same).is_first_distinct()
    )
    seen = pl.format("user {}, item {} again, first in row {}", "user_id", "item_id", "first")
    refuse(
        path,
        repeated,
        pl.lit(True),
        "a user and an item must meet in one row",
        seen,
        "keep one row per user and item, for example the first",
    )


def unique(path: Path, rows: pl.DataFrame, column: str) -> None:
    """Raise BadSource where `column` is empty or repeats; `rows` carries `row`."""
    _refuse_empty(path, rows, column)
    repeated = rows.with_columns(pl.col("row").first().over(column).alias("first")).filter(
        pl.col("row") != pl.col("first")
    )
    refuse(
        path,
        repeated,
        pl.lit(True),
        f"{column} must be given once",
        pl.format("{} again, first in row {}", column, "first"),
        "drop the repeated rows",
    )


def one_group(text: str = "text") -> pl.Expr:
    """The group of queries that read alike (whatever case and spaces): the first one's query_id. No split
    may part them.
    """
    alike = pl.col(text).str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.col("query_id").first().over(alike).alias("group_id")


def rating_range(task: Task, default: tuple[float, float]) -> tuple[float, float]:
    """The task's option `rating_range = [low, high]`, or the format's own range."""
    low, high = task.options.get("rating_range", default)
    return float(low), float(high)
