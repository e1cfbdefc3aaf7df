"""One word for one thing, the field's where it has one: the words that were given up stay away.

Identifiers are read from the syntax trees, so that ordinary English in a sentence is left alone; a few words
that nobody needs in a sentence either are looked for in texts, too.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ranker.refs import PROJECT

GIVEN_UP = {
    "Ask": "Prompt",
    "Bench": "StageContext",
    "Journal": "CompletionCache",
    "Measures": "ServingMetrics",
    "Refused": "BatchRejected",
    "Spool": "RequestLog",
    "Told": "StudyResults",
    "Touches": "Interactions",
    "Vitals": "Heartbeat",
    "Way": "Strategy",
    "judge": "validate_batch",
    "once": "run_cached",
    "spool": "request_log",
    "told": "what it is: results, figures, listed",
    "touches": "interactions",
    "untouched": "sample_negatives",
    "upkeep": "maintenance",
    "vitals": "heartbeat",
}
"""Identifier → what it is called now.

Classes, functions, parameters, variables, attributes and imported modules.
"""
MODULES = {
    "acceptance": "rejection_sampling",
    "architecture": "model_size",
    "catalog": "attach",
    "holders": "lock_holders",
    "journal": "completion_cache",
    "measures": "metrics",
    "options": "params",
    "ranks": "distributed",
    "remote": "download",
    "served": "collect",
    "sets": "types",
    "shape": "schema",
    "spool": "request_log",
    "terminal": "tables",
    "told": "results",
    "touches": "interactions",
    "upkeep": "maintenance",
    "vitals": "heartbeat",
}
"""File name of a module → its name now. As variables some of them are plain English."""
TEXTS = (
    r"\btouches\b",
    r"\bupkeep\b",
    r"\bvitals\b",
    r"\bspool\b",
    r"ranker plan\b",
    r"\baudit order\b",
    r"\border_bias\b",
)
ROOMS = ("ranker", "flows", "contracts", "tests", "benchmarks")


@cache
def tracked(*suffixes: str) -> tuple[Path, ...]:
    """Files of the repository that end so, less the migrations, which are history."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    files = (PROJECT / name for name in listed if name.endswith(suffixes) and "migrations" not in name)
    return tuple(
        path for path in files if path.is_file() and path.name not in (Path(__file__).name, "CHANGELOG.md")
    )


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that the code itself gives or uses, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.alias):
            yield from ((part, node.lineno) for part in (*node.name.split("."), node.asname or ""))


@pytest.mark.parametrize("room", ROOMS)
def test_no_identifier_bears_a_word_that_was_given_up(room: str) -> None:
    found = [
        f"{path.relative_to(PROJECT)}:{line} {name} (now {GIVEN_UP[name]})"
        for path in tracked(".py")
        if path.is_relative_to(PROJECT / room)
        for name, line in identifiers(ast.parse(path.read_text(encoding="utf-8")))
        if name in GIVEN_UP
    ]
    assert not found, "\n".join(found)


def test_no_module_bears_a_name_that_was_given_up() -> None:
    names = {path: path.stem.removeprefix("test_").removeprefix("cli_") for path in tracked(".py")}
    found = [
        f"{path.relative_to(PROJECT)} (now {MODULES[name]})"
        for path, name in names.items()
        if name in MODULES
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("pattern", TEXTS)
def test_no_text_has_it(pattern: str) -> None:
    found = [
        f"{path.relative_to(PROJECT)}:{number} {line.strip()[:100]}"
        for path in tracked(".py", ".md", ".sql", ".toml", ".yaml", ".j2", "Makefile")
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
        if re.search(pattern, line)
    ]
    assert not found, "\n".join(found)


def test_the_root_of_the_package_holds_few_modules() -> None:
    assert len(list((PROJECT / "ranker").glob("*.py"))) <= 7
