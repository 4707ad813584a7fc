"""Configurations: YAML out and in, the named ones, changes, and one line for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sharpening.figures.tables import training as training_tables
from sharpening.llm.training import configs
from sharpening.llm.training.configs import CONFIGS, RunConfig

SMOKE = CONFIGS["smoke"]
OWN = {"model": "m", "task": "own", "problems": "p.jsonl", "verifier": "v.py:f"}


def written(folder: Path, text: str) -> str:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_named_configuration_is_the_same_after_yaml(name: str, tmp_path: Path) -> None:
    config = configs.named_or_read(name, {})
    assert configs.named_or_read(written(tmp_path, configs.as_yaml(config)), {}) == config
    assert config != configs.named_or_read(name, {"seed": 1})


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"gamma_correct": 1e-7, "reduction": "mean"}},
        {"countdown": {"operators": "+-", "min_target": 3}, "parameters": {"gamma_incorrect": 3}},
        {"problems": "a b: c # d 'e' \"f\" \u00e9 \u2028 " + 150 * "x ", "learning_rate": 3e-5},
    ],
)
def test_values_that_yaml_could_misread_are_the_same_after_it(changes: dict[str, Any], tmp_path: Path) -> None:
    config = configs.named_or_read("smoke", changes)
    assert configs.named_or_read(written(tmp_path, configs.as_yaml(config)), {}) == config


def test_every_field_is_in_the_yaml_with_what_it_means() -> None:
    text = configs.as_yaml(configs.named_or_read("countdown-qwen2.5-3b", {}))
    for name, field in RunConfig.model_fields.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name}:")]
        assert field.description
        assert line.endswith(f"# {field.description}")
    assert "dtype: bfloat16  # of the passes; trained weights are float32\n" in text


def test_large_configurations_say_that_they_were_not_tried() -> None:
    large = {name for name in CONFIGS if configs.named_or_read(name, {}).model}
    assert large == set(configs.NOT_TRIED)
    listed = training_tables.listing(CONFIGS, configs.NOT_TRIED).splitlines()
    assert {line.split()[0] for line in listed if line.endswith("(not tried here)")} == large
    assert len(listed) == len(CONFIGS)


def test_numbers_that_yaml_takes_for_words_are_numbers(tmp_path: Path) -> None:
    text = "warm_start: smoke\nlearning_rate: 1e-4\nparameters: {gamma_correct: 1e-3}\ncountdown: {num_numbers: '3'}\n"
    config = configs.named_or_read(written(tmp_path, text), {})
    assert (config.learning_rate, config.parameters, config.countdown) == (
        1e-4,
        {"gamma_correct": 1e-3},
        {"num_numbers": 3},
    )


def test_a_change_of_one_parameter_keeps_the_others_and_a_method_has_its_own() -> None:
    changed = configs.named_or_read("smoke", {"parameters": {"gamma_incorrect": "0.2"}})
    assert changed.parameters == {"gamma_correct": 0.1, "gamma_incorrect": 0.2}
    assert configs.named_or_read("smoke", {"method": "grpo"}).parameters == {}
    assert configs.named_or_read("smoke", {"method": "pkpo", "parameters": {"k": "4"}}).parameters == {"k": 4}
    assert SMOKE["parameters"] == {"gamma_correct": 0.1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_step": 5}, "smoke: num_step: 5: there is no such field: did you mean steps? want "),
        ({"step": 5}, "smoke: step: 5: there is no such field: did you mean steps? want one of model, warm_start, "),
        ({"zzz": 5}, "smoke: zzz: 5: there is no such field: want one of model, warm_start, "),
        (
            {"gamma_correct": "0.1"},
            "smoke: gamma_correct: '0.1': there is no such field: it is a parameter of ds: want p",
        ),
        (
            {"method": "pkpo", "k": 3},
            "smoke: k: 3: there is no such field: it is a parameter of pkpo: want parameters.k",
        ),
        ({"method": "gpro", "k": 3}, "smoke: k: 3: there is no such field: want one of model, "),
        ({"temperature": float("inf")}, "smoke: temperature: inf: Input should be a finite number"),
        ({"rise": 21}, "smoke: rise: 21: want at most steps, 20: learning_rate is never reached"),
        (
            {"problem_column": "p"},
            "smoke: problem_column: 'p': it means nothing with task countdown, only with math, own",
        ),
        (
            {**OWN, "warm_start": "", "countdown": {"num_numbers": 3}},
            "smoke: countdown: {'num_numbers': 3}: it means nothing with task own, only with countdown",
        ),
        (
            {**OWN, "warm_start": "", "held_out": "h", "evaluation_problems": 0},
            "smoke: evaluation_problems: 0: want 1 or more with held_out, or no held_out",
        ),
        ({"steps": "many"}, "smoke: steps: 'many': Input should be a valid integer"),
        ({"steps": 0}, "smoke: steps: 0: Input should be greater than or equal to 1"),
        ({"learning_rate": float("nan")}, "smoke: learning_rate: nan: Input should be a finite number"),
        ({"kl_strength": float("inf")}, "smoke: kl_strength: inf: Input should be a finite number"),
        ({"loss": "ppo"}, "smoke: loss: 'ppo': Input should be 'dr_grpo', "),
        ({"group_size": 1}, "smoke: group_size: 1: Input should be greater than or equal to 2"),
        ({"micro_batch": 24}, "smoke: micro_batch: 24: want a divisor of group_size times prompts_per_step, 128"),
        ({"updates_per_batch": 3}, "smoke: updates_per_batch: 3: want a divisor of steps and save_every"),
        ({"save_every": 5, "updates_per_batch": 2}, "smoke: updates_per_batch: 2: want a divisor of steps and save_"),
        ({"model": "m"}, "smoke: model: 'm', warm_start: 'smoke': want one of them"),
        ({"warm_start": ""}, "smoke: model: '', warm_start: '': want one of them"),
        ({"method": "gspo", "kl_strength": 0.1}, "smoke: kl_strength: 0.1: gspo: TRL's term for ratios of sequences"),
        (
            {"method": "kl_penalty", "parameters": {"form": "loss"}, "kl_strength": 0.1},
            "smoke: kl_strength: 0.1: kl_penalty: it is a KL term itself: want 0",
        ),
        ({"held_out": "h"}, "smoke: held_out: 'h': it means nothing with task countdown, only with math, own"),
        ({"task": "math"}, "smoke: problems: '': want a file of problems for task math"),
        ({"lenient": True}, "smoke: lenient: True: want false with task countdown"),
        ({"verifier": "v.py:f"}, "smoke: verifier: 'v.py:f': want FILE.py:FUNCTION with task own, and only there"),
        ({"task": "own", "problems": "p"}, "smoke: verifier: '': want FILE.py:FUNCTION with task own, and only there"),
        ({"method": "gpro"}, "smoke: "),
        (
            {"parameters": {"gamma": 1}},
            "smoke: 'gamma' is not a parameter of ds: did you mean gamma_correct or gamma_incorrect? it has ",
        ),
        ({"parameters": {"gamma_correct": "much"}}, "smoke: gamma_correct is 'much': it must be a finite number"),
        ({"parameters": 3}, "smoke: parameters: 3: Input should be a valid dictionary"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_it(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^smoke: ") as error:
        configs.named_or_read("smoke", changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- smoke\n", "want fields and values"),
        ("3: 4\n", "want fields and values"),
        ("", "want fields and values"),
        ("model: [a\nsteps: 3\n", "run.yaml: line 2: it is not YAML: "),
        ("model: m\nsteps: 3\n\nsteps: 4\n", "run.yaml: lines 2 and 4: steps is given twice: want it once"),
        ("parameters:\n  a: 3\n  a: 3\n", "run.yaml: lines 2 and 3: a is given twice: want it once"),
        ("{model: m, model: 3}", "run.yaml: lines 1 and 1: model is given twice: want it once"),
        (
            "model: \x07\n",
            "run.yaml: it is not YAML: unacceptable character #x0007: special characters are not allowed",
        ),
        ("model: !!python/object/apply:os.getcwd []\n", "it is not YAML: "),
        ("model: m\nparameters: 3\n", "parameters: 3: Input should be a valid dictionary"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"run\.yaml: ") as error:
        configs.named_or_read(written(tmp_path, text), {"parameters": {"gamma_correct": 0}} if "3" not in text else {})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_or_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CONFIG: 'smok': want a YAML file or one of smoke, laptop, "):
        configs.named_or_read("smok", {})
    with pytest.raises(ValueError, match=r"none.yaml: cannot be read: No such file"):
        configs.named_or_read(str(tmp_path / "none.yaml"), {})
    (tmp_path / "bytes.yaml").write_bytes(b"model: \xff\n")
    with pytest.raises(ValueError, match=r"bytes.yaml: it is not YAML: "):
        configs.named_or_read(str(tmp_path / "bytes.yaml"), {})


def test_own_tasks_need_the_four_fields() -> None:
    assert RunConfig(**OWN).task == "own"
