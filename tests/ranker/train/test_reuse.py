"""A phase is taken over exactly where all that decides it is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ranker.config import TrainParams, parse_params
from ranker.train import reuse


def params(**train: object) -> TrainParams:
    given = {"policy": {"style": "likelihood", "model_name_or_path": "lm"}} | train
    return parse_params({"preset": "tiny", "evaluate": {"thinking": [False]}, "train": given}).train


def keys(given: TrainParams, sets: str = "s", traces: str = "t", code: str = "c") -> dict[str, str]:
    return reuse.phase_keys(given, sets, traces, code)


def test_later_phases_change_no_key_and_everything_else_does() -> None:
    base = keys(params())
    assert keys(params(likelihood={"objective": "gold"}, start="untrained")) == base
    longer = keys(params(sft={"max_steps": 7}))
    assert longer["untrained"] == base["untrained"]
    assert longer["sft"] != base["sft"]
    champion = reuse.phase_keys(params(), "s", "t", "c", start="models/x/rl")
    for other in (keys(params(), sets="x"), keys(params(), code="x"), keys(params(eval_queries=7)), champion):
        assert not set(other.values()) & set(base.values())
    assert keys(params(), traces="x")["untrained"] == base["untrained"]


def test_other_styles_and_snapshots_share_nothing() -> None:
    assert keys(parse_params({"preset": "tiny"}).train) == {}
    assert keys(params(snapshots=[3])) == {}


def trained(home: Path, key: str, phase: str, phase_key: str) -> Path:
    folder = home / "models" / key / phase
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("weights")
    (folder / "ranker.json").write_text(
        json.dumps({"train_key": key, "phase_key": phase_key, "facts": {"steps": 4}})
    )
    return folder


def test_what_is_the_same_is_linked_with_its_curves(tmp_path: Path) -> None:
    source = trained(tmp_path, "one", "sft", "k")
    for key in ("one", "two", "three"):
        (tmp_path / "jobs" / key).mkdir(parents=True)
    (tmp_path / "jobs" / "one" / "metrics-sft.parquet").write_text("curves")
    lines: list[str] = []
    reuse.adopt(tmp_path, "two", {"untrained": "other", "sft": "k"}, lines.append)
    found = tmp_path / "models" / "two" / "sft"
    assert (found / "model.safetensors").samefile(source / "model.safetensors")
    assert json.loads((found / "ranker.json").read_text())["train_key"] == "two"
    assert (tmp_path / "jobs" / "two" / "metrics-sft.parquet").read_text() == "curves"
    assert lines == ["sft is that of training one, which had the same parameters and data"]
    assert not (tmp_path / "models" / "two" / "untrained").exists()
    reuse.adopt(tmp_path, "three", {"sft": "another key"}, lines.append)
    assert not (tmp_path / "models" / "three").exists()


@pytest.mark.parametrize("gone", ["curves", "manifest"])
def test_half_of_a_phase_is_none(tmp_path: Path, gone: str) -> None:
    source = trained(tmp_path, "one", "sft", "k")
    (tmp_path / "jobs" / "two").mkdir(parents=True)
    if gone == "manifest":
        (source / "ranker.json").unlink()
    reuse.adopt(tmp_path, "two", {"sft": "k"}, lambda text: None)
    assert not (tmp_path / "models" / "two").exists()
