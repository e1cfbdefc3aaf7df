"""RecBole atomic files: `<name>.inter` and `<name>.item`, tab-separated, header `field:type` (token,
token_seq, float, float_seq).

Any of RecBole's recommendation data sets: MovieLens, Amazon (titles of type token, categories as a sequence),
and so on.
Options: `rating_range` [low, high], and those of `_meetings`.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.config import Task
from ranker.datasets._meetings import DEFAULTS, kept
from ranker.datasets.bundle import Bundle
from ranker.datasets.files import (
    file_in,
    files_digest,
    folder,
    interactions,
    options,
    rating_range,
    table,
    unique,
)
from ranker.datasets.values import flat
from ranker.errors import BadSource

TYPES = ("token", "token_seq", "float", "float_seq")
TITLES = ("movie_title", "title", "name", "item_name")
YEARS = ("release_year", "year")


def read(task: Task, location: Path | None) -> Bundle:
    """Interactions and items. An item's text is its title, year and first token sequence (genres,
    categories).

    Raises:
        BadSource: see `readers`; ratings must lie within the task's option rating_range (default 0 to
        5).
    """
    inter, item = _files(task, location)
    chosen, left_out = options(task, DEFAULTS), dict[str, int]()
    items = item_texts(item)
    rows = fields(inter, ("user_id", "item_id", "timestamp"))
    rows = kept(inter, rows, items, chosen, left_out)
    if chosen["core"]:
        items = items.join(rows, on="item_id", how="semi", maintain_order="left")
    return Bundle(
        items,
        interactions(inter, rows, items, rating_range(task, (0, 5))),
        location=str(inter.parent),
        left_out=left_out,
    )


def digest(task: Task, location: Path | None) -> str:
    """Over the two files."""
    return files_digest(_files(task, location))


def _files(task: Task, location: Path | None) -> tuple[Path, Path]:
    where = folder(task, location)
    return file_in(task, where, "*.inter"), file_in(task, where, "*.item")


# -- atomic files


def fields(path: Path, wanted: tuple[str, ...]) -> pl.DataFrame:
    """A file's columns under their names without type, as strings, with `row`.

    Raises:
        BadSource: a wanted column is absent, a column has no known type, or a name stands twice.
    """
    rows = table(path, "\t")
    header = [column for column in rows.columns if column != "row"]
    names = {column: column.partition(":")[0] for column in header}
    missing = [name for name in wanted if name not in names.values()]
    if missing:
        raise BadSource(
            f"an atomic file needs the columns {', '.join(wanted)}",
            seen=f"{path}, row 1: {', '.join(header)}",
            remedy=f"add {', '.join(missing)} to the header as name:type, tab-separated",
        )
    wrong = [column for column in header if column.partition(":")[2] not in TYPES] or [
        c for c in header if names[c] == "row" or list(names.values()).count(names[c]) > 1
    ]
    if wrong:
        raise BadSource(
            f"every column of an atomic file is name:type, once, not row, of type {', '.join(TYPES)}",
            seen=f"{path}, row 1: {wrong[0]}",
            remedy="mend the header",
        )
    return rows.rename(names)


def item_texts(path: Path) -> pl.DataFrame:
    """The items of an `.item` file as the lake holds them; an item without a title shows its id."""
    sequences = [c.partition(":")[0] for c in table(path, "\t").columns if c.endswith(":token_seq")]
    rows = fields(path, ("item_id",))
    unique(path, rows, "item_id")
    title = next((name for name in (*TITLES, *sequences) if name in rows.columns), "item_id")
    year = next((name for name in YEARS if name in rows.columns), None)
    kinds = [name for name in sequences if name != title]
    shown = pl.when(flat(title) == "").then(flat("item_id")).otherwise(flat(title))
    dated = (
        pl.when(flat(year) != "").then(pl.format("{} ({})", shown, flat(year))).otherwise(shown)
        if year
        else shown
    )
    kind = [flat(_plain(name)) for name in kinds[:1]]
    text = pl.concat_str(
        [dated, *(pl.when(k != "").then(k) for k in kind)], separator=", ", ignore_nulls=True
    )
    others = [c for c in rows.columns if c not in ("row", "item_id", title)]
    attributes = pl.struct(others).struct.json_encode() if others else pl.lit(None, pl.String)
    return rows.select("item_id", dated.alias("title"), text.alias("text"), attributes.alias("attributes"))


def _plain(column: str) -> pl.Expr:
    """A sequence without the quotes and brackets that the Amazon conversion leaves ("'Games', 'PC'")."""
    return (
        pl.col(column)
        .str.replace_all(r"(^|[\s,\[])['\"]|['\"]($|[\s,\]])", "${1}${2}")
        .str.replace_all(r"[\[\]]", "")
        .str.strip_chars()
    )
