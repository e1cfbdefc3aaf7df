"""docs/tasks.md: every task, reader and option stands in it, and every sample is read as it is."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import polars as pl
import pytest

from ranker.config import CandidateParams, Task, task, task_names
from ranker.datasets import readers
from ranker.lake import Lake
from ranker.refs import PROJECT
from ranker.resources import shipped
from ranker.stages import candidates
from tests.ranker.material import read_in, recbole, taste

TEXT = (PROJECT / "docs" / "tasks.md").read_text(encoding="utf-8")
SECTIONS = {
    found[1]: found[2]
    for found in re.finditer(r"^### `(\w+)`\n(.*?)(?=^###|\Z)", TEXT, re.MULTILINE | re.DOTALL)
}
FILES = {
    name: dict(re.findall(r"^```(\S+\.\S+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    for name, section in SECTIONS.items()
}
SHIPPED = {path.stem for path in shipped("tasks").glob("*.toml")}


def _written(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        if name.endswith(".parquet"):
            pl.DataFrame([json.loads(content)]).write_parquet(folder / name)
        else:
            (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_every_reader_has_its_section() -> None:
    assert set(SECTIONS) == set(readers.readers())


@pytest.mark.parametrize("reader", sorted(set(SECTIONS) - {"synthetic"}))
def test_every_sample_is_read_as_it_stands(tmp_path: Path, reader: str) -> None:
    assert FILES[reader], "a sample"
    options = {
        "trec": {"run": "run*"},
        "ir_collection": {"dataset": "vaswani"},
        "tables": {
            "files": {"pairs": "faq.csv"},
            "columns": {"pairs": {"query": "question", "relevance": "good"}},
        },
    }.get(reader, {})
    given = Task(
        name="sample",
        scenario="passage",
        reader=reader,
        pools="given",
        pool_size=2,
        wording="Rank.",
        options=options,
    )
    bundle = readers.read(given, _written(tmp_path, FILES[reader]))
    assert bundle.items.height and (bundle.interactions.height or bundle.qrels.height) and not bundle.left_out


@pytest.mark.parametrize("reader", sorted(SECTIONS))
def test_every_option_is_told(reader: str) -> None:
    module = importlib.import_module(f"ranker.datasets.{reader}")
    shown = SECTIONS[reader] + (SECTIONS["llmrouter"] if reader == "graphrouter" else "")
    by_scenario = getattr(module, "OPTIONS", {"": getattr(module, "DEFAULTS", {})})
    assert all(f"`{option}`" in shown for own in by_scenario.values() for option in own), reader


def test_every_shipped_task_stands_in_the_table_as_it_is() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", TEXT, re.MULTILINE))
    assert set(rows) == SHIPPED
    for name, row in rows.items():
        scenario, reader, pool, _ = row.split(" | ")
        found = task(name)
        assert (scenario, reader, pool) == (found.scenario, f"`{found.reader}`", str(found.pool_size))


def test_the_example_of_an_own_task_works_without_any_other_edit(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = re.search(r"^```toml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert example
    (tmp_path / "rec-books.toml").write_text(
        example[1].replace("/data/books", str(recbole(tmp_path / "books", taste())))
    )
    monkeypatch.setenv("RANKER_TASKS", str(tmp_path))
    assert "rec-books" in task_names() and task("rec-books").options == {"core": 5}
    source = read_in(lake, "rec-books")
    sets, pools = candidates.draw(lake, source.key, task("rec-books"), CandidateParams(history=4))
    assert sets.height and pools.height == 8 * sets.height
