"""Every reader against the one shared list of awkward values, files and places; a new reader is tested by
being listed in FORMATS of `awkward`.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranker.datasets import ir_collection, readers
from ranker.datasets.bundle import Bundle
from ranker.datasets.values import characters
from ranker.errors import BadSource, RankerError
from tests.full_length import at_full_length
from tests.ranker.datasets import awkward
from tests.ranker.datasets.awkward import FORMATS, Format, Values, line, write

EXAMPLES = int(os.environ.get("RANKER_FUZZ_EXAMPLES", "0"))
"""Generated files for each test, other ones each time; without it the same 50."""
PLACE = r", (row|entry|record) \d+"
formats = pytest.mark.parametrize("form", FORMATS, ids=str)


@pytest.fixture(autouse=True)
def _no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """ir_datasets' command takes a second for each part; tests/…/test_ir_collection.py runs it."""
    monkeypatch.setattr(ir_collection, "_exported", lambda task, home, part: awkward.exported(home, part))


def read(form: Format, folder: Path, **options: Any) -> Bundle:
    readers.digest(form.task(**options), folder)
    return readers.read(form.task(**options), folder)


def test_every_reader_is_listed() -> None:
    assert {form.reader for form in FORMATS} | awkward.WITHOUT_FILES == set(readers.readers())


@formats
def test_an_ordinary_source_is_read_as_its_rules_say(tmp_path: Path, form: Format) -> None:
    files = form.files(Values())
    assert form.frames(read(form, write(tmp_path, files))) == form.reference(files)


# -- values

TEXT_CASES = [
    pytest.param(form, slot, value, id=f"{form}-{slot}-{name}")
    for form in FORMATS
    for slot in form.texts
    for name, value in (awkward.TEXTS | awkward.VALUES).items()
    if form.fits(slot, value)
]


@pytest.mark.parametrize(("form", "slot", "value"), TEXT_CASES)
def test_an_awkward_text_is_shown_by_the_rule(tmp_path: Path, form: Format, slot: str, value: Any) -> None:
    values = Values().having(slot, value)
    source, shown = write(tmp_path, form.files(values)), line(value)
    if not shown and slot == "query" and slot not in form.left_out:
        with pytest.raises(BadSource, match=PLACE):
            read(form, source)
        return
    bundle = read(form, source)
    if not shown and slot in form.left_out:
        assert sum(bundle.left_out.values()) == 1 and bundle.queries.height == 1
        return
    assert form.item(values) in bundle.items.select("title", "text").rows()
    assert slot != "query" or shown in bundle.queries["text"].to_list()
    counted = [why for why in bundle.left_out if "U+FFFD" in why]
    assert bool(counted) == ("\ufffd" in shown), "what is lost is counted"


