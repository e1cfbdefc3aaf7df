"""What was scored before is not scored again, unless anything that decides a score has changed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ranker.engines import Likely, load
from ranker.engines.score_cache import ENTRY_BYTES, Remembered, identity
from ranker.policy.likelihood import Branches, LogLikelihood
from tests.ranker.material import tiny_lm

ASKED = [Branches(f"a{i}", (" b1", " b2 b3")) for i in range(5)]


class Counted:
    """An engine that counts what it reads."""

    name, context = "counted", 100

    def __init__(self) -> None:
        self.temperatures = {"synthetic": 0.5}
        self.read = 0

    def count(self, text: str) -> int:
        return len(text)

    def loglikelihood(self, branches: Sequence[Branches]) -> list[list[LogLikelihood]]:
        self.read += len(branches)
        return [
            [LogLikelihood(-float(len(one.context + after)), 1) for after in one.continuations]
            for one in branches
        ]


def test_each_context_is_read_once(tmp_path: Path) -> None:
    engine = Counted()
    for run in range(2):
        cached = Remembered(engine, tmp_path, "i", 1)
        assert isinstance(cached, Likely)
        assert cached.temperatures == {"synthetic": 0.5}
        assert cached.loglikelihood([*ASKED, ASKED[0]]) == Counted().loglikelihood([*ASKED, ASKED[0]])
        assert (cached.asked, cached.known) == ((6, 1) if run == 0 else (6, 6))
    assert engine.read == 5


def test_other_texts_and_another_identity_are_read(tmp_path: Path) -> None:
    engine = Counted()
    Remembered(engine, tmp_path, "i", 1).loglikelihood(ASKED[:1])
    Remembered(engine, tmp_path, "i", 1).loglikelihood([Branches("a0", (" b1",))])
    Remembered(engine, tmp_path, "other", 1).loglikelihood(ASKED[:1])
    assert engine.read == 3


def test_what_was_not_asked_for_longest_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Counted()
    cached = Remembered(engine, tmp_path, "i", 1)
    cached._most = 3
    cached.loglikelihood(ASKED[:3])
    cached.loglikelihood(ASKED[:1])
    cached.loglikelihood(ASKED[3:])
    assert engine.read == 5
    cached.loglikelihood(ASKED[:1])
    assert engine.read == 5, "asked for lately"
    cached.loglikelihood(ASKED[1:3])
    assert engine.read == 7
    assert ENTRY_BYTES > 0


def test_several_writers_lose_nothing(tmp_path: Path) -> None:
    def work(number: int) -> list[list[LogLikelihood]]:
        own = [Branches(f"a{number} {i}", (" b1",)) for i in range(20)]
        return Remembered(Counted(), tmp_path, "i", 1).loglikelihood(own)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    engine = Counted()
    for number in range(8):
        Remembered(engine, tmp_path, "i", 1).loglikelihood(
            [Branches(f"a{number} {i}", (" b1",)) for i in range(20)]
        )
    assert engine.read == 0


def test_weights_decide_and_names_do_not(tmp_path: Path) -> None:
    one, other = tiny_lm(tmp_path / "one"), tiny_lm(tmp_path / "other", seed=1)
    same = Path(shutil.copytree(one, tmp_path / "same"))
    assert identity(one, "float32") == identity(same, "float32")
    assert len({identity(one, "float32"), identity(other, "float32"), identity(one, "bfloat16")}) == 3


def test_load_remembers_where_it_is_asked_to(tmp_path: Path) -> None:
    folder = tiny_lm(tmp_path / "lm")
    first, again = (load(folder, cache=1, home=tmp_path) for _ in range(2))
    assert isinstance(first, Remembered) and isinstance(again, Remembered)
    assert first.loglikelihood(ASKED) == again.loglikelihood(ASKED)
    assert (first.known, again.known) == (0, 5)
    assert not isinstance(load(folder), Remembered)
