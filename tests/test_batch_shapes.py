"""The measurement of batch shapes: what it counts on made-up numbers, and what it finds of a small model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sharpening.llm.sampling.models import LanguageModel
from tests import training
from tests.tolerances import FLOAT64, PADDED

pytestmark = training.QUIET


def test_what_moved_is_counted_within_groups_and_between_different_completions() -> None:
    """Two groups: in the first the order of one pair of three changes, in the second both are the same completion."""
    from benchmarks import batch_shapes
    from benchmarks.batch_shapes import Drawn

    rows = [
        Drawn((1,), (2, 3), 0),
        Drawn((1,), (4,), 0),
        Drawn((1,), (5,), 0),
        Drawn((6,), (7,), 1),
        Drawn((6,), (7,), 1),
    ]
    first = [np.array(one) for one in ([-1.0, -2.0], [-1.0], [-4.0], [-2.0], [-2.0])]
    other = [np.array(one) for one in ([-1.0, -0.5], [-1.0], [-4.0], [-2.0], [-1.0])]
    found = batch_shapes.moved(rows, first, other)
    assert found.of_token == pytest.approx((1.5 + 1.0) / 6, rel=FLOAT64)
    assert (found.most_of_token, found.most_of_completion) == (1.5, 1.5)
    assert found.of_completion == pytest.approx((1.5 + 1.0) / 5, rel=FLOAT64)
    assert found.order == pytest.approx(1 / 3, rel=FLOAT64)
    spread = np.std([-1.5, -1.0, -4.0]) / 2  # that of the second group is 0
    assert batch_shapes.spread_of(rows, first) == pytest.approx(spread, rel=FLOAT64)
    assert found.term == pytest.approx((0.75 + 1.0) / 5 / spread, rel=FLOAT64)


def test_a_small_model_moves_little_in_float32_more_in_bfloat16_and_less_with_its_head_in_float32() -> None:
    """The numbers of a pass alone are those of a plain one; padding and order of a batch do not mix rows up."""
    from benchmarks import batch_shapes

    lm = LanguageModel(training.fresh_model(), training.language_model().tokenizer, torch.device("cpu"))
    rng = np.random.default_rng(0)
    prompts = [tuple(map(int, lm.tokenizer(text)["input_ids"])) for text in training.PROMPTS]
    rows = [
        batch_shapes.Drawn(prompts[at % 5], tuple(map(int, rng.integers(5, 20, rng.integers(1, 6)))), at % 5)
        for at in range(20)
    ]
    plain = []
    with torch.no_grad():
        for prompt, completion, _ in rows:
            logits = lm.model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
            plain.append((logits / 1.3).double().log_softmax(-1)[range(len(completion)), list(completion)].numpy())
    found, spread = batch_shapes.compared(lm, rows, 1.3)
    names = dict(found)
    assert len(names) == 8
    assert spread == pytest.approx(batch_shapes.spread_of(rows, plain), rel=PADDED)
    alone = batch_shapes.scored(lm, rows, 1, batch_shapes.KINDS[0])
    np.testing.assert_allclose(np.concatenate(alone), np.concatenate(plain), rtol=PADDED, atol=PADDED)
    for at_once in (8, 20):
        assert names[f"float32: {at_once} together"].most_of_token < PADDED
    against = {kind.name: names[f"{kind.name}: alone, against float32"].of_token for kind in batch_shapes.KINDS[1:]}
    assert against["bfloat16"] > against["bfloat16, head in float32"] > PADDED
    text = batch_shapes.table(found, spread, 0.05)
    assert len(text.splitlines()) == 10
