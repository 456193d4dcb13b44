"""What came out: the result of an integration and what can be read off it.

``record`` has the rows and the state at any time.  ``phases``, ``crossings``, ``events`` and ``merged_end`` read off it
what happened when and where it ends, ``real_risk`` what the real attention loses with its last weights; ``file`` and
``shown`` are its forms outside Python.  ``trajectory`` adds all of them to the record.

Imports flows, optima, and the panels of solving; it never integrates.
"""
