"""Plots of studies: files that hold what they show."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from ranker.studies import plots

ROWS = [
    {
        "benchmark": name,
        "model": model,
        "metric": "accuracy",
        "value": value,
        "lower": value - 0.1,
        "upper": value + 0.1,
    }
    for name in ("arc", "mmlu")
    for model, value in (("before", 0.5), ("after", 0.6))
]


def test_a_plot_is_written_as_svg_and_png_and_names_what_it_shows(tmp_path: Path) -> None:
    plots.save(plots.scores(ROWS, "What is forgotten?"), tmp_path / "plot")
    text = " ".join(ElementTree.parse(tmp_path / "plot.svg").getroot().itertext())
    assert all(word in text for word in ("arc", "mmlu", "before", "after", "What is forgotten?"))
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_long_title_runs_over_lines_and_loses_no_word() -> None:
    title = "Does training on the ranking raise the ranking, " * 5
    lines = plots._wrapped(title, 40)
    assert all(len(line) <= 40 for line in lines) and " ".join(lines).split() == title.split()
