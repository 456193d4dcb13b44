"""Every formula of THEORY, section 4, typed by hand in mpmath: optimum, limits, context.

Points and indices are those of ``answer_sheet``, which holds sections 1 to 3.
"""

from __future__ import annotations

from mpmath import binomial, e, exp, factorial, fprod, fsum, log, lu_solve, matrix, mpf, sinh, sqrt

from .answer_sheet import cost, heads, interaction, loss, phi, tasks

# 4. Optimum


def best_mu(p, i):
    """The minimiser of the leading loss over μ_i: (ω ωᵀ + (φ/L) C) μ = ω."""
    omega = p["omega"][i]
    rows = [[omega[h] * omega[k] + phi(p, i) / p["L"] * interaction(p, h, k) for k in heads(p)] for h in heads(p)]
    return list(lu_solve(matrix(rows), matrix(omega)))


def least_loss(p):
    """The leading loss at that μ."""
    return loss({**p, "mu": [best_mu(p, i) for i in tasks(p)]})


def share(p, i):
    """x_i = d_i ω_iᵀ C⁻¹ ω_i."""
    rows = [[interaction(p, h, k) for k in heads(p)] for h in heads(p)]
    solved = lu_solve(matrix(rows), matrix(p["omega"][i]))
    return p["d"][i] * fsum(a * b for a, b in zip(p["omega"][i], solved, strict=True))


def share_loss(p):
    return fsum(p["lambda"][i] * cost(p, i) / (cost(p, i) + p["x"][i]) for i in tasks(p))


def two_heads(p, q, s):
    """det(11ᵀ + G∘G/2) − det G."""
    return (p**2 + q**2) / 2 - s**2 + (p**2 * q**2 - s**4) / 4 - (p * q - s**2)


def budget(n_heads):
    return 1 / e if n_heads == 1 else mpf(n_heads - 1)


def interior_share(p, i):
    """x_i before it is cut to [0, 1]."""
    return sqrt(p["lambda"][i] * cost(p, i) / p["nu"]) - cost(p, i)


def water_filling(p, total):
    """Minimum of Σ λ c/(c + x) over 0 ≤ x ≤ 1, Σ x ≤ total: bisection on log ν, 220 halvings."""
    lam, c = p["lambda"], [cost(p, i) for i in tasks(p)]

    def shares(level):
        return [min(max(sqrt(a * b) / level - b, 0), 1) for a, b in zip(lam, c, strict=True)]

    if total >= p["I"]:
        return fsum(a * b / (1 + b) for a, b in zip(lam, c, strict=True))
    low, high = (
        edge(log(sqrt(a * b) / (b + x)) for a, b in zip(lam, c, strict=True)) for edge, x in ((min, 1), (max, 0))
    )
    for _ in range(220):
        middle = (low + high) / 2
        low, high = (middle, high) if fsum(shares(exp(middle))) > total else (low, middle)
    return fsum(a * b / (b + x) for a, b, x in zip(lam, c, shares(exp(high)), strict=True))


def universal(p):
    return fsum(p["lambda"][i] * cost(p, i) / (1 + cost(p, i)) for i in tasks(p))


def equal_tasks(p):
    """λ I c/(min(1, (H − 1)/I) + c), from task 1."""
    c = cost(p, 0)
    return p["lambda"][0] * p["I"] * c / (min(mpf(1), mpf(p["H"] - 1) / p["I"]) + c)


def single_head(p):
    root = fsum(sqrt(p["lambda"][i] * phi(p, i) * p["d"][i]) for i in tasks(p))
    return e * root**2 / (p["L"] + e * fsum(phi(p, i) * p["d"][i] for i in tasks(p)))


def single_head_residual(p, i):
    return min(mpf(1), sqrt(phi(p, i) * p["d"][i] * p["nu_1"] / p["lambda"][i]))


def single_head_level(p):
    """The left side of (e/L) Σ_i d_i φ_i (√(λ_i/(φ_i d_i ν)) − 1)_+ = 1."""
    weight = [p["d"][i] * phi(p, i) for i in tasks(p)]
    return (
        e
        / p["L"]
        * fsum(w * max(sqrt(lam / (w * p["nu_1"])) - 1, 0) for w, lam in zip(weight, p["lambda"], strict=True))
    )


# 4. Limits


def kappa(d):
    return (1 + 2 / d) ** (d / 2 + 1)


def limit_omega(p, i, closure="leading"):
    return 1 / sqrt(p["d"][i] + (2 if closure == "finite_d" else 0))


def limit_mu(p, i, closure="leading"):
    factor = e if closure == "leading" else kappa(p["d"][i])
    return 1 / limit_omega(p, i, closure) / (1 + factor * cost(p, i))


def limit_task(p, i, closure="leading"):
    load = (e if closure == "leading" else kappa(p["d"][i])) * cost(p, i)
    return p["lambda"][i] * load / (1 + load)


