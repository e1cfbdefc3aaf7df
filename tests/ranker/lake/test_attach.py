"""Where a lake is, as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.errors import BadConfig
from ranker.lake.attach import catalog

HOME = Path("/h")
KEYS = {"AWS_ACCESS_KEY_ID": "k'1", "AWS_SECRET_ACCESS_KEY": "s"}


def test_without_a_uri_it_is_sqlite_in_the_data_folder() -> None:
    found = catalog(HOME, "")
    assert (found.uri, found.data, found.extensions) == (
        "ducklake:sqlite:/h/lake/catalog.sqlite",
        "/h/lake/data/",
        ["ducklake", "sqlite_scanner"],
    )
    assert "override_data_path" in found.attachment(False) and found.secret({}) == "" and not found.remote


def test_a_team_names_postgres_and_a_bucket() -> None:
    found = catalog(HOME, "ducklake:postgres:dbname=lake host=db?data_path=s3://bucket/some/where/")
    assert found.extensions == ["ducklake", "postgres_scanner", "httpfs"] and found.postgres and found.remote
    statement = found.attachment(True, 7)
    assert (
        "dbname=lake host=db application_name=''ranker process" in statement
        and "READ_ONLY, snapshot_version 7" in statement
    )
    assert (
        "override" not in statement
        and "application_name" not in found.lines()[1]
        and "type s3" in found.lines()[0]
    )


@pytest.mark.parametrize(
    "uri", ["ducklake:postgres:postgresql://u@db/lake", "ducklake:postgres:dbname=l application_name=mine"]
)
def test_a_name_of_ones_own_is_left_alone(uri: str) -> None:
    assert catalog(HOME, uri).attachment(False).count("application_name") == uri.count("application_name")


def test_credentials_come_from_the_variables_of_aws() -> None:
    found = catalog(HOME, "ducklake:sqlite:/c?data_path=s3://bucket/x/")
    own = found.secret(KEYS | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000/", "AWS_DEFAULT_REGION": "eu-1"})
    for part in (
        "key_id 'k''1'",
        "secret 's'",
        "endpoint '127.0.0.1:9000'",
        "url_style 'path'",
        "use_ssl false",
        "region 'eu-1'",
        "scope 's3://bucket'",
    ):
        assert part in own
    amazon = found.secret(KEYS)
    assert "endpoint" not in amazon and "use_ssl" not in amazon and "url_style" not in amazon


def test_no_credentials_are_said_to_be_missing() -> None:
    with pytest.raises(BadConfig, match="AWS_SECRET_ACCESS_KEY not set"):
        catalog(HOME, "ducklake:sqlite:/c?data_path=s3://bucket/x/").secret({"AWS_ACCESS_KEY_ID": "k"})


@pytest.mark.parametrize("data", ["/h's/data/", "s3://bucket/some/where/"])
def test_a_confined_connection_keeps_its_data_and_loses_the_way_back_last(data: str) -> None:
    statements = catalog(HOME, f"ducklake:sqlite:/c?data_path={data}").confinement("/h/tmp")
    assert statements[-2:] == ["set enable_external_access = false", "set lock_configuration = true"]
    assert f"set allowed_directories = ['{data.replace(chr(39), chr(39) * 2)}']" in statements
