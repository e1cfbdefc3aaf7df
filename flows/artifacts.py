"""One artifact a stage: what a person wants to know of it, as Markdown in Prefect's UI."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.events import emit_event

from ranker.errors import BatchRejected
from ranker.lake import Lake, lineage
from ranker.metrics.counterfactual import NO_TRAFFIC
from ranker.refs import Ref, Verdict
from ranker.reports import contract_pages, report
from ranker.reports.markdown import table
from ranker.reports.population import Population
from ranker.reports.standing import Standing


def publish(lake: Lake, ref: Ref) -> None:
    """Publish the artifact of a finished stage, under the stage's name."""
    create_markdown_artifact(
        key=ref.stage,
        markdown=markdown(lake, ref),
        description=f"{ref.stage} {ref.key}{' (skipped)' if ref.skipped else ''}",
    )


def publish_refusal(stage: str, refused: BatchRejected) -> None:
    """Publish why a stage's batch was not accepted, under the stage's name."""
    text = f"# {stage}: refused\n\n```\n{refused}\n```\n\n{_contract(refused.verdicts)}\n"
    create_markdown_artifact(key=stage, markdown=text, description=f"{stage} refused: {refused.rule}"[:400])
    emit_event(
        "ranker.contract.refused",
        resource={"prefect.resource.id": f"ranker.contract.{stage}"},
        payload={"text": f"{stage}: refused by its contract: {refused.rule}; {refused.seen}"[:1000]},
    )


def publish_contracts(lake: Lake) -> None:
    """Write the contracts' pages and publish where their index lies."""
    index = contract_pages.write(lake, lake.home / contract_pages.FOLDER, only_new=True)
    create_link_artifact(
        key="contracts",
        link=index.as_uri(),
        link_text="Contracts: every batch, every expectation",
        description=str(index),
    )


def publish_report(path: Path, key: str) -> None:
    """Publish where the HTML report lies."""
    create_markdown_artifact(
        key="report", markdown=f"# Report\n\nEvaluation `{key}`: `{path}`\n", description=str(path)
    )


def publish_curves(key: str, points: pl.DataFrame) -> None:
    """Publish the newest point of each curve of the training `key`."""
    newest = points.sort("step").unique(["phase", "name"], keep="last", maintain_order=True)
    rows = newest.sort("phase", "name").select("phase", "name", "step", "value").iter_rows()
    shown = [(phase, name, step, f"{value:.4g}") for phase, name, step, value in rows]
    create_markdown_artifact(
        key="curves",
        markdown=f"# Training `{key}`\n\n{table(['phase', 'curve', 'step', 'newest'], shown)}\n",
        description=f"training {key}, step {newest['step'].max()}",
    )


def publish_standing(sentence: str, found: Sequence[Standing], key: str) -> None:
    """Publish how the champion stands in the evaluation `key`."""
    head = ["task", "MRR", "queries", "beside its evaluation before", "beside the floor"]
    rows = [(s.task, f"{s.now.value:.3f}", s.now.queries, s.since_before, s.beside_floor) for s in found]
    create_markdown_artifact(
        key="champion",
        markdown=f"# Champion\n\nEvaluation `{key}`: {sentence}.\n\n{table(head, rows)}\n",
        description=sentence[:400],
    )


def publish_population(version: str, found: Sequence[Population]) -> None:
    """Publish what was served beside what champion `version` was trained on; an event where it differs."""
    head = ["task", "requests", "PSI of lengths", "unknown words", "of test queries", "unknown documents", ""]
    rows = [
        (
            p.task,
            p.served,
            _share(p.length_psi, ".2f"),
            _share(p.unknown_words, ".0%"),
            _share(p.unknown_words_test, ".0%"),
            _share(p.unknown_items, ".0%"),
            "; ".join(p.shifts) or "as in training",
        )
        for p in found
    ]
    create_markdown_artifact(
        key="population",
        markdown=f"# What is served, beside what champion {version} was trained on\n\n{table(head, rows)}\n",
        description="; ".join(map(str, found))[:400],
    )
    for one in found:
        if one.shifts:
            emit_event(
                "ranker.population.shifted",
                resource={"prefect.resource.id": f"ranker.population.{one.task}"},
                payload={"text": f"served queries have shifted: {one}"},
            )


