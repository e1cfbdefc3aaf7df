"""Write the lock files of the images anew: every package with its version and the hashes of its files.

`make lock` runs it, with uv. No line names an index, so that the files serve wherever packages come from.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
VARIANTS = ("build", "cpu", "gpu")
EXTRAS = {"cpu": ("server",), "gpu": ("server", "gpu")}
OVERRIDES = {"gpu": "numpy==2.3.5"}
"""vLLM 0.32 (by its mistral-common) wants numpy below 2.4, which is not pyproject.toml's."""
CUDA = re.compile(r"(torch|triton)$|nvidia-|cuda-")
"""torch and what PyPI's build of it brings: the CPU image takes torch from an index of the user's choice."""
COMPILE = (
    *("pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"),
    *("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"),  # Debian 12, as the images
)


def lock(variant: str) -> str:
    """The lock file of the images `cpu` and `gpu`, or of what builds the wheel, `build`.

    Raises:
        subprocess.CalledProcessError: nothing fits together, or no index answers.
    """
    if variant == "build":
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
        return _compiled("-", given="\n".join(project["build-system"]["requires"]))
    extras = (part for name in EXTRAS[variant] for part in ("--extra", name))
    override = ("--override", "-") if variant in OVERRIDES else ()
    found = blocks(_compiled("pyproject.toml", *extras, *override, given=OVERRIDES.get(variant, "")))
    return "".join(lines for name, lines in found.items() if variant == "gpu" or not CUDA.match(name))


def blocks(text: str) -> dict[str, str]:
    """Package → its lines in a lock file."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if not line.startswith(" "):
            name = line.partition("==")[0]
        found[name] = found.get(name, "") + line
    return found


def _compiled(*what: str, given: str) -> str:
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run(
        [str(uv), *COMPILE, *what], cwd=PROJECT, input=given, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    for variant in VARIANTS:
        (HERE / "locks" / f"{variant}.lock").write_text(lock(variant), encoding="utf-8")
