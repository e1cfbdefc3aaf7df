"""What README and docs/ name exists: commands and their options, parameters, files, modules, links; and the
pages that are read from end to end stay short.

Commands are asked of the real command line: each line is parsed by its own parser, and runs nothing.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from typer._click.exceptions import ClickException, MissingParameter

from ranker.cli.main import app
from ranker.config import RetrainParams, presets
from ranker.errors import RankerError
from ranker.lake import Lake
from ranker.refs import PROJECT

PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(PROJECT.glob("docs/**/*.md")),
]
COMMAND_LINE = typer.main.get_command(app)
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
ROOMS = ("ranker", "flows", "contracts", "sql", "tests", "docs", "benchmarks", "deploy")
WRITTEN = {"mine.toml", "rec-books.toml", "table.md"}
"""Files that a user or a run writes, and no repository holds."""
OWN_PRESETS = {"orders", "faq", "answers"}
"""That `ranker init` writes in an example."""
SECTIONS = {"policy": "train", "sft": "train", "grpo": "train"}
"""Sections of the parameters that a page may name without the one that holds them."""
LIMITS = {"method.md": 1_500, "experiments.md": 1_500}


@dataclass(frozen=True, slots=True)
class Page:
    """A Markdown page: its text, and where its relative links start from."""

    text: str
    folder: Path

    @property
    def prose(self) -> str:
        return FENCE.sub("", self.text)

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """(language, content) of every fenced block."""
        return FENCE.findall(self.text)

    @property
    def spans(self) -> list[str]:
        """Inline code."""
        return SPAN.findall(self.prose)


def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"), path.parent)


# -- commands


def typed(found: Page) -> Iterator[tuple[str, bool]]:
    """(`ranker …` as written, whether it stands there to be typed as it is)."""
    for language, block in found.blocks:
        if language in ("", "console", "bash", "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                yield from ((part, True) for part in _commands(line.removeprefix("$ ")))
    for span in found.spans:
        yield from ((part, False) for part in _commands(span))


def _commands(line: str) -> Iterator[str]:
    """The pipeline's parts that call `ranker`, without assignments before and redirections behind."""
    for part in re.split(r" \| |; ", line):
        found = re.match(r"(?:[A-Z_]+=\S+ )*(ranker(?: .*)?)$", part.strip())
        if found:
            yield re.sub(r"\s(?:#|[<>] ).*$", "", found[1]).strip()


def command_fault(command: str, whole: bool) -> str:
    """What the command line has against it; empty where nothing.

    A command in a sentence may lack its arguments. A word in capitals stands for a value.
    """
    try:
        words = [re.sub(r"[A-Z]+", "1", word) for word in shlex.split(command)[1:]]
        known = COMMAND_LINE
        own = {name for one in known.params for name in one.opts}
        while words and words[0] in own - {"--help"}:  # of `ranker` itself
            words.pop(0)
            whole = False
        while hasattr(known, "commands") and words:
            name = words.pop(0)
            if name in ("-h", "--help"):
                return ""
            if name not in known.commands:
                return f"{command}: there is no command {name!r}"
            known = known.commands[name]
        if hasattr(known, "commands"):
            return f"{command}: which of its commands?" if whole and command != "ranker" else ""
        made = known.make_context(known.name, words)
    except MissingParameter as error:
        return f"{command}: {error.format_message()}" if whole else ""
    except (ClickException, ValueError) as error:
        return f"{command}: {getattr(error, 'message', error)}"
    except typer.Exit:
        return ""
    given = made.params
    unknown = [name for name in [given.get("preset")] if name and name not in {*presets(), *OWN_PRESETS}]
    unknown += [
        name for name in (part.partition("=")[0] for part in given.get("sets") or ()) if not _known(name)
    ]
    return f"{command}: there is no parameter or preset {', '.join(unknown)}" if unknown else ""


