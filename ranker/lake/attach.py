"""Where a lake is: its catalog's URI, its Parquet files' path, and the statements by which DuckDB attaches
it.

Pure text.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ranker.errors import BadConfig, masked

BUSY_MILLISECONDS = 5_000
_SQLITE, _POSTGRES = "ducklake:sqlite:", "ducklake:postgres:"


@dataclass(frozen=True, slots=True)
class Catalog:
    """A lake's catalog and its data path."""

    uri: str
    """ducklake:…"""
    data: str
    given: bool = True
    """False for the SQLite catalog in the data folder, which may be moved together with its files."""

    @property
    def postgres(self) -> bool:
        return self.uri.startswith(_POSTGRES)

    @property
    def file(self) -> str:
        """The catalog's file; what it is for PostgreSQL has no meaning."""
        return self.uri.removeprefix("ducklake:").removeprefix("sqlite:")

    @property
    def remote(self) -> bool:
        return "://" in self.data

    @property
    def extensions(self) -> list[str]:
        """DuckDB extensions that this catalog and its data path need."""
        scanners = [
            name
            for prefix, name in ((_SQLITE, "sqlite_scanner"), (_POSTGRES, "postgres_scanner"))
            if self.uri.startswith(prefix)
        ]
        return ["ducklake", *scanners, *(["httpfs"] if self.remote else [])]

    def attachment(self, read_only: bool, snapshot: int | None = None, *, named: bool = True) -> str:
        """The ATTACH statement.

        A session in PostgreSQL is `named` after this process, so that others see who is there.
        """
        options = [f"data_path {literal(self.data)}"]
        if not self.given:
            options.append(
                "override_data_path true"
            )  # so that a data folder may be moved, or mounted elsewhere
        if self.uri.startswith(_SQLITE):
            options += ["meta_journal_mode 'WAL'", f"meta_busy_timeout {BUSY_MILLISECONDS}"]
        if read_only:
            options.append("READ_ONLY")
        if snapshot is not None:
            options.append(f"snapshot_version {int(snapshot)}")
        return (
            f"attach if not exists {literal(self._named if named else self.uri)} as lake"
            f" ({', '.join(options)})"
        )

    @property
    def session(self) -> str:
        """Connection string of a PostgreSQL catalog itself."""
        return self._named.removeprefix(_POSTGRES)

    @property
    def _named(self) -> str:
        return self.uri + (f" application_name='{_this_process()}'" if self._nameable else "")

    @property
    def _nameable(self) -> bool:
        return self.postgres and "://" not in self.uri and "application_name" not in self.uri

    def confinement(self, temporary: str) -> list[str]:
        """The statements after which a connection with this lake attached reaches nothing else: no other
        file, no network, no further extension, and no way back.

        Their order matters: what is needed from outside is loaded and attached before, and after the last no
        setting changes. `~` is `temporary`, DuckDB's folder for what memory does not hold, as allowed
        directories are compared before it is put in. That folder and what is attached stay reachable by
        themselves.
        """
        return [
            f"set home_directory = {literal(temporary)}",
            f"set allowed_directories = [{literal(self.data)}]",
            "set enable_external_access = false",
            "set lock_configuration = true",
        ]

    def lines(self) -> tuple[str, str]:
        """The two lines by which a plain DuckDB prompt gets the lake, read-only; a password is left out."""
        wanted = " ".join(f"install {name}; load {name};" for name in self.extensions)
        secret = (
            " -- then: create secret (type s3, key_id '…', secret '…', region '…');"
            if self.data.startswith("s3://")
            else ""
        )
        return wanted + secret, masked(f"{self.attachment(True, named=False)}; use lake;")

    def secret(self, environment: Mapping[str, str] | None = None) -> str:
        """The statement that hands S3 credentials to DuckDB, from the variables that AWS's own tools read;
        empty where there is no need.

        Raises:
            BadConfig: the data lie in S3 and the variables are not set.
        """
        if not self.data.startswith("s3://"):
            return ""
        given = os.environ if environment is None else environment
        missing = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not given.get(name)]
        if missing:
            raise BadConfig(
                "a lake in S3 needs credentials",
                seen=f"{self.data}, and {' and '.join(missing)} not set",
                remedy=(
                    "export AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, for a store of your"
                    " own, AWS_ENDPOINT_URL"
                ),
            )
        return (
            "create or replace temporary secret lake_data (type s3,"
            f" {', '.join(_secret_options(given, self._bucket))})"
        )

    @property
    def _bucket(self) -> str:
        return "/".join(self.data.split("/")[:3])


def catalog(home: Path, uri: str) -> Catalog:
    """The catalog that `uri` names; empty takes SQLite under `home`.

    Raises:
        BadConfig: it is no lake's URI.
    """
    if uri and not uri.startswith("ducklake:"):
        raise BadConfig(
            "a lake URI starts with ducklake:",
            seen=uri,
            remedy="for example ducklake:postgres:dbname=lake host=localhost",
        )
    named, _, path = uri.partition("?data_path=")
    return Catalog(
        named or f"{_SQLITE}{home / 'lake' / 'catalog.sqlite'}",
        path or f"{home / 'lake' / 'data'}/",
        bool(uri),
    )


def literal(text: str) -> str:
    """Text as an SQL literal: ATTACH and CREATE SECRET take no parameters."""
    return "'" + text.replace("'", "''") + "'"


def _this_process() -> str:
    return f"ranker process {os.getpid()} on {platform.node().replace(chr(39), '')}"


def _secret_options(given: Mapping[str, str], bucket: str) -> list[str]:
    endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL", "")
    options = {
        "key_id": given["AWS_ACCESS_KEY_ID"],
        "secret": given["AWS_SECRET_ACCESS_KEY"],
        "session_token": given.get("AWS_SESSION_TOKEN", ""),
        "region": given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or "us-east-1",
        "endpoint": endpoint.partition("://")[2].rstrip("/") or endpoint,
        "url_style": (
            "path" if endpoint else ""
        ),  # stores other than Amazon's rarely have a host name a bucket
        "scope": bucket,
    }
    plain = ["use_ssl false"] if endpoint.startswith("http://") else []
    return [f"{name} {literal(value)}" for name, value in options.items() if value] + plain
