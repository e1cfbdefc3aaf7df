"""`ranker`: the command line.

Only this package writes to the terminal, by rich; the training worker and the server write their logs. The
flows are imported late, where a command runs them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer import rich_utils
from typer.core import TyperGroup
from typer.exceptions import TyperException

from ranker.cli import (
    audit,
    contracts,
    estimate,
    export,
    feedback,
    lake,
    live,
    operations,
    own_data,
    retention,
    serving,
    studies,
    tables,
    ui,
)
from ranker.cli.codes import Code, known, nobody_reads
from ranker.cli.interrupts import interruptible, remembered
from ranker.cli.output import Form, Format, Json, brief_errors, console, show, tell, write_json
from ranker.cli.params import (
    At,
    Catalog,
    Constrained,
    File,
    Force,
    Home,
    Preset,
    Set,
    Think,
    as_evaluated,
    decoded,
    own_tasks,
    parameters,
    stage_names,
)
from ranker.config import DEFAULT_PRESET, STAGES, RetrainParams, Stage
from ranker.errors import BadConfig, BadSource, StageMissing
from ranker.policy.texts import readable
from ranker.proxies import bypass_for_loopback
from ranker.refs import Champion
from ranker.resources import keep_private, settle_home
from ranker.types import JsonObject

if TYPE_CHECKING:
    from ranker.reports.report import Report

STOPPED = "Stopped. What is done stays; the same command goes on from there."


class Guarded(TyperGroup):
    """Whatever goes wrong becomes one readable block on stderr and an exit code (ranker/cli/codes.py)."""

    _given: Sequence[str] = ()

    def invoke(self, ctx: Any) -> Any:
        live.begin(console(stderr=True))
        try:
            with remembered(), interruptible():
                for argument in self._given:
                    _require_text(argument)
                return super().invoke(ctx)
        except (TyperException, typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:
            nobody_reads()
            ctx.exit(Code.unread)
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            live.end()
            found = known(error)
            console(stderr=True).print(tables.failure(found))
            ctx.exit(found.exit_code)
        except KeyboardInterrupt:
            live.end()
            console(stderr=True).print(STOPPED)
            ctx.exit(Code.stopped)
        finally:
            live.end()

    def main(self, *args: Any, **extra: Any) -> Any:
        if os.environ.get("NO_COLOR"):
            rich_utils.COLOR_SYSTEM = None  # of its help and its mistakes: no bold either
        return super().main(*args, **extra)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        self._given = list(args)
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Guarded,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Retrain a ranking language model on your own data, and see whether it learned.",
)
app.command("init")(own_data.init)
app.command("validate")(own_data.validate)
app.command("ui")(ui.ui)
app.add_typer(lake.app, name="lake")
app.command("shell")(lake.shell)
app.add_typer(contracts.app, name="contracts")
app.command("estimate")(estimate.estimate)
app.command("export-run")(export.export_run)
app.command("export-clicks")(feedback.export_clicks)
app.command("forget")(feedback.forget)
app.command("serve")(serving.serve)
app.add_typer(audit.app, name="audit")
app.command("study")(studies.study)
app.command("gc")(retention.gc)
app.command("bootstrap")(operations.bootstrap)
app.command("watch")(operations.watch)


@app.callback()
def main(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False) -> None:
    """Retrain a ranking language model on your own data, and see whether it learned.

    For example: `ranker retrain --preset tiny`
    """
    keep_private()
    bypass_for_loopback()
    settle_home()


@app.command()
def doctor(
    preset: Preset = DEFAULT_PRESET,
    home: Home = "",
    lake: Catalog = "",
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Say what is missing for a run, and how to mend it. Exit code 1 where something needed is missing.

    For example: `ranker doctor --preset tiny`
    """
    from ranker.cli.doctor import examine

    found = list(examine(parameters(preset, home, lake, sets)))
    tell(found, as_json, tables.findings(found))
    if any(not finding.ok and finding.needed for finding in found):
        raise typer.Exit(Code.no)


@app.command()
def fetch(preset: Preset = DEFAULT_PRESET, home: Home = "", sets: Set = None, as_json: Json = False) -> None:
    """Download the data and models that the preset needs. What is there already stays.

    For example: `ranker fetch --preset smollm2`
    """
    from ranker.cli.fetch import fetch

    found = fetch(parameters(preset, home, "", sets), lambda line: console(stderr=True).print(line))
    tell({name: str(path) for name, path in found.items()}, as_json)


