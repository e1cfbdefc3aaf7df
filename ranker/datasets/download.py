"""Sources by address: files and archives by https://, data sets of the Hugging Face hub by hf://. A folder
appears whole or not at all.

    https://host/path/data.zip#sha256=…&folder=inside      several addresses, separated by spaces, come to one
    folder hf://datasets/owner/name@revision/folder               revision and folder may be left out

What has come before a connection broke lies in a hidden folder beside the target, and the next try goes on
from there (Range, with If-Range so that a file which has changed meanwhile starts anew). Archives (.zip,
.tar, .tar.gz, …) are unpacked.

What is here is asked about again when it is old enough (`bring`): by ETag, else Last-Modified (where a server
tells neither, the file is fetched and compared), a data set of the hub by its commit. An address with a
checksum, or with a commit, means one state and is never asked about.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import lzma
import os
import re
import shutil
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from filelock import FileLock

from ranker.errors import BadConfig, BadSource, Unreachable
from ranker.progress import Progress
from ranker.refs import digest

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo

Log = Callable[[str], None]
TRIES = 4
"""In a row without anything new."""
PAUSE = 1.0
"""Seconds before the second try, doubled each time."""
TIMEOUT = 60.0
"""Seconds without a sign of life."""
BLOCK = 1 << 18
BUSY = (408, 425, 429)
"""Refusals that may pass by themselves, as every 5xx does."""
HEADERS = {"User-Agent": "r1-ranker", "Accept-Encoding": "identity"}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # a password, or a method of packing that zipfile does not know
)
"""What zipfile and tarfile raise for archives that are cut, damaged or closed."""
_HUB = re.compile(
    r"hf://datasets/(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[^/\s]+))?(/(?P<folder>[^\s]+?))?/?"
)
ELSEWHERE = "or bring the data here by other means and name its folder with ingest.locations.<task>"


@dataclass(frozen=True, slots=True)
class Address:
    """One file to download: `sha256` is empty where none was given, `folder` where the whole archive
    counts.
    """

    url: str
    sha256: str = ""
    folder: str = ""

    @property
    def name(self) -> str:
        return PurePosixPath(unquote(urlsplit(self.url).path)).name


class _Cut(Exception):
    """The connection broke, or the server is busy; what has come is kept."""


def is_remote(location: str) -> bool:
    """Whether a location is an address, and not a path on this machine."""
    return location.startswith(("https://", "http://", "hf://"))


def place(home: Path, location: str) -> Path:
    """Where the data of an address lies, or will: other addresses, other folders."""
    name = (
        _hub(location)["name"].replace("/", "-")
        if location.startswith("hf://")
        else _addresses(location)[0].name
    )
    return home / "downloads" / f"{_ARCHIVE.sub('', name)}-{digest(location)[:8]}"


def display_name(location: str) -> str:
    """An address as it may be written down: without what follows a question mark (signatures, tokens)."""
    return " ".join(urlunsplit(urlsplit(part)._replace(query="")) for part in location.split())


def bring(
    home: Path, location: str, log: Log, *, refresh_hours: float | None = None, fall_back: bool = True
) -> Path:
    """The folder with an address' data, downloaded unless it is there already. Two processes take turns.

    Args:
        refresh_hours: age from which the source is asked whether it has changed, and fetched anew where it
            has; None never asks.
        fall_back: whether what is here is taken, and that told, where a source cannot be asked or fetched.

    Raises:
        BadConfig: the address cannot be read.
        BadSource: there is no such thing, it is not what the checksum says, or not a whole archive.
        Unreachable: the server does not answer, or the connection breaks again and again.
    """
    target = place(home, location)
    if not target.exists():
        with _claim(target) as room:
            if not target.exists():
                _put(target, *_fetched(location, room, log))
                shutil.rmtree(room)
        log(f"{display_name(location)}: now at {target}")
        return target
    if refresh_hours is None or _age(target) < refresh_hours or _means_one_state(location):
        return target
    try:
        _refresh(target, location, log)
    except (Unreachable, BadSource) as error:
        if not fall_back:
            raise
        log(
            f"{display_name(location)}: what came {_age(target):.0f} hours ago is read, as its source cannot"
            f" be had: {error.seen}"
        )
    return target


State = dict[str, str]
"""Of each file its address → what tells its state from others; of a data set of the hub its commit."""


def _fetched(location: str, room: Path, log: Log) -> tuple[Path, State]:
    if location.startswith("hf://"):
        return _from_hub(location, room, log)
    return _from_web(_addresses(location), room, log)


def _means_one_state(location: str) -> bool:
    if location.startswith("hf://"):
        return bool(_COMMIT.fullmatch(_hub(location)["revision"]))
    return all(address.sha256 for address in _addresses(location))


def _refresh(target: Path, location: str, log: Log) -> None:
    """Ask the source; fetch anew what has changed. Who reads the old folder has it until the next change."""
    with _claim(target) as room:
        _, known = _noted(target)
        if all(known.values()) and known == _asked(location, known):
            return _note(target, known)
        log(f"{display_name(location)}: has changed, or cannot tell: fetching anew")
        whole, state = _fetched(location, room, log)
        if _content(whole) != _content(target):
            former = target.with_name(f".{target.name}.former")
            shutil.rmtree(former, ignore_errors=True)
            target.rename(former)
            _put(target, whole, state)
            log(f"{display_name(location)}: has changed, and is here")
        else:
            _note(target, state)
        shutil.rmtree(room)


def _put(target: Path, whole: Path, state: State) -> None:
    _note(target, state)  # before: a kill in between asks again, where after it would have asked for ever
    whole.rename(target)


def _note(target: Path, state: State) -> None:
    _record(target).write_text(json.dumps({"asked": time.time(), "state": state}), encoding="utf-8")


def _record(target: Path) -> Path:
    return target.with_name(f".{target.name}.json")


def _noted(target: Path) -> tuple[float, State]:
    """When the source was asked last, and the state that it was in; of what came before notes were taken
    when it came, and nothing.
    """
    path = _record(target)
    if not path.is_file():
        return target.stat().st_mtime, {}
    noted = json.loads(path.read_text(encoding="utf-8"))
    return noted["asked"], noted["state"]


def _age(target: Path) -> float:
    """Hours since the source was asked last."""
    return max(0.0, time.time() - _noted(target)[0]) / 3600


def _asked(location: str, known: State) -> State:
    """The state that the source is in now; of files whose server cannot tell, nothing."""
    if location.startswith("hf://"):
        return {location: _commit(location)}
    return {address.url: _state_of(address, known.get(address.url, "")) for address in _addresses(location)}


def _state_of(address: Address, known: str) -> str:
    headers = HEADERS | ({"If-None-Match": known} if known.startswith('"') else {})
    try:
        with urlopen(Request(address.url, headers=headers), timeout=TIMEOUT) as answer:
            return _validator(answer.headers)
    except (URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        if isinstance(error, HTTPError) and error.code == 304:
            return known
        refused = isinstance(error, HTTPError)
        raise Unreachable(
            f"{display_name(address.url)} must say whether it has changed",
            seen=f"{error.code} {error.reason}" if refused else str(error) or type(error).__name__,
            remedy=f"{'mend the address' if refused else 'check the network'}; {ELSEWHERE}",
        ) from error


def _content(folder: Path) -> list[tuple[str, str]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path.relative_to(folder).as_posix(), _sha256(path)) for path in files]


@contextmanager
def _claim(target: Path) -> Generator[Path]:
    """The room beside `target` in which its parts gather, held by one process at a time."""
    room = target.with_name(f".{target.name}")
    room.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock"), fallback_to_soft=False):
        room.mkdir(exist_ok=True)
        try:
            yield room
        finally:
            if room.exists() and not any(room.iterdir()):
                room.rmdir()


# -- addresses


def _addresses(location: str) -> list[Address]:
    found = [_address(part) for part in location.split()]
    names = [address.name for address in found]
    if len(set(names)) < len(names):
        raise BadConfig(
            "files that come to one folder need names that differ",
            seen=", ".join(names),
            remedy="give each name once",
        )
    return found


def _address(text: str) -> Address:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise BadConfig(
            "an address must be one", seen=f"{text}: {error}", remedy="mend the address"
        ) from error
    given = dict(parse_qsl(parts.fragment, keep_blank_values=True))
    address = Address(
        urlunsplit(parts._replace(fragment="")),
        given.pop("sha256", "").lower(),
        given.pop("folder", "").strip("/"),
    )
    fault = (
        (
            "a host and a file name are needed"
            if not parts.netloc or address.name in ("", "..") or "\0" in address.name
            else ""
        )
        or ("no user and password may stand in it" if "@" in parts.netloc else "")
        or (
            f"{next(iter(given))!r} is unknown behind #"
            if given or (parts.fragment and "=" not in parts.fragment)
            else ""
        )
        or (
            "sha256 has 64 hexadecimal digits"
            if address.sha256 and not re.fullmatch("[0-9a-f]{64}", address.sha256)
            else ""
        )
        or ("folder is for archives" if address.folder and not _ARCHIVE.search(address.name) else "")
    )
    if fault or parts.scheme not in ("https", "http"):
        raise BadConfig(
            "an address is https://host/path/file#sha256=<64 digits>&folder=<inside an archive>, the part"
            " behind # as needed",
            seen=(
                f"{display_name(text) if '@' not in parts.netloc else parts.path}:"
                f" {fault or f'scheme {parts.scheme}'}"
            ),
            remedy="mend the address, see docs/tasks.md",
        )
    return address


def _hub(location: str) -> dict[str, str]:
    found = _HUB.fullmatch(location)
    if found is None:
        raise BadConfig(
            "an address of the Hugging Face hub is hf://datasets/owner/name@revision/folder, revision and"
            " folder as needed",
            seen=location,
            remedy="for example hf://datasets/microsoft/ms_marco/v1.1",
        )
    return {name: value or "" for name, value in found.groupdict().items()}


# -- the web


def _from_web(addresses: Sequence[Address], room: Path, log: Log) -> tuple[Path, State]:
    """Every file, then all of them unpacked in a folder of the room."""
    files = [_file(address, room, log) for address in addresses]
    whole = _fresh(room / "whole")
    for address, path in zip(addresses, files, strict=True):
        _unpack(address, path, whole)
    marks = {address.url: _mark(room / f"{address.name}.part") for address in addresses}
    return whole, {url: mark.read_text() if mark.exists() else "" for url, mark in marks.items()}


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _file(address: Address, room: Path, log: Log) -> Path:
    """One file of the room under its own name, whole and with the checksum that was given."""
    path, part = room / address.name, room / f"{address.name}.part"
    if path.exists():
        return path
    _stream(address, part, log)
    seen = _sha256(part)
    if address.sha256 and seen != address.sha256:
        part.unlink()
        _mark(part).unlink(missing_ok=True)
        raise BadSource(
            f"{display_name(address.url)} must have the checksum that was given",
            seen=f"sha256 {seen}, asked for {address.sha256}",
            remedy="do not use what came; if its owner has changed it on purpose, give the new checksum",
        )
    if not address.sha256:
        log(
            f"{address.name}: unchecked; write #sha256={seen} behind the address to accept nothing else from"
            " now on"
        )
    part.rename(path)
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _stream(address: Address, part: Path, log: Log) -> None:
    """Download until it is whole; a try that brought something new does not count."""
    # By hand: what ends this is the tries since the last new byte, which tenacity does not count.
    failed, have = 0, _size(part)
    while True:
        try:
            return _go_on(address, part, log)
        except (_Cut, URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            failed, have = (1 if _size(part) > have else failed + 1), _size(part)
            if failed >= TRIES:
                raise Unreachable(
                    f"{display_name(address.url)} must come whole",
                    seen=f"{error or type(error).__name__}, {failed} times in a row; {_mib(have)} are kept",
                    remedy=f"try again later, it goes on from there; check the network; {ELSEWHERE}",
                ) from error
            log(f"{address.name}: {error or type(error).__name__}; going on at {_mib(have)}")
            time.sleep(PAUSE * 2 ** (failed - 1))


def _go_on(address: Address, part: Path, log: Log) -> None:
    """One request, for what is missing where that can be known to belong to the same file."""
    have, mark = _size(part), _mark(part)
    same = mark.read_text() if mark.exists() else ""
    headers = dict(HEADERS)
    if have and same:
        headers |= {"Range": f"bytes={have}-", "If-Range": same}
    try:
        answer = urlopen(Request(address.url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return
        raise _refusal(address, error, part) from error
    with answer:
        start = (
            have
            if answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            else 0
        )
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        mark.write_text(_validator(answer.headers))
        with part.open("ab" if start else "wb") as out:
            _copy(answer, out, address.name, start, total, log)
    if total is not None and _size(part) != total:
        raise _Cut(f"the connection broke at {_mib(_size(part))} of {_mib(total)}")


def _mark(part: Path) -> Path:
    """Beside a part: which state of the file it is of."""
    return part.with_name(f"{part.name}.mark")


def _validator(headers: Message) -> str:
    """What tells one state of a file from another: a strong ETag, else the time of its last change, else
    nothing.
    """
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _refusal(address: Address, error: HTTPError, part: Path) -> Exception:
    if error.code == 416:
        part.unlink(missing_ok=True)  # what is here is no part of what is there
    if error.code in (416, *BUSY) or error.code >= 500:
        return _Cut(f"the server answers {error.code} {error.reason}")
    return BadSource(
        f"{display_name(address.url)} must be there to download",
        seen=f"{error.code} {error.reason}",
        remedy=f"mend the address; {ELSEWHERE}",
    )


def _copy(answer: IO[bytes], out: IO[bytes], name: str, done: int, total: int | None, log: Log) -> None:
    with Progress(name, total, log, unit="B") as progress:
        progress.done(made=False, parts=done)
        while block := answer.read(BLOCK):
            out.write(block)
            progress.done(parts=len(block))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


# -- archives


def _unpack(address: Address, path: Path, whole: Path) -> None:
    """An archive's content (its `folder`, or what its only outer folder holds) or the file itself, into
    `whole`.
    """
    if not _ARCHIVE.search(address.name):
        shutil.copy2(path, whole / address.name)
        return
    inside = _fresh(path.with_name(f"{path.name}.content"))
    try:
        _extract(path, inside)
    except _BROKEN as error:
        path.unlink()
        raise BadSource(
            f"{address.name} must be a whole archive",
            seen=str(error),
            remedy="check what the address gives, and fetch it again",
        ) from error
    held = _inner(address, inside)
    shutil.copytree(held, whole, dirs_exist_ok=True)
    shutil.rmtree(inside)


def _extract(path: Path, into: Path) -> None:
    """Nothing is written outside of `into`: zipfile mends such names, tarfile's data filter refuses them."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(
                into, [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
            )
    else:
        with tarfile.open(path) as archive:
            archive.extractall(into, filter="data")


