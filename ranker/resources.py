"""The files that travel with the package: SQL, presets, tasks, templates, configurations. All are only
read. And who may read the files that a run makes.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

NOWHERE = "/nonexistent"
"""As Debian has it for users without a home."""


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


def keep_private() -> None:
    """From here on this process and its children make files for their owner alone (0600, folders 0700):
    queries and documents of people lie in them.

    A process-wide setting, so for entry points only. What $RANKER_UMASK says (octal, e.g. 007 for a group)
    goes before.
    """
    given = os.environ.get("RANKER_UMASK", "")
    os.umask(int(given, 8) if given and not given.strip("01234567") else 0o077)


def settle_home() -> None:
    """Where this user has no home, one that does not exist: Prefect cannot be imported without any, and other
    libraries would make a folder `~` here.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = NOWHERE
