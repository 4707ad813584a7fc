"""The trainer's advantages, weights and refusals against plain TRL and against loops over samples."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sharpening.llm.training import trainer
from sharpening.theory import shaping
from sharpening.theory.methods import calls, table
from tests import reference_advantages as loops
from tests import reference_groups, training
from tests.reference_advantages import Group
from tests.tolerances import TRAINED

pytestmark = training.QUIET
TRL_OWN = {"ddof": 1, "epsilon": trainer.TRL_EPSILON}
EPSILON = Fraction(1, 10**6)
Advantage = Callable[[Group], list[float]]


@functools.cache
def completions() -> list[list[int]]:
    """Five groups: mixed with two unscorable, all correct, all wrong, mixed, and one scorable among unscorable."""
    rng = np.random.default_rng(5)
    words = np.arange(5, 5 + 21)  # no special tokens
    drawn: list[list[int]] = []
    wanted = [None, None, 1, 0, 1, 1, 0, 0, *[1] * 8, *[0] * 8, *[1, 0, 0, 0, 1, 0, 0, 0], *[None] * 7, 1]
    while len(drawn) < len(wanted):
        num_tokens = int(rng.integers(1, training.MOST_TOKENS + 1))
        ids = [int(value) for value in rng.choice(words, num_tokens)]
        if rng.random() < 0.5:
            ids[1:] = [*ids[1:-1], 1] if num_tokens > 1 else []  # some end
        if training.correct([ids])[0] == wanted[len(drawn)] and ids not in drawn:
            drawn.append(ids)
    return drawn


@torch.no_grad()
def token_log_probs(model: Any, prompt: list[int], completion: list[int]) -> list[float]:
    """By a plain forward of an unpatched model on one unpadded sequence."""
    logits = model(input_ids=torch.tensor([prompt + completion])).logits[0] / training.TEMPERATURE
    rows = logits.double().log_softmax(-1)[len(prompt) - 1 : -1]
    return [float(row[token]) for row, token in zip(rows, completion, strict=True)]


def moved(model: Any) -> Any:
    """The model after a push: another policy than the base."""
    with torch.no_grad():
        for weights in model.parameters():
            weights *= 1.1
    return model


def in_the_loss(made: Any) -> tuple[dict[tuple[int, ...], torch.Tensor], dict[tuple[int, ...], list[int]]]:
    """The advantage, one number or one a token, and the prompt of every completion that the loss saw."""
    advantages, prompts = {}, {}
    for batch in made.seen:
        for row in range(len(batch["completion_ids"])):
            ids = tuple(batch["completion_ids"][row][batch["completion_mask"][row] > 0].tolist())
            found = batch["advantages"][row]
            advantages[ids] = found[batch["completion_mask"][row] > 0] if found.dim() else found
            prompts[ids] = batch["prompt_ids"][row][batch["prompt_mask"][row] > 0].tolist()
    return advantages, prompts


def ran(method: str, parameters: dict[str, Any], folder: Path, **options: Any) -> Any:
    """A trainer after one step on the five groups, in micro-batches, of a policy that has moved from its base."""
    made = training.make(
        method,
        folder,
        parameters,
        functions=options.pop("functions", [training.correct]),
        replay=completions(),
        answer=lambda text: text[:1],
        **(dict(per_device_train_batch_size=8, gradient_accumulation_steps=5) | options),
    )
    moved(made.model)
    made.train()
    return made


def groups(prompts: dict[tuple[int, ...], list[int]]) -> list[list[tuple[tuple[int, ...], float | None, Any, Any]]]:
    """Completion, mark, and log-probabilities of the tokens under the moved policy and the base, group by group."""
    rows = [rows_of(tuple(prompts[tuple(ids)]), tuple(ids)) for ids in completions()]
    size = training.GROUP_SIZE
    return [rows[first : first + size] for first in range(0, len(rows), size)]


@functools.cache
def rows_of(prompt: tuple[int, ...], ids: tuple[int, ...]) -> tuple[tuple[int, ...], float | None, Any, Any]:
    policy, base = plain_models()
    found = [token_log_probs(model, [*prompt], [*ids]) for model in (policy, base)]
    return ids, training.correct([[*ids]])[0], *found


@functools.cache
def plain_models() -> tuple[Any, Any]:
    return moved(training.fresh_model()).eval(), training.fresh_model().eval()


def first_character(ids: tuple[int, ...]) -> int:
    return ord(training.language_model().tokenizer.convert_ids_to_tokens(ids[0])[0])


def expected(
    prompts: dict[tuple[int, ...], list[int]], advantage: Advantage, least: int
) -> dict[tuple[int, ...], float]:
    """The loops on the scorable completions of each group; 0 elsewhere."""
    found = {}
    for rows in groups(prompts):
        found |= {ids: 0.0 for ids, *_ in rows}
        kept = [row for row in rows if row[1] is not None]
        if len(kept) < least:
            continue
        group = Group(
            tuple(int(mark) for _, mark, *_ in kept),
            tuple(math.fsum(own) for *_, own, _ in kept),
            tuple(math.fsum(base) for *_, base in kept),
            tuple(len(ids) for ids, *_ in kept),
            tuple(first_character(ids) for ids, *_ in kept),
        )
        for (ids, *_), value in zip(kept, advantage(group), strict=True):
            found[ids] = float(value)
    return found


def of_rewards(function: Callable[..., list[Fraction]], *rest: Any, **named: Any) -> Advantage:
    return lambda group: function(group.rewards, *rest, **named)  # type: ignore[return-value]


PRESET = dict(gamma_correct=0.01, gamma_incorrect=0.01)
STRONG = dict(gamma_correct=0.1, gamma_incorrect=0.05)
DS_CASES: dict[str, dict[str, Any]] = {
    "ds_paper": PRESET | dict(normalise="std"),
    "ds_sequence": PRESET | dict(normalise="std", reduction="mean", spread="per_token_share"),
    "ds_reward": PRESET | dict(reduction="mean", placement="reward"),
    "ds_maxrl": dict(gamma_correct=0.05, gamma_incorrect=0.05, normalise="std", reduction="mean"),
}
CASES: list[tuple[str, dict[str, Any], Advantage]] = [
    ("reinforce", {}, of_rewards(reference_groups.reinforce)),
    ("rloo", {}, of_rewards(reference_groups.rloo)),
    ("grpo", {}, of_rewards(reference_groups.grpo, epsilon=EPSILON)),
    ("dr_grpo", {}, of_rewards(reference_groups.dr_grpo)),
    ("dapo", {}, of_rewards(reference_groups.dapo, epsilon=EPSILON)),
    ("maxrl", {}, of_rewards(reference_groups.maxrl, epsilon=EPSILON)),
    ("psr", {}, of_rewards(reference_groups.psr)),
    ("nsr", {}, of_rewards(reference_groups.nsr)),
    ("w_reinforce", {}, of_rewards(reference_groups.w_reinforce, Fraction(1, 10))),
    ("pass_at_k_training", {"k": 3}, of_rewards(reference_groups.pass_at_k_training, 3, epsilon=EPSILON)),
    ("pkpo", {"k": 3}, of_rewards(reference_groups.pkpo, 3)),
    ("f_grpo", {}, of_rewards(reference_groups.f_grpo, Fraction(1), epsilon=EPSILON)),
    ("qae", {}, loops.qae),
    ("a_grae", {}, loops.a_grae),
    ("entropic", {}, loops.entropic),
    ("cue_grpo", {}, loops.cue_grpo),
    ("uarl", {}, loops.uarl),
    ("edas", {}, loops.edas),
    ("unlikeliness", {}, loops.unlikeliness),
    ("ucpo", {}, loops.ucpo),
    ("mara", {}, loops.mara),
    ("ips", {}, loops.ips),
    ("rarity_maxrl", {}, loops.rarity_maxrl),
    ("entropy_bonus", {}, lambda group: loops.global_term(group, 0.1)),
    ("entropy_penalty", {}, lambda group: loops.global_term(group, -0.1)),
    ("kl_penalty", {}, lambda group: loops.kl_penalty(group, 0.04)),
    ("ds", {}, loops.ds),
    *((name, {}, functools.partial(loops.ds, **values)) for name, values in DS_CASES.items()),
    *(
        ("ds", STRONG | values, functools.partial(loops.ds, **STRONG, **values))
        for values in (
            dict(spread="per_token_share"),
            dict(placement="reward", normalise="std", ddof=1),
            dict(centre="correct_only"),
            dict(reference="base", reduction="mean", centre="group"),
        )
    ),
]


def test_every_method_of_group_level_and_every_preset_is_tried():
    at_group_level = {id for id, method in table.METHODS.items() if method.level == "group"}
    assert {method for method, *_ in CASES} | {"ds_token"} == at_group_level | set(table.PRESETS)


@pytest.mark.filterwarnings("ignore:gamma_correct .* is not below kl_strength:UserWarning")
@pytest.mark.filterwarnings("ignore:strength .* is above kl_strength:UserWarning")
@pytest.mark.parametrize(("method", "parameters", "advantage"), CASES)
def test_advantages_in_the_loss_are_those_of_loops_on_a_plain_forward(tmp_path, method, parameters, advantage):
    made = ran(method, parameters, tmp_path)
    observed, prompts = in_the_loss(made)
    chosen = calls.resolve(method)
    want = expected(prompts, advantage, max(chosen.least_group_size, parameters.get("k", 1)))
    assert len(observed) == len(want) == 40
    for ids, value in want.items():
        assert observed[ids].item() == pytest.approx(value, rel=TRAINED, abs=TRAINED)
    assert made.policies.source == ("forward" if "log_prob" in calls.needs(chosen, parameters) else "")
    in_table = [float(observed[tuple(ids)]) for ids in completions()]
    np.testing.assert_allclose(list(made._logs["advantages"]), in_table, rtol=TRAINED, atol=TRAINED)


def token_terms(kind: str, mark: float, own: list[float], base: list[float]) -> list[float]:
    if kind == "kl_penalty":
        return [-0.04 * (value - other) for value, other in zip(own, base, strict=True)]
    if kind == "entropy_penalty":
        return [0.1 * value for value in own]
    values = base if kind == "ds with the base" else own
    strength = 0.01 if kind == "ds_token" else 0.1
    return [(-strength if mark else (0.01 if kind == "ds_token" else 0.05)) * value for value in values]


@pytest.mark.filterwarnings("ignore:gamma_correct .* is not below kl_strength:UserWarning")
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("ds_token", {}),
        ("ds with the base", STRONG | {"reference": "base", "reduction": "token"}),
        ("entropy_penalty", {"reduction": "token"}),
        ("kl_penalty", {"reduction": "token"}),
    ],
)
def test_by_token_every_token_has_its_own_term(tmp_path, kind, parameters):
    made = ran(kind.split()[0], parameters, tmp_path)
    observed, prompts = in_the_loss(made)
    for rows in groups(prompts):
        kept = [row for row in rows if row[1] is not None]
        marks = tuple(int(mark) for _, mark, *_ in kept)
        plain = loops.plain(marks, "std" if kind == "ds_token" else "none", 0)
        wanted = {ids: [0.0] * len(ids) for ids, *_ in rows}
        if len(kept) > 1:
            for (ids, mark, own, base), value in zip(kept, plain, strict=True):
                wanted[ids] = [value + term for term in token_terms(kind, mark, own, base)]
        for ids, want in wanted.items():
            np.testing.assert_allclose(observed[ids], want, rtol=TRAINED, atol=TRAINED)


def test_a_term_with_the_wrong_sign_would_be_seen(tmp_path, monkeypatch):
    """The mutant of the tests above."""
    right = shaping.differential_smoothing
    monkeypatch.setattr(shaping, "differential_smoothing", lambda *given, **named: -right(*given, **named))
    observed, prompts = in_the_loss(ran("ds", {}, tmp_path))
    want = expected(prompts, loops.ds, 2)
    assert max(abs(observed[ids].item() - value) for ids, value in want.items()) > 1000 * TRAINED


@pytest.mark.parametrize("placement", ["advantage", "reward"])
def test_format_credit_is_in_the_reward_and_not_in_what_is_correct(tmp_path, placement):
    functions, shares = [training.correct, training.credit], [1.0, 0.5]
    parameters = STRONG | dict(normalise="std", placement=placement)
    made = ran("ds", parameters, tmp_path, functions=functions, reward_weights=shares)
    observed, prompts = in_the_loss(made)
    for rows in groups(prompts):
        kept = [row for row in rows if row[1] is not None]
        rewards = [mark + 0.5 * (training.credit([ids])[0] or 0.0) for ids, mark, *_ in kept]
        terms = [math.fsum(own) * (-0.1 if mark else 0.05) for _, mark, own, _ in kept]
        if placement == "reward":
            values = loops.baseline([reward + term for reward, term in zip(rewards, terms, strict=True)], "std")
        else:
            values = [value + term for value, term in zip(loops.baseline(rewards, "std"), terms, strict=True)]
        want = {ids: 0.0 for ids, *_ in rows}
        if len(kept) > 1:
            want |= {ids: value for (ids, *_), value in zip(kept, values, strict=True)}
        for ids, value in want.items():  # those without a mark have credit, and no advantage
            assert observed[ids].item() == pytest.approx(value, rel=TRAINED, abs=TRAINED)


def test_credit_gives_no_advantage_to_the_unscorable_where_the_method_is_trl_own(tmp_path):
    made = ran("grpo", TRL_OWN, tmp_path, functions=[training.correct, training.credit])
    observed, _ = in_the_loss(made)
    unscorable = [ids for ids in observed if training.correct([list(ids)])[0] is None]
    assert len(unscorable) == 9
    assert all(observed[ids] == 0 for ids in unscorable)
    assert made.state.log_history[0]["method/unscorable"] == pytest.approx(9 / 40)


def three_steps(method: str | None, parameters: dict[str, Any], folder: Path, **options: Any) -> Any:
    made = training.make(method, folder, parameters, max_steps=3, **options)
    made.train()
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "parameters"),
    [("grpo", TRL_OWN), ("ds", TRL_OWN | dict(gamma_correct=0.0, normalise="std")), ("dr_grpo", {})],
)
def test_without_a_term_it_is_plain_trl_bit_for_bit(tmp_path, method, parameters):
    plain = three_steps(None, {}, tmp_path, scale_rewards="none" if method == "dr_grpo" else "group")
    made = three_steps(method, parameters, tmp_path)
    assert len(made.seen) == len(plain.seen) == 3
    assert plain.seen[2]["advantages"].abs().max() > 0
    for mine, theirs in zip(made.seen, plain.seen, strict=True):
        assert torch.equal(mine["completion_ids"], theirs["completion_ids"])
        assert torch.equal(mine["advantages"], theirs["advantages"])
    assert torch.equal(training.weights(made), training.weights(plain))
    assert list(made._logs["advantages"]) == list(plain._logs["advantages"])


@pytest.mark.slow
def test_the_advantages_of_theory_differ_from_those_of_trl_by_their_epsilon_only(tmp_path):
    options = dict(optim="sgd", learning_rate=1e-4)
    plain = three_steps(None, {}, tmp_path, **options)
    made = three_steps("grpo", {"ddof": 1, "epsilon": 1.0001e-4}, tmp_path, **options)  # a hair beside TRL's own
    for mine, theirs in zip(made.seen, plain.seen, strict=True):
        assert torch.equal(mine["completion_ids"], theirs["completion_ids"])
        torch.testing.assert_close(mine["advantages"], theirs["advantages"], rtol=TRAINED, atol=TRAINED)
    torch.testing.assert_close(training.weights(made), training.weights(plain), rtol=TRAINED, atol=TRAINED)
    assert not torch.equal(made.seen[0]["advantages"], plain.seen[0]["advantages"])
    assert not torch.equal(training.weights(made), training.weights(training.make(None, tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [("ds", {"gradient_accumulation_steps": 2}), ("clip_cov", {"num_iterations": 2})],
)
def test_a_run_that_is_resumed_in_a_later_epoch_ends_with_the_same_weights(tmp_path, method, options):
    whole = training.make(method, tmp_path, max_steps=8, save_strategy="steps", save_steps=6, **options)
    whole.train()
    again = training.make(method, tmp_path, max_steps=8, save_strategy="steps", save_steps=6, **options)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert again.state.global_step == 8
    assert not torch.equal(training.weights(whole), training.weights(training.make(method, tmp_path)))
    assert torch.equal(training.weights(again), training.weights(whole))


@pytest.mark.slow
def test_with_lora_the_advantages_are_the_same_and_only_adapters_move(tmp_path):
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    parameters = STRONG | dict(reference="base")
    options = dict(per_device_train_batch_size=40, functions=[training.correct], replay=completions())
    with pytest.warns(UserWarning, match="reference base the optimum is the single correct answer"):
        full = training.make("ds", tmp_path, parameters, **options)
    with pytest.warns(UserWarning, match="reference base the optimum is the single correct answer"):
        made = training.make("ds", tmp_path, parameters, peft_config=lora, **options)
    with torch.no_grad():
        for name, values in made.model.named_parameters():
            values += 0.3 * ("lora_B" in name)  # another policy than the base, which is the model without adapters
    before = {name: values.clone() for name, values in made.model.named_parameters()}
    full.train()
    made.train()
    wanted, observed = in_the_loss(full)[0], in_the_loss(made)[0]
    for ids, value in wanted.items():
        assert observed[ids].item() == pytest.approx(value.item(), rel=TRAINED, abs=TRAINED)
    moved_ones = {name for name, values in made.model.named_parameters() if not torch.equal(values, before[name])}
    assert moved_ones
    assert all("lora_" in name for name in moved_ones)
