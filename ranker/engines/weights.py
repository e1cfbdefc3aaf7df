"""Whether a model folder's files are whole: looked at before they are loaded, by their first bytes and their
sizes. Needs no torch, and milliseconds, so that a run of hours is refused before it begins.
"""

from __future__ import annotations

import json
import zipfile
from math import prod
from pathlib import Path
from typing import Any

from ranker.errors import BadModel

POINTER = b"version https://git-lfs.github.com/spec/"
"""How the stand-in begins that git leaves of a file where its large-file storage was not fetched."""
POINTER_BYTES = 1_024
SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"
TEXTS = ("*.json", "*.model", "*.txt", "*.jinja")


def require_texts(folder: Path) -> None:
    """Refuse a folder whose config, tokenizer or template is a pointer, or whose JSON is cut.

    Raises:
        BadModel: naming the file, its size and the remedy.
    """
    for path in sorted(path for pattern in TEXTS for path in folder.glob(pattern)):
        _require_content(path)
    _json(folder / "config.json")


def require_weights(folder: Path) -> None:
    """Refuse a folder without weights, or whose weights are not all there.

    Raises:
        BadModel: naming the file, its size and the remedy.
    """
    found = [folder / name for name in _listed(folder)]
    if not found:
        raise BadModel(
            "a model folder needs weights",
            seen=f"no *.safetensors and no {PICKLED} in {folder}",
            remedy="save them with model.save_pretrained(folder), or run `ranker fetch`",
        )
    for path in found:
        if not path.is_file():
            raise BadModel(
                "a model's index lists weights that are there",
                seen=f"no {path}, one of {len(found)} files",
                remedy="fetch the file that is missing; the folder was not copied to its end",
            )
        _require_content(path)
        if path.suffix == ".safetensors":
            _require_whole(path)
        elif path.open("rb").read(2) == b"PK" and not zipfile.is_zipfile(path):
            raise _cut(path, f"{path.stat().st_size:,} bytes, without the end of an archive")


def parameters(folder: Path) -> int | None:
    """How many numbers the weights of a model folder have, by the heads of its safetensors; None where it has
    none such.

    Raises:
        BadModel: one of them is cut.
    """
    if not folder.is_dir():
        return None
    heads = [_head(folder / name) for name in _listed(folder) if name.endswith(".safetensors")]
    return sum(prod(one["shape"]) for _, tensors in heads for one in tensors) if heads else None


def _listed(folder: Path) -> list[str]:
    """The files that transformers will load: of one file, of an index, or whatever safetensors there are."""
    for name in (SAFETENSORS, PICKLED):
        index = folder / f"{name}{INDEX}"
        if (folder / name).is_file():
            return [name]
        if index.is_file():
            _require_content(index)
            listed = _json(index).get("weight_map")
            if isinstance(listed, dict) and listed:
                return sorted(set(map(str, listed.values())))
            raise BadModel(
                "a model's index lists its weights", seen=f"no weight_map in {index}", remedy=_FETCH
            )
    return sorted(path.name for path in folder.glob("*.safetensors"))


_FETCH = "fetch the file again, whole"


def _require_content(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(len(POINTER))
    if first == POINTER and size <= POINTER_BYTES:
        raise BadModel(
            "a model's files are there themselves",
            seen=f"{path}: {size} bytes, a pointer of git-lfs",
            remedy=f"run `git lfs install && git lfs pull` in {path.parent}, or download the file itself",
        )
    if not size and path.suffix not in (".txt", ".jinja"):
        raise _cut(path, "0 bytes")


def _require_whole(path: Path) -> None:
    """A safetensors file says in its head where its last tensor ends."""
    size = path.stat().st_size
    length, tensors = _head(path)
    try:
        whole = 8 + length + max((one["data_offsets"][1] for one in tensors), default=0)
    except (KeyError, IndexError, TypeError) as error:
        raise _no_head(path, error) from error
    if size != whole:
        raise _cut(path, f"{size:,} bytes of {whole:,}")


def _head(path: Path) -> tuple[int, list[dict[str, Any]]]:
    """Bytes of a safetensors file's head, and what it says of each tensor."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 + length:
            raise _cut(path, f"{size:,} bytes, of which the head alone has {8 + length:,}")
        try:
            head: Any = json.loads(file.read(length))
            return length, [one for name, one in head.items() if name != "__metadata__"]
        except (ValueError, AttributeError) as error:
            raise _no_head(path, error) from error


def _no_head(path: Path, error: Exception) -> BadModel:
    return _cut(path, f"{path.stat().st_size:,} bytes, no head of safetensors ({error})")


def _json(path: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _cut(path, f"{path.stat().st_size:,} bytes, {error}") from error
    if not isinstance(found, dict):
        raise _cut(path, f"{path.stat().st_size:,} bytes, no JSON object")
    return found


def _cut(path: Path, seen: str) -> BadModel:
    return BadModel("a model's files are whole", seen=f"{path}: {seen}", remedy=_FETCH)
