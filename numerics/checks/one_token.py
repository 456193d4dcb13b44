"""The exact risk of attention without softmax: its tokens act one by one, so averages over one token are all.

Loss and weights are polynomials in Gaussian variables, which few quadrature nodes integrate exactly.
"""

from __future__ import annotations

from itertools import product
from typing import Final

import numpy as np

from ..attention.quadrature import hermite, squared_length
from ..problem.covariates import CovariateProblem
from ..problem.problem import FloatArray, Problem

# Of polynomials of degree four in a normal variable, and of degree two in a squared length.
_NODES: Final = 3
_LENGTH_NODES: Final = 2


def linear_risk(problem: Problem, matrix: FloatArray) -> FloatArray:
    """The risk of each task, (I,), of linear attention with effective matrix ``matrix`` (I, I), at any d_i and L.

    A token is seen through its component along each task's part of the query; the d_i − 1 others are averaged.
    """
    length, noise = problem.context_length, float(problem.noise_variance)
    power, dims = np.array(problem.signal_power, float), np.array(problem.dims, float)
    tokens, chance = _grid([hermite(_NODES)] * problem.n_tasks)
    risk = np.zeros(problem.n_tasks)
    for squares, weight in zip(*_grid([squared_length(dim, _LENGTH_NODES) for dim in problem.dims]), strict=True):
        query = np.sqrt(squares)
        weights = (tokens * query) @ matrix.T / length  # (tokens, I): of a token for each task
        size = length * (chance @ weights**2)
        own = _missed(weights, tokens, query, chance, length)
        risk += weight * (power / dims * (own + (dims - 1) * size) + noise * size)
    return risk


def linear_covariate_risk(problem: CovariateProblem, matrix: FloatArray) -> float:
    """The risk of linear attention with a full effective matrix (D, D) on coordinates of any variances."""
    length = problem.context_length
    width = np.sqrt(np.array(problem.variances, float))
    power = np.array(problem.regressor_variances, float)
    nodes, chance = _grid([hermite(_NODES)] * len(width))
    nodes = nodes * width
    risk = 0.0
    for query, weight in zip(nodes, chance, strict=True):
        weights = np.broadcast_to((nodes @ matrix @ query / length)[:, None], nodes.shape)
        size = length * float(chance @ weights[:, 0] ** 2)
        missed = _missed(weights, nodes, query, chance, length)
        risk += weight * (float(power @ missed) + float(problem.noise_variance) * size)
    return risk


def _missed(weights: FloatArray, tokens: FloatArray, query: FloatArray, chance: FloatArray, length: int) -> FloatArray:
    """``E (Σ_l w_l x_l − x_q)²`` in every coordinate over ``length`` independent tokens."""
    mean, square = chance @ (weights * tokens), chance @ (weights * tokens) ** 2
    found: FloatArray = length * (square - mean**2) + (length * mean - query) ** 2
    return found


def _grid(rules: list[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Nodes (n, coordinates) and weights (n,) of a product rule."""
    nodes = np.array(list(product(*(nodes for nodes, _ in rules))))
    return nodes, np.array([np.prod(weights) for weights in product(*(weights for _, weights in rules))])
