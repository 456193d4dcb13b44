"""The attention model: from softmax heads on Gaussian prompts to the population loss.

``attention`` has the moments of softmax heads, ``inner_products`` what tasks with own dimensions need, ``loss`` the
population loss in its closures, ``next_order`` the term that comes after, ``decomposability`` and ``shift`` what holds
of it in general.

Imports the ground floor (notation, the index calculus, derivations).
"""
