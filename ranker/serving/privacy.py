"""What the request log keeps of texts: all, a pseudonym of each, or nothing. `--log-texts`.

A pseudonym is the same wherever a text comes again, so that clicks on it can be counted together. It is keyed
(HMAC-SHA256) by a file in the data folder that nothing else holds: who has the key can try texts, and without
it nobody can. Ids that clients send, and users, stay as they are: feedback has to find them.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from ranker.types import Fields, JsonObject

Texts = Literal["keep", "hash", "drop"]
TEXTS: tuple[Texts, ...] = get_args(Texts)
HASHED, DROPPED = "hashed:", "[dropped]"
_ANSWER = re.compile(r"<answer>.*</answer>", re.DOTALL)
_GRADE = re.compile(r"\b[A-Z][A-Z]?:? \d\b")
_REASONING = re.compile(r"<think>(.*?)</think>", re.DOTALL)


def masker(texts: Texts, home: Path) -> Callable[[Fields], Fields]:
    """What becomes of a line of the request log."""
    if texts == "keep":
        return lambda line: line
    key = _key(home) if texts == "hash" else b""

    def of(text: str) -> str:
        if texts == "drop" or not text:
            return DROPPED if text else ""
        return HASHED + hmac.digest(key, text.encode(), "sha256").hex()[:32]

    return lambda line: masked(line, of)


def masked(line: Fields, of: Callable[[str], str]) -> JsonObject:
    """A line whose texts are what `of` makes of them.

    Prompts go; of what a model wrote the labels of its answer and the grades of its reasoning stay, which the
    contracts compare with what was acted on.
    """
    known: JsonObject = {"steps": [_step(step) for step in line["steps"]]}
    if "query" in line:
        known["query"] = of(line["query"])
        known["query_items"] = [of(item) for item in line["query_items"]]
        known["candidates"] = [one | {"text": of(one["text"])} for one in line["candidates"]]
    return {**line, **known}


def _step(step: JsonObject) -> JsonObject:
    wrote = step["completion"]
    reasoning, answer = _REASONING.search(wrote), _ANSWER.search(wrote)
    grades = f"<think>{'; '.join(_GRADE.findall(reasoning[1]))}</think>" if reasoning else ""
    return step | {"prompt": "", "completion": grades + (answer[0] if answer else "")}


def _key(home: Path) -> bytes:
    """Made once, for its owner alone."""
    path = home / "texts.key"
    home.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(os.urandom(32))
        with suppress(FileExistsError):  # of two servers the first
            os.link(part, path)
        part.unlink()
    return path.read_bytes()
