"""Gradients of the audit against finite differences, whole matrices and actual steps of models."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from transformers.modeling_outputs import CausalLMOutput

from sharpening.figures.tables import transfer as tables
from sharpening.llm.audit import exact, transfer, transfer_rows
from sharpening.llm.audit.exact import Audited
from sharpening.llm.audit.transfer import Differentiated, Transfer
from sharpening.llm.countdown import formats, problems
from sharpening.llm.countdown.problems import Problem
from sharpening.llm.sampling import models, scoring
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.training import warm_start
from sharpening.samples import sharpening
from sharpening.theory import policies
from tests.language_models import SETTINGS, SPELLED, small_model, spelling_model
from tests.tolerances import FLOAT32_GRADIENT, SMALL_STEP

OPERATORS = "+-*"
POWER = 0.2  # relative: what a wrong prediction is off at least
NUM_TRAINED = 12
LEAST_RISE = 1e-3  # nats of mean log-odds, of which float32 gets a hundredth right


def plain(correctness: float) -> float:
    return 1.0


def of(lm: LanguageModel, batch: int = 64) -> Differentiated:
    return Differentiated(lm, OPERATORS, "compact", 1.0, batch)


@cache
def drawn(split: str, count: int) -> list[Problem]:
    settings = SETTINGS.model_copy(update={"split": split})
    return problems.distinct(settings, np.random.default_rng(1), count)


def audited(lm: LanguageModel, chosen: Sequence[Problem]) -> list[Audited]:
    return [exact.audit(lm, one, operators=OPERATORS) for one in chosen]


def logit(one: Audited) -> float:
    table = exact.as_table(one)
    assert table is not None
    return policies.logit_correctness(table.base_log_policy, table.correct)


def slope(before: Sequence[Audited], after: Sequence[Audited]) -> float:
    gains = exact.gains(before, after)
    return float(sharpening.slope_row(gains.only(gains.correct == 1))["value"])


def stepped(lm: LanguageModel, direction: Sequence[torch.Tensor], size: float) -> LanguageModel:
    other = lm._replace(model=copy.deepcopy(lm.model))
    with torch.no_grad():
        for weight, step in zip(other.model.parameters(), direction, strict=True):
            weight.add_(step, alpha=size)
    return other


def flat(vector: Sequence[torch.Tensor]) -> np.ndarray:
    return np.concatenate([one.flatten().double().numpy() for one in vector])


def values(rows: Any) -> dict[str, float]:
    return {row["quantity"]: row["value"] for row in rows}


def by_autograd(lm: LanguageModel, one: Audited) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of logit Q and of the slope's numerator by way of Q and of the gains themselves."""
    prompt = models.prompt_ids(lm.tokenizer, formats.prompt(one.problem, "compact", OPERATORS))
    log_prob = scoring.differentiable_score(lm, prompt, one.tokens).double()
    inside = torch.from_numpy(one.correct == 1)
    mass = log_prob[inside].exp().sum()
    start = torch.from_numpy(one.log_prob)[inside]
    centred = start - (start.exp() * start).sum() / start.exp().sum()
    covariance = (start.exp() * centred * (log_prob[inside] - start)).sum()
    weights = list(lm.model.parameters())
    found = [
        torch.autograd.grad(value, weights, retain_graph=True) for value in (mass.log() - (1 - mass).log(), covariance)
    ]
    return flat(found[0]), flat(found[1])


@cache
def matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of logit Q and of the slope's numerator, one row a training prompt, and the training weights."""
    chosen = audited(small_model(), drawn("train", NUM_TRAINED))
    both = [by_autograd(small_model(), one) for one in chosen]
    masses = np.array([np.exp(one.log_prob[one.correct == 1]).sum() for one in chosen])
    return np.array([one for one, _ in both]), np.array([two for _, two in both]), masses * (1 - masses)


@cache
def two_passes() -> tuple[transfer.Vector, list[Transfer]]:
    chosen = audited(small_model(), drawn("train", NUM_TRAINED))
    mean, number = transfer.mean_gradient(of(small_model()), chosen, plain)
    assert number == NUM_TRAINED
    found = [transfer.transfer_of(of(small_model()), one, mean, plain) for one in chosen]
    return mean, [one for one in found if one is not None]


