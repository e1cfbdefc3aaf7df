"""`ranker gc`: room on the disk."""

from __future__ import annotations

from typing import Annotated

import typer

from ranker.cli.output import Json, console, show, write_json
from ranker.cli.params import Catalog, Home, Preset, Set, parameters
from ranker.config import DEFAULT_PRESET, RetentionParams

USUAL = RetentionParams()


def gc(
    versions: Annotated[
        int,
        typer.Option(min=1, help="Newest versions whose models stay, beside champions and challenger."),
    ] = USUAL.versions,
    days: Annotated[
        float, typer.Option(min=0, help="Age at which rollouts, old batches, models and snapshots go.")
    ] = USUAL.days,
    served_days: Annotated[
        float | None,
        typer.Option(
            "--served-days",
            min=0,
            help="Age at which served requests and feedback go; without it they stay.",
        ),
    ] = USUAL.served_days,
    grace: Annotated[
        float, typer.Option(metavar="HOURS", min=0, help="What is younger stays: a run may be at it.")
    ] = USUAL.grace_hours,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this it is only said.")] = False,
    preset: Preset = DEFAULT_PRESET,
    home: Home = "",
    lake: Catalog = "",
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Say what the data folder may do without, and why all else stays; with --apply, take it away.

    Champions, the versions before them and what they rest on always stay. For example: `ranker gc --days 14`
    """
    from ranker.lake import maintenance, open_lake
    from ranker.stages import retention

    params = parameters(preset, home, lake, sets)
    limits = RetentionParams(versions=versions, days=days, served_days=served_days, grace_hours=grace)
    with open_lake(params.home_path, params.lake, read_only=not apply) as opened:
        if apply:
            done = retention.collect(opened, params.register_, limits)
            if as_json:
                write_json(done)
                return
            show(retention.table(done.things), fold=("why",))
            console().print(str(done))
            return
        made = retention.plan(opened, params.register_, limits)
        old = maintenance.expire(opened, days=days, dry_run=True, keys=made.keys)
    if as_json:
        write_json({"things": made.things, "snapshots": old.gone.height})
        return
    show(retention.table(made.things), fold=("why",))
    going = sum(thing.size for thing in made.things if thing.goes)
    console().print(
        f"{going / 2**20:,.0f} MiB of folders and {old.gone.height} snapshots would go;"
        " --apply takes them away"
    )
