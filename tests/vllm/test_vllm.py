"""vLLM itself behind the engine protocol, in process and as a server. It lives in an environment of its own: `make test-vllm`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ranker.engines import Engine, Sampling, load
from ranker.errors import BadModel, PromptTooLong
from ranker.parsing import parse
from ranker.prompts import Ask
from ranker.strategies import strategy
from tests.ranker.engines.endpoints import vllm_serving
from tests.ranker.engines.models import tiny
from tests.ranker.factories import make_set, overlap_sets

pytest.importorskip("vllm", reason="vLLM is not in this environment: `make test-vllm` makes one that has it")
SMOLLM2 = Path(os.environ.get("RANKER_SMOLLM2", "data/models/smollm2")).resolve()
ASKS = [Ask("exclude" if i % 2 else "rank", i % 3 > 0, given) for i, given in enumerate(overlap_sets(6, pool=4))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads as wide as those of the default policy: vLLM's CPU kernels know few widths."""
    return tiny(tmp_path_factory.mktemp("model"), head_width=64, context=512)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    yield load(f"vllm:{folder}", batch=8)


def test_it_answers_as_the_reference_engine_does(engine: Engine, folder: Path) -> None:
    assert engine.style == "compact"
    got, wanted = engine.complete(ASKS, Sampling(16)), load(folder).complete(ASKS, Sampling(16))
    assert [(c.text, c.prompt, c.prompt_tokens, c.completion_tokens, c.finish) for c in got] == [
        (c.text, c.prompt, c.prompt_tokens, c.completion_tokens, c.finish) for c in wanted
    ]


def test_prompts_that_begin_alike_are_read_once(engine: Engine) -> None:
    texts = [" ".join(f"a{(i + j) % 12}" for j in range(12)) for i in range(26)]
    ask = Ask("exclude", True, make_set([1] + [0] * 25, texts=texts))
    first, again = (engine.complete([ask], Sampling(4))[0] for _ in range(2))
    assert first.prompt_tokens > 256 and first.cached_tokens == 0
    assert 128 <= again.cached_tokens < again.prompt_tokens and again.text == first.text


def test_samples_follow_their_seeds(engine: Engine) -> None:
    asks = [ASKS[0]] * 4
    first, again, other = ([c.text for c in engine.complete(asks, Sampling(12, temperature=1.0, seed=seed))] for seed in (1, 1, 9))
    assert first == again != other and len(set(first)) > 1


def test_a_prompt_beyond_the_context_and_no_prompt_at_all(engine: Engine) -> None:
    with pytest.raises(PromptTooLong, match="context"):
        engine.complete([ASKS[0]], Sampling(505))
    assert engine.complete([], Sampling(4)) == []


def test_a_program_that_used_it_ends(folder: Path, tmp_path: Path) -> None:
    """Its processes are ended with it, instead of holding it up."""
    script = f"from ranker.engines import load; from tests.vllm.test_vllm import ASKS, Sampling; print('answers:', len(load('vllm:{folder}', batch=8).complete(ASKS, Sampling(4))))"
    log = tmp_path / "log"
    with log.open("wb") as output:  # no pipe: it would stay open for as long as any of vLLM's processes runs
        code = subprocess.run([sys.executable, "-c", script], stdout=output, stderr=output, timeout=240, check=False).returncode
    assert code == 0 and f"answers: {len(ASKS)}\n" in log.read_text(errors="replace"), log.read_text(errors="replace")[-2000:]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"config\.json"):
        load(f"vllm:{tmp_path}")


def test_constrained_answers_are_valid(engine: Engine) -> None:
    _only_valid(engine)


def _only_valid(engine: Engine) -> None:
    asks = [Ask("exclude", thinking, given) for thinking in (True, False) for given in overlap_sets(3)]
    for ask, done in zip(asks, engine.complete(asks, Sampling(80, constrained=True)), strict=True):
        assert done.constrained and parse(done.text, ask.set.labels, "exclude", ask.thinking, done.finish == "length").valid, done.text


# -- a pretrained chat model, in process and served

CHAT = [Ask("exclude", True, given) for given in overlap_sets(4)]
needs_smollm2 = pytest.mark.skipif(not (SMOLLM2 / "config.json").is_file(), reason=f"no {SMOLLM2}; `ranker fetch --preset smollm2` brings it")


@pytest.fixture(scope="module")
def pretrained() -> Iterator[Engine]:
    yield load(f"vllm:{SMOLLM2}", batch=4)


@pytest.fixture(scope="module")
def server() -> Iterator[Engine]:
    options = ("--served-model-name", "smollm2", "--max-model-len", "2048", "--max-num-seqs", "4", "--enforce-eager", "--enable-prompt-tokens-details")
    with vllm_serving(SMOLLM2, *options) as address:
        yield load(f"openai:{address}#smollm2", concurrency=4)


@needs_smollm2
def test_a_pretrained_chat_model_answers(pretrained: Engine) -> None:
    done = pretrained.complete(CHAT, Sampling(24))
    assert all(c.text and c.prompt_tokens > 100 and 1 < c.completion_tokens <= 24 for c in done)


@needs_smollm2
def test_a_server_of_it_reads_the_same_prompts_and_ranks(server: Engine, pretrained: Engine) -> None:
    """Texts may differ: in bfloat16 a batch's size decides near ties."""
    got, wanted = server.complete(CHAT, Sampling(24)), pretrained.complete(CHAT, Sampling(24))
    assert [c.prompt_tokens for c in got] == [c.prompt_tokens for c in wanted] and all(c.text and c.completion_tokens <= 24 for c in got)
    episodes = strategy("iterative")([ask.set for ask in CHAT], server, thinking=False, sampling=Sampling(16))
    for ask, episode in zip(CHAT, episodes, strict=True):
        assert sorted(episode.ranking) == sorted(ask.set.labels) and len(episode.steps) == len(ask.set) - 1


@needs_smollm2
def test_a_server_tells_what_it_had_cached(server: Engine) -> None:
    first, again = (server.complete(CHAT[:1], Sampling(4))[0] for _ in range(2))
    assert 0 < again.cached_tokens < again.prompt_tokens == first.prompt_tokens


@needs_smollm2
@pytest.mark.parametrize("how", ["pretrained", "server"])
def test_constrained_answers_of_it_are_valid(how: str, request: pytest.FixtureRequest) -> None:
    _only_valid(request.getfixturevalue(how))
