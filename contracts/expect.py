"""The vocabulary of the contracts: short constructors over Great Expectations.

Every expectation carries in its `meta` the name that verdicts and errors use, the remedy that the error
gives, and its
severity: what fails an error keeps the batch out, what fails a warning is told.
Imports great_expectations, which takes seconds: only contract modules import this, and only `gate` imports
them.
"""

# pyright: reportPrivateImportUsage=false
# (great_expectations exports its expectations without saying so)

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, ClassVar

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

from ranker.refs import Severity, Staged
from ranker.resources import sql_folder
from ranker.types import JsonObject

SQL = sql_folder() / "contracts"
_OWN_BATCH = "\n/* {batch} */"
"""Great Expectations prints a warning where its own place is missing; it would give some queries a second
alias.
"""
MEND = "look at the rows in quarantine and mend what wrote them"


class NoRows(gxe.UnexpectedRowsExpectation):
    """Great Expectations' own, but its query runs once: that one also fetches rows, of which a clean batch
    has none.

    `rows_wanted` gives the expectation that fetches them.
    """

    metric_dependencies: ClassVar[tuple[str, ...]] = ("unexpected_rows_query.row_count",)

    def _validate(self, metrics: JsonObject, *others: Any, **named: Any) -> Any:
        return super()._validate({"unexpected_rows_query.table": [], **metrics}, *others, **named)

    def rows_wanted(self) -> gxe.UnexpectedRowsExpectation:
        return gxe.UnexpectedRowsExpectation(unexpected_rows_query=self.unexpected_rows_query, meta=self.meta)


def not_null(*columns: str) -> list[Expectation]:
    """No nulls in any of `columns`."""
    return [gxe.ExpectColumnValuesToNotBeNull(column=c, meta=_meta(f"{c} is not null")) for c in columns]


def between(
    column: str, low: float | None = None, high: float | None = None, remedy: str = MEND
) -> Expectation:
    """Values in [low, high]; nulls pass."""
    name = f"{column} is between {low} and {high}" if high is not None else f"{column} is at least {low}"
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, meta=_meta(name, remedy)
    )


def one_of(column: str, *values: str) -> Expectation:
    """Values among `values`."""
    return gxe.ExpectColumnValuesToBeInSet(
        column=column, value_set=list(values), meta=_meta(f"{column} is one of {', '.join(values)}")
    )


def not_empty(*columns: str) -> list[Expectation]:
    """Texts of at least one character."""
    return [
        gxe.ExpectColumnValueLengthsToBeBetween(column=c, min_value=1, meta=_meta(f"{c} is not empty"))
        for c in columns
    ]


def unique(*columns: str, remedy: str = "drop the repeated rows") -> Expectation:
    """No two rows agree in all `columns`."""
    meta = _meta(f"{', '.join(columns)} {'is' if len(columns) == 1 else 'are together'} unique", remedy)
    if len(columns) == 1:
        return gxe.ExpectColumnValuesToBeUnique(column=columns[0], meta=meta)
    what, _, query = _read(
        "unique", columns=", ".join(columns)
    )  # Great Expectations' own groups all rows twice
    return NoRows(unexpected_rows_query=query, description=what, meta=meta)


def has_rows(remedy: str = "the stage wrote nothing; look at its log") -> Expectation:
    """The batch is not empty."""
    return gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=_meta("has rows", remedy))


def whole(table: str, staged: Staged) -> list[Expectation]:
    """What holds for every table: columns as the lake declares them, and rows that name the batch's own
    stage run.
    """
    return [*none_of(["types"], table=table), one_of("batch_id", staged.key)]


def drift(table: str, *texts: str) -> list[Expectation]:
    """Warnings: rows of `table` by task, and the lengths of `texts`, beside the last accepted batch of the
    same stage.
    """
    lengths = [_none_of("drift/text", "warning", table=table, column=column) for column in texts]
    return [_none_of("drift/rows", "warning", table=table), *lengths]


def none_of(names: Iterable[str], severity: Severity = "error", **places: str) -> list[Expectation]:
    """`sql/contracts/<name>.sql` returns no row; its first comment says what its rows are, its second the
    remedy.

    The query sees `{batch}` (the table judged: the name's folder), `staged_<table>` for every table of the
    batch, the main tables under their own names, `inputs_of_batch(key)`, the keys of the stage runs that the
    batch was made from, `parameters_of_batch(parameters)`, the stage's parameters as JSON, and
    `earlier_of_batch(key, finished_at)`, the latest accepted runs of the same stage that had as many inputs.
    Other names in braces are filled with `places`.
    """
    return [_none_of(name, severity, **places) for name in names]


@cache
def _none_of(name: str, severity: Severity, **places: str) -> Expectation:
    table = places.get("table", name.partition("/")[0])
    what, remedy, query = _read(name, batch=f"staged_{table}", **places)
    meta = _meta(f"{name}: none of: {what}", remedy, severity)
    return NoRows(unexpected_rows_query=query + _OWN_BATCH, description=what, meta=meta)


def _read(name: str, **places: str) -> tuple[str, str, str]:
    """What the rows of `sql/contracts/<name>.sql` are, the remedy, and the query, with `places` filled."""
    text = (SQL / f"{name}.sql").read_text(encoding="utf-8")
    for place, value in places.items():
        text = text.replace(f"{{{place}}}", value)
    what, remedy, query = text.split("\n", 2)
    return what.removeprefix("-- "), remedy.removeprefix("-- remedy: "), query


def _meta(name: str, remedy: str = MEND, severity: Severity = "error") -> dict[str, str]:
    return {"name": name, "remedy": remedy, "severity": severity}
