"""What came out: the result of an integration and what can be read off it.

``trajectory`` has the rows and the state at any time; ``phases`` and ``events`` what happened when; ``file`` its forms
outside Python; ``real_risk`` what the real attention loses with its last weights.

Imports flows, optima, and the panels of solving; it never integrates.
"""
