"""Other attention families on the same path: model, moments, loss, ReducedSystem.

``covariates`` holds the data (one task, coordinates of any variances), ``linear`` linear attention and its flows,
``staircase``, ``drop_times`` and ``warm_up`` its loss drops, ``softmax`` softmax attention, ``statements`` the claims.
"""
