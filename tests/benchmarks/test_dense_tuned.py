"""The encoder that is fine-tuned on the same labels: it learns, and is kept where an evaluation finds it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dense_tuned import Recipe, main, reciprocal_ranks, tune
from ranker.config import CandidateParams, EvaluateParams
from ranker.engines import MANIFEST
from ranker.engines.encoder import Encoder
from ranker.errors import BadModel, StageMissing
from ranker.lake import Lake
from ranker.stages import candidates, first_stages
from ranker.types import Candidate, CandidateSet, slot_labels
from tests.contracts.road import sources
from tests.ranker.engines.models import sentence_encoder
from tests.ranker.material import passes, read_in


def code_book(count: int, seed: int) -> list[CandidateSet]:
    """Queries of one letter whose gold is the next but one in the alphabet: nothing that an encoder knows."""
    rng, made = random.Random(seed), []
    for number in range(count):
        asked = rng.randrange(20)
        others = rng.sample([n for n in range(20) if n != asked], 3)
        pool = rng.sample([asked, *others], 4)
        shown = tuple(
            Candidate(label, str(n), chr(ord("c") + n), float(n == asked))
            for label, n in zip(slot_labels(4), pool, strict=True)
        )
        made.append(
            CandidateSet(
                f"s{number}", "passage-pydoc", "train", f"g{number}", chr(ord("a") + asked), (), shown
            )
        )
    return made


def test_it_learns_what_the_labels_say(tmp_path: Path) -> None:
    encoder, test = Encoder(sentence_encoder(tmp_path / "encoder")), code_book(60, seed=2)
    before = np.mean(list(reciprocal_ranks(encoder, test, 8).values()))
    said: list[str] = []
    tune(encoder, code_book(160, seed=1), Recipe(epochs=4, learning_rate=3e-3), said.append)
    after = np.mean(list(reciprocal_ranks(encoder, test, 8).values()))
    assert before < 0.75 and after > before + 0.15 and "step 80 of 80" in said[-1]


def test_it_is_kept_for_the_sets_it_was_trained_on(lake: Lake, tmp_path: Path) -> None:
    model, out = sentence_encoder(lake.home / "models" / "encoder"), lake.home / "models" / "tuned"
    with pytest.raises(StageMissing, match="no candidate sets of passage-pydoc"):
        main(lake.home, "passage-pydoc", model, out, Recipe())
    folder = tmp_path / "files"
    folder.mkdir()
    source = read_in(lake, "passage-pydoc", Path(sources(folder)["passage-pydoc"]))
    sets = candidates.run(lake, CandidateParams(), source=source, check=passes)
    with pytest.raises(BadModel, match="ranker fetch"):
        main(lake.home, "passage-pydoc", lake.home / "none", out, Recipe())
    found = main(lake.home, "passage-pydoc", model, out, Recipe(queries=16))
    assert found["difference"].value == pytest.approx(found["dense-tuned"].value - found["dense"].value)
    kept = out / sets.key
    assert json.loads((kept / MANIFEST).read_text())["trained"] == 16
    params = EvaluateParams(dense_tuned="models/tuned")
    assert first_stages.identity(lake.home, params, sets).keys() == {"dense-tuned"}
    assert Encoder(kept)(["a"]).shape == (1, 32)
    main(lake.home, "passage-pydoc", model, out, Recipe(queries=8))
    assert json.loads((kept / MANIFEST).read_text())["trained"] == 8
    assert [path.name for path in out.iterdir()] == [sets.key], "nothing half-made is left"
