"""Strategies by name."""

from __future__ import annotations

from pydantic import ValidationError

from ranker.config import StrategyName
from ranker.errors import BadConfig
from ranker.strategies.base import Strategy


def all_strategies() -> dict[str, type[Strategy]]:
    """All strategies by name."""
    from ranker.strategies import (
        adaptive_thinking,
        consistency,
        direct,
        elimination,
        first_token,
        setwise,
        survivors,
        think_then_score,
        window,
    )

    kinds: list[type[Strategy]] = [
        elimination.Elimination,
        direct.Direct,
        window.Window,
        survivors.Survivors,
        first_token.FirstToken,
        think_then_score.ThinkThenScore,
        setwise.Setwise,
        consistency.Consistency,
        adaptive_thinking.AdaptiveThinking,
    ]
    return {kind.title: kind for kind in kinds}


def strategy(name: StrategyName) -> Strategy:
    """A strategy by its name, with parameters where it has any: `iterative` (IRanker), `direct` (DRanker),
    `window:size=10,step=5`.

    Raises:
        BadConfig: there is no such strategy, or not with such a parameter.
    """
    title, _, parameters = name.partition(":")
    known = all_strategies()
    if title not in known:
        raise BadConfig(
            "the strategy must exist",
            seen=repr(name),
            remedy=f"choose one of {', '.join(known)} (docs/strategies.md)",
        )
    pairs = [part.partition("=") for part in parameters.split(",")] if parameters else []
    try:
        return known[title].model_validate({key: value for key, _, value in pairs})
    except ValidationError as error:
        first = error.errors()[0]
        fields = ", ".join(known[title].model_fields) or "none"
        where = ".".join(str(part) for part in first["loc"]) or "its parameters"
        raise BadConfig(
            f"strategy {title}: {where}: {first['msg']}",
            seen=repr(name),
            remedy=f"its parameters are: {fields} (docs/strategies.md)",
        ) from error
