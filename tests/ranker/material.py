"""Small sources on disk for the data stages' tests, and the stages run on them with every contract waved
through.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ranker.config import CandidateParams, IngestParams, data_home
from ranker.lake import Lake
from ranker.refs import PROJECT, Ref, Staged, Verdict
from ranker.stages import candidates, ingest

SHARED = PROJECT.parent / "shared" / "data"
ML_100K = data_home() / "downloads" / "ml-100k"
needs_movielens = pytest.mark.skipif(not ML_100K.is_dir(), reason=f"no {ML_100K}; `ranker fetch` brings it")
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared/data is not given")
Row = tuple[object, ...]


def passes(staged: Staged) -> list[Verdict]:
    """A check that lets everything in (the contracts have tests of their own)."""
    return []


def taste(users: int = 24, items: int = 40, each: int = 14) -> list[Row]:
    """Users of two tastes (even or odd items) who walk through them in order: user, item, rating, time."""
    return [
        (u, 2 * ((3 * u + k) % (items // 2)) + u % 2, 1 + (u + k) % 5, 1_000_000 + 10 * k + u)
        for u in range(users)
        for k in range(each)
    ]


def recbole(
    folder: Path, interactions: Iterable[Row], items: int = 40, *, titles: dict[int, str] | None = None
) -> Path:
    """A folder of atomic files."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        *("\t".join(map(str, row)) for row in interactions),
    ]
    (folder / "x.inter").write_text("\n".join(rows) + "\n", encoding="utf-8")
    named = {i: f"Film {i}" for i in range(items)} | (titles or {})
    rows = [
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
        *(f"{i}\t{t}\t19{50 + i % 50}\tDrama" for i, t in named.items()),
    ]
    (folder / "x.item").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def read_in(lake: Lake, task: str, folder: Path | None = None) -> Ref:
    """The ingest stage for one task."""
    locations = {task: str(folder)} if folder else {}
    return ingest.run(lake, IngestParams(tasks=(task,), locations=locations), check=passes)


def movies(
    lake: Lake,
    folder: Path,
    interactions: Iterable[Row] | None = None,
    *,
    params: CandidateParams | None = None,
    **given,
) -> Ref:
    """Ingest and candidates for a small recommendation source."""
    source = read_in(lake, "rec-movie", recbole(folder, interactions or taste(), **given))
    return candidates.run(lake, params or CandidateParams(history=4), source=source, check=passes)


WORDS = (
    " ".join(f"a{i} b{i}" for i in range(12))
    + " Attributes: Request: Films that one person liked; (1995) Documentation: Summary:"
)


def tiny_lm(folder: Path, *, seed: int = 0, layers: int = 2, **manifest: Any) -> Path:
    """A folder with a causal LM of a few thousand random weights and a byte-level BPE tokenizer, as a
    pretrained one has them; its ranker.json says style likelihood and whatever is given.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<eos>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator([WORDS] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<eos>", pad_token="<eos>")
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=layers,
            num_attention_heads=2,
            max_position_embeddings=256,
            initializer_range=0.2,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "ranker.json").write_text(json.dumps({"style": "likelihood"} | manifest), encoding="utf-8")
    return folder
