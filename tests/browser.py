"""A page as a browser shows it: headless Chromium, from disk."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

ARTEFACTS = Path(__file__).parents[1] / "artefacts"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# Asked of the page in a frame as wide as a telephone, and as a laptop.
_PROBE = """<!doctype html><title>-</title><body><script>
const page = PAGE, found = [];
const look = (frame, width) => {
  const view = frame.contentDocument, of = (x) => view.querySelectorAll(x);
  const sizes = [...of("figure svg")].map((x) => [x.clientWidth, x.clientHeight]);
  const press = (x, key) => x.dispatchEvent(
    new frame.contentWindow.KeyboardEvent("keydown", { key, bubbles: true }));
  const svg = of("svg[data-points]")[0], entry = svg.querySelector('[role="button"]');
  press(svg, "ArrowRight");
  const told = view.querySelector(".tip").textContent;
  press(entry, "Enter");
  const hidden = svg.querySelectorAll(".off").length;
  press(entry, "Enter");
  found.push({ width, figures: sizes, needs: view.documentElement.scrollWidth, told,
    dark: frame.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches,
    hidden, shown_again: !svg.querySelector(".off") });
  document.title = JSON.stringify(found);
};
for (const width of [390, 1366]) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  frame.onload = () => look(frame, width);
  frame.srcdoc = page;
  document.body.append(frame);
}
</script></body>"""


def look(page, directory):
    """Open a page, light and dark, and keep a picture of it, named as the directory.

    Returns:
        What the browser complained of; and by (width, scheme) the sizes of all
        `figures`, the width that the page `needs`, what its first point has `told` by a
        key, how many artists a key has `hidden`, and whether they are `shown_again`.
    """
    probe, text = directory / "probe.html", json.dumps(page.read_text())
    probe.write_text(_PROBE.replace("PAGE", text.replace("</", "<\\/")))
    options = (
        f"--headless --no-sandbox --disable-gpu --no-first-run --disable-quic "
        f"--disable-background-networking --disable-component-update --disable-sync "
        f"--enable-logging=stderr --log-level=0 --user-data-dir={directory / 'user'}"
    ).split()
    ARTEFACTS.mkdir(exist_ok=True)
    picture = ARTEFACTS / f"{directory.name}.png"
    shot = [f"--screenshot={picture}", "--window-size=1366,9000", page.as_uri()]
    asked = ["--virtual-time-budget=5000", "--dump-dom", probe.as_uri()]
    schemes = {"dark": 0, "light": 1}
    took, *dumped = (
        subprocess.run(
            [CHROMIUM, *options, *what],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        for what in (
            shot,
            *(
                [f"--blink-settings=preferredColorScheme={n}", *asked]
                for n in schemes.values()
            ),
        )
    )
    assert picture.stat().st_size > 10_000
    said = [*took.stderr.splitlines(), *dumped[0].stderr.splitlines()]
    seen = {}
    for scheme, one in zip(schemes, dumped):
        (title,) = re.findall("<title>(.*?)</title>", one.stdout.split("<body>")[0])
        for it in json.loads(html.unescape(title)):
            seen[it["width"], scheme] = it
    return [line for line in said if "CONSOLE" in line], seen
