"""What a stage's artifact says, from a lake written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.artifacts import _contract, markdown
from ranker.lake import Lake, open_lake
from ranker.refs import Verdict
from tests.ranker.evaluated import registered, scored, trained


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """One of its own: the data folder of this room holds the retraining that all others read."""
    with open_lake(tmp_path) as opened:
        yield opened


def test_an_evaluation_says_what_it_read_and_wrote_and_every_arm_beside_chance(lake: Lake) -> None:
    of = trained(lake, "aaaa")
    text = markdown(lake, scored(lake, "aa01", of, rr=0.6))
    assert "`aa01`, done by this run" in text and "| train | `aaaa` |" in text
    assert "| evaluations | " in text and "## synthetic" in text
    assert "| rl | iterative, think | 0.600 [0.550, 0.650] |" in text


def test_a_verdict_stands_with_its_tests(lake: Lake) -> None:
    text = markdown(lake, registered(lake, "r1", scored(lake, "aa01", trained(lake, "aaaa")).key, range(100)))
    assert "## Version r1 of r1-ranker: challenger\n\nnot promoted: v" in text
    assert "as served: iterative, thinking True" in text
    row = "| synthetic | 1 | +0.010 [-0.010, +0.030] | 0.5000 | 0.0025 | 2 | 100 of 100 |  | 0.061 |"
    assert row in text


def test_skipped_work_is_said_to_be(lake: Lake) -> None:
    ref = trained(lake, "aaaa").model_copy(update={"skipped": True})
    text = markdown(lake, ref)
    assert "skipped: done by an earlier run" in text and "Sources outside the lake." in text


def test_what_does_not_hold_stands_first_and_warnings_are_counted() -> None:
    text = _contract(
        [
            Verdict("items", "has rows", True, "9"),
            Verdict("items", "is as long as before", False, severity="warning"),
            Verdict("items", "is fine", False, samples="[1]"),
            Verdict("items", "is odd", None),
        ]
    )
    assert text.startswith("## Contract: 4 expectations, 1 warning\n")
    verdicts = [line.split(" | ")[2] for line in text.splitlines() if line.startswith("| items")]
    assert verdicts[-1] == "holds" and set(verdicts[:-1]) == {"warning", "VIOLATED", "could not be evaluated"}
