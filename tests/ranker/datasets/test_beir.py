"""BEIR folders: as written by its own loader, and every fault named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ranker.config import Task
from ranker.datasets import readers
from ranker.errors import BadSource

CORPUS = [
    {"_id": "d1", "title": "Towers", "text": "They sway."},
    {"_id": "d2", "title": "", "text": "Bridges hum.", "metadata": {}},
]
QUERIES = [{"_id": "q1", "text": "Why do towers sway?"}, {"_id": "q2", "text": "unjudged", "metadata": {}}]
HEADER = "query-id\tcorpus-id\tscore\n"


def _task(**options: Any) -> Task:
    return Task(
        name="towers", scenario="passage", reader="beir", pool_size=2, wording="Rank.", options=options
    )


def _folder(folder: Path, **files: str) -> Path:
    (folder / "qrels").mkdir()
    written = {
        "corpus": _jsonl(CORPUS),
        "queries": _jsonl(QUERIES),
        "test": HEADER + "q1\td1\t2\nq1\td2\t0\n",
        **files,
    }
    for name, content in written.items():
        place = (
            folder / f"{name}.jsonl" if name in ("corpus", "queries") else folder / "qrels" / f"{name}.tsv"
        )
        place.write_text(content, encoding="utf-8")
    return folder


def _jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_folder_is_read(tmp_path: Path) -> None:
    bundle = readers.read(_task(), _folder(tmp_path))
    assert bundle.items.select("item_id", "title", "text").rows() == [
        ("d1", "Towers", "Towers. They sway."),
        ("d2", "d2", "Bridges hum."),
    ]
    assert bundle.queries.rows() == [("q1", "q1", "Why do towers sway?")]
    assert bundle.qrels.rows() == [("q1", "d1", 2.0), ("q1", "d2", 0.0)]
    assert bundle.left_out == {"queries without a relevant document": 1}


def test_all_judgements_are_read_unless_some_are_chosen(tmp_path: Path) -> None:
    folder = _folder(tmp_path, train=HEADER + "q2\td2\t1\n")
    assert readers.read(_task(), folder).queries.height == 2
    assert readers.read(_task(splits="train"), folder).queries["query_id"].to_list() == ["q2"]
    assert readers.digest(_task(), folder) != readers.digest(_task(splits="train"), folder)


FAULTS = {
    "no json": ({"corpus": "{\n"}, r"JSON object\n.*corpus\.jsonl, row 1"),
    "no id": ({"corpus": _jsonl([*CORPUS, {"text": "x"}])}, r"row 3: no _id"),
    "no query text": ({"queries": _jsonl([{"_id": "q1", "text": " "}])}, r"queries\.jsonl, row 1: no text"),
    "id twice": ({"corpus": _jsonl(CORPUS + CORPUS[:1])}, r"row 3: d1 again, first in row 1"),
    "no header": ({"test": "q1\td1\t2\n"}, r"header|header and nothing else"),
    "other header": (
        {"test": "query\tcorpus\tscore\nq1\td1\t1\n"},
        r"starts with the header query-id corpus-id score\n.*test\.tsv, row 1",
    ),
    "strange document": ({"test": HEADER + "q1\td7\t1\n"}, r"test\.tsv, row 2: d7"),
    "twice in two files": ({"train": HEADER + "q1\td1\t1\n"}, r"judged once\n.*query q1, document d1"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named(tmp_path: Path, name: str) -> None:
    files, expected = FAULTS[name]
    with pytest.raises(BadSource, match=expected) as caught:
        readers.read(_task(), _folder(tmp_path, **files))
    assert caught.value.remedy


def test_a_folder_without_judgements_is_refused(tmp_path: Path) -> None:
    (_folder(tmp_path) / "qrels" / "test.tsv").unlink()
    with pytest.raises(BadSource, match=r"must hold judgements"):
        readers.read(_task(), tmp_path)


def test_what_pandas_wrote_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """NaN for a title or text that is not there, ids as numbers, 0 among them, quoted fields."""
    corpus = '{"_id": 0, "title": NaN, "text": "Towers sway."}\n{"_id": 1, "title": "Only", "text": NaN}\n'
    folder = _folder(tmp_path, corpus=corpus, test=HEADER + '"q1"\t"0"\t1\nq1\t1\t0\n')
    bundle = readers.read(_task(), folder)
    assert bundle.items.select("item_id", "title", "text").rows() == [
        ("0", "0", "Towers sway."),
        ("1", "Only", "Only"),
    ]
    assert bundle.qrels.rows() == [("q1", "0", 1.0), ("q1", "1", 0.0)]


def test_judgements_beyond_the_corpus_may_be_left_out(tmp_path: Path) -> None:
    folder = _folder(tmp_path, test=HEADER + "q1\td1\t2\nq1\td9\t1\nq7\td1\t1\n")
    with pytest.raises(BadSource, match=r'unknown_queries = "leave out"'):
        readers.read(_task(), folder)
    bundle = readers.read(_task(unknown_documents="leave out", unknown_queries="leave out"), folder)
    assert bundle.qrels.rows() == [("q1", "d1", 2.0)]
    assert bundle.left_out == {
        "judgements of queries that are not there": 1,
        "judgements of documents that are not there": 1,
        "queries without a relevant document": 1,
    }


def test_a_lone_surrogate_is_read_as_a_sign_that_something_is_lost_and_counted(tmp_path: Path) -> None:
    folder = _folder(
        tmp_path, corpus=_jsonl([{"_id": "d1", "text": "a \ud83d b"}, {"_id": "d2", "text": "c"}])
    )
    bundle = readers.read(_task(), folder)
    assert bundle.items["text"].to_list() == ["a \ufffd b", "c"]
    assert bundle.left_out["texts with characters that are none, read as U+FFFD"] == 1
