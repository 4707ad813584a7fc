"""What a method would do to rollouts, against numbers worked out by hand and by plain loops over the file."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharpening import cli
from sharpening.samples import preview, rollouts
from sharpening.storage import store
from sharpening.theory.methods import calls
from tests import long_rollouts
from tests.tolerances import FLOAT64, PRINTED_TWO, ROOT

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "rollouts.jsonl"

# prompt, correct, log_prob, num_tokens. With gamma_correct .1: A = .5 + .2, .5 + .4, -.5, -.5 | .1, .3.
HAND = [("a", 1, -2, 2), ("a", 1, -4, 2), ("a", 0, -1, 1), ("a", 0, -6, 3), ("b", 1, -1, 1), ("b", 1, -3, 4)]


def as_lines(rows: list[tuple[str, Any, float, int]], **more: Any) -> str:
    names = ("prompt", "correct", "log_prob", "num_tokens")
    records = [dict(zip(names, row, strict=True)) for row in rows]
    return "\n".join(json.dumps({**record, "reward": record["correct"], **more}) for record in records)


def hand() -> rollouts.Rollouts:
    return rollouts.read_jsonl(as_lines(HAND), "hand")


def effect(found: rollouts.Rollouts, method: str, **given: Any) -> preview.Effect:
    return preview.effect(found, calls.resolve(method), given)


def close(value: float, rel: float = FLOAT64) -> Any:
    return pytest.approx(value, rel=rel, abs=rel)


# By hand.


def test_ds_by_hand():
    """Bonus 1.0 over advantage 2.0; .4 of 3.0 of the signal in the uniform group; A rises with length there."""
    found = effect(hand(), "ds")
    in_file_order = found.advantage[np.argsort(hand().lines)]
    np.testing.assert_allclose(in_file_order, [0.7, 0.9, -0.5, -0.5, 0.1, 0.3], rtol=FLOAT64)
    assert found.strengths == {"gamma_correct": 0.1}
    assert found.ratio == close(0.5)
    assert found.mean_advantage == close(3.0 / 6)
    assert found.uniform_share == close(0.4 / 3.0)
    assert found.wrong_above_correct == 0
    assert found.length_correct == close(0.3 / math.sqrt(4.5 * 0.04))
    assert math.isnan(found.length_wrong)  # every wrong answer gets -.5


def test_the_strengths_by_hand():
    """Sum: 1.0 / 2.0 at .1. Mean: (.1 + .2 + .1 + .075) / 2.0. Of the sum's bonus .4 of 1.0 differs within groups."""
    by_sum, by_mean = effect(hand(), "ds").scalings
    assert (by_sum.reduction, by_mean.reduction) == ("sum", "mean")
    assert (by_sum.ratio, by_mean.ratio) == (close(0.5), close(0.2375))
    assert [by_sum.strengths[r]["gamma_correct"] for r in preview.RATIOS] == [close(0.02), close(0.06), close(0.2)]
    wanted = [close(0.1 * ratio / 0.2375) for ratio in preview.RATIOS]
    assert [by_mean.strengths[r]["gamma_correct"] for r in preview.RATIOS] == wanted
    assert by_sum.distinguishing == close(0.4)
    assert by_mean.distinguishing == close((0.05 + 0.05 + 0.0125 + 0.0125) / 0.475)


def test_a_bonus_lifts_wrong_answers_above_correct_ones():
    """Entropy bonus 1: 2.5, 4.5 | .5, 5.5, so two of the four pairs; the uniform group has no pair."""
    assert effect(hand(), "entropy_bonus", strength=1.0).wrong_above_correct == 0.5


def test_equal_advantages_are_not_above_one_another():
    """Nor are .1 + .2 and .3, which rounding tells apart; one wrong answer truly above counts in both its pairs."""
    marks = preview.wrong_above_correct(hand(), np.where(hand().is_wrong, 0.1 + 0.2, 0.3))
    assert marks == preview.wrong_above_correct(hand(), np.ones(len(HAND))) == 0
    first_wrong = int(np.argmax(hand().is_wrong))
    assert preview.wrong_above_correct(hand(), np.eye(len(HAND))[first_wrong]) == 0.5


