"""What the command line shows: the same `Report` as the HTML page, as tables. Builds, never prints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ranker.errors import RankerError
from ranker.types import JsonObject

if TYPE_CHECKING:
    from ranker.cli.doctor import Finding
    from ranker.metrics.counterfactual import Estimate
    from ranker.reports.report import Difference, Report, Row
    from ranker.stages.promotion import Gain
    from ranker.studies.results import StudyResults
    from ranker.studies.sealed import Read

_STYLE = {
    "above": "green",
    "below": "red",
    "not above": "yellow",
    "better": "green",
    "worse": "red",
    "not clear": "yellow",
}
WIDE = 120
"""Columns where the width of the terminal is not known."""
FOLDED = 24
"""Columns that a folded text gets at least."""
DISPENSABLE = ("injection", "nDCG@10", "calls", "tokens", "Hit@1", "invalid")
"""Columns that a narrow terminal does without, first the first; the report has them all."""


_PICTURES = (
    {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
    | {0x7F: 0x2421}
    | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
)


def visible(text: str) -> str:
    """Text with pictures for what a terminal would obey: a document may hold the sequences that move its
    cursor, or change its title.
    """
    return text.translate(_PICTURES)


def failure(error: RankerError) -> Panel:
    """A RankerError as a red block: what was broken, what was seen, what to do."""
    body = Group(
        Text(visible(error.rule), style="bold"),
        Text(visible(f"seen:   {error.seen}")),
        Text(visible(f"remedy: {error.remedy}")),
    )
    return Panel(body, title=type(error).__name__, title_align="left", border_style="red")


def results(report: Report, width: int = WIDE) -> Iterator[Table]:
    """One table a task, fitted into `width` columns: every arm with its interval, beside chance."""
    for task in report.tasks:
        rows = report.of(task)
        cells = [_cells(row) for row in rows]
        table = _table(f"{task} · {max(row.queries for row in rows)} test queries")
        columns = _fitting(cells, width)
        for name in columns:
            table.add_column(
                name,
                no_wrap=name not in ("arm", "how"),  # which run over lines where the rest would be cut
                overflow="fold",
                justify="left" if name in ("arm", "how", "vs chance", "injection") else "right",
            )
        for row, own in zip(rows, cells, strict=True):
            table.add_row(
                *(Text(own[name], style=_STYLE.get(own[name], "")) for name in columns),
                style="dim" if row.baseline else "",
            )
        yield table


def _fitting(rows: Sequence[dict[str, str]], width: int) -> list[str]:
    """The columns that fit: dispensable ones go until the rest does."""
    columns = list(rows[0])
    for name in DISPENSABLE:
        if sum(2 + max(len(name), *(len(row[name]) for row in rows)) for name in columns) <= width:
            break
        columns.remove(name)
    return columns


def _table(title: str) -> Table:
    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def folded(
    title: str,
    head: Sequence[str],
    body: Sequence[Sequence[str | Text]],
    width: int = WIDE,
    *,
    keys: int = 1,
    left: Sequence[str] = (),
) -> Group:
    """A table in `width` columns. Where it is wider, it stands as several, one under the other, each with the
    first `keys` columns before some of the others. No cell is cut.

    Args:
        left: columns of text beside the keys; all others are numbers, which are aligned at their right.
    """
    texts = [[part if isinstance(part, Text) else Text(part) for part in row] for row in body]
    widths = [2 + max(len(name), *(len(row[at]) for row in texts), 0) for at, name in enumerate(head)]
    parts: list[list[int]] = [[]]
    for at in range(keys, len(head)):
        if parts[-1] and sum(widths[i] for i in (*range(keys), *parts[-1], at)) > width:
            parts.append([])
        parts[-1].append(at)
    made: list[RenderableType] = []
    for part in parts:
        table = _table(title if part is parts[0] else "")
        fits = sum(widths[at] for at in (*range(keys), *part)) <= width
        for at in (*range(keys), *part):
            justify = "left" if at < keys or head[at] in left else "right"
            table.add_column(
                Text(head[at]), justify=justify, overflow="fold", min_width=widths[at] - 2 if fits else None
            )
        for row in texts:
            table.add_row(*(row[at] for at in (*range(keys), *part)))
        made.append(table)
    return Group(*made)


def _arm(row: Row) -> str:
    """A pretrained model's rows tell on how few queries they are, and that answers were read tolerantly."""
    remarks = {
        "pretrained": f" ({row.queries} q., tolerant)",
        "pretrained-constrained": f" ({row.queries} q.)",
    }
    return row.arm + remarks.get(row.arm, "")


