"""The printing room: how formulas look in LaTeX, MathML and text, and that the three agree."""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp
from sympy import (
    Add,
    And,
    Derivative,
    E,
    Eq,
    Expr,
    Float,
    Function,
    Ge,
    Gt,
    IndexedBase,
    Integer,
    KroneckerDelta,
    Le,
    Limit,
    Lt,
    Matrix,
    Max,
    Min,
    Mul,
    Ne,
    Or,
    Order,
    Piecewise,
    Pow,
    Product,
    Rational,
    S,
    Sum,
    Symbol,
    asinh,
    exp,
    log,
    oo,
    pi,
    sinh,
    sqrt,
)

from headflow.theory.notation import (
    context_length,
    dims,
    embedding_dim,
    h,
    head_power,
    i,
    interaction,
    j,
    k,
    loss,
    mu,
    n_heads,
    n_tasks,
    noise_factor,
    noise_to_context,
    noise_variance,
    omega,
    over_heads,
    over_tasks,
    partial_derivative,
    residual,
    signal_power,
    time_derivative,
)
from headflow.theory.printing import (
    aligned_html,
    aligned_latex,
    aligned_text,
    check_latex,
    html_prose,
    latex_document,
    latex_prose,
    sum_legend,
    to_latex,
    to_mathml,
    to_text,
)
from headflow.theory.printing.glyphs import MATHEMATICS

L = context_length
lam, phi, d, c = signal_power, noise_factor, dims, noise_to_context
x, y, nu = Symbol("x"), Symbol("y"), Symbol("nu", positive=True)
a, beta = IndexedBase("a"), IndexedBase("beta")
gamma, z = Symbol("gamma", positive=True), Symbol("z", positive=True)
inner, norm2, expectation = Function("inner"), Function("norm2"), Function("E")

gradient_mu = -2 * lam[i] * residual[i] * omega[i, h] + 2 * lam[i] * phi[i] / L * over_heads(
    interaction[h, k] * mu[i, k], k
)
gradient_omega = -2 * lam[i] * residual[i] * mu[i, h] + 2 * d[i] * over_heads(
    head_power[h, k] * interaction[h, k] * omega[i, k], k
)
leading_loss = over_tasks(
    lam[i]
    * (
        (1 - over_heads(mu[i, h] * omega[i, h])) ** 2
        + phi[i] / L * over_heads(mu[i, h] * interaction[h, k] * mu[i, k], h, k)
    )
)

