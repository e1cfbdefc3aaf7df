"""The rules of the layout, kept by reading the source: who may import what, who may print, what is shipped
parses.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ranker.config import parse_params, preset, presets, task, task_names
from ranker.refs import PROJECT

STAGES = {
    "ranker.stages.ingest",
    "ranker.stages.candidates",
    "ranker.stages.distill",
    "ranker.train.job",
    "ranker.stages.evaluate",
    "ranker.stages.register",
}
MODULES = sorted(path for top in ("ranker", "flows", "contracts") for path in (PROJECT / top).rglob("*.py"))
MODEL_CODE = ("ranker/engines/", "ranker/train/worker/")
OWNERS = {
    "duckdb": ("ranker/lake/connection.py",),
    "mlflow": ("ranker/stages/register.py",),
    "great_expectations": ("contracts/",),
    "torch": MODEL_CODE,
    "trl": MODEL_CODE,
    "vllm": MODEL_CODE,
    "transformers": MODEL_CODE,
    "peft": MODEL_CODE,
    "prefect": ("flows/",),
    "fastapi": ("ranker/serving/",),
    "uvicorn": ("ranker/serving/",),
    "prometheus_client": ("ranker/serving/",),
}
"""Package → the only places that import it."""
PURE = (
    "ranker.policy",
    "ranker.metrics",
    "ranker.types",
    "ranker.refs",
    "ranker.errors",
    "ranker.config",
    "ranker.resources",
    "ranker.retrieval",
)
PRINTERS = ("ranker/cli/", "ranker/train/worker/")
"""The worker is a process of its own: its output is the trainer's log."""


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file; `from a import b` gives a and a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    found = set(imports(path))
    for package, owners in OWNERS.items():
        if any(module.split(".")[0] == package for module in found):
            assert name(path).startswith(owners), (
                f"{name(path)} imports {package}; only {', '.join(owners)} may"
            )
    tops = {module.split(".")[0] for module in found}
    if name(path).startswith("ranker/") and name(path) not in (
        "ranker/cli/main.py",
        "ranker/cli/studies.py",
    ):  # the command line starts the flows
        assert not tops & {"flows", "contracts"}, f"{name(path)} imports upwards"
    if name(path).startswith("contracts/"):
        assert "flows" not in tops


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_stages_never_import_each_other(stage: str) -> None:
    path = PROJECT / (stage.replace(".", "/") + ".py")
    assert not (STAGES - {stage}) & set(imports(path))


@pytest.mark.parametrize("path", [path for path in MODULES if dotted(path).startswith(PURE)], ids=name)
def test_the_contract_with_the_model_stays_pure(path: Path) -> None:
    inner = {found for found in imports(path) if found.startswith("ranker.")}
    assert all(found.startswith(PURE) for found in inner), f"{name(path)} imports {sorted(inner)}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]
    prints = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not prints or name(path).startswith(PRINTERS), f"{name(path)} prints in lines {prints}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_error_is_swallowed(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler) and (
            node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException")
        ):
            again = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            assert again, f"{name(path)}:{node.lineno} catches everything and does not raise"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not source.strip() or ast.get_docstring(ast.parse(source)), f"{dotted(path)} has no docstring"


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