@app.command()
def retrain(
    ctx: typer.Context,
    preset: Preset = DEFAULT_PRESET,
    sets: Set = None,
    file: File = None,
    force: Force = None,
    home: Home = "",
    lake: Catalog = "",
    as_json: Json = False,
) -> None:
    """Run all six stages: raw data to a registered policy. Finished stages are skipped.

    For example: `ranker retrain --preset tiny --set train.sft.max_steps=100`
    """
    params = parameters(preset, home, lake, sets, file, force)
    with _flows(ctx) as flow:
        outcome = flow.retrain(params)
    stages = {"stages": outcome.stages, "not_due": outcome.not_due}
    if outcome.report is None:
        tell({**stages, "report": None}, as_json, f"Not trained: {outcome.not_due}")
        return
    shown = _gather(params, outcome.stages["evaluate"].key)
    _close(shown, outcome.report, params.home_path if home else None, as_json, **stages)


@app.command("run")
def run_stage(
    ctx: typer.Context,
    stage: Annotated[str, typer.Argument(help=", ".join(STAGES), autocompletion=stage_names)],
    preset: Preset = DEFAULT_PRESET,
    sets: Set = None,
    file: File = None,
    force: Force = None,
    home: Home = "",
    lake: Catalog = "",
    as_json: Json = False,
) -> None:
    """Run one stage upon what earlier stages have left. Give the same parameters as they had.

    For example: `ranker run evaluate --preset tiny`
    """
    params = parameters(preset, home, lake, sets, file, force)
    wanted = _stage(stage)
    with _flows(ctx) as flow:
        ref = flow.run_stage(params, wanted)
    how = "skipped, done by an earlier run" if ref.skipped else "done"
    tell(ref, as_json, f"{ref.stage} {ref.key}: {how}; rows {ref.rows}")


@app.command()
def query(
    sql: Annotated[
        str, typer.Argument(help="One SELECT over the lake's tables and views; see `show tables`.")
    ],
    home: Home = "",
    lake: Catalog = "",
    at: At = None,
    form: Form = Format.table,
    as_json: Json = False,
) -> None:
    """Ask the lake, read-only.

    For example: `ranker query "select * from leaderboard"`
    """
    from ranker.lake import open_lake

    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake, confined=True, snapshot=at) as opened:
        frame = opened.query(sql)
    show(frame, Format.json if as_json else form)


@app.command()
def rank(
    preset: Preset = DEFAULT_PRESET,
    home: Home = "",
    lake: Catalog = "",
    sets: Set = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Model folder; without it the champion, else the challenger."),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy",
            help=(
                "iterative (drop the worst, again and again), direct (one answer), or another of"
                " docs/strategies.md, e.g. iterative:drop=half,by=scores. Without it as the registered"
                " version was evaluated; of a folder iterative."
            ),
        ),
    ] = "",
    think: Think = None,
    constrained: Constrained = False,
    example: Annotated[
        str,
        typer.Option(
            "--example",
            metavar="TASK",
            help="Print a request from the test queries of a task, and stop.",
            autocompletion=own_tasks,
        ),
    ] = "",
) -> None:
    """Rank candidates: a request as JSON on stdin, the ranking with its reasons as JSON on stdout.

    For example: `ranker rank --example rec-movie | ranker rank`

    A request: {"task": "passage-pydoc", "query": "…", "candidates": [{"id": "a", "text": "…"}, {"id": "b",
    "text": "…"}]}; for recommendations "history": ["title", …] or [{"id": "…", "text": "title"}, …] instead
    of "query".
    """
    params = parameters(preset, home, lake, sets)
    if example:
        write_json(_example(params, example))
        return
    from ranker.serving.rank_request import rank
    from ranker.strategies import strategy as known

    known(strategy or "iterative")
    payload = _request(sys.stdin.buffer.read())
    found = None
    if model is None:
        found = _serving(params)
        model = params.home_path / found.model
    how, thinking = as_evaluated(found, strategy, think)
    write_json(rank(payload, model, how=how, thinking=thinking, constrained=constrained))


