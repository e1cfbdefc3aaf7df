"""The endpoint of a likelihood policy, beside the reference engine, in every form in which servers answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ranker.engines import Likely, Sampling, load
from ranker.engines.openai_likelihood import OpenAILikelihoodEngine
from ranker.errors import BadConfig, PromptTooLong, Unreachable
from ranker.policy.likelihood import Branches
from ranker.policy.prompts import Prompt
from ranker.strategies import strategy
from tests.ranker.engines.endpoints import Echoing, echoing
from tests.ranker.factories import make_set, overlap_sets
from tests.ranker.lake.servers import free_port
from tests.ranker.material import tiny_lm

ASKED = [
    Branches("a1 b1 a2;", (" a3", "", " b4 a5")),
    Branches("Films that one person liked: é, ü and 猫;", (" Léon (1995)", " 猫 b1 a1")),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm(tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Echoing]:
    with echoing(folder) as server:
        yield server


@pytest.fixture
def server(running: Echoing) -> Echoing:
    running.manner, running.seen = "vllm", []
    return running


def engine(server: Echoing) -> OpenAILikelihoodEngine:
    loaded = load(f"openai:{server.url}#m", style="likelihood")
    assert isinstance(loaded, OpenAILikelihoodEngine) and isinstance(loaded, Likely)
    return loaded


@pytest.mark.parametrize("manner", ["vllm", "openai"])
def test_it_finds_texts_as_likely_as_the_reference_engine_does(
    server: Echoing, folder: Path, manner: str
) -> None:
    server.manner = manner
    asked = ASKED if manner == "openai" else [ASKED[0], Branches("Films: a1;", (" Leon (1995)", " b1 a1"))]
    reference = load(folder)
    assert isinstance(reference, Likely)
    for got, wanted in zip(engine(server).loglikelihood(asked), reference.loglikelihood(asked), strict=True):
        assert [one.tokens for one in got] == [one.tokens for one in wanted]
        assert [one.logprob for one in got] == pytest.approx([one.logprob for one in wanted], abs=1e-3)
    assert len(server.seen) == 4, "what has no tokens is not asked for"


def test_a_special_token_before_the_text_shifts_nothing(server: Echoing) -> None:
    plain = engine(server).loglikelihood(ASKED[:1])[0]
    server.manner = "bos"
    shifted = engine(server).loglikelihood(ASKED[:1])[0]
    assert [one.tokens for one in shifted] == [one.tokens for one in plain]
    assert shifted[0].logprob != plain[0].logprob, "it has been read"


def test_it_ranks(server: Echoing) -> None:
    sets = overlap_sets(2, pool=3)
    episodes = strategy("iterative")(sets, engine(server), thinking=False, sampling=Sampling(8))
    assert all(episode.valid for episode in episodes)
    assert len(server.seen) == 6, "a pool is read once, whatever the steps"


@pytest.mark.parametrize(
    ("manner", "message"),
    [
        ("generated", "1 log-probabilities for a prompt of"),
        ("silent", "0 log-probabilities for a prompt of"),
        ("refused", "not supported"),
    ],
)
def test_a_server_that_gives_no_log_probabilities_of_prompts_is_refused(
    server: Echoing, manner: str, message: str
) -> None:
    server.manner = manner
    with pytest.raises(BadConfig, match=message) as refused:
        engine(server).loglikelihood(ASKED[:1])
    assert "vLLM" in refused.value.remedy


def test_the_context_is_the_servers_and_a_longer_text_is_told(server: Echoing) -> None:
    given = engine(server)
    assert given.context == server.context - 1
    with pytest.raises(PromptTooLong, match="maximum context length"):
        given.loglikelihood([Branches("a1 b1 " * 200, (" a3",))])


def test_an_endpoint_that_is_not_there_is_named_at_the_first_question() -> None:
    absent = OpenAILikelihoodEngine(f"openai:http://127.0.0.1:{free_port()}/v1#m", retries=0)
    with pytest.raises(Unreachable):
        absent.loglikelihood(ASKED[:1])


def test_it_writes_nothing(server: Echoing) -> None:
    with pytest.raises(BadConfig, match="writes no answer"):
        engine(server).complete([Prompt("rank", False, make_set([1, 0]))], Sampling(8))
