"""`ranker study NAME`: several ways of training compared, with claims that hold or do not."""

from __future__ import annotations

from typing import Annotated

import typer

from ranker.cli import tables
from ranker.cli.codes import Code
from ranker.cli.output import Json, brief_errors, console, tell
from ranker.cli.params import Catalog, Home, Set, laid
from ranker.errors import BadConfig


def study(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="prove, or another study; see docs/studies.md.")],
    quick: Annotated[bool, typer.Option("--quick", help="One seed and less work.")] = False,
    seeds: Annotated[
        int, typer.Option("--seeds", min=0, help="Training seeds per arm; 0 takes the study's own number.")
    ] = 0,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="A parameter of the study itself, e.g. shots=3. Repeatable.",
        ),
    ] = None,
    sets: Set = None,
    home: Home = "",
    lake: Catalog = "",
    as_json: Json = False,
) -> None:
    """Compare several ways of training on the same test queries. Exit code 1 where a claim does not hold.

    For example: `ranker study prove-synthetic --quick`
    """
    from flows import studies
    from flows.server import server
    from ranker.studies.design import study_params

    if name not in studies.STUDIES:
        raise BadConfig(
            "the study must exist", seen=repr(name), remedy=f"choose one of {', '.join(studies.STUDIES)}"
        )
    asked = study_params(laid(options), home=home, lake=lake, quick=quick, seeds=seeds, base=laid(sets))
    with server():
        if not ctx.find_root().params.get("debug"):
            brief_errors()
        found = studies.STUDIES[name](asked)
    tell(
        [tables.study_facts(one) for one in found],
        as_json,
        *(tables.study(one, console().width) for one in found),
    )
    if not all(one.holds for one in found):
        raise typer.Exit(Code.no)
