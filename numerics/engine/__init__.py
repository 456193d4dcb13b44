"""The compiled engine: a stiff integrator for small flows, and many of them in one call.

``tableau`` and ``explicit_tableau`` hold the coefficients of the two methods, ``loops`` their steps, ``native``
compiles them, ``stepping`` hands them to `headflow.integrate`, ``members`` and ``ensemble`` run many in threads.
"""
