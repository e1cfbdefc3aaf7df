"""Import transformers and TRL without what they import only because it is installed."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast

UNUSED = ("sklearn", "scipy")
"""Found by transformers at its import: scikit-learn for assisted generation, scipy for the losses of object
detection. Together more than a second of processor.
"""


@contextmanager
def lean_imports() -> Iterator[None]:
    """What is imported meanwhile does not find `UNUSED`, unless loaded already; afterwards everybody does.

    And installed distributions are listed once: transformers and TRL each read the metadata of all of them, a
    second where 300 are installed.
    """
    absent = [package for package in UNUSED if package not in sys.modules]
    listing = importlib.metadata.packages_distributions
    loaded = cast("dict[str, ModuleType | None]", sys.modules)
    loaded.update(dict.fromkeys(absent))  # None: neither found nor imported
    importlib.metadata.packages_distributions = functools.cache(listing)
    try:
        yield
    finally:
        importlib.metadata.packages_distributions = listing
        for package in absent:
            if loaded.get(package, package) is None:
                del loaded[package]
