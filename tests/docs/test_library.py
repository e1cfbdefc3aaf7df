"""Every Python block of docs/library.md and of README runs, from top to bottom, in a data folder with a
champion.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from ranker.refs import PROJECT
from tests.docs.test_documents import page
from tests.ranker.library.homes import registered_home

LIBRARIES = {"langchain_core", "llama_index", "haystack", "rerankers"}
"""That an environment may lack (vLLM's, for one): their blocks are left out there."""


@pytest.fixture(scope="module")
def champion_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return registered_home(tmp_path_factory.mktemp("documented"))


@pytest.mark.parametrize(("name", "least"), [("docs/library.md", 7), ("README.md", 1)])
def test_snippets_run(name: str, least: int, champion_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKER_HOME", str(champion_home))
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "false")
    blocks = [block for language, block in page(PROJECT / name).blocks if language == "python"]
    assert len(blocks) >= least
    absent = {library for library in LIBRARIES if find_spec(library) is None}
    known: dict[str, object] = {}
    for block in blocks:
        if not any(library in block for library in absent):
            exec(compile(block, name, "exec"), known)
    assert "champion" in known
    if not absent:
        assert len(list(known["best"])) == 1  # type: ignore[call-overload]
