"""Well-known collections by their ids in ir_datasets (`vaswani`, `beir/scifact/test`,
`msmarco-passage/dev/small`).

Options: `dataset` is the id; `title`, `text` and `query` name the fields of a document and of a query that
are read, joined by + (their names differ by collection: "title+body", "description"); `unknown_documents` and
`unknown_queries`: see `_judged`. `location` is ir_datasets' home folder. Nothing is downloaded here: the user
does that once, with ir_datasets' own command.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import cast

import polars as pl

from ranker import refs
from ranker.config import Task
from ranker.datasets import _judged
from ranker.datasets._judged import bundle, documents, grades
from ranker.datasets.bundle import Bundle
from ranker.datasets.files import folder, id_of, options, text_of
from ranker.datasets.values import parsed
from ranker.errors import BadConfig, BadSource
from ranker.types import JsonObject

DEFAULTS: JsonObject = {
    "dataset": "",
    "title": "title",
    "text": "title+text",
    "query": "text",
    **_judged.DEFAULTS,
}
PARTS = ("docs", "queries", "qrels")
NOWHERE = "http://127.0.0.1:9"
"""A proxy that nobody is: ir_datasets downloads what it lacks, and knows no other way to be kept from it."""
_ID = re.compile(r"\w[\w./:+-]*", re.ASCII)
"""An id of ir_datasets; what begins with a dash would be an option of its command."""


def read(task: Task, location: Path | None) -> Bundle:
    """Documents, and the queries that have a relevant one; a grade below 0 counts as 0.

    Raises:
        BadSource: files of the collection are not in `location`, a part has none of the fields asked for, or
        a
            judgement names something that is not there.
        BadConfig: `dataset` is not an id of ir_datasets.
    """
    chosen, where = options(task, DEFAULTS), folder(task, location)
    docs, asked, judged = (_exported(task, where, part) for part in PARTS)
    name = where / str(chosen["dataset"])
    items = _rows(
        name / "docs", docs, {"item_id": "doc_id", "title": chosen["title"], "text": chosen["text"]}
    )
    queries = _rows(name / "queries", asked, {"query_id": "query_id", "text": chosen["query"]})
    qrels = _rows(
        name / "qrels", judged, {"query_id": "query_id", "item_id": "doc_id", "relevance": "relevance"}
    )
    graded = grades(name / "qrels", qrels).select("row", "path", "query_id", "item_id", "relevance")
    return bundle(
        documents(name / "docs", items), _judged.queries(name / "queries", queries), graded, name, chosen
    )


def digest(task: Task, location: Path | None) -> str:
    """Over everything that ir_datasets gives: which files it reads is its own affair."""
    where = folder(task, location)
    return refs.digest([_exported(task, where, part) for part in PARTS])


def _exported(task: Task, home: Path, part: str) -> str:
    """One part of the collection as lines of JSON, by ir_datasets' own command.

    In a process of its own: ir_datasets has one home a process, which it takes from the environment when it
    is imported.
    """
    dataset = str(options(task, DEFAULTS)["dataset"])
    if not _ID.fullmatch(dataset):
        raise _no_collection(task, dataset)
    proxies = [f"{scheme}_proxy" for scheme in ("http", "https", "all")]
    offline = dict.fromkeys([*proxies, *map(str.upper, proxies)], NOWHERE) | {"no_proxy": "", "NO_PROXY": ""}
    found = subprocess.run(
        [sys.executable, "-m", "ir_datasets", "export", dataset, part, "--format", "jsonl"],
        env=os.environ | offline | {"IR_DATASETS_HOME": str(home), "IR_DATASETS_DL_TRIES": "1"},
        stdin=subprocess.DEVNULL,  # some collections ask for a password
        capture_output=True,
        encoding="utf-8",
        errors="replace",  # what it says of files in other encodings; records are ASCII
        check=False,
    )
    if found.returncode:
        raise _fault(task, home, dataset, part, (found.stderr.strip() or "nothing").splitlines()[-1])
    return found.stdout


def _fault(task: Task, home: Path, dataset: str, part: str, said: str) -> BadConfig | BadSource:
    if said == f"KeyError: {dataset!r}":
        return _no_collection(task, dataset)
    return BadSource(
        f"task {task.name}: the collection must lie on this machine whole",
        seen=f"{part} of {dataset} in {home}: {said[:300]}",
        remedy=(
            f"download it once: IR_DATASETS_HOME={home} ir_datasets export {dataset} {part} > /dev/null; or"
            f" name another folder with ingest.locations.{task.name}"
        ),
    )


def _no_collection(task: Task, dataset: str) -> BadConfig:
    return BadConfig(
        f"task {task.name}: ir_datasets must know the collection",
        seen=f"dataset {dataset!r}",
        remedy="set the option dataset to an id of ir_datasets; `ir_datasets list` prints them",
    )


def _rows(path: Path, exported: str, wanted: JsonObject) -> pl.DataFrame:
    """Our columns as strings, and `row`; a column is some fields of the record, joined by a space."""
    rows: list[tuple[int | str, ...]] = []
    for row, line in enumerate(exported.split("\n"), start=1):
        if line:
            record = cast("JsonObject", parsed(line, numbers_as_written=True))
            rows.append((row, *(_value(path, row, record, name, str(of)) for name, of in wanted.items())))
    return pl.DataFrame(rows, schema={"row": pl.Int64, **dict.fromkeys(wanted, pl.String)}, orient="row")


def _value(path: Path, row: int, record: JsonObject, column: str, names: str) -> str:
    asked = names.split("+")
    if column != "title" and not set(asked) & set(record):  # a document need not have a title
        raise BadSource(
            "a record must have one of the fields asked for",
            seen=f"{path}, row {row}: no {names}; there are {', '.join(record)}",
            remedy="name others in the task's options title, text and query",
        )
    value = text_of if column in ("title", "text") else id_of  # an id or a grade is one value
    return " ".join(part for name in asked if (part := value(path, row, record, name)))
