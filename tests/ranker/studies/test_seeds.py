"""The champion's recipe with several seeds: what it trains, and what the promotion rule reads of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ranker.config import TrainParams
from ranker.errors import BadConfig, StageMissing
from ranker.lake import Lake, open_lake
from ranker.refs import canonical
from ranker.stages import register
from ranker.studies import seeds
from ranker.studies.design import StudyParams
from tests.ranker.evaluated import ACCEPT, commit, scored, trained

RECIPE = {"sft": {"seed": 1, "max_steps": 7}}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> Iterator[Lake]:
    """One with a champion of a recipe of its own."""
    home = tmp_path_factory.mktemp("seeds")
    shutil.copy(empty_registry, home / "mlflow.db")
    with open_lake(home) as opened:
        commit(opened, "distill", "t1", {}, inputs=("sets0",))
        model = trained(opened, "s0", canonical(TrainParams.model_validate(RECIPE)), inputs=("sets0", "t1"))
        scores = scored(opened, "e-s0", model, rr=0.60)
        register.run(opened, seeds.RegisterParams(), trained=model, scores=scores, check=ACCEPT)
        yield opened


def planned(lake: Lake, **asked: object) -> seeds.Plan:
    params = StudyParams.model_validate({"home": str(lake.home), **asked})
    return seeds.planned(lake, seeds.parameters(params), params)


def test_the_champion_s_own_recipe_and_data_are_trained_with_other_seeds(lake: Lake) -> None:
    plan = planned(lake, quick=True)
    assert (plan.champion.version, plan.sets.key, plan.traces.key) == ("1", "sets0", "t1")
    params = [run.params for run in plan.runs]
    assert [each.train.sft.seed for each in params] == [1, 1001, 2001]
    assert {each.train.sft.max_steps for each in params} == {7}
    assert canonical(params[0].train) == canonical(TrainParams.model_validate(RECIPE)), "number 0 is its own"
    assert {(each.evaluate.strategies, each.evaluate.models) for each in params} == {
        (("iterative",), ("rl",))
    }
    assert not params[0].register_.promote, "no training of a study meets the champion"
    assert len(planned(lake).runs) == 5


def test_what_was_measured_is_what_the_promotion_rule_reads(lake: Lake) -> None:
    plan = planned(lake, seeds=3)
    scores = [lake.finished("evaluate", "e-s0")]
    for run, rr in zip(plan.runs[1:], (0.62, 0.64), strict=True):
        model = trained(lake, f"s{run.seed}", canonical(run.params.train), inputs=("sets0", "t1"))
        scores.append(scored(lake, f"e-s{run.seed}", model, rr=rr))
    results = seeds.tell(lake, plan, [ref for ref in scores if ref])
    assert results.body == (("synthetic", "0.600 0.620 0.640", "3", "0.0200", "0.0104…0.1257", "0.083"),)
    (measured,) = register.seeds_of(lake, "s0", "iterative", True)
    assert json.loads((results.folder / "study.json").read_text())["seeds"][0]["spread"] == measured.spread
    assert "standard deviation" in (results.folder / "table.md").read_text()


def test_what_cannot_be_measured_is_said(lake: Lake) -> None:
    with pytest.raises(BadConfig, match="three of them"):
        planned(lake, seeds=2)
    with pytest.raises(StageMissing, match="'another' is champion"):
        planned(lake, base={"register": {"name": "another"}})
    lake.execute("update model_versions set evaluate_key = 'gone'")
    with pytest.raises(StageMissing, match="no candidates, distill"):
        planned(lake)
    lake.execute("update model_versions set evaluate_key = 'e-s0'")
