"""A run folder, its report, and a browser, for all tests of reports."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_folders import write_run

from linbp.report.source import Source, open_source
from linbp.report.write import make_report

REQUIRED = "LINBP_TEST_BROWSER"
"""Set by .ci/run: there the tests of the page must run."""


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, with pictures."""
    folder = tmp_path_factory.mktemp("runs") / "tonight"
    write_run(folder)
    return folder


@pytest.fixture(scope="session")
def source(run_folder: Path) -> Source:
    """What is read from that folder."""
    return open_source(run_folder)


@pytest.fixture(scope="session")
def report(source: Source) -> Any:
    """The report of that folder."""
    return make_report(source)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium, without a window and without a network."""
    places = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in places if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get(REQUIRED):
            pytest.fail("CI has no Chromium: .ci/run installs it.")
        pytest.skip("needs Chromium (Debian's package chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()
