"""What a run shows of its contracts: pages and a link after every stage, and the reasons where a batch is
refused.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.retrain import retrain
from ranker.config import RetrainParams, parse_params
from ranker.errors import ContractViolated
from ranker.lake import open_lake
from ranker.reports import contract_pages

NAMES = "apple bread cloud drum eagle flame grass honey island jacket kettle lemon".split()  # noqa: SIM905


def _alike(folder: Path) -> Path:
    """A source tree whose documentation reads the same in every module but for one word."""
    folder.mkdir()
    for number, name in enumerate(NAMES):
        rest = " ".join(f"{other}{number}" for other in NAMES)
        doc = (
            f'"""Return {name} of all the words that one long text may hold.\n\n    {rest.capitalize()}.\n  '
            '  """'
        )
        (folder / f"{name}.py").write_text(f"def count():\n    {doc}\n", encoding="utf-8")
    return folder


@pytest.fixture
def refused(tmp_path: Path) -> tuple[RetrainParams, ContractViolated]:
    ingest = {"tasks": ["passage-pydoc"], "locations": {"passage-pydoc": str(_alike(tmp_path / "tree"))}}
    params = parse_params(
        {
            "preset": "tiny",
            "home": str(tmp_path / "home"),
            "ingest": ingest,
            "candidates": {"pool_size": {"passage-pydoc": 2}},
        }
    )
    with pytest.raises(ContractViolated, match="near_duplicates") as caught:
        retrain(params)
    return params, caught.value


def test_a_refused_batch_is_told_in_the_lake_in_an_artifact_and_on_a_page(
    refused: tuple[RetrainParams, ContractViolated],
) -> None:
    params, error = refused
    with open_lake(params.home_path, read_only=True) as lake:
        checks = (
            lake.rows("select stage, accepted, success, severity from contract_checks")
            .unique()
            .sort("stage", "success", "severity")
        )
        assert lake.rows("select count(*) from candidate_sets").item() == 0
    assert set(checks.filter(stage="ingest").rows()) == {
        ("ingest", True, True, "error"),
        ("ingest", True, True, "warning"),
    }
    assert ("candidates", False, False, "error") in checks.rows() and not checks.filter(stage="candidates")[
        "accepted"
    ].any()
    with get_client(sync_client=True) as client:
        found = {artifact.key: str(artifact.data) for artifact in client.read_latest_artifacts()}
    assert (
        "refused" in found["candidates"]
        and "VIOLATED" in found["candidates"]
        and error.remedy in found["candidates"]
    )
    index = params.home_path / contract_pages.FOLDER / "index.html"
    assert index.as_uri() in found["contracts"]
    pages = [path.name for path in index.parent.iterdir()]
    assert any(name.startswith("ingest-") for name in pages) and any(
        name.endswith("-refused.html") for name in pages
    )
