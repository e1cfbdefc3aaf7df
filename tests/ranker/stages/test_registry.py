"""Which version is champion, in a real MLflow over SQLite: aliases, promotion by hand, roll-back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ranker.config import RegisterParams
from ranker.errors import BadConfig, BadModel, StageMissing
from ranker.lake import Lake
from ranker.refs import Champion
from ranker.stages import register, registry
from tests.ranker.evaluated import ACCEPT, scored, trained

BOUNDS = RegisterParams()


@pytest.fixture
def lake(lake: Lake, with_registry: None) -> Lake:
    return lake


def test_versions_aliases_and_rollback(lake: Lake) -> None:
    home = lake.home
    assert registry.champion(home, BOUNDS) is None and _begins(home) is None
    first_model = trained(lake, "aaaa")
    first = register.run(
        lake, BOUNDS, trained=first_model, scores=scored(lake, "aa01", first_model), check=ACCEPT
    )
    assert (first.details["version"], first.details["alias"]) == ("1", "champion")
    champion = registry.champion(home, BOUNDS)
    assert champion is not None
    assert (champion.train_key, champion.model) == ("aaaa", "models/aaaa/rl")
    assert registry.champion(home, BOUNDS, besides="aaaa") is None
    assert _begins(home) == "1" and _begins(home, "aaaa") is None, "a repeat begins as it began"

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
    assert version_of(registry.champion(home, BOUNDS, besides="cccc")) == "1", (
        "a repeat is compared with what it was compared with"
    )
    assert _begins(home) == "3" and _begins(home, "cccc", after="1") == "1"

    former, present = registry.rollback(home, BOUNDS)
    assert (former.version, present.version) == ("3", "1")
    assert version_of(registry.champion(home, BOUNDS)) == "1"
    with pytest.raises(StageMissing, match="first champion"):
        registry.rollback(home, BOUNDS)
    rows = lake.rows("select version, alias, train_key from model_versions order by version").rows()
    assert rows == [("1", "champion", "aaaa"), ("2", "challenger", "bbbb"), ("3", "champion", "cccc")]


def _begins(home: Path, key: str = "", after: str | None = None) -> str | None:
    """With which version a training begins whose key is `key` where it goes on from the version `after`."""
    found = registry.warm_start(
        home, BOUNDS, lambda given: key if (given.version if given else None) == after else "another"
    )
    return found.version if found else None


def test_a_champion_whose_folder_is_gone_is_noticed_before_hours_are_spent(
    crowned: Lake, tmp_path: Path
) -> None:
    registry.require_champion(tmp_path / "without a champion", BOUNDS)
    config = crowned.home / "models" / "aaaa" / "rl" / "config.json"
    config.write_text("{}")
    registry.require_champion(crowned.home, BOUNDS)
    config.unlink()
    with pytest.raises(BadModel, match="ranker rollback"):
        registry.require_champion(crowned.home, BOUNDS)


def test_a_person_may_promote_what_the_rule_has_promoted_or_insist(crowned: Lake) -> None:
    lake, home, ranked = crowned, crowned.home, []

    def promoted(version: str, anyway: bool = False) -> tuple[str | None, str]:
        former, present = registry.promote(home, BOUNDS, version, anyway=anyway, smoke=ranked.append)
        return version_of(former), present.version

    for key, gain in (("bb01", (0.1, 0.08, 0.12)), ("cc01", (0.0, -0.01, 0.01))):
        model = trained(lake, key[:2] * 2)
        scores = scored(lake, key, model, against_champion=gain, champion="aaaa" if key == "bb01" else "bbbb")
        register.run(lake, BOUNDS, trained=model, scores=scores, check=ACCEPT)
    registry.rollback(home, BOUNDS)
    assert promoted("2") == ("1", "2"), "it has beaten version 1 before"
    with pytest.raises(BadConfig, match="no gain over champion version 2"):
        promoted("3")
    assert len(ranked) == 1, "what is refused is not even loaded"
    assert promoted("3", anyway=True) == ("2", "3")
    assert registry.rollback(home, BOUNDS)[1].version == "2"
    with pytest.raises(StageMissing, match="no version 9"):
        promoted("9", anyway=True)


def test_a_version_that_cannot_rank_is_never_champion(lake: Lake) -> None:
    model = trained(lake, "aaaa")
    register.run(lake, BOUNDS, trained=model, scores=scored(lake, "aa01", model, rr=0.41), check=ACCEPT)

    def broken(chosen: Champion) -> None:
        raise BadModel("a model folder must exist", seen=chosen.model, remedy="")

    with pytest.raises(BadModel):
        registry.promote(lake.home, BOUNDS, "1", anyway=True, smoke=broken)
    assert registry.champion(lake.home, BOUNDS) is None


def test_versions_that_replaced_each_other_are_no_endless_road(crowned: Lake) -> None:
    """The same weights registered twice, each promoted by hand over the other."""
    model = crowned.finished("train", "aaaa")
    assert model is not None
    register.run(crowned, BOUNDS, trained=model, scores=scored(crowned, "aa02", model), check=ACCEPT)
    for version in ("2", "1"):
        registry.promote(crowned.home, BOUNDS, version, anyway=True, smoke=lambda chosen: None)
    assert registry.champion(crowned.home, BOUNDS, besides="aaaa") is None


def test_rolling_back_without_a_champion_says_so(home: Path) -> None:
    with pytest.raises(StageMissing, match="needs a champion"):
        registry.rollback(home, BOUNDS)


def test_what_serves_is_the_champion_or_else_the_challenger(lake: Lake) -> None:
    assert registry.latest(lake.home, BOUNDS) is None
    model = trained(lake, "aaaa")
    register.run(lake, BOUNDS, trained=model, scores=scored(lake, "aa01", model, rr=0.41), check=ACCEPT)
    assert registry.champion(lake.home, BOUNDS) is None
    assert version_of(registry.latest(lake.home, BOUNDS)) == "1"


def test_two_processes_that_need_the_registry_at_once_make_it_once(tmp_path: Path) -> None:
    """A server that waits for its first champion asks while a retraining makes the first version."""
    code = (
        "import sys; from pathlib import Path; from ranker.config import RegisterParams;"
        " from ranker.stages import registry;"
        " registry.client_of(Path(sys.argv[1]), RegisterParams()).search_registered_models()"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in started:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said.decode()
    assert (tmp_path / "mlflow.db").stat().st_size and not list(tmp_path.glob("*.part"))


def version_of(champion: Champion | None) -> str | None:
    return champion.version if champion else None
