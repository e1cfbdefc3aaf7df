"""A tree gives each continuation what the plain loop gives it: one sequence at a time, nothing shared."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from ranker.engines import trees
from ranker.policy.likelihood import Branches
from tests.ranker.material import tiny_lm

TEXT = st.text("ab 1;()é", min_size=0, max_size=12)


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory):
    folder = tiny_lm(tmp_path_factory.mktemp("lm"))
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def in_trees(model, tokenizer, asked: list[Branches]) -> list[float]:
    batch = trees.collate([trees.tree(one, tokenizer) for one in asked], 0)
    with torch.no_grad():
        states = model.get_decoder()(**trees.forward(batch, torch.device("cpu"))).last_hidden_state
        return trees.logprobs(states, model.get_output_embeddings(), batch).tolist()


def one_by_one(model, tokenizer, asked: list[Branches]) -> list[float]:
    found = []
    for one in asked:
        made = trees.tree(one, tokenizer)
        for after in made.continuations:
            ids = torch.tensor([made.context + after])
            with torch.no_grad():
                each = model(ids).logits[0].log_softmax(-1)
            at = range(len(made.context), ids.shape[1])
            found.append(sum(float(each[place - 1, ids[0, place]]) for place in at))
    return found


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=4)), min_size=1, max_size=4))
def test_a_tree_equals_the_plain_loop(lm, drawn: list[tuple[str, list[str]]]) -> None:
    model, tokenizer = lm
    asked = [Branches(context, tuple(" " + text for text in after)) for context, after in drawn]
    assert in_trees(model, tokenizer, asked) == pytest.approx(one_by_one(model, tokenizer, asked), abs=1e-4)


def test_gradients_are_those_of_the_plain_loop(lm) -> None:
    model, tokenizer = lm
    asked = [Branches("a1 b1 a2", (" a3 b3", " b4", " a1 a1 a1"))]
    weight = model.model.layers[0].self_attn.q_proj.weight
    batch = trees.collate([trees.tree(one, tokenizer) for one in asked], 0)
    states = model.get_decoder()(**trees.forward(batch, torch.device("cpu"))).last_hidden_state
    (shared,) = torch.autograd.grad(trees.logprobs(states, model.lm_head, batch).sum(), weight)
    made = trees.tree(asked[0], tokenizer)
    total = torch.zeros(())
    for after in made.continuations:
        ids = torch.tensor([made.context + after])
        each = model(ids).logits[0, len(made.context) - 1 : -1].log_softmax(-1)
        total = total + each.gather(1, torch.tensor(after)[:, None]).sum()
    (plain,) = torch.autograd.grad(total, weight)
    assert torch.allclose(shared, plain, atol=1e-4)


def test_context_and_continuation_are_tokenized_as_one_text(lm) -> None:
    _, tokenizer = lm
    made = trees.tree(Branches("Request:", (" a1 b1", "x")), tokenizer)
    for after, text in zip(made.continuations, (" a1 b1", "x"), strict=True):
        assert made.context + after == tokenizer("Request:" + text, add_special_tokens=False)["input_ids"]


def test_an_empty_context_begins_with_the_end_of_a_text(lm) -> None:
    _, tokenizer = lm
    assert trees.tree(Branches("", (" a1",)), tokenizer).context == [tokenizer.eos_token_id]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 200))
def test_batches_hold_every_tree_once_and_no_more_tokens_than_allowed(sizes: list[int], most: int) -> None:
    found = trees.batches(sizes, most)
    assert sorted(place for batch in found for place in batch) == list(range(len(sizes)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(sizes[place] for place in batch) <= most