def _cells(row: Row) -> dict[str, str]:
    """One row of the results table, by column."""
    interval = "" if row.rr.lower is None or row.arm == "random" else f"{row.rr.lower:.3f}–{row.rr.upper:.3f}"
    quality = {
        name: f"{row.estimates[name].value:.3f}" if name in row.estimates else ""
        for name in ("nDCG@10", "Hit@1")
    }
    cost: dict[str, str] = dict.fromkeys(("invalid", "calls", "tokens"), "")
    if not row.baseline:
        cost = {
            "invalid": f"{row.estimates['malformed'].value:.1%}",
            "calls": f"{row.estimates['calls'].value:.1f}",
            "tokens": f"{row.tokens:.0f}",
        }
    return {
        "arm": _arm(row),
        "how": row.how,
        "MRR": f"{row.rr.value:.3f}",
        "95% interval": interval,
        **quality,
        **cost,
        "vs chance": row.mark.removesuffix(" chance"),
        "injection": row.injected,
    }


def gains(report: Report, width: int = WIDE) -> Group | None:
    """What RL added to SFT, and the policy against the champion: paired differences of MRR."""
    found = [*report.gains("rl", "sft"), *report.gains("rl", "champion")]
    if not found:
        return None
    head = ("task", "how", "", "MRR", "95% interval", "reading")
    title = "Paired differences of MRR on the same queries"
    return folded(title, head, [_gain(one) for one in found], width, keys=3, left=("reading",))


def _gain(d: Difference) -> tuple[str | Text, ...]:
    return (
        d.task,
        d.how,
        f"{d.arm} − {d.against}",
        f"{d.difference:+.3f}",
        f"{d.lower:+.3f}…{d.upper:+.3f}",
        Text(d.mark, style=_STYLE[d.mark]),
    )


def on_traffic(report: Report, width: int = WIDE) -> Iterator[RenderableType]:
    """What the models would have got on logged requests; nothing where an evaluation was not asked for it."""
    from ranker.metrics.counterfactual import NO_TRAFFIC
    from ranker.reports.report import ON_TRAFFIC, TRAFFIC_TITLE  # loaded where there is a report

    if report.traffic:
        body = [found.cells for found in report.traffic]
        yield folded(TRAFFIC_TITLE, ON_TRAFFIC, body, width, keys=3)
    for task in report.without_traffic:
        yield Text(f"{task}: {NO_TRAFFIC}")


def verdict(report: Report) -> Text:
    """What the promotion rule said."""
    if report.version is None:
        return Text("No model version was registered for this evaluation.", style="yellow")
    version = report.version
    style = "green" if version["alias"] == "champion" else "yellow"
    return Text.assemble(
        (f"{version['name']} version {version['version']}: {version['alias']}", f"bold {style}"),
        f"\n{version['verdict']}",
    )


def compared(one: str, other: str, found: Sequence[Gain], width: int = WIDE) -> Group:
    """Two registered versions, task by task."""
    return folded(
        f"MRR of version {one} minus version {other} on the same queries",
        ("task", "MRR [95% interval]", "p of no gain", "p (Holm)", "queries"),
        [
            (
                gain.task,
                gain.difference.signed,
                f"{gain.p:.4f}",
                f"{gain.p_holm:.4f}",
                f"{gain.difference.queries:,}",
            )
            for gain in found
        ],
        width,
    )


def sealed(found: Read, most: int, width: int = WIDE) -> Group:
    """A reading of the sealed queries, and how many there may be."""
    against = f"minus version {found.against.version}" if found.against else "minus the one before"
    body = [
        (
            one.task,
            f"{one.rr.value:.3f} [{one.rr.lower:.3f}, {one.rr.upper:.3f}]",
            one.difference.signed if one.difference else "not measured",
            f"{one.rr.queries:,}",
        )
        for one in found.readings
    ]
    title = f"Version {found.champion.version} on the sealed queries"
    table = folded(title, ("task", "MRR [95% interval]", against, "queries"), body, width)
    count = f"reading {found.number} within a year, of {most} (register.audit_readings)"
    return Group(table, *(Text(note) for note in (*found.notes, count)))


def traffic(found: Sequence[Estimate], requests: int, depth: int, least: float, width: int = WIDE) -> Group:
    """What a policy would have got on logged requests."""
    head = ("estimator", "clicks [95% interval]", "minus what was served", "effective sample", "covered")
    body = [
        (
            one.estimator,
            f"{one.value.value:.3f} [{one.value.lower:.3f}, {one.value.upper:.3f}]",
            one.gain.signed,
            f"{one.effective:,.0f}",
            f"{one.covered:.1%}",
        )
        for one in found
    ]
    title = f"Clicks a request at the first {depth} places, of {requests:,} logged requests"
    note = f"below an effective sample of {least:g} an estimate decides nothing"
    return Group(folded(title, head, body, width), Text(note))


