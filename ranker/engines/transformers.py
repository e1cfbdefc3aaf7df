"""The reference engine: `transformers` generate, batched by length, left-padded. Runs wherever torch runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from ranker.engines import Completion, Sampling, require
from ranker.engines.rendering import Renderer
from ranker.errors import BadModel
from ranker.prompts import Ask, Style

SMALL = 50_000_000
"""Below so many parameters a CPU runs float32 as fast as bfloat16, and exactly what was trained."""


class TransformersEngine:
    """Completes asks with a causal LM from a folder (weights, config, tokenizer with chat template)."""

    def __init__(self, model: str | Path, *, style: Style = "chat", device: str = "auto", batch: int = 64, threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.name, self.style, self.batch = str(model), style, batch
        self.device = pick_device(device)
        self.tokenizer = load_tokenizer(model)
        self.tokenizer.padding_side = "left"
        self._renderer = Renderer(self.tokenizer, style)
        self.model = load_model(model).to(self.device).eval()
        self.context: int = self.model.config.max_position_embeddings

    def complete(self, asks: Sequence[Ask], sampling: Sampling) -> list[Completion]:
        """One completion per ask, in the order given."""
        budget = self.context - sampling.max_tokens
        prompts, ids = self._renderer.prompts(asks, budget)
        order = sorted(range(len(asks)), key=lambda i: len(ids[i]))
        done: dict[int, Completion] = {}
        for chunk in _chunks(order, self.batch):
            done.update(zip(chunk, self._generate([prompts[i] for i in chunk], [ids[i] for i in chunk], sampling), strict=True))
        return [done[i] for i in range(len(asks))]

    @torch.inference_mode()
    def _generate(self, prompts: list[str], ids: list[list[int]], sampling: Sampling) -> Iterator[Completion]:
        began = time.perf_counter()
        padded = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.device)
        if sampling.temperature:
            torch.manual_seed(sampling.seed)
        options = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0, "top_p": 1.0} if sampling.temperature else {"do_sample": False}
        out = self.model.generate(**padded, max_new_tokens=sampling.max_tokens, pad_token_id=self.tokenizer.pad_token_id, **options)
        new = out[:, padded["input_ids"].shape[1]:].tolist()
        each = (time.perf_counter() - began) * 1000 / len(ids)
        for prompt, given, tokens in zip(prompts, ids, new, strict=True):
            tokens, finished = _until_end(tokens, self._ends)
            yield Completion(self._renderer.text(tokens), prompt, len(given), len(tokens) + finished, "stop" if finished else "length", each)

    @property
    def _ends(self) -> set[int]:
        ends = self.model.generation_config.eos_token_id
        listed = ends if isinstance(ends, list) else [ends]
        return {end for end in (*listed, self.tokenizer.eos_token_id) if end is not None}


def pick_device(device: str) -> str:
    """'auto' becomes 'cuda' where there is a GPU, else 'cpu'."""
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def load_tokenizer(model: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, with a chat template and a padding token.

    Raises:
        BadModel: the folder or its tokenizer is missing, or it has no chat template.
    """
    _must_exist(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:
        raise BadModel("a model folder needs a tokenizer that transformers can load", seen=f"{model}: {_first_line(error)}",
                       remedy="save one beside the weights (tokenizer.save_pretrained(folder)), or point at the folder that holds it") from error
    if not tokenizer.chat_template:
        raise BadModel("a policy needs a tokenizer with a chat template", seen=f"{model} has none",
                       remedy="use an instruction-tuned model, or set tokenizer.chat_template and save it")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(model: str | Path) -> PreTrainedModel:
    """The weights of a model folder: float32 below 50 million parameters, else bfloat16.

    Raises:
        BadModel: weights or config are missing or unreadable.
    """
    _must_exist(model)
    transformers_logging.disable_progress_bar()
    try:
        loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        raise BadModel("a model folder needs a config and weights that transformers can load", seen=f"{model}: {_first_line(error)}",
                       remedy="save them with model.save_pretrained(folder), or run `ranker fetch`") from error
    return loaded if loaded.num_parameters() < SMALL else loaded.to(torch.bfloat16)


def _must_exist(model: str | Path) -> None:
    if isinstance(model, Path) or str(model).startswith((".", "/")):  # else it is a hub name
        require(Path(model))


def _until_end(tokens: list[int], ends: set[int]) -> tuple[list[int], bool]:
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[:place], True
    return tokens, False


def _chunks(order: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
