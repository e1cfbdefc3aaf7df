"""Your own tables, whatever their columns are called: CSV and its kin, JSON lines and Parquet, as they are.

Options: `files` names a file, or a pattern of several, for each role of the task's scenario (`ROLES`);
`columns` says by role which column holds a field, where it does not bear the field's name (empty: it is not
there). `time_unit` of times: "s" or "ms" since 1970, or "iso" for dates and times as text, by UTC where they
name no zone; without times the order of the rows counts. Also those of `_meetings` (recommendation),
`_judged` (passages) and `_routing`. `ranker init` writes such a task from the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import polars as pl

from ranker import refs
from ranker.config import Scenario, Task
from ranker.datasets import _judged, _meetings, _routing
from ranker.datasets.bundle import ITEMS, Bundle
from ranker.datasets.columns import Kind, rows
from ranker.datasets.files import (
    LATEST,
    files_digest,
    files_in,
    folder,
    interactions,
    met_once,
    number,
    options,
    present,
    rating_range,
    refuse,
    unique,
)
from ranker.datasets.values import flat
from ranker.errors import BadConfig, BadSource
from ranker.types import Fields, JsonObject


@dataclass(frozen=True, slots=True)
class Field:
    """What one column of a role's table holds."""

    kind: Kind
    required: bool = True


ID, TEXT, NUMBER = Field("id"), Field("text"), Field("number")
MAYBE_ID, MAYBE_TEXT, MAYBE_NUMBER = Field("id", False), Field("text", False), Field("number", False)
ROLES: dict[Scenario, dict[str, dict[str, Field]]] = {
    "recommendation": {
        "interactions": {
            "user_id": ID,
            "item_id": ID,
            "timestamp": Field("time", required=False),
            "rating": MAYBE_NUMBER,
            "title": MAYBE_TEXT,
        },
        "items": {"item_id": ID, "title": MAYBE_TEXT, "text": MAYBE_TEXT},
    },
    "passage": {
        "documents": {"document_id": ID, "title": MAYBE_TEXT, "text": TEXT},
        "queries": {"query_id": ID, "query": TEXT},
        "judgements": {"query_id": ID, "document_id": ID, "relevance": MAYBE_NUMBER},
        "pairs": {
            "query": TEXT,
            "text": TEXT,
            "relevance": MAYBE_NUMBER,
            "query_id": MAYBE_ID,
            "document_id": MAYBE_ID,
            "title": MAYBE_TEXT,
        },
    },
    "routing": {
        "answers": {"query": TEXT, "llm": ID, "effect": NUMBER, "cost": MAYBE_NUMBER},
        "descriptions": {"llm": ID, "text": TEXT},
    },
}
"""Scenario → role of a file → field → what it holds. `pairs` stands for the three other roles of passages."""
TOGETHER: dict[Scenario, tuple[tuple[str, ...], ...]] = {
    "recommendation": (("interactions",), ("interactions", "items")),
    "passage": (("documents", "queries", "judgements"), ("pairs",)),
    "routing": (("answers",), ("answers", "descriptions")),
}
"""Roles that make a source together."""
UNITS = ("s", "ms", "iso")
_OWN: JsonObject = {"files": {}, "columns": {}}
OPTIONS: dict[Scenario, JsonObject] = {
    "recommendation": {**_OWN, "time_unit": "s", **_meetings.DEFAULTS},
    "passage": {**_OWN, **_judged.DEFAULTS},
    "routing": {**_OWN, **_routing.DEFAULTS},
}


def read(task: Task, location: Path | None) -> Bundle:
    """Whatever the task's scenario wants of its files.

    Raises:
        BadSource: see `readers`; also a column that is not there, or holds another kind of value.
        BadConfig: a role or field that the scenario does not have; roles that make no source together.
    """
    source = _Source.of(task, location)
    return _BUNDLES[task.scenario](source)


def digest(task: Task, location: Path | None) -> str:
    """Over all files that are read."""
    return files_digest([path for paths in _Source.of(task, location).files.values() for path in paths])


def timed(task: Task) -> bool:
    """Whether every interaction of the task's source has a time."""
    return task.scenario == "recommendation" and "timestamp" in fields(task, "interactions")


