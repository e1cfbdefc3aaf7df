"""What somebody's own tables are: which file plays which role, and which column holds what.

By the names of the columns, then, where just one column is left that could, by what they hold. What is found
is written down for its reader to check (`task_file`): a wrong guess is seen before it costs anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import polars as pl

from ranker.config import Scenario
from ranker.datasets import columns
from ranker.datasets.contents import bare
from ranker.datasets.tables import ROLES, TOGETHER
from ranker.datasets.values import NUMBER
from ranker.errors import BadConfig, BadSource

NAMES: dict[str, tuple[str, ...]] = {
    "user_id": (
        *("userid", "user", "uid", "customerid", "customer", "reviewerid", "visitorid", "visitor"),
        *("memberid", "member", "accountid", "account", "sessionid", "session", "who"),
    ),
    "item_id": (
        *("itemid", "item", "iid", "productid", "product", "sku", "articleid", "article", "movieid", "movie"),
        *("parentasin", "asin", "isbn", "bookid", "book", "songid", "song", "trackid", "artistid", "artist"),
        *("gameid", "game", "businessid", "recipeid", "recipe", "appid", "newsid"),
    ),
    "timestamp": (
        *("timestamp", "time", "ts", "datetime", "date", "when", "createdat", "created", "unixreviewtime"),
        *("ratedat", "playedat", "purchasedat", "orderdate", "eventtime"),
    ),
    "rating": ("rating", "stars", "rate", "overall", "score"),
    "title": (
        "title",
        "name",
        "itemname",
        "productname",
        "producttitle",
        "movietitle",
        "headline",
        "heading",
    ),
    "text": (
        *("text", "passage", "passagetext", "body", "content", "contents", "description", "abstract"),
        *("summary", "document", "answer", "response", "genres", "categories", "category", "feature"),
    ),
    "document_id": ("documentid", "docid", "docno", "corpusid", "passageid", "pid", "answerid"),
    "query_id": ("queryid", "qid", "questionid", "topicid", "topic"),
    "query": ("query", "querytext", "question", "prompt", "searchterm", "search", "keywords", "input"),
    "relevance": ("relevance", "label", "grade", "rel", "score", "isrelevant", "relevant", "isselected"),
    "llm": ("llm", "modelname", "model", "modelid", "engine"),
    "effect": ("effect", "performance", "quality", "accuracy", "correct", "iscorrect", "score", "reward"),
    "cost": ("cost", "price", "usd", "dollars", "spend"),
}
"""Field → column names that mean it, without case and signs, the clearest first."""
OWN_ID = ("id", "_id", "key", "index")
"""Names of the column of a table's own ids, in tables of one thing each."""
OF_ONE_THING = {"items": "item_id", "documents": "document_id", "queries": "query_id", "descriptions": "llm"}
"""Role → the field that is its table's own id."""
SAME_FIELD = {"queries": {"query": ("text", "title", "body")}}
"""Role → field → further names, which mean something else in other tables."""
PEOPLE = {*NAMES["user_id"], "author", "seller", "vendor", "brand", "file", "first", "last"}
"""Words before "name" and the like that speak of something else than what is ranked."""
LONG = 4
"""Mean words from which a column is taken for a text."""
LOOKED_AT = 2_000
"""Rows by which a column's values are judged."""


@dataclass(frozen=True, slots=True)
class File:
    """Files of one form, read one after the other; `name` is a file's name, or a pattern of several."""

    name: str
    paths: tuple[Path, ...]
    columns: tuple[str, ...]

    def values(self, column: str, kind: columns.Kind) -> pl.Series:
        """A column's first values as text.

        Raises:
            BadSource: the file is damaged, or the column holds another kind.
        """
        return columns.rows(self.paths[0], {"value": column}, {"value": kind})["value"].head(LOOKED_AT)


