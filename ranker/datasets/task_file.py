"""A task and a preset as TOML files with comments, from what `guess` found in somebody's tables."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass

import polars as pl

from ranker.config import Scenario, Task
from ranker.datasets import columns, readers
from ranker.datasets.guess import Guess, rating_bounds, time_unit, without_rating
from ranker.datasets.tables import ROLES
from ranker.datasets.values import flat
from ranker.errors import RankerError

WHAT: dict[Scenario, str] = {"recommendation": "Things", "passage": "Passages", "routing": "Language models"}
"""What the candidates are, where the user does not say."""
WORDING: dict[Scenario, str] = {
    "recommendation": "Rank these by how likely this user is to choose them next, given the last ones.",
    "passage": "Rank passages by how well they answer the given question.",
    "routing": "Rank language models by how well they answer this question.",
}
POOLS: dict[Scenario, int] = {"recommendation": 8, "passage": 5, "routing": 20}
"""Candidates a query, at most."""
LEAVE_OUT = "leave out"


@dataclass(frozen=True, slots=True)
class Written:
    """A task's file, and what was decided on the way, in sentences."""

    text: str
    notes: tuple[str, ...] = ()


def task_file(name: str, found: Guess, what: str = "") -> Written:
    """The task's TOML. What the reader would refuse and an option can leave out is looked for, and the option
    set: rows that repeat, judgements of what is not there.

    Args:
        what: the candidates, in the plural: "Books".
    """
    notes: list[str] = []
    if found.scenario == "recommendation":
        found, options = _recommendation(found, notes)
    else:
        options = _unknown(found, notes) if "judgements" in found.files else {}
    pool, given = _pool(found, name, options)
    lines = [
        "# Written by `ranker init`; yours to edit. All fields: docs/tasks.md.",
        f"name = {_quoted(name)}",
        f"scenario = {_quoted(found.scenario)}",
        _with('reader = "tables"', "CSV, JSON lines and Parquet, by the names of their columns"),
        f"location = {_quoted(str(found.folder.resolve()))}",
        _with(f"pool_size = {pool}", "candidates that a query is asked about"),
        *([_with('pools = "given"', "those judged with each query")] if given else []),
        f"wording = {_quoted(WORDING[found.scenario])}",
        "",
        *_options(found, options),
        "",
        *_likelihood(found.scenario, what or WHAT[found.scenario]),
    ]
    return Written("\n".join(lines) + "\n", tuple(notes))


def preset_file(name: str) -> str:
    """The preset's TOML: the default, short enough for a first look."""
    return f"""# Written by `ranker init`: `ranker retrain --preset {name}`, a first look in some ten minutes.
# Without the sections [train…] and [evaluate] it is the default's half hour on two cores.
preset = "smollm2"

[ingest]
tasks = [{_quoted(name)}]

[train]
eval_queries = 40                      # validation, by which the best checkpoint is kept

[train.sft]
max_steps = 15
save_steps = 15

[train.likelihood]
max_steps = 30
save_steps = 15

[evaluate]
max_queries = 200                      # test queries; 400 and more tell small gains from chance
"""


# -- options


def _recommendation(found: Guess, notes: list[str]) -> tuple[Guess, dict[str, object]]:
    options: dict[str, object] = {}
    file, met = found.files["interactions"], found.columns["interactions"]
    if "timestamp" in met:
        unit = time_unit(file.values(met["timestamp"], "time"))
        options |= {"time_unit": unit} if unit != "s" else {}
    else:
        notes.append("no column of times: the order of the rows counts as the order in time")
    if "rating" in met:
        bounds = rating_bounds(file.values(met["rating"], "number"))
        if bounds is None:
            found = without_rating(found)
            notes.append(
                f"ratings ({met['rating']}) lie outside 0 to 10 and are left out; none is trained on"
            )
        elif bounds[1] > 5:
            options["rating_range"] = [0, 10]
    pairs = _rows(found, "interactions", "user_id", "item_id")
    if pairs.is_duplicated().any():
        options["repeats"] = LEAVE_OUT
        notes.append("some users meet an item again: the first time counts, later ones are left out")
    if "items" in found.files:
        strange = pairs.join(_rows(found, "items", "item_id"), on="item_id", how="anti").height
        if strange:
            options["unknown_items"] = LEAVE_OUT
            notes.append(f"{strange:,} interactions with items that the table of items lacks are left out")
    return found, options


