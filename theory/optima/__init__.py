"""Limits, optima and bounds: what the loss can come to, exactly.

``limits`` with ``rooted_form`` (task allocation), ``optimum`` with ``optimum_proof``, ``water_filling`` and
``approaching_weights``, ``bounds``, ``corollaries``, ``shared_heads``; ``closures`` between the closures; ``bayes``
with ``bayes_bounds``, ``wishart`` and ``marchenko_pastur``.

Imports model and flows.
"""
