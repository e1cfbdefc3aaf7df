"""Charts of the report, by altair: SVG as text, which goes into the page and takes its colours from the
page's style.

altair is imported late: a third of a second, which every command would wait for and few draw.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

WIDTH, ROW = 470, 22
CURVE_WIDTH, CURVE_HEIGHT = 400, 140
SQUARE = 220
MODEL, BASELINE, GOOD, BAD = "var(--model)", "var(--base)", "var(--good)", "var(--bad)"
INK, SOFT, LINE = "var(--ink)", "var(--soft)", "var(--line)"


@dataclass(frozen=True, slots=True)
class Interval:
    """A line of a chart: a mean and its 95% interval (None where there is none), in a colour of the page."""

    label: str
    value: float
    lower: float | None
    upper: float | None
    colour: str


def intervals(lines: Sequence[Interval], *, dashed: float, low: float, high: float) -> str:
    """A point and a whisker each, in the given order, on one axis from `low` to `high`; a dashed line stands
    at `dashed`.
    """
    import altair as alt

    scale = alt.Scale(domain=[low, high if high > low else low + 1], nice=False, clamp=True)
    base = alt.Chart(alt.Data(values=[asdict(line) for line in lines])).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelColor=INK, labelLimit=0, ticks=False)),
        color=alt.Color("colour:N", scale=None),
    )
    axis = alt.Axis(grid=True, tickCount=5)
    whisker = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("lower:Q", scale=scale, title=None, axis=axis), x2="upper:Q"
    )
    point = base.mark_point(filled=True, size=55, opacity=1).encode(x=alt.X("value:Q", scale=scale))
    reference = (
        alt.Chart(alt.Data(values=[{"at": dashed}]))
        .mark_rule(strokeDash=[4, 3], color=BAD)
        .encode(x=alt.X("at:Q", scale=scale))
    )
    return _svg(alt.layer(reference, whisker, point).properties(width=WIDTH, height=alt.Step(ROW)))


def curve(points: Sequence[tuple[int, float]], best: int | None = None) -> str:
    """One training metric (step, value) over the optimizer's steps.

    Args:
        best: step of the checkpoint that was kept, which is marked.
    """
    import altair as alt

    line = (
        alt.Chart(
            alt.Data(
                values=[{"step": step, "value": value} for step, value in points if math.isfinite(value)]
            )
        )
        .mark_line(color=MODEL, strokeWidth=1.5)
        .encode(
            x=alt.X(
                "step:Q", title="step", scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=6, grid=False)
            ),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)),
        )
    )
    kept = [{"step": step, "value": value} for step, value in points if step == best]
    point = (
        alt.Chart(alt.Data(values=kept))
        .mark_point(filled=True, opacity=1, size=70, color=GOOD)
        .encode(x="step:Q", y="value:Q")
    )
    shown = alt.layer(line, point) if kept else line
    return _svg(shown.properties(width=CURVE_WIDTH, height=CURVE_HEIGHT))


def cost(points: Sequence[tuple[str, float, float, bool]]) -> str:
    """Quality against cost: a point a way of ranking, its name beside it; the one that is served is filled.

    Args:
        points: name, tokens a query, MRR, whether it is served.
    """
    import altair as alt

    values = [
        {"name": name, "tokens": tokens, "mrr": mrr, "served": served} for name, tokens, mrr, served in points
    ]
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("tokens:Q", title="tokens a query", axis=alt.Axis(tickCount=5)),
        y=alt.Y("mrr:Q", title="MRR", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
    )
    point = base.mark_point(size=80, opacity=1, color=MODEL).encode(
        fill=alt.condition("datum.served", alt.value(MODEL), alt.value("transparent"))
    )
    text = base.mark_text(align="left", dx=8, color=INK).encode(text="name:N")
    return _svg(alt.layer(point, text).properties(width=WIDTH, height=SQUARE))


def reliability(curve: Sequence[tuple[float, float, int]]) -> str:
    """Predicted probability against the share that was relevant, a point a bin, larger for more candidates;
    on the dashed line both are the same.

    Args:
        curve: as metrics.calibration.reliability gives it.
    """
    import altair as alt

    scale = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("p:Q", title="predicted probability", scale=scale, axis=alt.Axis(tickCount=5))
    y = alt.Y("share:Q", title="share relevant", scale=scale, axis=alt.Axis(tickCount=5))
    points = [{"p": p, "share": share, "count": count} for p, share, count in curve]
    base = alt.Chart(alt.Data(values=points)).encode(x=x, y=y)
    line = base.mark_line(color=MODEL, strokeWidth=1.5)
    point = base.mark_point(filled=True, opacity=1, color=MODEL).encode(
        size=alt.Size("count:Q", legend=None, scale=alt.Scale(range=[15, 160]))
    )
    right = (
        alt.Chart(alt.Data(values=[{"p": 0, "share": 0}, {"p": 1, "share": 1}]))
        .mark_line(strokeDash=[4, 3], color=BAD)
        .encode(x=x, y=y)
    )
    return _svg(alt.layer(right, line, point).properties(width=SQUARE, height=SQUARE))


def _svg(chart: Any) -> str:
    """A whole <svg> element; altair escapes the texts in it."""
    # A browser's own font may be wider than the one that texts are measured with here: room at the left.
    room = {"left": 24, "top": 6, "right": 12, "bottom": 6}
    styled = chart.configure(
        background="transparent", font="system-ui, sans-serif", padding=room
    ).configure_view(stroke=None)
    styled = styled.configure_axis(
        labelColor=SOFT,
        titleColor=SOFT,
        domainColor=LINE,
        tickColor=LINE,
        gridColor=LINE,
        gridOpacity=0.6,
        titleFontWeight="normal",
        labelFontSize=12,
        titleFontSize=12,
    )
    text = io.StringIO()
    styled.save(text, format="svg")
    return text.getvalue()
