"""`ranker bootstrap` and `ranker watch`: a Prefect server that runs for months, and a look at it from
outside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from ranker.cli.codes import Code
from ranker.cli.output import Form, Format, Json, console, show, write_json
from ranker.cli.params import Catalog, Home, Preset, Set, parameters
from ranker.config import DEFAULT_PRESET

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def bootstrap(
    webhook: Annotated[
        str,
        typer.Option(
            envvar="RANKER_WEBHOOK",
            metavar="URL",
            help="Where failures and findings are posted as JSON; without it the one that is there stays.",
        ),
    ] = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make what the deployments need on the Prefect server of PREFECT_API_URL: work pool, queues,
    deployments, automations. A second time there is nothing to do. Exit code 1 where --dry-run finds
    something to do.

    For example: `ranker bootstrap --dry-run`
    """
    from flows import bootstrap as made
    from flows.server import connected

    asked = made.Bootstrap(webhook=webhook)
    with connected() as client:
        if dry_run:
            wrong = [part for part in made.examine(client, asked) if part.wrong]
        else:
            wrong = made.bootstrap(client, asked)
    rows = pl.DataFrame(
        [(part.kind, part.name, part.wrong, "" if dry_run else "made") for part in wrong],
        schema=dict.fromkeys(("what", "name", "was", "now"), pl.String),
        orient="row",
    )
    if as_json:
        write_json(rows)
    elif wrong:
        show(rows, fold=("was",))
    else:
        console().print("everything is there")
    if wrong and dry_run:
        raise typer.Exit(Code.no)


def watch(
    silent: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="A run without a sign of life is dead after."),
    ] = None,
    pending: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="A run that stays Pending is dead after.")
    ] = None,
    periods: Annotated[
        float | None,
        typer.Option(min=0.1, help="Periods of a schedule within which a run must have completed."),
    ] = None,
    one_machine: Annotated[
        bool,
        typer.Option("--one-machine", help="All workers are here: a run whose process is gone is dead."),
    ] = False,
    data_days: Annotated[
        float, typer.Option(min=0, help="New data must have come within; 0: not asked.")
    ] = 0,
    champion_days: Annotated[
        float, typer.Option(min=0, help="The champion must be younger than; 0: not asked.")
    ] = 0,
    metrics: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write figures for Prometheus's node-exporter there, e.g. ranker.prom (docs/deploy.md).",
        ),
    ] = None,
    dry_run: DryRun = False,
    form: Form = Format.table,
    as_json: Json = False,
    preset: Preset = DEFAULT_PRESET,
    home: Home = "",
    lake: Catalog = "",
    sets: Set = None,
) -> None:
    """Look at the Prefect server from outside, once, for cron or a systemd timer: dead runs are marked as
    crashed, their children cancelled, slots that nobody holds freed; late schedules and old data or champions
    said. Exit code 1 where something was found.

    For example: `ranker watch --one-machine --data-days 7`
    """
    from flows import metrics as figures
    from flows import watch as look
    from flows.server import connected

    given = {"silent_seconds": silent, "pending_seconds": pending, "periods": periods}
    given = {name: value for name, value in given.items() if value is not None}
    named = {
        "one_machine": one_machine,
        "data_days": data_days,
        "champion_days": champion_days,
        "home": home,
        "lake": lake,
    }
    register = parameters(preset, home, lake, sets).register_
    params = look.WatchParams.model_validate(given | named | {"register": register})
    with connected() as client:
        found = look.watch(client, params, dry_run)
        if metrics:
            figures.export(client, params, found, metrics)
    rows = [(one.kind, one.name, one.seen, one.done) for one in found]
    frame = pl.DataFrame(
        rows, schema=dict.fromkeys(("what", "name", "seen", "done"), pl.String), orient="row"
    )
    form = Format.json if as_json else form
    if found or form is not Format.table:
        show(frame, form, fold=("seen",))
    else:
        console().print("nothing found")
    if found:
        raise typer.Exit(Code.no)
