"""`ranker init` and `ranker validate`: your own tables become a task, and what is wrong with them is said
before anything is trained.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from ranker.cli import tables
from ranker.cli.codes import Code
from ranker.cli.output import Json, console, write_json
from ranker.cli.params import File, Home, Set, own_presets, own_tasks, parameters
from ranker.config import DEFAULT_PRESET, RetrainParams, Scenario, data_home, task_names
from ranker.errors import BadConfig, BadSource
from ranker.progress import Progress
from ranker.types import CandidateSet, JsonObject

SCENARIOS: dict[str, Scenario] = {
    "recommendation": "recommendation",
    "passages": "passage",
    "routing": "routing",
}
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def init(
    scenario: Annotated[
        Literal["recommendation", "passages", "routing"],
        typer.Argument(help="What is ranked: items for users, passages for questions, LLMs for questions."),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            help="CSV, TSV, JSON lines or Parquet files of one folder, or the folder of a data set. "
            "recommendation: interactions, and items if there is a table of them; passages: documents,"
            " queries and judgements, or one table of query and passage; routing: answers, and descriptions"
            " of LLMs."
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="Of the task; without it the first file's name.")] = "",
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help="Which column holds a field, e.g. user_id=customer or items.title=name; an empty column:"
            " none. Repeatable.",
        ),
    ] = None,
    what: Annotated[
        str, typer.Option("--what", help="The candidates in the plural, as the model is told: Books.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over a task of this name.")] = False,
    as_json: Json = False,
) -> None:
    """Make a task and a preset of your own tables; they go into `tasks` and `presets` of the data folder.

    For example: `ranker init recommendation plays.csv songs.csv --what Songs`
    """
    from ranker.datasets.guess import guess
    from ranker.datasets.task_file import preset_file, task_file

    name = _task_name(name or files[0].resolve().name.partition(".")[0], force)
    mapped = dict(_mapping(one) for one in maps or ())
    found = guess(SCENARIOS[scenario], files, mapped)
    while found.missing and sys.stdin.isatty() and not as_json:
        mapped |= _asked(found.missing, found.files[found.missing[0].partition(".")[0]].columns)
        found = guess(SCENARIOS[scenario], files, mapped)
    if found.missing:
        role, _, field = found.missing[0].partition(".")
        raise BadSource(
            f"the table of {role} needs a column for {', '.join(_fields(found.missing, role))}",
            seen=f"{found.files[role].name}: {', '.join(found.files[role].columns)}"[:300],
            remedy=f"say which one it is: --map {field}=COLUMN",
        )
    written = task_file(name, found, what)
    made = {"task": _own("tasks", name), "preset": _own("presets", name)}
    _write(made["task"], written.text)
    _write(made["preset"], preset_file(name))
    if as_json:
        read = {
            role: {"file": str(file.name), "columns": dict(found.columns[role])}
            for role, file in found.files.items()
        }
        write_json({"name": name, "files": read, "notes": written.notes, "written": made})
        return
    screen = console()
    for role, file in found.files.items():
        said = ", ".join(f"{field} = {column}" for field, column in found.columns[role].items())
        screen.print(f"{role}: {file.name} ({said})")
    for note in written.notes:
        screen.print(f"note: {note}")
    screen.print(f"\nWritten: {made['task']}\n         {made['preset']}")
    steps = (f"validate {name}", f"fetch --preset {name}", f"retrain --preset {name}")
    screen.print("Next:    " + "\n         ".join(f"ranker {step}" for step in steps))


def validate(
    task: Annotated[
        str,
        typer.Argument(help="A task; without it all that the preset trains on.", autocompletion=own_tasks),
    ] = "",
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            help="A preset; without it the task's own, else the default.",
            autocompletion=own_presets,
        ),
    ] = "",
    sets: Set = None,
    file: File = None,
    home: Home = "",
    as_json: Json = False,
) -> None:
    """Read a task's data, draw its pools and show three as the model will be asked. Nothing is stored.

    What is wrong with the rows is told with file and row, the first ten of each fault; exit code 1. For
    example: `ranker validate rec-movie`
    """
    from flows.stages import validate_batch
    from ranker.studies.preview import preview, problems

    params = parameters(preset or _own_preset(task), home, "", sets, file)
    screen, found = console(), list[JsonObject]()
    for name in [task] if task else params.ingest.tasks:
        with Progress(f"{name}: looking for faults"):
            wrong = problems(params, name)
        if wrong:
            if as_json:
                faults = [{"rule": e.rule, "seen": e.seen, "remedy": e.remedy} for e in wrong]
                write_json({"tasks": [*found, {"task": name, "faults": faults}], "training_hours": None})
            else:
                _tell_wrong(name, wrong)
            raise typer.Exit(Code.no)
        seen = preview(params, name, validate_batch)
        found.append(
            {
                "task": name,
                "rows": dict(seen.rows),
                "left_out": dict(seen.left_out),
                "queries": dict(seen.sides),
            }
        )
        if not as_json:
            screen.print(f"{name}: {_counts(seen.rows)}; queries: {_counts(seen.sides)}")
            for why, count in seen.left_out.items():
                screen.print(f"  left out: {count:,} {why}")
            _show_examples(params, seen.examples)
    hours = _hours(params)
    if as_json:
        write_json({"tasks": found, "training_hours": hours})
    else:
        screen.print(f"\nTraining as {params.preset} says takes about {_duration(hours)} on this machine.")


def _task_name(given: str, force: bool) -> str:
    name = given.lower().replace(" ", "-")
    if not NAME.fullmatch(name):
        raise BadConfig(
            "a task's name is made of small letters, digits, - and _",
            seen=repr(given),
            remedy="give one with --name",
        )
    if name in task_names() and not force:
        raise BadConfig(
            "a new task has a name of its own",
            seen=f"{name}, which is there already",
            remedy="give another one with --name, or --force to write over it",
        )
    return name


def _mapping(given: str) -> tuple[str, str]:
    field, equals, column = given.partition("=")
    if not equals or not field:
        raise BadConfig("--map takes FIELD=COLUMN", seen=given, remedy="for example --map user_id=customer")
    return field.strip(), column


def _asked(missing: Iterable[str], columns: Iterable[str]) -> dict[str, str]:
    """The first missing field's column, from whoever sits at the terminal."""
    import click

    first, choices = next(iter(missing)), list(columns)
    answer = cast("str", typer.prompt(f"Which column is {first}?", type=click.Choice(choices)))
    return {first: answer}


def _fields(missing: Iterable[str], role: str) -> list[str]:
    return [one.partition(".")[2] for one in missing if one.partition(".")[0] == role]


def _own(kind: str, name: str) -> Path:
    return data_home() / kind / f"{name}.toml"


def _own_preset(task: str) -> str:
    return task if task and _own("presets", task).is_file() else DEFAULT_PRESET


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _tell_wrong(name: str, wrong: Iterable[BadSource]) -> None:
    screen = console(stderr=True)
    for error in wrong:
        screen.print(tables.failure(error))
    screen.print(f"{name} cannot be trained on yet.")


def _show_examples(params: RetrainParams, examples: Iterable[CandidateSet]) -> None:
    from ranker.studies.preview import shown

    for number, given in enumerate(examples, start=1):
        console().print(f"\n-- training pool {number}, as the model is asked; + is relevant")
        console().print(shown(given, params.train.policy.style))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _hours(params: RetrainParams) -> float:
    from ranker.train.estimate import estimate

    return sum(phase.hours for phase in estimate(params).phases)


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{max(1, round(60 * hours))} minutes"