@dataclass(frozen=True, slots=True)
class Guess:
    """A source as it was understood."""

    scenario: Scenario
    folder: Path
    files: Mapping[str, File]
    """Role → its file."""
    columns: Mapping[str, Mapping[str, str]]
    """Role → field → column."""
    missing: tuple[str, ...] = ()
    """`role.field` of what is required and was not found."""


def guess(scenario: Scenario, places: Sequence[Path], mapped: Mapping[str, str]) -> Guess:
    """The roles of these files and the columns of their fields.

    Args:
        places: files of one folder, or one folder with tables in it (a data set of the Hugging Face hub).
        mapped: what the caller says: field, or role.field, → column.

    Raises:
        BadSource: a file is missing or no table; there are too many or too few.
        BadConfig: a field that no role of the scenario has, or a column that no file has.
    """
    files = _grouped(_tables(places))
    _require_known(scenario, files, mapped)
    fitting = [roles for roles in TOGETHER[scenario] if len(roles) == len(files)]
    if not fitting:
        needed = " or ".join(f"{len(roles)} ({', '.join(roles)})" for roles in TOGETHER[scenario])
        raise BadSource(
            f"a source of {scenario} is made of so many tables: {needed}",
            seen=f"{len(files)}: {', '.join(file.name for file in files)}"[:300],
            remedy="name the files one by one",
        )
    guesses = [
        _assigned(scenario, dict(zip(roles, order, strict=True)), mapped)
        for roles in fitting
        for order in permutations(files)
    ]
    return min(guesses, key=lambda one: (len(one.missing), -sum(map(len, one.columns.values()))))


# -- files


def _tables(places: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if _is_table(path))
            if not inside:
                raise BadSource(
                    "a folder must hold tables",
                    seen=f"no {', '.join(columns.ENDINGS)} in {place}",
                    remedy="name the files one by one",
                )
            found += inside
        else:
            found.append(place)
    folders = {path.parent.resolve() for path in found}
    if len(folders) > 1:
        raise BadSource(
            "the files of a task lie in one folder",
            seen=", ".join(map(str, sorted(folders)))[:300],
            remedy="move or link them into one folder",
        )
    return found


def _is_table(path: Path) -> bool:
    return path.is_file() and Path(bare(path.name)).suffix.lower() in columns.ENDINGS


def _grouped(paths: Sequence[Path]) -> list[File]:
    """Files of equal columns and endings are parts of one table: the splits and shards of a data set."""
    by_form: dict[tuple[tuple[str, ...], str], list[Path]] = {}
    for path in paths:
        by_form.setdefault((tuple(columns.names(path)), Path(bare(path.name)).suffix), []).append(path)
    return [
        File(_pattern(group, paths), tuple(group), names) for (names, _), group in sorted(by_form.items())
    ]


def _pattern(group: Sequence[Path], every: Sequence[Path]) -> str:
    """A name, or a pattern that these files match and none of the others."""
    if len(group) == 1:
        return group[0].name
    ending = bare(group[0].name).rpartition(".")[2]
    names = [path.name for path in group]
    first = names[0]
    same = next((n for n in range(len(first), 0, -1) if all(name.startswith(first[:n]) for name in names)), 0)
    pattern = f"{first[:same]}*.{ending}"
    if {path for path in every if Path(bare(path.name)).match(pattern)} != set(group):
        raise BadSource(
            "parts of one table have a beginning of their names in common that no other table has",
            seen=", ".join(names)[:300],
            remedy="rename the files, or put them into one",
        )
    return pattern


# -- columns


def _require_known(scenario: Scenario, files: Sequence[File], mapped: Mapping[str, str]) -> None:
    known = {name for fields in ROLES[scenario].values() for name in fields}
    known |= {f"{role}.{name}" for role, fields in ROLES[scenario].items() for name in fields}
    held = {column for file in files for column in file.columns}
    for field, column in mapped.items():
        if field not in known:
            raise BadConfig(
                f"--map names a field of {scenario}",
                seen=field,
                remedy=f"choose one of {', '.join(sorted(name for name in known if '.' not in name))}",
            )
        if column and column not in held:
            raise BadConfig(
                "--map names a column that a file has",
                seen=f"{field}={column}",
                remedy=f"choose one of {', '.join(sorted(held))}"[:300],
            )


