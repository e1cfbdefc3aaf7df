"""The reader of LLMRank's sequences."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import Task
from ranker.datasets import readers
from ranker.errors import BadSource

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