def test_two_strengths_are_scaled_together():
    """gamma_incorrect .05 adds .05 + .3 to the bonus: 1.35 over 2."""
    found = effect(hand(), "ds", gamma_incorrect=0.05)
    assert found.ratio == close(1.35 / 2)
    assert found.scalings[0].strengths[1.0] == {
        "gamma_correct": close(0.2 / 1.35),
        "gamma_incorrect": close(0.1 / 1.35),
    }
    lengths, numbers = np.array([-1, 1]), np.array([0.125, -0.125])  # wrong: -.55 at 1 token, -.8 at 3
    assert found.length_wrong == close(float(lengths @ numbers) / math.sqrt(2 * 2 * 0.125**2))


def test_a_method_without_a_strength_has_no_bonus():
    found = effect(hand(), "dr_grpo")
    assert (dict(found.strengths), found.scalings, math.isnan(found.ratio)) == ({}, (), True)
    assert (found.uniform_share, math.isnan(found.length_correct)) == (0.0, True)
    off = effect(hand(), "ds", gamma_correct=0.0)
    assert (dict(off.strengths), off.scalings) == ({}, ())


def test_unscorable_completions_count_nowhere():
    """An unscorable completion more in each group changes no number but the count."""
    more = as_lines([*HAND, ("a", None, -100, 50), ("b", None, -200, 9)])
    found = rollouts.read_jsonl(more, "more")
    with_them, without = effect(found, "ds"), effect(hand(), "ds")
    for name in ("mean_advantage", "ratio", "wrong_above_correct", "uniform_share", "length_correct"):
        assert getattr(with_them, name) == close(getattr(without, name))
    assert with_them.scalings[1].strengths[0.1]["gamma_correct"] == close(
        without.scalings[1].strengths[0.1]["gamma_correct"]
    )
    facts, before = preview.facts(found), preview.facts(hand())
    assert (facts["num_completions"], facts["num_unscorable"]) == (8, 2)
    for name in ("correctness", "log_prob", "num_tokens", "num_all_correct", "num_all_wrong", "spread_log_prob"):
        assert facts[name] == before[name]


def test_the_facts_by_hand():
    """Spread of log_prob among correct ones: deviations 1, 1, 1, 1 with 2 degrees of freedom."""
    found = preview.facts(hand())
    assert found["group_sizes"] == {2: 1, 4: 1}
    assert (found["num_all_correct"], found["num_all_wrong"]) == (1, 0)
    assert found["correctness"] == close(4 / 6)
    assert found["log_prob"]["mean"] == close(-17 / 6)
    assert found["spread_log_prob"] == close(math.sqrt(2.0))


def test_undefined_numbers_are_nan():
    """No prompt has both a correct and a wrong answer, every advantage without the term is 0."""
    found = effect(rollouts.read_jsonl(as_lines(HAND[4:]), "uniform"), "ds")
    assert [math.isnan(value) for value in (found.ratio, found.wrong_above_correct)] == [True, True]
    assert found.uniform_share == 1
    assert found.scalings[0].strengths == dict.fromkeys(preview.RATIOS)


def test_equal_lengths_have_no_correlation_and_a_file_without_lengths_only_the_sum():
    same = [(*row[:3], 5) for row in HAND]
    assert math.isnan(effect(rollouts.read_jsonl(as_lines(same), "f"), "ds").length_correct)
    bare = "\n".join(re.sub(r', "num_tokens": \d', "", line) for line in as_lines(HAND).splitlines())
    found = effect(rollouts.read_jsonl(bare, "f"), "ds")
    assert math.isnan(found.length_correct)
    assert [scaling.reduction for scaling in found.scalings] == ["sum"]


# By plain loops over the file.


