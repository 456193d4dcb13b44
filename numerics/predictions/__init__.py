"""Laws of training as numbers, beside what trajectories show.

``cascade`` (emergence times and winners), ``convergence`` (the late law), ``escape``, ``valley`` with ``valley_shape``
and ``valley_start``, ``merged_race``, ``staircase`` of linear attention; ``fit`` fits power laws; ``predictions``
gathers what a comparison shows.

Imports integration and everything below.
"""
