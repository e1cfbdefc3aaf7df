"""MS MARCO question answering: real Parquet files as the data set has them, every fault named, everything
left out counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker import config
from ranker.config import CandidateParams, Task, task
from ranker.datasets import readers
from ranker.errors import BadSource
from ranker.lake import Lake
from ranker.stages import candidates
from tests.ranker.material import read_in

TASK = Task(name="three", scenario="passage", reader="msmarco", pools="given", pool_size=3, wording="Rank.")
WORDS = ["tower", "bridge", "river", "valley", "engine", "kettle", "window", "garden"]


def _row(number: int, query: str | None, texts: list[str], selected: list[int]) -> dict[str, Any]:
    passages = {"is_selected": selected, "passage_text": texts, "url": ["u"] * len(texts)}
    return {
        "answers": ["x"],
        "passages": passages,
        "query": query,
        "query_id": number,
        "query_type": "entity",
        "wellFormedAnswers": [],
    }


def _rows(count: int = 24, size: int = 3, first: int = 100) -> list[dict[str, Any]]:
    """Queries that their selected passage repeats; the others are about other things."""
    made = []
    for k in range(count):
        thing = f"{WORDS[k % 8]}{first + k}"
        texts = [f"All about {WORDS[(k + i) % 8]} number {first + k}-{i}" for i in range(size - 1)]
        texts.insert(k % size, f"The {thing} is  a kind of thing {k}.")
        made.append(
            _row(
                first + k,
                f"what is {thing} {'abcdefghijklmnopqrstuvwxyz'[k % 26] * 4}",
                texts,
                [int(i == k % size) for i in range(size)],
            )
        )
    return made


def _write(folder: Path, **files: list[dict[str, Any]]) -> Path:
    for name, rows in files.items():
        pl.DataFrame(rows, strict=False).write_parquet(folder / f"{name}.parquet")
    return folder


def test_a_query_comes_with_its_passages_and_the_selected_one(tmp_path: Path) -> None:
    rows = [_row(7, "what  is a tower", ["One.", "Two\n is.", "Three."], [0, 1, 0])]
    bundle = readers.read(TASK, _write(tmp_path, train=rows))
    assert bundle.queries.rows() == [("7", "7", "what is a tower")]
    assert bundle.items.select("item_id", "text").rows() == [
        ("7-0", "One."),
        ("7-1", "Two is."),
        ("7-2", "Three."),
    ]
    assert bundle.qrels.rows() == [("7", "7-0", 0.0), ("7", "7-1", 1.0), ("7", "7-2", 0.0)]
    assert bundle.left_out == {}


def test_all_files_are_read_and_what_does_not_fit_is_counted_by_why(tmp_path: Path) -> None:
    other = [
        _row(1, "four", ["a", "b", "c", "d"], [1, 0, 0, 0]),
        _row(2, "two chosen", ["a", "b", "c"], [1, 1, 0]),
        _row(3, "none chosen", ["a", "b", "c"], [0, 0, 0]),
        _row(4, " ", ["a", "b", "c"], [0, 1, 0]),
        _row(5, "twice", ["a", "a ", "c"], [0, 0, 1]),
        _row(6, "empty", ["a", "", "c"], [0, 0, 1]),
    ]
    bundle = readers.read(TASK, _write(tmp_path, train=_rows(5), validation=other))
    assert bundle.queries.height == 5
    assert bundle.left_out == {
        "queries without exactly 3 passages": 1,
        "queries without exactly one selected passage": 2,
        "queries without text": 1,
        "queries with an empty passage, or one passage twice": 2,
    }


def test_one_question_asked_twice_is_one_group(tmp_path: Path) -> None:
    rows = [
        _row(1, "What is rain", ["a", "b", "c"], [1, 0, 0]),
        _row(2, "what is  rain", ["d", "e", "f"], [1, 0, 0]),
    ]
    assert readers.read(TASK, _write(tmp_path, train=rows)).queries["group_id"].to_list() == ["1", "1"]


def test_the_number_of_passages_may_differ_from_what_is_shown(tmp_path: Path) -> None:
    wide = TASK.model_copy(update={"options": {"passages": 4}})
    assert readers.read(wide, _write(tmp_path, train=_rows(3, size=4))).items.height == 12


def _typed(**columns: Any) -> dict[str, Any]:
    return {"query": "q", "query_id": 1, "passages": {"is_selected": [1], "passage_text": ["a"]}} | columns


FAULTS = {
    "no text column": (
        [{"query": "q", "query_id": 1, "passages": {"is_selected": [1]}}],
        r"no passages\.passage_text",
    ),
    "no passages": (
        [{"query": "q", "query_id": 1, "passages": "text"}],
        r"no passages\.is_selected, passages\.passage_text",
    ),
    "no id": (
        [{"query": "q", "passages": {"is_selected": [1], "passage_text": ["a"]}}],
        r"no query_id among",
    ),
    "lengths": (
        [*_rows(2), _row(9, "q", ["a", "b"], [1])],
        r"t\.parquet, record 3: 1 is_selected, 2 passage_text",
    ),
    "id twice": (_rows(2) + _rows(1), r"t\.parquet, record 3: 100 again"),
    "none fits": (_rows(2, size=4), r"2 queries without exactly 3 passages\n.*option passages"),
    "query is a number": ([_typed(query=5)], r"query is text\n.*t\.parquet: Int64"),
    "query_id is a fraction": ([_typed(query_id=1.5)], r"query_id is a whole number or text\n.*Float64"),
    "a passage is a number": (
        [_typed(passages={"is_selected": [1], "passage_text": [5]})],
        r"passage_text is a list of texts\n.*List\(Int64\)",
    ),
    "selected by words": (
        [_typed(passages={"is_selected": ["yes"], "passage_text": ["a"]})],
        r"is_selected is a list of whole numbers",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named(tmp_path: Path, name: str) -> None:
    rows, expected = FAULTS[name]
    with pytest.raises(BadSource, match=expected) as caught:
        readers.read(TASK, _write(tmp_path, t=rows))
    assert caught.value.remedy


def test_a_cut_file_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"no \*\.parquet in"):
        readers.read(TASK, tmp_path)
    whole = _write(tmp_path, train=_rows()) / "train.parquet"
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(BadSource, match=r"whole Parquet\n.*train\.parquet"):
        readers.read(TASK, tmp_path)


@pytest.mark.parametrize("name", ["passage-5", "passage-7", "passage-9"])
def test_the_shipped_tasks_go_through_ingest_and_candidates_with_their_contracts(
    lake: Lake, tmp_path: Path, name: str
) -> None:
    k = task(name).pool_size
    source = read_in(
        lake, name, _write(tmp_path, train=_rows(40, size=k), test=_rows(8, size=k - 1, first=500))
    )
    assert source.details["tasks"][name]["left_out"] == {f"queries without exactly {k} passages": 8}
    ref = candidates.run(lake, CandidateParams(), source=source, check=validate_batch)
    assert ref.details["tasks"][name]["pool_size"] == k
    sets, pools = candidates.draw(lake, source.key, config.task(name), CandidateParams())
    assert sets.height == 40 and set(pools["origin"]) == {"given"}
    own = pools.with_columns(pl.col("item_id").str.split("-").list.first().alias("of"))
    assert (own["of"] == own["query_id"]).all(), "a pool is its query's own passages"
    best = pools.sort("prior", descending=True).unique("query_id", keep="first")
    assert (best["relevance"] == 1).mean() > 0.9, "the prior of passages is BM25"


def test_a_pointer_of_git_lfs_is_told_from_a_cut_file(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    with pytest.raises(BadSource, match=r"a pointer of Git LFS, not the file\n.*git lfs pull"):
        readers.read(TASK, tmp_path)
