"""The report in a browser, a Chromium on PATH: nothing scrolls sideways, no error, filter and switch work."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sharpening.commands import report as command
from sharpening.storage import store
from sharpening.theory import claims
from tests.pages import REFERENCE

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs a chromium on PATH, e.g. apt-get install chromium"),
]
NARROW, WIDE = 390, 1280
FILTERED = "temper"
PROBE = """<!DOCTYPE html><body><iframe id="f" width="%d" height="800" src="report.html"></iframe><script>
document.getElementById("f").onload = () => {
  const frame = document.getElementById("f"), page = frame.contentDocument, root = page.documentElement, found = {};
  found.width = root.scrollWidth;
  found.boxes = [...page.querySelectorAll("p, h1, h2, figure, .scroll, .formula, pre, form")]
    .filter((one) => one.getBoundingClientRect().right > frame.clientWidth + 1)
    .map((one) => one.outerHTML.slice(0, 80));
  found.light = frame.contentWindow.getComputedStyle(page.body).backgroundColor;
  page.getElementById("theme").click();
  found.dark = frame.contentWindow.getComputedStyle(page.body).backgroundColor;
  const form = page.getElementById("filter"), shown = () => page.querySelectorAll(".claims > li:not([hidden])").length;
  found.all = shown();
  form.words.value = "%s";
  form.dispatchEvent(new Event("input"));
  found.some = shown();
  const one = page.createElement("pre");
  document.body.append(Object.assign(one, {id: "found", textContent: JSON.stringify(found)}));
};
</script></body>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the committed runs, with a ledger."""
    made = tmp_path_factory.mktemp("page")
    names = ("id", "statement", "latex", "hypotheses", "source", "kind", "tolerance")
    rows = [
        {**{name: getattr(claim, name) for name in names}, "status": "holds", "instances": 1, "worst_margin": 0.0}
        for claim in claims.CLAIMS
    ]
    store.write_run("theory", {"command": "check", "only": []}, rows, root=made / "own")
    (made / "report.html").write_text(command.page_of(str(made / "own"), str(REFERENCE)))
    return made


def probed(folder: Path, width: int) -> tuple[dict[str, Any], str]:
    """What the page is like in a frame of that width, and what the browser said."""
    (folder / "probe.html").write_text(PROBE % (width, FILTERED))
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--enable-logging=stderr",
    )
    done = subprocess.run(
        [
            *(CHROMIUM, *options, f"--user-data-dir={folder / 'profile'}", "--window-size=1400,900"),
            *("--virtual-time-budget=20000", "--dump-dom", (folder / "probe.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    data: dict[str, Any] = json.loads(html.unescape(found))
    return data, done.stderr


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_the_page_fits_filters_and_switches(folder: Path, width: int) -> None:
    found, said = probed(folder, width)
    assert "CONSOLE" not in said
    assert found["boxes"] == []
    assert found["width"] <= width
    assert found["light"] != found["dark"]
    matching = [claim for claim in claims.CLAIMS if FILTERED in f"{claim.statement} {claim.hypotheses}".lower()]
    assert found["all"] == len(claims.CLAIMS)
    assert len(matching) <= found["some"] < found["all"]
    assert matching
