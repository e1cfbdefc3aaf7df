"""A user forgotten: the bytes of lake and logs are read."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker.errors import BadConfig, ContractViolated
from ranker.lake import Lake
from ranker.serving import collect
from ranker.serving.forget import forget
from ranker.serving.request_log import RequestLog
from tests.ranker.material import movies, passes
from tests.ranker.serving.test_collect import records, shadows, spooled
from tests.ranker.serving.test_feedback import line, logged

USER = "user-4f1d-unmistakable"
SECRET = "secret-query-of-that-user"


def holders(home: Path, *texts: str) -> list[str]:
    """Files that hold one of the texts: raw, or in a column of a Parquet file."""
    found = []
    for path in (path for path in home.rglob("*") if path.is_file()):
        raw = path.read_bytes()
        if any(text.encode() in raw for text in texts):
            found.append(path.name)
        elif path.suffix == ".parquet":
            rows = json.dumps(pl.read_parquet(path).to_dicts(), default=str)
            found += [path.name] if any(text in rows for text in texts) else []
    return found


def theirs() -> list[dict]:
    (one, *_) = records(1)
    return [one | {"set_id": "theirs", "user_id": USER, "query": SECRET}]


def test_nothing_is_left_of_a_user_in_any_table_file_or_log(lake: Lake, tmp_path: Path) -> None:
    others, own = records(3), theirs()
    event = {"request_id": "theirs", "document_id": own[0]["candidates"][0]["item_id"]}
    spooled(lake, [*others, *shadows(others), *own, *shadows(own)])
    logged(lake, line(**event, user=USER), line(request_id=others[0]["set_id"], user="another"))
    collect.both(lake, check=passes)
    bad = [own[0] | {"set_id": "refused", "query_items": [], "query": " "}]
    spooled(lake, bad)  # a refused batch: in quarantine, in the checks' samples, and in its file
    with pytest.raises(ContractViolated):
        collect.run(lake, check=validate_batch)
    spooled(lake, [own[0] | {"set_id": "later"}, others[0] | {"set_id": "kept", "user_id": "another"}])
    logged(lake, line(**event, user=USER, event="purchase"), line(request_id="later"))
    assert len(holders(lake.home, USER, SECRET)) >= 4

    said = forget(lake, USER, apply=False)
    assert said.rows["served_requests"] == 1 and said.lines == 4 and holders(lake.home, USER)
    done = forget(lake, USER, apply=True)
    assert done.rows == said.rows and done.lines == said.lines
    assert holders(lake.home, USER, SECRET, '"theirs"', '"later"') == []
    left = {
        name: lake.rows(f"select count(*) from {name}").item()
        for name in ("served_requests", "served_candidates", "served_shadows", "episodes", "feedback")
    }
    assert left == {
        "served_requests": 3,
        "served_candidates": 12,
        "served_shadows": 3,
        "episodes": 6,
        "feedback": 1,
    }
    assert forget(lake, USER, apply=True).table.is_empty()
    after = collect.both(lake, check=passes)
    assert [ref.rows.get("served_requests", 0) for ref in after] == [1], "what others did is collected"
    assert holders(lake.home, USER, SECRET) == [], "and brings nothing back"


def test_a_history_that_was_read_as_data_goes_with_all_that_was_made_of_it(
    lake: Lake, tmp_path: Path
) -> None:
    ref = movies(lake, tmp_path / "movies")
    user = lake.rows("select min(group_id) from candidate_sets").item()
    before = lake.rows("select count(*) from candidate_sets").item()
    own = lake.rows("select count(*) from candidate_sets where group_id = $user", {"user": user}).item()
    done = forget(lake, user, apply=True)
    assert ref and own and done.rows["candidate_sets"] == own and done.rows["candidates"] > own
    assert lake.rows("select count(*) from candidate_sets").item() == before - own
    assert lake.rows("select count(*) from interactions where user_id = $user", {"user": user}).item() == 0
    orphans = "select count(*) from candidates c anti join candidate_sets s on s.set_id = c.set_id"
    assert lake.rows(orphans).item() == 0


def test_a_request_that_names_another_user_stays_whatever_feedback_says(lake: Lake) -> None:
    (one, *_) = records(1)
    spooled(lake, [one | {"user_id": "owner"}])
    logged(lake, line(request_id=one["set_id"], user=USER))
    collect.both(lake, check=passes)
    done = forget(lake, USER, apply=True)
    assert (done.rows["feedback"], done.rows["served_requests"]) == (1, 0)


def test_a_log_that_is_being_written_is_said_and_nothing_is_done(lake: Lake) -> None:
    spooled(lake, theirs())
    collect.run(lake, check=passes)
    log = RequestLog(collect.folder(lake.home))
    log.add(theirs()[0])
    with pytest.raises(BadConfig, match="let go"):
        forget(lake, USER, apply=True)
    log.close()
    assert lake.rows("select count(*) from served_requests").item() == 1
    with pytest.raises(BadConfig, match="has a name"):
        forget(lake, " ", apply=True)
