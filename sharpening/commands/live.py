"""`live`: a training that goes on, a line a step, with a page that shows it and alarms that theory suggests."""

from __future__ import annotations

import json
from pathlib import Path
from time import sleep

from pydantic import Field

from sharpening.commands.llm import RUN_FILE
from sharpening.commands.options import NonEmpty, Options
from sharpening.figures.report import live as pages
from sharpening.figures.tables import alarms
from sharpening.llm.training import folder_lock
from sharpening.storage import files, store


class LiveOptions(Options):
    """Follow a training of llm in its folder until its end: a line a step, alarms, and a page with its curves."""

    folder: NonEmpty = Field(description="folder of the run, as llm --folder names it")
    to: NonEmpty | None = Field(None, description="the HTML file to write (default: FOLDER/live.html)")
    seconds: float = Field(10.0, ge=0.1, le=3600, allow_inf_nan=False, description="seconds between two looks")
    once: bool = Field(False, description="look once, whether the run is at its end or not")


def live(options: LiveOptions) -> int:
    """Looks again and again, prints what is new, and writes the page where something changed."""
    folder = Path(options.folder)
    if not (folder / RUN_FILE).is_file():
        raise ValueError(f"FOLDER: {options.folder!r}: no run of llm is there: want the folder of one")
    num_steps = int(json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["steps"])
    page = options.to or str(folder / "live.html")
    files.refuse_as_file("to", page)
    said: set[str] = set()
    last, written = -1, ""
    before = b""
    while True:
        path = folder / "rows.csv"
        now = path.read_bytes() if path.exists() else b""
        rows = store.read_rows(path, is_growing=True) if now else []
        is_stopped = bool(rows) and now == before and not folder_lock.is_taken(folder)
        is_whole = (folder / "model").is_dir() and any(row["step"] == num_steps for row in rows)
        is_done, before = options.once or is_whole or is_stopped, now
        steps = list(dict.fromkeys(int(row["step"]) for row in rows))
        for step in (step for step in (steps if is_done else steps[:-1]) if step > last):  # rows of the last may come
            print(pages.line(rows, step, num_steps), flush=True)
            last = step
        for alarm in (alarm for alarm in alarms.ringing(rows) if alarm.partition(":")[0] not in said):
            said.add(alarm.partition(":")[0])
            print(f"look: {alarm}", flush=True)
        text = pages.live(rows, name=folder.name, num_steps=num_steps, seconds=0 if is_done else options.seconds)
        if text != written:
            store.write_text_atomically(page, text)
            written = text
        if is_done:
            if is_stopped and not is_whole:
                print(f"stopped after step {last} of {num_steps}: the command of llm that made it goes on from there")
            print(f"page: {page}")
            return 0
        sleep(options.seconds)


COMMAND = (LiveOptions, live)
