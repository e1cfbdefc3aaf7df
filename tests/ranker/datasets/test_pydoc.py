"""The reader of documentation in Python's source: its first sentence asks, the rest answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ranker.config import task
from ranker.datasets import readers
from ranker.errors import BadSource


def _tree(folder: Path, **files: str) -> Path:
    for name, code in files.items():
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    return folder


DOC = (
    '"""Count the words of a text.\n\n    Words are separated by spaces; punctuation belongs to the word'
    ' before it.\n    """'
)


def test_pydoc_pairs_the_first_sentence_with_the_rest(tmp_path: Path) -> None:
    bundle = readers.read(
        task("passage-pydoc"),
        _tree(tmp_path, one=f"class A:\n  def count(self):\n    {DOC}\n", broken="def (:\n"),
    )
    assert bundle.queries.rows() == [("one.A.count", "one", "Count the words of a text.")]
    assert bundle.items["text"].to_list() == [
        "Words are separated by spaces; punctuation belongs to the word before it."
    ]
    assert bundle.qrels.rows() == [("one.A.count", "one.A.count", 1.0)]


def test_pydoc_takes_a_text_once_and_names_twins_apart(tmp_path: Path) -> None:
    again = DOC.replace("words", "lines").replace("Words", "Lines")
    bundle = readers.read(
        task("passage-pydoc"),
        _tree(tmp_path, one=f"def f():\n    {DOC}\ndef f():\n    {again}\n", two=f"def g():\n    {DOC}\n"),
    )
    assert bundle.queries["query_id"].to_list() == ["one.f", "one.f#2"]


def test_pydoc_without_documentation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="none of use"):
        readers.read(task("passage-pydoc"), _tree(tmp_path, one="x = 1\n"))


def test_the_standard_library_holds_enough() -> None:
    bundle = readers.read(task("passage-pydoc"), None)
    assert bundle.queries.height >= 2_500 and bundle.queries["group_id"].n_unique() >= 200
    assert bundle.queries["query_id"].is_unique().all() and bundle.items["text"].is_unique().all()
    assert not any(
        part in group.split(".")
        for group in bundle.queries["group_id"].unique()
        for part in ("test", "idlelib", "site-packages")
    )


def test_a_source_tree_reads_the_same_twice() -> None:
    one, two = (
        readers.read(task("passage-pydoc"), Path(json.__file__).parent.parent / "asyncio") for _ in range(2)
    )
    assert one.items.equals(two.items) and one.queries.equals(two.queries)


def test_pydoc_reads_past_what_no_interpreter_could_hold(tmp_path: Path) -> None:
    """Deep trees and sources, NUL, a folder and a dead link named as sources are, half a character."""
    half = DOC.replace("belongs", "\\ud800 belongs")
    deep = "x = " + "+".join("1" * 990)
    _tree(tmp_path, good=f"def f():\n    {half}\n{deep}\n", deep="(" * 5_000, nul="x = '\0'\n")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "dead.py").symlink_to(tmp_path / "nowhere")
    readers.digest(task("passage-pydoc"), tmp_path)
    bundle = readers.read(task("passage-pydoc"), tmp_path)
    assert "punctuation \ufffd belongs" in bundle.items["text"][0]
    assert bundle.left_out == {"texts with characters that are none, read as U+FFFD": 1}
