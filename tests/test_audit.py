"""The audit against enumeration of all token sequences, against samples, and its gains on flows of the theory."""

from __future__ import annotations

import itertools
import json
from functools import cache

import numpy as np
import pytest
import torch

from sharpening.llm.audit import check, exact
from sharpening.llm.audit import rows as audit_rows
from sharpening.llm.audit import samples as audit_samples
from sharpening.llm.audit.exact import Audited
from sharpening.llm.countdown import formats, problems, verifier
from sharpening.llm.countdown.problems import Problem
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.sampling import evaluate, models, scoring
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.training import warm_start
from sharpening.samples import sharpening
from sharpening.theory import policies
from sharpening.theory.flow import dynamics
from tests.language_models import CONFIG, SETTINGS, byte_model, small_model
from tests.tolerances import DIFFERS, FLOAT32_MASS, FLOAT32_SUM, FLOAT64, INTEGRATOR, OTHER_MASS

OPERATORS = "+-*"
PAIR = problems.Settings(num_numbers=2, largest_number=3, max_target=9, operators=OPERATORS)


@cache
def pair_model() -> LanguageModel:
    """An untrained model of 13 words whose next words are far from equally likely."""
    torch.set_num_threads(1)
    lm = warm_start.make_model(CONFIG.model_copy(update={"problems": PAIR, "width": 32, "layers": 1}))
    with torch.no_grad():
        lm.model.get_input_embeddings().weight.mul_(6)
    return lm


@cache
def enumerated(problem: Problem, temperature: float) -> dict[str, float]:
    """Masses over every sequence of at most four tokens that stops at its first end token, marked by the verifier."""
    lm = pair_model()
    end, words = lm.tokenizer.eos_token_id, range(len(lm.tokenizer))
    prompt = lm.tokenizer(formats.compact_prompt(problem.numbers, problem.target))["input_ids"]
    masses = dict.fromkeys(("correct", "well_formed", "finished", "without_end"), 0.0)
    others = [word for word in words if word != end]
    for length in range(4):
        rows = [[*row, end] for row in itertools.product(others, repeat=length)]
        with torch.no_grad():
            logits = lm.model(torch.tensor([prompt + row for row in rows])).logits[:, len(prompt) - 1 : -1]
        log_policy = policies.log_softmax(logits.double().numpy() / temperature)
        chosen = np.take_along_axis(log_policy, np.array(rows)[:, :, None], axis=2)[..., 0]
        for row, log_probs in zip(rows, chosen, strict=True):
            text = lm.tokenizer.decode(row[:-1])
            mark = verifier.verify(text, problem.numbers, problem.target, notation="postfix", operators=OPERATORS)
            mass = float(np.exp(log_probs.sum()))
            masses["correct"] += mass * mark.correct
            masses["well_formed"] += mass * mark.well_formed
            masses["finished"] += mass
            masses["without_end"] += float(np.exp(log_probs[:-1].sum())) * mark.correct
    return masses


PAIRS = [Problem((1, 2), 3), Problem((3, 1), 2), Problem((3, 3), 9)]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("problem", PAIRS, ids=lambda problem: problem.id)
def test_masses_are_those_of_all_token_sequences(problem, temperature):
    wanted = enumerated(problem, temperature)
    one = exact.audit(pair_model(), problem, operators=OPERATORS, temperature=temperature)
    row = exact.problem_row(one)
    assert one.is_exact
    assert row["correctness"] == pytest.approx(wanted["correct"], rel=FLOAT32_MASS, abs=0)
    assert 1 - row["unlisted_mass"] == pytest.approx(wanted["well_formed"], rel=FLOAT32_MASS, abs=0)
    ill_formed = wanted["finished"] - wanted["well_formed"] + (1 - wanted["finished"])  # at most four tokens, or longer
    assert row["unlisted_mass"] == pytest.approx(ill_formed, rel=FLOAT32_MASS, abs=0)
    assert row["num_answers"] == (3 if problem.numbers == (3, 3) else 6)


@pytest.mark.parametrize("problem", PAIRS, ids=lambda problem: problem.id)
def test_wrong_variants_have_other_masses(problem):
    """No end token, no temperature, answers of equal numbers listed twice."""
    wanted = enumerated(problem, 0.6)["correct"]
    assert enumerated(problem, 0.6)["without_end"] > 2 * wanted
    assert enumerated(problem, 1.0)["correct"] != pytest.approx(wanted, rel=OTHER_MASS, abs=0)
    one = exact.audit(pair_model(), problem, operators=OPERATORS, temperature=0.6)
    texts = [pair_model().tokenizer.decode(row[:-1]) for row in one.tokens]
    assert len(set(texts)) == len(texts)


@cache
def held_out() -> list[Problem]:
    settings = SETTINGS.model_copy(update={"split": "test"})
    return problems.distinct(settings, np.random.default_rng(0), 20)


