"""The way past a proxy."""

from __future__ import annotations

import urllib.request

import httpx
import pytest

from ranker.proxies import LOOPBACK, bypass_for_loopback, in_use

PROXY = "http://proxy.example.org:3128"


@pytest.mark.parametrize(
    ("environ", "past"),
    [
        ({}, None),
        ({"NO_PROXY": "intra.net"}, "intra.net"),
        ({"HTTP_PROXY": ""}, None),
        ({"HTTP_PROXY": PROXY}, "127.0.0.1,localhost,::1"),
        ({"all_proxy": PROXY, "NO_PROXY": "intra.net, localhost"}, "intra.net,localhost,127.0.0.1,::1"),
        ({"https_proxy": PROXY, "no_proxy": "one", "NO_PROXY": "other"}, "one,127.0.0.1,localhost,::1"),
        ({"HTTP_PROXY": PROXY, "no_proxy": "*"}, "*"),
    ],
)
def test_this_machine_is_an_exception_where_a_proxy_is_named(
    environ: dict[str, str], past: str | None
) -> None:
    for _ in range(2):
        bypass_for_loopback(environ)
        assert environ.get("NO_PROXY") == past
        assert not in_use(environ) or environ["no_proxy"] == past


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_clients_heed_it(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, PROXY)
    url = httpx.URL(f"http://{host}:8000/v1")
    with httpx.Client() as client:
        assert client._transport_for_url(url) is not client._transport
    monkeypatch.setenv("NO_PROXY", "")  # undone after the test, whatever is put there
    monkeypatch.setenv("no_proxy", "")
    bypass_for_loopback()
    with httpx.Client() as client:
        assert client._transport_for_url(url) is client._transport
        assert client._transport_for_url(httpx.URL("http://example.org")) is not client._transport
    assert urllib.request.proxy_bypass(host.strip("[]")) and host.strip("[]") in LOOPBACK
