"""Figures of what does not run all the time, for Prometheus: files that node-exporter's textfile collector
reads. A flow or a trainer is gone before anybody could ask it, and a push gateway keeps its last word for
ever; a file has a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile


@dataclass(frozen=True, slots=True)
class Figure:
    """A gauge that may be written: its name by Prometheus's conventions, what it means, its labels."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of it, with the labels' values in their order."""

    figure: Figure
    value: float
    labels: tuple[str, ...] = ()


def write(path: Path, samples: Iterable[Sample]) -> None:
    """Write the samples in Prometheus's text format, whole or not at all; the folder is made.

    Raises:
        OSError: the file may not be written.
    """
    registry, gauges = CollectorRegistry(), dict[Figure, Gauge]()
    for sample in samples:
        figure = sample.figure
        if figure not in gauges:
            gauges[figure] = Gauge(figure.name, figure.meaning, figure.labels, registry=registry)
        gauge = gauges[figure].labels(*sample.labels) if figure.labels else gauges[figure]
        gauge.set(sample.value)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), registry)
