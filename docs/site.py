"""What the site derives from the project itself: its first page from the README, and the reference of
commands, parameters, presets, tables and saved questions. A hook of MkDocs; nothing of it is kept.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from ranker.cli.main import app
from ranker.config import RetrainParams, presets, task, task_names
from ranker.lake import open_lake
from ranker.refs import PROJECT
from ranker.reports.markdown import table
from ranker.resources import shipped, sql_folder


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the derived pages."""
    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    return files


# -- pages that stand in the project's root


def root_page(name: str) -> str:
    """A page of the root as one of docs/: links into docs/ lose the folder, others go."""
    text = (PROJECT / name).read_text(encoding="utf-8")
    text = re.sub(
        r"```mermaid\n.*?```\n", "", text, flags=re.DOTALL
    )  # its script would be fetched from outside
    text = re.sub(r"\]\(docs/([^)]+)\)", r"](\1)", text)
    for page, derived in (("CONTRIBUTING.md", "contributing.md"), ("CHANGELOG.md", "changelog.md")):
        text = text.replace(f"]({page})", f"]({derived})")
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#|[\w./-]+\.(?:md|svg|png)(?:#|\)))[^)]*\)", r"\1", text)


# -- commands


def commands() -> str:
    """Every command with what it takes, as its `--help` says."""
    return "\n".join(["# Commands", "", *_described("ranker", typer.main.get_command(app), 2)])


def _described(path: str, command: Any, level: int) -> Iterator[str]:
    inner = getattr(command, "commands", {})
    yield f"{'#' * min(level, 4)} `{path}`"
    yield f"\n{(command.help or '').strip()}\n"
    rows = [
        (f"`{_named(one)}`", _cell(getattr(one, "help", "") or ""), _cell(_default(one)))
        for one in command.params
        if one.name != "help"
    ]
    if rows:
        yield table(["takes", "", "default"], rows) + "\n"
    for name in sorted(inner):
        yield from _described(f"{path} {name}", inner[name], level + 1)


def _named(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


def _default(parameter: Any) -> str:
    found = parameter.default
    shown = (
        found is None or found == "" or found is False or callable(found) or repr(found) == "Sentinel.UNSET"
    )
    return "" if shown else f"`{found}`"


# -- parameters


def parameters() -> str:
    """All parameters of a run by section: name, values, default and meaning."""
    lines = [
        "# Parameters",
        "",
        "`--set train.sft.max_steps=100`, a file for `--params`, or the form in Prefect's UI. Defaults are"
        " those of the sections; a [preset](presets.md) lies over them.",
        "",
    ]
    return "\n".join([*lines, *_section("", RetrainParams)])


def _section(path: str, model: type[BaseModel]) -> Iterator[str]:
    rows, inner = list[tuple[str, ...]](), list[tuple[str, type[BaseModel]]]()
    for name, field in model.model_fields.items():
        full = f"{path}.{field.alias or name}".strip(".")
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inner.append((full, kind))
            continue
        default = field.get_default(call_default_factory=True) if not field.is_required() else "required"
        rows.append(
            (f"`{full}`", _cell(_kind(kind)), _cell(f"`{default!r}`"), _cell(field.description or ""))
        )
    if rows:
        yield f"## {path or 'the run'}\n"
        yield f"{(model.__doc__ or '').strip()}\n"
        yield table(["name", "values", "default", ""], rows) + "\n"
    for full, kind in inner:
        yield from _section(full, kind)


def _kind(annotation: Any) -> str:
    names = [repr(one) for one in get_args(annotation) if isinstance(one, str | int)]
    if names:
        return ", ".join(names)
    return (
        annotation.__name__
        if isinstance(annotation, type) and not get_args(annotation)
        else re.sub(r"\b(?:\w+\.)+", "", str(annotation))
    )


def choices() -> str:
    """Presets with what they set, and tasks with where their data is."""
    lines = ["# Presets and tasks", "", "## Presets", ""]
    for name in presets():
        text = (shipped("presets") / f"{name}.toml").read_text(encoding="utf-8")
        lines += [f"### `{name}`", "", "```toml", text.rstrip(), "```", ""]
    rows = [
        (f"`{name}`", one.scenario, f"`{one.reader}`", one.pool_size, _cell(one.wording))
        for name in task_names()
        for one in [task(name)]
    ]
    return "\n".join([*lines, "## Tasks", "", table(["task", "scenario", "reader", "pool", ""], rows)])


# -- the lake


def relations() -> str:
    """Tables and views of a new lake, with what their columns hold."""
    lines = [
        "# Tables and views",
        "",
        "What `ranker query` may ask; how to read them: [the lake](../lake.md).",
        "",
    ]
    with tempfile.TemporaryDirectory() as folder, open_lake(Path(folder)) as lake:
        for name, kind, holds in lake.named("lake/relations").iter_rows():
            columns = lake.named("lake/columns", {"name": name}).iter_rows()
            rows = [(f"`{column}`", _cell(of), _cell(said)) for column, of, said in columns]
            lines += [
                f"## `{name}`",
                "",
                f"{kind.capitalize()}. {holds or ''}",
                "",
                table(["column", "type", "holds"], rows),
                "",
            ]
    return "\n".join(lines)


def questions() -> str:
    """The saved questions, with their SQL."""
    lines = ["# Saved questions", "", "`ranker shell`, then `.ask NAME`.", ""]
    for path in sorted((sql_folder() / "adhoc").glob("*.sql")):
        lines += [f"## `{path.stem}`", "", "```sql", path.read_text(encoding="utf-8").rstrip(), "```", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("<", "&lt;")


PAGES: dict[str, Callable[[], str]] = {
    "index.md": lambda: root_page("README.md"),
    "contributing.md": lambda: root_page("CONTRIBUTING.md"),
    "changelog.md": lambda: root_page("CHANGELOG.md"),
    "reference/commands.md": commands,
    "reference/parameters.md": parameters,
    "reference/presets.md": choices,
    "reference/tables.md": relations,
    "reference/questions.md": questions,
}
"""Page → what makes it."""
