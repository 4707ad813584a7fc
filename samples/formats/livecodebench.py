"""LiveCodeBench's `*_eval_all.json`: one JSON list, an object a problem, a list entry a sample.

| field | type | meaning |
|---|---|---|
| question_id | text | the problem |
| output_list | list of text | the samples |
| code_list | list of text | the code taken from them |
| graded_list | list of marks | whether each is correct |
| pass@1, metadata, question_title, ... | | not read |

There is no answer. The file from before the evaluation has no `graded_list`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sharpening.samples.formats import fields as shared
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row
from sharpening.samples.tally import Record

NEEDED = ({"question_id", "graded_list"}, {"question_id", "output_list"}, {"question_id", "code_list"})


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the rows."""
    wanted = "the *_eval_all.json that the evaluation writes"
    return shared.list_format(
        shared.evaluated(rows, fields, "graded_list", wanted),
        fields,
        found,
        problem="question_id",
        metric="graded_list",
        answer=None,
        texts=("output_list", "code_list"),
    )
