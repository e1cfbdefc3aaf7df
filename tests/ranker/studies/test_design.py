from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import IngestParams, parse_params
from ranker.errors import BadConfig, BadSource
from ranker.studies import curves, prove
from ranker.studies.design import Arm, Study, StudyParams, available, plan, seeded
from tests.ranker.material import recbole, taste

NOTHING = lambda results: ()  # noqa: E731


def study(*arms: Arm, **given) -> Study:
    return Study("s", "why?", "tiny", arms or (Arm("only"),), claims=NOTHING, **given)


def test_a_seed_changes_training_and_nothing_that_arms_are_compared_on() -> None:
    params = parse_params({"preset": "tiny"})
    zero, two = seeded(params, 0), seeded(params, 2)
    assert zero == params
    assert {
        two.train.policy.seed - params.train.policy.seed,
        two.train.sft.seed - params.train.sft.seed,
        two.train.grpo.seed - params.train.grpo.seed,
    } == {2_000}
    assert (two.candidates, two.distill, two.evaluate) == (params.candidates, params.distill, params.evaluate)


def test_every_arm_with_every_seed_and_only_its_own_changes(home: Path) -> None:
    params = parse_params({"preset": "tiny"})
    found = plan(
        study(Arm("base"), Arm("long", {"train": {"sft": {"max_steps": 7}}}), seeds=2),
        StudyParams(home=str(home)),
    )
    assert [(run.arm, run.seed, run.params.train.sft.max_steps) for run in found.runs] == [
        ("base", 0, params.train.sft.max_steps),
        ("base", 1, params.train.sft.max_steps),
        ("long", 0, 7),
        ("long", 1, 7),
    ]
    assert {run.params.home_path for run in found.runs} == {home}
    assert {run.params.register_.name for run in found.runs} == {"r1-ranker-studies"}


def test_what_is_laid_upon_what(home: Path) -> None:
    given = study(
        Arm("a", {"train": {"sft": {"max_steps": 1}}}),
        base={"train": {"sft": {"max_steps": 2, "per_device_train_batch_size": 2}}},
        quick={"train": {"sft": {"per_device_train_batch_size": 3, "save_steps": 3}}},
        seeds=3,
    )
    quick = plan(
        given, StudyParams(home=str(home), quick=True, base={"train": {"sft": {"save_steps": 4}}})
    ).runs
    assert len(quick) == 1, "quick means one seed"
    sft = quick[0].params.train.sft
    assert (sft.max_steps, sft.per_device_train_batch_size, sft.save_steps) == (1, 3, 4)


def test_an_arm_without_a_claim_runs_once_and_not_in_a_quick_study(home: Path) -> None:
    given = study(Arm("a"), Arm("b", {"train": {"sft": {"max_steps": 1}}}, aside=True), seeds=3)
    whole = plan(given, StudyParams(home=str(home))).runs
    assert [(run.arm, run.seed) for run in whole] == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
    assert [run.arm for run in plan(given, StudyParams(home=str(home), quick=True)).runs] == ["a"]


def test_two_arms_of_one_name_are_refused(home: Path) -> None:
    with pytest.raises(BadConfig, match="name of its own"):
        plan(study(Arm("a"), Arm("a")), StudyParams(home=str(home)))


def test_a_task_without_data_is_left_out_and_told(home: Path, tmp_path: Path) -> None:
    folder = recbole(tmp_path / "films", taste())
    params = IngestParams(
        tasks=("rec-movie", "vaswani", "synthetic"),
        locations={"rec-movie": str(folder), "vaswani": str(tmp_path / "nowhere")},
    )
    kept, left_out = available(params, home)
    assert kept == {"tasks": ("rec-movie", "synthetic"), "locations": {"rec-movie": str(folder)}}
    assert list(left_out) == ["vaswani"] and "nowhere" in left_out["vaswani"]


def test_a_location_that_is_gone_gives_way_to_the_data_folder(home: Path) -> None:
    recbole(home / "downloads" / "ml-100k", taste())
    kept, left_out = available(
        IngestParams(tasks=("rec-movie",), locations={"rec-movie": str(home / "gone")}), home
    )
    assert kept == {"tasks": ("rec-movie",), "locations": {}} and not left_out


def test_a_study_without_any_data_says_what_is_missing(home: Path) -> None:
    with pytest.raises(BadSource, match="at least one of its tasks"):
        plan(study(base={"ingest": {"tasks": ["vaswani"]}}), StudyParams(home=str(home)))


@pytest.mark.parametrize("given", [prove.synthetic(), prove.real()], ids=lambda given: given.name)
def test_the_shipped_studies_make_valid_runs(given: Study, home: Path) -> None:
    for quick in (False, True):
        runs = plan(given, StudyParams(home=str(home), quick=quick)).runs
        wanted = [arm.name for arm in given.arms if not (quick and arm.aside)]
        assert [run.arm for run in runs if run.seed == 0] == wanted


def test_the_control_differs_in_its_reward_alone(home: Path) -> None:
    ranking, blind = (run.params.train for run in plan(prove.synthetic(), StudyParams(home=str(home))).runs)
    assert (ranking.grpo.reward, blind.grpo.reward) == ("ranking", "blind")
    as_ranking = {"reward": "ranking", "load_best_model_at_end": True}  # validation would keep its start
    assert blind.model_copy(update={"grpo": blind.grpo.model_copy(update=as_ranking)}) == ranking


def test_learning_curves_spend_the_same_steps_after_the_same_cold_start(home: Path) -> None:
    base = {"train": {"sft": {"max_steps": 50}, "likelihood": {"max_steps": 20}}}
    runs = {run.arm: run.params.train for run in curves.planned(StudyParams(home=str(home), base=base)).runs}
    assert (runs["sft"].sft.max_steps, runs["sft"].likelihood.max_steps) == (70, 0)
    assert (runs["rl"].sft.max_steps, runs["rl"].likelihood.max_steps) == (50, 20)
    assert {50, 70} <= set(runs["sft"].snapshots) and 20 in runs["rl"].snapshots
