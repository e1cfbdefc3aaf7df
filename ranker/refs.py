"""What stages hand to each other: references into the lake, never rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ranker.types import JsonObject

PROJECT = Path(__file__).resolve().parent.parent


class Ref(BaseModel):
    """A finished stage: which rows it wrote, and at which snapshot they were committed.

    `key` is the stage's identity (parameters, inputs, code); every row it wrote carries it as
    `batch_id`, so `where batch_id = key` is exactly this stage's output at any later snapshot.
    """

    model_config = ConfigDict(frozen=True)

    stage: str
    key: str = Field(description="digest of (stage, parameters, input keys, code): ranker.stages.identity")
    snapshot: int = Field(description="lake snapshot id that holds the rows")
    rows: dict[str, int] = Field(default_factory=dict, description="rows written, by table")
    details: JsonObject = Field(default_factory=dict, description="small facts: paths, counts, verdicts")
    skipped: bool = Field(default=False, description="true where an earlier run had done the work")


Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one expectation said of one staged table.

    `success` is None where it could not be evaluated. A warning that fails is told and keeps nothing out.
    """

    table: str
    expectation: str
    success: bool | None
    observed: str | None = None
    unexpected_count: int | None = None
    severity: Severity = "error"
    samples: str | None = None
    """JSON array of up to 5 rows that broke the expectation."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A batch that awaits judgement: `tables` maps main table to qualified staging table.

    `inputs` are the keys of the stage runs that the batch was made from, `parameters` the stage's own as
    canonical JSON: what it promised, so that a contract can compare. `home` and `uri` are enough for a
    second, read-only connection (`ranker.lake.attach`).
    """

    stage: str
    key: str
    tables: dict[str, str]
    home: Path
    uri: str
    inputs: tuple[str, ...] = ()
    parameters: str = "{}"


Check = Callable[[Staged], list[Verdict]]
"""Judges a staged batch. Raises ContractViolated or ContractNotEvaluated; else returns every verdict."""


@dataclass(frozen=True, slots=True)
class Champion:
    """A registered model version, as a rule the one that holds the alias `champion`; `model` is its folder,
    relative to home.
    """

    version: str
    train_key: str
    model: str
    strategy: str = "iterative"
    """How it ranked when it was promoted or not: how it is to serve."""
    thinking: bool | None = None
    """None: not known, where the model can reason."""

    @classmethod
    def tagged(cls, version: object, tags: Mapping[str, str], source: object) -> Champion:
        """As the registry's tags tell it. One that another tool has registered has none: `source` is its
        folder.
        """
        thinking = tags.get("thinking")
        return cls(
            version=str(version),
            train_key=tags.get("train_key", ""),
            model=tags.get("model") or str(source).removeprefix("file://"),
            strategy=tags.get("strategy", "iterative"),
            thinking=None if thinking is None else thinking == "true",
        )


def canonical(value: object) -> str:
    """Canonical JSON: sorted keys, pydantic models and paths included; equal values give equal text."""

    def plain(part: object) -> object:
        if isinstance(part, BaseModel):
            return part.model_dump(mode="json")
        if isinstance(part, Path):
            return str(part)
        if isinstance(part, set | frozenset):
            return sorted(part)
        raise TypeError(f"cannot digest {type(part).__name__}")

    return json.dumps(value, sort_keys=True, default=plain, ensure_ascii=False)


def digest(*parts: object) -> str:
    """16 hex digits over the canonical JSON of `parts` (pydantic models included)."""
    return hashlib.sha256(canonical(parts).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """16 hex digits over a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Parameters as (dotted name, value); lists stay whole."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(f"{name}.{key}", inner)
    else:
        yield name, value


def sections(parameters: object) -> JsonObject:
    """Parameters by name. A stage may be keyed by a list: a task's part goes under its name, a section as
    it is, the rest by place.
    """
    if not isinstance(parameters, list):
        return parameters if isinstance(parameters, dict) else {"value": parameters}
    found: JsonObject = {}
    for place, part in enumerate(parameters, 1):
        if isinstance(part, dict):
            found |= {part["task"]: part} if "task" in part else part
        else:
            found[f"input {place}"] = part
    return found
