"""Sources by address, against real servers on 127.0.0.1: what breaks goes on, what is wrong is refused,
nothing half is left.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from ranker import progress
from ranker.cli.doctor import examine
from ranker.cli.fetch import fetch
from ranker.config import IngestParams, RetrainParams, task
from ranker.datasets import download
from ranker.errors import BadConfig, BadSource, Unreachable
from ranker.lake import Lake
from ranker.stages import ingest
from tests.ranker.material import passes, recbole, taste
from tests.ranker.test_progress import Seen

BODY = bytes(range(256)) * 4_000


class Web:
    """A file server that understands Range, and can break off, be busy, or have the file changed under it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        """The next answers break off after so many bytes."""
        self.refuse: list[int] = []
        """Statuses of the next answers."""
        self.asked: list[tuple[str, str | None]] = []
        """Path and Range of every request."""
        self.validators = self.ranges = True
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.answer(self)

            def log_message(self, *given: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        path, wanted = to.path.partition("?")[0], to.headers.get("Range")
        self.asked.append((path, wanted))
        body = self.files.get(path)
        status = self.refuse.pop(0) if self.refuse else 404 if body is None else 200
        if status != 200 or body is None:
            to.send_response(status)
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        if self.validators and to.headers.get("If-None-Match") == tag:
            to.send_response(304)
            to.end_headers()
            return
        start = int(wanted[6:-1]) if self.ranges and wanted and to.headers.get("If-Range") == tag else 0
        if start >= len(body):
            to.send_response(416)
            to.send_header("Content-Range", f"bytes */{len(body)}")
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        to.send_response(206 if start else 200)
        if start:
            to.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if self.validators:
            to.send_header("ETag", tag)
        to.send_header("Content-Length", str(len(body) - start))
        to.end_headers()
        cut = self.cuts.pop(0) if self.cuts else len(body)
        to.wfile.write(body[start : start + cut])
        to.wfile.flush()
        to.close_connection = True


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.01)
    made = Web()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def _sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _left(home: Path) -> list[str]:
    """What lies below the downloads, but for the locks and what is noted of each."""
    return sorted(
        path.relative_to(home / "downloads").as_posix()
        for path in (home / "downloads").rglob("*")
        if path.suffix not in (".lock", ".json")
    )


def _silent(text: str) -> None:
    pass


# -- the web


def test_a_file_comes_whole_and_once(home: Path, web: Web) -> None:
    web.files["/a.parquet"] = BODY
    address = f"{web.url}/a.parquet#sha256={_sha(BODY).upper()}"
    said: list[str] = []
    folder = download.bring(home, address, said.append)
    assert folder == download.place(home, address) and (folder / "a.parquet").read_bytes() == BODY
    assert _left(home) == [folder.name, f"{folder.name}/a.parquet"]
    assert download.bring(home, address, said.append) == folder and len(web.asked) == 1
    assert "now at" in said[-1]


def test_a_cut_connection_goes_on_where_it_broke(home: Path, web: Web) -> None:
    web.files["/a.csv"], web.cuts = BODY, [300_000, 1, 200_000]
    said: list[str] = []
    folder = download.bring(home, f"{web.url}/a.csv#sha256={_sha(BODY)}", said.append)
    assert (folder / "a.csv").read_bytes() == BODY
    assert [wanted for _, wanted in web.asked] == [None, "bytes=300000-", "bytes=300001-", "bytes=500001-"]
    assert "going on at 0.3 MiB" in said[0]


