"""What docs/better_method.md says in words, against the rows of the runs that it names."""

from __future__ import annotations

from typing import Any

import pytest

from sharpening.bandits.experiments import contests
from tests.pages import rows_of, text

PAGE = " ".join(text("docs/better_method.md").split())
ALLOWED_LOSS = 0.002  # of Q at the end, in the mean
MATCHED = ("answers_at_90", "answers_at_99")


def standings(run: str, contestant: str) -> list[dict[str, Any]]:
    return [one for one in contests.standings(rows_of(run)) if one["contestant"] == contestant]


def wins(one: dict[str, Any]) -> bool:
    """Whether it has more answers than DS at both matched Q, beyond the intervals, at no lower Q at the end."""
    gaps = [one["over_ds"][measure] for measure in MATCHED]
    return one["over_ds"]["correctness"][0] > -ALLOWED_LOSS and all(mean - half > 0 for mean, half in gaps)


def loses(one: dict[str, Any]) -> bool:
    return any(sum(one["over_ds"][measure]) < 0 for measure in MATCHED)


@pytest.mark.parametrize(
    ("contestant", "num_won", "num_lost"),
    [
        ("rarity, difficulty 0.6", 4, 0),
        ("rarity, no difficulty", 4, 0),
        ("rarity_maxrl", 2, 1),
        ("ds centred", 4, 0),
    ],
)
def test_who_wins_on_single_prompts(contestant, num_won, num_lost):
    found = standings("tuned_matched", contestant)
    assert len(found) == 5
    assert sum(map(wins, found)) == num_won
    assert sum(map(loses, found)) == num_lost
    assert not any(one["at_edge"] for one in found)


def test_the_page_says_who_wins_on_single_prompts():
    assert "With `difficulty` .6 it keeps more answers than tuned DS on four of five prompts" in PAGE
    assert "there it wins on two prompts and loses on one." in PAGE


def test_what_is_said_of_the_first_contest():
    found = standings("tuned_single", "rarity_maxrl")
    above = [[one["over_ds"][measure][0] - one["over_ds"][measure][1] > 0 for one in found] for measure in MATCHED]
    assert (sum(above[1]), sum(above[0])) == (5, 4)
    losses = sorted(one["over_ds"]["correctness"][0] for one in found)[:2]
    assert "on two, by {:.4f} and by {:.4f}.".format(*(-loss for loss in losses[::-1])).replace("0.", ".") in PAGE
    assert losses[1] > -ALLOWED_LOSS > losses[0]


def test_what_is_said_of_shared_strategies():
    (best,) = standings("tuned_shared_matched", "rarity, difficulty 0.6")
    (first, half), (eighth, wide) = best["over_ds"]["pass_at_1"], best["over_ds"]["pass_at_8"]
    assert first - half > 0
    assert abs(eighth) < wide
    said = f"by {first:.4f} and pass@8 cannot be told apart from it ({eighth:.3f} +- {wide:.3f})"
    assert said.replace("0.", ".") in PAGE
    (own,), (plain,) = standings("tuned_shared", "rarity_maxrl"), standings("tuned_shared", "ds")
    assert own["means"]["pass_at_1"] < plain["means"]["pass_at_1"]
    assert sum(own["means"].values()) > sum(plain["means"].values())


def test_how_much_the_strength_matters():
    found = [one for one in contests.by_strength(rows_of("tuned_single")) if one["strength"] > 0.18]
    assert all(one["own"]["answers_at_99"] > one["plain"]["answers_at_99"] for one in found)
    most = max(one["plain"]["correctness"] - one["own"]["correctness"] for one in found)
    assert f"at a Q lower by at most {most:.4f};".replace("0.", ".") in PAGE


def test_what_is_said_of_the_exact_step():
    rows = {(row["method"], row["strength"]): row["sharpens"] for row in rows_of("motion")}
    for strength in (0.1, 0.3):
        assert abs(rows["ds", strength] - rows["rarity_maxrl", strength]) < 0.02
    for strength in (1.0, 3.0):
        assert rows["rarity_maxrl", strength] < rows["ds", strength] - 0.05


def test_the_same_is_said_on_other_pages():
    for page in ("README.md", "docs/findings.md"):
        words = " ".join(text(page).split())
        assert "on four of five prompts" in words
        assert ".0185" in words
