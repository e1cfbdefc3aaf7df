"""What the start that answers can do before any training: read a pool, name labels in order, and write
what can be parsed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ranker.policy.parsing import parse
from ranker.policy.prompts import Prompt, messages, trace
from ranker.train.worker import policy
from ranker.train.worker.answering import REACH, falling
from ranker.train.worker.job import Job
from ranker.types import CandidateSet
from tests.ranker.factories import overlap_sets
from tests.ranker.train.jobs import tiny, write_job

Policy = tuple[LlamaForCausalLM, PreTrainedTokenizerFast]
WHOLE = {
    "answering": True,
    "hidden_size": 192,
    "head_dim": 64,
    "intermediate_size": 256,
    "meaning": 48,
    "codes": 20,
}
"""The sizes of the presets that train for real; the tiny one has too few slow rotary pairs to match words
by.
"""


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder: Path = write_job(tmp_path_factory.mktemp("answering"), tiny(policy=WHOLE))
    model, tokenizer = policy.scratch(Job.read(folder / "job.json"))
    return model.eval(), tokenizer


def chosen(untrained: Policy, given: CandidateSet, mode: str, thinking: bool, named: list[str]) -> str:
    """The pool's likeliest label behind `<answer>` and what is named already."""
    model, tokenizer = untrained
    grades = {label: int(relevance) for label, relevance in given.relevance.items()}
    answer = trace(mode, thinking, grades, ["?"], "compact").partition("?")[0] + " ".join(named)
    prompt = tokenizer.apply_chat_template(
        messages(Prompt(mode, thinking, given), "compact"), tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(prompt + answer, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model(ids).logits[0, -1]
    return max(given.labels, key=lambda label: logits[tokenizer.convert_tokens_to_ids(label)])


@pytest.mark.parametrize("thinking", [True, False])
def test_an_order_starts_with_a_best_candidate_and_names_none_twice(
    untrained: Policy, thinking: bool
) -> None:
    sets = overlap_sets(60)[-30:]
    orders = []
    for given in sets:
        order: list[str] = []
        while len(order) < len(given):
            order.append(chosen(untrained, given, "rank", thinking, order))
        orders.append(order)
    assert sum(len(set(order)) == len(order) for order in orders) >= 0.9 * len(sets)
    first = sum(
        given.relevance[order[0]] == max(given.relevance.values())
        for given, order in zip(sets, orders, strict=True)
    )
    assert first >= 0.7 * len(sets), "a random order begins well in a third of them"


@pytest.mark.parametrize("thinking", [True, False])
def test_an_exclusion_names_a_worst_candidate(untrained: Policy, thinking: bool) -> None:
    sets = overlap_sets(60)[-30:]
    worst = sum(
        given.relevance[chosen(untrained, given, "exclude", thinking, [])] == min(given.relevance.values())
        for given in sets
    )
    assert worst >= 0.7 * len(sets)


def test_in_a_long_prompt_each_candidate_gets_its_own_grade(untrained: Policy) -> None:
    """A label read itself there, and the last candidate `<think>`: their grades said nothing."""
    model, tokenizer = untrained
    ids_of = tokenizer.convert_tokens_to_ids([str(grade) for grade in range(5)])
    given = overlap_sets(40, pool=18)[-30:]
    grades = np.empty((len(given), 18))
    for row, one in enumerate(given):
        reasoning = trace(
            "exclude",
            True,
            {label: int(relevance) for label, relevance in one.relevance.items()},
            ["?"],
            "compact",
        ).partition(" </think>")[0]
        prompt = tokenizer.apply_chat_template(
            messages(Prompt("exclude", True, one), "compact"), tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(prompt + reasoning, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            chances = (
                model(ids).logits[0, -36::2][:, ids_of].softmax(-1)
            )  # before each grade, from the first label's to the last's
        grades[row] = (chances * torch.arange(5)).sum(-1)
    relevance = np.array([list(one.relevance.values()) for one in given])
    assert np.corrcoef(grades.ravel(), relevance.ravel())[0, 1] >= 0.6
    assert np.corrcoef(grades[:, -1], relevance[:, -1])[0, 1] >= 0.6, "of the last candidate"


@pytest.mark.parametrize(
    ("mode", "thinking"), [("exclude", True), ("exclude", False), ("rank", True), ("rank", False)]
)
def test_it_writes_answers_that_can_be_parsed(untrained: Policy, mode: str, thinking: bool) -> None:
    model, tokenizer = untrained
    valid = 0
    for given in overlap_sets(60)[-20:]:
        prompt = tokenizer.apply_chat_template(
            messages(Prompt(mode, thinking, given), "compact"), tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        written = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
        )[0, ids.shape[1] :]
        text = tokenizer.decode(written, skip_special_tokens=True).strip()
        valid += parse(text, given.labels, mode, thinking, written[-1] != tokenizer.eos_token_id).valid
    assert valid >= 14


@pytest.mark.parametrize("half", [16, 32])
@pytest.mark.parametrize("context", [128, 1_024])
def test_the_nearer_always_has_more_attention(half: int, context: int) -> None:
    speeds = 1e6 ** (-np.arange(half) / half)
    away = np.cos(np.arange(context + 1)[:, None] * speeds)
    strength = away @ falling(speeds, context)
    assert (np.diff(strength[: REACH + 1]) < 0).all()
    assert strength[REACH + 1 :].max() < strength[REACH], "what is farther never has as much again"
    even = away.mean(1)
    assert (np.diff(even[: REACH + 1]) > 0).any(), (
        "equal weights ring, which is why there is a program to solve"
    )
