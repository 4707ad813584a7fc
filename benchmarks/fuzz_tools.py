"""Valid files of each tool, for benchmarks/fuzz_formats.py, with the fields that the tool writes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from benchmarks.fuzz_completions import Dice
from benchmarks.fuzz_files import Document, drawn_problems, each, own_counts, own_lists, own_rows, spelling
from benchmarks.reference_values import Said


def qwen_math(dice: Dice) -> Document:
    """Qwen2.5-Math evaluation: a line a problem, the data set's own fields first."""
    problems = drawn_problems(dice, is_text=True)
    rest = dice.pick(({}, {"level": 3, "type": "Algebra"}, {"solution": "so"}))
    rows = [
        {
            "idx": idx,
            "question": problem.name,
            "gt_cot": "None",
            "gt": problem.gold,
            **rest,
            "answer": dice.pick((problem.gold, float(idx))),
            "code": [f"so {place}" for place in range(len(problem.marks))],
            "pred": list(problem.answers),
            "report": [None] * len(problem.marks),
            "score": list(problem.marks),
        }
        for idx, problem in enumerate(problems)
    ]
    return Document("qwen_math", rows, "jsonl", ("score",), ("idx", "question", "pred", "code", "answer"), problems)


def evalplus_new(dice: Dice) -> Document:
    """EvalPlus and BigCodeBench: an object a sample; plus counts where base passes too."""
    problems = drawn_problems(dice, is_text=True)
    statuses = ("fail", "fail", "timeout")
    is_base_only = dice.below(8) == 0
    tasks: dict[Any, Any] = {}
    for problem, place, mark, _ in each(problems):
        base = mark or dice.below(4) == 0
        plus = mark or (not base and dice.below(4) == 0)
        sample = {
            "task_id": problem.name,
            "solution": f"def f(): return {place}",
            "base_status": "pass" if (mark if is_base_only else base) else dice.pick(statuses),
            "plus_status": None if is_base_only else "pass" if plus else dice.pick(statuses),
            "base_fail_tests": [],
            "plus_fail_tests": [],
        }
        tasks.setdefault(problem.name, []).append(sample)
    tree = {"date": "2024-10-20 10:00", "hash": "h", "eval": tasks, "pass_at_k": {"base": {"pass@1": 0.5}}}
    others = ("eval", "task_id", "solution", "base_fail_tests", "date")
    said = Said(metric="base") if is_base_only else Said()
    return Document("evalplus_new", tree, "json", ("base_status", "plus_status"), others, problems, said)


def evalplus_old(dice: Dice) -> Document:
    """EvalPlus before 2024: lists of a status and details, base beside plus."""
    problems = drawn_problems(dice, is_text=True)
    statuses = ("failed", "failed", "timeout")
    tasks = {}
    for problem in problems:
        base = [mark or dice.below(4) == 0 for mark in problem.marks]
        plus = [mark or (not first and dice.below(4) == 0) for mark, first in zip(problem.marks, base, strict=True)]
        tasks[problem.name] = {
            "nfiles": len(problem.marks),
            "base": [["success" if mark else dice.pick(statuses), [1, 1]] for mark in base],
            "plus": [["success" if mark else dice.pick(statuses), [1]] for mark in plus],
        }
    tree = {"date": "2024-01-02 10:00", "hash": "h", "eval": tasks}
    return Document("evalplus_old", tree, "json", ("base", "plus"), ("eval", "nfiles", "hash"), problems)


def bigcodebench(dice: Dice) -> Document:
    """BigCodeBench: as EvalPlus, with one status."""
    problems = drawn_problems(dice, is_text=True)
    tasks: dict[Any, Any] = {}
    for problem, place, mark, _ in each(problems):
        status = "pass" if mark else dice.pick(("fail", "timeout"))
        sample = {"task_id": problem.name, "solution": f"f({place})", "status": status, "details": {}}
        tasks.setdefault(problem.name, []).append(sample)
    tree = {"date": "2024-10-20 10:00", "eval": tasks}
    return Document("bigcodebench", tree, "json", ("status",), ("eval", "task_id", "solution", "date"), problems)


def livecodebench(dice: Dice) -> Document:
    """LiveCodeBench's *_eval_all.json: a list, indented."""
    problems = drawn_problems(dice, is_text=True)
    rows = [
        {
            "question_title": "t",
            "question_content": f"Write {problem.name}",
            "question_id": problem.name,
            "difficulty": "easy",
            "output_list": [f"so {place}" for place in range(len(problem.marks))],
            "code_list": [f"f({place})" for place in range(len(problem.marks))],
            "graded_list": list(problem.marks),
            "pass@1": sum(problem.marks) / len(problem.marks),
            "metadata": ["{}"] * len(problem.marks),
        }
        for problem in problems
    ]
    others = ("question_id", "question_content", "output_list", "code_list", "pass@1", "metadata")
    return Document("livecodebench", rows, "json", ("graded_list",), others, problems)