# Formulas of THEORY, sections 1 to 4: LaTeX and text, conventional ranges left out.
THEORY = {
    "mean of a head": (inner(beta[i], a[h]), r"\langle \beta_i,a_h \rangle", "⟨β_i, a_h⟩"),
    "bias": (
        -exp(norm2(a[h])) / L * inner(beta[i], a[h]),
        r"-\frac{1}{L} e^{\lvert a_h \rvert^2} \langle \beta_i, a_h \rangle",
        "−(1/L) e^(|a_h|²) ⟨β_i, a_h⟩",
    ),
    "covariance": (
        exp(inner(a[h], a[k])) / L * (norm2(beta[i]) + noise_variance),
        r"\frac{1}{L} e^{\langle a_h,a_k \rangle} \left(\sigma^2 + \lvert \beta_i \rvert^2\right)",
        "(1/L) e^⟨a_h, a_k⟩ (σ² + |β_i|²)",
    ),
    "moment": (
        expectation(exp(inner(a[h], x))),
        r"\mathbb{E}[e^{\langle a_h,x \rangle}]",
        "𝔼[e^⟨a_h, x⟩]",
    ),
    "leading loss": (
        leading_loss,
        r"\sum_{i} \lambda_i \left[\left(1 - \sum_{h} \mu_i^h \omega_i^h\right)^2"
        r" + \frac{\varphi_i}{L} \sum_{h,k} C_{hk} \mu_i^h \mu_i^k\right]",
        "Σ_i λ_i [(1 − Σ_h μ_i^h ω_i^h)² + (φ_i/L) Σ_{h,k} C_hk μ_i^h μ_i^k]",
    ),
    "interaction": (
        exp(over_tasks(d[j] * omega[j, h] * omega[j, k], j)),
        r"e^{\sum_{j} d_j \omega_j^h \omega_j^k}",
        "e^(Σ_j d_j ω_j^h ω_j^k)",
    ),
    "finite_d interaction": (
        Product((1 - 2 * omega[j, h] * omega[j, k]) ** (-d[j] / 2), (j, 1, n_tasks)),
        r"\prod_{j} \left(1 - 2 \omega_j^h \omega_j^k\right)^{-d_j/2}",
        "Π_j (1 − 2 ω_j^h ω_j^k)^(−d_j/2)",
    ),
    "inflation": (
        interaction[h, h] / ((1 - 2 * omega[i, h] ** 2) * L),
        r"\frac{C_{hh}}{L \left[1 - 2 \left(\omega_i^h\right)^2\right]}",
        "C_hh/(L [1 − 2 (ω_i^h)²])",
    ),
    "residual": (
        1 - over_heads(mu[i, h] * omega[i, h]),
        r"1 - \sum_{h} \mu_i^h \omega_i^h",
        "1 − Σ_h μ_i^h ω_i^h",
    ),
    "head power": (
        over_tasks(lam[i] * phi[i] / L * mu[i, h] * mu[i, k]),
        r"\sum_{i} \frac{\lambda_i \varphi_i}{L} \mu_i^h \mu_i^k",
        "Σ_i (λ_i φ_i/L) μ_i^h μ_i^k",
    ),
    "gradient in mu": (
        gradient_mu,
        r"-2\lambda_i r_i \omega_i^h + \frac{2\lambda_i\varphi_i}{L}\sum_{k} C_{hk}\mu_i^k",
        "−2 λ_i r_i ω_i^h + (2 λ_i φ_i/L) Σ_k C_hk μ_i^k",
    ),
    "gradient in omega": (
        gradient_omega,
        r"-2\lambda_i r_i \mu_i^h + 2 d_i \sum_{k} M_{hk} C_{hk}\omega_i^k",
        "−2 λ_i r_i μ_i^h + 2 d_i Σ_k M_hk C_hk ω_i^k",
    ),
    "balanced flow": (
        Eq(
            time_derivative(omega[i, h]),
            -2 / sqrt(embedding_dim) * omega[i, h] * partial_derivative(omega[i, h]) / d[i],
        ),
        r"\dot{\omega}_i^h = -\frac{2}{d_i \sqrt{d_e}} \omega_i^h g_{\omega_i^h}",
        "ω̇_i^h = −(2/(d_i √d_e)) ω_i^h g_{ω_i^h}",
    ),
    "eliminated loss": (
        over_tasks(lam[i] * c[i] / (c[i] + IndexedBase("x")[i])),
        r"\sum_{i} \frac{\lambda_i c_i}{c_i + x_i}",
        "Σ_i λ_i c_i/(c_i + x_i)",
    ),
    "water level": (
        sqrt(lam[i] * c[i] / nu) - c[i],
        r"\sqrt{\frac{\lambda_i c_i}{\nu}} - c_i",
        "√(λ_i c_i/ν) − c_i",
    ),
    "single head": (
        E * over_tasks(sqrt(lam[i] * phi[i] * d[i])) ** 2 / (L + E * over_tasks(phi[i] * d[i])),
        r"\frac{e \left(\sum_{i} \sqrt{\lambda_i \varphi_i d_i}\right)^2}{L + e \sum_{i} \varphi_i d_i}",
        "e (Σ_i √(λ_i φ_i d_i))²/(L + e Σ_i φ_i d_i)",
    ),
    "allocation limit": (
        over_tasks(lam[i] * E * c[i] / (1 + E * c[i])),
        r"\sum_{i} \frac{e \lambda_i c_i}{1 + e c_i}",
        "Σ_i e λ_i c_i/(1 + e c_i)",
    ),
    "allocated mu": (
        sqrt(d[i]) / (1 + E * c[i]),
        r"\frac{\sqrt{d_i}}{1 + e c_i}",
        "√d_i/(1 + e c_i)",
    ),
    "kappa": (
        (1 + 2 / Symbol("d")) ** (Symbol("d") / 2 + 1),
        r"\left(1 + \frac{2}{d}\right)^{1 + d/2}",
        "(1 + 2/d)^(1 + d/2)",
    ),
    "bayes": (
        lam[i] * (sqrt((1 - gamma + z) ** 2 + 4 * gamma * z) - (1 - gamma + z)) / (2 * gamma),
        r"\frac{\lambda_i}{2 \gamma}"
        r" \left[\sqrt{4 \gamma z + \left(1 + z - \gamma\right)^2} + \gamma - z - 1\right]",
        "(λ_i/(2 γ)) [√(4 γ z + (1 + z − γ)²) + γ − z − 1]",
    ),
}

