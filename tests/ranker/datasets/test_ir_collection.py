"""Collections of ir_datasets: read by the library itself from a home folder that a test writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ranker.config import Task
from ranker.datasets import readers
from ranker.errors import BadConfig, BadSource

# The files into which ir_datasets unpacks Vaswani.
DOCS = "1\ncompact memories\nhave  capacities\n   /\n2\nbridges hum\n   /\n3\ntowers sway\n   /\n"
QUERIES = "1\nSMALL MEMORIES\n/\n2\nwhat hums\n/\n3\nnobody judged this\n/\n"
QRELS = "1\n     1     3\n   /\n2\n     2\n   /\n"


def _task(**options: Any) -> Task:
    return Task(
        name="collection",
        scenario="passage",
        reader="ir_collection",
        pool_size=2,
        wording="Rank.",
        options={"dataset": "vaswani", **options},
    )


def _home(home: Path, docs: str = DOCS, queries: str = QUERIES, qrels: str = QRELS) -> Path:
    (home / "vaswani").mkdir(parents=True)
    for name, content in (("docs", docs), ("queries", queries), ("qrels", qrels)):
        (home / "vaswani" / f"{name}.txt").write_text(content, encoding="utf-8")
    return home


def test_documents_queries_and_judgements_are_read(tmp_path: Path) -> None:
    bundle = readers.read(_task(), _home(tmp_path))
    assert bundle.items.select("item_id", "title", "text").rows() == [
        ("1", "1", "compact memories have capacities"),
        ("2", "2", "bridges hum"),
        ("3", "3", "towers sway"),
    ]
    assert bundle.queries.rows() == [("1", "1", "SMALL MEMORIES"), ("2", "2", "what hums")]
    assert bundle.qrels.rows() == [("1", "1", 1.0), ("1", "3", 1.0), ("2", "2", 1.0)]
    assert bundle.left_out == {"queries without a relevant document": 1}
    assert bundle.location == str(tmp_path / "vaswani")


def test_equal_content_has_an_equal_digest_wherever_it_lies(tmp_path: Path) -> None:
    first, same = _home(tmp_path / "a"), _home(tmp_path / "b")
    other = _home(tmp_path / "c", qrels=QRELS.replace("     3", ""))
    digests = [readers.digest(_task(), home) for home in (first, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_what_is_not_there_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"must lie on this machine whole\n.*docs of vaswani") as caught:
        readers.read(_task(), tmp_path)
    assert f"IR_DATASETS_HOME={tmp_path} ir_datasets export vaswani docs" in caught.value.remedy
    with pytest.raises(BadSource, match="its data must be there"):
        readers.read(_task(), tmp_path / "absent")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"dataset": "vaswanni"}, BadConfig, r"must know the collection\n.*vaswanni"),
        ({"dataset": ""}, BadConfig, "must know the collection"),
        ({"text": "body"}, BadSource, r"vaswani/docs, row 1: no body; there are doc_id, text"),
        ({"query": "title"}, BadSource, r"vaswani/queries, row 1: no title; there are query_id, text"),
        ({"colour": "red"}, BadConfig, "colour"),
    ],
)
def test_what_is_asked_for_must_be_there(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        readers.read(_task(**options), _home(tmp_path))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"docs": DOCS + "1\nagain\n   /\n"}, r"vaswani/docs, row 4: 1 again, first in row 1"),
        ({"qrels": "1\n     9\n   /\n"}, r"every judged document must be there\n.*vaswani/qrels, row 1: 9"),
    ],
)
def test_faults_of_the_files_are_named(tmp_path: Path, files: dict[str, str], says: str) -> None:
    with pytest.raises(BadSource, match=says):
        readers.read(_task(), _home(tmp_path, **files))