def problems(task: Task, location: Path | None) -> list[BadSource]:
    """All rules that the source's rows break, each with its first rows, where `read` stops at the first.

    Raises:
        BadSource: a file is not there, damaged, or lacks a column: no row can be looked at.
        BadConfig: as `read`.
    """
    source, found = _Source.of(task, location), list[BadSource]()
    for check in _CHECKS[task.scenario](source):
        try:
            check()
        except BadSource as error:
            found.append(error)
    if not found:
        try:
            _BUNDLES[task.scenario](source)
        except BadSource as error:
            found.append(error)
    return found


def fields(task: Task, role: str) -> dict[str, str]:
    """Field → column of a role's table; optional fields that `columns` does not name are not there.

    Raises:
        BadConfig: the option `columns` is not of this form, or names what the role does not have.
    """
    given: object = options(task, OPTIONS[_scenario(task)])["columns"].get(role, {})
    known = ROLES[task.scenario][role]
    own = cast("JsonObject", given) if isinstance(given, dict) else {role: None}
    if not all(name in known and isinstance(column, str) for name, column in own.items()):
        raise BadConfig(
            f"task {task.name}: columns.{role} says which column holds a field: {', '.join(known)}",
            seen=f"{role} = {given!r}"[:200],
            remedy='for example columns = { interactions = { user_id = "customer" } }',
        )
    named = {name: str(own.get(name, name if field.required else "")) for name, field in known.items()}
    return {name: column for name, column in named.items() if column}


# -- the files of a task


@dataclass(frozen=True, slots=True)
class _Source:
    """A task's files by role, and its options."""

    task: Task
    files: Mapping[str, list[Path]]
    options: Fields

    @classmethod
    def of(cls, task: Task, location: Path | None) -> _Source:
        chosen = options(task, OPTIONS[_scenario(task)])
        where = folder(task, location)
        where = where if where.is_dir() else where.parent
        named: JsonObject = chosen["files"]
        if tuple(sorted(named)) not in [tuple(sorted(roles)) for roles in TOGETHER[task.scenario]]:
            raise BadConfig(
                f"task {task.name}: files names a file for each of"
                f" {' or '.join(' and '.join(roles) for roles in TOGETHER[task.scenario])}",
                seen=f"files = {named!r}"[:200],
                remedy="mend the task's option files, or write the task with `ranker init`",
            )
        for role in chosen["columns"]:
            if role not in named:
                raise BadConfig(
                    f"task {task.name}: columns are those of a file that the option files names",
                    seen=f"columns.{role}",
                    remedy=f"name one of {', '.join(named)}",
                )
        found = {role: files_in(where, str(pattern)) for role, pattern in named.items()}
        for role, paths in found.items():
            if not paths:
                raise BadSource(
                    f"task {task.name}: the file of its {role} must be there",
                    seen=f"no {named[role]} in {where}",
                    remedy=f"put it there, or name another folder with ingest.locations.{task.name}",
                )
        return cls(task, found, chosen)

    def path(self, role: str) -> Path:
        """The first of a role's files; rows name their own."""
        return self.files[role][0]

    def rows(self, role: str) -> pl.DataFrame:
        """All rows of a role: row, path, and a column of text for each field that is there."""
        wanted = fields(self.task, role)
        kinds: dict[str, Kind] = {name: ROLES[self.task.scenario][role][name].kind for name in wanted}
        return pl.concat([rows(path, wanted, kinds) for path in self.files[role]])


def _scenario(task: Task) -> Scenario:
    if task.scenario not in ROLES:
        raise BadConfig(
            f"task {task.name}: the reader tables reads {', '.join(ROLES)}",
            seen=f"scenario {task.scenario}",
            remedy="name another reader, or another scenario",
        )
    return task.scenario


# -- recommendation


def _recommendation(source: _Source) -> Bundle:
    path, left_out = source.path("interactions"), dict[str, int]()
    met = _met(source)
    items = _items(source, met)
    met = _meetings.kept(path, met, items, source.options, left_out)
    if source.options["core"]:
        items = items.join(met, on="item_id", how="semi", maintain_order="left")
    found = interactions(path, met, items, rating_range(source.task, (0, 5)))
    return Bundle(items, found, location=str(path.parent), left_out=left_out)


def _met(source: _Source) -> pl.DataFrame:
    met = source.rows("interactions")
    unit = source.options["time_unit"]
    if unit not in UNITS:
        raise BadConfig(
            f"task {source.task.name}: time_unit is {', '.join(UNITS)}",
            seen=repr(unit),
            remedy="s and ms count from 1970, iso is a date or time as text",
        )
    if "timestamp" not in met.columns:
        return met.with_columns(pl.int_range(pl.len()).cast(pl.Float64).alias("timestamp"))
    path = source.path("interactions")
    return _moments(path, met) if unit == "iso" else _seconds(path, met, unit)