def ds_ratio(text: str, gamma: float, *, is_mean: bool, is_shaped_reward: bool = False) -> float:
    """Mean |bonus| over mean |A| of ds from the lines alone: advantages after the group mean, or ds in the reward
    divided by the group's standard deviation."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for line in text.splitlines():
        record = json.loads(line)
        groups.setdefault(record["prompt"], []).append(record)
    bonus = size = 0.0
    for group in groups.values():
        terms = []
        for row in group:
            total = sum(row["token_log_probs"])
            surprisal = -total / len(row["token_log_probs"]) if is_mean else -total
            terms.append(gamma * surprisal * row["correct"])
        rewards = [row["reward"] for row in group]
        plain = z_scores(rewards) if is_shaped_reward else [r - statistics.fmean(rewards) for r in rewards]
        shaped = z_scores([r + t for r, t in zip(rewards, terms, strict=True)])
        full = shaped if is_shaped_reward else [p + t for p, t in zip(plain, terms, strict=True)]
        bonus += sum(abs(f - p) for f, p in zip(full, plain, strict=True))
        size += sum(map(abs, plain))
    return bonus / size


def z_scores(rewards: list[float]) -> list[float]:
    mean, spread = statistics.fmean(rewards), statistics.pstdev(rewards)
    return [(reward - mean) / (spread + 1e-6) for reward in rewards]


LONG = long_rollouts.jsonl()


@pytest.mark.parametrize("text", [EXAMPLE.read_text(encoding="utf-8"), LONG], ids=["7 tokens", "800 tokens"])
def test_the_strength_found_gives_the_ratio(text: str):
    """Recomputed from the file; the other reduction's strength, and the same for both, are far from it."""
    by_sum, by_mean = effect(rollouts.read_jsonl(text, "f"), "ds").scalings
    for ratio in preview.RATIOS:
        for_sum, for_mean = (found.strengths[ratio]["gamma_correct"] for found in (by_sum, by_mean))
        assert ds_ratio(text, for_sum, is_mean=False) == close(ratio)
        assert ds_ratio(text, for_mean, is_mean=True) == close(ratio)
        assert ds_ratio(text, for_mean, is_mean=False) > 5 * ratio
        assert ds_ratio(text, for_sum, is_mean=True) < ratio / 5


def test_the_strength_of_mean_grows_like_the_length():
    """Claim E6: 7 times that of sum at 7 tokens; at 400 to 1,200 tokens by a mean length, not by its root."""

    def factor(text: str) -> float:
        by_sum, by_mean = effect(rollouts.read_jsonl(text, "f"), "ds").scalings
        return by_mean.strengths[0.1]["gamma_correct"] / by_sum.strengths[0.1]["gamma_correct"]

    assert factor(EXAMPLE.read_text(encoding="utf-8")) == close(7)
    assert 400 < factor(LONG) < 1200
    assert factor(long_rollouts.jsonl(shortest=100, longest=300)) < 300


@pytest.mark.slow
def test_the_strength_is_found_where_the_ratio_is_not_proportional_to_it():
    """In a reward that is divided by its standard deviation: by root search, recomputed from the file."""
    text = EXAMPLE.read_text(encoding="utf-8")
    mixed = [line for line in text.splitlines() if json.loads(line)["prompt"] in _mixed_prompts(text)]
    text = "\n".join(mixed)
    given = {"placement": "reward", "normalise": "std"}
    scaling = effect(rollouts.read_jsonl(text, "f"), "ds", **given).scalings[0]
    for ratio in (0.1, 0.3):
        gamma = scaling.strengths[ratio]["gamma_correct"]
        assert ds_ratio(text, gamma, is_mean=False, is_shaped_reward=True) == close(ratio, ROOT)
    assert scaling.strengths[0.3]["gamma_correct"] > 3.01 * scaling.strengths[0.1]["gamma_correct"]


def _mixed_prompts(text: str) -> set[str]:
    labels: dict[str, set[bool]] = {}
    for line in text.splitlines():
        record = json.loads(line)
        labels.setdefault(record["prompt"], set()).add(record["correct"])
    return {prompt for prompt, found in labels.items() if len(found) == 2}


def test_the_numbers_of_the_page_for_long_answers_are_current():
    page = EXAMPLE.parent.parent.joinpath("docs", "preview.md").read_text(encoding="utf-8")
    found = effect(rollouts.read_jsonl(LONG, "f"), "ds")
    by_sum, by_mean = found.scalings
    tenths = [scaling.strengths[0.1]["gamma_correct"] for scaling in found.scalings]
    for words in (
        f"makes the term {by_sum.ratio:.0f} times the advantage under `sum` and {by_mean.ratio:.2f} times under `mean`",
        f"a tenth takes {tenths[0]:.5f} and {tenths[1]:.2f}",
    ):
        assert words in " ".join(page.split())


