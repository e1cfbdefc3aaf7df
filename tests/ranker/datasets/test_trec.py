"""TREC collections: both forms of each file, the real Vaswani collection, and every fault named."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from ranker.config import Task, task
from ranker.datasets import readers
from ranker.errors import BadConfig, BadSource
from tests.ranker.material import SHARED, needs_shared

DOCS = """<DOC>
<DOCNO>d1</DOCNO>
<TITLE>Tall towers</TITLE>
<TEXT>Why towers
sway.</TEXT>
</DOC>
<DOC><DOCNO>d2</DOCNO> bridges  hum at night </DOC>
<doc><docno> d3 </docno></doc>
"""
TOPICS = """<top>
<num> Number: 301
<title> Topic: swaying towers
<desc> Description:
What makes a tower sway?
</top>
<top><num>302</num><title>
HUMMING BRIDGES
</title></top>
<top><num>303</num><title>nobody judged this</title></top>
"""
QRELS = "301 0 d1 2\n301 0 d2 0\n302\t0\td2\t1\n302 0 d3 -2\n"


def _task(**options: Any) -> Task:
    return Task(
        name="towers", scenario="passage", reader="trec", pool_size=2, wording="Rank.", options=options
    )


def _folder(folder: Path, **files: str) -> Path:
    for name, content in {"collection.trec": DOCS, "topics.txt": TOPICS, "qrels.txt": QRELS, **files}.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_documents_topics_and_grades_are_read(tmp_path: Path) -> None:
    bundle = readers.read(_task(), _folder(tmp_path))
    assert bundle.items.select("item_id", "title", "text").rows() == [
        ("d1", "Tall towers", "Tall towers Why towers sway."),
        ("d2", "d2", "bridges hum at night"),
        ("d3", "d3", "d3"),
    ]
    assert bundle.queries.rows() == [("301", "301", "swaying towers"), ("302", "302", "HUMMING BRIDGES")]
    assert bundle.qrels.rows() == [
        ("301", "d1", 2.0),
        ("301", "d2", 0.0),
        ("302", "d2", 1.0),
        ("302", "d3", 0.0),
    ]
    assert bundle.left_out == {"queries without a relevant document": 1}


def test_other_fields_of_a_topic_may_be_the_query(tmp_path: Path) -> None:
    topics = TOPICS.split("</top>")[0] + "</top>"
    folder = _folder(tmp_path, **{"topics.txt": topics, "qrels.txt": "301 0 d1 1\n"})
    assert (
        readers.read(_task(field="title+desc"), folder).queries["text"][0]
        == "swaying towers What makes a tower sway?"
    )


def test_tabbed_and_packed_files_hold_the_same(tmp_path: Path) -> None:
    (tmp_path / "collection.tsv").write_text("d1\tWhy towers sway.\nd2\tbridges hum\n")
    (tmp_path / "topics.tsv.gz").write_bytes(gzip.compress(b"301\tswaying towers\n"))
    (tmp_path / "qrels").write_text("301 0 d1 1\n")
    bundle = readers.read(_task(), tmp_path)
    assert (bundle.items.height, bundle.queries.rows()) == (2, [("301", "301", "swaying towers")])


def test_a_run_is_the_pool_by_score_and_what_it_ranks_unjudged_counts_as_not_relevant(tmp_path: Path) -> None:
    run = (
        "301 Q0 d3 1 9.5 mine\n301 Q0 d1 2 7.25 mine\n301 Q0 d2 3 1 mine\n302 Q0 d2 1 3 mine\n999 Q0 d2 1 3"
        " mine\n"
    )
    bundle = readers.read(_task(run="run.*", depth=2), _folder(tmp_path, **{"run.txt": run}))
    assert bundle.qrels.rows() == [
        ("301", "d3", 0.0, 9.5),
        ("301", "d1", 2.0, 7.25),
        ("302", "d2", 1.0, 3.0),
    ], "the last column is the first stage"


FAULTS = {
    "unclosed": (
        {"collection.trec": DOCS + "<DOC><DOCNO>d4</DOCNO>"},
        r"between <DOC> and </DOC>\n.*collection\.trec, row 9: <DOC>",
    ),
    "no docno": ({"collection.trec": "<DOC>\n</DOC>"}, r"every <DOC> must hold a <docno>\n.*row 1"),
    "docno twice": (
        {"collection.trec": DOCS + "<DOC><DOCNO>d1</DOCNO>x</DOC>"},
        r"row 9: d1 again, first in row 1",
    ),
    "no title": (
        {"topics.txt": "<top><num>301</num></top>"},
        r"every <top> must hold a <title>\n.*topics\.txt, row 1",
    ),
    "fields": ({"qrels.txt": "301 0 d1 1\n301 d2 1\n"}, r"4 fields.*\n.*qrels\.txt, row 2: 301 d2 1"),
    "grade": ({"qrels.txt": "301 0 d1 good\n"}, r"row 1: good"),
    "half": ({"qrels.txt": "301 0 d1 0.5\n"}, r"whole number\n.*row 1: 0\.5"),
    "twice": ({"qrels.txt": "301 0 d1 1\n301 0 d1 0\n"}, r"judged once\n.*row 1: query 301, document d1"),
    "strange document": (
        {"qrels.txt": "301 0 d1 1\n301 0 d9 1\n"},
        r"every judged document must be there\n.*row 2: d9",
    ),
    "strange query": (
        {"qrels.txt": "301 0 d1 1\n999 0 d1 1\n"},
        r"every judged query must be there\n.*row 2: 999",
    ),
    "nothing relevant": ({"qrels.txt": "301 0 d1 0\n"}, r"some query must have a relevant document"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named(tmp_path: Path, name: str) -> None:
    files, expected = FAULTS[name]
    with pytest.raises(BadSource, match=expected) as caught:
        readers.read(_task(), _folder(tmp_path, **files))
    assert caught.value.remedy


def test_ranked_documents_beyond_the_collection_may_go_before_the_pool_is_cut(
    tmp_path: Path,
) -> None:
    run = "301 Q0 d9 1 9 mine\n301 Q0 d3 2 8 mine\n301 Q0 d1 3 7 mine\n"
    folder = _folder(tmp_path, **{"run.txt": run, "qrels.txt": "301 0 d1 1\n"})
    with pytest.raises(BadSource, match=r"run\.txt, row 1: d9"):
        readers.read(_task(run="run.*", depth=2), folder)
    bundle = readers.read(_task(run="run.*", depth=2, unknown_documents="leave out"), folder)
    assert bundle.qrels.rows() == [("301", "d3", 0.0, 8.0), ("301", "d1", 1.0, 7.0)]
    assert bundle.left_out["ranked documents that are not there"] == 1


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / "topics.txt").rename(tmp_path / "old")
    (tmp_path / "topics.tsv.gz").write_bytes(gzip.compress(b"301\tswaying towers\n" * 400)[:40])
    with pytest.raises(BadSource, match=r"must be whole\n.*topics\.tsv\.gz"):
        readers.read(_task(), tmp_path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"colour": "red"}, "colour"),
        ({"depth": "ten"}, "depth must be a int"),
        ({"qrels": ""}, "only a run may be left out"),
        ({"unknown_documents": "drop"}, "'refuse' or 'leave out'"),
    ],
)
def test_options_are_checked(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadConfig, match=expected):
        readers.read(_task(**options), _folder(tmp_path))


@needs_shared
def test_the_given_collection_is_read_whole() -> None:
    bundle = readers.read(task("vaswani"), SHARED / "vaswani")
    assert (bundle.items.height, bundle.queries.height, bundle.qrels.height) == (11_429, 93, 2_083)
    assert bundle.items["text"][0].startswith("compact memories have flexible capacities a digital data")
    assert not bundle.left_out
