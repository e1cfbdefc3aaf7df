"""The tutorials' own blocks, run as they stand: data that Python makes, `ranker init`, `ranker validate`.

What trains is a run of its own (tests/flows); its command lines are parsed by test_documents.py.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ranker.config import parse_params
from ranker.refs import PROJECT
from tests.ranker.cli.commands import ranker

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUICK = ("init", "validate")
PAGES = sorted((PROJECT / "docs" / "tutorials").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_runs_as_it_stands(page: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(home.parent)
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    for language, block in blocks:
        if language == "python":
            exec(compile(block, page.name, "exec"), {})
        for line in block.splitlines() if language == "console" else ():
            name, *arguments = shlex.split(line.removeprefix("$ "), comments=True)
            if name == "ranker" and arguments[0] in QUICK:
                done = ranker(*arguments)
                assert done.exit_code == 0, f"{line}\n{done.output}"
            elif name == "ranker" and "--preset" in arguments:
                parse_params({"preset": arguments[arguments.index("--preset") + 1]})