@pytest.mark.parametrize(
    ("form", "slot", "value"),
    [
        pytest.param(form, slot, value, id=f"{form}-{slot}-{name}")
        for form in FORMATS
        for slot in form.texts
        if slot in form.typed
        for name, value in awkward.NO_TEXTS.items()
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, form: Format, slot: str, value: Any) -> None:
    files = form.files(Values().having(slot, value))
    if form.reader == "graphrouter" and isinstance(value, dict):
        return  # {feature: text} is a form of its own there
    with pytest.raises(BadSource) as caught:
        read(form, write(tmp_path, files))
    assert re.search(PLACE, caught.value.seen) or any(name in caught.value.seen for name in form.unplaced)


def known(bundle: Bundle, slot: str) -> set[str]:
    """Ids of a kind, wherever they stand; they must be the same there."""
    frame, column = {
        "item_id": (bundle.items, "item_id"),
        "query_id": (bundle.queries, "query_id"),
        "user_id": (bundle.interactions, "user_id"),
    }[slot]
    found = set(frame[column].to_list())
    for other in (bundle.interactions, bundle.qrels):
        if column in other.columns and column != "user_id":
            assert set(other[column].to_list()) <= found
    return found


def typed(given: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(f"{name}, no text", value) for name, value in given.items()]


ID_CASES = [
    pytest.param(form, slot, value, id=f"{form}-{slot}-{name}")
    for form in FORMATS
    for slot in form.ids
    for name, value in [*awkward.IDS.items(), *typed(awkward.ID_VALUES)]
    if form.fits(slot, value)
]


@pytest.mark.parametrize(("form", "slot", "value"), ID_CASES)
def test_an_awkward_id_stays_as_it_stands(tmp_path: Path, form: Format, slot: str, value: Any) -> None:
    bundle = read(form, write(tmp_path, form.files(Values().having(slot, value))))
    assert str(value) in known(bundle, slot)


NO_ID_CASES = [
    pytest.param(form, slot, value, id=f"{form}-{slot}-{name}")
    for form in FORMATS
    for slot in form.ids
    for name, value in [
        *awkward.NO_IDS.items(),
        *((f"{n}, typed", v) for n, v in awkward.NO_ID_VALUES.items()),
    ]
    if isinstance(value, str) or slot in form.typed
]


@pytest.mark.parametrize(("form", "slot", "value"), NO_ID_CASES)
def test_what_is_no_id_is_refused_with_its_place(tmp_path: Path, form: Format, slot: str, value: Any) -> None:
    with pytest.raises(BadSource, match=PLACE):
        read(form, write(tmp_path, form.files(Values().having(slot, value))))


@pytest.mark.parametrize(
    ("form", "slot", "said", "value"),
    [
        pytest.param(form, slot, said, value, id=f"{form}-{slot}-{said!r}")
        for form in FORMATS
        for slot in form.numbers
        for said, value in ([(v, v) for v in (1, 0, 1.0)] if slot in form.typed else awkward.NUMBERS.items())
    ],
)
def test_a_number_is_read_however_it_is_written(
    tmp_path: Path, form: Format, slot: str, said: Any, value: float
) -> None:
    bundle = read(form, write(tmp_path, form.files(Values().having(slot, said))))
    name = str(Values().item_id)
    if slot == "rating":
        assert (name, value) in bundle.interactions.select("item_id", "rating").rows()
    if slot in ("grade", "effect"):
        scale = 10 if slot == "effect" else 1
        assert (name, scale * value) in bundle.qrels.select("item_id", "relevance").rows()


@pytest.mark.parametrize(
    ("form", "slot", "said"),
    [
        pytest.param(form, slot, said, id=f"{form}-{slot}-{said!r:.20}")
        for form in FORMATS
        for slot in form.numbers
        for said in ((*awkward.NO_NUMBER_VALUES, -11) if slot in form.typed else awkward.NO_NUMBERS)
        if said != "-11" or slot not in ("time", "score")  # which may be negative
    ],
)
def test_what_is_no_number_is_refused_with_its_place(
    tmp_path: Path, form: Format, slot: str, said: Any
) -> None:
    file = form.numbers[slot]
    with pytest.raises(BadSource) as caught:
        read(form, write(tmp_path, form.files(Values().having(slot, said))))
    assert file in caught.value.seen and caught.value.remedy
    assert re.search(PLACE, caught.value.seen) or file in form.unplaced


# -- pools


@formats
def test_two_items_of_one_text_are_both_read_and_two_of_one_id_are_refused(
    tmp_path: Path, form: Format
) -> None:
    """What a pool makes of equal texts is the candidates stage's affair."""
    slot = next((slot for slot in form.texts if slot in ("title", "text")), "")
    if form.reader not in ("msmarco", "pydoc"):
        other = {"title": "Other", "text": "Bridges hum."}[slot]
        bundle = read(form, write(tmp_path, form.files(Values().having(slot, other))))
        assert bundle.items.height == read(form, write(tmp_path / "usual", form.files(Values()))).items.height
    if form.reader not in ("msmarco", "pydoc", "graphrouter"):
        with pytest.raises(BadSource):
            read(form, write(tmp_path, form.files(Values(item_id="other"))))


# -- files


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstd,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
SAME: dict[str, Callable[[str, bytes], tuple[str, bytes]]] = {
    "CRLF": lambda name, data: (name, data.replace(b"\n", b"\r\n")),
    "byte order mark": lambda name, data: (name, b"\xef\xbb\xbf" + data),
    "empty last lines": lambda name, data: (name, data + b"\n \n"),
    "no last line end": lambda name, data: (name, data.rstrip(b"\n")),
    "gz without its ending": lambda name, data: (name, gzip.compress(data)),
    **{
        f"packed as {ending}": lambda name, data, ending=ending, pack=pack: (name + ending, pack(data))
        for ending, pack in PACKERS.items()
    },
    "unpacked on the way": lambda name, data: (f"{name}.gz", data),
    "gz in two parts": lambda name, data: (
        f"{name}.gz",
        gzip.compress(data[:9]) + gzip.compress(data[9:]),
    ),
    "zst in two frames": lambda name, data: (f"{name}.zst", zstd(data[:9]) + zstd(data[9:])),
}
texts_alone = pytest.mark.parametrize("form", [f for f in FORMATS if not f.own_bytes], ids=str)


@pytest.mark.parametrize("change", SAME)
@texts_alone
def test_what_changes_nothing_changes_nothing(tmp_path: Path, form: Format, change: str) -> None:
    files = form.files(Values(title="Ünder", text="Ünder tow."))
    changed = dict(SAME[change](name, data) for name, data in files.items())
    assert form.frames(read(form, write(tmp_path, changed))) == form.reference(files)


OTHER: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "blank": lambda data: b" \n\n",
    "blank by Unicode": lambda data: "\u00a0\n".encode(),
    "cut gz": lambda data: gzip.compress(data * 9)[:-9],
    "cut zst": lambda data: zstd(data * 9)[:-9],
    "damaged gz": lambda data: gzip.compress(data)[:14] + b"\0\1\2" + gzip.compress(data)[17:],
    "Latin-1": lambda data: data + b"\xe9\n",
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "surrogates in UTF-8": lambda data: data + b"\xed\xa0\x80\n",
    "zip": lambda data: b"PK\x03\x04" + data,
    "Parquet": lambda data: b"PAR1" + data,
    "Git LFS": lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "HTML": lambda data: b"<!DOCTYPE html>\n<html><body>404</body></html>\n",
    "JSON": lambda data: b'{"error": "not found"}\n',
}


