"""Judges a staged batch: the suites of its tables, in SQL, over one read-only connection to the lake.

Great Expectations is imported on the first judgement (seconds), never by importing this module. Two things of
its 1.24 need help with DuckDB. It fetches results after handing the connection back, at which point DuckDB
has forgotten them, so duckdb joins the dialects whose connection it keeps. And it looks columns up by bare
table name, so every staged table is shown to it as a temporary view `staged_<table>`.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import uuid4

from ranker.errors import ContractNotEvaluated, ContractViolated, RankerError
from ranker.lake.connection import PACKAGED, attach, fill
from ranker.lake.failures import refused
from ranker.refs import Staged, Verdict
from ranker.types import JsonObject

SAMPLES, SHOWN = 5, 400
"""Rows shown of what broke an expectation, and characters kept of each of their values."""
COPIED = 20_000
"""Staged tables of at most so many rows are copied into memory before they are judged."""
EARLIER = 20
"""So many runs of the same stage are searched for the last accepted batch of a task. They had as many inputs:
a champion that is evaluated alone has fewer rows than beside a trained policy.
"""
KEYS = (
    "task",
    "set_id",
    "trace_id",
    "episode_id",
    "step",
    "user_id",
    "query_id",
    "item_id",
    "label",
    "arm",
    "metric",
    "version",
)
"""Columns that tell a sample row; those that the table has are shown."""
log = logging.getLogger("ranker.contracts")


class _Dialect(StrEnum):  # Great Expectations compares with the name and also reads `.value`
    DUCKDB = "duckdb"


def validate_batch(staged: Staged) -> list[Verdict]:
    """Judge every table of a batch by its contract. Warnings that fail are logged and returned like every
    verdict.

    Raises:
        ContractViolated: an expectation failed; names table, expectation, count, up to 5 sample rows and the
        remedy.
        ContractNotEvaluated: an expectation raised instead of judging, or a table has no contract.
        Unreachable, LakeBusy, DiskFull, NoAccess, BadLake: the lake could not be read.
    """
    found = _findings(staged)
    for fault in {finding.fault for finding in found if finding.fault}:
        if known := refused(fault):
            raise known
    verdicts = [finding.verdict for finding in found]
    errors = [finding for finding in found if finding.verdict.severity == "error"]
    if broken := [finding for finding in errors if finding.verdict.success is None]:
        raise _not_evaluated(broken[0], verdicts)
    if failed := [finding for finding in errors if not finding.verdict.success]:
        raise _violated(staged, failed, verdicts)
    for finding in found:
        if not finding.verdict.success:
            log.warning("%s %s: warning: %s; %s", staged.stage, staged.key, _seen(finding), finding.remedy)
    log.info(
        "%s %s: %d expectations on %d tables hold",
        staged.stage,
        staged.key,
        sum(bool(v.success) for v in verdicts),
        len(staged.tables),
    )
    return verdicts


def _findings(staged: Staged) -> list[_Finding]:
    suites = {table: _suite(table, staged) for table in staged.tables}
    try:
        with _source(staged) as source:
            return [finding for table, suite in suites.items() for finding in _judged(table, source, suite)]
    except RankerError:
        raise
    except Exception as error:  # Great Expectations and SQLAlchemy put errors of their own around DuckDB's
        if known := refused("\n".join(map(str, _causes(error)))):
            raise known from error
        raise


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@dataclass(frozen=True, slots=True)
class _Finding:
    """A verdict with what an error says of it; `fault` is the message of an expectation that raised, rows
    up to 5 that broke it.
    """

    verdict: Verdict
    remedy: str
    fault: str
    rows: list[object]


def _judged(table: str, source: Any, suite: Sequence[Any]) -> list[_Finding]:
    """One table, validated once; failed expectations are asked again for sample rows."""
    asset = source.add_table_asset(table, table_name=f"staged_{table}")
    batch = asset.add_batch_definition_whole_table("all").get_batch()
    expectations = _great_expectations().ExpectationSuite(table, expectations=list(suite))
    results = batch.validate(
        expectations, result_format={"result_format": "BASIC", "partial_unexpected_count": SAMPLES}
    ).results
    keys = [column for column in KEYS if column in _columns(table, source)]
    return [_finding(table, result, batch, keys) for result in results]


def _finding(table: str, result: Any, batch: Any, keys: Sequence[str]) -> _Finding:
    meta, fault = result.expectation_config.meta, _raised(result)
    rows = [] if result.success or fault else _samples(result, batch, keys)
    observed = None if fault else result.result.get("observed_value", result.result.get("element_count"))
    verdict = Verdict(
        table,
        meta["name"],
        None if fault else bool(result.success),
        None if observed is None else str(observed),
        None if fault else _count(result),
        meta["severity"],
        f"[{', '.join(_kept(row) for row in rows)}]" if rows else None,
    )
    return _Finding(verdict, meta["remedy"], fault, rows)


def _samples(result: Any, batch: Any, keys: Sequence[str]) -> list[object]:
    """Up to 5 rows (or values) that broke the expectation of `result`."""
    expectation = result.expectation_config.to_domain_obj()
    wanted: JsonObject = {"partial_unexpected_count": SAMPLES}
    if _counts_rows(result):
        expectation, wanted["result_format"] = expectation.rows_wanted(), "COMPLETE"
    else:
        wanted |= {"result_format": "SUMMARY", "unexpected_index_column_names": list(keys)}
    found = batch.validate(expectation, result_format=wanted).result
    rows = (
        found.get("details", {}).get("unexpected_rows")
        or found.get("partial_unexpected_index_list")
        or found.get("partial_unexpected_list")
        or []
    )
    return [
        row if isinstance(row, dict) else getattr(row, "_asdict", lambda row=row: row)()
        for row in rows[:SAMPLES]
    ]


def _columns(table: str, source: Any) -> set[str]:
    """Not `Batch.columns()`: that one always draws a progress bar."""
    from sqlalchemy import text

    query = text(fill("from {table} limit 0", table=f"staged_{table}"))
    return set(source.get_execution_engine().execute_query(query).keys())


def _suite(table: str, staged: Staged) -> list[Any]:
    _great_expectations()
    from contracts.expect import whole

    try:
        module = importlib.import_module(f"contracts.{table}")
    except ModuleNotFoundError as error:
        raise ContractNotEvaluated(
            "every table that a stage writes has a contract",
            seen=f"{table}: {error}",
            remedy=f"add contracts/{table}.py",
            verdicts=[Verdict(table, "has a contract", None)],
        ) from error
    return [*whole(table, staged), *module.suite(staged)]


@contextmanager
def _source(staged: Staged) -> Iterator[Any]:
    """A Great Expectations data source on a read-only attachment of the lake, with the batch's views in
    every connection.
    """
    from sqlalchemy import event

    sources, name = _context().data_sources, f"judge_{uuid4().hex}"
    # A named in-memory database: all connections of this judgement share one instance, so the lake is
    # attached once.
    source = sources.add_sql(
        name,
        connection_string=f"duckdb:///:memory:{name}",
        kwargs={"connect_args": {"config": dict(PACKAGED)}},
    )
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
    """Make the batch visible to one connection; small tables as copies, because each query of a lake table
    reads the catalog.
    """
    attach(connection, staged.home, staged.uri, read_only=True)
    for table, qualified in staged.tables.items():
        (rows,) = connection.execute(fill("select count(*) from {staged}", staged=qualified)).fetchone()
        kind = "table" if rows <= COPIED else "view"
        connection.execute(
            fill(
                "create or replace temp " + kind + " {shown} as from {staged}",
                shown=f"staged_{table}",
                staged=qualified,
            )
        )
    connection.execute(
        "create or replace temp table inputs_of_batch as select unnest($keys::varchar[]) as key",
        {"keys": list(staged.inputs)},
    )
    connection.execute(
        "create or replace temp table earlier_of_batch as select batch_id as key, finished_at from stage_runs"
        " where stage = $stage and len(inputs) = $inputs order by finished_at desc limit $most",
        {"stage": staged.stage, "inputs": len(staged.inputs), "most": EARLIER},
    )
    connection.execute(
        "create or replace temp table parameters_of_batch as select $text::json as parameters",
        {"text": staged.parameters},
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

    logging.getLogger("great_expectations.data_context.types.base").setLevel(
        logging.WARNING
    )  # it tells of its temporary folders
    engine._PERSISTED_CONNECTION_DIALECTS = (*engine._PERSISTED_CONNECTION_DIALECTS, _Dialect.DUCKDB)
    return gx


def _raised(result: Any) -> str:
    """The message of an expectation that raised; empty where it judged."""
    info = result.exception_info or {}
    if "raised_exception" in info:
        return (info["exception_message"] or "raised") if info["raised_exception"] else ""
    return next(
        (each["exception_message"] or "raised" for each in info.values() if each.get("raised_exception")), ""
    )


def _counts_rows(result: Any) -> bool:
    """Whether the expectation is a `contracts.expect.NoRows`."""
    return result.expectation_config.type == "no_rows"


def _count(result: Any) -> int | None:
    if _counts_rows(result):
        return result.result.get("observed_value")
    return result.result.get("unexpected_count")


def _violated(staged: Staged, failed: Sequence[_Finding], verdicts: Sequence[Verdict]) -> ContractViolated:
    blocks = [_seen(finding) for finding in failed[:SAMPLES]] + [
        _named(finding.verdict) for finding in failed[SAMPLES:]
    ]
    first = failed[0]
    kept = f"quarantine.{first.verdict.table}__{staged.key}"
    return ContractViolated(
        _named(first.verdict),
        seen="\n          ".join(blocks),
        remedy=f"{first.remedy}; the batch is kept: ranker query 'select * from {kept}'",
        verdicts=verdicts,
    )


def _seen(finding: _Finding) -> str:
    verdict, count = finding.verdict, finding.verdict.unexpected_count
    if verdict.success is None:
        return f"{_named(verdict)}: could not be evaluated: {_first_line(finding.fault)}"
    if count is None:
        return f"{_named(verdict)}: {verdict.observed} rows"
    rows = "; ".join(_short(row, 200) for row in finding.rows)
    return f"{_named(verdict)}: {count:,} {'row' if count == 1 else 'rows'}, for example {rows}"


def _named(verdict: Verdict) -> str:
    return f"{verdict.table}: {verdict.expectation}"


def _kept(row: object) -> str:
    """A row as JSON; long texts are cut."""
    if isinstance(row, dict):
        return json.dumps(
            {name: _told(value) for name, value in row.items()}, ensure_ascii=False, default=str
        )
    return json.dumps(_told(row), ensure_ascii=False, default=str)


def _told(value: object) -> object:
    """NaN and infinity, which JSON lacks, as text; long values as the beginning of their text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if len(str(value)) <= SHOWN else str(value)[:SHOWN]


def _short(row: object, most: int) -> str:
    return _kept(row)[:most]


def _not_evaluated(finding: _Finding, verdicts: Sequence[Verdict]) -> ContractNotEvaluated:
    return ContractNotEvaluated(
        f"{_named(finding.verdict)}: could not be evaluated",
        seen=_first_line(finding.fault),
        remedy=(
            "the fault lies in the contract or the engine, not in the data: see contracts/ and sql/contracts/"
        ),
        verdicts=verdicts,
    )


def _first_line(fault: str) -> str:
    return fault.strip().splitlines()[0][:400]
