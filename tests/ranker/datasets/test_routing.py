"""Readers of routing data: GraphRouter's table, LLMRouter's questions and prices, and the objective that
both grade by.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.gate import validate_batch
from ranker.config import CandidateParams, Task, task
from ranker.datasets import readers
from ranker.datasets._routing import LEVELS, grade, price_levels
from ranker.errors import BadConfig, BadSource
from ranker.lake import Lake
from ranker.stages import candidates
from tests.ranker.material import SHARED, needs_shared, read_in

HEADER = "task_id,query,query_embedding,ground_truth,metric,llm,response,effect,cost\n"


def _task(**options: Any) -> Task:
    return Task(
        name="routes", scenario="routing", reader="graphrouter", pool_size=2, wording="Rank.", options=options
    )


def _rows(*rows: tuple[str, str, object, object]) -> str:
    return "".join(
        f'squad,"{query}","[0.1, 0.2]",x,f1,{llm},"said, so",{effect},{cost}\n'
        for query, llm, effect, cost in rows
    )


TWO = _rows(
    ("Why?", "small", 0.5, 0.1), ("Why?", "large", 1.0, 2.0), ("How?", "small", 1, 0), ("How?", "large", 1, 1)
)


def _folder(folder: Path, rows: str = TWO, header: str = HEADER, described: object = None) -> Path:
    (folder / "router_data.csv").write_text(header + rows, encoding="utf-8")
    if described is not None:
        (folder / "llm_descriptions.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


# -- GraphRouter


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


# -- the objective


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_better_objective_is_never_graded_lower(
    weight: float, e1: float, c1: float, e2: float, c2: float
) -> None:
    def objective(effect: float, cost: float) -> float:
        return weight * effect - (1 - weight) * cost

    one, two = grade(e1, c1, weight, 100), grade(e2, c2, weight, 100)
    assert 0 <= one <= 100 and one == int(one)
    if objective(e1, c1) > objective(e2, c2) + 1e-9:
        assert one >= two


@pytest.mark.parametrize(
    "options", [{"effect_weight": 1.5}, {"grades": 0}, {"grades": 5000}, {"weight": 1}, {"grades": "many"}]
)
def test_a_wrong_objective_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(BadConfig):
        readers.read(_task(**options), _folder(tmp_path))


def test_levels_follow_the_prices_and_equal_prices_have_one() -> None:
    assert price_levels({"a": 1, "b": 2, "c": 2, "d": 3}) == {
        "a": LEVELS[0],
        "b": LEVELS[2],
        "c": LEVELS[2],
        "d": LEVELS[4],
    }
    assert price_levels({"a": 1, "b": 1}) == {"a": "moderate", "b": "moderate"}


# -- LLMRouter: prices


@pytest.mark.parametrize(
    "facts",
    [
        {"feature": "x"},
        {"input_price": 1},
        {"input_price": -1, "output_price": 1},
        {"input_price": "1", "output_price": 1},
        "text",
    ],
)
def test_an_llm_without_prices_is_named(tmp_path: Path, facts: object) -> None:
    (tmp_path / "train.json").write_text(json.dumps([{"question": "Why?", "scores": {"a": 1, "b": 0}}]))
    (tmp_path / "default_llm.json").write_text(
        json.dumps({"a": {"input_price": 0.1, "output_price": 0.2}, "b": facts})
    )
    with pytest.raises(BadSource, match=r"input_price and output_price.*\n.*default_llm\.json: b has"):
        readers.read(task("router-cost"), tmp_path)


@needs_shared
def test_the_three_objectives_order_the_given_data_as_they_say() -> None:
    read = {
        name: readers.read(task(name), SHARED / "llmrouter")
        for name in ("router-performance", "router-balance", "router-cost")
    }
    assert {bundle.qrels.height for bundle in read.values()} == {50_472}
    mean = {
        name: dict(bundle.qrels.group_by("item_id").agg(pl.col("relevance").mean()).iter_rows())
        for name, bundle in read.items()
    }
    told = {
        level: {
            item
            for item, text in read["router-cost"].items.select("item_id", "text").iter_rows()
            if f", {level}:" in text
        }
        for level in ("cheapest", "dearest")
    }
    gap = {
        name: min(grade[item] for item in told["cheapest"]) - max(grade[item] for item in told["dearest"])
        for name, grade in mean.items()
    }
    assert gap["router-cost"] > gap["router-balance"] > 0, (
        "the less the effect weighs, the better a cheap one stands"
    )
    assert "dearest" not in " ".join(read["router-performance"].items["text"])


@needs_shared
@pytest.mark.parametrize("name", ["router-performance", "router-balance", "router-cost"])
def test_the_given_data_goes_through_ingest_and_candidates_with_their_contracts(
    lake: Lake, name: str
) -> None:
    source = read_in(lake, name, SHARED / "llmrouter")
    params = CandidateParams(max_train=300, max_test=100, max_valid=50)
    ref = candidates.run(lake, params, source=source, check=validate_batch)
    assert ref.details["tasks"][name]["pool_size"] == 9 and ref.details["tasks"][name]["test"] == 100


# -- the best single LLM


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
