"""Judges a staged batch: the suites of its tables, in SQL, over one read-only connection to the lake.

Great Expectations is imported on the first judgement (seconds), never by importing this module. Two things of
its 1.24 need help with DuckDB. It fetches results after handing the connection back, at which point DuckDB has
forgotten them, so duckdb joins the dialects whose connection it keeps. And it looks columns up by bare table
name, so every staged table is shown to it as a temporary view `staged_<table>`.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import uuid4

from ranker.errors import ContractNotEvaluated, ContractViolated
from ranker.lake import attach, fill
from ranker.refs import Staged, Verdict

SAMPLES = 5
COPIED = 20_000
"""Staged tables of at most so many rows are copied into memory before they are judged."""
KEYS = ("task", "set_id", "trace_id", "episode_id", "step", "user_id", "query_id", "item_id", "label", "arm", "metric", "version")
"""Columns that tell a sample row; those that the table has are shown."""
log = logging.getLogger("ranker.contracts")


class _Dialect(StrEnum):  # Great Expectations compares with the name and also reads `.value`
    DUCKDB = "duckdb"


def judge(staged: Staged) -> list[Verdict]:
    """Judge every table of a batch by its contract.

    Raises:
        ContractViolated: an expectation failed; names table, expectation, count, up to 5 sample rows and the remedy.
        ContractNotEvaluated: an expectation raised instead of judging, or a table has no contract.
    """
    suites = {table: _suite(table, staged) for table in staged.tables}
    with _source(staged) as source:
        judged = {table: _Judged(table, source, suite) for table, suite in suites.items()}
        failed = [(table, result) for table, each in judged.items() for result in each.results if not result.success]
        broken = [(table, result) for table, result in failed if _raised(result)]
        if broken:
            raise _not_evaluated(*broken[0])
        if failed:
            raise _violated(staged, failed, judged)
        verdicts = [_verdict(table, result) for table, each in judged.items() for result in each.results]
    log.info("%s %s: %d expectations on %d tables hold", staged.stage, staged.key, len(verdicts), len(suites))
    return verdicts


class _Judged:
    """One table, validated once; a failed expectation can be asked for sample rows."""

    def __init__(self, table: str, source: Any, suite: Sequence[Any]) -> None:
        gx = _great_expectations()
        asset = source.add_table_asset(table, table_name=f"staged_{table}")
        self._table, self._source = table, source
        self._batch = asset.add_batch_definition_whole_table("all").get_batch()
        expectations = gx.ExpectationSuite(table, expectations=list(suite))
        self.results = self._batch.validate(
            expectations, result_format={"result_format": "BASIC", "partial_unexpected_count": SAMPLES}
        ).results

    def samples(self, result: Any) -> list[Any]:
        """Up to 5 rows (or values) that broke the expectation of `result`."""
        expectation = result.expectation_config.to_domain_obj()
        rows_query = result.expectation_config.type == "unexpected_rows_expectation"
        wanted: dict[str, Any] = {"result_format": "COMPLETE" if rows_query else "SUMMARY", "partial_unexpected_count": SAMPLES}
        if not rows_query:
            wanted["unexpected_index_column_names"] = [column for column in KEYS if column in self._columns()]
        found = self._batch.validate(expectation, result_format=wanted).result
        rows = (
            found.get("details", {}).get("unexpected_rows")
            or found.get("partial_unexpected_index_list")
            or found.get("partial_unexpected_list")
            or []
        )
        return [row if isinstance(row, dict) else getattr(row, "_asdict", lambda row=row: row)() for row in rows[:SAMPLES]]

    def _columns(self) -> set[str]:
        """Not `Batch.columns()`: that one always draws a progress bar."""
        from sqlalchemy import text

        query = text(fill("from {table} limit 0", table=f"staged_{self._table}"))
        return set(self._source.get_execution_engine().execute_query(query).keys())


def _suite(table: str, staged: Staged) -> list[Any]:
    _great_expectations()
    from contracts.expect import whole

    try:
        module = importlib.import_module(f"contracts.{table}")
    except ModuleNotFoundError as error:
        raise ContractNotEvaluated(
            "every table that a stage writes has a contract", seen=f"{table}: {error}", remedy=f"add contracts/{table}.py"
        ) from error
    return [*whole(table, staged), *module.suite(staged)]


@contextmanager
def _source(staged: Staged) -> Iterator[Any]:
    """A Great Expectations data source on a read-only attachment of the lake, with the batch's views in every connection."""
    from sqlalchemy import event

    sources, name = _context().data_sources, f"judge_{uuid4().hex}"
    # A named in-memory database: all connections of this judgement share one instance, so the lake is attached once.
    source = sources.add_sql(name, connection_string=f"duckdb:///:memory:{name}")
    engines = [source.get_engine(), source.get_execution_engine().engine]
    for engine in engines:
        event.listen(engine, "connect", lambda connection, _record: _show(connection, staged))
        engine.dispose()  # what was opened before the listener
    try:
        yield source
    finally:
        source.get_execution_engine().close()
        for engine in engines:
            engine.dispose()
        sources.delete(name)


