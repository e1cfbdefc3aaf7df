"""Presets: a TOML file each (`ranker/presets/*.toml`) that fills the sections; what a caller gives is laid
over it.
"""

from __future__ import annotations

from pydantic import BaseModel

from ranker.config.files import by_name, read
from ranker.resources import shipped
from ranker.types import JsonObject

DEFAULT_PRESET = "smollm2"


def presets() -> list[str]:
    """Names of the shipped presets."""
    return sorted(by_name([shipped("presets")]))


def preset(name: str) -> JsonObject:
    """One preset's values, as nested plain dictionaries."""
    return read(by_name([shipped("presets")]), name, "preset", "ranker/presets")


def merged(base: JsonObject, over: JsonObject) -> JsonObject:
    """`over` laid upon `base`, section by section; pydantic sections count as what was set in them."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_unset=True, by_alias=True)
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result
