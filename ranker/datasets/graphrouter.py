"""LLM routing as in GraphRouter: a CSV file of query, llm, effect and cost (further columns, such as
embeddings, are not read).

Options: `effect_weight` (w) and `grades`, see `_routing`. Costs are divided by the largest
one of the file. Beside it may lie `llm_descriptions.json` ({llm: {"feature": …}} or {llm: text}); without it
an LLM's text is its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from ranker.config import Task
from ranker.datasets._routing import Answer, bundle
from ranker.datasets.bundle import Bundle
from ranker.datasets.files import (
    csv_rows,
    file_in,
    files_digest,
    files_in,
    folder,
    json_value,
    require_columns,
)
from ranker.datasets.values import as_number, as_text, one_line
from ranker.errors import BadSource
from ranker.types import JsonObject

COLUMNS = ("query", "llm", "effect", "cost")
DESCRIPTIONS = "llm_descriptions.json"


def read(task: Task, location: Path | None) -> Bundle:
    """Queries, LLMs and a graded judgement of every answer; queries that read alike are one group.

    Raises:
        BadSource: see `readers`; also a missing column, an effect outside [0, 1], a cost below 0, an
        answer given twice.
        BadConfig: the objective is out of range.
    """
    path, *described = _files(task, location)
    said = _descriptions(described[0]) if described else {}
    return bundle(task, path, list(_answers(path)), said)


def digest(task: Task, location: Path | None) -> str:
    """Over the table and, where there is one, the file of descriptions."""
    return files_digest(_files(task, location))


def _files(task: Task, location: Path | None) -> list[Path]:
    path = file_in(task, folder(task, location), "*.csv")
    return [path, *files_in(path.parent, DESCRIPTIONS)]


def _answers(path: Path) -> Iterator[Answer]:
    names: list[str] = []
    for row, fields in csv_rows(path):
        if not names:
            _require_header(path, row, fields)
            names = fields
        else:
            yield _answer(path, row, dict(zip(names, fields, strict=False)), len(fields) == len(names))


def _require_header(path: Path, row: int, names: Sequence[str]) -> None:
    require_columns(path, row, names, COLUMNS)
    again = [name for name in COLUMNS if names.count(name) > 1]
    if again:
        raise BadSource(
            "a column must stand once",
            seen=f"{path}, row {row}: {again[0]} again",
            remedy="rename one of the columns, or drop it",
        )


def _answer(path: Path, row: int, given: dict[str, str], whole: bool) -> Answer:
    query, llm = one_line(given.get("query", "")), given.get("llm", "")
    if not whole or not query or not one_line(llm):
        raise BadSource(
            "every row must have a field for each column, a query and an llm",
            seen=f"{path}, row {row}: query {query[:40]!r}, llm {one_line(llm)[:40]!r}",
            remedy="mend or drop the row",
        )
    return Answer(
        row,
        query,
        llm,
        _number(path, row, "effect", given, 1),
        _number(path, row, "cost", given, float("inf")),
    )


def _number(path: Path, row: int, column: str, given: dict[str, str], most: float) -> float:
    value = as_number(given[column])
    if value is None or not 0 <= value <= most:
        bound = f"from 0 to {most:g}" if most < float("inf") else "of at least 0"
        raise BadSource(
            f"{column} must be a number {bound}",
            seen=f"{path}, row {row}: {given[column][:80]}",
            remedy="mend or drop the row",
        )
    return value


def _descriptions(path: Path) -> dict[str, str]:
    given = json_value(path, "export it again")
    if not isinstance(given, dict):
        raise BadSource(
            "descriptions are one object {llm: text}",
            seen=f"{path}: {type(given).__name__}",
            remedy="see docs/tasks.md for the format",
        )
    described = cast("JsonObject", given)
    return {llm: _said(path, llm, said) for llm, said in described.items()}


def _said(path: Path, llm: str, given: object) -> str:
    """A description as text or as {feature: text}."""
    said = cast("JsonObject", given).get("feature") if isinstance(given, dict) else given
    found = as_text(said)
    if found is None:
        raise BadSource(
            "a description must be a text",
            seen=f"{path}: {llm}: {said!r}"[:200],
            remedy="give a text, or leave it out",
        )
    return one_line(found)
