"""Answer tables: what is read back, and for every fault the one line that names place, column, value and remedy."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpening.samples import answers
from sharpening.theory import policies
from tests.tolerances import FLOAT64

HEADER = "want a header of the columns answer, correct, and probability or count, separated by commas"
QUOTES = "want every quote closed, and doubled inside"
COUNTED = "answer,count,correct\n"
WEIGHED = "answer,probability,correct\n"

# Any text is an answer, but for lone surrogates, which no UTF-8 file holds, and the null byte, which is refused.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def read(text: str) -> answers.AnswerTable:
    return answers.read_answers(io.StringIO(text, newline=""), "base.csv")


def as_csv(*rows: tuple[object, ...], end: str = "\n") -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    return stream.getvalue()


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Rows (answer, count, correct) with distinct answers, at least one of each label."""
    names = draw(st.lists(texts, min_size=2, max_size=12, unique=True))
    labels = [1, 0, *draw(st.lists(st.integers(0, 1), min_size=len(names) - 2, max_size=len(names) - 2))]
    sizes = st.one_of(st.integers(1, 5), st.integers(1, 2**53))
    return [(name, draw(sizes), label) for name, label in zip(names, labels, strict=True)]


@given(tables(), st.permutations(["answer", "count", "correct"]), st.sampled_from(["\n", "\r\n"]))
def test_a_table_of_counts_is_read_back(rows: list[tuple[str, int, int]], columns: list[str], end: str) -> None:
    """Whatever the answers hold (quotes, commas, line breaks), in any column order and with either line end."""
    named = [dict(zip(("answer", "count", "correct"), row, strict=True)) for row in rows]
    table = read(as_csv(tuple(columns), *(tuple(row[column] for column in columns) for row in named), end=end))
    counts = {answer: count for answer, count, _ in rows}
    assert sorted(table.answers) == sorted(counts)
    assert [counts[answer] for answer in table.answers] == sorted(counts.values(), reverse=True)
    labels = {answer: float(label) for answer, _, label in rows}
    assert table.problem.correct.tolist() == [labels[answer] for answer in table.answers]
    expected = np.array([counts[answer] for answer in table.answers]) / sum(counts.values())
    np.testing.assert_allclose(np.exp(table.problem.base_log_policy), expected, rtol=FLOAT64)
    assert table.num_samples == pytest.approx(sum(counts.values()), rel=FLOAT64)
    assert table.num_singletons == list(counts.values()).count(1)
    assert labels[table.likeliest_correct] == 1
    assert counts[table.likeliest_correct] == max(count for _, count, label in rows if label)


@given(st.lists(st.floats(-20.0, 20.0), min_size=2, max_size=12))
def test_probabilities_and_their_logits_agree(logits: list[float]) -> None:
    """Printed in full, a softmax of logits is read back; probabilities carry no number of samples."""
    policy = np.exp(policies.log_softmax(logits))
    rows = [(f"answer {arm}", repr(float(p)), int(arm == 0)) for arm, p in enumerate(policy)]
    table = read(as_csv(("answer", "probability", "correct"), *rows))
    order = [int(answer.split()[1]) for answer in table.answers]
    np.testing.assert_allclose(np.exp(table.problem.base_log_policy), policy[order], rtol=FLOAT64)
    assert (np.diff(table.problem.base_log_policy) <= 0).all()
    assert (table.num_samples, table.num_singletons) == (None, 0)


def test_ties_keep_the_order_of_the_file() -> None:
    names = [f"answer {(7 * k) % 40}" for k in range(40)]
    table = read(COUNTED + "".join(f"{name},{2 + k % 2},{k % 2}\n" for k, name in enumerate(names)))
    assert table.answers == (*names[1::2], *names[::2])


@pytest.mark.parametrize("label", ["1", "1.0", "true", "True", "TRUE", " 1 ", "0", "0.0", "false", "False"])
def test_labels_that_are_accepted(label: str) -> None:
    other = "0" if label.strip().lower() in ("1", "1.0", "true") else "1"
    table = read(f"{COUNTED}a,2,{label}\nb,1,{other}\n")
    assert table.problem.correct.tolist() == [1 - float(other), float(other)]


