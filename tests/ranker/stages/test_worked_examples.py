"""Which training queries are shown, and how they are answered."""

from __future__ import annotations

from dataclasses import replace

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.policy.parsing import parse
from ranker.policy.prompts import Prompt, messages
from ranker.stages.worked_examples import WithExamples, of_teacher
from tests.ranker.factories import make_set, oracle

ASKED = make_set([0, 1, 0], set_id="q", query="What  is asked")
DULL = make_set([1, 0, 0], set_id="dull", query="all alike")
WRONG = make_set([1, 0, 0], set_id="wrong", query="the teacher errs")
TWIN = make_set([0, 0, 1], set_id="twin", query="what is asked")
GOOD = make_set([0, 1, 0], set_id="good", query="clear")
ELSE = replace(make_set([0, 1], set_id="else", query="of another task"), task="rec-movie")
TRAIN = [DULL, WRONG, TWIN, GOOD, ELSE]
SCORES = {
    "dull": {"A": 1.0, "B": 1.0, "C": 1.0},
    "wrong": {"A": 0.0, "B": 1.0, "C": 4.0},
    "twin": {"A": 0.0, "B": 2.0, "C": 4.0},
    "good": {"A": 2.0, "B": 4.0, "C": 0.0},
    "else": {"A": 0.0, "B": 1.0},
}


def test_telling_examples_of_the_task_come_and_none_that_reads_like_a_question() -> None:
    examples = of_teacher(TRAIN, SCORES, [ASKED])
    shown = examples(Prompt("rank", True, ASKED))
    assert [shot.prompt.set.set_id for shot in shown] == ["good", "dull"]
    assert [shot.prompt.set.set_id for shot in examples(Prompt("rank", True, ELSE))] == ["else"]
    assert examples(Prompt("rank", True, replace(ASKED, task="passage-pydoc"))) == ()
    everything = of_teacher(TRAIN, SCORES, [], most=9)(Prompt("rank", True, ASKED))
    assert [shot.prompt.set.set_id for shot in everything] == ["twin", "good", "dull", "wrong"]


def test_they_answer_validly_as_the_question_asks_by_the_teachers_scores() -> None:
    examples = of_teacher([GOOD], SCORES, [ASKED])
    for mode, thinking, wanted in (
        ("rank", True, ("B", "A", "C")),
        ("rank", False, ("B", "A", "C")),
        ("exclude", True, ("C",)),
    ):
        (shot,) = examples(Prompt(mode, thinking, ASKED))
        action = parse(shot.completion, GOOD.labels, mode, thinking)
        assert action.valid and action.labels == wanted
        assert (shot.prompt.mode, shot.prompt.thinking) == (mode, thinking)
    assert "best first: B, then A, then C. So the worst is C." in shot.completion, "three scores, in words"


def test_every_prompt_carries_them() -> None:
    asked: list[Prompt] = []

    def answer(prompt: Prompt) -> str:
        asked.append(prompt)
        return oracle(prompt)

    engine = WithExamples(ScriptedEngine(answer), of_teacher([GOOD], SCORES, [ASKED]))
    engine.complete([Prompt("rank", True, ASKED)], Sampling(64))
    roles = [turn["role"] for turn in messages(asked[0], "chat")]
    assert roles == ["user", "assistant", "user"]
