"""Qwen2.5-Math's evaluation (also of limit-of-RLVR, SimpleRL, One-Shot-RLVR): a row a problem, a list entry a sample.

| field | type | meaning |
|---|---|---|
| idx | number | the problem |
| question | text | its text: another text under the same idx is another data set |
| gt, gt_cot, answer | | the right answer (never read as the model's) |
| code | list of text | the samples |
| pred | list of text | their final answers |
| score | list of marks | whether each is correct |
| report | list of null | not read |

One model often has several files, one a random seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sharpening.samples.formats import fields as shared
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row
from sharpening.samples.tally import Record

NEEDED = ({"idx", "pred", "score"}, {"question", "pred", "score"})


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the rows."""
    return shared.list_format(
        rows,
        fields,
        found,
        problem="idx",
        metric="score",
        answer="pred",
        document="question",
        texts=("code",),
    )
