"""The whole road on the tiny preset: what it leaves in the lake, that it does nothing twice, that its
report tells the truth.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from safetensors.numpy import load_file
from typer.testing import CliRunner, Result

from flows import stages
from flows.retrain import READS, REPEATS, Outcome, at_gate, decided, retrain, run_stage
from ranker.cli.main import app
from ranker.config import STAGES, RetrainParams, parse_params
from ranker.errors import BadSource, StageMissing, StageTimedOut
from ranker.lake import Lake, open_lake
from ranker.refs import PROJECT, Ref
from ranker.reports import report
from ranker.stages import register, registry
from tests.flows.conftest import SHORT
from tests.full_length import at_full_length, length
from tests.ranker.cli.commands import document
from tests.ranker.evaluated import ACCEPT, commit, registered, scored, trained

TABLES = (
    "items",
    "queries",
    "qrels",
    "sources",
    "candidate_sets",
    "candidates",
    "traces",
    "teacher_scores",
    "training_metrics",
    "episodes",
    "steps",
    "evaluations",
    "comparisons",
    "model_versions",
    "stage_runs",
    "contract_results",
)


def counts(params: RetrainParams) -> dict[str, int]:
    with open_lake(params.home_path, read_only=True) as lake:
        return {table: lake.rows(f"select count(*) from {table}").item() for table in TABLES}


def ranker(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, arguments, input=stdin, env={"COLUMNS": "200"})


def latest_run() -> tuple[str, Counter[str]]:
    """State of the latest flow run, and how many of its task runs ended in which state."""
    with get_client(sync_client=True) as client:
        run = max(client.read_flow_runs(), key=lambda found: found.created)
        states = Counter(
            task.state_name or "" for task in client.read_task_runs() if task.flow_run_id == run.id
        )
        return run.state_name or "", states


def test_importing_the_flow_loads_no_heavy_library() -> None:
    heavy = ("torch", "transformers", "trl", "great_expectations", "mlflow")
    script = f"import sys, flows.retrain; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT
        ).stdout.strip()
        == "[]"
    )


def test_every_stage_leaves_its_rows(outcome: Outcome, params: RetrainParams) -> None:
    assert list(outcome.stages) == list(STAGES)
    assert not any(ref.skipped for ref in outcome.stages.values())
    with open_lake(params.home_path, read_only=True) as lake:
        for ref in outcome.stages.values():
            assert sum(ref.rows.values()) > 0
            for table, rows in ref.rows.items():
                assert (
                    lake.rows(f"select count(*) from {table} where batch_id = $key", {"key": ref.key}).item()
                    == rows
                )
        failed = lake.rows("select count(*) from contract_results where not success").item()
        judged = set(lake.rows("select distinct stage from contract_results").to_series())
    assert failed == 0
    assert judged == set(STAGES), "every stage has a contract"
    assert counts(params)["stage_runs"] == len(STAGES)


def test_stages_record_what_they_read(outcome: Outcome, params: RetrainParams) -> None:
    with open_lake(params.home_path, read_only=True) as lake:
        runs = {row["stage"]: row for row in lake.rows("select * from stage_runs").iter_rows(named=True)}
    for stage, read in READS.items():
        assert set(runs[stage]["inputs"]) == {outcome.stages[other].key for other in read}
    assert all(row["flow_run"] for row in runs.values())


def test_test_queries_were_never_trained_on(outcome: Outcome, params: RetrainParams) -> None:
    with open_lake(params.home_path, read_only=True) as lake:
        leaked = lake.rows(
            "select count(*) from traces t join candidate_sets s using (set_id) where s.split = 'test'"
        ).item()
        evaluated = (
            lake.rows(
                "select distinct s.split from episodes e join candidate_sets s using (set_id) where e.stage ="
                " 'evaluate'"
            )
            .to_series()
            .to_list()
        )
        groups = lake.rows(
            "select count(*) from (select group_id from candidate_sets group by group_id having"
            " count(distinct split) > 1)"
        ).item()
    assert (leaked, evaluated, groups) == (0, ["test"], 0)


def test_the_report_says_what_the_lake_says(outcome: Outcome, params: RetrainParams) -> None:
    page = outcome.report.read_text(encoding="utf-8")
    assert outcome.report == params.home_path / "reports" / f"{outcome.stages['evaluate'].key}.html"
    with open_lake(params.home_path, read_only=True) as lake:
        held = lake.rows(
            "select task, arm, strategy, thinking, value, lower, upper from evaluations where metric = 'RR'"
        )
        shown = report.gather(lake, outcome.stages["evaluate"].key)
        gain = lake.rows("""select difference, lower, upper from comparisons
                            where arm = 'rl' and against = 'sft' and metric = 'RR' and strategy = 'iterative'
                            and thinking""").row(0)
    assert len(shown.rows) == held.height
    for row in held.iter_rows(named=True):
        assert (
            f'{row["value"]:.3f} <span class="soft">[{row["lower"]:.3f}, {row["upper"]:.3f}]</span>' in page
        )
    assert '{:+.3f} <span class="soft">[{:+.3f}, {:+.3f}]</span>'.format(*gain) in page
    doubtful = [row for row in shown.rows if not row.baseline and row.mark != "above chance"]
    assert ("Not above chance" in page) == bool(doubtful), "an arm that does not beat chance is shown as such"


def test_the_commands_give_programs_what_they_did(
    outcome: Outcome, params: RetrainParams, home: Path, tmp_path: Path
) -> None:
    """All of it was done before."""
    (given := tmp_path / "params.json").write_text(params.model_dump_json(by_alias=True))
    whole = document("retrain", "--params", str(given), "--preset", "tiny")
    assert [one["key"] for one in whole["stages"].values()] == [ref.key for ref in outcome.stages.values()]
    assert all(one["skipped"] for one in whole["stages"].values())
    assert Path(whole["report"]).is_file() and whole["version"]["alias"] and whole["rows"]
    one = document("run", "evaluate", "--params", str(given), "--preset", "tiny")
    assert (one["key"], one["skipped"]) == (outcome.stages["evaluate"].key, True)


def test_the_command_line_prints_the_same_numbers(
    outcome: Outcome, params: RetrainParams, home: Path
) -> None:
    printed = ranker("report").stdout
    with open_lake(home, read_only=True) as lake:
        held = lake.rows(
            "select value, lower, upper from evaluations where metric = 'RR' and arm in ('rl', 'sft',"
            " 'untrained', 'teacher')"
        )
    for value, lower, upper in held.iter_rows():
        assert f"{value:.3f}" in printed and f"{lower:.3f}–{upper:.3f}" in printed
    assert "rl − sft" in printed


def test_the_leaderboard_answers_in_every_format(outcome: Outcome, home: Path) -> None:
    sql = "select task, arm, mrr from leaderboard where arm in ('rl', 'random')"
    assert "synthetic" in ranker("query", sql).stdout
    from_csv = pl.read_csv(io.StringIO(ranker("query", "--format", "csv", sql).stdout))
    from_json = pl.DataFrame(json.loads(ranker("query", "--format", "json", sql).stdout))
    assert from_csv.sort("arm", "mrr").equals(from_json.sort("arm", "mrr"))
    assert from_csv.filter(arm="rl").height == 4


def test_a_second_run_skips_every_stage_and_adds_nothing(outcome: Outcome, params: RetrainParams) -> None:
    before = counts(params)
    again = retrain(params)
    assert all(ref.skipped for ref in again.stages.values())
    assert [ref.key for ref in again.stages.values()] == [ref.key for ref in outcome.stages.values()]
    assert counts(params) == before
    assert latest_run() == ("Completed", Counter({"Skipped": len(STAGES)}))


def test_every_stage_publishes_an_artifact(outcome: Outcome) -> None:
    with get_client(sync_client=True) as client:
        found = {artifact.key: str(artifact.data) for artifact in client.read_latest_artifacts()}
    assert set(STAGES) | {"report"} <= set(found)
    assert "above chance" in found["evaluate"] and "RL minus SFT" in found["evaluate"]
    assert outcome.stages["register"].details["verdict"] in found["register"]
    assert "expectations" in found["ingest"] and "holds" in found["ingest"]


def test_one_stage_alone_finds_what_it_reads(outcome: Outcome, params: RetrainParams) -> None:
    assert run_stage(params, "evaluate") == outcome.stages["evaluate"].model_copy(update={"skipped": True})


def test_one_stage_alone_says_what_it_lacks(outcome: Outcome, params: RetrainParams) -> None:
    before = counts(params)
    other = params.model_copy(update={"candidates": params.candidates.model_copy(update={"seed": 99})})
    with pytest.raises(StageMissing, match="candidates has not"):
        run_stage(other, "train")
    assert counts(params) == before


def test_a_forced_stage_is_done_again_without_doubling(outcome: Outcome, params: RetrainParams) -> None:
    before = counts(params)
    forced = run_stage(params.model_copy(update={"force": ("distill",)}), "distill")
    assert not forced.skipped
    assert forced.key == outcome.stages["distill"].key
    assert counts(params) == before


@at_full_length
@pytest.mark.parametrize("seconds", length([0.6], [0.2, 0.6, 1.0]))
def test_a_stage_that_takes_too_long_ends_with_one_sentence(tmp_path: Path, seconds: float) -> None:
    """It is stopped where it is, and leaves nothing half-done: without the limit it goes on."""
    own = tmp_path / "own"
    given = {"preset": "tiny", "home": str(own)}
    open_lake(own).close()
    with pytest.raises(StageTimedOut, match=r"timeouts\.ingest") as stopped:
        run_stage(parse_params({**given, "timeouts": {"ingest": seconds}}), "ingest")
    assert f"still at work after {seconds:g} s" in stopped.value.seen
    with open_lake(own, read_only=True) as lake:
        assert lake.rows("select count(*) from queries").item() == 0
    unlimited, limited = (
        run_stage(parse_params({**given, "timeouts": limits}), "ingest") for limits in ({}, {"ingest": 600})
    )
    assert not unlimited.skipped and limited.skipped  # how long it may take is no part of what it does


def test_bad_input_is_not_retried_and_leaves_the_tables_alone(
    outcome: Outcome, params: RetrainParams, tmp_path: Path
) -> None:
    before = counts(params)
    ingest = params.ingest.model_copy(
        update={"tasks": ("rec-movie",), "locations": {"rec-movie": str(tmp_path / "nowhere")}}
    )
    with pytest.raises(BadSource, match="nowhere"):
        retrain(params.model_copy(update={"ingest": ingest}))
    assert counts(params) == before
    assert latest_run() == ("Failed", Counter({"Failed": 1}))


@pytest.fixture
def own(outcome: Outcome, params: RetrainParams, tmp_path: Path) -> Path:
    """A data folder of its own, whose model is champion whatever the rule said."""
    copy = tmp_path / "own"
    for part in ("lake", "models"):
        shutil.copytree(params.home_path / part, copy / part)
    shutil.copy(params.home_path / "mlflow.db", copy)
    version = outcome.stages["register"].details["version"]
    registry.promote(copy, params.register_, version, anyway=True, smoke=lambda chosen: None)
    return copy


def test_a_night_with_little_new_data_ends_after_the_candidates_and_says_so(
    outcome: Outcome, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {**SHORT, "preset": "tiny", "home": str(own), "min_new_data": 0.2}
    quiet = retrain(parse_params(given))
    assert latest_run()[1] == Counter({"Skipped": 2})
    assert list(quiet.stages) == ["ingest", "candidates"] and quiet.report is None
    assert quiet.not_due.startswith("0.0% new ") and "champion version" in quiet.not_due
    task = (
        (PROJECT / "ranker" / "tasks" / "synthetic.toml")
        .read_text()
        .replace("queries = 400", "queries = 440")
    )
    (own / "tasks").mkdir()
    (own / "tasks" / "synthetic.toml").write_text(task)
    monkeypatch.setenv("RANKER_TASKS", str(own / "tasks"))
    grown = retrain(parse_params(given))
    assert latest_run()[1] == Counter({"Completed": 2})
    assert "9.1% new " in grown.not_due and "(synthetic: 40 of 440)" in grown.not_due
    with get_client(sync_client=True) as client:
        run = max(client.read_flow_runs(), key=lambda found: found.created)
    assert run.state is not None and run.state.is_completed() and run.state.message == grown.not_due


def test_training_goes_on_from_the_champion(outcome: Outcome, own: Path) -> None:
    first = outcome.stages["train"].key
    short = {
        "policy": {"init_from": "champion"},
        "sft": {"max_steps": 1},
        "grpo": {"max_steps": 0},
        "threads": 1,
    }
    warm = parse_params({**SHORT, "preset": "tiny", "home": str(own), "train": short})
    ref = run_stage(warm, "train")
    assert ref.key != first and ref.details["champion"]["train_key"] == first
    begun, champion = (
        load_file(own / "models" / model / "model.safetensors")
        for model in (f"{ref.key}/untrained", f"{first}/rl")
    )
    assert set(begun) == set(champion) and all((begun[name] == champion[name]).all() for name in begun)
    assert run_stage(warm, "train").skipped


def test_the_model_is_registered_and_ranks(outcome: Outcome, params: RetrainParams, home: Path) -> None:
    serving = registry.latest(home, params.register_)
    assert serving is not None
    assert (home / serving.model / "config.json").is_file()
    request = ranker("rank", "--example", "synthetic").stdout
    answer = json.loads(ranker("rank", stdin=request).stdout)
    wanted = [candidate["id"] for candidate in json.loads(request)["candidates"]]
    assert sorted(item["id"] for item in answer["ranking"]) == sorted(wanted)
    assert len(answer["steps"]) == len(wanted) - 1
    direct = json.loads(ranker("rank", "--strategy", "direct", "--no-think", stdin=request).stdout)
    assert (direct["calls"], direct["thinking"]) == (1, False)


def test_a_champion_that_changes_before_the_verdict_is_the_one_to_beat(
    outcome: Outcome, copied: RetrainParams, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody promotes another version each time that an evaluation has ended; then but one more time."""
    home, named = copied.home_path, copied.register_
    with open_lake(home) as lake:
        others = [model_of(outcome, lake, key) for key in ("b" * 16, "c" * 16)]
        register.run(lake, named, trained=others[0], scores=scored(lake, "bb01", others[0]), check=ACCEPT)
    coming: list[str] = []

    def promoted(version: str) -> None:
        registry.promote(home, named, version, anyway=True, smoke=lambda chosen: None)

    def moved(*_: object) -> None:
        if coming:
            promoted(coming.pop(0))

    monkeypatch.setattr(stages, "evaluate", stages.evaluate.with_options(on_completion=[moved]))

    @flow
    def deciding() -> tuple[Ref, Ref]:
        short = {"models": ("rl",), "strategies": ("direct",), "thinking": (False,), "max_queries": 8}
        params = copied.model_copy(update={"evaluate": copied.evaluate.model_copy(update=short)})
        return decided(params, outcome.stages["candidates"], outcome.stages["distill"], others[1])

    def repeated() -> int:
        return caplog.text.count("evaluated again beside the present one")

    promoted("1")
    coming[:] = ["2", "1", "2"]
    _, verdict = deciding()
    assert verdict.details["outdated"] and "evaluate again" in verdict.details["verdict"]
    assert repeated() == REPEATS == 2 and not coming
    coming[:] = ["1"]
    scores, verdict = deciding()
    assert (verdict.details["against"], verdict.details["outdated"]) == ("1", False)
    assert scores.details["champion"] == f"{outcome.stages['train'].key}/rl"
    assert "no paired comparison" not in verdict.details["verdict"]
    assert repeated() == REPEATS + 1
    assert scores.skipped and not verdict.skipped, "a refusal of that kind does not count as done"


def model_of(outcome: Outcome, lake: Lake, key: str) -> Ref:
    """A training whose policy has the weights of the shared one."""
    made = trained(lake, key)
    weights = Path(outcome.stages["train"].details["model"]) / "rl"
    shutil.copytree(lake.home / weights, lake.home / "models" / key / "rl", dirs_exist_ok=True)
    return made


def test_a_retraining_goes_on_to_the_gate_that_is_fresh(tmp_path: Path) -> None:
    fields = {"gates": 3, "max_test": 50}
    params = parse_params({"home": str(tmp_path), "candidates": fields, "register": {"looks": 1}})
    assert at_gate(params).candidates.gate == 1
    facts = {"seed": str(params.candidates.seed), "test_share": 0.25, "gates": 3, "gate": 1}
    with open_lake(tmp_path) as lake:
        commit(lake, "candidates", "c1", {}, details=facts)
        commit(lake, "evaluate", "e1", {}, inputs=("c1",))
        registered(lake, "r1", "e1", range(5))
    moved = at_gate(params)
    assert moved.candidates == params.candidates.model_copy(update={"gate": 2})
    assert parse_params({"home": "/nowhere"}) == at_gate(parse_params({"home": "/nowhere"})), (
        "none is asked for"
    )
