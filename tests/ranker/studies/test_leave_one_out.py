"""A scenario left out of training, and judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import parse_params
from ranker.errors import BadConfig
from ranker.studies import leave_one_out
from ranker.studies.design import plan
from tests.ranker.studies.made import results
from tests.ranker.studies.test_ablation import asked


def test_a_scenario_is_left_out_as_a_whole(home: Path) -> None:
    given = asked(home, "synthetic", "passage-pydoc")
    runs = {run.arm: run.params for run in plan(leave_one_out.study(given), given).runs}
    weights = {name: dict(params.train.weights) for name, params in runs.items()}
    full = weights["full"]
    assert weights == {
        "full": full,
        "without synthetic": full | {"synthetic": 0.0},
        "without passage": full | {"passage-pydoc": 0.0},
    }
    assert all(full.get(name, 1) for name in ("synthetic", "passage-pydoc"))
    assert len({params.ingest.model_dump_json() for params in runs.values()}) == 1, (
        "all are evaluated on all tasks, and share data and vocabulary"
    )


def test_zero_shot_is_judged_on_the_left_out_tasks_alone() -> None:
    means = {
        ("full", "rl", "iterative"): 0.6,
        ("without recommendation", "rl", "iterative"): 0.34,
        ("without passage", "rl", "iterative"): 0.5,
    }
    found = leave_one_out.claims(results(means, tasks=("rec-movie", "vaswani"), thinking=False))
    assert [(claim.text.partition(":")[0], claim.holds) for claim in found] == [
        ("recommendation", False),
        ("passage", True),
    ]
    assert "beside the full policy -0." in found[1].figure


def test_leaving_everything_out_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"train\.weights"):
        parse_params({"preset": "tiny", "train": {"weights": {"synthetic": 0.0}}})
