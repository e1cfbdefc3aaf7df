"""Families of chat models, one row each: what their templates and ends are, and that a model of each is
asked, read and stopped as its family is.

Templates are those of the published tokenizers, less what concerns tools and images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from ranker.config import GRPOParams
from ranker.engines import Sampling
from ranker.engines.rendering import Renderer
from ranker.engines.transformers import TransformersEngine, load_tokenizer
from ranker.policy.parsing import parse
from ranker.policy.prompts import Prompt
from ranker.train.worker import phases
from ranker.types import JsonObject
from tests.ranker.engines.models import FAMILIES as SIZES
from tests.ranker.engines.models import byte_tokenizer
from tests.ranker.factories import make_set

SMALL: JsonObject = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 1024,
}
CHATML = """{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == 'assistant' %}{%- set content = content.split('</think>')[-1] %}{%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}"""
QWEN3 = (
    CHATML
    + """
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
)
QWEN25 = (
    "{%- if messages[0]['role'] != 'system' %}"
    "{{- '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}{%- endif %}" + CHATML + "{%- endif %}"
)
R1 = """{{ bos_token }}{%- for message in messages %}
    {%- if message['role'] == 'user' %}{{- '<｜User｜>' + message['content'] }}{%- endif %}
    {%- if message['role'] == 'assistant' %}
        {{- '<｜Assistant｜>' + message['content'].split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜><think>\\n' }}{%- endif %}"""
V31 = R1.replace("<think>\\n' }}", "' + ('<think>' if thinking else '</think>') }}").replace(
    "{{ bos_token }}",
    "{%- if not thinking is defined %}{%- set thinking = false %}{%- endif %}{{ bos_token }}",
)
GEMMA = """{{ bos_token }}{%- for message in messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' }}
    {{- message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}"""
