"""The files that travel with the package: SQL, presets, tasks, templates, configurations. All are only
read.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def shipped(*parts: str) -> Path:
    """A file or folder inside the package `ranker`, e.g. `shipped("presets")`; it need not exist.

    A path and no more than that: accelerate and Jinja want paths, and installers unpack wheels.
    """
    return Path(str(files("ranker").joinpath(*parts)))


def sql_folder() -> Path:
    """The folder of all SQL files: `ranker/sql` where a wheel was installed, `sql/` in a checkout.

    A wheel that put a folder `sql` beside its packages would clash with other projects' folders of that name.
    """
    inside = shipped("sql")
    return inside if inside.is_dir() else shipped().parent / "sql"
