"""Whether the Prefect server that this machine is set to use is there: asked before a flow is."""

from __future__ import annotations

import urllib.request
from ssl import SSLError
from urllib.error import HTTPError, URLError

from prefect.settings import PREFECT_API_URL

from ranker.errors import Unreachable

PATIENCE = 10.0
"""Seconds."""


def require_server() -> None:
    """Return where no server is set (a run then starts a temporary one) or it answers.

    Raises:
        Unreachable: nobody answers, or with a fault of its own.
    """
    url = PREFECT_API_URL.value()
    if not url:
        return
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=PATIENCE):
            return
    except HTTPError as error:  # it is there; whether it lets us in is between Prefect and it
        if error.code < 500:
            return
        seen = f"status {error.code}"
    except (URLError, OSError, ValueError) as error:
        if isinstance(getattr(error, "reason", None), SSLError):  # Prefect may know other certificates
            return
        seen = str(getattr(error, "reason", error))
    raise Unreachable(
        "the Prefect server that is set must answer",
        seen=f"{url}: {seen}",
        remedy=(
            "start it (`prefect server start`), or unset PREFECT_API_URL (`prefect config unset"
            " PREFECT_API_URL` where a profile sets it): a run then starts a temporary server of its own"
        ),
    )
