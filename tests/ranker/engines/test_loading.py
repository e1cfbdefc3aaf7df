"""Which engine runs a model, and models that none can run."""

from __future__ import annotations

import pytest

from ranker.engines import MANIFEST, OPENAI, VLLM, load
from ranker.engines.loading import located, manifest
from ranker.errors import BadConfig, BadModel
from tests.ranker.engines.models import tiny


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
