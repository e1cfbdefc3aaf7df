"""What is said where an adapter's library is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ranker.errors import RankerError


class NotInstalled(RankerError, ImportError):
    """An adapter's library is not there. An ImportError too: who looks for optional parts catches that."""


@contextmanager
def needed(package: str, extra: str) -> Iterator[None]:
    """Around the import of `package`, which the optional dependencies `extra` bring.

    Raises:
        NotInstalled: it is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise NotInstalled(
            f"this adapter needs {package}",
            seen="it is not installed",
            remedy=f"pip install 'r1-ranker[{extra}]'",
        ) from error
