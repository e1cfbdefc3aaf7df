"""The vocabulary of the contracts on batches of every reader: clean ones give no alarm, every query has a
defect that it is meant for, and warnings keep nothing out.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker.config import CandidateParams, IngestParams
from ranker.datasets import readers
from ranker.errors import ContractViolated
from ranker.lake import Lake
from ranker.lake.connection import fill
from ranker.refs import PROJECT
from ranker.resources import sql_folder
from ranker.stages import candidates, ingest
from tests.contracts import road, test_candidate_sets
from tests.contracts.defects import Defect, Road
from tests.ranker.material import SHARED, needs_shared


def defects() -> dict[str, list[Defect]]:
    """Those of every table's own test file, and of sets that time separates."""
    tables = sorted(path.stem for path in (PROJECT / "contracts").glob("*.py"))
    files = [table for table in tables if Path(__file__).with_name(f"test_{table}.py").exists()]
    modules = {table: importlib.import_module(f"tests.contracts.test_{table}") for table in files}
    by_time = [defect for _, defect in test_candidate_sets.BY_TIME]
    own = {table: vars(modules[table])["DEFECTS"] for table in files if table not in ("expect", "gate")}
    return {**own, "by time": by_time}


def test_clean_batches_of_every_source_give_no_alarm(done: Road) -> None:
    # ir_collection reads what ir_datasets keeps on a machine; its own test writes such files. The tutorials
    # have batches of tables judged, in all scenarios (tests/docs/test_tutorials.py).
    every = set(readers.readers()) - {"ir_collection", "tables"}
    assert set(done.lake.rows("select distinct reader from sources").to_series()) == every, (
        "of every reader that there is"
    )
    assert set(done.lake.rows("select distinct task from candidate_sets").to_series()) == set(road.TASKS)
    said = done.lake.rows("select stage, table_name, expectation, success, accepted from contract_checks")
    assert set(said["stage"]) == set(done.refs) and said.height > 200
    assert not said.filter(pl.col("success").ne_missing(True) | ~pl.col("accepted")).rows()


def test_every_query_of_the_contracts_has_its_defect() -> None:
    folder = sql_folder() / "contracts"
    written = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.sql")}
    meant = {
        "unique" if expectation.endswith("together unique") else re.split(r"[:\s]", expectation)[0]
        for table in defects().values()
        for _, expectation, _ in table
    }
    assert not written - meant
    assert sum(map(len, defects().values())) >= 100


@pytest.mark.parametrize(
    ("statement", "accepted"),
    [("update {table} set rating = least(rating + 3, 10)", True), ("update {table} set rating = 11", False)],
)
def test_what_fails_a_warning_is_told_and_what_fails_an_error_keeps_the_batch_out(
    done: Road, statement: str, accepted: bool
) -> None:
    staged = done.staged("ingest")
    done.lake.execute(fill(statement, table=staged.tables["interactions"]))
    try:
        if accepted:
            said = validate_batch(staged)
        else:
            with pytest.raises(ContractViolated) as caught:
                validate_batch(staged)
            said = caught.value.verdicts
    finally:
        done.lay_out(staged, ["interactions"])
    failed = {(v.expectation.partition(":")[0], v.severity) for v in said if v.success is False}
    assert ("interactions/drift_ratings", "warning") in failed
    assert (("rating is between 0 and 10", "error") in failed) != accepted


@needs_shared
def test_the_given_data_give_no_false_alarm(lake: Lake, tmp_path: Path) -> None:
    """MovieTweetings, LLMRouter and the whole standard library.

    A few of their questions really read alike: the only warning.
    """
    places = {
        "movietweetings": str(SHARED / "movietweetings-100k"),
        "router-performance": str(SHARED / "llmrouter"),
    }
    source = ingest.run(
        lake, IngestParams(tasks=(*places, "passage-pydoc"), locations=places), check=validate_batch
    )
    candidates.run(lake, CandidateParams(train_per_user=1), source=source, check=validate_batch)
    shown = set(
        lake.rows("select expectation from contract_checks where success is distinct from true").to_series()
    )
    assert all(name.startswith("candidate_sets/near_duplicates") for name in shown)