def _share(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def markdown(lake: Lake, ref: Ref) -> str:
    """The artifact's text: state, what was read and written, verdicts, and what only this stage has to
    say.
    """
    state = "skipped: done by an earlier run" if ref.skipped else "done by this run"
    parts = [
        f"# {ref.stage}\n\n`{ref.key}`, {state}; its rows are in snapshot {ref.snapshot}.",
        *_read(lake, ref),
    ]
    parts += ["## Rows written\n\n" + table(["table", "rows"], ref.rows.items())] if ref.rows else []
    parts += [
        *_verdicts(lake, ref),
        *{"evaluate": _results, "register": _decision}.get(ref.stage, _details)(lake, ref),
    ]
    return "\n\n".join(parts) + "\n"


def _read(lake: Lake, ref: Ref) -> Iterator[str]:
    runs = {run.key: run for run in lineage.of(lake, ref.key)}
    own = runs[ref.key]
    read = [(runs[key].stage, f"`{key}`") for key in own.inputs]
    yield f"## Read (snapshot {own.read_snapshot})\n\n" + (
        table(["stage", "key"], read) if read else "Sources outside the lake."
    )


def _verdicts(lake: Lake, ref: Ref) -> Iterator[str]:
    found = lake.rows(
        "select table_name as table, expectation, success, observed, severity, samples from contract_checks"
        " where batch_id = $key and accepted order by all",
        {"key": ref.key},
    )
    yield _contract([Verdict(**row) for row in found.iter_rows(named=True)])


def _contract(verdicts: Sequence[Verdict]) -> str:
    rows = [
        (v.table, v.expectation, _word(v), v.observed or "", v.samples or "")
        for v in sorted(verdicts, key=lambda v: bool(v.success))
    ]
    warnings = sum(v.severity == "warning" and not v.success for v in verdicts)
    suffix = f", {warnings} {'warning' if warnings == 1 else 'warnings'}" if warnings else ""
    shown = (
        table(["table", "expectation", "verdict", "observed", "for example"], rows)
        if rows
        else "None for this stage."
    )
    return f"## Contract: {len(rows)} expectations{suffix}\n\n{shown}"


def _word(verdict: Verdict) -> str:
    if verdict.success is None:
        return "could not be evaluated"
    return "holds" if verdict.success else "warning" if verdict.severity == "warning" else "VIOLATED"


def _details(lake: Lake, ref: Ref) -> Iterator[str]:
    if ref.details:
        yield "## Details\n\n" + table(
            ["name", "value"],
            [(name, f"`{json.dumps(value, default=str)}`") for name, value in ref.details.items()],
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
                row.injected,
            )
            for row in shown.of(task)
        ]
        head = ["arm", "how", "MRR", "nDCG@10", "queries", "beside chance", "worst injection"]
        yield f"## {task}\n\n" + table(head, rows)
    gains = [
        (d.task, d.how, f"{d.difference:+.3f} [{d.lower:+.3f}, {d.upper:+.3f}]", d.mark)
        for d in shown.gains()
    ]
    if gains:
        yield "## RL minus SFT (MRR, paired)\n\n" + table(["task", "how", "difference", "reading"], gains)
    if shown.traffic:
        rows = [found.cells for found in shown.traffic]
        yield f"## {report.TRAFFIC_TITLE}\n\n" + table(list(report.ON_TRAFFIC), rows)
    for name in shown.without_traffic:
        yield f"{name}: {NO_TRAFFIC}."


def _decision(lake: Lake, ref: Ref) -> Iterator[str]:
    facts = ref.details
    yield f"## Version {facts['version']} of {facts['name']}: {facts['alias']}\n\n{facts['verdict']}"
    tests = report.promotion_tests(lake, ref.key)
    rows = [
        (t.task, t.against, t.interval, t.corrected, f"{t.level:.4g}", t.look, t.ranked, t.counts, t.sees)
        for t in tests
    ]
    head = [
        "task",
        "against",
        "MRR, difference",
        "p (Holm)",
        "level",
        "look",
        "queries",
        "counts from",
        "seen 80% of the time",
    ]
    yield f"## Tests (as served: {facts['strategy']}, thinking {facts['thinking']})\n\n{table(head, rows)}"
