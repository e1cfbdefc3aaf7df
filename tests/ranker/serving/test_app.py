"""The application over real connections: what clients send and are told, bounds, token, time limits, and
how load is shed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from ranker.lake import open_lake
from ranker.serving.collect import folder
from ranker.serving.settings import Bounds, Settings
from tests.ranker.engines.models import bytewise
from tests.ranker.lake.servers import until
from tests.ranker.material import tiny_lm
from tests.ranker.serving.awkward import AWKWARD
from tests.ranker.serving.running import CLIENT, Running, in_thread, is_permutation, question

TOKEN = "t0ken"


def test_an_answer_has_the_shape_of_cohere_and_jina(server: Running) -> None:
    asked = {"model": "rerank-v3.5", **question(5)}
    answered = server.post(asked).json()
    assert is_permutation(answered, 5)
    assert [result["relevance_score"] for result in answered["results"]] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert set(answered) == {"id", "model", "results", "usage", "meta"} and len(answered["id"]) == 32
    assert all(set(result) == {"index", "relevance_score"} for result in answered["results"])
    assert (
        answered["model"] == "rl" and answered["meta"]["score"] == "place" and answered["meta"]["calls"] == 4
    )
    assert (
        answered["usage"]["total_tokens"]
        == answered["usage"]["prompt_tokens"] + answered["usage"]["completion_tokens"]
        > 0
    )
    assert answered["meta"]["api_version"] == {"version": "1"}


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_every_client_finds_its_path(server: Running, path: str) -> None:
    assert server.post(question(3), path=path).status_code == 200


def test_cohere_s_own_clients_are_answered(server: Running) -> None:
    """Of both versions of its interface, unchanged but for the address."""
    cohere = pytest.importorskip("cohere")
    asked, wanted = question(5), server.post(question(5)).json()["results"]
    for kind, options in (
        (cohere.ClientV2, {"max_tokens_per_doc": 512}),
        (cohere.Client, {"rank_fields": None}),
    ):
        client = kind(TOKEN, base_url=server.url, httpx_client=CLIENT)
        answered = client.rerank(model="rerank-v3.5", **asked, top_n=3, **options)
        found = [(one.index, one.relevance_score) for one in answered.results]
        assert found == [(one["index"], one["relevance_score"]) for one in wanted[:3]]
        assert (
            answered.id and answered.meta.api_version.version == "1" and answered.meta.tokens.input_tokens > 0
        )


def test_jinas_api_is_spoken_as_its_client_in_llamaindex_speaks_it(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unchanged but for the address; a refusal is told in its words, too."""
    jina = pytest.importorskip("llama_index.postprocessor.jinaai_rerank")
    schema = pytest.importorskip("llama_index.core.schema")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked = question(5)
    wanted = server.post(asked).json()["results"]
    nodes = [schema.NodeWithScore(node=schema.TextNode(text=text)) for text in asked["documents"]]
    client = jina.JinaRerank(top_n=3, base_url=f"{server.url}/v1", api_key=TOKEN)
    found = client.postprocess_nodes(nodes, query_str=asked["query"])
    assert [(one.node.node_id, one.score) for one in found] == [
        (nodes[one["index"]].node.node_id, one["relevance_score"]) for one in wanted[:3]
    ]
    with pytest.raises(RuntimeError, match="something to rank for"):
        client.postprocess_nodes(nodes, query_str=" ")


def test_documents_come_back_as_they_were_sent(server: Running) -> None:
    documents = ["a1 a2", {"text": "a3 a4", "id": 7, "page": 2}, {"title": "a5", "body": "a6"}]
    refused = server.post({"query": "a1", "documents": documents})
    assert refused.status_code == 422 and "rank_fields" in refused.json()["message"]
    answered = server.post({"query": "a1", "documents": documents[:2], "return_documents": True}).json()
    assert {result["index"]: result["document"] for result in answered["results"]} == {
        0: {"text": "a1 a2"},
        1: documents[1],
    }
    fields = server.post(
        {
            "query": "a1",
            "documents": [documents[2], {"title": "a1", "body": "a2"}],
            "rank_fields": ["title", "body"],
            "reasons": True,
        }
    )
    assert fields.status_code == 200


@pytest.mark.parametrize(("top_n", "given"), [(2, 2), (99, 5), (None, 5), (0, 5)])
def test_top_n_cuts_the_same_order(server: Running, top_n: int | None, given: int) -> None:
    whole = server.post(question(5)).json()["results"]
    assert server.post({**question(5), "top_n": top_n}).json()["results"] == whole[:given]


