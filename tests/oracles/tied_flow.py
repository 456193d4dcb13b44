"""Flows from starts that a symmetry fixes, on one number per orbit of entries: what cannot leave the symmetry.

The symmetry is one signed permutation: task i goes to task rows[i], head h to head columns[h], and the weights of
task i take the sign signs[i]. The tasks of a cycle have equal parameters. The loss is typed by hand (notes THEORY,
section 2); its gradient is a complex step of 1e-30 through it, which has no truncation and no cancellation.

Time is learning rate x steps and the loss has no 1/2. In balanced and split weights the state is G, the integral of
the gradient: o + v = (o + v)(0) exp(-G), o - v = (o - v)(0) exp(G), so that
4 mu = (o + v)(0)^2 exp(-2 G) - (o - v)(0)^2 exp(2 G), and the same for k, q with omega sqrt(d_e).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

Array = np.ndarray[Any, Any]
Problem = Mapping[str, Any]


class Orbits(NamedTuple):
    """Per entry (I, H) the number of its orbit and its sign there (0 where the symmetry turns it into its negative)."""

    numbers: Array
    signs: Array


def orbits(rows: Sequence[int], columns: Sequence[int], signs: Sequence[int]) -> Orbits:
    """Of the entries under the powers of one signed permutation."""
    shape = len(rows), len(columns)
    numbers, sides = np.full(shape, -1), np.zeros(shape, int)
    count = 0
    for place in np.ndindex(shape):
        if numbers[place] >= 0:
            continue
        (i, h), sign = place, 1
        while numbers[i, h] < 0:
            numbers[i, h], sides[i, h] = count, sign
            i, h, sign = rows[i], columns[h], sign * signs[i]
        if sides[i, h] != sign:
            sides[numbers == count] = 0
        count += 1
    return Orbits(numbers, sides)


def losses(mu: Array, omega: Array, problem: Problem, closure: str) -> Array:
    """Population losses of weights of shape (..., I, H), real or complex."""
    lam, d = (np.asarray(problem[name], float)[:, None] for name in ("lam", "d"))
    phi, length = 1 + float(problem["sigma2"]) / lam, float(problem["L"])
    products = omega[..., :, None] * omega[..., None, :]
    if closure == "leading":
        c = np.exp(np.sum(d[:, :, None] * products, axis=-3))
    else:
        inside = np.where((1 - 2 * products).real > 0, 1 - 2 * products, np.nan)
        c = np.exp(np.sum(-d[:, :, None] / 2 * np.log(inside), axis=-3))
    if closure != "first_order":
        bias = 1 - np.sum(mu * omega, axis=-1)
        noise = np.einsum("...ih,...hk,...ik->...i", mu, c, mu)
        return np.sum(lam[:, 0] * (bias**2 + phi[:, 0] / length * noise), axis=-1)
    b = np.einsum("...hh->...h", c)[..., None, :] / ((1 - 2 * omega**2) * length)
    kept = products * (1 - b[..., :, None] - b[..., None, :])
    kept = kept + c[..., None, :, :] / length * (phi[:, :, None] + products / (1 - 2 * products))
    quadratic = np.einsum("...ih,...ihk,...ik->...i", mu, kept, mu)
    return np.sum(lam[:, 0] * (1 - 2 * np.sum(mu * omega * (1 - b), axis=-1) + quadratic), axis=-1)


class End(NamedTuple):
    """Loss and weights (I, H) at the end."""

    loss: float
    mu: Array
    omega: Array


def follow(
    problem: Problem,
    orbit: Orbits,
    mu: Array,
    omega: Array,
    parametrisation: str,
    closure: str,
    t_final: float,
    imbalance: tuple[Array, Array] | None = None,
    rtol: float = 1e-11,
) -> End:
    """Where the flow is at ``t_final``; RuntimeError where the solver fails.

    ``mu``, ``omega`` and the two ``imbalance`` arrays (I, H) are constant on the orbits, up to the orbits' signs.
    """
    d = np.asarray(problem["d"], float)
    root = math.sqrt(d.sum() + len(d))
    firsts = [tuple(np.argwhere(orbit.numbers == one)[0]) for one in range(orbit.numbers.max() + 1)]
    sizes = np.bincount(orbit.numbers.ravel())
    per_task = np.array([d[i] for i, _ in firsts])
    count = len(firsts)

    def spread(numbers: Array) -> Array:
        return np.where(orbit.signs == 0, 0.0, numbers[..., orbit.numbers] * orbit.signs)

    mu0, omega0 = (np.array([array[place] for place in firsts]) for array in (mu, omega))
    if parametrisation == "merged":
        start = np.concatenate([mu0, omega0])
    else:
        start = np.zeros(2 * count)
        delta, gamma = (np.array([a[p] for p in firsts]) for a in imbalance) if imbalance else (0 * mu0, 0 * mu0)
        squares = [_squares(mu0, delta), _squares(omega0 * root, gamma)]

    def products(y: Array) -> tuple[Array, Array]:
        """mu and omega per orbit."""
        first, second = y[..., :count], y[..., count:]
        if parametrisation == "merged":
            return first, second
        return _product(*squares[0], first), _product(*squares[1], second) / root

    steps = 1e-30j * np.eye(2 * count)

    def velocity(y: Array) -> Array:
        mu, omega = products(y)
        shifted_mu, shifted_omega = mu + steps[:, :count], omega + steps[:, count:]
        slopes = losses(spread(shifted_mu), spread(shifted_omega), problem, closure).imag / 1e-30
        g_mu, g_omega = slopes[:count] / sizes, slopes[count:] / sizes / per_task
        if parametrisation == "merged":
            return -np.concatenate([g_mu, g_omega])
        return np.concatenate([g_mu, g_omega / root])

    fastest = float(np.abs(velocity(start)).max())
    unit = min(1 / fastest, t_final) if fastest else t_final
    atol = rtol * (max(1e-3 * float(np.abs(start).max()), 1e-300) if parametrisation == "merged" else 1e-1)

    def rates(s: float, y: Array) -> Array:
        return unit * math.exp(s) * velocity(y)

    with np.errstate(all="ignore"):
        for method in ("LSODA", "DOP853"):  # LSODA accepts what is not a number; DOP853 takes a shorter step then
            found = solve_ivp(rates, (0.0, math.log1p(t_final / unit)), start, method=method, rtol=rtol, atol=atol)
            if found.success and np.isfinite(found.y[:, -1]).all():
                weights = [spread(part) for part in products(found.y[:, -1])]
                return End(float(losses(*weights, problem, closure)), *weights)
    raise RuntimeError("no solver came to the end")


def _product(total: Array, difference: Array, integral: Array) -> Array:
    """A square that vanishes stays zero, however long the gradient has acted."""
    parts = [
        np.where(square > 0, square * np.exp(2 * sign * integral), 0.0) / 4
        for square, sign in ((total, -1), (difference, 1))
    ]
    return parts[0] - parts[1]


def _squares(product: Array, imbalance: Array) -> tuple[Array, Array]:
    """(o + v)^2 and (o - v)^2 of o v and o^2 - v^2, without cancellation."""
    both = np.sqrt(imbalance**2 + 4 * product**2)
    larger = both + 2 * np.abs(product)
    with np.errstate(divide="ignore", invalid="ignore"):
        smaller = np.where(larger > 0, imbalance**2 / larger, 0.0)
    return np.where(product < 0, smaller, larger), np.where(product < 0, larger, smaller)
