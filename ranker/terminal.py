"""What the command line shows: the same `Report` as the HTML page, as tables. Builds, never prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ranker.errors import RankerError
from ranker.report import Difference, Report, Row

if TYPE_CHECKING:
    from ranker.doctor import Finding

_STYLE = {"above chance": "green", "below chance": "red", "not above chance": "yellow", "better": "green", "worse": "red", "not clear": "yellow"}


def failure(error: RankerError) -> Panel:
    """A RankerError as a red block: what was broken, what was seen, what to do."""
    body = Group(Text(error.rule, style="bold"), Text(f"seen:   {error.seen}"), Text(f"remedy: {error.remedy}"))
    return Panel(body, title=type(error).__name__, title_align="left", border_style="red")


def results(report: Report) -> Iterator[Table]:
    """One table a task: every arm with its interval, beside chance."""
    for task in report.tasks:
        rows = report.of(task)
        table = Table(title=f"{task} · {max(row.queries for row in rows)} test queries", title_justify="left", title_style="bold")
        for name in ("arm", "how"):
            table.add_column(name, no_wrap=True)
        for name in ("MRR", "95% interval", "nDCG@10", "Hit@1", "malformed", "calls", "tokens"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("beside chance", no_wrap=True)
        for row in rows:
            table.add_row(*_result(row), style="dim" if row.baseline else "")
        yield table


def _result(row: Row) -> Iterator[RenderableType]:
    rr = row.rr
    yield row.arm if row.arm != "pretrained" else f"{row.arm} ({row.queries} queries)"
    yield row.how
    yield f"{rr.value:.3f}"
    yield f"{rr.lower:.3f}–{rr.upper:.3f}" if rr.lower is not None and row.arm != "random" else ""
    for name in ("nDCG@10", "Hit@1"):
        yield f"{row.estimates[name].value:.3f}" if name in row.estimates else ""
    yield "" if row.baseline else f"{row.estimates['malformed'].value:.1%}"
    yield "" if row.baseline else f"{row.estimates['calls'].value:.1f}"
    yield "" if row.baseline else f"{row.tokens:.0f}"
    yield Text(row.mark, style=_STYLE.get(row.mark, ""))


def gains(report: Report) -> Table | None:
    """What RL added to SFT, and the policy against the champion: paired differences of MRR."""
    found = [*report.gains("rl", "sft"), *report.gains("rl", "champion")]
    if not found:
        return None
    table = Table(title="Paired differences of MRR on the same queries", title_justify="left", title_style="bold")
    for name in ("task", "how", "difference of"):
        table.add_column(name, no_wrap=True)
    for name in ("MRR", "95% interval", "queries"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reading", no_wrap=True)
    for difference in found:
        table.add_row(*_gain(difference))
    return table


def _gain(d: Difference) -> tuple[RenderableType, ...]:
    return (d.task, d.how, f"{d.arm} − {d.against}", f"{d.difference:+.3f}", f"{d.lower:+.3f} … {d.upper:+.3f}", str(d.queries), Text(d.mark, style=_STYLE[d.mark]))


def verdict(report: Report) -> Text:
    """What the promotion rule said."""
    if report.version is None:
        return Text("No model version was registered for this evaluation.", style="yellow")
    version = report.version
    style = "green" if version["alias"] == "champion" else "yellow"
    return Text.assemble((f"{version['name']} version {version['version']}: {version['alias']}", f"bold {style}"), f"\n{version['verdict']}")


def closing(report: Report, path: Path, home: Path | None) -> Group:
    """The whole end of a run: results, differences, verdict, where the report is, what to try next."""
    parts: list[RenderableType] = [*results(report)]
    paired = gains(report)
    parts += [paired] if paired is not None else []
    parts += [verdict(report), Text.assemble("\nReport  ", (str(path), "bold"))]
    where = f" --home {home}" if home is not None else ""
    task = report.tasks[0] if report.tasks else "rec-movie"
    parts.append(Text(
        "Next\n"
        f'  ranker query{where} "select * from leaderboard"\n'
        f"  ranker query{where} \"select set_id, completion, valid, reason from steps join episodes using (batch_id, episode_id) where task = '{task}' limit 5\"\n"
        f"  ranker rank{where} --example {task} | ranker rank{where}\n"
        f"  ranker retrain{where} --set train.grpo.steps=600    (only what depends on it runs again)\n",
    ))
    return Group(*parts)


def findings(found: list[Finding]) -> Table:
    """What `ranker doctor` found, one line each."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in found:
        mark = Text("ok", style="green") if finding.ok else Text("missing", style="bold red") if finding.needed else Text("note", style="yellow")
        detail = finding.seen if finding.ok else f"{finding.seen}\n→ {finding.remedy}"
        table.add_row(mark, finding.name, Text(detail))
    return table
