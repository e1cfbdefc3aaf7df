"""The rules of the layout, kept by reading the source: imports go down, a library has its owner, every module
has its tests, who may print, what is shipped parses.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

from ranker.config import parse_params, preset, presets, task, task_names
from ranker.refs import PROJECT

MODULES = sorted(path for top in ("ranker", "flows", "contracts") for path in (PROJECT / top).rglob("*.py"))
MODEL_CODE = ("ranker/engines/", "ranker/train/worker/")
OWNERS = {
    "duckdb": ("ranker/lake/connection.py", "ranker/lake/failures.py", "ranker/lake/answers.py"),
    "mlflow": ("ranker/stages/registry.py", "ranker/stages/registry_runs.py", "ranker/stages/register.py"),
    "great_expectations": ("contracts/",),
    "torch": MODEL_CODE,
    "trl": MODEL_CODE,
    "vllm": MODEL_CODE,
    "transformers": MODEL_CODE,
    "peft": MODEL_CODE,
    "prefect": ("flows/",),
    "fastapi": ("ranker/serving/",),
    "uvicorn": ("ranker/serving/", "flows/temporary_server.py"),
    "prometheus_client": ("ranker/serving/", "ranker/reports/gauges.py"),
    "langchain_core": ("ranker/adapters/langchain.py",),
    "llama_index": ("ranker/adapters/llama_index.py",),
    "haystack": ("ranker/adapters/haystack.py",),
    "rerankers": ("ranker/adapters/rerankers.py",),
}
"""Package → the only places that import it."""
PRINTERS = ("ranker/cli/", "ranker/train/worker/")
"""The worker is a process of its own: its output is the trainer's log."""


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file; `from a import b` gives a and a.b."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            assert node.level == 0, f"{name(path)}: relative import"


def name(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def dotted(path: Path) -> str:
    return name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_library_is_imported_by_its_owner_alone(path: Path) -> None:
    found = set(imports(path))
    for package, owners in OWNERS.items():
        if any(module.split(".")[0] == package for module in found):
            assert name(path).startswith(owners), (
                f"{name(path)} imports {package}; only {', '.join(owners)} may"
            )


def test_imports_go_down_the_floors_of_the_house(capsys: pytest.CaptureFixture[str]) -> None:
    """The contracts of pyproject.toml, indirect imports too."""
    code = lint_imports(config_filename=str(PROJECT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    prints = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not prints or name(path).startswith(PRINTERS), f"{name(path)} prints in lines {prints}"


TESTED_ELSEWHERE = {
    "flows/stages.py": "each task is run for real in tests/flows/test_retrain.py",
    "flows/temporary_server.py": "the process itself: tests/flows/test_server.py has runs that start it",
    "ranker/cli/operations.py": "on a real server in tests/flows/test_bootstrap.py and test_watch.py",
    "ranker/cli/ui.py": "the page itself in a browser: tests/flows/test_ui.py",
    "ranker/ui/main.py": "likewise",
    "ranker/ui/pages.py": "on a real run's lake in tests/flows/test_ui.py",
    "ranker/engines/gguf.py": "wants a file of hundreds of megabytes",
    "ranker/train/worker/__main__.py": "the process itself: tests/ranker/train/test_job.py launches it",
}
"""Module → why no test file bears its name."""


def twin(path: Path) -> Path:
    """Where the tests of a module stand: ranker/a/b.py has tests/ranker/a/test_b.py."""
    return PROJECT / "tests" / path.relative_to(PROJECT).with_name(f"test_{path.stem.lstrip('_')}.py")


def test_every_module_has_its_tests_in_a_file_of_its_name() -> None:
    modules = [path for path in MODULES if path.name != "__init__.py" and name(path) not in TESTED_ELSEWHERE]
    assert [name(path) for path in modules if not twin(path).is_file()] == []


def test_what_is_tested_elsewhere_is_there_and_has_no_file_of_its_name() -> None:
    known = {name(path): path for path in MODULES}
    assert set(TESTED_ELSEWHERE) <= set(known)
    assert not [place for place in TESTED_ELSEWHERE if twin(known[place]).is_file()]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_error_is_swallowed(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ExceptHandler) and (
            node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException")
        ):
            again = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            assert again, f"{name(path)}:{node.lineno} catches everything and does not raise"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    tree = parsed(path)
    assert not tree.body or ast.get_docstring(tree), f"{dotted(path)} has no docstring"


@pytest.mark.parametrize("given", presets())
def test_every_preset_parses(given: str) -> None:
    params = parse_params({"preset": given})
    assert params.preset == given
    unknown = set(preset(given)) - set(type(params).model_fields) - {"register"}
    assert not unknown


@pytest.mark.parametrize("given", task_names())
def test_every_task_parses_and_has_its_reader(given: str) -> None:
    found = task(given)
    assert found.name == given, "a task's file bears its name"
    assert (PROJECT / "ranker" / "datasets" / f"{found.reader}.py").exists()
