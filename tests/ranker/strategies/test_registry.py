"""Strategies by name and parameters."""

from __future__ import annotations

import pytest

from ranker.errors import BadConfig
from ranker.refs import PROJECT
from ranker.strategies import all_strategies, strategy
from tests.ranker.strategies.policies import ALL


def test_names_are_read_back_as_they_are_written_and_wrong_ones_are_named():
    for name in ALL:
        assert strategy(str(strategy(name))) == strategy(name)
    assert (
        str(strategy("iterative:drop=1")) == "iterative"
        and str(strategy("window:size=10,step=5")) == "window:size=10,step=5"
    )
    for wrong, says in (
        ("iterativ", "choose one of"),
        ("window:width=3", "size, step"),
        ("window:size=3,step=3", "overlap"),
        ("iterative:drop=2", "by=scores"),
        ("gate:margin=2", "margin"),
        ("survivors:drop=half", "by=scores"),
    ):
        with pytest.raises(BadConfig, match=says):
            strategy(wrong)
    assert len(all_strategies()) == 9


def test_the_document_names_every_strategy_and_parameter():
    shown = (PROJECT / "docs" / "strategies.md").read_text(encoding="utf-8")
    for title, way in all_strategies().items():
        (row,) = [line for line in shown.splitlines() if line.startswith(f"| `{title}` |")]
        for name, about in way.model_fields.items():
            assert f"`{name}`" in row, f"{title} has a parameter {name}"
            if f"`{name}` (" in row:
                assert f"`{name}` ({str(about.default).lower()})" in row
