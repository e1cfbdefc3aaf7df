"""A policy's calls become a ranking.

Strategies take many queries at once, so that engines can batch across them; base.py says how.
"""

from ranker.strategies.base import Strategy
from ranker.strategies.registry import all_strategies, strategy

__all__ = ["Strategy", "all_strategies", "strategy"]