@pytest.mark.parametrize(
    "text",
    [
        "answer, count, correct\nab, 3, 1\nb, 1, 0\n",  # spaces after commas
        "answer,count,correct\r\nab,3,1\r\nb,1,0\r\n",
        "answer,count,correct\nab,3,1\n\nb,1,0\n\n",  # blank lines
        "\nanswer,count,correct\nab,3,1\nb,1,0",  # no end of the last line
        '"answer","count","correct"\n"ab","3","1"\n"b","1","0"\n',
        "count,correct,answer\n3.0,1,ab\n1e0,0,b\n",
    ],
)
def test_spellings_of_one_table(text: str) -> None:
    table = read(text)
    assert (table.answers, table.num_samples, table.num_singletons) == (("ab", "b"), 4, 1)


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_an_unquoted_answer_may_hold_what_only_python_takes_for_a_line_end(separator: str) -> None:
    assert read(f"{COUNTED}a{separator}b,3,1\nb,1,0\n").answers == (f"a{separator}b", "b")


REFUSED = {
    "": f"base.csv: the file is empty: {HEADER}",
    "\n\n": f"base.csv: the file is empty: {HEADER}",
    "a,3,1\nb,1,0\n": f"base.csv line 1: unknown column 'a': {HEADER}",
    "answer;count;correct\na;3;1\n": f"base.csv line 1: unknown column 'answer;count;correct': {HEADER}",
    "\nAnswer,count,correct\n": f"base.csv line 2: unknown column 'Answer': {HEADER}",
    "answer,count\na,1\n": f"base.csv line 1: no column 'correct': {HEADER}",
    "count,correct\n1,1\n": f"base.csv line 1: no column 'answer': {HEADER}",
    "answer,correct\na,1\n": "base.csv line 1: neither column 'probability' nor 'count': want one of them",
    "answer,count,probability,correct\n": "base.csv line 1: both columns 'probability' and 'count': want one of them",
    "answer,count,correct,count\n": f"base.csv line 1: column 'count' is there twice: {HEADER}",
    COUNTED: "base.csv: column correct marks 0 of 0 answers: want at least one correct and one wrong answer",
    COUNTED
    + "a,1,1\n": "base.csv: column correct marks 1 of 1 answers: want at least one correct and one wrong answer",
    COUNTED + "a,1,0\nb,1,0\n": "base.csv: column correct marks 0 of 2 answers: want at least one correct and one "
    "wrong answer",
    COUNTED + "a,1,1\nb,1,1\n": "base.csv: column correct marks 2 of 2 answers: want at least one correct and one "
    "wrong answer",
    COUNTED + "a,1,1\nb,1,0\na,2,0\n": "base.csv line 4: answer 'a' is there before: want one row per distinct answer",
    COUNTED + "a,1\n": "base.csv line 2: 2 fields: want 3, one for each of answer, count, correct",
    COUNTED + "a,b,1,1\n": "base.csv line 2: 4 fields: want 3, one for each of answer, count, correct "
    "(an answer that has a comma needs quotes)",
    COUNTED + '"a\nb",1,0\n"c,1,1\nd,1,1\n': f"base.csv line 4: malformed CSV: unexpected end of data: {QUOTES}",
    COUNTED + '"a"b,1,1\n': f"base.csv line 2: malformed CSV: ',' expected after '\"': {QUOTES}",
    COUNTED + "a\0,1,1\n": "base.csv line 2: it has a null byte: want UTF-8 text",
    WEIGHED + "a,0.5,1\nb,0.4,0\n": "base.csv: probability sums to 0.9: it must sum to 1 within 2e-06",
    WEIGHED + "a,0.5,1\nb,0.50001,0\n": "base.csv: probability sums to 1.00001: it must sum to 1 within 2e-06",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=[repr(text)[-30:] for text in REFUSED])
