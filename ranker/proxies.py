"""Addresses of this machine are reached without the proxy that a network has for all others."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
EXCEPTIONS = ("no_proxy", "NO_PROXY")
"""Clients read the one or the other; where both are there they should say the same."""


def in_use(environ: MutableMapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that name a proxy, in whatever case."""
    return {name: value for name, value in environ.items() if name.lower() in VARIABLES and value}


def bypass_for_loopback(environ: MutableMapping[str, str] = os.environ) -> None:
    """Where a proxy is named, add this machine's addresses to its exceptions: for every HTTP client of this
    process, and of those that it starts (a temporary Prefect server, a trainer). Without them a client waits
    minutes for a proxy that cannot know who is meant by 127.0.0.1.
    """
    if not in_use(environ):
        return
    listed = next((environ[name] for name in EXCEPTIONS if environ.get(name)), "")
    hosts = [host.strip() for host in listed.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK if host not in hosts]
    for name in EXCEPTIONS:
        environ[name] = ",".join(hosts)
