"""A passage-ranking set that every machine has: the documentation strings of the interpreter's own standard
library.

Query: the first sentence of a documentation string. Positive passage: the rest of it. Near-duplicates live in
the same module, so the module is the group that no split cuts. Read by `ast` from the .py files: nothing is
imported.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from ranker import refs
from ranker.config import Task
from ranker.datasets.bundle import Bundle
from ranker.datasets.contents import content, shown
from ranker.datasets.files import file_digest, options
from ranker.datasets.values import characters, one_line
from ranker.errors import BadSource

SKIPPED = {
    "test",
    "tests",
    "idlelib",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "lib2to3",
    "ensurepip",
    "turtledemo",
}
MIN_QUERY, MIN_PASSAGE = 3, 5
"""Distinct words that a query and a passage must hold."""
_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_WORD = re.compile(r"[A-Za-z]{2,}|[0-9]+")


def read(task: Task, location: Path | None) -> Bundle:
    """Pairs of first sentence and rest. `location` may name another source tree (default: the standard
    library).

    Raises:
        BadSource: there is no source tree, or no documentation in it.
        BadConfig: an option; it has none.
    """
    options(task, {})
    root = _root(location)
    pairs = list(_pairs(root))
    if not pairs:
        raise BadSource(
            f"task {task.name}: a source tree must hold documentation strings",
            seen=f"none of use in {root}",
            remedy=f"name a folder of .py files with ingest.locations.{task.name}",
        )
    frame = pl.DataFrame(
        pairs,
        schema={"name": pl.String, "module": pl.String, "query": pl.String, "passage": pl.String},
        orient="row",
    )
    return Bundle(
        items=frame.select(
            pl.col("name").alias("item_id"),
            pl.col("name").alias("title"),
            pl.col("passage").alias("text"),
            pl.lit(None, pl.String).alias("attributes"),
        ),
        queries=frame.select(
            pl.col("name").alias("query_id"),
            pl.col("module").alias("group_id"),
            pl.col("query").alias("text"),
        ),
        qrels=frame.select(
            pl.col("name").alias("query_id"), pl.col("name").alias("item_id"), pl.lit(1.0).alias("relevance")
        ),
        location=f"python {sys.version.split()[0]} standard library" if location is None else str(root),
    )


def digest(task: Task, location: Path | None) -> str:
    """The interpreter's version; over all files where another tree is named."""
    if location is None:
        return refs.digest("python", sys.version.split()[0])
    root = _root(location)
    return refs.digest([(shown(path.relative_to(root)), file_digest(path)) for path in _sources(root)])


def _root(location: Path | None) -> Path:
    root = location or Path(sysconfig.get_paths()["stdlib"])
    if not os.path.isdir(root):
        raise BadSource(
            "a source tree must be a folder",
            seen=f"no folder {root}",
            remedy="name a folder of .py files, or leave the location empty",
        )
    return root


def _sources(root: Path) -> list[Path]:
    return sorted(
        path
        for path in root.rglob("*.py")
        if path.is_file() and not SKIPPED & set(path.relative_to(root).parts[:-1])
    )


def _pairs(root: Path) -> Iterator[tuple[str, str, str, str]]:
    """(name, module, query, passage); each query and each passage once, names made unique by a count."""
    seen: set[str] = set()
    names: dict[str, int] = {}
    for path in _sources(root):
        module = ".".join(Path(shown(path.relative_to(root))).with_suffix("").parts)
        for name, query, passage in _in_file(path, module):
            keys = {_key(query), _key(passage)}
            if keys & seen:
                continue
            seen |= keys
            names[name] = names.get(name, 0) + 1
            yield (name if names[name] == 1 else f"{name}#{names[name]}"), module, query, passage


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _in_file(path: Path, module: str) -> Iterator[tuple[str, str, str]]:
    """Documented things of one file, in the order of its source; a file that this interpreter cannot parse
    holds none.
    """
    source = content(path)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # other versions, nested too deep
        return
    for node, name in _walk(tree, module):
        parts = _END.split(ast.get_docstring(node) or "", maxsplit=1)
        if len(parts) == 2 and _distinct(parts[0]) >= MIN_QUERY and _distinct(parts[1]) >= MIN_PASSAGE:
            yield name, _flat(parts[0]), _flat(parts[1])


def _walk(tree: ast.Module, module: str) -> Iterator[tuple[Documented, str]]:
    """Without recursion: a long sum is a deep tree."""
    waiting: list[tuple[ast.AST, str]] = [(tree, module)]
    while waiting:
        node, name = waiting.pop()
        if isinstance(node, Documented):
            name = name if isinstance(node, ast.Module) else f"{name}.{node.name}"
            yield node, name
        waiting += [(child, name) for child in reversed(list(ast.iter_child_nodes(node)))]


def _distinct(text: str) -> int:
    return len({word.lower() for word in _WORD.findall(text)})


def _flat(text: str) -> str:
    return one_line(characters(text))


def _key(text: str) -> str:
    """What makes two texts the same: their first twelve words, whatever case and punctuation."""
    return " ".join(word.lower() for word in _WORD.findall(text)[:12])
