"""Model folders that were not copied to their end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ranker.engines import load, require
from ranker.engines.loading import require_encoder
from ranker.engines.transformers import load_model
from ranker.engines.weights import parameters
from ranker.errors import BadModel
from tests.ranker.engines.models import sentence_encoder
from tests.ranker.material import tiny_lm

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 269060552\n"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm(tmp_path_factory.mktemp("whole") / "lm")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "ein Ordner #1 mit 50%"))


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def sharded(folder: Path) -> None:
    """Two files and their index, as large models have them."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    files = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, own in files.items():
        save_file({name: tensors[name] for name in own}, folder / file, metadata={"format": "pt"})
    listed = {name: file for file, own in files.items() for name in own}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))


def without_a_shard(folder: Path) -> None:
    sharded(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def with_a_cut_shard(folder: Path) -> None:
    sharded(folder)
    cut(folder / "model-00002-of-00002.safetensors", 0.5)


LFS = r": \d+ bytes.*lfs pull"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights are a pointer": (lambda f: (f / WEIGHTS).write_text(POINTER), r"model\.safetensors" + LFS),
    "tokenizer is a pointer": (lambda f: (f / "tokenizer.json").write_text(POINTER), "tokenizer.json" + LFS),
    "config is a pointer": (lambda f: (f / "config.json").write_text(POINTER), r"config\.json" + LFS),
    "weights end early": (lambda f: cut(f / WEIGHTS, 0.7), r"model\.safetensors: [\d,]+ bytes of [\d,]+"),
    "weights end in their head": (lambda f: cut(f / WEIGHTS, 0.01), r"model\.safetensors: [\d,]+ bytes"),
    "weights are empty": (lambda f: cut(f / WEIGHTS, 0), r"model\.safetensors: 0 bytes"),
    "weights are something else": (lambda f: (f / WEIGHTS).write_text("<html/>"), r"safetensors: 7 bytes"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "needs weights"),
    "a shard is missing": (without_a_shard, r"no .*model-00002-of-00002\.safetensors"),
    "a shard is cut": (with_a_cut_shard, r"model-00002-of-00002\.safetensors: [\d,]+ bytes of"),
    "config is cut": (lambda f: cut(f / "config.json", 0.5), r"config\.json: [\d,]+ bytes"),
    "tokenizer is cut": (lambda f: cut(f / "tokenizer.json", 0.5), "tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_folder_that_is_not_whole_is_refused_with_file_and_remedy(folder: Path, name: str) -> None:
    damage, says = DAMAGE[name]
    damage(folder)
    with pytest.raises(BadModel, match=f"(?s){says}") as refused:
        load(folder)
    assert str(folder) in refused.value.seen
    if not name.startswith("tokenizer is cut"):  # which needs to be parsed for that
        with pytest.raises(BadModel, match=f"(?s){says}"):
            require(folder)


def test_shards_that_are_all_there_are_loaded(folder: Path, whole: Path) -> None:
    sharded(folder)
    require(folder)
    one, other = load_model(whole).state_dict(), load_model(folder).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_parameters_are_counted_without_loading(folder: Path, tmp_path: Path) -> None:
    counted = load_model(folder).num_parameters()
    assert parameters(folder) == counted > 0
    sharded(folder)
    assert parameters(folder) == counted
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    assert parameters(folder) is None and parameters(tmp_path / "org" / "model") is None


def test_weights_of_another_model_are_refused_and_not_made_up(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = next(name for name in tensors if "layers.1" in name)
    del tensors[name]
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    require(folder)
    with pytest.raises(BadModel, match=r"1 are missing.*layers"):
        load(folder)
    shutil.copy(tiny_lm(folder.parent / "other", layers=1) / "config.json", folder / "config.json")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 16, "head_dim": 8}))
    with pytest.raises(BadModel):
        load(folder)


def test_an_encoder_s_folder_is_looked_at_as_well(tmp_path: Path) -> None:
    encoder = sentence_encoder(tmp_path / "encoder")
    require_encoder(encoder, "distill.encoder")
    (encoder / WEIGHTS).write_text(POINTER)
    with pytest.raises(BadModel, match="lfs pull"):
        require_encoder(encoder, "distill.encoder")
