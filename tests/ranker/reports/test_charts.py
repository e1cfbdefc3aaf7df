"""Charts of the report: read as the XML that they are."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from ranker.reports import charts
from ranker.reports.charts import Interval

SVG = "{http://www.w3.org/2000/svg}"


def _texts(svg: str) -> list[str]:
    return [text for element in ElementTree.fromstring(svg).iter(f"{SVG}text") for text in element.itertext()]


def _x(svg: str, colour: str) -> list[float]:
    """Where the points of a colour stand."""
    found = [
        element.get("transform", "")
        for element in ElementTree.fromstring(svg).iter(f"{SVG}path")
        if element.get("fill") == colour
    ]
    return [float(re.findall(r"[-.0-9]+", place)[0]) for place in found]


def test_a_line_each_in_the_given_order_and_the_pages_colours() -> None:
    lines = [
        Interval("z", 0.75, 0.7, 0.8, charts.MODEL),
        Interval("a <b>", 0.25, 0.2, 0.3, charts.BASELINE),
        Interval("none", 0.5, None, None, charts.BASELINE),
    ]
    svg = charts.intervals(lines, dashed=0.5, low=0, high=1)
    assert [text for text in _texts(svg) if not text.startswith(("0", "1"))] == ["z", "a <b>", "none"]
    (model,), (first, second) = _x(svg, charts.MODEL), _x(svg, charts.BASELINE)
    assert first < second < model and second - first == pytest.approx(model - second, abs=0.2)
    whiskers = [
        line for line in ElementTree.fromstring(svg).iter(f"{SVG}line") if line.get("stroke-width") == "2"
    ]
    assert len(whiskers) == 2, "none where there is no interval"
    dashed = [line for line in ElementTree.fromstring(svg).iter(f"{SVG}line") if line.get("stroke-dasharray")]
    assert len(dashed) == 1 and dashed[0].get("stroke") == charts.BAD
    assert "url(" not in svg and "<script" not in svg


def test_differences_that_are_all_nought_have_an_axis_too() -> None:
    svg = charts.intervals([Interval("a", 0, 0, 0, charts.BASELINE)], dashed=0, low=0, high=0)
    assert _x(svg, charts.BASELINE) == [0]


def test_a_reliability_curve_stands_beside_the_line_of_right_probabilities() -> None:
    svg = charts.reliability([(0.0, 0.5, 90), (0.5, 0.5, 10), (1.0, 1.0, 50)])
    assert _x(svg, charts.MODEL) == [0, charts.SQUARE / 2, charts.SQUARE]
    lines = [p for p in ElementTree.fromstring(svg).iter(f"{SVG}path") if p.get("fill") != charts.MODEL]
    (right,) = (p.get("d", "") for p in lines if p.get("stroke-dasharray"))
    assert right == f"M0,{charts.SQUARE}L{charts.SQUARE},0", "from corner to corner"
    assert {"predicted probability", "share relevant"} <= set(_texts(svg))


def test_a_curve_skips_what_is_no_number() -> None:
    svg = charts.curve([(5, 2.0), (10, math.nan), (15, 1.0)])
    (line,) = (p for p in ElementTree.fromstring(svg).iter(f"{SVG}path") if p.get("stroke") == charts.MODEL)
    assert re.fullmatch(r"M0,[\d.]+L400,[\d.]+", line.get("d", "")), "from the first step to the last"
    assert "step" in _texts(svg)
