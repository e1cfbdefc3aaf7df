"""LLM routing as in LLMRouter: `train.json` ([{question, scores: {llm: effect}, …}]) and `default_llm.json`
(descriptions, prices).

An answer's cost is its LLM's price over the dearest one's. Options: `effect_weight` (w) and `grades`, see
`_routing`. Where cost counts (w < 1), an LLM's text says how dear it is.
"""

from __future__ import annotations

import json
from collections.abc import Sized
from pathlib import Path
from typing import Any, cast

import polars as pl

from ranker import refs
from ranker.config import Task
from ranker.datasets._routing import grade, objective, price_levels
from ranker.datasets.bundle import ITEMS, QRELS, QUERIES, Bundle
from ranker.datasets.files import file_in, files_digest, folder, json_value, one_group
from ranker.errors import BadSource
from ranker.types import JsonObject


def read(task: Task, location: Path | None) -> Bundle:
    """Questions, LLMs and graded qrels for every (question, LLM).

    Raises:
        BadSource: see `readers`; also a question without scores, twice, or with an effect outside [0,
        1].
        BadConfig: the objective is out of range.
    """
    weight, grades = objective(task)
    questions_file, models_file = _files(task, location)
    questions, models = _questions(questions_file), _json(models_file, dict, "an object {llm: description}")
    names = sorted({llm for row in questions for llm in row["scores"]})
    missing = [name for name in names if name not in models]
    if missing:
        raise BadSource(
            "every scored LLM must be described",
            seen=f"{models_file}: no entry {missing[0]!r}",
            remedy=f"add it to {models_file.name}",
        )
    price = {name: _price(name, models[name], models_file) for name in names}
    level = price_levels(price) if weight < 1 else {}
    items = pl.DataFrame(
        [_item(name, models[name], level.get(name)) for name in names], schema=ITEMS, orient="row"
    )
    ids = [refs.digest(row["question"]) for row in questions]
    asked = pl.DataFrame({"query_id": ids, "text": [" ".join(row["question"].split()) for row in questions]})
    queries = asked.select("query_id", one_group(), "text").select(list(QUERIES))
    return Bundle(
        items,
        queries=queries,
        qrels=_qrels(ids, questions, price, weight, grades),
        location=str(questions_file.parent),
    )


def digest(task: Task, location: Path | None) -> str:
    """Over the two files."""
    return files_digest(_files(task, location))


def _files(task: Task, location: Path | None) -> tuple[Path, Path]:
    where = folder(task, location)
    return file_in(task, where, "train.json"), file_in(task, where, "default_llm.json")


def _json(path: Path, kind: type[object], form: str) -> Any:
    value = json_value(path, "fetch or export it again")
    if not isinstance(value, kind) or not value:
        seen = f"{path}: {type(value).__name__} of {len(cast('Sized', value)) if value else 0}"
        raise BadSource(
            f"a source file must hold {form}",
            seen=seen,
            remedy="see docs for the format",
        )
    return value


def _questions(path: Path) -> list[JsonObject]:
    rows = _json(path, list, "a list of questions")
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        fault = _fault(row, seen)
        if fault:
            raise BadSource(
                "every entry needs a question of its own and scores {llm: effect in [0, 1]}",
                seen=f"{path}, entry {number}: {fault}",
                remedy="mend or drop the entry",
            )
        seen[row["question"]] = number
    return rows


def _fault(row: JsonObject | object, seen: dict[str, int]) -> str:
    """What is wrong with one entry; empty where nothing is."""
    entry = cast("JsonObject", row) if isinstance(row, dict) else {}
    if not str(entry.get("question") or "").strip():
        return "no question"
    if entry["question"] in seen:
        return f"the question of entry {seen[entry['question']]} again"
    given: object = entry.get("scores")
    scores = cast("JsonObject", given) if isinstance(given, dict) else {}
    if len(scores) < 2:
        return f"scores are {str(entry.get('scores'))[:60]}; at least two LLMs are needed"
    wrong = next(
        (
            f"{llm}: {value!r}"
            for llm, value in scores.items()
            if not isinstance(value, int | float) or not 0 <= value <= 1
        ),
        "",
    )
    return f"effect out of range, {wrong}" if wrong else ""


def _price(name: str, said: object, path: Path) -> float:
    """Price per million tokens, in and out together."""
    facts = cast("JsonObject", said) if isinstance(said, dict) else None
    given: list[object] = [facts.get(key) for key in ("input_price", "output_price")] if facts else []
    prices = [float(part) for part in given if isinstance(part, int | float) and part >= 0]
    if len(prices) == 2:
        return sum(prices)
    prices_seen = (
        ", ".join(f"{k} {v!r}" for k, v in facts.items() if "price" in k) if facts is not None else ""
    )
    raise BadSource(
        "every LLM needs input_price and output_price, numbers of at least 0",
        seen=(
            f"{path}: {name} has"
            f" {prices_seen or ('neither' if facts is not None else repr(cast('object', said)))}"
        ),
        remedy="add the price per million tokens",
    )


def _item(name: str, facts: JsonObject, level: str | None) -> tuple[str, str, str, str]:
    feature = " ".join(str(facts.get("feature") or "").split())
    size = facts.get("size", "unknown size")
    return (
        name,
        name,
        f"{name}, {size}{f', {level}' if level else ''}: {feature}",
        json.dumps(facts, ensure_ascii=False),
    )


def _qrels(
    ids: list[str], questions: list[JsonObject], price: dict[str, float], weight: float, grades: int
) -> pl.DataFrame:
    dearest = max(price.values()) or 1.0
    rows = [
        (query, llm, grade(effect, price[llm] / dearest, weight, grades))
        for query, row in zip(ids, questions, strict=True)
        for llm, effect in sorted(row["scores"].items())
    ]
    return pl.DataFrame(rows, schema=QRELS, orient="row")
