"""What `make test` runs for one case of each kind, at full length: kills in every stage, at every kind of
checkpoint and of two processes that train together; damage by the hundred thousand. The same tests with the
same assertions (tests/full_length.py): a row holds where all of its cases pass.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from benchmarks.table import Row
from ranker.refs import PROJECT

FUZZ_EXAMPLES = 2_000
"""Sources that hypothesis makes for each reader."""


def run(report: Path, *arguments: str) -> int:
    """pytest over the marked tests; writes its JUnit report, gives its exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "full_length", f"--junitxml={report}", *arguments]
    given = {"RANKER_FULL_LENGTH": "1", "RANKER_FUZZ_EXAMPLES": str(FUZZ_EXAMPLES)}
    return subprocess.run(command, cwd=PROJECT, env=os.environ | given, check=False).returncode


def rows(report: Path) -> list[Row]:
    """A row a test function: how long its cases took, and whether all of them passed."""
    cases: dict[str, list[tuple[float, bool]]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{str(case.get('name')).partition('[')[0]}"
        passed = all(case.find(tag) is None for tag in ("failure", "error", "skipped"))
        cases.setdefault(name, []).append((float(case.get("time", "0")), passed))
    return [
        Row(
            name.removeprefix("tests."),
            f"{len(found)} case{'s' * (len(found) > 1)}, {sum(seconds for seconds, _ in found):.0f} s",
            "passes",
            all(passed for _, passed in found),
        )
        for name, found in sorted(cases.items())
    ]