@app.command()
def replay(
    episode: Annotated[str, typer.Argument(help="Id of a stored episode, or its beginning.")],
    from_step: Annotated[
        int,
        typer.Option(
            "--from-step",
            metavar="STEP",
            min=0,
            help="First step that is asked anew; those before stay as they were.",
        ),
    ] = 0,
    strategy: Annotated[
        str, typer.Option("--strategy", help="As in `ranker rank`; without it the episode's own.")
    ] = "",
    model: Annotated[
        str, typer.Option("--model", help="As in episodes.model, or a folder; without it the episode's own.")
    ] = "",
    think: Annotated[
        bool | None,
        typer.Option(
            "--think/--no-think",
            help="Let the model reason; without it as the episode did, where the model can.",
        ),
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Of sampling.")] = 0,
    constrained: Constrained = False,
    preset: Preset = DEFAULT_PRESET,
    home: Home = "",
    lake: Catalog = "",
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """What if? Go on from a step of a stored episode in another way; the branch is stored beside it.

    For example: `ranker replay 3f0c --from-step 1 --strategy direct`
    """
    from flows.stages import validate_batch
    from ranker.engines import load, own_style
    from ranker.lake import open_lake
    from ranker.strategies import strategy as known
    from ranker.studies import replay

    if strategy:
        known(strategy)
    params = parameters(preset, home, lake, sets)
    with open_lake(params.home_path, params.lake) as opened:
        parent = replay.find(opened, episode)
        identity, folder, digest = replay.weights(opened.home, model or parent["model"])
        branch = replay.Branch(
            model=identity,
            weights=digest,
            from_step=from_step,
            strategy=str(known(strategy or parent["strategy"])),
            thinking=parent["thinking"] and own_style(folder) != "likelihood" if think is None else think,
            max_completion_length=params.evaluate.max_completion_length,
            temperature=temperature,
            seed=seed,
            constrained=constrained,
        )
        ref = replay.run(
            opened, parent, branch, lambda: load(folder, device=params.evaluate.device), check=validate_batch
        )
        outcome, steps = replay.beside(opened, ref)
    branch_id = ref.details["episode"]
    if as_json:
        write_json({"episode": branch_id, "skipped": ref.skipped, "outcome": outcome, "steps": steps})
        return
    show(outcome)
    show(steps)
    console().print(f"stored as episode {branch_id}{' by an earlier replay' if ref.skipped else ''}")


@app.command()
def collect(home: Home = "", lake: Catalog = "", as_json: Json = False) -> None:
    """Bring what `ranker serve --log` has kept, requests and feedback, into the lake.

    Servers do so themselves; this takes what one has left behind. For example: `ranker collect --home data`
    """
    from flows.stages import validate_batch
    from ranker.lake import open_lake
    from ranker.serving import collect

    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake) as opened:
        found = collect.both(opened, check=validate_batch)
    lines = [f"{ref.stage} {ref.key}: rows {ref.rows}" for ref in found]
    tell(found, as_json, "\n".join(lines) or "nothing to collect")


@app.command()
def rollback(
    preset: Preset = DEFAULT_PRESET, home: Home = "", sets: Set = None, as_json: Json = False
) -> None:
    """Give the alias `champion` back to the version that the present champion replaced.

    For example: `ranker rollback --home data`
    """
    from ranker.stages import registry

    params = parameters(preset, home, "", sets)
    former, present = registry.rollback(params.home_path, params.register_)
    name = params.register_.name
    tell(
        {"name": name, "champion": present.version, "former": former.version},
        as_json,
        f"{name}: version {present.version} is champion again (was version {former.version})",
    )


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="Number of a registered version.")],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Although the promotion rule did not promote it.")
    ] = False,
    preset: Preset = DEFAULT_PRESET,
    home: Home = "",
    lake: Catalog = "",
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Make a registered version champion by hand, after it has ranked a test query of each task.

    For example: `ranker promote 3`
    """
    from ranker.stages import registry

    params = parameters(preset, home, lake, sets)
    former, present = registry.promote(
        params.home_path,
        params.register_,
        version,
        anyway=anyway,
        smoke=lambda chosen: _smoke(params, chosen),
    )
    name, was = params.register_.name, f"was version {former.version}" if former else "there was none"
    tell(
        {"name": name, "champion": present.version, "former": former.version if former else None},
        as_json,
        f"{name}: version {present.version} is champion ({was})",
    )


def _smoke(params: RetrainParams, chosen: Champion) -> None:
    """Rank a test query of every task that the version was evaluated on, as it will serve."""
    from ranker.lake import open_lake
    from ranker.serving.rank_request import rank

    folder = params.home_path / chosen.model
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        tasks = opened.rows(
            "select distinct e.task from evaluations e join stage_runs r on r.batch_id = e.batch_id where"
            " list_contains(r.inputs, $key) order by e.task",
            {"key": chosen.train_key},
        )
    for name in tasks["task"]:
        rank(_example(params, name), folder, how=chosen.strategy, thinking=chosen.thinking)


@app.command()
def compare(
    one: Annotated[str, typer.Argument(metavar="A", help="Number of a registered version.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Number of another.")],
    preset: Preset = DEFAULT_PRESET,
    home: Home = "",
    lake: Catalog = "",
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Two registered versions on the test queries that both have ranked: A minus B, as the promotion rule
    tests it.

    Nothing moves and no look is counted; but who chooses by it has looked. For example: `ranker compare 3 2`
    """
    from ranker.lake import open_lake
    from ranker.stages import register

    params = parameters(preset, home, lake, sets)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        found = register.compare(opened, params.register_, one, other)
    tell({"a": one, "b": other, "gains": found}, as_json, tables.compared(one, other, found, console().width))