def test_reasons_tell_each_call_by_index(server: Running) -> None:
    answered = server.post({**question(4), "reasons": True}).json()
    assert [len(reason["documents"]) for reason in answered["reasons"]] == [4, 3, 2]
    gone = [place for reason in answered["reasons"] for place in reason["taken"]]
    assert [result["index"] for result in answered["results"]][:0:-1] == gone
    assert all(
        reason["valid"] == (not reason["reason"]) and reason["completion"] for reason in answered["reasons"]
    )


def test_one_document_is_answered_without_a_call(server: Running) -> None:
    before = server.metrics()["ranker_model_calls_total"]
    answered = server.post({"query": "a1", "documents": ["a2"], "return_documents": True}).json()
    assert answered["results"] == [{"index": 0, "relevance_score": 1.0, "document": {"text": "a2"}}]
    assert answered["meta"]["calls"] == 0 and server.metrics()["ranker_model_calls_total"] == before


def test_documents_that_read_alike_have_a_place_each(server: Running) -> None:
    assert is_permutation(server.post({"query": "a1", "documents": ["a2", "a2", "a2", ""]}).json(), 4)


@pytest.mark.parametrize(
    ("payload", "status", "says"),
    [
        ({"documents": ["a", "b"]}, 422, "something to rank for"),
        ({"query": "  ", "documents": ["a", "b"]}, 422, "something to rank for"),
        ({"query": "a1"}, 422, "documents"),
        ({"query": "a1", "documents": []}, 422, "documents"),
        ({"query": "a1", "documents": "a2"}, 422, "documents"),
        ({"query": "a1", "documents": [3, "b"]}, 422, "documents"),
        ({"query": "a1", "documents": ["a", "b"], "top_n": -1}, 422, "top_n"),
        ({"query": "a1", "documents": ["a", "b"], "topn": 1}, 422, "topn"),
        ({"query": "a1", "documents": ["a", "b"], "task": "nonsense"}, 422, "'nonsense'"),
        ({"query": "a1", "documents": ["a"] * 9}, 422, "at most 8 documents"),
        ({"query": "a1", "documents": ["a" * 1_000, "b" * 999]}, 422, "2001"),
        ({"query": "a1", "documents": ["a" * 20_000, "b"]}, 413, "20000 bytes"),
        ([1], 422, "one JSON object"),
        ("documents", 422, "one JSON object"),
    ],
)
def test_what_is_no_request_is_told_so(server: Running, payload: object, status: int, says: str) -> None:
    refused = server.post(payload)
    assert refused.status_code == status, refused.text
    assert says in refused.json()["message"] and "remedy" in refused.json()["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 10_000])
def test_nor_does_a_body_that_is_no_json_break_anything(server: Running, body: bytes) -> None:
    assert CLIENT.post(f"{server.url}/v1/rerank", content=body).status_code == 422


def test_a_body_that_does_not_say_its_length_is_bounded_too(server: Running) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(50):
            yield b"a" * 1_000

    assert CLIENT.post(f"{server.url}/v1/rerank", content=endless()).status_code == 413


def test_fields_that_mean_nothing_here_are_ignored(server: Running) -> None:
    sent = {
        "model": "m",
        "max_chunks_per_doc": 10,
        "max_tokens_per_doc": 4096,
        "truncate_prompt_tokens": 99,
        "priority": 1,
        "rank_fields": None,
        "top_n": None,
        "task": None,
    }
    assert (
        server.post({**question(3), **sent}).json()["results"] == server.post(question(3)).json()["results"]
    )


def test_the_token_is_asked_for(model_home: Path, settings: Settings) -> None:
    with in_thread(model_home, replace(settings, token=TOKEN)) as running:
        for headers in (
            {},
            {"Authorization": "Bearer other"},
            {"Authorization": TOKEN},
            {"Authorization": "Bearer t0kén".encode()},
        ):  # type: ignore[dict-item]
            refused = CLIENT.post(f"{running.url}/v1/rerank", json=question(3), headers=headers)
            assert (
                refused.status_code == 401
                and refused.headers["WWW-Authenticate"] == "Bearer"
                and TOKEN not in refused.text
            )
        assert CLIENT.get(f"{running.url}/metrics").status_code == 401
        assert running.post(question(3), Authorization=f"Bearer {TOKEN}").status_code == 200
        assert running.health().status_code == 200


def test_a_request_that_takes_too_long_is_told_so_and_others_are_answered_again(
    model_home: Path, settings: Settings
) -> None:
    with in_thread(model_home, replace(settings, timeout=0.5, bounds=Bounds(40, 2_000, 20_000))) as running:
        slow = running.post(question(40))
        assert slow.status_code == 504 and "0.5 s" in slow.json()["message"]
        until(
            lambda: running.post(question(2)).status_code == 200
        )  # what has begun is brought to its end first
        assert running.metrics()['ranker_requests_total{status="504"}'] >= 1


def test_whose_client_has_left_is_not_ranked(model_home: Path, settings: Settings) -> None:
    with (
        in_thread(model_home, replace(settings, most_at_once=1, bounds=Bounds(40, 2_000, 20_000))) as running,
        ThreadPoolExecutor(1) as pool,
    ):
        slow = pool.submit(running.post, question(40))
        until(lambda: running.metrics()["ranker_batch_size_sum"] == 1)
        with pytest.raises(httpx.ReadTimeout):
            CLIENT.post(f"{running.url}/v1/rerank", json=question(5), timeout=0.2)
        until(lambda: running.metrics().get('ranker_requests_total{status="499"}') == 1)
        assert is_permutation(slow.result().json(), 40)
        assert (
            running.metrics()["ranker_batch_size_sum"] == 1 and running.metrics()["ranker_queue_depth"] == 0
        )


def test_load_beyond_the_queue_is_shed(model_home: Path, settings: Settings) -> None:
    small = replace(settings, most_waiting=4, most_at_once=4)
    with in_thread(model_home, small) as running, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda seed: running.post(question(8, seed)), range(64)))
        shown = running.metrics()
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    assert all(is_permutation(answer.json(), 8) for answer in answers if answer.status_code == 200)
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers if answer.status_code == 429)
    assert shown['ranker_requests_total{status="429"}'] == statuses.count(429)
    assert shown["ranker_batch_size_sum"] == statuses.count(200) > shown["ranker_batch_size_count"], (
        "requests were ranked together"
    )


