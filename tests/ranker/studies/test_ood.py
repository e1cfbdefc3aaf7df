"""lm-eval for real where it is installed (the extra `ood`, or $RANKER_LM_EVAL): a local benchmark, and
what is missing named.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ranker.config import PolicyParams
from ranker.errors import BadConfig, Unreachable
from ranker.studies import ood
from ranker.studies.design import StudyParams, study_params
from ranker.train.worker.policy import build_tokenizer

needs_lm_eval = pytest.mark.skipif(
    not importlib.util.find_spec("lm_eval") and ood.PYTHON not in os.environ,
    reason="lm-eval is not installed",
)


@pytest.fixture
def model(home: Path) -> Path:
    """A chat model that says nothing sensible, in 50 KB."""
    folder = home / "models" / "tiny"
    tokenizer = build_tokenizer([f"a{i}" for i in range(8)], {}, PolicyParams())  # type: ignore[arg-type]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=256,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def asked(tmp_path: Path) -> StudyParams:
    """A multiple-choice benchmark of six questions on this disk."""
    rows = [{"q": f"a{i}", "choices": ["a1", "a2"], "gold": i % 2} for i in range(6)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    benchmark = {
        "task": "choices",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "data.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (tmp_path / "choices.yaml").write_text(json.dumps(benchmark), encoding="utf-8")  # JSON is YAML
    return StudyParams(benchmarks=("choices",), benchmark_folder=str(tmp_path), limit=4)


@needs_lm_eval
def test_a_local_benchmark_is_measured_once_and_told(
    home: Path, model: Path, asked: StudyParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = ood.measure(home, model, asked, "cpu")["choices"]
    results = json.loads(next(home.rglob("results_*.json")).read_text(encoding="utf-8"))["results"]["choices"]
    assert found.metric == "acc" and len(found.scores) == 4
    assert sum(found.scores.values()) / 4 == results["acc,none"]
    with monkeypatch.context() as only:
        only.setattr(ood, "command", None)
        assert ood.measure(home, model, asked, "cpu") == {"choices": found}
    shown = ood.tell(
        home, asked, {"choices": found}, {"choices": ood.Measured("acc", dict.fromkeys(found.scores, 1.0))}
    )
    assert [row[:3] for row in shown.body] == [
        ("choices", "base", "acc"),
        ("choices", "trained", "acc"),
    ] and shown.holds
    assert "not comparable" in shown.notes[0] and (shown.folder / "plot.png").is_file()


@needs_lm_eval
@pytest.mark.parametrize(
    ("benchmarks", "error", "said"),
    [(("mathqa",), Unreachable, "math_qa"), (("nonsense",), BadConfig, "nonsense")],
)
def test_what_is_missing_is_named(
    home: Path, model: Path, benchmarks, error, said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    with pytest.raises(error, match=said):
        ood.measure(home, model, StudyParams(benchmarks=benchmarks, limit=2), "cpu")


def test_without_lm_eval_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ood.PYTHON, str(tmp_path / "no-python"))
    with pytest.raises(BadConfig, match=r"pip install -e '\.\[ood\]'"):
        ood.python()


def test_the_command_says_all_that_was_asked_for(tmp_path: Path) -> None:
    given = ood.command(
        sys.executable, tmp_path / "m", tmp_path / "o", StudyParams(limit=5, benchmark_folder="mine"), "cpu"
    )
    assert given[1:4] == ["-m", "lm_eval", "run"] and "gsm8k,ifeval,mathqa" in given
    assert given[given.index("--limit") + 1] == "5" and given[given.index("--include_path") + 1] == "mine"
    assert "--limit" not in ood.command(sys.executable, tmp_path / "m", tmp_path / "o", StudyParams(), "cpu")


def test_scores_are_paired_by_sample_and_a_fall_is_no_claim_kept(home: Path) -> None:
    base, worse = (
        ood.Measured("acc", dict.fromkeys(range(100), 1.0)),
        ood.Measured("acc", {i: float(i % 4 > 0) for i in range(50, 150)}),
    )
    gap = ood.difference(base, worse)
    assert gap.queries == 50 and gap.value == pytest.approx(-12 / 50) and gap.upper < 0
    assert not ood.tell(
        home, StudyParams(benchmarks=("choices",)), {"choices": base}, {"choices": worse}
    ).holds


def test_of_several_filters_the_stated_one_counts(tmp_path: Path) -> None:
    rows = [
        {"doc_id": i, "filter": name, "metrics": ["exact_match"], "exact_match": value}
        for i in range(2)
        for name, value in (("strict-match", 0.0), ("flexible-extract", 1.0))
    ]
    (tmp_path / "samples_gsm8k_2026.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert ood.read(tmp_path, "gsm8k").scores == {0: 1.0, 1: 1.0}
    with pytest.raises(BadConfig, match="samples of ifeval"):
        ood.read(tmp_path, "ifeval")


def test_an_unknown_option_of_a_study_is_refused() -> None:
    with pytest.raises(BadConfig, match="nonsense"):
        study_params({"nonsense": 1})
