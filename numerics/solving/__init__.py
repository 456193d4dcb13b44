"""Who steps: the solvers, one step after the other, in log time.

``solvers`` chooses and drives them: SciPy's, CVODE (``krylov_steps``) and compiled steps (``stepping``); ``stiffness``
sees when explicit steps should end, ``disturbance`` shakes the second integration of an error estimate, ``blow_up``
finds where a flow grows beyond all bounds, ``panels`` interpolates what was computed.

Imports flows and everything below.
"""
