"""The reader of RecBole's atomic files, MovieLens and Amazon: each fault is one BadSource that names file,
row and remedy.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ranker.config import Task, task
from ranker.datasets import readers
from ranker.errors import BadConfig, BadSource
from tests.ranker.material import recbole, taste

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


def test_an_item_given_twice_is_refused(tmp_path: Path) -> None:
    folder = recbole(tmp_path, [(1, 0, 3, 9)], items=2)
    (folder / "x.item").write_text("item_id:token\tname:token_seq\n0\tA\n1\tB\n0\tC\n")
    with pytest.raises(BadSource, match=r"x\.item, row 4: 0 again, first in row 2"):
        readers.read(MOVIE, folder)


def test_a_task_may_widen_the_range_of_ratings(tmp_path: Path) -> None:
    wide = MOVIE.model_copy(update={"options": {"rating_range": [0, 10]}})
    assert readers.read(wide, recbole(tmp_path, [(1, 0, 9, 9)], items=1)).interactions["rating"][0] == 9


INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


AMAZON = (
    INTER
    + "u1\tB1\t5.0\t200\nu1\tB2\t4.0\t100\nu1\tB1\t1.0\t50\nu2\tB1\t5\t10\nu2\tB9\t5\t11\nu3\tB2\t3\t5\n"
)


ITEM = (
    "item_id:token\ttitle:token\tsales_type:token\tsales_rank:float\tcategories:token_seq\tprice:float\tbrand:token\nB1\tMoon"
    " Race\tVideo Games\t12.0\t'Video Games', 'PC'\t19.99\tAcme\nB2\t\t\t\t\t\t\n"
)


def _amazon(folder: Path, inter: str = AMAZON, item: str = ITEM) -> Path:
    (folder / "Amazon_Video_Games.inter").write_text(inter, encoding="utf-8")
    (folder / "Amazon_Video_Games.item").write_text(item, encoding="utf-8")
    return folder


def _recbole(**options: Any) -> Task:
    return Task(
        name="games",
        scenario="recommendation",
        reader="recbole",
        pool_size=2,
        wording="Rank.",
        options=options,
    )


LENIENT = {"unknown_items": "leave out", "repeats": "leave out"}


def test_amazon_items_show_title_and_categories_and_without_a_title_their_id(tmp_path: Path) -> None:
    bundle = readers.read(_recbole(**LENIENT), _amazon(tmp_path))
    assert bundle.items["text"].to_list() == ["Moon Race, Video Games, PC", "B2"]
    assert '"brand":"Acme"' in bundle.items["attributes"][0]


def test_what_options_leave_out_is_counted_and_of_repeats_the_earliest_stays(tmp_path: Path) -> None:
    bundle = readers.read(_recbole(**LENIENT), _amazon(tmp_path))
    assert bundle.interactions.select("user_id", "item_id", "rating").rows() == [
        ("u1", "B2", 4.0),
        ("u1", "B1", 1.0),
        ("u2", "B1", 5.0),
        ("u3", "B2", 3.0),
    ]
    assert bundle.left_out == {
        "meetings with items that are not among the items": 1,
        "later meetings of the same user and item": 1,
    }


def test_without_the_options_both_are_faults(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"row 4: user u1, item B1 again, first in row 2"):
        readers.read(_recbole(unknown_items="leave out"), _amazon(tmp_path))
    with pytest.raises(BadSource, match=r"row 6: B9"):
        readers.read(_recbole(repeats="leave out"), _amazon(tmp_path))


def test_a_core_is_closed_on_both_sides(tmp_path: Path) -> None:
    rows = "".join(f"u{u}\tB{b}\t3\t{u}{b}\n" for u, b in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2), (3, 3)])
    items = "item_id:token\ttitle:token\n" + "".join(f"B{b}\tGame {b}\n" for b in (1, 2, 3, 4))
    bundle = readers.read(_recbole(core=2), _amazon(tmp_path, INTER + rows, items))
    assert set(bundle.interactions["user_id"]) == {"u1", "u2"} and bundle.items["item_id"].to_list() == [
        "B1",
        "B2",
    ]
    assert bundle.left_out == {"meetings outside the 2-core": 2}
    with pytest.raises(BadSource, match=r"none is left at core = 3"):
        readers.read(_recbole(core=3), tmp_path)


HEADERS = {
    "no type": ("user_id\titem_id:token\ttimestamp:float\n1\tB1\t5\n", r"name:type.*\n.*row 1: user_id"),
    "unknown type": ("user_id:text\titem_id:token\ttimestamp:float\n1\tB1\t5\n", r"row 1: user_id:text"),
    "twice": (
        "user_id:token\titem_id:token\ttimestamp:float\titem_id:float\n1\tB1\t5\t1\n",
        r"once.*\n.*row 1: item_id:token",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_are_typed(tmp_path: Path, name: str) -> None:
    inter, expected = HEADERS[name]
    with pytest.raises(BadSource, match=expected):
        readers.read(_recbole(), _amazon(tmp_path, inter))


def test_a_wrong_choice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="'refuse' or 'leave out'"):
        readers.read(_recbole(repeats="drop"), _amazon(tmp_path))