def test_another_process_goes_on_where_the_first_gave_up(
    home: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["/a.csv"], web.cuts, web.refuse = BODY, [400_000], []
    monkeypatch.setattr(download, "TRIES", 1)
    with pytest.raises(
        Unreachable,
        match=r"must come whole\n.*the connection broke at 0\.4 MiB of 1\.0 MiB.*0\.4 MiB are kept",
    ):
        download.bring(home, f"{web.url}/a.csv", _silent)
    assert not download.place(home, f"{web.url}/a.csv").exists(), "what is not whole has not its name"
    folder = download.bring(home, f"{web.url}/a.csv", _silent)
    assert web.asked[-1] == ("/a.csv", "bytes=400000-") and (folder / "a.csv").read_bytes() == BODY
    assert _left(home) == [folder.name, f"{folder.name}/a.csv"]


def test_a_file_that_has_changed_meanwhile_starts_anew(
    home: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["/a.csv"], web.cuts = BODY, [400_000]
    monkeypatch.setattr(download, "TRIES", 1)
    with pytest.raises(Unreachable):
        download.bring(home, f"{web.url}/a.csv", _silent)
    web.files["/a.csv"] = BODY[::-1]
    assert (download.bring(home, f"{web.url}/a.csv", _silent) / "a.csv").read_bytes() == BODY[::-1]


@pytest.mark.parametrize("missing", ["ranges", "validators"])
def test_a_server_without_ranges_or_validators_starts_anew(home: Path, web: Web, missing: str) -> None:
    web.files["/a.csv"], web.cuts = BODY, [400_000]
    setattr(web, missing, False)
    assert (download.bring(home, f"{web.url}/a.csv", _silent) / "a.csv").read_bytes() == BODY
    assert len(web.asked) == 2


def test_a_part_that_was_whole_already_is_taken(home: Path, web: Web) -> None:
    """As a process leaves it that was killed between the last byte and the renaming."""
    web.files["/a.csv"] = BODY
    room = download.place(home, f"{web.url}/a.csv")
    room = room.with_name(f".{room.name}")
    room.mkdir(parents=True)
    (room / "a.csv.part").write_bytes(BODY)
    (room / "a.csv.part.mark").write_text(f'"{hashlib.md5(BODY).hexdigest()}"')
    assert (download.bring(home, f"{web.url}/a.csv", _silent) / "a.csv").read_bytes() == BODY
    assert len(web.asked) == 1


def test_a_wrong_checksum_is_refused_and_nothing_stays(home: Path, web: Web) -> None:
    web.files["/a.csv"] = BODY
    with pytest.raises(BadSource, match=rf"checksum that was given\n.*sha256 {_sha(BODY)}, asked for 0000"):
        download.bring(home, f"{web.url}/a.csv#sha256={'0' * 64}", _silent)
    assert _left(home) == []


def test_without_a_checksum_it_is_told(home: Path, web: Web) -> None:
    web.files["/a.csv"], said = BODY, list[str]()
    download.bring(home, f"{web.url}/a.csv", said.append)
    assert f"#sha256={_sha(BODY)}" in said[0]


def test_what_is_not_there_is_refused_at_once(home: Path, web: Web) -> None:
    with pytest.raises(BadSource, match=r"404 Not Found\n.*ingest\.locations"):
        download.bring(home, f"{web.url}/none.csv", _silent)
    assert len(web.asked) == 1 and _left(home) == []


def test_a_busy_server_is_asked_again_and_then_given_up(home: Path, web: Web) -> None:
    web.files["/a.csv"], web.refuse = BODY, [503, 429]
    assert download.bring(home, f"{web.url}/a.csv", _silent).is_dir()
    web.files["/b.csv"], web.refuse = BODY, [500] * download.TRIES
    with pytest.raises(Unreachable, match=r"500 .*, 4 times in a row"):
        download.bring(home, f"{web.url}/b.csv", _silent)


def test_no_server_at_all_is_unreachable(home: Path, web: Web) -> None:
    nowhere = "http://127.0.0.1:9/a.csv"
    with pytest.raises(Unreachable, match=r"refused.*\n.*check the network"):
        download.bring(home, nowhere, _silent)


def test_progress_is_counted_in_bytes(home: Path, web: Web) -> None:
    web.files["/a.csv"], screen = BODY, Seen()
    progress.show(screen)
    try:
        download.bring(home, f"{web.url}/a.csv", _silent)
    finally:
        progress.show(None)
    assert screen.work == [["a.csv"], []]
    line = screen.lasting[0].line
    assert re.fullmatch(r"a\.csv: 1\.0 of 1\.0 MiB \(100%\), [\d.,]+ MiB/s", line), line


def test_two_at_once_download_once(home: Path, web: Web) -> None:
    web.files["/a.csv"], found = BODY, list[Path]()
    both = [
        threading.Thread(target=lambda: found.append(download.bring(home, f"{web.url}/a.csv", _silent)))
        for _ in range(2)
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 2 and len(web.asked) == 1


def test_what_follows_a_question_mark_is_not_written_down(home: Path, web: Web) -> None:
    web.files["/a.csv"], said = BODY, list[str]()
    download.bring(home, f"{web.url}/a.csv?token=secret", said.append)
    with pytest.raises(BadSource) as caught:
        download.bring(home, f"{web.url}/b.csv?token=secret", said.append)
    assert "secret" not in " ".join([*said, str(caught.value)])


# -- archives


def _zip(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _tar(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            facts = tarfile.TarInfo(name)
            facts.size = len(content)
            archive.addfile(facts, io.BytesIO(content.encode()))
    return packed.getvalue()


NESTED = {"outer/one/a.txt": "A", "outer/one/deep/b.txt": "B", "outer/two/c.txt": "C"}


@pytest.mark.parametrize(("name", "pack"), [("data.zip", _zip), ("data.tar.gz", _tar), ("data.tgz", _tar)])
def test_an_archive_is_unpacked_without_its_outer_folder(
    home: Path, web: Web, name: str, pack: Callable[[dict[str, str]], bytes]
) -> None:
    web.files[f"/{name}"] = pack({**NESTED, **({"__MACOSX/._a": "x"} if name.endswith("zip") else {})})
    folder = download.bring(home, f"{web.url}/{name}", _silent)
    assert folder.name.startswith("data-")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")) == [
        "one/a.txt",
        "one/deep/b.txt",
        "two/c.txt",
    ]
    inner = download.bring(home, f"{web.url}/{name}#folder=outer/one", _silent)
    assert (
        inner != folder
        and (inner / "a.txt").read_text() == "A"
        and (inner / "deep" / "b.txt").read_text() == "B"
    )
    assert not [name for name in _left(home) if name.startswith(".")]


def test_an_archive_without_the_folder_is_refused(home: Path, web: Web) -> None:
    web.files["/data.zip"] = _zip(NESTED)
    for wrong in ("outer/three", "../.."):
        with pytest.raises(BadSource, match=r"must hold the folder .*\n.*outer"):
            download.bring(home, f"{web.url}/data.zip#folder={wrong}", _silent)


def test_nothing_is_written_outside(home: Path, web: Web) -> None:
    web.files["/data.tar.gz"], web.files["/data.zip"] = (
        _tar({"../../../evil.txt": "x"}),
        _zip({"../../../evil.txt": "x", "a.txt": "A"}),
    )
    with pytest.raises(BadSource, match="must be a whole archive"):
        download.bring(home, f"{web.url}/data.tar.gz", _silent)
    download.bring(home, f"{web.url}/data.zip", _silent)
    assert all(home / "downloads" in found.parents for found in home.parent.rglob("evil.txt"))


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz"])
def test_what_is_no_archive_is_refused_and_fetched_again_next_time(home: Path, web: Web, name: str) -> None:
    web.files[f"/{name}"] = b"<html>Please log in</html>"
    with pytest.raises(BadSource, match="must be a whole archive"):
        download.bring(home, f"{web.url}/{name}", _silent)
    web.files[f"/{name}"] = (_zip if name.endswith("zip") else _tar)(NESTED)
    assert (download.bring(home, f"{web.url}/{name}", _silent) / "two").is_dir()


def test_several_addresses_come_to_one_folder_and_what_has_come_is_not_asked_again(
    home: Path, web: Web
) -> None:
    web.files["/x/a.tsv"] = b"A"
    both = f"{web.url}/x/a.tsv {web.url}/y/b.zip"
    with pytest.raises(BadSource, match="404"):
        download.bring(home, both, _silent)
    web.files["/y/b.zip"] = _zip({"b.tsv": "B"})
    folder = download.bring(home, both, _silent)
    assert sorted(path.name for path in folder.iterdir()) == ["a.tsv", "b.tsv"]
    assert [path for path, _ in web.asked].count("/x/a.tsv") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "https://",
        "https://host/",
        "https://host/a.csv#sha256=12",
        "https://host/a.csv#md5=12",
        "https://host/a.csv#somewhere",
        "https://host/a.csv#folder=x",
        "https://user:secret@host/a.csv",
        "https://host/a.csv https://other/a.csv",
        "https://host/a.csv ftp://host/b.csv",
        "hf://datasets/alone",
        "hf://models/owner/name",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_before_anything_is_asked(home: Path, wrong: str) -> None:
    with pytest.raises(BadConfig) as caught:
        download.bring(home, wrong, _silent)
    assert caught.value.remedy and "secret" not in str(caught.value)


# -- the hub


class Hub(Web):
    """As much of the Hugging Face hub as a download asks for: a commit, its files, each by its commit."""

    SHA = "0123456789abcdef0123456789abcdef01234567"

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        path = to.path.partition("?")[0]
        self.asked.append((path, to.headers.get("Range")))
        if self.refuse:
            return self.say(to, self.refuse.pop(0), b"{}")
        if re.fullmatch(r"/api/datasets/own/set(/revision/(main|v2|" + self.SHA + "))?", path):
            siblings = [{"rfilename": name} for name in self.files]
            return self.say(
                to, 200, json.dumps({"id": "own/set", "sha": self.SHA, "siblings": siblings}).encode()
            )
        if re.fullmatch(rf"/api/datasets/own/set/tree/{self.SHA}", path):
            tree = [
                {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for name, body in self.files.items()
            ]
            return self.say(to, 200, json.dumps(tree).encode())
        name = path.removeprefix(f"/datasets/own/set/resolve/{self.SHA}/")
        if name in self.files:
            return self.say(
                to,
                200,
                self.files[name],
                {"ETag": f'"{hashlib.sha1(self.files[name]).hexdigest()}"', "X-Repo-Commit": self.SHA},
            )
        kind = "RevisionNotFound" if "/revision/" in path else "RepoNotFound"
        return self.say(to, 404, b'{"error":"not found"}', {"X-Error-Code": kind})

    def say(
        self, to: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        to.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            to.send_header(name, value)
        to.end_headers()
        if to.command == "GET":
            to.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    made = Hub()
    handler = made.server.RequestHandlerClass
    handler.do_HEAD = handler.do_GET  # type: ignore[attr-defined]
    for name, value in {
        "HF_ENDPOINT": made.url,
        "no_proxy": "127.0.0.1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(download, "TIMEOUT", 10.0)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    made.files = {
        "README.md": b"# set",
        ".gitattributes": b"x",
        "v1/a.parquet": BODY,
        "v1/more/b.parquet": b"B",
        "v2/c.parquet": b"C",
    }
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_a_folder_of_a_data_set_comes_at_its_commit(home: Path, hub: Hub) -> None:
    said: list[str] = []
    folder = download.bring(home, "hf://datasets/own/set/v1", said.append)
    assert folder.name.startswith("own-set-") and (folder / "a.parquet").read_bytes() == BODY
    assert _left(home) == [
        folder.name,
        *(f"{folder.name}/{name}" for name in ("a.parquet", "more", "more/b.parquet")),
    ]
    assert any(Hub.SHA in line for line in said)
    assert not any("v2/c.parquet" in path or "README" in path for path, _ in hub.asked)
    asked = len(hub.asked)
    assert download.bring(home, "hf://datasets/own/set/v1", said.append) == folder and len(hub.asked) == asked


def test_a_whole_data_set_at_a_revision(home: Path, hub: Hub) -> None:
    folder = download.bring(home, "hf://datasets/own/set@v2", _silent)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "README.md",
        "v1/a.parquet",
        "v1/more/b.parquet",
        "v2/c.parquet",
    ]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("hf://datasets/own/other", "must be there to download"),
        ("hf://datasets/own/set@v9", "must be there to download"),
        ("hf://datasets/own/set/v3", "none in v3; there are .gitattributes, README.md, v1, v2"),
    ],
)
def test_what_the_hub_does_not_have_is_refused(home: Path, hub: Hub, address: str, expected: str) -> None:
    with pytest.raises(BadSource, match=expected) as caught:
        download.bring(home, address, _silent)
    assert caught.value.remedy and not download.place(home, address).exists()


def test_without_a_network_the_remedy_is_told(home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        Unreachable, match=r"needs the Hugging Face hub\n.*\n.*HF_ENDPOINT.*ingest\.locations"
    ):
        download.bring(home, "hf://datasets/own/set", _silent)


def test_a_data_set_with_a_file_missing_has_not_come(
    home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library takes a folder that is there for a whole one: what it says is not believed."""
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *given, **named: "done")
    with pytest.raises(Unreachable, match="2 of 2 files have not come"):
        download.bring(home, "hf://datasets/own/set/v1", _silent)


# -- ingest, fetch and doctor


def _movies(tmp_path: Path) -> bytes:
    folder = recbole(tmp_path / "movies", taste())
    return _zip({f"ml/{path.name}": path.read_text() for path in folder.iterdir()})


def test_ingest_reads_an_address_as_it_reads_a_folder(lake: Lake, web: Web, tmp_path: Path) -> None:
    packed = _movies(tmp_path)
    web.files["/ml.zip"] = packed
    address = f"{web.url}/ml.zip#sha256={_sha(packed)}"
    by_address = ingest.run(
        lake, IngestParams(tasks=("rec-movie",), locations={"rec-movie": address}), check=passes
    )
    assert by_address.rows["interactions"] == 336
    assert lake.rows("select location from sources").item() == address
    by_path = ingest.run(
        lake,
        IngestParams(tasks=("rec-movie",), locations={"rec-movie": str(tmp_path / "movies")}),
        check=passes,
    )
    assert by_path.skipped, "the same content is the same batch, however it came"


def test_a_hub_data_set_goes_through_ingest(lake: Lake, hub: Hub) -> None:
    passages = {"is_selected": [0, 1, 0, 0, 0], "passage_text": list("abcde")}
    packed = io.BytesIO()
    pl.DataFrame(
        [{"query": f"what is {k}", "query_id": k, "passages": passages} for k in range(3)]
    ).write_parquet(packed)
    hub.files = {"v1/train.parquet": packed.getvalue()}
    ref = ingest.run(
        lake,
        IngestParams(tasks=("passage-5",), locations={"passage-5": "hf://datasets/own/set/v1"}),
        check=passes,
    )
    assert (
        ref.rows["queries"] == 3
        and ref.details["tasks"]["passage-5"]["location"] == "hf://datasets/own/set/v1"
    )


def test_fetch_brings_addresses_and_doctor_knows_them(home: Path, web: Web, tmp_path: Path) -> None:
    web.files["/ml.zip"] = _movies(tmp_path)
    given = {"tasks": ["rec-movie"], "locations": {"rec-movie": f"{web.url}/ml.zip"}}
    params = RetrainParams.model_validate({"home": str(home), "ingest": given})

    def data():
        return next(finding for finding in examine(params) if finding.name == "Data rec-movie")

    assert not data().ok and not data().needed and "ranker fetch" in data().remedy
    for name in ("models/smollm2",):
        (home / name).mkdir(parents=True)
        (home / name / "config.json").write_text("{}")
    fetch(params, _silent)
    assert data().ok and (download.place(home, given["locations"]["rec-movie"]) / "x.inter").is_file()


def test_the_shipped_addresses_can_be_read(home: Path) -> None:
    for name in ("passage-5", "passage-7", "passage-9"):
        assert download.is_remote(task(name).location) and download.place(
            home, task(name).location
        ).name.startswith("microsoft-ms_marco-")


@pytest.mark.parametrize("name", ["..%2F..%2Fescaped.tsv", "a%2Fescaped.tsv"])
def test_a_name_in_an_address_never_leads_out_of_the_folder(name: str) -> None:
    assert download._address(f"https://host/{name}").name == "escaped.tsv"


@pytest.mark.parametrize("address", ["https://host/..", "https://host/a%00b.zip", "https://[host/a.zip"])
def test_an_address_without_a_name_for_a_file_is_refused(address: str) -> None:
    with pytest.raises(BadConfig):
        download.place(Path("/home"), address)


# -- what is here, and has changed there


def bring(
    home: Path, address: str, said: list[str], hours: float | None = 0.0, fall_back: bool = True
) -> Path:
    said.clear()
    return download.bring(home, address, said.append, refresh_hours=hours, fall_back=fall_back)


def test_what_has_changed_comes_anew_and_what_has_not_is_only_asked(home: Path, web: Web) -> None:
    web.files["/a.csv"] = b"one"
    address, said = f"{web.url}/a.csv", list[str]()
    folder = bring(home, address, said)
    assert bring(home, address, said) == folder and not said and len(web.asked) == 2
    assert bring(home, address, said, hours=12.0) == folder and len(web.asked) == 2, "asked just now"
    assert bring(home, address, said, hours=None) == folder and len(web.asked) == 2
    web.files["/a.csv"] = b"two"
    assert bring(home, address, said) == folder and (folder / "a.csv").read_bytes() == b"two"
    assert "has changed, and is here" in said[-1]
    assert bring(home, address, said) == folder and not said
    assert {path.split("/")[0] for path in _left(home)} == {folder.name, f".{folder.name}.former"}


@pytest.mark.parametrize("changes", [True, False])
def test_a_server_that_cannot_tell_is_read_anew_and_compared(home: Path, web: Web, changes: bool) -> None:
    web.validators = False
    web.files["/a.csv"] = b"one"
    address, said = f"{web.url}/a.csv", list[str]()
    folder = bring(home, address, said)
    if changes:
        web.files["/a.csv"] = b"two"
    assert bring(home, address, said) == folder
    assert (folder / "a.csv").read_bytes() == web.files["/a.csv"]
    assert any("has changed, and is here" in line for line in said) == changes


def test_an_archive_that_has_changed_is_whole_again(home: Path, web: Web) -> None:
    web.files["/ml.zip"] = _zip({"ml/a": "1", "ml/b": "2"})
    address, said = f"{web.url}/ml.zip#folder=ml", list[str]()
    folder = bring(home, address, said)
    web.files["/ml.zip"] = _zip({"ml/a": "3"})
    bring(home, address, said)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "3"}


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_source_that_cannot_be_asked_is_told_or_fails_as_is_wished(
    home: Path, web: Web, status: int
) -> None:
    web.files["/a.csv"] = b"one"
    address, said = f"{web.url}/a.csv", list[str]()
    folder = bring(home, address, said)
    web.refuse = [status] * 9
    assert bring(home, address, said) == folder and (folder / "a.csv").read_bytes() == b"one"
    assert "0 hours ago is read" in said[-1] and str(status) in said[-1]
    with pytest.raises(Unreachable, match=str(status)):
        bring(home, address, said, fall_back=False)


def test_a_change_that_breaks_off_leaves_what_was_and_comes_with_the_next_try(home: Path, web: Web) -> None:
    web.files["/a.bin"] = b"one"
    address, said = f"{web.url}/a.bin", list[str]()
    folder = bring(home, address, said)
    web.files["/a.bin"] = BODY
    web.cuts = [0, 9, 9] + [9] * 9
    web.ranges = False
    assert bring(home, address, said) == folder and (folder / "a.bin").read_bytes() == b"one"
    assert "cannot be had" in said[-1], said
    web.cuts = []
    bring(home, address, said)
    assert (folder / "a.bin").read_bytes() == BODY


def test_a_checksum_means_one_state_and_is_never_asked(home: Path, web: Web) -> None:
    web.files["/a.csv"] = b"one"
    address, said = f"{web.url}/a.csv#sha256={_sha(b'one')}", list[str]()
    bring(home, address, said)
    web.files["/a.csv"] = b"two"
    assert (bring(home, address, said) / "a.csv").read_bytes() == b"one" and len(web.asked) == 1


def test_a_data_set_of_the_hub_is_told_by_its_commit(
    home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, said = "hf://datasets/own/set/v2", list[str]()
    folder = bring(home, address, said)
    bring(home, address, said)
    assert not said
    monkeypatch.setattr(Hub, "SHA", Hub.SHA[::-1])
    hub.files["v2/c.parquet"] = b"D"
    assert (bring(home, address, said) / "c.parquet").read_bytes() == b"D"
    pinned = f"hf://datasets/own/set@{Hub.SHA}/v2"
    bring(home, pinned, said)
    asked = len(hub.asked)
    bring(home, pinned, said)
    assert len(hub.asked) == asked and folder.is_dir()


def test_the_next_run_reads_what_has_changed(lake: Lake, web: Web, tmp_path: Path) -> None:
    """A second run without a change is skipped; one with a change is another batch."""
    web.files["/ml.zip"] = _movies(tmp_path)
    params = IngestParams(tasks=("rec-movie",), locations={"rec-movie": f"{web.url}/ml.zip"}, refresh_hours=0)
    first = ingest.run(lake, params, check=passes)
    assert ingest.run(lake, params, check=passes).skipped
    with zipfile.ZipFile(io.BytesIO(web.files["/ml.zip"])) as packed:
        files = {name: packed.read(name).decode() for name in packed.namelist()}
    name = next(name for name in files if name.endswith(".inter"))
    files[name] = "\n".join(files[name].splitlines()[:-1]) + "\n"
    web.files["/ml.zip"] = _zip(files)
    assert ingest.run(lake, params, check=passes, only_finished=True).key == first.key, (
        "a look changes nothing"
    )
    second = ingest.run(lake, params, check=passes)
    assert not second.skipped and second.rows["interactions"] == first.rows["interactions"] - 1
