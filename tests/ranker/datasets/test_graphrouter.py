"""The reader of GraphRouter's table of questions, LLMs, effects and costs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ranker.config import CandidateParams, task
from ranker.datasets import readers
from ranker.errors import BadSource
from ranker.lake import Lake
from ranker.stages import candidates
from tests.ranker.datasets.test_routing import HEADER, _folder, _rows, _task
from tests.ranker.material import read_in


def test_every_answer_is_a_graded_judgement(tmp_path: Path) -> None:
    bundle = readers.read(_task(), _folder(tmp_path))
    names = dict(bundle.queries.select("query_id", "text").iter_rows())
    assert [(names[q], llm, g) for q, llm, g in bundle.qrels.iter_rows()] == [
        ("Why?", "small", 5),
        ("Why?", "large", 10),
        ("How?", "small", 10),
        ("How?", "large", 10),
    ]
    assert bundle.items.select("item_id", "text").rows() == [("large", "large"), ("small", "small")]


def test_cost_is_over_the_dearest_answer_and_its_level_is_told(tmp_path: Path) -> None:
    bundle = readers.read(
        _task(effect_weight=0.5, grades=100),
        _folder(tmp_path, described={"small": {"feature": "Quick."}, "large": "Wise."}),
    )
    assert bundle.qrels["relevance"].to_list() == [72, 50, 100, 75]
    assert bundle.items["text"].to_list() == ["large, dearest: Wise.", "small, cheapest: Quick."]


def test_a_quoted_query_may_run_over_lines_and_rows_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    long = _rows(("Why\n\nso?", "small", 0.5, 1))
    assert readers.read(_task(), _folder(tmp_path, long + _rows(("Why so?", "large", 1, 1)))).queries[
        "text"
    ].to_list() == ["Why so?"]
    with pytest.raises(BadSource, match=r"row 5: many"):
        readers.read(_task(), _folder(tmp_path, long + _rows(("Ha?", "small", "many", 1))))


FAULTS = {
    "column": (
        ("", "query,llm,cost\nq,l,1\n"),
        r"header must hold query, llm, effect, cost\n.*router_data\.csv, row 1.*\n.*add effect",
    ),
    "effect": ((_rows(("q", "l", 1.5, 1)), HEADER), r"effect must be a number from 0 to 1\n.*row 2: 1\.5"),
    "cost": ((_rows(("q", "l", 1, -1)), HEADER), r"cost must be a number of at least 0\n.*row 2: -1"),
    "no cost": ((_rows(("q", "l", 1, "inf")), HEADER), r"row 2: inf"),
    "answered twice": (
        (_rows(("q", "l", 1, 1), ("q ", "l", 0, 1)), HEADER),
        r"row 3: l again, first in row 2",
    ),
    "no llm": ((_rows(("q", " ", 1, 1)), HEADER), r"row 2: query 'q', llm ''"),
    "ragged": (("squad,q\n", HEADER), r"a field for each column"),
    "too many": (("a,b,c,d,e,f,g,1,1,9\n", HEADER), r"a field for each column"),
    "header only": (("", HEADER), r"header and nothing else"),
    "quote": (('squad,"q" x,,,,,,1,1\n', HEADER), r"must be CSV\n.*row 2:"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_of_the_table_is_named(tmp_path: Path, name: str) -> None:
    (rows, header), expected = FAULTS[name]
    with pytest.raises(BadSource, match=expected) as caught:
        readers.read(_task(), _folder(tmp_path, rows, header))
    assert caught.value.remedy


def test_broken_descriptions_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"one object.*\n.*llm_descriptions\.json: list"):
        readers.read(_task(), _folder(tmp_path, described=["small"]))


def test_the_digest_covers_the_descriptions(tmp_path: Path) -> None:
    before = readers.digest(_task(), _folder(tmp_path))
    assert readers.digest(_task(), _folder(tmp_path, described={"small": "x"})) != before


def test_the_best_single_llm_is_taken_from_training_questions_alone(lake: Lake, tmp_path: Path) -> None:
    """What test and validation questions say of an LLM never moves the baseline."""
    rows = _rows(
        *(
            (f"question {k}?", llm, effect, 1)
            for k in range(40)
            for llm, effect in (("small", 0.2), ("large", 0.8))
        )
    )
    definition = (
        "name = 'routes'\nscenario = 'routing'\nreader = 'graphrouter'\npool_size = 2\nwording = 'Rank.'\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "tasks").mkdir()
        (tmp_path / "tasks" / "routes.toml").write_text(definition)
        (tmp_path / "data").mkdir()
        patch.setenv("RANKER_TASKS", str(tmp_path / "tasks"))
        source = read_in(lake, "routes", _folder(tmp_path / "data", rows))
        sides = candidates.splits(lake, source.key, "routes", CandidateParams())
        before = _priors(lake, source.key)
        assert before == {"small": {2.0}, "large": {8.0}}
        held_out = sides.filter(pl.col("split") != "train")["group_id"].to_list()
        assert held_out
        for group in held_out:
            lake.execute(
                "update qrels set relevance = 10 - relevance where query_id = $query", {"query": group}
            )
        assert _priors(lake, source.key) == before
        train = sides.filter(pl.col("split") == "train")["group_id"][0]
        lake.execute("update qrels set relevance = 10 - relevance where query_id = $query", {"query": train})
        assert _priors(lake, source.key) != before


def _priors(lake: Lake, batch_id: str) -> dict[str, set[float]]:
    _, pools = candidates.draw(lake, batch_id, task("routes"), CandidateParams())
    return {llm: set(part["prior"]) for (llm,), part in pools.group_by("item_id")}
