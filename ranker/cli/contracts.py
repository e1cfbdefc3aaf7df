"""`ranker contracts`: what the contracts said, as pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ranker.cli.params import Catalog, Home
from ranker.config import parse_params

app = typer.Typer(no_args_is_help=True, help="What the contracts said of every batch.")


@app.callback()
def main() -> None:
    """What the contracts said of every batch."""


@app.command()
def docs(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the pages; without it `contracts` in the data folder."),
    ] = None,
    home: Home = "",
    lake: Catalog = "",
) -> None:
    """Write static pages that open offline: an index, and a page a batch with every expectation and sample
    rows.
    """
    from ranker.lake import open_lake
    from ranker.reports import contract_pages

    params = parse_params({name: value for name, value in {"home": home, "lake": lake}.items() if value})
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        index = contract_pages.write(opened, out or params.home_path / contract_pages.FOLDER)
    typer.echo(str(index))
