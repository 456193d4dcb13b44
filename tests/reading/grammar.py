"""What a row of marks means.  Mathematicians agree on this much, and nothing is taken for granted beyond it:

- Σ and Π extend over the product that follows, up to the next + or − beside them; a sign never follows a sign;
- a slash divides the product before it by the one mark after it, and nothing may follow that mark;
- log x takes brackets, or a number and a letter with which its term ends; sinh² x is the square of sinh x;
- numbers never stand behind a factor without a dot, a power of √x needs brackets, so does a power of log(x);
- a bound index is a new one: no letter means two things in one formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, TypeAlias

from mpmath import mp

from .marks import Bar, Big, Digits, Fence, Letter, Mark, Root, Row, Scripts, Sign, Unreadable
from .text import read_text

# Index letters (and integers that they stand for), and what a part of a formula is worth where they have values.
Scope: TypeAlias = Mapping[Mark, int]
Value: TypeAlias = Callable[[Scope], Any]

HOLES = "①②③④"
_FUNCTIONS = {
    name: getattr(mp, known)
    for name, known in {
        **{name: name for name in ("log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "coth")},
        "arsinh": "asinh",
        "arcosh": "acosh",
        "artanh": "atanh",
        "arcsin": "asin",
        "arccos": "acos",
        "arctan": "atan",
    }.items()
} | {"min": min, "max": max}
_RELATIONS = "=≤≥<>≠"
# By convention the letter of an index tells its range.
_TASKS, _HEADS = "ijmn", "hklp"


class Lexicon:
    """What names mean: each as it is printed, with ①, ② for its indices, and its value for the indices' values."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.names: list[tuple[Row, Callable[..., Any]]] = []
        self.functions: dict[Mark, Callable[..., Any]] = {}
        for name, size in sizes.items():
            self.add(read_text(name), lambda size=size: size)

    def add(self, row: Row, value: Callable[..., Any]) -> None:
        """A name."""
        match row:
            case (Scripts(base=Letter() | Fence("|"), sub=None, sup=(Digits("2"),)),):
                # The name is that of a square, σ²: other powers of it are powers of its root.
                self.names.append(((row[0].base,), lambda *indices: mp.sqrt(value(*indices))))
            case _:
                self.names.append((row, value))

    def add_array(self, row: Row, array: Any) -> None:
        """A name with indices that select an entry of an array, the first of which is entry 1."""

        def entry(*indices: int) -> Any:
            if not all(1 <= index <= size for index, size in zip(indices, array.shape, strict=True)):
                raise Unreadable(f"there is no entry {indices} of {row}")
            return array[tuple(index - 1 for index in indices)]

        self.add(row, entry)

    def is_scalar(self, mark: Mark) -> bool:
        return any(row == (mark,) for row, _ in self.names)

    def find(self, row: Row, place: int) -> tuple[Callable[..., Any], list[Row], Row | None, int] | None:
        """The name that stands at ``place``: its value, its indices, its exponent and the place behind it."""
        found = []
        for name, value in self.names:
            end = place + len(name)
            if end > len(row) or row[place : end - 1] != name[:-1]:
                continue
            matched = _match(name[-1], row[end - 1])
            if matched is not None:
                found.append((len(name), matched[1] is None, not matched[0], value, *matched, end))
        if not found:
            return None
        # The name that explains the most; d_e is a name of its own rather than entry e of d.
        most = max(entry[:3] for entry in found)
        best = [entry for entry in found if entry[:3] == most]
        if len(best) > 1:
            raise Unreadable(f"{row[place]} is more than one name")
        return best[0][3:]

    def covers(self, row: Row) -> Callable[..., Any] | None:
        """The value of a name that is printed as the whole row, signs and all."""
        return next((value for name, value in self.names if len(name) > 1 and name == row), None)


