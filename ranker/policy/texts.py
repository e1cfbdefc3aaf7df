"""Texts that others wrote, as a prompt may hold them: cut to so many words, in any script, and without marks
that a template or a tokenizer would take for its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ranker.datasets.values import LOST, characters

DENSE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Of scripts that put no space between words, as a regular expression's class: Thai, Lao, Burmese, Khmer,
kana, ideographs.
"""
LONGEST = 32
"""Characters of one word: what has more (an address, a line of base64) counts as several."""
_WORD = re.compile(rf"[{DENSE}]{{1,2}}|[^\s{DENSE}]{{1,{LONGEST}}}")
_PARTS = re.compile(rf"[{DENSE}]+|[^{DENSE}]+")
_DENSE = re.compile(f"[{DENSE}]")
_NAMES = (
    r"s|bos|eos|pad|unk|mask|cls|sep|think|thinking|answer|system|user|assistant|tools?|tool_\w+|image|img|"
    r"video|audio|start_of_\w+|end_of_\w+|begin_of_\w+|fim_\w+|repo_?name|file_sep|filename|unused_?\d+|"
    r"gh_stars|issue_\w+|jupyter_\w+|commit_\w+|empty_output|"
    r"extra_id_\d+|reserved_\w+|SPECIAL_\d+|\w+_TOKEN"
)
_BRACKETED = (
    r"INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|ARGS|CALL_ID|THINK|IMG\w*|"
    r"AUDIO|PREFIX|MIDDLE|SUFFIX|CLS|SEP|MASK|PAD|UNK|BOS|EOS|[gs]MASK|control_\d+|unused\d+"
)
MARKS = re.compile(
    rf"<[|｜][^\s<>]{{0,60}}>|<[^\s<>]{{1,60}}[|｜]>|</?(?:{_NAMES})/?>|<</?SYS>>|\[/?(?:{_BRACKETED})\]"
)
"""What chat templates and tokenizers of the families in use read as their own (ChatML, Llama, Mistral, Gemma,
DeepSeek, Phi, BERT, T5), and the tags of our own answers.
"""


def plain(text: str, marks: re.Pattern[str] = MARKS) -> str:
    """`text` with a space behind the first character of each mark: `< |im_end|>` reads like `<|im_end|>` and
    is a control token to nobody, also where a server tokenizes.
    """
    return marks.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def readable(text: str) -> str:
    """`text` with U+FFFD for what is no character: NUL, and lone surrogates, which JSON can name and no file
    or tokenizer holds. Marks of writing direction and other control characters stay.
    """
    return characters(text).replace("\x00", LOST)


def words(text: str) -> int:
    """How many words a text has. Two characters of a script without spaces are reckoned as one, so that such
    a text is cut by the same rules as any other.
    """
    return sum(1 for _ in _WORD.finditer(text))


def head(text: str, n: int) -> str:
    """The first `n` words, single spaces between them; the whole text, as it is, where it has no more."""
    ends = [found.end() for found in _WORD.finditer(text)]
    return text if len(ends) <= n else " ".join(text[: ends[n - 1]].split())


def tail(text: str, n: int) -> str:
    """The last `n` words, as `head` gives the first."""
    starts = [found.start() for found in _WORD.finditer(text)]
    return text if len(starts) <= n else " ".join(text[starts[-n] :].split())


def terms(text: str) -> Iterator[str]:
    """The words of a text as an index has them, lower case, letters and digits of any script, single ones
    left out: of a script without spaces each pair of neighbours (as Lucene's CJK analysis does), and a single
    character where it stands alone.
    """
    if text.isascii():
        yield from _ASCII.findall(_CAMEL.sub(" ", text).lower())
        return
    for word in _letters(_CAMEL.sub(" ", unicodedata.normalize("NFKC", text)).lower()).split():
        for part in _PARTS.findall(word):
            if _DENSE.match(part):
                yield from (part[place : place + 2] for place in range(max(len(part) - 1, 1)))
            elif len(part) > 1:
                yield part


_ASCII = re.compile(r"[a-z0-9]{2,}")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _letters(text: str) -> str:
    """All that is no letter, digit or mark upon one as a space. A mark (category M) belongs to its letter:
    without it the words of Hindi, Thai or Arabic with vowels fall apart.
    """
    return "".join(char if char.isalnum() or unicodedata.category(char)[0] == "M" else " " for char in text)
