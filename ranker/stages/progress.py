"""How far work is that takes minutes, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable


def remaining(seconds: float) -> str:
    """Time that is left, as people are told it."""
    return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"


class Progress:
    """Says after each of `total` parts how many are done, and by the pace of those that were made how long
    the others will take. Parts that were there already count, and say nothing of the pace.
    """

    def __init__(self, what: str, total: int, log: Callable[[str], None]) -> None:
        self._what, self._total, self._log = what, total, log
        self._done, self._made, self._began = 0, 0, time.monotonic()

    def done(self, made: bool) -> None:
        """One part more; `made`: it was not there already."""
        self._done += 1
        self._made += made
        left = self._total - self._done
        if made and left:
            each = (time.monotonic() - self._began) / self._made
            self._log(f"{self._what}: {self._done} of {self._total}; {remaining(each * left)}")
