"""Prompts as token ids, and tokens as answers: what every engine that runs a model itself and the trainer do
alike.

Families of chat models differ in how thinking is switched (Qwen3 by an argument of its template), in who
opens `<think>` (the templates of DeepSeek-R1's distils do, so that an answer begins inside it) and in what
ends a turn (Gemma 3 and Llama 3 declare several tokens). All of it is read from tokenizer and template here.
Without thinking, the block that a template has opened is closed at once: a model finds its thoughts empty.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ranker.engines.grammar import ASKED, OPEN, SHUT, TAGS
from ranker.errors import BadModel
from ranker.policy.prompts import Message, Prompt, Style, compact_words, fitted, messages, shortened
from ranker.policy.texts import MARKS, plain
from ranker.types import JsonObject

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLE = 3
"""Words of a text that an error names."""
SWITCHES = ("enable_thinking", "thinking")
"""Arguments of chat templates that say whether a model thinks: of Qwen3, SmolLM3 and GLM, and of DeepSeek."""
EMPTY = f"\n{SHUT}\n\n"
"""Behind an opened block: Qwen3's template writes an empty one so."""
PROBE = "Probe"
"""An answer whose end is looked for."""


class Rendered(NamedTuple):
    """Prompts as the model reads them, one entry each."""

    texts: list[str]
    ids: list[list[int]]
    shortened: list[int]
    """Of how many texts of the prompt not every word is there."""


