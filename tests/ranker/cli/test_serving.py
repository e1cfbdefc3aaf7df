"""`ranker serve`: what cannot serve is told at once, and every option reaches the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.engines import Sampling
from ranker.serving.explore import Exploration
from ranker.serving.settings import DEFAULTS, Bounds, How, Settings
from ranker.strategies import strategy
from tests.ranker.cli.commands import ranker


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "nowhere"), "config.json"),
        (("--model", "models:/"), "models:/"),
        (("--strategy", "nonsense"), "iterative"),
        (("--host", "0.0.0.0"), "token"),
        (("--task", "nonsense"), "nonsense"),
        (("--shadow", "models:/"), "models:/"),
        (("--explore", "0.1"), "--log"),
        (("--interleave", "challenger"), "--log"),
        (("--interleave", "challenger", "--explore", "0.1", "--log"), "--explore"),
        (("--interleave", "challenger", "--shadow", "challenger"), "--shadow and --interleave"),
    ],
)
def test_what_cannot_serve_is_told_at_once(home: Path, options: tuple[str, ...], says: str) -> None:
    shown = ranker("serve", *options)
    assert shown.exit_code == 2 and says in shown.stderr


GIVEN = {
    "--task": "synthetic",
    "--host": "localhost",
    "--port": 1,
    "--max-queue": 2,
    "--max-batch": 3,
    "--max-batch-tokens": 4,
    "--max-queue-tokens": 5,
    "--timeout": 6.0,
    "--head-timeout": 7.0,
    "--allow-origin": "https://example.org",
    "--poll": 8.0,
    "--keep-documents": 9,
    "--shadow": "openai:http://127.0.0.1:1/v1#m",
    "--shadow-queue": 10,
    "--log-every": 11.0,
    "--log-texts": "hash",
    "--explore": 0.25,
    "--explore-depth": 7,
    "--strategy": "direct",
    "--max-tokens": 12,
    "--max-documents": 13,
    "--max-characters": 14,
    "--max-bytes": 15,
    "--token-env": "OTHER",
}


def test_every_option_reaches_its_setting_and_without_options_all_are_as_they_are(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Settings] = []
    monkeypatch.setattr("ranker.serving.server.serve", lambda settings, _: started.append(settings))
    monkeypatch.delenv("RANKER_TOKEN", raising=False)
    monkeypatch.setenv("OTHER", "t0ken")
    flags = ("--log", "--access-log", "--constrained", "--no-think")
    given = [str(part) for pair in GIVEN.items() for part in pair]
    for options in ((), (*flags, *given)):
        assert ranker("serve", *options, "--home", str(home)).exit_code == 0
    how = How(strategy("direct"), False, Sampling(12, constrained=True))
    assert started == [
        Settings(shadow_how=DEFAULTS.how),
        Settings(
            how=how,
            task="synthetic",
            host="localhost",
            port=1,
            token="t0ken",
            most_waiting=2,
            most_at_once=3,
            most_tokens=4,
            most_tokens_waiting=5,
            timeout=6,
            head_timeout=7,
            origins=("https://example.org",),
            access_log=True,
            bounds=Bounds(13, 14, 15),
            poll=8,
            documents=9,
            shadow="openai:http://127.0.0.1:1/v1#m",
            shadow_how=how,
            most_shadowed=10,
            log=True,
            texts="hash",
            explore=Exploration(0.25, 7),
            log_every=11,
        ),
    ]
