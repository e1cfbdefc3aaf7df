"""How commands print: a console of a sensible width, rows as table, CSV or JSON."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, cast

import polars as pl
import typer
from pydantic import BaseModel
from rich.console import Console, RenderableType

from ranker.cli import live, tables

WIDE, READABLE = 240, 100
"""Columns where output goes to a file or a pipe: rows in full, errors as text."""
MOST_ROWS = 200
"""Rows that a table in the terminal shows; csv and json give all."""


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"


Form = Annotated[Format, typer.Option("--format", help="table, csv or json.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]


class Screen(Console):
    """A console that says by an exception that its reader is gone; rich's own ends the program with 1."""

    def on_broken_pipe(self) -> None:
        """Called by rich."""
        raise BrokenPipeError


def console(stderr: bool = False) -> Console:
    """Standard output, or error: as wide as the terminal, or wide enough for rows where there is none.

    Text is printed as it is: what looks like rich's markup came from data. With NO_COLOR it is text alone,
    without bold and the like, too.
    """
    above = live.above() if stderr else None
    if above is not None:
        return above
    stream = sys.stderr if stderr else sys.stdout
    return Screen(
        stderr=stderr,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        width=None if stream.isatty() or "COLUMNS" in os.environ else READABLE if stderr else WIDE,
        soft_wrap=False,
        highlight=False,
        markup=False,
        emoji=False,
    )


def tell(value: object, as_json: bool, *shown: RenderableType) -> None:
    """Print a result: `value` as JSON, else what is `shown` to people."""
    if as_json:
        write_json(value)
        return
    screen = console()
    for part in shown:
        screen.print(part)


def show(frame: pl.DataFrame, form: Format = Format.table, fold: Sequence[str] = ()) -> None:
    """Print rows; a table is cut at MOST_ROWS, its columns `fold` may run over several lines."""
    if form is Format.json:
        write_json(frame.to_dicts())
    elif form is Format.csv:
        sys.stdout.write(_flat(frame).write_csv())
    else:
        screen = console()
        screen.print(tables.rows(frame.head(MOST_ROWS), screen.width, fold))
        if frame.height > MOST_ROWS:
            console(stderr=True).print(
                f"{frame.height:,} rows, the first {MOST_ROWS} shown; --format csv gives all"
            )


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists and structs as JSON text: CSV has no place for them."""
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    texts = [
        pl.Series(
            name,
            [
                None if value is None else json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
                for value in frame[name].to_list()
            ],
            dtype=pl.String,
        )
        for name in nested
    ]
    return frame.with_columns(texts)


def write_json(value: object) -> None:
    """Print a value as JSON that any reader takes; see `plain`."""
    sys.stdout.write(json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: object) -> object:
    """A value as JSON has it: numbers are numbers (a decimal with digits behind its point a binary one), NaN
    and infinities are null, records are objects, rows a list of them, and what JSON has no word for (a time,
    bytes) is text.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Decimal):
        whole = value.as_tuple().exponent == 0
        return int(value) if whole else plain(float(value)) if value.is_finite() else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, pl.DataFrame):
        return plain(value.to_dicts())
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in cast("dict[object, object]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in cast("list[object]", value)]
    return str(value)


class _Brief(logging.Formatter):
    """Another formatter's lines, cut to one line and without traceback: the command line ends with the whole
    error once.

    The record goes on to the server unchanged.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        brief = record.getMessage().partition("\\n  seen:")[0].partition("\n  seen:")[0]
        return self._inner.format(
            logging.makeLogRecord(
                {**record.__dict__, "msg": brief, "args": None, "exc_info": None, "exc_text": None}
            )
        )


def brief_errors() -> None:
    """Have what Prefect's console prints of an error fit one line; see `_Brief`."""
    for name in ("", "prefect", "prefect.flow_runs", "prefect.task_runs"):
        for handler in logging.getLogger(name).handlers:
            if (
                isinstance(handler, logging.StreamHandler)
                and handler.formatter
                and not isinstance(handler.formatter, _Brief)
            ):
                handler.setFormatter(_Brief(handler.formatter))
