"""The lock files of the images: all that pyproject.toml pins, as it pins it, with hashes, from no index."""

from __future__ import annotations

import re
import tomllib

import pytest

from deploy.lock import CUDA, EXTRAS, HERE, OVERRIDES, VARIANTS, blocks, lock
from ranker.refs import PROJECT

WRITTEN = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def normal(name: str) -> str:
    """A package's name as indexes have it."""
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def asked(variant: str) -> dict[str, str]:
    """What pyproject.toml pins for it."""
    if variant == "build":
        lines = WRITTEN["build-system"]["requires"]
    else:
        optional = WRITTEN["project"]["optional-dependencies"]
        lines = [
            *WRITTEN["project"]["dependencies"],
            *(one for name in EXTRAS[variant] for one in optional[name]),
        ]
    pairs = (line.split("==") for line in [*lines, *OVERRIDES.get(variant, "").split()])
    return {normal(name): version for name, version in pairs}


def text(variant: str) -> str:
    return (HERE / "locks" / f"{variant}.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_lock_holds_every_pin_of_the_project(variant: str) -> None:
    """Where this fails after a change of pins: `make lock`."""
    held = {name: lines.split()[0].partition("==")[2] for name, lines in blocks(text(variant)).items()}
    wanted = {n: v for n, v in asked(variant).items() if variant != "cpu" or not CUDA.match(n)}
    assert {name: held.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_package_has_hashes_and_none_an_index(variant: str) -> None:
    found = blocks(text(variant))
    assert all(
        re.fullmatch(r"[\w.-]+==\S+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+", b) for b in found.values()
    )
    assert "://" not in text(variant)


def test_the_cpu_image_brings_no_cuda_and_leaves_torch_to_its_argument() -> None:
    assert not [name for name in blocks(text("cpu")) if CUDA.match(name)]
    assert {"torch", "vllm", "deepspeed", "triton"} <= set(blocks(text("gpu")))
    pinned = asked("cpu")["torch"]
    assert f"ARG TORCH=torch=={pinned}\n" in (PROJECT / "Dockerfile").read_text(encoding="utf-8")


def test_blocks_are_the_file() -> None:
    given = "a==1 \\\n    --hash=sha256:0\nb==2 \\\n    --hash=sha256:1\n"
    assert blocks(given) == {"a": "a==1 \\\n    --hash=sha256:0\n", "b": "b==2 \\\n    --hash=sha256:1\n"}


def test_what_builds_the_wheel_is_locked_anew_as_it_is() -> None:
    """uv really resolves it: pinned, it comes out with the same package."""
    pytest.importorskip("uv", reason="no uv (it is one of the extras `dev`)")
    assert {"hatchling"} <= set(blocks(lock("build")))
