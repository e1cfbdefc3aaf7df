"""Ingest: what is read lands once, wherever it lay; what is malformed lands nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.gate import validate_batch
from ranker.config import IngestParams
from ranker.errors import BadConfig, BadSource
from ranker.lake import Lake
from ranker.stages import ingest
from tests.ranker.datasets.awkward import FORMATS, TEXTS, line
from tests.ranker.material import passes, read_in, recbole, taste

TABLES = ("sources", "items", "interactions", "queries", "qrels")


def _counts(lake: Lake) -> list[int]:
    return [lake.rows(f"select count(*) from {table}").item() for table in TABLES]


def test_all_tables_come_in_one_commit_and_keep_their_contract(lake: Lake, tmp_path: Path) -> None:
    params = IngestParams(
        tasks=("rec-movie", "synthetic"), locations={"rec-movie": str(recbole(tmp_path / "ml", taste()))}
    )
    ref = ingest.run(lake, params, check=validate_batch)
    assert ref.rows == {
        "sources": 2,
        "items": 40 + ref.details["tasks"]["synthetic"]["items"],
        "interactions": 336,
        "queries": 400,
        "qrels": 3200,
    }
    assert set(lake.rows("select distinct batch_id from items").to_series()) == {ref.key}
    assert lake.rows("select task, reader, rows_read from sources order by task").rows() == [
        ("rec-movie", "recbole", 336),
        ("synthetic", "synthetic", 3200),
    ]


def test_reading_the_same_again_adds_nothing_wherever_it_lies(lake: Lake, tmp_path: Path) -> None:
    first = read_in(lake, "rec-movie", recbole(tmp_path / "a", taste()))
    counts = _counts(lake)
    again = read_in(lake, "rec-movie", recbole(tmp_path / "b", taste()))
    assert again.skipped and again.key == first.key and _counts(lake) == counts


def test_other_content_is_another_batch(lake: Lake, tmp_path: Path) -> None:
    first = read_in(lake, "rec-movie", recbole(tmp_path, taste()))
    second = read_in(lake, "rec-movie", recbole(tmp_path, taste(users=5)))
    assert second.key != first.key and not second.skipped


def test_force_repeats_without_doubling(lake: Lake, tmp_path: Path) -> None:
    params = IngestParams(tasks=("rec-movie",), locations={"rec-movie": str(recbole(tmp_path, taste()))})
    ingest.run(lake, params, check=passes)
    counts = _counts(lake)
    assert not ingest.run(lake, params, check=passes, force=True).skipped
    assert _counts(lake) == counts


def test_a_malformed_source_leaves_the_tables_as_they_were(lake: Lake, tmp_path: Path) -> None:
    read_in(lake, "rec-movie", recbole(tmp_path / "good", taste()))
    counts = _counts(lake)
    with pytest.raises(BadSource, match="row 3"):
        read_in(lake, "rec-movie", recbole(tmp_path / "bad", [(1, 1, 3, 9), (1, 2, 77, 9)]))
    assert _counts(lake) == counts


def test_the_tasks_own_place_is_below_home(lake: Lake) -> None:
    with pytest.raises(BadSource, match=f"no file or folder {lake.home}/downloads/ml-100k"):
        read_in(lake, "rec-movie")
    recbole(lake.home / "downloads" / "ml-100k", taste())
    assert read_in(lake, "rec-movie").rows["interactions"] == 336


def test_a_location_for_a_task_that_is_not_read_is_refused(lake: Lake) -> None:
    with pytest.raises(BadConfig, match="movietweetings"):
        ingest.run(
            lake, IngestParams(tasks=("synthetic",), locations={"movietweetings": "/tmp"}), check=passes
        )


def test_a_place_may_be_named_in_any_way(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative, from the user's folder, through a link to the folder or by a file that is a link: what lies
    beside the link is meant.
    """
    folder = recbole(tmp_path / "user" / "my #1 data, 100% é", taste())
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "links").mkdir()
    for number, name in enumerate(("x.inter", "x.item")):
        (tmp_path / f"blob{number}").write_bytes((folder / name).read_bytes())
        (tmp_path / "links" / name).symlink_to(tmp_path / f"blob{number}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    first = read_in(lake, "rec-movie", folder)
    for place in ("user/my #1 data, 100% é", "~/my #1 data, 100% é", "link", "links/x.inter"):
        params = IngestParams(tasks=("rec-movie",), locations={"rec-movie": place})
        assert ingest.run(lake, params, check=passes).key == first.key


@pytest.mark.parametrize("place", ["~nobody/x", "x" * 300, "file:///tmp"])
def test_no_place_is_refused_with_the_way_to_name_one(lake: Lake, place: str) -> None:
    params = IngestParams(tasks=("rec-movie",), locations={"rec-movie": place})
    with pytest.raises(BadSource, match=r"ingest\.locations\.rec-movie"):
        ingest.run(lake, params, check=passes)


def test_awkward_texts_come_out_of_the_lake_as_they_were_read(lake: Lake, tmp_path: Path) -> None:
    """Through the contracts, too."""
    titles = [line(text) for text in TEXTS.values() if FORMATS[0].fits("title", text)]
    folder = recbole(tmp_path, taste(), titles=dict(enumerate(titles)))
    params = IngestParams(tasks=("rec-movie",), locations={"rec-movie": str(folder)})
    ingest.run(lake, params, check=validate_batch)
    stored = set(lake.rows("select title from items").to_series())
    assert {f"{title} (19{50 + i})" for i, title in enumerate(titles) if title} <= stored