@app.command()
def report(
    home: Home = "",
    lake: Catalog = "",
    key: Annotated[
        str, typer.Option("--evaluation", metavar="KEY", help="Key of an evaluation; without it the latest.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write the HTML report of an evaluation again, and print its tables.

    For example: `ranker report --home data`
    """
    from ranker.lake import open_lake
    from ranker.reports import report

    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        key = key or report.latest(opened)
        path, shown = report.write(opened, key), report.gather(opened, key)
    _close(shown, path, params.home_path if home else None, as_json)


def _require_text(argument: str) -> None:
    """What is typed in another encoding comes as lone surrogates, which no file, lake or model can hold."""
    if readable(argument) != argument:
        raise BadConfig(
            "what is typed is text in UTF-8",
            seen=repr(argument)[:200],
            remedy="check the terminal's encoding (`locale`); a file: iconv -f latin1 -t utf-8",
        )


def _stage(name: str) -> Stage:
    if name not in STAGES:
        raise BadConfig("the stage must exist", seen=repr(name), remedy=f"choose one of {', '.join(STAGES)}")
    return cast(Stage, name)


# --- what commands share ---


@contextmanager
def _flows(ctx: typer.Context) -> Iterator[Any]:
    """The flows, imported where they are run, as Prefect takes seconds, with a server to run on. Without
    --debug their console is brief about errors.
    """
    import flows.retrain
    from flows.server import server

    with server():
        if not ctx.find_root().params.get("debug"):
            brief_errors()
        yield flows.retrain


def _gather(params: RetrainParams, key: str) -> Report:
    from ranker.lake import open_lake
    from ranker.reports import report

    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        return report.gather(opened, key)


def _close(shown: Report, path: Path, home: Path | None, as_json: bool, **facts: object) -> None:
    found = {**facts, "report": path, "version": shown.version, "rows": shown.rows}
    tell(found, as_json, tables.closing(shown, path, home, console().width))


def _request(sent: bytes) -> JsonObject:
    text = decoded(sent, "a rank request on stdin")
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSource(
            "a rank request is JSON on stdin",
            seen=f"{error} in {text[:80]!r}",
            remedy="see `ranker rank --help`, or try `ranker rank --example rec-movie`",
        ) from error
    if not isinstance(payload, dict):
        raise BadSource(
            "a rank request is one JSON object", seen=text[:80], remedy="see `ranker rank --help`"
        )
    return payload


def _serving(params: RetrainParams) -> Champion:
    from ranker.stages import registry

    found = registry.latest(params.home_path, params.register_)
    if found is None:
        raise StageMissing(
            "ranking needs a model",
            seen=f"no registered version of {params.register_.name!r} in {params.home_path}",
            remedy="run `ranker retrain`, or give a folder with --model",
        )
    return found


def _example(params: RetrainParams, task: str) -> JsonObject:
    """A test query of `task` as a rank request."""
    from ranker.config import task as known
    from ranker.lake import open_lake
    from ranker.reports.report import test_sets

    known(task)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        given = test_sets(opened, task, 1)[0]
    asked: JsonObject = {"history": list(given.query_items)} if given.query_items else {}
    return {
        "task": task,
        "query": given.query,
        **asked,
        "candidates": [{"id": c.item_id, "text": c.text} for c in given.candidates],
    }