# One formula for every kind of node: LaTeX and text, limits shown.
NODES = {
    "order of a sum": (x - 1, "x - 1", "x − 1"),
    "constants first": (1 - 2 * x + x**2, "1 - 2 x + x^2", "1 − 2 x + x²"),
    "even power": ((x - 1) ** 2, r"\left(1 - x\right)^2", "(1 − x)²"),
    "sign pulled out": (2 * Add(-x, -y), "-2 x - 2 y", "−2 x − 2 y"),
    "sign pulled out of a factor": (
        Mul(x, Add(-x, -y), evaluate=False),
        r"-x \left(x + y\right)",
        "−x (x + y)",
    ),
    "sign pulled out of a sum": (
        Sum(-mu[i, h], (h, 1, n_heads)),
        r"-\sum_{h=1}^{H} \mu_i^h",
        "−Σ_{h=1..H} μ_i^h",
    ),
    "power of superscripted name": (mu[i, h] ** 2, r"\left(\mu_i^h\right)^2", "(μ_i^h)²"),
    "power of subscripted name": (lam[i] ** 2, r"\lambda_i^2", "λ_i²"),
    "power of a square": (noise_variance**2, r"\sigma^4", "σ⁴"),
    "square of a norm": (exp(3 * Symbol("norm2_a")), r"e^{3 \lvert a \rvert^2}", "e^(3 |a|²)"),
    "root of a square": (sqrt(noise_variance), r"\sigma", "σ"),
    "rational power": (x ** Rational(2, 3), "x^{2/3}", "x^(2/3)"),
    "negative power": (2 * x**-2, r"\frac{2}{x^2}", "2/x²"),
    "symbolic power": (x ** (-y), "x^{-y}", "x^(−y)"),
    "power tower": ((x**y) ** z, r"\left(x^y\right)^z", "(x^y)^z"),
    "numbers side by side": (3 * Integer(2) ** x, r"3 \cdot 2^x", "3 · 2^x"),
    "power of e": (exp(-1), r"\frac{1}{e}", "1/e"),
    "rational": (Rational(-3, 4), r"-\frac{3}{4}", "−3/4"),
    "constants": (pi + E - oo * x, r"e + \pi - \infty x", "e + π − ∞ x"),
    "sum in the middle": (
        over_heads(mu[i, h]) * x * over_tasks(lam[j], j),
        r"x \left(\sum_{j=1}^{I} \lambda_j\right) \sum_{h=1}^{H} \mu_i^h",
        "x (Σ_{j=1..I} λ_j) Σ_{h=1..H} μ_i^h",
    ),
    "nested sums": (
        over_heads(over_heads(interaction[h, k], k)),
        r"\sum_{h,k=1}^{H} C_{hk}",
        "Σ_{h,k=1..H} C_hk",
    ),
    "unconventional range": (
        Sum(mu[i, h], (h, 2, n_tasks)),
        r"\sum_{h=2}^{I} \mu_i^h",
        "Σ_{h=2..I} μ_i^h",
    ),
    "numbered head": (omega[1, 2] ** 2, r"\left(\omega_1^{(2)}\right)^2", "(ω_1^(2))²"),
    "index arithmetic": (interaction[h, k + 1], "C_{h,1 + k}", "C_{h, 1 + k}"),
    "kronecker": (KroneckerDelta(i, j), r"\delta_{ij}", "δ_ij"),
    "log": (log(x) ** 2 / 2, r"\frac{1}{2} \left(\log x\right)^2", "(1/2) (log(x))²"),
    "sinh": (x / 2 * sinh(2 * y) ** 2, r"\frac{x}{2} \sinh^2 2 y", "(x/2) sinh²(2 y)"),
    "asinh": (asinh(x + y) / 2, r"\frac{1}{2} \operatorname{arsinh}(x + y)", "(1/2) arsinh(x + y)"),
    "function in front": (log(x) * sinh(y), r"\log(x) \sinh y", "log(x) sinh(y)"),
    "undefined function": (Function("f")(x, y), "f(x, y)", "f(x, y)"),
    "min": (Min(1, n_heads - 1), r"\min(1, H - 1)", "min(1, H − 1)"),
    "max": (Max(x, 2) * y, r"y \max(2, x)", "y max(2, x)"),
    "trace": (Function("trace")(x), r"\operatorname{tr}(x)", "tr(x)"),
    "det": (Function("det")(x), r"\det(x)", "det(x)"),
    "covariance": (Function("Cov")(x, y), r"\operatorname{Cov}(x, y)", "Cov(x, y)"),
    "inverse": (
        Function("trace")(Function("inverse")(Symbol("C"))),
        r"\operatorname{tr}(C^{-1})",
        "tr(C⁻¹)",
    ),
    "partial": (
        Function("partial")(loss, mu[i, h]),
        r"\frac{\partial\mathcal{L}}{\partial\mu_i^h}",
        "∂𝓛/∂μ_i^h",
    ),
    "partial of a sum": (
        Function("partial")(x - y, y),
        r"\frac{\partial\left(x - y\right)}{\partial y}",
        "∂(x − y)/∂y",
    ),
    "derivative": (
        Derivative(x * mu[i, h], x),
        r"\frac{\partial}{\partial x} \left(x \mu_i^h\right)",
        "(∂/∂x) (x μ_i^h)",
    ),
    "ordinary derivative": (Derivative(Function("f")(x), x, 2), r"\frac{d^2f(x)}{dx^2}", "d²f(x)/dx²"),
    "limit": (Limit(x * y, x, oo), r"\lim_{x \to \infty} x y", "lim_{x→∞} x y"),
    "one-sided limit": (Limit(x + y, x, 0), r"\lim_{x \to 0^+} \left(x + y\right)", "lim_{x→0+} (x + y)"),
    "order": (x + Order(1 / L, (L, oo)), r"x + O\left(\frac{1}{L}\right)", "x + O(1/L)"),
    "piecewise": (
        Piecewise((x, x > 0), (0, True)),
        r"\begin{cases} x & \text{if } x > 0 \\ 0 & \text{otherwise} \end{cases}",
        "{x if x > 0; 0 otherwise}",
    ),
    "eq": (Eq(x, y), "x = y", "x = y"),
    "ne": (Ne(x, y), r"x \neq y", "x ≠ y"),
    "lt": (Lt(x, y), "x < y", "x < y"),
    "le": (Le(x, y), r"x \leq y", "x ≤ y"),
    "gt": (Gt(x, y), "x > y", "x > y"),
    "ge": (Ge(x, y), r"x \geq y", "x ≥ y"),
    "between": (And(Ge(x, 0), Le(x, 1)), r"0 \leq x \leq 1", "0 ≤ x ≤ 1"),
    "and": (And(Gt(x, 0), Gt(y, 0)), r"x > 0 \wedge y > 0", "x > 0 ∧ y > 0"),
    "or": (Or(Gt(x, 0), Gt(y, 0)), r"x > 0 \vee y > 0", "x > 0 ∨ y > 0"),
    "names": (
        Symbol("d_e") + Symbol("R_1") + Symbol("SNR") + Symbol("x_star"),
        r"d_e + R_1 + \mathrm{SNR} + x^{\star}",
        "d_e + R_1 + SNR + x⋆",
    ),
}


