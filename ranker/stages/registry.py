"""The registry of model versions, in MLflow: which there are, which one is champion, and its alias moved by
hand.

A version points at the model's folder and copies nothing. Every new version becomes `challenger`; `champion`
moves by `promotion.decide` or by `promote`, and back by `rollback`. A version remembers the champion that it
replaced, so rolling back needs no history of aliases. MLflow is imported late: it takes seconds.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast
from urllib.parse import quote

from filelock import FileLock

from ranker.config import RegisterParams
from ranker.errors import (
    BadConfig,
    BadModel,
    BadRegistry,
    NoAccess,
    RankerError,
    StageMissing,
    Unreachable,
    by_disk,
)
from ranker.lake import Lake
from ranker.refs import Champion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

T = TypeVar("T")
P = ParamSpec("P")
Where = TypeVar("Where", Path, Lake)

_ADDRESS = re.compile(r"models:/(?P<name>[^@/'\"]+)(@(?P<alias>[\w.-]+)|/(?P<version>\d+))")
_PASSING = re.compile(
    r"(?i)database is locked|timed? ?out|connection|max retries|status code 5\d\d|HTTP 5\d\d"
)
"""What a registry says that may answer later."""
LONGEST_REASON = 500
HTTP_TRIES = 3
"""A registry behind HTTP is asked again so often: MLflow's own seven take four minutes."""
MOST_NAMES = 1_000
"""Registered names that are looked through; MLflow gives no more at once."""


