"""Side by side: a flow's loss with limit, optimum and bounds, closures with reality, theory with training.

``compare`` with ``balance``, ``closure_table``, ``gradient_table``, ``simulate``.

Imports predictions, the real attention, and everything below.
"""
