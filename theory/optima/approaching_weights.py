"""Weights that approach the optimum: an explicit family whose loss tends to the infimum (derived here).

For H ≥ 2 the infimum is not attained.  With shares x from water-filling, ``ω = ε D^{−1/2} V B`` (V has orthonormal
columns and rows of squared length x_i, B orthonormal zero-sum rows) has ``x_i(ω) → x_i`` as ε → 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, Integer, Matrix, N, Rational, S, eye, sqrt, zeros

DIGITS = 40
# What two exact numbers that are equal may seem to differ by at that many digits.
ROUNDING = Rational(1, 10**20)


def projector_frame(shares: Sequence[Expr]) -> Matrix:
    """A matrix V, (I, R), with VᵀV = 1 and rows of squared length ``shares`` (in [0, 1], with integer sum R).

    Chan and Li's construction of a matrix with given spectrum and diagonal (Schur–Horn): start from the
    diagonal projector and rotate two rows at a time, fixing one row's length with each rotation.
    """
    total = N(sum(shares, S.Zero), DIGITS)
    rank = round(float(total))
    if abs(total - rank) > ROUNDING or any(not -ROUNDING <= N(x, DIGITS) <= 1 + ROUNDING for x in shares):
        raise ValueError(f"shares must lie in [0, 1] and have an integer sum, got {tuple(shares)}")
    order = sorted(range(len(shares)), key=lambda place: -N(shares[place], DIGITS))
    frame = eye(len(shares))[:, :rank]
    length: dict[int, Expr] = {row: Integer(int(row < rank)) for row in range(len(shares))}
    placed: dict[int, int] = {}
    free = list(range(len(shares)))
    for task in order:
        wanted = shares[task]
        above = [row for row in free if N(length[row] - wanted, DIGITS) >= -ROUNDING]
        below = [row for row in free if N(length[row] - wanted, DIGITS) <= ROUNDING]
        upper = min(above, key=lambda row: N(length[row], DIGITS))
        lower = max(below, key=lambda row: N(length[row], DIGITS))
        if upper != lower and length[upper] != length[lower]:
            spread = length[upper] - length[lower]
            along, across = sqrt((wanted - length[lower]) / spread), sqrt((length[upper] - wanted) / spread)
            first, second = frame.row(upper), frame.row(lower)
            frame[upper, :], frame[lower, :] = along * first + across * second, across * first - along * second
            length[upper], length[lower] = wanted, length[upper] + length[lower] - wanted
        placed[task] = upper
        free.remove(upper)
    return Matrix([list(frame.row(placed[task])) for task in range(len(shares))])


def zero_sum_frame(n_heads: int) -> Matrix:
    """Orthonormal rows, (H − 1, H), each with zero sum (Helmert)."""
    rows = zeros(n_heads - 1, n_heads)
    for row in range(1, n_heads):
        scale = sqrt(Integer(row * (row + 1)))
        for column in range(row):
            rows[row - 1, column] = 1 / scale
        rows[row - 1, row] = -row / scale
    return rows


def approaching_directions(dims: Sequence[int], shares: Sequence[Expr], n_heads: int) -> Matrix:
    """Ω, (I, H): the weights ω = ε Ω have x_i(ω) → shares_i as ε → 0 (Σ shares = H − 1, H ≥ 2)."""
    scaling = Matrix.diag(*(1 / sqrt(Integer(d)) for d in dims))
    return scaling * projector_frame(shares) * zero_sum_frame(n_heads)