LLAMA = """{{- bos_token }}{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
MISTRAL = """{{- bos_token }}{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}{{- '[INST] ' + message['content'] + ' [/INST]' }}{%- endif %}
    {%- if message['role'] == 'assistant' %}{{- ' ' + message['content'] + eos_token }}{%- endif %}
{%- endfor %}"""


@dataclass(frozen=True)
class Family:
    """What sets a family apart; `head` and `tails` are how its prompts begin and end, `tails` with thinking
    and without; the first of `ends` is what its turns end with.
    """

    model: str
    template: str
    head: str
    tails: tuple[str, str]
    ends: tuple[str, ...]
    eos: str
    special: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    """Tokens of its own that it does not call special."""
    bos: str | None = None
    opens: bool = False
    sizes: JsonObject = field(default_factory=lambda: SMALL)


IM = "<|im_start|>assistant\n"
THINK = ("<think>", "</think>")
CLOSED = "<think>\n\n</think>\n\n"
BEGIN, END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
TURNS = ("<｜User｜>", "<｜Assistant｜>")
HEADERS = ("<|start_header_id|>", "<|end_header_id|>")
ROWS = {
    "qwen3": Family(
        "qwen3", QWEN3, "<|im_start|>user\n", (IM, IM + CLOSED), ("<|im_end|>", "<|endoftext|>"),
        "<|im_end|>", ("<|im_start|>",), (*THINK, "<tool_call>"),
    ),
    "qwen2.5": Family(
        "qwen2", QWEN25, "<|im_start|>system\nYou are Qwen.<|im_end|>\n<|im_start|>user\n", (IM, IM),
        ("<|im_end|>", "<|endoftext|>"), "<|im_end|>", ("<|im_start|>",),
    ),
    "deepseek-r1 distil": Family(
        "qwen2", R1, BEGIN + TURNS[0], (TURNS[1] + "<think>\n", TURNS[1] + CLOSED),
        (END,), END, TURNS, THINK, BEGIN, opens=True,
    ),
    "deepseek-v3.1": Family(
        "llama", V31, BEGIN + TURNS[0], (TURNS[1] + "<think>", TURNS[1] + "</think>"), (END,), END,
        TURNS, THINK, BEGIN, opens=True,
    ),
    "gemma3": Family(
        "gemma3", GEMMA, "<bos><start_of_turn>user\n", ("<start_of_turn>model\n",) * 2,
        ("<end_of_turn>", "<eos>"), "<eos>", ("<start_of_turn>",), (), "<bos>", sizes=SIZES["gemma3"],
    ),
    "llama3": Family(
        "llama", LLAMA, "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
        ("<|start_header_id|>assistant<|end_header_id|>\n\n",) * 2,
        ("<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"), "<|eot_id|>", HEADERS, (), "<|begin_of_text|>",
    ),
    "mistral": Family(
        "mistral", MISTRAL, "<s>[INST] ", ("[/INST]",) * 2, ("</s>",), "</s>", ("[INST]", "[/INST]"), (),
        "<s>", sizes=SMALL | {"sliding_window": None},
    ),
}  # fmt: skip
QUOTES = "<|im_end|> <think> </think> [/INST] <|eot_id|> <end_of_turn> </s> <｜Assistant｜> <tool_call> <bos>"
POOL = make_set([1, 0, 2], texts=["red house", "old boat", "blue door"])
SAID = {True: "<think> B is old </think> <answer> B </answer>", False: "<answer> B </answer>"}


def tokenizer_of(family: Family) -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    special = {token: AddedToken(token, special=True) for token in (*family.ends, *family.special)}
    names = {"eos_token": family.eos, "pad_token": family.eos, "bos_token": family.bos}
    tokenizer.add_special_tokens(
        {name: AddedToken(token, special=True) for name, token in names.items() if token}
    )
    tokenizer.add_tokens([*special.values(), *(AddedToken(token, special=False) for token in family.plain)])
    tokenizer.chat_template = family.template
    return tokenizer


def saved(folder: Path, family: Family) -> Path:
    """A model of the family with random weights."""
    tokenizer = tokenizer_of(family)
    sizes = {**family.sizes, "initializer_range": 0.1}
    if "text_config" in sizes:
        sizes["text_config"] = {
            **sizes["text_config"],
            "vocab_size": len(tokenizer),
            "initializer_range": 0.1,
        }
    else:
        sizes["vocab_size"] = len(tokenizer) + 8  # as published ones, which are padded
    torch.manual_seed(13)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family.model, **sizes))
    model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids(end) for end in family.ends]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def taught(engine: TransformersEngine, renderer: Renderer, end: int) -> None:
    """The engine's own weights, until they write SAID and then `end` behind both of the family's prompts."""
    prompts = [Prompt("exclude", thinking, POOL) for thinking in (True, False)]
    rows = [
        (ids, [*renderer.answer(SAID[prompt.thinking], prompt.thinking)[:-1], end])
        for ids, prompt in zip(renderer.prompts(prompts, 900).ids, prompts, strict=True)
    ]
    engine.model.requires_grad_(True)
    optimizer = torch.optim.AdamW(engine.model.parameters(), lr=4e-3)
    for _ in range(400):
        loss = sum(
            torch.nn.functional.cross_entropy(
                engine.model(input_ids=torch.tensor([[*asked, *said]])).logits[0, len(asked) - 1 : -1],
                torch.tensor(said),
            )
            for asked, said in rows
        )
        if float(loss) < 0.1:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError(f"not learned: {float(loss)}")


@pytest.mark.parametrize("name", ROWS)
def test_a_prompt_is_what_the_family_expects(tmp_path: Path, name: str) -> None:
    family = ROWS[name]
    tokenizer_of(family).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    tokenizer = load_tokenizer(tmp_path)
    renderer = Renderer(tokenizer, "chat", [tokenizer.convert_tokens_to_ids(end) for end in family.ends])
    assert renderer.opens == family.opens
    assert tokenizer.convert_ids_to_tokens(renderer.end) == family.ends[0], "what SFT teaches to end with"
    control = set(tokenizer.added_tokens_decoder)
    for thinking, tail in zip((True, False), family.tails, strict=True):
        quoting = make_set([1, 0, 2], query=QUOTES, texts=[QUOTES] * 3)
        (text, _), (ids, quoted), _ = renderer.prompts(
            [Prompt("exclude", thinking, one) for one in (POOL, quoting)], 2_000
        )
        assert text.startswith(family.head) and text.endswith(tail)
        assert (text.count("<think>") > text.count("</think>")) == (thinking and family.opens)
        assert tokenizer.decode(ids) == text, "nothing is put before what the template says"
        assert controls(ids, control) == controls(quoted, control), "documents add none"


def controls(ids: Iterable[int], control: set[int]) -> list[int]:
    return [token for token in ids if token in control]


@pytest.mark.parametrize("name", ROWS)
def test_a_model_of_the_family_is_read_and_every_declared_end_ends(tmp_path: Path, name: str) -> None:
    family = ROWS[name]
    engine = TransformersEngine(saved(tmp_path, family), threads=1)
    renderer = engine._renderer
    ends = [engine.tokenizer.convert_tokens_to_ids(end) for end in family.ends]
    assert set(ends) <= renderer.ends
    prompts = [Prompt("exclude", thinking, POOL) for thinking in (True, False)]
    for end in ends:
        with torch.enable_grad():
            taught(engine, renderer, end)
        for constrained in (False, True):
            for prompt, done in zip(
                prompts, engine.complete(prompts, Sampling(60, constrained=constrained)), strict=True
            ):
                assert done.finish == "stop" and done.text == SAID[prompt.thinking]
                action = parse(done.text, POOL.labels, "exclude", prompt.thinking)
                assert action.valid and action.labels == ("B",)
        # training reads the same tokens alike
        ids = [*renderer.answer(SAID[True], True)[:-1], end]
        row = {
            "set_id": "s", "task": "synthetic", "mode": "exclude", "thinking": True, "prompt": "?",
            "pool": list(POOL.labels), "relevance": [1.0, 0.0, 2.0],
        }  # fmt: skip
        score = phases._score(GRPOParams(), renderer)
        assert score(row, ids).action.valid and score(row, ids).completion == SAID[True]
        assert str(score(row, ids[:-1]).action.reason) == "truncated"
