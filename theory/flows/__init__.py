"""Gradient flows of the population loss, or of a loss of the user's own.

``system`` is the frozen `ReducedSystem`, ``flow`` derives it, ``factors`` and ``coordinates`` are parametrisations and
charts; ``energy``, ``invariants`` and ``symmetry`` say what flows keep; ``orbits`` and ``reduction`` reduce a flow to
what starts alike; ``ansatz`` and ``tangent`` put states into flows.

Imports the model.
"""