def _match(name: Mark, mark: Mark) -> tuple[list[Row], Row | None] | None:
    """The indices and the exponent with which ``mark`` is the name, or None."""
    if name == mark:
        return [], None
    if isinstance(name, Fence) and isinstance(mark, Fence):
        within = _match_rows(name.inside, mark.inside) if name.opening == mark.opening else None
        return None if within is None else (within, None)
    if not isinstance(mark, Scripts):
        return None
    base, sub, sup = (name.base, name.sub, name.sup) if isinstance(name, Scripts) else (name, None, None)
    if (base_matched := _match(base, mark.base)) is None:
        return None
    below = _pieces(sub), _pieces(mark.sub)
    above = ([], []) if sup is None else ([sup], [mark.sup or ()])
    if len(below[0]) != len(below[1]):
        return None
    indices = base_matched[0]
    for own, other in zip(below[0] + above[0], below[1] + above[1], strict=True):
        matched = _match_rows(own, other)
        if matched is None:
            return None
        indices += matched
    return indices, mark.sup if sup is None else None


def _match_rows(name: Row, row: Row) -> list[Row] | None:
    """The indices with which a row is that of the name, or None."""
    if _is_hole(name):
        return [_without_brackets(row)] if row else None
    if len(name) != len(row):
        return None
    matched = [_match(*pair) for pair in zip(name, row, strict=True)]
    if any(part is None or part[1] is not None for part in matched):
        return None
    return [index for part in matched for index in part[0]]


def _is_hole(row: Row | None) -> bool:
    match row:
        case (Letter(text),) | (Fence("(", (Letter(text),)),):
            return text in HOLES
    return False


def _without_brackets(row: Row) -> Row:
    match row:
        case (Fence("(", inside),):
            return inside
    return row


def _pieces(row: Row | None) -> list[Row]:
    """The indices of a subscript: between commas, or mark by mark."""
    if row is None:
        return []
    return _split(row, ",") if Sign(",") in row else [(mark,) for mark in row]


def _split(row: Row, signs: str) -> list[Row]:
    parts: list[list[Mark]] = [[]]
    for mark in row:
        if isinstance(mark, Sign) and mark.text in signs:
            parts.append([])
        else:
            parts[-1].append(mark)
    return [tuple(part) for part in parts]


def _starts_with_digit(mark: Mark) -> bool:
    match mark:
        case Digits() | Scripts(base=Digits()) | Bar(above=(Digits(), *_)):
            return True
    return False


