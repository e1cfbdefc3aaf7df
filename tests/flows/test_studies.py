"""Studies for real on the tiny preset: arms through the stages, what they share skipped, figures as in the
lake.
"""

from __future__ import annotations

import json

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from typer.testing import CliRunner

from flows.studies import STUDIES, conduct, thinking, transfer, validate
from ranker.cli.main import app
from ranker.lake import open_lake
from ranker.refs import Ref
from ranker.studies import curves, design
from ranker.studies.design import Arm, Claim, Study, StudyParams
from ranker.studies.results import StudyResults
from tests.ranker.cli.commands import document

SMALL = {
    "ingest": {"tasks": ["synthetic", "vaswani"]},
    "train": {
        "sft": {"max_steps": 6, "per_device_train_batch_size": 16},
        "grpo": {"max_steps": 2, "per_device_train_batch_size": 8, "num_generations": 4},
        "snapshots": [2, 4],
        "threads": 1,
    },
    "distill": {"traces": 400},
    "evaluate": {"max_queries": 24, "strategies": ["direct"], "thinking": [False], "models": ["sft", "rl"]},
}
STUDY = Study(
    "small",
    "Do arms share what they have in common?",
    "tiny",
    base=SMALL,
    arms=(Arm("direct"), Arm("iterative too", {"evaluate": {"strategies": ["direct", "iterative"]}})),
    claims=lambda results: [
        Claim("it was measured", len(results.arms) == 2, f"{results.pooled.height} values"),
        Claim("it was not", False, "as told"),
    ],
)


@flow(name="small")
def small(params: StudyParams) -> tuple[StudyResults, ...]:
    return (conduct(STUDY, params),)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> StudyParams:
    return StudyParams(home=str(tmp_path_factory.mktemp("studies")))


@pytest.fixture(scope="module")
def said(asked: StudyParams, server: None) -> StudyResults:
    return small(asked)[0]


def refs(asked: StudyParams, stage: str) -> list[Ref]:
    with open_lake(asked.home_path, read_only=True) as lake:
        keys = lake.rows(
            "select batch_id from stage_runs where stage = $stage order by finished_at", {"stage": stage}
        )["batch_id"]
        return [ref for key in keys if (ref := lake.finished(stage, key))]


def test_what_arms_share_is_done_once(said: StudyResults, asked: StudyParams) -> None:
    done = {
        stage: len(refs(asked, stage))
        for stage in ("ingest", "candidates", "distill", "train", "evaluate", "register")
    }
    assert done == {"ingest": 1, "candidates": 1, "distill": 1, "train": 1, "evaluate": 2, "register": 0}


def test_figures_are_those_of_the_lake(said: StudyResults, asked: StudyParams) -> None:
    rows = json.loads((said.folder / "study.json").read_text(encoding="utf-8"))["rows"]
    last = refs(asked, "evaluate")[-1]
    with open_lake(asked.home_path, read_only=True) as lake:
        held = lake.rows(
            "select arm, strategy, value, lower, upper from evaluations where batch_id = $key and metric ="
            " 'RR'",
            {"key": last.key},
        )
    by_row = {
        (row["model"], row["how"].partition(",")[0]): (row["mrr"], row["lower"], row["upper"])
        for row in rows
        if row["arm"] == "iterative too"
    }
    assert len(by_row) == 4
    for arm, strategy, *values in held.iter_rows():
        if strategy != "baseline":
            assert by_row[arm, strategy] == pytest.approx(values)
    assert next(row["mrr"] for row in rows if row["model"] == "random") == pytest.approx(
        held.filter(arm="random")["value"][0]
    )


def test_a_task_without_data_is_told(said: StudyResults) -> None:
    assert said.notes == ("vaswani is left out: no data at vaswani",)


def test_the_table_is_published(said: StudyResults) -> None:
    with get_client(sync_client=True) as client:
        found = {artifact.key: str(artifact.data) for artifact in client.read_latest_artifacts()}
    assert "does not hold" in found["study-small"] and "| synthetic |" in found["study-small"]


