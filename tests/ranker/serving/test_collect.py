"""What servers log becomes rows of the lake: whole, once, judged, and not before the server has let it
go.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.gate import validate_batch
from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import ContractViolated
from ranker.lake import Lake
from ranker.serving import collect
from ranker.serving.explore import Exploration, Order, order
from ranker.serving.request_log import RequestLog, record
from ranker.strategies import strategy
from tests.ranker.factories import oracle, overlap_sets
from tests.ranker.material import passes

AT = datetime(2026, 5, 4, 3, 2, 1, 678, tzinfo=UTC)


def as_ranked(ranking: Sequence[str]) -> Order:
    """Shown as it was ranked."""
    return order(ranking, "", Exploration())


def records(n: int = 3, way: str = "iterative", version: str = "1") -> list[dict[str, Any]]:
    """Requests that nobody has judged and a policy has answered, every third call unreadably."""
    calls = iter(range(10_000))
    engine = ScriptedEngine(lambda prompt: "no idea" if next(calls) % 3 == 2 else oracle(prompt))
    sets = [
        replace(given, candidates=tuple(replace(c, relevance=0.0) for c in given.candidates))
        for given in overlap_sets(n)
    ]
    episodes = strategy(way)(sets, engine, thinking=True, sampling=Sampling(64))
    return [
        record(
            given,
            episode,
            as_ranked(episode.ranking),
            at=AT,
            milliseconds=12.5,
            model="k/rl",
            version=version,
        )
        for given, episode in zip(sets, episodes, strict=True)
    ]


def shadows(answered: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a shadow that ranks alike made of them."""
    same = ("set_id", "task", "milliseconds", "strategy", "thinking", "ranking", "steps")
    return [
        {name: one[name] for name in same}
        | {"arm": "shadow", "model": "l/rl", "version": "2"}
        | {"pool": [candidate["label"] for candidate in one["candidates"]]}
        for one in answered
    ]


def spooled(lake: Lake, lines: list[dict[str, Any]]) -> Path:
    """A file that a server has written and let go."""
    request_log = RequestLog(collect.folder(lake.home))
    for line in lines:
        request_log.add(line)
    request_log.close()
    assert request_log.waiting
    return max(request_log.folder.glob("*.jsonl"))


def test_rows_say_what_was_served_and_keep_their_contracts(lake: Lake) -> None:
    given = [
        *records(version="1"),
        *(one | {"set_id": f"d{one['set_id']}"} for one in records(way="direct", version="2")),
    ]
    spooled(lake, given[:3])
    spooled(lake, given[3:])
    ref = collect.run(lake, check=validate_batch)
    assert (
        ref is not None
        and ref.rows["served_requests"] == ref.rows["episodes"] == 6
        and ref.rows["served_candidates"] == 24
    )
    rows = {row["set_id"]: row for row in lake.rows("select * from served_requests").iter_rows(named=True)}
    for one in given:
        row = rows[one["set_id"]]
        assert {name: row[name] for name in row if name in one and name != "served_at"} == {
            name: one[name] for name in row if name in one and name != "served_at"
        }
        assert (row["served_at"], row["milliseconds"], row["pool_size"]) == (AT, 12.5, 4)
    ranked = lake.rows(
        "select set_id, list(label order by place) as ranking, list(text order by slot) as texts from"
        " served_candidates group by set_id"
    )
    shown = {set_id: (ranking, texts) for set_id, ranking, texts in ranked.iter_rows()}
    assert shown == {one["set_id"]: (one["ranking"], [c["text"] for c in one["candidates"]]) for one in given}
    steps = lake.rows(
        "select e.set_id, s.* from steps s join episodes e using (batch_id, episode_id)"
    ).to_dicts()
    written = {
        (one["set_id"], step["step"]): (step["completion"], step["valid"], list(step["taken"]))
        for one in given
        for step in one["steps"]
    }
    assert {
        (row["set_id"], row["step"]): (row["completion"], row["valid"], row["taken"]) for row in steps
    } == written
    judged = lake.rows("select reward, invalid_calls / calls as invalid, rr, hit_1 from episodes")
    assert judged["rr"].null_count() == judged["hit_1"].null_count() == 6, "nobody has judged them"
    assert 0 < judged["invalid"].mean() < 1 and judged["reward"].to_list() == pytest.approx(
        (-judged["invalid"]).to_list()
    ), "only unreadable answers cost"


def test_what_a_shadow_ranked_may_come_in_a_later_batch_than_its_request(lake: Lake) -> None:
    answered = records(3)
    spooled(lake, [*answered, *shadows(answered[:2])])
    assert collect.run(lake, check=passes) is not None
    spooled(lake, shadows(answered[2:3]))
    later = collect.run(lake, check=validate_batch)
    assert later is not None and (later.rows["served_requests"], later.rows["served_shadows"]) == (0, 1)
    assert later.details == {"requests": 0, "shadows": 1}
    both = lake.rows(
        "select r.version, s.version, count(*) from served_requests r join served_shadows s using (set_id)"
        " join episodes e on e.set_id = r.set_id and e.arm = 'shadow' and e.model = s.model group by all"
    )
    assert both.rows() == [("1", "2", 3)]


def test_each_line_is_collected_once_whole_and_when_the_server_has_let_it_go(lake: Lake) -> None:
    assert collect.run(lake, check=passes) is None, "nothing spooled"
    request_log = RequestLog(collect.folder(lake.home))
    request_log.add(records()[0])
    assert collect.run(lake, check=passes) is None, "a server writes it"
    request_log.close()
    (file,) = request_log.folder.iterdir()
    kept = file.read_text() + json.dumps(records()[1])[:50]  # a server that was killed while it wrote
    file.write_text(kept)
    first = collect.run(lake, check=passes)
    assert first is not None and first.rows["served_requests"] == 1 and not list(request_log.folder.iterdir())
    file.write_text(kept)  # as if killed after the commit, before the file was deleted
    again = collect.run(lake, check=passes)
    assert (
        again is not None
        and again.skipped
        and again.key == first.key
        and not list(request_log.folder.iterdir())
    )
    assert lake.rows("select count(*) from served_requests").item() == 1


def test_a_batch_that_breaks_its_contract_stays_out_and_stops_no_later_one(lake: Lake) -> None:
    bad = records()
    bad[1] |= {"query": " "}
    file = spooled(lake, bad)
    with pytest.raises(ContractViolated, match="asks"):
        collect.run(lake, check=validate_batch)
    assert lake.rows("select count(*) from served_requests").item() == 0
    (kept,) = file.parent.iterdir()
    assert kept.name == f"{file.name}.refused" and kept.read_text().count("\n") == 3
    spooled(lake, records(version="2"))
    assert collect.run(lake, check=passes) is not None
    assert lake.rows("select distinct version from served_requests").item() == "2"
