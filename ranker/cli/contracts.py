"""`ranker contracts`: what the contracts said, as pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ranker.cli.output import Json, tell
from ranker.cli.params import Catalog, Home, parameters
from ranker.config import DEFAULT_PRESET

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="What the contracts said of every batch.",
)


@app.callback()
def main() -> None:
    """What the contracts said of every batch. For example: `ranker contracts docs`"""


@app.command()
def docs(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the pages; without it `contracts` in the data folder."),
    ] = None,
    home: Home = "",
    lake: Catalog = "",
    as_json: Json = False,
) -> None:
    """Write static pages that open offline: an index, and a page a batch with every expectation and sample
    rows.

    For example: `ranker contracts docs --out pages`
    """
    from ranker.lake import open_lake
    from ranker.reports import contract_pages

    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        index = contract_pages.write(opened, out or params.home_path / contract_pages.FOLDER)
    tell({"index": index}, as_json, str(index))
