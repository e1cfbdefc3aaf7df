"""An adapter without its library says what to install."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import pytest

from ranker.adapters.extras import NotInstalled, needed

ADAPTERS = {
    "langchain": "langchain_core",
    "llama_index": "llama_index",
    "haystack": "haystack",
    "rerankers": "rerankers",
}


@pytest.fixture
def adapters_anew() -> Iterator[None]:
    """Whatever other tests have imported, and will again."""
    kept = {name: sys.modules.pop(f"ranker.adapters.{name}", None) for name in ADAPTERS}
    yield
    for name, module in kept.items():
        sys.modules.pop(f"ranker.adapters.{name}", None)
        if module is not None:
            sys.modules[f"ranker.adapters.{name}"] = module


@pytest.mark.parametrize(("adapter", "package"), ADAPTERS.items())
@pytest.mark.usefixtures("adapters_anew")
def test_a_missing_library_is_named_with_the_remedy(
    adapter: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotInstalled, match=rf"r1-ranker\[{adapter.replace('_', '-')}\]") as refused:
        importlib.import_module(f"ranker.adapters.{adapter}")
    assert isinstance(refused.value, ImportError)


def test_what_else_is_missing_is_not_blamed_on_it() -> None:
    with pytest.raises(ModuleNotFoundError) as raised, needed("langchain_core", "langchain"):
        importlib.import_module("nothing_of_this_name")
    assert not isinstance(raised.value, NotInstalled)
