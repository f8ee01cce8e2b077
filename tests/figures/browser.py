"""Pages in headless Chromium."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


def chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    profile = folder / f"profile-{os.urandom(4).hex()}"
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        *quiet,
        "--hide-scrollbars",
        "--allow-file-access-from-files",
    ]
    return subprocess.run(
        [*command, f"--user-data-dir={profile}", *arguments], capture_output=True, text=True, timeout=120, check=True
    )


def probed(folder: Path, page: str, probe: str, *, width: int, budget_ms: int) -> dict[str, Any]:
    """What a script finds in ``page`` of ``folder``, framed at a width: it puts it, as JSON, into its own body's ``data-found``.

    ``budget_ms``: of the page's own time. The console has to stay silent.
    """
    frame = f'<iframe src="{page}.html" style="border:0;width:{width}px;height:900px"></iframe>'
    outer = folder / f"probe-{page}-{width}.html"
    outer.write_text(f"<!doctype html><meta charset=utf-8><body>{probe}{frame}</body>", encoding="utf-8")
    run = chromium(folder, "--enable-logging=stderr", f"--virtual-time-budget={budget_ms}", "--dump-dom", outer.as_uri())
    assert "CONSOLE" not in run.stderr, run.stderr
    found = re.search(r'data-found="([^"]*)"', run.stdout)
    assert found is not None, run.stdout[-2000:]
    return dict(json.loads(html.unescape(found.group(1))))