def closing(report: Report, path: Path, home: Path | None, width: int = WIDE) -> Group:
    """The whole end of a run: results, differences, verdict, where the report is, what to try next."""
    parts: list[RenderableType] = [*results(report, width)]
    paired = gains(report, width)
    parts += [paired] if paired is not None else []
    parts += [
        *on_traffic(report, width),
        verdict(report),
        Text.assemble("\nReport  ", (str(path), "bold"), overflow="fold"),
        Text(_next_commands(report, home), overflow="fold"),
    ]
    return Group(*parts)


def _next_commands(report: Report, home: Path | None) -> str:
    where = f" --home {home}" if home is not None else ""
    task = report.tasks[0] if report.tasks else "rec-movie"
    commands = (
        f'ranker query{where} "select * from leaderboard"',
        f"ranker rank{where} --example {task} | ranker rank{where}",
        f'ranker query{where} "select completion, valid, reason from steps limit 5"',
        f"ranker retrain{where} --set train.sft.max_steps=600",
    )
    return "Next\n" + "".join(f"  {command}\n" for command in commands)


def study(found: StudyResults, width: int = WIDE) -> Group:
    """A study: its table, its claims with their verdicts, where its files are."""
    parts: list[RenderableType] = [
        Text(f"{found.name}: {found.question}\n", style="bold"),
        rows(pl.DataFrame(found.body, schema=list(found.head), orient="row"), width),
    ]
    for claim in found.claims:
        style = {"holds": "green", "does not hold": "red"}.get(claim.verdict, "yellow")
        parts.append(
            Text.assemble((f"{claim.verdict:>13}", f"bold {style}"), f"  {claim.text}: {claim.figure}")
        )
    parts += [Text(note, style="yellow") for note in found.notes]
    return Group(*parts, Text.assemble("\nTable and plot  ", (str(found.folder), "bold"), overflow="fold"))


def study_facts(found: StudyResults) -> JsonObject:
    """A study for programs: rows by the names of their columns, as they stand in the table."""
    named = [dict(zip(found.head, row, strict=True)) for row in found.body]
    claims = [{"text": one.text, "verdict": one.verdict, "figure": one.figure} for one in found.claims]
    facts = {"rows": named, "claims": claims, "notes": list(found.notes), "holds": found.holds}
    return {"name": found.name, "question": found.question, "folder": str(found.folder), **facts}


def findings(found: list[Finding]) -> Table:
    """What `ranker doctor` found, one line each."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in found:
        mark = (
            Text("ok", style="green")
            if finding.ok
            else Text("missing", style="bold red")
            if finding.needed
            else Text("note", style="yellow")
        )
        detail = finding.seen if finding.ok else f"{finding.seen}\n→ {finding.remedy}"
        table.add_row(mark, finding.name, Text(detail))
    return table


def rows(frame: pl.DataFrame, width: int, fold: Sequence[str] = ()) -> RenderableType:
    """Rows of a query: a table where it fits into `width` columns, else one record under the other.

    The columns `fold` may run over several lines, so that a table with long texts in it stays a table.
    """
    columns = [_texts(column) for column in frame.get_columns()]
    texts = [list(row) for row in zip(*columns, strict=True)]
    names = [visible(name) for name in frame.columns]
    widths = {
        name: 2 + max(len(name), *(len(row[place]) for row in texts), 0) for place, name in enumerate(names)
    }
    widths |= {name: min(widths[name], FOLDED) for name in fold}
    if sum(widths.values()) > width and len(names) > 1:
        return _records(names, [[_text(value) for value in row] for row in frame.iter_rows()])
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name, column in zip(names, columns, strict=True):
        numbers = any(column) and all(not text or _NUMBER.fullmatch(text) for text in column)
        justify = "right" if numbers else "left"
        table.add_column(Text(name), justify=justify, no_wrap=bool(fold) and name not in fold)
    for row in texts:
        table.add_row(*(Text(text, overflow="fold") for text in row))
    return table


def _records(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Group:
    parts: list[RenderableType] = []
    for place, row in enumerate(rows, 1):
        record = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
        for name, text in zip(names, row, strict=True):
            record.add_row(Text(name, style="dim"), Text(text, overflow="fold"))
        parts += [Text(f"─ {place}", style="dim"), record]
    return Group(*parts)


_NUMBER = re.compile(r"[+−-]?\d[\d,]*(\.\d+)?(e[+-]?\d+|%)?")
MOST_DECIMALS = 6


def _texts(column: pl.Series) -> list[str]:
    """A column's values; floats with as many decimals each as the one that needs most, so that their points
    stand below each other.
    """
    values, texts = column.to_list(), [_text(value) for value in column.to_list()]
    if not column.dtype.is_float() or any(re.search("[a-z]", text) for text in texts):
        return texts
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    if decimals > MOST_DECIMALS:
        return texts
    return ["" if value is None else f"{value:,.{decimals}f}" for value in values]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return visible(str(value))