def test_a_faulty_table_is_refused_by_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^base\.csv") as raised:
        read(text)
    assert str(raised.value) == message


NUMBER = "want a number"
POSITIVE = "want a finite number above 0"
ZERO = f"{POSITIVE} (drop answers of probability zero)"
INTEGER = "want an integer up to 2**53"
AT_MOST_ONE = "want at most 1 (for counts name the column count)"
BAD_WEIGHTS = [
    *(("probability", text, NUMBER) for text in ("", " ", "abc", "50%", "1/2", "0x1", "True", "½")),
    *(("probability", text, POSITIVE) for text in ("-0.1", "nan", "inf", "-inf", "1e999", "-1e-300")),
    *(("probability", text, ZERO) for text in ("0", "0.0", "-0", "1e-400")),
    *(("probability", text, AT_MOST_ONE) for text in ("50", "1e308", "1.00001")),
    *(("count", text, NUMBER) for text in ("", "one", "1O")),
    *(("count", text, POSITIVE) for text in ("-1", "nan", "inf", "-inf")),
    *(("count", text, ZERO) for text in ("0", "0.0")),
    *(("count", text, INTEGER) for text in ("1.5", "0.1", "9007199254740994", "1e300")),
]


@pytest.mark.parametrize(("column", "text", "wanted"), BAD_WEIGHTS)
def test_a_bad_weight_is_named_with_its_line(column: str, text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=r"^base\.csv") as raised:
        read(
            f"answer,{column},correct\na,0.5,1\nb,{text},0\n"
            if column == "probability"
            else f"{COUNTED}a,5,1\nb,{text},0\n"
        )
    assert str(raised.value) == f"base.csv line 3: {column} is {text!r}: {wanted}"


@pytest.mark.parametrize("label", ["2", "-1", "", "0.5", "nan", "yes", "T", "correct"])
def test_a_bad_label_is_named_with_its_line(label: str) -> None:
    with pytest.raises(ValueError, match=r"^base\.csv") as raised:
        read(f"{COUNTED}a,5,1\nb,1,{label}\n")
    assert str(raised.value) == f"base.csv line 3: correct is {label!r}: want 0, 1, true or false"


@pytest.mark.slow
@given(st.one_of(st.text(max_size=60), texts.map(lambda text: COUNTED + text), texts.map(lambda text: WEIGHED + text)))
def test_any_text_is_a_table_or_one_line(text: str) -> None:
    """No other exception, and every message starts with the file's name and stays on one line."""
    message = ""
    try:
        assert len(read(text).answers) >= 2
    except ValueError as error:
        message = str(error)
    assert re.fullmatch("(base[.]csv.+)?", message)


def test_a_sum_that_is_one_but_for_its_last_printed_digit_is_accepted_and_normalised() -> None:
    table = read(WEIGHED + "a,0.333333,1\nb,0.3333333,0\nc,0.333333,0\n")
    assert np.exp(table.problem.base_log_policy).sum() == pytest.approx(1, rel=FLOAT64)


def test_the_file_is_named_as_it_is_also_where_its_name_is_that_of_an_argument() -> None:
    with pytest.raises(ValueError, match=r"^base_policy: probability sums to"):
        answers.read_answers([WEIGHED, "a,0.5,1\n", "b,0.4,0\n"], "base_policy")


def test_reading_leaves_the_csv_module_as_it_was() -> None:
    before = csv.field_size_limit()
    answers.read_answers([COUNTED, "a,5,1\n", "b,4,0\n"], "base.csv")
    assert csv.field_size_limit() == before


def test_a_field_that_is_too_long_is_refused_and_a_long_answer_is_not() -> None:
    assert len(read(f"{COUNTED}{'a' * 100_000},5,1\nb,4,0\n").answers[0]) == 100_000
    with pytest.raises(ValueError, match=r"^base.csv line 2: malformed CSV: field larger than field limit"):
        read(f"{COUNTED}{'a' * 200_000},5,1\nb,4,0\n")