def _inner(address: Address, inside: Path) -> Path:
    if address.folder:
        found = (inside / address.folder).resolve()
        if not found.is_dir() or not found.is_relative_to(inside.resolve()):
            raise BadSource(
                f"{address.name} must hold the folder {address.folder}",
                seen=", ".join(sorted(path.name for path in inside.iterdir())[:10]) or "nothing",
                remedy="mend `folder` behind # in the address",
            )
        return found
    held = list(inside.iterdir())
    return _inner(address, held[0]) if len(held) == 1 and held[0].is_dir() else inside


# -- the Hugging Face hub


def _from_hub(location: str, room: Path, log: Log) -> tuple[Path, State]:
    """The files of one commit of a data set (or of one of its folders); huggingface_hub resumes and checks
    them.

    $HF_ENDPOINT names another hub, $HF_TOKEN an account for data sets that need one.
    """
    from huggingface_hub import (
        snapshot_download,  # pyright: ignore[reportUnknownVariableType]  # untyped tqdm_class
    )

    asked = _hub(location)
    with _by_the_hub(location):
        info = _info(asked)
        log(f"{location}: commit {info.sha}")
        wanted = _wanted(location, [file.rfilename for file in info.siblings or []], asked["folder"])
        # By commit, and checked below: given a branch and no network, the library takes a half-filled folder
        # for the whole.
        with Progress(f"{location}: {len(wanted)} files", log=log):
            snapshot_download(
                asked["name"],
                repo_type="dataset",
                revision=info.sha,
                local_dir=room,
                allow_patterns=wanted,
                endpoint=_endpoint(),
            )
    missing = [name for name in wanted if not (room / name).is_file()]
    if missing:
        raise _no_hub(
            location, f"{len(missing)} of {len(wanted)} files have not come, {missing[0]} among them"
        )
    return _picked(room, wanted, asked["folder"]), {location: str(info.sha)}


