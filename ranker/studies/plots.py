"""Plots of studies, by altair; vl-convert renders them to SVG and PNG without a browser or a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import altair as alt

from ranker.types import Fields

WIDTH, STEP = 420, 15
COLOURS = {
    "untrained": "#9a9a9a",
    "sft": "#4c78a8",
    "rl": "#e45756",
    "pretrained": "#7a5195",
    "baseline": "#b79a5b",
}
"""First word of a model's name → colour."""


def intervals(rows: Sequence[Fields], title: str) -> alt.VConcatChart:
    """Means with 95% intervals, a panel a task, one line an arm; the dashed line is chance.

    Args:
        rows: `told.Row` as dictionaries.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    low, high = min(row["lower"] for row in rows), max(row["upper"] for row in rows)
    scale = alt.Scale(domain=[max(0.0, low - 0.02), min(1.0, high + 0.02)], nice=False, zero=False)
    panels = [_panel([row for row in rows if row["task"] == name], name, scale) for name in tasks]
    return stacked(panels, title)


def _panel(rows: Sequence[Fields], task: str, scale: alt.Scale) -> alt.LayerChart | alt.FacetChart:
    shown = [
        {**row, "line": _line(row), "colour": row["model"].partition(" ")[0] if row["how"] else "baseline"}
        for row in rows
    ]
    order = list(dict.fromkeys(row["line"] for row in shown))
    base = alt.Chart(alt.Data(values=shown)).encode(
        y=alt.Y("line:N", sort=order, title=None, axis=alt.Axis(labelLimit=320)),
        color=alt.Color(
            "colour:N", scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())), legend=None
        ),
    )
    span = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("lower:Q", scale=scale, title="MRR, 95% interval"), x2="upper:Q"
    )
    point = base.mark_point(filled=True, size=45, opacity=1).encode(x=alt.X("mrr:Q", scale=scale))
    chance = sorted({round(row["mrr"] - row["above_chance"], 6) for row in rows})
    line = (
        alt.Chart(alt.Data(values=[{"chance": value} for value in chance]))
        .mark_rule(strokeDash=[4, 3], color="#555555")
        .encode(x="chance:Q")
    )
    return alt.layer(line, span, point).properties(
        width=WIDTH, height=alt.Step(STEP), title=alt.TitleParams(task, anchor="start", fontSize=12)
    )


def _line(row: Fields) -> str:
    return " · ".join(part for part in ((row["arm"] if row["how"] else ""), row["model"], row["how"]) if part)


def scores(rows: Sequence[Fields], title: str) -> alt.VConcatChart:
    """Scores with 95% intervals, a panel a benchmark, one line a model.

    Args:
        rows: with benchmark, model, metric, value, lower, upper.
    """
    panels = []
    for name in dict.fromkeys(row["benchmark"] for row in rows):
        own = [row for row in rows if row["benchmark"] == name]
        base = alt.Chart(alt.Data(values=own)).encode(y=alt.Y("model:N", sort=None, title=None))
        span = base.mark_rule(strokeWidth=2).encode(
            x=alt.X("lower:Q", scale=alt.Scale(domain=[0, 1]), title=f"{own[0]['metric']}, 95% interval"),
            x2="upper:Q",
        )
        point = base.mark_point(filled=True, size=45, opacity=1).encode(x="value:Q")
        panels.append(
            alt.layer(span, point).properties(
                width=WIDTH, height=alt.Step(STEP), title=alt.TitleParams(name, anchor="start", fontSize=12)
            )
        )
    return stacked(panels, title)


def curves(points: Sequence[Fields], title: str) -> alt.VConcatChart:
    """MRR against examples and against minutes, one line a phase and a panel a task; the band is the 95%
    interval.

    Args:
        points: rows with task, phase, examples, minutes, mrr, lower, upper.
    """
    tasks = list(dict.fromkeys(point["task"] for point in points))
    panels = [
        alt.hconcat(
            *(
                _curve([p for p in points if p["task"] == name], name, axis)
                for axis in ("examples", "minutes")
            )
        )
        for name in tasks
    ]
    return stacked(panels, title)


def against_tokens(points: Sequence[Fields], title: str) -> alt.VConcatChart:
    """MRR with its 95% interval against tokens thought, a panel a task.

    Args:
        points: rows with task, arm, tokens, mrr, lower, upper.
    """
    panels = []
    for name in dict.fromkeys(point["task"] for point in points):
        own = [point for point in points if point["task"] == name]
        base = alt.Chart(alt.Data(values=own)).encode(
            x=alt.X("tokens:Q", scale=alt.Scale(type="symlog"), title="tokens thought a query"),
            color=alt.Color("arm:N", sort=None, title="budget"),
        )
        low = alt.Scale(zero=False)
        span = base.mark_rule().encode(y=alt.Y("lower:Q", scale=low, title="MRR, 95% interval"), y2="upper:Q")
        point = base.mark_point(filled=True, size=45, opacity=1).encode(y=alt.Y("mrr:Q", scale=low))
        panels.append(
            alt.layer(span, point).properties(
                width=300, height=180, title=alt.TitleParams(name, anchor="start", fontSize=12)
            )
        )
    return stacked(panels, title)


def _curve(points: Sequence[Fields], task: str, axis: str) -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(alt.Data(values=list(points))).encode(
        x=alt.X(f"{axis}:Q", title={"examples": "training examples", "minutes": "training minutes"}[axis]),
        color=alt.Color("phase:N", title="phase"),
    )
    low = alt.Scale(zero=False)
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("lower:Q", scale=low, title="MRR"), y2="upper:Q")
    line = base.mark_line(point=True).encode(y=alt.Y("mrr:Q", scale=low))
    return alt.layer(band, line).properties(
        width=300, height=180, title=alt.TitleParams(task, anchor="start", fontSize=12)
    )


def slots(points: Sequence[Fields], title: str) -> alt.VConcatChart:
    """MRR by the slot in which the gold was shown, a panel a way of asking; the band is the 95% interval, the
    dashed line the mean.

    Args:
        points: rows with how, slot (1-based), mrr, lower, upper.
    """
    low, high = min(point["lower"] for point in points), max(point["upper"] for point in points)
    scale = alt.Scale(domain=[max(0.0, low - 0.02), min(1.0, high + 0.02)], nice=False, zero=False)
    panels = [
        _slot([point for point in points if point["how"] == how], how, scale)
        for how in dict.fromkeys(point["how"] for point in points)
    ]
    return stacked(panels, title)


def _slot(points: Sequence[Fields], how: str, scale: alt.Scale) -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(alt.Data(values=list(points))).encode(
        x=alt.X(
            "slot:Q",
            title="slot of the gold",
            axis=alt.Axis(tickMinStep=1, format="d"),
            scale=alt.Scale(nice=False),
        )
    )
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("lower:Q", scale=scale, title="MRR"), y2="upper:Q")
    line = base.mark_line(point=True).encode(y=alt.Y("mrr:Q", scale=scale))
    mean = (
        alt.Chart(alt.Data(values=list(points)))
        .mark_rule(strokeDash=[4, 3], color="#555555")
        .encode(y=alt.Y("mean(mrr):Q", scale=scale))
    )
    return alt.layer(band, mean, line).properties(
        width=WIDTH, height=120, title=alt.TitleParams(how, anchor="start", fontSize=12)
    )


def differences(points: Sequence[Fields], title: str) -> alt.VConcatChart:
    """A paired difference by text, with its 95% interval, a panel a way of asking; the rule is no difference.

    Args:
        points: rows with how, text, rise, lower, upper.
    """
    low = min(0.0, *(point["lower"] for point in points))
    high = max(0.0, *(point["upper"] for point in points))
    scale = alt.Scale(domain=[low - 0.02, high + 0.02], nice=False)
    return stacked(
        [
            _differences([point for point in points if point["how"] == how], how, scale)
            for how in dict.fromkeys(point["how"] for point in points)
        ],
        title,
    )


def _differences(points: Sequence[Fields], how: str, scale: alt.Scale) -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(alt.Data(values=list(points))).encode(y=alt.Y("text:N", title=None, sort=None))
    bars = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("lower:Q", scale=scale, title="difference in rank (1: from last to first)"), x2="upper:Q"
    )
    dots = base.mark_point(filled=True, size=60).encode(x=alt.X("rise:Q", scale=scale))
    none = (
        alt.Chart(alt.Data(values=[{"at": 0}])).mark_rule(strokeDash=[4, 3], color="#555555").encode(x="at:Q")
    )
    return alt.layer(none, bars, dots).properties(
        width=WIDTH, height=alt.Step(22), title=alt.TitleParams(how, anchor="start", fontSize=12)
    )


def stacked(
    panels: Sequence[alt.LayerChart | alt.FacetChart | alt.HConcatChart], title: str
) -> alt.VConcatChart:
    """Panels under one another, the title above them."""
    return alt.vconcat(
        *panels, title=alt.TitleParams(_wrapped(title), anchor="start", fontSize=13)
    ).configure_view(stroke="#dddddd")


def _wrapped(text: str, width: int = 90) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def save(chart: alt.VConcatChart, stem: Path) -> None:
    """Write `<stem>.svg` and `<stem>.png`."""
    chart.save(stem.with_suffix(".svg"))
    chart.save(stem.with_suffix(".png"), scale_factor=2)
