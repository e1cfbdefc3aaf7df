"""The contracts on real batches in a real lake: clean ones pass, and every seeded defect is named by its
own expectation.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import polars as pl
import pytest

from contracts.gate import COPIED, validate_batch
from ranker.errors import ContractNotEvaluated, ContractViolated
from ranker.lake import Lake, open_lake
from ranker.refs import PROJECT, Ref, Staged
from tests.contracts import batches

Tables = batches.Tables
Spoil = Callable[[pl.DataFrame], pl.DataFrame]
STAGES: dict[str, Callable[[], Tables]] = {
    "ingest": batches.ingested,
    "candidates": batches.pooled,
    "distill": batches.distilled,
    "evaluate": batches.evaluated,
}
INPUTS = {
    "ingest": [],
    "candidates": ["ingest"],
    "distill": ["candidates"],
    "evaluate": ["candidates", "distill"],
}


def write(lake: Lake, stage: str, tables: Tables, check=validate_batch) -> Ref:
    parameters = batches.PARAMETERS.get(stage, "{}")
    return lake.write(
        stage,
        stage,
        tables,
        inputs=INPUTS[stage],
        parameters=parameters,
        code="c",
        read_snapshot=1,
        details={},
        check=check,
    )


def prepare(lake: Lake, stage: str) -> None:
    """What `stage` reads, unjudged (it is judged in the test of clean batches)."""
    for before in INPUTS[stage]:
        prepare(lake, before)
        write(lake, before, STAGES[before](), check=lambda staged: [])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake with the inputs of every stage; violated batches leave it as it is."""
    with open_lake(tmp_path_factory.mktemp("prepared")) as opened:
        prepare(opened, "evaluate")
        yield opened


def cells(*changes: tuple[str, object, int]) -> Spoil:
    """Replace cells: (column, value, row)."""

    def spoil(frame: pl.DataFrame) -> pl.DataFrame:
        rows = frame.to_dicts()
        for column, value, row in changes:
            rows[row][column] = value
        return pl.DataFrame(rows, schema=frame.schema)

    return spoil


def cell(column: str, value: object, row: int = 0) -> Spoil:
    return cells((column, value, row))


def doubled(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame.head(1)])