def _assigned(scenario: Scenario, files: dict[str, File], mapped: Mapping[str, str]) -> Guess:
    found = {role: _columns(scenario, role, file, mapped) for role, file in files.items()}
    missing = tuple(
        f"{role}.{name}"
        for role in files
        for name, field in ROLES[scenario][role].items()
        if field.required and name not in found[role]
    )
    folder = next(iter(files.values())).paths[0].parent
    return Guess(scenario, folder, files, found, missing)


def _columns(scenario: Scenario, role: str, file: File, mapped: Mapping[str, str]) -> dict[str, str]:
    fields = ROLES[scenario][role]
    given = {name: mapped.get(f"{role}.{name}", mapped.get(name)) for name in fields}
    found = {name: column for name, column in given.items() if column in file.columns}
    refused = {name for name, column in given.items() if column == ""}
    for name in fields:
        if name not in found and name not in refused:
            column = next(_named(role, name, [c for c in file.columns if c not in found.values()]), None)
            found |= {name: column} if column else {}
    for name, field in fields.items():
        if field.required and field.kind == "text" and name not in found:
            left = [c for c in file.columns if c not in found.values() and _words(file, c) >= LONG]
            found |= {name: left[0]} if len(left) == 1 else {}
    return {name: found[name] for name in fields if name in found}


def _named(role: str, field: str, free: Sequence[str]) -> Iterator[str]:
    """Of the free columns those whose name means the field, the clearest first."""
    names = (field.replace("_", ""), *NAMES[field], *SAME_FIELD.get(role, {}).get(field, ()))
    own = OWN_ID if OF_ONE_THING.get(role) == field else ()
    for name in (*names, *own):
        yield from (column for column in free if _plain(column) == _plain(name))
    for name in names:
        yield from (column for column in free if _ends_in(column, name))


def _ends_in(column: str, name: str) -> bool:
    """Whether a column's last word is the name: "Book title". A person's name is no title."""
    *words, last = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", column)] or [""]
    return last == name and bool(words) and not PEOPLE & set(words)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _words(file: File, column: str) -> float:
    """Mean words of a column's values; 0 where they are no texts."""
    try:
        mean = file.values(column, "text").str.split(" ").list.len().mean()
    except BadSource:
        return 0.0
    return float(mean) if isinstance(mean, int | float) else 0.0


# -- what values say


def time_unit(values: pl.Series) -> str:
    """The option `time_unit` of a column of times: numbers count milliseconds where seconds would lie beyond
    the year 5138.
    """
    numbers = values.filter(values.str.strip_chars().str.contains(NUMBER)).str.strip_chars()
    if numbers.len() * 2 < values.len():
        return "iso"
    most = numbers.str.strip_prefix("+").cast(pl.Float64, strict=False).max()
    return "ms" if isinstance(most, float) and most > 1e11 else "s"


def rating_bounds(values: pl.Series) -> tuple[float, float] | None:
    """The range that a column of ratings keeps to: 0 to 5, or 0 to 10; None where it does not."""
    numbers = values.str.strip_chars().str.strip_prefix("+").cast(pl.Float64, strict=False)
    least, most = numbers.min(), numbers.max()
    if numbers.null_count() or not isinstance(least, float) or not isinstance(most, float) or least < 0:
        return None
    return next(((0.0, bound) for bound in (5.0, 10.0) if most <= bound), None)


def without_rating(found: Guess) -> Guess:
    """The guess without its column of ratings, which nothing is trained on."""
    met = {name: column for name, column in found.columns["interactions"].items() if name != "rating"}
    return replace(found, columns={**found.columns, "interactions": met})