def _seconds(path: Path, met: pl.DataFrame, unit: str) -> pl.DataFrame:
    scale = 1_000 if unit == "ms" else 1
    remedy = 'give Unix time in seconds, or set the task\'s option time_unit to "ms" or "iso"'
    found = number(path, met, "timestamp", 0, LATEST * scale, remedy)
    return found.with_columns(pl.col("timestamp") / scale)


def _moments(path: Path, met: pl.DataFrame) -> pl.DataFrame:
    """Dates and times by ISO 8601, which a Parquet column of times gives, too; without a zone by UTC."""
    said = pl.col("timestamp").str.strip_chars()
    zoned = said.str.replace(r"(?i)z$", "+00:00")
    day = said.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    parsed = [
        zoned.str.replace("T", " ").str.to_datetime(form, time_unit="us", strict=False, exact=True)
        for form in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")
    ]
    aware = zoned.str.replace("T", " ").str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", strict=False, exact=True, time_zone="UTC"
    )
    plain = [one.dt.replace_time_zone("UTC") for one in (*parsed, day)]
    moment = pl.coalesce(aware, *plain).dt.epoch("us") / 1e6
    found = met.with_columns(moment.alias("_moment"))
    refuse(
        path,
        found,
        pl.col("_moment").is_null() | ~pl.col("_moment").is_between(0, LATEST),
        "timestamp must be a date or time from 1970 to 2099, as 2024-05-31 or 2024-05-31T18:00:00Z",
        pl.col("timestamp"),
        "write it so, or set the task's option time_unit",
    )
    return found.with_columns(pl.col("_moment").alias("timestamp")).drop("_moment")


def _items(source: _Source, met: pl.DataFrame) -> pl.DataFrame:
    if "items" in source.files:
        given = source.rows("items")
        unique(source.path("items"), given, "item_id")
        titled = _with(given, "title", "text")
        shown = flat("title"), flat("text")
        both = (shown[0] != "") & (shown[1] != "")
        whole = pl.when(both).then(pl.format("{}, {}", *shown)).otherwise(pl.concat_str(*shown))
    else:
        present(source.path("interactions"), met, "user_id", "item_id")
        titled = _with(met.unique("item_id", keep="first", maintain_order=True), "title")
        whole = flat("title")
    return titled.select(
        "item_id", "title", whole.alias("text"), pl.lit(None, pl.String).alias("attributes")
    ).cast(dict(ITEMS))  # type: ignore[arg-type]


