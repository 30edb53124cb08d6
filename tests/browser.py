"""A page as a browser shows it: headless Chromium, from disk."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

ARTEFACTS = Path(__file__).parents[1] / "artefacts"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_ASKED = (
    "<script>addEventListener('load', () => { document.title = JSON.stringify("
    "[...document.images].map(i => [i.complete, i.naturalWidth, i.clientHeight]))"
    "})</script></body>"
)


def look(page, directory):
    """Open a page, and keep a picture of it, named as the directory.

    Returns:
        What the browser complained of; and of every image whether it was loaded, its
        own width and the height at which it is shown.
    """
    probe = directory / "probe.html"
    probe.write_text(page.read_text().replace("</body>", _ASKED))
    options = (
        f"--headless --no-sandbox --disable-gpu --no-first-run --disable-quic "
        f"--disable-background-networking --disable-component-update --disable-sync "
        f"--enable-logging=stderr --log-level=0 --user-data-dir={directory / 'user'}"
    ).split()
    ARTEFACTS.mkdir(exist_ok=True)
    picture = ARTEFACTS / f"{directory.name}.png"
    took, dumped = (
        subprocess.run(
            [CHROMIUM, *options, *what],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        for what in (
            [f"--screenshot={picture}", "--window-size=1100,9000", page.as_uri()],
            ["--dump-dom", probe.as_uri()],
        )
    )
    assert picture.stat().st_size > 10_000
    complaints = [line for line in took.stderr.splitlines() if "CONSOLE" in line]
    (title,) = re.findall("<title>(.*?)</title>", dumped.stdout)
    return complaints, json.loads(html.unescape(title))
