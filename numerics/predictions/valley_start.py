"""Weights in a valley of the merged flow: of a chosen shape, at a chosen distance from the infimum."""

from __future__ import annotations

import numpy as np

from ...theory.closed_form import parameters_of
from ...theory.errors import InputError
from ...theory.merged.line_shape import resting_weights
from ...theory.optima.approaching_weights import projector_frame
from ...theory.optima.optimum import multi_head_optimum
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from .valley_shape import resting_line


def valley_start(problem: Problem, points: FloatArray, size: float, weights: FloatArray | None = None) -> InitialState:
    """Weights with heads at these points, and the μ that the infimum asks for as ω → 0.

    Parameters
    ----------
    problem
        At least two heads.
    points
        Shape (R, H), R = min(I, H − 1): where each head lies in the R directions of `directions`, up to a factor.
        They span all R.
    size
        The largest |√d ω^h| of a head.
    weights
        Shape (R, H): zero-sum rows, ``weights @ points.T`` the unit matrix.  By default the least that are so; the
        points are then taken to zero mean.

    Raises ``InputError`` for arrays of another shape, and for points that span fewer directions.
    """
    frame, reach = directions(problem)
    wanted = (frame.shape[1], problem.n_heads)
    places = np.asarray(points, float)
    if places.shape != wanted or (weights is not None and np.shape(weights) != wanted):
        raise InputError(f"points and weights in a valley must have shape {wanted}, got {places.shape}")
    if weights is None:
        places = places - places.mean(axis=1, keepdims=True)
        if np.linalg.matrix_rank(places) < wanted[0]:
            raise InputError(f"the points of a valley must span {wanted[0]} directions")
        weights = np.linalg.pinv(places).T
    scale = size / float(np.linalg.norm(places, axis=0).max())
    roots = np.sqrt(np.array(problem.dims, float))[:, None]
    return InitialState(mu=reach[:, None] * (frame @ weights) / scale, omega=scale * (frame @ places) / roots)


def directions(problem: Problem) -> tuple[FloatArray, FloatArray]:
    """The directions that zero-sum weights use at the infimum, and how far they reach.

    A matrix (I, R) with orthonormal columns, and per task κ_i: ``Σ_h μ_i^h √d_j ω_j^h = κ_i P_ij`` with P the projector
    on the columns, P_ii the task's share.
    """
    values = parameters_of(problem)
    shares = multi_head_optimum().solve(problem).shares
    frame = np.array(projector_frame(shares).evalf(17).tolist(), float).reshape(problem.n_tasks, -1)
    reach = [float(d) ** 0.5 / (float(c) + float(x)) for d, c, x in zip(values["d"], values["c"], shares, strict=True)]
    return frame, np.array(reach)


def on_axes(n_directions: int, n_heads: int, order: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Points and weights of heads on the axes: on each as many places as the order, at rest there.

    Heads left over join places at random; heads of one place share its weight, in parts drawn at random.

    Raises ``InputError`` for an order below 2, or fewer heads than ``order`` on each axis.
    """
    if order < 2 or n_heads < order * n_directions:
        raise InputError(
            f"order {order} needs at least 2 places, and that many heads, on each of {n_directions} axes; got {n_heads}"
        )
    sizes = np.ones((n_directions, order), int)
    for place in rng.integers(sizes.size, size=n_heads - sizes.size):
        sizes.flat[place] += 1
    points, weights = np.zeros((n_directions, n_heads)), np.zeros((n_directions, n_heads))
    head = 0
    for axis, many in enumerate(sizes):
        inverse = [*range(1, order), -order * (order - 1) // 2]
        line = resting_line([1 / place for place in inverse], many.tolist())
        assert line is not None
        places = np.array(line.places)
        of_place = np.array([float(weight) for weight in resting_weights(places.tolist())])
        for place, count in enumerate(many):
            shares = rng.uniform(0.5, 1.5, count)
            own = slice(head, head + count)
            points[axis, own], weights[axis, own] = 1 / places[place], of_place[place] * shares / shares.sum()
            head += count
    return points, weights
