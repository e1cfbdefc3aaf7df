"""`ranker ui` over the lake of a real retraining: every page, and in a browser with keyboard and axe-core."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.views import PAGES
from flows.retrain import Outcome
from tests.ranker.lake.servers import free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
BY_ITSELF = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows_a_real_run_without_a_fault(home: Path, outcome: Outcome, name: str) -> None:
    from streamlit.testing.v1 import AppTest

    shown = AppTest.from_string(f"from ranker.ui import pages\npages.{name}()", default_timeout=60).run()
    assert not shown.exception and not shown.error and not shown.info
    if name == "ask":
        shown.button[0].click().run()
        assert not shown.exception and not shown.error and shown.dataframe
        shown.text_area[0].set_value("drop table steps").run().button[0].click().run()
        assert "one statement that only reads" in shown.error[0].value
    if name == "training":
        assert len(shown.multiselect[0].options) > 3
    if name == "episodes":
        wanted = shown.selectbox[0].options, shown.dataframe
        assert wanted[0] and wanted[1]
        shown.text_input[0].set_value("no such text at all").run()
        assert "No episode" in shown.info[0].value


def test_a_lake_that_is_not_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("RANKER_HOME", str(tmp_path / "nowhere"))
    shown = AppTest.from_string("from ranker.ui import pages\npages.runs()", default_timeout=60).run()
    assert not shown.exception and "ranker retrain" in shown.error[0].value


@pytest.fixture
def page(home: Path, outcome: Outcome) -> Iterator[str]:
    """Address of `ranker ui` over that lake."""
    port = free_port()
    code = "from ranker.cli.main import app; app()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "ui", "--port", str(port)], env={**os.environ, "RANKER_HOME": str(home)}
    )
    try:
        yield _answers(f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) is not None, "it ends when it is told to"


def _answers(address: str) -> str:
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
        except OSError:
            time.sleep(0.5)
        else:
            return address
    raise AssertionError(f"nothing answers at {address}")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install the package chromium")
def test_in_a_browser_by_keyboard_without_errors_and_accessible(page: str) -> None:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    faults: list[str] = []

    def said(message: Any) -> None:
        if message.type == "error":
            faults.append(message.text)

    def note(request: Any) -> None:
        if not request.url.startswith((page, page.replace("http", "ws"), "data:", "blob:")):
            faults.append(f"outside: {request.url}")

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(BY_ITSELF))
        for scheme, width in (("light", 1280), ("dark", 1280)):
            context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
            tab = context.new_page()
            tab.on("console", said)
            tab.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
            tab.on("request", note)
            tab.goto(page)
            for title in ("Runs", "Episodes", "Compare", "Contracts", "Questions", "Training"):
                link = tab.get_by_role("link", name=title, exact=True)
                link.focus()
                tab.keyboard.press("Enter")
                tab.get_by_role("heading", name=title, level=1).wait_for(timeout=60_000)
                tab.wait_for_function(
                    "document.querySelector('[data-testid=stApp]').dataset.testScriptState !== 'running'",
                    timeout=60_000,
                )
                found = Axe().run(tab).response["violations"]
                faults += [
                    f"{scheme} {title}: {one['id']} {one['nodes'][0]['html'][:200]}"
                    for one in found
                    if one["impact"] in ("serious", "critical")
                ]
        browser.close()
    assert faults == []