def test_a_ratio_that_no_strength_gives_has_none():
    """A reward over its standard deviation has a largest advantage, so ratio 1 is out of reach for two of a kind."""
    rows = [("a", 1, -1, 1), ("a", 0, -1, 1)]
    found = effect(rollouts.read_jsonl(as_lines(rows), "f"), "ds", placement="reward", normalise="std")
    assert dict(found.scalings[0].strengths) == dict.fromkeys(preview.RATIOS)


def test_long_rollouts_come_from_their_seed():
    assert long_rollouts.jsonl(num_prompts=2) == long_rollouts.jsonl(num_prompts=2)
    assert long_rollouts.jsonl(num_prompts=2) != long_rollouts.jsonl(seed=1, num_prompts=2)


# The command.

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Refused:
    """Runs bad input in a folder with the file `hand.jsonl`: status 2, one line, no file. Returns the line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hand.jsonl").write_text(as_lines(HAND))

    def refuse(*words: str) -> str:
        before = sorted(tmp_path.iterdir())
        assert cli.main(["preview", *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert sorted(tmp_path.iterdir()) == before
        return error.removeprefix("sharpening: ")

    return refuse


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hand.jsonl", "--method", "clip"], "preview cannot run clip: it is a token-level method"),
        (
            ["hand.jsonl", "--method", "entropy_bonus", "--set", "form=loss"],
            "preview cannot run entropy_bonus: it is a lo",
        ),
        (["hand.jsonl", "--method", "nope"], "'nope' is not a method"),
        (["hand.jsonl", "--method", "ips"], "ips needs answer, which the file lacks: it has reward, correct, log_prob"),
        (["hand.jsonl", "--method", "ds", "--set", "reference=base"], "ds needs base_log_prob, which the file lacks"),
        (
            ["hand.jsonl", "--method", "ds", "--set", "reduction=tokens"],
            "reduction is 'tokens': did you mean token? it must be one of sum, me",
        ),
        (["hand.jsonl", "--method", "ds", "--set", "gama=1"], "'gama' is not a parameter of ds"),
        (["hand.jsonl", "--set", "gamma_correct=1"], "--set: 'gamma_correct=1': want exactly one --method beside it"),
        (["hand.jsonl", "--method", "ds", "ds"], "--method: 'ds': given twice"),
        (["hand.jsonl", "--method", "mine.py:f"], "mine.py:f: there is no file"),
        (["hand.jsonl", "--reward", "score"], "hand.jsonl: there is no field 'score': want one of prompt, correct"),
        (["hand.jsonl", "--json", "missing/x.json"], "--json: 'missing/x.json': 'missing' is not a folder"),
        (["hand.jsonl", "--json", "hand.jsonl"], "--json: 'hand.jsonl': this is the input"),
        (["hand.jsonl", "--advantages", "hand.jsonl"], "--advantages: 'hand.jsonl': this is the input"),
        (["missing.jsonl"], "missing.jsonl: cannot be read: No such file"),
        (["missing.parquet"], "missing.parquet: cannot be read: No such file"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, refused: Refused):
    assert refused(*words).startswith(message)


def test_what_is_not_utf8_is_one_line(refused: Refused, tmp_path: Path):
    (tmp_path / "latin.jsonl").write_bytes(as_lines(HAND).encode() + b"\n\xe9")
    assert refused("latin.jsonl").startswith("latin.jsonl line 7: it is not UTF-8 text")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise TypeError('no')", "mine.py:f raises TypeError in line 2 of its file: no"),
        ("return reward / 0 * reward", "the advantage of line (or row) 1 of the file is inf: want finite numbers"),
        ("return reward[0]", "returned shape"),
    ],
)
def test_a_broken_function_of_the_user_is_one_line(body: str, message: str, refused: Refused, tmp_path: Path):
    (tmp_path / "mine.py").write_text(f"def f(*, reward):\n    {body}")
    assert message in refused("hand.jsonl", "--method", "mine.py:f")


def shown(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["preview", *words]) == 0
    return capsys.readouterr().out


def test_json_and_advantages_have_every_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The CSV is in the order of the file; the JSON is standard, with null for what is undefined."""
    (tmp_path / "hand.jsonl").write_text(as_lines(HAND[4:] + HAND[:4]))
    outputs = [str(tmp_path / name) for name in ("x.json", "x.csv")]
    shown(str(tmp_path / "hand.jsonl"), "--json", outputs[0], "--advantages", outputs[1], capsys=capsys)
    written = json.loads(Path(outputs[0]).read_text(), parse_constant=pytest.fail)
    by_id = {row["method"]: row for row in written["methods"]}
    assert (written["schema_version"], by_id["ds"]["ratio"], by_id["grpo"]["ratio"]) == (1, close(0.5), None)
    assert by_id["ds"]["scalings"][0]["strengths"]["0.1"] == {"gamma_correct": close(0.02)}
    assert set(by_id) | set(written["left_out"]) == set(preview.DEFAULT_METHODS)
    assert set(written["left_out"]) == {"ips"}
    rows = [row for row in store.read_rows(outputs[1]) if row["method"] == "ds"]
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["advantage"] for row in rows] == [close(value) for value in (0.1, 0.3, 0.7, 0.9, -0.5, -0.5)]