def asked(found: Page) -> Iterator[str]:
    """What `ranker query` is asked on a page, and its blocks of SQL; of today's lake."""
    for language, block in found.blocks:
        if language == "sql":
            yield re.sub(r" at \(version => \d+\)", "", block)
    for command, _ in typed(found):
        name, *words = shlex.split(command)[1:] or [""]
        if name == "query" and words not in ([], ["SQL"]):
            yield COMMAND_LINE.commands["query"].make_context(name, words).params["sql"]


# -- parameters


def _known(name: str) -> bool:
    """Whether a dotted name is a field of the parameters, or a key of one that takes any."""
    model: object = RetrainParams
    for part in name.split("."):
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return True
        names = {field.alias or key: field for key, field in model.model_fields.items()}
        if part not in names:
            return False
        model = names[part].annotation
    return True


def parameter_faults(found: Page) -> Iterator[str]:
    sections = "|".join([*SECTIONS, *(name.strip("_") for name in RetrainParams.model_fields)])
    for span in found.spans:
        for name in re.findall(rf"(?<![\w./-])(?:{sections})(?:\.(?!json)[a-z_]+)+\b(?!/|\.\w)", span):
            first = name.partition(".")[0]
            full = f"{SECTIONS[first]}.{name}" if first in SECTIONS else name
            if not _known(full) and not (PROJECT / name).exists():
                yield f"there is no parameter {full}"


# -- files and modules


def file_faults(found: Page) -> Iterator[str]:
    for span in [*found.spans, *(block for _, block in found.blocks)]:
        for name in re.findall(rf"(?<![\w./*{{}}<>=-])(?:{'|'.join(ROOMS)})/[\w./*<>{{}},-]*", span):
            if not _matches(name):
                yield f"there is no file {name}"
    for name in re.findall(rf"(?<![\w./-])(?:{'|'.join(ROOMS)})/[\w./-]+\.\w+", found.prose):
        if not _matches(name):
            yield f"there is no file {name}"
    for span in found.spans:
        if re.fullmatch(r"[\w-]+\.(?:py|toml|sql|md|yaml)", span) and span not in WRITTEN:
            folders = (PROJECT, *(PROJECT / room for room in ROOMS))
            if not any(next(folder.rglob(span), None) for folder in folders[1:]) and not _matches(span):
                yield f"there is no file {span}"


def _matches(name: str) -> bool:
    """Whether a path exists; `<name>`, `NNNN` and `*` stand for anything, `{a,b}` for each."""
    head, brace, rest = name.partition("{")
    if brace:
        inner, _, tail = rest.partition("}")
        return all(_matches(f"{head}{one}{tail}") for one in inner.split(","))
    pattern = re.sub(r"<[^>]*>|NNNN", "*", name).rstrip("./,")
    return any(PROJECT.glob(pattern))


def _imports(block: str) -> str:
    """Python's lines that name modules: `ranker.rank` may be a variable's method elsewhere."""
    return "\n".join(line for line in block.splitlines() if re.match(r"\s*(from|import) ", line))


def module_faults(found: Page) -> Iterator[str]:
    shown = [_imports(block) if language == "python" else block for language, block in found.blocks]
    text = "\n".join([*found.spans, *shown])
    for name in re.findall(r"(?<![\w./@-])(?:ranker|flows|contracts|benchmarks)(?:\.[a-z_]+)+\b", text):
        if not _module(name):
            yield f"there is no module {name}"
    for name in re.findall(r"python -m ([\w.]+)", text):
        if not _module(name):
            yield f"there is no module {name}"


