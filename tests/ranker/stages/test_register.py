"""The promotion rule, and what the registry keeps: one version per stage run, aliases, roll-back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ranker.config import RegisterParams
from ranker.errors import ContractViolated, StageMissing
from ranker.lake import Lake, open_lake
from ranker.stages import register
from ranker.stages.register import TaskScore, decide
from tests.ranker.evaluated import ACCEPT, scored, trained

BOUNDS = RegisterParams()
GOOD = TaskScore(task="rec", rr=0.5, rr_lower=0.47, random_rr=0.34, malformed=0.0, tokens=400.0)
BETTER = replace(GOOD, champion_tokens=400.0, difference=0.04, difference_lower=0.01, difference_upper=0.07)


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([GOOD], "first champion"),
        ([GOOD, replace(GOOD, task="passage")], "passage 0.500 against 0.340"),
    ],
)
def test_the_first_policy_that_beats_chance_everywhere_is_promoted(
    scores: list[TaskScore], says: str
) -> None:
    decision = decide(scores, BOUNDS, None)
    assert decision.promote
    assert says in decision.verdict


@pytest.mark.parametrize(
    ("score", "says"),
    [
        (replace(GOOD, rr_lower=0.33), "not clear of chance"),
        (replace(GOOD, rr_lower=0.34), "not clear of chance"),  # touching is not beating
        (replace(GOOD, rr_lower=float("nan")), "not clear of chance"),
        (replace(GOOD, rr_lower=None), "starts at unknown"),
        (replace(GOOD, malformed=0.051), "5.1% of the answers are malformed"),
        (replace(GOOD, malformed=None), "an unknown share"),
        (replace(GOOD, rr=None), "was not evaluated"),
    ],
)
def test_without_a_champion_one_bad_task_is_enough_to_refuse(score: TaskScore, says: str) -> None:
    decision = decide([replace(GOOD, task="fine"), score], BOUNDS, None)
    assert not decision.promote
    assert says in decision.verdict
    assert "fine:" not in decision.verdict


def test_nothing_evaluated_promotes_nothing() -> None:
    assert not decide([], BOUNDS, None).promote


def test_promotion_can_be_switched_off() -> None:
    assert "switched off" in decide([GOOD], RegisterParams(promote=False), None).verdict


def test_one_clear_gain_and_no_loss_beats_the_champion() -> None:
    level = replace(BETTER, task="passage", difference=-0.01, difference_lower=-0.03, difference_upper=0.01)
    decision = decide([BETTER, level], BOUNDS, "3")
    assert decision.promote
    assert "rec +0.040 [+0.010, +0.070]" in decision.verdict


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"difference_lower": 0.0}, "no task is better"),
        ({"difference_lower": -0.01}, "no task is better"),
        (
            {"difference": None, "difference_lower": None},
            "no paired comparison with champion version 3 on rec",
        ),
        ({"tokens": 801.0}, "2.00 times the champion's tokens"),
        ({"malformed": 0.2}, "20.0%"),
    ],
)
def test_the_champion_stays_unless_it_is_beaten_inside_the_bounds(changed: dict, says: str) -> None:
    decision = decide([replace(BETTER, **changed)], BOUNDS, "3")
    assert not decision.promote
    assert says in decision.verdict


def test_a_gain_here_does_not_pay_for_a_loss_there() -> None:
    worse = replace(BETTER, task="passage", difference=-0.021, difference_lower=-0.06, difference_upper=0.01)
    decision = decide([BETTER, worse], BOUNDS, "3")
    assert not decision.promote
    assert "passage: MRR falls by 0.021" in decision.verdict


def test_chance_does_not_matter_once_there_is_a_champion_and_all_reasons_are_told() -> None:
    bad = replace(
        BETTER, malformed=0.5, tokens=4000.0, difference=-0.2, difference_lower=-0.3, difference_upper=-0.1
    )
    reasons = decide([bad], BOUNDS, "3").reasons
    assert len(reasons) == 4


# --- the registry itself (a real MLflow over SQLite) ---


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without a model: its migrations take seconds, so they run once."""
    home = tmp_path_factory.mktemp("mlflow")
    register._client(home, BOUNDS).search_registered_models()
    return home / "mlflow.db"


@pytest.fixture
def lake(home: Path, empty_registry: Path) -> Iterator[Lake]:
    shutil.copy(empty_registry, home / "mlflow.db")
    with open_lake(home) as opened:
        yield opened


