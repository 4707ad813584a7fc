"""Small files of every tool give the numbers that were put in, or the refusal that says what to do.

The counts are those written into the files by hand; pass@k is computed from them here, by binomial coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sharpening import cli
from sharpening.samples import comparison, files, rollouts
from sharpening.samples.formats.fields import Fields
from sharpening.samples.tally import Samples
from tests.tolerances import FLOAT64

DATA = Path(__file__).resolve().parent / "data" / "samples"
FOUR = ((4, 2), (4, 0), (4, 4), (4, 1))  # (n, c) of each problem: pass@1 .4375, pass@4 .75
TWENTY = ((20, 0), (20, 1), (20, 20), (20, 1))
SIXTY_FOUR = ((64, 0), (64, 1), (64, 64), (64, 0), (64, 1))

Counts = Sequence[tuple[int, int]]


def read(names: str, metric: str | None = None, **fields: str) -> Samples:
    paths = {name: DATA / name for name in names.split("+")}
    return files.pooled(paths, "model", None, Fields(metric, **fields))[0]


def pass_at_k(counts: Counts, k: int) -> float:
    return sum(1 - math.comb(n - c, k) / math.comb(n, k) for n, c in counts) / len(counts)


ACCEPTED: dict[str, tuple[str, str | None, Counts]] = {
    "pass@16 of lm-eval is no share": ("lm_eval_humaneval_64.jsonl", "pass@16", SIXTY_FOUR),
    "pass@64 of lm-eval is not pass@1": ("lm_eval_humaneval_64.jsonl", "pass@64", SIXTY_FOUR),
    "all pass@k of lm-eval say one number": ("lm_eval_humaneval_64.jsonl", None, SIXTY_FOUR),
    "ifeval by prompt": ("lm_eval_ifeval.jsonl", "prompt_level_strict_acc", ((1, 1), (1, 0), (1, 0))),
    "qwen_math": ("qwen_math.jsonl", None, FOUR),
    "limo": ("limo.jsonl", None, FOUR),
    "lists": ("own_lists.jsonl", None, FOUR),
    "problem_id": ("own_problem_id.jsonl", "canonical_correct", FOUR),
    "problem_id and counts in CSV": ("own_problem_id.csv", None, FOUR),
    "a sample a row of CSV": ("own_per_sample.csv", None, FOUR),
    "evalplus": ("evalplus_new.json", None, ((4, 2), (4, 0), (4, 3), (4, 1))),
    "evalplus, base": ("evalplus_new.json", "base", ((4, 2), (4, 1), (4, 4), (4, 1))),
    "evalplus before 2024": ("evalplus_old.json", None, ((4, 2), (4, 0), (4, 3), (4, 1))),
    "evalplus before 2024, base": ("evalplus_old.json", "base", FOUR),
    "livecodebench": ("livecodebench_eval_all.json", None, FOUR),
    "verl": ("verl_rollout.jsonl", None, FOUR),
    "verl with acc as text": ("verl_string_bool.jsonl", None, FOUR),
    "trl, the first problem without rewards": ("trl_null_first.parquet", None, FOUR[1:]),
    "trl, the last problem without rewards": ("trl_null_last.parquet", None, FOUR[:3]),
    "lighteval": ("lighteval_details.parquet", None, FOUR),
    "inspect": ("inspect.json", None, FOUR),
    "gzip": ("own.jsonl.gz", None, FOUR),
    "the same samples thrice": ("human_eval_duplicates.jsonl", None, ((3, 3), (3, 3), *[(3, 0)] * 4)),
    "nemo_skills": ("nemo_rs0.jsonl", None, ((1, 1), (1, 0), (1, 1), (1, 1))),
    "nemo_skills, named": ("nemo_rs1.jsonl", "symbolic_correct", ((1, 1), (1, 0), (1, 1), (1, 0))),
    "two files of one model": ("nemo_rs0.jsonl+nemo_rs1.jsonl", None, ((2, 2), (2, 0), (2, 2), (2, 1))),
    "the right answer in answer": ("own_gold_answer.jsonl", None, ((4, 2), (4, 0), (4, 4), (4, 1), (4, 3))),
}


@pytest.mark.parametrize(("names", "metric", "counts"), ACCEPTED.values(), ids=list(ACCEPTED))
def test_pass_at_k_is_that_of_the_counts_in_the_file(names: str, metric: str | None, counts: Counts) -> None:
    samples = read(names, metric)
    assert samples.seeds == ("",)
    found = zip(samples.num_samples[:, 0].tolist(), samples.num_correct[:, 0].tolist(), strict=True)
    assert list(found) == list(counts)
    for k in range(1, samples.largest_k + 1):
        value = samples.pass_at_k([k]).mean()
        assert value == pytest.approx(pass_at_k(counts, k), rel=FLOAT64)


REFUSED = {
    "pass@10 is not pass@1": (
        "lm_eval_pass_at_10.jsonl",
        None,
        "line 3: pass@10 is 1, which 11 to 20 correct of 20 give",
    ),
    "instructions are no samples": (
        "lm_eval_ifeval.jsonl",
        "inst_level_strict_acc",
        "line 1: inst_level_strict_acc has 3",
    ),
    "two blocks": ("lm_eval_filters_unnamed.jsonl", None, "line 5: doc_id 0 again, no field 'filter'"),
    "no filter": (
        "lm_eval_filters_unnamed.jsonl",
        "exact_match,strict-match",
        "line 1: no field 'filter' (lm-eval did",
    ),
    "before evaluation": (
        "human_eval_unscored.jsonl",
        None,
        "line 1: field 'passed' is missing, these are samples before",
    ),
    "which is correct": (
        "own_problem_id.jsonl",
        None,
        "line 1: field 'correct' is missing: want --metric with the field",
    ),
}


@pytest.mark.parametrize(("name", "metric", "message"), REFUSED.values(), ids=list(REFUSED))
def test_a_file_that_says_no_counts_is_refused_in_one_line(name: str, metric: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        read(name, metric)
    assert str(caught.value).startswith(f"{name} {message}")


def test_other_documents_of_the_same_number_are_not_compared() -> None:
    base, other = (read(f"lm_eval_other_task_{which}.jsonl") for which in "ab")
    with pytest.raises(
        ValueError, match=r"^model: its 6 problems named as in model \('0', \.\.\.\) are others, by their"
    ):
        comparison.common_problems(base, other)
    by_number = [read(f"lm_eval_other_task_{which}.jsonl", problem="doc_id") for which in "ab"]
    assert len(comparison.common_problems(*by_number)) == 6


def test_the_answers_of_qwen_math_are_the_models() -> None:
    """`pred` and never `answer`, which is the right one."""
    (first,), _, _, (last,) = read("qwen_math.jsonl").answers or ()
    assert (first.counts.tolist(), first.correct.tolist()) == ([2, 1, 1], [1, 0, 0])
    assert (last.counts.tolist(), last.correct.tolist()) == ([1, 1, 1, 1], [1, 0, 0, 0])


def test_right_answers_are_not_counted_as_the_models() -> None:
    """maj@4 of the model's own answers: three of five problems won, one lost, and one tie of four answers: 3.25/5."""
    gold = read("own_gold_answer.jsonl")
    assert gold.answers is None
    assert any("maj@k and Hill numbers are left out" in note for note in gold.notes)
    told = read("own_gold_answer.jsonl", answer="prediction")
    votes = told.maj_at_k([4], rng=np.random.default_rng(0))
    assert votes.mean() == pytest.approx(0.65, rel=FLOAT64)


