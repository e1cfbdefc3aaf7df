"""docs/public-names.md: every name that other people's programs may rest on. Who changes one says so there
and in the changelog; `python -m tests.docs.test_public_names` writes the page anew.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

import ranker
from ranker.cli.codes import Code
from ranker.refs import PROJECT
from ranker.serving.app import RERANK
from ranker.serving.feedback import Feedback
from ranker.serving.schema import Rerank
from tests.ranker.cli.commands import every
from tests.ranker.test_init import public

PAGE = PROJECT / "docs" / "public-names.md"
CHANGE = """a public name came, went or changed: add a CHANGELOG entry under "Unreleased" that says so, and
what callers do now; then `python -m tests.docs.test_public_names` brings docs/public-names.md to what is now:

"""


def adapters() -> Iterator[str]:
    """Classes and functions that the adapters hand on, by their source: their libraries may be missing."""
    for path in sorted((PROJECT / "ranker" / "adapters").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            named = isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
            if named and path.stem not in ("__init__", "extras"):
                yield f"ranker.adapters.{path.stem}.{node.name}"  # type: ignore[attr-defined]


def commands() -> Iterator[str]:
    """Every command with its arguments and options."""
    for name, command in every():
        taken = [
            "/".join([*one.opts, *one.secondary_opts])
            if one.param_type_name == "option"
            else (one.metavar or one.name).upper()
            for one in command.params
            if one.name != "help"
        ]
        yield " ".join(["ranker", name, *taken])


def served() -> Iterator[str]:
    """Paths of the server, and the fields of a request."""
    yield from (f"POST {path}" for path in RERANK)
    yield from ("GET /health", "GET /metrics", "GET /openapi.json")
    yield "fields: " + ", ".join(Rerank.model_fields)
    yield "POST /v1/feedback"
    yield "fields: " + ", ".join(Feedback.model_fields)


def sections() -> dict[str, list[str]]:
    return {
        "Python": [*public(), *adapters()],
        "Commands": list(commands()),
        "Exit codes": [f"{code.value} {code.name}" for code in Code],
        "Served": list(served()),
    }


def wanted() -> str:
    """The page."""
    text = "# Public names\n\nWhat other programs may rest on. All else may change without a word.\n"
    for title, names in sections().items():
        language = "python" if title == "Python" else "text"
        text += f"\n## {title}\n\n```{language}\n" + "\n".join(names) + "\n```\n"
    return text


def test_a_public_name_changes_with_an_entry_in_the_changelog() -> None:
    assert PAGE.read_text(encoding="utf-8") == wanted(), CHANGE + wanted()


def test_a_name_that_goes_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranker, "__all__", ["Ranker"])
    assert PAGE.read_text(encoding="utf-8") != wanted() and "add a CHANGELOG entry" in CHANGE


def test_names_of_the_list_are_no_placeholders() -> None:
    found = sections()
    assert len(found["Commands"]) > 30 and any("--json" in one for one in found["Commands"])
    assert any(re.match(r"Ranker\.rank\(query, documents", one) for one in found["Python"])


if __name__ == "__main__":
    PAGE.write_text(wanted(), encoding="utf-8")
