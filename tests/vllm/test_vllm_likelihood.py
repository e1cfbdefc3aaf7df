"""vLLM as the engine of a likelihood policy, beside the reference engine: `make test-vllm`."""

from __future__ import annotations

import inspect
import json
from concurrent.futures import Future
from pathlib import Path

import pytest

from ranker.engines import Likely, Sampling, load
from ranker.engines.vllm_likelihood import VllmLikelihoodEngine
from ranker.errors import BadConfig
from ranker.policy.likelihood import Branches, asked, branches, by_question, scores
from ranker.policy.prompts import Prompt
from ranker.strategies.likelihood import ranked
from ranker.types import CandidateSet
from tests.ranker.factories import make_set
from tests.vllm.conftest import linked

pytest.importorskip("vllm", reason="vLLM is not in this environment: `make test-vllm` makes one that has it")
MEAN, MOST = 0.02, 0.08
"""Nats a token, over all continuations and of any: what rounding in bfloat16 changes. Either engine is as far
from float32 as they are from each other (0.012 to 0.016 on average, 0.06 at most).
"""
NEAR = {"passage-pydoc": 0.1, "rec-movie": 0.8}
"""Scores that may change places: means over tokens, and sums of some eight."""
FITTED = {"rec-movie": {"temperature": 2.0, "calibration": [0.5, 1.0]}}
FILMS = [
    *("Toy Story", "Aladdin", "The Lion King", "Braveheart", "Heat", "Fargo", "Alien", "Aliens", "Psycho"),
    *("Casino", "Twister", "Evita", "Titanic", "Scream", "Jaws", "Gandhi", "Amadeus", "Vertigo", "Stargate"),
]
DOCS = [
    str.split,
    str.join,
    str.strip,
    str.partition,
    str.title,
    str.translate,
    dict.get,
    dict.pop,
    list.sort,
]


def pools() -> list[CandidateSet]:
    """Four of passages, four of films."""
    texts = [(inspect.getdoc(one) or "").partition("\n") for one in DOCS]
    passages = [
        make_set(
            [1, 0, 0, 0],
            set_id=f"p{i}",
            task="passage-pydoc",
            query=texts[i][0],
            texts=[" ".join(texts[(i + 2 * k) % len(texts)][2].split()) for k in range(4)],
        )
        for i in range(4)
    ]
    named = [f"{film} ({1980 + i})" for i, film in enumerate(FILMS)]
    films = [
        make_set(
            [1] + [0] * 7,
            set_id=f"f{i}",
            task="rec-movie",
            query="; ".join(named[i : i + 5]),
            texts=[named[(i + 5 + k) % len(named)] for k in range(8)],
        )
        for i in range(4)
    ]
    return [*passages, *films]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 as a likelihood policy."""
    made = linked(tmp_path_factory.mktemp("likelihood"))
    (made / "ranker.json").write_text(
        json.dumps({"style": "likelihood", "likelihood": FITTED}), encoding="utf-8"
    )
    return made


@pytest.fixture(scope="module")
def engine(folder: Path) -> VllmLikelihoodEngine:
    loaded = load(f"vllm:{folder}", batch=16)
    assert isinstance(loaded, VllmLikelihoodEngine) and isinstance(loaded, Likely)
    return loaded


def test_it_finds_texts_as_likely_as_the_reference_engine_does(
    engine: VllmLikelihoodEngine, folder: Path
) -> None:
    reference = load(folder)
    assert isinstance(reference, Likely)
    assert (engine.temperatures, engine.calibrations) == ({"rec-movie": 2.0}, {"rec-movie": (0.5, 1.0)})
    assert engine.count("Toy Story (1995)") == reference.count("Toy Story (1995)")
    off: list[float] = []
    for given in pools():
        question = asked(given, engine.count, engine.context)
        answers = [one.loglikelihood(branches([question])) for one in (engine, reference)]
        (got,), (wanted,) = (by_question([question], one) for one in answers)
        assert all(ours.tokens == theirs.tokens > 0 for ours, theirs in zip(got, wanted, strict=True))
        off += [
            abs(ours.logprob - theirs.logprob) / ours.tokens for ours, theirs in zip(got, wanted, strict=True)
        ]
        one, other = (
            dict(zip(given.labels, scores(given, found, "smollm2"), strict=True)) for found in (got, wanted)
        )
        first, second = ranked(one, "rank"), ranked(other, "rank")
        for a, b in zip(first, second, strict=True):
            assert a == b or abs(other[a] - other[b]) < NEAR[given.task]
    assert sum(off) / len(off) < MEAN and max(off) < MOST


def test_what_has_no_tokens_is_no_request_and_says_nothing(
    engine: VllmLikelihoodEngine,
) -> None:
    assert engine.loglikelihood([]) == []
    empty, whole = engine.loglikelihood([Branches("A film:", ("",)), Branches("", (" Heat", "", " Alien"))])
    assert [(one.logprob, one.tokens) for one in empty] == [(0.0, 0)]
    assert [one.tokens for one in whole] == [1, 0, 1] and whole[0].logprob < 0 == whole[1].logprob


def test_it_writes_nothing(engine: VllmLikelihoodEngine) -> None:
    with pytest.raises(BadConfig, match="writes no answer"):
        engine.complete([Prompt("rank", False, pools()[0])], Sampling(8))


def test_a_server_is_an_endpoint_of_a_likelihood_policy(
    engine: VllmLikelihoodEngine, server: Future[str]
) -> None:
    asked = [
        Branches(
            "Films that one person liked: Léon (1994), 猫 (2001);", (" Amélie (2001);", "", " Heat (1995);")
        ),
        Branches("Documentation: Return a copy.\nSummary:", (" Return a title-cased string.",)),
    ]
    served = load(f"openai:{server.result()}#smollm2", style="likelihood")
    assert isinstance(served, Likely) and served.context == 2047
    got = served.loglikelihood(asked)
    for ours, theirs in zip(got, engine.loglikelihood(asked), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.tokens == other.tokens
            assert abs(one.logprob - other.logprob) <= MOST * one.tokens
