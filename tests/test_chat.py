"""A system message and arguments of the chat template: in training, on held-out problems, and what is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sharpening.llm.sampling import models
from sharpening.llm.tasks import InChat
from sharpening.llm.training import callbacks, preflight, problems, run
from sharpening.llm.training.configs import RunConfig
from tests import language_models, training

pytestmark = [*training.QUIET, pytest.mark.filterwarnings("ignore:.*_pytree.*")]
LOUD = "{% if is_loud %}LOUD {% endif %}" + language_models.TEMPLATE
KIND = {"num_numbers": 3, "largest_number": 6, "max_target": 20, "operators": "+-*"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model whose template has an argument."""
    lm = language_models.pretrained_like()
    tokenizer = copy.deepcopy(lm.tokenizer)
    tokenizer.chat_template = LOUD
    folder = tmp_path_factory.mktemp("model")
    lm.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def config_of(model: str, **changes: Any) -> RunConfig:
    given = dict(model=model, method="dr_grpo", text_format="chat", countdown=KIND, num_problems=4, group_size=2)
    given |= dict(prompts_per_step=2, micro_batch=4, steps=1, save_every=1, max_tokens=2, evaluation_problems=2)
    return RunConfig(**given | dict(evaluation_samples=1) | changes)


@pytest.mark.slow
def test_every_reader_of_a_prompt_sees_both(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss, the check before a run, the first completions and held-out problems."""
    config = config_of(model, system_prompt="Be brief.", chat_template={"is_loud": "true"})
    assert config.chat_template == {"is_loud": True}
    begins = "LOUD <|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
    seen: list[torch.Tensor] = []
    shown: list[dict[str, Any]] = []
    with problems.opened(config, model) as found:
        plan = preflight.check(config, model, found.train, found.known(), tmp_path)
        trained = run.make_trainer(config, model, found, tmp_path, shown.extend)
        kept = trained._compute_loss

        def compute_loss(model: Any, inputs: dict[str, Any]) -> Any:
            seen.extend(ids[mask > 0] for ids, mask in zip(inputs["prompt_ids"], inputs["prompt_mask"], strict=True))
            return kept(model, inputs)

        monkeypatch.setattr(trained, "_compute_loss", compute_loss)
        held = []
        sampled = callbacks._sampled
        monkeypatch.setattr(callbacks, "_sampled", lambda *args: held.extend(rows := sampled(*args)) or rows)
        run.run(trained, config, None)
    tokenizer = models.load_tokenizer(model)
    wanted = {tuple(models.prompt_ids(tokenizer, prompt)) for prompt in found.train.prompts}
    assert len(seen) == 4
    for ids in seen:
        assert tuple(ids.tolist()) in wanted
        assert tokenizer.decode(ids).startswith(begins)
    assert plan.longest_prompt == max(map(len, wanted))
    system = {"role": "system", "content": "Be brief."}
    assert all(row["prompt"][0] == system and row["prompt"][1]["role"] == "user" for row in shown)
    assert len(held) == 2 * len({row["problem"] for row in held})  # before the update and after
    assert all(row["prompt"][0] == system for row in held)


def test_without_them_nothing_changes_and_a_run_keeps_its_name(model: str) -> None:
    config = config_of(model)
    assert not {"system_prompt", "chat_template", "mini_batches"} & set(config.identity())
    assert config_of(model, system_prompt="Be brief.").identity()["system_prompt"] == "Be brief."
    with problems.opened(config, model) as found:
        assert not isinstance(found.train, InChat)
    changed = config_of(model, chat_template={"is_loud": True})
    with problems.opened(changed, model) as loud:
        tokenizer = models.load_tokenizer(model)
        plain, other = (models.prompt_ids(tokenizer, one.train.prompts[0]) for one in (found, loud))
        assert tokenizer.decode(other) == "LOUD " + tokenizer.decode(plain)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"system_prompt": "s", "text_format": "compact"},
            r"^system_prompt: 's': prompt .* is plain text: want messages, as with",
        ),
        ({"chat_template": {"a": 1}, "text_format": "compact"}, r"^chat_template: {'a': 1}: prompt .* is plain text"),
    ],
)
def test_prompts_that_are_no_chat_are_refused(model: str, changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line), problems.opened(config_of(model, **changes), model):
        pass


def test_a_second_system_message_is_refused(model: str, tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    (tmp_path / "own.jsonl").write_text(json.dumps({"prompt": messages, "answer": "c"}) + "\n")
    (tmp_path / "verifier.py").write_text("def is_correct(completion, answer):\n    return completion == answer\n")
    own = dict(task="own", problems=str(tmp_path / "own.jsonl"), problem_column="prompt", text_format="compact")
    own |= dict(verifier=f"{tmp_path / 'verifier.py'}:is_correct", countdown={}, system_prompt="s")
    with (
        pytest.raises(
            ValueError, match=r"^system_prompt: 's': prompt 'line 1' has a system message: want that or this$"
        ),
        problems.opened(config_of(model, **own), model),
    ):
        pass


@pytest.mark.parametrize("name", ["loud", "tokenize", "is_lou"])
def test_an_argument_that_the_template_does_not_have_is_refused(model: str, name: str, tmp_path: Path) -> None:
    """It would be taken without a word, or be one of the function's own."""
    config = config_of(model, chat_template={name: False})
    line = rf"^chat_template\.{name}: False: the chat template of .* has no such argument: want one it names$"
    with problems.opened(config, model) as found, pytest.raises(ValueError, match=line):
        preflight.check(config, model, found.train, found.known(), tmp_path)


def test_a_tokenizer_without_a_template_takes_no_arguments(tmp_path: Path) -> None:
    folder = str(language_models.saved(language_models.byte_model()))
    config = config_of(folder, chat_template={"is_loud": True})
    line = r"^chat_template: {'is_loud': True}: the tokenizer of .* has no chat template: want none$"
    with problems.opened(config, folder) as found, pytest.raises(ValueError, match=line):
        preflight.check(config, folder, found.train, found.known(), tmp_path)