def test_what_is_served_is_brought_into_the_lake_while_it_serves(
    model_home: Path, settings: Settings
) -> None:
    with in_thread(model_home, replace(settings, log=True, log_every=0.5)) as running:
        answered = running.post(question(3)).json()
        running.post(question(1))
        until(lambda: running.metrics().get('ranker_collections_total{outcome="done"}'))
        assert running.metrics()["ranker_logged_episodes_total"] == 1, "a single document is no ranking"
    with open_lake(model_home, read_only=True) as lake:
        assert lake.rows("select set_id, model, version from served_requests").row(0) == (
            answered["id"],
            "k/rl",
            "",
        )


def test_an_answer_is_json_that_any_client_reads(server: Running) -> None:
    response = server.post({"query": "ä a1", "documents": ["ü", "a2"], "return_documents": True})
    assert response.headers["content-type"] == "application/json" and json.loads(response.content)["results"]


def test_health_and_metrics(server: Running) -> None:
    server.post(question(3))
    assert server.health().json() == {"live": True, "ready": True, "model": "rl", "version": ""}
    shown = server.metrics()
    assert shown['ranker_model_info{identity="k/rl",name="rl",version=""}'] == 1
    assert shown["ranker_queue_depth"] == 0 and shown["ranker_swaps_total"] == 0
    assert shown['ranker_requests_total{status="200"}'] == shown["ranker_request_seconds_count"] > 0
    assert (
        shown['ranker_requests_total{status="422"}'] > 0 and shown['ranker_requests_total{status="413"}'] > 0
    )
    assert shown["ranker_model_calls_total"] >= sum(
        value for name, value in shown.items() if name.startswith("ranker_invalid_answers_total")
    )
    schema = CLIENT.get(f"{server.url}/openapi.json").json()["paths"]["/v1/rerank"]["post"]["requestBody"][
        "content"
    ]["application/json"]["schema"]
    assert "return_documents" in schema["properties"]