@dataclass(frozen=True)
class Renderer:
    """A tokenizer with a chat template, the prompt style that its model was trained with, and the tokens that
    the model's generation_config declares as ends.
    """

    tokenizer: PreTrainedTokenizerBase
    style: Style
    declared: Collection[int] = ()

    def prompts(self, prompts: Sequence[Prompt], budget: int | Sequence[int]) -> Rendered:
        """Each prompt as the model is to read it, and its token ids; texts are shortened where it has more
        than `budget` tokens (one number, or one each). What stands in a text for one of the tokenizer's
        special tokens is plain text.

        Raises:
            PromptTooLong: a prompt does not fit even so.
            BadModel: compact, and the vocabulary knows no word of the query, or none of any candidate.
        """
        budgets = [budget] * len(prompts) if isinstance(budget, int) else budget
        texts = [self._begun(messages(prompt, self.style, None, self._marks), prompt) for prompt in prompts]
        ids, words = self.ids(texts), list[int | None]([None] * len(texts))
        for i, (prompt, most) in enumerate(zip(prompts, budgets, strict=True)):
            if len(ids[i]) > most:
                room = most - len(self.ids([prompt.begun])[0])
                fitting = fitted(prompt, self.style, self._counter(prompt.thinking), room, self._marks)
                texts[i], words[i] = self._begun(fitting.messages, prompt), fitting.words
                ids[i] = self.ids([texts[i]])[0]
            self._require_words(prompt, ids[i])
        return Rendered(
            texts, ids, [shortened(one, self.style, n) for one, n in zip(prompts, words, strict=True)]
        )

    def text(self, tokens: Sequence[int], thinking: bool = False) -> str:
        """What was generated behind a prompt (`thinking`: that asked for it), up to the first end, without
        special tokens other than our tags; begun with `<think>` where the prompt had opened it.
        """
        last = next((place for place, token in enumerate(tokens) if token in self.ends), len(tokens))
        shown = [token for token in tokens[:last] if token not in self._silent]
        written = str(self.tokenizer.decode(shown)).strip()
        return f"{OPEN} {written}" if thinking and self.opens else written

    def answer(self, completion: str, thinking: bool) -> list[int]:
        """A completion as the tokens that a model is to write behind its prompt, its end with them: the
        inverse of `text`. Only our tags in it may be control tokens.
        """
        own = self._marks.sub(
            lambda found: found[0] if found[0] in TAGS else plain(found[0], self._marks), completion
        )
        if thinking and self.opens:
            own = own.lstrip().removeprefix(OPEN).lstrip()
        return [*self.ids([own])[0], self.end]

    @cached_property
    def ends(self) -> frozenset[int]:
        """Every token that ends an answer: the tokenizer's, and those that the model declares."""
        own: Any = self.tokenizer.eos_token_id  # wider in transformers' types
        return frozenset({*self.declared} | ({own} if isinstance(own, int) else set()))

    @cached_property
    def end(self) -> int:
        """The end that the template puts behind an answer, else the tokenizer's: Gemma 3 ends a turn with
        <end_of_turn>, and its tokenizer's <eos> stands nowhere in a chat.
        """
        turns = [{"role": "user", "content": PROBE}, {"role": "assistant", "content": PROBE}]
        whole = str(self.tokenizer.apply_chat_template(turns, tokenize=False))
        behind = self.ids([whole.rpartition(PROBE)[2]])[0]
        own: Any = self.tokenizer.eos_token_id
        return next((token for token in behind if token in self.ends), own)

    @cached_property
    def opens(self) -> bool:
        """Whether the template itself opens `<think>` for a model that is to think."""
        return self._templated([{"role": "user", "content": PROBE}], True).rstrip().endswith(OPEN)

    @cached_property
    def _silent(self) -> frozenset[int]:
        """Special tokens, which an answer does not show; a family's special `<think>` it does."""
        added = self.tokenizer.added_tokens_decoder
        special = {*self.tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}
        return frozenset(i for i in special if i not in added or added[i].content not in TAGS)

    def continued(self, before: Sequence[int], tokens: Sequence[int]) -> str:
        """What tokens add to a text that they follow, the space before them included."""
        head = list(before[-1:])
        start = self.tokenizer.decode(head, skip_special_tokens=True)
        whole = self.tokenizer.decode([*head, *tokens], skip_special_tokens=True)
        return str(whole).removeprefix(str(start))

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Token ids of texts as rendered, nothing put before them."""
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

    @cached_property
    def opening(self) -> list[int]:
        """The opening of an answer."""
        return self.ids([ASKED])[0]

    def label(self, label: str) -> list[int]:
        """Tokens of a label as the answer's first.

        Raises:
            BadModel: the vocabulary cannot write it there.
        """
        (whole,) = self.ids([f"{ASKED} {label}"])
        found = whole[len(self.opening) :]
        if whole[: len(self.opening)] != self.opening or not found or self.tokenizer.unk_token_id in found:
            raise BadModel(
                "scores need a vocabulary that can write every label behind <answer>",
                seen=f"{label!r} as tokens {whole}",
                remedy="use a model whose tokenizer knows it, or a strategy by written answers",
            )
        return found

    @cached_property
    def _marks(self) -> re.Pattern[str]:
        """MARKS, and the tokenizer's own tokens that are special or that the template writes, whatever they
        look like. (Gemma's has HTML's tags beside them, which are text.)
        """
        added = self.tokenizer.added_tokens_decoder.values()
        own = {
            token.content
            for token in added
            if len(token.content.strip()) > 1
            and (token.special or (token.content in self._template and not token.content.isalnum()))
        }
        longest_first = sorted(own, key=lambda content: (-len(content), content))
        return re.compile("|".join([*map(re.escape, longest_first), MARKS.pattern]))

    @cached_property
    def _switches(self) -> tuple[str, ...]:
        """Those of SWITCHES that the template knows."""
        known = SWITCHES if SHUT in self._template else ()
        return tuple(name for name in known if re.search(rf"\b{name}\b", self._template))

    @cached_property
    def _template(self) -> str:
        return str(self.tokenizer.get_chat_template())

    def _require_words(self, prompt: Prompt, ids: Sequence[int]) -> None:
        """A vocabulary made from training texts knows the letters that these had. Of a question in other ones
        it would read nothing, and answer as if it had been asked.
        """
        unknown: Any = self.tokenizer.unk_token_id  # wider in transformers' types
        if self.style != "compact" or unknown is None or unknown not in ids:
            return
        for name, texts in (
            ("the query", [prompt.set.query]),
            ("the candidates", [candidate.text for candidate in prompt.set.candidates]),
        ):
            words = list(dict.fromkeys(word for text in texts for word in compact_words(text)))
            if words and set(self.ids([" ".join(words)])[0]) == {unknown}:
                raise BadModel(
                    "a compact policy reads the words of its own vocabulary, that of its training texts",
                    seen=(
                        f"none of the {len(words)} words of {name} of {prompt.set.set_id}"
                        f" ({', '.join(words[:SAMPLE])}; {_script(words)})"
                    ),
                    remedy=(
                        "train a policy on texts in this language, or rank with a pretrained model (style"
                        " likelihood or chat)"
                    ),
                )

    def _counter(self, thinking: bool) -> Callable[[list[Message]], int]:
        return lambda prompt: len(self.ids([self.render(prompt, thinking)])[0])

    def _begun(self, turns: list[Message], prompt: Prompt) -> str:
        """Messages as the model reads them, with the beginning of its answer; what the template has opened is
        not opened again.
        """
        own = prompt.begun
        if prompt.thinking and self.opens:
            own = own.lstrip().removeprefix(OPEN).lstrip()
        return begun(self.render(turns, prompt.thinking), own)

    def render(self, prompt: list[Message], thinking: bool) -> str:
        """Messages as the model reads them, up to where its answer begins; `thinking`: it is asked to."""
        rendered = self._templated(prompt, thinking)
        opened = rendered.rstrip().endswith(OPEN)
        return f"{rendered}{EMPTY}" if opened and not thinking else rendered

    def _templated(self, prompt: list[Message], thinking: bool) -> str:
        options: JsonObject = dict.fromkeys(self._switches, thinking)
        return str(
            self.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True, **options)
        )


def begun(prompt: str, answer: str) -> str:
    """A rendered prompt, and the beginning of its answer behind it."""
    return prompt + answer if not answer or prompt[-1:].isspace() else f"{prompt} {answer}"


def closed(reasoning: str) -> str:
    """A reasoning that has begun, ended as it is, and the answer opened."""
    return f"{reasoning.rstrip()} {SHUT} {ASKED}"


def _script(words: Sequence[str]) -> str:
    """The scripts that words are written in, by their characters' names: Cyrillic, Hiragana, CJK, …"""
    letters = (char for word in words for char in word if char.isalpha())
    names = dict.fromkeys(unicodedata.name(char, "UNKNOWN").split()[0] for char in letters)
    return ", ".join(name if name == "CJK" else name.capitalize() for name in names) or "digits"
