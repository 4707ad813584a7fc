"""Models that tests share: one of Countdown, trained in a few seconds (Q about .1, half-learnt), and one of bytes."""

import atexit
import functools
import tempfile
from pathlib import Path

import tokenizers
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.utils.logging import disable_progress_bar

from sharpening.llm.countdown import formats, problems
from sharpening.llm.countdown.problems import Problem
from sharpening.llm.sampling import models
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.training import warm_start

SETTINGS = problems.Settings(num_numbers=3, largest_number=6, max_target=20, operators="+-*")
CONFIG = warm_start.WarmStart(
    architecture="qwen3",
    width=48,
    layers=2,
    problems=SETTINGS,
    pool=200,
    skew=1.0,
    steps=200,
    batch=64,
    learning_rate=5e-3,
    seed=0,
)
_MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8}
_DELTA = {"linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
_ATTENTION = {"intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
_MIXED = {**_ATTENTION, "layer_types": ["linear_attention", "full_attention"], "head_dim": 16, "num_experts_per_tok": 1}
RECURRENT = {  # models that keep the states of a recurrence or convolution: what each needs beside the usual sizes
    "mamba": {"state_size": 8},
    "rwkv": {"attention_hidden_size": 32, "context_length": 64},
    "falcon_h1": {**_ATTENTION, **_MAMBA, "mamba_d_ssm": 64, "head_dim": 16},
    "qwen3_next": {
        **(_MIXED | _DELTA),
        "num_experts": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
    "minimax": {**_MIXED, "num_local_experts": 2, "block_size": 8},
    "lfm2": {**_ATTENTION, "layer_types": ["conv", "full_attention"]},
}


@functools.cache
def recurrent_model(kind: str) -> LanguageModel:
    """An untrained model of the words of Countdown whose next words are far from equally likely."""
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()  # of kernels that are not installed
    tokenizer = warm_start.make_tokenizer(20)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "bos_token_id": None}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = transformers.AutoConfig.for_model(kind, **sizes, **ends, **RECURRENT[kind])
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(3)
    model.generation_config = models.plain_sampling(None, tokenizer)
    return LanguageModel(model, tokenizer, torch.device("cpu"))


@functools.cache
def small_model() -> LanguageModel:
    """A model of problems with 3 numbers of 1-6, operators + - * and targets 1-20; not to be changed."""
    torch.set_num_threads(1)
    lm = warm_start.make_model(CONFIG)
    for _ in warm_start.train(lm, CONFIG):
        pass
    return lm


@functools.cache
def saved_model() -> Path:
    """The folder of the same model, as save_pretrained writes it; it goes when the process ends."""
    return saved(small_model())


def saved(lm: LanguageModel) -> Path:
    """A new folder with a model."""
    folder = tempfile.TemporaryDirectory(prefix="small-model-")
    atexit.register(folder.cleanup)
    disable_progress_bar()  # tests read what is printed
    lm.model.save_pretrained(folder.name)
    lm.tokenizer.save_pretrained(folder.name)
    return Path(folder.name)


@functools.cache
def byte_model() -> LanguageModel:
    """A model whose tokenizer has all bytes and a few merges: an answer has several spellings."""
    torch.set_num_threads(1)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=262,
        special_tokens=["<eos>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["1 2 +", "2 1 -", "1 2 *", "<answer>"] * 9, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>")
    config = Qwen3Config(
        vocab_size=len(wrapped),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        eos_token_id=wrapped.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(config)
    return LanguageModel(model.eval(), wrapped, torch.device("cpu"))


SPELLED = (Problem((3, 1), 4), Problem((5, 2), 3), Problem((4, 6), 10), Problem((2, 6), 12))  # that a model was taught


@functools.cache
def spelling_model(spelling: str, *, is_cut: bool = False) -> LanguageModel:
    """A model with a byte-pair tokenizer, taught one answer to four problems in a spelling such as " {} {} {}".

    With `is_cut` it was taught them in single characters as often as in the tokenizer's own tokens.
    """
    torch.set_num_threads(1)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    prompts = [formats.compact_prompt(one.numbers, one.target) for one in SPELLED]
    signs = {4: "+", 3: "-", 10: "+", 12: "*"}
    answers = [spelling.format(*one.numbers, signs[one.target]) for one in SPELLED]
    tokenizer.train_from_iterator([one + two for one, two in zip(prompts, answers, strict=True)], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    end = wrapped.eos_token_id
    rows = [(wrapped(one)["input_ids"], wrapped(two)["input_ids"]) for one, two in zip(prompts, answers, strict=True)]
    if is_cut:
        single = [[wrapped(sign)["input_ids"][0] for sign in two] for two in answers]
        rows += [(one, two) for (one, _), two in zip(rows, single, strict=True)]
    longest = max(len(one) + len(two) for one, two in rows) + 1
    ids = torch.tensor([[*one, *two, *[end] * (longest - len(one) - len(two))] for one, two in rows])
    labels = torch.full_like(ids, -100)
    for row, (one, two) in enumerate(rows):
        labels[row, len(one) : len(one) + len(two) + 1] = ids[row, len(one) : len(one) + len(two) + 1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(
            Qwen3Config(vocab_size=len(wrapped), num_key_value_heads=2, head_dim=16, eos_token_id=end, **sizes)
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(80):
            optimizer.zero_grad()
            model(ids, labels=labels).loss.backward()
            optimizer.step()
    model.generation_config = models.plain_sampling(None, wrapped)
    return LanguageModel(model.eval(), wrapped, torch.device("cpu"))


TEMPLATE = (  # as that of SmolLM2, without its system prompt
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@functools.cache
def pretrained_like() -> LanguageModel:
    """Random weights in the architecture and with the kind of tokenizer of SmolLM2; " 1", "10" and " +" are tokens."""
    torch.set_num_threads(1)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["numbers 10 12 5 target 12 10 12 - 5 + * 2 4"] * 9, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>", chat_template=TEMPLATE
    )
    config = LlamaConfig(
        vocab_size=len(wrapped),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        rope_parameters={"rope_theta": 10_000.0, "rope_type": "default"},
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=wrapped.eos_token_id,
        pad_token_id=wrapped.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.generation_config = models.plain_sampling(None, wrapped)
    return LanguageModel(model.eval(), wrapped, torch.device("cpu"))
