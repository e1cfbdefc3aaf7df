"""What a likelihood policy is asked, and what log-probabilities make of a pool."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ranker.config import Template, task, task_names
from ranker.errors import BadModel, PromptTooLong
from ranker.policy.likelihood import (
    LogLikelihood,
    asked,
    branches,
    by_question,
    log_policy,
    scores,
    template,
)
from ranker.policy.prompts import Mode
from ranker.policy.texts import MARKS
from tests.ranker.factories import make_set


def words(text: str) -> int:
    return len(text.split())


def test_each_shipped_task_says_how_it_is_asked() -> None:
    assert all(task(name).likelihood for name in task_names())


def test_a_query_is_asked_of_each_candidate() -> None:
    given = make_set([1, 0], task="passage-pydoc", query="what it does", texts=["first text", "second text"])
    question = asked(given, words, 100)
    assert [branch.context for branch in question.branches] == [
        "Documentation: first text\nSummary:",
        "Documentation: second text\nSummary:",
    ]
    assert {branch.continuations for branch in question.branches} == {(" what it does",)}
    assert question.cut == 0


def test_candidates_share_the_context_of_their_query() -> None:
    given = make_set(
        [1, 0],
        task="rec-movie",
        query="Heat (1995); Casino (1995)",
        texts=["Fargo (1996), Crime", "Untitled, no year"],
    )
    (branch,) = asked(given, words, 100).all
    assert branch.context == "Films that one person liked: Heat (1995); Casino (1995);"
    assert branch.continuations == (" Fargo (1996);", " Untitled, no year;")


def test_a_stub_asks_for_the_same_texts_again() -> None:
    given = make_set([1, 0], task="router-performance", query="2 + 2?", texts=["one model", "another"])
    question = asked(given, words, 100)
    assert question.stub is not None
    assert question.stub.continuations == question.branches[0].continuations
    found = [LogLikelihood(value, 2) for value in (-5.0, -9.0, -4.0, -9.0)]
    assert scores(given, found, "m") == (-1.0, 0.0)


def test_a_stub_is_read_once_for_several_pools_and_each_gets_its_own_answers() -> None:
    texts = [["b", "a"], ["c", "b"], ["x", "y"]]
    tasks = ["router-performance", "router-performance", "passage-pydoc"]
    questions = [
        asked(make_set([1, 0], task=name, query="q", texts=own), words, 100)
        for name, own in zip(tasks, texts, strict=True)
    ]
    every = branches(questions)
    assert [branch.continuations for branch in every] == [
        (" b", " a"),
        (" c", " b"),
        (" q",),
        (" q",),
        (" a", " b", " c"),
    ]
    answers = [[f"{branch.context}|{after}" for after in branch.continuations] for branch in every]
    for question, found in zip(questions, by_question(questions, answers), strict=True):
        assert found == [
            f"{branch.context}|{after}" for branch in question.all for after in branch.continuations
        ]


def test_what_does_not_fit_loses_words_and_is_counted() -> None:
    long = " ".join(f"w{i}" for i in range(30))
    given = make_set([1, 0], task="passage-pydoc", query="q", texts=[long, "short"])
    question = asked(given, words, 20)
    assert (
        question.branches[0].context
        == "Documentation: " + " ".join(f"w{i}" for i in range(15)) + "\nSummary:"
    )
    assert question.cut == 1
    with pytest.raises(PromptTooLong, match="2 allowed"):
        asked(given, words, 2)


def test_of_a_history_the_beginning_goes() -> None:
    given = make_set([1, 0], task="rec-movie", query=" ".join(f"w{i};" for i in range(120)))
    (branch,) = asked(given, words, 60).branches
    assert branch.context.endswith("w119;;")
    assert "w0;" not in branch.context


def test_a_mean_divides_by_tokens_and_an_empty_query_says_nothing() -> None:
    given = make_set([1, 0], task="passage-pydoc", query="")
    assert scores(given, [LogLikelihood(-6.0, 3), LogLikelihood(-2.0, 2)], "m") == (-2.0, -1.0)
    assert scores(given, [LogLikelihood(0.0, 0), LogLikelihood(0.0, 0)], "m") == (0.0, 0.0)


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_what_is_no_number_never_reaches_a_ranking(value: float) -> None:
    given = make_set([1, 0], task="passage-pydoc")
    with pytest.raises(BadModel, match="my-model for candidate s0-1 of s0"):
        scores(given, [LogLikelihood(-1.0, 1), LogLikelihood(value, 1)], "my-model")


POOLS = st.dictionaries(st.sampled_from("ABCDEFGH"), st.floats(-400, 0), min_size=2)


@given(POOLS, st.floats(0.05, 10), st.sampled_from(["exclude", "rank"]))
def test_a_policy_is_a_distribution_in_the_order_of_its_scores(
    pool: dict[str, float], tau: float, mode: Mode
) -> None:
    found = log_policy(pool, tau, mode)
    assert sum(math.exp(value) for value in found.values()) == pytest.approx(1)
    sign = -1 if mode == "exclude" else 1
    by_score = sorted(pool, key=lambda label: sign * pool[label])
    assert [found[label] for label in by_score] == sorted(found.values())


BASE = {
    "direction": "query",
    "context": "Text: {candidate}",
    "continuation": " {query}",
    "normalize": "mean",
    "temperature": 0.25,
}


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"context": "Text:"}, "context of direction query has {candidate} once"),
        ({"context": "{candidate} {query}"}, "context of direction query has {candidate} once"),
        ({"direction": "both"}, "'query' or 'candidate'"),
        ({"temperature": 0}, "greater than 0"),
        ({"continuation": "{query}"}, "the space between both"),
        ({"context": "Text: {candidate} "}, "the space between both"),
        ({"title": "("}, "regular expression"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Template.model_validate(BASE | wrong)


def test_a_task_without_a_template_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from ranker.policy import likelihood

    monkeypatch.setattr(
        likelihood, "_task", lambda name: task("synthetic").model_copy(update={"likelihood": None})
    )
    with pytest.raises(Exception, match=r"needs a task's \[likelihood\] section"):
        template("synthetic")


def test_the_text_of_a_question_tells_every_context(tmp_path) -> None:
    given = make_set([1, 0], task="passage-pydoc", query="q")
    text = asked(replace(given), words, 100).text
    assert text.count("Documentation:") == 2
    assert text.count("│ q") == 2


def test_a_text_without_spaces_is_cut_by_the_same_rules() -> None:
    long = "日本語の文書です。" * 450
    given = make_set([1, 0], task="passage-pydoc", query=long, texts=[long, "short"])
    form = template("passage-pydoc")
    question = asked(given, lambda text: 3 * len(text), 600)
    assert question.shortened == 2 and question.cut == 1
    assert all(3 * len(branch.context + branch.continuations[0]) <= 600 for branch in question.branches)
    assert len(question.branches[0].continuations[0]) <= 2 * form.query_words


def test_marks_of_templates_are_plain_text_in_every_part() -> None:
    quoted = "a <|im_end|> b </think> [/INST] c"
    for name in task_names():
        question = asked(make_set([1, 0], task=name, query=quoted, texts=[quoted, quoted]), words, 500)
        assert not MARKS.search(question.text)
