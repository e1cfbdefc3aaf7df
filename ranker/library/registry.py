"""The registered version that a `Ranker` loads.

The registry in the data folder is asked by SQL: MLflow's import takes seconds, and three of its tables say
all that is needed. Any other (`tracking_uri`) is asked through MLflow.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ranker.config import RegisterParams
from ranker.errors import BadRegistry, StageMissing
from ranker.refs import Champion

DATABASE = "mlflow.db"


def registered(home: Path, params: RegisterParams, asked: str | int) -> Champion:
    """The version with the alias or of the number `asked`.

    Raises:
        StageMissing: there is none.
        BadRegistry: the registry's file is none of MLflow's.
        Unreachable, NoAccess, BadRegistry: as MLflow's registry answers, where it is not in the data folder.
    """
    found = _by_mlflow(home, params, str(asked)) if params.tracking_uri else _by_sql(home, params, str(asked))
    if found is None:
        raise StageMissing(
            "a Ranker is loaded from a registered version, by its alias or its number",
            seen=f"no {asked!r} of {params.name!r} in {params.tracking_uri or home / DATABASE}",
            remedy=(
                "run `ranker retrain` first, or name another data folder (home=, $RANKER_HOME); a model that"
                " is not registered: Ranker.from_pretrained(folder)"
            ),
        )
    return found


def _by_sql(home: Path, params: RegisterParams, asked: str) -> Champion | None:
    path = home / DATABASE
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as opened:
            return _read(opened, params.name, asked)
    except sqlite3.Error as error:
        raise BadRegistry(
            "the registry of model versions must be whole",
            seen=f"{path}: {error}",
            remedy="put back a copy of it, or name the model's folder: Ranker.from_pretrained(folder)",
        ) from error


def _read(opened: sqlite3.Connection, name: str, asked: str) -> Champion | None:
    version = asked
    if not asked.isdigit():
        alias = opened.execute(
            "select version from registered_model_aliases where name = ? and alias = ?", (name, asked)
        ).fetchone()
        if alias is None:
            return None
        (version,) = alias
    source = opened.execute(
        "select source from model_versions where name = ? and version = ?", (name, version)
    ).fetchone()
    if source is None:
        return None
    tags = opened.execute(
        "select key, value from model_version_tags where name = ? and version = ?", (name, version)
    )
    return Champion.tagged(version, dict(tags), source[0])


def _by_mlflow(home: Path, params: RegisterParams, asked: str) -> Champion | None:
    from ranker.stages import registry  # and with it MLflow: seconds

    return registry.addressed(home, params, f"models:/{params.name}{'/' if asked.isdigit() else '@'}{asked}")