def emptied(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.clear()


def test_clean_batches_pass_and_leave_their_verdicts(lake: Lake) -> None:
    for stage, batch in STAGES.items():
        write(lake, stage, batch())
    verdicts = lake.rows("select stage, table_name, success from contract_results")
    assert set(verdicts["table_name"]) == {table for batch in STAGES.values() for table in batch()}
    assert verdicts["success"].all()
    assert not lake.rows(
        "select 1 from duckdb_tables() where schema_name in ('staging', 'quarantine')"
    ).height


# Each row: a stage, what is done to its tables, and exactly the expectations that must fail (by the start of
# their names).
DEFECTS: list[tuple[str, dict[str, Spoil], set[str]]] = [
    (
        "ingest",
        {
            "interactions": doubled,
            "items": cell("text", ""),
            "queries": cell("query_id", "q7"),
            "qrels": cell("relevance", None, 1),
        },
        {
            "interactions: task, user_id, item_id are together unique",
            "items: text is not empty",
            "queries: queries/judged",
            "qrels: relevance is not null",
            "qrels: qrels/references",
        },
    ),
    (
        "ingest",
        {"interactions": cells(("rating", 11.0, 0), ("item_id", "m99", 1))},
        {"interactions: rating is between 0 and 10", "interactions: interactions/item_known"},
    ),
    (
        "ingest",
        {"items": emptied, "interactions": emptied, "qrels": emptied},
        {
            "items: has rows",
            "sources: sources/has_items",
            "sources: sources/has_signal",
            "queries: queries/judged",
        },
    ),
    (
        "candidates",
        {"candidate_sets": cells(("pool_size", 4, 0), ("group_id", "u1", 1), ("query_id", "u1-1", 1))},
        {
            "candidate_sets: candidate_sets/pool_as_promised",
            "candidate_sets: candidate_sets/group_on_one_side",
            "candidate_sets: candidate_sets/query_on_one_side",
            "candidate_sets: candidate_sets/history_touched",
            "candidates: candidates/positives_touched",
        },
    ),
    (
        "candidates",
        {
            "candidate_sets": lambda sets: sets.head(1).with_columns(pool_size=1),
            "candidates": lambda rows: rows.head(1),
        },
        {
            "candidate_sets: pool_size is between 2",
            "candidate_sets: candidate_sets/has_positive",
            "candidate_sets: candidate_sets/pool_as_promised",
        },
    ),
    (
        "candidates",
        {
            "candidates": cells(
                ("label", "B", 0), ("text", "Movie m2", 0), ("item_id", "m1", 0), ("item_id", "m3", 4)
            )
        },
        {
            "candidates: set_id, label are together unique",
            "candidates: candidates/text_once",
            "candidates: candidates/not_in_history",
            "candidates: candidates/negatives_untouched",
        },
    ),
    (
        "candidates",
        {"candidates": cells(("slot", 5, 0), ("relevance", 0.0, 3), ("item_id", "m7", 4))},
        {
            "candidates: candidates/slots",
            "candidate_sets: candidate_sets/has_positive",
            "candidates: set_id, item_id are together unique",
            "candidates: candidates/negatives_untouched",
        },
    ),
    (
        "distill",
        {
            "traces": cells(("set_id", "s2", 0), ("reason", "not_in_pool", 0), ("pool", ["B", "Q"], 1)),
            "teacher_scores": cells(("label", "X", 0), ("score", float("nan"), 1)),
        },
        {
            "traces: traces/set_in_train",
            "traces: traces/accepted_or_reason",
            "traces: traces/pool_known",
            "traces: traces/accepted_by_label",
            "teacher_scores: teacher_scores/candidate_known",
            "teacher_scores: teacher_scores/finite",
        },
    ),
    (
        "distill",
        {"traces": cells(("action", ["A", "B"], 0), ("action", ["Z"], 1), ("trace_id", "t1", 1))},
        {
            "traces: traces/accepted_is_complete",
            "traces: traces/action_in_pool",
            "traces: traces/answer_is_action",
            "traces: trace_id is unique",
        },
    ),
    (
        "evaluate",
        {
            "episodes": cells(("ranking", ["A", "B", "B"], 0), ("set_id", "s1", 0), ("calls", 2, 0)),
            "evaluations": cell("value", 1.2),
            "comparisons": cells(("upper", float("nan"), 0), ("against", "bm25", 0)),
        },
        {
            "episodes: episodes/ranking_is_permutation",
            "episodes: episodes/set_of_right_split",
            "episodes: episodes/steps_agree",
            "episodes: episodes/ranking_of_steps",
            "evaluations: evaluations/shares",
            "comparisons: comparisons/interval",
            "comparisons: comparisons/arms_evaluated",
        },
    ),
    (
        "evaluate",
        {
            "steps": cells(("reward", 3.0, 0), ("taken", [], 0), ("reason", "no_answer", 0)),
            "evaluations": lambda frame: frame.filter(pl.col("arm") != "random"),
            "comparisons": emptied,
        },
        {
            "steps: reward is between -2 and 2",
            "steps: steps/labels_in_pool",
            "steps: steps/valid_or_reason",
            "steps: steps/reward_adds_up",
            "steps: steps/answer_is_action",
            "episodes: episodes/ranking_of_steps",
            "evaluations: evaluations/has_random",
        },
    ),
    (
        "evaluate",
        {"steps": cell("episode_id", "e9")},
        {"steps: steps/episode_known", "episodes: episodes/steps_agree"},
    ),
]


@pytest.mark.parametrize(
    ("stage", "spoils", "expected"), DEFECTS, ids=[f"{d[0]}-{i}" for i, d in enumerate(DEFECTS)]
)
def test_defects_are_caught_and_kept_apart(
    prepared: Lake, stage: str, spoils: dict[str, Spoil], expected: set[str]
) -> None:
    tables = STAGES[stage]()
    bad = {table: spoil(tables[table]) for table, spoil in spoils.items()}
    before = {table: prepared.rows(f"from {table}") for table in (*tables, "stage_runs")}
    with pytest.raises(ContractViolated) as caught:
        write(prepared, stage, tables | bad)
    found = [line.strip() for line in caught.value.seen.splitlines()]
    named = {line: next((name for name in expected if line.startswith(name)), line) for line in found}
    assert set(named.values()) == expected and len(found) == len(expected)
    for table, rows in before.items():
        assert prepared.rows(f"from {table}").equals(rows), f"{table} changed"
    for table, frame in bad.items():
        assert prepared.rows(f"select count(*) from quarantine.{table}__{stage}").item() == frame.height


def test_error_names_table_expectation_count_and_rows(lake: Lake) -> None:
    good = batches.ingested()["interactions"]
    bad = pl.concat(
        [good, *(good.with_columns(user_id=pl.lit(f"w{i}"), rating=pl.lit(99.0)) for i in range(200))]
    )
    with pytest.raises(ContractViolated) as caught:
        write(lake, "ingest", batches.ingested() | {"interactions": bad})
    text = str(caught.value)
    assert text.startswith("interactions: rating is between 0 and 10")
    assert "1,000 rows" in text and '"user_id": "w' in text and text.count('"rating": 99.0') == 5
    assert "mend the ratings in the source file" in text and "quarantine.interactions__ingest" in text


def test_tables_that_may_be_empty(lake: Lake) -> None:
    only_rec = {name: frame.filter(pl.col("task") == "rec") for name, frame in batches.ingested().items()}
    assert only_rec["queries"].is_empty() and only_rec["qrels"].is_empty()
    write(lake, "ingest", only_rec)


def test_what_cannot_be_judged_is_another_error(lake: Lake) -> None:
    """Candidates without their sets: the expectation raises, which says nothing of the data."""
    with pytest.raises(ContractNotEvaluated, match="could not be evaluated"):
        write(lake, "candidates", {"candidates": batches.pooled()["candidates"]})
    assert lake.rows("select count(*) from quarantine.candidates__candidates").item() == 6
    with pytest.raises(ContractNotEvaluated, match="has a contract"):
        validate_batch(
            Staged("ingest", "k", {"contract_checks": "staging.contract_checks__k"}, lake.home, "")
        )


def test_training_batch_with_rollouts(prepared: Lake) -> None:
    lake = prepared
    batch = batches.evaluated()
    tables = {
        "episodes": batch["episodes"].with_columns(stage=pl.lit("train"), set_id=pl.lit("s1")),
        "steps": batch["steps"],
        "training_metrics": pl.DataFrame(
            {"phase": ["sft", "rl"], "step": [1, 1], "name": ["loss", "reward"], "value": [2.0, 0.1]}
        ),
    }
    lake.write(
        "train",
        "train",
        tables,
        inputs=["candidates", "distill"],
        parameters="{}",
        code="c",
        read_snapshot=1,
        details={},
        check=validate_batch,
    )
    diverged = tables["training_metrics"].with_columns(value=pl.Series([float("nan"), 0.1]))
    with pytest.raises(ContractViolated, match="training_metrics/finite"):
        lake.write(
            "train",
            "train",
            tables | {"training_metrics": diverged},
            inputs=["candidates", "distill"],
            parameters="{}",
            code="c",
            read_snapshot=1,
            details={},
            check=validate_batch,
        )
    assert lake.rows("select count(*) from training_metrics").item() == 2


def test_model_version_needs_its_stages(lake: Lake) -> None:
    row = pl.DataFrame(
        [
            {
                "name": "r1",
                "version": "1",
                "run_id": "r",
                "train_key": "nope",
                "evaluate_key": "nope",
                "alias": "challenger",
                "verdict": "not promoted",
                "registered_at": batches.WHEN,
            }
        ]
    )
    with pytest.raises(ContractViolated, match="model_versions/stages_known"):
        lake.write(
            "register",
            "register",
            {"model_versions": row},
            inputs=[],
            parameters="{}",
            code="c",
            read_snapshot=1,
            details={},
            check=validate_batch,
        )


def test_tables_too_large_to_copy_are_judged_where_they_lie(prepared: Lake) -> None:
    batch, n = batches.evaluated(), COPIED + 1
    ids = pl.Series([f"e{i}" for i in range(n)])
    large = {
        table: pl.concat([batch[table].head(1)] * n).with_columns(episode_id=ids)
        for table in ("episodes", "steps")
    }
    assert write(prepared, "evaluate", large).rows == {"episodes": n, "steps": n}
    with pytest.raises(ContractViolated, match="steps/answer_is_action"):
        write(
            prepared,
            "evaluate",
            large | {"steps": large["steps"].with_columns(completion=pl.lit("<answer> B A C </answer>"))},
        )


def test_importing_contracts_does_not_import_great_expectations() -> None:
    script = "import sys, contracts, contracts.gate; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=False).returncode == 0
