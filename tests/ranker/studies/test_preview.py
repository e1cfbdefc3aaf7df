"""What a task's pools will look like, before anything is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import parse_params
from ranker.errors import BadSource, ContractViolated
from ranker.refs import Staged, Verdict
from ranker.studies.preview import preview, problems, shown
from tests.ranker.material import passes, recbole, taste


def test_a_preview_draws_the_pools_of_the_run_and_stores_nothing(tmp_path: Path) -> None:
    folder = recbole(tmp_path / "films", taste())
    params = parse_params(
        {
            "home": str(tmp_path / "home"),
            "ingest": {"tasks": ["rec-movie"], "locations": {"rec-movie": str(folder)}},
        }
    )
    seen = preview(params, "rec-movie", passes)
    assert seen.rows == {"items": 40, "interactions": 336} and set(seen.sides) == {"train", "valid", "test"}
    assert len(seen.examples) == 3 and problems(params, "rec-movie") == []
    text = shown(seen.examples[0], "likelihood")
    assert text.startswith("Films that one person liked: Film") and text.count("\n+") == 1
    assert text.count("\n ") == len(seen.examples[0].candidates) - 1
    assert seen.examples[0].query_items[-1] in shown(seen.examples[0], "chat")
    assert not (tmp_path / "home").exists()


def test_a_fault_is_told_and_a_refused_batch_is_not_said_to_be_kept(tmp_path: Path) -> None:
    def refuse(staged: Staged) -> list[Verdict]:
        remedy = "give other data; the batch is kept: ranker query 'select 1'"
        raise ContractViolated("a rule", seen="a row", remedy=remedy)

    params = parse_params({"home": str(tmp_path), "preset": "tiny"})
    with pytest.raises(ContractViolated) as caught:
        preview(params, "synthetic", refuse)
    assert caught.value.remedy == "give other data"
    with pytest.raises(BadSource, match="no file or folder"):
        preview(parse_params({"home": str(tmp_path), "ingest": {"tasks": ["rec-game"]}}), "rec-game", passes)
