r"""What kind of expression an answer is, by SymPy's tree of it: a number worked out, or a formula of the problem.

1. Where the gold answer is a number that is not written in digits (\sqrt, \pi, e, i), an answer has no operation left
   whose outcome is rational, no two terms that are multiples of each other, no product of roots, of sums or of powers
   of one number, no power of a sum, no function that has a closed value.
2. Where the gold answer itself has such operations (\binom{9}{4}), an answer has none, or the same form.
3. A formula of the problem is no answer, however it is spaced or ordered, unless the gold answer has that form; nor is
   a number of the problem, where it is the only one there or the problem asks to write or convert something.
4. Where the problem says "expand" or "factor", an answer is multiplied out or factored as far as the gold answer.

All this is asked only of answers that math-verify finds equal to the gold answer.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from sympy import Add, Basic, Expr, I, MatrixBase, Mul, Number, Pow, Rational, Symbol, factorial
from sympy.core.function import AppliedUndef, Function
from sympy.core.relational import GreaterThan, Relational, StrictGreaterThan

from sharpening.llm.mathematics import notation

Parse = Callable[[str], Basic | None]

MOST_FORMULAS = 100  # of a problem
LONGEST_FORMULA = 400
LARGEST_POWER = 64  # exponents and factorials beyond are not evaluated to see whether two formulas are one

_OPERATIONS = re.compile(  # that a tree may no longer show
    r"\\(?:[dt]?binom|gcd|lcm|b?mod|pmod|div|lfloor|lceil|max|min|sum|prod|int|lim|det)(?![a-z])"
    r"|!|--|\+\s*[-+]|\bmod\b|[0-9)}]\s*\^\s*\{?\s*-\s*1(?![0-9])"
)
_DIVISION = re.compile(r"\\frac\{\s*(-?[0-9]+)\s*\}\s*\{\s*(-?[0-9]+)\s*\}|(?<![0-9.}])([0-9]+)\s*/\s*([0-9]+)")
_MATHEMATICS = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)
_PROSE = re.compile(r"(?:(?:\\[A-Za-z]+|\b[A-Za-z]\b|[0-9]+(?:[.,][0-9]+)*|[-+*/^=<>(){}\[\]|!%])\s*)+")
_SIDES = re.compile(r"(?<![\\<>!:])=|[<>]|\\(?:leq?|geq?|approx|equiv|in)(?![a-z])")
_OF_FORMULAS = re.compile(r"[-0-9+*/^=<>!|]|\\(?!text|math|mbox|\{|\}|\()")
_EXPAND = re.compile(r"\b(?:expand|multiply\s+out|without\s+(?:parenthes[ei]s|brackets))", re.IGNORECASE)
_CONVERT = re.compile(
    r"\b(?:(?:re)?write|express|convert|simplif\w+|reduced?|turn|round|lowest|simplest|equivalent|compute|evaluate"
    r"|(?:fraction|decimal|percent(?:age)?|notation)s?)\b",
    re.IGNORECASE,
)
_FACTOR = re.compile(r"\bfactor(?:i[sz]e|i[sz]ation|ed)?\b(?!\s+of)", re.IGNORECASE)
_UNSEEN = re.compile(r"[\s{}$]|\\(?:cdot|times|left|right|,|;|!|:)|\*")


def is_number(tree: Basic) -> bool:
    """Whether an expression has no variable but i and the one that it assigns."""
    if isinstance(tree, Relational) and isinstance(tree.lhs, Symbol):
        tree = tree.rhs
    return {str(symbol) for symbol in tree.free_symbols} <= {"i"} and not tree.atoms(AppliedUndef)


def is_worked_out(text: str, tree: Basic, gold_text: str, gold: Basic) -> bool:
    """Whether an answer has no operations that are still to be done, or those of the gold answer."""
    if not _has_operations(text, tree):
        return True
    return _has_operations(gold_text, gold) and (not is_number(gold) or has_form_of(tree, gold))


def _has_operations(text: str, tree: Basic) -> bool:
    """Whether operations are still to be done; of a number its text shows those that its tree does not."""
    is_product = bool(re.search(r"\\cdot|\\times|\*", text))
    if not is_number(tree):
        return _has_like_parts(tree, is_product)
    for found in _DIVISION.finditer(text):
        top, bottom = (int(part) for part in found.groups() if part)
        if bottom == 0 or top % bottom == 0:
            return True
    return bool(_OPERATIONS.search(text)) or _is_undone(tree, is_product)


def has_form_of(tree: Basic, other: Basic) -> bool:
    """Whether two expressions are written alike, but for the order of terms and factors."""
    return _key(tree) == _key(other)


def is_of_problem(problem: str, text: str, gold_text: str, tree: Basic, gold: Basic, parse: Parse) -> bool:
    """Whether a cleaned answer is a number or formula of the problem, which the gold answer is not.

    `parse` gives the expression of a formula, or None.
    """
    if not _OF_FORMULAS.search(text):
        return False
    number, gold_number = notation.written_out(text), notation.written_out(gold_text)
    if number is not None:
        is_gold = gold_number is not None and _bare(number) == _bare(gold_number)
        numbers = _numbers(problem)
        is_asked_about = len(numbers) == 1 or _CONVERT.search(problem)
        return not is_gold and bool(is_asked_about) and _bare(number) in numbers
    if has_form_of(tree, gold):
        return False
    plain = _UNSEEN.sub("", text)
    if len(plain) > 2 and plain in _UNSEEN.sub("", re.sub(r"\\[cdt]frac(?![a-z])", r"\\frac", problem)):
        return True
    written, combined = _forms(problem, parse)
    return _key(tree) in written or (_combined(tree) in combined and _combined(tree) != _combined(gold))


def is_formula_of(problem: str, text: str) -> bool:
    """Whether a cleaned text is a whole formula of the problem, which is asked for there."""
    plain = _UNSEEN.sub("", text)
    return any(plain == _UNSEEN.sub("", formula) for formula in _formulas(problem, are_sides_wanted=False))


def has_form_asked(problem: str, tree: Basic, gold: Basic) -> bool:
    """Whether an answer is multiplied out or factored as far as the gold answer, where the problem asks for it."""
    tree, gold = (each.rhs if isinstance(each, Relational) else each for each in (tree, gold))
    if is_number(gold) or not isinstance(tree, Expr) or not isinstance(gold, Expr):
        return True
    if _EXPAND.search(problem) and not _has_product_of_sums(gold):
        return not _has_product_of_sums(tree)
    if _FACTOR.search(problem) and (wanted := _num_factors(gold)) > 1:
        return _num_factors(tree) >= wanted and _content(tree) == _content(gold)
    return True


def _has_product_of_sums(tree: Basic) -> bool:
    """Whether a sum in it is a factor of something else than a number below it, or has a whole power."""
    if isinstance(tree, Mul):
        above, _ = _fraction_of(tree)
        if len(above) > 1 and any(isinstance(factor, Add) for factor in above):
            return True
    if isinstance(tree, Pow) and isinstance(tree.base, Add) and tree.exp.is_Integer and tree.exp > 1:
        return True
    return any(_has_product_of_sums(part) for part in tree.args)


def _num_factors(tree: Basic) -> int:
    """The number of factors that are no numbers, each as often as its power says."""
    factors = [factor.as_base_exp() for factor in (_flat(tree) if isinstance(tree, Mul) else (tree,))]
    return sum(int(power) if power.is_Integer else 1 for base, power in factors if base.free_symbols)


def _content(tree: Basic) -> Basic:
    """The number before its factors, without sign."""
    return abs(_evaluated(tree).as_coeff_Mul()[0])


@lru_cache(maxsize=256)
def _numbers(problem: str) -> frozenset[str]:
    """The numbers of a problem that stand alone."""
    found = map(notation.written_out, _formulas(problem))
    return frozenset(_bare(number) for number in found if number is not None)


@lru_cache(maxsize=256)
def _forms(problem: str, parse: Parse) -> tuple[frozenset[str], frozenset[str]]:
    """The formulas of a problem, as they are written and as SymPy combines them."""
    written, combined = set(), set()
    for formula in _formulas(problem):
        if not re.search(r"[-+*/^=<>!|(]|\\[a-z]|[0-9][A-Za-z]", formula) or notation.written_out(formula):
            continue
        with contextlib.suppress(Exception):  # of SymPy and its reader, which do not say which
            if (tree := parse(formula)) is not None:
                written.add(_key(tree))
                combined.add(_combined(tree))
    return frozenset(written), frozenset(combined)


def _formulas(problem: str, *, are_sides_wanted: bool = True) -> list[str]:
    """The formulas of a problem, and the sides of those that are relations; without these where they are not wanted."""
    marked = [next(part for part in found.groups() if part) for found in _MATHEMATICS.finditer(problem)]
    prose = [found[0] for found in _PROSE.finditer(_MATHEMATICS.sub(" ; ", problem))]
    sides = (
        side for formula in marked + prose for side in (formula, *(_SIDES.split(formula) if are_sides_wanted else ()))
    )
    cleaned = (notation.cleaned(side) for side in sides if len(side) <= LONGEST_FORMULA)
    return [text for text in dict.fromkeys(cleaned) if text][:MOST_FORMULAS]


def _bare(number: str) -> str:
    """A number that is written out, without names, percent signs, spaces and brackets around it."""
    bare = re.sub(r"\s|\\%", "", notation.unnamed(number))
    while found := re.fullmatch(r"(?:\+|\(|\[|\\\{)([^()\[\],]*?)(?:\)|\]|\\\})?", bare):
        bare = found[1]
    return bare


def _flat(tree: Basic) -> Iterator[Basic]:
    """The terms of a sum or the factors of a product, also those in sums or products within it."""
    for part in tree.args:
        if part.func == tree.func:
            yield from _flat(part)
        else:
            yield part


def _key(tree: Basic) -> str:
    """An expression as it is written, with terms, factors and sides in a fixed order, without + 0 and times 1."""
    if isinstance(tree, StrictGreaterThan | GreaterThan):
        return _key(tree.reversed)
    if not tree.args:
        return str(tree)
    kind = type(tree).__name__
    if isinstance(tree, Add | Mul):
        neutral = "0" if isinstance(tree, Add) else "1"
        parts = sorted(key for key in map(_key, _flat(tree)) if key != neutral)
        return parts[0] if len(parts) == 1 else f"{kind}({', '.join(parts)})"
    parts = [_key(part) for part in tree.args]
    return f"{kind}({', '.join(sorted(parts) if kind in ('Equality', 'FiniteSet') else parts)})"


def _combined(tree: Basic) -> str:
    """The key of an expression whose numbers and like terms SymPy has put together; no product is expanded."""
    return _key(_evaluated(tree))


def _evaluated(tree: Basic) -> Basic:
    if not tree.args:
        return tree
    parts = [_evaluated(part) for part in tree.args]
    is_power = isinstance(tree, Pow | factorial) and isinstance(parts[-1], Number)
    if isinstance(tree, Relational) or (is_power and not abs(parts[-1]) <= LARGEST_POWER):
        return tree
    try:
        return tree.func(*parts)
    except Exception:  # of SymPy, which does not say which
        return tree


def _has_like_parts(tree: Basic, is_product: bool) -> bool:
    """Whether a sum in it has terms, or a product factors, that are numbers or multiples of each other.

    A fraction that is not in lowest terms has none; with a sign of multiplication, 150 times pi/180, it has.
    """
    if isinstance(tree, Add):
        terms = [_evaluated(term) for term in _flat(tree) if term.is_commutative]
        if any((first / other).is_Rational for place, first in enumerate(terms) for other in terms[:place]):
            return True
    if isinstance(tree, Mul):
        (top, bottom), rest = _numbers_of(tree)
        if len(top) > 1 or len(bottom) > 1 or (1 in top + bottom and rest):
            return True
        if top and bottom and (bottom[0] == 0 or (top[0] / bottom[0]).is_Integer):
            return True
        if top and bottom and is_product and (top[0] / bottom[0]).q != bottom[0]:
            return True
    return any(_has_like_parts(part, is_product) for part in tree.args)


def _is_undone(tree: Basic, is_product: bool) -> bool:
    if isinstance(tree, Number) or not tree.args:
        return False
    if _has_like_parts(tree, is_product) or any(_is_undone(part, is_product) for part in tree.args):
        return True
    if isinstance(tree, Mul):
        return any(
            sum(isinstance(factor, Add) for factor in part) > 1
            or sum(_is_root(factor) for factor in part) > 1
            or len({factor.as_base_exp()[0] for factor in part}) < len(part)
            for part in _fraction_of(tree)
        )
    if isinstance(tree, Pow):
        return _is_power_undone(tree)
    is_known = isinstance(tree, Function) and not _evaluated(tree).has(tree.func)
    return is_known or type(tree).__name__ in ("Sum", "Product", "Integral", "Limit", "Derivative", "Abs", "Mod")


def _fraction_of(tree: Mul) -> tuple[list[Basic], list[Basic]]:
    """The factors above and below the line, but for -1."""
    above, below = [], []
    for factor in _flat(tree):
        if isinstance(factor, Pow) and factor.exp == -1:
            below += list(_flat(factor.base)) if isinstance(factor.base, Mul) else [factor.base]
        elif factor != -1:
            above.append(factor)
    return above, below


def _numbers_of(tree: Mul) -> tuple[tuple[list[Number], list[Number]], bool]:
    """The numbers above and below the line, and whether anything else is above it."""
    above, below = _fraction_of(tree)
    top, bottom = ([factor for factor in part if isinstance(factor, Number)] for part in (above, below))
    return (top, bottom), len(above) > len(top)


def _is_root(tree: Basic) -> bool:
    return isinstance(tree, Pow) and isinstance(tree.base, Number) and isinstance(tree.exp, Rational)


def _is_power_undone(tree: Pow) -> bool:
    """Whether a power has a rational value, or is one of a sum or root that could be multiplied out."""
    base, exponent = tree.args
    if isinstance(base, Number) and isinstance(exponent, Number):
        return exponent != -1 and bool(exponent.is_Integer or _evaluated(tree).is_Rational)
    is_whole = isinstance(exponent, Number) and exponent.is_Integer and exponent != -1
    return bool(is_whole) and (isinstance(base, Add | Mul | Pow | MatrixBase) or base == I or str(base) == "i")