def squeezed(latex: str) -> str:
    """LaTeX without the blanks that TeX does not see."""
    return re.sub(r"\s+", "", latex)


@pytest.mark.parametrize("name", THEORY)
def test_formulas_of_the_theory_read_as_written_there(name: str) -> None:
    formula, latex, text = THEORY[name]
    assert squeezed(to_latex(formula, limits=False)) == squeezed(latex)
    assert to_text(formula, limits=False) == text


@pytest.mark.parametrize("name", NODES)
def test_every_kind_of_node(name: str) -> None:
    formula, latex, text = NODES[name]
    assert to_latex(formula) == latex
    assert to_text(formula) == text


# What is read, in order: letters, digits and ∂ ∞ Σ Π; brackets and signs may differ between back ends.
_STRUCTURE = re.compile(
    r"\\(?:left|right|biggl|biggr|text|mathrm|operatorname|frac|sqrt|dot|mathcal)\b|\\(?:begin|end)\{\w+\}"
)
_CHARACTERS = {latex: character for character, latex in MATHEMATICS.items()} | {
    r"\sum": "Σ",
    r"\prod": "Π",
    r"\mathbb": "",
}
_DRAWN = str.maketrans({"∑": "Σ", "∏": "Π"})


def read(text: str) -> str:
    """The letters and digits of ``text`` in order, without their styles."""
    plain = unicodedata.normalize("NFKD", text).translate(_DRAWN)
    return "".join(mark for mark in plain if mark.isalnum() or mark in "∂∞")


