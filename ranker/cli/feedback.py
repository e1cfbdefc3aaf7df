"""What users did, and that they did it: `ranker export-clicks`, `ranker forget`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ranker.cli.output import Json, show, tell
from ranker.cli.params import Catalog, Home, parameters
from ranker.config import DEFAULT_PRESET


def forget(
    user: Annotated[str, typer.Argument(help="As requests, feedback or interactions name the user.")],
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this it is only said.")] = False,
    home: Home = "",
    lake: Catalog = "",
    as_json: Json = False,
) -> None:
    """Say what lake and logs hold of a user; with --apply, delete it, and every earlier snapshot of the lake.

    Models that were trained stay, and so does the data that `ingest` reads. For example: `ranker forget u1`
    """
    from ranker.lake import open_lake
    from ranker.serving import forget as forgetting

    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake, read_only=not apply) as opened:
        found = forgetting.forget(opened, user, apply=apply)
    if not as_json:
        show(found.table)
    rows = sum(found.rows.values()) + found.lines
    said = "are forgotten" if apply else "would be forgotten; --apply does it, and drops the lake's past"
    tell(found, as_json, f"{rows:,} rows and lines {said}")


def export_clicks(
    folder: Annotated[Path, typer.Argument(help="The BEIR folder to write; new or empty.")],
    task: Annotated[str, typer.Option("--task", help="Task of the requests.")],
    shown: Annotated[
        int, typer.Option("--shown", min=1, help="Documents shown less often for their query are left out.")
    ] = 10,
    relevant: Annotated[
        float,
        typer.Option(
            "--relevant", min=0, help="Corrected click rate from which a document counts as relevant."
        ),
    ] = 0.3,
    home: Home = "",
    lake: Catalog = "",
    as_json: Json = False,
) -> None:
    """Write the clicks of days that passed, corrected for position bias, as queries with judgements.

    They are labels of users, not of judges: retrain on them beside a labelled task (docs/feedback.md). For
    example: `ranker export-clicks labels --task passage-pydoc`
    """
    from ranker.config import task as known
    from ranker.lake import open_lake
    from ranker.studies import clicks

    known(task)
    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        done = clicks.write(opened, folder, task, shown, relevant)
    tell(
        done,
        as_json,
        f"{folder}: {done['queries']:,} queries, {done['relevant']:,} of {done['judged']:,} documents"
        ' relevant; read it by a task with reader = "beir"',
    )