@pytest.mark.parametrize("what", OTHER)
@texts_alone
def test_another_format_under_the_right_name_is_refused(tmp_path: Path, form: Format, what: str) -> None:
    files = form.files(Values())
    for name, data in files.items():
        source = write(tmp_path / "source", files | {name: OTHER[what](data)})
        if what == "JSON" and name.endswith("llm_descriptions.json"):
            continue  # descriptions of other LLMs
        with pytest.raises(BadSource) as caught:
            read(form, source)
        assert Path(name).name in caught.value.seen and caught.value.remedy


@formats
def test_a_missing_or_unreadable_file_is_refused(
    tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    if form.reader == "ir_collection":
        return
    source = write(tmp_path, form.files(Values()))

    def denied(path: Path, *args: object, **named: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:  # root may read anything
        patch.setattr(Path, "read_bytes", denied)
        patch.setattr(Path, "open", denied)
        for ask in (readers.read, readers.digest):
            with pytest.raises(BadSource, match="Permission denied"):
                ask(form.task(), source)
    for name in form.files(Values()):
        if name == "llm_descriptions.json":
            continue
        (tmp_path / name).unlink()
        with pytest.raises(BadSource):
            read(form, source)
        (tmp_path / name).mkdir()
        with pytest.raises(BadSource):
            read(form, source)
        (tmp_path / name).rmdir()
        write(tmp_path, form.files(Values()))


# -- places

PLACES = (" a  b ", "#1?x=2", "100%25", "日本 é", "[x]*?", 'it\'s "one"', "-r", os.fsdecode(b"latin\xe9"))


@pytest.mark.parametrize("place", PLACES, ids=ascii)
@formats
def test_any_folder_will_do(tmp_path: Path, form: Format, place: str) -> None:
    files = form.files(Values())
    expected = form.reference(files)
    assert form.frames(read(form, write(tmp_path / place, files))) == expected
    bundle = read(form, tmp_path / place)
    bundle.location.encode()


@formats
def test_a_folder_may_be_relative_a_link_or_full_of_links(
    tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = form.files(Values())
    expected = form.reference(files)
    write(tmp_path / "real", files)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for number, name in enumerate(files):
        blob = tmp_path / "blobs" / str(number)
        (tmp_path / "links" / name).parent.mkdir(parents=True, exist_ok=True)
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(files[name])
        (tmp_path / "links" / name).symlink_to(blob)
    monkeypatch.chdir(tmp_path)
    for place in (Path("real"), Path("link"), Path("links"), Path("real/../link")):
        assert form.frames(read(form, place)) == expected
        assert readers.digest(form.task(), place) == readers.digest(form.task(), tmp_path / "real")


@pytest.mark.parametrize("place", ["nowhere", "x" * 300, "a\0b", "~nobody/x"], ids=ascii)
@formats
def test_no_place_is_refused(tmp_path: Path, form: Format, place: str) -> None:
    for ask in (readers.read, readers.digest):
        with pytest.raises(BadSource):
            ask(form.task(), tmp_path / place)


# -- generated files

awkward_texts = st.sampled_from([value for value in awkward.TEXTS.values() if len(value) < 1_000])
any_text = (
    awkward_texts
    | st.text(max_size=12)
    | st.text(st.sampled_from("ab \t\r\n\"'\\,;:|<>{}\0\ufeff\u2028"), max_size=8)
)
any_id = st.sampled_from([v for v in awkward.IDS.values() if len(v) < 100]) | st.text(min_size=1, max_size=6)


@st.composite
def values(draw: st.DrawFn, form: Format) -> Values:
    """Texts and ids that the format can hold, and numbers in any way of writing them."""
    found = Values()
    for slot in form.texts:
        kinds = any_text | st.sampled_from(list(awkward.VALUES.values())) if slot in form.typed else any_text
        found = found.having(slot, draw(kinds.filter(lambda value, slot=slot: form.fits(slot, value))))
    for slot in form.ids:
        found = found.having(slot, draw(any_id.filter(lambda value, slot=slot: form.fits(slot, value))))
    for slot in form.numbers:
        written = st.sampled_from([1, 0, 1.0] if slot in form.typed else list(awkward.NUMBERS))
        found = found.having(slot, draw(written))
    return found


def is_id(value: str) -> bool:
    """Whether an id shows anything and is one of a source's own; by Python's own tables."""
    import unicodedata

    shown = [c for c in characters(value) if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")]
    return bool(shown) and "\0" not in value and value not in ("other", "a", "u2", "q0")


def fine(form: Format, found: Values) -> bool:
    """Whether nothing of it breaks a rule: each id is one, and a query has a text."""
    ids = all(is_id(getattr(found, slot)) for slot in form.ids)
    return ids and all(line(getattr(found, slot)) for slot in ("query", *form.left_out))


fuzz = settings(
    max_examples=EXAMPLES or 25,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),  # busy machines are slow, and formats cannot hold all
)


@at_full_length
@formats
def test_generated_values_are_read_as_the_plain_parser_reads_them(
    tmp_path_factory: pytest.TempPathFactory, form: Format
) -> None:
    folder = tmp_path_factory.mktemp("source")

    @given(values(form))
    @fuzz
    def check(found: Values) -> None:
        files = form.files(found)
        try:
            bundle = read(form, write(folder, files))
        except BadSource as error:
            assert not fine(form, found), f"refused: {error}"
            assert re.search(PLACE, error.seen) or any(name in error.seen for name in form.unplaced)
        else:
            assert form.frames(bundle) == form.reference(files)

    check()


@st.composite
def damaged(draw: st.DrawFn, form: Format) -> awkward.Files:
    """A source of which one file was cut, or had bytes put in, dropped or turned."""
    files = form.files(draw(values(form)))
    name = draw(st.sampled_from(sorted(files)))
    data = files[name]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        new = draw(
            st.binary(max_size=3) | st.sampled_from([b"\n", b"\t", b'"', b"\r", b"\0", b"{", b"[", b"<"])
        )
        rest = draw(st.sampled_from([b"", data[at:], data[at + 1 :]]))
        data = data[:at] + draw(st.sampled_from([b"", new])) + rest
    return files | {name: data}


@at_full_length
@pytest.mark.parametrize("form", [f for f in FORMATS if f.reader != "ir_collection"], ids=str)
def test_a_damaged_file_is_refused_or_read_as_the_plain_parser_reads_it(
    tmp_path_factory: pytest.TempPathFactory, form: Format
) -> None:
    folder = tmp_path_factory.mktemp("source")

    @given(damaged(form))
    @fuzz
    def check(files: awkward.Files) -> None:
        try:
            bundle = read(form, write(folder, files))
        except RankerError as error:
            assert error.seen and error.remedy
        else:
            assert form.frames(bundle) == form.reference(files)

    check()
