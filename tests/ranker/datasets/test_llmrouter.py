"""The reader of LLMRouter: graded answers of several LLMs to one question, and their prices."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker.config import CandidateParams, task
from ranker.datasets import readers
from ranker.errors import BadSource
from ranker.lake import Lake
from ranker.stages import candidates
from tests.ranker.material import SHARED, needs_shared, read_in


def _router(folder: Path, questions: object, models: object | None = None) -> Path:
    (folder / "train.json").write_text(json.dumps(questions))
    cheap, dear = (
        {"size": "7B", "feature": "Small.", "input_price": 0.1, "output_price": 0.1},
        {"feature": "Big.", "input_price": 1, "output_price": 1},
    )
    (folder / "default_llm.json").write_text(
        json.dumps({"cheap": cheap, "dear": dear, "unscored": cheap} if models is None else models)
    )
    return folder


def _entry(question: str = "Why?", **scores: object) -> dict[str, object]:
    return {"question": question, "scores": {"cheap": 0.5, "dear": 1.0} | scores, "cluster_id": 0}


@pytest.mark.parametrize(("weight", "expected"), [(1.0, [5, 10]), (0.5, [7, 5]), (0.0, [9, 0])])
def test_grades_weigh_effect_against_cost(tmp_path: Path, weight: float, expected: list[int]) -> None:
    routing = task("router-performance").model_copy(update={"options": {"effect_weight": weight}})
    bundle = readers.read(routing, _router(tmp_path, [_entry()]))
    assert bundle.qrels.sort("item_id")["relevance"].to_list() == expected
    assert bundle.items["item_id"].to_list() == ["cheap", "dear"]


def test_equal_effects_stay_ties(tmp_path: Path) -> None:
    bundle = readers.read(task("router-performance"), _router(tmp_path, [_entry(cheap=1)]))
    assert bundle.qrels["relevance"].to_list() == [10, 10]


@pytest.mark.parametrize(
    ("questions", "expected"),
    [
        ([], "a list of questions"),
        ({"question": 1}, "a list of questions"),
        ([_entry(), _entry("")], "entry 2: no question"),
        ([_entry(), _entry()], "entry 2: the question of entry 1 again"),
        ([_entry(), _entry("How?", dear=7)], "entry 2: effect out of range, dear: 7"),
        ([_entry(), {"question": "How?"}], "entry 2: scores are None"),
        ([_entry(dearest=1)], "no entry 'dearest'"),
    ],
)
def test_each_fault_of_a_routing_file_is_named(tmp_path: Path, questions: object, expected: str) -> None:
    with pytest.raises(BadSource, match=expected):
        readers.read(task("router-performance"), _router(tmp_path, questions))


def test_broken_json_names_its_row(tmp_path: Path) -> None:
    _router(tmp_path, [])
    (tmp_path / "train.json").write_text('[\n{"question": }]')
    with pytest.raises(BadSource, match=r"train\.json, row 2"):
        readers.read(task("router-performance"), tmp_path)


@needs_shared
def test_the_given_routing_data_is_read_whole() -> None:
    bundle = readers.read(task("router-performance"), SHARED / "llmrouter")
    assert (bundle.queries.height, bundle.items.height, bundle.qrels.height) == (5_608, 9, 50_472)
    assert bundle.qrels["relevance"].is_between(0, 10).all()


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
    shown = {
        level: {
            item
            for item, text in read["router-cost"].items.select("item_id", "text").iter_rows()
            if f", {level}:" in text
        }
        for level in ("cheapest", "dearest")
    }
    gap = {
        name: min(grade[item] for item in shown["cheapest"]) - max(grade[item] for item in shown["dearest"])
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