def read_latex(latex: str) -> str:
    words = re.sub(r"\\([A-Za-z]+)", lambda m: _CHARACTERS.get(m[0], f" {m[1]} "), _STRUCTURE.sub(" ", latex))
    return read(re.sub(r"\b(?:lvert|rvert)\b", "", words))


def read_mathml(mathml: str) -> str:
    return read("".join(ElementTree.fromstring(mathml).itertext()))


@pytest.mark.parametrize("formula", [entry[0] for entry in (*THEORY.values(), *NODES.values())], ids=str)
def test_back_ends_show_the_same_atoms_in_the_same_order(formula: object) -> None:
    assert read(to_text(formula)) == read_latex(to_latex(formula)) == read_mathml(to_mathml(formula))


@pytest.mark.parametrize("formula", [entry[0] for entry in (*THEORY.values(), *NODES.values())], ids=str)
def test_latex_is_sound(formula: object) -> None:
    assert check_latex(to_latex(formula)) == []
    assert check_latex(to_latex(formula, limits=False)) == []


@pytest.mark.parametrize("foreign", [Float("0.5"), x + Float("0.5"), Matrix([[x]]), S.ImaginaryUnit * x])
def test_a_foreign_node_is_named(foreign: object) -> None:
    with pytest.raises(TypeError, match=r"Float|Matrix|ImaginaryUnit"):
        to_latex(foreign)


# Blocks of equations


def test_signs_line_up_and_sides_follow_each_other() -> None:
    block = aligned_text([(x, y, 1), Le(Symbol("xx"), 2)])
    assert block == " x = y\n   = 1\nxx ≤ 2"
    latex = aligned_latex([(x, y, 1), Le(x, 2)])
    assert latex == "\\begin{aligned}\nx &= y \\\\\n&= 1 \\\\\nx &\\leq 2\n\\end{aligned}"
    html = aligned_html([(x, y, 1)])
    assert ElementTree.fromstring(html).tag.endswith("math")
    assert html.count("<mtr>") == 2


def test_signs_line_up_only_where_that_leaves_room() -> None:
    """A wide left side of one relation and a wide right side of another do not add up to a line off the page."""
    wide = Add(*(Symbol(name) for name in "abcdefghij"))
    block = [Le(wide, x), Eq(y, sqrt(wide, evaluate=False), evaluate=False)]
    first, second = aligned_text(block, width=80).splitlines()
    assert first.index("≤") == second.index("=")
    first, second = aligned_text(block, width=60).splitlines()
    assert max(len(first), len(second)) <= 60
    assert second.startswith("y = ")
    # Where no sign can line up, nothing is lost.
    lines = aligned_text([Le(wide, wide**2)] * 2, width=40).splitlines()
    assert max(map(len, lines)) <= 40
    assert sum("≤" in line for line in lines) == 2


