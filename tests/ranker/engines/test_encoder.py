"""Sentence vectors: of length 1, the same whatever else is encoded with them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from ranker.config import data_home
from ranker.engines import encoder as encoders
from ranker.engines import load_encoder
from ranker.engines.encoder import Encoder
from ranker.errors import BadModel
from tests.ranker.engines.models import sentence_encoder

MINILM = data_home() / "models" / "all-minilm-l6-v2"
needs_minilm = pytest.mark.skipif(not MINILM.is_dir(), reason=f"no {MINILM}; `ranker fetch` brings it")
TEXTS = ["a cat", "dogs bark at 9", "", "the same words again and again and again", "zebra"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentence_encoder(tmp_path_factory.mktemp("encoder"))


def test_vectors_have_length_one_and_keep_the_order_of_the_texts(folder: Path) -> None:
    encode = load_encoder(folder)
    found = encode(TEXTS)
    assert found.shape == (len(TEXTS), 32) and found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    for place, text in enumerate(TEXTS):
        assert np.allclose(encode([text])[0], found[place], atol=1e-5), "alone, unpadded, it is the same"
    assert encode([]).shape == (0, 32)


def test_batches_of_any_size_give_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = load_encoder(folder)
    whole = encode(TEXTS)
    monkeypatch.setattr(encoders, "BATCH_TOKENS", 1)
    assert np.allclose(encode(TEXTS), whole, atol=1e-5)


def test_a_vector_is_the_mean_over_all_tokens_of_a_text(folder: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    with torch.inference_mode():
        mean = model(**tokenizer(TEXTS[1], return_tensors="pt")).last_hidden_state[0].mean(0)
    assert np.allclose(load_encoder(folder)([TEXTS[1]])[0], mean / mean.norm(), atol=1e-5)


def test_what_is_beyond_the_folders_length_is_not_read(folder: Path) -> None:
    encoder = Encoder(folder)
    long = "word " * 40
    assert encoder.length == 32 == len(encoder.tokens([long])[0])
    assert np.array_equal(encoder([long]), encoder([long + "and more"]))


def test_gradients_reach_the_network(folder: Path) -> None:
    encoder = Encoder(folder)
    encoder.vectors(encoder.tokens(["a cat"])).sum().backward()
    assert encoder.model.embeddings.word_embeddings.weight.grad.abs().sum() > 0


def test_another_pooling_and_a_folder_without_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="pooling_mode_cls_token"):
        load_encoder(sentence_encoder(tmp_path / "cls", pooling="cls_token"))
    bare = sentence_encoder(tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    with pytest.raises(BadModel, match="needs weights"):
        load_encoder(bare)


@needs_minilm
def test_the_fetched_encoder_knows_what_means_the_same() -> None:
    one, same, other = load_encoder(MINILM)(
        ["How do I remove a file?", "Delete a document from disk.", "The weather is fine in May."]
    )
    assert one @ same > 0.4 > one @ other
