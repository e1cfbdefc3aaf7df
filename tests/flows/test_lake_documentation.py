"""docs/lake.md: every table and view stands in it, and every sample runs on the lake of a real retraining
and prints what it shows.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.retrain import Outcome
from ranker.cli.main import app
from ranker.config import RetrainParams
from ranker.lake import open_lake
from ranker.refs import PROJECT

TEXT = (PROJECT / "docs" / "lake.md").read_text(encoding="utf-8")
CONSOLE = "".join(re.findall(r"^```console\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
SAMPLES = [tuple(part.split("\n", 1)) for part in re.split(r"^\$ ", CONSOLE, flags=re.MULTILINE) if part]
SQL = re.findall(r"^```sql\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def home(outcome: Outcome, params: RetrainParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake and the models of a real retraining, for samples that change them."""
    folder = tmp_path_factory.mktemp("documented")
    for part in ("lake", "models"):
        shutil.copytree(params.home_path / part, folder / part)
    return folder


@pytest.fixture(scope="module")
def own(home: Path, outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What stands in the page, and what it is called here."""
    with open_lake(home, read_only=True) as lake:
        one = (
            "select episode_id from episodes where stage = 'evaluate' and arm = 'rl' and strategy ="
            " 'iterative' and thinking order by set_id limit 1"
        )
        episode = lake.rows(one).item()
    runs = {
        "f2554248094f9d88": outcome.stages["evaluate"].key,
        "6d25e06c9c86181c": outcome.stages["train"].key,
    }
    return {**runs, "456085852f09ac01": episode, "/tmp/may": str(tmp_path_factory.mktemp("export") / "may")}


def typed(line: str, home: Path) -> Result:
    """A line of the page: `ranker …`, or `echo "…" | ranker …`."""
    said, _, command = line.rpartition(" | ")
    stdin = shlex.split(said)[1] + "\n" if said else ""
    name, *arguments = shlex.split(command)
    assert name == "ranker"
    return CliRunner().invoke(app, arguments, input=stdin, env={"COLUMNS": "400", "RANKER_HOME": str(home)})


def shape(line: str) -> str:
    """Without what differs from run to run: figures, keys, folders, width."""
    return " ".join(re.sub(r"'[^']*/[^']*'", "'…'", re.sub(r"[0-9a-f]{16}|[\d.,]+", "#", line)).split())


def first(output: str) -> Iterator[str]:
    """The first line of a sample that says something."""
    return (line for line in output.splitlines() if line.strip() not in ("", "…"))


@pytest.mark.parametrize(("line", "shown"), SAMPLES, ids=[sample[0][:60] for sample in SAMPLES])
def test_every_sample_prints_what_it_shows(line: str, shown: str, home: Path, own: dict[str, str]) -> None:
    for name, here in own.items():
        line = line.replace(name, here)
    done = typed(line, home)
    assert done.exit_code == 0, done.output
    expected = next(first(shown), None)
    assert expected is None or shape(expected) in {shape(said) for said in done.stdout.splitlines()}, (
        done.stdout
    )


@pytest.mark.parametrize("sql", SQL)
def test_every_statement_has_an_answer(sql: str, home: Path) -> None:
    with open_lake(home, read_only=True) as lake:
        assert lake.query(sql).height


def test_every_table_and_view_stands_in_the_page_and_no_other(home: Path) -> None:
    shown_text = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    with open_lake(home, read_only=True) as lake:
        there = lake.named("lake/relations")["name"].to_list()
    assert sorted(shown_text) == sorted(there)


def test_the_page_has_five_worked_questions() -> None:
    section = TEXT.partition("## Five worked questions")[2].partition("\n## ")[0]
    assert section.count("```console") == 5