def limit_loss(p, closure="leading"):
    return fsum(limit_task(p, i, closure) for i in tasks(p))


def idle_rate(p, i):
    c, d, u = cost(p, i), p["d"][i], p["u"]
    return 4 * p["lambda"][i] * c / ((1 + e * c) * sqrt(d)) * (exp(u) - e * u)


def factor_e(p, i):
    return e * (1 + cost(p, i)) / (1 + e * cost(p, i))


def separation(p):
    """𝓛*_1/𝓛_∞ as L → ∞."""
    prices = [p["lambda"][i] * phi(p, i) * p["d"][i] for i in tasks(p)]
    return fsum(map(sqrt, prices)) ** 2 / fsum(prices)


def shared_omega(g, d, closure="leading"):
    return 1 / sqrt(g * d + (2 if closure == "finite_d" else 0))


def shared_loss(g, lam, d, c, closure="leading"):
    load = (e if closure == "leading" else kappa(g * d)) * g * c
    return g * lam * load / (1 + load)


def shared_mu(g, d, c, closure="leading"):
    factor = e if closure == "leading" else kappa(g * d)
    return 1 / (shared_omega(g, d, closure) * (1 + factor * g * c))


# 4. Context


def bayes(p):
    total = mpf(0)
    for i in tasks(p):
        gamma = p["d"][i] / p["L"]
        z = p["sigma2"] * gamma / p["lambda"][i]
        a = 1 - gamma + z
        total += p["lambda"][i] * (-a + sqrt(a**2 + 4 * gamma * z)) / (2 * gamma)
    return total


def effective(p, i, j):
    return fsum(p["mu"][i][h] * p["omega"][j][h] for h in heads(p))


def linear_loss(p):
    """By the second moment of one token: A_i x_q has the regressor's length A_ii, the tilt's Σ_j d_j A_ij²."""
    total = mpf(0)
    for i in tasks(p):
        own = effective(p, i, i)
        spread = phi(p, i) * fsum(p["d"][j] * effective(p, i, j) ** 2 for j in tasks(p)) + own**2
        total += p["lambda"][i] * ((1 - own) ** 2 + spread / p["L"])
    return total


def linear_single(p):
    """λ[(1 − s)² + s² (φd + 1)/L], one task."""
    s = p["s"][0]
    return p["lambda"][0] * ((1 - s) ** 2 + s**2 * (phi(p, 0) * p["d"][0] + 1) / p["L"])


def linear_single_optimum(p):
    spread = phi(p, 0) * p["d"][0] + 1
    return p["lambda"][0] * spread / (p["L"] + spread)


def linear_equal_tasks(p):
    c = cost(p, 0)
    return p["lambda"][0] * p["I"] * c / (min(mpf(1), mpf(p["H"]) / p["I"]) + c)


def pair_profile(p):
    squared = p["pair"] ** 2
    return p["lambda"][0] * (1 - squared / (squared + phi(p, 0) / p["L"] * sinh(p["d"][0] * squared)))


def debiased(p):
    """⟨(1/L) Σ_l y_l (x_l − mean), x_q⟩/(1 + c): s_l = ⟨x_l, x_q⟩."""
    length = len(p["score"])
    mean = fsum(p["score"]) / length
    step = fsum(y * (s - mean) for y, s in zip(p["label"], p["score"], strict=True)) / length
    return step / (1 + phi(p, 0) * p["d"][0] / length)


def shifted(p):
    total = mpf(0)
    for i in tasks(p):
        s = 1 / (1 + e * cost(p, i))
        total += p["lambda"][i] * ((1 - s) ** 2 + e * phi(p, i) * p["d"][i] / p["L_prime"] * s**2)
    return total


def odd_factorial(k):
    return fprod(range(1, 2 * k, 2))


def tilted_hermite(k, m):
    """E He_k(m + z), z standard normal: the polynomial's coefficients and the moments of z."""
    total = mpf(0)
    for j in range(k // 2 + 1):
        power = k - 2 * j
        coefficient = (-1) ** j * factorial(k) / (factorial(j) * factorial(power) * 2**j)
        moments = (binomial(power, 2 * t) * m ** (power - 2 * t) * odd_factorial(t) for t in range(power // 2 + 1))
        total += coefficient * fsum(moments)
    return total


def hermite_loss(k, s):
    return 1 - 2 * s + s**2 * odd_factorial(k) / factorial(k)


def hermite_least(k):
    return 1 - factorial(k) / odd_factorial(k)


def typical_exponent(r):
    if 2 * r <= 1:
        return r - 1
    return -((sqrt(2) - sqrt(r)) ** 2) if r < 2 else mpf(0)


def expected_exponent(r):
    if 3 * r <= 2:
        return r - 1
    return -((1 - r / 2) ** 2) / (2 * r) if r < 2 else mpf(0)