def test_a_two_sided_condition_stays_on_one_line() -> None:
    assert aligned_text([And(Ge(x, 0), Le(x, 1))]) == "0 ≤ x ≤ 1"


def long_sum(terms: int) -> Add:
    return Add(*(lam[i] ** n * over_heads(mu[i, h] * omega[i, h] ** n) for n in range(1, terms + 1)))


@pytest.mark.parametrize("width", [40, 60, 100])
def test_long_sums_break_at_their_signs(width: int) -> None:
    lines = aligned_text([(loss, long_sum(12))], width=width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert all(line.lstrip().startswith("+ ") for line in lines[1:])
    assert " ".join(line.strip() for line in lines) == to_text(Eq(loss, long_sum(12)), limits=False)


def test_brackets_break_where_a_term_is_too_long_alone() -> None:
    formula = over_tasks(lam[i] * (1 + long_sum(12)) ** 2)
    latex = aligned_latex([(loss, formula)])
    assert r"\biggl[" in latex
    assert r"\biggr]^2" in latex
    assert latex.count(r"\\") >= 2
    assert check_latex(latex) == []
    assert ElementTree.fromstring(aligned_html([(loss, formula)])) is not None


def test_breaking_loses_nothing() -> None:
    formula = over_tasks(lam[i] * (1 + long_sum(12)) * (x - long_sum(9)))
    broken = aligned_text([formula], width=50).replace("× ", "")
    assert re.sub(r"\s", "", broken) == re.sub(r"\s", "", to_text(formula, limits=False))


def test_the_legend_names_the_ranges_left_to_convention() -> None:
    assert sum_legend([(loss, leading_loss)]) == (
        "Sums over i run over the tasks 1, …, I, sums over h, k run over the heads 1, …, H."
    )
    assert sum_legend([Sum(mu[i, h], (h, 2, n_heads))]) == ""


# Prose


@pytest.mark.parametrize(
    ("words", "latex"),
    [
        ("50% of tasks & heads, #1 {a}", r"50\% of tasks \& heads, \#1 \{a\}"),
        ("ω_i and R_H and C⁻¹", r"$\omega_{i}$ and $R_{H}$ and $C^{-1}$"),
        ("as L → ∞, if x ≥ 2.", r"as $L \to \infty$, if $x \geq 2$."),
        ("(see Σ_i x_i ≤ R_H)", r"(see $\sum_{i} x_{i} \leq R_{H}$)"),
        ("E e^{⟨a_h, a_k⟩} = C_hk", r"$E e^{\langle a_{h}, a_{k}\rangle} = C_{hk}$"),
        ("C ⪰ 11ᵀ + G + G∘G/2", r"$C \succeq 11^{\top} + G + G\circ G/2$"),
        ("the closures finite_d and first_order", r"the closures finite\_d and first\_order"),
        ("a head's zero-sum μ-weights", r"a head's zero-sum $\mu$-weights"),
        ("√(λ_i c_i/ν) and ŷ_i", r"$\sqrt{\lambda_{i} c_{i}/\nu}$ and $\hat{y}_{i}$"),
        ("w/(1 − 2w) is small", r"$w/(1 - 2w)$ is small"),
        ("factors (1 − 2ω_j^h ω_j^k)^{−1/2}.", r"factors $(1 - 2\omega_{j}^{h} \omega_{j}^{k})^{-1/2}$."),
        ("o = v and (k q)/√d_e (both)", r"$o = v$ and $(k q)/\sqrt{d_{e}}$ (both)"),
        ("N(0, (λ_i/d_i) Id) (a law)", r"$N(0, (\lambda_{i}/d_{i}) \operatorname{Id})$ (a law)"),
        ("task i 3 times", r"task $i$ 3 times"),
        ("", ""),
    ],
)
def test_latex_prose(words: str, latex: str) -> None:
    assert latex_prose(words) == latex


def test_html_prose() -> None:
    assert html_prose("a < b & ω_i^h") == "a &lt; <i>b</i> &amp; <i>ω</i><sub><i>i</i></sub><sup><i>h</i></sup>"


@given(st.text(alphabet=st.characters(codec="latin-1", exclude_categories=["Cc"]) | st.sampled_from([*MATHEMATICS])))
def test_prose_always_makes_sound_latex_and_html(words: str) -> None:
    assert check_latex(latex_prose(words)) == []
    ElementTree.fromstring(f"<p>{html_prose(words)}</p>")


# The structural check itself


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (r"\frac{a}{b", "never closed"),
        (r"\left(a\right", r"\left"),
        (r"{\left(a}\right)", "does not close"),
        (r"\begin{aligned} a \end{cases}", "does not close"),
        (r"\begin{nowhere}\end{nowhere}", "unknown environment"),
        (r"\lamda", "unknown command"),
        (r"\mathrm{|ω|}", "not translated: ω"),
        (r"a & b", "outside an environment"),
        (r"$a", "never closed"),
        (r"\sum_{h,k} C_{hh}", "index k"),
        (r"\sum_{i=1}^{I} \lambda_j + x", "index i"),
        (r"\left(\sum_{i} \lambda\right) c_i", "index i"),
    ],
)
def test_the_check_finds(source: str, problem: str) -> None:
    assert any(problem in found for found in check_latex(source)), check_latex(source)


