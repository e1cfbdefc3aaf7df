"""What the request log keeps of texts."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from contracts.gate import validate_batch
from ranker.lake import Lake
from ranker.serving import collect
from ranker.serving.privacy import DROPPED, HASHED, masker
from ranker.serving.request_log import RequestLog
from tests.ranker.serving.test_collect import records, shadows


def words(lines: list[dict]) -> set[str]:
    """Every query, document and history item that was logged."""
    shown = {c["text"] for one in lines for c in one["candidates"]}
    return shown | {one["query"] for one in lines} | {item for one in lines for item in one["query_items"]}


@pytest.mark.parametrize("texts", ["hash", "drop"])
@pytest.mark.parametrize("way", ["iterative", "direct"])
def test_no_text_is_in_the_file_and_the_batch_keeps_its_contracts(lake: Lake, texts: str, way: str) -> None:
    given = records(4, way)
    log = RequestLog(collect.folder(lake.home), mask=masker(texts, lake.home))  # type: ignore[arg-type]
    for line in [*given, *shadows(given)]:
        log.add(line)
    log.close()
    (path,) = log.folder.iterdir()
    written = path.read_text(encoding="utf-8")
    assert words(given) and not [text for text in words(given) if text and text in written]
    assert "no idea" not in written, "nor what a model wrote beside its answer"
    ref = collect.run(lake, check=validate_batch)
    assert ref is not None and ref.rows["served_requests"] == 4
    queries = set(lake.rows("select query from served_requests")["query"])
    if texts == "drop":
        assert queries == {DROPPED}
    else:
        assert all(query.startswith(HASHED) for query in queries)
        assert len(queries) == len({one["query"] for one in given})
    places = lake.rows("select count(distinct place), count(distinct item_id) from served_candidates").row(0)
    assert places == (4, len({c["item_id"] for one in given for c in one["candidates"]}))


def test_a_pseudonym_is_the_same_for_the_same_text_under_the_same_key_alone(tmp_path: Path) -> None:
    (line, *_) = records(1)
    one, same = (masker("hash", tmp_path / "a")(line)["query"] for _ in range(2))
    other = masker("hash", tmp_path / "b")(line)["query"]
    assert one == same != other
    assert stat.S_IMODE((tmp_path / "a" / "texts.key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["texts.key"]


def test_kept_is_as_it_came(tmp_path: Path) -> None:
    (line, *_) = records(1)
    assert masker("keep", tmp_path)(line) == line and not list(tmp_path.iterdir())
    assert json.dumps(line)
