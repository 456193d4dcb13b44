"""The merged flow: its start at zero, identical heads, and the valleys that it creeps down.

``merged_zero``, ``merged_start``, ``identical_heads``; ``valley_order`` from the heads' shape, with ``line_valley`` and
``line_shape`` for heads on a line, ``valley``, ``pair_valley``, ``power_law``.

Imports phases, context, optima and what is below.
"""