def test_the_schema_is_behind_the_token(model_home: Path, settings: Settings) -> None:
    with in_thread(model_home, replace(settings, token=TOKEN)) as running:
        assert CLIENT.get(f"{running.url}/openapi.json").status_code == 401
        allowed = CLIENT.get(f"{running.url}/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})
        assert "/v1/rerank" in allowed.json()["paths"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1:8080", 200),
        ("https://friend.example", 200),
        ("https://evil.example", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("null", 403),
    ],
)
def test_a_web_page_may_not_ask_unless_it_is_allowed_to(allowing: Running, origin: str, status: int) -> None:
    """Of any page that somebody visits: a form can send JSON as plain text to this machine, unasked."""
    answered = allowing.post(question(3), Origin=origin, **{"Content-Type": "text/plain"})
    assert answered.status_code == status
    allows = answered.headers.get("access-control-allow-origin")
    assert allows == (origin if origin == "https://friend.example" else None)
    if status == 403:
        assert "--allow-origin" in answered.json()["message"]


@pytest.fixture(scope="module")
def allowing(model_home: Path, settings: Settings) -> Iterator[Running]:
    with in_thread(model_home, replace(settings, origins=("https://friend.example",))) as running:
        yield running


def test_an_episode_that_cannot_be_logged_is_counted_and_answered(
    tmp_path: Path, model_home: Path, settings: Settings
) -> None:
    folder(tmp_path).parent.mkdir(parents=True, exist_ok=True)
    folder(tmp_path).touch()  # no folder can be made there
    with in_thread(tmp_path, replace(settings, log=True)) as running:
        assert running.post(question(3)).status_code == 200
        shown = running.metrics()
    assert (shown["ranker_dropped_episodes_total"], shown["ranker_logged_episodes_total"]) == (1, 0)


def test_a_line_for_every_request_where_it_is_asked_for(
    model_home: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ranker.serving")
    with in_thread(model_home, replace(settings, access_log=True)) as running:
        running.post(question(3))
        running.post({"query": "a1"})
    said = [record.getMessage() for record in caplog.records if "/v1/rerank" in record.getMessage()]
    assert [line.split()[:3] for line in said] == [
        ["127.0.0.1", "/v1/rerank", code] for code in ("200", "422")
    ]


def test_a_threshold_leaves_documents_out_and_counts_them(likely: tuple[Path, Running]) -> None:
    _, server = likely
    whole = server.post(question(6)).json()
    assert is_permutation(whole, 6) and whole["meta"]["score"] == "calibrated"
    scores = [result["relevance_score"] for result in whole["results"]]
    between = (scores[1] + scores[2]) / 2
    before = server.metrics()
    for threshold, kept in ((0, 6), (0.0, 6), (between, 2), (1, 0)):
        answered = server.post({**question(6), "min_score": threshold}).json()
        assert [result["index"] for result in answered["results"]] == [
            result["index"] for result in whole["results"][:kept]
        ]
        assert [result["relevance_score"] for result in answered["results"]] == pytest.approx(scores[:kept])
        assert answered["meta"]["left_out"] == 6 - kept
    after = server.metrics()
    counted = {
        name: after[name] - before[name]
        for name in ("ranker_left_out_documents_total", "ranker_abstentions_total")
    }
    assert counted == {"ranker_left_out_documents_total": 10, "ranker_abstentions_total": 1}
    answered = server.post({**question(6), "min_score": between, "top_n": 1}).json()
    assert len(answered["results"]) == 1 and answered["meta"]["left_out"] == 4


@pytest.mark.parametrize("threshold", [-0.1, 1.1, "high"])
def test_a_threshold_is_a_probability(likely: tuple[Path, Running], threshold: object) -> None:
    refused = likely[1].post({**question(3), "min_score": threshold})
    assert refused.status_code == 422 and "min_score" in refused.json()["message"]


def test_a_threshold_is_refused_where_scores_are_no_probabilities(
    server: Running, likely: tuple[Path, Running]
) -> None:
    for running, more in ((server, {}), (likely[1], {"task": "passage-pydoc"})):
        refused = running.post({**question(3), **more, "min_score": 0.5})
        assert refused.status_code == 422 and "calibrated for the task" in refused.json()["message"]
        assert running.post({**question(3), **more, "min_score": 0}).status_code == 200


def test_a_single_document_has_a_likelihood_policy_s_probability(likely: tuple[Path, Running]) -> None:
    _, server = likely
    alone = {"query": question(3)["query"], "documents": question(3)["documents"][:1]}
    beside = {
        result["index"]: result["relevance_score"] for result in server.post(question(3)).json()["results"]
    }
    answered = server.post({**alone, "min_score": 0.01}).json()
    (result,) = answered["results"]
    assert result["relevance_score"] == pytest.approx(beside[0], abs=1e-3) and answered["meta"]["calls"] == 1
    assert server.post({**alone, "min_score": 1}).json()["results"] == []


def test_what_a_threshold_leaves_out_is_whole_in_the_log(
    tmp_path: Path, likely: tuple[Path, Running], settings: Settings
) -> None:
    logging = replace(settings, model=str(likely[0]), log=True, log_every=1)
    with in_thread(tmp_path, logging) as running:
        asked = running.post({**question(5), "min_score": 1}).json()
        running.post({"query": "a1", "documents": ["a2"]})
        assert asked["results"] == []
        until(lambda: running.metrics().get('ranker_collections_total{outcome="done"}'))
    with open_lake(tmp_path, read_only=True) as lake:
        ranked = lake.rows("select set_id, count(*) as documents from served_candidates group by set_id")
        assert ranked.rows() == [(asked["id"], 5)], "a single document is no ranking"
        steps = lake.rows("select len(pool) as n, len(log_likelihoods) as scores, temperature from steps")
        assert set(steps.rows()) == {(n, n, 0.5) for n in (5, 4, 3, 2)}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("kind", ["written", "likely"])
def test_a_document_as_people_send_it_is_ranked_and_given_back(
    server: Running, likely: tuple[Path, Running], kind: str, name: str
) -> None:
    running = server if kind == "written" else likely[1]
    documents = ["a1 a2", AWKWARD[name], "a3"]
    body = json.dumps({"query": "a1", "documents": documents, "return_documents": True})
    answered = CLIENT.post(f"{running.url}/v1/rerank", content=body)
    assert answered.status_code == 200, answered.text
    assert is_permutation(answered.json(), 3)
    back = {result["index"]: result["document"] for result in answered.json()["results"]}[1]
    sent = json.loads(body, parse_constant=lambda _: None)["documents"][1]
    assert back == (sent if isinstance(sent, dict) else {"text": sent})


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ('{"text": NaN}', "an object with `text`"),
        ('{"text": true}', "text: True"),
        ('{"text": {"a": 1}}', "text: {'a': 1}"),
        ('"\\ud800"', "JSON"),
        ('{"text": "a2", "n": 1' + "0" * 5_000 + "}", "JSON"),
    ],
)
def test_a_document_that_cannot_be_ranked_is_named_before_any_work(
    server: Running, document: str, says: str
) -> None:
    before = server.metrics()["ranker_model_calls_total"]
    body = f'{{"query": "a1", "documents": ["a1", {document}], "return_documents": true}}'
    refused = CLIENT.post(f"{server.url}/v1/rerank", content=body)
    assert refused.status_code == 422 and says in refused.json()["message"], refused.text
    assert server.metrics()["ranker_model_calls_total"] == before


