"""Which engine runs a model, and models that none can run."""

from __future__ import annotations

import pytest

from ranker.engines import MANIFEST, OPENAI, VLLM, calibration, load, own_style, reasons
from ranker.engines.loading import located, manifest
from ranker.errors import BadConfig, BadModel
from tests.ranker.engines.models import tiny
from tests.ranker.material import tiny_lm


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("tokenizer.json", "tokenizer"),
        ("model.safetensors", "weights"),
        ("config.json", "config.json"),
        ("chat_template.jinja", "chat template"),
    ],
)
def test_an_incomplete_model_folder_is_named(tmp_path, missing, message):
    broken = tiny(tmp_path / "broken")
    (broken / missing).unlink()
    if missing == "tokenizer.json":
        (broken / "tokenizer_config.json").unlink()
    with pytest.raises(BadModel, match=message):
        load(broken)


def test_a_model_folder_that_does_not_exist(tmp_path):
    with pytest.raises(BadModel, match="nowhere"):
        load(tmp_path / "nowhere")


def test_a_folder_below_home_is_spelled_out_and_other_names_stay(tmp_path):
    tiny(tmp_path / "models" / "k")
    there = str(tmp_path / "models" / "k")
    assert located("models/k", tmp_path) == there
    assert located(f"{VLLM}models/k", tmp_path) == f"{VLLM}{there}"
    for name in ("org/model", f"{OPENAI}http://h/v1#models/k"):
        assert located(name, tmp_path) == name


def test_a_model_of_ours_says_how_it_is_prompted_and_another_is_a_chat_model(tmp_path):
    folder = tiny(tmp_path / "model", style="compact")
    assert manifest(folder) == {"style": "compact"} and load(folder).style == "compact"
    (folder / MANIFEST).unlink()
    assert manifest(folder) == {} and load(folder).style == "chat"
    assert load(folder, style="compact").style == "compact"


def test_an_address_without_a_model_is_refused():
    with pytest.raises(BadConfig, match="#"):
        load(f"{OPENAI}http://127.0.0.1:1/v1")


def test_how_a_model_answers_is_known_before_it_is_loaded(tmp_path):
    assert own_style(tiny(tmp_path / "compact")) == own_style(f"{VLLM}{tmp_path / 'compact'}") == "compact"
    assert own_style(tiny_lm(tmp_path / "lm")) == "likelihood"
    assert own_style("org/model") == own_style(f"{OPENAI}http://h/v1#m") == "chat"


def test_a_likelihood_policy_brings_its_calibration_by_task_and_reasons_for_nobody(tmp_path):
    fitted = {
        "synthetic": {"temperature": 0.5, "calibration": [2.0, -1.0], "queries": 4},
        "rec-movie": {"temperature": 3.0, "queries": 4},
    }
    likely, written = load(tiny_lm(tmp_path / "lm", likelihood=fitted)), load(tiny(tmp_path / "tiny"))
    assert calibration(likely, "synthetic") == (2.0, -1.0)
    assert calibration(likely, "rec-movie") is calibration(written, "synthetic") is None
    assert [reasons(likely, None), reasons(likely, True)] == [False, True]
    assert [reasons(written, None), reasons(written, False)] == [True, False]
