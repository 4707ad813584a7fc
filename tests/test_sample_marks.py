"""Every format reads marks, nulls, lists and names alike; each rule is tried on all formats that it concerns."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from sharpening.samples import comparison
from sharpening.samples import files as sample_files
from sharpening.samples.formats import shares
from sharpening.samples.formats.fields import Fields
from sharpening.samples.lines import Row
from sharpening.samples.tally import Samples
from tests.test_sample_formats import counts, lines, lm_eval_row

Marks = Mapping[str, Sequence[Any]]
Read = Callable[..., Samples]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_text(text: str, name: str = "file", **fields: Any) -> Samples:
        (tmp_path / name).write_text(text)
        return sample_files.read(tmp_path / name, name, None, Fields(**fields))[0]

    return read_text


def a_row_each(row: Callable[[str, int, Any], dict[str, Any]]) -> Callable[[Marks], str]:
    """A file with a row a sample, of problem, number and mark."""
    return lambda marks: lines([row(name, n, mark) for name, each in marks.items() for n, mark in enumerate(each)])


def a_list_each(problem: str, correct: str, *beside: str) -> Callable[[Marks], str]:
    """A file with a row a problem, whose fields beside the marks have an entry a sample."""
    return lambda marks: lines(
        [
            {
                problem: name,
                correct: list(each),
                **{field: [f"{field} {n}" for n in range(len(each))] for field in beside},
            }
            for name, each in marks.items()
        ]
    )


def inspect_log(marks: Marks) -> str:
    samples = [
        {"id": name, "epoch": n, "input": f"q {name}", "scores": {"match": {"value": mark, "answer": str(n)}}}
        for name, each in marks.items()
        for n, mark in enumerate(each)
    ]
    return json.dumps({"version": 2, "status": "success", "samples": samples}, indent=1)


def lm_eval(marks: Marks) -> str:
    return lines(
        [
            lm_eval_row(
                str(n),
                resps=[[f"so {place}" for place in range(len(each))]],
                filtered_resps=[[f"{place}" for place in range(len(each))]],
                filter="none",
                metrics=["exact_match"],
                exact_match=list(each),
            )
            for n, each in enumerate(marks.values())
        ]
    )


ROWS = {
    "own": a_row_each(lambda name, n, mark: {"problem": name, "correct": mark, "answer": n, "completion": f"{n}"}),
    "human_eval": a_row_each(lambda name, n, mark: {"task_id": name, "completion": f"{n}", "passed": mark}),
    "verl": a_row_each(lambda name, n, mark: {"input": name, "output": f"{n}", "score": n, "acc": mark, "uid": f"{n}"}),
    "trl": a_row_each(lambda name, n, mark: {"step": 1, "prompt": name, "completion": f"{n}", "right": mark}),
    "nemo_skills": a_row_each(
        lambda name, n, mark: {
            **{"problem": name, "expected_answer": "1", "generation": f"{n}"},
            **{"predicted_answer": None, "symbolic_correct": mark},
        }
    ),
}
LISTS = {
    "own, lists": a_list_each("problem", "correct", "answer"),
    "qwen_math": a_list_each("idx", "score", "pred", "code"),
    "limo": a_list_each("question", "answers_correctness", "generated_answers", "generated_responses"),
    "livecodebench": a_list_each("question_id", "graded_list", "output_list", "code_list"),
    "lm_eval": lm_eval,
}
ALL = {**ROWS, **LISTS, "inspect": inspect_log}


@pytest.mark.parametrize("name", ALL)
def test_marks_may_be_spelled_and_null_is_left_out(name: str, read: Read) -> None:
    """One sample of four has no mark, and one problem has none at all."""
    metric = "right" if name == "trl" else None
    for true, false, null in ((True, False, None), ("True", "FALSE", math.nan), (1, 0, ""), (1.0, "0.0", " NaN ")):
        marks = {"a": [true, null, false, true], "b": [null, null], "c": [false, false]}
        samples = read(ALL[name](marks), metric=metric)
        assert counts(samples) == [(3, 2), (2, 0)]
        assert [note.partition("(")[0] for note in samples.notes][:2] == [
            "3 samples could not be scored ",
            "1 problems have no sample that could be scored and are left out",
        ]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("wrong", ["yes", {"a": 1}, [[1]], 0.5, 2, math.inf, "Infinity", "1_0"])
def test_what_is_no_mark_is_refused(name: str, wrong: Any, read: Read) -> None:
    with pytest.raises(ValueError, match=r"^file [^\n]* is [^\n]*: want 0, 1, true or false"):
        read(ALL[name]({"a": [1, 0], "b": [1, wrong]}), metric="right" if name == "trl" else None)


@pytest.mark.parametrize("name", ALL)
def test_a_threshold_makes_numbers_marks_and_leaves_marks_alone(name: str, read: Read) -> None:
    text = ALL[name]({"a": [0.5, "0.7", 0.4, True], "b": [False, None, -3, 10**400]})
    samples = read(text, metric="right" if name == "trl" else None, threshold=0.5)
    assert counts(samples) == [(4, 3), (3, 1)]


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_another_length_is_refused(name: str, read: Read) -> None:
    rows = [json.loads(line) for line in LISTS[name]({"a": [1, 0], "b": [1, 0]}).splitlines()]
    mark = {"own, lists": "correct", "qwen_math": "score", "limo": "answers_correctness", "lm_eval": "exact_match"}
    for change in ([1, 0, 1], [1]):
        rows[1][mark.get(name, "graded_list")] = change
        with pytest.raises(ValueError, match=r"^file line 2: \S+ has \d (entries|scores)"):
            read(lines(rows))
    beside = {field for field, value in rows[0].items() if isinstance(value, list)} - {
        "metrics",
        "exact_match",
        "resps",
    }
    for field in beside - {mark.get(name, "graded_list"), "filtered_resps"}:
        rows = [{**row, field: None} for row in rows[:1]]
        assert read(lines(rows)).num_samples.tolist() == [[2]]


@pytest.mark.parametrize("name", ["human_eval", "verl", "trl", "nemo_skills"])
def test_a_list_where_a_row_is_a_sample_is_refused(name: str, read: Read) -> None:
    with pytest.raises(ValueError, match=r"^file line 2: \w+ is \[true\]: want 0, 1, true or false"):
        read(ROWS[name]({"a": [True, [True]]}), metric="right" if name == "trl" else None)


def test_numbers_name_problems_as_their_text_does(read: Read) -> None:
    rows = [{"problem": name, "correct": 1} for name in (3, 3.0, "3", [{"a": 1, "b": 2}], [{"b": 2, "a": 1}], True)]
    assert dict(zip(*[(samples := read(lines(rows))).problems, counts(samples)], strict=True)) == {
        "3": (3, 3),
        '[{"a": 1, "b": 2}]': (2, 2),
        "true": (1, 1),
    }


def test_the_user_names_the_problem(read: Read) -> None:
    own = lines([{"q": name, "correct": mark} for name in "ab" for mark in (0, 1)])
    assert counts(read(own, problem="q")) == [(2, 1)] * 2
    with pytest.raises(
        ValueError, match="fields q, correct: that is no known format: for samples of your own say --pr"
    ):
        read(own)
    qwen = [{"idx": n, "question": "same", "score": [1, 0], "pred": ["x", "y"]} for n in range(2)]
    assert counts(read(lines(qwen), problem="question")) == [(4, 2)]
    for name in ROWS:
        rows = [{**json.loads(line), "mine": "p"} for line in ROWS[name]({"a": [1], "b": [0]}).splitlines()]
        assert counts(read(lines(rows), problem="mine", metric="right" if name == "trl" else None)) == [(2, 1)]


def test_no_field_is_taken_that_only_some_rows_have(read: Read) -> None:
    verl = ROWS["verl"]({"a": [1, 0, 1]}).splitlines()
    first = json.loads(verl[0])
    first.pop("acc")
    with pytest.raises(
        ValueError, match=r"^file line 2: field 'acc' is here, and rows before have only 'score': want one"
    ):
        read(lines([first]) + "\n".join(verl[1:]))
    with pytest.raises(ValueError, match=r"^file line 2: field 'acc' is missing"):
        read(verl[1] + "\n" + lines([first]))
    with pytest.raises(
        ValueError, match=r"^file line 2: field 'problem' is here, and rows before have only 'problem_id'"
    ):
        read(lines([{"problem_id": 1, "correct": 1}, {"problem_id": 1, "problem": "x", "correct": 1}]))


def test_the_reward_of_trl_is_the_only_column_of_numbers_in_all_rows(tmp_path: Path) -> None:
    """Not a column of numbers in the first row alone, nor one of numbers where another is null throughout."""
    columns = {"prompt": ["a", "a", "b"], "completion": ["x", "y", "z"], "reward": [None, 1.0, 0.0]}

    def found(**more: list[Any]) -> Samples:
        parquet.write_table(pyarrow.table({**columns, **more}), tmp_path / "x")
        return sample_files.read(tmp_path / "x", "x", None, Fields())[0]

    assert counts(found(solution=["1", "2", "3"], step=[1, 1, 1], advantage=[0.1, 0.2, 0.3])) == [(1, 1), (1, 0)]
    for other in ([1, 0, 1], [None, None, None]):
        with pytest.raises(
            ValueError, match=r"^x: several fields could be the reward column \(reward, other\): want its"
        ):
            found(other=pyarrow.array(other, pyarrow.int64()))


@pytest.mark.parametrize("name", ["verl", "trl"])
def test_several_steps_of_training_are_told(name: str, read: Read) -> None:
    rows = [json.loads(line) for line in ROWS[name]({"a": [1, 0, 1]}).splitlines()]
    metric = "right" if name == "trl" else None
    for steps, notes in (
        ([5, 5, 5], ()),
        ([5, 6, 5], ("the samples of 2 steps of training count as those of one model",)),
    ):
        assert (
            read(lines([{**row, "step": step} for row, step in zip(rows, steps, strict=True)]), metric=metric).notes
            == notes
        )


def test_evalplus_without_plus_is_base(read: Read) -> None:
    """New and old; a status that no version writes is refused; null is not scored."""
    status = {"task_id": "a", "solution": "x", "base_status": "pass", "plus_status": None}
    new = {"date": "d", "eval": {"a": [status, {**status, "solution": "y", "base_status": "timeout"}]}}
    old = {"date": "d", "eval": {"a": {"nfiles": 2, "base": [["success", []], ["failed", []]], "plus": []}}}
    for document in (new, old):
        samples = read(json.dumps(document))
        assert (counts(samples), samples.notes) == ([(2, 1)], ())
        with pytest.raises(ValueError, match=r"^file: plus is null in every line"):
            read(json.dumps(document), metric="plus")
    new["eval"]["b"] = [{**status, "plus_status": "fail"}, {**status, "base_status": None}]
    with pytest.raises(ValueError, match=r"^file: plus tests were run on 1 of 4 samples: want all, or --metric base$"):
        read(json.dumps(new))
    samples = read(json.dumps(new), metric="base")
    assert counts(samples) == [(2, 1), (1, 1)]
    assert samples.notes[0].startswith("1 samples could not be scored (base is null)")
    for wrong, message in (
        (
            {"a": [{**status, "base_status": "ok"}]},
            "task 'a', sample 0: base_status is \"ok\": want pass, success, fail",
        ),
        ({"a": []}, r"task 'a': its samples are \[\]: want a list of at least one"),
        (
            {"a": {"base": [["success", []]], "plus": [["success", []]] * 2}},
            "task 'a': base is .* want nfiles entries",
        ),
        ([], r"line 1: eval is \[\]: want an object"),
    ):
        with pytest.raises(ValueError, match=f"^file {message}"):
            read(json.dumps({"eval": wrong}))


def lighteval_row(name: str, metric: Mapping[str, Any], drawn: int = 4) -> dict[str, Any]:
    return {
        "doc": {"id": name, "query": f"q {name}"},
        "model_response": {"text": ["x"] * drawn},
        "metric": dict(metric),
    }


def test_scores_of_lighteval_are_of_as_many_samples_as_their_names_say(read: Read) -> None:
    for small, large in (
        ("math_pass@1:1_samples", "math_pass@1:4_samples"),
        ("pass@k:k=1&n=1", "pass@k:k=1&n=4"),
        ("avg@n:n=1", "avg@n:n=4"),
    ):
        rows = [lighteval_row(name, {small: 1.0, large: share}) for name, share in (("a", 0.75), ("b", 0.0))]
        assert counts(read(lines(rows))) == [(4, 3), (4, 0)]
        assert counts(read(lines(rows), metric=small)) == [(1, 1), (1, 1)]
    with pytest.raises(
        ValueError, match=r"^file line 1: math_pass@1:4_samples is of 4 samples, model_response.text has 3"
    ):
        read(lines([lighteval_row("a", {"math_pass@1:4_samples": 0.75}, drawn=3)]))
    both = lines([lighteval_row("a", {"extractive_match": 1.0, "gpqa_pass@k:k=1&n=4": 0.25})])
    assert counts(read(both)) == [(4, 1)]
    with pytest.raises(
        ValueError, match=r"^file line 1: extractive_match is one score, model_response.text has 4: want a"
    ):
        read(both, metric="extractive_match")
    with pytest.raises(ValueError, match="line 1: several fields could be the metric"):
        read(lines([lighteval_row("a", {"math_pass@1:4_samples": 0.75, "gpqa_pass@1:4_samples": 0.75})]))
    assert counts(read(lines([lighteval_row("a", {"extractive_match": 1}, drawn=1)]))) == [(1, 1)]


def test_letters_of_inspect_and_several_scorers(read: Read) -> None:
    letters = {"a": ["C", "I", "N", "C"], "b": ["P", "P", "C", "I"]}
    with pytest.raises(
        ValueError, match=r"^file sample 5: the value of match is 0.5: want 0, 1, true or false; for other"
    ):
        read(inspect_log(letters))
    assert counts(read(inspect_log(letters), threshold=0.5)) == [(4, 2), (4, 3)]
    log = json.loads(inspect_log({"a": ["C", "I"]}))
    log["samples"][1]["scores"] = None
    assert counts(read(json.dumps(log))) == [(1, 1)]
    log["samples"][1]["scores"] = {"other": {"value": "C"}}
    with pytest.raises(
        ValueError, match=r"^file: several fields could be the scorer \(match, other\): want its name aft"
    ):
        read(json.dumps(log))
    with pytest.raises(ValueError, match=r"^file sample 2: field 'match' is missing"):
        read(json.dumps(log), metric="match")


@pytest.mark.parametrize("largest", [7])
def test_the_number_correct_is_the_only_one_that_fits(largest: int) -> None:
    """Against exact fractions for all n, c and sets of one or two k."""
    row = Row("line", 1, {})
    for n, *_ in ((n,) for n in range(1, largest + 1)):
        for ks in itertools.chain(((k,) for k in range(1, n + 1)), itertools.combinations(range(1, n + 1), 2)):
            curves = {c: tuple(1 - Fraction(math.comb(n - c, k), math.comb(n, k)) for k in ks) for c in range(n + 1)}
            for c, curve in curves.items():
                fits = [other for other in curves if curves[other] == curve]
                names, values = {k: f"pass@{k}" for k in ks}, dict(zip(ks, map(float, curve), strict=True))
                if fits in ([c], [n - 1, n]):
                    assert shares.number_correct(row, names, values, n) == (fits[-1], len(fits) > 1)
                else:
                    with pytest.raises(
                        ValueError, match=f"{fits[0]} to {fits[-1]} correct of {n} give: it is not pass@1"
                    ):
                        shares.number_correct(row, names, values, n)


def test_a_pass_at_k_that_no_number_gives_is_refused(read: Read) -> None:
    def row(**metrics: Any) -> str:
        return lines([lm_eval_row("0", resps=[["x"] * 4], filtered_resps=[["x"] * 4], filter="f", **metrics)])

    with pytest.raises(ValueError, match=r"^file line 1: pass@2 is 0.3: want pass@k of 4 generations"):
        read(row(**{"pass@2": 0.3}))
    with pytest.raises(ValueError, match=r"^file line 1: pass@8 is there and 4 generations: want from 8 to"):
        read(row(**{"pass@8": 1.0}))
    with pytest.raises(
        ValueError, match=r"^file line 1: --threshold with pass@1, which is no score of a sample: want none"
    ):
        read(row(**{"pass@1": 0.5}), threshold=0.5)
    assert counts(read(row(**{"pass@1": 0.5, "pass@2": None}))) == [(4, 2)]
    open_count = read(row(**{"pass@2": 1.0, "pass@4": 1.0}))
    assert counts(open_count) == [(4, 4)]
    assert open_count.notes[0].startswith("1 documents may have one correct generation less than all")


DOCUMENTS: dict[str, Callable[[str, str], str]] = {
    "lm_eval": lambda name, text: lines(
        [lm_eval_row(name, resps=[["x"]], filtered_resps=["x"], filter="f", acc=1.0) | {"doc_hash": text}]
    ),
    "qwen_math": lambda name, text: lines([{"idx": int(name), "question": text, "pred": ["x"], "score": [1]}]),
    "lighteval": lambda name, text: lines(
        [lighteval_row(name, {"em": 1}, drawn=1) | {"doc": {"id": name, "query": text}}]
    ),
    "inspect": lambda name, text: lines(
        [{"id": name, "epoch": hash(text), "input": text, "scores": {"m": {"value": "C"}}}]
    ),
}


@pytest.mark.parametrize("write", DOCUMENTS.values(), ids=list(DOCUMENTS))
def test_another_problem_of_the_same_number_is_seen(write: Callable[[str, str], str], read: Read) -> None:
    """In one file it is refused; between models it is left out, and refused where no problem is left."""
    with pytest.raises(
        ValueError, match=r"^file line 2: problem '0' is another one than before: want one set of problems"
    ):
        read(write("0", "what?") + write("0", "where?"))
    base = read(write("0", "what?") + write("1", "when?"), "base")
    same = read(write("1", "when?") + write("0", "what?"), "same")
    half = read(write("0", "what?") + write("1", "where?"), "half")
    none = read(write("0", "why?") + write("1", "where?"), "none")
    assert comparison.common_problems(base, same) == ["0", "1"]
    assert comparison.common_problems(base, half) == ["0"]
    assert any(
        warning.startswith("1 problems of half are others") for warning in comparison.warnings_about([base, half])
    )
    with pytest.raises(ValueError, match=r"^none: its 2 problems named as in base"):
        comparison.common_problems(base, none)


def test_answers_that_all_samples_of_a_problem_share_are_not_the_models(read: Read) -> None:
    """Only where marks differ: a model that always answers the same is marked alike."""
    rows = [{"problem": p, "correct": mark, "answer": p} for p, mark in (("a", 1), ("a", 0), ("b", 0), ("b", 0))]
    gold = read(lines(rows))
    assert gold.answers is None
    assert gold.notes[0].startswith("every sample of a problem has the same answer, marked correct in one and wrong in")
    by_seed = [{**row, "seed": seed, "correct": seed} for row in rows for seed in (0, 1)]
    assert read(lines(by_seed)).answers is None
    rows[1]["correct"] = 1
    assert read(lines(rows)).answers is not None
    whole = [{"problem": "a", "correct": [1, 0], "answer": "gold"}]
    assert read(lines(whole)).answers is None
    with pytest.raises(ValueError, match=r"^file: no sample has the field 'pred': want another --answer, or none$"):
        read(lines(rows), answer="pred")