def test_gradients_are_those_of_central_differences() -> None:
    lm = small_model()
    (one,) = audited(lm, drawn("test", 1))
    table = exact.as_table(one)
    assert table is not None
    weights = [transfer.transfer.logit_weights(table)[:-1], transfer.transfer.slope_weights(table)[:-1]]
    vectors = transfer.gradients(of(lm), one, weights)
    for vector in vectors:
        unit = [part / np.linalg.norm(flat(vector)) for part in vector]
        size = 0.02 / np.linalg.norm(flat(vectors[0]))
        after = [audited(stepped(lm, unit, sign * size), [one.problem])[0] for sign in (1, -1)]
        rise = (logit(after[0]) - logit(after[1])) / (2 * size)
        covariance = transfer.transfer.slope_weights(table)[:-1] @ (after[0].log_prob - after[1].log_prob) / (2 * size)
        assert flat(vectors[0]) @ flat(unit) == pytest.approx(rise, rel=SMALL_STEP, abs=0)
        assert flat(vectors[1]) @ flat(unit) == pytest.approx(covariance, rel=SMALL_STEP, abs=0)


@pytest.mark.slow
def test_two_passes_give_what_the_whole_matrix_gives() -> None:
    logits, slopes, weights = matrices()
    mean, found = two_passes()
    step = (weights[:, None] * logits).mean(axis=0)
    scale = np.linalg.norm(step)
    assert np.abs(flat(mean) - step).max() < FLOAT32_GRADIENT * scale
    given = np.array([[*one.own, *one.by_mean] for one in found])
    wanted = np.column_stack(
        [weights * (slopes * logits).sum(1), weights * (logits**2).sum(1), slopes @ step, logits @ step]
    )
    assert np.abs(given - wanted).max(axis=0) == pytest.approx(np.zeros(4), abs=FLOAT32_GRADIENT * np.abs(wanted).max())


def test_the_size_of_a_batch_changes_nothing() -> None:
    (one,) = audited(small_model(), drawn("test", 1))
    mean, _ = two_passes()
    whole, parts = (transfer.transfer_of(of(small_model(), batch), one, mean, plain) for batch in (64, 3))
    assert whole is not None
    assert parts is not None
    assert [*whole.own, *whole.by_mean] == pytest.approx([*parts.own, *parts.by_mean], rel=FLOAT32_GRADIENT)


@pytest.mark.parametrize(("split", "size"), [("train", NUM_TRAINED), ("test", np.inf)])
def test_a_small_step_of_the_model_is_as_shared_parameters_predict_and_not_as_single_prompts_do(
    split: str, size: float
) -> None:
    lm = small_model()
    mean, found = two_passes()
    before = audited(lm, drawn(split, NUM_TRAINED))
    given = found if split == "train" else [transfer.transfer_of(of(lm), one, mean, plain) for one in before]
    predicted = values(transfer_rows.rows({"before": before}, given, size, rng=np.random.default_rng(0)))
    suffix = transfer_rows.IN_TRAINING if split == "train" else ""
    rate = 0.02 / np.linalg.norm(flat(mean)) ** 2 * float(np.mean(matrices()[2]))
    up, down = (audited(stepped(lm, mean, sign * rate), [one.problem for one in before]) for sign in (1, -1))
    rise = np.mean([logit(new) - logit(old) for old, new in zip(down, up, strict=True)])
    measured = (slope(before, up) - slope(before, down)) / rise
    assert abs(rise) > LEAST_RISE
    assert predicted[f"slope_per_nat_shared{suffix}"] == pytest.approx(measured, rel=SMALL_STEP, abs=0)
    for single in ("own", "tabular"):
        assert abs(predicted[f"slope_per_nat_{single}{suffix}"] / measured - 1) > POWER


class Tables(torch.nn.Module):
    """A model with one parameter for every answer of every prompt and one for all else; next words follow from them."""

    def __init__(self, tokenizer: Any, answers: Sequence[tuple[list[int], list[list[int]]]]) -> None:
        super().__init__()
        self.generation_config = models.plain_sampling(None, tokenizer)
        self.num_words, self.num_prompt_tokens = len(tokenizer), len(answers[0][0])
        self.places = {tuple(prompt): place for place, (prompt, _) in enumerate(answers)}
        other = [tokenizer.unk_token_id] * len(answers[0][1][0])
        self.rows = [torch.tensor([*rows, other]) for _, rows in answers]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.blocks = torch.nn.ParameterList([torch.randn(len(rows)) for rows in self.rows])

    def forward(self, ids: torch.Tensor, use_cache: bool = False) -> CausalLMOutput:
        place = self.places[tuple(ids[0, : self.num_prompt_tokens].tolist())]
        rows, block = self.rows[place], self.blocks[place]
        written = ids[:, self.num_prompt_tokens :]
        logits = torch.zeros(*ids.shape, self.num_words)
        words = torch.nn.functional.one_hot(rows, self.num_words).bool()  # (num_answers, num_tokens, num_words)
        for length in range(written.size(1) + 1):
            fits = (written[:, None, :length] == rows[:, :length]).all(-1)  # (num_rows, num_answers)
            left = torch.where(fits[..., None] & words[:, length], block[:, None], -1e9)
            logits[:, self.num_prompt_tokens - 1 + length] = left.logsumexp(1)
        return CausalLMOutput(logits=logits)