def test_the_check_accepts_declared_commands() -> None:
    assert check_latex(r"\DeclareMathOperator{\clip}{clip} $\clip(x)$") == []


# Any expression of the node set

_names = st.sampled_from([x, y, nu, lam[i], c[i], d[i], L, mu[i, h], omega[i, h], interaction[h, k], noise_variance])
_numbers = st.integers(-9, 9).map(Integer) | st.tuples(st.integers(-9, 9), st.integers(1, 9)).map(
    lambda p: Rational(*p)
)
_exponents = st.sampled_from([2, 3, -1, -2, Rational(1, 2), Rational(-1, 2), Rational(2, 3), y, -d[i] / 2])


def _larger(children: st.SearchStrategy) -> st.SearchStrategy:
    pairs = st.tuples(children, children)
    return st.one_of(
        pairs.map(lambda p: Add(*p)),
        pairs.map(lambda p: Add(*p, evaluate=False)),
        pairs.map(lambda p: Mul(*p)),
        pairs.map(lambda p: Mul(*p, evaluate=False)),
        pairs.map(lambda p: Max(*p, evaluate=False)),
        pairs.map(lambda p: inner(*p)),
        pairs.map(lambda p: Piecewise((p[0], Gt(x, 0)), (p[1], True))),
        st.tuples(children, _exponents).map(lambda p: Pow(*p, evaluate=p[0] != 0)),
        children.map(lambda e: over_heads(e * mu[i, h])),
        children.map(lambda e: over_heads(e * interaction[h, k], h, k)),
        children.map(lambda e: over_tasks(e + lam[i])),
        children.map(lambda e: Product(1 + e * omega[j, h], (j, 1, n_tasks))),
        children.map(exp),
        children.map(lambda e: log(1 + e**2, evaluate=False)),
        children.map(expectation),
        children.map(norm2),
    )


def _is_ordinary(expr: Expr) -> bool:
    if expr.has(S.ComplexInfinity, S.NaN, S.ImaginaryUnit, S.Infinity, S.NegativeInfinity):
        return False
    # A summand without its index, such as 0, is what check_latex is there to find.
    sums = expr.atoms(Sum, Product)
    return all(index in big.function.free_symbols for big in sums for index, *_ in big.limits)


expressions = st.recursive(_names | _numbers, _larger, max_leaves=8).filter(_is_ordinary)


@settings(max_examples=80, deadline=None)
@given(expressions)
def test_any_expression_prints_soundly_in_every_back_end(expr: Expr) -> None:
    latex = to_latex(expr)
    assert check_latex(latex) == []
    ElementTree.fromstring(to_mathml(expr))
    assert read(to_text(expr)) == read_latex(latex) == read_mathml(to_mathml(expr))
    assert check_latex(aligned_latex([(loss, expr)], width=15)) == []
    ElementTree.fromstring(aligned_html([(loss, expr)], width=15))


