"""Readers on real and on malformed files: each fault is one BadSource that names file, row and remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.config import Task, task
from ranker.datasets import readers
from ranker.errors import BadConfig, BadSource
from tests.ranker.material import SHARED, needs_shared, recbole, taste

MOVIE = task("rec-movie")


def test_recbole_reads_both_files(tmp_path: Path) -> None:
    bundle = readers.read(MOVIE, recbole(tmp_path, [(1, 0, 4.5, 60), (2, 1, 3, 120)], items=2))
    assert bundle.items.rows() == [
        ("0", "Film 0 (1950)", "Film 0 (1950), Drama", '{"release_year":"1950","class":"Drama"}'),
        ("1", "Film 1 (1951)", "Film 1 (1951), Drama", '{"release_year":"1951","class":"Drama"}'),
    ]
    assert [(u, i, r, t.isoformat()) for u, i, r, t in bundle.interactions.iter_rows()] == [
        ("1", "0", 4.5, "1970-01-01T00:01:00+00:00"),
        ("2", "1", 3.0, "1970-01-01T00:02:00+00:00"),
    ]
    assert bundle.rows_read == 2 and bundle.queries.is_empty()


def test_the_order_of_columns_windows_lines_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    folder = recbole(tmp_path, [], items=3)
    (folder / "x.inter").write_bytes(
        "\ufefftimestamp:float\titem_id:token\tuser_id:token\r\n60\t2\tann\r\n\r\n".encode()
    )
    assert readers.read(MOVIE, folder).interactions.select("user_id", "item_id", "rating").rows() == [
        ("ann", "2", None)
    ]


def _inter(text: str | bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "x.inter").write_bytes(text if isinstance(text, bytes) else text.encode())

    return damage


HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
FAULTS = {
    "missing file": (lambda folder: (folder / "x.inter").unlink(), r"\*\.inter"),
    "two files": (lambda folder: (folder / "y.inter").write_text("x"), r"x\.inter, y\.inter"),
    "missing items": (lambda folder: (folder / "x.item").unlink(), r"\*\.item"),
    "empty file": (_inter("  \n"), r"x\.inter has 3 bytes"),
    "header only": (_inter(HEADER), r"x\.inter has a header and nothing else"),
    "wrong columns": (
        _inter("user:token\titem_id:token\ttimestamp:float\n1\t1\t1\n"),
        r"x\.inter, row 1: user:token.*\n.*add user_id",
    ),
    "ragged row": (_inter(HEADER + "1\t1\t3\t9\n1\t2\t3\n"), r"x\.inter, row 3"),
    "rating out of range": (
        _inter(HEADER + "1\t1\t3\t9\n1\t2\t6\t9\n"),
        r"rating must be a number from 0 to 5\n.*x\.inter, row 3: 6",
    ),
    "rating is no number": (_inter(HEADER + "1\t1\tgood\t9\n"), r"x\.inter, row 2: good"),
    "rating is nan": (_inter(HEADER + "1\t1\tnan\t9\n"), r"x\.inter, row 2: nan"),
    "milliseconds": (_inter(HEADER + "1\t1\t3\t1364142142000\n"), r"row 2: 1364142142000\n.*seconds"),
    "empty id": (_inter(HEADER + "\t1\t3\t9\n"), r"user_id must not be empty\n.*row 2"),
    "duplicate": (
        _inter(HEADER + "1\t1\t3\t9\n2\t1\t3\t9\n1\t1\t4\t10\n"),
        r"row 4: user 1, item 1 again, first in row 2",
    ),
    "unknown item": (_inter(HEADER + "1\t99\t3\t9\n"), r"row 2: 99"),
    "not UTF-8": (
        _inter(HEADER.encode() + b"1\t1\t3\t9\n1\t2\xe9\t3\t9\n"),
        r"x\.inter, row 3: byte 0xe9\n.*iconv",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_with_file_row_and_remedy(tmp_path: Path, name: str) -> None:
    damage, expected = FAULTS[name]
    damage(recbole(tmp_path, taste(2), items=40))
    with pytest.raises(BadSource, match=expected) as caught:
        readers.read(MOVIE, tmp_path)
    assert caught.value.remedy


def test_a_missing_folder_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        BadSource, match=r"no file or folder .*nowhere\n.*ranker fetch.*ingest\.locations\.rec-movie"
    ):
        readers.digest(MOVIE, tmp_path / "nowhere")


def test_an_item_given_twice_is_refused(tmp_path: Path) -> None:
    folder = recbole(tmp_path, [(1, 0, 3, 9)], items=2)
    (folder / "x.item").write_text("item_id:token\tname:token_seq\n0\tA\n1\tB\n0\tC\n")
    with pytest.raises(BadSource, match=r"x\.item, row 4: 0 again, first in row 2"):
        readers.read(MOVIE, folder)


def test_a_task_may_widen_the_range_of_ratings(tmp_path: Path) -> None:
    wide = MOVIE.model_copy(update={"options": {"rating_range": [0, 10]}})
    assert readers.read(wide, recbole(tmp_path, [(1, 0, 9, 9)], items=1)).interactions["rating"][0] == 9


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    one, two = recbole(tmp_path / "a", taste()), recbole(tmp_path / "b", taste())
    assert readers.digest(MOVIE, one) == readers.digest(MOVIE, two)
    recbole(two, taste(users=3))
    assert readers.digest(MOVIE, one) != readers.digest(MOVIE, two)


def test_an_unknown_reader_is_refused() -> None:
    with pytest.raises(BadConfig, match="recbole"):
        readers.read(MOVIE.model_copy(update={"reader": "excel"}), None)


# -- MovieTweetings


def _tweets(folder: Path, ratings: str = "1::7::8::1365029107\n") -> Path:
    (folder / "ratings.dat").write_text(ratings, encoding="utf-8")
    (folder / "movies.dat").write_text(
        "7::Fantômas (1913)::Crime|Drama\n8::Nothing (2000)::\n", encoding="utf-8"
    )
    return folder


def test_movietweetings_reads_titles_and_genres(tmp_path: Path) -> None:
    bundle = readers.read(task("movietweetings"), _tweets(tmp_path))
    assert bundle.items["text"].to_list() == ["Fantômas (1913), Crime Drama", "Nothing (2000)"]
    assert bundle.interactions.select("user_id", "item_id", "rating").rows() == [("1", "7", 8.0)]


def test_movietweetings_refuses_a_rating_of_eleven(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"ratings\.dat, row 1: 11"):
        readers.read(task("movietweetings"), _tweets(tmp_path, "1::7::11::1365029107\n"))


@needs_shared
def test_the_given_movietweetings_are_read_whole() -> None:
    bundle = readers.read(task("movietweetings"), SHARED / "movietweetings-100k")
    assert (bundle.interactions.height, bundle.items.height) == (100_000, 10_506)


# -- documentation strings


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


# -- routing


def _router(folder: Path, questions: object, models: object | None = None) -> Path:
    (folder / "train.json").write_text(json.dumps(questions))
    cheap, dear = (
        {"size": "7B", "feature": "Small.", "input_price": 0.1, "output_price": 0.1},
        {"feature": "Big.", "input_price": 1, "output_price": 1},
    )
    (folder / "default_llm.json").write_text(
        json.dumps({"cheap": cheap, "dear": dear, "unscored": cheap} if models is None else models)
    )
    return folder


def _entry(question: str = "Why?", **scores: object) -> dict[str, object]:
    return {"question": question, "scores": {"cheap": 0.5, "dear": 1.0} | scores, "cluster_id": 0}


@pytest.mark.parametrize(("weight", "expected"), [(1.0, [5, 10]), (0.5, [7, 5]), (0.0, [9, 0])])
def test_grades_weigh_effect_against_cost(tmp_path: Path, weight: float, expected: list[int]) -> None:
    routing = task("router-performance").model_copy(update={"options": {"effect_weight": weight}})
    bundle = readers.read(routing, _router(tmp_path, [_entry()]))
    assert bundle.qrels.sort("item_id")["relevance"].to_list() == expected
    assert bundle.items["item_id"].to_list() == ["cheap", "dear"]


def test_equal_effects_stay_ties(tmp_path: Path) -> None:
    bundle = readers.read(task("router-performance"), _router(tmp_path, [_entry(cheap=1)]))
    assert bundle.qrels["relevance"].to_list() == [10, 10]


@pytest.mark.parametrize(
    ("questions", "expected"),
    [
        ([], "a list of questions"),
        ({"question": 1}, "a list of questions"),
        ([_entry(), _entry("")], "entry 2: no question"),
        ([_entry(), _entry()], "entry 2: the question of entry 1 again"),
        ([_entry(), _entry("How?", dear=7)], "entry 2: effect out of range, dear: 7"),
        ([_entry(), {"question": "How?"}], "entry 2: scores are None"),
        ([_entry(dearest=1)], "no entry 'dearest'"),
    ],
)
def test_each_fault_of_a_routing_file_is_named(tmp_path: Path, questions: object, expected: str) -> None:
    with pytest.raises(BadSource, match=expected):
        readers.read(task("router-performance"), _router(tmp_path, questions))


def test_broken_json_names_its_row(tmp_path: Path) -> None:
    _router(tmp_path, [])
    (tmp_path / "train.json").write_text('[\n{"question": }]')
    with pytest.raises(BadSource, match=r"train\.json, row 2"):
        readers.read(task("router-performance"), tmp_path)


@needs_shared
def test_the_given_routing_data_is_read_whole() -> None:
    bundle = readers.read(task("router-performance"), SHARED / "llmrouter")
    assert (bundle.queries.height, bundle.items.height, bundle.qrels.height) == (5_608, 9, 50_472)
    assert bundle.qrels["relevance"].is_between(0, 10).all()


# -- synthetic


def _synthetic(**options: int) -> Task:
    return task("synthetic").model_copy(update={"options": options})


@given(seed=st.integers(0, 10_000), chosen=st.integers(2, 4), extra=st.integers(4, 8))
@settings(max_examples=15, deadline=None)
def test_synthetic_relevance_is_the_overlap(seed: int, chosen: int, extra: int) -> None:
    bundle = readers.read(
        _synthetic(queries=10, attributes=2 * chosen + extra, chosen=chosen, candidates=4, seed=seed), None
    )
    joined = bundle.qrels.join(bundle.queries, on="query_id")
    assert all(
        len(set(item.split()) & set(text.split())) == grade for _, item, grade, _, text in joined.iter_rows()
    )
    spread = bundle.qrels.group_by("query_id").agg(
        low=pl.col("relevance").min(), high=pl.col("relevance").max()
    )
    assert (spread["high"] > spread["low"]).all() and (spread["high"] > 0).all()


def test_synthetic_is_decided_by_its_seed() -> None:
    same, again, other = (readers.read(_synthetic(queries=20, seed=seed), None) for seed in (1, 1, 2))
    assert same.qrels.equals(again.qrels) and not same.qrels.equals(other.qrels)
    assert readers.digest(_synthetic(seed=1), None) != readers.digest(_synthetic(seed=2), None)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(BadConfig, match="colour"):
        readers.read(_synthetic(colour=1), None)
