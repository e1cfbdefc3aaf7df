"""Tasks: the shipped ones, and those of one's own folders."""

from __future__ import annotations

import os

import pytest

from ranker.config import parse_params, task, task_names
from ranker.errors import BadConfig


@pytest.mark.parametrize("name", task_names())
def test_every_shipped_task_is_valid(name):
    assert task(name).name == name


MINE = 'name = "mine"\nscenario = "passage"\nreader = "beir"\npool_size = 2\nwording = "Rank."\n'


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders of one's own, named by the environment."""
    made = [tmp_path / "one", tmp_path / "two"]
    for folder in made:
        folder.mkdir()
    monkeypatch.setenv("RANKER_TASKS", os.pathsep.join(map(str, made)))
    return made


def test_a_file_in_ones_own_folder_is_a_task(folders):
    (folders[1] / "mine.toml").write_text(MINE)
    assert task("mine").reader == "beir" and "mine" in task_names()
    assert parse_params({"preset": "tiny", "ingest": {"tasks": ["mine"]}}).ingest.tasks == ("mine",)


def test_of_two_with_one_name_the_later_folder_counts(folders):
    (folders[0] / "synthetic.toml").write_text(MINE.replace("mine", "synthetic"))
    assert task("synthetic").reader == "beir"
    (folders[1] / "synthetic.toml").write_text(MINE.replace("mine", "synthetic").replace("beir", "trec"))
    assert task("synthetic").reader == "trec"
    assert task_names().count("synthetic") == 1


def test_without_the_variable_only_the_shipped_ones_are_known(monkeypatch):
    monkeypatch.delenv("RANKER_TASKS", raising=False)
    assert "mine" not in task_names()
    with pytest.raises(BadConfig, match=r"'mine'\n.*RANKER_TASKS"):
        task("mine")


def test_a_folder_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("RANKER_TASKS", "/nowhere/tasks")
    with pytest.raises(BadConfig, match=r"RANKER_TASKS must exist\n.*/nowhere/tasks"):
        task_names()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name = ", r"must be a TOML file\n.*mine\.toml"),
        (MINE.replace('"mine"', '"other"'), r"bears its name\n.*'other'.*\n.*other\.toml"),
        (MINE.replace('reader = "beir"\n', ""), r"task mine: reader: .*\n.*mine\.toml"),
        (MINE + "colour = 1\n", r"task mine: colour"),
        (MINE.replace("pool_size = 2", "pool_size = 1"), r"task mine: pool_size"),
        (
            MINE.replace("passage", "routing") + 'pools = "given"\n',
            r"pools is a choice of the scenario passage alone",
        ),
    ],
)
def test_a_file_that_defines_no_task_is_named(folders, content, message):
    (folders[0] / "mine.toml").write_text(content)
    with pytest.raises(BadConfig, match=message):
        task("mine")


def test_the_nine_tasks_of_the_paper_are_shipped():
    nine = {
        "rec-movie",
        "rec-music",
        "rec-game",
        "router-performance",
        "router-balance",
        "router-cost",
        "passage-5",
        "passage-7",
        "passage-9",
    }
    assert nine <= set(task_names())
    assert [task(f"passage-{k}").pool_size for k in (5, 7, 9)] == [5, 7, 9]
    assert [
        task(name).options.get("effect_weight")
        for name in ("router-performance", "router-balance", "router-cost")
    ] == [1.0, 0.5, 0.2]
