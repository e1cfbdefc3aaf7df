"""Exit code 0 where a process answers at $RANKER_HEALTH: the images' health check, without curl. With `--wait
SECONDS URL` it asks until then: a systemd unit is started when its server answers.

Alone: it runs every few seconds, and to import the project would take longer than the answer.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.request

SERVE = "http://127.0.0.1:8080/health"
SECONDS = 5


def healthy(url: str) -> bool:
    """Whether it answers with a status below 400; a proxy that is set is not asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=SECONDS):
            return True
    except OSError:  # urllib's errors are
        return False


def waited(seconds: float, url: str) -> bool:
    """Whether it has answered by then."""
    end = time.monotonic() + seconds
    while not (well := healthy(url)) and time.monotonic() < end:
        time.sleep(0.5)
    return well


def main(arguments: list[str]) -> int:
    """The exit code."""
    match arguments:
        case []:
            well = healthy(os.environ.get("RANKER_HEALTH", SERVE))
        case ["--wait", seconds, url]:
            well = waited(float(seconds), url)
        case _:
            sys.stderr.write("usage: healthcheck.py [--wait SECONDS URL]\n")
            return 2
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
