"""`live`: every alarm rings where it must and nowhere else, and a run that goes on is followed."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import pytest

from sharpening.figures.report import live as pages
from sharpening.figures.tables import alarms
from sharpening.llm.training import folder_lock
from sharpening.storage import store
from tests.command_line import runner
from tests.pages import rows_of
from tests.report_page import Page

STEPS = 12


def rows(**quantities: float) -> list[dict[str, float | str | int]]:
    """Rows of a training of twelve updates with constant quantities."""
    return [
        {"step": step, "quantity": name.replace("__", "/"), "value": value}
        for step in range(1, STEPS + 1)
        for name, value in quantities.items()
    ]


RING = {
    alarms.too_strong: {"method__bonus_ratio": 1.5},
    alarms.too_weak: {"method__bonus_ratio": 0.01},
    alarms.uniform_groups: {"frac_reward_zero_std": 0.95},
    alarms.wrong_term_dominates: {"method__wrong_share": 0.9},
}
SILENT = {"method__bonus_ratio": 0.3, "frac_reward_zero_std": 0.3, "method__wrong_share": 0.5}


@pytest.mark.parametrize("alarm", RING, ids=lambda alarm: alarm.__name__)
def test_an_alarm_rings_alone(alarm) -> None:
    """In a run that is as it should be but for one quantity; in one that is as it should be nothing rings."""
    assert alarms.ringing(rows(**SILENT)) == []
    disturbed = rows(**SILENT | RING[alarm])
    assert alarms.ringing(disturbed) == [alarm(disturbed)]


@pytest.mark.parametrize("alarm", RING, ids=lambda alarm: alarm.__name__)
def test_an_alarm_waits_for_enough_updates_and_forgets_old_ones(alarm) -> None:
    disturbed = rows(**RING[alarm])
    assert alarm(disturbed[: alarms.WINDOW - 1]) is None
    assert alarm(disturbed[: alarms.WINDOW]) is not None
    assert alarm(disturbed + rows(**SILENT)) is None
    of_none = [row | {"value": math.nan} for row in disturbed]
    assert alarm(disturbed + of_none) is None  # what was before is over
    assert alarm(disturbed + of_none[:6]) is None  # four of the last ten are known
    unknown = [row | {"value": math.nan} for row in disturbed]
    assert alarm(unknown) is None


def test_plain_rl_has_no_term_that_could_be_too_weak() -> None:
    assert alarms.ringing(rows(method__bonus_ratio=0.0)) == []


@pytest.mark.parametrize(
    ("first", "last", "rings"),
    [((0.4, 0.9), (0.5, 0.8), True), ((0.4, 0.9), (0.5, 0.95), False), ((0.4, 0.9), (0.3, 0.8), False)],
)
def test_more_pass_at_1_and_less_pass_at_8_is_sharpening(first, last, rings: bool) -> None:
    found = [
        {"step": step, "quantity": f"held_out/pass@{k}", "value": value}
        for step, values in ((0, first), (50, last))
        for k, value in zip((1, 8), values, strict=True)
    ]
    assert (alarms.sharpens(found) is not None) is rings


def test_a_committed_training_sharpens_and_has_no_other_alarm() -> None:
    assert [said.partition(":")[0] for said in alarms.ringing(rows_of("laptop_plain_0"))] == ["it sharpens"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run of twelve updates that has not begun."""
    (tmp_path / "run.json").write_text(json.dumps({"steps": STEPS}))
    return tmp_path


def test_a_run_is_followed_to_its_end(folder: Path, monkeypatch, capfd) -> None:
    """It grows while it is looked at: first nothing, then half a line, then all with the model."""
    text = store.rows_to_csv(rows(**SILENT | RING[alarms.too_strong]))
    cut = len(text) // 2
    left = ["", text[:cut], text]
    pages_seen = []

    def goes_on(seconds: float) -> None:
        pages_seen.append((folder / "live.html").read_text())
        (folder / "rows.csv").write_text(left.pop(0))
        if not left:
            (folder / "model").mkdir()

    monkeypatch.setattr("sharpening.commands.live.sleep", goes_on)
    done = runner(capfd)("live", str(folder), "--seconds", "3")
    assert (done.status, done.err, left) == (0, "", [])
    lines = done.out.splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("step")] == [
        f"step {step} of {STEPS}" for step in range(1, STEPS + 1)
    ]
    assert "step 3 of 12: ratio 1.50, uniform .300" in lines
    assert sum(line.startswith("look: strength too large: ") for line in lines) == 1
    assert lines[-1] == f"page: {folder / 'live.html'}"
    last = (folder / "live.html").read_text()
    assert ['http-equiv="refresh" content="3.0"' in one for one in (*pages_seen, last)] == [True, True, True, False]
    assert "No rows yet" in pages_seen[0]
    assert "strength too large" in last
    assert Page(last).faults == []
    assert [found["aria-label"] for tag, found in Page(last).tags if tag == "svg"] == ["training"]


def test_a_run_that_was_stopped_is_not_waited_for(folder: Path, monkeypatch, capfd) -> None:
    """While its process is there it is, however long nothing comes; then two looks at the same rows are enough."""
    text = store.rows_to_csv([row for row in rows(**SILENT, grad_norm=math.nan) if row["step"] <= 3])
    (folder / "rows.csv").write_text(text)
    looks = []
    with contextlib.ExitStack() as training:
        training.enter_context(folder_lock.alone_in(folder))

        def goes_on(_: float) -> None:
            looks.append(1)
            assert len(looks) < 9, "it waits for ever"
            if len(looks) == 4:
                training.close()

        monkeypatch.setattr("sharpening.commands.live.sleep", goes_on)
        done = runner(capfd)("live", str(folder))
    assert (done.status, done.err, len(looks)) == (0, "", 4)
    said = "stopped after step 3 of 12: the command of llm that made it goes on from there"
    assert done.out.splitlines()[-2:] == [said, f"page: {folder / 'live.html'}"]


def test_one_look_at_a_run_that_goes_on(folder: Path, capfd) -> None:
    (folder / "rows.csv").write_text(store.rows_to_csv(rows(**SILENT)))
    done = runner(capfd)("live", str(folder), "--once", "--to", str(folder / "here.html"))
    assert (done.status, done.err) == (0, "")
    assert "refresh" not in (folder / "here.html").read_text()


def test_a_folder_without_a_run_is_refused(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    done = runner(capfd)("live", "nowhere")
    assert done == (2, "", "sharpening: FOLDER: 'nowhere': no run of llm is there: want the folder of one\n")


def test_a_name_cannot_break_the_page() -> None:
    text = pages.live(rows(**SILENT), name="<script>x</script>", num_steps=STEPS, seconds=1)
    assert "<script>" not in text
