"""The order in which GRPO asks; the prompts themselves: test_phases.py and test_data.py."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ranker.config import GRPOParams
from ranker.train.worker import asked


@given(st.lists(st.sampled_from("ab"), min_size=8, max_size=40), st.integers(1, 4), st.integers(1, 6))
def test_every_step_has_its_batch_and_each_task_with_a_share_in_it(
    tasks: list[str], half: int, steps: int
) -> None:
    rows = pl.DataFrame({"task": tasks, "prompt": ["x" * n for n, _ in enumerate(tasks)]})
    rows = rows.with_columns(pl.lit(["A", "B"]).alias("pool"))
    order = asked.in_order(rows, 2 * half, GRPOParams(max_steps=steps))
    assert len(order) == 2 * half * steps and set(order) <= set(range(len(tasks)))
    expected = {task: 2 * half * tasks.count(task) / len(tasks) for task in set(tasks)}
    for start in range(0, len(order), 2 * half):
        own = {tasks[place] for place in order[start : start + 2 * half]}
        assert own >= {task for task, count in expected.items() if count >= 2}
