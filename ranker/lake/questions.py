"""The worked questions: a file of SQL each, in sql/adhoc, whose first line is the question in words."""

from __future__ import annotations

from pathlib import Path

from ranker.errors import BadQuery
from ranker.resources import sql_folder

ADHOC = sql_folder() / "adhoc"


def questions() -> dict[str, str]:
    """The worked questions: the first line of each file in sql/adhoc, by name."""
    return {
        path.stem: path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("-- ")
        for path in sorted(ADHOC.glob("*.sql"))
    }


def question(name: str) -> str:
    """The SQL of a worked question.

    Raises:
        BadQuery: there is none of that name.
    """
    path: Path = ADHOC / f"{name}.sql"
    if name not in questions():
        raise BadQuery(
            "the question must be one of sql/adhoc",
            seen=repr(name),
            remedy=f"choose one of {', '.join(questions())}",
        )
    return path.read_text(encoding="utf-8")
