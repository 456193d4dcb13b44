"""Every formula of THEORY, sections 1 to 3, typed by hand in mpmath; and the list of all, to section 4.

A point is a mapping with the numbers I, H, L (integers), sigma2 and nested lists d, lambda (per task), mu, omega
(task, head) and whatever else a formula needs, under the names of ``headflow.theory.notation``.  Indices are 0-based.
The caller sets the precision.

The sheet, line by line.  Each formula is compared with the derived one, as typed in SymPy in the test and at 50 digits
as typed here: (a) test_answer_sheet.py; or, section 4 in ``answer_sheet_limits``, (l) test_answer_sheet_limits.py and
(f) test_answer_sheet_forms.py.

Section 1.  1 φ_i  2 c_i  3 d_e (a).  4 softmax weights and output: the model, where derivations start.  5 decomposable
weights stay so: test_decomposability.py.
Section 2.  6 mean  7 bias  8 covariance of heads  9 C of finite_d  10 its limit  11 |x_q|² under the tilt  12 leading
13 finite_d  14 first_order loss  15 b_h  16 domains, third moment of the query (a).  17 orders of the errors, Monte
Carlo: test_closures.py, test_closure_table.py; the power L^{−1/(3ω²)} beyond ω² < 1/6 is not derived.
Section 3.  18 r  19 M  20 g_μ  21 g_ω, leading and finite_d  22 merged  23 balanced  24 split flow, leading and
finite_d  25 logarithms  26 hyperbolic angles and their flow  27 energy identities (a).  28 shift covariance (a).
29 Δ, Γ constant: test_parametrisations.py.
Section 4.  30 x_i  31 loss in x (against the least loss over μ)  32 best μ  33 Σ x as a trace (l).  34 R_1, R_H
35 shares cut to [0, 1]  36 infimum  37 u e^{−u} ≤ 1/e  38 the 2×2 identity (f).  39 water level (l).  40 x ≤ 1, C ⪰ G,
tightness: steps checked in test_optimum.py.  41 universal bound (l).  42 when it is reached: test_corollaries.py.
43 equal tasks (f).  44 single head (l).  45 residuals and level of one head (f).  46 allocation limit, ω, μ, loss,
leading and finite_d  47 κ(d)  48 split task  49 idle head  50 factor e (l); κ → e: test_closures.py.  51 shared heads,
leading and finite_d (f).  52 separation, at L and in the limit (l); its range: test_optimum.py.  53 Bayes risk
54 linear attention: A, loss, one task, optimum of one task (l).  55 equal tasks (f); one head more: test_context.py.
56 zero-sum profile, its limit, debiased predictor (f).  57 context shift (l).  58 softmax regimes  59 Hermite: bare
power, loss, least loss (f).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mpmath import exp, fprod, fsum, mpf, sinh, sqrt

Point = Mapping[str, Any]


def tasks(p: Point) -> range:
    return range(p["I"])


def heads(p: Point) -> range:
    return range(p["H"])


# 1. Data and model


def phi(p, i):
    return 1 + p["sigma2"] / p["lambda"][i]


def cost(p, i):
    """c_i = φ_i d_i/L."""
    return phi(p, i) * p["d"][i] / p["L"]


def embedding(p):
    """d_e = d + I."""
    return fsum(p["d"]) + p["I"]


# 2. Tilt calculus and closures


def head_mean(p, i, h):
    return p["inner_beta_a"][i][h]


def head_bias(p, i, h):
    return -exp(p["inner_a_a"][h][h]) * p["inner_beta_a"][i][h] / p["L"]


def head_covariance(p, i, h, k):
    spread = p["norm2_beta"][i] + p["sigma2"] + p["inner_beta_a"][i][h] * p["inner_beta_a"][i][k]
    return exp(p["inner_a_a"][h][k]) * spread / p["L"]


def interaction(p, h, k, closure="leading"):
    """C_hk."""
    pairs = [(d, omega[h] * omega[k]) for d, omega in zip(p["d"], p["omega"], strict=True)]
    if closure == "leading":
        return exp(fsum(d * w for d, w in pairs))
    return fprod((1 - 2 * w) ** (-d / 2) for d, w in pairs)


def query_moment(p, i, h, k):
    """E[|x_q^(i)|² e^{⟨a_h, a_k⟩}] / E e^{⟨a_h, a_k⟩}."""
    return p["d"][i] / (1 - 2 * p["omega"][i][h] * p["omega"][i][k])


def relative_bias(p, i, h):
    """b_h of first_order."""
    return interaction(p, h, h, "finite_d") / ((1 - 2 * p["omega"][i][h] ** 2) * p["L"])


def residual(p, i):
    return 1 - fsum(p["mu"][i][h] * p["omega"][i][h] for h in heads(p))


def task_loss(p, i, closure="leading"):
    mu, omega = p["mu"][i], p["omega"][i]
    pairs = [(h, k) for h in heads(p) for k in heads(p)]
    if closure != "first_order":
        spread = fsum(mu[h] * interaction(p, h, k, closure) * mu[k] for h, k in pairs)
        return p["lambda"][i] * (residual(p, i) ** 2 + phi(p, i) / p["L"] * spread)
    b = [relative_bias(p, i, h) for h in heads(p)]
    drift = fsum(mu[h] * omega[h] * (1 - b[h]) for h in heads(p))
    total = mpf(0)
    for h, k in pairs:
        w = omega[h] * omega[k]
        variance = interaction(p, h, k, "finite_d") / p["L"] * (phi(p, i) + w / (1 - 2 * w))
        total += mu[h] * mu[k] * (w * (1 - b[h] - b[k]) + variance)
    return p["lambda"][i] * (1 - 2 * drift + total)


def loss(p, closure="leading"):
    return fsum(task_loss(p, i, closure) for i in tasks(p))


def long_queries(p):
    """E e^{3|a|²} for the first head."""
    return fprod((1 - 6 * omega[0] ** 2) ** (-d / 2) for d, omega in zip(p["d"], p["omega"], strict=True))


# 3. Gradient flow


def head_power(p, h, k):
    """M_hk."""
    return fsum(p["lambda"][i] * phi(p, i) / p["L"] * p["mu"][i][h] * p["mu"][i][k] for i in tasks(p))


def g_mu(p, i, h, closure="leading"):
    drag = fsum(interaction(p, h, k, closure) * p["mu"][i][k] for k in heads(p))
    pull = -2 * p["lambda"][i] * residual(p, i) * p["omega"][i][h]
    return pull + 2 * p["lambda"][i] * phi(p, i) / p["L"] * drag


def g_omega(p, i, h, closure="leading"):
    omega, drag = p["omega"][i], mpf(0)
    for k in heads(p):
        pole = 1 - 2 * omega[h] * omega[k] if closure == "finite_d" else 1
        drag += head_power(p, h, k) * interaction(p, h, k, closure) * omega[k] / pole
    return -2 * p["lambda"][i] * residual(p, i) * p["mu"][i][h] + 2 * p["d"][i] * drag


def merged(p, i, h, closure="leading"):
    return -g_mu(p, i, h, closure), -g_omega(p, i, h, closure) / p["d"][i]


def balanced(p, i, h, closure="leading"):
    rates = log_rates(p, i, h, closure)
    return p["mu"][i][h] * rates[0], p["omega"][i][h] * rates[1]


def log_rates(p, i, h, closure="leading"):
    """d log μ/dt and d log ω/dt of the balanced flow."""
    return -2 * g_mu(p, i, h, closure), -2 / sqrt(embedding(p)) * g_omega(p, i, h, closure) / p["d"][i]


def with_products(p):
    """The point with μ = o v, ω = k q/√d_e."""
    mu = [[p["o"][i][h] * p["v"][i][h] for h in heads(p)] for i in tasks(p)]
    omega = [[p["k"][i][h] * p["q"][i][h] / sqrt(embedding(p)) for h in heads(p)] for i in tasks(p)]
    return {**p, "mu": mu, "omega": omega}


def split(p, i, h, closure="leading"):
    at = with_products(p)
    by_mu, by_omega = g_mu(at, i, h, closure), g_omega(at, i, h, closure) / (sqrt(embedding(p)) * p["d"][i])
    o, v, k, q = (p[name][i][h] for name in "ovkq")
    return -v * by_mu, -o * by_mu, -q * by_omega, -k * by_omega


def energy_merged(p):
    """d𝓛/dt: minus the squared speed in the parameter metric."""
    speeds = [(p["d"][i], merged(p, i, h)) for i in tasks(p) for h in heads(p)]
    return -fsum(mu**2 + d * omega**2 for d, (mu, omega) in speeds)


def energy_balanced(p):
    """The same with dμ² = 2 do² and d_i dω² √d_e = 2 d_i dk² on the balanced set."""
    total = mpf(0)
    for i in tasks(p):
        for h in heads(p):
            mu, omega = balanced(p, i, h)
            total += mu**2 / (2 * p["mu"][i][h]) + p["d"][i] * sqrt(embedding(p)) * omega**2 / (2 * p["omega"][i][h])
    return -total


def energy_split(p):
    speeds = [(p["d"][i], split(p, i, h)) for i in tasks(p) for h in heads(p)]
    return -fsum(o**2 + v**2 + d * (k**2 + q**2) for d, (o, v, k, q) in speeds)


def with_logarithms(p):
    names = (("mu", "log_mu"), ("omega", "log_omega"))
    return {**p, **{name: [[exp(x) for x in row] for row in p[own]] for name, own in names}}


def mu_of_angle(p, i, h):
    return p["abs_Delta"][i][h] / 2 * sinh(2 * p["theta"][i][h])


def omega_of_angle(p, i, h):
    return p["abs_Gamma"][i][h] / (2 * sqrt(embedding(p))) * sinh(2 * p["vartheta"][i][h])


def with_angles(p):
    products = {"mu": mu_of_angle, "omega": omega_of_angle}
    return {**p, **{name: [[of(p, i, h) for h in heads(p)] for i in tasks(p)] for name, of in products.items()}}


def angle_rates(p, i, h):
    at = with_angles(p)
    return -g_mu(at, i, h), -g_omega(at, i, h) / (p["d"][i] * sqrt(embedding(p)))


def shifted_interaction(p, h, k):
    """D_h E_hk D_k."""
    own = [exp(fsum(p["d"][j] * p["omega"][j][a] ** 2 for j in tasks(p)) / 2) for a in (h, k)]
    apart = fsum(p["d"][j] * (p["omega"][j][h] - p["omega"][j][k]) ** 2 for j in tasks(p))
    return own[0] * exp(-apart / 2) * own[1]
