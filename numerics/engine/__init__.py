"""The compiled engine: a stiff integrator for small flows, and many of them in one call.

``tableau`` holds the method's coefficients, ``loops`` its steps, ``native`` compiles them, ``stepping`` hands them to
`headflow.integrate`, ``ensemble`` runs many members in threads.
"""
