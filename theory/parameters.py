"""The parameters that are derived from a problem's numbers: φ_i, c_i and d_e."""

from __future__ import annotations

from . import notation as n
from .indexed import Definition

# Derived parameters of a problem, opened when numbers are put in.
PARAMETERS = (
    Definition(n.noise_factor[n.i], 1 + n.noise_variance / n.signal_power[n.i]),
    Definition(n.noise_to_context[n.i], n.noise_factor[n.i] * n.dims[n.i] / n.context_length),
    Definition(n.embedding_dim, n.over_tasks(n.dims[n.i]) + n.n_tasks),
)