def _show(connection: Any, staged: Staged) -> None:
    """Make the batch visible to one connection; small tables as copies, because each query of a lake table reads the catalog."""
    attach(connection, staged.home, staged.uri, read_only=True)
    for table, qualified in staged.tables.items():
        (rows,) = connection.execute(fill("select count(*) from {staged}", staged=qualified)).fetchone()
        kind = "table" if rows <= COPIED else "view"
        connection.execute(fill("create or replace temp " + kind + " {shown} as from {staged}", shown=f"staged_{table}", staged=qualified))
    connection.execute(
        "create or replace temp table inputs_of_batch as select unnest($keys::varchar[]) as key", {"keys": list(staged.inputs)}
    )
    connection.execute(
        "create or replace temp table parameters_of_batch as select $text::json as parameters", {"text": staged.parameters}
    )


@cache
def _context() -> Any:
    context = _great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


@cache
def _great_expectations() -> Any:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.execution_engine import sqlalchemy_execution_engine as engine

    engine._PERSISTED_CONNECTION_DIALECTS = (*engine._PERSISTED_CONNECTION_DIALECTS, _Dialect.DUCKDB)
    return gx


def _raised(result: Any) -> str:
    """The message of an expectation that raised; empty where it judged."""
    info = result.exception_info or {}
    if "raised_exception" in info:
        return (info["exception_message"] or "raised") if info["raised_exception"] else ""
    return next((each["exception_message"] or "raised" for each in info.values() if each.get("raised_exception")), "")


def _name(result: Any) -> str:
    return result.expectation_config.meta["name"]


def _count(result: Any) -> int | None:
    if result.expectation_config.type == "unexpected_rows_expectation":
        return result.result.get("observed_value")
    return result.result.get("unexpected_count")


def _verdict(table: str, result: Any) -> Verdict:
    observed = result.result.get("observed_value", result.result.get("element_count"))
    return Verdict(table, _name(result), bool(result.success), None if observed is None else str(observed), _count(result))


def _violated(staged: Staged, failed: Sequence[tuple[str, Any]], judged: dict[str, _Judged]) -> ContractViolated:
    blocks = [_seen(table, result, judged[table]) for table, result in failed[:SAMPLES]]
    blocks += [f"{table}: {_name(result)}" for table, result in failed[SAMPLES:]]
    table, first = failed[0]
    kept = f"quarantine.{table}__{staged.key}"
    return ContractViolated(
        f"{table}: {_name(first)}",
        seen="\n          ".join(blocks),
        remedy=f"{first.expectation_config.meta['remedy']}; the batch is kept: ranker query 'select * from {kept}'",
    )


def _seen(table: str, result: Any, judged: _Judged) -> str:
    count = _count(result)
    if count is None:
        return f"{table}: {_name(result)}: {result.result.get('observed_value')} rows"
    rows = "; ".join(_short(row) for row in judged.samples(result))
    return f"{table}: {_name(result)}: {count:,} {'row' if count == 1 else 'rows'}, for example {rows}"


def _short(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False, default=str)[:200]


def _not_evaluated(table: str, result: Any) -> ContractNotEvaluated:
    return ContractNotEvaluated(
        f"{table}: {_name(result)}: could not be evaluated",
        seen=_raised(result).strip().splitlines()[0][:400],
        remedy="the fault lies in the contract or the engine, not in the data: see contracts/ and sql/contracts/",
    )
