"""The reference engine: `transformers` generate, batched by length, left-padded. Runs wherever torch runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteriaList,
)
from transformers.utils import logging as transformers_logging

from ranker.engines import ADAPTERS, Completion, Sampling, Scored, base_of, require
from ranker.engines.grammar import ASKED, SHUT
from ranker.engines.masks import AtAnswer, AtText, Constrained, Masks
from ranker.engines.prefixes import Prefixes, whole_context
from ranker.engines.rendering import Renderer, closed
from ranker.errors import BadModel
from ranker.policy.prompts import Prompt, Style
from ranker.types import JsonObject

T = TypeVar("T")
UNLOADABLE = (OSError, ValueError, KeyError, RuntimeError, EOFError, UnpicklingError, SafetensorError)
"""What transformers raises of a folder that it cannot load: a damaged file, other sizes, no such model."""
CONTEXT_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
    "n_ctx",
)
"""What configs call the longest context."""
UNBOUNDED = 2_048
"""Tokens of a context that no config bounds (Bloom, Mamba): what such models were trained with."""
SMALL = 50_000_000
"""Below so many parameters a CPU runs float32 as fast as bfloat16, and exactly what was trained."""


@dataclass(frozen=True, slots=True)
class _Made:
    """What was generated for one prompt: tokens without the end, whether there was one, and what a cache
    spared.
    """

    tokens: list[int]
    finished: bool
    cached: int


class TransformersEngine:
    """Completes asks with a causal LM from a folder (weights, config, tokenizer with chat template), and
    scores labels.

    Args:
        batch: prompts generated at once.
        threads: CPU threads; 0 leaves torch's own choice.
        cache: MiB of keys and values kept between the calls of one query; 0 reads every prompt whole.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        style: Style = "chat",
        device: str = "auto",
        batch: int = 64,
        threads: int = 0,
        cache: int = 0,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        tokenizer, loaded = load_tokenizer(model), cast("Any", load_model(model))  # wrapped out of its types
        self._hold(str(model), loaded.to(pick_device(device)).eval(), tokenizer, style, batch)
        self._prefixes = Prefixes(self.model, cache) if cache and whole_context(self.model) else None

    @classmethod
    def around(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        style: Style,
        batch: int,
        together: bool = False,
    ) -> TransformersEngine:
        """An engine of a model that is there already: one in training.

        Args:
            tokenizer: its padding side is changed.
            together: several processes hold the model in parts, and none may stop generating before the
                others.
        """
        self = cls.__new__(cls)
        self._hold("model in training", model, tokenizer, style, batch)
        self._together = together
        return self

    def _hold(
        self, name: str, model: Any, tokenizer: PreTrainedTokenizerBase, style: Style, batch: int
    ) -> None:
        self.name, self.batch = name, batch
        self.style: Style = style
        self.model, self.tokenizer = model, tokenizer
        self.tokenizer.padding_side = "left"
        self.device = str(model.device)
        self._renderer = Renderer(tokenizer, style, declared_ends(model))
        self.context: int = context_length(model)
        self._prefixes: Prefixes | None = None
        self._together = False

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion per prompt, in the order given; constrained (`sampling.constrained`), every one is a
        valid answer.

        Raises:
            BadConfig: constrained, and the shortest valid answer has more than `sampling.max_tokens`.
            BadModel: constrained, and the vocabulary cannot write a label.
        """
        texts, ids, shortened = self._renderer.prompts(prompts, self.context - sampling.max_tokens)
        done = self._batched(
            ids,
            lambda chunk: self._completed(
                [prompts[i] for i in chunk], [texts[i] for i in chunk], [ids[i] for i in chunk], sampling
            ),
        )
        return [replace(one, shortened=cut) for one, cut in zip(done, shortened, strict=True)]

    def score(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Scored]:
        """The labels' likelihoods behind `<answer>`, in one forward pass; where reasoning is asked for it is
        generated before, constrained. Reasoning that has begun (`Prompt.begun`) goes on freely for
        `sampling.max_tokens` at most, 0 for none, and is ended there.

        A label of several tokens has the product of theirs, from a second, short pass.

        Raises:
            BadConfig, BadModel: as `complete`, constrained.
        """
        texts, ids, shortened = self._renderer.prompts(prompts, self.context - sampling.max_tokens)
        done = self._batched(
            ids,
            lambda chunk: self._scored(
                [prompts[i] for i in chunk], [texts[i] for i in chunk], [ids[i] for i in chunk], sampling
            ),
        )
        return [
            replace(one, completion=replace(one.completion, shortened=cut))
            for one, cut in zip(done, shortened, strict=True)
        ]

    def _batched(self, ids: list[list[int]], work: Callable[[list[int]], Iterable[T]]) -> list[T]:
        """`work` on batches of prompts of like length; results in the order given."""
        done: dict[int, T] = {}
        for chunk in _chunks(sorted(range(len(ids)), key=lambda i: len(ids[i])), self.batch):
            done.update(zip(chunk, work(chunk), strict=True))
        return [done[i] for i in range(len(ids))]

    @torch.no_grad()  # and not inference_mode: the model may be one in training
    def _completed(
        self, prompts: list[Prompt], texts: list[str], ids: list[list[int]], sampling: Sampling
    ) -> list[Completion]:
        began = time.perf_counter()
        processor = self._masks.constrained(prompts, sampling.max_tokens) if sampling.constrained else None
        made = self._generate(prompts, ids, sampling, processor)
        each = (time.perf_counter() - began) * 1000 / len(ids)
        return [
            Completion(
                self._renderer.text(one.tokens, prompt.thinking),
                text,
                len(given),
                len(one.tokens) + one.finished,
                "stop" if one.finished else "length",
                each,
                one.cached,
                sampling.constrained,
            )
            for prompt, text, given, one in zip(prompts, texts, ids, made, strict=True)
        ]

    def _generate(
        self,
        prompts: list[Prompt],
        ids: list[list[int]],
        sampling: Sampling,
        processor: Constrained | None,
        until: str = "",
    ) -> list[_Made]:
        """New tokens for each prompt, none behind the text `until`."""
        padded = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.device)
        options: JsonObject = {"do_sample": False}
        if sampling.temperature:
            torch.manual_seed(sampling.seed)
            options = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0, "top_p": 1.0}
        if self._together:
            options["synced_gpus"] = True
        if processor:
            options["logits_processor"] = LogitsProcessorList([processor])
        if processor and processor.stop:
            options["stopping_criteria"] = StoppingCriteriaList([AtAnswer(processor)])
        if until:
            stop = AtText(self.tokenizer, until, padded["input_ids"].shape[1])
            options["stopping_criteria"] = StoppingCriteriaList([stop])
        cached = [0] * len(ids)
        if self._prefixes:
            options["past_key_values"], cached = self._prefixes.filled(
                ids, [_line(prompt) for prompt in prompts]
            )
        ends = sorted(
            self._renderer.ends
            # said, because a generation_config may not name the tokenizer's own: rows would run on to the
            # limit
        )
        out = self.model.generate(
            **padded,
            max_new_tokens=sampling.max_tokens,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=ends,
            # some configs say no: what is in the cache would then be read once more behind it
            use_cache=True,
            **options,
        )
        new = out[:, padded["input_ids"].shape[1] :].tolist()
        ends = self._renderer.ends
        return [_Made(*_until_end(tokens, ends), count) for tokens, count in zip(new, cached, strict=True)]

    @torch.inference_mode()
    def _scored(
        self, prompts: list[Prompt], texts: list[str], ids: list[list[int]], sampling: Sampling
    ) -> list[Scored]:
        if any(prompt.begun for prompt in prompts):
            return self._thought(prompts, texts, ids, sampling)
        began = time.perf_counter()
        thought = self._reasoned(prompts, ids, sampling)
        contexts = [
            one + (made.tokens if made else self._head) for one, made in zip(ids, thought, strict=True)
        ]
        scores, cached = self._label_scores(prompts, contexts)
        each = (time.perf_counter() - began) * 1000 / len(ids)
        found = []
        for prompt, rendered, one, made, values, count in zip(
            prompts, texts, ids, thought, scores, cached, strict=True
        ):
            text = self._renderer.text(made.tokens, True).removesuffix(ASKED).rstrip() if made else ""
            read = len(one) + (0 if made else len(self._head))
            spared = made.cached if made else count
            found.append(
                Scored(
                    Completion(
                        text,
                        rendered,
                        read,
                        len(made.tokens) if made else 0,
                        "stop",
                        each,
                        spared,
                        prompt.thinking,
                    ),
                    values,
                )
            )
        return found

    def _thought(
        self, prompts: list[Prompt], texts: list[str], ids: list[list[int]], sampling: Sampling
    ) -> list[Scored]:
        """More of the reasonings that have begun, and the labels' scores as if they ended there."""
        began = time.perf_counter()
        limit = sampling.max_tokens
        made = (
            self._generate(prompts, ids, sampling, None, SHUT) if limit else [_Made([], False, 0)] * len(ids)
        )
        more, ended = list[str](), list[bool]()
        for prompt, before, own in zip(prompts, ids, made, strict=True):
            thought, shut, _ = (prompt.begun + self._renderer.continued(before, own.tokens)).partition(SHUT)
            more.append(thought.removeprefix(prompt.begun))
            ended.append(bool(shut) or own.finished)
        contexts = self._renderer.ids([closed(text + new) for text, new in zip(texts, more, strict=True)])
        scores, _ = self._label_scores(prompts, contexts)
        each = (time.perf_counter() - began) * 1000 / len(ids)
        return [
            Scored(
                Completion(
                    f"{new}{SHUT}" if end else new,
                    text,
                    len(one),
                    self._written(own),
                    "stop",
                    each,
                    own.cached,
                ),
                values,
            )
            for text, one, own, new, end, values in zip(texts, ids, made, more, ended, scores, strict=True)
        ]

    def _written(self, made: _Made) -> int:
        """Tokens of a row, its padding left out: one that has stopped waits for the others."""
        return sum(token != self.tokenizer.pad_token_id for token in made.tokens)

    def _reasoned(
        self, prompts: list[Prompt], ids: list[list[int]], sampling: Sampling
    ) -> list[_Made | None]:
        """The reasoning of the asks that want one, with the opening of the answer."""
        places = [i for i, prompt in enumerate(prompts) if prompt.thinking]
        found: list[_Made | None] = [None] * len(prompts)
        if places:
            thinking = [prompts[i] for i in places]
            processor = self._masks.constrained(thinking, sampling.max_tokens, stop=True)
            made = self._generate(thinking, [ids[i] for i in places], sampling, processor)
            for i, one, cut in zip(places, made, processor.cuts, strict=True):
                found[i] = replace(one, tokens=one.tokens[:cut])
        return found

    def _label_scores(
        self, prompts: list[Prompt], contexts: list[list[int]]
    ) -> tuple[list[tuple[float, ...]], list[int]]:
        """Log-probabilities of each pool's labels behind its context, normalised over the pool; and what a
        cache spared of each context.
        """
        prefixes = self._prefixes or Prefixes(self.model, 0)
        cache, cached = prefixes.filled(contexts, [_line(prompt) for prompt in prompts])
        mask = torch.tensor(
            [[0] * (max(map(len, contexts)) - len(one)) + [1] * len(one) for one in contexts],
            device=self.device,
        )
        last = torch.tensor([one[-1:] for one in contexts], device=self.device)
        positions = mask.sum(1, keepdim=True) - 1
        first = (
            self.model(input_ids=last, attention_mask=mask, position_ids=positions, past_key_values=cache)
            .logits[:, -1]
            .float()
            .log_softmax(-1)
        )
        tokens = [[self._label(label) for label in prompt.set.labels] for prompt in prompts]
        rows = [
            (row, place)
            for row, labels in enumerate(tokens)
            for place, label in enumerate(labels)
            if len(label) > 1
        ]
        scores = [
            torch.stack([first[row, label[0]] for label in labels]) for row, labels in enumerate(tokens)
        ]
        if rows:
            self._add_rest(scores, rows, tokens, cache, mask)
        return [tuple(values.log_softmax(0).tolist()) for values in scores], cached

    def _add_rest(
        self,
        scores: list[torch.Tensor],
        rows: list[tuple[int, int]],
        tokens: list[list[list[int]]],
        cache: Any,
        mask: torch.Tensor,
    ) -> None:
        """Add what the later tokens of longer labels are worth: each such label behind its own copy of the
        context.
        """
        labels = [tokens[row][place] for row, place in rows]
        longest = max(map(len, labels)) - 1
        for start in range(0, len(rows), self.batch):
            part, own = rows[start : start + self.batch], labels[start : start + self.batch]
            copies = torch.tensor([row for row, _ in part], device=self.device)
            again = DynamicCache()
            for layer, pair in enumerate(cache.layers):
                again.update(pair.keys[copies], pair.values[copies], layer)
            given = torch.tensor(
                [label[:-1] + [0] * (longest - len(label) + 1) for label in own], device=self.device
            )
            seen = torch.cat([mask[copies], torch.ones_like(given)], 1)
            positions = seen.cumsum(1)[:, -longest:] - 1
            logits = (
                self.model(
                    input_ids=given, attention_mask=seen, position_ids=positions, past_key_values=again
                )
                .logits.float()
                .log_softmax(-1)
            )
            for at, ((row, place), label) in enumerate(zip(part, own, strict=True)):
                scores[row][place] += sum(logits[at, i, token] for i, token in enumerate(label[1:]))

    def _label(self, label: str) -> list[int]:
        """Tokens of a label as the answer's first."""
        if label not in self._labels:
            self._labels[label] = self._renderer.label(label)
        return self._labels[label]

    @cached_property
    def _labels(self) -> dict[str, list[int]]:
        return {}

    @cached_property
    def _head(self) -> list[int]:
        return self._renderer.opening

    @cached_property
    def _masks(self) -> Masks:
        return Masks(self.tokenizer, self._renderer.ends, self._renderer.opens)


