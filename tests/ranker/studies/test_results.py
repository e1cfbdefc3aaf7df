from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from ranker.studies import results as study_results
from ranker.studies.scores import Pick
from tests.ranker.studies.made import CLAIMS, MEANS, STUDY, results


def test_page_json_and_plot_say_the_same(tmp_path: Path) -> None:
    found = results(MEANS, tasks=("synthetic", "vaswani"), seeds=2)
    written = study_results.write(
        tmp_path / "s", STUDY, found, {"rec-movie": "downloads/ml-100k"}, {"runs": [{"arm": "a"}]}
    )
    page = (tmp_path / "s" / "table.md").read_text(encoding="utf-8")
    told_json = json.loads((tmp_path / "s" / "study.json").read_text(encoding="utf-8"))
    rl = found.mean(Pick("a", "rl"), ["vaswani"])
    assert rl is not None
    row = next(r for r in told_json["rows"] if (r["task"], r["arm"], r["model"]) == ("vaswani", "a", "rl"))
    assert (row["mrr"], row["lower"], row["upper"], row["seeds"], row["queries"]) == (
        rl.value,
        rl.lower,
        rl.upper,
        2,
        200,
    )
    assert f"| vaswani | a | rl | iterative, think | {rl.value:.3f} | {rl.lower:.3f}…{rl.upper:.3f} |" in page
    assert (
        "b\\|c" in page
        and "rec-movie is left out: no data at downloads/ml-100k" in page
        and "| it flies | does not hold | −1 |" in page
    )
    assert len(written.body) == len(told_json["rows"]) == 2 * (3 + 3), (
        "baselines once, every arm on every task"
    )
    assert told_json["runs"] == [{"arm": "a"}] and not written.holds
    svg = " ".join(ElementTree.parse(tmp_path / "s" / "plot.svg").getroot().itertext())
    assert "a · rl · iterative, think" in svg and "vaswani" in svg and "teacher" in svg
    assert (tmp_path / "s" / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_not_tested_does_not_fail() -> None:
    assert study_results.StudyResults(
        name="s", question="?", folder=Path(), head=(), body=(), claims=(CLAIMS[0], CLAIMS[2])
    ).holds
