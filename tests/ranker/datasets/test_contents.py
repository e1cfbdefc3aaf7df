"""A file's content: unpacked by what it holds, decoded, or refused with its place."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from ranker.datasets import contents
from ranker.errors import BadConfig, BadSource
from tests.ranker.datasets.test_awkward import PACKERS
from tests.ranker.datasets.test_files import written


@pytest.mark.parametrize("ending", contents.PACKED)
def test_text_is_unpacked_and_loses_its_byte_order_mark(tmp_path: Path, ending: str) -> None:
    data = "\ufeffgrün".encode()
    packed = PACKERS[ending](data)
    for name, held in (("x.txt", data), (f"x{ending}", packed), (f"y{ending}", data)):
        assert contents.text(written(tmp_path, held, name)) == "grün"
    assert contents.text(written(tmp_path, "grün".encode("latin-1")), "latin-1") == "grün"


def test_what_looks_packed_by_its_first_letters_may_be_a_text(tmp_path: Path) -> None:
    assert contents.text(written(tmp_path, b"BZh is how bzip2 begins")) == "BZh is how bzip2 begins"


@pytest.mark.parametrize("ending", contents.PACKED)
def test_a_packed_file_that_is_cut_or_damaged_is_refused(tmp_path: Path, ending: str) -> None:
    packed = PACKERS[ending](b"some text, " * 50)
    for cut in (packed[:-1], packed[: len(packed) // 2]):
        with pytest.raises(BadSource, match="must be whole"):
            contents.text(written(tmp_path, cut, f"x{ending}"))
    with pytest.raises(BadSource):  # zstd has no sum to check: what comes out is no text
        contents.text(written(tmp_path, packed[:12] + b"\xff" * 6 + packed[18:], f"x{ending}"))


@pytest.mark.parametrize(
    ("data", "name", "says"),
    [
        (b" \n", "x.txt", "x.txt has 2 bytes"),
        (gzip.compress(b"", mtime=0), "x.gz", "x.gz has 0 bytes"),
        (b"a\nb\xff\n", "x.txt", "x.txt, row 2: byte 0xff"),
        (b"PK\x03\x04", "x.txt", "x.txt, row 1: a zip archive"),
        ("grün".encode("utf-16"), "x.txt", "x.txt, row 1: UTF-16"),
        (b"version https://git-lfs.github.com/spec/v1\n", "x.gz", "a pointer of Git LFS"),
    ],
)
def test_what_is_no_text_is_named_with_its_row(tmp_path: Path, data: bytes, name: str, says: str) -> None:
    with pytest.raises(BadSource) as caught:
        contents.text(written(tmp_path, data, name))
    assert says in caught.value.seen and caught.value.remedy


@pytest.mark.parametrize("encoding", ["klingon", "hex", "undefined", "a\0b", ""])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(BadConfig, match="encoding"):
        contents.text(written(tmp_path, b"x\xff."), encoding)


def test_a_name_in_another_encoding_can_be_shown() -> None:
    assert contents.shown(Path(os.fsdecode(b"/a/gr\xfcn"))) == "/a/gr\\xfcn"
    assert contents.shown("日本") == "日本"


def test_a_packed_file_bears_the_name_of_what_is_in_it() -> None:
    assert [contents.bare(name) for name in ("a.tsv.gz", "a.zst", "a.tsv")] == ["a.tsv", "a", "a.tsv"]