def verl(dice: Dice) -> Document:
    """Validation dumps of verl dumps, with acc and pred, or without, and its rollout dumps, with an id a sample."""
    problems = drawn_problems(dice, is_text=True)
    spelled = spelling(dice)
    kind = dice.pick(("validation", "validation", "validation", "rollout", "rollout"))
    wrong = dice.pick((-1.0, 0.0)) if kind == "validation" else 0.0
    rows = [
        {
            "input": f"user\n{problem.name}\nassistant\n",
            "output": f"Answer: {answer}",
            "gts": problem.gold,
            "score": 1.0 if mark else wrong,
            "step": 100,
            **(
                {"reward": 1.0 if mark else wrong, "acc": spelled(mark), "pred": answer} if kind == "validation" else {}
            ),
            **({"uid": f"u{number}"} if kind == "rollout" else {}),
        }
        for number, (problem, _, mark, answer) in enumerate(each(problems))
    ]
    marks = ("acc", "score") if kind == "validation" else ("score",)
    return Document("verl", rows, "jsonl", marks, ("input", "output", "pred", "uid", "gts"), problems)


def limo(dice: Dice) -> Document:
    """LIMO: a line a problem; is_correct says whether any sample is."""
    problems = drawn_problems(dice, is_text=True)
    rows = [
        {
            "question": problem.name,
            "generated_responses": [f"so {place}" for place in range(len(problem.marks))],
            "generated_answers": list(problem.answers),
            "gold_answer": problem.gold,
            "is_correct": any(problem.marks),
            "answers_correctness": list(problem.marks),
        }
        for problem in problems
    ]
    others = ("question", "generated_responses", "generated_answers", "gold_answer", "is_correct")
    return Document("limo", rows, "jsonl", ("answers_correctness",), others, problems)


def lighteval(dice: Dice) -> Document:
    """Details of lighteval: the share of the samples in the metric of the largest number."""
    problems = drawn_problems(dice, is_text=True)
    num_samples = len(problems[0].marks)
    base = dice.pick(("math_pass@1:{}_samples", "math_pass@1:{}_samples", "pass@k:k=1&n={}", "avg@n:n={}"))
    rows = []
    for place, problem in enumerate(problems):
        marks = (problem.marks * num_samples)[:num_samples]
        problems[place] = problem._replace(marks=marks, answers=(problem.answers * num_samples)[:num_samples])
        shares = {base.format(1): float(marks[0]), base.format(num_samples): sum(marks) / num_samples}
        rows.append(
            {
                "doc": {"query": problem.name, "id": str(place), "choices": [problem.gold]},
                "model_response": {"text": [f"so {sample}" for sample in range(num_samples)], "input": "q"},
                "metric": shares,
            }
        )
    marks_fields = (base.format(1), base.format(num_samples))
    return Document("lighteval", rows, "parquet", marks_fields, ("doc", "id", "query", "text", "metric"), problems)


def inspect_ai(dice: Dice) -> Document:
    """inspect_ai's log as JSON, or as a zip of the samples."""
    problems = drawn_problems(dice)
    spelled = dice.pick((lambda mark: "CI"[not mark], lambda mark: "CI"[not mark], float, int, bool))
    scorer = dice.pick(("match", "includes", "model_graded_qa"))
    is_two = dice.below(6) == 0
    samples = [
        {
            "id": problem.name,
            "epoch": place + 1,
            "input": "q",
            "target": problem.gold,
            "scores": {
                scorer: {"value": spelled(mark), "answer": answer, "explanation": "so"},
                **({"f1": {"value": 0.3, "answer": answer}} if is_two else {}),
            },
        }
        for problem, place, mark, answer in each(problems)
    ]
    tree = {"version": 2, "status": "success", "eval": {"task": "t", "model": "m"}, "samples": samples}
    said = Said(metric=scorer) if is_two else Said()
    others = ("id", "epoch", "samples", "scores", scorer, "answer", "eval")
    container = dice.pick(("json", "json", "zip"))
    return Document("inspect_ai", tree, container, ("value",), others, problems, said)


def nemo(dice: Dice) -> Document:
    """NeMo-Skills: the output files of several seeds, one after the other."""
    problems = drawn_problems(dice, is_text=True)
    rows = [
        {
            "id": f"aime-{problems.index(problem)}",
            "problem": problem.name,
            "expected_answer": problem.gold,
            "generation": f"so {place}",
            "predicted_answer": answer,
            "symbolic_correct": mark,
        }
        for problem, place, mark, answer in each(problems)
    ]
    said = Said(metric="symbolic_correct") if dice.below(2) else Said()
    others = ("id", "problem", "predicted_answer", "expected_answer", "generation")
    return Document("nemo", rows, "jsonl", ("symbolic_correct",), others, problems, said)


