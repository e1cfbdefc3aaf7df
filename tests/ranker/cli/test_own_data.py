"""From a table of one's own to a task that is read: `ranker init` and `ranker validate`."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import parse_params, preset
from ranker.errors import BadConfig
from tests.ranker.cli.commands import document, ranker
from tests.ranker.material import taste


@pytest.fixture
def plays(tmp_path: Path) -> Path:
    """A shop's orders, with the product's name beside its number."""
    rows = [f"{user};{item};Song {item};{at}" for user, item, _, at in taste()]
    path = tmp_path / "My Plays.csv"
    path.write_text("\n".join(["Customer;SKU;Product Name;ts", *rows]) + "\n")
    return path


def test_from_a_table_to_a_preset_that_parses_and_pools_that_are_shown(home: Path, plays: Path) -> None:
    made = ranker("init", "recommendation", str(plays), "--what", "Songs")
    assert made.exit_code == 0, made.output
    assert "user_id = Customer" in made.output and "ranker retrain --preset my-plays" in made.output
    params = parse_params({"preset": "my-plays"})
    assert params.ingest.tasks == ("my-plays",)
    assert params.train.policy.style == "likelihood", "laid over the default preset"
    seen = ranker("validate", "my-plays")
    assert seen.exit_code == 0, seen.output
    assert "Songs that one person liked: Song" in seen.output and "takes about" in seen.output
    said = document("validate", "my-plays")
    assert said["tasks"][0]["rows"] == {"items": 40, "interactions": 336} and said["training_hours"] > 0
    again = ranker("init", "recommendation", str(plays))
    assert again.exit_code == 2 and "a name of its own" in again.output
    written = document("init", "recommendation", str(plays), "--force")
    assert written["name"] == "my-plays" and Path(written["written"]["preset"]).is_file()
    assert written["files"]["interactions"]["columns"]["user_id"] == "Customer"


def test_all_faults_of_a_table_are_shown_at_once(home: Path, plays: Path) -> None:
    ranker("init", "recommendation", str(plays))
    plays.write_text(plays.read_text() + ";1;x;5\nann;1;x;never\n")
    seen = ranker("validate", "my-plays")
    assert seen.exit_code == 1
    assert "row 338: an empty field" in seen.output and "row 339: never" in seen.output
    (task,) = document("validate", "my-plays", code=1)["tasks"]
    assert len(task["faults"]) == 2 and all(set(one) == {"rule", "seen", "remedy"} for one in task["faults"])


def test_a_column_that_is_not_found_is_asked_for_by_its_field(home: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,item\n1,2\n")
    refused = ranker("init", "recommendation", str(tmp_path / "t.csv"))
    assert refused.exit_code == 2 and "--map user_id=COLUMN" in refused.output
    assert not (home / "tasks").exists(), "bad input leaves nothing"
    assert ranker("init", "recommendation", str(tmp_path / "t.csv"), "--map", "user_id=a").exit_code == 0
    for wrong in ("user_id", "=a", "colour=a"):
        assert (
            ranker("init", "recommendation", str(tmp_path / "t.csv"), "--name", "u", "--map", wrong).exit_code
            == 2
        )
    assert ranker("init", "recommendation", str(tmp_path / "t.csv"), "--name", "A/B").exit_code == 2


def test_a_preset_of_ones_own_lies_over_a_shipped_one_and_over_no_other(home: Path) -> None:
    (home / "presets").mkdir(parents=True)
    (home / "presets" / "short.toml").write_text('preset = "tiny"\n[train.sft]\nmax_steps = 7\n')
    assert preset("short")["train"]["sft"]["max_steps"] == 7
    assert preset("short")["ingest"] == preset("tiny")["ingest"]
    (home / "presets" / "mine.toml").write_text('preset = "short"\n')
    with pytest.raises(BadConfig, match=r"laid over a shipped one\n.*preset = 'short'"):
        preset("mine")
