"""The symbols: every name is made once, here, with its assumptions and its LaTeX form.

Index conventions.  Tasks are numbered ``1..I`` (index names i, j, ...), heads ``1..H`` (h, k, ...).
On paper sums start at 1; only the code generator crosses to 0-based arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sympy import Expr, Indexed, IndexedBase, Sum, Symbol, sympify


class SymmetricBase(IndexedBase):
    """An indexed name with ``X[h, k] == X[k, h]``: its indices are kept in one order."""

    def __getitem__(self, indices: Any, **kwargs: Any) -> Indexed:
        entries = indices if isinstance(indices, tuple) else (indices,)
        ordered = sorted(entries, key=lambda entry: sympify(entry).sort_key())
        return super().__getitem__(tuple(ordered), **kwargs)


# Python has no good spelling for SymPy's ``I`` clash: the *names* below say n_tasks and n_heads,
# the symbols print as I and H.
n_tasks = Symbol("I", integer=True, positive=True)
n_heads = Symbol("H", integer=True, positive=True)
context_length = Symbol("L", integer=True, positive=True)
noise_variance = Symbol("sigma2", nonnegative=True)
embedding_dim = Symbol("d_e", positive=True)
loss = Symbol("loss", real=True)
loss_rate = Symbol("loss_dot", real=True)

dims = IndexedBase("d", positive=True)
signal_power = IndexedBase("lambda", positive=True)
noise_factor = IndexedBase("phi", positive=True)
noise_to_context = IndexedBase("c", positive=True)

mu = IndexedBase("mu", real=True)
omega = IndexedBase("omega", real=True)
log_mu = IndexedBase("log_mu", real=True)
log_omega = IndexedBase("log_omega", real=True)

# Factors of the split parametrisation: mu = o v, omega = k q / sqrt(d_e).
o = IndexedBase("o", real=True)
v = IndexedBase("v", real=True)
key = IndexedBase("k", real=True)
query = IndexedBase("q", real=True)

residual = IndexedBase("r", real=True)
interaction = SymmetricBase("C", positive=True)
interaction_inverse = SymmetricBase("C_inverse", real=True)
head_power = SymmetricBase("M", real=True)
relative_bias = IndexedBase("b", real=True)

# Inner products of the model, as scalars: a_h = W_X^(h) x_q is head h's tilt, beta_i task i's regressor.
head_head = SymmetricBase("inner_a_a", real=True)
beta_head = IndexedBase("inner_beta_a", real=True)
beta_query = IndexedBase("inner_beta_x", real=True)
beta_beta = IndexedBase("norm2_beta", nonnegative=True)
query_query = IndexedBase("norm2_x", nonnegative=True)

TASK_INDEX_NAMES = ("i", "j", "m", "n", "i1", "j1", "m1", "n1")
HEAD_INDEX_NAMES = ("h", "k", "l", "p", "h1", "k1", "l1", "p1")
OTHER_INDEX_NAMES = ("a", "b", "e", "f", "a1", "b1", "e1", "f1")


def index(name: str) -> Symbol:
    """The index symbol of that name: an integer symbol, the same object at every call."""
    return Symbol(name, integer=True)


i, j = index("i"), index("j")
h, k = index("h"), index("k")


def index_names(upper: Expr) -> Iterator[Symbol]:
    """Display names for a bound index that runs to ``upper``, in order of preference, without end."""
    names = {n_tasks: TASK_INDEX_NAMES, n_heads: HEAD_INDEX_NAMES}.get(upper, OTHER_INDEX_NAMES)
    yield from map(index, names)
    number = 2
    while True:
        yield index(f"{names[0]}{number}")
        number += 1


def over_tasks(summand: Expr, *indices: Symbol) -> Expr:
    """``Σ summand`` with each of ``indices`` (default i) running over the tasks."""
    return Sum(summand, *((index, 1, n_tasks) for index in indices or (i,)))


def over_heads(summand: Expr, *indices: Symbol) -> Expr:
    """``Σ summand`` with each of ``indices`` (default h) running over the heads."""
    return Sum(summand, *((index, 1, n_heads) for index in indices or (h,)))


# LaTeX and plain-text names; a name that is missing prints as it is written.
LATEX_NAMES = {
    "abs_Delta": r"\lvert\Delta\rvert",
    "abs_Gamma": r"\lvert\Gamma\rvert",
    "abs_mu": r"\lvert\mu\rvert",
    "abs_omega": r"\lvert\omega\rvert",
    "C_on": "C",
    "sigma2": r"\sigma^2",
    "lambda": r"\lambda",
    "phi": r"\varphi",
    "mu": r"\mu",
    "omega": r"\omega",
    "log_mu": "u",
    "log_omega": "w",
    "xi": r"\xi",
    "eta": r"\eta",
    "zeta": r"\zeta",
    "chi": r"\chi",
    "escape_rate": "g",
    "theta_start": r"\theta(0)",
    "mu_start": r"\mu(0)",
    "mu_end": r"\mu_*",
    "t_cross": r"t_\times",
    "T_escape": r"T_{\mathrm{esc}}",
    "beta": r"\beta",
    "ell": r"\ell",
    "loss": r"\mathcal{L}",
    "nu": r"\nu",
    "kappa": r"\kappa",
    "rho": r"\rho",
    "loss_gap": r"\mathcal{L}-\inf\mathcal{L}",
    "gamma_fast": r"\gamma_{\mathrm{fast}}",
    "infinity": r"\infty",
    "infimum": r"\inf\mathcal{L}",
    "infimum_finite_d": r"\inf\mathcal{L}_{\mathrm{finite}\,d}",
}
TEXT_NAMES = {
    "abs_Delta": "|Δ|",
    "abs_Gamma": "|Γ|",
    "abs_mu": "|μ|",
    "abs_omega": "|ω|",
    "C_on": "C",
    "sigma2": "σ²",
    "lambda": "λ",
    "phi": "φ",
    "mu": "μ",
    "omega": "ω",
    "log_mu": "u",
    "log_omega": "w",
    "xi": "ξ",
    "eta": "η",
    "zeta": "ζ",
    "chi": "χ",
    "escape_rate": "g",
    "theta_start": "θ(0)",
    "mu_start": "μ(0)",
    "mu_end": "μ_*",
    "t_cross": "t_×",
    "T_escape": "T_esc",
    "beta": "β",
    "ell": "ℓ",
    "loss": "𝓛",
    "nu": "ν",
    "kappa": "κ",
    "rho": "ρ",
    "loss_gap": "𝓛 − inf 𝓛",
    "gamma_fast": "γ_fast",
    "infinity": "∞",
    "infimum": "inf 𝓛",
    "infimum_finite_d": "inf 𝓛 (finite d)",
}
# Spectral variables carry the task below and the head above, as in the papers: mu_i^h.
# So do scores s, attention weights p (token below) and outputs f of a head.
TASK_BELOW_HEAD_ABOVE = frozenset(
    {"mu", "omega", "log_mu", "log_omega", "o", "v", "k", "q", "s", "p", "f", "b"}
    | {"theta", "vartheta", "Delta", "Gamma", "abs_Delta", "abs_Gamma", "xi", "eta", "zeta", "chi"}
)
DOT = "_dot"
GRADIENT = "g_"


def time_derivative(variable: Indexed | Symbol) -> Indexed | Symbol:
    """The symbol for d(variable)/dt: printed with a dot, time = learning rate x steps."""
    if isinstance(variable, Symbol):
        return Symbol(f"{variable}{DOT}", real=True)
    base = variable.base
    return IndexedBase(f"{base.label}{DOT}", real=True)[variable.indices]


def partial_derivative(variable: Indexed | Symbol) -> Indexed | Symbol:
    """The symbol for ∂𝓛/∂(variable): printed g with the variable's name below."""
    if isinstance(variable, Symbol):
        return Symbol(f"{GRADIENT}{variable}", real=True)
    return IndexedBase(f"{GRADIENT}{variable.base.label}", real=True)[variable.indices]