def test_a_users_function_is_shown_beside_what_it_copies(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Its strength is found without its name: the rows agree in every number but the name."""
    (tmp_path / "hand.jsonl").write_text(as_lines(HAND))
    (tmp_path / "mine.py").write_text(
        "def f(*, reward, correct, log_prob, pay=0.1):\n"
        "    return reward - reward.mean(axis=-1, keepdims=True) - pay * correct * log_prob\n"
    )
    target = tmp_path / "x.json"
    spec = f"{tmp_path / 'mine.py'}:f"
    shown(str(tmp_path / "hand.jsonl"), "--method", "ds", spec, "--json", str(target), capsys=capsys)
    ours, copy = json.loads(target.read_text())["methods"]
    assert copy["strengths"] == {"pay": 0.1}
    assert copy["scalings"][0]["strengths"]["0.3"] == {"pay": close(0.06)}
    for name in ("mean_advantage", "ratio", "uniform_share", "length_correct"):
        assert copy[name] == close(ours[name])


@pytest.mark.parametrize("text", [EXAMPLE.read_text(encoding="utf-8"), LONG], ids=["7 tokens", "800 tokens"])
def test_the_printed_advice_yields_a_tenth(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """What the words advise, recomputed from the file to the printed digits."""
    (tmp_path / "f.jsonl").write_text(text)
    words = " ".join(shown(str(tmp_path / "f.jsonl"), capsys=capsys).split())
    advised = re.search(
        r"a tenth of the advantage: gamma_correct (\S+) with reduction sum, or gamma_correct (\S+) with reduction mean",
        words,
    )
    assert advised is not None
    assert ds_ratio(text, float(advised[1]), is_mean=False) == close(0.1, PRINTED_TWO)
    assert ds_ratio(text, float(advised[2]), is_mean=True) == close(0.1, PRINTED_TWO)
    is_drowned = ds_ratio(text, 0.1, is_mean=False) > 3
    assert ("the reward hardly counts" in words) == is_drowned == (text is LONG)
    assert ("Lengths differ" in words) == (text is LONG)


def test_a_file_without_log_probs_shows_what_it_can(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """And says which methods need what; asked for by name such a method is refused (above)."""
    bare = re.sub(r', "(log_prob|num_tokens)": -?\d', "", as_lines(HAND))
    (tmp_path / "f.jsonl").write_text(bare)
    out = shown(str(tmp_path / "f.jsonl"), capsys=capsys)
    assert re.search(r"^ +grpo ", out, flags=re.MULTILINE)
    left_out = " ".join(out.partition("LEFT OUT")[2].split())
    assert (
        "ds, ds_paper, ds_token, ds_sequence, ds_reward, ds_maxrl need log_prob, which the file lacks: it has reward"
        in left_out
    )
    assert "ADVICE" not in out


def test_the_caveats_of_a_named_method_are_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "f.jsonl").write_text(as_lines(HAND, base_log_prob=-1.0))
    assert cli.main(["preview", str(tmp_path / "f.jsonl"), "--method", "mara"]) == 0
    assert capsys.readouterr().err.startswith("note: strength 0.1 is above kl_strength")