def human_eval(dice: Dice) -> Document:
    """human-eval's *_results.jsonl."""
    problems = drawn_problems(dice, is_text=True)
    has_id = dice.below(2)
    rows = [
        {
            "task_id": problem.name,
            **({"completion_id": place} if has_id else {}),
            "completion": f"    return {place}\n",
            "result": "passed" if mark else "failed: AssertionError",
            "passed": mark,
        }
        for problem, place, mark, _ in each(problems)
    ]
    others = ("task_id", "completion", "completion_id", "result")
    return Document("human_eval", rows, "jsonl", ("passed",), others, problems)


def lm_eval(dice: Dice) -> Document:
    """lm-evaluation-harness with --log_samples: a list a document, one score, or pass@k of all generations."""
    problems = drawn_problems(dice)
    kind = dice.pick(("list", "list", "one", "share", "ks", "ks", "instructions"))
    if kind in ("one", "instructions"):
        problems = [problem._replace(marks=problem.marks[:1], answers=problem.answers[:1]) for problem in problems]
    ks = (1,)
    if kind == "ks":
        ks = dice.pick(((2, 4, 8), (4,), (2, 8), (10, 1)))
        times = range(max(ks) * dice.pick((1, 2)))
        problems = [
            problem._replace(marks=[dice.below(4) == 0 for _ in times], answers=["code"] * len(times))
            for problem in problems
        ]
    metrics = [f"pass@{k}" for k in ks] if kind in ("share", "ks") else ["exact_match"]
    if kind == "instructions":
        metrics = ["prompt_level_strict_acc", "inst_level_strict_acc"]
    rows = []
    for place, problem in enumerate(problems):
        n, c = len(problem.marks), sum(problem.marks)
        values: dict[str, Any] = {f"pass@{k}": 1 - math.comb(n - c, k) / math.comb(n, k) for k in ks}
        if kind == "instructions":
            values = {"prompt_level_strict_acc": problem.marks[0], "inst_level_strict_acc": [True, dice.below(2) == 1]}
        elif metrics == ["exact_match"]:
            marks = [float(mark) for mark in problem.marks]
            values = {"exact_match": marks if kind == "list" else marks[0]}
        rows.append(
            {
                "doc_id": place,
                "doc": {"question": problem.name, "answer": problem.gold},
                "target": problem.gold,
                "arguments": {"gen_args_0": {"arg_0": "Q"}},
                "resps": [[f"so {sample}" for sample in range(n)]],
                "filtered_resps": [list(problem.answers)] if len(problem.answers) > 1 else list(problem.answers),
                "filter": "none",
                "metrics": metrics,
                **values,
                "doc_hash": f"d{place}",
                "prompt_hash": "b",
                "target_hash": "c",
            }
        )
    said = Said(metric=metrics[0]) if dice.below(3) == 0 or kind == "instructions" else Said()
    if dice.below(6) == 0:  # two filters, of which the other finds nothing
        rows += [{**copy.deepcopy(row), "filter": "strict", **dict.fromkeys(metrics, 0.0)} for row in rows]
        said = Said(metric=f"{metrics[0]},none")
    others = ("doc_id", "resps", "filtered_resps", "metrics", "filter", "doc_hash")
    return Document("lm_eval", rows, "jsonl", tuple(metrics), others, problems, said)


def trl(dice: Dice) -> Document:
    """TRL's completions tables: a column a reward function."""
    problems = drawn_problems(dice, is_text=True)
    is_chat, is_two = dice.below(2), dice.below(3) == 0
    rows = [
        {
            "step": 10,
            "prompt": [{"role": "user", "content": problem.name}] if is_chat else problem.name,
            "completion": [{"role": "assistant", "content": answer}] if is_chat else answer,
            "accuracy_reward": float(mark),
            **({"format_reward": float(dice.below(2))} if is_two else {}),
            "solution": problem.gold,
            "advantage": 0.1,
        }
        for problem, _, mark, answer in each(problems)
    ]
    said = Said(metric="accuracy_reward") if is_two else Said()
    return Document("trl", rows, "parquet", ("accuracy_reward",), ("prompt", "completion", "advantage"), problems, said)


TOOLS: tuple[Callable[[Dice], Document], ...] = (
    *(qwen_math, own_rows, own_rows, own_counts, own_lists, evalplus_new, evalplus_old, bigcodebench, livecodebench),
    *(verl, verl, limo, lighteval, inspect_ai, nemo, human_eval, lm_eval, trl),
)
