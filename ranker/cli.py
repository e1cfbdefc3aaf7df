"""`ranker`: the command line. The only module of this package that prints, and (late, where they are run) that knows the flows."""

from __future__ import annotations

import json
import logging
import os
import sys
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import polars as pl
import typer
from rich.console import Console
from typer.core import TyperGroup

from ranker import cli_contracts, terminal
from ranker.config import STAGES, RetrainParams, Stage, merged, parse_params
from ranker.errors import BadConfig, BadSource, RankerError, StageMissing

WIDE, READABLE = 240, 100
"""Columns where output goes to a file or a pipe: rows in full, errors as text."""
MOST_ROWS = 200
"""Rows that a table in the terminal shows; csv and json give all."""


class Guarded(TyperGroup):
    """A RankerError becomes one readable block on stderr and the error's exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RankerError as error:
            if ctx.params.get("debug"):
                raise
            _console(stderr=True).print(terminal.failure(error))
            ctx.exit(error.exit_code)


app = typer.Typer(
    cls=Guarded,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Retrain a ranking language model on your own data, and see whether it learned.",
)

Preset = Annotated[str, typer.Option("--preset", help="Where values come from that are not given: mini, smollm2 or tiny.")]
Home = Annotated[str, typer.Option("--home", help="Data folder; empty takes $RANKER_HOME or ./data.")]
Catalog = Annotated[str, typer.Option("--lake", help="Lake catalog URI (ducklake:…); empty takes a SQLite catalog in the data folder.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One parameter, e.g. train.sft.steps=100; a TOML value. Repeatable.")
]
File = Annotated[Path | None, typer.Option("--params", metavar="FILE", help="Parameters as a JSON or TOML file; --set is laid over it.")]
Force = Annotated[list[str] | None, typer.Option("--force", metavar="STAGE", help="Repeat this stage although it is done. Repeatable.")]


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"

app.add_typer(cli_contracts.app, name="contracts")


@app.callback()
def main(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False) -> None:
    """Retrain a ranking language model on your own data, and see whether it learned."""


@app.command()
def doctor(preset: Preset = "mini", home: Home = "", lake: Catalog = "", sets: Set = None) -> None:
    """Say what is missing for a run, and how to mend it. Exit code 1 where something needed is missing."""
    from ranker.doctor import examine

    found = list(examine(_params(preset, home, lake, sets)))
    _console().print(terminal.findings(found))
    if any(not finding.ok and finding.needed for finding in found):
        raise typer.Exit(1)


@app.command()
def fetch(preset: Preset = "mini", home: Home = "", sets: Set = None) -> None:
    """Download the data and models that the preset needs. What is there already stays."""
    from ranker.fetch import fetch

    fetch(_params(preset, home, "", sets), _console(stderr=True).print)


@app.command()
def retrain(
    ctx: typer.Context,
    preset: Preset = "mini",
    sets: Set = None,
    file: File = None,
    force: Force = None,
    home: Home = "",
    lake: Catalog = "",
) -> None:
    """Run all six stages: raw data to a registered policy. Finished stages are skipped."""
    params = _params(preset, home, lake, sets, file, force)
    flow = _flows(ctx)
    outcome = flow.retrain(params)
    logging.getLogger("prefect").setLevel(logging.WARNING)  # the table comes last, not the temporary server's farewell
    _close(_gather(params, outcome.stages["evaluate"].key), outcome.report, params.home_path if home else None)


@app.command("run")
def run_stage(
    ctx: typer.Context,
    stage: Annotated[str, typer.Argument(help=", ".join(STAGES))],
    preset: Preset = "mini",
    sets: Set = None,
    file: File = None,
    force: Force = None,
    home: Home = "",
    lake: Catalog = "",
) -> None:
    """Run one stage upon what earlier stages have left. Give the same parameters as they had."""
    params = _params(preset, home, lake, sets, file, force)
    ref = _flows(ctx).run_stage(params, _stage(stage))
    _console().print(f"{ref.stage} {ref.key}: {'skipped, done by an earlier run' if ref.skipped else 'done'}; rows {ref.rows}")


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over the lake's tables and views; see `show tables`.")],
    home: Home = "",
    lake: Catalog = "",
    form: Annotated[Format, typer.Option("--format", help="table, csv or json.")] = Format.table,
) -> None:
    """Ask the lake, read-only: `ranker query "select * from leaderboard"`."""
    from ranker.lake import open_lake

    params = _params("mini", home, lake)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        frame = opened.query(sql)
    _show(frame, form)


@app.command()
def rank(
    preset: Preset = "mini",
    home: Home = "",
    lake: Catalog = "",
    sets: Set = None,
    model: Annotated[Path | None, typer.Option("--model", help="Model folder; without it the champion, else the challenger.")] = None,
    strategy: Annotated[
        str, typer.Option("--strategy", help="iterative (drop the worst, again and again) or direct (one answer).")
    ] = "iterative",
    think: Annotated[bool, typer.Option("--think/--no-think", help="Let the model reason before it answers.")] = True,
    example: Annotated[
        str, typer.Option("--example", metavar="TASK", help="Print a request from the test queries of a task, and stop.")
    ] = "",
) -> None:
    """Rank candidates: a request as JSON on stdin, the ranking with its reasons as JSON on stdout.

    A request: {"task": "passage-pydoc", "query": "…", "candidates": [{"id": "a", "text": "…"}, {"id": "b", "text": "…"}]};
    for recommendations "history": ["item id", …] instead of "query".
    """
    params = _params(preset, home, lake, sets)
    if strategy not in ("iterative", "direct"):
        raise BadConfig("the strategy must exist", seen=repr(strategy), remedy="choose iterative or direct")
    if example:
        _write_json(_example(params, example))
        return
    from ranker.serve import rank

    payload = _request(sys.stdin.read())
    _write_json(rank(payload, model or _serving(params), how=cast(Any, strategy), thinking=think))


@app.command()
def rollback(preset: Preset = "mini", home: Home = "", sets: Set = None) -> None:
    """Give the alias `champion` back to the version that the present champion replaced."""
    from ranker import registry

    params = _params(preset, home, "", sets)
    former, present = registry.rollback(params.home_path, params.register_)
    _console().print(f"{params.register_.name}: version {present.version} is champion again (was version {former.version})")


@app.command()
def report(
    home: Home = "",
    lake: Catalog = "",
    key: Annotated[str, typer.Option("--evaluation", metavar="KEY", help="Key of an evaluation; without it the latest.")] = "",
) -> None:
    """Write the HTML report of an evaluation again, and print its tables."""
    from ranker import report
    from ranker.lake import open_lake

    params = _params("mini", home, lake)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        key = key or report.latest(opened)
        path, shown = report.write(opened, key), report.gather(opened, key)
    _close(shown, path, params.home_path if home else None)


# --- parameters ---------------------------------------------------------------------------------------------------


def _params(
    preset: str, home: str, lake: str, sets: Iterable[str] | None = None, file: Path | None = None, force: Iterable[str] | None = None
) -> RetrainParams:
    """What the caller gave, one upon the other: preset, file, --set, named options."""
    given = _from_file(file) if file else {}
    if preset != "mini" or "preset" not in given:
        given["preset"] = preset
    for assignment in sets or ():
        given = merged(given, _nested(assignment))
    named = {"home": home, "lake": lake, "force": list(force or ())}
    return parse_params({**given, **{name: value for name, value in named.items() if value}})


def _from_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfig(
            "a parameter file is readable JSON (.json) or TOML", seen=f"{path}: {error}", remedy="mend the file, or use --set"
        ) from error


def _nested(assignment: str) -> dict[str, Any]:
    """`train.sft.steps=100` as {"train": {"sft": {"steps": 100}}}; what is no TOML value is text."""
    name, equals, text = assignment.partition("=")
    if not equals or not all(name.split(".")):
        raise BadConfig("--set takes NAME=VALUE", seen=assignment, remedy="for example --set train.sft.steps=100")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def _stage(name: str) -> Stage:
    if name not in STAGES:
        raise BadConfig("the stage must exist", seen=repr(name), remedy=f"choose one of {', '.join(STAGES)}")
    return cast(Stage, name)


# --- what commands share ------------------------------------------------------------------------------------------


def _console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        width=None if stream.isatty() or "COLUMNS" in os.environ else READABLE if stderr else WIDE,
        soft_wrap=False,
        highlight=False,
    )


def _flows(ctx: typer.Context) -> Any:
    """The flows, imported where they are run: Prefect takes seconds. Without --debug their console is brief about errors."""
    import flows.retrain

    root = ctx.find_root()
    if not root.params.get("debug"):
        _brief_errors()
    return flows.retrain


class _Brief(logging.Formatter):
    """Another formatter's lines, cut to one line and without traceback: the command line ends with the whole error once.

    The record goes on to the server unchanged.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        brief = record.getMessage().partition("\\n  seen:")[0].partition("\n  seen:")[0]
        return self._inner.format(
            logging.makeLogRecord({**record.__dict__, "msg": brief, "args": None, "exc_info": None, "exc_text": None})
        )


