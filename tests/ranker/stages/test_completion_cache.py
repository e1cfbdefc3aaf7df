"""The journal of a model's answers: nothing is asked twice, budgets hold, and damage is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.engines import Completion, Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import BadSource
from ranker.policy.prompts import Prompt
from ranker.stages.completion_cache import Budget, Call, CompletionCache
from tests.ranker.factories import make_set

CALLS = [Call(Prompt("exclude", True, make_set([1, 0], set_id=f"s{i // 2}")), i % 2) for i in range(10)]
SAMPLING = Sampling(8, temperature=1.0, seed=50)


class Counted(ScriptedEngine):
    """A scripted engine whose answer says its seed, and which breaks off after so many batches."""

    def __init__(self, batches: int = 99) -> None:
        super().__init__(lambda prompt: f"\u2028 line\nof {prompt.set.set_id}")
        self.left, self.asked = batches, 0

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        if not self.left:
            raise ConnectionError("gone")
        self.left, self.asked = self.left - 1, self.asked + len(prompts)
        return [
            replace(done, text=f"{done.text} {sampling.seed + i}")
            for i, done in enumerate(super().complete(prompts, sampling))
        ]


def prompt(
    folder: Path,
    engine: ScriptedEngine,
    calls: Sequence[Call] = CALLS,
    budget: Budget | None = None,
    batch: int = 3,
) -> list[Completion]:
    cache = CompletionCache(folder)
    cache.begin(force=False)
    return cache.answers(calls, lambda: engine, SAMPLING, budget or Budget(), batch)


def test_a_run_that_breaks_off_goes_on_behind_its_last_batch(tmp_path: Path) -> None:
    whole = prompt(tmp_path / "whole", Counted())
    with pytest.raises(ConnectionError):
        prompt(tmp_path / "broken", Counted(batches=2))
    second = Counted()
    assert prompt(tmp_path / "broken", second) == whole and second.asked == 10 - 6
    third = Counted(batches=0)
    assert prompt(tmp_path / "broken", third) == whole and third.asked == 0
    assert [done.text.split()[-1] for done in whole] == [str(50 + i) for i in range(10)]


def test_what_was_left_half_written_does_not_count(tmp_path: Path) -> None:
    whole = prompt(tmp_path / "j", Counted())
    last = max((tmp_path / "j").glob("*.jsonl"))
    last.rename(last.with_suffix(".part"))
    again = Counted()
    assert prompt(tmp_path / "j", again) == whole and again.asked == 1


def test_only_a_finished_journal_is_set_aside_by_force(tmp_path: Path) -> None:
    prompt(tmp_path / "j", Counted())
    cache = CompletionCache(tmp_path / "j")
    cache.begin(force=True)
    assert list(cache.folder.glob("*.jsonl")), "a forced run that was killed goes on"
    cache.finish()
    cache.begin(force=False)
    assert list(cache.folder.glob("*.jsonl"))
    cache.begin(force=True)
    assert not list(cache.folder.iterdir()) and len(list(tmp_path.glob("j.replaced-*"))) == 1


@pytest.mark.parametrize("damage", ["other question", "missing part", "half a line", "other fields"])
def test_a_damaged_journal_is_named(tmp_path: Path, damage: str) -> None:
    prompt(tmp_path, Counted())
    first = tmp_path / "000000000.jsonl"
    if damage == "missing part":
        first.unlink()
    elif damage == "half a line":
        first.write_text(first.read_text()[:-20])
    elif damage == "other fields":
        first.write_text(first.read_text().replace('"text"', '"words"'))
    calls = CALLS[1:] if damage == "other question" else CALLS
    with pytest.raises(BadSource, match=r"000000000|000000003"):
        prompt(tmp_path, Counted(), calls)


def test_a_budget_in_calls_is_exact_and_a_raised_one_goes_on(tmp_path: Path) -> None:
    first, second = Counted(), Counted()
    budget = Budget(max_calls=4)
    assert len(prompt(tmp_path, first, budget=budget)) == first.asked == 4 and budget.spent == "max_calls"
    assert len(prompt(tmp_path, second, budget=Budget(max_calls=9))) == 9 and second.asked == 5
    lowered = Counted()
    assert len(prompt(tmp_path, lowered, budget=Budget(max_calls=2))) == 2 and lowered.asked == 0


def test_a_budget_in_tokens_ends_with_the_call_that_reaches_it(tmp_path: Path) -> None:
    done = prompt(tmp_path / "all", Counted())
    each = done[0].prompt_tokens + done[0].completion_tokens
    for limit, wanted in ((1, 1), (each, 1), (each + 1, 2), (4 * each, 4)):
        engine = Counted()
        assert (
            len(prompt(tmp_path / str(limit), engine, budget=Budget(max_tokens=limit)))
            == engine.asked
            == wanted
        )


SIZES = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), max_size=30)


@given(SIZES, st.integers(0, 10), st.integers(0, 400), st.integers(1, 7))
def test_a_budget_never_pays_after_it_is_spent_and_does_not_depend_on_the_batches(
    sizes: list[tuple[int, int]], calls: int, tokens: int, batch: int
) -> None:
    answers = [Completion("", "", prompt, made, "stop", 0.0) for prompt, made in sizes]
    at_once, in_batches = Budget(calls, tokens), Budget(calls, tokens)
    paid = at_once.pay(answers)
    taken: list[Completion] = []
    while len(taken) < len(answers) and (room := in_batches.room(batch)):
        assert 1 <= room <= batch and (not calls or in_batches.calls + room <= calls)
        taken += in_batches.pay(answers[len(taken) : len(taken) + room])
    assert taken == paid
    before = [one.prompt_tokens + one.completion_tokens for one in paid[:-1]]
    assert not tokens or sum(before) < tokens
    assert not calls or len(paid) <= calls
