from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import Leaked
from ranker.policy.prompts import Prompt, Shot, fit, messages, trace
from ranker.stages.worked_examples import WithExamples
from ranker.strategies import strategy
from ranker.studies.transfer import by_query, claims, refuse_leaks, similar, with_examples
from ranker.types import CandidateSet
from tests.ranker.factories import make_set, oracle
from tests.ranker.studies.made import results


def training(number: int, query: str, items: tuple[str, ...] = (), task: str = "synthetic") -> CandidateSet:
    return replace(
        make_set([2, 0, 1], set_id=f"t{number}", query=query, task=task), split="train", query_items=items
    )


def traced(*sets: CandidateSet, mode: str = "exclude", thinking: bool = True) -> pl.DataFrame:
    grades = {"A": 2, "B": 0}
    rows = [
        {
            "set_id": given.set_id,
            "mode": mode,
            "thinking": thinking,
            "pool": ["A", "B"],
            "completion": trace(mode, thinking, grades, ["B"], "compact"),
        }
        for given in sets
    ]
    return pl.DataFrame(rows)


WORDS = [
    training(0, "apples and pears"),
    training(1, "red apples green apples pears"),
    training(2, "engines"),
    training(3, "pears"),
]
ASKED = make_set([1, 0, 0], set_id="q", query="green apples")
KIND = ("exclude", True)


def test_the_most_similar_stand_last_and_what_shares_nothing_is_no_example() -> None:
    found = similar([ASKED], WORDS, traced(*WORDS), [KIND], shots=3)["q", *KIND]
    assert [shot.prompt.set.set_id for shot in found] == ["t0", "t1"]
    assert found[-1].prompt.set.labels == ("A", "B"), "the pool that the trace was written for"


def test_histories_are_similar_by_the_items_that_they_share() -> None:
    train = [
        training(0, "x", ("7", "8"), "rec-movie"),
        training(1, "x", ("1", "2"), "rec-movie"),
        training(2, "x", ("2", "9"), "rec-movie"),
    ]
    asked = replace(make_set([1, 0], set_id="q", query="x", task="rec-movie"), query_items=("1", "2", "3"))
    found = similar([asked], train, traced(*train), [KIND], shots=2)["q", *KIND]
    assert [shot.prompt.set.set_id for shot in found] == ["t2", "t1"]


def test_examples_are_of_the_same_task_and_answer_in_the_same_way() -> None:
    other = training(9, "green apples", task="vaswani")
    accepted = pl.concat(
        [traced(WORDS[0]), traced(WORDS[1], mode="rank"), traced(WORDS[3], thinking=False), traced(other)]
    )
    found = similar(
        [replace(ASKED, query="apples pears")],
        [*WORDS, other],
        accepted,
        [KIND, ("rank", True), ("rank", False)],
        shots=4,
    )
    assert {kind[1:]: [shot.prompt.set.set_id for shot in shots] for kind, shots in found.items()} == {
        KIND: ["t0"],
        ("rank", True): ["t1"],
        ("rank", False): [],
    }


def test_an_example_is_a_turn_before_the_question() -> None:
    shot = Shot(Prompt("exclude", True, WORDS[0]), "<answer> B </answer>")
    plain = messages(Prompt("exclude", True, ASKED), "chat")
    shown = messages(Prompt("exclude", True, ASKED, (shot,)), "chat")
    assert [turn["role"] for turn in shown] == ["user", "assistant", "user"]
    assert (
        shown[-1:] == plain
        and shown[0] == messages(shot.prompt, "chat")[0]
        and shown[1]["content"] == shot.completion
    )


def test_where_the_prompt_is_too_long_examples_go_first_the_least_similar_before_the_others() -> None:
    shots = tuple(Shot(Prompt("exclude", True, given), "<answer> B </answer>") for given in WORDS[:3])
    prompt = Prompt("exclude", True, ASKED, shots)

    def count(text):
        return sum(len(turn["content"].split()) for turn in text)

    whole, alone = count(messages(prompt, "chat")), count(messages(replace(prompt, shots=()), "chat"))
    assert fit(prompt, "chat", count, whole - 1) == messages(replace(prompt, shots=shots[1:]), "chat")
    assert fit(prompt, "chat", count, alone) == messages(replace(prompt, shots=()), "chat"), (
        "no text is cut while an example stands"
    )


@pytest.mark.parametrize(
    ("held_out", "fault"),
    [
        (replace(ASKED, group_id="g-t0"), "group 'g-t0'"),
        (replace(ASKED, query="Apples  and PEARS"), "its query is that of q"),
    ],
)
def test_an_example_that_gives_a_held_out_query_away_is_refused(held_out: CandidateSet, fault: str) -> None:
    shot = Shot(Prompt("exclude", True, WORDS[0]), "")
    refuse_leaks([ASKED], [shot])
    with pytest.raises(Leaked, match=fault):
        refuse_leaks([held_out], [shot])


def test_a_held_out_set_is_no_example() -> None:
    with pytest.raises(Leaked, match="split is 'test'"):
        refuse_leaks([], [Shot(Prompt("exclude", True, ASKED), "")])


def test_a_group_of_another_task_is_another_group() -> None:
    refuse_leaks(
        [replace(ASKED, task="vaswani", group_id="g-t0", query="apples and pears")],
        [Shot(Prompt("exclude", True, WORDS[0]), "")],
    )


def test_every_call_of_an_episode_carries_the_examples_of_its_query() -> None:
    asked: list[Prompt] = []

    def answer(prompt: Prompt) -> str:
        asked.append(prompt)
        return oracle(prompt)

    shown = similar([ASKED], WORDS, traced(*WORDS), [KIND], shots=2)
    other = make_set([1, 0, 0], set_id="r", query="nothing alike")
    engine = WithExamples(ScriptedEngine(answer), by_query(shown))
    episodes = strategy("iterative")([ASKED, other], engine, thinking=True, sampling=Sampling(64))
    assert [len(prompt.shots) for prompt in asked] == [2, 0, 2, 0]
    assert all(episode.valid for episode in episodes)


def test_the_claim_is_a_paired_difference() -> None:
    found = claims(
        results(
            {("transfer", "pretrained", "iterative"): 0.4, ("transfer", with_examples(2), "iterative"): 0.5}
        ),
        2,
    )
    assert [(claim.holds, claim.text[:9]) for claim in found] == [(True, "iterative")]