def test_a_table_with_a_parameter_for_each_answer_is_the_theory_of_single_prompts() -> None:
    """No transfer, own moves as the theory has them, and a step as single prompts predict."""
    settings = problems.Settings(num_numbers=2, largest_number=6, max_target=20, operators=OPERATORS)
    chosen = problems.distinct(settings, np.random.default_rng(0), 8)
    tokenizer = warm_start.make_tokenizer(20)
    listed = [exact.listed_answers(tokenizer, one, OPERATORS, "compact")[0] for one in chosen]
    prompts = [models.prompt_ids(tokenizer, formats.prompt(one, "compact", OPERATORS)) for one in chosen]
    lm = LanguageModel(Tables(tokenizer, list(zip(prompts, listed, strict=True))), tokenizer, torch.device("cpu"))
    before = audited(lm, chosen)
    assert before[0].log_prob == pytest.approx(torch.log_softmax(lm.model.blocks[0], 0)[:-1].tolist())
    mean, _ = transfer.mean_gradient(of(lm), before, plain)
    found = [transfer.transfer_of(of(lm), one, mean, plain) for one in before]
    for one in found:
        assert one is not None
        assert [*one.own] == pytest.approx([*one.tabular], rel=FLOAT32_GRADIENT, abs=FLOAT32_GRADIENT)
    rows = list(transfer_rows.rows({"before": before}, found, len(chosen), rng=np.random.default_rng(0)))
    predicted = {name.removesuffix(transfer_rows.IN_TRAINING): value for name, value in values(rows).items()}
    assert predicted["transfer_slope"] == pytest.approx(0, abs=FLOAT32_GRADIENT)
    assert predicted["transfer_logit"] == pytest.approx(0, abs=FLOAT32_GRADIENT)
    assert predicted["shared_over_tabular"] == pytest.approx(1, abs=FLOAT32_GRADIENT)
    up, down = (audited(stepped(lm, mean, size), chosen) for size in (0.2, -0.2))
    rise = np.mean([logit(new) - logit(old) for old, new in zip(down, up, strict=True)])
    measured = (slope(before, up) - slope(before, down)) / rise
    assert predicted["slope_per_nat_tabular"] == pytest.approx(measured, rel=SMALL_STEP, abs=0)


def test_spellings_of_an_answer_share_its_gradient() -> None:
    """With several spellings the gradients are those of the listed mass."""
    lm = spelling_model(" {} {} {}")
    (one,) = audited(lm, SPELLED[:1])
    table = exact.as_table(one)
    assert table is not None
    (vector,) = transfer.gradients(of(lm), one, [transfer.transfer.logit_weights(table)[:-1]])
    size = 0.02 / np.linalg.norm(flat(vector)) ** 2
    up, down = (audited(stepped(lm, vector, sign * size), SPELLED[:1])[0] for sign in (1, -1))
    assert logit(up) - logit(down) == pytest.approx(2 * size * np.linalg.norm(flat(vector)) ** 2, rel=SMALL_STEP)


def difference(quantity: str, low: float, high: float, *, has_interval: bool = True) -> dict[str, Any]:
    return {"quantity": quantity, "low": low, "high": high, "has_interval": has_interval}


def test_agrees_is_said_only_where_single_prompts_are_rejected() -> None:
    inside, above, below = (difference("", *ends) for ends in ((-1.0, 1.0), (0.1, 1.0), (-1.0, -0.1)))
    assert tables.outcome([inside, above, below]) == "agrees with shared parameters, and single prompts are rejected"
    assert tables.outcome([inside, above, inside]) == "not resolved, single prompts are not rejected"
    assert tables.outcome([above, above]) == "differs, above what shared parameters predict to first order"
    assert tables.outcome([below, inside]) == "differs, below what shared parameters predict to first order"
    assert tables.outcome([inside, difference("", 0.1, 1.0, has_interval=False)]) == "not resolved, too few problems"


