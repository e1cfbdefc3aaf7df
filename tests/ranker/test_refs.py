"""Digests: equal values have equal ones, whatever the order of their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.refs import Ref, canonical, digest, file_digest


def test_equal_values_have_one_text_and_one_digest() -> None:
    assert canonical({"b": {2, 1}, "a": Path("x")}) == canonical({"a": Path("x"), "b": [1, 2]})
    ref = Ref(stage="ingest", key="k", snapshot=3)
    assert canonical([ref]) == canonical([ref.model_dump()])
    assert digest(1, "a") == digest(1, "a") != digest("1", "a") and len(digest()) == 16


def test_what_has_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        canonical([object()])


def test_a_files_digest_is_of_its_bytes(tmp_path: Path) -> None:
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).write_text(text)
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b") != file_digest(tmp_path / "c")
