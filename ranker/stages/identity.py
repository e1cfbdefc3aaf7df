"""What decides a stage's output, derived and not listed: the code that it reaches by import, the SQL that
this code names, and the versions of the libraries that compute.

Three things are not followed. Contracts judge a batch and do not make it; `ranker` never imports them. Files
that are data (presets, tasks, templates) enter a key with the parameters that are read from them. Migrations
are applied by folder and by name of none: a lake has them all. Imports for type checking alone are left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

import grimp

from ranker.refs import digest
from ranker.resources import shipped, sql_folder

PACKAGE = "ranker"
LIBRARIES: dict[str, tuple[str, ...]] = {
    "Stemmer": ("PyStemmer",),
    "accelerate": ("accelerate",),
    "bm25s": ("bm25s",),
    "duckdb": ("duckdb",),
    "implicit": ("implicit",),
    "ir_measures": ("ir-measures", "pytrec-eval-terrier"),
    "numpy": ("numpy",),
    "peft": ("peft",),
    "polars": ("polars",),
    "scipy": ("scipy",),
    "tokenizers": ("tokenizers",),
    "torch": ("torch",),
    "transformers": ("transformers", "tokenizers"),
    "trl": ("trl", "accelerate"),
    "vllm": ("vllm",),
}
"""Import name → distributions whose versions decide results: they draw, order, tokenize, compute or measure.

What else is imported fetches, shows, checks or stores, and a new version of it repeats nothing. A library
that works behind another is named beside it.
"""
ABSENT = "not installed"
_SKIPPED = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")|--[^\n]*|/\*.*?\*/|\s+""", re.DOTALL)
_READ = re.compile(r"\b(?:from|join)\s+(?:lake\.)?(\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Code:
    """What decides an output besides parameters and inputs; digests are 16 hex digits."""

    modules: dict[str, str]
    """File (`ranker/policy/rewards.py`) → digest of its syntax tree without docstrings."""
    sql: dict[str, str]
    """File (`sql/train/traces.sql`) → digest of its text without comments and blank space."""
    libraries: dict[str, str]
    """Distribution → version, or `ABSENT`."""

    @property
    def digest(self) -> str:
        return digest(asdict(self))


@cache
def code(*roots: str, within: tuple[str, ...] = (PACKAGE,)) -> Code:
    """All that the modules `roots` reach by import, imports inside functions included; read once a process.

    Args:
        within: packages and modules beyond which imports are not followed.

    Raises:
        grimp.exceptions.ModuleNotPresent: a root does not exist.
    """
    modules = reached(*roots, within=within)
    sources = {name: _source(name) for name in modules}
    imported = {found for name in modules for found in _graph().find_modules_directly_imported_by(name)}
    named = {sql for source in sources.values() for sql in source.sql}
    distributions = {library for name in imported for library in LIBRARIES.get(name, ())}
    return Code(
        modules={_told(name): sources[name].digest for name in modules},
        sql={f"sql/{name}.sql": _sql(name).digest for name in sorted(_with_views(named))},
        libraries={library: _version(library) for library in sorted(distributions)},
    )


def reached(*roots: str, within: tuple[str, ...] = (PACKAGE,)) -> list[str]:
    """First-party modules that `roots` reach by import, themselves included, sorted. A package's `__init__`
    runs before any module in it, so that it counts.
    """
    waiting, found = list(roots), set[str]()
    while waiting:
        name = waiting.pop()
        if name in found or not any(f"{name}.".startswith(f"{room}.") for room in within):
            continue
        found.add(name)
        waiting += _graph().find_modules_directly_imported_by(name)
        waiting += [name.rpartition(".")[0]]
    return sorted(found)


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        PACKAGE, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


# --- sources ---


@dataclass(frozen=True, slots=True)
class _Source:
    digest: str
    sql: frozenset[str]
    """SQL files that it names, as `train/traces`, and views that SQL in it reads."""


@cache
def _source(module: str) -> _Source:
    parts: list[str] = []
    texts: list[str] = []
    _spell(ast.parse(_file(module).read_bytes()), parts, texts)
    views = {view for text in texts for view in _views(text)}
    return _Source(digest(" ".join(parts)), frozenset(views | (_sql_names() & set(texts))))


def _spell(node: object, parts: list[str], texts: list[str]) -> None:
    """Spell a syntax tree out into `parts`, its strings into `texts`; string statements, which do nothing,
    are left out.

    Empty fields are left out too: newer Pythons have more of them, and `ast.dump` shows them.
    """
    if isinstance(node, ast.AST):
        parts.append(f"({type(node).__name__}")
        for field in node._fields:
            inner = getattr(node, field, None)
            if inner is not None and inner != []:
                parts.append(field)
                _spell(inner, parts, texts)
        parts.append(")")
    elif isinstance(node, list):
        parts.append("[")
        for inner in cast("list[object]", node):
            if not _is_docstring(inner):
                _spell(inner, parts, texts)
        parts.append("]")
    else:
        parts.append(repr(node))
        if isinstance(node, str):
            texts.append(node)


def _is_docstring(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _file(module: str) -> Path:
    place = shipped(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_name(f"{place.name}.py")


def _told(module: str) -> str:
    return _file(module).relative_to(shipped().parent).as_posix()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ABSENT


# --- SQL ---


@cache
def _sql_names() -> frozenset[str]:
    folder = sql_folder()
    return frozenset(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.sql"))


@cache
def _sql(name: str) -> _Source:
    text = (sql_folder() / f"{name}.sql").read_text(encoding="utf-8")
    plain = _SKIPPED.sub(lambda part: part[1] or " ", text)
    return _Source(digest(re.sub(" +", " ", plain).strip()), frozenset(_views(plain)))


def _views(sql: str) -> Iterator[str]:
    names = (f"views/{name.lower()}" for name in _READ.findall(sql))
    return (name for name in names if name in _sql_names())


def _with_views(named: set[str]) -> set[str]:
    """SQL files, and the views that they read, down to tables."""
    found, waiting = set[str](), list(named)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _sql(name).sql
    return found
