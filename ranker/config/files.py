"""TOML files by name, presets and tasks: the shipped ones, and your own in the data folder."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from ranker.errors import BadConfig
from ranker.types import JsonObject


def data_home(given: str | Path = "") -> Path:
    """The data folder: as given, else $RANKER_HOME, else ./data (absolute)."""
    return Path(given or os.environ.get("RANKER_HOME", "") or "data").resolve()


LakeUri = Annotated[str, AfterValidator(lambda given: given or os.environ.get("RANKER_LAKE", ""))]
"""Of a lake; empty takes $RANKER_LAKE, as everything on a machine or in an image may mean one lake. A field
of it needs `validate_default`.
"""
TrackingUri = Annotated[str, AfterValidator(lambda given: given or os.environ.get("RANKER_TRACKING_URI", ""))]
"""The same of a registry, and of $RANKER_TRACKING_URI: MLflow's own variable may be another project's."""


def own_folder(kind: str) -> list[Path]:
    """The folder `kind` ("tasks", "presets") of the data folder ($RANKER_HOME or ./data), where
    `ranker init` writes; none where there is none.
    """
    folder = data_home() / kind
    return [folder] if folder.is_dir() else []


def by_name(folders: list[Path]) -> dict[str, Path]:
    """The TOML files of these folders by their names without the ending; of two with one name the later
    counts.
    """
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def read(files: dict[str, Path], name: str, kind: str, where: str) -> JsonObject:
    """One file's values.

    Raises:
        BadConfig: there is none of this name, or it is no TOML.
    """
    if name not in files:
        raise BadConfig(
            f"the {kind} must exist",
            seen=repr(name),
            remedy=f"choose one of {', '.join(sorted(files))}, or add {name}.toml to {where}",
        )
    try:
        return tomllib.loads(files[name].read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(
            f"the {kind} {name} must be a TOML file", seen=f"{files[name]}: {error}", remedy="mend the file"
        ) from error