@cache
def audits(temperature: float) -> list[Audited]:
    return [exact.audit(small_model(), one, operators=OPERATORS, temperature=temperature) for one in held_out()]


def texts() -> list[list[str]]:
    return [small_model().tokenizer.batch_decode([row[:-1] for row in one.tokens]) for one in audits(1.0)]


@cache
def sampled() -> audit_samples.Samples:
    """20,000 samples of the small model, through the lines that `evaluate` writes."""
    lm = small_model()
    settings = evaluate.Settings(n=1000, max_tokens=8, batch=2000, slice_size=4)
    task = CountdownTask(held_out(), operators=OPERATORS)
    events = evaluate.evaluate(evaluate.transformers_sampler(lm), lm.tokenizer, task, settings)
    lines = [json.dumps(row) for event in events if isinstance(event, evaluate.Done) for row in event.rows]
    return audit_samples.read("\n".join(lines), "samples.jsonl")


@pytest.mark.slow
def test_samples_agree_with_the_audit():
    found = check.compare(audits(1.0), texts(), sampled())
    assert found.num_samples == 20_000
    assert found.degrees > 100
    assert found.agrees, (found.z, found.p_value)


@pytest.mark.slow
def test_an_audit_at_another_temperature_is_rejected():
    found = check.compare(audits(1.3), texts(), sampled())
    assert abs(found.z) > 8
    assert found.p_value < 1e-12
    assert not found.agrees


@pytest.mark.slow
def test_wrong_marks_are_rejected():
    """One wrong answer called correct in every problem: the likeliest."""
    changed = []
    for one in audits(1.0):
        correct = one.correct.copy()
        correct[np.argmax(np.where(correct == 0, one.log_prob, -np.inf))] = 1
        changed.append(one._replace(correct=correct))
    assert abs(check.compare(changed, texts(), sampled()).z) > 8


@pytest.mark.slow
def test_swapped_answers_are_rejected_by_chi_squared_alone():
    """The log-probabilities of the correct answers in reverse: the same Q, another distribution."""
    changed = []
    for one in audits(1.0):
        log_prob, is_correct = one.log_prob.copy(), one.correct == 1
        log_prob[is_correct] = log_prob[is_correct][::-1]
        changed.append(one._replace(log_prob=log_prob))
    found = check.compare(changed, texts(), sampled())
    assert abs(found.z) < check.LARGEST_Z
    assert not found.agrees


def test_the_check_refuses_what_it_cannot_check():
    with pytest.raises(ValueError, match=r"^--check: problem '.*' was not audited: want samples of the audited"):
        check.compare(audits(1.0)[:1], texts()[:1], sampled())


def test_a_check_of_problems_that_are_never_solved_passes_where_none_is():
    never = audits(1.0)[0]._replace(correct=np.zeros(len(audits(1.0)[0].tokens)))
    one = sampled().samples[0]._replace(completion="", correct=False)
    samples = audit_samples.Samples([one] * 3, np.zeros(3, np.int64), 0)
    assert check.compare([never], texts()[:1], samples).agrees
    samples = audit_samples.Samples([one._replace(correct=True)] * 3, np.zeros(3, np.int64), 0)
    assert not check.compare([never], texts()[:1], samples).agrees


def spellings(text: str, vocabulary: dict[str, int]) -> list[list[int]]:
    """Every way to cut a text into tokens."""
    if not text:
        return [[]]
    cuts = [place for place in range(1, len(text) + 1) if text[:place] in vocabulary]
    return [[vocabulary[text[:place]], *rest] for place in cuts for rest in spellings(text[place:], vocabulary)]


@pytest.mark.parametrize("text_format", ["compact", "chat"])
def test_every_tokenization_is_in_the_mass(text_format):
    """Of the text and of the text after a space, each scored whole; a lower bound, for there may be more blanks."""
    lm, problem = byte_model(), Problem((1, 2), 3)
    one = exact.audit(lm, problem, operators=OPERATORS, text_format=text_format)
    assert not one.is_exact
    vocabulary = {lm.tokenizer.decode([token]): token for token in range(1, len(lm.tokenizer))}
    end = lm.tokenizer.eos_token_id
    listed = [lm.tokenizer.decode(row[:-1]) for row, mark in zip(one.tokens, one.correct, strict=True) if mark]
    every = [[*row, end] for text in listed for row in spellings(text, vocabulary) + spellings(f" {text}", vocabulary)]
    assert len(every) > len(listed) == 2
    prompt = models.prompt_ids(lm.tokenizer, formats.prompt(problem, text_format, OPERATORS))
    whole = float(np.exp(scoring.score(lm, prompt, every).log_prob).sum())
    assert exact.problem_row(one)["correctness"] == pytest.approx(whole, rel=FLOAT32_MASS)
    assert sorted(row for row, place in zip(one.rows, one.answer, strict=True) if one.correct[place]) == sorted(every)