# The text of a formula, read back by Python's rules of precedence, has the value of the formula.

_READ_BACK = [
    (r"√(\d+|\w)", r"sqrt(\1)"),
    (r"√", "sqrt"),
    (r"\be\^", "E**"),
    (r"\^", "**"),
    (r"([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: f"**({unicodedata.normalize('NFKC', m[1])})"),
    (r" ([+−]) ", r"\1"),
    (r" · | ", "*"),
    ("−", "-"),
    (r"\[", "("),
    (r"\]", ")"),
    (r"\be\b", "E"),
]
_plain = st.recursive(
    st.sampled_from([x, y, z, gamma, E, exp(-y), exp(x / 2), exp(x * y - 1)]) | _numbers,
    lambda children: st.one_of(
        *(
            st.tuples(children, children).map(lambda p, kind=kind, e=evaluate: kind(*p, evaluate=e))
            for kind in (Add, Mul)
            for evaluate in (True, False)
        ),
        st.tuples(children, st.sampled_from([2, 3, -1, -2, S.Half, -S.Half, y])).map(lambda p: Pow(*p)),
        children.map(lambda e: log(2 + e**2)),
    ),
    max_leaves=6,
).filter(_is_ordinary)


@settings(max_examples=80)
@given(_plain)
def test_text_reads_back_to_the_same_value(expr: Expr) -> None:
    python = to_text(expr)
    for pattern, replacement in _READ_BACK:
        python = re.sub(pattern, replacement, python)
    python = python.replace("γ", "gamma")
    point = {"x": "1.4", "y": "0.75", "z": "0.3", "gamma": "1.7"}
    with mp.workdps(30):
        names = {name: mp.mpf(value) for name, value in point.items()}
        names |= {"mpf": mp.mpf, "sqrt": mp.sqrt, "log": mp.log, "E": mp.e}
        value = eval(re.sub(r"\d+", r"mpf(\g<0>)", python), {"__builtins__": {}}, names)
        expected = expr.evalf(30, subs={symbol: names[symbol.name] for symbol in expr.free_symbols})
        assert abs(value - mp.mpmathify(expected)) <= mp.mpf(10) ** -15 * (1 + abs(value)), python


# Whole documents


def document() -> str:
    formulas = [entry[0] for entry in (*THEORY.values(), *NODES.values())]
    body = "\n".join(f"\\[\n{aligned_latex([formula])}\n\\]" for formula in [*formulas, (loss, long_sum(12))])
    words = latex_prose("Everything ≤ 1/L, 100% of C⁻¹G & ω_i^h (c_i → 0); √d_e, ŷ_i, Γ, β̂, x ∈ [0,1]^I.")
    return latex_document("Formulas & signs", [("All of the μ_i^h", words + "\n" + body)])


def test_a_document_is_sound() -> None:
    assert check_latex(document()) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_a_document_compiles_and_stays_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "document.tex").write_text(document(), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "document.pdf").stat().st_size > 10_000


def test_the_math_font_has_every_character_that_formulas_use() -> None:
    pytest.importorskip("brotli", reason="needs brotli to read WOFF2")
    font_tools = pytest.importorskip("fontTools.ttLib")
    path = Path(str(files("headflow") / "data" / "math.woff2"))
    assert path.stat().st_size < 150_000
    font = font_tools.TTFont(path)
    assert "MATH" in font
    known = set(font.getBestCmap())
    used = set("".join(leaf for formula, *_ in (*THEORY.values(), *NODES.values()) for leaf in _leaves(formula)))
    # U+2061 and U+2062 are invisible: no glyph is drawn for them.
    assert {mark for mark in used if ord(mark) not in known} <= {"\u2061", "\u2062"}


def _leaves(formula: object) -> list[str]:
    return [leaf.text or "" for leaf in ElementTree.fromstring(to_mathml(formula)).iter()]