class Grammar:
    """The meaning of rows, with the names of a lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon

    def sides(self, row: Row) -> list[Value]:
        """The sides of a chain of equations or inequalities."""
        return [self.total(side) for side in _split(row, _RELATIONS)]

    def total(self, row: Row) -> Value:
        """A signed sum."""
        whole = self.lexicon.covers(row)
        if whole is not None:
            return lambda scope: mp.mpf(whole())
        terms: list[tuple[int, Row]] = []
        sign, start = 1, 0
        for place, mark in enumerate((*row, Sign("+"))):
            if mark not in (Sign("+"), Sign("−")):
                continue
            if place > start:
                terms.append((sign, row[start:place]))
            elif place > 0 or mark == Sign("+"):
                raise Unreadable(f"a sign without its term in {row}")
            sign, start = -1 if mark == Sign("−") else 1, place + 1
        values = [(sign, self.product(term)) for sign, term in terms]
        return lambda scope: mp.fsum(sign * value(scope) for sign, value in values)

    def product(self, row: Row) -> Value:
        """Factors side by side, and what a slash divides them by."""
        factors: list[Value] = []
        place, dotted = 0, False
        while place < len(row):
            mark = row[place]
            if isinstance(mark, Sign):
                if mark.text not in "·×/" or not factors or dotted:
                    raise Unreadable(f"{mark.text} between factors")
                if mark.text == "/":
                    return self.quotient(factors, row[place + 1 :])
                dotted = True
                place += 1
                continue
            if factors and not dotted and _starts_with_digit(mark):
                raise Unreadable("a number behind another factor")
            factor, place = self.factor(row, place)
            factors.append(factor)
            dotted = False
        if dotted or not factors:
            raise Unreadable("a factor is missing")
        return factors[0] if len(factors) == 1 else lambda scope: mp.fprod(factor(scope) for factor in factors)

    def quotient(self, factors: Sequence[Value], row: Row) -> Value:
        known = row and self.is_function(row[0]) and row[0] not in self.lexicon.functions
        if not row or isinstance(row[0], Big) or known:
            raise Unreadable("what does the slash divide by?")
        below, end = self.factor(row, 0)
        if end != len(row):
            raise Unreadable("something follows what the slash divides by")
        return lambda scope: mp.fprod(factor(scope) for factor in factors) / below(scope)

    def factor(self, row: Row, place: int) -> tuple[Value, int]:
        """The factor that stands at ``place``, and the place behind it."""
        mark = row[place]
        if isinstance(mark, Big):
            return self.big(mark, self.product(row[place + 1 :])), len(row)
        if self.is_function(mark):
            return self.application(row, place)
        if (name := self.lexicon.find(row, place)) is not None:
            value, indices, exponent, end = name
            entries = [self.index(index) for index in indices]
            return self.raised(lambda scope: mp.mpf(value(*(entry(scope) for entry in entries))), exponent), end
        return self.unit(mark), place + 1

    def raised(self, base: Value, exponent: Row | None) -> Value:
        if exponent is None:
            return base
        match exponent:
            case (Fence("("),):
                raise Unreadable("brackets above mark an index, not an exponent")
        power = self.total(exponent)
        return lambda scope: base(scope) ** power(scope)

    def unit(self, mark: Mark) -> Value:
        match mark:
            case Digits(text):
                return lambda scope: mp.mpf(text)
            case Letter("e" | "π" as constant):
                return lambda scope: _constant(constant, scope)
            case Bar(above, below):
                above, below = self.total(above), self.total(below)
                return lambda scope: above(scope) / below(scope)
            case Root(inside, bare):
                if bare:
                    self.bare_root(inside)
                radicand = self.total(inside)
                return lambda scope: mp.sqrt(radicand(scope))
            case Fence("(" | "[", inside):
                return self.total(inside)
            case Fence("|", inside):
                size = self.total(inside)
                return lambda scope: abs(size(scope))
            case Scripts(base=Letter("δ"), sub=sub, sup=exponent) if len(_pieces(sub)) == 2:
                first, second = map(self.index, _pieces(sub))
                return self.raised(lambda scope: mp.mpf(first(scope) == second(scope)), exponent)
            case Scripts(base=Letter("e" | "π") | Digits() | Fence("(" | "[" | "|") | Root(bare=False), sub=None):
                return self.raised(self.unit(mark.base), mark.sup)
            case Letter() | Scripts(base=Letter(), sup=None):
                return lambda scope: mp.mpf(_looked_up(mark, scope))
            case Scripts(base=Letter() as letter, sub=None):
                return self.raised(lambda scope: mp.mpf(_looked_up(letter, scope)), mark.sup)
        raise Unreadable(f"what is {mark}?")

    def bare_root(self, inside: Row) -> None:
        found = self.lexicon.find(inside, 0)
        if found is None or found[2] is not None:
            raise Unreadable("does the root or the exponent come first?")

    def is_function(self, mark: Mark) -> bool:
        match mark:
            case Letter(name) | Scripts(base=Letter(name), sub=None) if name in _FUNCTIONS:
                return True
        return mark in self.lexicon.functions

    def application(self, row: Row, place: int) -> tuple[Value, int]:
        """A function and what it is taken of; f(x)² is the square of f(x), but log(x)² might be that of either."""
        mark, rest = row[place], row[place + 1 :]
        exponent: Row | None = None
        function = self.lexicon.functions.get(mark)
        if function is None:
            name, exponent = (mark.base.text, mark.sup) if isinstance(mark, Scripts) else (mark.text, None)
            function = _FUNCTIONS[name]
        elif rest and isinstance(rest[0], Scripts) and rest[0].sub is None:
            rest, exponent = (rest[0].base, *rest[1:]), rest[0].sup
        match rest:
            case (Fence("(" | "[" as opening, inside), *_) if opening == "(" or mark in self.lexicon.functions:
                taken = 1
                arguments = [self.total(part) for part in _split(inside, ",")]
            case (Digits(), Letter() | Scripts(base=Letter())) | (Digits() | Letter() | Scripts(base=Letter()),):
                taken = len(rest)
                arguments = [self.product(tuple(rest))]
            case _:
                raise Unreadable(f"what is {mark} taken of?")

        def value(scope: Scope) -> Any:
            return function(*(argument(scope) for argument in arguments))

        return self.raised(value, exponent), place + 1 + taken

    # Indices and what runs over them

    def index(self, row: Row) -> Callable[[Scope], int]:
        """An index: a letter in scope, a number, or a sum of such."""
        match row:
            case (Digits(text),):
                return lambda scope: int(text)
            case (Letter() | Scripts(base=Letter()) as letter,) if not self.lexicon.is_scalar(letter):
                return lambda scope: _looked_up(letter, scope)
        return self.sum_of_indices(row)

    def sum_of_indices(self, row: Row) -> Callable[[Scope], int]:
        parts = [self.index((mark,)) if self.is_index(mark) else None for mark in row]
        if all(part is None for part in parts):
            total = self.total(row)
            return lambda scope: int(total(scope))
        signs, entries = row[1::2], row[0::2]
        if any(sign not in (Sign("+"), Sign("−")) for sign in signs) or len(entries) != len(signs) + 1:
            raise Unreadable(f"the index {row}")
        values = [self.index((entry,)) for entry in entries]
        factors = [1, *(1 if sign == Sign("+") else -1 for sign in signs)]
        return lambda scope: sum(factor * value(scope) for factor, value in zip(factors, values, strict=True))

    def is_index(self, mark: Mark) -> bool:
        return isinstance(mark, Letter | Scripts) and not self.lexicon.is_scalar(mark)

    def big(self, mark: Big, body: Value) -> Value:
        below = mark.below
        lower: Callable[[Scope], int] | None = None
        if Sign("=") in below:
            below, first = _split(below, "=")
            lower = self.index(first)
        letters = _split(below, ",")
        if (mark.above is None) != (lower is None) or any(len(letter) != 1 for letter in letters):
            raise Unreadable(f"the range of {mark}")
        bound = [letter for (letter,) in letters]
        if len(set(bound)) < len(bound) or any(map(self.lexicon.is_scalar, bound)):
            raise Unreadable(f"a letter of {mark} means two things")
        uppers = [self.conventional(letter) if mark.above is None else self.index(mark.above) for letter in bound]

        def value(scope: Scope) -> Any:
            if set(bound) & set(scope):
                raise Unreadable(f"a letter of {mark} is in use around it")
            start = 1 if lower is None else lower(scope)
            ranges = [range(start, upper(scope) + 1) for upper in uppers]
            scopes = ({**scope, **dict(zip(bound, place, strict=True))} for place in product(*ranges))
            values = (body(inner) for inner in scopes)
            return mp.fsum(values) if mark.sign == "Σ" else mp.fprod(values)

        return value

    def conventional(self, letter: Mark) -> Callable[[Scope], int]:
        stem = letter.base if isinstance(letter, Scripts) else letter
        if isinstance(stem, Letter) and stem.text in _TASKS:
            return lambda scope: self.lexicon.sizes["I"]
        if isinstance(stem, Letter) and stem.text in _HEADS:
            return lambda scope: self.lexicon.sizes["H"]
        raise Unreadable(f"over what does {letter} run?")


def _constant(letter: str, scope: Scope) -> Any:
    if Letter(letter) in scope:
        raise Unreadable(f"{letter} is a number and an index")
    return mp.e if letter == "e" else mp.pi


def _looked_up(letter: Mark, scope: Scope) -> int:
    if letter not in scope:
        raise Unreadable(f"{letter} stands for nothing here")
    return scope[letter]


def scope_of(indices: Mapping[str, int] | Iterable[tuple[str, int]]) -> Scope:
    """A scope from index letters as text."""
    return {read_text(name)[0]: value for name, value in dict(indices).items()}
