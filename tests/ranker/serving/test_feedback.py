"""What became of an answer: events as clients send them, over a real connection and into the lake; each
counts once, and none of an unknown request before that is there.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.gate import validate_batch
from ranker.lake import Lake, open_lake
from ranker.serving import collect
from ranker.serving.feedback import MOST_BYTES, Answered, read, record
from ranker.serving.request_log import RequestLog
from ranker.serving.schema import Refusal
from ranker.serving.settings import Settings
from tests.ranker.serving.running import CLIENT, HOW, Running, in_thread, question
from tests.ranker.serving.test_collect import records, spooled

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
CLICK = {"request_id": "r", "document_id": "d", "event": "click"}
PATH = "/v1/feedback"


def line(**changes: Any) -> dict[str, Any]:
    return record(read(json.dumps(CLICK | changes).encode(), NOW), NOW)


def test_the_same_event_has_one_id_whenever_and_by_whom_it_is_sent_again() -> None:
    later = record(read(json.dumps(CLICK).encode(), NOW), NOW + timedelta(seconds=9))
    assert line()["event_id"] == later["event_id"] == line(user="u", value=None)["event_id"]
    zones = line(time="2026-05-04T05:02:01+02:00"), line(time="2026-05-04T03:02:01Z")
    assert zones[0] == zones[1] and zones[0]["happened_at"] == NOW.isoformat()
    others = [
        line(request_id="s"),
        line(document_id="e"),
        line(document_id=0),
        line(event="purchase"),
        line(event="rating", value=1),
        line(event="rating", value=2),
        zones[0],
    ]
    assert len({one["event_id"] for one in (line(), *others)}) == 8
    assert line(document_id=0)["item_id"] == "0", "a document without an id is named by its index"


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"{", "is JSON"),
        (b"[]", "is one JSON object"),
        (json.dumps(CLICK | {"event": "view"}).encode(), "event"),
        (json.dumps(CLICK | {"document_id": True}).encode(), "document_id"),
        (json.dumps(CLICK | {"document_id": -1}).encode(), "document_id"),
        (json.dumps(CLICK | {"request_id": "r" * 513}).encode(), "request_id"),
        (json.dumps(CLICK | {"value": 1}).encode(), "rating"),
        (json.dumps(CLICK | {"event": "rating"}).encode(), "rating"),
        (json.dumps(CLICK | {"event": "rating", "value": float("nan")}).encode(), "rating"),
        (json.dumps(CLICK | {"time": "2026-05-04T03:02:01"}).encode(), "time"),
        (json.dumps(CLICK | {"time": "2026-05-04T03:08:01Z"}).encode(), "has happened"),
        (json.dumps(CLICK | {"more": 1}).encode(), "more"),
    ],
)
def test_what_is_no_event_is_refused_with_rule_and_remedy(sent: bytes, says: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(sent, NOW)
    assert refused.value.status == 422 and says in refused.value.body["message"]
    assert "remedy" in refused.value.body["message"]


def test_the_memory_of_what_was_answered_is_bounded() -> None:
    answered = Answered(2)
    for name in "abc":
        answered.add(name)
    assert ["a" in answered, "b" in answered, "c" in answered] == [False, True, True]


def test_over_the_wire_and_into_the_lake(tmp_path: Path, model_home: Path) -> None:
    """Token and bounds as elsewhere; what is unknown is taken, and said; each event counts once."""
    model = str(model_home / "models" / "k" / "rl")
    token = {"authorization": "Bearer s3cret"}
    with in_thread(tmp_path, Settings(model, HOW, task="synthetic", token="s3cret", log=True)) as server:
        asked = question(4)
        asked["documents"] = [{"id": f"d{n}", "text": text} for n, text in enumerate(asked["documents"])]
        answered = server.post(asked, **token).json()
        first = answered["results"][0]["index"]
        click = {"request_id": answered["id"], "document_id": f"d{first}", "event": "click"}
        assert server.post(click, path=PATH).status_code == 401
        large = CLIENT.post(server.url + PATH, content=b" " * (MOST_BYTES + 1), headers=token)
        assert large.status_code == 413
        taken = [server.post(click | {"user": "u1"}, path=PATH, **token) for _ in range(3)]
        assert [one.status_code for one in taken] == [200] * 3 and taken[0].json() == taken[2].json()
        assert taken[0].json()["request"] == "known"
        unknown = server.post(click | {"request_id": "elsewhere"}, path=PATH, **token)
        assert (unknown.status_code, unknown.json()["request"]) == (202, "unknown")
        server.post(click | {"document_id": "d9"}, path=PATH, **token)
        counted = CLIENT.get(server.url + "/metrics", headers=token).text
        assert 'ranker_feedback_events_total{event="click"} 5.0' in counted
    with open_lake(tmp_path) as lake:
        requests, events = collect.both(lake, check=validate_batch)
        assert requests.rows["served_requests"] == 1 and events.rows["feedback"] == 3
        assert events.details == {"sent": 5, "repeated": 2}
        found = lake.rows("select item_id, place, user_id, event from feedback_counted").rows()
        assert found == [(f"d{first}", 1, "u1", "click")]
        held = lake.rows("select reason from feedback_held order by reason")["reason"].to_list()
        assert held == ["no such document", "no such request"]


def test_without_a_log_there_is_nowhere_to_keep_it(server: Running) -> None:
    refused = server.post(CLICK, path=PATH)
    assert refused.status_code == 501 and "--log" in refused.json()["message"]


def test_a_full_disk_costs_events_that_are_counted_and_said_and_no_request(
    tmp_path: Path, model_home: Path
) -> None:
    model = str(model_home / "models" / "k" / "rl")
    (tmp_path / "feedback").touch()  # where its folder would be: nothing can be written
    with in_thread(tmp_path, Settings(model, HOW, task="synthetic", log=True)) as server:
        answered = server.post(question(3))
        click = {"request_id": answered.json()["id"], "document_id": 0, "event": "click"}
        dropped = server.post(click, path=PATH)
        assert answered.status_code == 200
        assert dropped.status_code == 503 and dropped.headers["Retry-After"]
        assert server.metrics()["ranker_dropped_feedback_total"] == 1
        (tmp_path / "feedback").unlink()
        assert server.post(click, path=PATH).status_code == 200


def logged(lake: Lake, *lines: dict[str, Any]) -> Path:
    feedback_log = RequestLog(collect.feedback_folder(lake.home))
    for one in lines:
        feedback_log.add(one)
    feedback_log.close()
    return max(feedback_log.folder.glob("*.jsonl"))


def test_an_event_counts_from_when_its_request_is_there(lake: Lake) -> None:
    (one, *_) = records(1)
    item = one["candidates"][0]["item_id"]
    event = line(request_id=one["set_id"], document_id=item, time="2026-05-04T03:02:02Z")
    early = line(request_id=one["set_id"], document_id=item, time="2026-05-04T02:00:00Z")
    logged(lake, event, early)
    assert collect.feedback(lake, check=validate_batch) is not None
    assert lake.rows("select * from feedback_counted").is_empty()
    spooled(lake, [one])
    assert collect.run(lake, check=validate_batch) is not None
    assert lake.rows("select event_id from feedback_counted")["event_id"].to_list() == [event["event_id"]]
    assert lake.rows("select reason from feedback_held")["reason"].to_list() == ["before its request"]
    logged(lake, event)
    again = collect.feedback(lake, check=validate_batch)
    assert again is not None and (again.rows["feedback"], again.details["repeated"]) == (0, 1)
    assert lake.rows("select count(*) from feedback").item() == 2


def test_a_refused_batch_of_requests_keeps_no_feedback_out_nor_the_other_way_round(lake: Lake) -> None:
    from ranker.errors import ContractViolated

    (one, *_) = records(1)
    spooled(lake, [one | {"query": " "}])
    logged(lake, line())
    with pytest.raises(ContractViolated, match="asks"):
        collect.both(lake, check=validate_batch)
    assert lake.rows("select count(*) from feedback").item() == 1
    bad = logged(lake, line(document_id="e") | {"value": 1.0})
    spooled(lake, [one])
    with pytest.raises(ContractViolated, match="rated"):
        collect.both(lake, check=validate_batch)
    assert lake.rows("select count(*) from served_requests").item() == 1
    assert [path.name for path in bad.parent.iterdir()] == [f"{bad.name}.refused"]
