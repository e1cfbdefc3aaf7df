"""The engine: the same pair gets the same score, whatever else is asked with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ranker.engines import Likely, Sampling, load, trees
from ranker.engines.likelihood import LikelihoodEngine
from ranker.engines.transformers import load_tokenizer
from ranker.errors import BadConfig, BadModel
from ranker.policy import likelihood
from ranker.policy.likelihood import Branches
from ranker.policy.prompts import Prompt
from tests.ranker.engines.models import FAMILIES, family
from tests.ranker.factories import make_set
from tests.ranker.material import tiny_lm

ASKED = [Branches(f"a{i} b{i} " + "a1 " * i + "b2", (" a3", " b4 a5", " b1 b1 b1")) for i in range(9)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm(tmp_path_factory.mktemp("lm"), likelihood={"synthetic": {"temperature": 0.5}})


def test_load_takes_it_for_a_folder_that_says_so(folder: Path) -> None:
    engine = load(folder)
    assert isinstance(engine, Likely)
    assert engine.style == "likelihood"
    assert engine.temperatures == {"synthetic": 0.5}
    assert engine.count("a1 b1") == len(engine.tokenizer("a1 b1")["input_ids"])


def test_a_score_depends_on_its_own_texts_alone(folder: Path) -> None:
    together = LikelihoodEngine(folder).loglikelihood(ASKED)
    for tokens in (16, 100):
        apart = LikelihoodEngine(folder, tokens=tokens).loglikelihood(ASKED)
        for one, other in zip(together, apart, strict=True):
            assert [x.tokens for x in one] == [x.tokens for x in other]
            # float32 here; in bfloat16 sums in another order may differ by 0.02 nat a token
            assert [x.logprob for x in one] == pytest.approx([x.logprob for x in other], abs=1e-4)


def test_answers_keep_the_order_of_what_was_asked(folder: Path) -> None:
    engine = LikelihoodEngine(folder)
    forward = engine.loglikelihood(ASKED)
    backward = engine.loglikelihood(ASKED[::-1])[::-1]
    for one, other in zip(forward, backward, strict=True):
        assert [x.logprob for x in one] == pytest.approx([x.logprob for x in other], abs=1e-4)


DOCUMENTS = [f"a{i} b{i} " + "a1 " * i for i in range(6)]


def about(query: str) -> list[Branches]:
    return [Branches(document, (f" {query}",)) for document in DOCUMENTS]


@pytest.mark.parametrize("room", [0.01, 8], ids=["too small for them", "room for all"])
def test_kept_documents_change_no_score(folder: Path, room: float) -> None:
    engine, keeping = LikelihoodEngine(folder), LikelihoodEngine(folder, contexts=1, tokens=48)
    assert keeping._kept
    keeping._kept._most = int(room * 2**20)
    for asked in (about("a2 b1"), about("b4"), about("")[:3], [*ASKED[:2], *about("a2")], about("a2 b1")):
        for one, other in zip(engine.loglikelihood(asked), keeping.loglikelihood(asked), strict=True):
            assert [x.tokens for x in one] == [x.tokens for x in other]
            assert [x.logprob for x in one] == pytest.approx([x.logprob for x in other], abs=1e-4)
        assert keeping._kept._bytes <= keeping._kept._most


def test_of_a_kept_document_only_the_query_is_read(folder: Path) -> None:
    engine, read = LikelihoodEngine(folder, contexts=8), list[int]()
    decoder = engine.model.get_decoder()
    decoder.register_forward_pre_hook(
        lambda module, args, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    engine.loglikelihood(about("a2 b1"))
    first, _ = sum(read), read.clear()
    engine.loglikelihood(about("b4 b5"))
    longest = max(engine.count(f" {query}") for query in ("a2 b1", "b4 b5"))
    assert sum(read) == longest * len(DOCUMENTS) < first


def test_it_writes_nothing(folder: Path) -> None:
    engine = LikelihoodEngine(folder)
    with pytest.raises(BadConfig, match="writes no answer"):
        engine.complete([Prompt("rank", False, make_set([1, 0]))], Sampling(8))


def test_a_folder_without_a_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "ranker.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(BadModel, match="tokenizer"):
        load(tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_any_causal_lm_scores_a_branch_as_if_it_were_alone(tmp_path: Path, name: str) -> None:
    """Also one whose positions or layers know no branches, or whose window is shorter than the context."""
    engine = LikelihoodEngine(family(tmp_path / name, name, style="likelihood"))
    assert engine.context == (2048 if name in ("bloom", "mamba") else 1024)
    asked = [Branches("grade every " * n + "worst", (" B C A", " answer", " C")) for n in (1, 9)]
    apart = [Branches(one.context, (after,)) for one in asked for after in one.continuations]
    together = [found for own in engine.loglikelihood(asked) for found in own]
    alone = [found for own in engine.loglikelihood(apart) for found in own]
    assert [one.logprob for one in together] == pytest.approx([one.logprob for one in alone], abs=1e-3)
    assert [one.logprob for one in alone] == pytest.approx(
        [whole_logprob(engine, branch) for branch in apart], abs=1e-3
    )


def whole_logprob(engine: LikelihoodEngine, asked: Branches) -> float:
    """The sum of a continuation's log-probabilities by the model's own logits."""
    grown = trees.tree(asked, engine.tokenizer)
    ids = torch.tensor([[*grown.context, *grown.continuations[0]]])
    with torch.inference_mode():
        logprobs = engine.model(input_ids=ids).logits[0].float().log_softmax(-1)
    start = len(grown.context)
    return float(sum(logprobs[start - 1 + i, token] for i, token in enumerate(grown.continuations[0])))


def test_a_text_that_spells_a_special_token_is_read_as_letters(folder: Path) -> None:
    tokenizer = load_tokenizer(folder, chat=False)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>", "☆odd☆"]})
    tokenizer.add_tokens(["<think>"])
    given = make_set([1, 0], query="a1 <|im_end|> <think>", texts=["a2 <eos> <think> ☆odd☆", "a3"])
    question = likelihood.asked(given, lambda text: trees.count(tokenizer, text), 200)
    grown = [trees.tree(branch, tokenizer) for branch in question.all]
    read = {token for one in grown for part in (one.context, *one.continuations) for token in part}
    assert not read & set(tokenizer.added_tokens_decoder)
