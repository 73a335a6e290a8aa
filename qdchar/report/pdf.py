"""A page as PDF, printed by Chromium without a window."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from qdchar.errors import UsageError

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_LONGEST_S = 120.0


def chromium() -> str | None:
    """Return the path of Chromium; None if it is not installed."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def command(browser: str, profile: str) -> list[str]:
    """Return the command that starts Chromium without a window, with a profile of its own."""
    # a sandbox needs rights that a container does not have; the page is our own
    return [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={profile}",
    ]


def write_pdf(page: Path) -> Path:
    """Print a page to a PDF of the same name beside it.

    Raises
    ------
    UsageError
        If Chromium is not installed, or does not print; says what to do.
    """
    browser = chromium()
    if browser is None:
        raise UsageError(
            "report: --pdf needs Chromium, which is not found: install it (apt install chromium on "
            f"Debian, brew install chromium), or open {page} in any browser and print it from there"
        )
    file = page.resolve().with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as profile:
        arguments = ["--no-pdf-header-footer", f"--print-to-pdf={file}", page.resolve().as_uri()]
        try:
            done = subprocess.run(
                [*command(browser, profile), *arguments],
                capture_output=True,
                timeout=_LONGEST_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UsageError(f"report: --pdf: {browser} did not print {page}: {error}") from None
    if done.returncode != 0 or not file.exists():
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UsageError(f"report: --pdf: {browser} did not print {page}: {' '.join(last)}")
    return file
