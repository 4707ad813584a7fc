"""The report in a browser, a Chromium on PATH: nothing scrolls sideways, no error, filter and switch work.

axe-core, which finds what keeps people with other eyes or hands from reading a page, comes from npm: see the Makefile.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
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
AXE = Path(sys.prefix) / "axe/node_modules/axe-core/axe.min.js"
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

AXE_PROBE = """<!DOCTYPE html><body><iframe id="f" width="1280" height="800" src="%s"></iframe><script>
document.getElementById("f").onload = async () => {
  const frame = document.getElementById("f"), page = frame.contentDocument, found = [];
  const script = Object.assign(page.createElement("script"), {src: "axe.min.js"});
  await new Promise((done) => { script.onload = done; page.head.append(script); });
  for (const look of ["light", "dark"]) {
    const told = await frame.contentWindow.axe.run(page);
    for (const one of told.violations) found.push([look, one.impact, one.id, one.nodes[0].html.slice(0, 200)]);
    found.push([look, "passed", told.passes.length]);
    page.getElementById("theme").click();
  }
  const one = document.createElement("pre");
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


def probed(folder: Path, probe: str) -> tuple[Any, str]:
    """What a page with a probe in it finds of the report, and what the browser said."""
    (folder / "probe.html").write_text(probe)
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
            *("--virtual-time-budget=200000", "--dump-dom", (folder / "probe.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    return json.loads(html.unescape(found)), done.stderr


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_the_page_fits_filters_and_switches(folder: Path, width: int) -> None:
    found, said = probed(folder, PROBE % (width, FILTERED))
    assert "CONSOLE" not in said
    assert found["boxes"] == []
    assert found["width"] <= width
    assert found["light"] != found["dark"]
    matching = [claim for claim in claims.CLAIMS if FILTERED in f"{claim.statement} {claim.hypotheses}".lower()]
    assert found["all"] == len(claims.CLAIMS)
    assert len(matching) <= found["some"] < found["all"]
    assert matching


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core in .venv: make test-all puts it there, where npm is")
def test_nothing_serious_keeps_anyone_from_reading(folder: Path) -> None:
    """In light and dark; a faint line and a picture without words are found."""
    shutil.copy(AXE, folder / "axe.min.js")
    page = (folder / "report.html").read_text()
    (folder / "bad.html").write_text(
        page.replace("</h1>", '</h1><p style="color:#999;background:#aaa">faint</p><img src="x.png">', 1)
    )
    for name, wanted in (("report.html", set()), ("bad.html", {"color-contrast", "image-alt"})):
        found, said = probed(folder, AXE_PROBE % name)
        assert {one[0] for one in found if one[1] == "passed" and one[2] > 10} == {"light", "dark"}
        assert {one[2] for one in found if one[1] in ("serious", "critical")} == wanted, found
        assert "CONSOLE" not in said or name == "bad.html"
