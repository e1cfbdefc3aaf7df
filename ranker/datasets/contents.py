"""A file's content: unpacked by what it holds, whatever its name says, decoded, or refused with its place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable
from pathlib import Path

from ranker.errors import BadConfig, BadSource

PACKED = (".gz", ".zst", ".bz2", ".xz")
"""Endings of files that may stand where one without is asked for."""


def bare(name: str) -> str:
    """A file's name without the ending that says it is packed."""
    return next((name.removesuffix(ending) for ending in PACKED if name.endswith(ending)), name)


def shown(path: Path | str) -> str:
    """A path as text that any file and terminal can hold: bytes of a name that are not UTF-8 as \\x.."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def text(path: Path, encoding: str = "utf-8") -> str:
    """A file's text, unpacked and without a byte order mark.

    Raises:
        BadSource: it is missing, unreadable, empty, a cut archive, of another format, or not in `encoding`
            (with the row of the first bad byte).
        BadConfig: there is no such encoding.
    """
    data = _unpacked(path, content(path))
    if encoding == "utf-8":
        _refuse_other_format(path, data)
    try:
        found = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise BadSource(
            f"a source file must be {encoding.upper()}",
            seen=f"{path}, row {row}: byte 0x{data[error.start]:02x}",
            remedy=f"convert it, for example: iconv -f latin1 -t utf-8 {path.name}",
        ) from error
    except (LookupError, ValueError) as error:  # ValueError: codecs that are for other things than files
        raise BadConfig(
            "an encoding must exist", seen=repr(encoding), remedy="for example utf-8 or latin-1"
        ) from error
    if not found.strip():
        raise BadSource(
            "a source file must not be empty",
            seen=f"{path} has {len(data)} bytes",
            remedy="fetch or export it again",
        )
    return found


def content(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        BadSource: it is missing or unreadable.
    """
    if not os.path.isfile(path):
        raise BadSource(
            "a source file must exist",
            seen=f"no file {path}",
            remedy="restore it, or name another folder in ingest.locations",
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSource(
            "a source file must be readable",
            seen=f"{path}: {error.strerror}",
            remedy="give this user the right to read it",
        ) from error


# -- what files hold


def _zstd(data: bytes) -> bytes:
    import pyarrow as pa  # Python's own comes with 3.14; pyarrow takes a moment, and few files need it

    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        return stream.read()


_ARCHIVES: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd),
    b"BZh": ("bzip2", bz2.decompress),
    b"\xfd7zXZ\x00": ("xz", lzma.decompress),
}
"""First bytes → what packs so."""


def _unpacked(path: Path, data: bytes) -> bytes:
    """By first bytes: a server that unpacks on the way leaves the name, and a copy loses it. No text begins
    so; but for bzip2's, which an archive alone has in a file named so.
    """
    for first, (name, unpack) in _ARCHIVES.items():
        if data.startswith(first) and (name != "bzip2" or path.suffix == ".bz2"):
            try:
                return unpack(data)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise BadSource(
                    "a packed file must be whole",
                    seen=f"{path}: {name}: {error}",
                    remedy="fetch or export it again",
                ) from error
    return data


_OTHER_FORMATS = {
    b"version https://git-lfs": ("a pointer of Git LFS, not the file", "run `git lfs pull` in its clone"),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, or export the table as text"),
    b"PAR1": ("a Parquet file", "export it as text, or name a task whose reader takes Parquet"),
    b"\xff\xfe": ("UTF-16", "convert it: iconv -f utf-16 -t utf-8"),
    b"\xfe\xff": ("UTF-16", "convert it: iconv -f utf-16 -t utf-8"),
}
"""First bytes → what such a file is, and the remedy."""


def other_format(data: bytes) -> tuple[str, str] | None:
    """What a file is that begins so, and the remedy, where it is no text."""
    return next((what for first, what in _OTHER_FORMATS.items() if data.startswith(first)), None)


def _refuse_other_format(path: Path, data: bytes) -> None:
    found = other_format(data)
    if found:
        what, remedy = found
        raise BadSource("a source file must be text in UTF-8", seen=f"{path}, row 1: {what}", remedy=remedy)