def _commit(location: str) -> str:
    """The commit that an address of the hub means now."""
    with _by_the_hub(location):
        return str(_info(_hub(location)).sha)


def _info(asked: dict[str, str]) -> DatasetInfo:
    from huggingface_hub import HfApi

    revision = asked["revision"] or None
    return HfApi(endpoint=_endpoint()).dataset_info(asked["name"], revision=revision, timeout=TIMEOUT)


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def _by_the_hub(location: str) -> Generator[None]:
    """What goes wrong with the hub, as errors of ours."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # of whichever client it uses: the base of what a broken connection raises
        LocalEntryNotFoundError,
    )

    try:
        yield
    except HfHubHTTPError as error:
        raise _hub_refusal(location, error) from error
    except HFValidationError as error:
        raise BadConfig(
            "the hub must know such a name", seen=f"{location}: {error}", remedy="see docs/tasks.md"
        ) from error
    except (HTTPError, LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise _no_hub(location, f"{type(error).__name__}: {error}") from error


def _wanted(location: str, names: Sequence[str], folder: str) -> list[str]:
    """The files below `folder`; of the whole data set, where it is empty, without what the hub itself put
    there.
    """
    found = [
        name for name in names if (name.startswith(f"{folder}/") if folder else not name.startswith("."))
    ]
    if not found:
        raise BadSource(
            "the data set must hold files there",
            seen=(
                f"{location}: none in {folder or 'it'}; there are"
                f" {', '.join(sorted({name.partition('/')[0] for name in names})[:10]) or 'none'}"
            ),
            remedy="mend the folder in the address",
        )
    return found


def _picked(room: Path, wanted: Sequence[str], folder: str) -> Path:
    whole = _fresh(room / ".whole")
    for name in wanted:
        to = whole / PurePosixPath(name).relative_to(folder or ".")
        to.parent.mkdir(parents=True, exist_ok=True)
        (room / name).rename(to)
    return whole


def _hub_refusal(location: str, error: Any) -> Exception:
    said = str(error).strip().splitlines()
    if error.response is not None and (
        error.response.status_code >= 500 or error.response.status_code in BUSY
    ):
        return _no_hub(location, said[0])
    return BadSource(
        f"{location} must be there to download",
        seen=said[0] if said else type(error).__name__,
        remedy=(
            "mend the address; where its owner asks for consent, give it on the hub and set $HF_TOKEN;"
            f" {ELSEWHERE}"
        ),
    )


def _no_hub(location: str, seen: str) -> Unreachable:
    return Unreachable(
        f"{location} needs the Hugging Face hub",
        seen=" ".join(seen.split())[:300],
        remedy=f"check the network (or name a mirror with $HF_ENDPOINT) and try again; {ELSEWHERE}",
    )
