"""Presets: a TOML file each (`ranker/presets/*.toml`, or `presets/` in the data folder) that fills the
sections; what a caller gives is laid over it.
"""

from __future__ import annotations

from pydantic import BaseModel

from ranker.config.files import by_name, own_folder, read
from ranker.errors import BadConfig
from ranker.resources import shipped
from ranker.types import JsonObject

DEFAULT_PRESET = "smollm2"


BASE = "preset"
"""In a preset's file: the preset that it is laid over."""


def all_presets() -> list[str]:
    """Names of all presets: the shipped ones, and the user's own in the data folder."""
    return sorted(by_name([shipped("presets"), *own_folder("presets")]))


def presets() -> list[str]:
    """Names of the shipped presets."""
    return sorted(by_name([shipped("presets")]))


def preset(name: str) -> JsonObject:
    """One preset's values, as nested plain dictionaries, laid over those of the preset that it names.

    Raises:
        BadConfig: there is none of this name, it is no TOML, or a preset of one's own names none that is
            shipped.
    """
    found = read(by_name([shipped("presets"), *own_folder("presets")]), name, "preset", "ranker/presets")
    base = found.pop(BASE, None)
    if base is None:
        return found
    if base not in presets():
        raise BadConfig(
            f"the preset {name} is laid over a shipped one",
            seen=f"{BASE} = {base!r}",
            remedy=f"choose one of {', '.join(presets())}",
        )
    return merged(preset(base), found) if base != name else found


def merged(base: JsonObject, over: JsonObject) -> JsonObject:
    """`over` laid upon `base`, section by section; pydantic sections count as what was set in them."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_unset=True, by_alias=True)
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result