def test_three_equal_samples_are_one_and_said_to_be() -> None:
    (note,) = read("human_eval_duplicates.jsonl").notes
    assert note.startswith("all samples of each problem are the same text: if they were not drawn anew")
    assert note.endswith("n is 1 in truth")


def test_null_rewards_are_counted() -> None:
    for name in ("trl_null_first.parquet", "trl_null_last.parquet"):
        assert read(name).notes == (
            "4 samples could not be scored (accuracy_reward is null) and are left out",
            "1 problems have no sample that could be scored and are left out",
        )


@pytest.mark.parametrize("columns", [None, rollouts.Columns(("score",), "acc")])
def test_rollouts_of_verl_are_groups_by_prompt(columns: rollouts.Columns | None) -> None:
    found = rollouts.read(DATA / "verl_rollout.jsonl", "f", columns)
    assert found.shapes == ((4, 4),)
    assert found.is_correct.mean() == 7 / 16
    assert sorted(set(found.inputs["reward"].tolist())) == [-1, 1]
    told = rollouts.read(DATA / "verl_string_bool.jsonl", "f", columns)
    assert told.is_correct.tolist() == found.is_correct.tolist()


def test_the_command_reads_a_folder_as_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Beside two files joined by +, which are the same samples: nothing lost, nothing gained."""
    monkeypatch.chdir(tmp_path)
    Path("base").mkdir()
    for name in ("nemo_rs0.jsonl", "nemo_rs1.jsonl"):
        Path("base", name).write_bytes((DATA / name).read_bytes())
    Path("base", "metrics.json").write_text('{"pass@1": 0.6}')
    assert cli.main(["samples", "base/", "base/nemo_rs0.jsonl+base/nemo_rs1.jsonl"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "base: 2 files pooled as one model" in out
    assert "base: 1 files hold no samples and are left out: metrics.json" in out
    assert "nemo_rs0.jsonl+nemo_rs1.jsonl: 2 files pooled as one model" in out
    assert "pass@1 pass@2 base .625 " in out
