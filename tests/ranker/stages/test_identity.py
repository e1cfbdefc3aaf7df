"""Identity: on a copy of the package, what changes a stage's key and what does not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ranker.refs import PROJECT
from ranker.resources import sql_folder
from ranker.stages import identity

ROOTS = {
    "ingest": ["ranker.stages.ingest"],
    "candidates": ["ranker.stages.candidates"],
    "distill": ["ranker.stages.distill"],
    "train": ["ranker.train.job", "ranker.train.worker.__main__"],
    "evaluate": ["ranker.stages.evaluate"],
    "register": ["ranker.stages.register"],
}
ALL = set(ROOTS)
PROGRAM = """
import json, sys
from ranker.stages import identity
roots = json.loads(sys.argv[1])
print(json.dumps({stage: identity.code(*names).digest for stage, names in roots.items()}))
"""


def digests(tree: Path) -> dict[str, str]:
    """By stage, of the package that lies in `tree`, in a process of its own and in another folder."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(ROOTS)],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def different(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {stage for stage in before if before[stage] != after[stage]}


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package and its SQL, as a checkout has them."""
    copy = tmp_path / "tree"
    shutil.copytree(PROJECT / "ranker", copy / "ranker", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(sql_folder(), copy / "sql")
    return copy


@pytest.fixture(scope="module")
def here() -> dict[str, str]:
    return digests(PROJECT)


def test_where_the_package_lies_is_no_part_of_it(tree: Path, here: dict[str, str]) -> None:
    assert digests(tree) == here
    (tree / "sql").rename(tree / "ranker" / "sql")  # as a wheel has it
    assert digests(tree) == here


def test_comments_docstrings_and_formatting_change_no_key(tree: Path, here: dict[str, str]) -> None:
    for file in (tree / "ranker").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        text = re.sub(r'^( *)"""[A-Z]', r'\1"""Said in another way: ', text, flags=re.MULTILINE)
        text = re.sub(r"^((?:def|class) )", r"# why\n\n\n\1", text, flags=re.MULTILINE)
        wrapped = text.replace(
            "from __future__ import annotations", "from __future__ import (\n  annotations,\n)"
        )
        assert wrapped != file.read_text(encoding="utf-8") or len(text.splitlines()) < 20
        file.write_text(wrapped, encoding="utf-8")
    for file in (tree / "sql").rglob("*.sql"):
        text = file.read_text(encoding="utf-8")
        file.write_text(f"/* why */\n-- it's so\n{text}\n\n   -- the end", encoding="utf-8")
    assert digests(tree) == here


@pytest.mark.parametrize(
    ("module", "old", "new", "stages"),
    [
        ("policy/rewards.py", "INVALID = -1.0", "INVALID = -1.5", {"distill", "train", "evaluate"}),
        ("retrieval/bm25.py", "    def ", "    SECOND = 2\n\n    def ", {"candidates", "distill"}),
        ("train/worker/phases.py", "RESERVE = 4_096", "RESERVE = 4_097", {"train"}),
        ("lake/lock_holders.py", "MOST_NAMED = 6", "MOST_NAMED = 7", ALL),
        ("cli/output.py", "MOST_ROWS = 200", "MOST_ROWS = 201", set()),
        ("serving/batcher.py", "LONGEST_PAUSE = 60", "LONGEST_PAUSE = 61", set()),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".py") else "",
)
def test_a_module_changes_exactly_the_stages_that_reach_it(
    tree: Path, here: dict[str, str], module: str, old: str, new: str, stages: set[str]
) -> None:
    """Evaluation reaches rewards, and every stage lock_holders, through others alone."""
    edit(tree / "ranker" / module, old, new)
    assert different(here, digests(tree)) == stages


def test_sql_changes_exactly_the_stages_that_name_it(tree: Path, here: dict[str, str]) -> None:
    edit(tree / "sql" / "evaluate" / "teacher.sql", "select", "select distinct")
    changed = digests(tree)
    assert different(here, changed) == {"train", "evaluate"}, "training reads the teacher's scores too"
    edit(tree / "sql" / "train" / "traces.sql", "\nfrom ", "\nfrom leaderboard, ")
    reads_a_view = digests(tree)
    assert different(changed, reads_a_view) == {"train"}
    edit(tree / "sql" / "views" / "leaderboard.sql", "select", "select distinct")
    assert different(reads_a_view, digests(tree)) == {"train"}, "a view counts where it is read"


@pytest.mark.parametrize(
    ("library", "stages"),
    [
        ("torch", {"distill", "train", "evaluate", "register"}),
        ("trl", {"train"}),
        ("pytrec-eval-terrier", {"train", "evaluate"}),
        ("polars", ALL),
        ("mlflow", set()),
    ],
)
def test_another_version_changes_exactly_the_stages_that_use_it(
    tree: Path, here: dict[str, str], library: str, stages: set[str]
) -> None:
    metadata = tree / f"{library.replace('-', '_')}-99.9.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {library}\nVersion: 99.9\n", encoding="utf-8")
    assert different(here, digests(tree)) == stages


def test_a_models_answers_are_kept_through_what_does_not_decide_them() -> None:
    rooms = ("ranker.engines", "ranker.policy", "ranker.types")
    answers = identity.code("ranker.engines", "ranker.policy.prompts", within=rooms)
    assert {"ranker/engines/transformers.py", "ranker/policy/prompts.py"} <= set(answers.modules)
    assert not any(
        file.startswith(("ranker/config", "ranker/lake", "ranker/stages")) for file in answers.modules
    )


def test_every_sql_file_is_named_whole() -> None:
    """A name put together of parts would be no part of any identity."""
    named = set().union(*(identity.code(module).sql for module in _modules()))
    apart = ("adhoc/", "contracts/", "migrations/", "views/")  # read as folders, or by another package
    shipped = {path.relative_to(sql_folder()).as_posix() for path in sql_folder().rglob("*.sql")}
    assert {f"sql/{name}" for name in shipped if not name.startswith(apart)} <= named


def _modules() -> list[str]:
    files = (PROJECT / "ranker").rglob("*.py")
    names = (file.relative_to(PROJECT).with_suffix("").as_posix().replace("/", ".") for file in files)
    return [name.removesuffix(".__init__") for name in names]
