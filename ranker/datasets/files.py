"""What readers share: files found, as tables of strings and as records, and checks that refuse with file and
row.
"""

from __future__ import annotations

import csv
import io
import json
import os
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from ranker import refs
from ranker.config import Task
from ranker.datasets.contents import PACKED, bare, content, shown, text
from ranker.datasets.values import NUMBER, as_number, as_text, parsed
from ranker.errors import BadConfig, BadSource
from ranker.types import Fields, JsonObject

LATEST = 4_102_444_800
"""2100-01-01 in Unix seconds: a larger number is milliseconds, or nonsense."""
REFUSE, LEAVE_OUT = "refuse", "leave out"
"""What an option may say of rows that a rule does not let in: they are a fault, or go and are counted."""
FIELD_LIMIT = 10_000_000
"""Characters of one quoted field: embeddings and responses stand beside what is read."""
SHOWN_ROWS = 10
"""Rows that an error names of those that break its rule."""
_NOTHING = r"^[\s\p{Cc}\p{Cf}]*$"
"""An id that nobody can see: spaces, control characters, marks without width."""

# -- files


def folder(task: Task, location: Path | None) -> Path:
    """`location`, checked to exist.

    Raises:
        BadSource: it is missing; the remedy says how to fetch it or name one's own.
    """
    if location is not None and os.path.exists(location):  # False, too, for what no path can be
        return location
    fetch = "run `ranker fetch` to download it, or " if task.package else ""
    raise BadSource(
        f"task {task.name}: its data must be there",
        seen=f"no file or folder {location}",
        remedy=f"{fetch}name your own folder with ingest.locations.{task.name}",
    )


def files_digest(paths: Sequence[Path]) -> str:
    """Digest over names and bytes of files (not over where they lie).

    Raises:
        BadSource: one cannot be read.
    """
    return refs.digest([(shown(Path(path.name)), file_digest(path)) for path in paths])


def file_digest(path: Path) -> str:
    """Digest over a file's bytes.

    Raises:
        BadSource: it cannot be read.
    """
    try:
        return refs.file_digest(path)
    except OSError:
        content(path)  # refuses it, and says why
        raise


def file_in(task: Task, location: Path, pattern: str) -> Path:
    """The one file in a folder that `files_in` finds; a file next to which others lie counts as its folder.

    Raises:
        BadSource: there is none, or more than one.
        BadConfig: no file can match the pattern.
    """
    where = location if location.is_dir() else location.parent
    found = files_in(where, pattern)
    if len(found) == 1:
        return found[0]
    raise BadSource(
        f"task {task.name}: its folder must hold exactly one {pattern} file",
        seen=f"{len(found)} in {where}" + (f": {', '.join(p.name for p in found[:5])}" if found else ""),
        remedy=f"put the file there, or name another folder with ingest.locations.{task.name}",
    )


def files_in(where: Path, pattern: str) -> list[Path]:
    """Files of a folder that are named so or match the pattern, packed ones (`.gz`, …) too, by name; of a
    file and its packed twin the file.

    Raises:
        BadConfig: no file can match the pattern.
    """
    named = [where / f"{pattern}{ending}" for ending in ("", *PACKED)]
    try:
        found = named + [path for ending in ("", *PACKED) for path in where.glob(f"{pattern}{ending}")]
    except (ValueError, NotImplementedError) as error:
        raise BadConfig(
            "a file is named by its name or a pattern", seen=repr(pattern), remedy="for example qrels*"
        ) from error
    by_name: dict[str, Path] = {}
    for path in sorted(filter(os.path.isfile, found), key=lambda path: len(path.name)):
        by_name.setdefault(bare(path.name), path)
    return sorted(by_name.values())


# -- records


def json_value(path: Path, remedy: str) -> object:
    """The one JSON value that a file holds.

    Raises:
        BadSource: it is no JSON; names the row, and `remedy`.
    """
    try:
        return parsed(text(path))
    except json.JSONDecodeError as error:
        raise _no_json(f"{path}, row {error.lineno}: {error.msg}", remedy) from error
    except ValueError as error:
        raise _no_json(f"{path}: {error}", remedy) from error
    except RecursionError as error:
        raise _no_json(f"{path}: nested too deep", remedy) from error


def _no_json(seen: str, remedy: str) -> BadSource:
    return BadSource("a source file must be JSON", seen=seen, remedy=remedy)


