"""Printed formulas mean what they stand for: read back from every back end, they have the value of the expression.

The readers (``reading``) know nothing of the printing room.  What they find ambiguous counts as wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
import sympy as sp
from mpmath import mp
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

import any_formula as drawn
from headflow import theory
from headflow.theory import notation as n
from headflow.theory.indexed import Definition, gradient, normalise
from headflow.theory.indexed.factoring import factored
from headflow.theory.presentation.catalogue import derivations
from headflow.theory.printing import aligned_html, aligned_latex, aligned_text, sum_legend, to_latex, to_mathml, to_text
from headflow.theory.statements import statements
from index_expressions import DEFINITIONS, B, Q, R, X, numbers
from oracles import bruteforce
from reading.grammar import HOLES, Grammar, Lexicon, scope_of
from reading.latex import read_latex
from reading.marks import Fence, Letter, Row, Scripts, Sign, Unreadable
from reading.mathml import read_mathml
from reading.text import read_text

SIZES = {"I": 2, "H": 3}
DIGITS = 40

# Print, and what reads it: one line, and lines so narrow that much is torn.
Printer = Callable[..., str]
BACK_ENDS: dict[str, tuple[Printer, Callable[[str], Row]]] = {
    "text": (to_text, read_text),
    "LaTeX": (to_latex, read_latex),
    "MathML": (to_mathml, read_mathml),
    "lines of text": (lambda e, limits: aligned_text([e], width=18, limits=limits), read_text),
    "lines of LaTeX": (lambda e, limits: aligned_latex([e], width=12, limits=limits), read_latex),
    "lines of MathML": (lambda e, limits: aligned_html([e], width=12, limits=limits), read_mathml),
}


@pytest.fixture(scope="module", autouse=True)
def precision():
    with mp.workdps(DIGITS):
        yield


def point(seed: int) -> dict[str, Any]:
    """A value for every name that formulas are drawn with."""
    values = {**numbers(SIZES["I"], SIZES["H"], seed), "sigma2": 0.7, "d_e": 1.3}
    return {name: value if name in SIZES else bruteforce.to_mpf(value) for name, value in values.items()}


def lexicon(values: dict[str, Any]) -> Lexicon:
    words = Lexicon(SIZES)
    for name, printed in drawn.PRINTED.items():
        words.add_array(read_text(printed), values[name])
    for name, printed in drawn.SCALARS.items():
        words.add(read_text(printed), lambda value=values[name]: value)
    return words


def free_in(formula: sp.Expr) -> set[sp.Symbol]:
    """Indices that occur outside the sums that bind them."""
    if isinstance(formula, sp.Indexed | sp.KroneckerDelta):
        entries = formula.indices if isinstance(formula, sp.Indexed) else formula.args[:2]
        return {entry for entry in entries if isinstance(entry, sp.Symbol)}
    inner = set().union(*(free_in(part) for part in formula.args if isinstance(part, sp.Expr)))
    return inner - set(formula.variables) if isinstance(formula, sp.Sum | sp.Product) else inner


def free_places(formula: sp.Expr) -> dict[str, int]:
    """Where a formula is evaluated: the indices that are free in it."""
    return {index.name: place for index, place in ((n.i, 2), (n.h, 3)) if index in free_in(formula)}


def agree(found: Any, expected: Any) -> bool:
    return bool(abs(found - expected) <= mp.mpf(10) ** (-DIGITS // 2) * (1 + abs(expected)))


def misprints(formula: sp.Expr, expected: Any, meaning: Grammar, limits: bool) -> list[str]:
    """What each back end gets wrong of a formula."""
    wrong = []
    scope = scope_of(free_places(formula))
    for name, (printed, read) in BACK_ENDS.items():
        line = printed(formula, limits=limits)
        try:
            found = meaning.total(read(line))(scope)
        except Unreadable as error:
            wrong.append(f"{name}: {error}\n{line}")
        else:
            if not agree(found, expected):
                wrong.append(f"{name}: {mp.nstr(found, 8)}, not {mp.nstr(expected, 8)}\n{line}")
    return wrong


def in_range(formula: sp.Expr, **known: Any) -> bool:
    """Whether every part of a formula has a value, and none beyond the range of floats."""
    values = {name: value if name in SIZES else np.asarray(value, dtype=float) for name, value in point(1).items()}
    try:
        return bool(np.isfinite(bruteforce.evaluate(formula, values, {"i": 2, "h": 3}, **known)))
    except (OverflowError, ZeroDivisionError):
        return False


def formulas(seeds: Iterable[int], closed: bool) -> Iterable[tuple[sp.Expr, Any]]:
    """Random formulas with their values, small ones first."""
    values = point(1)
    for seed in seeds:
        formula = drawn.Drawing(Random(seed), 2 + seed // 12 % 14, closed).formula()
        if closed and drawn.terms_when_expanded(formula) < 100:
            formula = (lambda same: same, normalise, factored)[seed % 3](formula)
        if not formula.has(sp.zoo, sp.nan, sp.oo, sp.I) and in_range(formula):
            yield formula, bruteforce.evaluate(formula, values, {"i": 2, "h": 3})


def check(seeds: Iterable[int], closed: bool) -> None:
    """Raise with the first formula that any back end misprints."""
    meaning = Grammar(lexicon(point(1)))
    for place, (formula, expected) in enumerate(formulas(seeds, closed)):
        wrong = misprints(formula, expected, meaning, limits=place % 2 == 0)
        assert not wrong, f"{formula!r}\n" + "\n".join(wrong)


# What the readers take for one meaning, and what for none

# t = 7, b = (2, −3, 4)
READ = [
    ("−1 + t", 6),
    ("−(1 + t)", -8),
    ("−b_1²", -4),
    ("2 Σ_h b_h t + 1", 43),
    ("Σ_h b_h/2 − t", -5.5),
    ("Π_{h=1..2} b_h/2", -1.5),
    ("(1/2) Σ_{h=1..2} b_h²", 6.5),
    ("3 · 2^t", 384),
    ("b_2² (2 + b_1)^(−1/2)", 4.5),
    ("b_1 t/(b_3 t)", 0.5),
    ("sinh²(t) √(b_1) δ_{1, 2}", 0),
    ("Σ_{h,k=1..2} δ_hk b_h b_k", 13),
    ("|b_2| − |b_2|", 0),
]
UNREADABLE = [
    "1/2 t",  # of what is it a half?
    "1/t b_1",
    "1/t/b_1",
    "t − −b_1",
    "t 2",
    "3 2^t",
    "√t²",
    "log(t)²",
    "b_1^t²",
    "Σ_h b_h Σ_h b_h",
    "Σ_{h,h=1..2} b_h",
    "Σ_q b_q",  # over what?
    "b_h",  # of no particular head
    "Σ_h",
    "(t + b_1",
    "t × ",
    "u",
]


def small() -> Grammar:
    words = Lexicon(SIZES)
    words.add(read_text("t"), lambda: mp.mpf(7))
    words.add_array(read_text("b_①"), np.array([2, -3, 4], dtype=object))
    return Grammar(words)


@pytest.mark.parametrize(("line", "value"), READ)
def test_the_readers_follow_the_conventions(line: str, value: Any) -> None:
    assert agree(small().total(read_text(line))({}), value)


@pytest.mark.parametrize("line", UNREADABLE)
def test_the_readers_refuse_what_has_no_meaning_or_two(line: str) -> None:
    with pytest.raises(Unreadable):
        small().total(read_text(line))({})


@pytest.mark.parametrize("line", [r"\log b_1 t", r"\log b_1/2", r"\frac{1}{2}^t", r"2 \frac{1}{2}", r"\log t^2 t"])
def test_the_reader_of_latex_refuses_what_has_no_meaning_or_two(line: str) -> None:
    with pytest.raises(Unreadable):
        small().total(read_latex(line))({})


# Shapes in which a sign, a bracket or a letter was lost, or that could not be printed

x, y, z = sp.symbols("x y z", positive=True)
A, Y = sp.IndexedBase("A", real=True), sp.IndexedBase("y", real=True)
i, h, k, e = n.i, n.h, n.k, n.index("e")
TRAPS = {
    "negated sum": (sp.Mul(-1, x + y, evaluate=False), "−(x + y)"),
    "negated difference": (sp.Mul(-1, y - x, evaluate=False), "−(y − x)"),
    "negated sum in an exponent": (sp.exp(sp.Mul(-1, x + y, evaluate=False)), "e^(−(x + y))"),
    "negated sum in a sum": (n.over_heads(sp.Mul(-1, 1 + Y[h], evaluate=False)), "−Σ_h (1 + y_h)"),
    "root of an unevaluated power": (sp.sqrt(sp.Pow(x, 2, evaluate=False), evaluate=False), "√(x²)"),
    "power of a power": (sp.Pow(sp.Pow(x, y), sp.Rational(2, 3), evaluate=False), "(x^y)^(2/3)"),
    "power of a square": (sp.Pow(x, n.noise_variance), "x^(σ²)"),
    "root of a sum among factors": (sp.sqrt(x * n.over_heads(sp.exp(Y[h]))), "√(x Σ_h e^(y_h))"),
    "unevaluated factor": (sp.Mul(sp.Pow(x * n.over_heads(Y[h]), 1, evaluate=False), 1 + y), "x (1 + y) Σ_h y_h"),
    "product over a slash": (
        n.interaction[h, k] * sp.exp(n.over_tasks(A[i, 1] * sp.log(Y[i]))) / (z + Y[1]),
        "C_hk (Π_i y_i^(A_{i, 1}))/(y_1 + z)",
    ),
    "sum inside a sum": (n.over_heads(Y[h] * n.over_heads(Y[h])), "Σ_h y_h Σ_k y_k"),
    "twice the same index": (sp.Sum(n.over_heads(Y[h]), (h, 1, n.n_heads)), "Σ_{h,k} y_k"),
    "free and bound": (Y[h] - n.over_heads(A[h, k] * Y[k], k) * n.over_heads(Y[h]), "y_h − (Σ_k A_hk y_k) Σ_k y_k"),
    "other side": (sp.Eq(A[h, 1], n.over_heads(Y[h])), "A_{h, 1} = Σ_k y_k"),
    "a sum over e": (
        sp.Sum(sp.exp(A[e, 1]), (e, 1, 2)),
        "Σ_{a=1..2} e^(A_{a, 1})",
    ),
    "exponential of a sum with its own index": (
        sp.exp(Y[i] * n.over_tasks(A[i, 1] * sp.log(A[1, i]))),
        "e^(y_i Σ_j A_{j, 1} log(A_{1, j}))",
    ),
}


@pytest.mark.parametrize("name", TRAPS)
def test_shapes_that_lost_something(name: str) -> None:
    formula, line = TRAPS[name]
    assert to_text(formula, limits=False) == line


def test_a_negated_sum_stays_whole_in_every_back_end() -> None:
    formula = TRAPS["negated sum"][0]
    assert to_latex(formula) == r"-\left(x + y\right)"
    assert [mark for mark in "−(+)" if mark in to_mathml(formula)] == list("−(+)")
    assert aligned_latex([formula], width=2).count(r"\bigg") == 2


def test_a_sum_of_the_users_loss_keeps_its_sign() -> None:
    flow = theory.gradient_flow(n.over_heads(sp.exp(Y[h])) + n.over_heads(Y[h]), state=[Y[h]])
    assert str(flow) == "ẏ_h = −(1 + e^(y_h))"
    flow = theory.gradient_flow(n.over_heads(n.over_heads(A[h, k] * Y[h] * Y[k], k)), state=[Y[h]])
    assert str(flow) == "ẏ_h = −(Σ_k A_hk y_k + Σ_k A_kh y_k)"


def test_the_legend_names_the_letters_that_are_shown() -> None:
    lines = [sp.Eq(A[h, 1], n.over_heads(Y[h]))]
    assert sum_legend(lines) == "Sums over k run over the heads 1, …, H."


def test_both_halves_of_a_torn_bar_face_inwards() -> None:
    latex = aligned_latex([sp.Abs(x - sp.Mul(*(1 + symbol for symbol in (x, y, z))))], width=8)
    assert latex.count(r"\biggl|") == latex.count(r"\biggr|") == 1


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
def test_random_formulas_read_back(closed: bool) -> None:
    check(range(80), closed)


@pytest.mark.slow
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize("block", range(2))
def test_many_random_formulas_read_back(block: int, closed: bool) -> None:
    check(range(1000 + 300 * block, 1300 + 300 * block), closed)


# Flows of random losses: what is printed is minus the gradient of the loss

STATE = (X[n.i, n.h], B[n.h])
NAMED = tuple(Definition(head, body) for head, body in DEFINITIONS)


def losses(seeds: Iterable[int]) -> Iterable[sp.Expr]:
    """Closed losses that depend on x or b, some of them through definitions."""
    for seed in seeds:
        arrays = drawn.ARRAYS | drawn.DEFINED if seed % 3 == 0 else drawn.ARRAYS
        loss = drawn.Drawing(Random(seed), 2 + seed % 9, True, arrays).loss()
        if loss.has(X, B) and drawn.terms_when_expanded(loss) < 60 and in_range(loss, definitions=DEFINITIONS):
            yield loss


def check_flow(loss: sp.Expr, values: dict[str, Any], back_end: str) -> None:
    """Raise unless each printed velocity, by the printed definitions, is minus a difference quotient of the loss."""
    printed, read = BACK_ENDS[back_end]
    named = NAMED if loss.has(Q, R) else ()
    state = tuple(variable for variable in STATE if gradient(loss, variable, named) != 0)
    system = theory.gradient_flow(loss, state=state, definitions=named)
    words = lexicon(values)
    meaning = Grammar(words)
    rows = [_equation(read(printed(line, limits=False))) for line in system.lines]
    for head, body in rows[len(state) :]:
        (name,) = head
        holes = tuple(map(Letter, HOLES[: len(name.sub)]))
        value = meaning.total(body)
        words.add(
            (Scripts(name.base, holes),),
            lambda *places, value=value, sub=name.sub: value(dict(zip(sub, places, strict=True))),
        )
    for (head, body), variable in zip(rows, state, strict=False):
        slopes = bruteforce.gradient(loss, str(variable.base.label), values, definitions=DEFINITIONS)
        own = {Letter(index.name): place for index, place in ((n.i, 2), (n.h, 3)) if index in variable.indices}
        found = float(meaning.total(body)(own))
        expected = -slopes[tuple(place - 1 for place in own.values())]
        assert head == read_text(to_text(n.time_derivative(variable)))
        assert abs(found - expected) <= 1e-9 * (1 + abs(expected)), f"{back_end}: {loss!r}\n{system}"


def _equation(row: Row) -> tuple[Row, Row]:
    place = row.index(Sign("="))
    return row[:place], row[place + 1 :]


def check_flows(seeds: Iterable[int]) -> int:
    values = point(2)
    given = {name: value for name, value in values.items() if name not in ("Q", "R")}
    checked = 0
    for seed, loss in enumerate(losses(seeds)):
        for back_end in ("text", "LaTeX", "MathML", "lines of text")[seed % 2 :: 2]:
            check_flow(loss, given, back_end)
        checked += 1
    return checked


def test_velocities_of_random_losses_read_back() -> None:
    assert check_flows(range(30)) > 10


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_velocities_of_many_random_losses_read_back(block: int) -> None:
    assert check_flows(range(100 + 100 * block, 200 + 100 * block)) > 40


# What headflow itself prints

# As the pages of reports and papers show it: a whole equation at a time, in lines of their width.
PAGES: dict[str, tuple[Printer, Callable[[str], Row]]] = {
    "text": (lambda e: aligned_text([e]), read_text),
    "LaTeX": (lambda e: aligned_latex([e]), read_latex),
    "MathML": (lambda e: aligned_html([e]), read_mathml),
}
LARGEST = 5


class Beyond(Exception):
    """A formula has parts that are no numbers: derivatives, conditions, roots of what may be negative."""


def own_values(names: Iterable[sp.Basic], uppers: set[str], random: Random, low: float) -> dict[str, Any]:
    """A number above ``low`` for each name, a whole one where sums run to it, an array for an indexed name."""

    def number() -> Any:
        return mp.mpf(random.uniform(low, 2.5 * low))

    values: dict[str, Any] = dict(SIZES)
    for name in sorted(names, key=str):
        if isinstance(name, sp.Indexed):
            shape = (LARGEST,) * len(name.indices)
            table = np.array([number() for _ in range(LARGEST ** len(shape))], dtype=object).reshape(shape)
            symmetric = isinstance(name.base, n.SymmetricBase)
            values[str(name.base.label)] = (table + table.T) / 2 if symmetric else table
        elif isinstance(name, AppliedUndef):
            values[name.func.__name__] = own_function(number())
        elif name.name not in values:
            values[name.name] = random.randint(2, 3) if name.name in uppers else number()
    return values


def own_function(shift: Any) -> Callable[..., Any]:
    """A function that is no simpler than it must be: its value tells its arguments and their order."""
    return lambda *places: 1 / (shift + sum((2 + order) * (1 + order + x) ** 2 for order, x in enumerate(places)))


def names_of(sides: Sequence[sp.Expr]) -> tuple[set[sp.Basic], set[str], set[sp.Symbol]]:
    """Names that need a value (one entry of each indexed name), upper limits among them, and free indices."""
    bigs = {big for side in sides for big in side.atoms(sp.Sum, sp.Product)}
    entries = {str(entry.base.label): entry for side in sides for entry in side.atoms(sp.Indexed)}
    labels = {base.label for side in sides for base in side.atoms(sp.IndexedBase)}
    free = set().union(*map(free_in, sides))
    bound = {index for big in bigs for index in big.variables}
    scalars = {symbol for side in sides for symbol in side.atoms(sp.Symbol)} - bound - labels - free
    uppers = {str(part) for big in bigs for *_, upper in big.limits for part in upper.free_symbols}
    if any(index.name in SIZES for side in sides for entry in side.atoms(sp.Indexed) for index in entry.free_symbols):
        raise Beyond  # a size as an index, such as S_H: the readers know it as a number
    functions = {applied.func: applied for side in sides for applied in side.atoms(AppliedUndef)}
    return {*entries.values(), *scalars, *functions.values()}, uppers, free


def sides_of(equation: Any) -> tuple[sp.Expr, ...]:
    sides = equation if isinstance(equation, tuple) else (equation,)
    sides = equation.args if isinstance(equation, Relational) else sides
    if not all(isinstance(side, sp.Expr | int) for side in sides):
        raise Beyond
    return tuple(map(sp.sympify, sides))


def own_lexicon(names: Iterable[sp.Basic], values: dict[str, Any], back_end: str) -> Lexicon:
    """Names as the back end itself prints them alone."""
    printed, read = {"text": BACK_ENDS["text"], "LaTeX": BACK_ENDS["LaTeX"], "MathML": BACK_ENDS["MathML"]}[back_end]
    words = Lexicon(SIZES)
    for name in names:
        if isinstance(name, sp.Indexed):
            holes = tuple(map(sp.Symbol, HOLES[: len(name.indices)]))
            words.add_array(read(printed(name.base[holes], limits=True)), values[str(name.base.label)])
        elif isinstance(name, AppliedUndef):
            match read(printed(name.func(*map(sp.Symbol, HOLES[: len(name.args)])), limits=True)):
                case (mark, Fence()):
                    words.functions[mark] = values[name.func.__name__]
                case _:
                    raise Beyond  # a notation of its own, such as ⟨a, b⟩
        elif name.name not in SIZES:
            words.add(read(printed(name, limits=True)), lambda value=values[name.name]: value)
    return words


def check_own(equation: Any, seed: int) -> None:
    """Raise unless every back end prints the equation so that each side has its value."""
    sides = sides_of(equation)
    names, uppers, free = names_of(sides)
    indices = {index.name: 1 + place % 2 for place, index in enumerate(sorted(free, key=str))}
    for low in (0.12, 1.1):
        # Some roots need small numbers, some large ones.
        values = own_values(names, uppers, Random(seed), low)
        try:
            expected = [bruteforce.evaluate(side, values, indices) for side in sides]
            break
        except (TypeError, ValueError, IndexError) as error:
            reason = error
    else:
        raise Beyond from reason
    for back_end, (printed, read) in PAGES.items():
        line = printed(equation)
        found = Grammar(own_lexicon(names, values, back_end)).sides(read(line))
        scope = scope_of(indices)
        assert len(found) == len(expected), line
        for value, number in zip(found, expected, strict=True):
            assert agree(value(scope), number), f"{back_end}: {line}\n{equation!r}"


def check_all(equations: Iterable[Any]) -> tuple[int, int]:
    """How many equations were read back, and how many have parts that are no numbers."""
    done, beyond = 0, 0
    for seed, equation in enumerate(dict.fromkeys(equations)):
        try:
            check_own(equation, seed)
            done += 1
        except Beyond:
            beyond += 1
    return done, beyond


def test_what_headflow_prints_reads_back() -> None:
    flows = [theory.gradient_flow(name) for name in ("merged", "balanced", "split")]
    results = (theory.task_allocation_limit(), theory.universal_lower_bound(), theory.single_head_optimum())
    done, beyond = check_all(line for result in (*flows, *results) for line in result.lines)
    assert done > 15
    assert beyond == 0


@pytest.mark.slow
def test_every_claim_and_step_reads_back() -> None:
    proofs = [(entry.claim, entry.derivation) for entry in statements()]
    chosen = [("merged", "finite_d"), ("balanced", "first_order"), ("split", "leading")]
    topics = [derivation for flow in chosen for derivation in derivations("all", *flow)]
    steps = [step for derivation in (*(own for _, own in proofs), *topics) for step in derivation]
    lines = [line for formulas in ([c for c, _ in proofs], [s.formula for s in steps]) for c in formulas for line in c]
    done, beyond = check_all(dict.fromkeys(lines))  # flows share most of their steps
    assert done > 500
    assert beyond < done / 10