def _line(prompt: Prompt) -> tuple[object, ...]:
    """Whose prompts begin alike."""
    return prompt.set.set_id, prompt.mode, prompt.thinking


def pick_device(device: str) -> str:
    """'auto' becomes 'cuda' where there is a GPU, else 'cpu'."""
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def load_tokenizer(model: str | Path, *, chat: bool = True) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, with a padding token and, where `chat`, a chat template.

    Raises:
        BadModel: the folder or its tokenizer is missing, or it lacks the chat template.
    """
    _must_exist(model, weights=False)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except Exception as error:  # the library below raises bare ones
        raise BadModel(
            "a model folder needs a tokenizer that transformers can load",
            seen=f"{model}: {first_line(error)}",
            remedy=(
                "save one beside the weights (tokenizer.save_pretrained(folder)), or point at the folder that"
                " holds it"
            ),
        ) from error
    if chat and not tokenizer.chat_template:
        raise BadModel(
            "a policy needs a tokenizer with a chat template",
            seen=f"{model} has none",
            remedy="use an instruction-tuned model, or set tokenizer.chat_template and save it",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(model: str | Path, *, float32: bool = False) -> PreTrainedModel:
    """The weights of a model folder, in bfloat16 where that is right for inference (`in_bfloat16`) unless
    `float32`. Adapters are merged into those that they belong to, in float32.

    Raises:
        BadModel: weights or config are missing, cut or unreadable, or the weights are another model's.
    """
    _must_exist(model)
    transformers_logging.disable_progress_bar()
    base = base_of(model)
    loaded = _read(model) if base is None else adapted(_read(base), Path(model)).merge_and_unload()
    return loaded if float32 or not in_bfloat16(loaded.num_parameters()) else loaded.to(torch.bfloat16)


def adapted(model: PreTrainedModel, folder: Path, *, train: bool = False) -> Any:
    """The model with the adapters of a folder in it (peft's PeftModel); to `train` them on, or to read.

    Raises:
        BadModel: they are missing, or another model's.
    """
    from peft import PeftModel  # a second to import, for the few models that have adapters

    try:
        return PeftModel.from_pretrained(cast("Any", model), str(folder), is_trainable=train)
    except UNLOADABLE as error:
        raise BadModel(
            "a folder of adapters needs those of the model that it belongs to",
            seen=f"{folder}: {first_line(error)}",
            remedy=f"put back {ADAPTERS} and adapter_model.safetensors as they were saved",
        ) from error


def _read(model: str | Path) -> Any:
    """Whole weights, in float32."""
    try:
        read: Any = AutoModelForCausalLM.from_pretrained(
            model, dtype=torch.float32, output_loading_info=True
        )  # a pair, which its types do not say
    except UNLOADABLE as error:
        raise BadModel(
            "a model folder needs a config and weights that transformers can load",
            seen=f"{model}: {first_line(error)}",
            remedy="save them with model.save_pretrained(folder), or run `ranker fetch`",
        ) from error
    loaded, found = read
    if missing := sorted(found["missing_keys"]):
        # transformers would go on with random numbers in their place
        raise BadModel(
            "a model folder's weights are those that its config asks for",
            seen=f"{model}: {len(missing)} are missing, for example {missing[0]}",
            remedy="fetch weights and config of one model, whole",
        )
    return loaded


def in_bfloat16(parameters: int) -> bool:
    """Whether inference runs in bfloat16: not below 50 million parameters, nor where it would be emulated."""
    return parameters >= SMALL and computes_bfloat16()


def computes_bfloat16() -> bool:
    """Whether this machine multiplies in bfloat16.

    A CPU that emulates it (AVX2 alone) is five to seven times as fast in float32, measured at SmolLM2's
    widths.
    """
    return torch.cuda.is_available() or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def context_length(model: Any) -> int:
    """Tokens that a model reads at most, by whichever name its config has for it (of one with several parts:
    the text part's). UNBOUNDED where it names none, as positions that are no table need none.
    """
    config = model.config.get_text_config(decoder=True)
    named = (getattr(config, name, None) for name in CONTEXT_NAMES)
    return next((value for value in named if isinstance(value, int) and value > 0), UNBOUNDED)


def declared_ends(model: Any) -> frozenset[int]:
    """Every token that a model's generation_config declares as an end."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list | tuple) else [ends]
    return frozenset(end for end in listed if isinstance(end, int))


def _must_exist(model: str | Path, *, weights: bool = True) -> None:
    if isinstance(model, Path) or str(model).startswith((".", "/")):  # else it is a hub name
        require(Path(model), weights=weights)


def _until_end(tokens: list[int], ends: frozenset[int]) -> tuple[list[int], bool]:
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[:place], True
    return tokens, False


def _chunks(order: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
