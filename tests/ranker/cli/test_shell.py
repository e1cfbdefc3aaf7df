"""The prompt on the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl
import pytest

from ranker.cli.shell import HELP, Shell
from ranker.errors import RankerError
from ranker.lake import Lake
from tests.ranker.cli.commands import ranker
from tests.ranker.lake.test_connection import write


class Typed:
    """A user who types `lines`; an exception in the list is raised as the terminal would."""

    def __init__(self, lines: list) -> None:
        self.prompts: list[str] = []
        self._lines: Iterator = iter(lines)

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        line = next(self._lines, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line


@pytest.fixture
def session(lake: Lake) -> Callable[..., tuple[list[pl.DataFrame], list[str], list[RankerError], Typed]]:
    write(lake)

    def run(*lines: object):
        frames: list[pl.DataFrame] = []
        said: list[str] = []
        failed: list[RankerError] = []
        typed = Typed(list(lines))
        shell = Shell(lake, show=frames.append, say=said.append, fail=failed.append)
        shell.run(typed)
        assert shell.failures == len(failed)
        return frames, said, failed, typed

    return run


def test_statements_end_with_a_semicolon_and_may_take_lines(session) -> None:
    frames, _, failed, typed = session(
        "select count(*) as n", "from qrels;", "", "select 1 as n;", "select 2 as n"
    )
    assert [frame["n"].to_list() for frame in frames] == [[1000], [1], [2]] and not failed
    assert typed.prompts[:3] == ["lake> ", "  …> ", "lake> "]


def test_a_mistake_is_told_and_the_prompt_goes_on(session) -> None:
    frames, _, failed, _ = session(
        "select nonsense;", "delete from qrels;", ".nonsense", ".schema", ".ask nonsense", "select 1;"
    )
    assert len(failed) == 5 and len(frames) == 1
    assert "only reads" in failed[1].rule and ".help" in failed[2].remedy


def test_ctrl_c_drops_what_was_begun(session) -> None:
    frames, _, failed, _ = session(
        "select nonsense", KeyboardInterrupt(), "select 1 as n;", ".quit", "select 2;"
    )
    assert [frame["n"].item() for frame in frames] == [1] and not failed


def test_the_lake_tells_of_itself(session) -> None:
    (tables, columns, questions), said, failed, _ = session(".tables", ".schema qrels", ".questions", ".help")
    assert not failed and said == [HELP]
    assert {"episodes", "leaderboard"} <= set(tables["name"]) and "" not in tables["holds"]
    assert (
        columns["name"].to_list() == ["batch_id", "task", "query_id", "item_id", "relevance", "first_stage"]
        and "" not in columns["holds"]
    )
    assert questions.columns == ["name", "question"]


def test_the_shell_reads_a_pipe_and_fails_with_its_statements(written: str) -> None:
    good = ranker(
        "shell", "--format", "csv", stdin="select count(*) as n\nfrom stage_runs\nwhere stage = 'evaluate';\n"
    )
    assert (good.exit_code, good.stdout) == (0, "n\n1\n")
    bad = ranker("shell", stdin="select nonsense;\nselect 41 + 1 as n;\n")
    assert bad.exit_code == 2 and "nonsense" in bad.stderr and "42" in bad.stdout
