"""Claim B4.5: methods whose advantage depends on the answer are not of the form of B4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sharpening.theory import policies
from sharpening.theory.claims import ledger
from sharpening.theory.claims.ledger import EXACT, Evidence, Mutant
from sharpening.theory.groups import expected_flow
from sharpening.theory.methods import baselines, diversity, terms

NAMED = policies.problem_from_probabilities([0.8, 0.15, 0.05], [1, 1, 0])
LIFTING = (terms.ds, diversity.ips, diversity.unlikeliness)
TRIED: tuple[Callable[..., Any], ...] = (*LIFTING, diversity.ucpo, baselines.dr_grpo)


@ledger.claim(
    "B4.5",
    "Not so where A depends on the answer: DS, IPS and unlikeliness each raise the rarer of two correct answers, at "
    "every policy tried with Q >= .9 and p_i >= 2 p_j; UCPO does not there, but has another form too.",
    latex=r"E[\Delta(z_i-z_j)]<0\ \text{with}\ p_i\ge2p_j,\ C=\{i,j\},\ Q\ge.9",
    hypotheses="group-mean baseline; DS g_c = 1, reference sampling; unlikeliness weight .25; UCPO tau .2; checked for "
    "G 4 to 8, Q .9 to .99, p_i/p_j 2 to 9, one or two wrong answers",
    source="ours; IPS arXiv 2601.21669, unlikeliness arXiv 2506.02355, UCPO arXiv 2605.00365, all as summarised",
    kind="enumeration",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.shaping:differential_smoothing", "= -gamma_correct", "= gamma_correct"),
)
def answer_dependent_methods_lift_the_rare(rng: np.random.Generator) -> Evidence:
    """By B4.1 a method whose A is f(r, X) has E[dz_i]/p_i the same for all of C, and by B4.3 lifts no rarer answer.

    The methods' own functions are given every group of G draws from each policy, (.8, .15 | .05) at G = 6 first. Their
    expected steps over p differ on C by over a hundredth of their size; Dr. GRPO, asked beside them, differs by
    rounding. The margin counts policies at which a method has one number on C (Dr. GRPO: two), and policies at which
    DS, IPS or unlikeliness does not raise the rarer answer, or UCPO does.
    """
    violations, at_named = [], []
    for problem, group_size in _policies(rng):
        for method in TRIED:
            parameters = {"gamma_correct": 1.0} if method is terms.ds else {}
            flow = expected_flow.ExpectedFlow(method, problem, parameters, group_size)
            push = flow.pulls(problem.base_log_policy)[:2]
            move = float(expected_flow.log_ratio_rate(flow, problem.base_log_policy, (0, 1)))
            has_form = abs(push[0] - push[1]) < np.abs(push).max() / 100
            violations.append(float(has_form != (method is baselines.dr_grpo)))
            violations.append(float((move < 0) != (method in LIFTING)))
            if problem is NAMED:
                at_named.append(f"{method.__name__} {move:.3f}")
    return ledger.worst(violations, "E d log(p_i/p_j): " + ", ".join(at_named))


def _policies(rng: np.random.Generator) -> Iterator[tuple[policies.Problem, int]]:
    """The named policy and drawn ones: two correct answers, the first the likelier, and one or two wrong ones."""
    yield NAMED, 6
    for index in range(12):
        mass, ratio = float(rng.uniform(0.9, 0.99)), float(rng.uniform(2.0, 9.0))
        wrong = rng.dirichlet(np.ones(1 + index % 2)) * (1 - mass)
        policy = np.append([mass * ratio / (1 + ratio), mass / (1 + ratio)], wrong)
        yield policies.problem_from_probabilities(policy, [1, 1, *[0] * wrong.size]), int(rng.integers(4, 9))
