"""Figures in a file for node-exporter's textfile collector."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ranker.reports.gauges import Figure, Sample, write

PLAIN = Figure("ranker_plain_bytes", "How many.")
LABELLED = Figure("ranker_labelled", "By kind and place.", ("kind", "place"))


def read(path: Path) -> dict[tuple[str, ...], float]:
    """Value by name and labels, as Prometheus itself reads them."""
    families = text_string_to_metric_families(path.read_text(encoding="utf-8"))
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_samples_are_as_prometheus_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "a" / "new folder" / "ranker.prom"
    write(
        path,
        [Sample(PLAIN, 3.0), Sample(LABELLED, 1.5, ('a "quoted" one', "x")), Sample(LABELLED, 2, ("b", "y"))],
    )
    assert read(path) == {
        ("ranker_plain_bytes",): 3,
        ("ranker_labelled", 'a "quoted" one', "x"): 1.5,
        ("ranker_labelled", "b", "y"): 2,
    }
    write(path, [Sample(PLAIN, 4.0)])
    assert read(path) == {("ranker_plain_bytes",): 4}
    assert [one.name for one in path.parent.iterdir()] == ["ranker.prom"], "nothing half is left"


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "ranker.prom"
    write(path, [Sample(PLAIN, 3.0)])
    with pytest.raises(ValueError):
        write(path, [Sample(PLAIN, 4.0), Sample(LABELLED, 1, ("too few",))])
    assert read(path) == {("ranker_plain_bytes",): 3}
