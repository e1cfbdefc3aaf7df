"""LLM routing as in LLMRouter: `train.json` ([{question, scores: {llm: effect}, …}]) and `default_llm.json`
(descriptions, prices).

An answer's cost is its LLM's price over the dearest one's. Options: `effect_weight` (w) and `grades`, see
`_routing`. Where cost counts (w < 1), an LLM's text says how dear it is.
"""

from __future__ import annotations

import json
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import polars as pl

from ranker import refs
from ranker.config import Task
from ranker.datasets._routing import DEAREST, grade, objective, price_levels
from ranker.datasets.bundle import ITEMS, QRELS, QUERIES, Bundle
from ranker.datasets.files import file_in, files_digest, folder, json_value, one_group, present
from ranker.datasets.values import as_number, as_text, one_line
from ranker.errors import BadSource
from ranker.types import JsonObject


@dataclass(frozen=True, slots=True)
class Question:
    """One entry: a question, and what each LLM's answer was worth (0 to 1)."""

    text: str
    scores: dict[str, float]


def read(task: Task, location: Path | None) -> Bundle:
    """Questions, LLMs and graded qrels for every (question, LLM).

    Raises:
        BadSource: see `readers`; also a question without scores, twice, or with an effect outside [0,
        1].
        BadConfig: the objective is out of range.
    """
    weight, grades = objective(task)
    questions_file, models_file = _files(task, location)
    questions, models = _questions(questions_file), _models(models_file)
    names = sorted({llm for question in questions for llm in question.scores})
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
        [_item(models_file, name, models[name], level.get(name)) for name in names],
        schema=ITEMS,
        orient="row",
    )
    ids = [refs.digest(question.text) for question in questions]
    asked = pl.DataFrame({"query_id": ids, "text": [question.text for question in questions]})
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


def _no_form(path: Path, value: object, form: str) -> BadSource:
    kind, size = type(value).__name__, len(cast("Sized", value)) if isinstance(value, list | dict) else 0
    return BadSource(
        f"a source file must hold {form}",
        seen=f"{path}: {kind} of {size}",
        remedy="see docs/tasks.md for the format",
    )


def _models(path: Path) -> JsonObject:
    value = json_value(path, "fetch or export it again")
    if not isinstance(value, dict) or not value:
        raise _no_form(path, cast("object", value), "an object {llm: description}")
    return cast("JsonObject", value)


def _questions(path: Path) -> list[Question]:
    value = json_value(path, "fetch or export it again")
    if not isinstance(value, list) or not value:
        raise _no_form(path, cast("object", value), "a list of questions")
    found: list[Question] = []
    first: dict[str, int] = {}
    for number, row in enumerate(cast("list[object]", value), start=1):
        question = _question(row, first)
        if isinstance(question, str):
            raise BadSource(
                "every entry needs a question of its own and scores {llm: effect in [0, 1]}",
                seen=f"{path}, entry {number}: {question}",
                remedy="mend or drop the entry",
            )
        first[question.text] = number
        found.append(question)
    named = [(number, llm) for number, question in enumerate(found, start=1) for llm in question.scores]
    present(path, pl.DataFrame(named, schema={"row": pl.Int64, "llm": pl.String}, orient="row"), "llm")
    return found


def _question(row: object, first: dict[str, int]) -> Question | str:
    """One entry, or what is wrong with it; `first` says where a question stood before."""
    entry = cast("JsonObject", row) if isinstance(row, dict) else {}
    text = as_text(entry.get("question"))
    if not text or not one_line(text):
        return "no question" if text is not None else f"question is {str(entry['question'])[:60]}"
    if text in first:
        return f"the question of entry {first[text]} again"
    given: object = entry.get("scores")
    scores = cast("JsonObject", given) if isinstance(given, dict) else {}
    if len(scores) < 2:
        return f"scores are {str(entry.get('scores'))[:60]}; at least two LLMs are needed"
    effects = {llm: _number(value) for llm, value in scores.items()}
    wrong = [llm for llm, effect in effects.items() if effect is None or not 0 <= effect <= 1]
    if wrong:
        return f"effect out of range, {wrong[0]}: {scores[wrong[0]]!r}"
    return Question(text, {llm: effect for llm, effect in effects.items() if effect is not None})


def _number(value: object) -> float | None:
    """JSON has numbers: one in quotation marks is none."""
    return None if isinstance(value, str) else as_number(value)


def _price(name: str, said: object, path: Path) -> float:
    """Price per million tokens, in and out together."""
    facts = cast("JsonObject", said) if isinstance(said, dict) else None
    given = [_number(facts.get(key)) for key in ("input_price", "output_price")] if facts else []
    prices = [price for price in given if price is not None and 0 <= price <= DEAREST]
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


def _item(path: Path, name: str, facts: JsonObject, level: str | None) -> tuple[str, str, str, str]:
    feature, size = (_said(path, name, facts, key) for key in ("feature", "size"))
    return (
        name,
        name,
        f"{name}, {size or 'unknown size'}{f', {level}' if level else ''}: {feature}",
        json.dumps(facts, ensure_ascii=False),
    )


def _said(path: Path, name: str, facts: JsonObject, key: str) -> str:
    found = as_text(facts.get(key))
    if found is None:
        raise BadSource(
            f"{key} of an LLM must be a text",
            seen=f"{path}: {name} has {facts[key]!r}"[:200],
            remedy="give a text, or leave it out",
        )
    return one_line(found)


def _qrels(
    ids: list[str], questions: list[Question], price: dict[str, float], weight: float, grades: int
) -> pl.DataFrame:
    dearest = max(price.values()) or 1.0
    rows = [
        (query, llm, grade(effect, price[llm] / dearest, weight, grades))
        for query, question in zip(ids, questions, strict=True)
        for llm, effect in sorted(question.scores.items())
    ]
    return pl.DataFrame(rows, schema=QRELS, orient="row")
