"""What the trainer feeds on: shares by task, batches of like lengths, completions that alone are learned."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ranker.engines.rendering import Renderer
from ranker.engines.transformers import load_tokenizer
from ranker.errors import PromptTooLong
from ranker.train.worker.data import (
    WINDOW,
    Fitting,
    across_tasks,
    batched_by_length,
    growing,
    tokenized,
    weighted,
)
from ranker.types import CandidateSet
from tests.ranker.engines.models import bytewise
from tests.ranker.factories import make_set

ROWS = pl.DataFrame({"task": ["a"] * 90 + ["b"] * 10, "n": range(100)})


@pytest.mark.parametrize(
    ("weights", "share"), [({}, 0.5), ({"a": 3.0}, 0.75), ({"b": 0.0}, 1.0), ({"a": 1.0, "b": 1.0}, 0.5)]
)
def test_a_tasks_share_follows_its_weight_and_not_its_size(weights: dict[str, float], share: float) -> None:
    found = weighted(ROWS, weights, 3)
    assert (found["task"] == "a").mean() == pytest.approx(share, abs=0.02)
    assert set(found.filter(task="a")["n"]) == set(range(90)), "no row of the larger part is lost"
    assert found.equals(weighted(ROWS, weights, 3)) and not found.equals(weighted(ROWS, weights, 4))


def test_no_more_is_prepared_than_training_looks_at() -> None:
    assert len(weighted(ROWS, {}, 3, needed=20)) == 20
    assert len(weighted(ROWS, {}, 3, needed=10**6)) == 180


def test_batches_are_of_like_length_and_every_row_comes_before_any_comes_twice() -> None:
    lengths = np.random.default_rng(1).integers(1, 100, 320).tolist()
    drawn = batched_by_length(lengths, 8, 60, 5)
    assert len(drawn) == 480 and set(drawn[:320]) <= set(range(320))
    assert set(Counter(drawn).values()) == {1, 2}
    spans = [np.ptp([lengths[i] for i in drawn[at : at + 8]]) for at in range(0, 480, 8)]
    assert np.mean(spans) < 10, "drawn at random a batch of eight spans three quarters of the range"


def test_a_curriculum_begins_with_small_pools_and_ends_with_all() -> None:
    pools = [2, 4, 6, 8] * 50
    allowed = growing(pools, 0.5, 1000)
    sizes = [max(pools[i] for i in allowed(step)) for step in (0, 300, 999)]
    assert sizes == [2, 6, 8]
    drawn = batched_by_length([1] * 200, 2, 1000, 5, allowed)
    assert {pools[i] for i in drawn[: 2 * WINDOW]} == {2} and max(pools[i] for i in drawn[-100:]) == 8


LONG = {"long": make_set([1, 0], set_id="long", task="passage-5", texts=["東京都庁の文書です。" * 400] * 2)}


def fitting(tmp_path: Path, sets: dict[str, CandidateSet]) -> Fitting:
    return Fitting(sets, Renderer(load_tokenizer(bytewise(tmp_path / "model")), "chat"))


def asking(given: CandidateSet, completion: str = "<answer> A </answer>") -> dict[str, object]:
    return {
        "task": given.task,
        "set_id": given.set_id,
        "mode": "exclude",
        "thinking": False,
        "pool": list(given.labels),
        "completion": completion,
    }


def test_the_completion_alone_is_learned(tmp_path: Path) -> None:
    given = make_set([1, 0])
    own = fitting(tmp_path, {given.set_id: given})
    (row,) = tokenized([asking(given)], own, 1_000)
    learned = [token for token in row["labels"] if token != -100]
    tokenizer = own.renderer.tokenizer
    assert tokenizer.decode(learned[:-1]) == "<answer> A </answer>" and learned[-1] == tokenizer.eos_token_id
    assert row["length"] == len(row["input_ids"]) == len(row["labels"]) > 2 * len(learned)
    asked = tokenizer.decode(row["input_ids"][: -len(learned)])
    assert asked == own.renderer.prompts([own.asked(asking(given))], 1_000).texts[0], "as for evaluation"


def test_long_documents_are_cut_to_fit_and_not_left_out_and_both_are_counted(tmp_path: Path) -> None:
    """Japanese, 4,000 characters without a space: they vanished from SFT, and overflowed in GRPO."""
    short = make_set([1, 0], set_id="short", task="passage-5")
    own = fitting(tmp_path, {"short": short, **LONG})
    rows = [asking(short), asking(LONG["long"]), asking(short, "<answer> A " + "word " * 400)]
    made = tokenized(rows, own, 1_000)
    assert len(made) == 2 and max(row["length"] for row in made) <= 1_000
    assert "東京" in own.renderer.tokenizer.decode(made[1]["input_ids"])
    assert own.facts["fitted"] == {"passage-5": {"prompts": 2, "shortened": 1, "left_out": 1}}


def test_where_no_prompt_fits_training_says_so(tmp_path: Path) -> None:
    own = fitting(tmp_path, LONG)
    with pytest.raises(PromptTooLong, match="long"):
        own.rendered([asking(LONG["long"])] * 2, [60, 60])


def lean(order: list[int], tasks: list[str], batch: int) -> float:
    """By how much of a batch the task that has most of it has more than its share, on average."""
    names, alike = sorted(set(tasks)), 1 / len(set(tasks))
    batches = [order[at : at + batch] for at in range(0, len(order), batch)]
    most = [max(sum(tasks[i] == name for i in one) for name in names) / batch for one in batches]
    return float(np.mean(most)) - alike


@pytest.mark.parametrize("small_first", [False, True])
def test_every_step_has_each_task_in_its_share(small_first: bool) -> None:
    tasks = ["films"] * 300 + ["passages"] * 300 + ["routing"] * 300
    rng = np.random.default_rng(5)
    lengths = [{"f": 300, "p": 900, "r": 500}[name[0]] + int(rng.integers(200)) for name in tasks]
    allowed = growing([2 + i % 4 for i in range(900)], 0.5, 60) if small_first else None
    assert lean(batched_by_length(lengths, 16, 60, 3, allowed), tasks, 16) > 0.4, "what lengths make of it"
    order = across_tasks(tasks, 16, 60, 3, allowed)
    assert len(order) == 960 and lean(order, tasks, 16) < 0.05
    assert order == across_tasks(tasks, 16, 60, 3, allowed) != across_tasks(tasks, 16, 60, 4, allowed)
    assert small_first or set(order[:900]) == set(range(900)), "every row before any comes twice"
