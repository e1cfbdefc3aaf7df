"""Readers of recommendation data beyond MovieLens: Amazon's atomic files, Last.fm, LLMRank; each fault
named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ranker.config import Task, task
from ranker.datasets import readers
from ranker.errors import BadConfig, BadSource

# -- RecBole: Amazon

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


# -- Last.fm

LASTFM = {
    "artists.dat": (
        "id\tname\turl\tpictureURL\n1\tMotörhead Tribute\thttp://x\thttp://y\n2\tThe"
        " Hums\thttp://x\t\n3\tDuo\t\t\n"
    ),
    "user_artists.dat": "userID\tartistID\tweight\n7\t1\t99\n7\t3\t9\n8\t2\t5\n",
    "user_taggedartists-timestamps.dat": (
        "userID\tartistID\ttagID\ttimestamp\n7\t1\t5\t1238536800000\n7\t1\t6\t1238536700000\n7\t2\t5\t1241128800000\n"
        "8\t2\t5\t-428720400000\n8\t44\t5\t1241128800000\n"
    ),
}


def _lastfm(folder: Path, **files: str) -> Path:
    for name, content in {**LASTFM, **files}.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_a_user_meets_an_artist_at_the_first_tag_and_untimed_ones_before_all(tmp_path: Path) -> None:
    bundle = readers.read(task("lastfm"), _lastfm(tmp_path))
    times = {(u, i): t.timestamp() for u, i, _, t in bundle.interactions.iter_rows()}
    assert times == {("7", "1"): 1238536700, ("7", "2"): 1241128800, ("7", "3"): 0, ("8", "2"): 0}
    assert {(u, i): r for u, i, r, _ in bundle.interactions.iter_rows()} == {
        ("7", "1"): 10,
        ("7", "2"): None,
        ("7", "3"): 5,
        ("8", "2"): 10,
    }
    assert bundle.items["text"].to_list() == ["Motörhead Tribute", "The Hums", "Duo"]
    assert bundle.left_out == {
        "meetings with artists that artists.dat does not name": 1,
        "times before 2002, taken as the beginning": 1,
    }


LASTFM_FAULTS = {
    "column": (
        {"user_artists.dat": "userID\tartist\tweight\n7\t1\t9\n"},
        r"header must hold userID, artistID, weight\n.*user_artists\.dat, row 1",
    ),
    "plays": (
        {"user_artists.dat": "userID\tartistID\tweight\n7\t1\tmany\n"},
        r"user_artists\.dat, row 2: many",
    ),
    "time": (
        {"user_taggedartists-timestamps.dat": "userID\tartistID\ttagID\ttimestamp\n7\t1\t5\tnow\n"},
        r"timestamps\.dat, row 2: now",
    ),
    "artist twice": (
        {"artists.dat": "id\tname\n1\tA\n1\tB\n"},
        r"artists\.dat, row 3: 1 again, first in row 2",
    ),
    "played twice": (
        {"user_artists.dat": "userID\tartistID\tweight\n7\t1\t9\n7\t1\t9\n"},
        r"user 7, item 1 again",
    ),
}


@pytest.mark.parametrize("name", LASTFM_FAULTS)
def test_each_fault_of_lastfm_is_named(tmp_path: Path, name: str) -> None:
    files, expected = LASTFM_FAULTS[name]
    with pytest.raises(BadSource, match=expected) as caught:
        readers.read(task("lastfm"), _lastfm(tmp_path, **files))
    assert caught.value.remedy


def test_another_encoding_is_an_option(tmp_path: Path) -> None:
    _lastfm(tmp_path)
    (tmp_path / "artists.dat").write_bytes("id\tname\n1\tMotörhead\n2\tB\n3\tC\n".encode("latin-1"))
    with pytest.raises(BadSource, match=r"must be UTF-8\n.*artists\.dat, row 2"):
        readers.read(task("lastfm"), tmp_path)
    bundle = readers.read(task("lastfm").model_copy(update={"options": {"encoding": "latin-1"}}), tmp_path)
    assert bundle.items["title"][0] == "Motörhead"


# -- LLMRank

SEQUENCES = "user_id:token\titem_id_list:token_seq\titem_id:token\n"


def _llmrank(folder: Path, **files: str) -> Path:
    written = {
        "Games.item": "item_id:token\ttitle:token_seq\n0\tMoon Race\n1\tFarm\n2\tTowers\n3\tChess\n",
        "Games.train.inter": SEQUENCES + "0\t0\t1\n",
        "Games.valid.inter": SEQUENCES + "0\t0 1 2\t3\n1\t3\t0\n",
        "Games.test.inter": SEQUENCES + "0\t0 1\t2\n",
        **files,
    }
    for name, content in written.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


GAMES = Task(name="games", scenario="recommendation", reader="llmrank", pool_size=2, wording="Rank.")


def test_the_longest_sequence_of_each_user_is_read_in_its_order(tmp_path: Path) -> None:
    bundle = readers.read(GAMES, _llmrank(tmp_path))
    assert [(u, i, int(t.timestamp())) for u, i, _, t in bundle.interactions.iter_rows()] == [
        ("0", "0", 0),
        ("0", "1", 1),
        ("0", "2", 2),
        ("0", "3", 3),
        ("1", "3", 0),
        ("1", "0", 1),
    ]
    assert bundle.items["text"].to_list() == ["Moon Race", "Farm", "Towers", "Chess"]


def test_sequences_without_a_next_item_are_whole(tmp_path: Path) -> None:
    (tmp_path / "Games.item").write_text("item_id:token\ttitle:token_seq\n0\tA\n1\tB\n")
    (tmp_path / "Games_id.inter").write_text("user_id:token\titem_id_list:token_seq\n5\t1 0\n")
    assert readers.read(GAMES, tmp_path).interactions["item_id"].to_list() == ["1", "0"]


LLMRANK_FAULTS = {
    "another beginning": (
        {"Games.test.inter": SEQUENCES + "0\t1 0\t2\n"},
        r"beginnings.*\n.*Games\.test\.inter, row 2: user 0, 1 0 2",
    ),
    "unknown item": ({"Games.valid.inter": SEQUENCES + "0\t0 1 2\t9\n"}, r"Games\.valid\.inter, row 2: 9"),
    "item twice": ({"Games.valid.inter": SEQUENCES + "0\t0 1 2\t2\n"}, r"user 0, item 2 again"),
    "no list": (
        {"Games.test.inter": "user_id:token\titem_id:token\n0\t1\n"},
        r"needs the columns user_id, item_id_list",
    ),
}


@pytest.mark.parametrize("name", LLMRANK_FAULTS)
def test_each_fault_of_llmrank_is_named(tmp_path: Path, name: str) -> None:
    files, expected = LLMRANK_FAULTS[name]
    with pytest.raises(BadSource, match=expected):
        readers.read(GAMES, _llmrank(tmp_path, **files))


def test_no_sequences_at_all_is_named(tmp_path: Path) -> None:
    (tmp_path / "Games.item").write_text("item_id:token\ttitle:token_seq\n0\tA\n")
    with pytest.raises(BadSource, match=r"must hold sequences"):
        readers.read(GAMES, tmp_path)