def _module(name: str) -> bool:
    """Whether a dotted name is a module of ours (or installed), looked for without importing it."""
    if name.partition(".")[0] not in ROOMS:
        return importlib.util.find_spec(name) is not None
    path = PROJECT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def target_faults(found: Page) -> Iterator[str]:
    """`make` targets that the Makefile does not have."""
    targets = re.findall(r"^([\w-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    lines = [*found.spans, *(line for _, block in found.blocks for line in block.splitlines())]
    for line in lines:
        for name in re.findall(r"^(?:\$ )?make ([a-z-]+)", line):
            if name not in targets:
                yield f"there is no target {name} of make"


# -- links


def anchors(text: str) -> set[str]:
    """Ids that GitHub gives a page's headings."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", FENCE.sub("", text))
    headings = re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def link_faults(found: Page) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", found.prose):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        path = found.folder / name
        if name and not path.exists():
            yield f"there is no page {link}"
        elif anchor and anchor not in anchors(path.read_text(encoding="utf-8") if name else found.text):
            yield f"there is no heading {link}"


def faults(found: Page) -> list[str]:
    """Everything that a page names and that does not exist."""
    commands = (command_fault(command, whole) for command, whole in typed(found))
    return [
        *(fault for fault in commands if fault),
        *parameter_faults(found),
        *file_faults(found),
        *module_faults(found),
        *target_faults(found),
        *link_faults(found),
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_a_page_names_exists(path: Path) -> None:
    assert faults(page(path)) == []


def test_every_question_of_a_page_can_be_asked(lake: Lake) -> None:
    """Of a lake without rows: tables and columns have to be there."""
    found = {sql: path.name for path in PAGES for sql in asked(page(path))}
    assert len(found) > 10
    for sql, name in found.items():
        try:
            lake.query(sql)
        except RankerError as error:
            pytest.fail(f"{name}: {sql}: {error}")


WRONG = {
    "```console\n$ ranker foresee --preset tiny\n```": "no command 'foresee'",
    "```console\n$ ranker retrain --presets tiny\n```": "--presets",
    "```console\n$ ranker retrain --preset huge\n```": "preset huge",
    "```console\n$ A=b ranker retrain --set train.grpo.bach=4 # few\n```": "train.grpo.bach",
    '```console\n$ echo "{}" | ranker ranks\n```': "no command 'ranks'",
    "```console\n$ ranker replay\n```": "Missing argument",
    "Ask `ranker lake diffs A B`.": "no command 'diffs'",
    "Set `train.sft.batches` or `grpo.mo`.": "train.sft.batches",
    "`ranker/sources/` has a reader each.": "ranker/sources/",
    "See docs/plans.md, or `start_here.py`.": "docs/plans.md",
    "The log says `ranker.stage`.": "ranker.stage",
    "```\nranker/{cli,sources}\n```": "ranker/{cli,sources}",
    "`python -m benchmarks.gone`": "benchmarks.gone",
    "`make tests`": "tests",
    "[a](gone.md)": "gone.md",
    "[a](lake.md#gone)": "lake.md#gone",
    "[a](#gone)": "#gone",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items())
def test_what_does_not_exist_is_found(text: str, said: str) -> None:
    found = faults(Page(text, PROJECT / "docs"))
    assert found and said in found[0]


RIGHT = """Ask `ranker lake diff`, `ranker query SQL`; `sql/contracts/<table>/<name>.sql`,
`ranker/{cli,lake}`,
[here](lake.md#the-past), `train.sft.max_steps`, `make bench`, `python -m benchmarks.ceiling FOLDER`.

## Here [again](#here-again)

```console
$ RANKER_HOME=x ranker retrain --set train.sft.max_steps=4 > log   # short
$ ranker rank --example rec-movie | ranker rank
```
"""


def test_what_exists_is_not_complained_of() -> None:
    assert faults(Page(RIGHT, PROJECT / "docs")) == []


def test_every_command_stands_in_readme() -> None:
    said = {command.split()[1] for command, _ in typed(page(PROJECT / "README.md")) if " " in command}
    assert set(COMMAND_LINE.commands) <= said


@pytest.mark.parametrize(("name", "most"), LIMITS.items())
def test_pages_to_be_read_whole_stay_short(name: str, most: int) -> None:
    assert len((PROJECT / "docs" / name).read_text(encoding="utf-8").split()) <= most