def test_measured_slopes_are_those_of_the_audit_and_less_what_was_predicted() -> None:
    lm = small_model()
    mean, each = two_passes()
    before = audited(lm, drawn("train", NUM_TRAINED))
    after = audited(stepped(lm, mean, 0.5 / np.linalg.norm(flat(mean))), [one.problem for one in before])
    rows = list(transfer_rows.rows({"a": before, "b": after}, each, np.inf, rng=np.random.default_rng(0)))
    predicted, given = (values(row for row in rows if row["model"] == name) for name in "ab")
    matched = exact.expected_gains(before, after)
    assert matched is not None
    alone = sharpening.slope_row(matched)["value"]
    rise = np.mean([logit(new) - logit(old) for old, new in zip(before, after, strict=True)])
    wanted = slope(before, after)
    assert given["logit_rise"] == pytest.approx(rise)
    assert given["slope_per_nat_measured"] == pytest.approx(wanted / rise)
    assert given["slope_over_matched"] == pytest.approx(wanted / alone)
    for kind in ("own", "tabular", "shared"):
        assert given[f"slope_less_{kind}"] == pytest.approx(wanted - predicted[f"slope_per_nat_{kind}"] * rise)
    assert given["slope_less_matched"] == pytest.approx(wanted - alone)
    shared = alone * predicted["shared_over_tabular"]
    assert given["slope_less_matched_shared"] == pytest.approx(wanted - shared)


def test_an_interval_is_over_problems_and_missing_where_a_divisor_has_both_signs() -> None:
    rng = np.random.default_rng(0)
    moves = transfer.Moves

    def rows_of(logits: np.ndarray) -> dict[str, dict[str, Any]]:
        found = [
            Transfer(moves(0.2 + one, 1.0), moves(0.3 + one, logit_move), moves(0.5, 1.0), 1.0)
            for one, logit_move in zip(0.05 * rng.normal(size=len(logits)), logits, strict=True)
        ]
        rows = transfer_rows.rows({"a": [None] * len(found)}, found, np.inf, rng=rng)  # type: ignore[dict-item]
        return {row["quantity"]: row for row in rows}

    sure = rows_of(np.full(200, 0.5))
    spread = 1.96 * 0.05 / np.sqrt(200)
    assert sure["slope_per_nat_own"]["high"] - sure["slope_per_nat_own"]["low"] == pytest.approx(2 * spread, rel=POWER)
    assert sure["slope_per_nat_shared"]["has_interval"]
    unsure = rows_of(rng.normal(size=200))
    assert not unsure["slope_per_nat_shared"]["has_interval"]
    assert not unsure["shared_over_tabular"]["has_interval"]
    assert unsure["slope_per_nat_own"]["has_interval"]
    assert not rows_of(np.full(4, 0.5))["slope_per_nat_own"]["has_interval"]


def test_prompts_without_a_correct_answer_are_left_out_and_none_at_all_is_refused() -> None:
    one, other = audited(small_model(), drawn("test", 2))
    never = other._replace(correct=np.zeros(len(other.tokens)))
    (alone, _), (both, number) = (
        transfer.mean_gradient(of(small_model()), audits, plain) for audits in ([one], [one, never])
    )
    assert number == 1
    assert flat(alone).tolist() == flat(both).tolist()
    assert transfer.transfer_of(of(small_model()), never, alone, plain) is None
    with pytest.raises(ValueError, match=r"^--transfer: none of the training prompts has a correct answer: want"):
        transfer.mean_gradient(of(small_model()), [never], plain)


def test_training_prompts_need_their_correct_answers_alone() -> None:
    whole, part = (
        exact.audit(small_model(), drawn("train", 1)[0], operators=OPERATORS, only_correct=only)
        for only in (False, True)
    )
    assert len(part.tokens) == whole.correct.sum() == part.correct.sum()
    assert part.log_prob == pytest.approx(whole.log_prob[whole.correct == 1])
    means = [flat(transfer.mean_gradient(of(small_model()), [one], plain)[0]) for one in (whole, part)]
    assert np.abs(means[0] - means[1]).max() < FLOAT32_GRADIENT * np.abs(means[0]).max()
