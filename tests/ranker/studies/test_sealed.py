"""The sealed queries: who can read them, what a reading leaves, and that there are few."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from ranker.config import CandidateParams, EvaluateParams, RegisterParams
from ranker.errors import BadConfig, StageMissing
from ranker.lake import Lake
from ranker.refs import PROJECT, Ref, canonical
from ranker.stages import candidates, register, registry
from ranker.studies import sealed
from tests.ranker.engines.models import tiny
from tests.ranker.evaluated import ACCEPT, commit, scored, trained
from tests.ranker.material import passes, read_in

PARAMS = RegisterParams(audit_readings=2)
DRAWN = CandidateParams(max_train=40, max_test=20, max_valid=10, audit_share=0.05)
SERVED = canonical([EvaluateParams(thinking=(False,), max_completion_length=4, bootstrap=100)])


@pytest.fixture
def source(lake: Lake, home: Path, empty_registry: Path) -> Ref:
    shutil.copy(empty_registry, home / "mlflow.db")
    return read_in(lake, "synthetic")


def champion(lake: Lake, source: Ref, key: str, params: CandidateParams = DRAWN) -> None:
    """A version that a real, untrained model stands behind, made champion by hand."""
    sets = candidates.run(lake, params, source=source, check=passes)
    traces = commit(lake, "distill", f"{key}-traces", {}, inputs=(sets.key,))
    model = trained(lake, key, inputs=(sets.key, traces.key))
    tiny(lake.home / model.details["model"] / "rl", context=256)
    scores = scored(lake, f"{key}-scores", model, sets=sets)
    lake.execute(
        "update stage_runs set parameters = $p where batch_id = $key", {"p": SERVED, "key": scores.key}
    )
    ref = register.run(lake, PARAMS, trained=model, scores=scores, check=ACCEPT)
    registry.promote(lake.home, PARAMS, ref.details["version"], anyway=True, smoke=lambda chosen: None)


def test_the_champion_and_the_one_before_it_are_read_and_every_reading_counts(
    lake: Lake, source: Ref
) -> None:
    champion(lake, source, "aaaa", DRAWN.model_copy(update={"audit_share": 0.0}))
    with pytest.raises(StageMissing, match="audit_share 0, 0 sealed queries"):
        sealed.read(lake, PARAMS, check=passes)
    champion(lake, source, "bbbb")
    alone = sealed.read(lake, PARAMS, check=passes)
    assert alone.against is None and "version 1 is left out" in alone.notes[0]
    assert alone.readings[0].difference is None and alone.number == 1

    champion(lake, source, "cccc")
    before = {table: lake.rows(f"select count(*) from {table}").item() for table in TABLES}
    found = sealed.read(lake, PARAMS, check=passes)
    (reading,) = found.readings
    assert (found.champion.version, found.number, reading.task) == ("3", 2, "synthetic")
    assert reading.rr.queries >= 20 and 0 < reading.rr.value < 1
    assert reading.difference is not None and reading.difference.value == 0 and found.holds, (
        "the same weights"
    )
    row = lake.rows("select * from sealed_readings where version = '3'").row(0, named=True)
    assert (row["against"], row["rr"]) == ("2", reading.rr.value)
    assert {table: lake.rows(f"select count(*) from {table}").item() for table in TABLES} == before

    with pytest.raises(BadConfig, match="2 readings of 'r1-ranker' within a year"):
        sealed.read(lake, PARAMS, check=passes)
    assert sealed.read(lake, PARAMS, check=passes, anyway=True).number == 3
    lake.execute("update sealed_readings set read_at = read_at - interval 366 day")

    # A group that was drawn all the same, as its side had another bound then, is known.
    half = sorted(sealed_groups(lake, source))[::2]
    lake.execute(
        "insert into candidate_sets by name select * replace (unnest($groups::varchar[]) as group_id) from"
        " (from candidate_sets where batch_id = $key limit 1)",
        {"groups": half, "key": drawn(lake, source)},
    )
    again = sealed.read(lake, PARAMS, check=passes)
    assert again.number == 1 and 0 < again.readings[0].rr.queries < reading.rr.queries


TABLES = ("episodes", "steps", "evaluations", "comparisons", "candidate_sets", "candidates", "teacher_scores")


def drawn(lake: Lake, source: Ref) -> str:
    return candidates.run(lake, DRAWN, source=source, check=passes).key


def sealed_groups(lake: Lake, source: Ref) -> set[str]:
    sides = candidates.splits(lake, source.key, "synthetic", DRAWN)
    return set(sides.filter(pl.col("split") == "sealed")["group_id"])


def test_nothing_but_the_audit_reaches_the_sealed_queries() -> None:
    """No SQL reads that side but what leaves it out, and no code draws it but the audit."""
    sql = {path.relative_to(PROJECT / "sql").as_posix() for path in naming("sql", "*.sql", r"'sealed'")}
    assert sql == {"candidates/splits.sql", "candidates/queries.sql"}
    code = {path.relative_to(PROJECT).as_posix() for path in naming("ranker", "*.py", r"sealed_sets|unseal")}
    code |= {path.relative_to(PROJECT).as_posix() for path in naming("flows", "*.py", r"sealed")}
    assert code == {"ranker/stages/candidates.py", "ranker/studies/sealed.py"}
    callers = {
        path.relative_to(PROJECT).as_posix() for path in naming("ranker", "*.py", r"studies import sealed")
    }
    assert callers == {"ranker/cli/audit.py"}


def naming(folder: str, files: str, words: str) -> list[Path]:
    return [
        path for path in (PROJECT / folder).rglob(files) if re.search(words, path.read_text(encoding="utf-8"))
    ]