def _with(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """With those of these text columns that it lacks, empty."""
    return frame.with_columns(pl.lit("").alias(name) for name in columns if name not in frame.columns)


def _check_recommendation(source: _Source) -> Iterator[Callable[[], object]]:
    path, met = source.path("interactions"), source.rows("interactions")
    for name in ("user_id", "item_id"):
        yield partial(present, path, met, name)
    yield partial(_met, source)
    if "rating" in met.columns:
        low, high = rating_range(source.task, (0, 5))
        yield partial(number, path, met, "rating", low, high, "mend it, or set the option rating_range")
    if source.options["repeats"] == "refuse":
        yield partial(met_once, path, met)
    if "items" in source.files:
        yield partial(unique, source.path("items"), source.rows("items"), "item_id")


# -- passages


def _passage(source: _Source) -> Bundle:
    return _of_pairs(source) if "pairs" in source.files else _of_collection(source)


def _of_collection(source: _Source) -> Bundle:
    docs, asked, judged = (source.path(role) for role in ("documents", "queries", "judgements"))
    given = _with(source.rows("documents"), "title").rename({"document_id": "item_id"})
    given = given.with_columns(_judged.with_title())
    qrels = _graded(source.rows("judgements"))
    return _judged.bundle(
        _judged.documents(docs, given),
        _judged.queries(asked, source.rows("queries").rename({"query": "text"})),
        _judged.grades(judged, qrels).select("row", "path", "query_id", "item_id", "relevance"),
        docs.parent,
        source.options,
    )


def _of_pairs(source: _Source) -> Bundle:
    """A row is a query and a passage: what reads alike is one query, and one passage."""
    path, pairs = source.path("pairs"), _identified(source.rows("pairs"))
    texts = pairs.unique("item_id", keep="first", maintain_order=True)
    asked = pairs.unique("query_id", keep="first", maintain_order=True)
    _require_one_text(path, pairs, "query_id", "query")
    _require_one_text(path, pairs, "item_id", "text")
    return _judged.bundle(
        _judged.documents(path, texts.with_columns(_judged.with_title())),
        _judged.queries(path, asked.with_columns(pl.col("query").alias("text"))),
        _judged.grades(path, pairs).select("row", "path", "query_id", "item_id", "relevance"),
        path.parent,
        source.options,
    )


def _identified(pairs: pl.DataFrame) -> pl.DataFrame:
    named = _graded(_with(pairs, "title").rename({"document_id": "item_id"}, strict=False))
    made = [
        pl.Series(column, [refs.digest(text) for text in named.select(flat(of)).to_series()])
        for column, of in (("query_id", "query"), ("item_id", "text"))
        if column not in named.columns
    ]
    return named.with_columns(made)


def _graded(judged: pl.DataFrame) -> pl.DataFrame:
    """With document_id as item_id, and grade 1 where the table has no grades: what is listed is relevant."""
    found = judged.rename({"document_id": "item_id"}, strict=False)
    return found if "relevance" in found.columns else found.with_columns(pl.lit("1").alias("relevance"))


def _require_one_text(path: Path, pairs: pl.DataFrame, column: str, text: str) -> None:
    said = pairs.with_columns(flat(text).alias("_said"))
    first = said.with_columns(pl.col("_said").first().over(column).alias("_first"))
    refuse(
        path,
        first,
        pl.col("_said") != pl.col("_first"),
        f"one {column} must have one {text}",
        pl.col(column),
        "give other texts other ids, or leave the ids out",
    )


def _check_passage(source: _Source) -> Iterator[Callable[[], object]]:
    if "pairs" in source.files:
        path, pairs = source.path("pairs"), source.rows("pairs")
        yield partial(_require_text, path, pairs, "query")
        yield partial(_judged.grades, path, _identified(pairs))
        return
    docs, asked = source.rows("documents"), source.rows("queries")
    yield partial(unique, source.path("documents"), docs, "document_id")
    yield partial(unique, source.path("queries"), asked, "query_id")
    yield partial(_require_text, source.path("queries"), asked, "query")
    yield partial(_judged.grades, source.path("judgements"), _graded(source.rows("judgements")))


def _require_text(path: Path, given: pl.DataFrame, column: str) -> None:
    refuse(
        path,
        given,
        flat(column) == "",
        "every query must have a text",
        pl.lit("an empty field"),
        "add it, or drop the row",
    )


# -- routing


def _of_answers(source: _Source) -> Bundle:
    path, given = source.path("answers"), _numbered(source)
    _require_text(path, given, "query")
    answers = [
        _routing.Answer(**row)
        for row in given.select("row", flat("query"), "llm", "effect", "cost").iter_rows(named=True)
    ]
    objective = {name: source.options[name] for name in _routing.DEFAULTS}
    return _routing.bundle(source.task, path, answers, _descriptions(source), objective)


def _numbered(source: _Source) -> pl.DataFrame:
    path, given = source.path("answers"), source.rows("answers")
    if "cost" not in given.columns:
        given = given.with_columns(pl.lit(0.0).alias("cost"))
    rated = number(path, given, "effect", 0, 1, "scale effects to 0 to 1")
    return number(path, rated, "cost", 0, _routing.DEAREST, "mend or drop the row")


def _descriptions(source: _Source) -> dict[str, str]:
    if "descriptions" not in source.files:
        return {}
    said = source.rows("descriptions")
    unique(source.path("descriptions"), said, "llm")
    return dict(said.select("llm", flat("text")).iter_rows())


def _check_routing(source: _Source) -> Iterator[Callable[[], object]]:
    path, given = source.path("answers"), source.rows("answers")
    yield partial(_require_text, path, given, "query")
    yield partial(present, path, given, "llm")
    yield partial(_numbered, source)
    yield partial(_descriptions, source)


_BUNDLES: dict[str, Callable[[_Source], Bundle]] = {
    "recommendation": _recommendation,
    "passage": _passage,
    "routing": _of_answers,
}
_CHECKS: dict[str, Callable[[_Source], Iterator[Callable[[], object]]]] = {
    "recommendation": _check_recommendation,
    "passage": _check_passage,
    "routing": _check_routing,
}