def explained(
    work: Callable[Concatenate[Where, RegisterParams, P], T],
) -> Callable[Concatenate[Where, RegisterParams, P], T]:
    """`work`, whose errors of MLflow and its database are named."""

    @wraps(work)
    def call(where: Where, params: RegisterParams, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(where, params, *args, **kwargs)
        except RankerError:
            raise
        except Exception as error:
            from mlflow.exceptions import MlflowException
            from sqlalchemy.exc import SQLAlchemyError

            if not isinstance(error, MlflowException | SQLAlchemyError):
                raise
            home = where.home if isinstance(where, Lake) else where
            raise _fault(error, params.tracking_uri or str(home / "mlflow.db")) from error

    return call


def _fault(error: Exception, where: str) -> RankerError:
    """What is wrong with the registry, by the only thing that its libraries agree in: the text."""
    text = str(error)
    seen = f"{where}: {(text.splitlines() or [type(error).__name__])[0][:LONGEST_REASON]}"
    if "unable to open database file" in text:
        return NoAccess(
            "the registry's file, and the folder that it lies in, must be open to this user",
            seen=seen,
            remedy="change their permissions, or take another data folder with --home or $RANKER_HOME",
        )
    if known := by_disk(error):
        return known
    if _PASSING.search(text):
        return Unreachable(
            "the registry of model versions must answer",
            seen=seen,
            remedy="see that its server runs and nothing holds its database, then try again",
        )
    return BadRegistry(
        "the registry of model versions must be whole",
        seen=seen,
        remedy=(
            "put back a copy of it. Without one move it away and `ranker retrain --force register`: that"
            " registers the newest model anew; `model_versions` in the lake still says which there were"
        ),
    )


@explained
def champion(home: Path, params: RegisterParams, besides: str = "") -> Champion | None:
    """The present champion, or None.

    Args:
        besides: a train key. Where that very policy is the champion, the one that it replaced: what it
            was and will again be compared with, so that a repeated run finds its evaluation done.
    """
    if _unmade(home, params):
        return None
    client = client_of(home, params)
    version = aliased(client, params.name, "champion")
    seen: set[str] = set()  # versions that a person promoted may have replaced each other
    while version is not None and version.tags.get("train_key") == besides:
        seen.add(str(version.version))
        version = replaced(client, version)
        if version is not None and str(version.version) in seen:
            return None
    return as_champion(version) if version is not None else None


def present_champion(home: Path, params: RegisterParams, purpose: str) -> Champion:
    """The present champion, for `purpose`.

    Raises:
        StageMissing: there is none.
    """
    found = champion(home, params)
    if found is None:
        raise StageMissing(
            f"{purpose} needs a champion",
            seen=f"no version of {params.name!r} is champion",
            remedy="run `ranker retrain` first; where the rule has refused all, `ranker promote VERSION"
            " --anyway`",
        )
    return found


def warm_start(home: Path, params: RegisterParams, key: Callable[[Champion | None], str]) -> Champion | None:
    """The champion that a training goes on from; None where there is none yet.

    Args:
        key: of the training, as it would be from a champion. Where the present champion is the outcome of
            this very training, the one that it replaced is meant: a repeated run finds its work done.
    """
    present = champion(home, params)
    if present is None:
        return None
    former = champion(home, params, besides=present.train_key)
    return former if key(former) == present.train_key else present


def require_champion(home: Path, params: RegisterParams) -> None:
    """Refuse a champion whose folder is gone before hours are spent on a model that is compared with it.

    Raises:
        BadModel: there is no config.json in it.
    """
    found = champion(home, params)
    if found is not None and not (home / found.model / "config.json").is_file():
        raise BadModel(
            "the champion's folder must be there: new models are compared with it",
            seen=f"{params.name} version {found.version}: {home / found.model} holds no config.json",
            remedy="put the folder back, or `ranker rollback` makes the version before it champion",
        )


@explained
def pinned(home: Path, params: RegisterParams, newest: int) -> dict[str, str]:
    """Train key → why its model has to stay: of every registered name the champion, the champions that it
    can be rolled back to, the challenger, and the `newest` versions.
    """
    if _unmade(home, params):
        return {}
    client, found = client_of(home, params), dict[str, str]()
    for model in client.search_registered_models(max_results=MOST_NAMES):
        name = cast("str", model.name)  # pyright: ignore[reportUnknownMemberType]  # untyped by mlflow
        for version, why in _kept(client, name, newest):
            if key := version.tags.get("train_key"):
                found.setdefault(key, f"{name} version {version.version}: {why}")
    return found


def _kept(client: MlflowClient, name: str, newest: int) -> Iterator[tuple[ModelVersion, str]]:
    version, why, seen = aliased(client, name, "champion"), "champion", set[str]()
    while version is not None and str(version.version) not in seen:
        seen.add(str(version.version))
        yield version, why
        version, why = replaced(client, version), "the champion before"
    version = aliased(client, name, "challenger")
    if version is not None:
        yield version, "challenger"
    listed = client.search_model_versions(f"name = '{name}'", newest, order_by=["version_number DESC"])
    for version in listed[:newest]:
        yield version, f"among the {newest} newest"


@explained
def latest(home: Path, params: RegisterParams) -> Champion | None:
    """The champion, else the challenger, else None: what `ranker rank` serves by default."""
    found = champion(home, params)
    if found is not None or _unmade(home, params):
        return found
    version = aliased(client_of(home, params), params.name, "challenger")
    return as_champion(version) if version is not None else None


@explained
def addressed(home: Path, params: RegisterParams, address: str) -> Champion | None:
    """The version that `models:/NAME@ALIAS` or `models:/NAME/VERSION` means now; None where there is none
    yet.

    `model` is absolute for a version that another tool has registered (its source).

    Raises:
        BadConfig: it is no such address.
    """
    asked = parsed(address)
    if _unmade(home, params):
        return None
    client = client_of(home, params)
    if asked["version"]:
        found = client.search_model_versions(
            f"name = '{asked['name']}' and version_number = {asked['version']}"
        )
        version = found[0] if found else None
    else:
        version = aliased(client, asked["name"], asked["alias"])
    if version is None:
        return None
    return as_champion(version)


def parsed(address: str) -> re.Match[str]:
    """The address of a registered model in its parts: name, and alias or version.

    Raises:
        BadConfig: it is no such address.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise BadConfig(
            "a registered model is models:/NAME@ALIAS or models:/NAME/VERSION",
            seen=repr(address),
            remedy="for example models:/r1-ranker@champion",
        )
    return found


@explained
def rollback(home: Path, params: RegisterParams) -> tuple[Champion, Champion]:
    """Give the alias `champion` back to the version that the present one replaced.

    Returns:
        (the version that was champion, the version that is champion now).

    Raises:
        StageMissing: there is no champion, or it is the first one.
    """
    present = present_champion(home, params, "rolling back")
    client, former = client_of(home, params), before(home, params, present)
    if former is None:
        raise StageMissing(
            "rolling back needs a champion before the present one",
            seen=f"version {present.version} is the first champion",
            remedy="retrain; or delete the alias in MLflow to have no champion",
        )
    client.set_registered_model_alias(params.name, "champion", former.version)
    client.set_model_version_tag(
        params.name, present.version, "rolled_back_at", datetime.now(UTC).isoformat(timespec="seconds")
    )
    return present, former


@explained
def before(home: Path, params: RegisterParams, present: Champion) -> Champion | None:
    """The champion that the version `present` replaced; None where it was the first."""
    client = client_of(home, params)
    former = replaced(client, client.get_model_version(params.name, present.version))
    return None if former is None else as_champion(former)


@explained
def promote(
    home: Path, params: RegisterParams, version: str, *, anyway: bool, smoke: Callable[[Champion], object]
) -> tuple[Champion | None, Champion]:
    """Make a version champion by hand: one that the rule has promoted over the present champion, or any
    `anyway`.

    Args:
        smoke: ranks something with the version as it will serve, and raises where it cannot.

    Returns:
        (the version that was champion, the version that is champion now).

    Raises:
        StageMissing: there is no such version.
        BadConfig: the rule did not promote it over the present champion.
        Whatever `smoke` raises.
    """
    chosen = addressed(home, params, f"models:/{params.name}/{version}")
    if chosen is None:
        raise StageMissing(
            "only a registered version can be promoted",
            seen=f"no version {version} of {params.name!r}",
            remedy='see `ranker query "select version, verdict from model_versions"`',
        )
    client = client_of(home, params)
    present = champion(home, params)
    tags = client.get_model_version(params.name, version).tags
    if not anyway and tags.get("replaces") != (present.version if present else ""):
        raise BadConfig(
            "the promotion rule must have promoted the version over the present champion"
            f" ({present.version if present else 'none'})",
            seen=tags.get("verdict", "no verdict"),
            remedy="evaluate it beside the champion (`ranker retrain`), or insist: --anyway",
        )
    smoke(chosen)
    if champion(home, params) != present:
        raise BadConfig(
            "the champion must stay the same while another is promoted",
            seen="it changed",
            remedy="look at the new one, and promote again where it is still to go",
        )
    if present is not None and present.version == chosen.version:
        return present, chosen
    now = datetime.now(UTC).isoformat(timespec="seconds")
    client.set_model_version_tag(params.name, version, "replaces", present.version if present else "")
    client.set_model_version_tag(params.name, version, "promoted_by_hand_at", now)
    client.set_registered_model_alias(params.name, "champion", version)
    return present, chosen


def as_champion(version: ModelVersion) -> Champion:
    """What a version says of its model, by its tags."""
    return Champion.tagged(version.version, version.tags, version.source)


def aliased(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version of a registered name that an alias means now; None where there is none."""
    models = client.search_registered_models(f"name = '{name}'")
    aliases = cast("dict[str, str]", getattr(models[0], "aliases", {})) if models else {}  # untyped by mlflow
    version = aliases.get(alias)
    return client.get_model_version(name, str(version)) if version else None


def replaced(client: MlflowClient, version: ModelVersion) -> ModelVersion | None:
    """The version that was champion before `version`."""
    before = version.tags.get("replaces", "")
    return client.get_model_version(version.name, before) if before else None


def _unmade(home: Path, params: RegisterParams) -> bool:
    """Whether nothing was ever registered: the data folder has no registry, and no other one is named."""
    return not params.tracking_uri and not (home / "mlflow.db").exists()


def client_of(home: Path, params: RegisterParams) -> MlflowClient:
    """MLflow's client of the server that is named, or of an SQLite file in the data folder, which is made.

    Raises:
        NoAccess, BadRegistry: that file cannot be opened.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(HTTP_TRIES))
    home.mkdir(parents=True, exist_ok=True)
    if not params.tracking_uri:
        _require_database(home / "mlflow.db")
    from mlflow import MlflowClient

    for chatty in ("alembic", "mlflow"):  # after the import, which sets their levels
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if not params.tracking_uri:
        _make_database(home / "mlflow.db")
    uri = params.tracking_uri or _address(home / "mlflow.db")
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _make_database(path: Path) -> None:
    """Whole or not at all, by one process: MLflow completes no database whose making a kill or a full disk
    has ended, and two that make one disturb each other.
    """
    if _made(path):
        return
    from mlflow import MlflowClient

    with FileLock(f"{path}.lock", fallback_to_soft=False):
        if _made(path):
            return
        for left in path.parent.glob(f"{path.name}.*.part"):
            left.unlink()
        part = path.with_name(f"{path.name}.{time.time_ns()}.part")  # MLflow keeps connections, by the name
        uri = _address(part)
        MlflowClient(tracking_uri=uri, registry_uri=uri).search_registered_models(max_results=1)
        part.replace(path)


def _made(database: Path) -> bool:
    return database.is_file() and database.stat().st_size > 0


def _require_database(path: Path) -> None:
    """MLflow would ask an SQLite file that cannot be opened again for two minutes."""
    try:
        with closing(sqlite3.connect(path)) as opened:
            opened.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise _fault(error, str(path)) from error


def _address(database: Path) -> str:
    """Of an SQLite file, as SQLAlchemy takes it: what stands there is the path as it is, but a ? ends it, so
    that such a path goes by SQLite's own form of an address. Slashes are written as others are there: MLflow
    makes the folders of what looks like a path.
    """
    if "?" not in str(database):
        return f"sqlite:///{database}"
    return f"sqlite:///file:{quote(str(database), safe='')}?uri=true"
