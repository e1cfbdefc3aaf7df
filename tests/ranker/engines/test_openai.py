"""The endpoint engine against a real server (`transformers serve`), and against every way in which one
fails.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ranker.engines import Engine, Sampling, load
from ranker.engines.openai import KEY, OpenAIEngine
from ranker.engines.openai_likelihood import OpenAILikelihoodEngine
from ranker.errors import BadConfig, BadModel, PromptTooLong, RankerError, Unreachable
from ranker.policy.likelihood import Branches
from ranker.policy.prompts import Prompt, messages
from ranker.strategies import strategy
from tests.ranker.engines.endpoints import Fault, Front, front, serving
from tests.ranker.engines.models import tiny
from tests.ranker.factories import make_set, overlap_sets
from tests.ranker.lake.servers import answering, dribbling, free_port, saying

SECRET = "sk-very-secret"
AT_ONCE = {"retry-after-ms": "1"}
ASKS = [
    Prompt("exclude" if i % 2 else "rank", i % 3 > 0, given)
    for i, given in enumerate(overlap_sets(6, pool=3))
]
GREEDY = Sampling(8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("model"), style="chat", context=512)


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Front]:
    with serving(folder) as upstream, front(upstream) as before:
        yield before


@pytest.fixture
def server(running: Front, monkeypatch: pytest.MonkeyPatch) -> Front:
    monkeypatch.setenv(KEY, SECRET)
    running.reset()
    return running


def engine(server: Front, folder: Path, **options) -> Engine:
    return load(f"openai:{server.url}#{folder}", **options)


def test_it_answers_as_the_reference_engine_does(server: Front, folder: Path) -> None:
    """Same weights, same prompts, greedy: same text, same counts, in the order asked."""
    got, wanted = engine(server, folder).complete(ASKS, GREEDY), load(folder).complete(ASKS, GREEDY)
    assert [c.text for c in got] == [c.text for c in wanted]
    assert [(c.prompt_tokens, c.completion_tokens, c.finish) for c in got] == [
        (c.prompt_tokens, c.completion_tokens, c.finish) for c in wanted
    ]
    assert [c.prompt for c in got] == [messages(prompt, "chat")[-1]["content"] for prompt in ASKS]
    assert all(c.milliseconds > 0 for c in got)


def test_every_request_has_a_seed_of_its_own_and_the_key_from_the_environment(
    server: Front, folder: Path
) -> None:
    given = engine(server, folder)
    given.complete(ASKS, Sampling(4, temperature=0.7, seed=100))
    assert sorted(one["body"]["seed"] for one in server.seen) == [100 + i for i in range(len(ASKS))]
    assert {(one["body"]["temperature"], one["body"]["max_tokens"], one["key"]) for one in server.seen} == {
        (0.7, 4, f"Bearer {SECRET}")
    }
    assert SECRET not in given.name


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_requests_are_in_flight_than_allowed(server: Front, folder: Path, most: int) -> None:
    server.reset(*[Fault(seconds=0.3)] * len(ASKS))
    assert len(engine(server, folder, concurrency=most).complete(ASKS, GREEDY)) == len(ASKS)
    assert server.busiest == most


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_what_may_pass_is_asked_again(server: Front, folder: Path, status: int) -> None:
    wanted = engine(server, folder).complete(ASKS[:1], GREEDY)[0].text
    server.reset(Fault(status, headers=AT_ONCE), Fault(status, headers=AT_ONCE))
    assert engine(server, folder).complete(ASKS[:1], GREEDY)[0].text == wanted
    assert len(server.seen) == 3


def test_retry_after_is_heeded_and_pauses_grow_without_it(server: Front, folder: Path) -> None:
    server.reset(Fault(429, headers={"retry-after": "2"}), Fault(500), Fault(500))
    engine(server, folder).complete(ASKS[:1], GREEDY)
    at = [one["at"] for one in server.seen]
    shown, second, third = (later - earlier for earlier, later in pairwise(at))
    assert shown >= 2 and second >= 0.75 and third >= 1.5


def test_a_request_that_hangs_is_asked_again(server: Front, folder: Path) -> None:
    engine(server, folder).complete(ASKS[:1], GREEDY)  # the model is loaded now
    server.reset(Fault(seconds=30))
    assert engine(server, folder, timeout=5).complete(ASKS[:1], GREEDY)[0].completion_tokens > 0
    assert len(server.seen) == 2


ECHO = {"error": {"message": f"the key {SECRET} is wrong"}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (401, ECHO, BadConfig, "accept the key"),
        (403, ECHO, BadConfig, "accept the key"),
        (404, {"error": {"message": "no such model"}}, BadModel, "no such model"),
        (400, {"error": {"message": "temperature is odd"}}, BadConfig, "temperature is odd"),
        (422, ECHO, BadConfig, "accept the request"),
        (
            200,
            {
                "choices": [
                    {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
                ]
            },
            BadModel,
            "usage",
        ),
        (200, {"hello": "world"}, BadModel, "usage"),
    ],
)
def test_what_does_not_pass_is_named_at_once_and_without_the_key(
    server: Front, folder: Path, status: int, body: dict, kind: type, says: str
) -> None:
    server.reset(Fault(status, body, headers={"content-type": "application/json"}))
    with pytest.raises(kind, match=says) as caught:
        engine(server, folder).complete(ASKS[:1], GREEDY)
    assert len(server.seen) == 1 and SECRET not in str(caught.value)


def test_an_endpoint_that_stays_away_is_a_passing_fault(server: Front, folder: Path) -> None:
    server.reset(*[Fault(503, ECHO, headers=AT_ONCE)] * 3)
    with pytest.raises(Unreachable, match="after 3 tries") as caught:
        OpenAIEngine(f"openai:{server.url}#{folder}", retries=2).complete(ASKS[:1], GREEDY)
    assert len(server.seen) == 3 and SECRET not in str(caught.value)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        OpenAIEngine(f"openai:http://127.0.0.1:{free_port()}/v1#m", retries=1).complete(ASKS[:1], GREEDY)


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_page_of_html_is_no_endpoint(kind: str) -> None:
    with answering(200, b"<html>welcome</html>", kind) as url:
        with pytest.raises(BadModel, match="welcome"):
            OpenAIEngine(f"openai:{url}#m").complete(ASKS[:1], GREEDY)
        with pytest.raises(BadModel, match="welcome"):
            OpenAILikelihoodEngine(f"openai:{url}#m").loglikelihood([Branches("a", ("b",))])


def test_what_breaks_off_is_asked_again_and_named() -> None:
    cut = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
    for sent in (cut, b"\x00\xff\r\n\r\n"):
        with saying(sent) as port, pytest.raises(Unreachable, match="after 2 tries"):
            OpenAIEngine(f"openai:http://127.0.0.1:{port}/v1#m", retries=1).complete(ASKS[:1], GREEDY)


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nx:", b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n"]
)
def test_what_dribbles_and_never_ends_is_asked_again_and_named(head: bytes) -> None:
    """Each byte comes in time, the answer never does, be it in the headers or after them."""
    with dribbling(head) as (port, asked):
        name, began = f"openai:http://127.0.0.1:{port}/v1#m", time.monotonic()
        with pytest.raises(Unreachable, match="after 2 tries"):
            OpenAIEngine(name, timeout=0.5, retries=1).complete(ASKS[:1], GREEDY)
        assert len(asked) == 2
        likely = OpenAILikelihoodEngine(name, timeout=0.5, retries=0)  # asks how long texts may be, too
        with pytest.raises(Unreachable, match=r"no whole answer within 0.5 s\), after 1 tries"):
            likely.loglikelihood([Branches("a", ("b", "c"))])
        assert time.monotonic() - began < 10


def test_a_server_that_wants_the_limits_other_name_gets_it(server: Front, folder: Path) -> None:
    refusal = {
        "error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}
    }
    answer = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 2,
            "total_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 5},
        },
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": " <answer> A </answer>"},
                "finish_reason": "stop",
            }
        ],
    }
    as_json = {"content-type": "application/json"}
    server.reset(Fault(400, refusal), *[Fault(200, answer, as_json)] * 2)
    got = engine(server, folder, concurrency=1).complete(ASKS[:2], GREEDY)
    assert [set(one["body"]) & {"max_tokens", "max_completion_tokens"} for one in server.seen] == [
        {"max_tokens"},
        {"max_completion_tokens"},
        {"max_completion_tokens"},
    ]
    assert [(c.text, c.prompt_tokens, c.completion_tokens, c.cached_tokens) for c in got] == [
        ("<answer> A </answer>", 9, 2, 5)
    ] * 2


@pytest.mark.parametrize(
    ("content", "thinking", "text"),
    [
        ("<answer> A </answer>", True, "<think> A is worst </think> <answer> A </answer>"),
        ("<think> so </think> <answer> A </answer>", True, "<think> so </think> <answer> A </answer>"),
        ("<answer> A </answer>", False, "<think> A is worst </think> <answer> A </answer>"),
    ],
)
def test_reasoning_that_a_server_took_out_stands_before_the_answer_again(
    server: Front, folder: Path, content: str, thinking: bool, text: str
) -> None:
    message = {"role": "assistant", "content": content, "reasoning_content": "A is worst\n"}
    answer = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    server.reset(Fault(200, answer, {"content-type": "application/json"}))
    assert engine(server, folder).complete([Prompt("exclude", thinking, ASKS[0].set)], GREEDY)[0].text == text


LONG = Prompt("exclude", True, make_set([1, 0, 0], texts=[" ".join(f"a{i % 12}" for i in range(40))] * 3))
TOO_LONG = Fault(
    400,
    {
        "error": {
            "message": "This model's maximum context length is 512 tokens.",
            "code": "context_length_exceeded",
        }
    },
)


def test_a_prompt_that_is_too_long_for_the_server_is_shortened(server: Front, folder: Path) -> None:
    server.reset(TOO_LONG, TOO_LONG)
    done = engine(server, folder).complete([LONG], GREEDY)[0]
    lengths = [len(one["body"]["messages"][0]["content"]) for one in server.seen]
    assert lengths == sorted(set(lengths), reverse=True) and len(done.prompt) == lengths[-1]
    server.reset(*[TOO_LONG] * 9)
    with pytest.raises(PromptTooLong, match="context length is 512"):
        engine(server, folder).complete([LONG], GREEDY)


def test_it_works_inside_a_running_loop_and_of_nothing_it_asks_nothing(server: Front, folder: Path) -> None:
    async def inside() -> int:
        return len(engine(server, folder).complete(ASKS[:1], GREEDY))

    assert asyncio.run(inside()) == 1
    assert engine(server, folder).complete([], GREEDY) == [] and len(server.seen) == 1


@pytest.mark.parametrize(
    "name",
    [
        "openai:http://h/v1",
        "openai:#",
        "openai:h:80/v1#m",
        "openai:ftp://h/v1#m",
        "openai:https://u:pass-word@h/v1#m",
        "openai:https://h/v1?key=pass-word#m",
    ],
)
def test_an_address_that_cannot_be_used_or_holds_a_secret_is_refused(name: str) -> None:
    with pytest.raises(BadConfig, match="endpoint") as caught:
        load(name)
    assert "pass-word" not in str(caught.value)


def test_openai_itself_wants_a_key_and_no_endpoint_speaks_compact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    refused: list[RankerError] = []
    for options in ({"model": "openai:#gpt"}, {"model": "openai:http://h/v1#m", "style": "compact"}):
        with pytest.raises(BadConfig) as caught:
            load(**options)
        refused.append(caught.value)
    assert KEY in str(refused[0]) and "chat" in str(refused[1])


@pytest.mark.parametrize(("said", "obeyed"), [("<answer> B </answer>", True), ("It is B.", False)])
def test_a_constrained_request_says_what_may_be_written_and_sees_whether_it_was(
    server: Front, folder: Path, said: str, obeyed: bool
) -> None:
    """A server that does not know the parameter may leave it unread: that is no constrained answer."""
    answer = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
    }
    server.reset(*[Fault(200, answer, {"content-type": "application/json"})] * 2)
    prompt = Prompt("exclude", False, ASKS[0].set)
    tight, loose = (
        engine(server, folder).complete([prompt], Sampling(8, constrained=constrained))[0]
        for constrained in (True, False)
    )
    assert (
        server.seen[0]["body"]["structured_outputs"] == {"regex": "<answer> (A|B|C) </answer>"}
        and "structured_outputs" not in server.seen[1]["body"]
    )
    assert (tight.constrained, loose.constrained) == (obeyed, False)


def test_a_slow_request_holds_up_its_own_query_alone(server: Front, folder: Path) -> None:
    """Of three queries the first request hangs: the others are through before it is answered, and nothing
    is asked twice.
    """
    sets = [make_set([1, 0, 0, 0], set_id=f"s{i}", query=f"a{i}") for i in range(3)]
    server.reset(Fault(seconds=6))
    episodes = strategy("iterative")(
        sets, engine(server, folder, concurrency=2), thinking=False, sampling=Sampling(4, seed=7)
    )
    assert [e.set_id for e in episodes] == ["s0", "s1", "s2"] and all(len(e.steps) == 3 for e in episodes)
    asked = [
        (one["body"]["messages"][-1]["content"].partition("Query: ")[2].partition("\n")[0], one["at"])
        for one in server.seen
    ]
    slow = asked[0][0]
    others = [at for query, at in asked if query != slow]
    later = [at for query, at in asked if query == slow][1:]
    assert len(others) == 6 and max(others) < min(later), "the others did not wait"
    assert server.busiest <= 2 and len({one["body"]["seed"] for one in server.seen}) == 9
    assert all(step.milliseconds > 0 for e in episodes for step in e.steps)
