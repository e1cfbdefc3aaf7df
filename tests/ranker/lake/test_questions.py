"""The worked questions by name; that they can be asked: tests/flows/test_questions.py."""

from __future__ import annotations

import pytest

from ranker.errors import BadQuery
from ranker.lake.questions import question, questions


def test_a_question_is_its_file_and_its_first_line() -> None:
    assert all(said and not said.startswith("--") for said in questions().values())
    assert questions()["hardest_queries"] in question("hardest_queries")
    for name in ("nope", "../views/leaderboard"):
        with pytest.raises(BadQuery, match="one of sql/adhoc"):
            question(name)