def test_again_it_does_nothing_and_says_the_same(
    said: StudyResults, asked: StudyParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(refs(asked, "train")), len(refs(asked, "evaluate"))
    monkeypatch.setitem(STUDIES, "small", small)
    shown = CliRunner().invoke(app, ["study", "small", "--home", asked.home], env={"COLUMNS": "200"})
    assert shown.exit_code == 1, "a claim does not hold"
    assert "does not hold  it was not: as told" in shown.stdout
    assert all(row[5] in shown.stdout for row in said.body)
    (found,) = document("study", "small", "--home", asked.home, code=1)
    assert not found["holds"] and [list(row.values()) for row in found["rows"]] == [*map(list, said.body)]
    assert (len(refs(asked, "train")), len(refs(asked, "evaluate"))) == before


def test_an_unknown_study_is_refused() -> None:
    shown = CliRunner().invoke(app, ["study", "nonsense"])
    assert shown.exit_code == 2 and "prove" in shown.stderr


def test_snapshots_become_points_of_a_curve(said: StudyResults, asked: StudyParams) -> None:
    run = design.plan(STUDY, asked).runs[0]
    sets, trained = refs(asked, "candidates")[0], refs(asked, "train")[0]
    model = asked.home_path / trained.details["model"]
    assert curves.snapshots(model, "sft") == ["untrained", "sft@2", "sft@4"]
    found = {}
    for phase in ("sft", "rl"):
        validated = flow(validate.fn)(run.params, phase, sets, trained)
        with open_lake(asked.home_path, read_only=True) as lake:
            found[phase] = list(curves.points(lake, run.params, sets, trained, validated))
            splits = lake.rows(
                "select distinct split from episodes e join candidate_sets s using (set_id) where e.batch_id"
                " = $key",
                {"key": validated.key},
            )
        assert splits["split"].to_list() == ["valid"]
    assert [(p.phase, p.step, p.examples) for p in curves.curve("sft", found["sft"])] == [
        ("SFT continued", 0, 0),
        ("SFT continued", 2, 32),
        ("SFT continued", 4, 64),
    ]
    assert [(p.phase, p.step, p.examples) for p in curves.curve("rl", found["rl"])] == [
        ("GRPO", 0, 96),
        ("GRPO", 2, 96 + 16),
    ]
    for phase in ("sft", "rl"):
        minutes = [point.minutes for point in curves.curve(phase, found[phase])]
        assert minutes == sorted(set(minutes)), "later snapshots took longer"


def test_trace_transfer_shows_a_real_model_examples_and_stores_what_it_saw(
    said: StudyResults, asked: StudyParams
) -> None:
    model = refs(asked, "train")[0].details["model"]
    own = {
        "preset": "tiny",
        **SMALL,
        "train": {**SMALL["train"], "policy": {"model_name_or_path": f"{model}/sft", "style": "compact"}},
    }
    shown = transfer(StudyParams(home=asked.home, shots=2, base=own))[0]
    ref = refs(asked, "transfer")[0]
    with open_lake(asked.home_path, read_only=True) as lake:
        steps = lake.rows(
            "select e.arm, s.prompt from steps s join episodes e using (batch_id, episode_id) where batch_id"
            " = $key",
            {"key": ref.key},
        )
        splits = lake.rows(
            "select distinct split from episodes e join candidate_sets s using (set_id) where e.batch_id ="
            " $key",
            {"key": ref.key},
        )
    turns = {arm: set(part["prompt"].str.count_matches("<answer>")) for (arm,), part in steps.group_by("arm")}
    assert turns == {"pretrained": {0}, "pretrained + 2 examples": {2}} and splits["split"].to_list() == [
        "test"
    ]
    assert [row[2] for row in shown.body[:2]] == ["pretrained", "pretrained + 2 examples"] and len(
        shown.claims
    ) == 1
    assert len(refs(asked, "distill")) == 1, "the traces that training had are those that are shown"


def test_budgets_of_thinking_are_arms_on_the_same_queries(said: StudyResults, asked: StudyParams) -> None:
    model = refs(asked, "train")[0].details["model"]
    policy = {"model_name_or_path": f"{model}/sft", "style": "compact"}
    own = {"preset": "tiny", **SMALL, "train": {**SMALL["train"], "policy": policy}}
    found = thinking(StudyParams(home=asked.home, budgets=(0, 4, 8), base=own))[0]
    (ref,) = refs(asked, "thinking")
    with open_lake(asked.home_path, read_only=True) as lake:
        rows = lake.rows(
            "select strategy, count(distinct set_id) as queries, sum(invalid_calls) as invalid,"
            " max(completion_tokens) as most from episodes where batch_id = $key group by strategy"
            " order by most, strategy",
            {"key": ref.key},
        ).to_dicts()
    assert len({row["queries"] for row in rows}) == 1 and {row["invalid"] for row in rows} == {0}
    assert [row["most"] <= budget for row, budget in zip(rows, (0, 4, 8, 8), strict=True)] == [True] * 4
    assert [cells[1] for cells in found.body[:3]] == ["0 tokens", "4 tokens", "8 tokens"]
    assert (found.folder / "plot.svg").is_file() and len(found.claims) == 3
    assert len(refs(asked, "candidates")) == 1, "the same sets as every other study of this folder"


def test_every_study_is_a_flow_of_its_name() -> None:
    assert {name: one.name for name, one in STUDIES.items()} == {name: name for name in STUDIES}
