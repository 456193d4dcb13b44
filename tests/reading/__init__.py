"""Reads printed formulas back, as a mathematician would, and evaluates them; imports nothing of headflow.

Three readers (text, LaTeX, MathML) turn print into rows of marks, as the eye sees them: brackets that are not drawn do
not exist.  One grammar gives rows their meaning; what two mathematicians could read differently is ``Unreadable``.
"""
