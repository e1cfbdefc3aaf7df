"""Learning curves and what they cost."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from ranker.studies import curves
from ranker.studies.curves import Point


def test_curves_are_told_with_their_cost(tmp_path: Path) -> None:
    points = [
        Point("synthetic", "sft", step, step * 64, step / 60, 0.3 + step / 1000, 0.2, 0.5, 0.1, 40)
        for step in (0, 100, 200)
    ]
    written = curves.tell(tmp_path / "c", curves.curve("sft", reversed(points)), {})
    assert [row[3] for row in written.body] == ["0", "6,400", "12,800"]
    assert {row[1] for row in written.body} == {"SFT continued"}
    svg = " ".join(ElementTree.parse(tmp_path / "c" / "plot.svg").getroot().itertext())
    assert "training examples" in svg and "training minutes" in svg