def json_lines(path: Path) -> Iterator[tuple[int, JsonObject]]:
    """(row, object) of a file with one JSON object a line, its numbers as they are written; blank lines are
    skipped.

    Raises:
        BadSource: a line is no JSON object.
    """
    for row, line in enumerate(text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = parsed(line, numbers_as_written=True)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise BadSource(
                "every line must be a JSON object",
                seen=f"{path}, row {row}: {line[:80]}",
                remedy="mend or drop the line",
            )
        yield row, typing.cast("JsonObject", value)


def text_of(path: Path, row: int, record: Fields, name: str) -> str:
    """One value of a record as text; empty where it is missing.

    Raises:
        BadSource: it is no text (`as_text`).
    """
    found = as_text(record.get(name))
    if found is None:
        raise _no_text(path, row, record, name, "a text")
    return found


def id_of(path: Path, row: int, record: Fields, name: str) -> str:
    """One value of a record as an id; empty where it is missing, which `present` refuses.

    Raises:
        BadSource: it is neither a text nor a number.
    """
    if isinstance(record.get(name), list):
        raise _no_text(path, row, record, name, "a text or a number")
    return text_of(path, row, record, name)


def _no_text(path: Path, row: int, record: Fields, name: str, kind: str) -> BadSource:
    return BadSource(
        f"{name} must be {kind}",
        seen=f"{path}, row {row}: {json.dumps(record[name])[:80]}",
        remedy="mend or drop the row",
    )


# -- tables


def table(
    path: Path,
    separator: str,
    columns: Sequence[str] | None = None,
    *,
    header: Sequence[str] = (),
    encoding: str = "utf-8",
    quoted: bool = False,
) -> pl.DataFrame:
    """A separated text file as strings, with `row` (1-based, as an editor counts). Lines end with LF or CRLF;
    blank ones are skipped.

    Args:
        separator: between fields.
        columns: names of the fields; None takes the first line as header.
        header: names that the first line must hold.
        quoted: quotation marks work as in CSV; else they are characters like any other.

    Raises:
        BadSource: a row has another number of fields than the header, or there are no rows at all, or a name
        is missing or stands twice.
    """
    lines = _quoted_lines(path, separator) if quoted else _lines(path, separator, encoding)
    names = list(columns) if columns else [] if lines.is_empty() else lines["fields"][0].to_list()
    _require_names(path, lines, names, header)
    rows = lines if columns else lines.slice(1)
    if rows.is_empty():
        raise BadSource(
            "a source file must hold rows",
            seen=f"{path} has a header and nothing else",
            remedy="fetch or export it again",
        )
    refuse(
        path,
        rows,
        pl.col("fields").list.len() != len(names),
        f"every row must have {len(names)} fields ({', '.join(names)})",
        pl.col("fields").list.join(separator).str.slice(0, 80),
        "mend the row, or the header",
    )
    return rows.select("row", *(pl.col("fields").list.get(i).alias(name) for i, name in enumerate(names)))


def _lines(path: Path, separator: str, encoding: str) -> pl.DataFrame:
    """Columns row and fields. A line of separators alone is a row of empty fields, and not blank."""
    line = pl.col("line").str.strip_suffix("\r")
    blank = (line.str.strip_chars() == "") & ~line.str.contains(separator, literal=True)
    lines = pl.DataFrame({"line": text(path, encoding).split("\n")}).with_row_index("row", offset=1)
    return lines.filter(~blank).select("row", line.str.split(separator).alias("fields"))


def _quoted_lines(path: Path, separator: str) -> pl.DataFrame:
    rows = list(csv_rows(path, separator))
    return pl.DataFrame(
        {"row": [row for row, _ in rows], "fields": [fields for _, fields in rows]},
        schema={"row": pl.Int64, "fields": pl.List(pl.String)},
    )


def csv_rows(path: Path, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """(row, fields) of a file whose fields may be quoted as in CSV, and then run over lines: rows are
    numbered by the line on which they end, as an editor counts. Blank lines are skipped.

    Raises:
        BadSource: a quotation is not closed, or goes on behind its end.
    """
    reader = csv.reader(io.StringIO(text(path), newline=""), delimiter=separator, strict=True)
    limit = csv.field_size_limit(FIELD_LIMIT)
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                yield reader.line_num, fields
    except csv.Error as error:
        raise BadSource(
            "a source file must be CSV",
            seen=f"{path}, row {reader.line_num}: {error}",
            remedy="quote the field, or export it again",
        ) from error
    finally:
        csv.field_size_limit(limit)


def require_columns(path: Path, row: int, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise BadSource where a header, which stands in `row`, lacks a name that is wanted."""
    missing = [name for name in wanted if name not in names]
    if missing:
        raise BadSource(
            f"the header must hold {', '.join(wanted)}",
            seen=f"{path}, row {row}: {', '.join(names)[:200]}",
            remedy=f"add {', '.join(missing)}",
        )


def _require_names(path: Path, lines: pl.DataFrame, names: Sequence[str], wanted: Sequence[str]) -> None:
    row = lines["row"][0] if lines.height else 1
    require_columns(path, row, names, wanted)
    again = [name for name in names if name == "row" or names.count(name) > 1]
    if again:
        raise BadSource(
            "every column needs a name of its own, other than row",
            seen=f"{path}, row {row}: {again[0]}",
            remedy="rename the column, or drop it",
        )


# -- rules for rows


def refuse(path: Path, rows: pl.DataFrame, wrong: pl.Expr, rule: str, seen: pl.Expr, remedy: str) -> None:
    """Raise BadSource for the first of `rows` where `wrong` holds (nulls count as not wrong); `rows`
    carries `row`, and `path` where they are of several files. Further ones are counted and some named.
    """
    bad = rows.filter(wrong)
    if bad.is_empty():
        return
    value = bad.select(seen.cast(pl.String).fill_null("nothing")).item(0, 0)
    where = bad["path"][0] if "path" in bad.columns else path
    raise BadSource(rule, seen=f"{where}, row {bad['row'][0]}: {value}{further(bad)}", remedy=remedy)


def further(bad: pl.DataFrame) -> str:
    """Of rows that break a rule the count, and the first ten: one look at the file mends them all."""
    if bad.height < 2:
        return ""
    named = ", ".join(map(str, bad["row"][1:SHOWN_ROWS])) + (", …" if bad.height > SHOWN_ROWS else "")
    return f" (and {bad.height - 1:,} more rows: {named})"


def number(path: Path, rows: pl.DataFrame, column: str, low: float, high: float, remedy: str) -> pl.DataFrame:
    """`rows` with `column` as a finite number; a null (what a reader knows not to be there) stays one.

    Raises:
        BadSource: a value is no number in decimal digits, or lies outside [low, high].
    """
    raw = pl.col(column)
    value = raw
    if rows.schema[column] == pl.String:
        digits = raw.str.strip_chars()
        value = pl.when(digits.str.contains(NUMBER)).then(digits.str.strip_prefix("+"))
    cast = rows.with_columns(value.cast(pl.Float64, strict=False).alias("_value"))
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
    present(path, rows, "user_id", "item_id")
    rows = number(path, rows, "timestamp", 0, LATEST, "give Unix time in seconds")
    if "rating" in rows.columns:
        rows = number(
            path, rows, "rating", *ratings, remedy="mend the rating, or set the task's option rating_range"
        )
    else:
        rows = rows.with_columns(pl.lit(None, pl.Float64).alias("rating"))
    met_once(path, rows)
    unknown = rows.join(items, on="item_id", how="anti", maintain_order="left")
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


def present(path: Path, rows: pl.DataFrame, *columns: str) -> None:
    """Raise BadSource where an id shows nothing, or holds NUL, which not every catalog can store."""
    for column in columns:
        refuse(
            path,
            rows,
            pl.col(column).str.contains(_NOTHING),
            f"{column} must not be empty",
            pl.lit("an empty field"),
            "fill it or drop the row",
        )
        refuse(
            path,
            rows,
            pl.col(column).str.contains("\x00", literal=True),
            f"{column} must not hold NUL",
            pl.col(column).str.replace_all("\x00", r"\0", literal=True),
            "give another id wherever this one stands",
        )


def met_once(path: Path, rows: pl.DataFrame) -> None:
    """Raise BadSource where a user meets an item in a second row."""
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
    """Raise BadSource where `column` is no id (`present`) or repeats; `rows` carries `row`."""
    present(path, rows, column)
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


# -- options


def options(task: Task, known: Fields) -> JsonObject:
    """The task's options over a reader's defaults.

    Raises:
        BadConfig: an option that the reader does not have, or of another kind than its default; where that is
            to refuse, it is neither this nor to leave out.
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
        if known[name] == REFUSE and value not in (REFUSE, LEAVE_OUT):
            raise BadConfig(
                f"task {task.name}: option {name} is {REFUSE!r} or {LEAVE_OUT!r}",
                seen=repr(value),
                remedy="choose one of them",
            )
    return {**known, **task.options}


def rating_range(task: Task, default: tuple[float, float]) -> tuple[float, float]:
    """The task's option `rating_range = [low, high]`, or the format's own range.

    Raises:
        BadConfig: it is no range within 0 to 10, which is what the lake keeps.
    """
    given = task.options.get("rating_range", list(default))
    numbers = [as_number(value) for value in given]
    low, high = numbers if len(numbers) == 2 else (None, None)
    if low is None or high is None or not 0 <= low < high <= 10:
        raise BadConfig(
            f"task {task.name}: option rating_range is [low, high] within 0 to 10",
            seen=repr(given),
            remedy="scale the source's ratings where they go further",
        )
    return low, high