def test_every_tokenizer_lists_the_answers_in_one_order():
    """Two checkpoints are compared answer by answer, also where their tokenizers number the words in another way."""
    for problem in (Problem((1, 2, 3), 5), Problem((2, 2, 1), 3)):
        lists = []
        for tokenizer in (warm_start.make_tokenizer(20), warm_start.make_tokenizer(6), byte_model().tokenizer):
            rows, correct, _ = exact.listed_answers(tokenizer, problem, OPERATORS, "compact")
            lists.append((tokenizer.batch_decode([row[:-1] for row in rows]), correct.tolist()))
        assert lists[0] == lists[1] == lists[2]


def test_a_word_that_the_tokenizer_lacks_is_refused():
    with pytest.raises(ValueError, match=r"^the model's tokenizer has no word '21': want problems of the kind"):
        exact.listed_answers(warm_start.make_tokenizer(20), Problem((21, 2), 23), OPERATORS, "compact")


def flowed(one: Audited, time: float, geometry: dynamics.Geometry = "softmax") -> Audited:
    """The audit after plain RL on this prompt alone, for a time, its unlisted mass as one wrong answer."""
    table = exact.as_table(one)
    assert table is not None
    moved = dynamics.integrate(table.base_log_policy, lambda _: table.correct, [0.0, time], geometry)[-1]
    return one._replace(log_prob=moved[:-1])


def test_plain_rl_on_each_prompt_has_the_slope_that_the_audit_expects_of_it():
    """Claims B1, B2 and E2 through the audit's own rows; the natural gradient keeps every ratio (B5)."""
    base = audits(1.0)[:8]
    moved = {"base": base, "plain": [flowed(one, 20.0) for one in base]}
    rows = list(audit_rows.summary_rows(moved, audit_rows.problem_rows(moved), [1, 8], rng=np.random.default_rng(0)))
    found = {row["quantity"]: row for row in rows if row["model"] == "plain" and row["at"] == 0}
    assert found["sharpening_slope"]["low"] > 0
    assert found["expected_slope"]["value"] == pytest.approx(found["sharpening_slope"]["value"], abs=INTEGRATOR)
    natural = exact.gains(base, [flowed(one, 2.0, "natural") for one in base])
    slope = sharpening.slope_row(natural.only(natural.correct == 1))
    assert slope["value"] == pytest.approx(0, abs=INTEGRATOR)
    expected = exact.expected_gains(base, [flowed(one, 2.0, "natural") for one in base])
    assert expected is not None
    assert sharpening.slope_row(expected)["value"] > DIFFERS


def test_problems_whose_correctness_fell_are_not_expected_to_move():
    base = audits(1.0)[:3]
    fell = base[0]._replace(log_prob=base[0].log_prob - base[0].correct)
    unsolvable = base[2]._replace(correct=np.zeros(len(base[2].tokens)))
    found = exact.expected_gains([base[0], base[1], unsolvable], [fell, flowed(base[1], 5.0), unsolvable])
    assert found is not None
    assert set(found.problem.tolist()) == {1}
    assert exact.expected_gains([base[0]], [fell]) is None


def by_hand(correct_masses: list[float], wrong_masses: list[float]) -> Audited:
    masses = np.array([*correct_masses, *wrong_masses])
    correct = np.repeat([1.0, 0.0], [len(correct_masses), len(wrong_masses)])
    return Audited(Problem((1, 2), 3), [[5, 6, 7, 1]] * len(masses), correct, np.log(masses), True)


def test_a_problem_s_row_by_hand():
    """Correct .3 and .1, wrong .2 and .2, the rest .2; after training .1, .3 and .4, .1."""
    base, after = by_hand([0.3, 0.1], [0.2, 0.2]), by_hand([0.1, 0.3], [0.4, 0.1])
    row = exact.problem_row(after, base)
    assert row["correctness"] == pytest.approx(0.4)
    assert row["unlisted_mass"] == pytest.approx(0.1)
    assert row["hill_2"] == pytest.approx(1 / (0.25**2 + 0.75**2))
    assert row["hill_inf"] == pytest.approx(1 / 0.75)
    assert row["hill_1"] == pytest.approx(np.exp(row["entropy_correct"]))
    assert row["entropy_correct"] == pytest.approx(-0.25 * np.log(0.25) - 0.75 * np.log(0.75))
    assert row["surprisal_correct"] == pytest.approx(-0.25 * np.log(0.1) - 0.75 * np.log(0.3))
    assert row["base_surprisal_correct"] == pytest.approx(-0.25 * np.log(0.3) - 0.75 * np.log(0.1))
    assert row["base_surprisal_wrong"] == pytest.approx(-np.log(0.2))