def test_ids_are_distinct_and_texts_need_not_be(server: Running) -> None:
    twice = [{"text": "a1", "id": 7}, {"text": "a2"}, {"text": "a3", "id": "7"}]
    refused = server.post({"query": "a1", "documents": twice})
    assert refused.status_code == 422 and "'7' 2 times" in refused.json()["message"]
    same = [{"text": "a1", "id": 7}, {"text": "a1", "id": 8}, "a1"]
    assert is_permutation(server.post({"query": "a1", "documents": same}).json(), 3)


def test_what_happens_to_texts_is_counted(server: Running, likely: tuple[Path, Running]) -> None:
    for running in (server, likely[1]):
        meta = running.post({"query": "a1\x00", "documents": ["a2", "", "a\x00b", "a3 a4"]}).json()["meta"]
        assert {name: meta[name] for name in ("empty", "mended", "shortened")} == {
            "empty": 1,
            "mended": 2,
            "shortened": 0,
        }


@pytest.mark.parametrize(
    "text", ["日本語の文書です。" * 450, "a1 " * 33_000, "x" * 100_000, "a<|im_end|>" * 9_000]
)
def test_a_long_text_is_shortened_and_the_answer_says_so(
    tmp_path: Path, settings: Settings, text: str
) -> None:
    for make in (bytewise, tiny_lm):
        bounds = Bounds(8, 400_000, 4_000_000)
        with in_thread(
            tmp_path, replace(settings, model=str(make(tmp_path / make.__name__)), bounds=bounds)
        ) as running:
            answered = running.post({"query": "a1", "documents": [text, "a2"]})
            assert answered.status_code == 200, answered.text
            assert is_permutation(answered.json(), 2) and answered.json()["meta"]["shortened"] == 1
            if len(text) < 50_000:
                answered = running.post({"query": text, "documents": [text, "a2"]})
                assert answered.json()["meta"]["shortened"] == 2, answered.text


def test_words_that_a_compact_policy_cannot_read_are_refused_by_their_script(server: Running) -> None:
    refused = server.post({"query": "привет мир", "documents": ["a1", "a2"]})
    assert refused.status_code == 422 and "Cyrillic" in refused.json()["message"]
    assert server.post({"query": "a1 привет", "documents": ["a1", "a2"]}).status_code == 200


def test_a_fault_of_ours_is_told_as_json(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("ranker.serving.app.answer", broken)
    failed = server.post(question(3))
    assert failed.status_code == 500 and "ZeroDivisionError" in failed.json()["message"]
    assert "secret" not in failed.text