def _brief_errors() -> None:
    for name in ("", "prefect", "prefect.flow_runs", "prefect.task_runs"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler) and handler.formatter and not isinstance(handler.formatter, _Brief):
                handler.setFormatter(_Brief(handler.formatter))


def _gather(params: RetrainParams, key: str) -> Any:
    from ranker import report
    from ranker.lake import open_lake

    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        return report.gather(opened, key)


def _close(shown: Any, path: Path, home: Path | None) -> None:
    console = _console()
    console.print(terminal.closing(shown, path, home, console.width))


def _show(frame: pl.DataFrame, form: Format) -> None:
    if form is Format.json:
        _write_json(frame.to_dicts())
    elif form is Format.csv:
        sys.stdout.write(_flat(frame).write_csv())
    else:
        console = _console()
        console.print(terminal.rows(frame.head(MOST_ROWS), console.width))
        if frame.height > MOST_ROWS:
            _console(stderr=True).print(f"{frame.height:,} rows, the first {MOST_ROWS} shown; --format csv gives all")


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists and structs as JSON text: CSV has no place for them."""
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    texts = [
        pl.Series(
            name,
            [None if value is None else json.dumps(value, default=str, ensure_ascii=False) for value in frame[name].to_list()],
            dtype=pl.String,
        )
        for name in nested
    ]
    return frame.with_columns(texts)


def _write_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, default=str, ensure_ascii=False) + "\n")


def _request(text: str) -> dict[str, Any]:
    try:
        payload = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadSource(
            "a rank request is JSON on stdin",
            seen=f"{error} in {text[:80]!r}",
            remedy="see `ranker rank --help`, or try `ranker rank --example rec-movie`",
        ) from error
    if not isinstance(payload, dict):
        raise BadSource("a rank request is one JSON object", seen=text[:80], remedy="see `ranker rank --help`")
    return payload


def _serving(params: RetrainParams) -> Path:
    from ranker import registry

    found = registry.latest(params.home_path, params.register_)
    if found is None:
        raise StageMissing(
            "ranking needs a model",
            seen=f"no registered version of {params.register_.name!r} in {params.home_path}",
            remedy="run `ranker retrain`, or give a folder with --model",
        )
    return params.home_path / found.model


def _example(params: RetrainParams, task: str) -> dict[str, Any]:
    """A test query of `task` as a rank request."""
    from ranker.config import task as known
    from ranker.lake import open_lake
    from ranker.sets import load_sets

    known(task)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        batches = opened.named("report/sets_of", {"task": task})
        if batches.is_empty():
            raise StageMissing(
                "an example needs test queries", seen=f"none of {task!r} in the lake", remedy="run `ranker retrain` with this task first"
            )
        given = load_sets(opened, batches.item(), split="test", task=task, limit=1)[0]
    asked: dict[str, Any] = {"history": list(given.query_items)} if given.query_items else {"query": given.query}
    return {"task": task, **asked, "candidates": [{"id": c.item_id, "text": c.text} for c in given.candidates]}
