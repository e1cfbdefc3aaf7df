"""A policy's calls become a ranking.

Strategies take many queries at once, so that engines can batch across them; base.py says how.
"""

from ranker.strategies.base import Way
from ranker.strategies.registry import strategy, ways

__all__ = ["Way", "strategy", "ways"]
