"""Options that several commands take, and the parameters that they make together."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ranker.config import (
    DEFAULT_PRESET,
    STAGES,
    RetrainParams,
    all_presets,
    merged,
    parse_params,
    task_names,
)
from ranker.errors import BadConfig, BadSource
from ranker.refs import Champion
from ranker.types import JsonObject


def beginning(typed: str, names: Iterable[str]) -> list[str]:
    """Those that begin with what is typed so far: what a shell completes it to."""
    return [name for name in names if name.startswith(typed)]


def own_presets(incomplete: str) -> list[str]:
    """Presets, the user's own among them, for a shell's completion."""
    return beginning(incomplete, all_presets())


def own_tasks(incomplete: str) -> list[str]:
    """Tasks, the user's own among them, for a shell's completion."""
    return beginning(incomplete, task_names())


def stage_names(incomplete: str) -> list[str]:
    """Stages, for a shell's completion."""
    return beginning(incomplete, STAGES)


Preset = Annotated[
    str,
    typer.Option(
        "--preset",
        help=(
            "Where values come from that are not given: smollm2, tiny, …, or one of your own in presets/ of"
            " the data folder."
        ),
        autocompletion=own_presets,
    ),
]
Home = Annotated[str, typer.Option("--home", help="Data folder; empty takes $RANKER_HOME or ./data.")]
Catalog = Annotated[
    str,
    typer.Option(
        "--lake",
        help=(
            "Lake catalog URI (ducklake:…); empty takes $RANKER_LAKE, else a SQLite catalog in the data"
            " folder."
        ),
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="One parameter, e.g. train.sft.max_steps=100; a TOML value. Repeatable.",
    ),
]
File = Annotated[
    Path | None,
    typer.Option(
        "--params", metavar="FILE", help="Parameters as a JSON or TOML file; --set is laid over it."
    ),
]
Force = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="STAGE",
        help="Repeat this stage although it is done. Repeatable.",
        autocompletion=stage_names,
    ),
]
Constrained = Annotated[bool, typer.Option("--constrained", help="Let only valid answers be written.")]
Think = Annotated[
    bool | None,
    typer.Option(
        "--think/--no-think",
        help="Let the model reason before it answers; without it where it can (a likelihood policy cannot).",
    ),
]
At = Annotated[
    int | None,
    typer.Option(
        "--at", metavar="SNAPSHOT", help="Read the lake as it was then; see `ranker lake snapshots`."
    ),
]


def parameters(
    preset: str,
    home: str,
    lake: str,
    sets: Iterable[str] | None = None,
    file: Path | None = None,
    force: Iterable[str] | None = None,
) -> RetrainParams:
    """What the caller gave, one upon the other: preset, file, --set, named options."""
    given = _from_file(file) if file else {}
    if preset != DEFAULT_PRESET or "preset" not in given:
        given["preset"] = preset
    given = laid(sets, given)
    named = {"home": home, "lake": lake, "force": list(force or ())}
    return parse_params({**given, **{name: value for name, value in named.items() if value}})


def as_evaluated(found: Champion | None, strategy: str, think: bool | None) -> tuple[str, bool | None]:
    """The strategy and the thinking to rank with: those that are asked for; without a strategy those that the
    registered version `found` was evaluated with, and without a version iterative.
    """
    if strategy or found is None:
        return strategy or "iterative", think
    return found.strategy, found.thinking if think is None else think


def decoded(sent: bytes, what: str, line: int = 1) -> str:
    """Text that was piped in: UTF-8, with or without its mark, or UTF-16 and 32 by theirs.

    Args:
        what: it is, for the error.
        line: number of its first line.

    Raises:
        BadSource: it is in another encoding; naming the line.
    """
    encoding = json.detect_encoding(sent)
    try:
        return sent.decode(encoding)
    except UnicodeDecodeError as error:
        place = line + sent.count(b"\n", 0, error.start)
        raise BadSource(
            f"{what} is UTF-8",
            seen=f"byte 0x{sent[error.start]:02x} in line {place}",
            remedy="convert it first, for example: iconv -f latin1 -t utf-8",
        ) from error


def laid(assignments: Iterable[str] | None, given: JsonObject | None = None) -> JsonObject:
    """NAME=VALUE assignments, one upon the other and all upon `given`."""
    found = given or {}
    for assignment in assignments or ():
        found = merged(found, nested(assignment))
    return found


def _from_file(path: Path) -> JsonObject:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfig(
            "a parameter file is readable JSON (.json) or TOML",
            seen=f"{path}: {error}",
            remedy="mend the file, or use --set",
        ) from error


def nested(assignment: str) -> JsonObject:
    """`train.sft.max_steps=100` as {"train": {"sft": {"max_steps": 100}}}; what is no TOML value is text."""
    name, equals, text = assignment.partition("=")
    if not equals or not all(name.split(".")):
        raise BadConfig(
            "--set takes NAME=VALUE", seen=assignment, remedy="for example --set train.sft.max_steps=100"
        )
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for part in reversed(name.split(".")):
        value = {part: value}
    return value
