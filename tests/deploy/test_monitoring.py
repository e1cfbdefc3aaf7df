"""Alerts and dashboard: of metrics that the code has, and alerts that fire when they should."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from flows import metrics
from ranker.refs import PROJECT
from ranker.reports import population
from ranker.serving.metrics import ServingMetrics
from tests.deploy import compose

FOLDER = PROJECT / "deploy" / "monitoring"
RULES = FOLDER / "alerts" / "ranker.rules.yaml"
NAME = re.compile(r"\b(?:ranker_\w+|up)\b")
PROMTOOL = which("promtool", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def exposed() -> set[str]:
    """Every name under which a figure of this project reaches Prometheus."""
    served = set[str]()
    for family in text_string_to_metric_families(ServingMetrics().text().decode()):
        kinds = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        served |= {f"{family.name}{ending}" for ending in kinds}
    return served | {one.name for one in (*metrics.FIGURES, *population.FIGURES)} | {"up"}


def asked(expression: str) -> set[str]:
    """The metrics that an expression names; what stands in braces is a label's."""
    return set(NAME.findall(re.sub(r"\{[^}]*\}", "", expression)))


def alerts() -> Iterator[dict]:
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        yield from group["rules"]


def panels() -> list[dict]:
    return json.loads((FOLDER / "dashboard" / "ranker.json").read_text(encoding="utf-8"))["panels"]


def test_names_are_found_in_expressions() -> None:
    found = asked('sum by (le) (rate(ranker_a_bucket{x="ranker_b"}[5m])) > 2 * ranker_c and up == 0')
    assert found == {"ranker_a_bucket", "ranker_c", "up"}


@pytest.mark.parametrize("alert", alerts(), ids=lambda one: one["alert"])
def test_an_alert_asks_for_what_there_is_and_says_what_to_do(alert: dict) -> None:
    assert asked(alert["expr"]) and asked(alert["expr"]) <= exposed()
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert {"summary", "description"} == set(alert["annotations"])


@pytest.mark.parametrize(
    "panel", [one for one in panels() if one["type"] != "row"], ids=lambda one: one["title"]
)
def test_a_panel_shows_what_there_is(panel: dict) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        assert asked(target["expr"]) and asked(target["expr"]) <= exposed(), target["expr"]


def test_panels_neither_overlap_nor_share_an_id() -> None:
    squares = [
        (x, y)
        for place in (one["gridPos"] for one in panels())
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(squares) == len(set(squares)) and max(x for x, _ in squares) == 23
    assert len({one["id"] for one in panels()}) == len(panels())


def test_every_figure_is_shown_or_warned_of() -> None:
    """What nobody looks at need not be written."""
    shown = {name for one in panels() for target in one.get("targets", ()) for name in asked(target["expr"])}
    shown |= {name for one in alerts() for name in asked(one["expr"])}
    assert {one.name for one in (*metrics.FIGURES, *population.FIGURES)} <= shown


def test_prometheus_reads_the_rules_and_the_server_of_compose() -> None:
    read = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    assert [FOLDER / path for path in read["rule_files"]] == [RULES]
    jobs = {one["job_name"]: one["static_configs"][0]["targets"] for one in read["scrape_configs"]}
    assert jobs["ranker-serve"] == [f"serve:{compose.LISTENS['serve']}"]


@pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool on this machine (Debian: it is in the package prometheus)"
)
@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "alerts/ranker.rules.yaml"),
        ("test", "rules", "alerts/ranker.test.yaml"),
        ("check", "config", "--syntax-only", "prometheus.yaml"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_promtool_agrees(command: tuple[str, ...]) -> None:
    done = subprocess.run([str(PROMTOOL), *command], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    text = (RULES.parent / "ranker.test.yaml").read_text(encoding="utf-8")
    fires = set(re.findall(r'alertname="(\w+)"', text))
    assert {one["alert"] for one in alerts()} == fires