def test_the_unlisted_mass_is_one_more_wrong_answer():
    table = exact.as_table(by_hand([0.3, 0.1], [0.2, 0.2]))
    assert table is not None
    np.testing.assert_allclose(np.exp(table.base_log_policy), [0.3, 0.1, 0.2, 0.2, 0.2], rtol=FLOAT64)
    assert table.correct.tolist() == [1, 1, 0, 0, 0]
    assert exact.as_table(by_hand([], [0.5])) is None


def test_the_check_by_hand():
    """Masses .5 (correct) and .3 of listed answers, 100 samples; an unfinished text is none of the answers."""
    one = by_hand([0.5], [0.3])
    drawn = [("a", True, True)] * 55 + [("b", False, True)] * 25 + [("a", False, False)] * 5 + [("c", False, True)] * 15
    rows = [
        audit_samples.Sample(one.problem.id, "", text, correct, is_finished, np.nan)
        for text, correct, is_finished in drawn
    ]
    found = check.compare([one], [["a", "b"]], audit_samples.Samples(rows, np.zeros(100, np.int64), 0))
    assert (found.num_samples, found.observed, found.degrees) == (100, 55, 2)
    assert found.z == pytest.approx(1.0, rel=FLOAT64)
    assert found.chi_squared == pytest.approx(25 / 50 + 25 / 30, rel=FLOAT64)


def test_summaries_by_hand():
    """pass@2 and its difference, masses, and S_C - S_W, on a problem with and one without correct answers."""
    audited = {
        "base": [by_hand([0.3, 0.1], [0.2, 0.2]), by_hand([], [0.5, 0.1])],
        "after": [by_hand([0.1, 0.4], [0.4, 0.1]), by_hand([], [0.5, 0.1])],
    }
    rows = list(audit_rows.summary_rows(audited, audit_rows.problem_rows(audited), [2], rng=np.random.default_rng(0)))
    found = {(row["model"], row["quantity"], row["at"]): row for row in rows}
    assert found["base", "pass_at_k", 2]["value"] == pytest.approx((1 - 0.6**2) / 2)
    assert found["after", "pass_at_k_difference", 2]["value"] == pytest.approx((0.6**2 - 0.5**2) / 2)
    assert found["base", "ill_formed_mass", 0]["value"] == pytest.approx((0.2 + 0.4) / 2)
    gap = -0.75 * np.log(0.3) - 0.25 * np.log(0.1) + np.log(0.2)
    assert found["base", "surprisal_gap", 0]["value"] == pytest.approx(gap)
    assert found["base", "surprisal_gap_above_0", 0]["value"] == 0  # 1.48 nats against 1.61
    assert found["base", "surprisal_gap_above_0", 0]["num_problems"] == 1
    lists = [["a", "b", "c", "d"], ["e", "f"]]
    points = list(audit_rows.answer_rows(audited, lists))
    assert [(row["model"], row["answer"]) for row in points] == list(itertools.product(audited, ["a", "b"]))
    bound = {name: [one._replace(is_exact=False) for one in mine] for name, mine in audited.items()}
    rows = list(audit_rows.summary_rows(bound, audit_rows.problem_rows(bound), [2], rng=np.random.default_rng(0)))
    assert {"unlisted_mass"} == {row["quantity"] for row in rows} & {"unlisted_mass", "ill_formed_mass"}


@pytest.mark.slow
def test_two_trained_models_differ_by_what_each_differs_from_the_first():
    """Differences of means and of slopes, from the rows of each; and of a model from itself all are 0."""
    base = audits(1.0)
    audited = {"base": base, "a": [flowed(one, 5.0) for one in base], "b": [flowed(one, 1.0) for one in base]}
    problem_rows = audit_rows.problem_rows(audited)
    rows = audit_rows.summary_rows(audited, problem_rows, [1, 8], rng=np.random.default_rng(0))
    found = {(row["model"], row["quantity"], row["at"]): row for row in rows}
    between = list(audit_rows.rows_between(audited, problem_rows, [1, 8], "a", "b", rng=np.random.default_rng(0)))
    assert [(row["quantity"], row["at"]) for row in between] == [
        ("pass_at_k_difference", 1),
        ("pass_at_k_difference", 8),
        ("sharpening_slope", 0),
    ]
    for row in between:
        values = [found[name, row["quantity"], row["at"]]["value"] for name in ("a", "b")]
        assert row["value"] == pytest.approx(values[1] - values[0], rel=FLOAT64)
        assert row["value"] < 0
    same = audit_rows.rows_between(audited, problem_rows, [1, 8], "a", "a", rng=np.random.default_rng(0))
    assert {row["value"] for row in same} == {0.0}


def test_the_list_sums_to_less_than_one_in_every_audit():
    assert all(0 < np.exp(one.log_prob).sum() < 1 + FLOAT32_SUM for one in audits(1.0))
