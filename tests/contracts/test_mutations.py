"""Seeded defects, one by one, in batches that stages really wrote: each is caught by the expectation that is
meant for it.

A defect is one SQL statement on the staging tables of a batch that had passed; `{table}` is the staging
table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker.config import CandidateParams, IngestParams
from ranker.datasets import readers
from ranker.errors import BatchRejected
from ranker.lake import Lake, open_lake
from ranker.lake.connection import fill
from ranker.refs import PROJECT, Ref, Staged, Verdict
from ranker.stages import candidates, ingest
from tests.contracts import road
from tests.ranker.material import SHARED, needs_shared


@dataclass(frozen=True)
class Road:
    """The lake after six stages, and their batches laid out again in staging."""

    lake: Lake
    refs: dict[str, Ref]

    def staged(self, stage: str) -> Staged:
        run = self.lake.rows("select * from stage_runs where stage = $stage", {"stage": stage}).row(
            0, named=True
        )
        tables = {table: f"staging.{table}__{run['batch_id']}" for table in json.loads(run["rows_written"])}
        return Staged(
            stage, run["batch_id"], tables, self.lake.home, "", tuple(run["inputs"]), run["parameters"]
        )

    def lay_out(self, staged: Staged, tables: Sequence[str]) -> None:
        for table in tables:
            sql = fill(
                "create or replace table {staging} as from {table} where batch_id = $key",
                staging=staged.tables[table],
                table=table,
            )
            self.lake.execute(sql, {"key": staged.key})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    folder = tmp_path_factory.mktemp("road")
    (folder / "sources").mkdir()
    with open_lake(folder / "home") as lake, pytest.MonkeyPatch.context() as patch:
        made = Road(lake, road.whole(lake, folder / "sources", patch))
        for stage in made.refs:
            staged = made.staged(stage)
            made.lay_out(staged, list(staged.tables))
        yield made


def verdicts(staged: Staged) -> tuple[bool, Sequence[Verdict]]:
    """Whether the batch is accepted, and what was said of it."""
    try:
        return True, validate_batch(staged)
    except BatchRejected as refused:
        return False, refused.verdicts


ONE_SET = "select min(set_id) from {candidate_sets} where task = 'rec-movie'"
ONE_EPISODE = "select min(episode_id) from {episodes} where strategy = 'iterative'"
OWN_SETS = "batch_id in (select batch_id from stage_runs where stage = 'candidates')"

# stage, table, expectation (the start of its name), the statement
DEFECTS: list[tuple[str, str, str, str]] = [
    # what every table promises
    (
        "ingest",
        "qrels",
        "types",
        (
            "create or replace table {qrels} as select * replace (relevance::decimal(9, 3) as relevance) from"
            " {qrels}"
        ),
    ),
    ("ingest", "items", "types", "alter table {items} rename column title to name"),
    ("ingest", "items", "batch_id is one of", "update {items} set batch_id = 'other' where item_id = '0'"),
    # ingest
    (
        "ingest",
        "sources",
        "rows_read is at least 1",
        "update {sources} set rows_read = 0 where task = 'rec-movie'",
    ),
    (
        "ingest",
        "sources",
        "content_digest is not empty",
        "update {sources} set content_digest = '' where task = 'rec-movie'",
    ),
    ("ingest", "sources", "sources/has_items", "delete from {items} where task = 'synthetic'"),
    ("ingest", "sources", "sources/has_signal", "delete from {interactions} where task = 'rec-movie'"),
    ("ingest", "items", "has rows", "delete from {items}"),
    ("ingest", "items", "items/source_known", "delete from {sources} where task = 'rec-movie'"),
    (
        "ingest",
        "items",
        "text is not empty",
        "update {items} set text = '' where task = 'rec-movie' and item_id = '0'",
    ),
    (
        "ingest",
        "items",
        "task, item_id are together unique",
        "insert into {items} from {items} where item_id = '0'",
    ),
    (
        "ingest",
        "interactions",
        "rating is between 0 and 10",
        "update {interactions} set rating = 11 where task = 'rec-movie' and user_id = '1'",
    ),
    (
        "ingest",
        "interactions",
        "interactions/item_known",
        "update {interactions} set item_id = 'ghost' where task = 'rec-movie' and user_id = '1'",
    ),
    (
        "ingest",
        "interactions",
        "interactions/source_known",
        "update {interactions} set task = 'ghost' where user_id = '1'",
    ),
    (
        "ingest",
        "queries",
        "queries/judged",
        "delete from {qrels} where task = 'synthetic' and query_id = 'q7'",
    ),
    (
        "ingest",
        "queries",
        "queries/source_known",
        "update {queries} set task = 'ghost' where query_id = 'q7'",
    ),
    (
        "ingest",
        "queries",
        "group_id is not null",
        "update {queries} set group_id = null where query_id = 'q7'",
    ),
    ("ingest", "qrels", "qrels/references", "update {qrels} set item_id = 'ghost' where query_id = 'q7'"),
    ("ingest", "qrels", "relevance is between 0", "update {qrels} set relevance = -1 where query_id = 'q7'"),
    # candidates: sets
    (
        "candidates",
        "candidate_sets",
        "split is one of",
        f"update {{candidate_sets}} set split = 'dev' where set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidate_sets",
        "candidate_sets/pool_as_promised",
        (
            "delete from {candidates} where relevance = 0 and slot = (select max(slot) from {candidates}"
            f" where relevance = 0 and set_id = ({ONE_SET})) and set_id = ({ONE_SET})"
        ),
    ),
    # both agree with one another, and not with what was promised
    (
        "candidates",
        "candidate_sets",
        "candidate_sets/pool_as_promised",
        f"update {{candidate_sets}} set pool_size = pool_size - 1 where set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidate_sets",
        "candidate_sets/has_positive",
        f"update {{candidates}} set relevance = 0 where set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidate_sets",
        "candidate_sets/group_on_one_side",
        (
            "update {candidate_sets} set split = 'test' where set_id = (select min(set_id) from"
            " {candidate_sets} where task = 'rec-movie' and split = 'train')"
        ),
    ),
    (
        "candidates",
        "candidate_sets",
        "candidate_sets/query_on_one_side",
        (
            "insert into {candidate_sets} by name select * replace ('copy' as set_id, 'test' as split) from"
            " {candidate_sets} where set_id = (select min(set_id) from {candidate_sets} where task ="
            " 'synthetic' and split = 'train')"
        ),
    ),
    (
        "candidates",
        "candidate_sets",
        "candidate_sets/text_on_one_side",
        (
            "update {candidate_sets} set query = (select upper(min(query)) || '  ' from {candidate_sets}"
            " where task = 'passage-pydoc' and split = 'train') where set_id = (select min(set_id) from"
            " {candidate_sets} where task = 'passage-pydoc' and split = 'test')"
        ),
    ),
    (
        "candidates",
        "candidate_sets",
        (
            "candidate_sets/near_duplicates: none of: Queries that read like one of another side (train,"
            " valid, test), where more than a share 0.1"
        ),
        (
            "update {candidate_sets} set query = 'How do one two three four five six seven eight nine come to"
            " ' || split where task = 'router-performance' and ascii(set_id) % 3 = 0"
        ),
    ),
    (
        "candidates",
        "candidate_sets",
        (
            "candidate_sets/near_duplicates: none of: Queries that read like one of another side (train,"
            " valid, test), where more than a share 0 "
        ),
        (
            "update {candidate_sets} set query = 'How do one two three four five six seven eight nine come to"
            " ' || split where set_id in (select min(set_id) from {candidate_sets} where task ="
            " 'router-performance' and split in ('train', 'test') group by split)"
        ),
    ),
    (
        "candidates",
        "candidate_sets",
        "candidate_sets/query_known",
        (
            "update {candidate_sets} set query_id = 'ghost' where set_id = (select min(set_id) from"
            " {candidate_sets} where task = 'synthetic')"
        ),
    ),
    (
        "candidates",
        "candidate_sets",
        "candidate_sets/history_touched",
        f"update {{candidate_sets}} set query_items = ['ghost'] where set_id = ({ONE_SET})",
    ),
    # candidates: pools
    (
        "candidates",
        "candidates",
        "candidates/set_known",
        f"update {{candidates}} set set_id = 'ghost' where slot = 0 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidates",
        "candidates/slots",
        f"update {{candidates}} set slot = 99 where slot = 0 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidates",
        "set_id, label are together unique",
        f"update {{candidates}} set label = 'B' where slot = 0 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidates",
        "set_id, item_id are together unique",
        f"update {{candidates}} set item_id = '1' where slot < 2 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidates",
        "candidates/text_once",
        f"update {{candidates}} set text = 'Film' where slot < 2 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidates",
        "text is not empty",
        f"update {{candidates}} set text = '' where slot = 0 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidates",
        "candidates/slot_of_best_uniform",
        (
            "update {candidates} set slot = moved.slot from (select set_id, item_id, row_number() over"
            " (partition by set_id order by relevance desc, slot) - 1 as slot from {candidates}) moved where"
            " moved.set_id = {candidates}.set_id and moved.item_id = {candidates}.item_id"
        ),
    ),
    (
        "candidates",
        "candidates",
        "candidates/item_known",
        f"update {{candidates}} set item_id = 'ghost' where slot = 0 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidates",
        "candidates/relevance_as_judged",
        (
            "update {candidates} set relevance = 1 where relevance = 0 and set_id = (select min(c.set_id)"
            " from {candidates} c join {candidate_sets} s on s.set_id = c.set_id where s.task ="
            " 'passage-pydoc')"
        ),
    ),
    (
        "candidates",
        "candidates",
        "candidates/not_in_history",
        (
            "update {candidates} set item_id = (select query_items[1] from {candidate_sets} where set_id"
            f" = ({ONE_SET})) where set_id = ({ONE_SET}) and slot = (select min(slot) from {{candidates}}"
            f" where relevance = 0 and set_id = ({ONE_SET}))"
        ),
    ),
    (
        "candidates",
        "candidates",
        "candidates/negatives_untouched",
        (
            "update {candidates} set item_id = (select max(n.item_id) from interactions n join"
            " {candidate_sets} s on s.task = n.task and s.group_id = n.user_id where s.set_id ="
            f" ({ONE_SET}) and not list_contains(s.query_items, n.item_id)) where set_id = ({ONE_SET}) and"
            f" slot = (select min(slot) from {{candidates}} where relevance = 0 and set_id = ({ONE_SET}))"
        ),
    ),
    (
        "candidates",
        "candidates",
        "candidates/positives_touched",
        (
            f"update {{candidates}} set relevance = 1 where set_id = ({ONE_SET}) and slot = (select min(slot)"
            f" from {{candidates}} where relevance = 0 and set_id = ({ONE_SET}))"
        ),
    ),
    # distill
    (
        "distill",
        "traces",
        "traces/set_in_train",
        (
            "update {traces} set set_id = (select min(set_id) from candidate_sets where split = 'test' and"
            f" task = 'synthetic' and {OWN_SETS}) where trace_id = (select min(trace_id) from {{traces}}"
            " where task = 'synthetic')"
        ),
    ),
    (
        "distill",
        "traces",
        "traces/pool_known",
        (
            "update {traces} set pool = list_append(pool, 'ZZ') where trace_id = (select min(trace_id) from"
            " {traces})"
        ),
    ),
    (
        "distill",
        "traces",
        "traces/action_in_pool",
        "update {traces} set action = ['ZZ'] where trace_id = (select min(trace_id) from {traces})",
    ),
    (
        "distill",
        "traces",
        "traces/accepted_or_reason",
        (
            "update {traces} set reason = 'odd' where trace_id = (select min(trace_id) from {traces} where"
            " accepted)"
        ),
    ),
    (
        "distill",
        "traces",
        "traces/accepted_is_complete",
        (
            "update {traces} set action = action[:-2] where trace_id = (select min(trace_id) from {traces}"
            " where accepted and mode = 'rank' and len(action) > 2)"
        ),
    ),
    (
        "distill",
        "traces",
        "traces/answer_is_action",
        (
            "update {traces} set completion = replace(completion, '<answer> A </answer>', '<answer> B"
            " </answer>') where trace_id = (select min(trace_id) from {traces} where action = ['A'])"
        ),
    ),
    (
        "distill",
        "traces",
        "traces/accepted_by_label",
        (
            "update {traces} set accepted = true, reason = '' where trace_id = (select min(trace_id) from"
            " {traces} where reason = 'excludes_best')"
        ),
    ),
    (
        "distill",
        "traces",
        "traces/accepted_by_label",
        (
            "update {traces} set accepted = true, reason = '' where trace_id = (select min(trace_id) from"
            " {traces} where reason = 'ranks_best_low')"
        ),
    ),
    (
        "distill",
        "traces",
        "trace_id is unique",
        "insert into {traces} from {traces} where trace_id = (select min(trace_id) from {traces})",
    ),
    (
        "distill",
        "teacher_scores",
        "teacher_scores/candidate_known",
        "update {teacher_scores} set label = 'ZZ' where label = 'A'",
    ),
    (
        "distill",
        "teacher_scores",
        "teacher_scores/finite",
        "update {teacher_scores} set score = 'nan' where label = 'A'",
    ),
    (
        "distill",
        "teacher_scores",
        "teacher_scores/pools_whole",
        (
            "delete from {teacher_scores} where label = 'A' and set_id = (select min(set_id) from"
            " {teacher_scores})"
        ),
    ),
    (
        "distill",
        "teacher_scores",
        "set_id, label, teacher are together unique",
        "insert into {teacher_scores} from {teacher_scores} where label = 'A'",
    ),
    # train
    (
        "train",
        "training_metrics",
        "training_metrics/finite",
        "update {training_metrics} set value = 'nan' where step = 0",
    ),
    (
        "train",
        "episodes",
        "episodes/set_of_right_split",
        (
            "update {episodes} set set_id = (select min(set_id) from candidate_sets where split = 'test'"
            f" and {OWN_SETS})"
        ),
    ),
    (
        "train",
        "episodes",
        "episodes/ranking_of_steps",
        "update {episodes} set ranking = list_reverse(ranking)",
    ),
    # evaluate: episodes and steps
    (
        "evaluate",
        "episodes",
        "episodes/set_of_right_split",
        (
            "update {episodes} set set_id = (select min(set_id) from candidate_sets where split = 'train'"
            f" and task = 'rec-movie' and {OWN_SETS}) where episode_id = ({ONE_EPISODE})"
        ),
    ),
    (
        "evaluate",
        "episodes",
        "episodes/ranking_is_permutation",
        (
            "update {episodes} set ranking = list_append(ranking[2:], ranking[2]) where episode_id ="
            f" ({ONE_EPISODE})"
        ),
    ),
    (
        "evaluate",
        "episodes",
        "episodes/ranking_of_steps",
        f"update {{episodes}} set ranking = list_reverse(ranking) where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "episodes",
        "episodes/steps_agree",
        f"update {{episodes}} set calls = calls + 1 where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "episodes",
        "rr is between 0 and 1",
        f"update {{episodes}} set rr = 1.5 where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "episodes",
        "episode_id is unique",
        f"insert into {{episodes}} from {{episodes}} where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps",
        "steps/episode_known",
        f"update {{steps}} set episode_id = 'ghost' where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps",
        "steps/labels_in_pool",
        f"update {{steps}} set taken = ['ZZ'] where step = 0 and episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps",
        "steps/valid_or_reason",
        f"update {{steps}} set valid = not valid where step = 0 and episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps",
        "steps/reward_adds_up",
        f"update {{steps}} set reward = reward + 0.5 where step = 0 and episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps",
        "steps/reward_parts_in_range",
        (
            "update {steps} set reward_format = -0.5, reward = reward - reward_format - 0.5 where step = 0"
            f" and episode_id = ({ONE_EPISODE})"
        ),
    ),
    (
        "evaluate",
        "steps",
        "steps/answer_is_action",
        (
            "update {steps} set completion = '<answer> ZZ </answer>' where step = 0 and episode_id = (select"
            " min(episode_id) from {steps} where step = 0 and valid)"
        ),
    ),
    (
        "evaluate",
        "steps",
        "steps/numbered",
        f"update {{steps}} set step = step + 1 where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps",
        "steps/pool_follows",
        (
            "update {steps} set pool = list_append(pool, 'ZZ') where step = 1 and episode_id ="
            f" ({ONE_EPISODE})"
        ),
    ),
    (
        "evaluate",
        "steps",
        "steps/scores_fit",
        f"update {{steps}} set scores = [-0.5] where step = 0 and episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps",
        "milliseconds is at least 0",
        f"update {{steps}} set milliseconds = -1 where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "episodes",
        "episodes/steps_agree",
        f"delete from {{steps}} where step = 0 and episode_id = ({ONE_EPISODE})",
    ),
    # evaluate: means and differences
    (
        "evaluate",
        "evaluations",
        "evaluations/has_random",
        "delete from {evaluations} where arm = 'random' and task = 'synthetic'",
    ),
    (
        "evaluate",
        "evaluations",
        "evaluations/shares",
        "update {evaluations} set value = 1.5, upper = 2 where arm = 'rl' and metric = 'RR'",
    ),
    (
        "evaluate",
        "evaluations",
        "evaluations/interval",
        "update {evaluations} set lower = upper + 0.1 where arm = 'rl' and metric = 'RR'",
    ),
    (
        "evaluate",
        "evaluations",
        "evaluations/episodes_counted",
        "update {evaluations} set queries = queries - 1 where arm = 'rl' and metric = 'RR'",
    ),
    (
        "evaluate",
        "evaluations",
        "evaluations/sets_known",
        "update {evaluations} set task = 'ghost' where arm = 'popularity'",
    ),
    (
        "evaluate",
        "evaluations",
        "metric is one of",
        "update {evaluations} set metric = 'MAP' where arm = 'rl' and metric = 'RR'",
    ),
    (
        "evaluate",
        "comparisons",
        "comparisons/interval",
        "update {comparisons} set upper = 'nan' where arm = 'rl'",
    ),
    (
        "evaluate",
        "comparisons",
        "comparisons/arms_evaluated",
        "update {comparisons} set against = 'ghost' where against = 'random'",
    ),
    # register
    (
        "register",
        "model_versions",
        "model_versions/stages_known",
        "update {model_versions} set train_key = 'ghost'",
    ),
    ("register", "model_versions", "alias is one of", "update {model_versions} set alias = 'best'"),
    # serve
    (
        "serve",
        "served_requests",
        "served_requests/one_episode",
        "update {served_requests} set model = 'ghost' where task = 'rec-movie'",
    ),
    (
        "serve",
        "served_requests",
        "served_requests/one_episode",
        "update {episodes} set set_id = 'ghost' where task = 'rec-movie'",
    ),
    (
        "serve",
        "served_requests",
        "served_requests/pool_whole",
        "delete from {served_candidates} where slot = 0",
    ),
    (
        "serve",
        "served_requests",
        "served_requests/asks",
        "update {served_requests} set query = ' ', query_items = [] where task = 'rec-movie'",
    ),
    (
        "serve",
        "served_requests",
        "set_id is unique",
        "insert into {served_requests} from {served_requests} where task = 'rec-movie'",
    ),
    (
        "serve",
        "served_candidates",
        "served_candidates/request_known",
        "delete from {served_requests} where task = 'rec-movie'",
    ),
    (
        "serve",
        "served_candidates",
        "served_candidates/as_ranked",
        "update {served_candidates} set place = 1 + place % 2 where place < 3",
    ),
    (
        "serve",
        "served_candidates",
        "served_candidates/as_ranked",
        "update {served_candidates} set slot = 1 - slot where slot < 2",
    ),
    (
        "serve",
        "served_candidates",
        "set_id, label are together unique",
        "update {served_candidates} set label = 'B' where slot = 0",
    ),
    (
        "serve",
        "episodes",
        "episodes/ranking_of_steps",
        "update {episodes} set ranking = list_reverse(ranking) where strategy = 'iterative'",
    ),
    # warnings: drift against the last accepted batch
    (
        "ingest",
        "interactions",
        "drift/rows",
        "delete from {interactions} where task = 'rec-movie' and user_id > '12'",
    ),
    (
        "ingest",
        "interactions",
        "interactions/drift_ratings",
        "update {interactions} set rating = least(rating + 3, 10)",
    ),
    (
        "ingest",
        "queries",
        "drift/text",
        "update {queries} set text = text || ' and again ' || text where task = 'router-performance'",
    ),
    (
        "ingest",
        "qrels",
        "qrels/drift_labels",
        "update {qrels} set relevance = 0 where task = 'synthetic' and query_id < 'q3'",
    ),
    (
        "candidates",
        "candidates",
        "candidates/drift_labels",
        "update {candidates} set relevance = 1 where slot < 3",
    ),
    (
        "distill",
        "traces",
        "traces/drift_rejected",
        "update {traces} set accepted = false, reason = 'odd' where trace_id < '8'",
    ),
    (
        "evaluate",
        "episodes",
        "episodes/drift_malformed",
        "update {episodes} set invalid_calls = calls where arm = 'rl'",
    ),
]


@pytest.mark.parametrize(
    ("stage", "table", "expectation", "statement"),
    DEFECTS,
    ids=[f"{n}-{d[1]}" for n, d in enumerate(DEFECTS)],
)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(
    done: Road, stage: str, table: str, expectation: str, statement: str
) -> None:
    staged = done.staged(stage)
    done.lake.execute(
        statement.format(**{name: fill("{t}", t=place) for name, place in staged.tables.items()})
    )
    try:
        accepted, said = verdicts(staged)
    finally:
        done.lay_out(staged, [name for name in staged.tables if f"{{{name}}}" in statement])
    caught = {(v.table, v.expectation): v for v in said if v.success is False}
    found = [v for (where, name), v in caught.items() if where == table and name.startswith(expectation)]
    assert found, f"caught by {sorted(caught)} instead"
    assert all(v.samples for v in found if v.expectation != "has rows"), "what is caught is shown"
    assert accepted == all(v.severity == "warning" for v in caught.values()), (
        "errors keep a batch out, warnings never do"
    )


def test_clean_batches_of_every_source_give_no_alarm(done: Road) -> None:
    assert set(done.lake.rows("select distinct reader from sources").to_series()) == set(readers.readers()), (
        "of every reader that there is"
    )
    assert set(done.lake.rows("select distinct task from candidate_sets").to_series()) == set(road.TASKS)
    said = done.lake.rows("select stage, table_name, expectation, success, accepted from contract_checks")
    assert set(said["stage"]) == set(done.refs) and said.height > 200
    assert not said.filter(pl.col("success").ne_missing(True) | ~pl.col("accepted")).rows()


def test_every_query_of_the_contracts_has_its_defect() -> None:
    written = {
        str(path.relative_to(PROJECT / "sql" / "contracts").with_suffix(""))
        for path in (PROJECT / "sql" / "contracts").rglob("*.sql")
    }
    meant = {
        "unique" if expectation.endswith("together unique") else re.split(r"[:\s]", expectation)[0]
        for _, _, expectation, _ in DEFECTS
    }
    assert not written - meant
    assert len(DEFECTS) >= 30


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
