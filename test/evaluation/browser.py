"""Chromium without a window, to look at pages with."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium on the PATH")
_TIMEOUT_S = 120


def browse(page: Path, *arguments: str) -> str:
    """What the browser says on its console while it opens the page."""
    log = _run(page, "--hide-scrollbars", "--enable-logging=stderr", *arguments).stderr
    return "\n".join(line for line in log.splitlines() if "CONSOLE" in line)


def browse_title(page: Path) -> str:
    """The title of a page after its scripts have run."""
    dom = _run(page, "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom").stdout
    found = re.search("<title>(.*?)</title>", dom)
    return found[1] if found else dom


def _run(page: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    always = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [BROWSER, *always, profile, *arguments, page.as_uri()], capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr
    return done
