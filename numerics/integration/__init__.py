"""From a problem and a start to a trajectory: one flow, or thousands in one call.

``integrate`` makes a `Trajectory` with ``recorder``; ``system_run`` runs systems of the user's own; ``ensemble`` with
``members`` runs many problems or starts in threads, ``batched`` by JAX.

Imports solving and trajectory.
"""
