"""RecBole atomic files: `<name>.inter` and `<name>.item`, tab-separated, header `field:type`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.config import Task
from ranker.errors import BadSource
from ranker.sources import Bundle, file_in, files_digest, folder, interactions, rating_range, table, unique

TITLES = ("movie_title", "title", "name", "item_name")
YEARS = ("release_year", "year")


def read(task: Task, location: Path | None) -> Bundle:
    """Interactions and items. An item's text is its title, year and first token sequence (genres).

    Raises:
        BadSource: see `ranker.sources`; ratings must lie within the task's option rating_range (default 0 to 5).
    """
    inter, item = _files(task, location)
    items = _items(item)
    rows = _fields(inter, ("user_id", "item_id", "timestamp"))
    return Bundle(items, interactions(inter, rows, items, rating_range(task, (0, 5))), location=str(inter.parent))


def digest(task: Task, location: Path | None) -> str:
    """Over the two files."""
    return files_digest(_files(task, location))


def _files(task: Task, location: Path | None) -> tuple[Path, Path]:
    where = folder(task, location)
    return file_in(task, where, "*.inter"), file_in(task, where, "*.item")


def _fields(path: Path, wanted: tuple[str, ...]) -> pl.DataFrame:
    """A file's columns under their names without type.

    Raises:
        BadSource: a wanted column is absent, or the header has no types.
    """
    rows = table(path, "\t")
    names = {column: column.partition(":")[0] for column in rows.columns}
    missing = [name for name in wanted if name not in names.values()]
    if missing:
        raise BadSource(
            f"an atomic file needs the columns {', '.join(wanted)}",
            seen=f"{path}, row 1: {', '.join(c for c in rows.columns if c != 'row')}",
            remedy=f"add {', '.join(missing)} to the header as name:type, tab-separated",
        )
    return rows.rename(names)


def _items(path: Path) -> pl.DataFrame:
    sequences = [c.partition(":")[0] for c in table(path, "\t").columns if c.endswith(":token_seq")]
    rows = _fields(path, ("item_id",))
    unique(path, rows, "item_id")
    title = next((name for name in (*TITLES, *sequences) if name in rows.columns), "item_id")
    year = next((name for name in YEARS if name in rows.columns), None)
    kinds = [name for name in sequences if name != title]
    shown = pl.when(pl.col(title).str.strip_chars() == "").then(pl.col("item_id")).otherwise(pl.col(title))
    dated = pl.when(pl.col(year) != "").then(pl.format("{} ({})", shown, pl.col(year))).otherwise(shown) if year else shown
    text = pl.concat_str([dated, *(pl.when(pl.col(k) != "").then(pl.col(k)) for k in kinds[:1])], separator=", ", ignore_nulls=True)
    others = [c for c in rows.columns if c not in ("row", "item_id", title)]
    attributes = pl.struct(others).struct.json_encode() if others else pl.lit(None, pl.String)
    return rows.select("item_id", dated.alias("title"), text.alias("text"), attributes.alias("attributes"))