def test_versions_aliases_and_rollback(lake: Lake) -> None:
    home = lake.home
    assert register.champion(home, BOUNDS) is None
    first_model = trained(lake, "aaaa")
    first = register.run(
        lake, BOUNDS, trained=first_model, scores=scored(lake, "aa01", first_model), check=ACCEPT
    )
    assert (first.details["version"], first.details["alias"]) == ("1", "champion")
    champion = register.champion(home, BOUNDS)
    assert champion is not None
    assert (champion.train_key, champion.model) == ("aaaa", "models/aaaa/rl")
    assert register.champion(home, BOUNDS, besides="aaaa") is None

    weak_model = trained(lake, "bbbb")
    weak = register.run(
        lake,
        BOUNDS,
        trained=weak_model,
        scores=scored(lake, "bb01", weak_model, against_champion=(0.0, -0.02, 0.02)),
        check=ACCEPT,
    )
    assert (weak.details["alias"], weak.details["against"]) == ("challenger", "1")

    strong_model = trained(lake, "cccc")
    strong = register.run(
        lake,
        BOUNDS,
        trained=strong_model,
        scores=scored(lake, "cc01", strong_model, against_champion=(0.1, 0.05, 0.15)),
        check=ACCEPT,
    )
    assert (strong.details["version"], strong.details["alias"]) == ("3", "champion")
    assert _version(register.champion(home, BOUNDS, besides="cccc")) == "1", (
        "a repeat is compared with what it was compared with"
    )

    former, present = register.rollback(home, BOUNDS)
    assert (former.version, present.version) == ("3", "1")
    assert _version(register.champion(home, BOUNDS)) == "1"
    with pytest.raises(StageMissing, match="first champion"):
        register.rollback(home, BOUNDS)
    rows = lake.rows("select version, alias, train_key from model_versions order by version").rows()
    assert rows == [("1", "champion", "aaaa"), ("2", "challenger", "bbbb"), ("3", "champion", "cccc")]


def test_a_version_says_what_it_was_made_from(lake: Lake) -> None:
    model = trained(lake, "aaaa")
    scores = scored(lake, "aa01", model)
    ref = register.run(lake, BOUNDS, trained=model, scores=scores, check=ACCEPT)
    client = register._client(lake.home, BOUNDS)
    version = client.get_model_version(BOUNDS.name, ref.details["version"])
    assert version.tags["train.key"] == "aaaa"
    assert version.tags["evaluate.snapshot"].isdigit()
    assert Path(version.source) == lake.home / "models" / "aaaa" / "rl"
    data = client.get_run(version.run_id).data
    assert data.params["train.seed"] == "1"
    logged = data.metrics["synthetic/rl/iterative-think/nDCG_at_10"]
    assert logged == lake.rows("select value from evaluations where arm = 'rl' and metric = 'nDCG@10'").item()
    assert data.metrics["synthetic/rl-minus-sft/iterative-think/RR"] == 0.1


def test_killed_before_the_commit_a_repeat_makes_no_second_version(lake: Lake) -> None:
    model = trained(lake, "aaaa")
    scores = scored(lake, "aa01", model)

    def killed(staged: object) -> list:
        raise ContractViolated("stands for a kill between MLflow and the lake", seen="", remedy="")

    with pytest.raises(ContractViolated):
        register.run(lake, BOUNDS, trained=model, scores=scores, check=killed)
    assert lake.rows("select * from model_versions").is_empty()
    again = register.run(lake, BOUNDS, trained=model, scores=scores, check=ACCEPT)
    assert (again.details["version"], again.details["alias"]) == (
        "1",
        "champion",
    ), "and it is judged as it was the first time"
    client = register._client(lake.home, BOUNDS)
    assert len(client.search_model_versions(f"name = '{BOUNDS.name}'")) == 1
    assert len(client.search_runs([client.get_experiment_by_name(BOUNDS.name).experiment_id])) == 1
    assert register.run(lake, BOUNDS, trained=model, scores=scores, check=ACCEPT).skipped


def test_a_champion_that_was_not_compared_keeps_its_place(lake: Lake) -> None:
    first, second = trained(lake, "aaaa"), trained(lake, "bbbb")
    unpaired = scored(lake, "bb01", second)
    register.run(lake, BOUNDS, trained=first, scores=scored(lake, "aa01", first), check=ACCEPT)
    ref = register.run(lake, BOUNDS, trained=second, scores=unpaired, check=ACCEPT)
    assert ref.details["alias"] == "challenger"
    assert "no paired comparison" in ref.details["verdict"]


def test_rolling_back_without_a_champion_says_so(home: Path) -> None:
    with pytest.raises(StageMissing, match="needs a champion"):
        register.rollback(home, BOUNDS)


def test_what_serves_is_the_champion_or_else_the_challenger(lake: Lake) -> None:
    assert register.latest(lake.home, BOUNDS) is None
    model = trained(lake, "aaaa")
    register.run(lake, BOUNDS, trained=model, scores=scored(lake, "aa01", model, rr=0.41), check=ACCEPT)
    assert register.champion(lake.home, BOUNDS) is None
    assert _version(register.latest(lake.home, BOUNDS)) == "1"


def _version(champion: register.Champion | None) -> str | None:
    return champion.version if champion else None