def _unknown(found: Guess, notes: list[str]) -> dict[str, object]:
    options: dict[str, object] = {}
    judged = _rows(found, "judgements", "query_id", "document_id")
    for role, column in (("queries", "query_id"), ("documents", "document_id")):
        strange = judged.join(_rows(found, role, column), on=column, how="anti").height
        if strange:
            options[f"unknown_{role}"] = LEAVE_OUT
            notes.append(f"{strange:,} judgements of {role} that are not there are left out")
    return options


def _rows(found: Guess, role: str, *fields: str) -> pl.DataFrame:
    wanted = {name: found.columns[role][name] for name in fields}
    kinds: dict[str, columns.Kind] = {name: ROLES[found.scenario][role][name].kind for name in fields}
    parts = [columns.rows(path, wanted, kinds) for path in found.files[role].paths]
    return pl.concat(parts).select(fields)


# -- pools


def _pool(found: Guess, name: str, options: dict[str, object]) -> tuple[int, bool]:
    """Candidates a query, and whether they are given: all judged candidates where each query has several."""
    most = POOLS[found.scenario]
    if found.scenario == "recommendation":
        return most, False
    if found.scenario == "routing":
        answers = _rows(found, "answers", "query", "llm")
        least = answers.group_by(flat("query")).len()["len"].min()
        return max(2, min(most, least if isinstance(least, int) else 2)), False
    source = Task(
        name=name,
        scenario="passage",
        reader="tables",
        pool_size=2,
        wording="-",
        options={**tomllib.loads("\n".join(_options(found, options)))["options"]},
    )
    try:
        qrels = readers.read(source, found.folder).qrels
    except RankerError:  # `ranker validate` says what is wrong
        return most, False
    judged = qrels.group_by("query_id").agg(
        pl.len().alias("n"), (pl.col("relevance").min() < pl.col("relevance").max()).alias("differ")
    )
    several = judged.filter("differ")
    least = several["n"].min()
    if several.height * 2 > judged.height and isinstance(least, int):
        return min(20, least), True
    return most, False


# -- text


def _options(found: Guess, options: dict[str, object]) -> list[str]:
    lines = ["[options.files]", *(f"{role} = {_quoted(file.name)}" for role, file in found.files.items())]
    for role, named in found.columns.items():
        own = {name: column for name, column in named.items() if _is_said(found.scenario, role, name, column)}
        lines += ["", f"[options.columns.{role}]              # field = column"] if own else []
        lines += [f"{name} = {_quoted(column)}" for name, column in own.items()]
    head = ["[options]", *(f"{name} = {json.dumps(value)}" for name, value in options.items()), ""]
    return [*(head if options else []), *lines]


def _is_said(scenario: Scenario, role: str, name: str, column: str) -> bool:
    """Whether a column must be named: optional ones always, required ones where they are called otherwise."""
    return not ROLES[scenario][role][name].required or column != name


def _likelihood(scenario: Scenario, what: str) -> list[str]:
    note = _with("[likelihood]", "how the language model is asked: docs/tasks.md")
    if scenario == "recommendation":
        return [
            note,
            _with('direction = "candidate"', "log p(candidate | what was chosen last)"),
            f"context = {_quoted(f'{what} that one person liked: {{query}};')}",
            'continuation = " {candidate};"',
            'normalize = "sum"',
            "temperature = 3.3",
            _with("query_end = true", "of a long history the latest"),
            "query_words = 96",
        ]
    if scenario == "passage":
        return [
            note,
            _with('direction = "query"', "log p(question | passage)"),
            'context = "Passage: {candidate}\\nQuestion:"',
            'continuation = " {query}"',
            'normalize = "mean"',
            "temperature = 0.25",
        ]
    return [
        note,
        _with('direction = "candidate"', "log p(name | question), less log p(name | stub)"),
        'context = "Question: {query}\\nThe language model that answers it best:"',
        'continuation = " {candidate}"',
        _with('title = "^[^,:]+"', "its name alone: what describes it is the same everywhere"),
        'normalize = "sum"',
        "temperature = 3.3",
        'stub = "The language model that answers it best:"',
    ]


def _quoted(text: str) -> str:
    """A TOML string: JSON's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _with(line: str, comment: str) -> str:
    return f"{line:<38} # {comment}"
