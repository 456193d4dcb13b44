"""Flows bound to numbers: where a problem and a start meet the generated code.

``derived`` has attention's flows, ``altered`` those that a user has changed; ``dynamics`` binds one to a problem in its
chart, with ``growth`` for split weights and ``yardsticks`` for variables of own systems; ``orbits`` and
``orbit_dynamics`` are the flow on few cells of many equal entries, ``ties`` and ``near_ties`` find what starts equal
or nearly so; ``domain`` says where weights leave a closure's range, ``allocation`` which head has which task.

Imports generated code, compiled steps and problems; it knows nothing of solvers.
"""
