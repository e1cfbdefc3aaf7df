"""`ranker lake …` and `ranker shell`: the verbs for people who keep the lake and ask it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from ranker.cli import tables
from ranker.cli.codes import Code
from ranker.cli.output import Form, Format, Json, console, show, tell, write_json
from ranker.cli.params import At, Catalog, Home, decoded, parameters
from ranker.config import DEFAULT_PRESET
from ranker.errors import masked

PROSE = ("holds", "question")
"""Columns of the shell's own answers that are sentences: they run over lines, so that a table stays a
table.
"""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Keep the lake: snapshots, differences, space, export.",
)

Days = Annotated[
    float, typer.Option("--older-than", metavar="DAYS", min=0, help="Only snapshots at least so old.")
]
Grace = Annotated[
    float,
    typer.Option(
        "--grace",
        metavar="HOURS",
        min=0,
        help="Delete unneeded files this long after they became so; readers may have them open.",
    ),
]


@app.command()
def snapshots(home: Home = "", lake: Catalog = "", form: Form = Format.table, as_json: Json = False) -> None:
    """Every snapshot: when, what made it, and which stage runs and model versions have recorded it.

    For example: `ranker lake snapshots`
    """
    from ranker.lake import maintenance, open_lake

    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        found = maintenance.snapshots(opened)
    show(found, Format.json if as_json else form, fold=("what", "recorded"))


@app.command()
def diff(
    first: Annotated[int, typer.Argument(help="Snapshot to start after.")],
    last: Annotated[int, typer.Argument(help="Snapshot to end with.")],
    table: Annotated[
        str, typer.Option("--table", help="Show the changed rows of this table instead of the counts of all.")
    ] = "",
    home: Home = "",
    lake: Catalog = "",
    form: Form = Format.table,
    as_json: Json = False,
) -> None:
    """What came and went between two snapshots: rows by table and batch, or the rows of one table.

    For example: `ranker lake diff 12 15 --table evaluations`
    """
    from ranker.lake import maintenance, open_lake

    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        found = (
            maintenance.changed(opened, table, first, last)
            if table
            else maintenance.diff(opened, first, last)
        )
    show(found, Format.json if as_json else form)


@app.command()
def expire(
    days: Days = 30.0,
    grace: Grace = 24.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go and what stays; change nothing.")
    ] = False,
    home: Home = "",
    lake: Catalog = "",
    as_json: Json = False,
) -> None:
    """Forget old snapshots.

    What a stage run, an evaluation or a model version has recorded is kept, and said. For example:
    `ranker lake expire --older-than 14 --dry-run`
    """
    from ranker.lake import maintenance, open_lake

    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake, read_only=dry_run) as opened:
        done = maintenance.expire(opened, days=days, grace_hours=grace, dry_run=dry_run)
    if as_json:
        write_json(done)
        return
    screen = console()
    if done.kept.height:
        screen.print(f"{done.kept.height} kept, because something records them:")
        show(done.kept, fold=("what", "recorded"))
    screen.print(
        f"{done.gone.height}"
        f" {'would expire' if dry_run else 'expired'}{'' if dry_run else f', {done.files} files deleted'}"
    )


@app.command()
def compact(grace: Grace = 24.0, home: Home = "", lake: Catalog = "", as_json: Json = False) -> None:
    """Merge the small files that many commits leave. Every snapshot stays readable.

    For example: `ranker lake compact`
    """
    from ranker.lake import maintenance, open_lake

    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake) as opened:
        merged, files = maintenance.compact(opened, grace_hours=grace)
    if as_json:
        write_json({"merged": merged, "deleted": files})
        return
    if merged.height:
        show(merged)
    console().print(
        f"{merged['files_before'].sum()} files merged into {merged['files_after'].sum()}, {files} files"
        " deleted"
    )


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="An empty or new folder.")],
    tables: Annotated[list[str] | None, typer.Option("--table", help="Only this table. Repeatable.")] = None,
    at: At = None,
    home: Home = "",
    lake: Catalog = "",
    as_json: Json = False,
) -> None:
    """Write tables as plain Parquet files, one each, all of one snapshot.

    For example: `ranker lake export parquet --table evaluations`
    """
    from ranker.lake import maintenance, open_lake

    params = parameters(DEFAULT_PRESET, home, lake)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        snapshot = at if at is not None else opened.snapshot()
    with open_lake(params.home_path, params.lake, snapshot=snapshot) as opened:
        written = maintenance.export(opened, folder, tables or ())
    if as_json:
        write_json({"snapshot": snapshot, "folder": folder, "tables": written})
        return
    show(written)
    console().print(f"snapshot {snapshot} is in {folder}")


@app.command()
def reproduce(
    key: Annotated[
        str, typer.Argument(metavar="EVALUATION", help="Key of an evaluation (stage_runs.batch_id).")
    ],
    home: Home = "",
    lake: Catalog = "",
    as_json: Json = False,
) -> None:
    """Compute a past evaluation again from the snapshots that it recorded.

    Exit code 1 where it comes out otherwise. For example: `ranker lake reproduce 3f0c9a12b4d5e6f7`
    """
    from ranker.studies.reproduce import reproduce

    params = parameters(DEFAULT_PRESET, home, lake)
    done = reproduce(params.home_path, params.lake, key)
    tell(
        done,
        as_json,
        f"{done.key} comes out as stored: {done.rows} rows from {done.calls:,} model calls, "
        f"read at snapshot {done.read_snapshot}, written at {done.written_snapshot}",
    )


@app.command()
def attach(home: Home = "", lake: Catalog = "", as_json: Json = False) -> None:
    """Print the two lines by which any DuckDB prompt gets this lake, read-only.

    For example: `ranker lake attach > attach.sql`
    """
    from ranker.lake.connection import attach_lines

    params = parameters(DEFAULT_PRESET, home, lake)
    lines = attach_lines(params.home_path, params.lake)
    if as_json:
        write_json({"sql": lines})
        return
    sys.stdout.write("\n".join(lines) + "\n")


def shell(at: At = None, home: Home = "", lake: Catalog = "", form: Form = Format.table) -> None:
    """A SQL prompt with the lake attached read-only; `.help` there. Reads statements from a pipe, too.

    For example: `ranker shell --at 12`
    """
    from ranker.cli.shell import HELP, Shell
    from ranker.lake import open_lake

    params = parameters(DEFAULT_PRESET, home, lake)
    typed = sys.stdin.isatty()
    with open_lake(params.home_path, params.lake, confined=True, snapshot=at) as opened:
        prompt = Shell(
            opened,
            show=lambda frame: show(frame, form, fold=[name for name in PROSE if name in frame.columns]),
            say=lambda text: console().print(
                text, markup=False, soft_wrap=True
            ),  # SQL cut anew would be another SQL
            fail=lambda error: console(stderr=True).print(tables.failure(error)),
        )
        if typed:
            with suppress(ImportError):
                import readline  # noqa: F401 - gives `input` its history and editing

            console().print(
                f"{masked(opened.uri) or opened.home / 'lake'}, read-only, snapshot"
                f" {opened.snapshot()}\n{HELP}",
                markup=False,
            )
        prompt.run(input if typed else _piped())
    if prompt.failures and not typed:
        raise typer.Exit(Code.refused)


def _piped() -> Callable[[str], str]:
    """Reads standard input line by line.

    Raises:
        EOFError: it has ended.
        BadSource: a line is no UTF-8.
    """
    number = 0

    def line(_prompt: str) -> str:
        nonlocal number
        number += 1
        sent = sys.stdin.buffer.readline()
        if not sent:
            raise EOFError
        return decoded(sent, "a statement on stdin", number).rstrip("\r\n")

    return line
