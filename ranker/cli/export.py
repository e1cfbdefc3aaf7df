"""`ranker export-run`: an evaluation's rankings for trec_eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ranker.cli.output import Json, tell
from ranker.cli.params import Catalog, Home, Think, own_tasks, parameters
from ranker.config import DEFAULT_PRESET


def export_run(
    file: Annotated[Path, typer.Argument(help="The run file to write.")],
    key: Annotated[
        str, typer.Option("--evaluation", metavar="KEY", help="Key of an evaluation; without it the latest.")
    ] = "",
    task: Annotated[
        str,
        typer.Option("--task", help="Task; may be left out where there is one.", autocompletion=own_tasks),
    ] = "",
    arm: Annotated[str, typer.Option("--arm", help="rl, sft, untrained, champion, …")] = "",
    strategy: Annotated[str, typer.Option("--strategy", help="As in episodes.strategy.")] = "",
    think: Think = None,
    home: Home = "",
    lake: Catalog = "",
    as_json: Json = False,
) -> None:
    """Write the rankings of one arm and strategy as a TREC run file (query Q0 document rank score tag).

    For example: `ranker export-run rl.run --task vaswani --arm rl`
    """
    from ranker.lake import open_lake
    from ranker.reports import report, trec_run

    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        chosen = trec_run.Chosen(task, arm, strategy, think)
        done = trec_run.write(opened, key or report.latest(opened), chosen, file)
    how = "think" if done["thinking"] else "no-think"
    tell(
        {"file": file, **done},
        as_json,
        f"{file}: {done['rows']:,} rows of {done['queries']:,} queries of {done['task']},"
        f" {done['arm']} {done['strategy']} {how}",
    )
