"""Errors: one readable block, whole on the other side of a process boundary."""

from __future__ import annotations

import errno
import os
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker import errors
from ranker.errors import (
    HIDDEN,
    BadSource,
    ContractViolated,
    DiskFull,
    NoAccess,
    RankerError,
    Transient,
    by_disk,
    masked,
)
from ranker.lake.attach import literal
from ranker.refs import Verdict

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RankerError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_survives_the_way_between_processes(kind: type[RankerError]) -> None:
    made = kind("a rule", seen="a value", remedy="do this")
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is kind and str(again) == str(made)
    assert (again.rule, again.seen, again.remedy) == ("a rule", "a value", "do this")
    assert again.exit_code != 0


def test_a_rejected_batch_brings_its_verdicts_along() -> None:
    verdicts = (Verdict("items", "has rows", False),)
    again = pickle.loads(pickle.dumps(ContractViolated("a", seen="b", remedy="c", verdicts=verdicts)))
    assert again.verdicts == verdicts


def test_the_block_says_rule_seen_and_remedy_in_lines_of_their_own() -> None:
    assert str(BadSource("a", seen="b", remedy="c")).splitlines() == ["a", "  seen:   b", "  remedy: c"]


def test_few_errors_may_pass_by_themselves() -> None:
    assert {kind.__name__ for kind in KINDS if issubclass(kind, Transient)} >= {"Transient", "LakeBusy"}
    assert not issubclass(ContractViolated, Transient) and not issubclass(BadSource, Transient)


PASSWORDS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x24F, categories=("L", "N", "P", "S")), min_size=4
).map(lambda text: f"Zq{text}")


@settings(max_examples=200, deadline=None)
@given(password=PASSWORDS)
def test_no_password_is_shown(password: str) -> None:
    """As libpq reads it: quoted, in an address, and both as an SQL literal; what stands around it stays."""
    quoted = "'" + password.replace("\\", "\\\\").replace("'", "\\'") + "'"
    pairs = f"ducklake:postgres:dbname=lake password={quoted} host=db?data_path=s3://bucket/x/"
    address = (
        f"ducklake:postgres:postgresql://me:{quote(password, safe='')}@db:5432/lake?data_path=s3://bucket/x/"
    )
    shown = masked(pairs, {}), masked(address, {}), masked(f"attach {literal(address)} as lake", {})
    for text in shown:
        assert "Zq" not in text and HIDDEN in text and "s3://bucket/x/" in text and "db" in text
    if "'" not in password and "\\" not in password:
        text = masked(f"attach {literal(pairs)} as lake", {})
        assert "Zq" not in text and text.endswith("host=db?data_path=s3://bucket/x/' as lake")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=abc?data_path=s3://b/", "password=***?data_path=s3://b/"),
        ("dbname=l PASSWORD = abc host=h", "dbname=l PASSWORD = *** host=h"),
        (
            "postgresql://h/db?user=u&password=abc&sslmode=require",
            "postgresql://h/db?user=u&password=***&sslmode=require",
        ),
        ("sslpassword=abc", "sslpassword=***"),
        ("http://u:a@b@h/x and s3://bucket/a:b@c", "http://u:***@h/x and s3://bucket/a:b@c"),
        (
            "create secret (type s3, key_id 'k', secret 'it''s', session_token 't')",
            "create secret (type s3, key_id 'k', secret '***', session_token '***')",
        ),
        ("a password is asked for; no secret", "a password is asked for; no secret"),
        ("it was hunter22 and short", "it was *** and short"),
    ],
)
def test_what_is_masked_and_what_is_left(text: str, shown: str) -> None:
    assert masked(text, {"PGPASSWORD": "hunter22", "X_API_KEY": "short", "PATH": "password"}) == shown


def test_no_error_shows_a_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-the-mine")
    again = pickle.loads(
        pickle.dumps(RankerError("a", seen="the server said canary-of-the-mine", remedy="b"))
    )
    assert "canary" not in str(again) + repr(again) + again.seen


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), DiskFull),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "x"), DiskFull),
        (RuntimeError("IO Error: Could not write file x.parquet: No space left on device"), DiskFull),
        (RuntimeError("database or disk is full"), DiskFull),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "x"), NoAccess),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x"), NoAccess),
        (RuntimeError("I/O error: Permission denied (os error 13)"), NoAccess),
        (RuntimeError('IO Error: Cannot open file "x": Permission denied'), NoAccess),
        (RuntimeError("attempt to write a readonly database"), NoAccess),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), None),  # a port, no file
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "x"), None),
        (RuntimeError("permission denied for table items"), None),  # what PostgreSQL says
        (ValueError("x"), None),
    ],
)
def test_what_the_disk_refuses_is_told_apart(error: Exception, kind: type[RankerError] | None) -> None:
    found = by_disk(error)
    assert (type(found) if found else None) is kind
    assert found is None or found.seen == str(error)
