"""One artifact a stage: what a person wants to know of it, as Markdown in Prefect's UI."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact

from ranker import lineage, report
from ranker.lake import Lake
from ranker.refs import Ref


def publish(lake: Lake, ref: Ref) -> None:
    """Publish the artifact of a finished stage, under the stage's name."""
    create_markdown_artifact(
        key=ref.stage, markdown=markdown(lake, ref), description=f"{ref.stage} {ref.key}{' (skipped)' if ref.skipped else ''}"
    )


def publish_report(path: Path, key: str) -> None:
    """Publish where the HTML report lies."""
    create_markdown_artifact(key="report", markdown=f"# Report\n\nEvaluation `{key}`: `{path}`\n", description=str(path))


def markdown(lake: Lake, ref: Ref) -> str:
    """The artifact's text: state, what was read and written, verdicts, and what only this stage has to say."""
    state = "skipped: done by an earlier run" if ref.skipped else "done by this run"
    parts = [f"# {ref.stage}\n\n`{ref.key}`, {state}; its rows are in snapshot {ref.snapshot}.", *_read(lake, ref)]
    parts += ["## Rows written\n\n" + table(["table", "rows"], ref.rows.items())] if ref.rows else []
    parts += [*_verdicts(lake, ref), *{"evaluate": _results, "register": _decision}.get(ref.stage, _details)(lake, ref)]
    return "\n\n".join(parts) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _read(lake: Lake, ref: Ref) -> Iterator[str]:
    runs = {run.key: run for run in lineage.of(lake, ref.key)}
    own = runs[ref.key]
    read = [(runs[key].stage, f"`{key}`") for key in own.inputs]
    yield f"## Read (snapshot {own.read_snapshot})\n\n" + (table(["stage", "key"], read) if read else "Sources outside the lake.")


def _verdicts(lake: Lake, ref: Ref) -> Iterator[str]:
    found = lake.rows(
        "select table_name, expectation, success, observed from contract_results where batch_id = $key order by all", {"key": ref.key}
    )
    rows = [
        (row["table_name"], row["expectation"], "holds" if row["success"] else "VIOLATED", row["observed"] or "")
        for row in found.iter_rows(named=True)
    ]
    yield f"## Contract: {len(rows)} expectations\n\n" + (
        table(["table", "expectation", "verdict", "observed"], rows) if rows else "None for this stage."
    )


def _details(lake: Lake, ref: Ref) -> Iterator[str]:
    if ref.details:
        yield "## Details\n\n" + table(
            ["name", "value"], [(name, f"`{json.dumps(value, default=str)}`") for name, value in ref.details.items()]
        )


def _results(lake: Lake, ref: Ref) -> Iterator[str]:
    shown = report.gather(lake, ref.key)
    for task in shown.tasks:
        rows = [
            (
                row.arm,
                row.how,
                f"{row.rr.value:.3f} [{row.rr.lower:.3f}, {row.rr.upper:.3f}]",
                f"{row.estimates['nDCG@10'].value:.3f}",
                row.queries,
                row.mark,
            )
            for row in shown.of(task)
        ]
        yield f"## {task}\n\n" + table(["arm", "how", "MRR", "nDCG@10", "queries", "beside chance"], rows)
    gains = [(d.task, d.how, f"{d.difference:+.3f} [{d.lower:+.3f}, {d.upper:+.3f}]", d.mark) for d in shown.gains()]
    if gains:
        yield "## RL minus SFT (MRR, paired)\n\n" + table(["task", "how", "difference", "reading"], gains)


def _decision(lake: Lake, ref: Ref) -> Iterator[str]:
    facts = ref.details
    yield f"## Version {facts['version']} of {facts['name']}: {facts['alias']}\n\n{facts['verdict']}"
